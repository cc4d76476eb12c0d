//! Which packets can be sent at all, and what connection tracking makes of them.

use std::net::IpAddr;

use felix_rs::model::IpVersion;
use felix_rs::verdict::packet::{ConnState, Packet, Payload, Way};

/// What asks for this type of ICMP, where it answers; what answers it, where it asks.
pub fn icmp_counterpart(version: IpVersion, icmp_type: u8) -> Option<u8> {
    const PAIRS: [(IpVersion, u8, u8); 6] = [
        (IpVersion::V4, 8, 0),
        (IpVersion::V4, 13, 14),
        (IpVersion::V4, 15, 16),
        (IpVersion::V4, 17, 18),
        (IpVersion::V6, 128, 129),
        (IpVersion::V6, 139, 140),
    ];
    PAIRS.into_iter().filter(|(of, ..)| *of == version).find_map(|(_, asks, answers)| match icmp_type {
        found if found == asks => Some(answers),
        found if found == answers => Some(asks),
        _ => None,
    })
}

/// Whether a kernel can be asked about the packet; [`unsendable`] has the reasons.
pub fn sendable(packet: &Packet) -> bool {
    unsendable(packet).is_none()
}

/// Why a kernel can't be asked about the packet. It would do something with it, but not what the packet says.
///
/// Whether the host's routes agree with the packet's way is another question: see [`super::World::way`].
pub fn unsendable(packet: &Packet) -> Option<&'static str> {
    let Packet { way, source, destination, payload: _, state: _, reverse_path: _ } = packet;
    odd_way(way)
        .or_else(|| odd_address(*source))
        .or_else(|| odd_address(*destination))
        .or_else(|| odd_protocol(packet))
        .or_else(|| odd_state(packet))
}

/// What the host sends to itself leaves it and comes in: two ways at once.
fn odd_way(way: &Way) -> Option<&'static str> {
    let is_loopback = [way.input(), way.output()].into_iter().flatten().any(|name| **name == *"lo");
    is_loopback.then_some("it is the host's to itself")
}

/// Routing refuses these before most chains, or takes the packet elsewhere, or to many.
fn odd_address(address: IpAddr) -> Option<&'static str> {
    let is_odd = match address {
        IpAddr::V4(address) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_unicast_link_local()
                || address.to_ipv4_mapped().is_some()
        }
    };
    is_odd.then_some("an address is not one of a single host beyond the link")
}

fn odd_protocol(packet: &Packet) -> Option<&'static str> {
    let by_host = !matches!(packet.way, Way::Forwarded { .. });
    match (packet.version(), packet.protocol()) {
        // Hop-by-hop, routing, fragment, authentication, none, destination: headers before that of the protocol.
        (IpVersion::V6, 0 | 43 | 44 | 51 | 59 | 60) => Some("IPv6 reads the number as an extension header's"),
        // `inet_create` refuses it.
        (IpVersion::V4, 0) if by_host => Some("no socket can be given protocol 0"),
        _ => None,
    }
}

fn odd_state(packet: &Packet) -> Option<&'static str> {
    let version = packet.version();
    let first = ConnState::first(version, packet.payload);
    match packet.state {
        ConnState::New => (first != ConnState::New).then_some("it can't open a connection"),
        ConnState::Established => match packet.payload {
            Payload::Icmp { icmp_type, code: _ } => icmp_counterpart(version, icmp_type).is_none(),
            Payload::Ports { .. } | Payload::Other { .. } => first != ConnState::New,
        }
        .then_some("it can't belong to a connection"),
        ConnState::Invalid if first == ConnState::Invalid => None,
        ConnState::Invalid => match (packet.payload, &packet.way) {
            // Generic tracking, since Linux 6.17.
            (Payload::Ports { protocol: 33, .. } | Payload::Other { .. }, _) => {
                Some("tracking finds no fault with any packet of its protocol")
            }
            (Payload::Ports { .. }, _) | (Payload::Icmp { .. }, Way::Forwarded { .. }) => None,
            // A wrong checksum makes it invalid, which is not looked at in what the host sends.
            (Payload::Icmp { .. }, Way::FromHost { .. }) => {
                Some("tracking finds no fault with any that the host sends")
            }
            (Payload::Icmp { .. }, Way::ToHost { .. }) => match version {
                IpVersion::V4 => None,
                IpVersion::V6 => Some("sockets are not given ICMPv6 with a wrong checksum"),
            },
        },
        ConnState::Related => Some("it needs an error about, or a helper of, another connection"),
        ConnState::Untracked => (first != ConnState::Untracked).then_some("only rules make it untracked"),
    }
}
