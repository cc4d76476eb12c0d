//! Plans as texts, and the same carried out by a [`FakeKernel`].

mod random;

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::fake_kernel::{FakeKernel, route as kernel_route};
use super::{ProgrammedRoutes, ProgrammedTunnel, plan};
use crate::config::{ClusterRoutes, Routing};
use crate::model::{IpVersion, WorkloadId};
use crate::routes::{
    Neighbour, Ownership, Provenance, Remote, Route, RouteSet, Target, Tunnel, WantedRoute, Way,
};

const MAC: &str = "ee:ee:ee:ee:ee:ee";

/// Nothing is wanted.
fn nothing(routing: Routing) -> RouteSet {
    RouteSet {
        routes: Default::default(),
        neighbours: Default::default(),
        tunnel: None,
        held_back: Vec::new(),
        ownership: Ownership {
            families: IpVersion::ALL.to_vec(),
            tunnel: true,
            routing,
            prefixes: vec!["cali".to_owned()],
            pools: vec!["10.0.0.0/16".parse().unwrap()],
        },
    }
}

fn endpoint() -> WorkloadId {
    WorkloadId {
        node: "a".into(),
        orchestrator: "k8s".into(),
        workload: "ns/x".into(),
        endpoint: "eth0".into(),
    }
}

/// One that another host has, or down a workload's interface, as `ip route` has it.
fn wanted(text: &str) -> WantedRoute {
    let words: Vec<&str> = text.split(' ').collect();
    let there = kernel_route(&words);
    let target = match (there.gateway, there.device.clone(), there.hops.as_slice()) {
        (Some(gateway), device, _) => Target::Via { gateway, device, onlink: there.onlink },
        (None, Some(device), _) => Target::Link(device),
        (None, None, []) => Target::Blackhole,
        (None, None, hops) => Target::Several(hops.to_vec()),
    };
    let pool: IpNet = "10.0.0.0/16".parse().unwrap();
    let provenance = match &target {
        Target::Blackhole => Provenance::OwnBlock { pool },
        Target::Link(_) => Provenance::Endpoint(endpoint()),
        Target::Via { .. } | Target::Several(_) => {
            Provenance::Remote { node: "b".into(), what: Remote::Block, pool, way: Way::Plain }
        }
    };
    let (protocol, metric) = (there.protocol, if there.metric == 0 { 1024 } else { there.metric });
    let route = Route {
        destination: there.destination,
        target,
        protocol,
        metric,
        source: there.source,
        mtu: there.mtu,
    };
    WantedRoute { route, provenance }
}

fn with_routes(mut set: RouteSet, routes: &[&str]) -> RouteSet {
    set.routes.extend(routes.iter().map(|text| wanted(text)).map(|one| (one.route.destination, one)));
    set
}

fn programmed(routes: &[&str]) -> ProgrammedRoutes {
    let mut programmed = ProgrammedRoutes::default();
    for text in routes {
        let route = kernel_route(&text.split(' ').collect::<Vec<_>>());
        programmed.routes.entry(route.destination).or_default().push(route);
    }
    programmed
}

fn auto() -> RouteSet {
    nothing(Routing::default())
}

fn enabled() -> RouteSet {
    nothing(Routing { cluster_routes: ClusterRoutes::Enabled, ..Routing::default() })
}

/// The plan's text; that a kernel that carried it out needs no other, and that what is remembered is what it has.
fn carried_out(set: &RouteSet, there: &ProgrammedRoutes) -> String {
    let changes = plan(set, there);
    let remembered = there.clone().after(&changes);
    assert!(plan(set, &remembered).is_empty(), "remembered: {}", plan(set, &remembered).text());
    let mut kernel = FakeKernel { has: there.clone() };
    kernel.run(&changes.text());
    assert!(plan(set, &kernel.has).is_empty(), "read back: {}", plan(set, &kernel.has).text());
    changes.text()
}

/// Reference §10.4, and what the issue asks of coexistence.
#[test]
fn routes_are_ours_or_others() {
    const BLOCK: &str = "10.0.1.0/26 via 172.16.0.2 dev eth0 proto 80 metric 1024";
    const LOCAL: &str = "10.0.0.1/32 dev cali1 scope link proto boot metric 1024";
    const BIRD: &str = "10.0.1.0/26 via 172.16.0.2 dev eth0 proto 12";
    const TWO: &str = "10.0.1.0/26 proto 80 metric 1024 nexthop via 172.16.0.2 dev eth0 weight 1 \
                       nexthop via inet6 fe80::1 dev eth1 weight 3 onlink";
    let write = |route: &str| format!("ip route replace {route}\n");
    let gone = |route: &str| format!("ip route del {route}\n");
    let external = || nothing(Routing { remove_external: false, ..Routing::default() });
    let own_protocol = || nothing(Routing { protocol: 99, ..Routing::default() });
    for (what, set, there, expected) in [
        ("written", with_routes(auto(), &[BLOCK]), &[][..], write(BLOCK)),
        ("there already", with_routes(auto(), &[BLOCK, LOCAL]), &[BLOCK, LOCAL], String::new()),
        (
            "moved",
            with_routes(auto(), &[BLOCK]),
            &["10.0.1.0/26 via 172.16.0.9 dev eth0 proto 80 metric 1024"],
            write(BLOCK),
        ),
        (
            "a hole before",
            with_routes(auto(), &[BLOCK]),
            &["blackhole 10.0.1.0/26 proto 80 metric 1024"],
            write(BLOCK),
        ),
        (
            "another metric before",
            with_routes(auto(), &[BLOCK]),
            &["10.0.1.0/26 via 172.16.0.2 dev eth0 proto 80 metric 5"],
            write(BLOCK) + &gone("10.0.1.0/26 via 172.16.0.2 dev eth0 proto 80 metric 5"),
        ),
        (
            "another metric before, and a BIRD takes the block",
            with_routes(auto(), &[BLOCK]),
            &["10.0.1.0/26 via 172.16.0.2 dev eth0 proto 80 metric 5", BIRD],
            gone("10.0.1.0/26 via 172.16.0.2 dev eth0 proto 80 metric 5"),
        ),
        (
            "two of its metric before, and another's",
            with_routes(auto(), &[BLOCK]),
            &[
                "10.0.1.0/26 via 172.16.0.8 dev eth0 proto 80 metric 1024",
                "10.0.1.0/26 via 172.16.0.9 dev eth0 proto 80 metric 1024",
                "10.0.1.0/26 via 172.16.0.2 dev eth0 proto 80 metric 5",
            ],
            gone("10.0.1.0/26 via 172.16.0.9 dev eth0 proto 80 metric 1024")
                + &write(BLOCK)
                + &gone("10.0.1.0/26 via 172.16.0.2 dev eth0 proto 80 metric 5"),
        ),
        ("not wanted any more", auto(), &[BLOCK], gone(BLOCK)),
        ("of a BIRD", auto(), &[BIRD], String::new()),
        ("a BIRD has the block", with_routes(auto(), &[BLOCK]), &[BIRD], String::new()),
        ("a BIRD takes the block", with_routes(auto(), &[BLOCK]), &[BLOCK, BIRD], gone(BLOCK)),
        ("a BIRD beside ours, expressly", with_routes(enabled(), &[BLOCK]), &[BIRD], write(BLOCK)),
        (
            "another in its very place, expressly",
            with_routes(enabled(), &[BLOCK]),
            &["10.0.1.0/26 via 172.16.0.7 dev eth0 proto 4 metric 1024"],
            String::new(),
        ),
        (
            "a BIRD's left in the tunnel, expressly",
            enabled(),
            &["10.0.1.0/26 via 172.16.0.2 dev tunl0 onlink proto 12"],
            gone("10.0.1.0/26 via 172.16.0.2 dev tunl0 proto 12 metric 0"),
        ),
        (
            "a BIRD's in the tunnel",
            with_routes(auto(), &[BLOCK]),
            &["10.0.1.0/26 via 172.16.0.2 dev tunl0 onlink proto 12"],
            String::new(),
        ),
        (
            "anybody's down a workload's interface",
            auto(),
            &["10.0.0.9/32 dev cali1 scope link proto 4"],
            gone("10.0.0.9/32 dev cali1 proto 4 metric 0"),
        ),
        ("the kernel's own there", auto(), &["10.0.0.0/24 dev cali1 scope link proto 2"], String::new()),
        (
            "anybody's, not to be removed",
            external(),
            &["10.0.0.9/32 dev cali1 scope link proto 4"],
            String::new(),
        ),
        (
            "boot's, not to be removed",
            external(),
            &["10.0.0.9/32 dev cali1 scope link"],
            gone("10.0.0.9/32 dev cali1 proto 3 metric 0"),
        ),
        (
            "another's local one beside ours",
            with_routes(external(), &[LOCAL]),
            &["10.0.0.1/32 dev eth0 proto 4"],
            write(LOCAL),
        ),
        ("link-local", auto(), &["fe80::/64 dev cali1 proto 2 metric 256"], String::new()),
        ("a number of another's, with one of our own", own_protocol(), &[BLOCK], String::new()),
        (
            "our own number",
            own_protocol(),
            &["blackhole 10.0.1.0/26 proto 99 metric 1024"],
            gone("blackhole 10.0.1.0/26 proto 99 metric 1024"),
        ),
        (
            "the interface is the kernel's to find",
            with_routes(auto(), &["10.0.1.0/26 via 172.16.0.2 proto 80"]),
            &[BLOCK],
            String::new(),
        ),
        ("two routers instead of one", with_routes(auto(), &[TWO]), &[BLOCK], write(TWO)),
        (
            "two routers, whoever is named first",
            with_routes(auto(), &[TWO]),
            &[
                "10.0.1.0/26 proto 80 metric 1024 nexthop via inet6 fe80::1 dev eth1 weight 3 onlink nexthop via 172.16.0.2 dev eth0 weight 1",
            ],
            String::new(),
        ),
        ("two routers, not wanted any more", auto(), &[TWO], gone("10.0.1.0/26 proto 80 metric 1024")),
        (
            "IPv6",
            with_routes(auto(), &["fd00::1/128 dev cali1"]),
            &["fd00::2/128 dev cali1"],
            "ip -6 route del fd00::2/128 dev cali1 proto 3 metric 1024\n\
             ip -6 route replace fd00::1/128 dev cali1 proto boot metric 1024\n"
                .to_owned(),
        ),
    ] {
        assert_eq!(carried_out(&set, &programmed(there)), expected, "{what}");
    }
}

/// Whoever has an address of a block that moves is found all the time.
#[test]
fn routes_within_others_are_changed_without_a_gap() {
    const WIDE: &str = "10.0.1.0/26 via 172.16.0.2 dev eth0 proto 80 metric 1024";
    const MOVED: &str = "10.0.1.0/26 via 172.16.0.3 dev eth0 proto 80 metric 1024";
    const FIRST: &str = "10.0.1.0/32 via 172.16.0.2 dev eth0 proto 80 metric 1024";
    const LAST: &str = "10.0.1.63/32 via 172.16.0.2 dev eth0 proto 80 metric 1024";
    const LATER: &str = "10.0.1.64/32 via 172.16.0.2 dev eth0 proto 80 metric 1024";
    let write = |route: &str| format!("ip route replace {route}\n");
    let gone = |route: &str| format!("ip route del {route}\n");
    for (what, set, there, expected) in [
        (
            "the narrower first",
            with_routes(auto(), &[MOVED, FIRST, LAST, LATER]),
            &[WIDE][..],
            [write(FIRST), write(LAST), write(MOVED), write(LATER)].concat(),
        ),
        (
            "gone after the wider",
            with_routes(auto(), &[WIDE]),
            &[MOVED, FIRST, LAST, LATER],
            [gone(LATER), write(WIDE), gone(FIRST), gone(LAST)].concat(),
        ),
        ("the wider stays", with_routes(auto(), &[MOVED]), &[MOVED, FIRST], gone(FIRST)),
    ] {
        assert_eq!(carried_out(&set, &programmed(there)), expected, "{what}");
    }
}

#[test]
fn who_has_a_route_that_is_withheld_is_said() {
    let set = with_routes(auto(), &["10.0.1.0/26 via 172.16.0.2 dev eth0 proto 80"]);
    let changes = plan(&set, &programmed(&["10.0.1.0/26 via 172.16.0.2 dev eth0 proto 12 metric 32"]));
    let said: Vec<String> = changes.withheld().iter().map(ToString::to_string).collect();
    assert_eq!(said, ["10.0.1.0/26: another program has a route for it, of protocol 12 (bird)"]);
}

#[test]
fn only_what_is_asked_for_is_touched() {
    let there = programmed(&["blackhole 10.0.1.0/26 proto 80 metric 1024", "blackhole fd00::/122 proto 80"]);
    let only = |versions: &[IpVersion]| plan(&auto().restricted_to(versions), &there).text();
    assert_eq!(only(&[IpVersion::V4]), "ip route del blackhole 10.0.1.0/26 proto 80 metric 1024\n");
    assert_eq!(only(&[IpVersion::V6]), "ip -6 route del blackhole fd00::/122 proto 80 metric 1024\n");
    assert_eq!(only(&[]), "");
}

#[test]
fn what_a_new_interface_brings_along_stays_for_a_moment() {
    let stranger = "10.0.0.9/32 dev cali1 scope link";
    let mut there = programmed(&[stranger]);
    there.neighbours.insert(("cali1".into(), [10, 0, 0, 9].into()), MAC.into());
    there.fresh = BTreeSet::from(["cali1".into()]);
    assert_eq!(carried_out(&auto(), &there), "");
    let taken = with_routes(auto(), &[stranger]);
    assert_eq!(
        carried_out(&taken, &there),
        "ip route replace 10.0.0.9/32 dev cali1 scope link proto boot metric 1024\n",
        "beside the one without a metric"
    );
    there.fresh.clear();
    assert_eq!(
        carried_out(&auto(), &there),
        "ip route del 10.0.0.9/32 dev cali1 proto 3 metric 0\nip neigh del 10.0.0.9 dev cali1\n"
    );
}

#[test]
fn neighbours() {
    let mut set = auto();
    let neighbour = Neighbour { mac: MAC.into(), endpoint: endpoint() };
    set.neighbours.insert(("cali1".into(), [10, 0, 0, 1].into()), neighbour);
    let mut there = ProgrammedRoutes::default();
    let written = "ip neigh replace 10.0.0.1 dev cali1 lladdr ee:ee:ee:ee:ee:ee nud permanent\n";
    assert_eq!(carried_out(&set, &there), written);
    there.neighbours.insert(("cali1".into(), [10, 0, 0, 1].into()), "02:00:00:00:00:01".into());
    there.neighbours.insert(("eth0".into(), [10, 0, 0, 7].into()), MAC.into());
    assert_eq!(carried_out(&set, &there), written, "another's is left alone");
}

fn there(up: bool, mtu: u32, addresses: &[&str]) -> ProgrammedTunnel {
    ProgrammedTunnel::There { up, mtu, addresses: addresses.iter().map(|net| net.parse().unwrap()).collect() }
}

/// Reference §10.5 and §15, row 107.
#[test]
fn the_tunnel_is_made_and_put_right() {
    let tunnel = |mtu, address: Option<[u8; 4]>| RouteSet {
        tunnel: Some(Tunnel { mtu, address: address.map(Into::into) }),
        ..auto()
    };
    let full = || tunnel(Some(1440), Some([10, 0, 0, 1]));
    let whole = "modprobe ipip\nip link set tunl0 mtu 1440\nip addr replace 10.0.0.1/32 dev tunl0\n\
                 ip link set tunl0 up\n";
    for (what, set, is, expected) in [
        ("made", full(), ProgrammedTunnel::Absent, whole),
        ("as it is", full(), there(true, 1440, &["10.0.0.1/32"]), ""),
        ("another MTU", full(), there(true, 50, &["10.0.0.1/32"]), "ip link set tunl0 mtu 1440\n"),
        ("an unknown MTU", tunnel(None, None), there(true, 50, &[]), ""),
        ("down", full(), there(false, 1440, &["10.0.0.1/32"]), "ip link set tunl0 up\n"),
        (
            "other addresses",
            full(),
            there(true, 1440, &["10.0.0.9/32", "169.254.1.1/16"]),
            "ip addr replace 10.0.0.1/32 dev tunl0\nip addr del 10.0.0.9/32 dev tunl0\n",
        ),
        (
            "another length",
            full(),
            there(true, 1440, &["10.0.0.1/24"]),
            "ip addr replace 10.0.0.1/32 dev tunl0\nip addr del 10.0.0.1/24 dev tunl0\n",
        ),
        (
            "not wanted",
            auto(),
            there(true, 1440, &["10.0.0.1/32", "192.0.2.1/32"]),
            "ip addr del 10.0.0.1/32 dev tunl0\n",
        ),
        ("not wanted and not there", auto(), ProgrammedTunnel::Absent, ""),
        ("impossible", full(), ProgrammedTunnel::Impossible, ""),
        ("somebody's", full(), ProgrammedTunnel::Foreign, ""),
    ] {
        let programmed = ProgrammedRoutes { tunnel: is, ..ProgrammedRoutes::default() };
        assert_eq!(carried_out(&set, &programmed), expected, "{what}");
    }
    let mut set = auto();
    set.ownership.pools.clear();
    let given = ProgrammedRoutes {
        tunnel: there(true, 1440, &["10.0.0.1/32"]),
        given: [[10, 0, 0, 1].into()].into(),
        ..ProgrammedRoutes::default()
    };
    assert_eq!(carried_out(&set, &given), "ip addr del 10.0.0.1/32 dev tunl0\n", "its pool is gone, too");
}

#[test]
fn the_tunnel_comes_before_its_routes_and_goes_after_them() {
    let through = "10.0.1.0/26 via 172.16.0.2 dev tunl0 onlink proto 80 metric 1024";
    let mut set = with_routes(auto(), &[through]);
    set.tunnel = Some(Tunnel { mtu: None, address: Some([10, 0, 0, 1].into()) });
    let made = "modprobe ipip\nip addr replace 10.0.0.1/32 dev tunl0\nip link set tunl0 up\n";
    assert_eq!(
        carried_out(&set, &ProgrammedRoutes::default()),
        format!("{made}ip route replace {through}\n")
    );
    let mut has = programmed(&[through]);
    has.tunnel = there(true, 1480, &["10.0.0.1/32"]);
    assert_eq!(
        carried_out(&auto(), &has),
        "ip route del 10.0.1.0/26 via 172.16.0.2 dev tunl0 proto 80 metric 1024\n\
         ip addr del 10.0.0.1/32 dev tunl0\n"
    );
    has = ProgrammedRoutes { tunnel: ProgrammedTunnel::Impossible, ..ProgrammedRoutes::default() };
    let changes = plan(&set, &has);
    assert!(changes.is_empty());
    assert_eq!(changes.withheld()[0].to_string(), "10.0.1.0/26: there can be no tunnel");
}
