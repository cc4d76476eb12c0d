//! Network sets, pools, nodes and address blocks.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Labels;
use super::id::NetworkSetId;
use crate::datastore::Place;

/// Addresses that rules can select by label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSet {
    pub id: NetworkSetId,
    /// With `projectcalico.org/namespace` where it has one.
    pub labels: Labels,
    /// `kns.<namespace>` where it has one: it inherits the namespace's labels.
    pub profiles: Vec<Arc<str>>,
    /// Masked, each once.
    pub nets: Vec<IpNet>,
    pub place: Place,
}

/// How traffic between hosts of a pool is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncapMode {
    Never,
    Always,
    /// Only where the hosts share no subnet.
    CrossSubnet,
}

/// A range that endpoint addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpPool {
    pub name: Arc<str>,
    pub cidr: IpNet,
    pub ipip: EncapMode,
    pub vxlan: EncapMode,
    /// Traffic from the pool to outside every pool is masqueraded.
    pub nat_outgoing: bool,
    /// Only for services' load balancers: no endpoint has an address of it.
    pub load_balancer_only: bool,
    /// Of Felix 2.1, which calls it by its CIDR: one of today with that CIDR counts instead.
    pub unnamed: bool,
    pub place: Place,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: Arc<str>,
    pub labels: Labels,
    /// Its address and the subnet that it shares with its neighbours; the address alone, where no subnet is known.
    pub ipv4: Option<(Ipv4Addr, Ipv4Net)>,
    pub ipv6: Option<(Ipv6Addr, Ipv6Net)>,
    /// The address of its tunl0.
    pub ipip_tunnel_addr: Option<Ipv4Addr>,
    pub place: Place,
}

/// Which node a block of addresses belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockAffinity {
    pub name: Arc<str>,
    pub node: Arc<str>,
    pub cidr: IpNet,
    pub place: Place,
}

/// A block of addresses and who has which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpamBlock {
    pub cidr: IpNet,
    /// The node that the block belongs to.
    pub node: Option<Arc<str>>,
    /// Addresses lent to other nodes: ordinal within the block, node.
    pub borrowed: Vec<(u32, Arc<str>)>,
    /// Addresses that somebody has: ordinals, ascending.
    pub allocated: Vec<u32>,
    pub place: Place,
}
