//! Policy, chains and kernel decide alike, for every packet: two interpreters against each other and against the kernel,
//! and deliberate faults that must be found.
//!
//! Needs root. `FELIX_RS_SKIP_KERNEL=1` leaves out what asks a kernel and counts it as ignored; `FELIX_RS_SEED` chooses
//! other policies and packets.

mod agree;
mod by_command;
#[path = "../orders/case.rs"]
mod case;
mod connections;
#[path = "../golden/expectation.rs"]
#[expect(dead_code, reason = "folders of expected files are tests/golden's")]
mod expectation;
mod flows;
mod foreign;
mod generate;
mod golden_cases;
mod harness;
mod in_kernel;
mod kernel;
mod mutants;
#[path = "../kernel/netns.rs"]
#[expect(dead_code, reason = "its guard is tested where it belongs")]
mod netns;
mod packets;
mod random;
mod read_back;
mod shrink;
mod world;

use std::env;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use kernel::Backend;
use libtest_mimic::{Arguments, Trial};

/// Pairs of a policy set and a packet.
const PAIRS: usize = 1_000_000;
/// Policy sets that are loaded into kernels, and packets sent through each.
const SETS_IN_KERNEL: u64 = 520;
const PACKETS_A_SET: usize = 48;

fn main() -> ExitCode {
    if kernel::is_worker() {
        return kernel::work();
    }
    let arguments = Arguments::from_args();
    let skip = env::var_os("FELIX_RS_SKIP_KERNEL").is_some_and(|value| value == "1");
    let seed = seed();
    let in_kernel = Backend::ALL.map(|backend| {
        Trial::test(format!("chains-equal-kernel/{}", backend.name()), move || {
            in_kernel::chains_equal_kernel(backend, seed, SETS_IN_KERNEL, PACKETS_A_SET)
        })
    });
    let asking_a_kernel = harness::trials().into_iter().chain(in_kernel);
    let mut trials: Vec<Trial> = asking_a_kernel.map(|trial| trial.with_ignored_flag(skip)).collect();
    trials.extend(read_back::trials(skip));
    trials.extend(foreign::trials(skip));
    trials.extend(by_command::trials(skip));
    trials.extend(golden_cases::trials());
    trials.extend([
        Trial::test("flows/diffs-name-what-differs", move || flows::diffs_name_what_differs(seed, 150)),
        Trial::test("flows/compiled-chains-allow-what-policy-allows", move || {
            flows::compiled_chains_allow_what_policy_allows(seed, 60)
        }),
        Trial::test("flows/hosts-together-are-hosts-alone", move || {
            flows::hosts_together_are_hosts_alone(seed, 150)
        }),
        Trial::test("flows/assertions-hold-for-every-packet", move || {
            flows::assertions_hold_for_every_packet(seed, 200)
        }),
    ]);
    trials.push(Trial::test("connections-that-policy-denies", connections::denied_connections));
    trials.push(Trial::test("policy-equals-chains", move || agree::policy_equals_chains(seed, PAIRS)));
    trials.push(Trial::test("every-fault-is-found", move || mutants::every_fault_is_found(seed)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Another one each day, or `FELIX_RS_SEED`.
fn seed() -> u64 {
    let asked = env::var("FELIX_RS_SEED").ok().and_then(|seed| seed.parse().ok());
    asked.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_secs() / 86_400 * 1_000_000_007)
    })
}
