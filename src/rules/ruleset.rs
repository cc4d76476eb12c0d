//! Chains as values: tables, hooks, chains, rules, and why each rule is there.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::{IcmpMatch, IpVersion, PolicyId, PortRange, Protocol, WorkloadId};
use crate::policy::{Direction, Member, Owner, RuleSource};

pub use super::names::{ChainName, IpSetName};
pub use super::shared_map::{Difference, SharedMap};

/// All tables and sets of one family.
#[derive(Clone, Debug)]
pub struct Ruleset {
    pub version: IpVersion,
    /// The sets that the chains match by, by name.
    pub sets: SharedMap<IpSetName, KernelSet>,
    /// In the order in which they are written: raw, mangle, nat, filter.
    pub tables: Vec<Arc<Table>>,
}

/// One iptables table.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: TableName,
    /// What we put into the kernel's own chains.
    pub hooks: Vec<Hook>,
    /// Ours; only those that something jumps to.
    pub chains: SharedMap<ChainName, Chain>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableName {
    Raw,
    Mangle,
    Nat,
    Filter,
}

impl TableName {
    pub const ALL: [Self; 4] = [Self::Raw, Self::Mangle, Self::Nat, Self::Filter];

    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mangle => "mangle",
            Self::Nat => "nat",
            Self::Filter => "filter",
        }
    }
}

/// Our rules in one of the kernel's chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `FORWARD`, `PREROUTING`, …
    pub chain: &'static str,
    /// Before or behind foreign rules, as configured.
    pub rules: Vec<Rule>,
    /// Always behind foreign rules.
    pub appended: Vec<Rule>,
}

/// A chain and its rules in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub name: ChainName,
    pub rules: Vec<Rule>,
}

/// A set of one family as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSet {
    pub name: IpSetName,
    pub version: IpVersion,
    pub set_type: SetType,
    /// Sorted, each once, none of the other family, no /0.
    pub members: Vec<Member>,
    pub max_elements: u32,
    /// What it stands for, for people.
    pub meaning: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetType {
    HashNet,
    HashIpPort,
}

impl SetType {
    /// As `ipset` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::HashNet => "hash:net",
            Self::HashIpPort => "hash:ip,port",
        }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// For people who read the chain; sanitised when printed.
    pub comments: Vec<String>,
    /// All must hold.
    pub matches: Vec<Match>,
    /// None only counts.
    pub target: Option<Target>,
    pub provenance: Provenance,
}

/// Why a rule is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// On every host, whatever the policy; which part.
    Static,
    /// The interface of an endpoint leads to its chains.
    Dispatch(Arc<WorkloadId>),
    /// Part of an endpoint's own chain.
    Endpoint(Arc<WorkloadId>, EndpointStep),
    /// A rule of a policy or profile.
    Rule(Arc<RuleSource>),
    /// The head of a policy's or profile's chain that has no rule.
    Empty(Owner, Direction),
    /// One of several policies that are tried in turn.
    Group(PolicyId),
    /// The interface has our prefix and no endpoint.
    UnknownInterface,
    /// Address translation of pools and floating IPs.
    Nat,
}

/// What a rule of an endpoint's chain does there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointStep {
    /// It may send from sources other than its own.
    AllowedSource,
    AdminDown,
    Conntrack,
    ClearMarks,
    /// Encapsulated packets may not come from a workload.
    Encapsulation,
    StartOfTier(Arc<str>),
    /// Jump to a policy or group; return if it accepted.
    Policies(Arc<str>),
    EndOfTier(Arc<str>),
    Profile(Arc<str>),
    NoProfileMatched,
}

/// Which end of the packet a match looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Source,
    Destination,
}

/// A criterion, or its negation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    pub negated: bool,
    pub criterion: Criterion,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Criterion {
    Protocol(Protocol),
    /// Printed with its length, also /32.
    Net(Side, IpNet),
    /// A bare address, as in DHCP's `0.0.0.0`.
    Address(Side, IpAddr),
    Set(Side, IpSetName),
    /// Address and port of one side.
    SetWithPort(Side, IpSetName),
    /// At most 15 slots.
    Ports(Side, Vec<PortRange>),
    Icmp(IpVersion, IcmpMatch),
    /// `packet mark & mask == value`.
    Mark {
        value: u32,
        mask: u32,
    },
    InInterface(InterfaceMatch),
    OutInterface(InterfaceMatch),
    Conntrack(&'static [ConntrackState]),
    /// The source would be routed back the way it came, marked as the packet is.
    ReversePath,
    SourceIsLocal {
        limit_iface_out: bool,
    },
    DestinationIsLocal,
    /// `50/minute`, with a burst where it is not 0. Never negated.
    Limit {
        rate: String,
        burst: u32,
    },
}

/// An interface, or all whose names begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceMatch {
    Name(Arc<str>),
    Prefix(Arc<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConntrackState {
    New,
    Related,
    Established,
    Invalid,
    Dnat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Accept,
    Drop,
    Reject,
    Return,
    Jump(ChainName),
    Goto(ChainName),
    /// Bits of `mask` become `value`.
    SetMark {
        value: u32,
        mask: u32,
    },
    /// Bits of `mask` become 0.
    ClearMark {
        mask: u32,
    },
    Log {
        prefix: String,
    },
    NoTrack,
    Masquerade {
        ports: Option<(u16, u16)>,
    },
    Snat {
        to: IpAddr,
        ports: Option<(u16, u16)>,
    },
    Dnat {
        to: IpAddr,
        port: Option<u16>,
    },
}

impl Match {
    pub fn is(criterion: Criterion) -> Self {
        Self { negated: false, criterion }
    }

    pub fn not(criterion: Criterion) -> Self {
        Self { negated: true, criterion }
    }

    /// All of `bits` are set.
    pub fn marked(bits: u32) -> Self {
        Self::is(Criterion::Mark { value: bits, mask: bits })
    }

    /// None of `bits` is set.
    pub fn unmarked(bits: u32) -> Self {
        Self::is(Criterion::Mark { value: 0, mask: bits })
    }

    /// Some of `bits` are set.
    pub fn marked_any(bits: u32) -> Self {
        Self::not(Criterion::Mark { value: 0, mask: bits })
    }
}

impl Target {
    /// Sets all of `bits`.
    pub fn mark(bits: u32) -> Self {
        Self::SetMark { value: bits, mask: bits }
    }
}
