//! Steps as the kernel is asked for them.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::routes::{Hop, Route, TUNNEL};
use crate::sync::routes::{KernelRoute, RouteKind, RouteStep, Scope};

/// An interface that a step names is not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoInterface;

/// The message and its flags. `index`: the number of an interface.
pub(super) fn request(
    step: &RouteStep,
    index: impl Fn(&str) -> Option<u32>,
) -> Result<(RouteNetlinkMessage, u16), NoInterface> {
    use RouteNetlinkMessage as M;
    let index = |name: &str| index(name).ok_or(NoInterface);
    let replace = NLM_F_CREATE | NLM_F_REPLACE;
    Ok(match step {
        RouteStep::CreateTunnel => {
            let ipip = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::IpIp)]);
            (
                M::NewLink(link(0, vec![LinkAttribute::IfName(TUNNEL.to_owned()), ipip])),
                NLM_F_CREATE | NLM_F_EXCL,
            )
        }
        RouteStep::SetTunnelMtu(mtu) => (M::NewLink(link(index(TUNNEL)?, vec![LinkAttribute::Mtu(*mtu)])), 0),
        RouteStep::RaiseTunnel => {
            let mut message = link(index(TUNNEL)?, Vec::new());
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
            (M::NewLink(message), 0)
        }
        RouteStep::AddTunnelAddress(own) => (M::NewAddress(address(index(TUNNEL)?, *own, 32)), replace),
        RouteStep::RemoveTunnelAddress(net) => {
            (M::DelAddress(address(index(TUNNEL)?, net.addr(), net.prefix_len())), 0)
        }
        RouteStep::DeleteRoute(route) => {
            let interface = route.device.as_deref().map(index).transpose()?;
            (M::DelRoute(deleted(route, interface)), 0)
        }
        RouteStep::ReplaceRoute(route) => {
            let written = KernelRoute::written(route);
            let interface = written.device.as_deref().map(index).transpose()?;
            let mut message = replaced(route, &written, interface);
            if !written.hops.is_empty() {
                let hops =
                    written.hops.iter().map(|hop| Ok(self::hop(hop, route.destination, index(&hop.device)?)));
                message.attributes.push(RouteAttribute::MultiPath(hops.collect::<Result<_, _>>()?));
            }
            (M::NewRoute(message), replace)
        }
        RouteStep::DeleteNeighbour { device, address } => {
            (M::DelNeighbour(neighbour(index(device)?, *address, None)), 0)
        }
        RouteStep::ReplaceNeighbour { device, address, mac } => {
            (M::NewNeighbour(neighbour(index(device)?, *address, Some(mac))), replace)
        }
    })
}

/// Which way packets to an address go.
pub(super) fn lookup(address: IpAddr) -> RouteMessage {
    let net = IpNet::from(address);
    let mut message = RouteMessage::default();
    message.header.address_family = family(net);
    message.header.destination_prefix_length = net.prefix_len();
    message.attributes = vec![RouteAttribute::Destination(address.into())];
    message
}

fn link(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn address(interface: u32, own: Ipv4Addr, length: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.index = interface;
    message.header.prefix_len = length;
    message.attributes = vec![AddressAttribute::Local(own.into()), AddressAttribute::Address(own.into())];
    message
}

fn neighbour(interface: u32, address: Ipv4Addr, mac: Option<&str>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = interface;
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![NeighbourAttribute::Destination(address.into())];
    let bytes = mac.map(|mac| mac.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect());
    message.attributes.extend(bytes.map(NeighbourAttribute::LinkLayerAddress));
    message
}

/// As little as finds it: a scope would have to be told exactly, and is not what it is known by.
fn deleted(route: &KernelRoute, interface: Option<u32>) -> RouteMessage {
    let KernelRoute { destination, kind, protocol, gateway, metric, .. } = route;
    let mut message = to(*destination, *protocol, *metric, *gateway, interface);
    message.header.kind = self::kind(*kind);
    message.header.scope = RouteScope::NoWhere;
    message
}

fn replaced(route: &Route, written: &KernelRoute, interface: Option<u32>) -> RouteMessage {
    let Route { destination, target: _, protocol, metric, source, mtu } = route;
    let mut message = to(*destination, *protocol, *metric, written.gateway, interface);
    message.header.kind = kind(written.kind);
    message.header.scope = match written.scope {
        Scope::Global => RouteScope::Universe,
        Scope::Link => RouteScope::Link,
        Scope::Other(number) => number.into(),
    };
    if written.onlink {
        message.header.flags = RouteFlags::Onlink;
    }
    message.attributes.extend(source.map(|source| RouteAttribute::PrefSource(source.into())));
    message.attributes.extend(mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    message
}

fn to(
    destination: IpNet,
    protocol: u8,
    metric: u32,
    gateway: Option<IpAddr>,
    interface: Option<u32>,
) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::from(protocol);
    message.attributes =
        vec![RouteAttribute::Destination(destination.addr().into()), RouteAttribute::Priority(metric)];
    message.attributes.extend(gateway.map(|gateway| by(destination, gateway)));
    message.attributes.extend(interface.map(RouteAttribute::Oif));
    message
}

/// One of several ways.
fn hop(hop: &Hop, destination: IpNet, interface: u32) -> RouteNextHop {
    let Hop { device: _, gateway, onlink, weight } = hop;
    let mut message = RouteNextHop::default();
    message.interface_index = interface;
    // As the kernel counts.
    message.hops = u8::try_from(weight.saturating_sub(1)).unwrap_or(u8::MAX);
    if *onlink {
        message.flags = RouteNextHopFlags::Onlink;
    }
    message.attributes = gateway.map(|gateway| by(destination, gateway)).into_iter().collect();
    message
}

/// A gateway of the other family needs an attribute of its own.
fn by(destination: IpNet, gateway: IpAddr) -> RouteAttribute {
    match (destination, gateway) {
        (IpNet::V4(_), IpAddr::V6(gateway)) => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        (IpNet::V6(_), IpAddr::V4(gateway)) => RouteAttribute::Via(RouteVia::Inet(gateway)),
        (IpNet::V4(_), IpAddr::V4(_)) | (IpNet::V6(_), IpAddr::V6(_)) => {
            RouteAttribute::Gateway(gateway.into())
        }
    }
}

fn family(destination: IpNet) -> AddressFamily {
    match destination {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    }
}

fn kind(kind: RouteKind) -> RouteType {
    match kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Other(number) => number.into(),
    }
}
