//! What speaks to the kernel by netlink and /proc, held against real kernels: interfaces, settings, connections. Each
//! trial is this very program again, in a network namespace of its own.
//!
//! Needs root. `FELIX_RS_SKIP_KERNEL=1` leaves these tests out and counts them as ignored.

mod conntrack;
mod links;
mod namespace;
mod routes;
mod sysctl;
#[path = "../kernel/worker.rs"]
mod worker;

use std::env;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// What is wrong, or nothing.
type Verdict = Result<(), String>;

/// A trial: its name, and what is done within its namespace.
type Case = (&'static str, fn() -> Verdict);

fn main() -> ExitCode {
    let cases: Vec<Case> = [links::CASES, sysctl::CASES, conntrack::CASES, routes::CASES].concat();
    if let Some(name) = namespace::asked() {
        return namespace::work(&name, &cases);
    }
    let skip = env::var_os("FELIX_RS_SKIP_KERNEL").is_some_and(|value| value == "1");
    let trial = |(name, _): &Case| {
        let name = *name;
        Trial::test(name, move || Ok(namespace::carry_out(name)?)).with_ignored_flag(skip)
    };
    let mut trials: Vec<Trial> = cases.iter().map(trial).collect();
    let refusal =
        Trial::test("harness::the_own_namespace_is_never_written_to", || match namespace::carry_out_at_home(
            "sysctl::a_host",
        ) {
            Err(said) if said.contains(worker::REFUSED) => Ok(()),
            other => Err(format!("{other:?}").into()),
        });
    trials.push(refusal.with_ignored_flag(skip));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
