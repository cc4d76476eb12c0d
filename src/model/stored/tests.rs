//! Manifests and the keys and JSON that are stored of them.

use super::*;
use crate::datastore::yaml;

fn entry(text: &str) -> Entry {
    yaml::parse(&"t.yaml".into(), &text.into()).entries.remove(0)
}

fn completed(text: &str) -> Completed {
    complete(&entry(text))
}

/// Key below the resources, and JSON without kind and API version.
fn written(text: &str) -> (String, String) {
    let stored = completed(text).stored.unwrap_or_else(|| panic!("{text}: {:?}", completed(text)));
    let key = stored.key().replace("resources/v3/projectcalico.org/", "");
    let mut value = stored.value.clone();
    let object = value.as_object_mut().unwrap();
    object.retain(|name, _| name != "kind" && name != "apiVersion");
    (key, value.to_string())
}

fn v3(kind: &str, metadata: &str, spec: &str) -> String {
    format!("{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{{metadata}}}, spec: {{{spec}}}}}")
}

fn v1(kind: &str, metadata: &str, spec: &str) -> String {
    format!("{{apiVersion: v1, kind: {kind}, metadata: {{{metadata}}}, spec: {{{spec}}}}}")
}

#[track_caller]
fn check(rows: &[(String, &str, &str)]) {
    for (manifest, key, json) in rows {
        assert_eq!(written(manifest), ((*key).to_owned(), (*json).to_owned()), "{manifest}");
    }
}

#[test]
fn policies_get_types_tier_and_name() {
    check(&[
        (
            v3("GlobalNetworkPolicy", "name: web", "selector: all()"),
            "globalnetworkpolicies/web",
            r#"{"metadata":{"name":"web","labels":{"projectcalico.org/tier":"default"},"annotations":{"projectcalico.org/metadata":"{\"name\":\"web\"}"}},"spec":{"selector":"all()","tier":"default","types":["Ingress"]}}"#,
        ),
        (
            v3(
                "GlobalNetworkPolicy",
                "name: default.web, labels: {z: 1, a: b}",
                "tier: default, egress: [{action: Allow}]",
            ),
            "globalnetworkpolicies/web",
            r#"{"metadata":{"name":"web","labels":{"a":"b","projectcalico.org/tier":"default","z":"1"},"annotations":{"projectcalico.org/metadata":"{\"name\":\"web\"}"}},"spec":{"tier":"default","egress":[{"action":"Allow"}],"types":["Egress"]}}"#,
        ),
        (
            v3(
                "NetworkPolicy",
                "name: secure.web",
                "order: 10.0, tier: secure, ingress: [{action: Deny}], egress: [{action: Pass}], types: []",
            ),
            "networkpolicies/default/secure.web",
            r#"{"metadata":{"name":"secure.web","namespace":"default","labels":{"projectcalico.org/tier":"secure"},"annotations":{"projectcalico.org/metadata":"{\"name\":\"secure.web\"}"}},"spec":{"order":10,"tier":"secure","ingress":[{"action":"Deny"}],"egress":[{"action":"Pass"}],"types":["Ingress","Egress"]}}"#,
        ),
        (
            v3(
                "NetworkPolicy",
                r#"name: default.web, namespace: shop, uid: u, creationTimestamp: null, resourceVersion: 7, annotations: {projectcalico.org/metadata: '{"name": "default.web"}'}"#,
                "types: [Egress]",
            ),
            "networkpolicies/shop/default.web",
            r#"{"metadata":{"name":"default.web","namespace":"shop","labels":{"projectcalico.org/tier":"default"},"annotations":{"projectcalico.org/metadata":"{\"name\":\"default.web\"}"}},"spec":{"types":["Egress"],"tier":"default"}}"#,
        ),
    ]);
}

#[test]
fn others_get_their_defaults() {
    check(&[
        (
            v3("Tier", "name: a", ""),
            "tiers/a",
            r#"{"metadata":{"name":"a"},"spec":{"order":1000000,"defaultAction":"Deny"}}"#,
        ),
        (
            v3("Tier", "name: kube-admin", ""),
            "tiers/kube-admin",
            r#"{"metadata":{"name":"kube-admin"},"spec":{"order":1000,"defaultAction":"Pass"}}"#,
        ),
        (
            v3("IPPool", "name: p", "cidr: 'fd00::/64', natOutgoing: yes"),
            "ippools/p",
            r#"{"metadata":{"name":"p"},"spec":{"cidr":"fd00::/64","natOutgoing":true,"ipipMode":"Never","vxlanMode":"Never","blockSize":122,"nodeSelector":"all()","allowedUses":["Workload","Tunnel"],"assignmentMode":"Automatic"}}"#,
        ),
        (
            v3(
                "WorkloadEndpoint",
                "labels: {projectcalico.org/namespace: no, projectcalico.org/orchestrator: no, app: web}",
                "node: node-1, orchestrator: k8s, pod: pod-name, endpoint: eth0, serviceAccountName: sa, interfaceName: cali1, ipNetworks: [10.0.0.1]",
            ),
            "workloadendpoints/default/node--1-k8s-pod--name-eth0",
            r#"{"metadata":{"name":"node--1-k8s-pod--name-eth0","namespace":"default","labels":{"app":"web","projectcalico.org/namespace":"default","projectcalico.org/orchestrator":"k8s","projectcalico.org/serviceaccount":"sa"}},"spec":{"node":"node-1","orchestrator":"k8s","pod":"pod-name","endpoint":"eth0","serviceAccountName":"sa","interfaceName":"cali1","ipNetworks":["10.0.0.1"]}}"#,
        ),
        (
            v3("Profile", "name: kns.a, namespace: gone", ""),
            "profiles/kns.a",
            r#"{"metadata":{"name":"kns.a"},"spec":{}}"#,
        ),
        (
            v3("BGPPeer", "name: p", "peerIP: 10.0.0.1, asNumber: 64512, future: {deep: [1, yes, true]}"),
            "bgppeers/p",
            r#"{"metadata":{"name":"p"},"spec":{"peerIP":"10.0.0.1","asNumber":64512,"future":{"deep":[1,"yes",true]}}}"#,
        ),
    ]);
}

#[test]
fn policies_of_2017() {
    check(&[
        (
            v1(
                "policy",
                "name: web",
                "order: 100, selector: role == 'web', ingress: [{action: allow, protocol: tcp, source: {selector: role == 'frontend'}, destination: {ports: [80, '443', '1:2']}}], egress: [{action: pass}]",
            ),
            "globalnetworkpolicies/web",
            r#"{"metadata":{"name":"web","labels":{"projectcalico.org/tier":"default"},"annotations":{"projectcalico.org/metadata":"{\"name\":\"web\"}"}},"spec":{"order":100,"selector":"role == 'web'","types":["Ingress","Egress"],"ingress":[{"action":"Allow","protocol":"TCP","source":{"selector":"role == 'frontend'"},"destination":{"ports":[80,443,"1:2"]}}],"egress":[{"action":"Pass"}],"tier":"default"}}"#,
        ),
        (
            v1("policy", "name: default.web, annotations: {a: b}", "doNotTrack: true"),
            "globalnetworkpolicies/default.web",
            r#"{"metadata":{"name":"default.web","labels":{"projectcalico.org/tier":"default"},"annotations":{"a":"b","projectcalico.org/metadata":"{\"name\":\"default.web\"}"}},"spec":{"types":["Ingress","Egress"],"doNotTrack":true,"applyOnForward":true,"tier":"default"}}"#,
        ),
        (
            v1(
                "profile",
                "name: p",
                "ingress: [{action: deny, ipVersion: 4, protocol: icmp, icmp: {type: 8}, source: {net: 10.1.2.3/8, notNet: 10.0.0.1}}, {action: log, notProtocol: '17'}]",
            ),
            "profiles/p",
            r#"{"metadata":{"name":"p"},"spec":{"ingress":[{"action":"Deny","ipVersion":4,"protocol":"ICMP","icmp":{"type":8},"source":{"nets":["10.0.0.0/8"],"notNets":["10.0.0.1/32"]}},{"action":"Log","notProtocol":17}]}}"#,
        ),
    ]);
}

#[test]
fn tags_are_labels_that_nobody_else_has() {
    check(&[
        (
            v1("profile", "name: p, tags: [t, u], labels: {u: x, v: }", ""),
            "profiles/p",
            r#"{"metadata":{"name":"p"},"spec":{"labelsToApply":{"u":"x","v":"","t":"","tag.felix-rs/t":"","tag.felix-rs/u":""}}}"#,
        ),
        (
            v1("profile", "name: p", "ingress: [{action: allow, source: {tag: t, notTag: u}, destination: {tag: t, selector: a || b, notTag: u, notSelector: has(c)}}]").replace("a || b", "has(a) || has(b)"),
            "profiles/p",
            r#"{"metadata":{"name":"p"},"spec":{"ingress":[{"action":"Allow","source":{"selector":"has(tag.felix-rs/t)","notSelector":"has(tag.felix-rs/u)"},"destination":{"selector":"(has(a) || has(b)) && has(tag.felix-rs/t)","notSelector":"(has(c)) || has(tag.felix-rs/u)"}}]}}"#,
        ),
    ]);
}

#[test]
fn others_of_2017() {
    check(&[
        (
            v1(
                "ipPool",
                "cidr: 10.65.1.0/16",
                "ipip: {enabled: true, mode: cross-subnet}, nat-outgoing: true, disabled: false",
            ),
            "ippools/10-65-0-0-16",
            r#"{"metadata":{"name":"10-65-0-0-16"},"spec":{"cidr":"10.65.0.0/16","ipipMode":"CrossSubnet","natOutgoing":true,"disabled":false,"vxlanMode":"Never","blockSize":26,"nodeSelector":"all()","allowedUses":["Workload","Tunnel"],"assignmentMode":"Automatic"}}"#,
        ),
        (
            v1("ipPool", "cidr: '::64:0:0/96'", ""),
            "ippools/0--64-0-0-96",
            r#"{"metadata":{"name":"0--64-0-0-96"},"spec":{"cidr":"::64:0:0/96","ipipMode":"Never","vxlanMode":"Never","blockSize":122,"nodeSelector":"all()","allowedUses":["Workload","Tunnel"],"assignmentMode":"Automatic"}}"#,
        ),
        (
            v1(
                "workloadEndpoint",
                "name: wl-a, node: host-1, orchestrator: libnetwork, workload: libnetwork, activeInstanceID: x",
                "interfaceName: cali1, mac: 'ee:ee:ee:ee:ee:ee', ipNetworks: [10.0.0.1/32], profiles: [p]",
            ),
            "workloadendpoints/default/host--1-libnetwork-libnetwork-wl--a",
            r#"{"metadata":{"name":"host--1-libnetwork-libnetwork-wl--a","namespace":"default","labels":{"projectcalico.org/namespace":"default","projectcalico.org/orchestrator":"libnetwork"}},"spec":{"orchestrator":"libnetwork","node":"host-1","workload":"libnetwork","endpoint":"wl-a","ipNetworks":["10.0.0.1/32"],"profiles":["p"],"interfaceName":"cali1","mac":"ee:ee:ee:ee:ee:ee"}}"#,
        ),
        (
            v1(
                "workloadEndpoint",
                "name: eth0, node: n, orchestrator: k8s, workload: ns.pod, labels: {a: 1}",
                "interfaceName: cali1",
            ),
            "workloadendpoints/default/n-k8s-ns.pod-eth0",
            r#"{"metadata":{"name":"n-k8s-ns.pod-eth0","namespace":"default","labels":{"a":"1","projectcalico.org/namespace":"default","projectcalico.org/orchestrator":"k8s"}},"spec":{"orchestrator":"k8s","node":"n","pod":"ns.pod","endpoint":"eth0","interfaceName":"cali1"}}"#,
        ),
        (
            v1(
                "hostEndpoint",
                "name: eth0, node: n, labels: {a: b}",
                "interfaceName: eth0, expectedIPs: [10.0.0.1]",
            ),
            "hostendpoints/eth0",
            r#"{"metadata":{"name":"eth0","labels":{"a":"b"}},"spec":{"node":"n","interfaceName":"eth0","expectedIPs":["10.0.0.1"]}}"#,
        ),
        (
            v1("node", "name: n", "bgp: {ipv4Address: 10.0.0.1/24, asNumber: 64512}"),
            "nodes/n",
            r#"{"metadata":{"name":"n"},"spec":{"bgp":{"ipv4Address":"10.0.0.1/24","asNumber":64512}}}"#,
        ),
    ]);
}

/// What is stored says what the manifest says, and is stored as it is when it is read again.
#[test]
fn what_is_stored_is_complete() {
    for manifest in [
        v3("GlobalNetworkPolicy", "name: default.web", "tier: default"),
        v3("NetworkPolicy", "name: web", "egress: [{action: Allow}]"),
        v3("Tier", "name: a", ""),
        v3("IPPool", "name: p", "cidr: 10.0.0.0/16"),
        v3(
            "WorkloadEndpoint",
            "",
            "node: n, orchestrator: o, workload: w, endpoint: e, interfaceName: cali1, ipNetworks: [10.0.0.1]",
        ),
    ] {
        let stored = completed(&manifest).stored.unwrap();
        let again = completed(&stored.value.to_string()).stored.unwrap();
        assert_eq!((again.key(), again.value), (stored.key(), stored.value), "{manifest}");
    }
}

#[test]
fn what_is_not_stored_is_said() {
    use Severity::{Error, Warning};
    for (manifest, said) in [
        (
            v3("IPAMBlock", "name: b", "cidr: 10.0.0.0/26, allocations: [], attributes: []"),
            Some((Error, "IPAMBlock: address management writes its own records")),
        ),
        (
            v3("BlockAffinity", "name: b", "node: n, cidr: 10.0.0.0/26, state: confirmed, deleted: 'false'"),
            Some((Error, "BlockAffinity: address management writes its own records")),
        ),
        (
            v3("IPAMConfiguration", "name: b", ""),
            Some((Error, "IPAMConfiguration: address management writes its own records")),
        ),
        (
            v1("bgpPeer", "scope: global, peerIP: 10.0.0.1", "asNumber: 64512"),
            Some((Warning, "bgpPeer: there is no way from here to the form of today")),
        ),
        (
            v1("calicoApiConfig", "", ""),
            Some((Warning, "calicoApiConfig: this is how a client reaches its store")),
        ),
        (
            v3("CalicoAPIConfig", "", ""),
            Some((Warning, "CalicoAPIConfig: this is how a client reaches its store")),
        ),
        (v1("Pod", "name: p", ""), None),
        (v3("GlobalNetworkPolicy", "name: p", "selector: =="), None),
        (v3("BGPPeer", "name: a/b", ""), Some((Error, "BGPPeer: `a/b` is not a name that can be stored"))),
        (v3("BGPPeer", "", ""), Some((Error, "BGPPeer: `` is not a name that can be stored"))),
        (
            v3("StagedNetworkPolicy", "name: p, namespace: A", ""),
            Some((Error, "StagedNetworkPolicy: `A` is not a namespace that can be stored")),
        ),
        (
            v3(
                "WorkloadEndpoint",
                "",
                "node: n, orchestrator: o, workload: a/b, endpoint: e, interfaceName: cali1",
            ),
            Some((Error, "WorkloadEndpoint: `n-o-a/b-e` is not a name that can be stored")),
        ),
        (
            v1("policy", "name: My_Policy", ""),
            Some((Error, "GlobalNetworkPolicy My_Policy: metadata.name: `My_Policy` is not a policy name")),
        ),
        (
            v1("profile", "name: p, tags: [.t]", ""),
            Some((Error, "Profile p: spec.labelsToApply..t: `.t` is not a label key")),
        ),
    ] {
        let Completed { stored, diagnostics } = completed(&manifest);
        assert_eq!(stored, None, "{manifest}");
        let first = diagnostics.first().map(|diagnostic| (diagnostic.severity, diagnostic.message.as_str()));
        assert_eq!(first, said, "{manifest}");
    }
}

/// A mistake that only today's API finds is shown in the text of 2017.
#[test]
fn a_mistake_has_the_place_of_what_was_written() {
    let text = "apiVersion: v1\nkind: profile\nmetadata:\n  name: p\n  labels:\n    a_b/c: d\nspec: {}";
    let diagnostic = completed(text).diagnostics.remove(0);
    assert_eq!((diagnostic.place.line, diagnostic.excerpt.unwrap().line.as_str()), (6, "    a_b/c: d"));
}

#[test]
fn two_under_one_key() {
    let endpoint = |workload: &str| {
        let metadata = format!("name: eth0, node: n, orchestrator: libnetwork, workload: {workload}");
        completed(&v1("workloadEndpoint", &metadata, "interfaceName: cali1")).stored.unwrap()
    };
    let messages =
        |all: &[Stored]| -> Vec<String> { collisions(all).into_iter().map(|d| d.message).collect() };
    let tier = completed(&v3("Tier", "name: a", "")).stored.unwrap();
    assert!(messages(&[endpoint("a"), tier]).is_empty());
    assert_eq!(
        messages(&[endpoint("a"), endpoint("b")]),
        ["WorkloadEndpoint default/n-libnetwork-libnetwork-eth0: a store has room for one of this name"]
    );
}
