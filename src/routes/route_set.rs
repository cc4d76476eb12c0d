//! The value that this stage makes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use super::TUNNEL;
use crate::config::Routing;
use crate::model::{IpVersion, WorkloadId};

/// What is wanted of a host's main table, its neighbours and its tunnel, with the reason of each.
///
/// 1. *One route a destination.* Where several want one, the choice is made here, by what they are, not by who came
///    first; the others are held back and say why.
/// 2. *No packet goes round.* A route through the tunnel to a block that holds the address of a host would send the
///    tunnel's own packets to that host into the tunnel: it is not made. A single address that is a host's own is
///    no workload's, whoever claims it.
/// 3. *What can't be made is said*: a host without an address, no way to it, a pool that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSet {
    pub routes: BTreeMap<IpNet, WantedRoute>,
    /// By interface and address.
    pub neighbours: BTreeMap<(Arc<str>, Ipv4Addr), Neighbour>,
    /// None where no tunnel is wanted: one that is there stays, without an address of ours.
    pub tunnel: Option<Tunnel>,
    /// Sorted.
    pub held_back: Vec<HeldBack>,
    pub ownership: Ownership,
}

impl RouteSet {
    /// Only these families. The tunnel is IPv4's.
    #[must_use]
    pub fn restricted_to(mut self, versions: &[IpVersion]) -> Self {
        let is_asked = |address: IpAddr| versions.contains(&IpVersion::of(address));
        self.routes.retain(|destination, _| is_asked(destination.addr()));
        self.held_back.retain(|held| is_asked(held.destination.addr()));
        self.ownership.families.retain(|version| versions.contains(version));
        if !versions.contains(&IpVersion::V4) {
            self.neighbours.clear();
            self.tunnel = None;
            self.ownership.tunnel = false;
        }
        self
    }
}

/// A route, and why it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRoute {
    pub route: Route,
    pub provenance: Provenance,
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: IpNet,
    pub target: Target,
    /// Who made it, as a number.
    pub protocol: u8,
    pub metric: u32,
    /// The address that the host itself speaks from.
    pub source: Option<IpAddr>,
    pub mtu: Option<u32>,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere: packets are dropped.
    Blackhole,
    /// To whoever is at the other end of the interface.
    Link(Arc<str>),
    /// To another host or router.
    Via {
        gateway: IpAddr,
        /// None where it is not known here: the kernel takes that which is connected to the gateway.
        device: Option<Arc<str>>,
        /// The gateway is taken to be on the interface's link, although no subnet says so.
        onlink: bool,
    },
    /// To one of these, by the packet's flow. Two or more, sorted.
    Several(Vec<Hop>),
}

/// Where one of the ways of a route leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    pub device: Arc<str>,
    /// None: whoever the packet is for is on the interface's link.
    pub gateway: Option<IpAddr>,
    /// As of [`Target::Via`].
    pub onlink: bool,
    /// How many of the flows, beside the others' weights: 1 to 256.
    pub weight: u16,
}

/// A permanent neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    pub mac: Arc<str>,
    pub endpoint: WorkloadId,
}

/// `tunl0` as it should be, which is up, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// None: as it is.
    pub mtu: Option<u32>,
    /// None where nobody knows one.
    pub address: Option<Ipv4Addr>,
}

/// Why a route is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provenance {
    /// An address of an endpoint of this host.
    Endpoint(WorkloadId),
    /// An address that is translated to one of an endpoint of this host.
    FloatingIp(WorkloadId),
    /// A block of this host: what nobody has of it ends here.
    OwnBlock { pool: IpNet },
    /// Addresses of another host.
    Remote { node: Arc<str>, what: Remote, pool: IpNet, way: Way },
}

impl Provenance {
    /// The endpoint of this host that the route leads to.
    pub fn endpoint(&self) -> Option<&WorkloadId> {
        match self {
            Self::Endpoint(id) | Self::FloatingIp(id) => Some(id),
            Self::OwnBlock { .. } | Self::Remote { .. } => None,
        }
    }

    /// The route may be another program's business: BIRD's, say.
    pub fn is_of_cluster(&self) -> bool {
        self.endpoint().is_none()
    }
}

/// Which addresses of another host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remote {
    /// An address of a block that belongs to a third host, or to none.
    Borrowed {
        block: IpNet,
    },
    /// An address of an endpoint.
    Endpoint(WorkloadId),
    /// The address of its tunnel, which is not in a block of its own.
    TunnelAddress,
    Block,
}

/// How packets get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// As they are: the pool wants IP in IP only between subnets.
    SameSubnet,
    /// By IP in IP.
    Tunnel,
    /// As they are: the pool wants it so.
    Plain,
    /// As they are: the pool wants IP in IP, which is switched off.
    IpipOff,
}

/// A route that somebody wants and that is not made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldBack {
    pub destination: IpNet,
    pub of: Owner,
    pub why: Why,
}

/// Who wants a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    Endpoint(WorkloadId),
    Node(Arc<str>),
}

/// Why a route is not made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The interface is down, or not there.
    Down {
        interface: Arc<str>,
    },
    /// The interface's name begins with no prefix of workloads': nothing polices what comes from it.
    NotAWorkloads {
        interface: Arc<str>,
    },
    /// A host has it: packets to that host would go to the workload.
    AHostsOwn,
    /// Somebody else who comes first wants the same destination.
    YieldsTo(Owner),
    NoPool,
    /// The pool is for load balancers, and has no routes.
    LoadBalancers {
        pool: IpNet,
    },
    Vxlan {
        pool: IpNet,
    },
    UnknownNode,
    NoAddress(IpVersion),
    /// The node has the same address as this one.
    OurAddress {
        address: IpAddr,
    },
    NoWay {
        to: IpAddr,
    },
    /// The address of another host is in there: packets to it would go round in the tunnel, or be dropped.
    HoldsHost {
        address: IpAddr,
    },
}

/// What in the kernel is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Those whose routes are made and removed; of others nothing is touched.
    pub families: Vec<IpVersion>,
    /// The tunnel is made and its addresses removed.
    pub tunnel: bool,
    pub routing: Routing,
    /// How the names of workloads' interfaces begin.
    pub prefixes: Vec<String>,
    /// An address of the tunnel that is in one of these is ours.
    pub pools: Vec<Ipv4Net>,
}

impl Ownership {
    pub fn is_workloads(&self, interface: &str) -> bool {
        interface != TUNNEL && self.prefixes.iter().any(|prefix| interface.starts_with(prefix.as_str()))
    }
}
