//! The value that this stage makes: no selectors any more, only sets and their members.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::Config;
use crate::datastore::Place;
use crate::model::{
    Action, IcmpMatch, IpVersion, PolicyId, PortRange, Protocol, Stage, TierDefault, WorkloadEndpoint,
    WorkloadId,
};

/// All that one host must enforce. Unchanged parts keep their `Arc` from one settling to the next, so that later
/// stages can skip them by pointer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostPolicy {
    /// Which one; none where several hosts are calculated at once.
    pub host: Option<Arc<str>>,
    /// The workload endpoints of this host.
    pub endpoints: BTreeMap<WorkloadId, Arc<LocalEndpoint>>,
    /// The policies that govern one of them, or are needed on every host.
    pub policies: BTreeMap<PolicyId, Arc<ActivePolicy>>,
    /// The profiles that one of them names, whether they exist or not.
    pub profiles: BTreeMap<Arc<str>, Arc<ActiveProfile>>,
    /// The IP sets that those policies and profiles match by.
    pub sets: BTreeMap<SetId, Arc<IpSet>>,
    /// One pool a CIDR.
    pub pools: BTreeMap<IpNet, Arc<Pool>>,
    /// The addresses of all hosts.
    pub host_addresses: Arc<BTreeSet<IpAddr>>,
    /// The address of this host's own tunl0; none where several hosts are calculated at once.
    pub ipip_tunnel_addr: Option<Ipv4Addr>,
    /// The hosts that routes lead to, this one too.
    pub nodes: BTreeMap<Arc<str>, Arc<NodeAddresses>>,
    /// Who has which addresses.
    pub blocks: BTreeMap<IpNet, Arc<Block>>,
    /// The addresses of the workload endpoints of all hosts, where routes are made of them instead of `blocks`.
    pub workloads: BTreeMap<WorkloadId, Arc<Vec<IpNet>>>,
}

impl HostPolicy {
    /// Whether hosts tunnel IPv4 packets to each other by IP in IP: as configured, else where a pool wants it.
    pub fn has_ipip(&self, config: &Config) -> bool {
        config.ipip_enabled.unwrap_or_else(|| self.pools.values().any(|pool| pool.encapsulation.is_ipip()))
    }
}

/// A pool as NAT, encapsulation and routes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    pub cidr: IpNet,
    pub encapsulation: Encapsulation,
    pub nat_outgoing: bool,
    pub load_balancer_only: bool,
}

/// How hosts send a pool's packets to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// As they are.
    None,
    /// By IP in IP.
    Ipip,
    /// By IP in IP where the hosts share no subnet.
    IpipCrossSubnet,
    /// By VXLAN, which is not for us.
    Vxlan,
}

impl Encapsulation {
    pub fn is_ipip(self) -> bool {
        match self {
            Self::Ipip | Self::IpipCrossSubnet => true,
            Self::None | Self::Vxlan => false,
        }
    }
}

/// Where a host is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAddresses {
    /// With the subnet that it shares with its neighbours.
    pub ipv4: Option<(Ipv4Addr, Ipv4Net)>,
    pub ipv6: Option<(Ipv6Addr, Ipv6Net)>,
    /// The address of its tunl0, as it says itself.
    pub ipip_tunnel_addr: Option<Ipv4Addr>,
}

impl NodeAddresses {
    /// The address and subnet of one family.
    pub fn of(&self, version: IpVersion) -> Option<(IpAddr, IpNet)> {
        match version {
            IpVersion::V4 => self.ipv4.map(|(address, subnet)| (address.into(), subnet.into())),
            IpVersion::V6 => self.ipv6.map(|(address, subnet)| (address.into(), subnet.into())),
        }
    }
}

/// Addresses that a host gives to its workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub cidr: IpNet,
    /// The host; none where each address stands for itself.
    pub node: Option<Arc<str>>,
    /// Addresses of it that other hosts have.
    pub borrowed: Vec<(IpAddr, Arc<str>)>,
}

/// A workload endpoint of this host with the policies that govern it.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalEndpoint {
    pub endpoint: Arc<WorkloadEndpoint>,
    /// In order; only tiers with a policy that selects this endpoint.
    pub tiers: Vec<EndpointTier>,
    /// Another endpoint (a lower id) has the same interface: this one is not programmed.
    pub shadowed_by: Option<WorkloadId>,
}

/// One tier as it applies to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointTier {
    pub name: Arc<str>,
    pub default_action: TierDefault,
    /// In order; a policy stands in each direction that it governs.
    pub ingress: Vec<PolicyId>,
    pub egress: Vec<PolicyId>,
}

/// Ingress is towards the endpoint, egress away from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// A policy with its selectors turned into sets.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivePolicy {
    pub id: PolicyId,
    pub tier: Arc<str>,
    /// Canonical text of the policy's own selector: neighbours with the same one share a group.
    pub selector: Arc<str>,
    pub stage: Stage,
    pub ingress: Vec<Arc<ActiveRule>>,
    pub egress: Vec<Arc<ActiveRule>>,
    pub needed_everywhere: bool,
    pub place: Place,
}

/// A profile with its selectors turned into sets. One that is missing or invalid denies both ways.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveProfile {
    pub name: Arc<str>,
    pub ingress: Vec<Arc<ActiveRule>>,
    pub egress: Vec<Arc<ActiveRule>>,
    /// None where nobody wrote it.
    pub place: Option<Place>,
}

/// A rule whose selectors, tags and named ports are sets. Every criterion that is there must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveRule {
    pub action: Action,
    /// Only for packets of this family; protocol *names* icmp and icmpv6, and their numbers, imply theirs.
    pub ip_version: Option<IpVersion>,
    pub protocol: Option<Protocol>,
    pub not_protocol: Option<Protocol>,
    pub icmp: Option<IcmpMatch>,
    pub not_icmp: Option<IcmpMatch>,
    pub source: ActiveSide,
    pub destination: ActiveSide,
    /// `key=value`, sorted by key.
    pub annotations: Vec<(Arc<str>, Arc<str>)>,
    pub provenance: RuleSource,
}

/// What a rule asks of one side of a packet, selectors resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveSide {
    /// The address is in one of them; empty asks nothing.
    pub nets: Vec<IpNet>,
    pub not_nets: Vec<IpNet>,
    /// The address is in all of these sets.
    pub sets: Vec<SetId>,
    /// The address is in none of these sets.
    pub not_sets: Vec<SetId>,
    /// The port is in one of these, or address and port in one of `port_sets`; both empty ask nothing.
    pub ports: Vec<PortRange>,
    pub port_sets: Vec<SetId>,
    pub not_ports: Vec<PortRange>,
    pub not_port_sets: Vec<SetId>,
}

/// Why a rule is there: whose it is, which way, its number (from 0), where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSource {
    pub owner: Owner,
    pub direction: Direction,
    /// None for the deny that stands for rules that could not be understood, or for a missing profile.
    pub index: Option<u32>,
    pub place: Option<Place>,
}

/// Who a rule belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    Policy(PolicyId),
    Profile(Arc<str>),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(id) => id.fmt(f),
            Self::Profile(name) => write!(f, "Profile {name}"),
        }
    }
}

/// What a set is known by in every family: `s:…` by selector, `t:…` by tag, `n:…` by named port (reference §7.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(pub Arc<str>);

/// What a set's members are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Networks and addresses.
    Nets,
    /// Address, protocol and port.
    IpPorts,
}

/// Addresses that rules match by, both families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpSet {
    pub id: SetId,
    pub kind: SetKind,
    /// Sorted, each once.
    pub members: Vec<Member>,
    /// What it stands for, for people: the selector, tag or port name.
    pub meaning: Arc<str>,
}

/// One member of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    Net(IpNet),
    IpPort(IpAddr, TransportProtocol, u16),
}

impl fmt::Display for Member {
    /// An address stands without its length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Net(net) => net.fmt(f),
            Self::IpPort(address, protocol, port) => write!(f, "{address},{}:{port}", protocol.name()),
        }
    }
}

/// The protocols that a named port can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransportProtocol {
    Tcp,
    Udp,
    Sctp,
}

impl TransportProtocol {
    /// None for a protocol without ports.
    pub(super) fn of(protocol: Protocol) -> Option<Self> {
        match protocol.number() {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The IANA number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// As members of sets have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}
