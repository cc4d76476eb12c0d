//! Routes to other hosts.

use super::*;
use crate::routes::{Gateway, Hop};

const ETH0: &str = "eth0: 2 mtu=1500 172.16.0.1/24 fd16::1/64";

/// Two hosts in one subnet and a third in another, a block each, and the pool.
fn three(modes: &str) -> Vec<String> {
    vec![
        pool("10.0.0.0/16", modes),
        node(HOST, "ipv4Address: 172.16.0.1/24"),
        node("b", "ipv4Address: 172.16.0.2/24"),
        node("c", "ipv4Address: 172.17.0.3/24"),
        block("10.0.0.0/26", HOST, &[]),
        block("10.0.1.0/26", "b", &[]),
        block("10.0.2.0/26", "c", &[]),
    ]
}

const OWN: &str = "blackhole 10.0.0.0/26";
const TUNNEL_B: &str = "10.0.1.0/26 via 172.16.0.2 dev tunl0 onlink mtu 1480";
const TUNNEL_C: &str = "10.0.2.0/26 via 172.17.0.3 dev tunl0 onlink mtu 1480";
const PLAIN_B: &str = "10.0.1.0/26 via 172.16.0.2 dev eth0";
const PLAIN_C: &str = "10.0.2.0/26 via 172.17.0.3 dev eth0 onlink";

/// Reference §10.3; a gateway in a connected subnet needs no `onlink` (the report's S2).
#[test]
fn pools_and_parameters_decide_the_way() {
    for (modes, parameters, expected) in [
        ("", &[][..], &[OWN, PLAIN_B, PLAIN_C][..]),
        ("disabled: true", &[], &[OWN, PLAIN_B, PLAIN_C]),
        ("ipipMode: Always", &[], &[OWN, TUNNEL_B, TUNNEL_C]),
        ("ipipMode: Always, disabled: true", &[], &[OWN, TUNNEL_B, TUNNEL_C]),
        ("ipipMode: CrossSubnet", &[], &[OWN, PLAIN_B, TUNNEL_C]),
        ("ipipMode: Always", &["IpInIpEnabled=false"], &[OWN, PLAIN_B, PLAIN_C]),
        ("", &["IpInIpEnabled=true"], &[OWN, PLAIN_B, PLAIN_C]),
        ("", &["ProgramClusterRoutes=Enabled"], &[OWN, PLAIN_B, PLAIN_C]),
        ("", &["ProgramClusterRoutes=EnabledNoEncapOnly"], &[OWN, PLAIN_B, PLAIN_C]),
        ("", &["ProgramClusterRoutes=EnabledIPIPOnly"], NONE),
        ("", &["ProgramClusterRoutes=Disabled"], NONE),
        ("ipipMode: CrossSubnet", &["ProgramClusterRoutes=EnabledIPIPOnly"], &[OWN, PLAIN_B, TUNNEL_C]),
        ("ipipMode: CrossSubnet", &["ProgramClusterRoutes=EnabledNoEncapOnly"], NONE),
        ("ipipMode: Always", &["RouteSyncDisabled=true"], NONE),
    ] {
        let world = World::new(&three(modes)).links(&[ETH0]).set(parameters);
        assert_eq!(world.short(), expected, "{modes} {parameters:?}");
    }
    let world = World::new(&three("vxlanMode: Always")).links(&[ETH0]);
    let vxlan = |block: &str, node: &str| {
        format!("! {block} of Node {node}: pool 10.0.0.0/16 wants VXLAN, which is not made here")
    };
    assert_eq!(
        world.short(),
        [vxlan("10.0.0.0/26", HOST), vxlan("10.0.1.0/26", "b"), vxlan("10.0.2.0/26", "c")]
    );
}

#[test]
fn protocol_metric_and_mtu() {
    for (parameters, expected) in [
        (&["IpInIpMtu=1440"][..], "onlink proto 80 metric 1024 mtu 1440"),
        (&["DeviceRouteProtocol=99", "IPv4NormalRoutePriority=5"], "onlink proto 99 metric 5 mtu 1480"),
    ] {
        let world = World::new(&three("ipipMode: Always")).links(&[ETH0]).set(parameters);
        assert_eq!(world.lines()[1], format!("10.0.1.0/26 via 172.16.0.2 dev tunl0 {expected}"));
    }
}

/// What a dry run knows: the kernel finds the interface by the gateway.
#[test]
fn where_nobody_looked_the_own_address_is_taken_to_be_there() {
    let held = "! 10.0.2.0/26 of Node c: no interface is known that leads to 172.17.0.3";
    let world = World::new(&three(""));
    assert_eq!(world.short(), [OWN, "10.0.1.0/26 via 172.16.0.2", held]);
    let mut told = World::new(&three("")).links(&[ETH0]);
    told.uplinks.complete = false;
    assert_eq!(told.short(), [OWN, PLAIN_B, PLAIN_C]);
    let tunnel = |line: &str| line.trim_end_matches(" mtu 1480").to_owned();
    let world = World::new(&three("ipipMode: Always"));
    assert_eq!(world.short(), [OWN.to_owned(), tunnel(TUNNEL_B), tunnel(TUNNEL_C)]);
}

#[test]
fn interfaces_that_lead_to_another_host() {
    let hop = Hop {
        device: "eth0".into(),
        gateway: Some("172.16.0.254".parse().unwrap()),
        onlink: false,
        weight: 1,
    };
    let router = Gateway { destination: "0.0.0.0/0".parse().unwrap(), hops: vec![hop] };
    let with_router = |links: &[&str]| {
        let mut world = World::new(&three("")).links(links);
        world.uplinks.gateways = vec![router.clone()];
        world
    };
    let no_way = |block: &str, node: &str, to: &str| {
        format!("! {block} of Node {node}: no interface is known that leads to {to}")
    };
    let nowhere =
        [OWN.to_owned(), no_way("10.0.1.0/26", "b", "172.16.0.2"), no_way("10.0.2.0/26", "c", "172.17.0.3")];
    let strings = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    let bare = "eth0: 2 172.16.0.1/32";
    for (what, world, expected) in [
        ("a router", with_router(&[ETH0]), strings(&[OWN, PLAIN_B, "10.0.2.0/26 via 172.16.0.254 dev eth0"])),
        (
            "two uplinks",
            World::new(&three("")).links(&[ETH0, "eth1: 3 172.17.0.1/24"]),
            strings(&[OWN, PLAIN_B, "10.0.2.0/26 via 172.17.0.3 dev eth1"]),
        ),
        (
            "a smaller subnet",
            World::new(&three("")).links(&[ETH0, "eth1: 3 172.16.0.9/30", "eth2: 4 172.16.0.3/30"]),
            strings(&[OWN, "10.0.1.0/26 via 172.16.0.2 dev eth2", PLAIN_C]),
        ),
        (
            "a network without subnets",
            World::new(&three("")).links(&[bare]),
            strings(&[OWN, "10.0.1.0/26 via 172.16.0.2 dev eth0 onlink", PLAIN_C]),
        ),
        ("down", World::new(&three("")).links(&["eth0: down 2 172.16.0.1/24"]), nowhere.to_vec()),
        ("a workload's", World::new(&three("")).links(&["cali1: 2 172.16.0.1/24"]), nowhere.to_vec()),
        ("the tunnel", World::new(&three("")).links(&["tunl0: 2 172.16.0.1/24"]), nowhere.to_vec()),
        (
            "no way but the tunnel (reference §15, row 105)",
            World::new(&three("ipipMode: CrossSubnet")).links(&[]),
            strings(&[OWN, TUNNEL_B.trim_end_matches(" mtu 1480"), TUNNEL_C.trim_end_matches(" mtu 1480")]),
        ),
    ] {
        assert_eq!(world.short(), expected, "{what}");
    }
}

/// Of subnets, routes down a device and routes through a router the longest prefix wins, whatever it is.
#[test]
fn the_way_to_another_host_is_the_kernels() {
    let world = |uplinks: &[&str]| {
        World::new(&[
            pool("10.0.0.0/16", ""),
            node(HOST, "ipv4Address: 10.8.0.1/32"),
            node("b", "ipv4Address: 10.8.0.2/32"),
            block("10.0.1.0/26", "b", &[]),
        ])
        .told(uplinks)
    };
    for (what, uplinks, expected) in [
        (
            "down a device",
            &["wg0=10.8.0.1/32,to=10.8.0.2/32", "eth0=203.0.113.9/24,via=203.0.113.1"][..],
            "10.0.1.0/26 via 10.8.0.2 dev wg0 onlink",
        ),
        (
            "everything down a device",
            &["ppp0=10.8.0.1/32,to=0.0.0.0/0", "eth0=203.0.113.9/24"],
            "10.0.1.0/26 via 10.8.0.2 dev ppp0 onlink",
        ),
        (
            "a longer prefix than the subnet's",
            &["eth0=10.8.0.1/16,to=10.8.0.2/32@10.8.0.254"],
            "10.0.1.0/26 via 10.8.0.254 dev eth0",
        ),
        (
            "a shorter one",
            &["eth0=10.8.0.1/16,to=10.0.0.0/8@10.8.0.254"],
            "10.0.1.0/26 via 10.8.0.2 dev eth0",
        ),
        ("the subnet's own route", &["eth0=10.8.0.1/16,to=10.8.0.0/16"], "10.0.1.0/26 via 10.8.0.2 dev eth0"),
        (
            "that of the second interface with the subnet",
            &["eth0=10.8.0.1/16", "eth1=10.8.9.1/16,to=10.8.0.0/16"],
            "10.0.1.0/26 via 10.8.0.2 dev eth1",
        ),
        (
            "two routers, and the address is lo's",
            &["lo=10.8.0.1/32", "eth1=10.2.0.2/31,via=10.2.0.3", "eth0=10.1.0.2/31,via=10.1.0.3"],
            "10.0.1.0/26 nexthop via 10.1.0.3 dev eth0 weight 1 nexthop via 10.2.0.3 dev eth1 weight 1",
        ),
        (
            "routers of which one's interface is not there",
            &["lo=10.8.0.1/32", "cali1=10.2.0.2/31,via=10.2.0.3", "eth0=10.1.0.2/31,via=10.1.0.3"],
            "10.0.1.0/26 via 10.1.0.3 dev eth0",
        ),
        (
            "a router that is known by its address of IPv6",
            &["lo=10.8.0.1/32", "eth0=fd16::1/64,to=0.0.0.0/0@fe80::1"],
            "10.0.1.0/26 via inet6 fe80::1 dev eth0",
        ),
        (
            "lo leads nowhere",
            &["lo=10.8.0.1/32", "eth0=10.1.0.2/31"],
            "! 10.0.1.0/26 of Node b: no interface is known that leads to 10.8.0.2",
        ),
    ] {
        assert_eq!(world(uplinks).short(), [expected], "{what}");
    }
}

#[test]
fn borrowed_addresses() {
    let with =
        |blocks: &[String]| World::new(&[&three("ipipMode: Always")[..], blocks].concat()).links(&[ETH0]);
    let lent = block("10.0.1.0/26", "b", &[(1, "b"), (2, "c"), (3, HOST)]);
    assert_eq!(
        with(&[lent]).short(),
        [OWN, TUNNEL_B, "10.0.1.2/32 via 172.17.0.3 dev tunl0 onlink mtu 1480", TUNNEL_C],
        "what this host borrowed goes to its endpoint"
    );
    let own = block("10.0.0.0/26", HOST, &[(5, "b")]);
    assert_eq!(
        with(&[own]).short(),
        [OWN, "10.0.0.5/32 via 172.16.0.2 dev tunl0 onlink mtu 1480", TUNNEL_B, TUNNEL_C]
    );
}

/// Reference §15, rows 106 and 108.
#[test]
fn tunnel_addresses() {
    let with = |address: &str| {
        let b = node("b", &format!("ipv4Address: 172.16.0.2/24, ipv4IPIPTunnelAddr: {address}"));
        World::new(&[three("ipipMode: Always"), vec![b]].concat()).links(&[ETH0]).short()
    };
    assert_eq!(with("10.0.1.9"), [OWN, TUNNEL_B, TUNNEL_C], "in its own block");
    let line = |address: &str| format!("{address}/32 via 172.16.0.2 dev tunl0 onlink mtu 1480");
    assert_eq!(with("10.0.2.9"), [OWN, TUNNEL_B, TUNNEL_C, &line("10.0.2.9")], "in another's");
    assert_eq!(with("10.0.0.9"), [OWN, &line("10.0.0.9"), TUNNEL_B, TUNNEL_C], "in this host's");
    assert_eq!(with("10.0.9.9"), [OWN, TUNNEL_B, TUNNEL_C, &line("10.0.9.9")], "in none");
    assert_eq!(with("10.9.9.9"), [OWN, TUNNEL_B, TUNNEL_C], "in no pool");
}

/// What would lead a host's own packets astray.
#[test]
fn addresses_of_hosts() {
    let world = |pool: String, own: &str, blocks: &[String]| {
        let nodes = [node(HOST, &format!("ipv4Address: {own}/24")), node("b", "ipv4Address: 172.16.0.2/24")];
        World::new(&[&[pool], &nodes[..], blocks].concat()).links(&[&format!("eth0: 2 {own}/24")])
    };
    let ipip = || pool("172.16.0.0/16", "ipipMode: Always");
    let plain = || pool("172.16.0.0/16", "");
    let astray = |block: &str, node: &str, address: &str| {
        format!(
            "! {block} of Node {node}: it holds the host address {address}, \
             and packets to that host would take this route"
        )
    };
    let theirs = || block("172.16.0.0/26", "b", &[]);
    for (what, world, expected) in [
        (
            "both hosts' addresses, through the tunnel",
            world(ipip(), "172.16.0.1", &[theirs()]),
            vec![astray("172.16.0.0/26", "b", "172.16.0.2")],
        ),
        (
            "both hosts' addresses, as they are",
            world(plain(), "172.16.0.1", &[theirs()]),
            vec!["172.16.0.0/26 via 172.16.0.2 dev eth0".to_owned()],
        ),
        (
            "this host's own alone: the kernel knows it",
            world(ipip(), "172.16.0.65", &[block("172.16.0.64/26", "b", &[])]),
            vec!["172.16.0.64/26 via 172.16.0.2 dev tunl0 onlink".to_owned()],
        ),
        (
            "lent to others",
            world(ipip(), "172.16.0.65", &[block("172.16.0.64/26", HOST, &[(1, "b")])]),
            vec!["blackhole 172.16.0.64/26".to_owned()],
        ),
        (
            "another host's in an own block",
            world(plain(), "172.16.0.1", &[block("172.16.0.0/26", HOST, &[])]),
            vec![astray("172.16.0.0/26", HOST, "172.16.0.2")],
        ),
    ] {
        assert_eq!(world.short(), expected, "{what}");
    }
}

#[test]
fn hosts_that_cannot_be_reached() {
    for (who, node, why) in [
        ("d", String::new(), "nobody describes that node"),
        ("d", node("d", "ipv6Address: 'fd16::4/64'"), "that node has no IPv4 address"),
        ("d", node("d", "ipv4Address: 172.16.0.1/24"), "that node's address 172.16.0.1 is this host's own"),
    ] {
        let world = World::new(&[three(""), vec![block("10.0.3.0/26", who, &[]), node]].concat());
        assert_eq!(
            world.links(&[ETH0]).short(),
            [OWN, PLAIN_B, PLAIN_C, &format!("! 10.0.3.0/26 of Node d: {why}")]
        );
    }
    let outside = World::new(&[three(""), vec![block("10.9.0.0/26", "b", &[])]].concat()).links(&[ETH0]);
    assert_eq!(outside.short()[3], "! 10.9.0.0/26 of Node b: no pool has it");
}

#[test]
fn two_pools() {
    let other = pool("10.0.2.0/24", "ipipMode: Always");
    let balancers = pool("10.0.3.0/24", "allowedUses: [LoadBalancer]");
    let world = World::new(&[three(""), vec![other, balancers, block("10.0.3.0/26", "b", &[])]].concat());
    assert_eq!(
        world.links(&[ETH0]).short(),
        [OWN, PLAIN_B, TUNNEL_C, "! 10.0.3.0/26 of Node b: pool 10.0.3.0/24 is for load balancers only"]
    );
}

#[test]
fn ipv6_goes_as_it_is() {
    let world = |parameters: &[&str]| {
        World::new(&[
            pool("fd00::/48", ""),
            node(HOST, "ipv4Address: 172.16.0.1/24, ipv6Address: 'fd16::1/64'"),
            node("b", "ipv6Address: 'fd16::2/64'"),
            block("fd00::/122", HOST, &[]),
            block("fd00::40/122", "b", &[(1, HOST), (2, "b")]),
        ])
        .links(&[ETH0])
        .set(parameters)
    };
    assert_eq!(world(&[]).short(), ["blackhole fd00::/122", "fd00::40/122 via fd16::2 dev eth0"]);
    assert_eq!(world(&["Ipv6Support=false"]).short(), NONE);
}

#[test]
fn routes_of_endpoints_instead_of_blocks() {
    let world = World::new(
        &[
            three("ipipMode: CrossSubnet"),
            vec![
                workload(HOST, "x", "ipNetworks: [10.0.0.1]"),
                workload("b", "y", "ipNetworks: [10.0.1.1]"),
                workload("c", "z", "ipNetworks: [10.0.2.1, 10.0.1.1]"),
                node("c", "ipv4Address: 172.17.0.3/24, ipv4IPIPTunnelAddr: 10.0.2.9"),
            ],
        ]
        .concat(),
    );
    assert_eq!(
        world.links(&[ETH0, "cali-x: 3"]).set(&["RouteSource=WorkloadIPs"]).short(),
        [
            "10.0.0.1/32 dev cali-x scope link",
            "10.0.1.1/32 via 172.16.0.2 dev eth0",
            "10.0.2.1/32 via 172.17.0.3 dev tunl0 onlink mtu 1480",
            "10.0.2.9/32 via 172.17.0.3 dev tunl0 onlink mtu 1480",
            "! 10.0.1.1/32 of Node c: Node b has it"
        ]
    );
}

#[test]
fn the_tunnel() {
    let world = || World::new(&three("ipipMode: Always")).links(&[ETH0]);
    let line = |world: World| {
        world.made().tunnel.map(|tunnel| {
            let address = tunnel.address.map_or("-".to_owned(), |address| address.to_string());
            format!("{} {address}", tunnel.mtu.unwrap_or_default())
        })
    };
    for (world, expected) in [
        (world(), Some("1480 -")),
        (world().set(&["IpInIpMtu=1440", "IpInIpTunnelAddr=10.0.0.7"]), Some("1440 10.0.0.7")),
        (world().set(&["IpInIpTunnelAddrFromBlock=true"]), Some("1480 10.0.0.0")),
        (world().set(&["ProgramClusterRoutes=Disabled"]), Some("1480 -")),
        (world().set(&["IpInIpEnabled=false"]), None),
        (World::new(&three("")), None),
        (World::new(&three("")).set(&["IpInIpEnabled=true"]), Some("0 -")),
        // What leads to other hosts, where lo has the host's own address.
        (
            world().told(&[
                "lo=172.16.0.1/32,mtu=65536",
                "eth0=10.1.0.2/31,mtu=9000,via=10.1.0.3",
                "eth1=10.2.0.2/31,mtu=1500,via=10.2.0.3",
                "eth2=10.3.0.2/31,mtu=576",
            ]),
            Some("1480 -"),
        ),
        (world().told(&["lo=172.16.0.1/32,mtu=65536"]), Some("0 -")),
    ] {
        assert_eq!(line(world).as_deref(), expected);
    }
}
