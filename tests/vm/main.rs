//! A real tunl0: Debian's kernel in a virtual machine, where two network namespaces joined by a cable are the two hosts of
//! the field report. All trials are carried out in one guest, which `tests/vm/guest` starts: there this program, called
//! again, carries out each in namespaces of its own, and what it found is told here trial by trial.
//!
//! Where no guest can be had the trials count as ignored, and why is said; with `CI=true` they fail. So they are with
//! `FELIX_RS_SKIP_KERNEL=1`.

mod by_hand;
mod capture;
#[path = "../daemon/daemon.rs"]
#[expect(dead_code, reason = "tests/daemon looks at more of a daemon")]
mod daemon;
mod evidence;
mod guest;
mod iperf;
mod lab;
mod manifests;
#[path = "../daemon/netns.rs"]
#[expect(dead_code, reason = "tests/daemon does more in namespaces")]
mod netns;
#[path = "../daemon/probe.rs"]
#[expect(dead_code, reason = "tests/daemon sends more kinds of packets")]
mod probe;
mod routed;
mod sandbox;
mod throughput;
#[path = "../kernel/worker.rs"]
mod worker;
mod world;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use guest::Guest;

/// What is wrong, or nothing.
type Verdict = Result<(), String>;

/// A trial: its name, and what is done within its namespaces.
type Case = (&'static str, fn() -> Verdict);

/// Of the guest itself: what happens there is told here, and nothing else of it arrives.
const HARNESS: &[Case] = &[
    ("harness::a_failure_in_the_guest_is_told", || Err(TOLD.to_owned())),
    ("harness::nothing_is_written_to_this_machine", || {
        std::fs::write(WRITTEN, "").map_err(|e| format!("{WRITTEN}: {e}"))
    }),
];
const TOLD: &str = "as it should";
const WRITTEN: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/written-in-the-guest");

fn main() -> ExitCode {
    let cases: Vec<Case> = [by_hand::CASES, routed::CASES, HARNESS].concat();
    if let Some(names) = guest::asked() {
        return guest::carry_out(&names);
    }
    if let Some(name) = sandbox::asked() {
        return sandbox::work(&name, &cases);
    }
    let arguments = Arguments::from_args();
    let names = cases.iter().map(|(name, _)| *name).filter(|name| is_wanted(&arguments, name));
    let guest = Arc::new(Guest::new(names.collect()));
    let skipped = skipped();
    if let Some(why) = &skipped {
        eprintln!("tests/vm is left out: {why}");
    }
    let trials = cases.iter().map(|(name, _)| trial(&guest, name));
    let refusal = Trial::test("harness::the_own_namespace_is_never_written_to", || {
        match sandbox::carry_out_at_home(HARNESS[0].0) {
            Err(said) if said.contains(worker::REFUSED) => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    });
    let trials = trials.chain([refusal]).map(|trial| trial.with_ignored_flag(skipped.is_some())).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Why the trials are not carried out. Where they must be, they fail by themselves.
fn skipped() -> Option<String> {
    let is = |name, wanted| env::var_os(name).is_some_and(|value| value == wanted);
    if is("FELIX_RS_SKIP_KERNEL", "1") {
        return Some("FELIX_RS_SKIP_KERNEL=1".to_owned());
    }
    guest::check().err().filter(|_| !is("CI", "true"))
}

/// As the trials are chosen by their names.
fn is_wanted(arguments: &Arguments, name: &str) -> bool {
    let chosen = |part: &String| if arguments.exact { name == part } else { name.contains(part.as_str()) };
    arguments.filter.as_ref().is_none_or(chosen) && !arguments.skip.iter().any(chosen)
}

fn trial(guest: &Arc<Guest>, name: &'static str) -> Trial {
    let guest = Arc::clone(guest);
    Trial::test(name, move || {
        let found = guest.verdict(name);
        match name {
            "harness::a_failure_in_the_guest_is_told" => match found {
                Err(said) if said.contains(TOLD) => Ok(()),
                other => Err(format!("{other:?}").into()),
            },
            "harness::nothing_is_written_to_this_machine" if std::fs::exists(WRITTEN).unwrap_or(true) => {
                Err(Failed::from(format!("{WRITTEN} is here")))
            }
            _ => Ok(found?),
        }
    })
}
