//! What the chains do is what was meant: the texts that the kernel is given, and those that it gives back, are the program
//! that was compiled.
//!
//! Needs root. `FELIX_RS_SKIP_KERNEL=1` leaves out what needs a kernel and counts it as ignored.

#[path = "../orders/case.rs"]
mod case;
mod foreign;
#[path = "../kernel/netns.rs"]
#[expect(dead_code, reason = "its guard is tested where it belongs")]
mod netns;
mod read_back;

use std::env;
use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let skip = env::var_os("FELIX_RS_SKIP_KERNEL").is_some_and(|value| value == "1");
    let mut trials = read_back::trials(skip);
    trials.extend(foreign::trials(skip));
    libtest_mimic::run(&arguments, trials).exit_code()
}
