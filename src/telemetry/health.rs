//! Whether the daemon's parts are alive and ready (reference §12).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// What each part last said of itself. A part that is silent for longer than it may is neither alive nor ready.
#[derive(Clone, Debug, Default)]
pub struct Health {
    parts: BTreeMap<&'static str, Report>,
}

/// What a part says.
#[derive(Clone, Debug)]
pub struct Report {
    pub live: bool,
    pub ready: bool,
    /// For people; may be empty.
    pub detail: String,
    /// When it was said.
    pub at: Instant,
    /// How long it holds; zero: for ever.
    pub timeout: Duration,
}

/// An answer to whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub good: bool,
    /// A line a part.
    pub text: String,
}

impl Health {
    /// Replaces what the part said before.
    pub fn say(&mut self, part: &'static str, report: Report) {
        self.parts.insert(part, report);
    }

    /// Whether every part is alive.
    pub fn liveness(&self, now: Instant) -> Answer {
        self.answer(now, |report| report.live)
    }

    /// Whether every part is alive and does its work.
    pub fn readiness(&self, now: Instant) -> Answer {
        self.answer(now, |report| report.live && report.ready)
    }

    fn answer(&self, now: Instant, is_good: impl Fn(&Report) -> bool) -> Answer {
        let good = !self.parts.is_empty()
            && self.parts.values().all(|report| !report.is_stale(now) && is_good(report));
        let mut text = String::new();
        for (part, report) in &self.parts {
            let Report { live, ready, detail, at: _, timeout: _ } = report;
            // A String takes everything.
            let _ = match report.is_stale(now) {
                true => writeln!(text, "{part}: silent for too long; it last said: {detail}"),
                false => {
                    let (live, ready) = (word(*live, "live"), word(*ready, "ready"));
                    writeln!(text, "{part}: {live}, {ready}: {detail}")
                }
            };
        }
        Answer { good, text }
    }
}

impl Report {
    fn is_stale(&self, now: Instant) -> bool {
        !self.timeout.is_zero() && now.saturating_duration_since(self.at) > self.timeout
    }
}

fn word(is_so: bool, word: &str) -> String {
    if is_so { word.to_owned() } else { format!("not {word}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_silent_is_neither_alive_nor_ready() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let report = |live, ready, timeout| Report { live, ready, detail: "x".into(), at: start, timeout };
        let mut health = Health::default();
        assert!(!health.liveness(start).good, "nobody has said anything yet");
        for (live, ready, timeout, after, expected) in [
            (true, true, second, second, (true, true)),
            (true, true, second, 2 * second, (false, false)),
            (true, true, Duration::ZERO, 1000 * second, (true, true)),
            (true, false, second, second, (true, false)),
            (false, true, second, second, (false, false)),
        ] {
            health.say("a", report(live, ready, timeout));
            health.say("b", report(true, true, Duration::ZERO));
            let now = start + after;
            assert_eq!((health.liveness(now).good, health.readiness(now).good), expected, "{live} {ready}");
        }
        health.say("a", report(true, false, second));
        assert_eq!(health.readiness(start).text, "a: live, not ready: x\nb: live, ready: x\n");
        assert_eq!(
            health.readiness(start + 2 * second).text,
            "a: silent for too long; it last said: x\nb: live, ready: x\n"
        );
    }
}
