//! The daemon on two hosts, with real kernels and real packets. A trial is this program again, in namespaces of its own
//! (network, mounts, processes): there it joins two hosts by a cable, as the field report does by hand, starts daemons
//! and sends packets between containers.
//!
//! Needs root, and etcd. `FELIX_RS_SKIP_KERNEL=1` leaves these tests out and counts them as ignored. So count those that
//! need BIRD, or a kernel with bridges, where there is none, and why is said; with `CI=true` those of BIRD fail.

mod beside_bird;
mod bird;
mod cleanup;
mod closed;
mod daemon;
mod drift;
mod etcd;
mod flows;
mod host;
mod lab;
mod life;
mod main_table;
mod manifests;
mod netns;
mod probe;
mod quarrels;
mod refused;
mod routes;
mod sandbox;
mod scale;
#[path = "../etcd/server.rs"]
mod server;
mod shims;
mod store;
mod topologies;
#[path = "../kernel/worker.rs"]
mod worker;
mod world;

use std::env;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use netns::Backend;

/// What is wrong, or nothing.
type Verdict = Result<(), String>;

/// A trial: its name, and what is done within its namespaces.
type Case = (&'static str, fn(Backend) -> Verdict);

fn main() -> ExitCode {
    let cases: Vec<Case> = [
        quarrels::CASES,
        flows::CASES,
        closed::CASES,
        cleanup::CASES,
        life::CASES,
        drift::CASES,
        host::CASES,
        refused::CASES,
        routes::CASES,
        beside_bird::CASES,
        topologies::CASES,
        scale::CASES,
        store::CASES,
    ]
    .concat();
    if let Some((name, backend)) = sandbox::asked() {
        return sandbox::work(&name, &backend, &cases);
    }
    let skip = is("FELIX_RS_SKIP_KERNEL", "1");
    let lacking = if skip { Vec::new() } else { lacking() };
    let trials = cases.iter().flat_map(|(name, _)| {
        let left_out = lacking.iter().any(|part| name.starts_with(part));
        Backend::ALL.map(|backend| trial(name, backend).with_ignored_flag(skip || left_out))
    });
    let refusal = Trial::test("harness::the_own_namespace_is_never_written_to", || {
        match sandbox::carry_out_at_home("flows::a_policy_comes_and_goes", Backend::Nft) {
            Err(said) if said.contains(worker::REFUSED) => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    });
    let trials = trials.chain([refusal.with_ignored_flag(skip)]).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn is(name: &str, wanted: &str) -> bool {
    env::var_os(name).is_some_and(|value| value == wanted)
}

/// How the names of trials begin that need what is not there, which is said. BIRD must be there where `CI=true`: they fail
/// by themselves.
fn lacking() -> Vec<&'static str> {
    let bird = if is("CI", "true") { Ok(()) } else { bird::check() };
    let needs = [("bird::", bird), ("topologies::", topologies::check())];
    let lacking = needs.into_iter().filter_map(|(part, needed)| Some((part, needed.err()?)));
    let say = |(part, why): (&'static str, String)| {
        eprintln!("tests/daemon, {part} is left out: {why}");
        part
    };
    lacking.map(say).collect()
}

fn trial(name: &'static str, backend: Backend) -> Trial {
    Trial::test(format!("{name}::{}", backend.name()), move || Ok(sandbox::carry_out(name, backend)?))
}
