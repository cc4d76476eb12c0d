//! One packet, as far as policies and chains look at it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::IpVersion;

/// A packet, whole (no fragment), as it arrives or as the host sends it. Both addresses are of one family.
///
/// Where its connection is translated, an established packet is given as the translation leaves it: only a new one
/// meets the nat table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    pub way: Way,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub payload: Payload,
    pub state: ConnState,
    /// The host would route an answer to the source back by the interface that the packet came in by.
    pub reverse_path: bool,
}

/// How a packet takes the host. The interfaces are the host's side of it; the outgoing one is that of the route to the
/// destination after any translation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    Forwarded { input: Arc<str>, output: Arc<str> },
    ToHost { input: Arc<str> },
    FromHost { output: Arc<str> },
}

/// What is in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Payload {
    /// A protocol with ports: one of [`Payload::PORT_PROTOCOLS`].
    Ports { protocol: u8, source: u16, destination: u16 },
    /// ICMP or ICMPv6, whichever belongs to the packet's family.
    Icmp { icmp_type: u8, code: u8 },
    /// Any other protocol.
    Other { protocol: u8 },
}

/// What address translation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    pub destination: Option<(IpAddr, Option<u16>)>,
    pub source: Option<SourceTranslation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceTranslation {
    /// To an address of the outgoing interface.
    Masquerade,
    To(IpAddr),
}

/// What connection tracking says of a packet (`nf_conntrack`, the states of `xt_conntrack`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnState {
    New,
    Established,
    Related,
    Invalid,
    Untracked,
}

impl Packet {
    pub fn version(&self) -> IpVersion {
        IpVersion::of(self.source)
    }

    /// The protocol's number.
    pub fn protocol(&self) -> u8 {
        self.payload.protocol(self.version())
    }
}

impl Way {
    /// The interface that the packet came in by.
    pub fn input(&self) -> Option<&Arc<str>> {
        match self {
            Self::Forwarded { input, .. } | Self::ToHost { input } => Some(input),
            Self::FromHost { .. } => None,
        }
    }

    /// The same way, where an interface has another name.
    #[must_use]
    pub fn renamed(&self, from: &str, to: &Arc<str>) -> Self {
        let name = |interface: &Arc<str>| Arc::clone(if **interface == *from { to } else { interface });
        match self {
            Self::Forwarded { input, output } => Self::Forwarded { input: name(input), output: name(output) },
            Self::ToHost { input } => Self::ToHost { input: name(input) },
            Self::FromHost { output } => Self::FromHost { output: name(output) },
        }
    }

    /// The interface that the packet leaves by.
    pub fn output(&self) -> Option<&Arc<str>> {
        match self {
            Self::Forwarded { output, .. } | Self::FromHost { output } => Some(output),
            Self::ToHost { .. } => None,
        }
    }
}

impl Payload {
    /// TCP, UDP, DCCP, SCTP and UDP-Lite: those whose ports the kernel's `multiport` finds.
    pub const PORT_PROTOCOLS: [u8; 5] = [6, 17, 33, 132, 136];

    /// A packet of `protocol` in a family. What the protocol has no use for is not looked at.
    pub fn new(version: IpVersion, protocol: u8, ports: (u16, u16), icmp: (u8, u8)) -> Self {
        if Self::PORT_PROTOCOLS.contains(&protocol) {
            Self::Ports { protocol, source: ports.0, destination: ports.1 }
        } else if protocol == Self::icmp_of(version) {
            Self::Icmp { icmp_type: icmp.0, code: icmp.1 }
        } else {
            Self::Other { protocol }
        }
    }

    /// The protocol's number, in a packet of that family.
    pub fn protocol(self, version: IpVersion) -> u8 {
        match self {
            Self::Ports { protocol, .. } | Self::Other { protocol } => protocol,
            Self::Icmp { .. } => Self::icmp_of(version),
        }
    }

    /// The number of the family's ICMP.
    pub fn icmp_of(version: IpVersion) -> u8 {
        match version {
            IpVersion::V4 => 1,
            IpVersion::V6 => 58,
        }
    }

    /// Source and destination.
    pub fn ports(self) -> Option<(u16, u16)> {
        match self {
            Self::Ports { protocol: _, source, destination } => Some((source, destination)),
            Self::Icmp { .. } | Self::Other { .. } => None,
        }
    }
}

/// The name of a protocol number, where it has one that people use.
pub fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// The number of a protocol by name, in any case, or by number.
pub fn protocol_number(text: &str) -> Option<u8> {
    let by_name = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    by_name.map(|(_, number)| *number).or_else(|| text.parse().ok())
}

/// The names that `iptables-save` and the API use (`/etc/protocols`, reference §1.2).
const PROTOCOLS: [(&str, u8); 16] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ospf", 89),
    ("vrrp", 112),
    ("sctp", 132),
    ("udplite", 136),
    // What `iptables-save` prints for some of these.
    ("ipencap", 4),
    ("ipv6-icmp", 58),
];

impl ConnState {
    /// The state of a connection's first packet.
    ///
    /// Connection tracking knows which types of ICMP ask for something: only they can be new. It leaves alone what keeps
    /// an IPv6 link going, and finds all other types invalid (errors, where they don't tell of a connection that it
    /// knows), as it finds the other family's ICMP (`nf_conntrack_proto_icmp.c`, `nf_conntrack_proto_icmpv6.c`).
    pub fn first(version: IpVersion, payload: Payload) -> Self {
        match (version, payload) {
            (IpVersion::V4, Payload::Icmp { icmp_type: 8 | 13 | 15 | 17, code: _ })
            | (IpVersion::V6, Payload::Icmp { icmp_type: 128 | 139, code: _ }) => Self::New,
            (IpVersion::V6, Payload::Icmp { icmp_type: 130..=136 | 143 | 151 | 152, code: _ }) => {
                Self::Untracked
            }
            (_, Payload::Icmp { .. })
            | (IpVersion::V4, Payload::Other { protocol: 58 })
            | (IpVersion::V6, Payload::Other { protocol: 1 }) => Self::Invalid,
            (_, Payload::Ports { .. } | Payload::Other { .. }) => Self::New,
        }
    }

    /// As `--ctstate` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Established => "ESTABLISHED",
            Self::Related => "RELATED",
            Self::Invalid => "INVALID",
            Self::Untracked => "UNTRACKED",
        }
    }
}

impl fmt::Display for Packet {
    /// One line, for people: `new tcp 10.0.0.1:1024 → 10.0.0.2:80, cali1 → cali2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way, source, destination, payload, state, reverse_path } = self;
        write!(f, "{} ", state.name().to_lowercase())?;
        match protocol_name(self.protocol()) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "protocol {}", self.protocol())?,
        }
        match payload {
            Payload::Ports { protocol: _, source: from, destination: to } => {
                write!(f, " {} → {}", WithPort(*source, *from), WithPort(*destination, *to))?;
            }
            Payload::Icmp { icmp_type, code } => {
                write!(f, " type {icmp_type} code {code} {source} → {destination}")?;
            }
            Payload::Other { protocol: _ } => write!(f, " {source} → {destination}")?,
        }
        write!(f, ", {way}")?;
        if *reverse_path { Ok(()) } else { f.write_str(", not routed back") }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded { input, output } => write!(f, "{input} → {output}"),
            Self::ToHost { input } => write!(f, "{input} → host"),
            Self::FromHost { output } => write!(f, "host → {output}"),
        }
    }
}

/// An address and port as people write them.
struct WithPort(IpAddr, u16);

impl fmt::Display for WithPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(address, port) = self;
        match address {
            IpAddr::V4(address) => write!(f, "{address}:{port}"),
            IpAddr::V6(address) => write!(f, "[{address}]:{port}"),
        }
    }
}
