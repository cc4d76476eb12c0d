//! The routes of other programs that lead to other hosts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::ownership::is_ours;
use super::programmed::{KernelRoute, ProgrammedRoutes, RouteKind};
use crate::routes::{Gateway, Hop, LOOPBACK, Ownership, TUNNEL};

/// Those by which one of the `hosts` may be reached: a host that takes part in the Internet's routing has a million.
pub fn gateways(
    programmed: &ProgrammedRoutes,
    ownership: &Ownership,
    hosts: &BTreeSet<IpAddr>,
) -> Vec<Gateway> {
    let leads = |net: &IpNet| hosts.range(net.network()..=net.broadcast()).next().is_some();
    let routes = programmed.routes.iter().filter(|(net, _)| leads(net));
    // Of several the kernel takes that of the lowest metric.
    let best = routes.filter_map(|(destination, there)| {
        let usable = there.iter().filter_map(|route| Some((route.metric, hops(route, ownership)?)));
        let (_, hops) = usable.min_by_key(|(metric, _)| *metric)?;
        Some(Gateway { destination: *destination, hops })
    });
    best.collect()
}

/// Where another's route leads: nowhere, maybe. None where it is ours, or a workload's.
fn hops(route: &KernelRoute, ownership: &Ownership) -> Option<Vec<Hop>> {
    if is_ours(ownership, route) {
        return None;
    }
    if route.kind != RouteKind::Unicast {
        return Some(Vec::new());
    }
    let only = route.device.iter().map(|device| Hop {
        device: device.clone(),
        gateway: route.gateway,
        onlink: route.onlink,
        weight: 1,
    });
    let leads_out = |device: &str| device != TUNNEL && device != LOOPBACK && !ownership.is_workloads(device);
    let all = only.chain(route.hops.iter().cloned());
    let hops: Vec<Hop> = all.filter(|hop| leads_out(&hop.device)).collect();
    (!hops.is_empty()).then_some(hops)
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
        let by = |routes: &[&str]| {
            let mut programmed = ProgrammedRoutes::default();
            for text in routes {
                let route = route(&text.split(' ').collect::<Vec<_>>());
                programmed.routes.entry(route.destination).or_default().push(route);
            }
            let shown = |hop: &Hop| {
                let gateway = hop.gateway.map_or("-".to_owned(), |gateway| gateway.to_string());
                format!("{gateway} {} {}{}", hop.device, hop.weight, if hop.onlink { " onlink" } else { "" })
            };
            let found = gateways(&programmed, &ownership, &hosts);
            let shown = found.iter().map(|found| found.hops.iter().map(shown).collect::<Vec<_>>().join(", "));
            shown.collect::<Vec<_>>()
        };
        for (routes, expected) in [
            (&["172.18.0.0/24 via 172.17.0.1 dev eth0"][..], &["172.17.0.1 eth0 1"][..]),
            (&["0.0.0.0/0 via 172.17.0.1 dev eth0 onlink proto 16"], &["172.17.0.1 eth0 1 onlink"]),
            (&["172.18.0.2/32 via 172.17.0.1 dev eth0 proto 12 metric 32"], &["172.17.0.1 eth0 1"]),
            (&["fd18::/64 via fe80::1 dev eth0 proto 9"], &["fe80::1 eth0 1"]),
            // Without a router: a tunnel's other end, a subnet.
            (&["172.18.0.2/32 dev wg0 scope link"], &["- wg0 1"]),
            (&["172.18.0.0/24 dev eth0 proto 2 scope link"], &["- eth0 1"]),
            // By several ways, of which one is a workload's.
            (
                &["0.0.0.0/0 proto 186 nexthop via 172.17.0.1 dev eth0 weight 1 nexthop dev ppp0 weight 2"],
                &["172.17.0.1 eth0 1, - ppp0 2"],
            ),
            (
                &["0.0.0.0/0 proto 186 nexthop via 172.17.0.1 dev eth0 weight 1 nexthop dev cali1"],
                &["172.17.0.1 eth0 1"],
            ),
            // Nowhere.
            (&["unreachable 172.18.0.0/24 proto 4"], &[""]),
            // The lowest metric of those that count.
            (
                &[
                    "172.18.0.0/24 dev cali1 metric 1",
                    "172.18.0.0/24 dev wlan0 metric 600",
                    "172.18.0.0/24 dev eth0 metric 100",
                ],
                &["- eth0 1"],
            ),
            // To nobody that is known.
            (&["172.19.0.0/24 via 172.17.0.1 dev eth0"], &[]),
            // Ours, and what leads to no host.
            (&["172.18.0.0/24 via 172.17.0.1 dev eth0 proto 80"], &[]),
            (&["blackhole 172.18.0.0/24 proto 80"], &[]),
            (&["172.18.0.0/24 via 172.17.0.1 dev tunl0"], &[]),
            (&["172.18.0.0/24 via 172.17.0.1 dev cali1 proto 12"], &[]),
            (&["172.18.0.0/24 dev lo proto 4"], &[]),
        ] {
            assert_eq!(by(routes), expected, "{routes:?}");
        }
    }
}
