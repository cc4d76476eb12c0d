//! One rule of a policy or profile, as written: every criterion that is there must hold.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::datastore::Place;
use crate::labels::Selector;

/// What a rule does with a packet that matches all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Allow,
    Deny,
    /// Log and go on with the next rule.
    Log,
    /// Go on with the next tier; behind the last, with the profiles.
    Pass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    V4,
    V6,
}

impl IpVersion {
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A transport protocol as it was written: iptables prints names and numbers differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
    IcmpV6,
    Sctp,
    UdpLite,
    /// 1 to 255.
    Number(u8),
}

impl Protocol {
    /// The IANA number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmp => 1,
            Self::IcmpV6 => 58,
            Self::Sctp => 132,
            Self::UdpLite => 136,
            Self::Number(number) => number,
        }
    }

    /// Whether port matches may stand beside it (the kernel's multiport knows more, Calico's API only these).
    pub fn has_ports(self) -> bool {
        matches!(self.number(), 6 | 17 | 132)
    }
}

/// Ports `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// An ICMP or ICMPv6 type, with or without a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IcmpMatch {
    pub icmp_type: u8,
    pub code: Option<u8>,
}

/// What a rule asks of one side of the packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityMatch {
    /// The address is in one of them; empty asks nothing.
    pub nets: Vec<IpNet>,
    /// The address is in none of them.
    pub not_nets: Vec<IpNet>,
    /// The address belongs to an endpoint or network set that this selects (scope included: namespace, service accounts).
    pub selector: Option<Selector>,
    /// The address belongs to no endpoint or network set that this selects.
    pub not_selector: Option<Selector>,
    /// v1: the address belongs to an endpoint with a profile that carries this tag.
    pub tag: Option<Arc<str>>,
    pub not_tag: Option<Arc<str>>,
    /// The port is in one of these ranges, or one of `named_ports`; both empty ask nothing.
    pub ports: Vec<PortRange>,
    pub named_ports: Vec<Arc<str>>,
    pub not_ports: Vec<PortRange>,
    pub not_named_ports: Vec<Arc<str>>,
    pub services: Option<Services>,
}

/// A Kubernetes service; there is no datastore for its addresses here, so it is never matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    pub name: Arc<str>,
    pub namespace: Arc<str>,
}

/// A criterion that iptables cannot check. An Allow with one never matches; a Deny with one matches by the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unenforceable {
    Http,
    Services,
}

/// A rule and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub action: Action,
    pub ip_version: Option<IpVersion>,
    pub protocol: Option<Protocol>,
    pub not_protocol: Option<Protocol>,
    pub icmp: Option<IcmpMatch>,
    pub not_icmp: Option<IcmpMatch>,
    pub source: EntityMatch,
    pub destination: EntityMatch,
    pub unenforceable: Option<Unenforceable>,
    /// `metadata.annotations`: printed as comments beside the rule.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    pub place: Place,
}
