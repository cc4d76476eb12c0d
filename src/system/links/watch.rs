//! The task that follows the kernel.

use std::future;
use std::time::Duration;

use tokio::sync::{mpsc, watch as latest};
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
/// ends with [`LinkChange::InSync`]; then come the changes. Everything is read again each `refresh`, as it is now; None:
/// never.
///
/// Where the kernel can't be asked, [`LinksError`] is logged, and it is tried again. Ends when the receiver is dropped.
/// To be called within a tokio runtime.
pub fn watch(refresh: latest::Receiver<Option<Duration>>) -> mpsc::Receiver<Vec<LinkChange>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(Follower::new(sender, refresh).run());
    receiver
}

struct Follower {
    sender: mpsc::Sender<Vec<LinkChange>>,
    refresh: latest::Receiver<Option<Duration>>,
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
    fn new(sender: mpsc::Sender<Vec<LinkChange>>, refresh: latest::Receiver<Option<Duration>>) -> Self {
        Self {
            sender,
            refresh,
            view: View::default(),
            batch: Batch::default(),
            sync: Sync::Never,
            begun: None,
            quiet_since: None,
            pause: FIRST_PAUSE,
        }
    }

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
                wire.ask(List::Links).await?;
                phase = Phase::begun();
            }
            let due = self.due();
            // Asked once: time goes on between two branches.
            let is_due = due.is_some_and(|due| due <= Instant::now());
            tokio::select! {
                () = sender.closed() => return Ok(()),
                permit = sender.reserve(), if is_due => {
                    match permit {
                        Ok(permit) => self.deliver(permit),
                        Err(mpsc::error::SendError(())) => return Ok(()),
                    }
                }
                heard = wire.receive() => {
                    for heard in heard? {
                        let asked = phase.list();
                        phase = self.hear(heard, phase)?;
                        if let Some(list) = phase.list().filter(|list| asked != Some(*list)) {
                            wire.ask(list).await?;
                        }
                    }
                }
                () = changed(&mut self.refresh) => phase = self.reconsider(phase),
                // Time to begin or to send.
                () = until(phase.begins()) => {}
                () = until(due), if !is_due => {}
                () = until(phase.ends()) => return Err(LinksError::Silent),
            }
        }
    }

    /// What comes next. The list of a busy phase, where it is another one, is to be asked for.
    fn hear(&mut self, heard: Heard, phase: Phase) -> Result<Phase, LinksError> {
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
                Phase::Busy { list: List::Addresses, reading, whole, until }
            }
            (Heard::Listed, Phase::Busy { list: List::Addresses, reading, whole: true, until: _ }) => {
                self.settle(reading);
                Phase::Idle(self.next_refresh())
            }
            (Heard::Listed, Phase::Busy { list: List::Addresses, reading: _, whole: false, until: _ }) => {
                Phase::Idle(Some(Instant::now() + self.longer_pause()))
            }
            (Heard::Interrupted | Heard::Refused(_) | Heard::Listed, idle @ Phase::Idle(_)) => idle,
        })
    }

    fn next_refresh(&self) -> Option<Instant> {
        self.refresh.borrow().map(|refresh| Instant::now() + refresh)
    }

    /// The time between two readings is another one. What is due earlier may be due for another reason.
    fn reconsider(&self, phase: Phase) -> Phase {
        match phase {
            Phase::Idle(at) => Phase::Idle(at.into_iter().chain(self.next_refresh()).min()),
            busy @ Phase::Busy { .. } => busy,
        }
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
    fn begun() -> Self {
        let (list, reading) = (List::Links, Reading::default());
        Self::Busy { list, reading, whole: true, until: Instant::now() + PATIENCE }
    }

    /// What is being listed.
    fn list(&self) -> Option<List> {
        match self {
            Self::Idle(_) => None,
            Self::Busy { list, .. } => Some(*list),
        }
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

/// Never, where nobody is left who could change it.
async fn changed(refresh: &mut latest::Receiver<Option<Duration>>) {
    if refresh.changed().await.is_err() {
        future::pending().await
    }
}

/// Never, where there is no such time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::view::{Device, Fact};
    use super::*;

    fn device(index: u32, name: &str) -> Fact {
        Fact::Link(Device { index, name: name.into(), up: true, running: true, mtu: 1500, mac: None })
    }

    fn follower() -> Follower {
        Follower::new(mpsc::channel(WAITING).0, latest::channel(Some(Duration::from_secs(3600))).1)
    }

    /// Where it is after all that: `links`, `addresses`, `soon`, `later` or `never`.
    fn after(follower: &mut Follower, heard: Vec<Heard>) -> &'static str {
        let busy = |phase, heard| follower.hear(heard, phase).unwrap();
        match heard.into_iter().fold(Phase::begun(), busy) {
            Phase::Busy { list: List::Links, .. } => "links",
            Phase::Busy { list: List::Addresses, .. } => "addresses",
            Phase::Idle(Some(at)) if at < Instant::now() + LAST_PAUSE => "soon",
            Phase::Idle(Some(_)) => "later",
            Phase::Idle(None) => "never",
        }
    }

    #[test]
    fn only_a_whole_reading_counts() {
        use Heard::{Found, Interrupted, Listed, Lost, Told};
        let a = || Found(device(1, "a"));
        let b = || Told(device(2, "b"));
        let cases = [
            (vec![a()], "links", vec![]),
            (vec![a(), Listed], "addresses", vec![]),
            (vec![a(), Listed, Listed], "later", vec!["a"]),
            (vec![a(), b(), Listed, Listed], "later", vec!["a", "b"]),
            (vec![a(), Interrupted, b(), Listed, Listed], "soon", vec![]),
            (vec![a(), Listed, Interrupted, Listed], "soon", vec![]),
            (vec![a(), Lost, Listed, Listed], "soon", vec![]),
            (vec![a(), Listed, Lost, Listed], "soon", vec![]),
            (vec![a(), Listed, Listed, Lost], "soon", vec!["a"]),
            // A late word of a list that is at its end.
            (vec![a(), Listed, Listed, Interrupted, Listed], "later", vec!["a"]),
        ];
        for (heard, want, names) in cases {
            let said = format!("{heard:?}");
            let mut follower = follower();
            assert_eq!(after(&mut follower, heard), want, "{said}");
            assert_eq!(follower.due().is_some(), follower.sync == Sync::Reached, "{said}");
            // Nothing is sent before all was read.
            let sent = if follower.due().is_some() { follower.batch.drain() } else { Vec::new() };
            let sent: Vec<&str> = sent
                .iter()
                .map(|change| match change {
                    LinkChange::Put(link) => &*link.name,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(sent, names, "{said}");
        }
    }

    #[test]
    fn only_differences_are_sent() {
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let mut follower = Follower::new(sender.clone(), latest::channel(None).1);
        after(&mut follower, vec![Heard::Found(device(1, "a")), Heard::Listed, Heard::Listed]);
        let mut deliver = |follower: &mut Follower| {
            follower.deliver(sender.try_reserve().unwrap());
            receiver.try_recv().ok()
        };
        let put = |index, name: &str| LinkChange::Put(super::super::link(index, name, true));
        assert_eq!(deliver(&mut follower), Some(vec![put(1, "a"), LinkChange::InSync]));
        for (told, want) in [(device(1, "a"), None), (device(2, "b"), Some(vec![put(2, "b")]))] {
            after(&mut follower, vec![Heard::Told(told)]);
            assert!(follower.due().is_some());
            assert_eq!(deliver(&mut follower), want);
            assert_eq!(follower.due(), None);
        }
    }

    #[test]
    fn pauses_grow_until_a_reading_succeeds() {
        let mut follower = follower();
        let pauses: Vec<u128> = (0..10).map(|_| follower.longer_pause().as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        after(&mut follower, vec![Heard::Listed, Heard::Listed]);
        assert_eq!(follower.longer_pause(), FIRST_PAUSE);
    }

    #[test]
    fn another_time_between_readings_holds_at_once() {
        let (set, refresh) = latest::channel(None);
        let follower = Follower::new(mpsc::channel(WAITING).0, refresh);
        let hour = Some(Duration::from_secs(3600));
        let now = Instant::now();
        for (refresh, due, expected) in [
            (hour, None, "later"),
            (Some(Duration::ZERO), Some(now + LAST_PAUSE), "soon"),
            (hour, Some(now), "soon"),
            (None, Some(now), "soon"),
            (None, None, "never"),
        ] {
            set.send_replace(refresh);
            let found = match follower.reconsider(Phase::Idle(due)) {
                Phase::Busy { .. } => "busy",
                Phase::Idle(Some(at)) if at < now + LAST_PAUSE => "soon",
                Phase::Idle(Some(_)) => "later",
                Phase::Idle(None) => "never",
            };
            assert_eq!(found, expected, "{refresh:?} {due:?}");
        }
    }

    #[test]
    fn a_refusal_is_an_error() {
        let refused = Heard::Refused(io::Error::from_raw_os_error(1));
        let error = follower().hear(refused, Phase::begun()).err();
        assert_eq!(
            error.map(|error| error.to_string()).as_deref(),
            Some("the kernel refuses to list interfaces: Operation not permitted (os error 1)")
        );
    }
}
