//! What is in the packets that a run takes through a program: one payload, or a set of them that go the same way.

use std::net::IpAddr;

use super::program::PortSide;
use crate::model::{IpVersion, PortRange};
use crate::rules::ruleset::Side;
use crate::verdict::packet::Payload;
use crate::verdict::services::Services;

/// Payloads that have gone the same way so far.
pub trait Load: Clone {
    /// Most ways that one run may part into.
    const MAX_WAYS: usize;

    /// Those that the part has, and those that it has not; None where there are none.
    fn split(self, version: IpVersion, part: &Part<'_>) -> (Option<Self>, Option<Self>);

    /// All of both.
    fn join(self, other: Self) -> Self;
}

/// What a test asks of payloads.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    Protocols(&'a [u8]),
    /// One of the ports is in one of the ranges.
    Ports(PortSide, &'a [PortRange]),
    Icmp {
        icmp_type: Option<u8>,
        codes: (u8, u8),
    },
    /// Protocol and port of that side are in the list, whose addresses are all the same; sorted.
    Pairs(Side, &'a [(IpAddr, u8, u16)]),
}

impl Load for Payload {
    /// One payload parts only where something isn't modelled.
    const MAX_WAYS: usize = 256;

    fn split(self, version: IpVersion, part: &Part<'_>) -> (Option<Self>, Option<Self>) {
        let has = match (part, self) {
            (Part::Protocols(protocols), payload) => protocols.contains(&payload.protocol(version)),
            (Part::Ports(side, ranges), Self::Ports { protocol: _, source, destination }) => {
                let within = |port| ranges.iter().any(|range| (range.first..=range.last).contains(&port));
                match side {
                    PortSide::Source => within(source),
                    PortSide::Destination => within(destination),
                    PortSide::Either => within(source) || within(destination),
                }
            }
            (Part::Pairs(side, pairs), Self::Ports { protocol, source, destination }) => {
                let port = match side {
                    Side::Source => source,
                    Side::Destination => destination,
                };
                pairs.binary_search_by(|(_, p, q)| (*p, *q).cmp(&(protocol, port))).is_ok()
            }
            (Part::Icmp { icmp_type: wanted, codes: (first, last) }, Self::Icmp { icmp_type, code }) => {
                wanted.is_none_or(|wanted| wanted == icmp_type) && (*first..=*last).contains(&code)
            }
            (Part::Ports(..) | Part::Pairs(..), Self::Icmp { .. } | Self::Other { .. })
            | (Part::Icmp { .. }, Self::Ports { .. } | Self::Other { .. }) => false,
        };
        if has { (Some(self), None) } else { (None, Some(self)) }
    }

    fn join(self, _same: Self) -> Self {
        self
    }
}

impl Load for Services {
    /// A set parts at every rule that speaks of some of it.
    const MAX_WAYS: usize = 65_536;

    fn split(self, version: IpVersion, part: &Part<'_>) -> (Option<Self>, Option<Self>) {
        let part = part.services(version);
        let some = |services: Self| (!services.is_empty()).then_some(services);
        (some(self.and(&part)), some(self.minus(&part)))
    }

    fn join(self, other: Self) -> Self {
        self.or(&other)
    }
}

impl Part<'_> {
    fn services(&self, version: IpVersion) -> Services {
        let any = |parts: &mut dyn Iterator<Item = Services>| {
            parts.fold(Services::none(version), |all, one| all.or(&one))
        };
        let with_port = |side: Side| match side {
            Side::Source => Services::from_ports,
            Side::Destination => Services::to_ports,
        };
        let ports = |side: Side, ranges: &[PortRange]| {
            any(&mut ranges.iter().flat_map(|range| {
                Payload::PORT_PROTOCOLS.map(|protocol| with_port(side)(version, protocol, *range))
            }))
        };
        match self {
            Self::Protocols(protocols) => {
                any(&mut protocols.iter().map(|protocol| Services::protocol(version, *protocol)))
            }
            Self::Ports(PortSide::Source, ranges) => ports(Side::Source, ranges),
            Self::Ports(PortSide::Destination, ranges) => ports(Side::Destination, ranges),
            Self::Ports(PortSide::Either, ranges) => {
                ports(Side::Source, ranges).or(&ports(Side::Destination, ranges))
            }
            Self::Icmp { icmp_type, codes: (first, last) } => {
                let icmp_type =
                    icmp_type.map_or((0, u16::MAX), |icmp_type| (icmp_type.into(), icmp_type.into()));
                let codes = ((*first).into(), (*last).into());
                Services::rectangle(version, Payload::icmp_of(version), icmp_type, codes)
            }
            Self::Pairs(side, pairs) => any(&mut pairs.iter().map(|(_, protocol, port)| {
                with_port(*side)(version, *protocol, PortRange { first: *port, last: *port })
            })),
        }
    }
}
