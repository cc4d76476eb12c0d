//! Manifests followed: what changes in them, as it happens.

mod follower;
mod inotify;
mod notices;
mod said;
mod survey;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use self::follower::{Follower, Look};
use self::notices::Notices;
use super::Location;
use crate::datastore::Event;

/// Follows the locations, until the receiver is dropped. Needs a Tokio runtime with its timer.
///
/// The first batch is everything that is there, and ends with [`Event::InSync`], or with [`Event::Lost`] as long as a
/// location or directory can't be looked into. The goals, the first the dearest:
///
/// 1. *Nothing is invented.* A file that is being written is not read until its writer closes it, pauses for a second, or
///    does not come to an end. What went is looked for twice. Where a directory can't be looked into, what was said of it
///    stands, as does what a file said before something in it went wrong ([`Event::Unreadable`], then
///    [`Event::Readable`]).
/// 2. *Nothing is missed.* The kernel's notices say where to look, never what is there. Directories are watched before they
///    are read, and all is looked at every 30 s, or every 2 s if the kernel can't watch: a file is read again if its
///    stamp is another one.
/// 3. *A gap is worse than a repetition.* In a batch, what is put comes before what is deleted, so that a file under a new
///    name is never away. Entries that did not change, nor their place, are not said again.
/// 4. *Promptly, and with bounded memory.* A known file that changes is read alone, half a millisecond after it was closed; a burst is
///    one batch. A batch is made when there is room for it: what happens while the other side is busy is summed up.
///
/// One task waits, and looks on a thread that may block; the notifier's thread only takes notes.
///
/// # Errors
///
/// Standard input ends, and can't be read again.
pub fn watch(locations: Vec<Location>) -> Result<mpsc::Receiver<Vec<Event>>, WatchError> {
    let paths = locations.into_iter().map(|location| match location {
        Location::Path(path) => Ok(path),
        Location::Stdin => Err(WatchError::Stdin),
    });
    let paths = paths.collect::<Result<_, _>>()?;
    let notices = Arc::new(Notices::default());
    let follower = Follower::new(paths, Arc::clone(&notices));
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(follow(follower, notices, sender));
    Ok(receiver)
}

/// Why manifests can't be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchError {
    /// A location is standard input.
    Stdin,
}

impl WatchError {
    /// What can be done about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Stdin => "give a directory or a file",
        }
    }
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input can't be followed: it is read once, to its end"),
        }
    }
}

impl std::error::Error for WatchError {}

async fn follow(mut follower: Follower, notices: Arc<Notices>, sender: mpsc::Sender<Vec<Event>>) {
    let mut due = Instant::now();
    while let Ok(room) = sender.reserve().await {
        let is_due = tokio::select! {
            () = sender.closed() => return,
            is_due = notices.next(due) => is_due,
        };
        let notices = Arc::clone(&notices);
        let look = spawn_blocking(move || {
            let look = follower.look(&notices.take(is_due));
            (follower, look)
        });
        // Fails when the runtime is being shut down.
        let Ok((same, Look { events, due: next })) = look.await else { return };
        (follower, due) = (same, next);
        if !events.is_empty() {
            room.send(events);
        }
    }
}
