//! A daemon under chaos: random changes of the datastore, `kill -9` at any moment, tools that fail, hang or lie, others who
//! undo its work or leave theirs beside it. After each round the kernel has what `render` prints, and nothing of others'
//! has changed. Meanwhile packets flow: while the changes of a round are carried out, each gets a verdict that some order
//! of applying them one by one would give it.
//!
//! Each trial is this program once more, in namespaces of its own. Needs root. `FELIX_RS_SKIP_KERNEL=1` leaves the trials
//! out and counts them as ignored; `FELIX_RS_SEED` repeats what is printed with a failure, as far as time can be repeated.

mod daemon;
mod faults;
mod foreign;
mod kernel;
mod namespace;
mod objects;
mod permitted;
#[path = "../verdict/random.rs"]
mod random;
mod rounds;
#[path = "../verdict/kernel/script.rs"]
#[expect(dead_code, reason = "names an end of tests/verdict's that is not used here")]
mod script;
#[path = "../kernel/text.rs"]
#[expect(dead_code, reason = "rules are compared as they are written here, not by their hashes")]
mod text;
mod traffic;
#[path = "../verdict/kernel/tun.rs"]
#[expect(dead_code, reason = "packets for the host itself are sent by tests/verdict")]
mod tun;
mod vandals;
#[path = "../verdict/kernel/wire.rs"]
mod wire;
#[path = "../kernel/worker.rs"]
mod worker;

use std::env;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use libtest_mimic::{Arguments, Trial};

use kernel::Backend;

/// Rounds of one trial; four trials make 200.
const ROUNDS: usize = 50;
const TRIALS_A_BACKEND: u64 = 2;

fn main() -> ExitCode {
    if let Some(asked) = namespace::asked() {
        return namespace::work(&asked, |asked| rounds::play(asked.backend, asked.seed, asked.rounds));
    }
    let arguments = Arguments::from_args();
    let skip = env::var_os("FELIX_RS_SKIP_KERNEL").is_some_and(|value| value == "1");
    let seed = seed();
    let trials = Backend::ALL.into_iter().flat_map(|backend| {
        (0..TRIALS_A_BACKEND).map(move |number| {
            let asked = namespace::Asked { backend, seed: seed.wrapping_add(number), rounds: ROUNDS };
            Trial::test(format!("{}/{number}", backend.name()), move || Ok(namespace::carry_out(&asked)?))
        })
    });
    let home = Trial::test("the_own_namespace_is_never_written_to", || {
        let asked = namespace::Asked { backend: Backend::Nft, seed: 0, rounds: 1 };
        match namespace::carry_out_at_home(&asked) {
            Err(why) if why.contains(worker::REFUSED) => Ok(()),
            verdict => Err(format!("{verdict:?}").into()),
        }
    });
    let trials = trials.chain([home]).map(|trial| trial.with_ignored_flag(skip)).collect();
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
