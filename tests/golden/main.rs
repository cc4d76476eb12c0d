//! Golden tests: what the program says today is what golden/ says it says.
//!
//! One trial a case. `UPDATE_GOLDEN=1` writes what is said now; read the difference before committing it.

mod cli;
mod expectation;
mod program;
mod render;
mod selector;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let areas: [fn() -> Vec<Trial>; 4] = [expectation::trials, selector::trials, render::trials, cli::trials];
    let trials = areas.iter().flat_map(|area| area()).collect();
    libtest_mimic::run(&arguments, trials).exit();
}
