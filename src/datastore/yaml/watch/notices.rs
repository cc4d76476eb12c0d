//! What the kernel tells, gathered until somebody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind};
use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::survey::Reach;

/// Between a notifier that must not wait and a reader that may be long in coming. What is not asked for in time is
/// summed up: it takes no more memory than [`Notices::MAX_PATHS`] paths.
#[derive(Debug, Default)]
pub(super) struct Notices {
    pending: Mutex<Pending>,
    wake: Notify,
}

/// What was told since the last time. All paths are real paths.
#[derive(Debug, Default)]
pub(super) struct News {
    /// More than is in the other fields: nothing that is known of the tree or of its watches can be relied on.
    pub(super) is_overrun: bool,
    /// It is time to look at everything.
    pub(super) is_due: bool,
    pub(super) touched: BTreeMap<PathBuf, Touch>,
    /// Went from under their names, and with them their watches.
    pub(super) gone: BTreeSet<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// Nobody writes to it, as far as can be seen.
    Rested,
    /// Written to for so long that we don't wait for its end.
    Restless,
}

#[derive(Debug, Default)]
struct Pending {
    reach: Arc<Reach>,
    news: News,
    /// Being written, and so not to be read.
    open: BTreeMap<PathBuf, Open>,
    /// Of the oldest and the youngest of the news.
    since: Option<(Instant, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    since: Instant,
    last: Instant,
}

impl Notices {
    /// What belongs to one change comes within this time of each other.
    const QUIET: Duration = Duration::from_micros(500);
    /// A wait that is shorter is done by a thread that may block: the runtime's clock ticks once a millisecond.
    const SHORT: Duration = Duration::from_millis(2);
    /// A change is told after this, however much comes behind it.
    const BURST: Duration = Duration::from_millis(50);
    /// A writer that pauses for so long is done, even if it does not close the file.
    pub(super) const PAUSE: Duration = Duration::from_secs(1);
    /// A writer that does not pause for so long is not waited for.
    pub(super) const PATIENCE: Duration = Duration::from_secs(5);
    const MAX_PATHS: usize = 16_384;

    /// Only what is told of `reach` counts from now on.
    pub(super) fn attend_to(&self, reach: Arc<Reach>) {
        self.lock().reach = reach;
    }

    /// Whether somebody is writing to the file.
    pub(super) fn is_open(&self, real: &Path) -> bool {
        self.lock().open.contains_key(real)
    }

    /// Takes what the kernel says. Called by the notifier's thread, and returns at once.
    pub(super) fn note(&self, told: notify::Result<Event>) {
        let now = Instant::now();
        let mut pending = self.lock();
        let (told_nothing, none_open) = (pending.since.is_none(), pending.open.is_empty());
        match told {
            Ok(event) if event.need_rescan() => pending.overrun(now),
            Ok(Event { kind, paths, attrs: _ }) => {
                if let Some(path) = paths.into_iter().next()
                    && pending.reach.holds(&path)
                {
                    pending.note(kind, path, now);
                }
            }
            Err(_) => pending.overrun(now),
        }
        // Whoever waits has the time of the first in mind, and what comes behind it only makes that later.
        if told_nothing && pending.since.is_some() || none_open && !pending.open.is_empty() {
            self.wake.notify_one();
        }
    }

    /// Waits until there are news that have all but come to rest, or for `due`; whether that is now. Nothing is lost
    /// when this is dropped.
    pub(super) async fn next(&self, due: Instant) -> bool {
        loop {
            let now = Instant::now();
            let ripe = self.lock().ripe();
            if due <= now || ripe.is_some_and(|ripe| ripe <= now + Self::SHORT) {
                return due <= now;
            }
            let until = ripe.map_or(due, |ripe| due.min(ripe));
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep_until(until.into()) => {}
            }
        }
    }

    /// Takes the news once they have come to rest. Blocks, shortly.
    pub(super) fn take(&self, is_due: bool) -> News {
        loop {
            let now = Instant::now();
            let mut pending = self.lock();
            let wait = pending.ripe().map(|ripe| ripe.saturating_duration_since(now));
            match wait.filter(|wait| !wait.is_zero() && *wait <= Self::SHORT) {
                None => return News { is_due, ..pending.take(now) },
                Some(wait) => {
                    drop(pending);
                    thread::sleep(wait);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn note(&mut self, kind: EventKind, path: PathBuf, now: Instant) {
        match kind {
            // We read, too.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.rest(path, now),
            EventKind::Access(_) => {}
            EventKind::Create(CreateKind::File) if is_to_be_written(&path) => self.open(path, now),
            EventKind::Modify(ModifyKind::Data(_)) => self.open(path, now),
            // Mode, owner, times: also set while a file is written.
            EventKind::Modify(ModifyKind::Metadata(_)) if self.open.contains_key(&path) => {}
            // Told before as `From` and `To`.
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {}
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
                self.news.gone.insert(path.clone());
                self.rest(path, now);
            }
            EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => {
                self.rest(path, now);
            }
        }
    }

    fn open(&mut self, path: PathBuf, now: Instant) {
        self.news.touched.remove(&path);
        self.open.entry(path).or_insert(Open { since: now, last: now }).last = now;
        if self.open.len() > Notices::MAX_PATHS {
            self.open.clear();
            self.overrun(now);
        }
    }

    fn rest(&mut self, path: PathBuf, now: Instant) {
        self.open.remove(&path);
        self.news.touched.insert(path, Touch::Rested);
        self.since = self.since.map_or(Some((now, now)), |(first, _)| Some((first, now)));
        if self.news.touched.len() > Notices::MAX_PATHS || self.news.gone.len() > Notices::MAX_PATHS {
            self.overrun(now);
        }
    }

    fn overrun(&mut self, now: Instant) {
        self.news = News { is_overrun: true, ..News::default() };
        self.since = self.since.map_or(Some((now, now)), |(first, _)| Some((first, now)));
    }

    /// When there will be news if nothing more comes.
    fn ripe(&self) -> Option<Instant> {
        let told = self.since.map(|(first, last)| (last + Notices::QUIET).min(first + Notices::BURST));
        let written = self.open.values().map(Open::ripe);
        told.into_iter().chain(written).min()
    }

    fn take(&mut self, now: Instant) -> News {
        self.since = None;
        let mut news = std::mem::take(&mut self.news);
        self.open.retain(|path, open| {
            let is_ripe = open.ripe() <= now;
            if is_ripe {
                news.touched.insert(path.clone(), open.touch(now));
            }
            !is_ripe
        });
        news
    }
}

impl Open {
    fn ripe(&self) -> Instant {
        (self.last + Notices::PAUSE).min(self.since + Notices::PATIENCE)
    }

    fn touch(&self, now: Instant) -> Touch {
        if self.last + Notices::PAUSE <= now { Touch::Rested } else { Touch::Restless }
    }
}

/// Whether what has just appeared at `path` is a file that its maker will write to and close. A link is complete.
fn is_to_be_written(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1)
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, Flag, MetadataKind};

    use super::*;

    const READ: EventKind = EventKind::Access(AccessKind::Open(AccessMode::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const MADE: EventKind = EventKind::Create(CreateKind::File);
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const MODE: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
    const CAME: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const LEFT: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));

    #[derive(Debug, PartialEq, Eq)]
    enum Is {
        Idle,
        Open,
        Rested,
        Gone,
    }

    fn attending(directory: &Path) -> Notices {
        let notices = Notices::default();
        let directories = BTreeMap::from([(directory.to_owned(), directory.to_owned())]);
        notices.attend_to(Arc::new(Reach { directories, steps: BTreeSet::new() }));
        notices
    }

    #[test]
    fn when_a_file_may_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.yaml");
        fs::write(&path, "a: 1").unwrap();
        let cases: [(&[EventKind], Is); 12] = [
            (&[READ], Is::Idle),
            (&[MADE], Is::Open),
            (&[MADE, WRITTEN, MODE], Is::Open),
            (&[MADE, WRITTEN, CLOSED], Is::Rested),
            (&[CLOSED, READ], Is::Rested),
            (&[CLOSED, WRITTEN], Is::Open),
            (&[WRITTEN, CAME], Is::Rested),
            (&[MODE], Is::Rested),
            (&[CAME], Is::Rested),
            (&[LEFT], Is::Gone),
            (&[LEFT, CAME], Is::Gone),
            (&[LEFT, WRITTEN], Is::Gone),
        ];
        for (kinds, want) in cases {
            let notices = attending(directory.path());
            for &kind in kinds {
                notices.note(Ok(Event::new(kind).add_path(path.clone())));
                notices.note(Ok(Event::new(kind).add_path("/elsewhere/a.yaml".into())));
            }
            let is_open = notices.is_open(&path);
            let is_awaited = notices.lock().ripe().is_some();
            let news = notices.lock().take(Instant::now());
            let is = match (news.gone.len(), news.touched.len(), is_open) {
                (1, ..) => Is::Gone,
                (_, 1, false) => Is::Rested,
                (_, 0, true) => Is::Open,
                (_, 0, false) => Is::Idle,
                other => panic!("{kinds:?}: {other:?}"),
            };
            assert_eq!((&is, is_awaited), (&want, want != Is::Idle), "{kinds:?}");
        }
    }

    #[test]
    fn a_writer_is_waited_for_but_not_for_ever() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let cases = [(0, 0, None), (3, 3, None), (3, 4, Some(Touch::Rested)), (5, 5, Some(Touch::Restless))];
        for (written, asked, want) in cases {
            let mut pending = Pending::default();
            for second in 0..=written {
                pending.note(WRITTEN, "/a.yaml".into(), after(second));
            }
            let news = pending.take(after(asked));
            assert_eq!(news.touched.values().next().copied(), want, "{written} {asked}");
            assert_eq!(pending.open.is_empty(), want.is_some());
        }
    }

    #[test]
    fn a_burst_is_bounded_in_time_and_in_memory() {
        let start = Instant::now();
        let mut pending = Pending::default();
        assert_eq!(pending.ripe(), None);
        pending.note(CLOSED, "/a.yaml".into(), start);
        assert_eq!(pending.ripe(), Some(start + Notices::QUIET));
        let later = start + Notices::BURST - Notices::QUIET / 2;
        for number in 0..=Notices::MAX_PATHS {
            pending.note(LEFT, format!("/{number}.yaml").into(), later);
        }
        assert_eq!(pending.ripe(), Some(start + Notices::BURST));
        let news = pending.take(later);
        assert!(news.is_overrun && news.touched.len() <= 1 && news.gone.len() <= 1);
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.yaml");
        let notices = attending(directory.path());
        let never = Instant::now() + Duration::from_secs(3600);
        let tell = async |kind: EventKind| {
            tokio::task::yield_now().await;
            notices.note(Ok(Event::new(kind).add_path(path.clone())));
            tokio::task::yield_now().await;
        };
        let (is_due, ()) = tokio::join!(notices.next(never), async {
            tell(WRITTEN).await;
            tell(CLOSED).await;
        });
        let news = notices.take(is_due);
        assert_eq!(news.touched.len(), 1);
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        let (is_due, ()) = tokio::join!(notices.next(never), async {
            tell(WRITTEN).await;
            notices.note(Ok(overflow));
        });
        let news = notices.take(is_due);
        assert!(news.is_overrun && !news.is_due);
        let is_due = notices.next(Instant::now()).await;
        assert!(notices.take(is_due).is_due);
    }
}
