//! Tiers and policies in order (reference §3.7).

use super::*;

fn tiers_with(documents: &[String]) -> Vec<String> {
    let mut host = Host::new(&[&local("a", "app: web", "ipNetworks: [10.0.0.1]")]);
    for text in documents {
        host.put(text);
    }
    let forwards = host.desired().tiers("a");
    let mut backwards = Host::new(&[]);
    for text in documents.iter().rev() {
        backwards.put(text);
    }
    backwards.put(&local("a", "app: web", "ipNetworks: [10.0.0.1]"));
    assert_eq!(backwards.desired().tiers("a"), forwards);
    forwards
}

/// Reference §15, row 73.
#[test]
fn policies_of_a_tier() {
    for (what, policies, order) in [
        ("by name", vec![("pol-3", "10"), ("pol-1", "10"), ("pol-2", "10")], "pol-1 pol-2 pol-3"),
        ("by order", vec![("pol-1", "30"), ("pol-2", "20"), ("pol-3", "10")], "pol-3 pol-2 pol-1"),
        ("absent last", vec![("a", "null"), ("z", "1e9"), ("b", "null")], "z a b"),
        ("negative, broken", vec![("a", "1.5"), ("b", "1"), ("c", "-1"), ("d", "-2")], "d c b a"),
        ("as text", vec![("p10", "1"), ("p9", "1"), ("p1", "1")], "p1 p10 p9"),
    ] {
        let documents: Vec<String> =
            policies.iter().map(|(name, at)| gnp(name, &format!("order: {at}"))).collect();
        assert_eq!(tiers_with(&documents), [format!("default Deny: {order} | ")], "{what}");
    }
}

/// The tie is broken by `name/namespace/kind` as one text: `/` comes before letters and behind `-` and `.`.
#[test]
fn policies_of_one_order_and_several_kinds() {
    let np = |name: &str| v3("NetworkPolicy", &format!("name: {name}, namespace: ns"), "order: 1");
    let documents = [gnp("p", "order: 1"), np("p"), np("p-a"), gnp("pa", "order: 1"), np("o")];
    assert_eq!(tiers_with(&documents), ["default Deny: ns/o ns/p-a p ns/p pa | "]);
}

/// Unknown tiers come behind all known ones and deny; of equal order the name decides.
#[test]
fn tiers() {
    let policy = |tier: &str| gnp(&format!("{tier}.p"), &format!("tier: {tier}"));
    let mut documents: Vec<String> =
        ["kube-baseline", "default", "kube-admin", "b", "a", "late", "unknown", "an-unknown"]
            .map(policy)
            .into();
    documents.extend([
        tier("a", "order: 5, defaultAction: Pass"),
        tier("b", "order: 5"),
        tier("late", "order: 1e12, defaultAction: Deny"),
        tier("empty", "order: 1"),
    ]);
    assert_eq!(
        tiers_with(&documents),
        [
            "a Pass: a.p | ",
            "b Deny: b.p | ",
            "kube-admin Pass: kube-admin.p | ",
            "default Deny: p | ",
            "kube-baseline Pass: kube-baseline.p | ",
            "late Deny: late.p | ",
            "an-unknown Deny: an-unknown.p | ",
            "unknown Deny: unknown.p | ",
        ]
    );
}

/// Reference §15, rows 35, 73 and 91: the order, the default and the tier itself may change.
#[test]
fn tiers_change() {
    let mut host = Host::new(&[
        &local("a", "", "ipNetworks: [10.0.0.1]"),
        &gnp("a.p", "tier: a"),
        &gnp("b.p", "tier: b"),
        &tier("a", "order: 1"),
        &tier("b", "order: 2"),
    ]);
    assert_eq!(host.desired().tiers("a"), ["a Deny: a.p | ", "b Deny: b.p | "]);
    host.put(&tier("a", "order: 3, defaultAction: Pass"));
    assert_eq!(host.desired().tiers("a"), ["b Deny: b.p | ", "a Pass: a.p | "]);
    host.delete(&tier("a", ""));
    assert_eq!(host.desired().tiers("a"), ["b Deny: b.p | ", "a Deny: a.p | "]);
    host.delete(&tier("b", "")).put(&tier("a", "order: 7"));
    assert_eq!(host.desired().tiers("a"), ["a Deny: a.p | ", "b Deny: b.p | "]);
}

#[test]
fn an_update_takes_a_policy_out_of_its_former_tier() {
    let stored = |tier: &str| {
        let mut policies = resources(&gnp("p", ""));
        for resource in &mut policies {
            let Resource::Policy(policy) = resource else { panic!("{resource:?}") };
            policy.tier = tier.into();
        }
        policies
    };
    let mut host = Host::new(&[&local("a", "", "ipNetworks: [10.0.0.1]"), &tier("t", "order: 1")]);
    for (tier, line) in
        [("default", "default Deny: p | "), ("t", "t Deny: p | "), ("gone", "gone Deny: p | ")]
    {
        for policy in stored(tier) {
            host.calc.apply(Update::Put(Arc::new(policy)));
        }
        assert_eq!(host.desired().tiers("a"), [line]);
        assert_eq!(&*host.desired().policies.values().next().unwrap().tier, tier);
    }
}

/// Reference §1.4: they can be written and deleted, and are what they are.
#[test]
fn built_in_tiers_stay() {
    let mut host = Host::new(&[
        &local("a", "", "ipNetworks: [10.0.0.1]"),
        &gnp("p", ""),
        &gnp("kube-admin.p", "tier: kube-admin"),
        &gnp("kube-baseline.p", "tier: kube-baseline"),
    ]);
    let as_ever =
        ["kube-admin Pass: kube-admin.p | ", "default Deny: p | ", "kube-baseline Pass: kube-baseline.p | "];
    assert_eq!(host.desired().tiers("a"), as_ever);
    for name in ["default", "kube-admin", "kube-baseline"] {
        let other = tier(name, "order: 5000, defaultAction: Pass");
        assert_eq!(host.put(&other).desired().tiers("a"), as_ever, "{name} written");
        assert_eq!(host.delete(&other).desired().tiers("a"), as_ever, "{name} deleted");
    }
    let mut changed = resources(&tier("default", "")).remove(0);
    if let Resource::Tier(tier) = &mut changed {
        tier.default_action = crate::model::TierDefault::Pass;
    }
    host.calc.apply(Update::Put(Arc::new(changed)));
    assert_eq!(host.desired().tiers("a")[1], "default Pass: p | ");
    assert_eq!(host.delete(&tier("default", "")).desired().tiers("a"), as_ever);
}

/// Reference §15, row 34: staged policies leave no trace.
#[test]
fn staged_policies_are_not_there() {
    let staged = v3("StagedGlobalNetworkPolicy", "name: s", "");
    assert!(tiers_with(std::slice::from_ref(&staged)).is_empty());
    assert_eq!(tiers_with(&[staged, gnp("p", "")]), ["default Deny: p | "]);
}

/// Reference §15, row 43: neighbours keep their selectors, by which they are grouped.
#[test]
fn policies_keep_their_selectors_in_order() {
    let mut host = Host::new(&[&local("a", "a: x, b: x", "ipNetworks: [10.0.0.1]")]);
    for (name, order, selector) in
        [("a2", 4, "has(a)"), ("b2", 3, " has( b ) "), ("b1", 2, "has(b)"), ("a1", 1, "has(a)")]
    {
        host.put(&gnp(name, &format!("order: {order}, selector: '{selector}'")));
    }
    let desired = host.desired();
    let in_order = &desired.endpoint("a").tiers[0].ingress;
    let selectors: Vec<&str> = in_order.iter().map(|id| &*desired.policies[id].selector).collect();
    assert_eq!(selectors, ["has(a)", "has(b)", "has(b)", "has(a)"]);
}
