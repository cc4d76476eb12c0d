//! Random datastores: every field of a rule, over so few names, labels, addresses and ports that they meet.
//!
//! A datastore is a list of documents, each a JSON value, which is YAML too: so that one that fails can be shrunk by
//! taking values out.

use serde_json::{Map, Value, json};

use crate::random::Random;

pub const HOST: &str = "host-1";

/// What endpoints and rules have in common, so that they meet.
const V4: [&str; 8] =
    ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.1.1", "10.0.1.2", "192.168.7.7", "203.0.113.9"];
const V6: [&str; 5] = ["fd00::1", "fd00::2", "fd00::3", "fd00:1::1", "2001:db8::9"];
const NETS_V4: [&str; 9] = [
    "10.0.0.0/30",
    "10.0.0.2/31",
    "10.0.0.1/32",
    "10.0.0.3/32",
    "10.0.0.0/16",
    "10.0.1.0/24",
    "192.168.0.0/16",
    "128.0.0.0/1",
    "203.0.113.0/24",
];
const NETS_V6: [&str; 5] = ["fd00::/126", "fd00::2/127", "fd00::1/128", "fd00::/16", "2001:db8::/32"];
const KEYS: [&str; 2] = ["a", "b"];
const VALUES: [&str; 2] = ["x", "y"];
const PORTS: [u16; 7] = [1, 79, 80, 81, 443, 8080, 65535];
const PORT_NAMES: [&str; 2] = ["http", "dns"];
const PROFILES: [&str; 4] = ["prof-a", "prof-b", "kns.red", "projectcalico-default-allow"];

/// A random datastore.
pub fn documents(random: &mut Random) -> Vec<Value> {
    let mut documents = Vec::new();
    for number in 0..random.between(1, 4) {
        documents.push(local(number, random));
    }
    for number in 0..random.below(3) {
        documents.push(workload("host-2", &format!("remote-{number}"), &format!("cali9{number}"), random));
    }
    match random.below(14) {
        // So many of one selector that their group asks for a verdict between two of them.
        0 | 1 => documents.extend((0..random.between(6, 8)).map(|number| member_of_group(number, random))),
        2 => {
            documents.extend([passing_neighbour("all()", 1, random), passing_neighbour("!has(c)", 2, random)])
        }
        _ => documents.extend((0..random.between(0, 5)).map(|number| policy(number, random))),
    }
    if random.once_in(3) {
        documents.push(tier("platform", random));
    }
    if random.once_in(4) {
        documents.push(tier("baseline", random));
    }
    for name in ["prof-a", "prof-b"] {
        if !random.once_in(4) {
            documents.push(profile(name, random));
        }
    }
    for number in 0..random.below(3) {
        documents.push(network_set(number, random));
    }
    documents.extend((0..random.below(3)).map(|number| pool(number, random)));
    documents.extend(["host-1", "host-2"].map(|name| node(name, random)));
    if random.once_in(2) {
        documents.push(configuration(random));
    }
    documents
}

fn local(number: usize, random: &mut Random) -> Value {
    // A name that is the beginning of another, two that share all but the last character, and one that makes a child of
    // the dispatch chain of the others.
    let interface = ["cali1", "cali12", "cali13", "cali2"][number];
    if random.once_in(5) {
        return workload_v1(interface, random);
    }
    workload(HOST, &format!("pod-{number}"), interface, random)
}

fn workload(host: &str, pod: &str, interface: &str, random: &mut Random) -> Value {
    let mut spec = json!({
        "node": host, "orchestrator": "k8s", "pod": pod, "endpoint": "eth0", "interfaceName": interface,
        "ipNetworks": addresses(random),
        "profiles": profiles(random),
    });
    if random.once_in(2) {
        let protocol = random.of(&["TCP", "UDP", "SCTP"]);
        let mut ports = vec![json!({"name": "http", "protocol": protocol, "port": random.of(&PORTS)})];
        if random.once_in(2) {
            ports.push(json!({"name": random.of(&PORT_NAMES), "protocol": "UDP", "port": random.of(&PORTS)}));
        }
        spec["ports"] = Value::Array(ports);
    }
    if random.once_in(6) {
        spec["allowSpoofedSourcePrefixes"] = json!([random.of(&NETS_V4)]);
    }
    if random.once_in(5) {
        spec["ipNATs"] = json!([{"internalIP": spec["ipNetworks"][0], "externalIP": random.of(&V4)}]);
    }
    let name = format!("{}-k8s-{}-eth0", host.replace('-', "--"), pod.replace('-', "--"));
    let namespace = random.of(&["red", "blue"]);
    document(
        "WorkloadEndpoint",
        json!({"name": name, "namespace": namespace, "labels": labels(random)}),
        spec,
    )
}

fn workload_v1(interface: &str, random: &mut Random) -> Value {
    json!({
        "apiVersion": "v1", "kind": "workloadEndpoint",
        "metadata": {
            "name": "eth0", "node": HOST, "orchestrator": "demo", "workload": interface, "labels": labels(random),
        },
        "spec": {"interfaceName": interface, "ipNetworks": addresses(random), "profiles": profiles(random)},
    })
}

fn addresses(random: &mut Random) -> Value {
    let mut addresses = vec![random.of(&V4)];
    if random.once_in(2) {
        addresses.push(random.of(&V6));
    }
    if random.once_in(6) {
        addresses.push(random.of(&V4));
    }
    addresses.dedup();
    json!(addresses)
}

fn profiles(random: &mut Random) -> Value {
    let names: Vec<&str> = (0..random.below(3)).map(|_| random.of(&PROFILES)).collect();
    json!(names)
}

fn labels(random: &mut Random) -> Value {
    let mut labels = Map::new();
    for key in KEYS {
        if !random.once_in(3) {
            labels.insert(key.to_owned(), json!(random.of(&VALUES)));
        }
    }
    Value::Object(labels)
}

fn policy(number: usize, random: &mut Random) -> Value {
    let name = ["p", "q", "r", "s", "a-name-too-long-to-be-that-of-a-chain"][number];
    let mut spec = Map::new();
    if random.once_in(2) {
        spec.insert("order".to_owned(), json!(random.of(&[-1.0, 10.0, 10.5, 20.0])));
    }
    // Mostly the same one, so that neighbours form groups.
    let selector = if random.once_in(2) { "all()".to_owned() } else { selector(random) };
    spec.insert("selector".to_owned(), json!(selector));
    if random.once_in(8) {
        return policy_v1(name, spec, random);
    }
    if random.once_in(2) {
        spec.insert("tier".to_owned(), json!(random.of(&["platform", "baseline", "kube-admin", "nowhere"])));
    }
    if random.once_in(2) {
        spec.insert(
            "types".to_owned(),
            random.of(&[json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])]),
        );
    }
    for direction in ["ingress", "egress"] {
        if !random.once_in(4) {
            let mut rules: Vec<Value> = (0..random.below(5)).map(|_| rule(random)).collect();
            // One that mostly holds: what is behind it is seldom a matter of the rest otherwise.
            if random.once_in(5) {
                rules.insert(0, json!({"action": "Pass", "protocol": random.of(&["TCP", "UDP"])}));
            }
            spec.insert(direction.to_owned(), Value::Array(rules));
        }
    }
    // What can't be understood closes.
    if random.once_in(25) {
        spec.insert("ordre".to_owned(), json!(1));
    }
    if random.once_in(4) {
        let metadata = json!({"name": name, "namespace": random.of(&["red", "blue"])});
        return document("NetworkPolicy", metadata, Value::Object(spec));
    }
    document("GlobalNetworkPolicy", json!({"name": name}), Value::Object(spec))
}

fn member_of_group(number: usize, random: &mut Random) -> Value {
    let rules = |random: &mut Random| -> Vec<Value> { (0..random.below(3)).map(|_| rule(random)).collect() };
    let spec = json!({"selector": "all()", "ingress": rules(random), "egress": rules(random)});
    document("GlobalNetworkPolicy", json!({"name": format!("g-{number}")}), spec)
}

/// Of a tier that governs all, but not of one group with a neighbour of another selector.
fn passing_neighbour(selector: &str, order: usize, random: &mut Random) -> Value {
    let rules = |random: &mut Random| -> Vec<Value> {
        let action = random.of(&["Pass", "Pass", "Allow", "Deny"]);
        vec![json!({"action": action, "protocol": random.of(&["TCP", "UDP"])}), rule(random)]
    };
    let spec =
        json!({"order": order, "selector": selector, "ingress": rules(random), "egress": rules(random)});
    document("GlobalNetworkPolicy", json!({"name": format!("n-{order}")}), spec)
}

fn policy_v1(name: &str, mut spec: Map<String, Value>, random: &mut Random) -> Value {
    for direction in ["ingress", "egress"] {
        let rules: Vec<Value> = (0..random.below(3)).map(|_| rule_v1(random)).collect();
        spec.insert(direction.to_owned(), Value::Array(rules));
    }
    json!({"apiVersion": "v1", "kind": "policy", "metadata": {"name": name}, "spec": spec})
}

fn rule_v1(random: &mut Random) -> Value {
    let mut rule = json!({"action": random.of(&["allow", "allow", "deny", "log", "pass"])});
    let side = random.of(&["source", "destination"]);
    match random.below(4) {
        0 => rule[side] = json!({"net": random.of(&NETS_V4)}),
        1 => rule[side] = json!({"tag": random.of(&["prof-a", "tag-a"])}),
        2 => rule[side] = json!({"selector": selector(random)}),
        _ => {
            rule["protocol"] = json!("tcp");
            rule["destination"] = json!({"ports": [random.of(&PORTS)]});
        }
    }
    rule
}

fn tier(name: &str, random: &mut Random) -> Value {
    let mut spec = json!({"order": random.of(&[1.0, 500.0, 2_000_000.0])});
    if random.once_in(2) {
        spec["defaultAction"] = json!(random.of(&["Pass", "Deny"]));
    }
    document("Tier", json!({"name": name}), spec)
}

fn profile(name: &str, random: &mut Random) -> Value {
    let rules = |random: &mut Random| -> Vec<Value> { (0..random.below(3)).map(|_| rule(random)).collect() };
    let spec = json!({"labelsToApply": labels(random), "ingress": rules(random), "egress": rules(random)});
    document("Profile", json!({"name": name}), spec)
}

fn network_set(number: usize, random: &mut Random) -> Value {
    let mut nets: Vec<&str> = (0..random.below(4)).map(|_| random.of(&NETS_V4)).collect();
    nets.extend((0..random.below(2)).map(|_| random.of(&NETS_V6)));
    if random.once_in(8) {
        nets.push(random.of(&["0.0.0.0/0", "::/0"]));
    }
    let spec = json!({"nets": nets});
    if random.once_in(3) {
        let metadata = json!({"name": format!("set-{number}"), "namespace": "red", "labels": labels(random)});
        return document("NetworkSet", metadata, spec);
    }
    document("GlobalNetworkSet", json!({"name": format!("set-{number}"), "labels": labels(random)}), spec)
}

fn pool(number: usize, random: &mut Random) -> Value {
    let mut spec = json!({
        "cidr": random.of(&["10.0.0.0/16", "10.0.0.0/24", "192.168.0.0/16", "fd00::/64"]),
        "natOutgoing": random.once_in(2),
    });
    if random.once_in(6) {
        spec["allowedUses"] = json!(["LoadBalancer"]);
    }
    if random.once_in(2) && !spec["cidr"].as_str().is_some_and(|cidr| cidr.contains(':')) {
        spec["ipipMode"] = json!(random.of(&["Always", "CrossSubnet"]));
    }
    document("IPPool", json!({"name": format!("pool-{number}")}), spec)
}

fn node(name: &str, random: &mut Random) -> Value {
    let number = if name == HOST { 1 } else { 2 };
    let mut bgp = json!({"ipv4Address": format!("172.16.0.{number}/24")});
    if random.once_in(2) {
        bgp["ipv6Address"] = json!(format!("fd01::{number}/64"));
    }
    document("Node", json!({"name": name}), json!({"bgp": bgp}))
}

fn configuration(random: &mut Random) -> Value {
    let all = [
        ("defaultEndpointToHostAction", json!(random.of(&["Return", "Accept", "Drop"]))),
        ("iptablesFilterAllowAction", json!(random.of(&["Accept", "Return"]))),
        ("iptablesMangleAllowAction", json!(random.of(&["Accept", "Return"]))),
        ("iptablesFilterDenyAction", json!(random.of(&["Drop", "Reject"]))),
        ("disableConntrackInvalidCheck", json!(random.once_in(2))),
        ("allowVXLANPacketsFromWorkloads", json!(random.once_in(2))),
        ("allowIPIPPacketsFromWorkloads", json!(random.once_in(2))),
        ("natPortRange", json!("20000:20099")),
        ("natOutgoingAddress", json!("172.16.0.1")),
        ("natOutgoingExclusions", json!(random.of(&["IPPoolsOnly", "IPPoolsAndHostIPs"]))),
        ("iptablesNATOutgoingInterfaceFilter", json!(random.of(&["eth+", "eth0", "lan"]))),
        ("externalNodesList", json!(["203.0.113.0/24"])),
        ("interfacePrefix", json!("cali,tap")),
        ("iptablesMarkMask", json!(random.of(&[0xff00, 0x3f, 0xffff_0000_u32]))),
        ("logActionRateLimit", json!("50/minute")),
        ("logPrefix", json!("drop %t/%k/%n")),
        ("chainInsertMode", json!("Append")),
        ("ipipEnabled", json!(random.once_in(2))),
        ("vxlanPort", json!(80)),
        ("metadataAddr", json!("172.16.0.1")),
    ];
    let mut spec = Map::new();
    for (name, value) in all {
        if random.once_in(4) {
            spec.insert(name.to_owned(), value);
        }
    }
    // Without these, what some endpoints say has no effect.
    for (name, value) in [("workloadSourceSpoofing", "Any"), ("floatingIPs", "Enabled")] {
        if !random.once_in(3) {
            spec.insert(name.to_owned(), json!(value));
        }
    }
    document(
        "FelixConfiguration",
        json!({"name": random.of(&["default", "node.host-1"])}),
        Value::Object(spec),
    )
}

/// A rule with any field.
fn rule(random: &mut Random) -> Value {
    let mut rule = Map::new();
    let action = random.of(&["Allow", "Allow", "Allow", "Deny", "Deny", "Log", "Pass", "Pass"]);
    rule.insert("action".to_owned(), json!(action));
    if random.once_in(16) {
        return many_blocks(rule, random);
    }
    if random.once_in(20) {
        return only_named_port(rule, random);
    }
    // One family a rule; mixing them is an error of its own, which is tried too.
    let v6 = random.once_in(4);
    if random.once_in(8) {
        rule.insert("ipVersion".to_owned(), json!(if v6 { 6 } else { 4 }));
    }
    let transport = match random.below(8) {
        0..=3 => {
            let protocol = random.of(&[json!("TCP"), json!("UDP"), json!("SCTP"), json!(6), json!(17)]);
            rule.insert("protocol".to_owned(), protocol);
            true
        }
        4 => {
            rule.insert("protocol".to_owned(), json!(if v6 { "ICMPv6" } else { "ICMP" }));
            let icmp = random.of(&[
                json!({"type": 8}),
                json!({"type": 3, "code": 1}),
                json!({"type": 128}),
                json!({"type": 8, "code": 0}),
            ]);
            let field = random.of(&["icmp", "icmp", "notICMP"]);
            rule.insert(field.to_owned(), icmp);
            false
        }
        5 => {
            rule.insert(
                "protocol".to_owned(),
                random.of(&[json!(47), json!(4), json!(1), json!("UDPLite"), json!(58)]),
            );
            false
        }
        6 => {
            rule.insert(
                "notProtocol".to_owned(),
                random.of(&[json!("TCP"), json!("UDP"), json!(47), json!("ICMP")]),
            );
            false
        }
        _ => false,
    };
    for side in ["source", "destination"] {
        if !random.once_in(3) {
            let entity = entity(v6, transport, random);
            rule.insert(side.to_owned(), entity);
        }
    }
    if random.once_in(20) && action == "Allow" {
        rule.insert("http".to_owned(), json!({"methods": ["GET"]}));
    }
    if random.once_in(10) {
        rule.insert("metadata".to_owned(), json!({"annotations": {"why": "because \"so\""}}));
    }
    Value::Object(rule)
}

/// A rule that asks for little else, so that it mostly holds.
fn only_named_port(mut rule: Map<String, Value>, random: &mut Random) -> Value {
    rule.insert("protocol".to_owned(), json!(random.of(&["TCP", "UDP"])));
    let (side, field) = (random.of(&["source", "destination"]), random.of(&["ports", "notPorts"]));
    rule.insert(side.to_owned(), json!({field: [random.of(&PORT_NAMES)]}));
    Value::Object(rule)
}

/// A rule that iptables can only say by three blocks and more.
fn many_blocks(mut rule: Map<String, Value>, random: &mut Random) -> Value {
    rule.insert("protocol".to_owned(), json!("TCP"));
    let nets =
        |random: &mut Random| json!([random.of(&NETS_V4), random.of(&["203.0.113.0/24", "198.51.100.0/24"])]);
    let sides = [("source", nets(random)), ("destination", nets(random))];
    for (side, nets) in sides {
        rule.insert(side.to_owned(), json!({"nets": nets}));
    }
    let side = random.of(&["source", "destination"]);
    rule[side]["ports"] = json!([random.of(&PORTS), "http"]);
    if random.once_in(2) {
        rule[side]["notNets"] = json!([random.of(&NETS_V4), random.of(&NETS_V4)]);
    }
    Value::Object(rule)
}

fn entity(v6: bool, transport: bool, random: &mut Random) -> Value {
    let mut side = Map::new();
    let nets = |random: &mut Random, most: usize| -> Value {
        let other = random.once_in(40);
        let nets: Vec<&str> = (0..random.between(1, most))
            .map(|_| if v6 != other { random.of(&NETS_V6) } else { random.of(&NETS_V4) })
            .collect();
        json!(nets)
    };
    if random.once_in(3) {
        side.insert("nets".to_owned(), nets(random, 3));
    }
    if random.once_in(5) {
        side.insert("notNets".to_owned(), nets(random, 3));
    }
    if random.once_in(3) {
        side.insert("selector".to_owned(), json!(selector(random)));
    }
    if random.once_in(6) {
        side.insert("notSelector".to_owned(), json!(selector(random)));
    }
    if random.once_in(10) {
        side.insert(
            "namespaceSelector".to_owned(),
            json!(random.of(&["all()", "global()", "projectcalico.org/name == 'red'"])),
        );
    }
    if transport && random.once_in(2) {
        side.insert("ports".to_owned(), ports(random));
    }
    if transport && random.once_in(5) {
        side.insert("notPorts".to_owned(), ports(random));
    }
    if !transport && random.once_in(12) {
        let field = random.of(&["ports", "notPorts"]);
        side.insert(field.to_owned(), json!([random.of(&PORT_NAMES)]));
    }
    Value::Object(side)
}

fn ports(random: &mut Random) -> Value {
    // Sometimes more than a multiport match holds.
    let count = if random.once_in(8) { 18 } else { random.between(1, 3) };
    let port = |random: &mut Random| match random.below(5) {
        0 => json!(random.of(&PORT_NAMES)),
        1 => json!(random.of(&["79:81", "80:80", "1:79", "8080:65535", "440:450"])),
        _ if count > 3 => json!(1000 + random.below(1000)),
        _ => json!(random.of(&PORTS)),
    };
    let ports: Vec<Value> = (0..count).map(|_| port(random)).collect();
    Value::Array(ports)
}

fn selector(random: &mut Random) -> String {
    let leaf = |random: &mut Random| {
        let (key, value) = (random.of(&KEYS), random.of(&VALUES));
        match random.below(6) {
            0 => format!("has({key})"),
            1 => format!("!has({key})"),
            2 => format!("{key} != '{value}'"),
            3 => format!("{key} in {{'x', 'y'}}"),
            _ => format!("{key} == '{value}'"),
        }
    };
    match random.below(30) {
        0 => "a = 'x'".to_owned(),
        1..=3 => "all()".to_owned(),
        4..=9 => format!("{} && {}", leaf(random), leaf(random)),
        10..=12 => format!("{} || {}", leaf(random), leaf(random)),
        _ => leaf(random),
    }
}

fn document(kind: &str, metadata: Value, spec: Value) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec})
}

/// Addresses that a packet may have: those that rules and endpoints name, and those beside them.
pub const PACKET_V4: [&str; 16] = [
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "10.0.1.0",
    "10.0.1.1",
    "10.0.1.2",
    "10.1.0.0",
    "172.16.0.1",
    "172.16.0.2",
    "192.168.7.7",
    "192.169.0.0",
    "203.0.113.9",
    "127.255.255.255",
    "128.0.0.0",
];
pub const PACKET_V6: [&str; 10] = [
    "fd00::",
    "fd00::1",
    "fd00::2",
    "fd00::3",
    "fd00::4",
    "fd00:1::1",
    "fd01::1",
    "fd01::2",
    "2001:db8::9",
    "fe00::1",
];
pub const PACKET_PORTS: [u16; 14] = [0, 1, 2, 78, 79, 80, 81, 82, 443, 444, 4789, 8079, 8080, 65535];
