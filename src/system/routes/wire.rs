//! The kernel's messages of routes and neighbours.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::sync::routes::{KernelRoute, RouteKind, Scope};
use crate::system::netlink::{address, attributes, u16_at, u32_at};

pub(super) const NEW_ROUTE: u16 = 24;
pub(super) const DEL_ROUTE: u16 = 25;
pub(super) const NEW_NEIGHBOUR: u16 = 28;
pub(super) const DEL_NEIGHBOUR: u16 = 29;

const HEADER: usize = 12;
const HOP_HEADER: usize = 8;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `RT_TABLE_MAIN`
const MAIN: u32 = 254;

/// A copy that the kernel made for one flow (`RTM_F_CLONED`).
const CLONED: u32 = 0x200;
/// `RTNH_F_ONLINK`
const ONLINK: u8 = 4;
/// The interface of the hop is down (`RTNH_F_DEAD`).
const DEAD: u8 = 1;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;

const UNICAST: u8 = 1;
const BLACKHOLE: u8 = 6;

const SCOPE_GLOBAL: u8 = 0;
const SCOPE_LINK: u8 = 253;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const PERMANENT: u16 = 0x80;

/// A route, its interfaces by number still.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub route: KernelRoute,
    /// None for one that leads nowhere, or has several hops.
    pub interface: Option<u32>,
    /// Of one with several.
    pub hops: Vec<ToldHop>,
}

/// One of several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ToldHop {
    pub interface: u32,
    pub gateway: Option<IpAddr>,
    pub onlink: bool,
    pub weight: u16,
}

/// A neighbour of IPv4.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub interface: u32,
    pub address: Ipv4Addr,
    /// Of a permanent one.
    pub mac: Option<Arc<str>>,
}

/// A route of the main table. None for what is none: copies, other tables, and those for some packets only (by their
/// TOS, which is another route to the kernel).
pub(super) fn route(payload: &[u8]) -> Option<Told> {
    let &[family, length, _, tos, table, protocol, scope, kind, ..] = payload else { return None };
    let flags = u32_at(payload, 8)?;
    if flags & CLONED != 0 || tos != 0 {
        return None;
    }
    let any: IpAddr = match family {
        AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        AF_INET6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let (mut destination, mut table) = (any, u32::from(table));
    let (mut gateway, mut interface, mut metric, mut source, mut mtu) = (None, None, 0, None, None);
    let mut onlink = flags & u32::from(ONLINK) != 0;
    let mut hops = Vec::new();
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            RTA_DST => destination = address(value)?,
            RTA_TABLE => table = u32_at(value, 0)?,
            RTA_GATEWAY => gateway = address(value),
            RTA_VIA => gateway = value.get(2..).and_then(address),
            RTA_OIF => interface = u32_at(value, 0),
            RTA_PRIORITY => metric = u32_at(value, 0)?,
            RTA_PREFSRC => source = address(value),
            RTA_MULTIPATH => hops = self::hops(value),
            RTA_METRICS => mtu = metric_mtu(value),
            _ => {}
        }
    }
    let kind = match kind {
        UNICAST => RouteKind::Unicast,
        BLACKHOLE => RouteKind::Blackhole,
        other => RouteKind::Other(other),
    };
    let scope = match scope {
        SCOPE_GLOBAL => Scope::Global,
        SCOPE_LINK => Scope::Link,
        other => Scope::Other(other),
    };
    let destination = IpNet::new(destination, length).ok()?;
    if let [only] = *hops.as_slice() {
        (gateway, interface, onlink) = (only.gateway, Some(only.interface), only.onlink);
        hops.clear();
    }
    let route = KernelRoute {
        destination,
        kind,
        protocol,
        scope,
        gateway,
        device: None,
        metric,
        onlink,
        hops: Vec::new(),
        mtu,
        source,
    };
    // IPv6 says that what leads nowhere leads to `lo`.
    let interface = interface.filter(|_| kind == RouteKind::Unicast);
    (table == MAIN).then_some(Told { route, interface, hops })
}

/// Those that packets may take. Each has a length, flags, its weight less one, an interface, and attributes.
fn hops(mut value: &[u8]) -> Vec<ToldHop> {
    let mut hops = Vec::new();
    while let Some(length) = u16_at(value, 0).map(usize::from) {
        let Some(hop) = value.get(..length) else { break };
        hops.extend(self::hop(hop));
        // One of no length would be read for ever.
        value = value.get(length.next_multiple_of(4).max(HOP_HEADER)..).unwrap_or_default();
    }
    hops
}

fn hop(hop: &[u8]) -> Option<ToldHop> {
    let (flags, more) = (*hop.get(2)?, *hop.get(3)?);
    let mut gateway = None;
    for (kind, value) in attributes(hop.get(HOP_HEADER..)?) {
        match kind {
            RTA_GATEWAY => gateway = address(value),
            RTA_VIA => gateway = value.get(2..).and_then(address),
            _ => {}
        }
    }
    let interface = u32_at(hop, 4)?;
    let weight = u16::from(more) + 1;
    (flags & DEAD == 0).then_some(ToldHop { interface, gateway, onlink: flags & ONLINK != 0, weight })
}

/// The interface that the answer to a question for one address names.
pub(super) fn interface(payload: &[u8]) -> Option<u32> {
    let mut attributes = attributes(payload.get(HEADER..)?);
    attributes.find(|(kind, _)| *kind == RTA_OIF).and_then(|(_, value)| u32_at(value, 0))
}

fn metric_mtu(metrics: &[u8]) -> Option<u32> {
    attributes(metrics).find(|(kind, _)| *kind == RTAX_MTU).and_then(|(_, value)| u32_at(value, 0))
}

/// None for those of IPv6 and of bridges.
pub(super) fn neighbour(payload: &[u8]) -> Option<Neighbour> {
    if payload.first() != Some(&AF_INET) {
        return None;
    }
    let (interface, state) = (u32_at(payload, 4)?, u16_at(payload, 8)?);
    let (mut to, mut mac) = (None, None);
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            NDA_DST => to = address(value),
            NDA_LLADDR => mac = mac_text(value),
            _ => {}
        }
    }
    let Some(IpAddr::V4(address)) = to else { return None };
    Some(Neighbour { interface, address, mac: mac.filter(|_| state & PERMANENT != 0) })
}

/// None for what is no Ethernet address.
fn mac_text(value: &[u8]) -> Option<Arc<str>> {
    let [a, b, c, d, e, f] = *<&[u8; 6]>::try_from(value).ok()?;
    Some(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn hop(flags: u8, more: u8, interface: u32, gateway: &[u8]) -> Vec<u8> {
        let length = u16::try_from(HOP_HEADER + gateway.len()).unwrap();
        let head = [&length.to_ne_bytes()[..], &[flags, more], &interface.to_ne_bytes()].concat();
        [&head, gateway].concat()
    }

    fn told(hops: &[Vec<u8>]) -> Told {
        let header = [AF_INET, 0, 0, 0, 254, 186, SCOPE_GLOBAL, UNICAST, 0, 0, 0, 0];
        let hops = attribute(RTA_MULTIPATH, &hops.concat());
        route(&[&header[..], &hops].concat()).unwrap()
    }

    #[test]
    fn several_hops() {
        let v4 = attribute(RTA_GATEWAY, &[10, 1, 0, 3]);
        let v6 = attribute(RTA_VIA, &[&10_u16.to_ne_bytes()[..], &[0xfe, 0x80], &[0; 13], &[1]].concat());
        let shown = |hop: &ToldHop| {
            let gateway = hop.gateway.map_or("-".to_owned(), |gateway| gateway.to_string());
            format!("{} {gateway} {}{}", hop.interface, hop.weight, if hop.onlink { " onlink" } else { "" })
        };
        for (hops, expected) in [
            (vec![hop(0, 0, 2, &v4), hop(4, 2, 3, &v6)], vec!["2 10.1.0.3 1", "3 fe80::1 3 onlink"]),
            (vec![hop(0, 0, 2, &[]), hop(0, 255, 3, &[])], vec!["2 - 1", "3 - 256"]),
            (
                vec![hop(DEAD, 0, 2, &v4), hop(0, 0, 3, &v4), hop(0, 0, 4, &v4)],
                vec!["3 10.1.0.3 1", "4 10.1.0.3 1"],
            ),
            // Cut off, or without a length.
            (
                vec![hop(0, 0, 2, &v4), hop(0, 0, 3, &v4), hop(0, 0, 4, &v4)[..9].to_vec()],
                vec!["2 10.1.0.3 1", "3 10.1.0.3 1"],
            ),
            (vec![vec![0; 64]], vec![]),
        ] {
            let Told { route: _, interface, hops } = told(&hops);
            assert_eq!(
                (interface, hops.iter().map(shown).collect::<Vec<_>>()),
                (None, expected.iter().map(ToString::to_string).collect())
            );
        }
        let Told { route, interface, hops } = told(&[hop(DEAD, 0, 2, &v4), hop(4, 0, 3, &v4)]);
        assert_eq!(
            (route.gateway, route.onlink, interface, hops),
            (Some([10, 1, 0, 3].into()), true, Some(3), vec![])
        );
    }
}
