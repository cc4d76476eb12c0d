//! Who is in a set (reference §4.5, §4.7).

use super::*;

/// A policy of the local endpoint `a` (10.9.9.9, no labels) with one set each.
fn by_selector(selector: &str) -> String {
    gnp("p", &format!("ingress: [{{action: Allow, source: {{selector: \"{selector}\"}}}}]"))
}

fn by_port(protocol: &str, port: &str) -> String {
    gnp("p", &format!("egress: [{{action: Allow, {protocol} destination: {{ports: [{port}]}}}}]"))
}

fn by_tag(tag: &str) -> String {
    let spec = format!("ingress: [{{action: allow, source: {{tag: {tag}}}}}]");
    document("v1", "policy", "name: p", &spec)
}

/// The only set's members with these there, in both orders, and with the policy first.
fn members(policy: &str, documents: &[&str]) -> String {
    let own = local("a", "", "ipNetworks: [10.9.9.9]");
    let mut all: Vec<&str> = vec![&own, policy];
    all.extend(documents);
    let forwards = Host::new(&all).desired();
    all.reverse();
    assert_eq!(Host::new(&all).desired().set_lines(), forwards.set_lines());
    let mut late = Host::new(&[policy, &own]);
    for text in documents {
        late.desired();
        late.put(text);
    }
    assert_eq!(late.desired().set_lines(), forwards.set_lines());
    assert_eq!(forwards.sets.len(), 1);
    forwards.sets.values().map(|set| member_line(set)).collect()
}

#[test]
fn endpoints_and_network_sets_of_all_hosts() {
    let documents = [
        local("b", "x: y", "ipNetworks: [10.0.0.1, 'fd00::1']"),
        remote("c", "x: y", "ipNetworks: [10.0.0.2/32]"),
        remote("d", "x: z", "ipNetworks: [10.0.0.3]"),
        v3("HostEndpoint", "name: h, labels: {x: y}", "node: host-3, expectedIPs: [172.16.0.1, 'fd00::2']"),
        network_set("n", "x: y", "10.1.0.0/16, 10.2.0.1"),
        network_set("other", "", "10.3.0.0/16"),
    ];
    let documents = documents.each_ref().map(String::as_str);
    for (selector, expected) in [
        ("x == 'y'", "10.0.0.1 10.0.0.2 10.1.0.0/16 10.2.0.1 172.16.0.1 fd00::1 fd00::2"),
        ("x == 'z'", "10.0.0.3"),
        ("has(x) && x != 'y'", "10.0.0.3"),
        ("!has(x)", "10.3.0.0/16 10.9.9.9"),
        ("none == 'x'", ""),
        ("projectcalico.org/namespace == 'ns' && x == 'y'", "10.0.0.1 10.0.0.2 fd00::1"),
    ] {
        assert_eq!(members(&by_selector(selector), &documents), expected, "{selector}");
    }
}

/// Reference §15, row 69.
#[test]
fn labels_are_inherited_from_profiles() {
    let own = remote("b", "x: own", "ipNetworks: [10.0.0.1], profiles: [p1, p2]");
    let both = remote("c", "", "ipNetworks: [10.0.0.2], profiles: [p1, p2]");
    let second = remote("d", "", "ipNetworks: [10.0.0.3], profiles: [p2]");
    let p1 = profile("p1", "labelsToApply: {x: one}");
    let p2 = profile("p2", "labelsToApply: {x: two}");
    for (value, documents, expected) in [
        ("own", vec![&own, &p1, &p2], "10.0.0.1"),
        ("one", vec![&own, &both, &second, &p1, &p2], "10.0.0.2"),
        ("two", vec![&own, &both, &second, &p1, &p2], "10.0.0.3"),
        ("two", vec![&own, &both, &second, &p2], "10.0.0.2 10.0.0.3"),
    ] {
        let documents: Vec<&str> = documents.into_iter().map(String::as_str).collect();
        assert_eq!(members(&by_selector(&format!("x == '{value}'")), &documents), expected, "{value}");
    }
    let mut host =
        Host::new(&[&local("a", "", "ipNetworks: [10.9.9.9]"), &by_selector("x == 'two'"), &second, &p2]);
    assert_eq!(host.desired().set_lines(), ["x == \"two\" = 10.0.0.3"]);
    host.delete(&p2);
    assert_eq!(host.desired().set_lines(), ["x == \"two\" = "]);
    host.put(&p2);
    assert_eq!(host.desired().set_lines(), ["x == \"two\" = 10.0.0.3"]);
    host.put(&remote("d", "", "ipNetworks: [10.0.0.3]"));
    assert_eq!(host.desired().set_lines(), ["x == \"two\" = "]);
}

/// Reference §15, rows 70 and 80: each member once, as long as anybody brings it.
#[test]
fn a_member_stays_until_all_who_bring_it_are_gone() {
    let b = remote("b", "x: y", "ipNetworks: [10.0.0.1, 10.0.0.2]");
    let c = remote("c", "x: y", "ipNetworks: [10.0.0.2, 10.0.0.3]");
    let n = network_set("n", "x: y", "10.0.0.3, 10.0.0.3/32, 'feed:beef:0::/32', 'feed:beef::/32'");
    let mut host =
        Host::new(&[&local("a", "", "ipNetworks: [10.9.9.9]"), &by_selector("x == 'y'"), &b, &c, &n]);
    let mut line = |change: &dyn Fn(&mut Host)| {
        change(&mut host);
        host.desired().set_lines().remove(0)
    };
    let set = |members: &str| format!("x == \"y\" = {members}");
    assert_eq!(line(&|_| {}), set("10.0.0.1 10.0.0.2 10.0.0.3 feed:beef::/32"));
    assert_eq!(
        line(&|host| {
            host.delete(&b);
        }),
        set("10.0.0.2 10.0.0.3 feed:beef::/32")
    );
    assert_eq!(
        line(&|host| {
            host.delete(&c);
        }),
        set("10.0.0.3 feed:beef::/32")
    );
    assert_eq!(
        line(&|host| {
            host.put(&network_set("n", "x: y", "10.0.0.4"));
        }),
        set("10.0.0.4")
    );
    assert_eq!(
        line(&|host| {
            host.put(&network_set("n", "x: z", "10.0.0.4"));
        }),
        set("")
    );
    assert_eq!(
        line(&|host| {
            host.delete(&n).put(&b);
        }),
        set("10.0.0.1 10.0.0.2")
    );
}

/// Reference §15, row 81, the other choice: members that cover each other are all there.
#[test]
fn overlapping_members_are_kept() {
    let nets = network_set("n", "x: y", "10.65.0.0/16, 10.65.1.0/24, 10.65.1.1");
    assert_eq!(members(&by_selector("x == 'y'"), &[&nets]), "10.65.0.0/16 10.65.1.0/24 10.65.1.1");
}

/// Reference §15, row 78.
#[test]
fn named_ports() {
    let ports = "{name: http, protocol: TCP, port: 80}, {name: dns, protocol: UDP, port: 53}, \
                 {name: dns, protocol: TCP, port: 53}";
    let documents = [
        remote("b", "x: y", &format!("ipNetworks: [10.0.0.1, 'fd00::1'], ports: [{ports}]")),
        remote(
            "c",
            "",
            "ipNetworks: [10.0.0.2], ports: [{name: multi, protocol: TCP, port: 8080}, \
             {name: multi, protocol: TCP, port: 8081}, {name: multi, protocol: TCP, port: 8082}]",
        ),
        v3(
            "HostEndpoint",
            "name: h",
            "node: host-3, expectedIPs: [172.16.0.1], ports: [{name: sig, protocol: SCTP, port: 9}]",
        ),
        network_set("n", "x: y", "10.1.0.0/16"),
    ];
    let documents = documents.each_ref().map(String::as_str);
    for (protocol, port, expected) in [
        ("protocol: TCP,", "http", "10.0.0.1,tcp:80 fd00::1,tcp:80"),
        ("protocol: 6,", "http", "10.0.0.1,tcp:80 fd00::1,tcp:80"),
        ("protocol: UDP,", "http", ""),
        ("protocol: UDP,", "dns", "10.0.0.1,udp:53 fd00::1,udp:53"),
        ("protocol: TCP,", "multi", "10.0.0.2,tcp:8080 10.0.0.2,tcp:8081 10.0.0.2,tcp:8082"),
        ("protocol: UDP,", "multi", ""),
        ("protocol: SCTP,", "sig", "172.16.0.1,sctp:9"),
        ("protocol: TCP,", "sig", ""),
        ("protocol: TCP,", "nobody", ""),
    ] {
        assert_eq!(members(&by_port(protocol, port), &documents), expected, "{protocol} {port}");
    }
}

/// Reference §15, row 79.
#[test]
fn named_ports_by_an_inherited_label() {
    let policy = gnp(
        "p",
        "egress: [{action: Allow, protocol: TCP, destination: {selector: x == 'y', ports: [http]}}]",
    );
    let with = |profiles: &str| {
        let rest = "ipNetworks: [10.0.0.1], ports: [{name: http, protocol: TCP, port: 80}]";
        remote("b", "", &format!("{rest}, profiles: [{profiles}]"))
    };
    let prof = |value: &str| profile("prof", &format!("labelsToApply: {{x: {value}}}"));
    let mut host =
        Host::new(&[&local("a", "", "ipNetworks: [10.9.9.9]"), &policy, &with("prof"), &prof("y")]);
    for (step, put, expected) in [
        ("as it is", None, "10.0.0.1,tcp:80"),
        ("another label", Some(prof("z")), ""),
        ("back", Some(prof("y")), "10.0.0.1,tcp:80"),
        ("no profile", Some(with("")), ""),
        ("the profile again", Some(with("prof")), "10.0.0.1,tcp:80"),
    ] {
        if let Some(text) = put {
            host.put(&text);
        }
        assert_eq!(
            host.desired().set_lines(),
            [format!("tcp port http of x == \"y\" = {expected}")],
            "{step}"
        );
    }
}

/// Reference §15, row 89.
#[test]
fn a_network_set_inherits_from_its_namespace() {
    let set = v3("NetworkSet", "name: n, namespace: red", "nets: [10.1.0.0/16]");
    let namespace = profile("kns.red", "labelsToApply: {pcns.colour: red}");
    assert_eq!(members(&by_selector("pcns.colour == 'red'"), &[&set, &namespace]), "10.1.0.0/16");
    assert_eq!(members(&by_selector("pcns.colour == 'red'"), &[&set]), "");
    assert_eq!(members(&by_selector("projectcalico.org/namespace == 'red'"), &[&set]), "10.1.0.0/16");
}

/// A tag is what profiles carry, and no label of the same name.
#[test]
fn tags() {
    let tagged = |tags: &str| document("v1", "profile", &format!("name: prof, tags: [{tags}]"), "");
    let named = remote("b", "", "ipNetworks: [10.0.0.1], profiles: [prof]");
    let labelled = remote("c", "t: ''", "ipNetworks: [10.0.0.2]");
    let labels = profile("prof", "labelsToApply: {t: ''}");
    for (documents, expected) in [
        (vec![&tagged("t"), &named, &labelled], "10.0.0.1"),
        (vec![&tagged("t, u"), &named, &labelled], "10.0.0.1"),
        (vec![&tagged("u"), &named, &labelled], ""),
        (vec![&labels, &named, &labelled], ""),
        (vec![&named, &labelled], ""),
    ] {
        let documents: Vec<&str> = documents.into_iter().map(String::as_str).collect();
        assert_eq!(members(&by_tag("t"), &documents), expected, "{documents:?}");
    }
    // Selectors see tags as labels without a value.
    assert_eq!(members(&by_selector("has(t)"), &[&tagged("t"), &named, &labelled]), "10.0.0.1 10.0.0.2");
}

/// Reference §7.3.
#[test]
fn ids() {
    let id = |policy: &str| {
        let desired = Host::new(&[&local("a", "", "ipNetworks: [10.9.9.9]"), policy]).desired();
        desired.sets.keys().next().unwrap().0.to_string()
    };
    assert_eq!(id(&by_selector("all()")), "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug");
    assert!(id(&by_tag("t")).starts_with("t:"));
    let ports = [("protocol: TCP,", "a"), ("protocol: UDP,", "a"), ("protocol: TCP,", "b")];
    let ids: std::collections::BTreeSet<String> =
        ports.iter().map(|(protocol, port)| id(&by_port(protocol, port))).collect();
    assert_eq!(ids.len(), ports.len());
    assert!(ids.iter().all(|id| id.starts_with("n:") && id.len() == 40));
}
