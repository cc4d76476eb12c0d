//! When the daemon does what nobody wakes it for.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// What is done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// Read all tables.
    RefreshTables,
    /// Look whether somebody wrote to the tables since we did.
    CheckTables,
    /// Read all sets.
    RefreshSets,
    /// Apply again: something failed, or remains.
    Retry,
    /// Try again what the kernel refused.
    RetryRefused,
    /// Tell people what has changed in what is wrong with the source.
    Report,
    /// Tell systemd that we are alive.
    Watchdog,
    /// Set up interfaces again that could not be set up.
    Interfaces,
    /// Look whether the pass over the table of connections has ended.
    Connections,
}

/// At most one time for each task.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    times: BTreeMap<Task, Instant>,
}

impl Agenda {
    /// Does the task at that time, and not when it was to be done before.
    pub(super) fn set(&mut self, task: Task, at: Instant) {
        self.times.insert(task, at);
    }

    /// Does the task at that time, or earlier if it is due earlier.
    pub(super) fn by(&mut self, task: Task, at: Instant) {
        let time = self.times.entry(task).or_insert(at);
        *time = at.min(*time);
    }

    pub(super) fn has(&self, task: Task) -> bool {
        self.times.contains_key(&task)
    }

    pub(super) fn cancel(&mut self, task: Task) {
        self.times.remove(&task);
    }

    /// What is to be done next, and when.
    pub(super) fn next(&self) -> Option<(Task, Instant)> {
        self.times.iter().map(|(task, at)| (*task, *at)).min_by_key(|(_, at)| *at)
    }
}

/// Lets a burst through, then one each so often (Felix: ten, then one each 100 ms).
#[derive(Debug)]
pub(super) struct Throttle {
    tokens: u32,
    filled: Instant,
}

const BURST: u32 = 10;
const REFILL: Duration = Duration::from_millis(100);

impl Throttle {
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: BURST, filled: now }
    }

    /// None: go on. Else the time at which to ask again.
    pub(super) fn take(&mut self, now: Instant) -> Option<Instant> {
        while self.tokens < BURST && self.filled + REFILL <= now {
            self.tokens += 1;
            self.filled += REFILL;
        }
        if self.tokens == BURST {
            self.filled = now;
        }
        match self.tokens.checked_sub(1) {
            Some(tokens) => {
                self.tokens = tokens;
                None
            }
            None => Some(self.filled + REFILL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_task_is_next() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut agenda = Agenda::default();
        assert_eq!(agenda.next(), None);
        agenda.set(Task::RefreshTables, at(5));
        agenda.by(Task::Retry, at(3));
        agenda.by(Task::Retry, at(4));
        assert_eq!(agenda.next(), Some((Task::Retry, at(3))));
        agenda.set(Task::Retry, at(9));
        assert_eq!(agenda.next(), Some((Task::RefreshTables, at(5))));
        agenda.cancel(Task::RefreshTables);
        assert_eq!(agenda.next(), Some((Task::Retry, at(9))));
    }

    #[test]
    fn a_burst_passes_then_one_at_a_time() {
        let start = Instant::now();
        let mut throttle = Throttle::new(start);
        for _ in 0..BURST {
            assert_eq!(throttle.take(start), None);
        }
        assert_eq!(throttle.take(start), Some(start + REFILL));
        assert_eq!(throttle.take(start + REFILL), None);
        assert_eq!(throttle.take(start + REFILL), Some(start + 2 * REFILL));
        // After a rest there is a burst again, and no more.
        let later = start + 100 * REFILL;
        assert_eq!((0..20).filter(|_| throttle.take(later).is_none()).count(), BURST as usize);
    }
}
