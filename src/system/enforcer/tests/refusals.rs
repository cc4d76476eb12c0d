//! Chains that the kernel refuses.

use super::*;

#[tokio::test]
async fn refused_chains_are_closed_and_nothing_else() {
    let pi = |name: &str| format!("chain cali-pi-gnp/{name} of the filter table for IPv4");
    let a: (&[Fault], Vec<String>, Closed) = (&[rule("-p 99 ")], vec![pi("a")], &[(V4, "cali-pi-gnp/a")]);
    let v6 = Fault::Rule { version: V6, text: "-p 99 ".to_owned() };
    let of_v6 = "chain cali-pi-gnp/a of the filter table for IPv6".to_owned();
    let endpoint = "chain cali-tw-cali1 of the filter table for IPv4".to_owned();
    let rows: [(&str, &[Fault], Vec<String>, Closed); 6] = [
        ("a parse error", a.0, a.1.clone(), a.2),
        ("a failed commit", &[commit("-p 99 ")], a.1, a.2),
        ("of the other family", std::slice::from_ref(&v6), vec![of_v6.clone()], &[(V6, "cali-pi-gnp/a")]),
        (
            "of both",
            &[v6.clone(), commit("-p 99 ")],
            vec![pi("a"), of_v6],
            &[(V4, "cali-pi-gnp/a"), (V6, "cali-pi-gnp/a")],
        ),
        (
            "several",
            &[commit("-p 99 "), rule("-p 51 ")],
            vec![pi("a"), pi("b")],
            &[(V4, "cali-pi-gnp/a"), (V4, "cali-pi-gnp/b")],
        ),
        ("an endpoint's", &[commit("-A cali-tw-cali1 ")], vec![endpoint], &[(V4, "cali-tw-cali1")]),
    ];
    let changed = Host::plain().with("a", Says::Protocol(99));
    for (case, faults, parts, closed) in rows {
        // On a host that has nothing yet, and on one that had another policy.
        for is_new in [true, false] {
            let faulty = if is_new { kernel() } else { settled(&Host::plain()).await.0 };
            faulty.state().faults = faults.to_vec();
            let mut enforcer = Enforcer::new(faulty.clone());
            let mut wanted = changed.clone();
            if !is_new {
                wanted = wanted.with("b", Says::Protocol(51));
                // It is written only where it changes.
                wanted.endpoints[0].1.reverse();
                faulty.meddle(&Meddling::Table(
                    V4,
                    Filter,
                    "*filter\n:cali-pi-gnp/b - -\nCOMMIT\n".to_owned(),
                ));
            }
            let (applied, result) = enforcer.apply(&wanted.desired()).await;
            assert!(result.is_ok(), "{case}, new {is_new}: {result:?}");
            assert!(applied.quarantine_changed && !applied.hopeless, "{case}");
            assert_eq!(refused(&enforcer), parts, "{case}, new {is_new}");
            assert_ideal_but(&faulty, &wanted, closed);
            // It stays so, at no cost, until it is tried again.
            faulty.calls();
            let (applied, result) = enforcer.apply(&wanted.desired()).await;
            assert!(result.is_ok() && !applied.quarantine_changed);
            assert_eq!(faulty.calls(), [], "{case}");
            enforcer.retry_refused();
            let (applied, result) = enforcer.apply(&wanted.desired()).await;
            assert!(result.is_ok() && applied.quarantine_changed, "{case}");
            assert_ideal_but(&faulty, &wanted, closed);
            faulty.mend();
            enforcer.retry_refused();
            enforcer.apply(&wanted.desired()).await.1.unwrap();
            assert_ideal_but(&faulty, &wanted, &[]);
        }
    }
}

#[tokio::test]
async fn who_is_refused_is_known_and_released_when_it_changes() {
    let (faulty, mut enforcer) = settled(&Host::plain()).await;
    faulty.fail(rule("-p 99 "));
    let host = Host::plain().with("a", Says::Protocol(99));
    enforcer.apply(&host.desired()).await.1.unwrap();
    let (_, quarantined) = enforcer.quarantine().iter().next().unwrap();
    assert!(quarantined.reason.contains("unknown protocol"), "{}", quarantined.reason);
    let culprits: Vec<String> = quarantined
        .culprits()
        .into_iter()
        .map(|(name, place)| {
            format!("{name} at {}", place.map_or_else(String::new, |place| place.to_string()))
        })
        .collect();
    assert_eq!(culprits, ["GlobalNetworkPolicy a at test.yaml:1:1"]);
    // Something else changes.
    let other = host.clone().with("b", Says::Protocol(52));
    let (applied, result) = enforcer.apply(&other.desired()).await;
    assert!(result.is_ok() && !applied.quarantine_changed && applied.table_errors == 0);
    assert_ideal_but(&faulty, &other, &[(V4, "cali-pi-gnp/a")]);
    // From one that is refused to another.
    faulty.fail(rule("-p 98 "));
    let worse = other.clone().with("a", Says::Protocol(98));
    let (applied, result) = enforcer.apply(&worse.desired()).await;
    assert!(result.is_ok() && applied.table_errors > 0);
    assert_ideal_but(&faulty, &worse, &[(V4, "cali-pi-gnp/a")]);
    let mended = other.with("a", Says::Protocol(50));
    let (applied, result) = enforcer.apply(&mended.desired()).await;
    assert!(result.is_ok() && applied.quarantine_changed && applied.table_errors == 0);
    assert_eq!(refused(&enforcer), Vec::<String>::new());
    assert_ideal_but(&faulty, &mended, &[]);
}

/// One leaves quarantine as another enters it.
#[tokio::test]
async fn a_quarantine_of_the_same_size_has_changed_all_the_same() {
    let (faulty, mut enforcer) = settled(&Host::plain()).await;
    faulty.fail(rule("-p 99 "));
    enforcer.apply(&Host::plain().with("a", Says::Protocol(99)).desired()).await.1.unwrap();
    let (applied, result) = enforcer.apply(&Host::plain().with("b", Says::Protocol(99)).desired()).await;
    assert!(result.is_ok() && applied.quarantine_changed);
}

#[tokio::test]
async fn a_refused_chain_of_every_host_closes_nothing() {
    for is_new in [true, false] {
        let faulty = if is_new { kernel() } else { settled(&Host::plain()).await.0 };
        if !is_new {
            faulty.meddle(&Meddling::Table(V4, Filter, "*filter\n:cali-wl-to-host - -\nCOMMIT\n".to_owned()));
        }
        faulty.fail(commit("-A cali-wl-to-host "));
        faulty.fail(commit("-p 99 "));
        let mut enforcer = Enforcer::new(faulty.clone());
        let host = Host::plain().with("a", Says::Protocol(99)).with("b", Says::Protocol(52));
        let (applied, result) = enforcer.apply(&host.desired()).await;
        assert_eq!(
            result.unwrap_err().to_string().split(':').next(),
            Some("the filter table for IPv4 can't be written")
        );
        assert!(applied.hopeless);
        // The policy's chain is closed for itself.
        assert_eq!(refused(&enforcer), ["chain cali-pi-gnp/a of the filter table for IPv4"]);
        let state = faulty.state();
        let ideal = ideal(&host.desired());
        for table in TableName::ALL {
            assert_eq!(state.kernel.save_table(V6, table), ideal.save_table(V6, table));
            assert!(table == Filter || state.kernel.save_table(V4, table) == ideal.save_table(V4, table));
        }
        assert_eq!(state.kernel.save_sets(), ideal.save_sets());
        for chain in ["cali-pi-gnp/b", "cali-tw-cali1", "cali-FORWARD"] {
            assert_eq!(state.kernel.rules(V4, Filter, chain), ideal.rules(V4, Filter, chain), "{chain}");
        }
        let closed = state.kernel.rules(V4, Filter, "cali-pi-gnp/a").unwrap();
        assert!(closed[0].contains(CLOSED));
        // Searched once, not by each try.
        let searches = state.calls.iter().filter(|(_, text)| text == "V4 *filter\nCOMMIT\n").count();
        assert_eq!(searches, 1);
    }
}

#[tokio::test]
async fn a_table_that_is_refused_as_such_is_not_searched() {
    let (faulty, mut enforcer) = settled(&Host::plain()).await;
    faulty.fail(commit("*filter"));
    let host = Host::plain().with("a", Says::Protocol(52));
    let (applied, result) = enforcer.apply(&host.desired()).await;
    assert!(result.is_err() && applied.hopeless);
    assert_eq!(refused(&enforcer), Vec::<String>::new());
    let restores = faulty
        .calls()
        .iter()
        .filter(|(call, text)| *call == Call::RestoreTable && text.starts_with("V4"))
        .count();
    assert_eq!(restores, 3, "whole, whole, empty");
    assert_eq!(enforcer.was_written_to(), Some(false));
}

/// Where another is tried again.
#[tokio::test]
async fn a_table_is_searched_once() {
    let faulty = kernel();
    faulty.fail(commit("-A cali-wl-to-host "));
    faulty.fail(Fault::Rule { version: V6, text: "-p 50 ".to_owned() });
    let mut enforcer = Enforcer::new(faulty.clone());
    let (applied, result) = enforcer.apply(&Host::plain().desired()).await;
    assert!(result.is_err() && applied.hopeless);
    assert_eq!(refused(&enforcer), ["chain cali-pi-gnp/a of the filter table for IPv6"]);
    let searches = faulty.calls().iter().filter(|(_, text)| text == "V4 *filter\nCOMMIT\n").count();
    assert_eq!(searches, 1);
}

/// A part that can't be written may still lead to what would be removed.
#[tokio::test]
async fn nothing_is_removed_beside_what_can_not_be_written() {
    let (faulty, mut enforcer) = settled(&Host::plain()).await;
    let old = "*filter\n:cali-old - -\n-A cali-old -j DROP\n:cali-wl-to-host - -\n-A cali-wl-to-host -j cali-old\nCOMMIT\n";
    faulty.meddle(&Meddling::Table(V4, Filter, old.to_owned()));
    faulty.fail(commit("-A cali-wl-to-host "));
    for _ in 0..2 {
        enforcer.distrust_tables();
        let (applied, result) = enforcer.apply(&Host::plain().desired()).await;
        assert!(result.is_err() && applied.hopeless);
        // The search wrote nothing but nothing, which is not counted.
        assert_eq!(enforcer.was_written_to(), Some(false));
        assert_eq!(faulty.state().kernel.rules(V4, Filter, "cali-old"), Some(&["-j DROP".to_owned()][..]));
    }
    assert_eq!(refused(&enforcer), Vec::<String>::new());
}

#[tokio::test]
async fn a_busy_chain_stays_empty() {
    let (faulty, mut enforcer) = settled(&Host::plain()).await;
    faulty.fail(Fault::Busy("cali-pi-gnp/a".to_owned()));
    let mut host = Host::plain();
    host.endpoints.remove(0);
    let (applied, result) = enforcer.apply(&host.desired()).await;
    assert!(result.is_ok() && applied.quarantine_changed && !applied.hopeless, "{result:?}");
    let kept = ["IPv4", "IPv6"]
        .map(|family| format!("the removal of chain cali-pi-gnp/a from the filter table for {family}"));
    assert_eq!(refused(&enforcer), kept);
    assert!(enforcer.quarantine().iter().all(|(_, why)| why.culprits().is_empty()));
    let mut tidied = faulty.state().kernel.clone();
    for version in [V4, V6] {
        assert_eq!(tidied.rules(version, Filter, "cali-pi-gnp/a"), Some(&[][..]));
        let delete = "*filter\n--delete-chain cali-pi-gnp/a\nCOMMIT\n";
        tidied.restore_table(version, Filter, delete).unwrap();
    }
    assert_eq!(shown(&tidied), shown(&ideal(&host.desired())));
    // It is wanted again.
    let (applied, result) = enforcer.apply(&Host::plain().desired()).await;
    assert!(result.is_ok() && applied.quarantine_changed);
    assert_ideal_but(&faulty, &Host::plain(), &[]);
}

/// Chains that go together lead to each other: a busy one keeps no other.
#[tokio::test]
async fn one_busy_chain_keeps_no_other() {
    let (faulty, mut enforcer) = settled(&Host::plain()).await;
    let old =
        "*filter\n:cali-a - -\n:cali-b - -\n:cali-c - -\n-A cali-b -j cali-a\n-A cali-c -g cali-b\nCOMMIT\n";
    faulty.meddle(&Meddling::Table(V4, Filter, old.to_owned()));
    faulty.fail(Fault::Busy("cali-c".to_owned()));
    enforcer.distrust_tables();
    enforcer.apply(&Host::plain().desired()).await.1.unwrap();
    assert_eq!(refused(&enforcer), ["the removal of chain cali-c from the filter table for IPv4"]);
}

/// The search for what is refused ends where the tool does not answer.
#[tokio::test]
async fn a_search_that_takes_too_long_closes_nothing_else() {
    let host = Host::plain().with("a", Says::Protocol(99));
    // Eight tables, the refused one again, nothing; then pieces.
    for skip in 8..18 {
        let faulty = kernel();
        let mut enforcer = Enforcer::new(faulty.clone());
        faulty.fail(rule("-p 99 "));
        faulty.fail(Fault::Next { call: Call::RestoreTable, skip, left: 1000, error: late(), done: false });
        let (applied, result) = enforcer.apply(&host.desired()).await;
        assert!(result.is_err() && !applied.hopeless, "{skip}");
        let a = "chain cali-pi-gnp/a of the filter table for IPv4";
        assert!(refused(&enforcer).iter().all(|part| part == a), "{skip}");
        faulty.mend();
        faulty.fail(rule("-p 99 "));
        enforcer.apply(&host.desired()).await.1.unwrap();
        assert_eq!(refused(&enforcer), [a]);
        assert_ideal_but(&faulty, &host, &[(V4, "cali-pi-gnp/a")]);
    }
}
