//! Each lint speaks where it should, and is silent beside it.

use super::*;
use crate::policy::lint;

/// `code: message`, sorted.
fn said(documents: &[&str]) -> Vec<String> {
    let resources = resources(&documents.concat());
    let line = |found: &crate::model::Diagnostic| format!("{}: {}", found.code.name(), found.message);
    let mut lines: Vec<String> = lint::lint(&resources).iter().map(line).collect();
    lines.sort();
    lines
}

fn web() -> String {
    local("a", "app: web, x: y", "ipNetworks: [10.0.0.1]")
}

/// A policy of `web` with this one ingress rule.
fn rule(rule: &str) -> String {
    gnp("p", &format!("ingress: [{rule}]"))
}

#[test]
fn selectors() {
    let sets = network_set("n", "net: x", "10.1.0.0/16");
    let inherits = local("b", "", "ipNetworks: [10.0.0.2], profiles: [prof]");
    let prof = profile("prof", "labelsToApply: {role: front}");
    for (policy, expected) in [
        (gnp("p", "selector: app == 'web'"), NONE),
        (gnp("p", "selector: role == 'front'"), NONE),
        (gnp("p", "selector: app == 'web' && net != 'x'"), NONE),
        (gnp("p", ""), NONE),
        (
            gnp("p", "selector: app == 'wbe'"),
            &["selects-nothing: GlobalNetworkPolicy p: selector selects no endpoint"],
        ),
        (
            gnp("p", "selector: net == 'x'"),
            &["selects-nothing: GlobalNetworkPolicy p: selector selects no endpoint"],
        ),
        (
            gnp("p", "selector: ap == 'web'"),
            &[
                "unknown-label: GlobalNetworkPolicy p: selector names the label `ap`, which nothing has; it selects nothing",
            ],
        ),
        (
            gnp("p", "selector: '!has(ap)'"),
            &["unknown-label: GlobalNetworkPolicy p: selector names the label `ap`, which nothing has"],
        ),
        (rule("{action: Allow, source: {selector: net == 'x'}}"), NONE),
        (
            rule("{action: Allow, source: {selector: net == 'z'}}"),
            &[
                "selects-nothing: GlobalNetworkPolicy p: ingress[0].source.selector selects no endpoint or network set",
            ],
        ),
        (
            rule("{action: Allow, destination: {notSelector: nte == 'x'}}"),
            &[
                "unknown-label: GlobalNetworkPolicy p: ingress[0].destination.notSelector names the label `nte`, \
               which nothing has; it selects nothing",
            ],
        ),
        // Rules that are not enforced.
        (gnp("p", "types: [Egress], ingress: [{action: Allow, source: {selector: nte == 'x'}}]"), NONE),
    ] {
        assert_eq!(said(&[&web(), &inherits, &prof, &sets, &policy]), expected, "{policy}");
    }
    assert_eq!(said(&[&gnp("p", "selector: app == 'x'")]), NONE, "policies alone");
    let help = lint::lint(&resources(&[web(), gnp("p", "selector: ap == 'web'")].concat())).remove(0).help;
    assert_eq!(help.as_deref(), Some("did you mean `app`?"));
}

#[test]
fn lists_that_only_log() {
    let log = "ingress: [{action: Log}]";
    let pass = tier("pass", "order: 1, defaultAction: Pass");
    let ingress = "log-only: GlobalNetworkPolicy p: its ingress rules only log, so it blocks what it selects";
    for (documents, expected) in [
        (vec![gnp("p", log)], &[ingress][..]),
        (vec![gnp("p", "ingress: [{action: Log}, {action: Log}]")], &[ingress]),
        (vec![gnp("p", "ingress: [{action: Log}, {action: Pass}]")], NONE),
        (vec![gnp("p", "")], NONE),
        (vec![gnp("p", "types: [Ingress], egress: [{action: Log}], ingress: [{action: Allow}]")], NONE),
        (vec![gnp("pass.p", &format!("tier: pass, {log}")), pass], NONE),
        (vec![gnp("kube-admin.p", &format!("tier: kube-admin, {log}"))], NONE),
        (
            vec![profile("prof", "egress: [{action: Log}]")],
            &["log-only: Profile prof: its egress rules only log, so it lets nothing through"],
        ),
    ] {
        assert_eq!(
            said(&documents.iter().map(String::as_str).collect::<Vec<_>>()),
            expected,
            "{documents:?}"
        );
    }
}

#[test]
fn rules_that_never_match() {
    let never = "never-matches: GlobalNetworkPolicy p: ingress[0] can never match";
    for (text, matches) in [
        ("{action: Allow}", true),
        ("{action: Allow, protocol: TCP, notProtocol: UDP}", true),
        ("{action: Allow, protocol: TCP, notProtocol: 6}", false),
        ("{action: Allow, protocol: ICMP, icmp: {type: 8}, notICMP: {type: 8}}", false),
        ("{action: Allow, protocol: ICMP, icmp: {type: 8}, notICMP: {type: 8, code: 1}}", true),
        ("{action: Allow, source: {nets: [10.0.0.0/8], notNets: [10.1.0.0/16]}}", true),
        ("{action: Allow, source: {nets: [10.1.0.0/16], notNets: [10.0.0.0/8]}}", false),
        ("{action: Allow, source: {nets: [10.1.0.0/16, 11.0.0.0/8], notNets: [10.0.0.0/8]}}", true),
        ("{action: Allow, protocol: TCP, destination: {ports: ['80:90'], notPorts: [80]}}", true),
        ("{action: Allow, protocol: TCP, destination: {ports: ['80:90'], notPorts: ['1:100']}}", false),
        ("{action: Allow, protocol: TCP, destination: {ports: [80, http], notPorts: [80]}}", true),
        ("{action: Allow, destination: {selector: has(x), notSelector: ' has( x )'}}", false),
        ("{action: Allow, destination: {selector: has(x), notSelector: '!has(x)'}}", true),
    ] {
        assert_eq!(said(&[&rule(text)]), vec![never; usize::from(!matches)], "{text}");
    }
    let tagged = "ingress: [{action: allow, source: {tag: t, notTag: t}}]";
    assert_eq!(said(&[&document("v1", "policy", "name: p", tagged)]), [never]);
}

#[test]
fn pools_of_one_cidr() {
    let pool = |name: &str, cidr: &str| v3("IPPool", &format!("name: {name}"), &format!("cidr: {cidr}"));
    let (a, b, c) = (pool("a", "10.0.0.0/16"), pool("b", "10.0.0.0/16"), pool("c", "10.1.0.0/16"));
    assert_eq!(said(&[&b, &a, &c]), ["duplicate: IPPool b has the CIDR of a"]);
    assert_eq!(said(&[&a, &c]), NONE);
}

#[test]
fn ports_that_nobody_declares() {
    let never = "never-matches: GlobalNetworkPolicy p: ingress[0] can never match";
    let endpoint = local("a", "", "ipNetworks: [10.0.0.1], ports: [{name: http, protocol: TCP, port: 80}]");
    for (ports, matches) in
        [("[http]", true), ("[htpp]", false), ("[htpp, http]", true), ("[htpp, 80]", true)]
    {
        let policy = rule(&format!("{{action: Allow, protocol: TCP, destination: {{ports: {ports}}}}}"));
        assert_eq!(said(&[&policy, &endpoint]), vec![never; usize::from(!matches)], "{ports}");
        assert_eq!(said(&[&policy]), NONE, "{ports}: no endpoint is known");
    }
    let policy = rule("{action: Deny, protocol: TCP, destination: {ports: [htpp]}}");
    let found = lint::lint(&resources(&[policy, endpoint].concat()));
    assert_eq!(found[0].help.as_deref(), Some("did you mean `http`?"));
}

#[test]
fn rules_behind_one_that_takes_all() {
    let second = "never-matches: GlobalNetworkPolicy p: ingress[1] can never match";
    for (first, behind) in [
        ("{action: Allow}", true),
        ("{action: Deny, source: {}}", true),
        ("{action: Pass}", true),
        ("{action: Log}", false),
        ("{action: Allow, protocol: TCP}", false),
        ("{action: Allow, ipVersion: 4}", false),
        ("{action: Allow, source: {nets: [0.0.0.0/0]}}", false),
        ("{action: Allow, http: {methods: [GET]}}", false),
        ("{action: Deny, source: {services: {name: s, namespace: n}}}", false),
    ] {
        let policy = gnp("p", &format!("ingress: [{first}, {{action: Deny}}]"));
        assert_eq!(said(&[&policy]), vec![second; usize::from(behind)], "{first}");
    }
    let label = &lint::lint(&resources(&rule("{action: Log}, {action: Deny}, {action: Allow}")))[0].label;
    assert_eq!(label, "ingress[1] above takes every packet");
}

#[test]
fn references() {
    for (documents, expected) in [
        (vec![local("a", "", "ipNetworks: [10.0.0.1], profiles: [prof]"), profile("prof", "")], NONE),
        (vec![local("a", "", "ipNetworks: [10.0.0.1], profiles: [projectcalico-default-allow]")], NONE),
        (
            vec![local("a", "", "ipNetworks: [10.0.0.1], profiles: [prf]"), profile("prof", "")],
            &[
                "missing-reference: WorkloadEndpoint host-1/k8s/ns/a/eth0 names the profile `prf`, which is not there",
            ][..],
        ),
        (vec![gnp("t.p", "tier: t"), tier("t", "order: 1")], NONE),
        (vec![gnp("kube-admin.p", "tier: kube-admin")], NONE),
        (
            vec![gnp("t.p", "tier: t")],
            &["missing-reference: GlobalNetworkPolicy t.p is in the tier `t`, which is not there"],
        ),
        (vec![v3("NetworkSet", "name: n, namespace: ns", "nets: [10.0.0.0/8]")], NONE),
        (
            vec![v3("HostEndpoint", "name: h", "node: host-1, expectedIPs: [10.0.0.1], profiles: [none]")],
            &[
                "missing-reference: HostEndpoint host-1/h names the profile `none`, which is not there",
                "not-implemented: HostEndpoint host-1/h: no chains are made for host endpoints by this version",
            ],
        ),
    ] {
        assert_eq!(
            said(&documents.iter().map(String::as_str).collect::<Vec<_>>()),
            expected,
            "{documents:?}"
        );
    }
}

#[test]
fn one_interface_of_several_endpoints() {
    let with = |node: &str, pod: &str, interface: &str| {
        workload(node, pod, "", &format!("interfaceName: {interface}, ipNetworks: [10.0.0.1]"))
    };
    let a = with(HOST, "a", "cali1");
    assert_eq!(said(&[&a, &with(HOST, "b", "cali2"), &with("host-2", "c", "cali1")]), NONE);
    assert_eq!(
        said(&[&with(HOST, "b", "cali1"), &a]),
        ["duplicate: WorkloadEndpoint host-1/k8s/ns/b/eth0 has the interface of host-1/k8s/ns/a/eth0"]
    );
}

/// What one host has and does not enforce as written.
#[test]
fn on_a_host() {
    let texts = [
        workload(HOST, "a", "", "interfaceName: cali1, ipNetworks: [10.0.0.1]"),
        workload(HOST, "b", "", "interfaceName: cali1, ipNetworks: [10.0.0.2]"),
        local("c", "", "ipNetworks: [10.0.0.3], allowSpoofedSourcePrefixes: [10.9.0.0/16]"),
        remote("d", "", "ipNetworks: [10.0.0.4], allowSpoofedSourcePrefixes: [10.9.0.0/16]"),
        workload(HOST, "e", "", "interfaceName: tap1, ipNetworks: [10.0.0.5]"),
        v3("HostEndpoint", "name: h", "node: host-1, expectedIPs: [10.0.0.1]"),
        v3("HostEndpoint", "name: h", "node: host-2, expectedIPs: [10.0.0.1]"),
    ];
    let mut host = Host::new(&texts.each_ref().map(String::as_str));
    let resources = resources(&texts.concat());
    let mut codes = |source_spoofing| -> Vec<String> {
        let desired = host.set(Settings { source_spoofing, ..Settings::default() }).desired();
        let line = |found: &crate::model::Diagnostic| {
            format!("{}: {}", found.code.name(), found.message.split_whitespace().nth(1).unwrap())
        };
        lint::on_host(HOST, &resources, &desired, &["cali".to_owned()]).iter().map(line).collect()
    };
    let shadowed = "duplicate: host-1/k8s/ns/b/eth0";
    let left_out = "invalid-value: host-1/k8s/ns/c/eth0";
    let host_endpoint = "not-implemented: host-1/h:";
    let unpoliced = "invalid-value: host-1/k8s/ns/e/eth0";
    assert_eq!(codes(false), [shadowed, left_out, unpoliced, host_endpoint]);
    assert_eq!(codes(true), [shadowed, unpoliced, host_endpoint]);
}
