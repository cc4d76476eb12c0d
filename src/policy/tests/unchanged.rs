//! What did not change keeps its `Arc`, so that later stages can skip it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::*;

/// Parts whose `Arc` is another one, or that came or went: `policy p`, `set has(a)`.
pub(super) fn changed(before: &HostPolicy, after: &HostPolicy) -> Vec<String> {
    let HostPolicy {
        host,
        endpoints,
        policies,
        profiles,
        sets,
        pools,
        host_addresses,
        ipip_tunnel_addr,
        nodes,
        blocks,
        workloads,
    } = before;
    assert_eq!(*host, after.host);
    let mut changed = Vec::new();
    let mut note =
        |kind: &str, keys: Vec<String>| changed.extend(keys.iter().map(|key| format!("{kind} {key}")));
    note("endpoint", differing(endpoints, &after.endpoints, |id| id.workload.to_string()));
    note("policy", differing(policies, &after.policies, PolicyId::qualified_name));
    note("profile", differing(profiles, &after.profiles, ToString::to_string));
    let meaning =
        |id: &_| sets.get(id).or(after.sets.get(id)).map_or_else(String::new, |set| set.meaning.to_string());
    note("set", differing(sets, &after.sets, meaning));
    note("pool", differing(pools, &after.pools, ToString::to_string));
    note("node", differing(nodes, &after.nodes, ToString::to_string));
    note("block", differing(blocks, &after.blocks, ToString::to_string));
    note("workload", differing(workloads, &after.workloads, |id| id.workload.to_string()));
    if !Arc::ptr_eq(host_addresses, &after.host_addresses) {
        changed.push("addresses".to_owned());
    }
    if *ipip_tunnel_addr != after.ipip_tunnel_addr {
        changed.push("tunnel".to_owned());
    }
    changed
}

/// Also checks that another `Arc` is another value.
fn differing<K: Ord, V: PartialEq + Debug>(
    before: &BTreeMap<K, Arc<V>>,
    after: &BTreeMap<K, Arc<V>>,
    name: impl Fn(&K) -> String,
) -> Vec<String> {
    let keys: std::collections::BTreeSet<&K> = before.keys().chain(after.keys()).collect();
    let differs = |key: &&K| match (before.get(key), after.get(key)) {
        (Some(before), Some(after)) if Arc::ptr_eq(before, after) => false,
        (Some(before), Some(after)) => {
            assert_ne!(before, after, "an equal value in another Arc");
            true
        }
        (None, None) | (Some(_), None) | (None, Some(_)) => true,
    };
    keys.into_iter().filter(differs).map(name).collect()
}

const WEB: &str = "selector: app == 'web', ingress: [{action: Allow, source: {selector: app == 'far'}}]";

/// Something of everything.
fn world() -> Vec<String> {
    vec![
        local("a", "app: web", "ipNetworks: [10.0.0.1], profiles: [prof, other]"),
        local("b", "app: db", "ipNetworks: [10.0.0.2], profiles: [other]"),
        remote("c", "app: far", "ipNetworks: [10.0.0.3], profiles: [other]"),
        gnp("web", WEB),
        gnp("db", "selector: app == 'db', ingress: [{action: Allow, source: {selector: app == 'web'}}]"),
        profile("prof", "ingress: [{action: Allow, source: {selector: net == 'x'}}]"),
        profile("other", "egress: [{action: Allow}], labelsToApply: {shared: yes}"),
        network_set("n", "net: x", "10.1.0.0/16"),
        tier("t", "order: 1"),
        v3("IPPool", "name: p1", "cidr: 10.0.0.0/16"),
        v3("IPPool", "name: p2", "cidr: 10.1.0.0/16"),
        v3("Node", &format!("name: {HOST}"), "bgp: {ipv4Address: 172.16.0.1/24}"),
        v3("Node", "name: host-2", "bgp: {ipv4Address: 172.16.0.2/24}"),
        block(HOST, "0, ~"),
    ]
}

fn affinity(cidr: &str) -> String {
    v3("BlockAffinity", "name: a", &format!("node: host-2, cidr: {cidr}"))
}

fn block(node: &str, allocations: &str) -> String {
    let attributes = format!("[{{secondary: {{node: {HOST}}}}}, {{secondary: {{node: host-2}}}}]");
    let spec = format!("affinity: 'host:{node}', allocations: [{allocations}], attributes: {attributes}");
    v3("IPAMBlock", "name: b", &format!("cidr: 10.0.0.0/26, {spec}"))
}

#[test]
fn saying_it_again_changes_nothing() {
    let world = world();
    let mut host = Host::new(&world.iter().map(String::as_str).collect::<Vec<_>>());
    let first = host.desired();
    assert_eq!(changed(&first, &host.desired()), NONE, "asked again");
    for text in &world {
        assert_eq!(changed(&first, &host.put(text).desired()), NONE, "said again: {text}");
        assert_eq!(changed(&first, &host.delete(text).put(text).desired()), NONE, "gone and back: {text}");
    }
    for text in
        [gnp("nobody", ""), network_set("nobody", "", ""), remote("nobody", "", "ipNetworks: [10.0.0.9]")]
    {
        assert_eq!(changed(&first, &host.delete(&text).desired()), NONE, "never there: {text}");
    }
}

#[test]
fn a_change_touches_what_depends_on_it() {
    for (what, put, expected) in [
        ("an endpoint of nobody", remote("d", "app: x", "ipNetworks: [10.0.0.4]"), NONE),
        ("a member comes", remote("d", "app: far", "ipNetworks: [10.0.0.4]"), &["set app == \"far\""]),
        ("a member that is there already", remote("d", "app: far", "ipNetworks: [10.0.0.3]"), NONE),
        (
            "another address",
            remote("c", "app: far", "ipNetworks: [10.0.0.5], profiles: [other]"),
            &["set app == \"far\""],
        ),
        ("another label that nobody asks for", remote("c", "app: far, b: c", "ipNetworks: [10.0.0.3]"), NONE),
        ("a network set's nets", network_set("n", "net: x", "10.2.0.0/16"), &["set net == \"x\""]),
        ("a network set of nobody", network_set("m", "net: y", "10.2.0.0/16"), NONE),
        ("a policy of nobody", gnp("p", "selector: app == 'x'"), NONE),
        ("a new policy", gnp("p", "selector: app == 'web'"), &["endpoint ns/a", "policy p"]),
        (
            "a policy's rules",
            gnp("web", "selector: app == 'web', ingress: [{action: Deny, source: {selector: app == 'far'}}]"),
            &["policy web"],
        ),
        (
            "a policy's sets",
            gnp(
                "web",
                "selector: app == 'web', ingress: [{action: Allow, source: {selector: app == 'web'}}]",
            ),
            &["policy web", "set app == \"far\""],
        ),
        ("another order, the same place", gnp("web", &format!("{WEB}, order: 7")), NONE),
        ("a profile's rules", profile("prof", ""), &["profile prof", "set net == \"x\""]),
        ("a profile's labels", profile("other", "egress: [{action: Allow}], labelsToApply: {a: b}"), NONE),
        ("a profile of nobody", profile("p", "ingress: [{action: Allow}]"), NONE),
        ("a tier of nobody", tier("t", "order: 9, defaultAction: Pass"), NONE),
        (
            "a new local endpoint",
            local("d", "app: db", "ipNetworks: [10.0.0.4], profiles: [new]"),
            &["endpoint ns/d", "profile new"],
        ),
        (
            "a local endpoint's address",
            local("a", "app: web", "ipNetworks: [10.0.0.4], profiles: [prof, other]"),
            &["endpoint ns/a", "set app == \"web\""],
        ),
        ("a pool", v3("IPPool", "name: p2", "cidr: 10.1.0.0/16, natOutgoing: true"), &["pool 10.1.0.0/16"]),
        (
            "a pool that does not count",
            v3("IPPool", "name: p3", "cidr: 10.1.0.0/16, natOutgoing: true"),
            NONE,
        ),
        (
            "a node's labels",
            v3("Node", "name: host-2, labels: {a: b}", "bgp: {ipv4Address: 172.16.0.2/24}"),
            NONE,
        ),
        (
            "a node's address",
            v3("Node", "name: host-2", "bgp: {ipv4Address: 172.16.0.3/24}"),
            &["node host-2", "addresses"],
        ),
        ("an address that its block's own node takes", block(HOST, "0, 0"), NONE),
        ("an address that another node takes", block(HOST, "0, 1"), &["block 10.0.0.0/26"]),
        ("a block's node", block("host-2", "1, ~"), &["block 10.0.0.0/26"]),
        ("an affinity to a block that says itself whose it is", affinity("10.0.0.0/26"), NONE),
        ("an affinity alone", affinity("10.0.0.64/26"), &["block 10.0.0.64/26"]),
    ] {
        let world = world();
        let mut host = Host::new(&world.iter().map(String::as_str).collect::<Vec<_>>());
        let before = host.desired();
        assert_eq!(changed(&before, &host.put(&put).desired()), expected, "{what}");
    }
}

#[test]
fn settings_change_what_they_decide() {
    let world = world();
    let mut host = Host::new(&world.iter().map(String::as_str).collect::<Vec<_>>());
    host.put(&gnp("bad", "selector: app == 'db', ingress: [{action: Alow}]"));
    let before = host.desired();
    let other = Settings { ignore_invalid: true, source_spoofing: true, ..Settings::default() };
    assert_eq!(changed(&before, &host.set(other).desired()), ["endpoint ns/b", "policy bad"]);
}

/// Values that were handed out never change.
#[test]
fn what_was_handed_out_stays() {
    let mut host = Host::new(&[&local("a", "", "ipNetworks: [10.0.0.1]"), &gnp("p", "")]);
    let before = host.desired();
    host.delete(&gnp("p", "")).desired();
    assert_eq!(before.policy_names(), ["p"]);
    assert_eq!(before.tiers("a"), ["default Deny: p | "]);
    assert_eq!(host.calc.desired_now().policy_names(), NONE);
}
