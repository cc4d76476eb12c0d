//! What a store may hold: any JSON under keys of every form, one entry a line.

use proptest::prelude::*;
use proptest::sample::select;

/// Every form of key, with names that fit and names that don't.
const KEYS: &[&str] = &[
    "resources/v3/projectcalico.org/globalnetworkpolicies/NAME",
    "resources/v3/projectcalico.org/networkpolicies/NAME/NAME",
    "resources/v3/projectcalico.org/tiers/NAME",
    "resources/v3/projectcalico.org/profiles/NAME",
    "resources/v3/projectcalico.org/globalnetworksets/NAME",
    "resources/v3/projectcalico.org/networksets/NAME/NAME",
    "resources/v3/projectcalico.org/workloadendpoints/NAME/host-k8s-NAME-eth0",
    "resources/v3/projectcalico.org/hostendpoints/NAME",
    "resources/v3/projectcalico.org/ippools/NAME",
    "resources/v3/projectcalico.org/nodes/NAME",
    "resources/v3/projectcalico.org/felixconfigurations/NAME",
    "resources/v3/projectcalico.org/clusterinformations/NAME",
    "resources/v3/projectcalico.org/blockaffinities/NAME",
    "resources/v3/projectcalico.org/stagednetworkpolicies/NAME/NAME",
    "resources/v3/projectcalico.org/NAME/NAME",
    "ipam/v2/assignment/ipv4/block/10.0.0.0-26",
    "ipam/v2/assignment/ipv6/block/NAME",
    "ipam/v2/host/NAME/ipv4/block/10.0.0.0-26",
    "v1/Ready",
    "v1/config/NAME",
    "v1/host/NAME/config/NAME",
    "v1/host/NAME/bird_ip",
    "v1/host/NAME/metadata",
    "v1/host/host/workload/NAME/NAME/endpoint/NAME",
    "v1/host/NAME/endpoint/NAME",
    "v1/policy/tier/NAME/policy/NAME",
    "v1/policy/profile/NAME/rules",
    "v1/policy/profile/NAME/tags",
    "v1/policy/profile/NAME/labels",
    "v1/ipam/v4/pool/10.0.0.0-16",
    "v1/ipam/v6/pool/NAME",
    "v1/netset/NAME",
    "NAME/NAME",
];

const NAMES: &[&str] = &[
    "a",
    "default",
    "default.a",
    "host",
    "node.host",
    "ns%2fp",
    "100%25",
    "A_b",
    "",
    "é",
    "LogPrefix",
    "IpInIpEnabled",
    "a'\"b",
];

/// Fields of both layouts.
const FIELDS: &[&str] = &[
    "kind",
    "apiVersion",
    "metadata",
    "spec",
    "name",
    "namespace",
    "labels",
    "annotations",
    "order",
    "selector",
    "types",
    "ingress",
    "egress",
    "source",
    "destination",
    "nets",
    "ports",
    "interfaceName",
    "ipNetworks",
    "profiles",
    "node",
    "cidr",
    "ipipMode",
    "logPrefix",
    "datastoreReady",
    "action",
    "protocol",
    "inbound_rules",
    "outbound_rules",
    "untracked",
    "src_net",
    "!src_net",
    "src_selector",
    "dst_ports",
    "!dst_ports",
    "src_tag",
    "icmp_type",
    "icmp_code",
    "ip_version",
    "state",
    "mac",
    "profile_ids",
    "ipv4_nets",
    "ipv4_nat",
    "int_ip",
    "ext_ip",
    "expected_ipv4_addrs",
    "masquerade",
    "ipip",
    "ipip_mode",
    "affinity",
    "allocations",
    "attributes",
    "deleted",
    "zzz",
];

const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-1",
    "4",
    "80",
    "1e9",
    "\"\"",
    "\"a\"",
    "\"has(a)\"",
    "\"a == 'b'\"",
    "\"(\"",
    "\"allow\"",
    "\"Allow\"",
    "\"next-tier\"",
    "\"tcp\"",
    "\"TCP\"",
    "\"icmp\"",
    "\"Ingress\"",
    "\"10.0.0.1\"",
    "\"10.0.0.1/32\"",
    "\"10.0.0.0/26\"",
    "\"fd00::/64\"",
    "\"1:80\"",
    "\"cali1\"",
    "\"active\"",
    "\"tunl0\"",
    "\"Profile\"",
    "\"projectcalico.org/v3\"",
    "\"é\\u0000\\n\"",
];

/// Values that are understood, for faults to be near them.
const SOUND: &[&str] = &[
    r#"{"metadata":{"name":"a"},"spec":{"tier":"default","order":1,"selector":"has(a)","types":["Ingress"],"ingress":[{"action":"Allow","protocol":"TCP","source":{"nets":["10.0.0.0/8"]},"destination":{"ports":[80,"a"]}}]}}"#,
    r#"{"order":1,"selector":"has(a)","inbound_rules":[{"action":"allow","protocol":"tcp","src_tag":"t","!src_net":"10.0.0.0/8","dst_ports":["1:2"]}],"outbound_rules":[{"action":"next-tier","!protocol":17}]}"#,
    r#"{"spec":{"interfaceName":"cali1","ipNetworks":["10.0.0.1/32"],"profiles":["a"]}}"#,
    r#"{"state":"active","name":"cali2","ipv4_nets":["10.0.0.2/32"],"profile_ids":["ns/p"],"labels":{"a":"b"}}"#,
    r#"{"spec":{"labelsToApply":{"a":"b"},"egress":[{"action":"Deny"}]}}"#,
    r#"{"spec":{"node":"host","interfaceName":"eth0"}}"#,
    r#"{"name":"eth0","profile_ids":["a"]}"#,
    r#"{"spec":{"cidr":"10.0.0.0/16","ipipMode":"Always","natOutgoing":true}}"#,
    r#"{"cidr":"10.0.0.0/16","ipip":"tunl0","masquerade":true}"#,
    r#"{"cidr":"10.0.0.0/26","affinity":"host:host","allocations":[0,null],"attributes":[{"secondary":{"node":"b"}}]}"#,
    r#"{"spec":{"logPrefix":"a","nodeSelector":"has(a)"}}"#,
    r#"["a","b"]"#,
    r#"{"a":"b"}"#,
];

/// Entries as [`super::targets::stored`] reads them.
pub fn entries() -> impl Strategy<Value = String> {
    let line = (key(), value()).prop_map(|(key, value)| format!("{key} {value}\n"));
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

fn key() -> impl Strategy<Value = String> {
    let names = prop::collection::vec(select(NAMES), 3);
    (select(KEYS), names)
        .prop_map(|(key, names)| names.iter().fold(key.to_owned(), |key, name| key.replacen("NAME", name, 1)))
}

fn value() -> impl Strategy<Value = String> {
    let scalar = select(SCALARS).prop_map(str::to_owned);
    let any = scalar.prop_recursive(5, 40, 5, |inner| {
        let pair = (select(FIELDS), inner.clone()).prop_map(|(field, value)| format!("\"{field}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(pair, 0..5).prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
        ]
    });
    let fault = (select(SOUND), select(SCALARS), select(SCALARS), select(FIELDS), select(FIELDS)).prop_map(
        |(value, from, to, field, other)| {
            value.replacen(from, to, 1).replacen(&format!("\"{field}\""), &format!("\"{other}\""), 1)
        },
    );
    prop_oneof![2 => any, 1 => select(SOUND).prop_map(str::to_owned), 2 => fault]
}
