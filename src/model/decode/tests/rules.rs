//! Rules, one a row: what is wrong with it, or nothing.

use super::*;
use crate::model::{IcmpMatch, IpVersion, Protocol, Rule, Unenforceable};

fn v3_rule(way: &str, rule: &str) -> Decoded {
    v3("GlobalNetworkPolicy", "{name: p}", &format!("{{{way}: [{rule}]}}"))
}

fn v1_rule(rule: &str) -> Decoded {
    v1("policy", "{name: p}", &format!("{{ingress: [{rule}]}}"))
}

/// A rule with an error makes its policy deny, and no other rule does.
fn check(decoded: &Decoded, wanted: &str, rule: &str) {
    expect(decoded, wanted, rule);
    assert_eq!(policy(decoded).invalid, wanted.starts_with("error"), "{rule}");
    assert_eq!(
        policy(decoded).ingress.is_empty() && policy(decoded).egress.is_empty(),
        policy(decoded).invalid
    );
}

#[test]
fn v3_rules() {
    for (rule, wanted) in [
        ("{action: Allow}", ""),
        ("{action: Pass}", ""),
        ("{}", "error missing-field: GlobalNetworkPolicy p: spec.ingress[0].action: it is missing"),
        (
            "{action: allow}",
            "error invalid-value: GlobalNetworkPolicy p: spec.ingress[0].action: `allow` is not known",
        ),
        ("{action: next-tier}", "error invalid-value"),
        ("{action: [Allow]}", "error invalid-value: GlobalNetworkPolicy p: spec.ingress[0].action: a list"),
        ("Allow", "error invalid-value: GlobalNetworkPolicy p: spec.ingress[0]: a mapping is wanted"),
        ("~", "error invalid-value"),
        (
            "{action: Allow, tos: 3}",
            "error unknown-field: GlobalNetworkPolicy p: spec.ingress[0]: no field is called `tos`",
        ),
        ("{action: Allow, source: {selecter: a == 'b'}}", "error unknown-field"),
        ("{action: Allow, source: null, protocol: ~}", ""),
        // Protocols.
        ("{action: Allow, protocol: TCP}", ""),
        ("{action: Allow, protocol: 6}", ""),
        ("{action: Allow, protocol: '6'}", ""),
        (
            "{action: Allow, protocol: tcp}",
            "error invalid-value: GlobalNetworkPolicy p: spec.ingress[0].protocol: `tcp`",
        ),
        ("{action: Allow, protocol: 0}", "error invalid-value"),
        ("{action: Allow, protocol: 256}", "error invalid-value"),
        ("{action: Allow, protocol: -1}", "error invalid-value"),
        ("{action: Allow, notProtocol: ICMPv6}", ""),
        ("{action: Allow, notProtocol: ICMPv6, ipVersion: 4}", "error contradiction"),
        // IP versions.
        ("{action: Allow, ipVersion: 4}", ""),
        ("{action: Allow, ipVersion: 0}", "error invalid-value"),
        ("{action: Allow, ipVersion: '6'}", "error invalid-value"),
        ("{action: Allow, ipVersion: 6, source: {nets: [10.0.0.0/8]}}", "error contradiction"),
        ("{action: Allow, ipVersion: 6, protocol: ICMP}", "error contradiction"),
        ("{action: Allow, ipVersion: 4, protocol: 58}", "error contradiction"),
        ("{action: Allow, protocol: ICMPv6, source: {nets: [10.0.0.0/8]}}", "error contradiction"),
        (
            "{action: Allow, source: {nets: [10.0.0.0/8]}, destination: {nets: ['fe80::/64']}}",
            "error contradiction",
        ),
        ("{action: Allow, source: {nets: [10.0.0.0/8, 'fe80::/64']}}", "error contradiction"),
        // ICMP.
        ("{action: Allow, protocol: ICMP, icmp: {type: 0}}", ""),
        ("{action: Allow, protocol: ICMPv6, icmp: {type: 254, code: 255}}", ""),
        ("{action: Allow, protocol: 1, icmp: {type: 8, code: 0}}", ""),
        ("{action: Allow, protocol: 58, notICMP: {type: 8}}", ""),
        ("{action: Allow, protocol: ICMP, icmp: {type: 255}}", "error invalid-value"),
        ("{action: Allow, protocol: ICMP, icmp: {type: 8, code: 256}}", "error invalid-value"),
        (
            "{action: Allow, protocol: ICMP, icmp: {code: 1}}",
            "error missing-field: GlobalNetworkPolicy p: spec.ingress[0].icmp.type",
        ),
        ("{action: Allow, icmp: {type: 8}}", "error contradiction"),
        ("{action: Allow, protocol: TCP, icmp: {type: 8}}", "error contradiction"),
        ("{action: Allow, notICMP: {type: 8}}", "error contradiction"),
        // Ports.
        ("{action: Allow, protocol: TCP, destination: {ports: [80, '443', '8000:9000', http]}}", ""),
        ("{action: Allow, protocol: SCTP, source: {notPorts: [80]}}", ""),
        ("{action: Allow, protocol: 17, source: {ports: [80]}}", ""),
        ("{action: Allow, destination: {ports: [http]}}", ""),
        (
            "{action: Allow, destination: {ports: ['80-90']}}",
            "warning invalid-value: GlobalNetworkPolicy p: spec.ingress[0].destination.ports[0]: `80-90` is taken as the name of a port",
        ),
        ("{action: Allow, source: {notPorts: [80..90]}}", "warning invalid-value"),
        ("{action: Allow, source: {ports: [80 - 90]}}", "error invalid-name"),
        ("{action: Allow, source: {ports: [8-a, a-8, 1-2-3, '8-']}}", ""),
        ("{action: Allow, destination: {ports: []}}", ""),
        ("{action: Allow, destination: {ports: [80]}}", "error contradiction"),
        ("{action: Allow, destination: {ports: [http, 80]}}", "error contradiction"),
        ("{action: Allow, protocol: ICMP, destination: {ports: [http]}}", "error contradiction"),
        ("{action: Allow, protocol: UDPLite, destination: {ports: [80]}}", "error contradiction"),
        ("{action: Allow, protocol: 7, destination: {notPorts: [80]}}", "error contradiction"),
        (
            "{action: Allow, protocol: TCP, destination: {ports: [0]}}",
            "error invalid-value: GlobalNetworkPolicy p: spec.ingress[0].destination.ports[0]: `0` is not a port",
        ),
        ("{action: Allow, protocol: TCP, destination: {ports: ['90:80']}}", "error invalid-value"),
        (
            "{action: Allow, protocol: TCP, destination: {ports: 80}}",
            "error invalid-value: GlobalNetworkPolicy p: spec.ingress[0].destination.ports: a list",
        ),
        // Networks.
        ("{action: Allow, source: {nets: [10.0.0.0/8, 10.1.2.3]}}", ""),
        ("{action: Allow, source: {nets: [10.0.0.1/8]}}", "error invalid-value"),
        ("{action: Allow, source: {nets: [10.0.0.0/33]}}", "error invalid-value"),
        ("{action: Allow, source: {nets: [010.0.0.1]}}", "error invalid-value"),
        ("{action: Allow, source: {nets: [0.0.0.0/0]}}", ""),
        ("{action: Allow, source: {notNets: [0.0.0.0/0]}}", "error contradiction"),
        ("{action: Allow, source: {notNets: ['::/0']}}", "error contradiction"),
        // Selectors.
        ("{action: Allow, source: {selector: \"a == 'b'\", notSelector: has(c)}}", ""),
        ("{action: Allow, source: {selector: ''}}", ""),
        (
            "{action: Allow, source: {selector: a = b}}",
            "error invalid-selector: GlobalNetworkPolicy p: spec.ingress[0].source.selector: ",
        ),
        ("{action: Allow, source: {selector: global()}}", "error invalid-selector"),
        ("{action: Allow, source: {namespaceSelector: global()}}", ""),
        ("{action: Allow, source: {namespaceSelector: global() || has(a)}}", "error invalid-selector"),
        ("{action: Allow, source: {tag: a}}", "error unknown-field"),
        // What a packet filter can't see.
        (
            "{action: Allow, http: {methods: [GET], paths: [{exact: /a}, {prefix: /b}]}}",
            "warning unenforceable: GlobalNetworkPolicy p: spec.ingress[0].http: a packet filter can't see this: the rule never matches",
        ),
        ("{action: Deny, http: {methods: [GET]}}", "error contradiction"),
        ("{action: Allow, protocol: UDP, http: {methods: [GET]}}", "error contradiction"),
        (
            "{action: Deny, source: {services: {name: s, namespace: n}}}",
            "warning unenforceable: GlobalNetworkPolicy p: spec.ingress[0].source: a packet filter can't see this: the rule denies by its other criteria",
        ),
        ("{action: Allow, source: {services: {name: s}}}", "error missing-field"),
        (
            "{action: Allow, source: {services: {name: s, namespace: n}, nets: [10.0.0.0/8]}}",
            "error contradiction",
        ),
        ("{action: Allow, destination: {services: {name: s, namespace: n}}}", "error contradiction"),
        ("{action: Allow, metadata: {annotations: {a: b}}}", ""),
    ] {
        check(&v3_rule("ingress", rule), wanted, rule);
    }
}

#[test]
fn v3_egress_rules() {
    for (rule, wanted) in [
        ("{action: Allow, destination: {services: {name: s, namespace: n}}}", "warning unenforceable"),
        (
            "{action: Allow, protocol: TCP, destination: {ports: [80], services: {name: s, namespace: n}}}",
            "error contradiction",
        ),
        ("{action: Allow, source: {services: {name: s, namespace: n}}}", "error contradiction"),
        ("{action: Allow, http: {methods: [GET]}}", "error contradiction"),
    ] {
        check(&v3_rule("egress", rule), wanted, rule);
    }
}

#[test]
fn v1_rules() {
    for (rule, wanted) in [
        ("{action: allow}", ""),
        ("{action: pass}", ""),
        ("{action: Allow}", "error invalid-value: policy p: spec.ingress[0].action: `Allow` is not known"),
        ("{}", "error missing-field"),
        ("{action: allow, protocol: tcp, source: {selector: has(a)}, destination: {ports: [80, '1:2']}}", ""),
        ("{action: allow, protocol: TCP}", "error invalid-value"),
        ("{action: allow, protocol: tcpfoo}", "error invalid-value"),
        ("{action: allow, protocol: '256'}", "error invalid-value"),
        ("{action: allow, protocol: sctp, destination: {ports: [80]}}", "error contradiction"),
        ("{action: allow, protocol: sctp, destination: {ports: []}}", ""),
        ("{action: allow, protocol: tcp, destination: {ports: [http]}}", "error invalid-value"),
        ("{action: allow, protocol: tcp, destination: {ports: ['1:2:3']}}", "error invalid-value"),
        ("{action: allow, source: {net: 10.0.0.5/16}}", ""),
        (
            "{action: allow, source: {net: 10.0.0.0/8}, destination: {net: 'fe80::/64'}}",
            "error contradiction",
        ),
        ("{action: allow, ipVersion: 6, source: {net: 10.0.0.0/8}}", "error contradiction"),
        ("{action: allow, source: {notNet: 0.0.0.0/0}}", "error contradiction"),
        ("{action: allow, source: {nets: [10.0.0.0/8]}}", "error unknown-field"),
        ("{action: allow, source: {tag: a, notTag: b}}", ""),
        ("{action: allow, source: {tag: a b}}", "error invalid-name"),
        ("{action: allow, protocol: icmp, icmp: {type: 0, code: 0}}", ""),
        ("{action: allow, icmp: {type: 8}}", "error contradiction"),
        ("{action: allow, notICMP: {type: 8}}", "error contradiction"),
        ("{action: allow, http: {methods: [GET]}}", "error unknown-field"),
    ] {
        check(&v1_rule(rule), wanted, rule);
    }
}

#[test]
fn what_rules_become() {
    let only = |decoded: &Decoded| -> Rule { policy(decoded).ingress.first().unwrap().clone() };
    let rule = only(&v1_rule("{action: allow, source: {net: 10.0.0.5/16, notNet: 10.0.1.1}}"));
    assert_eq!(rule.source.nets, ["10.0.0.0/16".parse().unwrap()]);
    assert_eq!(rule.source.not_nets, ["10.0.1.1/32".parse().unwrap()]);

    let rule = only(&v3_rule("ingress", "{action: Allow, protocol: 58, icmp: {type: 8}}"));
    assert_eq!(rule.ip_version, Some(IpVersion::V6));
    assert_eq!(rule.protocol, Some(Protocol::Number(58)));
    assert_eq!(rule.icmp, Some(IcmpMatch { icmp_type: 8, code: None }));

    let rule = only(&v3_rule("ingress", "{action: Allow, http: {}, metadata: {annotations: {a: 1, b: ~}}}"));
    assert_eq!(rule.unenforceable, Some(Unenforceable::Http));
    assert_eq!(rule.annotations.get("a").map(|text| &**text), Some("1"));
    assert_eq!(rule.annotations.get("b").map(|text| &**text), Some(""));

    let rule = only(&v3_rule("ingress", "{action: Allow, destination: {notPorts: [http]}}"));
    assert_eq!(rule.destination.not_named_ports, ["http".into()]);
}

#[test]
fn limits() {
    for (text, wanted) in [
        (format!("{{ingress: [{}]}}", "{action: Allow},".repeat(1024)), ""),
        (format!("{{ingress: [{}]}}", "{action: Allow},".repeat(1025)), "1025 rules"),
        (
            format!("{{ingress: [{{action: Allow, source: {{nets: [{}]}}}}]}}", "10.0.0.1,".repeat(257)),
            "257 networks",
        ),
        (
            format!(
                "{{ingress: [{{action: Allow, protocol: TCP, source: {{ports: [{}]}}}}]}}",
                "1,".repeat(51)
            ),
            "51 ports",
        ),
        (format!("{{selector: {}}}", "has(a) || ".repeat(110) + "all()"), "at most"),
    ] {
        let decoded = v3("GlobalNetworkPolicy", "{name: p}", &text);
        assert_eq!(wanted.is_empty(), decoded.diagnostics.is_empty(), "{:?}", said(&decoded));
        let texts: Vec<_> =
            decoded.diagnostics.iter().map(|d| format!("{} {}", d.message, d.label)).collect();
        assert!(texts.iter().all(|text| text.contains(wanted)), "{texts:?}");
    }
}

/// Reference §15, rows 86 and 87.
#[test]
fn selectors_of_rules() {
    let in_ns = "projectcalico.org/namespace == \"ns2\"";
    for (kind, source, selector, not_selector) in [
        (
            "NetworkPolicy",
            "{selector: \"mylabel == 'v'\"}",
            Some(format!("({in_ns} && mylabel == \"v\")")),
            None,
        ),
        ("NetworkPolicy", "{notSelector: has(a)}", Some(in_ns.to_owned()), Some("has(a)")),
        ("NetworkPolicy", "{nets: [10.0.0.0/8]}", None, None),
        (
            "NetworkPolicy",
            "{namespaceSelector: \"namespace == 'red'\", selector: has(label1)}",
            Some("(pcns.namespace == \"red\" && has(label1))".to_owned()),
            None,
        ),
        (
            "NetworkPolicy",
            "{namespaceSelector: all(), selector: has(label1)}",
            Some("(has(projectcalico.org/namespace) && has(label1))".to_owned()),
            None,
        ),
        (
            "GlobalNetworkPolicy",
            "{namespaceSelector: global(), selector: has(label1)}",
            Some("(!has(projectcalico.org/namespace) && has(label1))".to_owned()),
            None,
        ),
        (
            "GlobalNetworkPolicy",
            "{namespaceSelector: all()}",
            Some("has(projectcalico.org/namespace)".to_owned()),
            None,
        ),
        ("GlobalNetworkPolicy", "{selector: has(a)}", Some("has(a)".to_owned()), None),
        ("GlobalNetworkPolicy", "{notSelector: has(a)}", None, Some("has(a)")),
        (
            "NetworkPolicy",
            "{serviceAccounts: {names: [b, a], selector: has(role)}}",
            Some(format!(
                "({in_ns} && (has(pcsa.role) && projectcalico.org/serviceaccount in {{\"a\", \"b\"}}))"
            )),
            None,
        ),
    ] {
        let metadata = if kind == "NetworkPolicy" { "{name: p, namespace: ns2}" } else { "{name: p}" };
        let decoded = v3(kind, metadata, &format!("{{ingress: [{{action: Allow, source: {source}}}]}}"));
        expect(&decoded, "", source);
        let source_match = &policy(&decoded).ingress[0].source;
        assert_eq!(source_match.selector.as_ref().map(|s| s.canonical().to_owned()), selector, "{source}");
        assert_eq!(source_match.not_selector.as_ref().map(|s| s.canonical()), not_selector, "{source}");
    }
}
