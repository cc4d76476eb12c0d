//! Settings that change while the resources stay.

use super::*;

const NEITHER: Settings = Settings {
    ignore_invalid: false,
    source_spoofing: false,
    routes_of_workloads: false,
    tunnel_address: None,
    tunnel_address_from_block: false,
};
const IGNORE: Settings = Settings { ignore_invalid: true, ..NEITHER };
const SPOOFING: Settings = Settings { source_spoofing: true, ..NEITHER };

/// What cannot be understood closes, or is absent.
#[test]
fn invalid_policies() {
    let bad = "order: 1, types: [Ingress, Egress], \
               ingress: [{action: Allow, source: {selector: has(a)}}, {action: Alow}]";
    let mut host =
        Host::new(&[&local("a", "", "ipNetworks: [10.0.0.1]"), &gnp("bad", bad), &gnp("good", "order: 2")]);
    for (settings, tiers) in [
        (Settings::default(), "default Deny: bad good | bad"),
        (IGNORE, "default Deny: good | "),
        (Settings::default(), "default Deny: bad good | bad"),
    ] {
        let desired = host.set(settings).desired();
        assert_eq!(desired.tiers("a"), [tiers], "{settings:?}");
        assert!(desired.sets.is_empty(), "the rules that could be read need no sets");
        for policy in desired.policies.values().filter(|policy| &*policy.id.name == "bad") {
            assert_eq!(rule_lines(&policy.ingress), ["- Deny"]);
            assert_eq!(rule_lines(&policy.egress), ["- Deny"]);
        }
        assert_eq!(desired.policies.len(), if settings.ignore_invalid { 1 } else { 2 });
    }
    let ingress_only = gnp("bad", "ingress: [{action: Alow}]");
    let desired = host.put(&ingress_only).desired();
    assert_eq!(desired.tiers("a"), ["default Deny: good bad | "]);
    assert!(desired.policies.values().next().unwrap().egress.is_empty());
}

/// A profile that is absent denies as well, so only its place goes.
#[test]
fn invalid_profiles() {
    let mut host = Host::new(&[
        &local("a", "", "ipNetworks: [10.0.0.1], profiles: [p]"),
        &profile("p", "labelsToApply: {x: y}, ingress: [{action: Allow}, {action: Alow}]"),
        &gnp("g", "selector: x == 'y'"),
    ]);
    for settings in [Settings::default(), IGNORE, Settings::default()] {
        let desired = host.set(settings).desired();
        assert_eq!(rule_lines(&desired.profiles["p"].ingress), ["- Deny"]);
        assert_eq!(rule_lines(&desired.profiles["p"].egress), ["- Deny"]);
        assert_eq!(desired.profiles["p"].place.is_none(), settings.ignore_invalid);
        assert_eq!(desired.policy_names(), ["g"], "its labels are still given");
    }
}

/// Reference §3.5 and §15, row 82: what is not admitted is not there in any respect.
#[test]
fn endpoints_that_want_to_spoof() {
    let prefixes = "allowSpoofedSourcePrefixes: [10.9.0.0/16]";
    let near = local("b", "app: web", &format!("ipNetworks: [10.0.0.2], profiles: [b], {prefixes}"));
    let far = remote("c", "app: web", &format!("ipNetworks: [10.0.0.3], {prefixes}"));
    let mut host = Host::new(&[
        &local("a", "app: db", "ipNetworks: [10.0.0.1]"),
        &near,
        &far,
        &gnp("of-b", "selector: app == 'web'"),
        &gnp("of-a", "selector: app == 'db', ingress: [{action: Allow, source: {selector: app == 'web'}}]"),
    ]);
    let absent = (vec!["a"], vec!["of-a"], NONE.to_vec(), ["app == \"web\" = ".to_owned()]);
    let there =
        (vec!["a", "b"], vec!["of-a", "of-b"], vec!["b"], ["app == \"web\" = 10.0.0.2 10.0.0.3".to_owned()]);
    for (settings, (pods, policies, profiles, sets)) in [
        (Settings::default(), &absent),
        (SPOOFING, &there),
        (Settings::default(), &absent),
        (SPOOFING, &there),
    ] {
        let desired = host.set(settings).desired();
        assert_eq!(desired.pods(), *pods);
        assert_eq!(desired.policy_names(), *policies);
        assert_eq!(desired.profile_names(), *profiles);
        assert_eq!(desired.set_lines(), *sets);
    }
    let desired = host.delete(&near).delete(&far).desired();
    assert_eq!(desired.pods(), ["a"]);
    assert_eq!(host.set(Settings::default()).desired().pods(), ["a"]);
    assert_eq!(host.set(SPOOFING).desired().pods(), ["a"], "it went while it was absent or not");
}

#[test]
fn an_endpoint_may_begin_and_cease_to_want_to_spoof() {
    let with = |prefixes: &str| {
        local("b", "", &format!("ipNetworks: [10.0.0.2], allowSpoofedSourcePrefixes: [{prefixes}]"))
    };
    let mut host = Host::new(&[&with("")]);
    assert_eq!(host.desired().pods(), ["b"]);
    assert_eq!(host.put(&with("10.9.0.0/16")).desired().pods(), NONE);
    assert_eq!(host.put(&with("")).desired().pods(), ["b"]);
    assert_eq!(host.set(SPOOFING).put(&with("10.9.0.0/16")).desired().pods(), ["b"]);
}

/// An endpoint that is absent shadows nobody.
#[test]
fn what_is_not_admitted_has_no_interface() {
    let (a, b) = (
        workload(
            HOST,
            "a",
            "",
            "interfaceName: cali1, ipNetworks: [10.0.0.1], allowSpoofedSourcePrefixes: [10.9.0.0/16]",
        ),
        workload(HOST, "b", "", "interfaceName: cali1, ipNetworks: [10.0.0.2]"),
    );
    let mut host = Host::new(&[&a, &b]);
    for settings in [Settings::default(), SPOOFING, Settings::default()] {
        let desired = host.set(settings).desired();
        let owner = settings.source_spoofing.then(|| workload_id("a"));
        assert_eq!(desired.endpoint("b").shadowed_by, owner, "{settings:?}");
    }
}
