//! What is active, and for whom (reference §3.8).

use super::*;

const WEB: &str = "selector: app == 'web'";

/// Reference §15, rows 71 and 75.
#[test]
fn a_policy_is_active_where_it_selects_a_local_endpoint() {
    let rule = "ingress: [{action: Allow, source: {selector: app == 'db'}}]";
    let no_set = NONE;
    let db = &["app == \"db\" = "][..];
    for (what, policy, active, sets) in [
        ("local", format!("{WEB}, {rule}"), true, db),
        ("a label inherited", format!("selector: role == 'front', {rule}"), true, db),
        ("of another host", format!("selector: app == 'far', {rule}"), false, no_set),
        ("nobody", format!("selector: app == 'none', {rule}"), false, no_set),
        (
            "needed everywhere",
            format!("selector: app == 'none', performanceHints: [AssumeNeededOnEveryNode], {rule}"),
            true,
            db,
        ),
        ("untracked", format!("{WEB}, doNotTrack: true, applyOnForward: true, {rule}"), false, no_set),
        ("pre-DNAT", format!("{WEB}, preDNAT: true, applyOnForward: true, {rule}"), false, no_set),
    ] {
        let mut host = Host::new(&[
            &local("a", "app: web", "ipNetworks: [10.0.0.1], profiles: [front]"),
            &remote("b", "app: far", "ipNetworks: [10.0.0.2]"),
            &profile("front", "labelsToApply: {role: front}"),
            &gnp("p", &policy),
        ]);
        let desired = host.desired();
        assert_eq!(desired.policies.len(), usize::from(active), "{what}");
        assert_eq!(desired.set_lines(), sets, "{what}");
        assert!(host.delete(&gnp("p", "")).desired().sets.is_empty(), "{what}");
    }
}

#[test]
fn policies_come_and_go_with_what_they_select() {
    let policy = gnp("p", &format!("{WEB}, ingress: [{{action: Allow, source: {{selector: has(x)}}}}]"));
    let web = local("a", "app: web", "ipNetworks: [10.0.0.1]");
    let other = local("a", "app: other", "ipNetworks: [10.0.0.1]");
    let mut host = Host::new(&[&policy]);
    for (step, put, active) in [
        ("no endpoint", None, false),
        ("an endpoint", Some(&web), true),
        ("another label", Some(&other), false),
        ("back", Some(&web), true),
        ("a selector of nobody", Some(&gnp("p", "selector: app == 'x'")), false),
        ("the selector back", Some(&policy), true),
        ("another stage", Some(&gnp("p", &format!("{WEB}, doNotTrack: true, applyOnForward: true"))), false),
        ("the stage back", Some(&policy), true),
    ] {
        if let Some(text) = put {
            host.put(text);
        }
        let desired = host.desired();
        assert_eq!(desired.policies.len(), usize::from(active), "{step}");
        assert_eq!(desired.sets.len(), usize::from(active), "{step}");
        let tiers = desired.endpoints.values().map(|local| local.tiers.len()).sum::<usize>();
        assert_eq!(tiers, usize::from(active), "{step}");
    }
    assert!(host.delete(&web).desired().policies.is_empty());
}

/// Reference §15, row 72: also those that do not exist, which deny.
#[test]
fn profiles_are_active_where_a_local_endpoint_names_them() {
    let mut host = Host::new(&[
        &local("a", "", "ipNetworks: [10.0.0.1], profiles: [known, prof-missing]"),
        &remote("b", "", "ipNetworks: [10.0.0.2], profiles: [far]"),
        &profile("known", "ingress: [{action: Allow}]"),
        &profile("far", "ingress: [{action: Allow}]"),
        &profile("unused", "ingress: [{action: Allow}]"),
    ]);
    let desired = host.desired();
    assert_eq!(desired.profile_names(), ["known", "prof-missing"]);
    let missing = &desired.profiles["prof-missing"];
    assert_eq!(rule_lines(&missing.ingress), ["- Deny"]);
    assert_eq!(rule_lines(&missing.egress), ["- Deny"]);
    assert_eq!(missing.place, None);
    assert_eq!(rule_lines(&desired.profiles["known"].ingress), ["0 Allow"]);
    assert!(desired.profiles["known"].egress.is_empty());

    let desired = host.put(&profile("prof-missing", "egress: [{action: Allow}]")).desired();
    assert_eq!(rule_lines(&desired.profiles["prof-missing"].egress), ["0 Allow"]);
    let desired = host.delete(&profile("known", "")).desired();
    assert_eq!(rule_lines(&desired.profiles["known"].ingress), ["- Deny"]);
    let desired = host.put(&local("a", "", "ipNetworks: [10.0.0.1], profiles: [unused]")).desired();
    assert_eq!(desired.profile_names(), ["unused"]);
}

#[test]
fn a_profile_stays_while_any_endpoint_names_it() {
    let (a, b) = (
        local("a", "", "ipNetworks: [10.0.0.1], profiles: [p]"),
        local("b", "", "ipNetworks: [10.0.0.2], profiles: [p, p]"),
    );
    let mut host = Host::new(&[&a, &b]);
    assert_eq!(host.desired().profile_names(), ["p"]);
    assert_eq!(host.delete(&a).desired().profile_names(), ["p"]);
    assert_eq!(host.delete(&b).desired().profile_names(), NONE);
}

#[test]
fn the_default_allow_profile_is_always_there() {
    let name = "projectcalico-default-allow";
    let mut host = Host::new(&[&local("a", "", &format!("ipNetworks: [10.0.0.1], profiles: [{name}]"))]);
    let ingress = |host: &mut Host| rule_lines(&host.desired().profiles[name].ingress);
    assert_eq!(ingress(&mut host), ["0 Allow"]);
    assert_eq!(rule_lines(&host.desired().profiles[name].egress), ["0 Allow"]);
    let other = profile(name, "ingress: [{action: Deny}, {action: Deny}]");
    assert_eq!(ingress(host.put(&other)), ["0 Deny", "1 Deny"]);
    assert_eq!(ingress(host.delete(&other)), ["0 Allow"]);
    assert_eq!(ingress(host.delete(&other)), ["0 Allow"]);
}

/// Reference §15, row 74: an egress-only policy's egress rules alone become sets.
#[test]
fn a_policy_stands_in_the_directions_that_it_governs() {
    let rules = "ingress: [{action: Allow, source: {selector: has(in)}}], \
                 egress: [{action: Allow, destination: {selector: has(out)}}]";
    for (types, tiers, sets) in [
        ("[Ingress]", "default Deny: p | ", &["has(in) = "][..]),
        ("[Egress]", "default Deny:  | p", &["has(out) = "][..]),
        ("[Ingress, Egress]", "default Deny: p | p", &["has(in) = ", "has(out) = "][..]),
    ] {
        let desired = Host::new(&[
            &local("a", "app: web", "ipNetworks: [10.0.0.1]"),
            &gnp("p", &format!("{WEB}, types: {types}, {rules}")),
        ])
        .desired();
        assert_eq!(desired.tiers("a"), [tiers], "{types}");
        assert_eq!(desired.set_lines(), sets, "{types}");
    }
}

/// Reference §6.11, last paragraph, and §15, row 47.
#[test]
fn of_endpoints_with_one_interface_the_lowest_has_it() {
    let with = |pod: &str, interface: &str| {
        workload(HOST, pod, "", &format!("interfaceName: {interface}, ipNetworks: [10.0.0.1]"))
    };
    let shadows = |host: &mut Host| -> Vec<String> {
        let line = |local: &Arc<LocalEndpoint>| {
            let owner = local.shadowed_by.as_ref().map(|id| id.workload.to_string());
            format!("{} {}", local.endpoint.id.workload, owner.unwrap_or_default())
        };
        host.desired().endpoints.values().map(line).collect()
    };
    let mut host = Host::new(&[&with("b", "cali1"), &with("c", "cali1"), &with("d", "cali2")]);
    host.put(&workload("host-2", "a", "", "interfaceName: cali1, ipNetworks: [10.0.0.1]"));
    assert_eq!(shadows(&mut host), ["ns/b ", "ns/c ns/b", "ns/d "]);
    host.put(&with("a", "cali1"));
    assert_eq!(shadows(&mut host), ["ns/a ", "ns/b ns/a", "ns/c ns/a", "ns/d "]);
    host.delete(&with("a", "cali1"));
    assert_eq!(shadows(&mut host), ["ns/b ", "ns/c ns/b", "ns/d "]);
    host.put(&with("b", "cali2"));
    assert_eq!(shadows(&mut host), ["ns/b ", "ns/c ", "ns/d ns/b"]);
    host.delete(&with("b", "cali2"));
    assert_eq!(shadows(&mut host), ["ns/c ", "ns/d "]);
}
