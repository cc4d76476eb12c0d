//! The kernel's watches on directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{Config, INotifyWatcher, RecursiveMode, Watcher};
use tracing::warn;

use super::super::files::{Id, id};
use super::notices::{News, Notices};

/// Not recursive, and set by us: `notify` finds out too late about what is written into a directory just made, and
/// not at all about what is made again.
pub(super) struct Watches {
    notices: Arc<Notices>,
    notifier: Option<INotifyWatcher>,
    /// What is watched, and what stood there when it was.
    watched: BTreeMap<PathBuf, Id>,
    is_whole: bool,
    is_warned: bool,
}

impl Watches {
    pub(super) fn new(notices: Arc<Notices>) -> Self {
        Self { notices, notifier: None, watched: BTreeMap::new(), is_whole: false, is_warned: false }
    }

    /// Whether everything that was wanted is watched.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Forgets the watches of which the news say that they ended.
    pub(super) fn forget(&mut self, news: &News) {
        if news.is_overrun {
            self.notifier = None;
            self.watched.clear();
        }
        for gone in &news.gone {
            // The notifier forgets what is below, too.
            let below: Vec<PathBuf> =
                self.watched.range(gone.clone()..).map(|(path, _)| path.clone()).collect();
            for path in below.into_iter().take_while(|path| path.starts_with(gone)) {
                self.watched.remove(&path);
            }
        }
    }

    /// Watches `wanted` and nothing else. Returns whether any watch is new: what happened in that directory before, or
    /// that it is another one than was wanted, nobody has told.
    pub(super) fn set(&mut self, wanted: &BTreeMap<PathBuf, Id>) -> bool {
        self.is_whole = true;
        if self.notifier.is_none() {
            let notices = Arc::clone(&self.notices);
            match INotifyWatcher::new(move |told| notices.note(told), Config::default()) {
                Ok(notifier) => self.notifier = Some(notifier),
                Err(error) => {
                    self.warn(None, &error);
                    return false;
                }
            }
        }
        // First the old ones: a directory that was renamed has one watch under two names.
        self.watched.retain(|path, id| {
            let is_wanted = wanted.get(path) == Some(id);
            if !is_wanted && let Some(notifier) = &mut self.notifier {
                // An error says that the watch ended with the directory.
                let _ = notifier.unwatch(path);
            }
            is_wanted
        });
        let mut held: BTreeSet<Id> = self.watched.values().copied().collect();
        let mut is_any_new = false;
        for path in wanted.keys() {
            if !self.watched.contains_key(path)
                && let Some(id) = identify(path)
                && held.insert(id)
            {
                is_any_new |= self.watch(path, id);
            }
        }
        is_any_new
    }

    /// Returns when all that the kernel told before is noted.
    pub(super) fn catch_up(&mut self) {
        if let Some(notifier) = &mut self.notifier {
            // The one thread that does all of the notifier's work answers when it is through with what came before.
            let _ = notifier.configure(Config::default());
        }
    }

    fn watch(&mut self, path: &Path, id: Id) -> bool {
        let Some(notifier) = &mut self.notifier else { return false };
        match notifier.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                if identify(path) == Some(id) {
                    self.watched.insert(path.to_owned(), id);
                } else {
                    let _ = notifier.unwatch(path);
                }
                true
            }
            // It went, and that is told of its parent.
            Err(error) if identify(path) != Some(id) => {
                tracing::debug!(path = %path.display(), %error, "gone before it was watched");
                true
            }
            Err(error) => {
                self.warn(Some(path), &error);
                false
            }
        }
    }

    fn warn(&mut self, path: Option<&Path>, error: &notify::Error) {
        self.is_whole = false;
        if !std::mem::replace(&mut self.is_warned, true) {
            let path = path.map(|path| path.display().to_string());
            warn!(path, %error, "changes of manifests are not told by the kernel: looked for every 2 s");
        }
    }
}

fn identify(path: &Path) -> Option<Id> {
    fs::metadata(path).ok().map(|metadata| id(&metadata))
}
