//! Whole documents: which are ours, where mistakes are shown, and that nothing brings the reader down.

use super::*;
use crate::datastore::{Node, Scalar, StoredPath, Value, Written};

#[test]
fn kinds() {
    for (text, wanted) in [
        ("{apiVersion: v1, kind: bgpPeer, metadata: {anything: 1}}", ""),
        ("{apiVersion: projectcalico.org/v3, kind: BGPConfiguration, spec: {a: b}}", ""),
        ("{apiVersion: projectcalico.org/v3, kind: StagedNetworkPolicy, spec: {selector: '('}}", ""),
        ("{apiVersion: projectcalico.org/v3, kind: LiveMigration}", ""),
        (
            "{apiVersion: v1, kind: Pod}",
            "warning not-a-resource: Pod: kind: a Pod of Kubernetes is not for us",
        ),
        ("{apiVersion: apps/v1, kind: Deployment}", "warning not-a-resource: Deployment: apiVersion"),
        (
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}}",
            "warning not-a-resource",
        ),
        ("{apiVersion: v2, kind: policy}", "warning not-a-resource"),
        ("{apiVersion: projectcalico.org/v1, kind: Tier}", "error not-a-resource"),
        ("{apiVersion: projectcalico.org, kind: Tier}", "error not-a-resource"),
        (
            "{apiVersion: crd.projectcalico.org/v1, kind: GlobalNetworkPolicy}",
            "error not-a-resource: GlobalNetworkPolicy: apiVersion: `crd.projectcalico.org/v1` is not an API version that we read",
        ),
        ("{apiVersion: example-projectcalico.org/v9, kind: Tier}", "warning not-a-resource"),
        ("{apiVersion: operator.tigera.io/v1, kind: Installation}", "warning not-a-resource"),
        ("{apiVersion: v1, kind: Policy}", "error unknown-kind"),
        ("{apiVersion: v1, kind: GlobalNetworkPolicy}", "error unknown-kind"),
        ("{apiVersion: projectcalico.org/v3, kind: globalnetworkpolicy}", "error unknown-kind"),
        ("{apiVersion: projectcalico.org/v3, kind: ippool}", "error unknown-kind"),
        ("{apiVersion: projectcalico.org/v3, kind: policy}", "error unknown-kind"),
        ("{kind: policy}", "error missing-field: policy: apiVersion: it is missing"),
        ("{apiVersion: v1}", "error missing-field: kind: it is missing"),
        ("{apiVersion: [v1], kind: policy}", "error invalid-value"),
        ("{apiVersion: v1, kind: {a: b}}", "error invalid-value"),
        ("{}", "error missing-field"),
        ("hello", "error not-a-resource: not a resource"),
        ("80", "error not-a-resource"),
        (
            "{apiVersion: v1, kind: policy, metadata: {name: a}, sepc: {}}",
            "error unknown-field: policy a: no field is called `sepc`",
        ),
        (
            "{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: a}, sepc: {}}",
            "warning unknown-field: Node a: no field is called `sepc`",
        ),
        (
            "{apiVersion: v1, kind: policy, metadata: a}",
            "error invalid-value: policy: metadata: a mapping is wanted",
        ),
        ("{apiVersion: v1, kind: policy}", "error missing-field: policy: metadata.name: it is missing"),
    ] {
        expect(&manifest(text), wanted, text);
    }
}

/// An unknown field of a manifest is an error, and what is left of its object opens nothing; stored, it is passed over.
#[test]
fn unknown_fields() {
    #[derive(Debug, PartialEq)]
    enum Now {
        Kept,
        Invalid,
        Absent,
    }
    use Now::{Absent, Invalid, Kept};
    let endpoint =
        "node: n, orchestrator: k8s, pod: p, endpoint: e, interfaceName: cali1, ipNetworks: [10.0.0.1]";
    let host = "node: n, interfaceName: eth0";
    for (kind, metadata, spec, after) in [
        ("GlobalNetworkPolicy", "name: n", "selector: all()", Invalid),
        ("NetworkPolicy", "name: n, namespace: n", "selector: all()", Invalid),
        ("policy", "name: n", "selector: all()", Invalid),
        ("Profile", "name: n", "ingress: []", Invalid),
        ("profile", "name: n", "ingress: []", Invalid),
        ("Tier", "name: n", "order: 1", Kept),
        ("GlobalNetworkSet", "name: n", "nets: [10.0.0.0/8]", Kept),
        ("NetworkSet", "name: n, namespace: n", "nets: [10.0.0.0/8]", Kept),
        ("IPPool", "name: n", "cidr: 10.0.0.0/16", Kept),
        ("ipPool", "cidr: 10.0.0.0/16", "nat-outgoing: true", Kept),
        ("WorkloadEndpoint", "name: n-k8s-p-e, namespace: n", endpoint, Absent),
        (
            "workloadEndpoint",
            "name: e, node: n, orchestrator: k8s, workload: w",
            "interfaceName: cali1",
            Absent,
        ),
        ("HostEndpoint", "name: n", host, Absent),
        ("hostEndpoint", "name: n, node: n", "interfaceName: eth0", Absent),
    ] {
        let version = if kind.starts_with(char::is_lowercase) { "v1" } else { "projectcalico.org/v3" };
        for (of_metadata, of_spec, of_document) in
            [("zzz: 1", "", ""), ("", "zzz: 1", ""), ("", "", "zzz: 1")]
        {
            let text = format!(
                "{{apiVersion: {version}, kind: {kind}, metadata: {{{metadata}, {of_metadata}}}, \
                 spec: {{{spec}, {of_spec}}}, {of_document}}}"
            );
            let decoded = manifest(&text);
            expect(&decoded, "error unknown-field", &text);
            let now = match decoded.resource() {
                Some(Resource::Policy(policy)) if policy.invalid => Invalid,
                Some(Resource::Profile(profile)) if profile.invalid => Invalid,
                Some(_) => Kept,
                None => Absent,
            };
            assert_eq!(now, after, "{text}");
            if version != "v1" {
                expect(&stored(&text), "warning unknown-field", &text);
            }
        }
    }
}

/// Under a misspelt `spec` nothing is read: no default stands in for it.
#[test]
fn specs() {
    for (kind, spec, there) in [
        ("GlobalNetworkPolicy", "{selector: has(a), types: [Egress]}", false),
        ("NetworkPolicy", "{}", false),
        ("Tier", "{order: 1}", true),
        ("WorkloadEndpoint", "{}", false),
        ("IPPool", "{cidr: 10.0.0.0/16}", false),
        ("GlobalNetworkSet", "{nets: [10.0.0.0/8]}", true),
    ] {
        for misspelt in ["specs", "sepc", "Spec", "rules"] {
            let text = format!(
                "{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: n}}, {misspelt}: {spec}}}"
            );
            let decoded = manifest(&text);
            expect(&decoded, "error unknown-field", &text);
            assert_eq!(decoded.resource().is_some(), there, "{text}");
        }
    }
    let profile = manifest("{apiVersion: v1, kind: profile, metadata: {name: a}, specs: {ingress: []}}");
    assert!(matches!(profile.resource(), Some(Resource::Profile(profile)) if profile.invalid));
}

/// In the default namespace an object might be taken for another one's.
#[test]
fn a_misspelt_namespace_is_not_the_default_one() {
    for kind in ["NetworkPolicy", "NetworkSet"] {
        let decoded = v3(kind, "{name: n, namepsace: shop}", "{}");
        expect(&decoded, "error unknown-field", kind);
        assert!(decoded.resource().is_none(), "{kind}");
    }
}

#[test]
fn helps() {
    for (text, help) in [
        ("{apiVersion: v1, kind: Policy}", "did you mean `policy`?"),
        ("{apiVersion: v1, kind: GlobalNetworkPolicy}", "write `apiVersion: projectcalico.org/v3`"),
        ("{apiVersion: projectcalico.org/v3, kind: ippool}", "did you mean `IPPool`?"),
        ("{apiVersion: crd.projectcalico.org/v1, kind: Tier}", "write `apiVersion: projectcalico.org/v3`"),
        (
            "{apiVersion: v1, kind: policy, metadata: {name: a}, spec: {Selector: all()}}",
            "did you mean `selector`?",
        ),
        (
            "{apiVersion: v1, kind: policy, metadata: {name: a}, spec: {ingress: [{action: ALLOW}]}}",
            "did you mean `allow`?",
        ),
    ] {
        let decoded = manifest(text);
        let helps: Vec<_> = decoded.diagnostics.iter().filter_map(|d| d.help.as_deref()).collect();
        assert_eq!(helps, [help], "{text}");
    }
}

/// The place of a mistake is the very value; in a selector the very letters.
#[test]
fn places() {
    let head = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  name: web\nspec:\n";
    for (body, line, column, underlined) in [
        ("  selector: role = 'x'\n", 6, 18, "="),
        ("  selector: \"role = 'x'\"\n", 6, 19, "="),
        ("  order: ten\n", 6, 10, "ten"),
        (
            "  ingress:\n  - action: Allow\n    protocol: TCP\n    destination:\n      ports: [80, 0]\n",
            10,
            19,
            "0",
        ),
        ("  colour: red\n", 6, 3, "colour"),
    ] {
        let decoded = manifest(&format!("{head}{body}"));
        let [diagnostic] = decoded.diagnostics.as_slice() else { panic!("{:?}", said(&decoded)) };
        let excerpt = diagnostic.excerpt.as_ref().unwrap();
        assert_eq!(diagnostic.place.to_string(), format!("a.yaml:{line}:{column}"), "{body}");
        assert_eq!(&excerpt.line[excerpt.start..excerpt.end], underlined, "{body}");
    }
}

#[test]
fn all_mistakes_are_said_at_once() {
    let decoded = v3(
        "GlobalNetworkPolicy",
        "{name: Web}",
        "{order: x, selector: '(', ingress: [{action: allow, protocol: tcp}, {action: Deny, source: {nets: [a, b]}}]}",
    );
    assert_eq!(decoded.diagnostics.len(), 7, "{:#?}", said(&decoded));
}

const SAMPLES: &[&str] = &[
    "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: a, annotations: {projectcalico.org/metadata: '{}'}}, spec: {tier: t, order: 1, selector: has(a), namespaceSelector: has(b), serviceAccountSelector: has(c), types: [Ingress, Egress], doNotTrack: false, preDNAT: false, applyOnForward: true, performanceHints: [AssumeNeededOnEveryNode], ingress: [{action: Allow, ipVersion: 4, protocol: ICMP, notProtocol: 7, icmp: {type: 8, code: 0}, notICMP: {type: 1}, source: {nets: [10.0.0.0/8], notNets: [10.1.0.0/16], selector: has(a), notSelector: has(b), namespaceSelector: has(c), serviceAccounts: {names: [a], selector: has(d)}}, metadata: {annotations: {a: b}}}, {action: Allow, http: {methods: [GET], paths: [{exact: a}]}, source: {services: {name: a, namespace: b}}}], egress: [{action: Log, protocol: TCP, destination: {ports: [1, '2:3', a], notPorts: [4]}}]}}",
    "{apiVersion: v1, kind: policy, metadata: {name: a}, spec: {order: 1, selector: has(a), doNotTrack: true, ingress: [{action: allow, protocol: tcp, source: {tag: a, net: 10.0.0.0/8, selector: has(a), ports: [1], notTag: b, notNet: 10.0.0.1, notSelector: has(b), notPorts: [2]}}]}}",
    "{apiVersion: v1, kind: profile, metadata: {name: a, tags: [a], labels: {a: b}}, spec: {egress: [{action: pass}]}}",
    "{apiVersion: projectcalico.org/v3, kind: Profile, metadata: {name: a}, spec: {labelsToApply: {a: b}}}",
    "{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: default}, spec: {order: 1000000, defaultAction: Deny}}",
    "{apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: a, namespace: b, labels: {a: b}}, spec: {nets: [10.0.0.0/8]}}",
    "{apiVersion: projectcalico.org/v3, kind: WorkloadEndpoint, metadata: {namespace: b, labels: {a: b}}, spec: {orchestrator: k8s, node: n, pod: p, endpoint: e, serviceAccountName: s, ipNetworks: [10.0.0.1], ipNATs: [{internalIP: 10.0.0.1, externalIP: 1.1.1.1}], ipv4Gateway: 1.1.1.1, profiles: [a], interfaceName: cali1, mac: 'ee:ee:ee:ee:ee:ee', ports: [{name: a, protocol: TCP, port: 1}], allowSpoofedSourcePrefixes: [10.0.0.0/8]}}",
    "{apiVersion: v1, kind: workloadEndpoint, metadata: {name: a, workload: b, orchestrator: c, node: d, labels: {a: b}}, spec: {interfaceName: cali1, ipNetworks: [10.0.0.1]}}",
    "{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: a}, spec: {node: n, interfaceName: eth0, expectedIPs: [10.0.0.1], profiles: [a], ports: [{name: a, protocol: TCP, port: 1}]}}",
    "{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: a}, spec: {cidr: 10.0.0.0/16, ipipMode: Always, blockSize: 26, natOutgoing: true, allowedUses: [Workload]}}",
    "{apiVersion: v1, kind: ipPool, metadata: {cidr: 10.0.0.0/16}, spec: {ipip: {enabled: true, mode: always}, nat-outgoing: true}}",
    "{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: a}, spec: {bgp: {ipv4Address: 10.0.0.1/8, ipv6Address: 'fd00::1/64', ipv4IPIPTunnelAddr: 10.0.0.2}}}",
    "{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: default, annotations: {config.projectcalico.org/A: b}}, spec: {logPrefix: a, failsafeInboundHostPorts: [{protocol: tcp, port: 22, net: 0.0.0.0/0}], nodeSelector: has(a)}}",
    "{apiVersion: projectcalico.org/v3, kind: ClusterInformation, metadata: {name: default}, spec: {clusterGUID: a}}",
    "{apiVersion: projectcalico.org/v3, kind: BlockAffinity, metadata: {name: a}, spec: {node: a, cidr: 10.0.0.0/26, state: confirmed}}",
    "{apiVersion: projectcalico.org/v3, kind: IPAMBlock, metadata: {name: a}, spec: {cidr: 10.0.0.0/26, affinity: 'host:a', allocations: [0, ~], attributes: [{secondary: {node: b}}]}}",
];

/// Every value of every kind replaced by everything that it should not be.
#[test]
fn odd_values_never_panic() {
    let scalar = |text: &str, plain| Value::Scalar(Scalar { text: text.into(), plain });
    let odd = [
        scalar("", true),
        scalar("", false),
        scalar("-1", true),
        scalar("99999999999999999999999", true),
        scalar("é\u{0}\u{202e}\n\t:/%", false),
        scalar("nan", true),
        scalar("::/0", false),
        scalar(&"-".repeat(100_000), false),
        Value::Sequence(Vec::new()),
        Value::Mapping(Vec::new()),
    ];
    for sample in SAMPLES {
        let good = entry(sample);
        let decoded = decode(&good);
        assert!(decoded.resource().is_some(), "{sample}\n{:#?}", said(&decoded));
        for at in 0..count(&good.node) {
            for value in &odd {
                let mut bad = good.clone();
                replace(&mut bad.node, at, value);
                decode(&bad);
                bad.path = Some(StoredPath::of(&key_of(&good.node)));
                bad.origin.written = Written::Stored;
                decode(&bad);
            }
        }
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::Sequence(items) => items.iter().map(count).sum(),
        Value::Mapping(entries) => entries.iter().map(|(_, value)| count(value)).sum(),
    }
}

/// Puts `value` in the place of the node that is `at`th in the order written.
fn replace(node: &mut Node, at: usize, value: &Value) {
    if at == 0 {
        node.value = value.clone();
        return;
    }
    let children: Vec<&mut Node> = match &mut node.value {
        Value::Scalar(_) => Vec::new(),
        Value::Sequence(items) => items.iter_mut().collect(),
        Value::Mapping(entries) => entries.iter_mut().map(|(_, value)| value).collect(),
    };
    let mut before = 1;
    for child in children {
        let size = count(child);
        if at < before + size {
            return replace(child, at - before, value);
        }
        before += size;
    }
}
