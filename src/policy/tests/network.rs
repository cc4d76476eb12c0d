//! Pools and nodes.

use super::*;

fn pool(name: &str, spec: &str) -> String {
    v3("IPPool", &format!("name: {name}"), spec)
}

fn node(name: &str, bgp: &str) -> String {
    v3("Node", &format!("name: {name}"), &format!("bgp: {{{bgp}}}"))
}

fn pool_lines(desired: &HostPolicy) -> Vec<String> {
    let line = |pool: &Arc<crate::policy::Pool>| {
        let flags = [(pool.ipip, " ipip"), (pool.nat_outgoing, " nat"), (pool.load_balancer_only, " lb")];
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
