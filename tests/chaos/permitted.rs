//! Which verdicts an order of applying changes one by one can give: those of the states between before and behind, with
//! any of the changes made.

use std::fmt::Write as _;
use std::time::Instant;

use felix_rs::Pipeline;
use felix_rs::datastore::yaml;
use felix_rs::verdict::policy::judge::{Judge, Ruling};

use crate::faults::Strictness;
use crate::objects::{Batch, HOST, Objects, text, with};
use crate::traffic::{Kind, Sent, What};

/// Of each kind of packet, whether it passes.
type Verdicts = Vec<bool>;

/// One round, as far as packets are concerned.
pub struct Round<'r> {
    pub before: &'r Objects,
    pub batch: &'r Batch,
    pub strictness: Strictness,
    pub began: Instant,
    /// From here on the kernel had what it should.
    pub settled: Instant,
}

impl Round<'_> {
    /// Every packet got a verdict that it may get; how many were sent meanwhile, or which got another one.
    pub fn check(&self, kinds: &[Kind], sent: &[Sent]) -> Result<Result<usize, String>, String> {
        let all = (1 << self.batch.len()) - 1;
        let after = verdicts(&with(self.before, self.batch, all), kinds)?;
        let mut states = vec![(0, verdicts(self.before, kinds)?), (all, after.clone())];
        let mut faults: Vec<(usize, bool, Vec<&Sent>)> = Vec::new();
        let mut broken = Vec::new();
        let mut meanwhile = 0;
        for one in sent {
            let settled = one.at > self.settled;
            meanwhile += usize::from(!settled && one.at > self.began);
            match one.what {
                What::Established => {
                    if !one.passed && (settled || self.strictness == Strictness::Exact) {
                        broken.push(one);
                    }
                }
                What::First(kind) if settled => {
                    if one.passed != after[kind] {
                        add(&mut faults, kind, one);
                    }
                }
                What::First(kind) => {
                    let asked = match self.strictness {
                        Strictness::Exact => true,
                        Strictness::MayClose => one.passed,
                        Strictness::Unknown => false,
                    };
                    if asked && !self.is_permitted(kind, one.passed, kinds, &mut states)? {
                        add(&mut faults, kind, one);
                    }
                }
            }
        }
        if faults.is_empty() && broken.is_empty() {
            return Ok(Ok(meanwhile));
        }
        let mut text = String::new();
        for (kind, passed, packets) in &faults {
            let word = |passed: bool| if passed { "passed" } else { "was dropped" };
            let may: Vec<_> =
                states.iter().filter(|(_, of)| of[*kind] == *passed).map(|(made, _)| made).collect();
            let _ = writeln!(
                text,
                "{} {}, {} times, {}; by the policy before: {}, behind: {}; states with this verdict: {may:?}",
                kinds[*kind].packet,
                word(*passed),
                packets.len(),
                self.times(packets),
                word(states[0].1[*kind]),
                word(states[1].1[*kind]),
            );
        }
        if !broken.is_empty() {
            let _ = writeln!(
                text,
                "the established connection lost {} packets {}",
                broken.len(),
                self.times(&broken)
            );
        }
        Ok(Err(text))
    }

    /// In milliseconds since the round began.
    fn times(&self, packets: &[&Sent]) -> String {
        let after = |sent: &&Sent| sent.at.saturating_duration_since(self.began).as_millis();
        let (first, last) = (packets.first().map(after), packets.last().map(after));
        let settled = self.settled.saturating_duration_since(self.began).as_millis();
        format!("from {first:?} to {last:?} ms of {settled}")
    }

    /// States are only looked at while a verdict is not explained.
    fn is_permitted(
        &self,
        kind: usize,
        passed: bool,
        kinds: &[Kind],
        states: &mut Vec<(usize, Verdicts)>,
    ) -> Result<bool, String> {
        let all = (1 << self.batch.len()) - 1;
        loop {
            if states.iter().any(|(_, verdicts)| verdicts[kind] == passed) {
                return Ok(true);
            }
            let Some(next) = (1..all).find(|made| states.iter().all(|(known, _)| known != made)) else {
                return Ok(false);
            };
            states.push((next, verdicts(&with(self.before, self.batch, next), kinds)?));
        }
    }
}

fn add<'s>(faults: &mut Vec<(usize, bool, Vec<&'s Sent>)>, kind: usize, one: &'s Sent) {
    match faults.iter_mut().find(|(of, passed, _)| *of == kind && *passed == one.passed) {
        Some((_, _, packets)) => packets.push(one),
        None => faults.push((kind, one.passed, vec![one])),
    }
}

fn verdicts(objects: &Objects, kinds: &[Kind]) -> Result<Verdicts, String> {
    let mut pipeline = Pipeline::new(HOST.into(), Vec::new());
    for event in yaml::parse(&"objects.yaml".into(), &text(objects).as_str().into()).into_events() {
        pipeline.take(&event);
    }
    pipeline.desired().map_err(|e| e.to_string())?;
    let judge = Judge::new(pipeline.policy(), pipeline.config());
    let passes = |kind: &Kind| match judge.judge(&kind.packet).ruling {
        Ruling::Deny => false,
        // Nothing else on this host drops it.
        Ruling::Allow | Ruling::LeaveToHost => true,
    };
    Ok(kinds.iter().map(passes).collect())
}
