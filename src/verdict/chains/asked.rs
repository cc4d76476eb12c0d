//! What a rule's test asks of a packet, and which of it only the payload can answer.

use std::net::IpAddr;
use std::sync::Arc;

use super::load::Part;
use super::program::PortSide;
use crate::model::PortRange;
use crate::rules::ruleset::{InterfaceMatch, Side};
use crate::verdict::packet::{Payload, Way};

/// What a test says of a packet.
pub(super) enum Tested<'t> {
    Known(bool),
    /// What would have to be known.
    Unknown(&'t str),
    /// It depends on the payload.
    Depends(Asked<'t>),
}

/// What is asked of the payload.
pub(super) enum Asked<'t> {
    Protocol(u8),
    /// A protocol with ports, whatever they are.
    AnyPort,
    Protocols(Vec<u8>),
    Ports(PortSide, &'t [PortRange]),
    Icmp {
        icmp_type: Option<u8>,
        codes: (u8, u8),
    },
    Pairs(Side, &'t [(IpAddr, u8, u16)]),
}

impl Asked<'_> {
    pub(super) fn part(&self) -> Part<'_> {
        match self {
            Self::Protocol(number) => Part::Protocols(std::slice::from_ref(number)),
            Self::AnyPort => Part::Protocols(&Payload::PORT_PROTOCOLS),
            Self::Protocols(numbers) => Part::Protocols(numbers),
            Self::Ports(side, ranges) => Part::Ports(*side, ranges),
            Self::Icmp { icmp_type, codes } => Part::Icmp { icmp_type: *icmp_type, codes: *codes },
            Self::Pairs(side, pairs) => Part::Pairs(*side, pairs),
        }
    }
}

/// Ports, where the destination's may have been translated to one that is known.
pub(super) fn ask_ports(side: PortSide, ranges: &[PortRange], translated: Option<u16>) -> Tested<'_> {
    let within = |port| ranges.iter().any(|range| (range.first..=range.last).contains(&port));
    match (side, translated) {
        (PortSide::Source, _) | (_, None) => Tested::Depends(Asked::Ports(side, ranges)),
        (PortSide::Destination | PortSide::Either, Some(port)) if within(port) => {
            Tested::Depends(Asked::AnyPort)
        }
        (PortSide::Destination, Some(_)) => Tested::Known(false),
        (PortSide::Either, Some(_)) => Tested::Depends(Asked::Ports(PortSide::Source, ranges)),
    }
}

pub(super) fn ask_pairs(side: Side, pairs: &[(IpAddr, u8, u16)], translated: Option<u16>) -> Tested<'_> {
    Tested::Depends(match (side, translated) {
        (Side::Destination, Some(translated)) => {
            let with_port = pairs.iter().filter(|(_, _, port)| *port == translated);
            Asked::Protocols(with_port.map(|(_, protocol, _)| *protocol).collect())
        }
        (Side::Source | Side::Destination, _) => Asked::Pairs(side, pairs),
    })
}

/// A packet without such an interface has one of no name (`ip_tables.c`: `nulldevname`).
pub(super) fn matches_interface(wanted: &InterfaceMatch, interface: Option<&Arc<str>>) -> bool {
    let interface = interface.map_or("", |name| name);
    match wanted {
        InterfaceMatch::Name(name) => **name == *interface,
        InterfaceMatch::Prefix(prefix) => interface.starts_with(&**prefix),
    }
}

/// Whether the address is one of the host's own, as far as its way tells: what is forwarded is between others.
pub(super) fn is_local(side: Side, way: &Way, address: IpAddr, before_routing: bool) -> Option<bool> {
    match (side, way) {
        // It may yet be translated to where it goes.
        (Side::Destination, Way::Forwarded { .. }) if before_routing => None,
        (_, Way::Forwarded { .. }) => Some(false),
        (Side::Destination, Way::ToHost { .. }) => {
            let group = match address {
                IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
                IpAddr::V6(address) => address.is_multicast(),
            };
            Some(!group)
        }
        (Side::Source, Way::FromHost { .. }) => Some(true),
        (Side::Source, Way::ToHost { input: interface })
        | (Side::Destination, Way::FromHost { output: interface }) => Some(&**interface == "lo"),
    }
}
