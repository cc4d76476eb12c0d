//! What becomes of rules (reference §4.5 to §4.7).

use super::*;

/// What one egress rule with `side` as its destination matches by:
/// `sets, !not sets, ports, !not ports`, sets by their meaning.
fn destination(rule: &str, side: &str) -> String {
    let spec = format!("egress: [{{action: Allow, {rule} destination: {{{side}}}}}]");
    lowered(&[gnp("p", &spec)])
}

fn lowered(documents: &[String]) -> String {
    let mut host = Host::new(&[&local("a", "", "ipNetworks: [10.0.0.1]")]);
    for text in documents {
        host.put(text);
    }
    let desired = host.desired();
    let policy = desired.policies.values().next().unwrap();
    let side = &policy.egress[0].destination;
    let ports =
        |ranges: &[crate::model::PortRange]| ranges.iter().map(|range| range.first.to_string()).collect();
    let not = |texts: Vec<String>| texts.into_iter().map(|text| format!("!{text}")).collect();
    let parts: [Vec<String>; 6] = [
        desired.meanings(&side.sets),
        not(desired.meanings(&side.not_sets)),
        ports(&side.ports),
        desired.meanings(&side.port_sets),
        not(ports(&side.not_ports)),
        not(desired.meanings(&side.not_port_sets)),
    ];
    let used: std::collections::BTreeSet<_> =
        [&side.sets, &side.not_sets, &side.port_sets, &side.not_port_sets].into_iter().flatten().collect();
    assert_eq!(desired.sets.keys().collect::<std::collections::BTreeSet<_>>(), used, "no set too many");
    parts.concat().join(", ")
}

/// Reference §15, rows 76 and 77.
#[test]
fn selectors_and_ports_become_sets() {
    let tcp = "protocol: TCP,";
    for (rule, side, expected) in [
        ("", "", ""),
        ("", "nets: [10.0.0.0/8]", ""),
        ("", "selector: has(a)", "has(a)"),
        ("", "selector: all()", "all()"),
        ("", "notSelector: has(a)", "!has(a)"),
        ("", "selector: has(a), notSelector: has(b)", "(has(a) && !has(b))"),
        ("", "selector: has(a), notSelector: '!has(b)'", "(has(a) && has(b))"),
        (tcp, "ports: [80], selector: has(a)", "has(a), 80"),
        (tcp, "ports: [http]", "tcp port http of all()"),
        (tcp, "ports: [http], selector: has(a)", "tcp port http of has(a)"),
        (tcp, "ports: [http, 80], selector: has(a)", "has(a), 80, tcp port http of has(a)"),
        (tcp, "ports: [http, dns]", "tcp port http of all(), tcp port dns of all()"),
        (tcp, "ports: [http], notSelector: has(b)", "!has(b), tcp port http of all()"),
        (tcp, "ports: [http], selector: has(a), notSelector: has(b)", "tcp port http of (has(a) && !has(b))"),
        (tcp, "notPorts: [http, 80], selector: has(a)", "has(a), !80, !tcp port http of has(a)"),
        (
            tcp,
            "selector: all(), notSelector: foo == 'bar', notPorts: [http]",
            "(all() && !foo == \"bar\"), !tcp port http of (all() && !foo == \"bar\")",
        ),
        (tcp, "notSelector: has(a), notPorts: [http]", "!has(a), !tcp port http of all()"),
        ("protocol: 17,", "ports: [dns]", "udp port dns of all()"),
        ("protocol: SCTP,", "ports: [sig]", "sctp port sig of all()"),
    ] {
        assert_eq!(destination(rule, side), expected, "{rule} {side}");
    }
}

/// A v1 tag stands beside the selector; a named port replaces the selector's set alone.
#[test]
fn tags_become_sets() {
    for (side, expected) in [
        ("tag: t", "tag t"),
        ("notTag: t", "!tag t"),
        ("tag: t, selector: has(a)", "tag t, has(a)"),
        ("tag: t, selector: has(a), notSelector: has(b)", "tag t, (has(a) && !has(b))"),
        ("notTag: t, notSelector: has(b)", "!tag t, !has(b)"),
        ("tag: t, selector: has(a), ports: [80]", "tag t, has(a), 80"),
    ] {
        let spec = format!("egress: [{{action: allow, protocol: tcp, destination: {{{side}}}}}]");
        assert_eq!(lowered(&[document("v1", "policy", "name: p", &spec)]), expected, "{side}");
    }
}

/// Reference §15, rows 86 and 87: the scope of a namespaced policy's rules is part of their sets.
#[test]
fn rules_of_a_namespace() {
    let ns = "projectcalico.org/namespace";
    for (side, expected) in [
        ("", String::new()),
        ("nets: [10.0.0.0/8]", String::new()),
        ("selector: has(a)", format!("({ns} == \"ns\" && has(a))")),
        ("notSelector: has(a)", format!("({ns} == \"ns\" && !has(a))")),
        (
            "namespaceSelector: namespace == 'red', selector: has(a)",
            "(pcns.namespace == \"red\" && has(a))".into(),
        ),
        ("namespaceSelector: all(), selector: has(a)", format!("(has({ns}) && has(a))")),
        ("namespaceSelector: global(), selector: has(a)", format!("(!has({ns}) && has(a))")),
    ] {
        let spec = format!("egress: [{{action: Allow, destination: {{{side}}}}}]");
        let policy = v3("NetworkPolicy", "name: p, namespace: ns", &spec);
        assert_eq!(lowered(&[policy]), expected, "{side}");
    }
}

#[test]
fn rules_share_sets() {
    let rule = "{action: Allow, source: {selector: has(a)}, destination: {selector: ' has( a ) '}}";
    let policy = |name: &str, rules: &str| gnp(name, &format!("ingress: [{rules}]"));
    let (p, q) = (policy("p", &[rule, rule].join(",")), policy("q", rule));
    let prof = profile("prof", &format!("ingress: [{rule}]"));
    let mut host = Host::new(&[&local("a", "", "ipNetworks: [10.0.0.1], profiles: [prof]"), &p, &q, &prof]);
    assert_eq!(host.desired().set_lines(), ["has(a) = "]);
    assert_eq!(host.put(&policy("p", rule)).delete(&q).desired().sets.len(), 1);
    assert_eq!(host.delete(&p).desired().sets.len(), 1);
    assert_eq!(host.delete(&prof).desired().sets.len(), 0);
    assert_eq!(host.put(&q).desired().sets.len(), 1);
}

/// What packets do not show: an Allow or Log never matches, a Deny matches by the rest, a Pass denies by it.
#[test]
fn unenforceable_rules() {
    let services =
        |action: &str| format!("{{action: {action}, destination: {{services: {{name: s, namespace: n}}}}}}");
    for (rule, expected) in [
        (services("Allow"), NONE),
        (services("Log"), NONE),
        (services("Deny"), &["0 Deny", "1 Allow"]),
        (services("Pass"), &["0 Deny", "1 Allow"]),
    ] {
        let desired = Host::new(&[
            &local("a", "", "ipNetworks: [10.0.0.1]"),
            &gnp("p", &format!("egress: [{rule}, {{action: Allow}}]")),
        ])
        .desired();
        let expected = if expected.is_empty() { &["1 Allow"][..] } else { expected };
        assert_eq!(rule_lines(&desired.policies.values().next().unwrap().egress), expected, "{rule}");
    }
    let http = gnp("p", "ingress: [{action: Allow, http: {methods: [GET]}}, {action: Deny}]");
    let desired = Host::new(&[&local("a", "", "ipNetworks: [10.0.0.1]"), &http]).desired();
    assert_eq!(rule_lines(&desired.policies.values().next().unwrap().ingress), ["1 Deny"]);
}

#[test]
fn a_rule_that_is_left_out_needs_no_sets() {
    for (http, sets) in [("http: {methods: [GET]},", NONE), ("", &["has(a) = "])] {
        let policy = gnp("p", &format!("ingress: [{{action: Allow, {http} source: {{selector: has(a)}}}}]"));
        let mut host = Host::new(&[&local("a", "", "ipNetworks: [10.0.0.1]"), &policy]);
        assert_eq!(host.desired().set_lines(), sets, "{http}");
    }
}

#[test]
fn every_criterion_is_kept() {
    let desired = Host::new(&[
        &local("a", "", "ipNetworks: [10.0.0.1]"),
        &gnp(
            "p",
            "ingress: [{action: Log}, {action: Allow, ipVersion: 4, protocol: ICMP, notProtocol: UDP, \
             icmp: {type: 8, code: 0}, notICMP: {type: 3}, metadata: {annotations: {b: '2', a: '1'}}, \
             source: {nets: [10.0.0.0/8], notNets: [10.1.0.0/16]}}]",
        ),
    ])
    .desired();
    let rule = &desired.policies.values().next().unwrap().ingress[1];
    let annotations: Vec<String> =
        rule.annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(annotations, ["a=1", "b=2"]);
    assert_eq!(rule.ip_version, Some(crate::model::IpVersion::V4));
    assert_eq!(rule.protocol, Some(crate::model::Protocol::Icmp));
    assert_eq!(rule.not_protocol, Some(crate::model::Protocol::Udp));
    assert_eq!(rule.icmp.map(|icmp| (icmp.icmp_type, icmp.code)), Some((8, Some(0))));
    assert_eq!(rule.not_icmp.map(|icmp| (icmp.icmp_type, icmp.code)), Some((3, None)));
    assert_eq!(rule.source.nets, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(rule.source.not_nets, ["10.1.0.0/16".parse().unwrap()]);
    assert_eq!(
        (rule.provenance.index, rule.provenance.direction),
        (Some(1), crate::policy::Direction::Ingress)
    );
    assert_eq!(rule.provenance.owner.to_string(), "GlobalNetworkPolicy p");
}
