//! What the kernel tells, gathered until somebody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    const QUIET: Duration = Duration::from_millis(2);
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

    /// Waits until there are news that have come to rest, or for `due`. Nothing is lost when this is dropped.
    pub(super) async fn next(&self, due: Instant) -> News {
        loop {
            let now = Instant::now();
            let ripe = self.lock().ripe();
            if ripe.is_some_and(|ripe| ripe <= now) || due <= now {
                return News { is_due: due <= now, ..self.lock().take(now) };
            }
            let until = ripe.map_or(due, |ripe| ripe.min(due));
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep_until(until.into()) => {}
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
