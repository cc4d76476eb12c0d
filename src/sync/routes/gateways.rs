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

#[cfg(test)]
mod tests {
    use super::super::fake_kernel::route;
    use super::*;
    use crate::config::Routing;
    use crate::model::IpVersion;

    #[test]
    fn only_ways_of_others_to_hosts_count() {
        let ownership = Ownership {
            families: IpVersion::ALL.to_vec(),
            tunnel: true,
            routing: Routing::default(),
            prefixes: vec!["cali".to_owned()],
            pools: Vec::new(),
        };
        let hosts = ["172.18.0.2", "fd18::2"].map(|host| host.parse().unwrap()).into();
        for (text, leads) in [
            ("172.18.0.0/24 via 172.17.0.1 dev eth0", true),
            ("0.0.0.0/0 via 172.17.0.1 dev eth0 proto 16", true),
            ("172.18.0.2/32 via 172.17.0.1 dev eth0 proto 12 metric 32", true),
            ("fd18::/64 via fe80::1 dev eth0 proto 9", true),
            // To nobody that is known.
            ("172.19.0.0/24 via 172.17.0.1 dev eth0", false),
            // Ours, and what is no router.
            ("172.18.0.0/24 via 172.17.0.1 dev eth0 proto 80", false),
            ("172.18.0.0/24 via 172.17.0.1 dev tunl0", false),
            ("172.18.0.0/24 via 172.17.0.1 dev cali1 proto 12", false),
            ("172.18.0.0/24 dev eth0 proto 2", false),
            ("blackhole 172.18.0.0/24 proto 12", false),
        ] {
            let route = route(&text.split(' ').collect::<Vec<_>>());
            let mut programmed = ProgrammedRoutes::default();
            programmed.routes.insert(route.destination, vec![route]);
            assert_eq!(gateways(&programmed, &ownership, &hosts).len(), usize::from(leads), "{text}");
        }
    }
}
