//! Another program that undoes what we do.

use std::time::Duration;

use tokio::time::Instant;

use crate::datastore::Backoff;

/// Somebody who writes again within this time fights with us.
const AGAIN: Duration = Duration::from_secs(60);

/// How long we give way first: longer than until the next check of tables.
const FIRST_TRUCE: Duration = Duration::from_secs(15);
const LAST_TRUCE: Duration = Duration::from_secs(300);

/// So many times before we give way.
const PATIENCE: u32 = 3;

/// How often somebody has undone the same.
#[derive(Debug)]
pub(super) struct Fight {
    rounds: u32,
    last: Option<Instant>,
    truce: Backoff,
}

impl Fight {
    pub(super) fn new() -> Self {
        Self { rounds: 0, last: None, truce: Backoff::new(FIRST_TRUCE, LAST_TRUCE) }
    }

    /// Somebody has undone what we did; how long to give way, where this is not the first time.
    pub(super) fn round(&mut self, now: Instant) -> Option<Duration> {
        if self.is_over(now) {
            self.rounds = 0;
            self.truce.reset();
        }
        self.last = Some(now);
        self.rounds += 1;
        (self.rounds > PATIENCE).then(|| self.truce.wait())
    }

    /// Nothing was undone for so long that the next time is a first time.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let pause = AGAIN.max(self.truce.current() * 2);
        self.last.is_none_or(|last| now.duration_since(last) >= pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_goes_on_is_given_way() {
        let second = Duration::from_secs(1);
        let (start, mut fight) = (Instant::now(), Fight::new());
        let rounds = [(0, None), (1, None), (2, None), (3, Some(15)), (20, Some(30)), (55, Some(60))];
        for (at, truce) in rounds {
            let now = start + at * second;
            assert_eq!(fight.round(now).map(|truce| truce.as_secs()), truce, "{at}");
        }
        // Peace for long.
        assert!(fight.is_over(start + 400 * second));
        assert_eq!(fight.round(start + 400 * second), None);
    }
}
