//! What the other side has not been told yet, summed up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::known::Change;
use crate::datastore::{Entry, Event, Key, ReadError};

/// Between who reads the store and who listens.
///
/// However long the other side is busy, what waits for it is bounded by what the store holds: of each key only the last
/// state is kept. What it was told is remembered, so that nothing is said that it knows, nor taken back that it was never
/// told.
#[derive(Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Default)]
struct State {
    /// None: it is gone.
    entries: BTreeMap<Key, Option<Entry>>,
    /// None: it can be read again.
    complaints: BTreeMap<Arc<str>, Option<ReadError>>,
    revision: Option<i64>,
    /// Whether the store can be read; None before the first try.
    readable: Option<bool>,
    told: Told,
}

/// What the other side knows.
#[derive(Default)]
struct Told {
    entries: BTreeSet<Key>,
    complaints: BTreeMap<Arc<str>, ReadError>,
    revision: Option<i64>,
    readable: Option<bool>,
}

impl Outbox {
    /// Changes of the store, up to `revision`.
    pub(super) fn changed(&self, changes: Vec<Change>, revision: i64) {
        let mut state = self.state();
        state.take(changes);
        state.revision = Some(revision);
        drop(state);
        self.more.notify_one();
    }

    /// Changes of the store, behind which all is said that it holds.
    pub(super) fn in_sync(&self, store: &Arc<str>, changes: Vec<Change>, revision: i64) {
        let mut state = self.state();
        state.take(changes);
        state.withdraw(Arc::clone(store));
        state.revision = Some(revision);
        state.readable = Some(true);
        drop(state);
        self.more.notify_one();
    }

    /// The store as a whole can't be read.
    pub(super) fn lost(&self, error: ReadError) {
        let mut state = self.state();
        state.complaints.insert(Arc::clone(&error.place.source), Some(error));
        state.readable = Some(false);
        drop(state);
        self.more.notify_one();
    }

    /// Says what there is to say whenever there is room for it, until nobody listens.
    pub(super) async fn deliver(&self, sender: mpsc::Sender<Vec<Event>>) {
        while let Ok(room) = sender.reserve().await {
            let batch = loop {
                let batch = self.state().batch();
                if !batch.is_empty() {
                    break batch;
                }
                tokio::select! {
                    () = sender.closed() => return,
                    () = self.more.notified() => {}
                }
            };
            room.send(batch);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put(entry) => {
                    self.entries.insert(entry.key.clone(), Some(entry));
                }
                Change::Delete(key) => {
                    self.entries.insert(key, None);
                }
                Change::Unreadable(error) => {
                    self.complaints.insert(Arc::clone(&error.place.source), Some(error));
                }
                Change::Readable(source) => self.withdraw(source),
            }
        }
    }

    /// What nobody was told is forgotten: else what waits would grow with each bad value of one key.
    fn withdraw(&mut self, source: Arc<str>) {
        if self.told.complaints.contains_key(&source) {
            self.complaints.insert(source, None);
        } else {
            self.complaints.remove(&source);
        }
    }

    /// What has to be said: what is put before what is gone, so that nothing that moves is away in between.
    fn batch(&mut self) -> Vec<Event> {
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for (key, entry) in std::mem::take(&mut self.entries) {
            match entry {
                Some(entry) => {
                    self.told.entries.insert(key);
                    puts.push(Event::Put(entry));
                }
                None if self.told.entries.remove(&key) => deletes.push(Event::Delete(key)),
                None => {}
            }
        }
        let revision = self.revision.filter(|_| self.told.revision != self.revision);
        self.told.revision = self.revision;
        let complaints = self.complaints();
        let sync = self.sync();
        let batch = puts.into_iter().chain(deletes).chain(revision.map(Event::Revision)).chain(complaints);
        batch.chain(sync).collect()
    }

    fn complaints(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for (source, complaint) in std::mem::take(&mut self.complaints) {
            let told = self.told.complaints.remove(&source);
            match complaint {
                Some(error) => {
                    if told.as_ref() != Some(&error) {
                        events.extend(told.map(|_| Event::Readable(Arc::clone(&source))));
                        events.push(Event::Unreadable(error.clone()));
                    }
                    self.told.complaints.insert(source, error);
                }
                None => events.extend(told.map(|_| Event::Readable(source))),
            }
        }
        events
    }

    fn sync(&mut self) -> Option<Event> {
        let readable = self.readable.filter(|_| self.told.readable != self.readable)?;
        self.told.readable = self.readable;
        Some(if readable { Event::InSync } else { Event::Lost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datastore::{Place, ReadErrorKind, yaml};

    fn put(key: &str) -> Change {
        let entry = yaml::parse(&"a".into(), &"{a: 1}".into()).entries.remove(0);
        Change::Put(Entry { key: Key(key.into()), ..entry })
    }

    fn delete(key: &str) -> Change {
        Change::Delete(Key(key.into()))
    }

    fn error(source: &str, words: &str) -> ReadError {
        let place = Place { source: source.into(), line: 0, column: 0 };
        ReadError { place, excerpt: None, kind: ReadErrorKind::Json(words.to_owned()) }
    }

    fn said(outbox: &Outbox) -> String {
        let words = |event: &Event| match event {
            Event::Put(entry) => format!("put {}", entry.key),
            Event::Delete(key) => format!("delete {key}"),
            Event::Unreadable(error) => format!("unreadable {error}"),
            Event::Readable(source) => format!("readable {source}"),
            Event::Revision(revision) => format!("revision {revision}"),
            Event::InSync => "in sync".to_owned(),
            Event::Lost => "lost".to_owned(),
        };
        outbox.state().batch().iter().map(words).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn only_the_last_state_is_said_and_nothing_twice() {
        let (outbox, store) = (Outbox::default(), Arc::from("etcd"));
        assert_eq!(said(&outbox), "");
        outbox.in_sync(&store, vec![put("a"), put("b")], 5);
        assert_eq!(said(&outbox), "put a, put b, revision 5, in sync");
        outbox.changed(vec![delete("a"), put("a"), put("c"), delete("c"), delete("b"), put("d")], 9);
        assert_eq!(said(&outbox), "put a, put d, delete b, revision 9");
        outbox.changed(vec![delete("z")], 9);
        assert_eq!(said(&outbox), "");
        outbox.changed(vec![put("b")], 10);
        assert_eq!(said(&outbox), "put b, revision 10");
    }

    #[test]
    fn losses_and_complaints() {
        let (outbox, store) = (Outbox::default(), Arc::from("etcd"));
        outbox.lost(error("etcd", "x"));
        assert_eq!(said(&outbox), "unreadable etcd: not valid JSON: x, lost");
        outbox.lost(error("etcd", "x"));
        assert_eq!(said(&outbox), "");
        outbox.lost(error("etcd", "y"));
        assert_eq!(said(&outbox), "readable etcd, unreadable etcd: not valid JSON: y");
        outbox.in_sync(&store, vec![put("a"), Change::Unreadable(error("k@1", "z"))], 1);
        let all = "put a, revision 1, readable etcd, unreadable k@1: not valid JSON: z, in sync";
        assert_eq!(said(&outbox), all);
        // Gone and back while nobody listened.
        outbox.lost(error("etcd", "x"));
        outbox.in_sync(&store, vec![Change::Readable("k@1".into())], 1);
        assert_eq!(said(&outbox), "readable k@1");
        outbox.changed(vec![Change::Unreadable(error("k@2", "z")), Change::Readable("k@2".into())], 1);
        assert!(outbox.state().complaints.is_empty());
        assert_eq!(said(&outbox), "");
    }
}
