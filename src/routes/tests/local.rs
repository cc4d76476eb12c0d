//! Routes to the host's own workloads.

use super::*;

#[test]
fn each_address_goes_down_the_endpoints_interface() {
    let both = "ipNetworks: [10.0.0.1, 'fd00::1'], mac: 'ee:ee:ee:ee:ee:ee'";
    let world = || World::new(&[workload(HOST, "x", both), workload("b", "y", "ipNetworks: [10.0.0.2]")]);
    let v4 = "10.0.0.1/32 dev cali-x scope link proto boot metric 1024";
    let v6 = "fd00::1/128 dev cali-x proto boot metric 1024";
    for (parameters, expected) in [
        (&[][..], &[v4, v6][..]),
        (&["Ipv6Support=false"], &[v4]),
        (&["RouteSyncDisabled=true"], NONE),
        (&["ProgramClusterRoutes=Disabled"], &[v4, v6]),
        (
            &["DeviceRouteProtocol=99", "IPv4NormalRoutePriority=7", "DeviceRouteSourceAddress=10.9.9.9"],
            &[
                "10.0.0.1/32 dev cali-x scope link proto 99 metric 7 src 10.9.9.9",
                "fd00::1/128 dev cali-x proto 99 metric 1024",
            ],
        ),
        (
            &["IPv6NormalRoutePriority=8", "DeviceRouteSourceAddressIPv6=fd00::9", "DeviceRouteProtocol=80"],
            &[
                "10.0.0.1/32 dev cali-x scope link proto 80 metric 1024",
                "fd00::1/128 dev cali-x proto 80 metric 8 src fd00::9",
            ],
        ),
    ] {
        assert_eq!(world().set(parameters).lines(), expected, "{parameters:?}");
    }
    let neighbours = world().made().neighbours;
    let neighbours: Vec<String> =
        neighbours.iter().map(|((device, ip), n)| format!("{device} {ip} {}", n.mac)).collect();
    assert_eq!(neighbours, ["cali-x 10.0.0.1 ee:ee:ee:ee:ee:ee"], "IPv6 asks for itself");
}

#[test]
fn floating_ips_where_they_are_translated() {
    let nat = "ipNetworks: [10.0.0.1], ipNATs: [{internalIP: 10.0.0.1, externalIP: 172.16.9.9}]";
    let world = || World::new(&[workload(HOST, "x", nat)]);
    assert_eq!(world().short(), ["10.0.0.1/32 dev cali-x scope link"]);
    assert_eq!(
        world().set(&["FloatingIPs=Enabled"]).short(),
        ["10.0.0.1/32 dev cali-x scope link", "172.16.9.9/32 dev cali-x scope link"]
    );
}

#[test]
fn interfaces_must_be_up_and_workloads() {
    let endpoint =
        |rest: &str| World::new(&[workload(HOST, "x", &format!("ipNetworks: [10.0.0.1], {rest}"))]);
    let route = "10.0.0.1/32 dev cali-x scope link";
    let held = |why: &str| format!("! 10.0.0.1/32 of WorkloadEndpoint a/k8s/ns/x/eth0: its interface {why}");
    for (world, expected) in [
        (endpoint("").links(&["cali-x: 4"]), route.to_owned()),
        (endpoint("").links(&["cali-x: down"]), held("cali-x is not up")),
        (endpoint("").links(&["cali-y: 4"]), held("cali-x is not up")),
        (
            endpoint("interfaceName: eth0").links(&["eth0: 2"]),
            held("eth0 begins with no prefix of InterfacePrefix"),
        ),
    ] {
        assert_eq!(world.short(), [expected]);
    }
    let v1 = "---\n{apiVersion: v1, kind: workloadEndpoint, metadata: {name: e, node: a, orchestrator: o, \
                    workload: w}, spec: {interfaceName: cali-x, ipNetworks: [10.0.0.1/32]}}\n";
    assert_eq!(World::new(&[v1.to_owned()]).short(), [route]);
}

/// Reference §10.4: of those that are up the interface that came later; then the lowest id.
#[test]
fn an_address_of_two_endpoints_goes_to_one() {
    let world = || World::new(&["x", "y"].map(|pod| workload(HOST, pod, "ipNetworks: [10.0.0.1]")));
    let (to_x, to_y) = ("10.0.0.1/32 dev cali-x scope link", "10.0.0.1/32 dev cali-y scope link");
    let id = |pod: &str| format!("WorkloadEndpoint a/k8s/ns/{pod}/eth0");
    let yields = |loser: &str, winner: &str| format!("! 10.0.0.1/32 of {}: {} has it", id(loser), id(winner));
    for (world, expected) in [
        (world(), [to_x.to_owned(), yields("y", "x")]),
        (world().links(&["cali-x: 4", "cali-y: 5"]), [to_y.to_owned(), yields("x", "y")]),
        (world().links(&["cali-x: 6", "cali-y: 5"]), [to_x.to_owned(), yields("y", "x")]),
        (
            world().links(&["cali-x: 4", "cali-y: down"]),
            [to_x.to_owned(), format!("! 10.0.0.1/32 of {}: its interface cali-y is not up", id("y"))],
        ),
    ] {
        assert_eq!(world.short(), expected);
    }
    let shared = ["x", "y"].map(|pod| workload(HOST, pod, "interfaceName: cali1, ipNetworks: [10.0.0.1]"));
    assert_eq!(World::new(&shared).short(), ["10.0.0.1/32 dev cali1 scope link"], "one is shadowed");
}

/// The route would come before the way to that host.
#[test]
fn no_workload_has_a_hosts_address() {
    let nodes = [
        node(HOST, "ipv4Address: 172.16.0.1/24, ipv4IPIPTunnelAddr: 10.0.0.9"),
        node("b", "ipv4Address: 172.16.0.2/24, ipv6Address: 'fd16::2/64'"),
    ];
    let world = |addresses: &str| {
        let endpoint = workload(HOST, "x", addresses);
        World::new(&[&nodes[..], &[endpoint]].concat()).set(&["FloatingIPs=Enabled"])
    };
    let route = |destination: &str| format!("{destination} dev cali-x scope link");
    let own = |destination: &str| {
        format!(
            "! {destination} of WorkloadEndpoint a/k8s/ns/x/eth0: it is a host's own address, which no workload has"
        )
    };
    for (addresses, expected) in [
        ("ipNetworks: [10.0.0.1]", vec![route("10.0.0.1/32")]),
        ("ipNetworks: [172.16.0.2]", vec![own("172.16.0.2/32")]),
        ("ipNetworks: ['fd16::2']", vec![own("fd16::2/128")]),
        ("ipNetworks: [172.16.0.1]", vec![own("172.16.0.1/32")]),
        ("ipNetworks: [10.0.0.9]", vec![own("10.0.0.9/32")]),
        (
            "ipNetworks: [10.0.0.1], ipNATs: [{internalIP: 10.0.0.1, externalIP: 172.16.0.2}]",
            vec![route("10.0.0.1/32"), own("172.16.0.2/32")],
        ),
    ] {
        assert_eq!(world(addresses).short(), expected, "{addresses}");
    }
}

#[test]
fn a_local_route_comes_before_one_to_another_host() {
    let world = World::new(&[
        workload(HOST, "x", "ipNetworks: [10.0.0.1]"),
        pool("10.0.0.0/16", ""),
        node(HOST, "ipv4Address: 172.16.0.1/24"),
        node("b", "ipv4Address: 172.16.0.2/24"),
        block("10.0.0.0/26", HOST, &[(1, "b")]),
    ]);
    assert_eq!(
        world.short(),
        [
            "blackhole 10.0.0.0/26",
            "10.0.0.1/32 dev cali-x scope link",
            "! 10.0.0.1/32 of Node b: WorkloadEndpoint a/k8s/ns/x/eth0 has it"
        ]
    );
}
