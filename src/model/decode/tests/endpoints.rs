//! Endpoints: identity, labels, and what makes them absent.

use super::*;
use crate::model::{Protocol, WorkloadEndpoint};

const SPEC: &str = "node: node-1, orchestrator: k8s, pod: pod-name, endpoint: eth0, interfaceName: cali1";

fn workload(decoded: &Decoded) -> Option<&WorkloadEndpoint> {
    match decoded.resource() {
        Some(Resource::WorkloadEndpoint(endpoint)) => Some(endpoint),
        _ => None,
    }
}

#[test]
fn identities() {
    let nets = "ipNetworks: [10.0.0.1]";
    let full = format!("{{{SPEC}, {nets}}}");
    for (metadata, spec, manifest, stored) in [
        ("{}", full.as_str(), Some("node-1/k8s/default/pod-name/eth0"), None),
        ("{namespace: n}", &full, Some("node-1/k8s/n/pod-name/eth0"), None),
        (
            "{name: node--1-k8s-pod--name-eth0, namespace: n}",
            &full,
            Some("node-1/k8s/n/pod-name/eth0"),
            Some("node-1/k8s/n/pod-name/eth0"),
        ),
        ("{name: other, namespace: n}", &full, None, None),
        (
            "{namespace: n}",
            "{node: n1, orchestrator: libnetwork, endpoint: e, interfaceName: cali1, ipNetworks: [10.0.0.1/32]}",
            Some("n1/libnetwork/n/libnetwork/e"),
            None,
        ),
        (
            "{namespace: n}",
            "{node: n1, orchestrator: cni, containerID: c, endpoint: e, interfaceName: cali1, ipNetworks: [10.0.0.1/32]}",
            Some("n1/cni/n/c/e"),
            None,
        ),
        (
            "{namespace: n}",
            "{node: n1, orchestrator: foo, workload: foo-foo, endpoint: e, interfaceName: cali1, ipNetworks: [10.0.0.1/32]}",
            Some("n1/foo/n/foo-foo/e"),
            None,
        ),
        // The pod is missing; a part ends with a dash.
        (
            "{}",
            "{node: n1, orchestrator: k8s, endpoint: e, interfaceName: cali1, ipNetworks: [10.0.0.1/32]}",
            None,
            None,
        ),
        (
            "{}",
            "{node: n1-, orchestrator: k8s, pod: p, endpoint: e, interfaceName: cali1, ipNetworks: [10.0.0.1/32]}",
            None,
            None,
        ),
    ] {
        let text = document("projectcalico.org/v3", "WorkloadEndpoint", metadata, spec);
        let id = |decoded: Decoded| workload(&decoded).map(|endpoint| endpoint.id.to_string());
        assert_eq!(id(super::manifest(&text)).as_deref(), manifest, "{text}");
        assert_eq!(id(super::stored(&text)).as_deref(), stored, "{text}");
    }
}

/// Reference §15, row 88.
#[test]
fn labels() {
    let metadata = "{name: node--1-k8s-pod--name-eth0, namespace: n, labels: {a: 1, pcns.x: y, pcsa.y: z}}";
    let account = "a".repeat(70);
    let spec = format!("{{{SPEC}, ipNetworks: [10.0.0.1], serviceAccountName: {account}}}");
    let text = document("projectcalico.org/v3", "WorkloadEndpoint", metadata, &spec);
    let labels = |decoded: Decoded| {
        let labels = workload(&decoded).unwrap().labels.clone();
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    let own = ["a=1".to_owned(), format!("projectcalico.org/serviceaccount={account}")];
    assert_eq!(labels(stored(&text)), own);
    assert_eq!(
        labels(manifest(&text)),
        [&own[0], "projectcalico.org/namespace=n", "projectcalico.org/orchestrator=k8s", &own[1]]
    );
}

#[test]
fn v3_workloads() {
    for (more, wanted, there) in [
        ("ipNetworks: [10.0.0.1, 'fe80::1/128']", "", true),
        ("", "warning missing-field: WorkloadEndpoint", false),
        ("ipNetworks: []", "warning missing-field", false),
        ("ipNetworks: [10.0.0.0/26]", "error invalid-value", false),
        ("ipNetworks: [10.0.0.1], mac: 'ee:ee:ee:ee:ee:ee', ipv4Gateway: 169.254.1.1", "", true),
        ("ipNetworks: [10.0.0.1], mac: ee", "error invalid-value", false),
        ("ipNetworks: [10.0.0.1], ipv6Gateway: 169.254.1.1", "error invalid-value", false),
        ("ipNetworks: [10.0.0.1], ipNATs: [{internalIP: 10.0.0.1, externalIP: 1.2.3.4}]", "", true),
        (
            "ipNetworks: [10.0.0.1], ipNATs: [{internalIP: 10.0.0.2, externalIP: 1.2.3.4}]",
            "error contradiction",
            false,
        ),
        (
            "ipNetworks: [10.0.0.1], ipNATs: [{internalIP: 10.0.0.1, externalIP: '::1'}]",
            "error contradiction",
            false,
        ),
        ("ipNetworks: [10.0.0.1], labels: {}", "error unknown-field", false),
        (
            "ipNetworks: [10.0.0.1], ports: [{name: a, protocol: TCP, port: 1, prot: 2}]",
            "error unknown-field",
            false,
        ),
        ("ipNetworks: [10.0.0.1], profiles: [kns.default, a b]", "error invalid-name", false),
        ("ipNetworks: [10.0.0.1], allowSpoofedSourcePrefixes: [10.0.0.0/8]", "", true),
        ("ipNetworks: [10.0.0.1], allowSpoofedSourcePrefixes: [10.0.0.0/88]", "error invalid-value", false),
        ("ipNetworks: [10.0.0.1], qosControls: {ingressBandwidth: 1}", "warning not-implemented", true),
        ("ipNetworks: [10.0.0.1], ports: [{name: http, protocol: TCP, port: 80}]", "", true),
        (
            "ipNetworks: [10.0.0.1], ports: [{name: http, protocol: ICMP, port: 80}]",
            "error invalid-value",
            false,
        ),
        (
            "ipNetworks: [10.0.0.1], ports: [{name: http, protocol: TCP, port: 0}]",
            "error invalid-value",
            false,
        ),
        ("ipNetworks: [10.0.0.1], ports: [{name: http, port: 1}]", "error missing-field", false),
    ] {
        let decoded = v3("WorkloadEndpoint", "{}", &format!("{{{SPEC}, {more}}}"));
        expect(&decoded, wanted, more);
        assert_eq!(workload(&decoded).is_some(), there, "{more}");
    }
    for (interface, wanted) in [
        ("cali0.1", ""),
        ("interfaceTooLong", "error invalid-name"),
        ("'a b'", "error invalid-name"),
        ("''", "error invalid-name"),
        ("~", "error missing-field"),
    ] {
        let spec = format!("{{{}, ipNetworks: [10.0.0.1]}}", SPEC.replace("cali1", interface));
        expect(&v3("WorkloadEndpoint", "{}", &spec), wanted, interface);
    }
    let bad_label =
        v3("WorkloadEndpoint", "{labels: {a: b!}}", &format!("{{{SPEC}, ipNetworks: [10.0.0.1]}}"));
    assert!(workload(&bad_label).is_none());
}

#[test]
fn ports_without_a_name_are_left_out() {
    let ports = "ports: [{protocol: TCP, port: 80}, {name: '', protocol: UDP, port: 53}, {name: dns, protocol: 17, port: 53, hostPort: 53}]";
    let decoded = v3("WorkloadEndpoint", "{}", &format!("{{{SPEC}, ipNetworks: [10.0.0.1], {ports}}}"));
    let ports = &workload(&decoded).unwrap().ports;
    assert_eq!(ports.len(), 1);
    assert_eq!((&*ports[0].name, ports[0].protocol, ports[0].port), ("dns", Protocol::Number(17), 53));
}

#[test]
fn v1_workloads() {
    let metadata =
        "{node: h1, orchestrator: k8s, workload: n/w, name: e, labels: {k8s_ns/label-ro.le: 2gold}}";
    for (metadata, spec, wanted, there) in [
        (metadata, "{interfaceName: cali1, ipNetworks: [10.0.0.1/32], profiles: [a/b]}", "", true),
        (metadata, "{interfaceName: cali1}", "", true),
        (metadata, "{ipNetworks: [10.0.0.1/32]}", "error missing-field", false),
        (metadata, "{interfaceName: cali.1}", "error invalid-name", false),
        (metadata, "{interfaceName: cali1, ipNetworks: [1.2.3.0/26]}", "error invalid-value", false),
        ("{orchestrator: k8s, workload: w, name: e}", "{interfaceName: cali1}", "error missing-field", false),
        (
            "{node: h1, orchestrator: k8s, workload: w, name: e, labels: {rank!: a}}",
            "{interfaceName: cali1}",
            "error invalid-name",
            false,
        ),
    ] {
        let decoded = v1("workloadEndpoint", metadata, spec);
        expect(&decoded, wanted, spec);
        let id = workload(&decoded).map(|endpoint| endpoint.id.to_string());
        assert_eq!(id.as_deref(), there.then_some("h1/k8s/n/w/e"), "{spec}");
    }
}

#[test]
fn hosts() {
    for (decoded, wanted, id) in [
        (
            v3("HostEndpoint", "{name: h1-eth0}", "{node: h1, interfaceName: eth0, expectedIPs: [10.0.0.1]}"),
            "",
            Some("h1/h1-eth0"),
        ),
        (
            v3(
                "HostEndpoint",
                "{name: a}",
                "{node: h1, interfaceName: '*', ports: [{name: a, protocol: TCP, port: 1}]}",
            ),
            "",
            Some("h1/a"),
        ),
        (v3("HostEndpoint", "{name: a}", "{interfaceName: eth0}"), "error missing-field", None),
        (
            v3("HostEndpoint", "{name: a}", "{node: h1}"),
            "error missing-field: HostEndpoint a: spec: neither",
            None,
        ),
        (v3("HostEndpoint", "{name: a}", "{node: h1, interfaceName: 'eth 0'}"), "error invalid-name", None),
        (
            v3("HostEndpoint", "{name: a}", "{node: h1, expectedIPs: [10.0.0.0/8]}"),
            "error invalid-value",
            None,
        ),
        (v1("hostEndpoint", "{name: a/b, node: h1}", "{interfaceName: eth0}"), "", Some("h1/a/b")),
        (v1("hostEndpoint", "{name: a, node: h1}", "{interfaceName: '*'}"), "error invalid-name", None),
        (v1("hostEndpoint", "{name: a, node: h1}", "{}"), "error missing-field", None),
    ] {
        expect(&decoded, wanted, "host endpoint");
        let found = match decoded.resource() {
            Some(Resource::HostEndpoint(endpoint)) => Some(endpoint.id.to_string()),
            _ => None,
        };
        assert_eq!(found.as_deref(), id);
    }
}
