//! Random manifests of all kinds and both forms, over so few names, labels and addresses that they meet.
//! Some are invalid in themselves; none is broken YAML.

use proptest::prelude::*;

type Text = BoxedStrategy<String>;
/// `key: value`, or nothing.
type Field = BoxedStrategy<Option<String>>;

/// One document. Those for one slot are mostly the same resource, so that it is changed more often than replaced.
pub fn document(slot: u8) -> Text {
    prop_oneof![3 => usual(slot), 1 => any()].boxed()
}

fn usual(slot: u8) -> Text {
    match slot {
        0 => workload_v3(&[("host-1", "a")], words(&["red"])),
        1 => workload_v3(&[("host-1", "b")], words(&["red"])),
        2 => workload_v1(),
        3 => global_policy("GlobalNetworkPolicy", words(&["p"])),
        4 => global_policy("GlobalNetworkPolicy", words(&["q"])),
        5 => policy_v1(),
        6 => profile_v3(words(&["prof-a"])),
        7 => profile_v1(words(&["prof-b"])),
        8 => tier(words(&["platform"])),
        9 => network_set(),
        _ => any(),
    }
}

fn any() -> Text {
    prop_oneof![
        4 => workload_v3(&[("host-1", "a"), ("host-1", "b"), ("host-2", "c")], namespace()),
        2 => workload_v1(),
        3 => global_policy("GlobalNetworkPolicy", policy_name()),
        2 => namespaced_policy(),
        1 => global_policy("StagedGlobalNetworkPolicy", policy_name()),
        2 => policy_v1(),
        2 => profile_v3(profile_name()),
        1 => profile_v1(profile_name()),
        2 => network_set(),
        1 => host_endpoint(),
        1 => tier(words(&["platform", "default"])),
        2 => pool(),
        1 => node(),
        1 => block(),
        1 => affinity(),
        1 => configuration(),
        1 => nonsense(),
    ]
    .boxed()
}

fn workload_v3(nodes_and_pods: &'static [(&'static str, &'static str)], namespace: Text) -> Text {
    let own = vec![
        sometimes(
            "ports",
            list(
                words(&["{name: http, protocol: TCP, port: 80}", "{name: dns, protocol: UDP, port: 53}"]),
                0..3,
            ),
        ),
        rarely("allowSpoofedSourcePrefixes", words(&["[10.9.0.0/16]"])),
    ];
    let spec = endpoint_fields().into_iter().chain(own).collect::<Vec<_>>().prop_map(joined);
    let parts = (pick(nodes_and_pods), namespace, labels(), spec);
    let document = parts.prop_map(|((node, pod), namespace, labels, spec)| {
        let name = format!("{}-k8s-{pod}-eth0", node.replace('-', "--"));
        format!(
            "apiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\n\
             metadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}\n\
             spec: {{node: {node}, orchestrator: k8s, pod: {pod}, endpoint: eth0, {spec}}}\n"
        )
    });
    document.boxed()
}

fn workload_v1() -> Text {
    let parts =
        (words(&["host-1", "host-2"]), words(&["a", "b"]), labels(), endpoint_fields().prop_map(joined));
    let document = parts.prop_map(|(node, workload, labels, spec)| {
        format!(
            "apiVersion: v1\nkind: workloadEndpoint\nmetadata: {{name: eth0, node: {node}, orchestrator: demo, \
             workload: {workload}, labels: {labels}}}\nspec: {{{spec}}}\n"
        )
    });
    document.boxed()
}

/// The two forms have these in common.
fn endpoint_fields() -> Vec<Field> {
    vec![
        always("interfaceName", words(&["cali1", "cali2", "cali12"])),
        always("ipNetworks", list(address(), 1..3)),
        sometimes("profiles", list(profile_name(), 0..3)),
    ]
}

fn host_endpoint() -> Text {
    let spec = vec![
        always("node", words(&["host-1", "host-2"])),
        sometimes("interfaceName", words(&["eth0", "'*'"])),
        always("expectedIPs", list(words(&["192.168.0.1", "'fd00::9'"]), 1..2)),
        sometimes("profiles", list(profile_name(), 0..2)),
    ];
    let metadata = vec![always("name", words(&["a", "b"])), sometimes("labels", labels())];
    resource("projectcalico.org/v3", "HostEndpoint", metadata, spec)
}

fn global_policy(kind: &'static str, name: Text) -> Text {
    let own = vec![
        rarely("namespaceSelector", prop_oneof![selector(), words(&["all()", "global()"])].boxed()),
        rarely("doNotTrack", words(&["true, applyOnForward: true"])),
    ];
    let spec = policy_fields().into_iter().chain(own).collect();
    resource("projectcalico.org/v3", kind, vec![always("name", name)], spec)
}

fn namespaced_policy() -> Text {
    let metadata = vec![always("name", policy_name()), always("namespace", namespace())];
    resource("projectcalico.org/v3", "NetworkPolicy", metadata, policy_fields())
}

fn policy_fields() -> Vec<Field> {
    vec![
        sometimes("tier", words(&["default", "platform", "kube-admin"])),
        sometimes("order", order()),
        sometimes("selector", selector()),
        sometimes("types", words(&["[Ingress]", "[Egress]", "[Ingress, Egress]"])),
        sometimes("ingress", list(rule_v3(), 0..3)),
        sometimes("egress", list(rule_v3(), 0..3)),
        field("ordre", order(), 0.05),
    ]
}

fn policy_v1() -> Text {
    let spec = vec![
        sometimes("order", order()),
        sometimes("selector", selector()),
        sometimes("ingress", list(rule_v1(), 0..3)),
        sometimes("egress", list(rule_v1(), 0..3)),
    ];
    resource("v1", "policy", vec![always("name", policy_name())], spec)
}

fn profile_v3(name: Text) -> Text {
    let spec = vec![
        sometimes("labelsToApply", labels()),
        sometimes("ingress", list(rule_v3(), 0..2)),
        sometimes("egress", list(rule_v3(), 0..2)),
    ];
    resource("projectcalico.org/v3", "Profile", vec![always("name", name)], spec)
}

fn profile_v1(name: Text) -> Text {
    let metadata = vec![
        always("name", name),
        sometimes("labels", labels()),
        sometimes("tags", list(words(&["tag-a", "a"]), 0..3)),
    ];
    let spec = vec![sometimes("ingress", list(rule_v1(), 0..2)), sometimes("egress", list(rule_v1(), 0..2))];
    resource("v1", "profile", metadata, spec)
}

fn network_set() -> Text {
    let spec = || vec![sometimes("nets", list(net(), 0..4))];
    let global = vec![always("name", words(&["n"])), sometimes("labels", labels())];
    let namespaced =
        vec![always("name", words(&["n"])), always("namespace", namespace()), sometimes("labels", labels())];
    prop_oneof![
        resource("projectcalico.org/v3", "GlobalNetworkSet", global, spec()),
        resource("projectcalico.org/v3", "NetworkSet", namespaced, spec()),
    ]
    .boxed()
}

fn tier(name: Text) -> Text {
    let spec = vec![sometimes("order", order()), sometimes("defaultAction", words(&["Pass", "Deny"]))];
    resource("projectcalico.org/v3", "Tier", vec![always("name", name)], spec)
}

fn pool() -> Text {
    let v3 = resource(
        "projectcalico.org/v3",
        "IPPool",
        vec![always("name", words(&["pool-a", "pool-b"]))],
        vec![
            always("cidr", words(&["10.0.0.0/16", "10.1.0.0/16", "'fd00::/64'"])),
            sometimes("ipipMode", words(&["Always", "CrossSubnet", "Never"])),
            sometimes("natOutgoing", words(&["true", "false"])),
        ],
    );
    let v1 = resource(
        "v1",
        "ipPool",
        vec![always("cidr", words(&["10.0.0.0/16"]))],
        vec![sometimes("nat-outgoing", words(&["true"])), sometimes("ipip", words(&["{enabled: true}"]))],
    );
    prop_oneof![2 => v3, 1 => v1].boxed()
}

fn block() -> Text {
    let spec = vec![
        always("cidr", words(&["10.0.0.0/29", "10.0.0.8/29", "'fd00::/125'"])),
        sometimes("affinity", words(&["'host:host-1'", "'host:host-2'", "'virtual:v'"])),
        sometimes("allocations", words(&["[~, 0, 1]", "[1, ~, ~]"])),
        always("attributes", words(&["[{secondary: {node: host-1}}, {secondary: {node: host-2}}]"])),
    ];
    resource("projectcalico.org/v3", "IPAMBlock", vec![always("name", words(&["b"]))], spec)
}

fn affinity() -> Text {
    let spec = vec![
        always("cidr", words(&["10.0.0.0/29", "10.0.0.8/29"])),
        always("node", words(&["host-1", "host-2"])),
        sometimes("state", words(&["confirmed", "pending", "pendingDeletion"])),
    ];
    let metadata = vec![always("name", words(&["x", "y"]))];
    resource("projectcalico.org/v3", "BlockAffinity", metadata, spec)
}

fn node() -> Text {
    let spec = vec![sometimes(
        "bgp",
        words(&["{ipv4Address: 172.16.0.1/24}", "{ipv4Address: 172.16.0.2, ipv6Address: 'fd01::2'}"]),
    )];
    resource("projectcalico.org/v3", "Node", vec![always("name", words(&["host-1", "host-2"]))], spec)
}

fn configuration() -> Text {
    let spec = vec![
        sometimes("logPrefix", words(&["'dropped %n'"])),
        sometimes("defaultEndpointToHostAction", words(&["Accept", "Drop", "Retrun"])),
        sometimes("ipv6Support", words(&["false"])),
        sometimes("workloadSourceSpoofing", words(&["Any", "Disabled"])),
        sometimes("floatingIPs", words(&["Enabled"])),
    ];
    let name = words(&["default", "node.host-1", "node.host-2"]);
    resource("projectcalico.org/v3", "FelixConfiguration", vec![always("name", name)], spec)
}

/// Well-formed, and not what it should be.
fn nonsense() -> Text {
    pick(&[
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolice\nmetadata: {name: p}\n",
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {}\n",
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: p}\nspec: [1, 2]\n",
        "apiVersion: v1\nkind: workloadEndpoint\nmetadata: {name: eth0, node: host-1}\n",
        "just: words\n",
        "text\n",
    ])
    .prop_map(str::to_owned)
    .boxed()
}

fn rule_v3() -> Text {
    rule(&["Allow", "Deny", "Log", "Pass"], &["TCP", "UDP", "SCTP"], side_v3)
}

fn side_v3() -> Vec<Field> {
    vec![
        sometimes("selector", selector()),
        rarely("notSelector", selector()),
        rarely("namespaceSelector", prop_oneof![selector(), words(&["all()", "global()"])].boxed()),
        rarely("nets", list(net(), 1..3)),
        rarely("notNets", list(net(), 1..3)),
    ]
}

fn rule_v1() -> Text {
    rule(&["allow", "deny", "log", "pass"], &["tcp", "udp"], side_v1)
}

fn side_v1() -> Vec<Field> {
    vec![
        sometimes("selector", selector()),
        rarely("notSelector", selector()),
        rarely("tag", words(&["tag-a", "a"])),
        rarely("net", net()),
    ]
}

/// Ports need a protocol that has them, and so do ICMP types.
fn rule(
    actions: &'static [&'static str],
    with_ports: &'static [&'static str],
    side: fn() -> Vec<Field>,
) -> Text {
    let ports = || [sometimes("ports", list(port(), 1..3)), rarely("notPorts", list(port(), 1..3))];
    let side_with_ports = move || mapping(side().into_iter().chain(ports()).collect());
    let rule = move |criteria: Vec<Field>| {
        mapping([always("action", words(actions))].into_iter().chain(criteria).collect())
    };
    let any = rule(vec![
        rarely("ipVersion", words(&["4", "6"])),
        sometimes("source", mapping(side())),
        sometimes("destination", mapping(side())),
    ]);
    let of_ports = rule(vec![
        always("protocol", words(with_ports)),
        sometimes("source", side_with_ports()),
        sometimes("destination", side_with_ports()),
    ]);
    let of_others = rule(vec![
        sometimes("protocol", words(&["ICMP", "icmp", "8"])),
        rarely("notProtocol", words(&["udp", "58"])),
        rarely("icmp", words(&["{type: 8}", "{type: 3, code: 1}"])),
        sometimes("source", mapping(side())),
    ]);
    prop_oneof![3 => any, 3 => of_ports, 1 => of_others].boxed()
}

/// Quoted. A few are none.
fn selector() -> Text {
    let leaf = pick(&["a == 'x'", "a != 'x'", "has(b)", "!has(a)", "b in {'x', 'y'}", "has(tag-a)", "all()"]);
    let leaf = leaf.prop_map(str::to_owned);
    let whole = leaf.prop_recursive(2, 6, 2, |inner| {
        (inner.clone(), words(&["&&", "||"]), inner)
            .prop_map(|(a, operator, b)| format!("({a} {operator} {b})"))
    });
    prop_oneof![30 => whole, 1 => words(&["a = 'x'", "has(", "b"])]
        .prop_map(|text| format!("\"{text}\""))
        .boxed()
}

fn net() -> Text {
    prop_oneof![
        20 => words(&["10.0.0.0/24", "10.0.0.1/32", "192.168.0.0/16", "0.0.0.0/0"]),
        3 => words(&["'fd00::/64'", "'::/0'"]),
        1 => words(&["10.0.0.0/33", "10.0.0"]),
    ]
    .boxed()
}

fn address() -> Text {
    prop_oneof![20 => words(&["10.0.0.1/32", "10.0.0.2", "'fd00::1/128'"]), 1 => words(&["10.0.1.0/24"])]
        .boxed()
}

fn port() -> Text {
    prop_oneof![20 => words(&["80", "'8080:8090'", "http", "dns"]), 1 => words(&["0", "'90:80'"])].boxed()
}

fn order() -> Text {
    words(&["10", "20", "10.5", "-1"])
}

fn labels() -> Text {
    let fields = vec![sometimes("a", words(&["x", "y"])), sometimes("b", words(&["x", "y"]))];
    mapping(fields)
}

fn namespace() -> Text {
    words(&["red", "blue"])
}

fn policy_name() -> Text {
    words(&["p", "q", "platform.p", "a-name-too-long-to-be-that-of-a-chain"])
}

fn profile_name() -> Text {
    words(&["prof-a", "prof-b", "kns.red", "projectcalico-default-allow"])
}

fn resource(version: &'static str, kind: &'static str, metadata: Vec<Field>, spec: Vec<Field>) -> Text {
    (mapping(metadata), mapping(spec))
        .prop_map(move |(metadata, spec)| {
            format!("apiVersion: {version}\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n")
        })
        .boxed()
}

fn always(key: &'static str, value: Text) -> Field {
    value.prop_map(move |value| Some(format!("{key}: {value}"))).boxed()
}

fn sometimes(key: &'static str, value: Text) -> Field {
    field(key, value, 0.5)
}

fn rarely(key: &'static str, value: Text) -> Field {
    field(key, value, 0.15)
}

fn field(key: &'static str, value: Text, probability: f64) -> Field {
    prop::option::weighted(probability, value.prop_map(move |value| format!("{key}: {value}"))).boxed()
}

fn mapping(fields: Vec<Field>) -> Text {
    fields.prop_map(|fields| format!("{{{}}}", joined(fields))).boxed()
}

fn list(item: Text, length: std::ops::Range<usize>) -> Text {
    prop::collection::vec(item, length).prop_map(|items| format!("[{}]", items.join(", "))).boxed()
}

fn joined(fields: Vec<Option<String>>) -> String {
    fields.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn words(words: &'static [&'static str]) -> Text {
    pick(words).prop_map(str::to_owned).boxed()
}

fn pick<T: Copy + std::fmt::Debug + 'static>(of: &'static [T]) -> impl Strategy<Value = T> + Clone + use<T> {
    prop::sample::select(of)
}
