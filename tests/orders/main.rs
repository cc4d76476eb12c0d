//! What comes out depends on the end state only, never on the way there: every golden case in many orders, and random
//! sequences of updates. A plan, once applied, leaves nothing to do. And it does not matter whether manifests are read, or what
//! a client stores of them.

mod case;
mod generate;
mod observed;
mod order;
mod random;
mod stored;

use libtest_mimic::{Arguments, Failed, Trial};

use case::Case;
use observed::{Host, same};
use order::{Flush, Order, emptied};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = match case::all() {
        Ok(cases) => cases.into_iter().map(trial).collect(),
        Err(error) => vec![Trial::test("golden", move || Err(error.into()))],
    };
    trials
        .push(Trial::test("random/incremental-equals-from-scratch", random::incremental_equals_from_scratch));
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(case: Case) -> Trial {
    Trial::test(case.name.clone(), move || {
        every_order_ends_the_same(&case)?;
        nothing_is_left_of_what_went(&case)?;
        stored::says_what_the_manifests_say(&case)
    })
}

fn every_order_ends_the_same(case: &Case) -> Result<(), Failed> {
    let expected = play(case, &Order::AsIs.states(&case.events), Flush::AtEnd)?.observe()?;
    for order in Order::ALL {
        let states = order.states(&case.events);
        for flush in Flush::ALL {
            let found = play(case, &states, flush)?.observe()?;
            same(&format!("{order:?}, flushed {flush:?}"), &expected, &found)?;
        }
    }
    Ok(())
}

/// A host that had it all and from which all was taken is like one that never had anything.
fn nothing_is_left_of_what_went(case: &Case) -> Result<(), Failed> {
    let expected = play(case, &[], Flush::AtEnd)?.observe()?;
    for flush in Flush::ALL {
        let mut states = Order::Split.states(&case.events);
        states.extend(emptied(&case.events));
        let found = play(case, &states, flush)?.observe()?;
        same(&format!("emptied, flushed {flush:?}"), &expected, &found)?;
    }
    Ok(())
}

/// A new host that is told the states.
fn play(case: &Case, states: &[order::State], flush: Flush) -> Result<Host, Failed> {
    let mut host = Host::new(&case.host, case.sources.clone(), case.uplinks.clone());
    for state in states {
        for event in state {
            host.take(event);
            if flush == Flush::EachKey {
                host.settle()?;
            }
        }
        if flush == Flush::EachState {
            host.settle()?;
        }
    }
    Ok(host)
}
