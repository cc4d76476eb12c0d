//! Pools and nodes.

use super::*;
use crate::policy::{Block, Encapsulation, Pool};

fn pool(name: &str, spec: &str) -> String {
    v3("IPPool", &format!("name: {name}"), spec)
}

fn node(name: &str, bgp: &str) -> String {
    v3("Node", &format!("name: {name}"), &format!("bgp: {{{bgp}}}"))
}

fn pool_lines(desired: &HostPolicy) -> Vec<String> {
    let line = |pool: &Arc<Pool>| {
        let flags = [
            (pool.encapsulation.is_ipip(), " ipip"),
            (pool.nat_outgoing, " nat"),
            (pool.load_balancer_only, " lb"),
        ];
        let flags: String = flags.into_iter().filter_map(|(set, name)| set.then_some(name)).collect();
        format!("{}{flags}", pool.cidr)
    };
    desired.pools.values().map(line).collect()
}

/// Reference §3.6 and §15, row 90.
#[test]
fn pools() {
    for (spec, expected) in [
        ("cidr: 10.0.0.0/16", "10.0.0.0/16"),
        ("cidr: 10.0.0.0/16, ipipMode: Never, vxlanMode: Never", "10.0.0.0/16"),
        ("cidr: 10.0.0.0/16, ipipMode: Always", "10.0.0.0/16 ipip"),
        ("cidr: 10.0.0.0/16, ipipMode: CrossSubnet, natOutgoing: true", "10.0.0.0/16 ipip nat"),
        ("cidr: 10.0.0.0/16, vxlanMode: Always", "10.0.0.0/16"),
        ("cidr: 10.0.0.0/16, disabled: true, natOutgoing: true", "10.0.0.0/16 nat"),
        ("cidr: 10.0.0.0/16, allowedUses: [LoadBalancer]", "10.0.0.0/16 lb"),
        ("cidr: 'fd00::/64', natOutgoing: true", "fd00::/64 nat"),
    ] {
        assert_eq!(pool_lines(&Host::new(&[&pool("p", spec)]).desired()), [expected], "{spec}");
    }
}

#[test]
fn of_pools_with_one_cidr_the_lowest_name_counts() {
    let (a, b) = (pool("a", "cidr: 10.0.0.0/16"), pool("b", "cidr: 10.0.0.0/16, natOutgoing: true"));
    let mut host = Host::new(&[&b]);
    assert_eq!(pool_lines(&host.desired()), ["10.0.0.0/16 nat"]);
    assert_eq!(pool_lines(&host.put(&a).desired()), ["10.0.0.0/16"]);
    assert_eq!(pool_lines(&host.delete(&a).desired()), ["10.0.0.0/16 nat"]);
    assert_eq!(pool_lines(&host.put(&a).put(&pool("a", "cidr: 10.1.0.0/16")).desired()).len(), 2);
    assert_eq!(pool_lines(&host.delete(&a).delete(&b).desired()), NONE);
    // Felix 2.1 names none, and its pool is as good as gone.
    let old = "apiVersion: v1\nkind: ipPool\nmetadata: {cidr: 10.0.0.0/16}\nspec: {}\n".to_owned();
    assert_eq!(pool_lines(&host.put(&old).put(&b).desired()), ["10.0.0.0/16 nat"]);
    assert_eq!(pool_lines(&host.delete(&b).desired()), ["10.0.0.0/16"]);
}

#[test]
fn nodes_give_addresses_and_the_tunnel() {
    let mut host = Host::new(&[
        &node(HOST, "ipv4Address: 172.16.0.1/24, ipv6Address: 'fd01::1', ipv4IPIPTunnelAddr: 10.0.0.9"),
        &node("host-2", "ipv4Address: 172.16.0.2/24, ipv4IPIPTunnelAddr: 10.0.1.9"),
        &v3("Node", "name: host-3", ""),
    ]);
    let addresses = |desired: &HostPolicy| -> Vec<String> {
        desired.host_addresses.iter().map(ToString::to_string).collect()
    };
    let desired = host.desired();
    assert_eq!(addresses(&desired), ["172.16.0.1", "172.16.0.2", "fd01::1"]);
    assert_eq!(desired.ipip_tunnel_addr, Some("10.0.0.9".parse().unwrap()));
    let desired = host.delete(&node(HOST, "ipv4Address: 172.16.0.1/24")).desired();
    assert_eq!(addresses(&desired), ["172.16.0.2"]);
    assert_eq!(desired.ipip_tunnel_addr, None);
}

/// What routes are made of.
#[test]
fn encapsulation() {
    for (modes, expected) in [
        ("", Encapsulation::None),
        ("ipipMode: Always", Encapsulation::Ipip),
        ("ipipMode: CrossSubnet", Encapsulation::IpipCrossSubnet),
        ("vxlanMode: CrossSubnet", Encapsulation::Vxlan),
    ] {
        let desired = Host::new(&[&pool("p", &format!("cidr: 10.0.0.0/16, {modes}"))]).desired();
        assert_eq!(desired.pools.values().map(|pool| pool.encapsulation).collect::<Vec<_>>(), [expected]);
    }
}

fn block(spec: &str) -> String {
    v3("IPAMBlock", "name: b", &format!("cidr: 10.0.0.0/30, {spec}"))
}

fn affinity(name: &str, node: &str) -> String {
    v3(
        "BlockAffinity",
        &format!("name: {name}"),
        &format!("node: {node}, cidr: 10.0.0.0/30, state: confirmed"),
    )
}

/// `cidr node`, then what others have of it.
fn block_lines(desired: &HostPolicy) -> Vec<String> {
    let line = |block: &Arc<Block>| {
        let borrowed = block.borrowed.iter().map(|(address, node)| format!(" {address}={node}"));
        let node = block.node.as_deref().unwrap_or("-");
        format!("{} {node}{}", block.cidr, borrowed.collect::<String>())
    };
    desired.blocks.values().map(line).collect()
}

#[test]
fn blocks_are_whose_they_say_or_else_whose_affinity_says() {
    let lent = "affinity: 'host:a', allocations: [0, 1, ~, 1], \
                attributes: [{secondary: {node: a}}, {secondary: {node: b}}]";
    let mut host = Host::new(&[&affinity("y", "b")]);
    assert_eq!(block_lines(&host.desired()), ["10.0.0.0/30 b"]);
    for (put, expected) in [
        (affinity("x", "a"), "10.0.0.0/30 a"),
        (block("affinity: 'virtual:v'"), "10.0.0.0/30 -"),
        (block(lent), "10.0.0.0/30 a 10.0.0.1=b 10.0.0.3=b"),
    ] {
        assert_eq!(block_lines(&host.put(&put).desired()), [expected], "{put}");
    }
    for (gone, expected) in [
        (block(""), &["10.0.0.0/30 a"][..]),
        (affinity("x", "a"), &["10.0.0.0/30 b"]),
        (affinity("y", "b"), &[]),
    ] {
        assert_eq!(block_lines(&host.delete(&gone).desired()), expected, "{gone}");
    }
    host.put(&affinity("x", "a")).put(&v3("BlockAffinity", "name: x", "node: a, cidr: 10.1.0.0/30"));
    assert_eq!(block_lines(&host.desired()), ["10.1.0.0/30 a"], "the affinity is for another block now");
}

/// As configured, as the Node says, or where that is allowed a spare one.
#[test]
fn the_address_of_the_tunnel() {
    let from_block = Settings { tunnel_address_from_block: true, ..Settings::default() };
    let configured = Settings { tunnel_address: Some([10, 9, 9, 9].into()), ..from_block };
    let own = block(&format!(
        "affinity: 'host:{HOST}', allocations: [0, ~, ~, ~], attributes: [{{secondary: {{node: {HOST}}}}}]"
    ));
    let mut host = Host::new(&[&own, &node("host-2", "ipv4IPIPTunnelAddr: 10.0.0.2")]);
    let mut tunnel = |settings, put: &str| {
        let address = host.put(put).set(settings).desired().ipip_tunnel_addr;
        address.map_or_else(|| "-".to_owned(), |address| address.to_string())
    };
    assert_eq!(tunnel(Settings::default(), ""), "-");
    assert_eq!(tunnel(from_block, ""), "10.0.0.1");
    let taken = local("a", "", "ipNetworks: [10.0.0.1]");
    assert_eq!(tunnel(from_block, &taken), "10.0.0.3", "of an endpoint, and of another tunnel");
    assert_eq!(tunnel(from_block, &remote("b", "", "ipNetworks: [10.0.0.3]")), "-");
    assert_eq!(tunnel(from_block, &node(HOST, "ipv4IPIPTunnelAddr: 10.0.0.9")), "10.0.0.9");
    assert_eq!(tunnel(configured, ""), "10.9.9.9");
}

#[test]
fn addresses_of_endpoints_are_there_where_routes_are_made_of_them() {
    let by_workload = Settings { routes_of_workloads: true, ..Settings::default() };
    let far = remote("b", "", "ipNetworks: [10.0.0.2, 'fd00::2']");
    let mut host = Host::new(&[&local("a", "", "ipNetworks: [10.0.0.1]"), &far]);
    assert!(host.desired().workloads.is_empty());
    let lines = |desired: HostPolicy| -> Vec<String> {
        desired.workloads.iter().map(|(id, nets)| format!("{} {nets:?}", id.node)).collect()
    };
    let both = ["host-1 [10.0.0.1/32]", "host-2 [10.0.0.2/32, fd00::2/128]"];
    assert_eq!(lines(host.set(by_workload).desired()), both);
    assert_eq!(lines(host.delete(&far).desired()), ["host-1 [10.0.0.1/32]"]);
    assert_eq!(lines(host.set(Settings::default()).desired()), NONE);
}
