//! The task that follows the kernel.

use std::future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::batch::Batch;
use super::view::{Reading, View};
use super::wire::{Heard, List, Wire};
use super::{LinkChange, LinksError};

/// Messages that wait for the receiver. While there is no room, changes are merged.
const WAITING: usize = 4;

/// A burst is over when nothing was told for so long …
const QUIET: Duration = Duration::from_millis(10);
/// … and is sent in parts if it lasts.
const LONGEST: Duration = Duration::from_millis(100);

/// Between attempts: the first pause, doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// A list comes as fast as it is read; longer means that it will never end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Follows the interfaces of the network namespace that the caller is in. The first message is all that there is and
/// ends with [`LinkChange::InSync`]; then come the changes. Everything is read again each `refresh`.
///
/// Where the kernel can't be asked, [`LinksError`] is logged, and it is tried again. Ends when the receiver is dropped.
/// To be called within a tokio runtime.
pub fn watch(refresh: Option<Duration>) -> mpsc::Receiver<Vec<LinkChange>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let follower = Follower {
        sender,
        refresh,
        view: View::default(),
        batch: Batch::default(),
        sync: Sync::Never,
        begun: None,
        quiet_since: None,
        pause: FIRST_PAUSE,
    };
    tokio::spawn(follower.run());
    receiver
}

struct Follower {
    sender: mpsc::Sender<Vec<LinkChange>>,
    refresh: Option<Duration>,
    view: View,
    batch: Batch,
    sync: Sync,
    /// When the first and the last change of the batch came.
    begun: Option<Instant>,
    quiet_since: Option<Instant>,
    /// Before the next attempt, should this one fail.
    pause: Duration,
}

/// Whether everything was read once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Never,
    /// Yes, and the receiver is to be told.
    Reached,
    Said,
}

/// Where the reading of everything is.
enum Phase {
    /// To be begun at that time, if ever.
    Idle(Option<Instant>),
    Busy {
        list: List,
        reading: Reading,
        /// Nothing was lost since it began.
        whole: bool,
        /// When it is given up.
        until: Instant,
    },
}

impl Follower {
    async fn run(mut self) {
        let sender = self.sender.clone();
        loop {
            let Err(error) = self.follow().await else { return };
            let again = self.longer_pause();
            tracing::warn!(
                "interfaces are not followed: {error}; again in {again:?}; help: {}",
                error.help()
            );
            tokio::select! {
                () = sleep(again) => {}
                () = sender.closed() => return,
            }
        }
    }

    /// Follows the kernel by one socket. `Ok` when the receiver is gone.
    async fn follow(&mut self) -> Result<(), LinksError> {
        let sender = self.sender.clone();
        let mut wire = Wire::open()?;
        let mut phase = Phase::Idle(Some(Instant::now()));
        loop {
            if matches!(phase, Phase::Idle(Some(at)) if at <= Instant::now()) {
                phase = Phase::begin(&mut wire).await?;
            }
            let due = self.due();
            tokio::select! {
                () = sender.closed() => return Ok(()),
                permit = sender.reserve(), if due.is_some_and(|due| due <= Instant::now()) => {
                    match permit {
                        Ok(permit) => self.deliver(permit),
                        Err(mpsc::error::SendError(())) => return Ok(()),
                    }
                }
                heard = wire.receive() => {
                    for heard in heard? {
                        phase = self.hear(heard, phase, &mut wire).await?;
                    }
                }
                // Time to begin or to send.
                () = until(phase.begins()) => {}
                () = until(due), if due.is_some_and(|due| due > Instant::now()) => {}
                () = until(phase.ends()) => return Err(LinksError::Silent),
            }
        }
    }

    async fn hear(&mut self, heard: Heard, phase: Phase, wire: &mut Wire) -> Result<Phase, LinksError> {
        Ok(match (heard, phase) {
            (Heard::Told(fact), mut phase) => {
                if let Phase::Busy { reading, .. } = &mut phase {
                    reading.told(&fact);
                }
                let changes = self.view.take(fact);
                self.note(changes);
                phase
            }
            (Heard::Found(fact), mut phase) => {
                if let Phase::Busy { reading, .. } = &mut phase {
                    reading.found(fact);
                }
                phase
            }
            (Heard::Lost, Phase::Idle(at)) => {
                tracing::warn!(
                    "the kernel told of more changes of interfaces than were taken up; all are read again"
                );
                let soon = Instant::now() + self.longer_pause();
                Phase::Idle(Some(at.map_or(soon, |at| at.min(soon))))
            }
            (Heard::Lost | Heard::Interrupted, Phase::Busy { list, reading, whole: _, until }) => {
                Phase::Busy { list, reading, whole: false, until }
            }
            (Heard::Refused(source), Phase::Busy { .. }) => return Err(LinksError::Refused { source }),
            (Heard::Listed, Phase::Busy { list: List::Links, reading, whole, until }) => {
                wire.ask(List::Addresses).await?;
                Phase::Busy { list: List::Addresses, reading, whole, until }
            }
            (Heard::Listed, Phase::Busy { list: List::Addresses, reading, whole: true, until: _ }) => {
                self.settle(reading);
                Phase::Idle(self.refresh.map(|refresh| Instant::now() + refresh))
            }
            (Heard::Listed, Phase::Busy { list: List::Addresses, reading: _, whole: false, until: _ }) => {
                Phase::Idle(Some(Instant::now() + self.longer_pause()))
            }
            (Heard::Interrupted | Heard::Refused(_) | Heard::Listed, idle @ Phase::Idle(_)) => idle,
        })
    }

    /// A whole reading has come in.
    fn settle(&mut self, reading: Reading) {
        let changes = self.view.settle(reading);
        self.note(changes);
        self.pause = FIRST_PAUSE;
        if self.sync == Sync::Never {
            self.sync = Sync::Reached;
        }
    }

    fn note(&mut self, changes: Vec<LinkChange>) {
        if changes.is_empty() {
            return;
        }
        let now = Instant::now();
        self.begun.get_or_insert(now);
        self.quiet_since = Some(now);
        changes.into_iter().for_each(|change| self.batch.take(change));
    }

    /// When the batch is to be sent. Never before everything was read once, and then at once.
    fn due(&self) -> Option<Instant> {
        match self.sync {
            Sync::Never => None,
            Sync::Reached => Some(Instant::now()),
            Sync::Said => Some((self.quiet_since? + QUIET).min(self.begun? + LONGEST)),
        }
    }

    fn deliver(&mut self, permit: mpsc::Permit<'_, Vec<LinkChange>>) {
        let mut changes = self.batch.drain();
        (self.begun, self.quiet_since) = (None, None);
        if self.sync == Sync::Reached {
            self.sync = Sync::Said;
            changes.push(LinkChange::InSync);
        }
        if !changes.is_empty() {
            permit.send(changes);
        }
    }

    /// How long to wait now; the next time longer, until a reading succeeds.
    fn longer_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LAST_PAUSE);
        pause
    }
}

impl Phase {
    async fn begin(wire: &mut Wire) -> Result<Self, LinksError> {
        wire.ask(List::Links).await?;
        let (list, reading) = (List::Links, Reading::default());
        Ok(Self::Busy { list, reading, whole: true, until: Instant::now() + PATIENCE })
    }

    fn begins(&self) -> Option<Instant> {
        match self {
            Self::Idle(at) => *at,
            Self::Busy { .. } => None,
        }
    }

    fn ends(&self) -> Option<Instant> {
        match self {
            Self::Idle(_) => None,
            Self::Busy { until, .. } => Some(*until),
        }
    }
}

/// Never, where there is no such time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => future::pending().await,
    }
}
