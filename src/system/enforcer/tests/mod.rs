//! An enforcer over a kernel that fails in one way each.

mod faulty;
mod host;
mod random;
mod refusals;
mod sets;

use super::*;
use crate::model::IpVersion::{V4, V6};
use crate::rules::ruleset::TableName::Filter;
use crate::sync::fake_kernel::FakeKernel;
use faulty::{Call, Fault, Faulty, Meddling, failed, late};
use host::{Host, Says, foreign_kernel, ideal, shown};

const CLOSED: &str = "felix-rs: refused by the kernel";

/// Chains of filter tables.
type Closed<'a> = &'a [(IpVersion, &'a str)];

fn kernel() -> Faulty {
    let faulty = Faulty::default();
    faulty.state().kernel = foreign_kernel();
    faulty
}

/// A kernel that has what `host` wants, and who made it so.
async fn settled(host: &Host) -> (Faulty, Enforcer<Faulty>) {
    let faulty = kernel();
    let mut enforcer = Enforcer::new(faulty.clone());
    let (_, result) = enforcer.apply(&host.desired()).await;
    result.unwrap();
    faulty.calls();
    (faulty, enforcer)
}

fn refused(enforcer: &Enforcer<Faulty>) -> Vec<String> {
    enforcer.quarantine().parts().map(Part::to_string).collect()
}

fn rule(text: &str) -> Fault {
    Fault::Rule { version: V4, text: text.to_owned() }
}

fn commit(text: &str) -> Fault {
    Fault::Commit { version: V4, text: text.to_owned() }
}

fn next(call: Call, left: usize, error: ToolError) -> Fault {
    Fault::Next { call, skip: 0, left, error, done: false }
}

/// The kernel has what is desired but for these chains of the filter table, which are closed.
fn assert_ideal_but(faulty: &Faulty, host: &Host, closed: Closed<'_>) {
    let state = faulty.state();
    let ideal = ideal(&host.desired());
    let without = |kernel: &FakeKernel| -> String {
        let is_closed = |table: IpVersion, line: &str| {
            closed.iter().any(|(version, chain)| {
                *version == table
                    && line.strip_prefix("-A ").is_some_and(|rule| rule.starts_with(&format!("{chain} ")))
            })
        };
        let tables = [V4, V6].into_iter().flat_map(|version| {
            TableName::ALL.into_iter().map(move |table| (version, kernel.save_table(version, table)))
        });
        let open = tables.flat_map(|(version, text)| {
            text.lines()
                .filter(|line| !is_closed(version, line))
                .map(|line| format!("{line}\n"))
                .collect::<Vec<_>>()
        });
        open.collect::<String>() + &kernel.save_sets()
    };
    assert_eq!(without(&state.kernel), without(&ideal));
    for (version, chain) in closed {
        let rules = state.kernel.rules(*version, Filter, chain).unwrap_or_else(|| panic!("no chain {chain}"));
        let is_drop = |rule: &String| rule.contains(CLOSED) && rule.ends_with("--jump DROP");
        assert!(rules.len() == 1 && rules.iter().all(is_drop), "{chain}: {rules:?}");
    }
    assert_eq!(state.refusals, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_to_do_costs_nothing() {
    let host = Host::plain();
    let (faulty, mut enforcer) = settled(&host).await;
    assert_ideal_but(&faulty, &host, &[]);
    assert_eq!(enforcer.was_written_to(), Some(false));
    let (applied, result) = enforcer.apply(&host.desired()).await;
    assert!(
        result.is_ok() && applied.writes.is_empty() && !applied.quarantine_changed && !applied.unfinished
    );
    assert_eq!(faulty.calls(), []);
}

#[tokio::test]
async fn a_restart_reads_once_and_writes_nothing() {
    let host = Host::plain();
    let (faulty, _) = settled(&host).await;
    let (applied, result) = Enforcer::new(faulty.clone()).apply(&host.desired()).await;
    result.unwrap();
    assert_eq!((applied.tables_read, applied.sets_read, applied.writes.len()), (8, true, 0));
    assert_eq!(applied.drift, Vec::<String>::new());
    let calls = faulty.calls();
    let reads = calls.iter().filter(|(call, _)| matches!(call, Call::SaveTable | Call::SaveSets)).count();
    assert_eq!((reads, calls.len()), (9, 9));
}

#[tokio::test]
async fn drift_is_named_and_mended() {
    let table = |text: &str| Meddling::Table(V4, Filter, format!("*filter\n{text}\nCOMMIT\n"));
    let hook = {
        let kernel = ideal(&Host::plain().desired());
        kernel.rules(V4, Filter, "FORWARD").unwrap()[0].clone()
    };
    let chain = "chain cali-pi-gnp/a of the filter table for IPv4";
    let rows: [(&str, Meddling, &[&str]); 7] = [
        ("a chain flushed", table(":cali-pi-gnp/a - -"), &[chain]),
        ("a rule added", table("-A cali-pi-gnp/a -j ACCEPT"), &[chain]),
        (
            "a rule edited",
            table(
                ":cali-pi-gnp/a - -\n-A cali-pi-gnp/a -m comment --comment \"cali:abcdefghij1234-_\" -j ACCEPT",
            ),
            &[chain],
        ),
        (
            "a hook deleted",
            table(&format!("-D FORWARD {hook}")),
            &["our rules in FORWARD of the filter table for IPv4"],
        ),
        (
            "a rule before ours",
            table("-I FORWARD -i eth8 -j ACCEPT"),
            &["our rules in FORWARD of the filter table for IPv4"],
        ),
        ("a rule behind ours", table("-A INPUT -i eth8 -j ACCEPT"), &[]),
        ("a member added", Meddling::Sets("add cali40s:x 10.0.0.9".to_owned()), &["set cali40s:x"]),
    ];
    for (case, meddling, expected) in rows {
        let host = Host::plain();
        let (faulty, mut enforcer) = settled(&host).await;
        faulty.meddle(&meddling);
        let theirs = foreign_rules(&faulty);
        assert_eq!(enforcer.was_written_to(), Some(matches!(meddling, Meddling::Table(..))), "{case}");
        enforcer.distrust_tables();
        enforcer.distrust_sets();
        let (applied, result) = enforcer.apply(&host.desired()).await;
        result.unwrap();
        assert_eq!(applied.drift, expected, "{case}");
        assert_eq!(foreign_rules(&faulty), theirs, "{case}");
        assert_eq!(enforcer.was_written_to(), Some(false), "{case}");
        let (again, _) = Enforcer::new(faulty.clone()).apply(&host.desired()).await;
        assert_eq!(again.writes, [], "{case}");
    }
}

/// Rules of others in the filter table, in order.
fn foreign_rules(faulty: &Faulty) -> Vec<String> {
    let saved = faulty.state().kernel.save_table(V4, Filter);
    saved
        .lines()
        .filter(|line| line.starts_with("-A ") && !line.contains("cali"))
        .map(str::to_owned)
        .collect()
}

/// All that is ours is lost at once, sets as well.
#[tokio::test]
async fn a_host_that_was_flushed_is_made_anew() {
    let host = Host::plain();
    let (faulty, mut enforcer) = settled(&host).await;
    faulty.state().kernel = foreign_kernel();
    // Nobody told us: the first write fails, for want of what was there.
    let host = host.with("both", Says::Protocol(60)).with("a", Says::From("s:x"));
    let (applied, result) = enforcer.apply(&host.desired()).await;
    result.unwrap();
    assert_eq!((applied.quarantine_changed, refused(&enforcer)), (false, vec![]));
    enforcer.distrust_tables();
    enforcer.apply(&host.desired()).await.1.unwrap();
    assert_eq!(shown(&faulty.state().kernel), shown(&ideal(&host.desired())));
}

#[tokio::test]
async fn what_fails_once_is_done_again() {
    let once = |call| next(call, 1, failed(1, "something changed under our hands"));
    for fault in [
        once(Call::RestoreTable),
        once(Call::RestoreSets),
        once(Call::SaveTable),
        once(Call::SaveSets),
        next(Call::RestoreTable, 2, failed(1, "busy")),
        next(Call::RestoreSets, 2, failed(1, "busy")),
        next(Call::RestoreSets, 1, ToolError::Io { tool: "ipset".to_owned(), error: "no memory".to_owned() }),
    ] {
        let faulty = kernel();
        let mut enforcer = Enforcer::new(faulty.clone());
        faulty.fail(fault.clone());
        let (applied, result) = enforcer.apply(&Host::plain().desired()).await;
        assert!(result.is_ok() && !applied.quarantine_changed, "{fault:?}: {result:?}");
        assert_ideal_but(&faulty, &Host::plain(), &[]);
    }
}

#[tokio::test]
async fn tools_that_are_late_or_missing_close_nothing() {
    let host = Host::plain().with("a", Says::Protocol(99));
    let missing = || ToolError::Missing { tool: "ipset".to_owned() };
    let denied = || failed(4, "Permission denied (you must be root)");
    for (call, error) in [
        (Call::RestoreTable, late()),
        (Call::RestoreSets, late()),
        (Call::SaveTable, late()),
        (Call::SaveSets, late()),
        (Call::RestoreSets, missing()),
        (Call::RestoreTable, denied()),
    ] {
        for done in [false, true] {
            // The first write is refused, so that the second is searched: that may take too long as well.
            for refusals in [0, 1] {
                let faulty = kernel();
                let mut enforcer = Enforcer::new(faulty.clone());
                faulty.fail(next(call, refusals, failed(1, "not now")));
                faulty.fail(Fault::Next { call, skip: 0, left: 1000, error: error.clone(), done });
                let (applied, result) = enforcer.apply(&host.desired()).await;
                assert!(
                    result.is_err() && !applied.quarantine_changed && !applied.hopeless,
                    "{call:?} {error}"
                );
                faulty.mend();
                let (_, result) = enforcer.apply(&host.desired()).await;
                assert!(result.is_ok(), "{call:?} {error} {done}: {result:?}");
                assert_eq!(
                    shown(&faulty.state().kernel),
                    shown(&ideal(&host.desired())),
                    "{call:?} {error} {done}"
                );
            }
        }
    }
}

#[tokio::test]
async fn one_table_that_can_not_be_read_stops_no_other() {
    let (faulty, _) = settled(&Host::plain()).await;
    let host = Host::plain().with("a", Says::Protocol(99)).with("b", Says::Protocol(98));
    // The last that is read is ip6tables' filter.
    let mut enforcer = Enforcer::new(faulty.clone());
    faulty.fail(Fault::Cut(Call::SaveSets));
    let (applied, result) = enforcer.apply(&host.desired()).await;
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("the IP sets can't be read: "), "{error}");
    // No rule that changes needs a set, as far as that is known.
    assert_eq!((applied.sets_read, applied.tables_read, applied.writes.len()), (false, 8, 2));
    assert!(faulty.calls().iter().all(|(call, _)| *call != Call::RestoreSets));
    faulty.mend();
    enforcer.apply(&host.desired()).await.1.unwrap();
    assert_ideal_but(&faulty, &host, &[]);
    faulty.fail(Fault::Cut(Call::SaveTable));
    let mut enforcer = Enforcer::new(faulty.clone());
    let (applied, result) = enforcer.apply(&Host::plain().desired()).await;
    assert_eq!(
        result.unwrap_err().to_string(),
        "the raw table for IPv4 can't be read: the table raw has no end"
    );
    assert_eq!((applied.tables_read, applied.writes.len()), (0, 0));
}
