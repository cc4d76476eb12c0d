//! The interpreters of `verdict` against what really happens.
//!
//! Needs root. `FELIX_RS_SKIP_KERNEL=1` leaves out what asks a kernel and counts it as ignored.

mod harness;
mod kernel;

use std::env;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if kernel::is_worker() {
        return kernel::work();
    }
    let arguments = Arguments::from_args();
    let skip = env::var_os("FELIX_RS_SKIP_KERNEL").is_some_and(|value| value == "1");
    let asking_a_kernel = harness::trials().into_iter().map(|trial| trial.with_ignored_flag(skip));
    let trials: Vec<Trial> = asking_a_kernel.collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
