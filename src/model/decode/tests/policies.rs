//! Policies, profiles, tiers: scope, and what becomes of those that can't be read.

use super::*;
use crate::model::{Order, Stage, TierDefault, Types};

fn gnp(spec: &str) -> Decoded {
    v3("GlobalNetworkPolicy", "{name: p}", spec)
}

fn np(spec: &str) -> Decoded {
    v3("NetworkPolicy", "{name: p, namespace: namespace1}", spec)
}

/// Reference §15, rows 83 to 85; an unparseable one makes the policy absent instead.
#[test]
fn selectors() {
    let ns = "projectcalico.org/namespace";
    for (decoded, canonical) in [
        (gnp("{}"), Some("all()".to_owned())),
        (gnp("{selector: ''}"), Some("all()".to_owned())),
        (
            gnp("{selector: \"mylabel == 'selectme'\", serviceAccountSelector: \"role == 'development'\"}"),
            Some("(mylabel == \"selectme\" && pcsa.role == \"development\")".to_owned()),
        ),
        (
            gnp(
                "{selector: \"mylabel == 'selectme'\", serviceAccountSelector: \"role == 'development'\", namespaceSelector: \"name == 'testing'\"}",
            ),
            Some(
                "((mylabel == \"selectme\" && pcns.name == \"testing\") && pcsa.role == \"development\")"
                    .to_owned(),
            ),
        ),
        (
            gnp("{selector: \"mylabel == 'selectme'\", serviceAccountSelector: all()}"),
            Some("(mylabel == \"selectme\" && has(projectcalico.org/serviceaccount))".to_owned()),
        ),
        (gnp("{namespaceSelector: all()}"), Some(format!("has({ns})"))),
        (gnp("{selector: all(), namespaceSelector: has(a)}"), Some(format!("(has({ns}) && has(pcns.a))"))),
        (gnp("{selector: has(a), serviceAccountSelector: '('}"), None),
        (gnp("{selector: has(a), namespaceSelector: 'role ='}"), None),
        (gnp("{selector: global()}"), None),
        (np("{}"), Some(format!("{ns} == \"namespace1\""))),
        (np("{selector: has(a)}"), Some(format!("(has(a) && {ns} == \"namespace1\")"))),
        (np("{serviceAccountSelector: all()}"), Some(format!("({ns} == \"namespace1\" && all())"))),
    ] {
        let found = decoded.resource().is_some().then(|| policy(&decoded).selector.canonical().to_owned());
        assert_eq!(found, canonical, "{:?}", said(&decoded));
        assert_eq!(decoded.diagnostics.is_empty(), canonical.is_some(), "{:?}", said(&decoded));
    }
}

#[test]
fn types() {
    let types = |ingress, egress| Types { ingress, egress };
    let rule = "[{action: Allow}]";
    for (spec, manifest, stored) in [
        ("{}".to_owned(), types(true, false), types(true, true)),
        (format!("{{ingress: {rule}}}"), types(true, false), types(true, true)),
        (format!("{{egress: {rule}}}"), types(false, true), types(true, true)),
        (format!("{{egress: {rule}, ingress: {rule}}}"), types(true, true), types(true, true)),
        (format!("{{egress: {rule}, ingress: []}}"), types(false, true), types(true, true)),
        ("{types: [Egress]}".to_owned(), types(false, true), types(false, true)),
        ("{types: []}".to_owned(), types(true, false), types(true, true)),
        // What can't be understood still counts as there.
        ("{egress: [{}]}".to_owned(), types(false, true), types(true, true)),
        ("{preDNAT: true, applyOnForward: true}".to_owned(), types(true, false), types(true, false)),
    ] {
        let text = document("projectcalico.org/v3", "GlobalNetworkPolicy", "{name: p}", &spec);
        assert_eq!(policy(&super::manifest(&text)).types, manifest, "{spec}");
        assert_eq!(policy(&super::stored(&text)).types, stored, "{spec}");
    }
    let v1 = v1("policy", "{name: p}", "{}");
    assert_eq!(policy(&v1).types, types(true, true));
    assert_eq!(policy(&v1).id.to_string(), "GlobalNetworkPolicy p");
    assert_eq!(&*policy(&v1).tier, "default");
}

/// Which endpoints it is for unreadable: absent. Anything else unreadable: it stands and denies.
#[test]
fn absent_or_invalid() {
    #[derive(Debug, PartialEq)]
    enum Now {
        Valid,
        Invalid,
        Absent,
    }
    use Now::{Absent, Invalid, Valid};
    for (spec, wanted, state) in [
        ("{order: 10.5}", "", Valid),
        ("{order: '10'}", "error invalid-value", Invalid),
        ("{order: .nan}", "error invalid-value", Invalid),
        ("{order: inf}", "error invalid-value", Invalid),
        ("{order: '10', selector: '('}", "error invalid-selector", Absent),
        ("{order: null, selector: ~}", "", Valid),
        ("{selector: 'a = b'}", "error invalid-selector", Absent),
        ("{selector: [a]}", "error invalid-value", Absent),
        ("{tier: Foo}", "error invalid-name", Absent),
        ("{types: [ingress]}", "error invalid-value", Invalid),
        ("{types: [Ingress, Ingress]}", "error invalid-value", Invalid),
        ("{types: Ingress}", "error invalid-value", Invalid),
        ("{namespaceSelector: '('}", "error invalid-selector", Absent),
        ("{serviceAccountSelector: [a]}", "error invalid-value", Absent),
        (
            "{slector: has(a)}",
            "error unknown-field: GlobalNetworkPolicy p: spec: no field is called `slector`",
            Absent,
        ),
        ("{selector: has(a), slector: has(b)}", "error unknown-field", Invalid),
        ("{selector: has(a), namespaceSelectr: has(b)}", "error unknown-field", Invalid),
        ("{selector: has(a), teir: x}", "error unknown-field", Invalid),
        ("{selector: has(a), ingres: []}", "error unknown-field", Invalid),
        ("{colour: red}", "error unknown-field", Invalid),
        ("[]", "error invalid-value", Absent),
        ("{ingress: {action: Allow}}", "error invalid-value", Invalid),
        ("{ingress: [{action: Allow}, {action: allow}]}", "error invalid-value", Invalid),
        ("{egress: [{action: Allow, source: {selector: '('}}]}", "error invalid-selector", Invalid),
        ("{doNotTrack: true, applyOnForward: true}", "", Valid),
        ("{doNotTrack: true}", "error contradiction", Invalid),
        ("{preDNAT: true}", "error contradiction", Invalid),
        ("{preDNAT: true, doNotTrack: true, applyOnForward: true}", "error contradiction", Invalid),
        ("{preDNAT: true, applyOnForward: true, egress: [{action: Allow}]}", "error contradiction", Invalid),
        ("{preDNAT: true, applyOnForward: true, types: [Egress]}", "error contradiction", Invalid),
        ("{preDNAT: true, types: Ingress}", "error invalid-value", Invalid),
        ("{doNotTrack: 'true', applyOnForward: true}", "error invalid-value", Invalid),
        ("{doNotTrack: true, applyOnForward: 'true'}", "error invalid-value", Invalid),
        ("{doNotTrack: true, applyOnForward: no}", "error contradiction", Invalid),
        ("{performanceHints: Fast}", "error invalid-value", Invalid),
        ("{performanceHints: [Fast]}", "warning invalid-value", Valid),
    ] {
        let decoded = gnp(spec);
        expect(&decoded, wanted, spec);
        let found = match decoded.resource() {
            Some(Resource::Policy(policy)) if policy.invalid => Invalid,
            Some(_) => Valid,
            None => Absent,
        };
        assert_eq!(found, state, "{spec}");
    }
}

/// One that is invalid counts before the others of its tier, in both directions and for every endpoint, where it can't
/// be read when it counts.
#[test]
fn where_an_invalid_one_stands() {
    let at = |order| Order::new(order).unwrap();
    for (decoded, order, ingress, egress) in [
        (gnp("{order: ten}"), Order::FIRST, true, false),
        (gnp("{oder: 10}"), Order::FIRST, true, true),
        (gnp("{ordre: 10, types: [Ingress]}"), Order::FIRST, true, false),
        (gnp("{order: 10, types: [egress]}"), at(10.0), true, true),
        (gnp("{order: 10, types: [Egress, Egress]}"), at(10.0), true, true),
        (gnp("{order: 10, tpyes: [Egress]}"), at(10.0), true, true),
        (gnp("{order: 10, ingress: [], egres: []}"), at(10.0), true, true),
        (gnp("{order: 10, types: [Egress], colour: red}"), at(10.0), false, true),
        (gnp("{order: 10, types: [Egress], ingress: {}}"), at(10.0), false, true),
        (gnp("{order: 10, egress: {}}"), at(10.0), false, true),
        (gnp("{order: 10, applyOnForward: 1}"), at(10.0), true, false),
        (np("{namespaceSelector: has(a)}"), Order::LAST, true, false),
        (np("{order: 10, doNotTrack: true}"), at(10.0), true, false),
        (v1("policy", "{name: p}", "{types: [Ingress]}"), Order::LAST, true, true),
        (v1("policy", "{name: p}", "{order: 10, tier: a, preDNAT: true}"), at(10.0), true, true),
        (v1("policy", "{name: p}", "{order: '10', doNotTrack: maybe}"), Order::FIRST, true, true),
    ] {
        let policy = policy(&decoded);
        assert!(policy.invalid, "{:?}", said(&decoded));
        assert_eq!(policy.order, order, "{:?}", said(&decoded));
        assert_eq!(policy.types, Types { ingress, egress }, "{:?}", said(&decoded));
        assert_eq!(policy.stage, Stage::Normal { apply_on_forward: false }, "{:?}", said(&decoded));
    }
    assert!(Order::FIRST < at(f64::MIN) && at(f64::MAX) < Order::LAST);
}

/// Fields of `spec` that are one step too far left.
#[test]
fn misplaced_fields() {
    let policy_with = |outside: &str| {
        manifest(&format!(
            "{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {{name: p}}, \
             spec: {{ingress: [{{action: Allow}}]}}, {outside}}}"
        ))
    };
    assert!(policy_with("selector: has(a)").resource().is_none());
    for (outside, order, types) in [
        ("order: 1", Order::FIRST, Types { ingress: true, egress: false }),
        ("egress: []", Order::LAST, Types::BOTH),
        ("types: [Egress]", Order::LAST, Types::BOTH),
        ("tier: a", Order::LAST, Types { ingress: true, egress: false }),
    ] {
        let decoded = policy_with(outside);
        let policy = policy(&decoded);
        assert_eq!((policy.invalid, policy.order, policy.types), (true, order, types), "{outside}");
    }
}

/// What a newer client stored may have fields that we don't know; a misspelt one is an error there too.
#[test]
fn stored_policies() {
    for (spec, wanted, state) in [
        ("{selector: has(a), colour: red}", "warning unknown-field", Some(false)),
        ("{selector: has(a), oder: 1}", "error unknown-field", Some(true)),
        ("{slector: has(a)}", "error unknown-field", None),
    ] {
        let decoded = stored(&document("projectcalico.org/v3", "GlobalNetworkPolicy", "{name: p}", spec));
        expect(&decoded, wanted, spec);
        assert_eq!(decoded.resource().is_some().then(|| policy(&decoded).invalid), state, "{spec}");
    }
}

#[test]
fn names() {
    for (kind, metadata, spec, name, stored_name) in [
        ("GlobalNetworkPolicy", "{name: foo}", "{}", Some("foo"), Some("foo")),
        ("GlobalNetworkPolicy", "{name: default.foo}", "{}", Some("foo"), Some("default.foo")),
        ("GlobalNetworkPolicy", "{name: default.foo}", "{tier: default}", Some("foo"), Some("default.foo")),
        (
            "GlobalNetworkPolicy",
            "{name: default.foo}",
            "{tier: other}",
            Some("default.foo"),
            Some("default.foo"),
        ),
        ("GlobalNetworkPolicy", "{name: other.foo}", "{tier: other}", Some("other.foo"), Some("other.foo")),
        (
            "GlobalNetworkPolicy",
            "{name: default.foo, annotations: {projectcalico.org/metadata: '{\"name\":\"bar\"}'}}",
            "{}",
            Some("bar"),
            Some("default.foo"),
        ),
        ("GlobalNetworkPolicy", "{name: a.b.c}", "{}", None, None),
        ("GlobalNetworkPolicy", "{name: 80}", "{}", Some("80"), Some("80")),
        ("GlobalNetworkPolicy", "{}", "{}", None, None),
        ("GlobalNetworkPolicy", "{name: ''}", "{}", None, None),
        ("NetworkPolicy", "{name: foo}", "{}", Some("default/foo"), None),
        (
            "NetworkPolicy",
            "{name: knp.default.a.b, namespace: n}",
            "{}",
            Some("n/knp.default.a.b"),
            Some("n/knp.default.a.b"),
        ),
        ("NetworkPolicy", "{name: foo, namespace: a.b}", "{}", None, None),
    ] {
        let text = document("projectcalico.org/v3", kind, metadata, spec);
        let named =
            |decoded: Decoded| decoded.resource().is_some().then(|| policy(&decoded).id.qualified_name());
        assert_eq!(named(manifest(&text)).as_deref(), name, "{text}");
        assert_eq!(named(stored(&text)).as_deref(), stored_name, "{text}");
    }
}

#[test]
fn stages_and_hints() {
    for (decoded, stage) in [
        (gnp("{}"), Stage::Normal { apply_on_forward: false }),
        (gnp("{applyOnForward: true}"), Stage::Normal { apply_on_forward: true }),
        (gnp("{doNotTrack: true, applyOnForward: true}"), Stage::Untracked),
        (gnp("{preDNAT: true, applyOnForward: true}"), Stage::PreDnat),
        (v1("policy", "{name: p}", "{doNotTrack: true}"), Stage::Untracked),
    ] {
        assert_eq!(policy(&decoded).stage, stage);
    }
    assert!(policy(&gnp("{performanceHints: [AssumeNeededOnEveryNode]}")).needed_everywhere);
}

/// The two files of the field report.
#[test]
fn the_policy_that_was_missing() {
    let profile = manifest(
        "- apiVersion: v1\n  kind: profile\n  metadata:\n    name: net1\n    labels:\n      role: net1\n",
    );
    let Some(Resource::Profile(profile)) = profile.resource() else { panic!("{:?}", said(&profile)) };
    assert_eq!((&*profile.name, profile.labels.get("role").map(|v| &**v)), ("net1", Some("net1")));
    let decoded = manifest(
        "- apiVersion: v1\n  kind: policy\n  metadata:\n    name: net1\n  spec:\n    order: 0\n    \
         selector: role == 'net1'\n    ingress:\n    - action: allow\n    egress:\n    - action: allow\n",
    );
    expect(&decoded, "", "net1");
    assert_eq!(policy(&decoded).selector.canonical(), "role == \"net1\"");
    assert_eq!(policy(&decoded).order, Order::new(0.0).unwrap());
}

#[test]
fn profiles() {
    for (decoded, wanted, found) in [
        (v1("profile", "{name: n/s, tags: [a, b]}", "{ingress: [{action: allow}]}"), "", Some((false, 2))),
        (v1("profile", "{name: a!}", "{}"), "error invalid-name", None),
        (v1("profile", "{name: a, tags: ['a b']}", "{}"), "error invalid-name", Some((true, 0))),
        (v1("profile", "{name: a, labels: {'~a': b}}", "{}"), "error invalid-name", Some((true, 0))),
        (v1("profile", "{name: a}", "{engress: [{action: allow}]}"), "error unknown-field", Some((true, 0))),
        (v1("profile", "{name: a}", "{ingress: [{action: next}]}"), "error invalid-value", Some((true, 0))),
        (v3("Profile", "{name: kns.default}", "{labelsToApply: {pcns.a/b: c}}"), "", Some((false, 0))),
        (
            v3("Profile", "{name: a}", "{egress: [{action: Deny, protocol: Tcp}]}"),
            "error invalid-value",
            Some((true, 0)),
        ),
    ] {
        expect(&decoded, wanted, "profile");
        let profile = match decoded.resource() {
            Some(Resource::Profile(profile)) => Some((profile.invalid, profile.tags.len())),
            _ => None,
        };
        assert_eq!(profile, found);
    }
}

#[test]
fn tiers() {
    for (metadata, spec, wanted, found) in [
        ("{name: a}", "{order: 5, defaultAction: Pass}", "", Some((5.0, TierDefault::Pass))),
        ("{name: a}", "{}", "", Some((1e6, TierDefault::Deny))),
        ("{name: a}", "{defaultAction: Allow}", "error invalid-value", Some((1e6, TierDefault::Deny))),
        ("{name: a}", "{order: first}", "error invalid-value", Some((f64::NEG_INFINITY, TierDefault::Deny))),
        ("{name: a}", "{ordre: 5}", "error unknown-field", Some((f64::NEG_INFINITY, TierDefault::Deny))),
        (
            "{name: a}",
            "{order: 5, defaultActon: Pass}",
            "error unknown-field",
            Some((5.0, TierDefault::Deny)),
        ),
        (
            "{name: a, labels: {}, x: y}",
            "{order: 5, defaultAction: Pass}",
            "error unknown-field",
            Some((5.0, TierDefault::Pass)),
        ),
        ("{name: a.b}", "{}", "error invalid-name", None),
        ("{name: default}", "{order: 1000000, defaultAction: Deny}", "", Some((1e6, TierDefault::Deny))),
        ("{name: default}", "{order: 1}", "error invalid-value", Some((1e6, TierDefault::Deny))),
        ("{name: kube-admin}", "{}", "", Some((1e3, TierDefault::Pass))),
    ] {
        let decoded = v3("Tier", metadata, spec);
        expect(&decoded, wanted, spec);
        let tier = match decoded.resource() {
            Some(Resource::Tier(tier)) => {
                assert_eq!(tier.invalid, tier.order == Order::FIRST, "{spec}");
                Some((tier.order.value(), tier.default_action))
            }
            _ => None,
        };
        assert_eq!(tier, found, "{spec}");
    }
    let text = document("projectcalico.org/v3", "Tier", "{name: a}", "{}");
    let Some(Resource::Tier(tier)) = stored(&text).resource().cloned() else { panic!() };
    assert_eq!(tier.order, Order::LAST);
}
