//! Whatever happened before: the result is that of a new calculation that is told what is there now.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::unchanged::changed;
use super::*;
use crate::model::ResourceId;

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Delete(usize),
    Settle(Settings),
}

/// Few names with several values each, so that they meet.
fn pool() -> Vec<Resource> {
    let mut documents = Vec::new();
    for labels in ["app: web", "app: db, x: y"] {
        for rest in [
            "ipNetworks: [10.0.0.1], profiles: [p, q]",
            "ipNetworks: [10.0.0.2, 'fd00::1'], profiles: [q], ports: [{name: http, protocol: TCP, port: 80}]",
            "ipNetworks: [10.0.0.1], profiles: [p], allowSpoofedSourcePrefixes: [10.9.0.0/16]",
        ] {
            documents.push(remote("c", labels, rest));
            for (pod, interface) in [("a", "cali1"), ("b", "cali1"), ("b", "cali2")] {
                documents.push(workload(HOST, pod, labels, &format!("interfaceName: {interface}, {rest}")));
            }
        }
    }
    let rules = [
        "{action: Allow, source: {selector: app == 'web'}}",
        "{action: Deny, source: {notSelector: has(x)}, destination: {selector: inherited == 'yes'}}",
        "{action: Pass, protocol: TCP, destination: {selector: has(app), ports: [http]}}",
        "{action: Log}",
        "{action: Alow}",
    ];
    for (number, rule) in rules.iter().enumerate() {
        let spec =
            format!("types: [Ingress, Egress], ingress: [{rule}], egress: [{rule}, {{action: Allow}}]");
        for (name, scope) in [
            ("one", "order: 1, selector: app == 'web'"),
            ("one", "order: 3, selector: has(x)"),
            ("two", "order: 2, selector: inherited == 'yes'"),
            ("two", "selector: all(), performanceHints: [AssumeNeededOnEveryNode]"),
            ("two", "selector: all(), doNotTrack: true, applyOnForward: true"),
            ("t.three", "tier: t, selector: has(app)"),
        ] {
            documents.push(gnp(name, &format!("{scope}, {spec}")));
        }
        for (name, label) in [("p", number.is_multiple_of(2)), ("q", true)] {
            let labels = if label { "inherited: yes" } else { "x: z" };
            documents.push(profile(name, &format!("labelsToApply: {{{labels}}}, ingress: [{rule}]")));
        }
    }
    documents.push(profile("projectcalico-default-allow", "labelsToApply: {x: y}"));
    documents.push(document(
        "v1",
        "profile",
        "name: p, tags: [app, t]",
        "ingress: [{action: allow, source: {tag: t}}]",
    ));
    for (name, labels, nets) in
        [("n", "app: web", "10.1.0.0/16"), ("n", "x: y", "10.0.0.1"), ("m", "app: web", "10.0.0.1")]
    {
        documents.push(network_set(name, labels, nets));
    }
    documents.push(v3(
        "HostEndpoint",
        "name: h, labels: {app: web}",
        "node: host-2, expectedIPs: [172.16.0.1]",
    ));
    documents.extend([
        tier("t", "order: 1, defaultAction: Pass"),
        tier("t", "order: 1e9"),
        tier("default", ""),
    ]);
    documents.extend([
        v3("IPPool", "name: p1", "cidr: 10.0.0.0/16"),
        v3("IPPool", "name: p1", "cidr: 10.1.0.0/16, ipipMode: Always"),
        v3("IPPool", "name: p2", "cidr: 10.1.0.0/16, natOutgoing: true"),
        v3(
            "Node",
            &format!("name: {HOST}"),
            "bgp: {ipv4Address: 172.16.0.1/24, ipv4IPIPTunnelAddr: 10.0.0.9}",
        ),
        v3("Node", &format!("name: {HOST}"), "bgp: {ipv4Address: 172.16.0.2/24}"),
    ]);
    for node in [HOST, "host-2"] {
        let attributes = format!("[{{secondary: {{node: {HOST}}}}}, {{secondary: {{node: host-2}}}}]");
        for allocations in ["0, ~, ~, ~", "~, 1, 0, ~"] {
            documents.push(v3(
                "IPAMBlock",
                "name: b",
                &format!(
                    "cidr: 10.0.0.0/30, affinity: 'host:{node}', allocations: [{allocations}], attributes: {attributes}"
                ),
            ));
        }
        for (name, cidr) in [("x", "10.0.0.0/30"), ("x", "10.0.0.4/30"), ("y", "10.0.0.0/30")] {
            let spec = format!("node: {node}, cidr: {cidr}, state: confirmed");
            documents.push(v3("BlockAffinity", &format!("name: {name}"), &spec));
        }
    }
    resources(&documents.concat())
}

fn steps(pool: usize) -> impl Strategy<Value = Vec<Step>> {
    let settings = any::<[bool; 5]>().prop_map(
        |[ignore_invalid, source_spoofing, routes_of_workloads, configured, tunnel_address_from_block]| {
            Settings {
                ignore_invalid,
                source_spoofing,
                routes_of_workloads,
                tunnel_address: configured.then(|| [10, 0, 0, 9].into()),
                tunnel_address_from_block,
            }
        },
    );
    let step = prop_oneof![
        6 => (0..pool).prop_map(Step::Put),
        2 => (0..pool).prop_map(Step::Delete),
        2 => settings.prop_map(Step::Settle),
    ];
    prop::collection::vec(step, 1..60)
}

fn from_scratch(there: &BTreeMap<ResourceId, Arc<Resource>>, settings: Settings) -> HostPolicy {
    let mut calc = Calc::new(HOST.into());
    for resource in there.values().rev() {
        calc.apply(Update::Put(Arc::clone(resource)));
    }
    calc.desired(settings).clone()
}

#[test]
fn incremental_equals_from_scratch() {
    let pool: Vec<Arc<Resource>> = pool().into_iter().map(Arc::new).collect();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) };
    proptest!(config, |(steps in steps(pool.len()))| {
        let mut calc = Calc::new(HOST.into());
        let mut there = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(at) => {
                    there.insert(pool[at].id(), Arc::clone(&pool[at]));
                    calc.apply(Update::Put(Arc::clone(&pool[at])));
                }
                Step::Delete(at) => {
                    there.remove(&pool[at].id());
                    calc.apply(Update::Delete(pool[at].id()));
                }
                Step::Settle(settings) => {
                    let before = calc.desired_now().clone();
                    let after = calc.desired(settings).clone();
                    prop_assert_eq!(&after, &from_scratch(&there, settings));
                    // Fails where a value is equal and its Arc another.
                    changed(&before, &after);
                }
            }
        }
    });
}
