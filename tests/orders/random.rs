//! Random sequences of updates: after each, a host that was told all of it and a new one that is told what is there now
//! can't be told apart.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use felix_rs::datastore::{Event, yaml};
use felix_rs::routes::Uplinks;
use libtest_mimic::Failed;
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::test_runner::{Config, TestError, TestRunner};

use crate::generate;
use crate::observed::{Host, same};

/// Of this host there are local endpoints.
pub const HOST: &str = "host-1";
const CASES: u32 = 300;
const LONGEST: usize = 40;
/// So few that entries are often replaced.
const SLOTS: u8 = 12;

/// `PROPTEST_CASES` asks for more.
pub fn incremental_equals_from_scratch() -> Result<(), Failed> {
    let cases = Config::default().cases.max(CASES);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&sequence(), |Sequence(steps)| {
        play(&steps).map_err(|failed| TestCaseError::fail(failed.message().unwrap_or_default().to_owned()))
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, steps)) => Err(format!("after\n{steps}{reason}").into()),
        Err(TestError::Abort(reason)) => Err(reason.to_string().into()),
    }
}

/// One thing that happens to a host.
#[derive(Clone, Debug)]
enum Step {
    /// A slot says this from now on.
    Put(u8, String),
    Delete(u8),
    /// The result is asked for.
    Flush,
}

#[derive(Clone, Debug)]
struct Sequence(Vec<Step>);

impl fmt::Display for Sequence {
    /// Documents as they stood, ready to be put into files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Put(slot, document) => write!(f, "--- # {}\n{document}", source(*slot))?,
                Step::Delete(slot) => writeln!(f, "# {} goes", source(*slot))?,
                Step::Flush => writeln!(f, "# settled")?,
            }
        }
        Ok(())
    }
}

fn sequence() -> impl Strategy<Value = Sequence> {
    let put = |slot| generate::document(slot).prop_map(move |document| Step::Put(slot, document));
    let step = prop_oneof![
        6 => Union::new((0..SLOTS).map(put)),
        1 => (0..SLOTS).prop_map(Step::Delete),
        2 => Just(Step::Flush),
    ];
    prop::collection::vec(step, 1..LONGEST).prop_map(Sequence)
}

fn play(steps: &[Step]) -> Result<(), Failed> {
    let mut host = Host::new(HOST, Vec::new(), Uplinks::default());
    let mut there = BTreeMap::new();
    for step in steps.iter().chain([&Step::Flush]) {
        match step {
            Step::Put(slot, document) => {
                let puts = events(*slot, document);
                puts.iter().for_each(|event| host.take(event));
                there.insert(*slot, puts);
            }
            Step::Delete(slot) => {
                for event in there.remove(slot).into_iter().flatten() {
                    if let Event::Put(entry) = event {
                        host.take(&Event::Delete(entry.key));
                    }
                }
            }
            Step::Flush => {
                same("incremental (found) and from scratch", &from_scratch(&there)?, &host.observe()?)?
            }
        }
    }
    Ok(())
}

fn from_scratch(there: &BTreeMap<u8, Vec<Event>>) -> Result<String, Failed> {
    let mut host = Host::new(HOST, Vec::new(), Uplinks::default());
    there.values().flatten().for_each(|event| host.take(event));
    host.observe()
}

fn events(slot: u8, document: &str) -> Vec<Event> {
    let events: Vec<Event> = yaml::parse(&source(slot), &document.into()).into_events().collect();
    assert!(matches!(events.as_slice(), [Event::Put(_)]), "not one resource:\n{document}");
    events
}

fn source(slot: u8) -> Arc<str> {
    format!("slot-{slot}.yaml").into()
}
