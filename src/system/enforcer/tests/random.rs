//! Random hosts over a kernel with random faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::faulty::{Call, Fault, Meddling, Writer, failed, late};
use super::host::{FOREIGN, Host, Says, ideal, shown};
use super::kernel;
use crate::model::IpVersion::{V4, V6};
use crate::rules::ruleset::TableName;
use crate::sync::fake_kernel::FakeKernel;
use crate::system::enforcer::Enforcer;

const POLICIES: [&str; 4] = ["a", "b", "c", "d"];
const INTERFACES: [&str; 3] = ["cali1", "cali2", "tap3"];
/// That may be refused: of endpoints, of a policy, of every host, and one of the kernel's own.
const CHAINS: [&str; 6] =
    ["cali-tw-cali1", "cali-fw-cali2", "cali-pi-gnp/c", "cali-FORWARD", "cali-from-wl-dispatch", "FORWARD"];
const SETS: [&str; 3] = ["s:x", "s:y", "s:z"];

prop_compose! {
    fn any_host()(
        policies in prop::collection::vec(0..6_u8, POLICIES.len()),
        endpoints in prop::collection::vec(prop::option::of(prop::collection::btree_set(0..POLICIES.len(), 0..4)), INTERFACES.len()),
        sets in prop::collection::vec(prop::collection::btree_set(0..5_u8, 0..4), SETS.len()),
    ) -> Host {
        let says = |number: u8| match number {
            0..=2 => Says::Protocol(90 + number),
            _ => Says::From(SETS[usize::from(number) - 3]),
        };
        let members = |members: &BTreeSet<u8>| members.iter().flat_map(|last| [format!("10.0.0.{last}/32"), format!("fd00::{last}/128")]).collect();
        // As in a settled policy: only sets that are matched by.
        let named: BTreeSet<u8> = policies.iter().copied().filter(|number| *number > 2).map(|number| number - 3).collect();
        Host {
            endpoints: INTERFACES.into_iter().zip(endpoints).filter_map(|(name, names)| {
                Some((name, names?.into_iter().map(|index| POLICIES[index]).collect()))
            }).collect(),
            policies: POLICIES.into_iter().zip(policies.iter().map(|number| says(*number))).collect(),
            sets: named.iter().map(|index| (SETS[usize::from(*index)], members(&sets[usize::from(*index)]))).collect(),
        }
    }
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let version = prop::bool::ANY.prop_map(|is_v4| if is_v4 { V4 } else { V6 });
    let text = prop_oneof![
        (90..93_u8).prop_map(|number| format!("-p {number} ")),
        prop::sample::select(&CHAINS[..]).prop_map(|chain| format!("-A {chain} ")),
        Just("*nat".to_owned()),
    ];
    let calls =
        prop::sample::select(&[Call::SaveTable, Call::RestoreTable, Call::SaveSets, Call::RestoreSets][..]);
    prop_oneof![
        (version.clone(), text.clone()).prop_map(|(version, text)| Fault::Rule { version, text }),
        (version, text).prop_map(|(version, text)| Fault::Commit { version, text }),
        prop::sample::select(&["cali-pi-gnp/a", "cali-tw-cali1", "cali-fw-tap3"][..])
            .prop_map(|chain| Fault::Busy(chain.to_owned())),
        prop::sample::select(
            &[
                "create cali40s:x",
                "add cali40s:y",
                "del cali60s:x",
                "destroy cali40s:z",
                "swap",
                "add cali60s:z"
            ][..]
        )
        .prop_map(|start| Fault::SetLine(start.to_owned())),
        (calls.clone(), 1..4_usize, prop::bool::ANY, prop::bool::ANY).prop_map(
            |(call, left, is_late, done)| Fault::Next {
                call,
                skip: 0,
                left,
                error: if is_late { late() } else { failed(1, "not now") },
                done: is_late && done,
            }
        ),
        calls.prop_map(Fault::Cut),
    ]
}

fn any_meddling() -> impl Strategy<Value = Meddling> {
    let text = prop::sample::select(
        &[
            ":cali-pi-gnp/a - -",
            ":cali-tw-cali1 - -\n-A cali-tw-cali1 -j DROP",
            ":cali-FORWARD - -",
            ":cali-pi-gnp/b - -\n:cali-pi-gnp/c - -",
            ":cali-new - -\n-A cali-new -j DROP",
        ][..],
    );
    prop_oneof![
        text.prop_map(|text| Meddling::Table(V4, TableName::Filter, format!("*filter\n{text}\nCOMMIT\n"))),
        prop::sample::select(
            &[
                "add cali40s:x 10.0.0.77",
                "destroy cali40s:x",
                "create cali4t0 hash:net family inet",
                "destroy cali60s:y"
            ][..]
        )
        .prop_map(|text| Meddling::Sets(text.to_owned())),
    ]
}

/// What chains may be at any moment: as somebody was, as wanted now, closed; or empty where nothing leads to them.
#[derive(Default)]
struct Allowed {
    chains: BTreeMap<String, BTreeSet<Vec<String>>>,
    violations: Vec<String>,
}

type Contents = BTreeMap<String, Vec<String>>;

fn contents(kernel: &FakeKernel) -> Contents {
    let mut contents = Contents::new();
    for version in [V4, V6] {
        for table in TableName::ALL {
            let key = |chain: &str| format!("{version:?} {} {chain}", table.name());
            for line in kernel.save_table(version, table).lines() {
                if let Some(declared) = line.strip_prefix(':') {
                    contents.entry(key(declared.split(' ').next().unwrap())).or_default();
                } else if let Some((chain, rule)) =
                    line.strip_prefix("-A ").and_then(|rest| rest.split_once(' '))
                {
                    contents.entry(key(chain)).or_default().push(rule.to_owned());
                }
            }
        }
    }
    contents
}

impl Allowed {
    fn allow(&mut self, kernel: &FakeKernel) {
        for (chain, rules) in contents(kernel) {
            self.chains.entry(chain).or_default().insert(rules);
        }
    }

    fn look(&mut self, kernel: &FakeKernel, writer: Writer) {
        match writer {
            Writer::Others => self.allow(kernel),
            Writer::Us => {
                let contents = contents(kernel);
                for (chain, rules) in &contents {
                    let is_allowed = self.chains.get(chain).is_some_and(|allowed| allowed.contains(rules));
                    let is_ours = chain.contains(" cali-");
                    let is_closed = rules.len() == 1
                        && rules[0].contains("refused by the kernel")
                        && rules[0].ends_with("-j DROP");
                    let is_idle = rules.is_empty() && !is_led_to(&contents, chain);
                    let is_turning = self.turns(chain, rules);
                    if is_ours && !is_allowed && !is_closed && !is_idle && !is_turning {
                        self.violations.push(format!("{chain}: {rules:?}"));
                    }
                }
            }
        }
    }
}

impl Allowed {
    /// While sets change an endpoint's chain leads to what it was and to what it is to be, under other names.
    fn turns(&self, chain: &str, rules: &[String]) -> bool {
        let unmarked = |rules: &[String]| -> Vec<String> {
            let unmarked = rules.iter().map(|rule| rule.split_once("\" ").map_or("", |(_, rest)| rest));
            unmarked.map(|rule| rule.replace("aside:", "")).collect()
        };
        // A set that is aside has the members of the one that it stands for.
        let allowed = self.chains.get(chain);
        if allowed.is_some_and(|allowed| allowed.iter().any(|allowed| unmarked(allowed) == unmarked(rules))) {
            return true;
        }
        // As it was known to be, which somebody else may have changed since: it only takes away from the new one.
        if chain.contains(" cali-old-") {
            return true;
        }
        match chain.split_once(" cali-new-") {
            Some((table, of)) => self
                .chains
                .get(&format!("{table} cali-{of}"))
                .is_some_and(|allowed| allowed.iter().any(|allowed| unmarked(allowed) == unmarked(rules))),
            None => {
                let (_, name) = chain.rsplit_once(" cali-").unwrap_or_default();
                matches!(rules, [old, new]
                    if old.ends_with(&format!("-j cali-old-{name}")) && new.contains(&format!("cali-new-{name}")))
            }
        }
    }
}

fn is_led_to(contents: &Contents, chain: &str) -> bool {
    let (table, name) = chain.rsplit_once(' ').unwrap();
    contents
        .iter()
        .filter(|(other, _)| other.starts_with(table))
        .flat_map(|(_, rules)| rules)
        .any(|rule| rule.ends_with(&format!("-j {name}")) || rule.ends_with(&format!("-g {name}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Once the faults end the kernel becomes as if there had been none; until then no chain is anything but what it
    /// was, what it is to be, or closed.
    #[test]
    fn any_faults_are_outlived(
        hosts in prop::collection::vec((any_host(), prop::collection::vec(any_fault(), 0..4), prop::option::of((0..30_usize, any_meddling()))), 1..4),
        restart in prop::bool::ANY,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let faulty = kernel();
        let mut enforcer = Enforcer::new(faulty.clone());
        let mut last = Host::default();
        let mut is_alone = true;
        for (host, faults, meddling) in hosts {
            let desired = host.desired();
            let allowed = Arc::new(Mutex::new(Allowed::default()));
            {
                let mut state = faulty.state();
                allowed.lock().unwrap().allow(&state.kernel);
                allowed.lock().unwrap().allow(&ideal(&desired));
                let is_done = |fault: &Fault| matches!(fault, Fault::Next { done: true, .. });
                is_alone &= meddling.is_none() && !faults.iter().any(is_done);
                state.faults = faults;
                state.refusals.clear();
                state.calls.clear();
                state.others = meddling.into_iter().collect();
                let watched = Arc::clone(&allowed);
                state.watcher = Some(Box::new(move |kernel, writer| watched.lock().unwrap().look(kernel, writer)));
            }
            let (applied, result) = runtime.block_on(enforcer.apply(&desired));
            let violations = std::mem::take(&mut allowed.lock().unwrap().violations);
            prop_assert!(violations.is_empty(), "{violations:#?}");
            prop_assert!(result.is_err() || !applied.hopeless);
            // What we write names nothing that is not there, or is in use.
            let refusals = std::mem::take(&mut faulty.state().refusals);
            prop_assert!(!is_alone || applied.hopeless || refusals.is_empty(), "{refusals:#?}");
            last = host;
        }
        faulty.mend();
        faulty.state().others.clear();
        faulty.state().watcher = None;
        if restart {
            enforcer = Enforcer::new(faulty.clone());
        } else {
            enforcer.retry_refused();
            enforcer.distrust_tables();
            enforcer.distrust_sets();
        }
        let desired = last.desired();
        let (applied, result) = runtime.block_on(enforcer.apply(&desired));
        prop_assert!(result.is_ok(), "{result:?}");
        if applied.unfinished {
            runtime.block_on(enforcer.apply(&desired)).1.unwrap();
        }
        prop_assert_eq!(shown(&faulty.state().kernel), shown(&ideal(&desired)));
        prop_assert!(enforcer.quarantine().is_empty());
        prop_assert!(FOREIGN.lines().filter(|line| line.starts_with("-A ")).all(|rule| shown(&faulty.state().kernel).contains(rule)));
        faulty.calls();
        runtime.block_on(enforcer.apply(&desired)).1.unwrap();
        prop_assert_eq!(faulty.calls().len(), 0);
    }
}
