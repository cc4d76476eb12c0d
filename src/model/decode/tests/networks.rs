//! Network sets, pools, nodes, blocks, configuration.

use super::*;
use crate::model::{ConfigScope, EncapMode};

#[test]
fn sets() {
    let decoded = v3(
        "NetworkSet",
        "{name: s, namespace: ns, labels: {a: b}}",
        "{nets: [10.0.0.1/8, 10.0.0.0/8, 'feed:beef:0::/32', bad, 1.2.3.4]}",
    );
    expect(&decoded, "error invalid-value: NetworkSet ns/s: spec.nets[3]: `bad` is not an IP address", "set");
    let Some(Resource::NetworkSet(set)) = decoded.resource() else { panic!("{:?}", said(&decoded)) };
    let nets: Vec<String> = set.nets.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["1.2.3.4/32", "10.0.0.0/8", "feed:beef::/32"]);
    assert_eq!(set.profiles, ["kns.ns".into()]);
    assert_eq!(set.labels.get("projectcalico.org/namespace").map(|v| &**v), Some("ns"));
    for (metadata, wanted, there) in [
        ("{name: s}", "", true),
        ("{name: s, labels: {projectcalico.org/namespace: a}}", "error invalid-value", false),
        ("{name: s, labels: {a!: a}}", "error invalid-name", false),
        ("{name: s, namespace: a}", "warning unknown-field", true),
        ("{}", "error missing-field", false),
    ] {
        let decoded = v3("GlobalNetworkSet", metadata, "{nets: [10.0.0.0/8]}");
        expect(&decoded, wanted, metadata);
        assert_eq!(decoded.resource().is_some(), there, "{metadata}");
    }
}

#[test]
fn pools() {
    use EncapMode::{Always, CrossSubnet, Never};
    let v3 = |spec: &str| v3("IPPool", "{name: p}", spec);
    let v1 = |cidr: &str, spec: &str| v1("ipPool", &format!("{{cidr: '{cidr}'}}"), spec);
    for (decoded, wanted, found) in [
        (v3("{cidr: 10.0.0.0/16, ipipMode: CrossSubnet, natOutgoing: true}"), "", Some((CrossSubnet, true))),
        (v3("{cidr: 10.0.0.0/16}"), "", Some((Never, false))),
        (v3("{cidr: 10.0.0.0/16, ipipMode: ''}"), "", Some((Never, false))),
        (v3("{cidr: 10.0.0.0/16, ipipMode: Garbage}"), "error invalid-value: IPPool p: spec.ipipMode", None),
        (v3("{cidr: 10.0.0.0/16, ipipMode: Always, vxlanMode: Always}"), "error contradiction", None),
        (v3("{cidr: 10.0.0.1/16}"), "error invalid-value", None),
        (v3("{cidr: 'fd00::/64', ipipMode: Always}"), "error contradiction", None),
        (v3("{cidr: 'fd00::/64', blockSize: 122}"), "", Some((Never, false))),
        (v3("{cidr: 10.0.0.0/16, blockSize: 19}"), "error invalid-value", None),
        (v3("{cidr: 10.0.0.0/27}"), "error invalid-value", None),
        (v3("{cidr: 10.0.0.0/27, blockSize: 28}"), "", Some((Never, false))),
        (v3("{cidr: 10.0.0.0/27, disabled: true}"), "", Some((Never, false))),
        (v3("{cidr: 10.0.0.0/16, natOutgoing: 'true'}"), "error invalid-value", None),
        (v3("{cidr: 10.0.0.0/16, nodeSelector: '('}"), "error invalid-selector", None),
        (v3("{}"), "error missing-field", None),
        (v1("10.0.0.0/26", "{}"), "", Some((Never, false))),
        (v1("192.168.0.0/16", "{ipip: {enabled: true}, nat-outgoing: true}"), "", Some((Always, true))),
        (v1("10.0.0.0/16", "{ipip: {enabled: true, mode: cross-subnet}}"), "", Some((CrossSubnet, false))),
        (v1("10.0.0.0/16", "{ipip: {mode: always}}"), "", Some((Never, false))),
        (v1("10.0.0.0/16", "{ipip: {enabled: true, mode: off}}"), "error invalid-value", None),
        (v1("10.0.0.0/27", "{}"), "error invalid-value", None),
        (v1("10.0.0.0/27", "{disabled: true}"), "", Some((Never, false))),
        (v1("fd00::/122", "{}"), "", Some((Never, false))),
        (v1("fd00::/128", "{}"), "error invalid-value", None),
        (v1("fd00::/64", "{ipip: {enabled: true}}"), "error contradiction", None),
        (v1("169.254.5.0/24", "{}"), "error invalid-value", None),
        (v1("fe80::/120", "{}"), "error invalid-value", None),
    ] {
        expect(&decoded, wanted, "pool");
        let pool = match decoded.resource() {
            Some(Resource::IpPool(pool)) => Some((pool.ipip, pool.nat_outgoing)),
            _ => None,
        };
        assert_eq!(pool, found, "{:?}", said(&decoded));
    }
    let Some(Resource::IpPool(pool)) = v1("10.0.0.5/16", "{}").resource().cloned() else { panic!() };
    assert_eq!((&*pool.name, pool.cidr), ("10.0.0.0-16", "10.0.0.0/16".parse().unwrap()));
    for (uses, only) in [("[LoadBalancer]", true), ("[LoadBalancer, Workload]", false), ("[]", false)] {
        let decoded = v3(&format!("{{cidr: 10.0.0.0/16, allowedUses: {uses}}}"));
        let Some(Resource::IpPool(pool)) = decoded.resource().cloned() else { panic!() };
        assert_eq!(pool.load_balancer_only, only, "{uses}");
    }
}

#[test]
fn nodes() {
    let address = Some("10.0.0.5 in 10.0.0.0/24".to_owned());
    for (decoded, wanted, there, ipv4) in [
        (
            v3("Node", "{name: h1}", "{bgp: {ipv4Address: 10.0.0.5/24, ipv4IPIPTunnelAddr: 10.65.1.1}}"),
            "",
            true,
            address.clone(),
        ),
        (v3("Node", "{name: h1}", "{}"), "", true, None),
        (v3("Node", "{name: h1}", "{bgp: {}}"), "error missing-field", false, None),
        (v3("Node", "{name: h1}", "{bgp: {ipv4Address: 'fe80::1/64'}}"), "error invalid-value", false, None),
        (v3("Node", "{name: h1}", "{bgp: {ipv4Address: ''}, addresses: []}"), "", true, None),
        (
            v3(
                "Node",
                "{name: h1}",
                "{addresses: [{address: 1.2.3.4, type: ExternalIP}, {address: 10.0.0.5/24, type: InternalIP}]}",
            ),
            "",
            true,
            address.clone(),
        ),
        (
            v3(
                "Node",
                "{name: h1}",
                "{addresses: [{address: h1, type: Hostname}, {address: 1.2.3.4, type: ExternalIP}]}",
            ),
            "",
            true,
            Some("1.2.3.4 in 1.2.3.4/32".to_owned()),
        ),
        (v1("node", "{name: h1}", "{bgp: {ipv4Address: 10.0.0.5/24}}"), "", true, address),
        (v1("node", "{name: h1}", "{bgp: {asNumber: 64512}}"), "error missing-field", false, None),
    ] {
        expect(&decoded, wanted, "node");
        let node = match decoded.resource() {
            Some(Resource::Node(node)) => Some(node.ipv4.map(|(address, net)| format!("{address} in {net}"))),
            _ => None,
        };
        assert_eq!(node, there.then_some(ipv4), "{:?}", said(&decoded));
    }
}

#[test]
fn blocks() {
    let spec = "{cidr: 10.65.1.0/26, affinity: 'host:h1', allocations: [0, ~, 1], attributes: [{secondary: {node: h1}}, {secondary: {node: h2}}]}";
    let decoded = v3("IPAMBlock", "{name: 10-65-1-0-26}", spec);
    expect(&decoded, "", spec);
    let Some(Resource::IpamBlock(block)) = decoded.resource() else { panic!() };
    assert_eq!(block.node.as_deref(), Some("h1"));
    assert_eq!(block.borrowed, [(2, "h2".into())]);
    assert_eq!(block.allocated, [0, 2]);
    for (kind, spec, wanted, there) in [
        ("IPAMBlock", "{cidr: 10.65.1.0/26, affinity: 'virtual:x'}", "", true),
        ("IPAMBlock", "{cidr: 10.65.1.0/26, deleted: true}", "", false),
        ("IPAMBlock", "{cidr: 10.65.1.0/26, allocations: [7]}", "error invalid-value", false),
        ("IPAMBlock", "{}", "error missing-field", false),
        ("BlockAffinity", "{cidr: 10.65.1.0/26, node: h1, state: confirmed, deleted: 'false'}", "", true),
        ("BlockAffinity", "{cidr: 10.65.1.0/26, node: h1, state: pendingDeletion}", "", false),
        ("BlockAffinity", "{cidr: 10.65.1.0/26, node: h1, deleted: 'true'}", "", false),
        ("BlockAffinity", "{node: h1}", "error missing-field", false),
    ] {
        let decoded = v3(kind, "{name: b}", spec);
        expect(&decoded, wanted, spec);
        assert_eq!(decoded.resource().is_some(), there, "{spec}");
    }
}

#[test]
fn configuration() {
    let decoded = v3(
        "FelixConfiguration",
        "{name: default, annotations: {config.projectcalico.org/LogPrefix: other, a: b}}",
        "{logPrefix: mine, routeRefreshInterval: 90s, ipipEnabled: ~, logPrefx: a, nodeSelector: has(a)}",
    );
    expect(&decoded, "warning unknown-field: FelixConfiguration default: spec.logPrefx", "configuration");
    let Some(Resource::Config(config)) = decoded.resource() else { panic!("{:?}", said(&decoded)) };
    let entries: Vec<String> = config.entries.iter().map(|e| format!("{}={}", e.name, e.value)).collect();
    assert_eq!(entries, ["RouteRefreshInterval=90", "LogPrefix=other"]);
    assert_eq!(config.scope, ConfigScope::Global);
    for (spec, wanted, there) in [
        ("{logPrefix: [a]}", "error invalid-config", true),
        ("{routeRefreshInterval: soon}", "error invalid-config", true),
        ("{nodeSelector: '('}", "error invalid-selector", false),
        ("[]", "error invalid-value", false),
        ("~", "", true),
    ] {
        let decoded = v3("FelixConfiguration", "{name: default}", spec);
        expect(&decoded, wanted, spec);
        assert_eq!(decoded.resource().is_some(), there, "{spec}");
    }
    let decoded =
        v3("ClusterInformation", "{name: default}", "{clusterType: 'k8s,openstack', datastoreReady: true}");
    let Some(Resource::ClusterInformation(info)) = decoded.resource() else { panic!() };
    let entries: Vec<String> = info.entries.iter().map(|e| format!("{}={}", e.name, e.value)).collect();
    assert_eq!(entries, ["ClusterType=k8s,openstack"]);
    assert_eq!(info.datastore_ready, Some(true));
}
