//! Sets that the kernel refuses, or does not let go.

use super::*;

#[tokio::test]
async fn a_refused_set_closes_what_matches_by_it() {
    for (is_new, failures_before) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let faulty = if is_new { kernel() } else { settled(&Host::plain()).await.0 };
        // Then the second try carries out lines before it comes to those that are refused.
        faulty.fail(next(Call::RestoreSets, failures_before, failed(1, "not now")));
        for start in ["add cali40s:y", "create cali40s:z "] {
            faulty.fail(Fault::SetLine(start.to_owned()));
        }
        let mut enforcer = Enforcer::new(faulty.clone());
        let mut host = Host::plain().with("a", Says::From("s:y")).with("b", Says::From("s:z"));
        for id in ["s:w", "s:y", "s:z", "s:zz"] {
            host.sets.push((id, vec!["10.0.0.2/32".to_owned(), "10.0.0.3/32".to_owned()]));
        }
        let (applied, result) = enforcer.apply(&host.desired()).await;
        assert!(result.is_ok() && applied.quarantine_changed, "{result:?}");
        assert_eq!(refused(&enforcer), ["set cali40s:y", "set cali40s:z"]);
        let culprits: Vec<_> = enforcer.quarantine().iter().flat_map(|(_, why)| why.culprits()).collect();
        assert_eq!(culprits[0], ("the set of selector of s:y".to_owned(), None));
        {
            let state = faulty.state();
            // Also what the sets hold: one that was made and not filled is gone again.
            let sets = state.kernel.save_sets();
            assert!(sets.contains("create cali40s:zz ") && !sets.contains("create cali40s:y "), "{sets}");
            assert_eq!(state.refusals, Vec::<String>::new(), "no restore names what is not there");
        }
        for name in ["a", "b"] {
            let rules =
                faulty.state().kernel.rules(V4, Filter, &format!("cali-pi-gnp/{name}")).unwrap().to_vec();
            assert!(rules.len() == 1 && rules[0].contains(CLOSED) && rules[0].ends_with("DROP"), "{rules:?}");
        }
        faulty.mend();
        enforcer.retry_refused();
        enforcer.apply(&host.desired()).await.1.unwrap();
        assert_ideal_but(&faulty, &host, &[]);
    }
}

/// A host with so many sets that nothing matches by.
fn with_sets(count: usize) -> Host {
    const IDS: [&str; 25] = [
        "s:01", "s:02", "s:03", "s:04", "s:05", "s:06", "s:07", "s:08", "s:09", "s:10", "s:11", "s:12",
        "s:13", "s:14", "s:15", "s:16", "s:17", "s:18", "s:19", "s:20", "s:21", "s:22", "s:23", "s:24",
        "s:25",
    ];
    let mut host = Host::plain();
    host.sets.extend(IDS.iter().take(count).map(|id| (*id, vec![])));
    host
}

#[tokio::test]
async fn sets_go_last_and_a_few_at_a_time() {
    // Each is there for both families.
    let (faulty, mut enforcer) = settled(&with_sets(12)).await;
    let host = Host::plain().with("a", Says::Protocol(52));
    for (round, unfinished) in [true, true, false].into_iter().enumerate() {
        let (applied, result) = enforcer.apply(&host.desired()).await;
        assert!(result.is_ok());
        assert_eq!(applied.unfinished, unfinished);
        let calls = faulty.calls();
        let (last, text) = calls.last().unwrap();
        assert_eq!(*last, Call::RestoreSets);
        assert_eq!(text.matches("destroy ").count(), if unfinished { 10 } else { 4 });
        assert_eq!(calls.len(), if round == 0 { 3 } else { 1 });
    }
    assert_ideal_but(&faulty, &host, &[]);
}

#[tokio::test]
async fn a_set_that_is_held_is_left_until_sets_are_read() {
    let (faulty, mut enforcer) = settled(&with_sets(2)).await;
    faulty.fail(Fault::SetLine("destroy cali40s:02".to_owned()));
    // Somebody else has destroyed one.
    faulty.meddle(&Meddling::Sets("destroy cali60s:01".to_owned()));
    let (applied, result) = enforcer.apply(&Host::plain().desired()).await;
    assert!(result.is_ok() && !applied.unfinished);
    let sets = faulty.state().kernel.save_sets();
    assert!(sets.contains("cali40s:02") && !sets.contains("cali60s:02"), "{sets}");
    faulty.mend();
    faulty.calls();
    enforcer.apply(&Host::plain().desired()).await.1.unwrap();
    assert_eq!(faulty.calls(), []);
    // The one that was destroyed is known to be gone.
    faulty.state().refusals.clear();
    enforcer.apply(&with_sets(1).desired()).await.1.unwrap();
    let sets = faulty.state().kernel.save_sets();
    assert!(sets.contains("create cali40s:01 ") && sets.contains("create cali60s:01 "), "{sets}");
    assert_eq!(faulty.state().refusals, Vec::<String>::new());
    enforcer.distrust_sets();
    enforcer.apply(&Host::plain().desired()).await.1.unwrap();
    assert_ideal_but(&faulty, &Host::plain(), &[]);
}

#[tokio::test]
async fn sets_stay_while_a_table_fails() {
    let (faulty, mut enforcer) = settled(&with_sets(2)).await;
    faulty.fail(commit("*filter"));
    let host = Host::plain().with("a", Says::Protocol(52));
    assert!(enforcer.apply(&host.desired()).await.1.is_err());
    assert!(faulty.calls().iter().all(|(_, text)| !text.contains("destroy")));
    faulty.mend();
    enforcer.apply(&host.desired()).await.1.unwrap();
    assert_ideal_but(&faulty, &host, &[]);
}

/// More leftovers than are destroyed at a time, ahead of a set whose type is in the way.
#[tokio::test]
async fn a_set_in_the_way_is_destroyed_at_once() {
    let faulty = kernel();
    let old: String =
        (10..40).map(|number| format!("create cali40old:{number} hash:net family inet\n")).collect();
    faulty.meddle(&Meddling::Sets(format!("{old}create cali40s:x hash:ip,port family inet maxelem 1048576")));
    let (applied, result) = Enforcer::new(faulty.clone()).apply(&Host::plain().desired()).await;
    assert!(result.is_ok() && !applied.quarantine_changed, "{result:?}");
    assert_ideal_but(&faulty, &Host::plain(), &[]);
    // It is held: what is programmed is the same under another name, and said.
    let faulty = kernel();
    faulty.meddle(&Meddling::Sets("create cali40s:x hash:ip,port family inet maxelem 1048576".to_owned()));
    faulty.fail(Fault::SetLine("destroy cali40s:x".to_owned()));
    let mut enforcer = Enforcer::new(faulty.clone());
    let (applied, result) = enforcer.apply(&Host::plain().desired()).await;
    assert!(result.is_err() && !applied.quarantine_changed);
    let rules = faulty.state().kernel.rules(V4, Filter, "cali-pi-gnp/both").unwrap().to_vec();
    assert!(rules[0].contains("--match-set cali40aside:"), "{rules:?}");
    faulty.mend();
    enforcer.apply(&Host::plain().desired()).await.1.unwrap();
    assert_ideal_but(&faulty, &Host::plain(), &[]);
}

/// The search for what is refused ends where the tool does not answer.
#[tokio::test]
async fn a_search_that_takes_too_long_leaves_out_no_other() {
    let mut host = Host::plain().with("a", Says::From("s:y"));
    host.sets.push(("s:y", vec!["10.0.0.2/32".to_owned()]));
    // Twice all that there is, then the one for itself, then the others.
    for (skip, expected) in [(1, vec![]), (2, vec![]), (3, vec!["set cali40s:y"])] {
        let faulty = kernel();
        let mut enforcer = Enforcer::new(faulty.clone());
        faulty.fail(Fault::SetLine("add cali40s:y".to_owned()));
        faulty.fail(Fault::Next { call: Call::RestoreSets, skip, left: 1000, error: late(), done: false });
        let (_, result) = enforcer.apply(&host.desired()).await;
        assert!(result.is_err(), "{skip}");
        assert_eq!(refused(&enforcer), expected, "{skip}");
        faulty.mend();
        enforcer.retry_refused();
        enforcer.apply(&host.desired()).await.1.unwrap();
        assert_ideal_but(&faulty, &host, &[]);
    }
}
