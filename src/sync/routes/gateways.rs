//! The routers that other programs' routes lead through.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::ownership::is_ours;
use super::programmed::{KernelRoute, ProgrammedRoutes, RouteKind};
use crate::routes::{Gateway, Ownership, TUNNEL};

/// Those by which one of the `hosts` may be reached: a host that takes part in the Internet's routing has a million.
pub fn gateways(
    programmed: &ProgrammedRoutes,
    ownership: &Ownership,
    hosts: &BTreeSet<IpAddr>,
) -> Vec<Gateway> {
    let leads = |net: &IpNet| hosts.range(net.network()..=net.broadcast()).next().is_some();
    let routes = programmed.routes.iter().filter(|(net, _)| leads(net));
    // Of several the kernel takes that of the lowest metric.
    let best = routes.filter_map(|(_, there)| {
        let usable = there.iter().filter(|route| is_way(route, ownership));
        usable.min_by_key(|route| route.metric)
    });
    best.filter_map(|route| {
        let (gateway, device) = (route.gateway?, route.device.clone()?);
        Some(Gateway { destination: route.destination, gateway, device })
    })
    .collect()
}

fn is_way(route: &KernelRoute, ownership: &Ownership) -> bool {
    let elsewhere = |device: &str| device != TUNNEL && !ownership.is_workloads(device);
    route.kind == RouteKind::Unicast
        && route.gateway.is_some()
        && route.device.as_deref().is_some_and(elsewhere)
        && !is_ours(ownership, route)
}
