use super::*;
use crate::config::{Config, InsertMode};
use crate::model::IpVersion::{V4, V6};
use crate::model::TierDefault;
use crate::policy::{ActivePolicy, ActiveSide, IpSet, Member, SetId, SetKind};
use crate::rules::compile;
use crate::rules::fixture::{host, local, place, policy, tier, workload, workload_id};
use crate::rules::ruleset::TableName::{Filter, Mangle, Nat, Raw};
use crate::rules::text::rule_text;

const SET: &str = "s:x";

/// Endpoints `cali1…`, governed by policy `a`, which lets in what is in a set with these members.
fn desired(endpoints: &[&'static str], members: &[&str]) -> Desired {
    let mut from_set: ActivePolicy = policy("a", "a");
    for rule in &mut from_set.ingress {
        let source = ActiveSide { sets: vec![SetId(SET.into())], ..ActiveSide::default() };
        Arc::make_mut(rule).source = source;
    }
    let local = |name: &&str| local(workload(name), vec![tier("default", TierDefault::Deny, &["a"])]);
    let mut policy = host(endpoints.iter().map(local).collect(), vec![from_set], vec![], vec![]);
    let id = SetId(SET.into());
    let members = members.iter().map(|net| Member::Net(net.parse().unwrap())).collect();
    let set = IpSet { id: id.clone(), kind: SetKind::Nets, members, meaning: "role == 'x'".into() };
    policy.sets.insert(id, Arc::new(set));
    let compiled = |version| Arc::new(compile(&policy, &Config::default(), version).unwrap());
    Desired { rulesets: [V4, V6].map(compiled).to_vec(), insert_mode: InsertMode::Insert, routes: None }
}

fn plain() -> Desired {
    desired(&["cali1"], &["10.0.0.1/32"])
}

fn chain<'a>(
    desired: &'a Desired,
    version: IpVersion,
    table: TableName,
    name: &str,
) -> Option<&'a Arc<Chain>> {
    let ruleset = desired.rulesets.iter().find(|ruleset| ruleset.version == version)?;
    let table = ruleset.tables.iter().find(|candidate| candidate.name == table)?;
    table.chains.get(&ChainName::found(name)?)
}

fn set(desired: &Desired) -> Option<&Arc<KernelSet>> {
    desired.rulesets[0].sets.get(&IpSetName::new(V4, &SetId(SET.into())))
}

fn texts(chain: &Chain) -> Vec<String> {
    chain.rules.iter().map(rule_text).collect()
}

const DROP: &str = "-m comment --comment \"felix-rs: refused by the kernel\" --jump DROP";

#[test]
fn what_closes_and_what_does_not() {
    // Two that begin alike, so that the way to them begins with a rule to a child.
    let desired = desired(&["cali11", "cali12", "cali21", "cali22"], &[]);
    for (table, name, expected) in [
        (Filter, "cali-pi-gnp/a", Some(&[DROP][..])),
        (Filter, "cali-po-gnp/a", Some(&[DROP])),
        (Filter, "cali-tw-cali11", Some(&[DROP])),
        (Filter, "cali-fw-cali11", Some(&[DROP])),
        (Filter, "cali-from-wl-dispatch", Some(&[DROP])),
        (Filter, "cali-from-wl-dispatch-1", Some(&[DROP])),
        (Nat, "cali-nat-outgoing", None),
        (Filter, "cali-FORWARD", None),
        (Filter, "cali-wl-to-host", None),
        (Filter, "cali-cidr-block", None),
        (Raw, "cali-PREROUTING", None),
        (Mangle, "cali-PREROUTING", None),
    ] {
        let wanted = chain(&desired, V4, table, name).unwrap_or_else(|| panic!("no chain {name}"));
        let closed = Quarantine::default().close_chain(V4, table, wanted, "why");
        let closed = closed.map(|chain| texts(&chain));
        assert_eq!(
            closed.as_deref(),
            expected.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).as_deref(),
            "{name}"
        );
    }
}

#[test]
fn a_translation_is_left_out() {
    let rule = Rule::always(Target::Masquerade { ports: None }, &Provenance::Nat);
    let wanted = Arc::new(Chain { name: ChainName::fixed("cali-nat-outgoing"), rules: vec![rule] });
    let closed = Quarantine::default().close_chain(V4, Nat, &wanted, "why").unwrap();
    assert_eq!(texts(&closed), Vec::<String>::new());
}

#[test]
fn a_part_is_put_in_once() {
    let desired = plain();
    let wanted = chain(&desired, V4, Filter, "cali-pi-gnp/a").unwrap();
    let mut quarantine = Quarantine::default();
    let closed = quarantine.close_chain(V4, Filter, wanted, "first").unwrap();
    // The stand-in is refused as well: it is not taken for what is wanted.
    assert!(quarantine.close_chain(V4, Filter, &closed, "second").is_none());
    quarantine.release_changed(&desired);
    assert_eq!(quarantine.iter().map(|(_, why)| &*why.reason).collect::<Vec<_>>(), ["first"]);
    assert!(quarantine.keep_chain(V4, Filter, "cali-old", "why"));
    assert!(!quarantine.keep_chain(V4, Filter, "cali-old", "why"));
    assert!(!quarantine.keep_chain(V4, Filter, "felix-old", "why"), "no name of ours");
    assert!(quarantine.leave_out_set(set(&desired).unwrap(), "why"));
    assert!(!quarantine.leave_out_set(set(&desired).unwrap(), "why"));
    assert_eq!((quarantine.len(), quarantine.is_empty()), (3, false));
    quarantine.clear();
    assert!(quarantine.is_empty());
}

#[test]
fn what_stands_in_stands_there_only() {
    let desired = plain();
    let mut quarantine = Quarantine::default();
    let unchanged = quarantine.applied_to(&desired);
    assert!(Arc::ptr_eq(&unchanged.rulesets[0], &desired.rulesets[0]));
    let wanted = chain(&desired, V6, Filter, "cali-tw-cali1").unwrap();
    quarantine.close_chain(V6, Filter, wanted, "why").unwrap();
    quarantine.keep_chain(V4, Nat, "cali-old", "why");
    let applied = quarantine.applied_to(&desired);
    assert_eq!(texts(chain(&applied, V6, Filter, "cali-tw-cali1").unwrap()), [DROP]);
    assert!(chain(&applied, V4, Nat, "cali-old").unwrap().rules.is_empty());
    for (version, table) in [(V6, Nat), (V4, Filter), (V4, Raw)] {
        assert!(chain(&applied, version, table, "cali-old").is_none());
    }
    for (version, name) in [(V4, "cali-tw-cali1"), (V6, "cali-fw-cali1"), (V6, "cali-pi-gnp/a")] {
        let (applied, desired) =
            (chain(&applied, version, Filter, name), chain(&desired, version, Filter, name));
        assert!(Arc::ptr_eq(applied.unwrap(), desired.unwrap()), "{name}");
    }
}

#[test]
fn nothing_matches_by_a_set_that_is_left_out() {
    let desired = plain();
    let mut quarantine = Quarantine::default();
    quarantine.leave_out_set(set(&desired).unwrap(), "why");
    let applied = quarantine.applied_to(&desired);
    assert!(set(&applied).is_none());
    assert_eq!(texts(chain(&applied, V4, Filter, "cali-pi-gnp/a").unwrap()), [DROP]);
    for (version, name) in [(V4, "cali-po-gnp/a"), (V6, "cali-pi-gnp/a"), (V4, "cali-FORWARD")] {
        let (applied, desired) =
            (chain(&applied, version, Filter, name), chain(&desired, version, Filter, name));
        assert!(Arc::ptr_eq(applied.unwrap(), desired.unwrap()), "{name}");
    }
    assert_eq!(applied.rulesets[1].sets.keys().count(), desired.rulesets[1].sets.keys().count());
}

#[test]
fn what_changed_is_tried_again() {
    let before = plain();
    let mut all = Quarantine::default();
    all.close_chain(V4, Filter, chain(&before, V4, Filter, "cali-tw-cali1").unwrap(), "why").unwrap();
    all.close_chain(V4, Filter, chain(&before, V4, Filter, "cali-pi-gnp/a").unwrap(), "why").unwrap();
    all.keep_chain(V4, Filter, "cali-tw-cali2", "why");
    all.leave_out_set(set(&before).unwrap(), "why");
    let (endpoint, policy) = ("chain cali-tw-cali1", "chain cali-pi-gnp/a");
    let (kept, left_out) = ("the removal of chain cali-tw-cali2", "set cali40s:x");
    let only_v6 = plain().restricted_to(&[V6]);
    let rows: [(&str, Desired, &[&str]); 5] = [
        // Compiled anew, and the same.
        ("nothing", plain(), &[endpoint, policy, kept, left_out]),
        ("a member", desired(&["cali1"], &["10.0.0.2/32"]), &[endpoint, policy, kept]),
        (
            "the kept one is wanted",
            desired(&["cali1", "cali2"], &["10.0.0.1/32"]),
            &[endpoint, policy, left_out],
        ),
        ("an endpoint left", desired(&["cali3"], &["10.0.0.1/32"]), &[policy, kept, left_out]),
        ("the family is left alone", only_v6, &[]),
    ];
    for (case, after, expected) in rows {
        let mut quarantine = all.clone();
        quarantine.release_changed(&after);
        let parts: Vec<String> = quarantine.parts().map(Part::to_string).collect();
        assert_eq!(parts.len(), expected.len(), "{case}: {parts:?}");
        assert!(
            parts.iter().zip(expected_order(expected)).all(|(part, start)| part.starts_with(start)),
            "{case}: {parts:?}"
        );
    }
}

/// As parts are sorted.
fn expected_order<'a>(expected: &[&'a str]) -> Vec<&'a str> {
    let mut sorted = expected.to_vec();
    sorted.sort_by_key(|text| (text.starts_with("set"), text.starts_with("the removal"), *text));
    sorted
}

#[test]
fn somebody_is_responsible() {
    let desired = plain();
    let mut quarantine = Quarantine::default();
    for name in ["cali-tw-cali1", "cali-pi-gnp/a", "cali-from-wl-dispatch"] {
        quarantine.close_chain(V4, Filter, chain(&desired, V4, Filter, name).unwrap(), "why").unwrap();
    }
    quarantine.keep_chain(V4, Filter, "cali-old", "why");
    quarantine.leave_out_set(set(&desired).unwrap(), "why");
    let endpoint = format!("endpoint {}", workload_id("cali1"));
    let culprits: Vec<Vec<(String, Option<Place>)>> =
        quarantine.iter().map(|(_, quarantined)| quarantined.culprits()).collect();
    assert_eq!(
        culprits,
        [
            vec![(endpoint.clone(), None)],
            vec![("GlobalNetworkPolicy a".to_owned(), Some(place()))],
            vec![(endpoint, None)],
            vec![],
            vec![("the set of role == 'x'".to_owned(), None)],
        ]
    );
}
