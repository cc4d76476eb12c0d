//! Policy, chains and kernel decide alike, for every packet: two interpreters against each other and against the kernel,
//! and deliberate faults that must be found.

mod agree;
mod generate;
mod packets;
mod random;
mod shrink;
mod world;

use libtest_mimic::{Arguments, Trial};

/// Pairs of a policy set and a packet.
const PAIRS: usize = 1_000_000;

fn main() {
    let arguments = Arguments::from_args();
    let seed = seed();
    let trials = vec![Trial::test("policy-equals-chains", move || agree::policy_equals_chains(seed, PAIRS))];
    libtest_mimic::run(&arguments, trials).exit();
}

/// Another one each day, or `FELIX_RS_SEED`.
fn seed() -> u64 {
    let asked = std::env::var("FELIX_RS_SEED").ok().and_then(|seed| seed.parse().ok());
    asked.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |now| now.as_secs() / 86_400 * 1_000_000_007)
    })
}
