//! What a store has: keys and values as Calico's clients write them (reference §2.1; felix-2.1 §2.1, §2.2).

use super::testing::{raw, stored as at};
use super::*;
use crate::model::{Content, EncapMode, PolicyKind, ProfileContent};

const V3: &str = "resources/v3/projectcalico.org/";

fn resource_at(key: &str, json: &str) -> Resource {
    let decoded = decode(&at(key, json));
    expect(&decoded, "", key);
    decoded.resource().cloned().unwrap_or_else(|| panic!("{key}: {json}"))
}

/// The examples of the reference, byte for byte where it has them.
#[test]
fn the_values_of_the_reference() {
    let Resource::Policy(policy) = resource_at(
        "resources/v3/projectcalico.org/globalnetworkpolicies/allow-dns",
        r#"{"kind":"GlobalNetworkPolicy","apiVersion":"projectcalico.org/v3","metadata":{"name":"allow-dns","uid":"…","creationTimestamp":"2026-08-01T00:00:00Z","labels":{"projectcalico.org/tier":"default"},"annotations":{"projectcalico.org/metadata":"{\"name\":\"allow-dns\"}"}},"spec":{"tier":"default","order":100,"selector":"all()","types":["Ingress"],"ingress":[{"action":"Allow","protocol":"UDP","source":{},"destination":{"ports":[53]}}]}}"#,
    ) else {
        panic!()
    };
    assert_eq!((policy.id.to_string().as_str(), policy.ingress.len()), ("GlobalNetworkPolicy allow-dns", 1));
    assert!(policy.types.ingress && !policy.types.egress && !policy.invalid);
    let Resource::Tier(tier) = resource_at(
        "resources/v3/projectcalico.org/tiers/default",
        r#"{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"default"},"spec":{"order":1000000,"defaultAction":"Deny"}}"#,
    ) else {
        panic!()
    };
    assert_eq!(tier.order.value(), 1e6);
    let Resource::HostEndpoint(endpoint) = resource_at(
        "resources/v3/projectcalico.org/hostendpoints/host1-eth0",
        r#"{"kind":"HostEndpoint","apiVersion":"projectcalico.org/v3","metadata":{"name":"host1-eth0","creationTimestamp":null},"spec":{"node":"host1","interfaceName":"eth0","expectedIPs":["10.0.0.5"],"profiles":["projectcalico-default-allow"]}}"#,
    ) else {
        panic!()
    };
    assert_eq!(endpoint.id.to_string(), "host1/host1-eth0");
    let Resource::IpPool(pool) = resource_at(
        "resources/v3/projectcalico.org/ippools/pool-1",
        r#"{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"pool-1"},"spec":{"cidr":"10.65.0.0/16","ipipMode":"CrossSubnet","natOutgoing":true}}"#,
    ) else {
        panic!()
    };
    assert_eq!((pool.ipip, pool.nat_outgoing), (EncapMode::CrossSubnet, true));
    let Resource::Node(node) = resource_at(
        "resources/v3/projectcalico.org/nodes/host1",
        r#"{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"host1"},"spec":{"bgp":{"ipv4Address":"10.0.0.5/24","ipv4IPIPTunnelAddr":"10.65.1.1"}}}"#,
    ) else {
        panic!()
    };
    assert_eq!(node.ipip_tunnel_addr, Some([10, 65, 1, 1].into()));
    let Resource::ClusterInformation(info) = resource_at(
        "resources/v3/projectcalico.org/clusterinformations/default",
        r#"{"kind":"ClusterInformation","apiVersion":"projectcalico.org/v3","metadata":{"name":"default"},"spec":{"clusterGUID":"…","datastoreReady":true}}"#,
    ) else {
        panic!()
    };
    assert_eq!(info.datastore_ready, Some(true));
    let Resource::IpamBlock(block) = resource_at(
        "ipam/v2/assignment/ipv4/block/10.65.1.0-26",
        r#"{"cidr":"10.65.1.0/26","affinity":"host:host1","allocations":[0,null],"unallocated":[1,2],"attributes":[{"handle_id":"h","secondary":{"node":"host1"}}],"deleted":false}"#,
    ) else {
        panic!()
    };
    assert_eq!((block.cidr.to_string().as_str(), block.node.as_deref()), ("10.65.1.0/26", Some("host1")));
    let Resource::BlockAffinity(affinity) =
        resource_at("ipam/v2/host/host1/ipv4/block/10.65.1.0-26", r#"{"state":"confirmed","deleted":false}"#)
    else {
        panic!()
    };
    assert_eq!((&*affinity.node, affinity.cidr.to_string().as_str()), ("host1", "10.65.1.0/26"));
    let Resource::Policy(policy) = resource_at(
        "v1/policy/tier/default/policy/web",
        r#"{"order":100,"inbound_rules":[{"action":"allow","protocol":"tcp","src_selector":"role == 'frontend'","dst_ports":[80,443]}],"outbound_rules":[{"action":"allow"}],"selector":"role == 'web'"}"#,
    ) else {
        panic!()
    };
    assert_eq!((policy.ingress.len(), policy.egress.len(), policy.invalid), (1, 1, false));
}

/// The key says what a resource is called, and it has little else: absent members are fine.
#[test]
fn the_key_names_the_resource() {
    for (key, json, wanted, id) in [
        ("networkpolicies/ns1/web", "{}", "", "NetworkPolicy ns1/web"),
        (
            "networkpolicies/ns1/web",
            r#"{"metadata":{"name":"web","namespace":"ns1"}}"#,
            "",
            "NetworkPolicy ns1/web",
        ),
        (
            "networkpolicies/ns1/web",
            r#"{"metadata":{"name":"other","namespace":"ns1"}}"#,
            "warning invalid-name: NetworkPolicy ns1/web: metadata.name: the key says `web`",
            "NetworkPolicy ns1/web",
        ),
        (
            "networkpolicies/ns1/web",
            r#"{"metadata":{"name":"web","namespace":"ns2"}}"#,
            "warning invalid-name: NetworkPolicy ns1/web: metadata.namespace",
            "NetworkPolicy ns1/web",
        ),
        // Clients of before v3.32, and newer ones on what those left.
        (
            "globalnetworkpolicies/default.foo",
            r#"{"metadata":{"name":"default.foo"}}"#,
            "",
            "GlobalNetworkPolicy default.foo",
        ),
        (
            "globalnetworkpolicies/default.foo",
            r#"{"metadata":{"name":"foo"}}"#,
            "",
            "GlobalNetworkPolicy default.foo",
        ),
        (
            "globalnetworkpolicies/foo",
            r#"{"metadata":{"name":"default.foo","annotations":{"projectcalico.org/metadata":"{\"name\":\"foo\"}"}}}"#,
            "",
            "GlobalNetworkPolicy foo",
        ),
        (
            "tiers/a",
            r#"{"kind":"Tier","metadata":{"name":"a","creationTimestamp":null},"spec":null}"#,
            "",
            "Tier a",
        ),
        (
            "profiles/kns.a",
            r#"{"metadata":{"name":"kns.a"},"spec":{"labelsToApply":{"pcns.x":"y"}}}"#,
            "",
            "Profile kns.a",
        ),
        ("globalnetworksets/a", r#"{"spec":{"nets":["10.0.0.0/8"]}}"#, "", "GlobalNetworkSet a"),
        ("networksets/ns1/a", "{}", "", "NetworkSet ns1/a"),
        (
            "workloadendpoints/ns1/node--1-k8s-pod--name-eth0",
            r#"{"metadata":{"name":"node--1-k8s-pod--name-eth0","namespace":"ns1"},"spec":{"interfaceName":"cali1","ipNetworks":["10.0.0.1/32"]}}"#,
            "",
            "WorkloadEndpoint node-1/k8s/ns1/pod-name/eth0",
        ),
        ("felixconfigurations/node.a", "{}", "", "FelixConfiguration node.a"),
        (
            "blockaffinities/a-10-0-0-0-26",
            r#"{"spec":{"node":"a","cidr":"10.0.0.0/26","state":"confirmed"}}"#,
            "",
            "BlockAffinity a-10-0-0-0-26",
        ),
    ] {
        let decoded = decode(&at(&format!("{V3}{key}"), json));
        expect(&decoded, wanted, json);
        assert_eq!(
            decoded.resource().map(|resource| resource.id().to_string()).as_deref(),
            Some(id),
            "{json}"
        );
    }
}

/// What the document calls itself is to agree with its key; what it is not to be understood by closes.
#[test]
fn documents_that_are_something_else() {
    for (key, json, wanted, there) in [
        (
            "globalnetworkpolicies/a",
            r#"{"kind":"NetworkPolicy"}"#,
            "error not-a-resource: GlobalNetworkPolicy a: kind",
            false,
        ),
        ("profiles/a", r#"{"kind":"Tier"}"#, "error not-a-resource: Profile a: kind", true),
        (
            "profiles/a",
            r#"{"apiVersion":"crd.projectcalico.org/v1"}"#,
            "error not-a-resource: Profile a: apiVersion",
            true,
        ),
        ("profiles/a", "[]", "error invalid-value: Profile a: a mapping is wanted", true),
        ("globalnetworkpolicies/a", "80", "error invalid-value", false),
        (
            "globalnetworkpolicies/A",
            "{}",
            "error invalid-name: GlobalNetworkPolicy A: the key: `A` is not a policy name",
            false,
        ),
        (
            "workloadendpoints/ns1/pod",
            "{}",
            "error invalid-name: WorkloadEndpoint ns1/pod: the key: `pod`",
            false,
        ),
        ("stagednetworkpolicies/ns1/a", r#"{"spec":{"selector":"("}}"#, "", false),
        ("networkpolicies/a", "{}", "", false),
        ("wonders/a", "80", "", false),
    ] {
        let decoded = decode(&at(&format!("{V3}{key}"), json));
        expect(&decoded, wanted, json);
        assert_eq!(decoded.resource().is_some(), there, "{key}: {json}");
        if let Some(Resource::Profile(profile)) = decoded.resource() {
            assert!(profile.invalid);
        }
    }
}

#[test]
fn blocks_and_affinities() {
    let block = "ipam/v2/assignment/ipv4/block/10.65.1.0-26";
    let affinity = "ipam/v2/host/h1/ipv4/block/10.65.1.0-26";
    for (entry, wanted, there) in [
        (at(block, r#"{"cidr":"10.65.1.0/26","affinity":null,"new":1}"#), "warning unknown-field", true),
        (at(block, "{}"), "", true),
        (at(block, r#"{"deleted":true}"#), "", false),
        (at(block, r#"{"cidr":"10.65.2.0/26"}"#), "error contradiction", false),
        (at(block, r#"{"allocations":[7]}"#), "error invalid-value", false),
        (raw(affinity, ""), "", true),
        (at(affinity, "{}"), "", true),
        (at(affinity, r#"{"state":"pendingDeletion"}"#), "", false),
        (at(affinity, r#"{"state":"confirmed","deleted":true}"#), "", false),
        (at(affinity, "[]"), "error invalid-value", false),
    ] {
        let decoded = decode(&entry);
        expect(&decoded, wanted, &entry.origin.text);
        assert_eq!(decoded.resource().is_some(), there, "{}", entry.origin.text);
    }
    // The same as the resource that a manifest has.
    let manifest = v3("BlockAffinity", "{}", "{node: h1, cidr: 10.65.1.0/26}").resource().cloned().unwrap();
    assert_eq!(decode(&raw(affinity, "")).resource().cloned().unwrap().id(), manifest.id());
}

/// Places aside, as a manifest of 2017 says it and as the same client stored it.
#[test]
fn one_object_in_two_forms() {
    let rules = "[{action: allow, ipVersion: 4, protocol: tcp, source: {tag: t, net: 10.0.0.5/16, selector: a == 'b', ports: [1, '2:3'], notTag: u, notNet: 10.1.0.0/16, notSelector: has(c), notPorts: [4]}}, \
         {action: deny, protocol: udp, destination: {tag: t, net: 10.0.0.0/16, selector: a == 'b', ports: [1], notTag: u, notNet: 10.1.0.0/16, notSelector: has(c), notPorts: [4]}}, \
         {action: log, protocol: icmp, icmp: {type: 0, code: 0}, notICMP: {type: 8}}, {action: pass, notProtocol: 17}]";
    let stored_rules = r#"[{"action":"allow","ip_version":4,"protocol":"tcp","src_tag":"t","src_net":"10.0.0.5/16","src_selector":"a == 'b'","src_ports":[1,"2:3"],"!src_tag":"u","!src_net":"10.1.0.0/16","!src_selector":"has(c)","!src_ports":[4],"log_prefix":"x"},
         {"action":"deny","protocol":"udp","dst_tag":"t","dst_net":"10.0.0.0/16","dst_selector":"a == 'b'","dst_ports":[1],"!dst_tag":"u","!dst_net":"10.1.0.0/16","!dst_selector":"has(c)","!dst_ports":[4]},
         {"action":"log","protocol":"icmp","icmp_type":0,"icmp_code":0,"!icmp_type":8},{"action":"next-tier","!protocol":17}]"#;
    for (kind, metadata, spec, key, json) in [
        (
            "policy",
            "{name: a/b}",
            format!("{{order: 10, selector: role == 'web', doNotTrack: true, ingress: {rules}, egress: {rules}}}"),
            "v1/policy/tier/any/policy/a%2fb",
            format!(
                r#"{{"order":10,"selector":"role == 'web'","untracked":true,"inbound_rules":{stored_rules},"outbound_rules":{stored_rules}}}"#
            ),
        ),
        ("policy", "{name: a}", "{}".to_owned(), "v1/policy/tier/default/policy/a", r#"{"selector":""}"#.to_owned()),
        (
            "policy",
            "{name: a}",
            "{ingress: [{action: allow}]}".to_owned(),
            "v1/policy/tier/default/policy/a",
            r#"{"selector":"","inbound_rules":[{}],"outbound_rules":null}"#.to_owned(),
        ),
        // What can't be understood denies, or is absent.
        (
            "policy",
            "{name: a}",
            "{order: default, ingress: [{action: allow, source: {selector: '('}}]}".to_owned(),
            "v1/policy/tier/default/policy/a",
            r#"{"order":"default","selector":"","inbound_rules":[{"action":"allow","src_selector":"("}]}"#.to_owned(),
        ),
        (
            "policy",
            "{name: a}",
            "{selector: '('}".to_owned(),
            "v1/policy/tier/default/policy/a",
            r#"{"selector":"("}"#.to_owned(),
        ),
        (
            "workloadEndpoint",
            "{name: e, node: n, orchestrator: o/s, workload: w, labels: {a: b}}",
            "{interfaceName: cali1, mac: 'EE:EE:EE:EE:EE:EE', profiles: [a, b/c], ipNetworks: [10.0.0.1/32, 'fd00::1/128'], ipNATs: [{internalIP: 10.0.0.1, externalIP: 1.1.1.1}], ipv4Gateway: 10.0.0.2}".to_owned(),
            "v1/host/n/workload/o%2fs/w/endpoint/e",
            r#"{"state":"active","name":"cali1","active_instance_id":null,"mac":"ee:ee:ee:ee:ee:ee","profile_ids":["a","b/c"],"ipv4_nets":["10.0.0.1/32"],"ipv6_nets":["fd00::1/128"],"ipv4_nat":[{"int_ip":"10.0.0.1","ext_ip":"1.1.1.1"}],"labels":{"a":"b"},"ipv4_gateway":"10.0.0.2","ipv6_gateway":""}"#.to_owned(),
        ),
        (
            "workloadEndpoint",
            "{name: e, node: n, orchestrator: o, workload: w}",
            "{interfaceName: cali1, ipNetworks: [10.0.0.0/24]}".to_owned(),
            "v1/host/n/workload/o/w/endpoint/e",
            r#"{"state":"active","name":"cali1","ipv4_nets":["10.0.0.0/24"]}"#.to_owned(),
        ),
        (
            "hostEndpoint",
            "{name: e, node: n, labels: {a: b}}",
            "{interfaceName: eth0, expectedIPs: [10.0.0.1, 'fd00::1'], profiles: [a/b]}".to_owned(),
            "v1/host/n/endpoint/e",
            r#"{"name":"eth0","expected_ipv4_addrs":["10.0.0.1"],"expected_ipv6_addrs":["fd00::1"],"labels":{"a":"b"},"profile_ids":["a/b"]}"#.to_owned(),
        ),
        ("hostEndpoint", "{name: e, node: n}", "{}".to_owned(), "v1/host/n/endpoint/e", "{}".to_owned()),
        (
            "ipPool",
            "{cidr: 10.0.0.0/16}",
            "{ipip: {enabled: true, mode: cross-subnet}, nat-outgoing: true}".to_owned(),
            "v1/ipam/v4/pool/10.0.0.0-16",
            r#"{"cidr":"10.0.0.0/16","ipip":"tunl0","ipip_mode":"cross-subnet","masquerade":true,"ipam":true,"disabled":false}"#.to_owned(),
        ),
        (
            "ipPool",
            "{cidr: 'fd00::/128'}",
            "{disabled: true}".to_owned(),
            "v1/ipam/v6/pool/fd00::-128",
            r#"{"cidr":"fd00::/128","ipip":"","ipip_mode":"","masquerade":false,"ipam":false}"#.to_owned(),
        ),
    ] {
        let manifest = v1(kind, metadata, &spec);
        let stored = decode(&at(key, &json));
        assert_eq!(manifest.diagnostics.is_empty(), stored.diagnostics.is_empty(), "{json}\n{:?}", said(&stored));
        assert_eq!(without_places(&manifest), without_places(&stored), "{json}\n{:?}", said(&stored));
    }
    let manifest = v1("node", "{name: h1}", "{bgp: {ipv4Address: 10.0.0.5}}");
    assert_eq!(without_places(&manifest), without_places(&decode(&raw("v1/host/h1/bird_ip", "10.0.0.5"))));
}

/// As it prints itself, but for where it was written.
fn without_places(decoded: &Decoded) -> String {
    let text = format!("{:?}", decoded.resource());
    let mut parts = text.split("Place { ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(" }").expect("a place's end").1)
}

#[test]
fn inactive_endpoints() {
    for (state, active) in
        [(r#""active""#, true), (r#""inactive""#, false), (r#""""#, false), ("null", false)]
    {
        let json = format!(r#"{{"state":{state},"name":"cali1","ipv4_nets":["10.0.0.1/32"]}}"#);
        let decoded = decode(&at("v1/host/n/workload/o/w/endpoint/e", &json));
        let Some(Resource::WorkloadEndpoint(endpoint)) = decoded.resource() else { panic!("{json}") };
        assert_eq!(endpoint.active, active, "{state}");
    }
}

/// One rule a row, of a policy of Felix 2.1's store: what is wrong with it, or nothing.
#[test]
fn rules() {
    for (rule, wanted) in [
        (r#"{"action":""}"#, ""),
        (
            r#"{"action":"pass"}"#,
            "error invalid-value: policy p: inbound_rules[0].action: `pass` is not known",
        ),
        (r#"{"action":"Allow"}"#, "error invalid-value"),
        (
            r#"{"src_nets":["10.0.0.0/8"]}"#,
            "error unknown-field: policy p: inbound_rules[0]: no field is called `src_nets`",
        ),
        (r#"{"ip_version":0}"#, "error invalid-value"),
        (r#"{"protocol":"TCP"}"#, "error invalid-value"),
        (r#"{"protocol":"6","dst_ports":[80]}"#, ""),
        (
            r#"{"dst_ports":[80]}"#,
            "error contradiction: policy p: inbound_rules[0].dst_ports: ports without a protocol",
        ),
        (r#"{"protocol":"tcp","dst_ports":[0]}"#, "error invalid-value"),
        (r#"{"dst_ports":[]}"#, ""),
        (
            r#"{"icmp_type":8}"#,
            "error contradiction: policy p: inbound_rules[0].icmp_type: an ICMP type without the protocol",
        ),
        (r#"{"protocol":"icmp","icmp_code":8}"#, "error missing-field: policy p: inbound_rules[0].icmp_type"),
        (r#"{"src_net":"10.0.0.0/8","dst_net":"fd00::/8"}"#, "error contradiction"),
        (r#"{"!src_net":"0.0.0.0/0"}"#, "error contradiction: policy p: inbound_rules[0].!src_net"),
        (r#"{"src_tag":"a b"}"#, "error invalid-name"),
        ("[]", "error invalid-value: policy p: inbound_rules[0]: a mapping is wanted"),
    ] {
        let decoded = decode(&at(
            "v1/policy/tier/default/policy/p",
            &format!(r#"{{"selector":"","inbound_rules":[{rule}]}}"#),
        ));
        expect(&decoded, wanted, rule);
        let policy = policy(&decoded);
        assert_eq!(
            (policy.invalid, policy.id.kind),
            (!wanted.is_empty(), PolicyKind::GlobalNetworkPolicy),
            "{rule}"
        );
    }
    for (json, wanted, there) in [
        (r#"{"selectr":"a == 'b'"}"#, "error unknown-field", false),
        (r#"{"selector":"","oder":1}"#, "error unknown-field", true),
        (r#"{"selector":"","colour":1}"#, "warning unknown-field", true),
        ("[]", "error invalid-value", false),
    ] {
        let decoded = decode(&at("v1/policy/tier/default/policy/p", json));
        expect(&decoded, wanted, json);
        assert_eq!(decoded.resource().is_some(), there, "{json}");
    }
}

#[test]
fn parts_of_profiles() {
    for (part, json, wanted, invalid) in [
        ("rules", "{}", "", false),
        ("rules", r#"{"inbound_rules":[{"action":"allow"}]}"#, "", false),
        ("rules", r#"{"inbound_rulse":[]}"#, "error unknown-field", true),
        ("rules", r#"{"inbound_rules":[{"action":"next"}]}"#, "error invalid-value", true),
        ("tags", r#"["a","b"]"#, "", false),
        ("tags", r#"{"a":"b"}"#, "error invalid-value: profile n/p: a list is wanted", true),
        ("labels", r#"{"a":"b","k8s_ns/label":""}"#, "", false),
        ("labels", r#"{"~a":"b"}"#, "error invalid-name", true),
    ] {
        let decoded = decode(&at(&format!("v1/policy/profile/n%2fp/{part}"), json));
        expect(&decoded, wanted, json);
        let Some(Content::ProfilePart(found)) = &decoded.content else { panic!("{json}") };
        let kind = match &found.content {
            ProfileContent::Rules { .. } => "rules",
            ProfileContent::Tags(_) => "tags",
            ProfileContent::Labels(_) => "labels",
        };
        assert_eq!((&*found.name, found.invalid, kind), ("n/p", invalid, part), "{json}");
    }
}

#[test]
fn other_keys() {
    for (entry, wanted, id) in [
        (raw("v1/host/h1/bird_ip", "10.0.0.1"), "", Some("Node h1")),
        (raw("v1/host/h1/bird_ip", "10.0.0.1\n"), "error invalid-value: node h1: `10.0.0.1\n` is not", None),
        (raw("v1/host/h1/bird_ip", ""), "error invalid-value", None),
        (raw("v1/host/h 1/bird_ip", "10.0.0.1"), "error invalid-name", None),
        (at("v1/host/h1/bird_ip", "[]"), "error invalid-value", None),
        (at("v1/host/h1/metadata", "{}"), "", None),
        (raw("v1/config/LogPrefix", ""), "", Some("config LogPrefix")),
        (raw("v1/host/h1/config/LogPrefix", "a"), "", Some("config LogPrefix of h1")),
        (at("v1/config/LogPrefix", "{}"), "error invalid-value", None),
        (raw("v1/Ready", "nearly"), "", Some("Ready")),
        (at("v1/netset/a", r#"{"nets":[]}"#), "warning not-implemented: network set a", None),
        (at("v1/policy/tier/a/metadata", "80"), "", None),
        (at("v1/ipam/v4/pool/10.0.0.0-16", r#"{"cidr":"10.1.0.0/16"}"#), "error contradiction", None),
        (
            at("v1/ipam/v4/pool/10.0.0.0-16", r#"{"ipip":"tunl0","ipip_mode":"off"}"#),
            "error invalid-value",
            None,
        ),
    ] {
        let decoded = decode(&entry);
        expect(&decoded, wanted, &entry.key.0);
        assert_eq!(decoded.resource().map(|r| r.id().to_string()).as_deref(), id, "{}", entry.key);
    }
}

/// The place of a mistake is the very value, in a text that nobody wrote by hand.
#[test]
fn places() {
    let json = r#"{"selector":"role = 'x'","inbound_rules":[{"action":"allow"}]}"#;
    let decoded = decode(&at("v1/policy/tier/default/policy/p", json));
    let [diagnostic] = decoded.diagnostics.as_slice() else { panic!("{:?}", said(&decoded)) };
    let excerpt = diagnostic.excerpt.as_ref().unwrap();
    assert_eq!(diagnostic.place.to_string(), "/calico/v1/policy/tier/default/policy/p@7:1:19");
    assert_eq!((excerpt.line.as_str(), &excerpt.line[excerpt.start..excerpt.end]), (json, "="));
    let decoded = decode(&at("v1/policy/profile/p/tags", "{}"));
    assert_eq!(decoded.diagnostics[0].help, None, "nobody writes YAML into a store");
}
