//! The routes of one family as JSON, each with its reason.

use serde::Serialize;

use crate::model::IpVersion;
use crate::routes::{HeldBack, Provenance, Remote, RouteSet, TUNNEL, Tunnel, WantedRoute, Way};

#[derive(Serialize)]
pub(super) struct RoutingRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    neighbours: Vec<NeighbourRecord>,
    routes: Vec<RouteRecord>,
    /// Wanted, and not made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_back: Vec<HeldBackRecord>,
}

#[derive(Serialize)]
struct TunnelRecord {
    device: &'static str,
    /// None where it stays as it is.
    mtu: Option<u32>,
    address: Option<String>,
}

#[derive(Serialize)]
struct NeighbourRecord {
    address: String,
    device: String,
    mac: String,
    endpoint: String,
}

#[derive(Serialize)]
struct RouteRecord {
    destination: String,
    /// As `ip route` takes it.
    text: String,
    because: Reason,
}

/// [`Provenance`] for machines.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Reason {
    Endpoint { endpoint: String },
    FloatingIp { endpoint: String },
    OwnBlock { pool: String },
    Block { node: String, pool: String, way: &'static str },
    Borrowed { node: String, block: String, pool: String, way: &'static str },
    RemoteEndpoint { node: String, endpoint: String, pool: String, way: &'static str },
    TunnelAddress { node: String, pool: String, way: &'static str },
}

#[derive(Serialize)]
pub(super) struct HeldBackRecord {
    destination: String,
    of: String,
    why: String,
}

impl RoutingRecord {
    pub(super) fn of(wanted: &RouteSet, version: IpVersion) -> Self {
        let RouteSet { routes, neighbours, tunnel, held_back, ownership: _ } = wanted;
        let is_ours = |net: &ipnet::IpNet| IpVersion::of(net.addr()) == version;
        let is_v4 = version == IpVersion::V4;
        let neighbours = neighbours.iter().filter(|_| is_v4);
        Self {
            tunnel: tunnel.as_ref().filter(|_| is_v4).map(tunnel_record),
            neighbours: neighbours
                .map(|((device, address), neighbour)| NeighbourRecord {
                    address: address.to_string(),
                    device: device.to_string(),
                    mac: neighbour.mac.to_string(),
                    endpoint: neighbour.endpoint.to_string(),
                })
                .collect(),
            routes: routes.iter().filter(|(net, _)| is_ours(net)).map(|(_, wanted)| route(wanted)).collect(),
            held_back: held_back.iter().filter(|held| is_ours(&held.destination)).map(record).collect(),
        }
    }
}

fn tunnel_record(tunnel: &Tunnel) -> TunnelRecord {
    let Tunnel { mtu, address } = tunnel;
    TunnelRecord { device: TUNNEL, mtu: *mtu, address: address.map(|address| address.to_string()) }
}

fn route(wanted: &WantedRoute) -> RouteRecord {
    let WantedRoute { route, provenance } = wanted;
    RouteRecord {
        destination: route.destination.to_string(),
        text: route.to_string(),
        because: reason(provenance),
    }
}

pub(super) fn reason(provenance: &Provenance) -> Reason {
    match provenance {
        Provenance::Endpoint(endpoint) => Reason::Endpoint { endpoint: endpoint.to_string() },
        Provenance::FloatingIp(endpoint) => Reason::FloatingIp { endpoint: endpoint.to_string() },
        Provenance::OwnBlock { pool } => Reason::OwnBlock { pool: pool.to_string() },
        Provenance::Remote { node, what, pool, way } => {
            let (node, pool, way) = (node.to_string(), pool.to_string(), way_name(*way));
            match what {
                Remote::Block => Reason::Block { node, pool, way },
                Remote::Borrowed { block } => Reason::Borrowed { node, block: block.to_string(), pool, way },
                Remote::Endpoint(endpoint) => {
                    Reason::RemoteEndpoint { node, endpoint: endpoint.to_string(), pool, way }
                }
                Remote::TunnelAddress => Reason::TunnelAddress { node, pool, way },
            }
        }
    }
}

fn way_name(way: Way) -> &'static str {
    match way {
        Way::SameSubnet => "same-subnet",
        Way::Tunnel => "tunnel",
        Way::Plain => "plain",
        Way::IpipOff => "ipip-off",
    }
}

/// Of all families.
pub(super) fn held_back(wanted: &RouteSet) -> Vec<HeldBackRecord> {
    wanted.held_back.iter().map(record).collect()
}

fn record(held: &HeldBack) -> HeldBackRecord {
    let HeldBack { destination, of, why } = held;
    HeldBackRecord { destination: destination.to_string(), of: of.to_string(), why: why.to_string() }
}
