//! The tables, chains and sets of one family as the kernel runs them, from whichever text or value they came.
//!
//! Names are numbers here and sets are ready to be searched: a packet meets thousands of rules.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::{IpVersion, PortRange};
use crate::rules::ruleset::{InterfaceMatch, Side};
use crate::verdict::ranges::AddressRanges;

/// All that a packet of one family meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub version: IpVersion,
    /// Of all tables, sorted by [`Chain::table`] (in the kernel's order), then name.
    pub chains: Vec<Chain>,
    /// Sorted by name.
    pub sets: Vec<Set>,
}

/// An index into [`Program::chains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainNumber(pub usize);

/// An index into [`Program::sets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetNumber(pub usize);

/// The tables in the order in which the kernel runs those that hook in at one place (`enum nf_ip_hook_priorities`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Raw,
    Mangle,
    Nat,
    Filter,
    Security,
}

impl Table {
    pub const ALL: [Self; 5] = [Self::Raw, Self::Mangle, Self::Nat, Self::Filter, Self::Security];

    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mangle => "mangle",
            Self::Nat => "nat",
            Self::Filter => "filter",
            Self::Security => "security",
        }
    }

    /// The table of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The kernel's own chains in it.
    pub fn kernel_chains(self) -> &'static [&'static str] {
        match self {
            Self::Raw => &["PREROUTING", "OUTPUT"],
            Self::Mangle => &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
            Self::Nat => &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
            Self::Filter | Self::Security => &["INPUT", "FORWARD", "OUTPUT"],
        }
    }
}

/// A chain and its rules in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub table: Table,
    pub name: Arc<str>,
    /// What becomes of a packet at the end of one of the kernel's own chains; None for all others, which return.
    pub policy: Option<Policy>,
    pub rules: Vec<Rule>,
}

/// The policy of one of the kernel's own chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Accept,
    Drop,
}

/// Where all conditions hold, the action is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// In the order in which the kernel looks at them, see [`Rule::new`].
    pub conditions: Vec<Condition>,
    pub action: Action,
}

/// A test, or its negation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub negated: bool,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    Protocol(u8),
    Address(Side, IpNet),
    InInterface(InterfaceMatch),
    OutInterface(InterfaceMatch),
    /// One of the ports is in one of the ranges.
    Ports(PortSide, Vec<PortRange>),
    /// Type, where one is asked for, and codes from first to last.
    Icmp {
        icmp_type: Option<u8>,
        codes: (u8, u8),
    },
    /// The state is one of these.
    State(States),
    /// `mark & mask == value`
    Mark {
        value: u32,
        mask: u32,
    },
    /// The set has the packet's address, or address and port, of these sides.
    Set(SetNumber, Vec<Side>),
    ReversePath,
    /// The address is one of the host's own; with `limit_iface_out`, one of the outgoing interface's.
    Local {
        side: Side,
        limit_iface_out: bool,
    },
    /// What isn't modelled, as it is written.
    Unknown(Box<str>),
}

/// Which port a test looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortSide {
    Source,
    Destination,
    Either,
}

/// A set of connection states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of --ctstate")]
pub struct States {
    pub new: bool,
    pub established: bool,
    pub related: bool,
    pub invalid: bool,
    pub untracked: bool,
    /// The destination of the connection is translated.
    pub dnat: bool,
    /// The source of the connection is translated.
    pub snat: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Counts, logs, or changes what no test here looks at.
    Continue,
    Accept,
    Drop,
    Reject,
    Return,
    Jump(ChainNumber),
    Goto(ChainNumber),
    /// `mark = (mark & !clear) ^ flip`
    Mark {
        clear: u32,
        flip: u32,
    },
    /// The bits become what isn't known here.
    BlurMark {
        bits: u32,
    },
    NoTrack,
    /// MASQUERADE, or SNAT. No address where the rule leaves it to the kernel: that of an interface, or one of several.
    /// Ends the nat table.
    TranslateSource(Option<IpAddr>),
    /// DNAT. Ends the nat table.
    TranslateDestination {
        to: IpAddr,
        port: Option<u16>,
    },
    /// What isn't modelled, as it is written: it may accept, drop, or go on.
    Unknown(Box<str>),
}

/// An IP set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub name: Arc<str>,
    pub members: Members,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// `hash:ip`, `hash:net`
    Addresses(AddressRanges),
    /// `hash:ip,port`: address, protocol, port; sorted.
    AddressPorts(Vec<(IpAddr, u8, u16)>),
    /// Of a type that isn't modelled, or not given; why.
    Unknown(Box<str>),
}

impl Members {
    /// The protocols and ports that go with the address.
    pub fn ports_of(&self, address: IpAddr) -> impl Iterator<Item = (u8, u16)> {
        let members = match self {
            Self::AddressPorts(members) => members.as_slice(),
            Self::Addresses(_) | Self::Unknown(_) => &[],
        };
        of_address(members, address).iter().map(|(_, protocol, port)| (*protocol, *port))
    }

    /// Whether the set is known to have no member.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Addresses(ranges) => ranges.is_empty(),
            Self::AddressPorts(members) => members.is_empty(),
            Self::Unknown(_) => false,
        }
    }
}

impl Rule {
    /// The conditions in whichever order they were written. The kernel looks at the packet's head first, and neither
    /// keeps nor prints what always holds there, so that a rule which was read back equals the one that was written.
    pub fn new(conditions: impl IntoIterator<Item = Condition>, action: Action) -> Self {
        let mut conditions: Vec<Condition> =
            conditions.into_iter().filter(|condition| !condition.always_holds()).collect();
        conditions.sort_by_key(|condition| condition.test.place());
        Self { conditions, action }
    }
}

impl Condition {
    pub fn is(test: Test) -> Self {
        Self { negated: false, test }
    }

    fn always_holds(&self) -> bool {
        !self.negated
            && match &self.test {
                Test::Address(_, net) => net.prefix_len() == 0,
                Test::InInterface(interface) | Test::OutInterface(interface) => {
                    *interface == InterfaceMatch::Prefix("".into())
                }
                Test::Protocol(_)
                | Test::Ports(..)
                | Test::Icmp { .. }
                | Test::State(_)
                | Test::Mark { .. }
                | Test::Set(..)
                | Test::ReversePath
                | Test::Local { .. }
                | Test::Unknown(_) => false,
            }
    }
}

impl Test {
    /// As `ip_packet_match` has it; the modules come behind, in the rule's order.
    fn place(&self) -> u8 {
        match self {
            Self::Address(Side::Source, _) => 0,
            Self::Address(Side::Destination, _) => 1,
            Self::InInterface(_) => 2,
            Self::OutInterface(_) => 3,
            Self::Protocol(_) => 4,
            Self::Ports(..)
            | Self::Icmp { .. }
            | Self::State(_)
            | Self::Mark { .. }
            | Self::Set(..)
            | Self::ReversePath
            | Self::Local { .. }
            | Self::Unknown(_) => 5,
        }
    }

    /// The `limit` match as the kernel names its parts.
    pub fn limit(rate: &str, burst: u32) -> Self {
        let (amount, unit) = rate.split_once('/').unwrap_or((rate, "second"));
        let units = [("second", "sec"), ("minute", "min"), ("hour", "hour"), ("day", "day")];
        let known = units.iter().find(|(long, _)| !unit.is_empty() && long.starts_with(unit));
        let unit = known.map_or(unit, |(_, short)| short);
        Self::Unknown(match burst {
            0 | Self::DEFAULT_BURST => format!("-m limit --limit {amount}/{unit}").into(),
            burst => format!("-m limit --limit {amount}/{unit} --limit-burst {burst}").into(),
        })
    }

    /// XT_LIMIT_BURST
    const DEFAULT_BURST: u32 = 5;
}

/// The part of sorted members that has the address.
pub fn of_address(members: &[(IpAddr, u8, u16)], address: IpAddr) -> &[(IpAddr, u8, u16)] {
    let first = members.partition_point(|(member, ..)| *member < address);
    let behind = members.partition_point(|(member, ..)| *member <= address);
    members.get(first..behind).unwrap_or_default()
}

impl Program {
    /// The chain of that name.
    pub fn find(&self, table: Table, name: &str) -> Option<ChainNumber> {
        let found = self.chains.binary_search_by(|chain| (chain.table, &*chain.name).cmp(&(table, name)));
        found.ok().map(ChainNumber)
    }

    pub fn chain(&self, number: ChainNumber) -> Option<&Chain> {
        self.chains.get(number.0)
    }

    /// The set of that name.
    pub fn find_set(&self, name: &str) -> Option<SetNumber> {
        self.sets.binary_search_by(|set| (*set.name).cmp(name)).ok().map(SetNumber)
    }

    pub fn set(&self, number: SetNumber) -> Option<&Set> {
        self.sets.get(number.0)
    }
}
