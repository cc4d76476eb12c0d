//! What changed, as events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::super::FileReading;
use crate::datastore::{Entry, Event, Key, Node, Origin, ReadError, Span, Value};

/// The events of one look, in an order in which nothing is missed in between.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Sources of which what was wrong is forgotten.
    pub(super) cleared: Vec<Arc<str>>,
    pub(super) put: Vec<Entry>,
    pub(super) unreadable: Vec<ReadError>,
    /// Behind `put`: a file that has another name is never away.
    pub(super) deleted: Vec<Key>,
    /// Directories and locations that are there again.
    pub(super) back: Vec<Arc<str>>,
    /// What is said last of the source as a whole.
    pub(super) end: Option<Event>,
}

impl Batch {
    pub(super) fn into_events(self) -> Vec<Event> {
        let Self { cleared, put, unreadable, deleted, back, end } = self;
        let cleared = cleared.into_iter().map(Event::Readable);
        let put = put.into_iter().map(Event::Put);
        let unreadable = unreadable.into_iter().map(Event::Unreadable);
        let deleted = deleted.into_iter().map(Event::Delete);
        let back = back.into_iter().map(Event::Readable);
        cleared.chain(put).chain(unreadable).chain(deleted).chain(back).chain(end).collect()
    }
}

/// What a file says as far as the other side knows.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// In the order of keys.
    entries: Vec<SaidEntry>,
    errors: Vec<ReadError>,
}

#[derive(Debug)]
struct SaidEntry {
    key: Key,
    sum: Sum,
    /// The other side holds it, too.
    text: Arc<str>,
}

/// Of an entry's values and their places. Entries that are alike have the same one, and no others do.
type Sum = [u8; 32];

impl Said {
    /// So many texts of one file may be held by entries that did not change with it.
    const MAX_TEXTS: usize = 8;

    /// Takes what the file says now. As long as something in it is wrong, what it said last stands; a file that has said
    /// nothing yet says what can be understood.
    pub(super) fn take(&mut self, source: &Arc<str>, reading: FileReading, batch: &mut Batch) {
        let FileReading { entries, errors } = reading;
        let stands = !errors.is_empty() && !self.entries.is_empty();
        if errors != self.errors {
            self.clear(source, batch);
            batch.unreadable.extend(errors.iter().cloned());
            self.errors = errors;
        }
        if !stands {
            self.say(entries, batch);
        }
    }

    /// What is wrong is said anew, if it still is.
    pub(super) fn forget_errors(&mut self) {
        self.errors.clear();
    }

    /// The file is gone.
    pub(super) fn withdraw(mut self, source: &Arc<str>, batch: &mut Batch) {
        self.clear(source, batch);
        self.say(Vec::new(), batch);
    }

    fn clear(&mut self, source: &Arc<str>, batch: &mut Batch) {
        if !self.errors.is_empty() {
            batch.cleared.push(Arc::clone(source));
        }
    }

    fn say(&mut self, entries: Vec<Entry>, batch: &mut Batch) {
        let texts: BTreeSet<*const u8> = self.entries.iter().map(|said| said.text.as_ptr()).collect();
        let say_all = texts.len() >= Self::MAX_TEXTS;
        let mut before: BTreeMap<Key, SaidEntry> =
            self.entries.drain(..).map(|said| (said.key.clone(), said)).collect();
        for entry in entries {
            let sum = sum(&entry.node);
            let said = match before.remove(&entry.key) {
                Some(said) if said.sum == sum && !say_all => said,
                Some(_) | None => {
                    let Entry { key, path: _, node: _, origin: Origin { source: _, text, written: _ } } =
                        &entry;
                    let said = SaidEntry { key: key.clone(), sum, text: Arc::clone(text) };
                    batch.put.push(entry);
                    said
                }
            };
            self.entries.push(said);
        }
        batch.deleted.extend(before.into_keys());
    }
}

fn sum(node: &Node) -> Sum {
    let mut hasher = Sha256::new();
    add(&mut hasher, node);
    hasher.finalize().into()
}

/// Each value with its shape and length in front, so that no two read alike. The reader bounds the depth.
fn add(hasher: &mut Sha256, Node { value, span }: &Node) {
    add_place(hasher, *span);
    match value {
        Value::Scalar(scalar) => {
            hasher.update(if scalar.plain { b"p" } else { b"q" });
            add_text(hasher, &scalar.text);
        }
        Value::Sequence(nodes) => {
            hasher.update(b"s");
            add_length(hasher, nodes.len());
            nodes.iter().for_each(|node| add(hasher, node));
        }
        Value::Mapping(entries) => {
            hasher.update(b"m");
            add_length(hasher, entries.len());
            for (key, node) in entries {
                add_place(hasher, key.span);
                add_text(hasher, &key.text);
                add(hasher, node);
            }
        }
    }
}

/// Byte offsets are left out: they point into the text that goes with them.
fn add_place(hasher: &mut Sha256, Span { start: _, end: _, line, column }: Span) {
    hasher.update(line.to_le_bytes());
    hasher.update(column.to_le_bytes());
}

fn add_text(hasher: &mut Sha256, text: &str) {
    add_length(hasher, text.len());
    hasher.update(text);
}

fn add_length(hasher: &mut Sha256, length: usize) {
    hasher.update((length as u64).to_le_bytes());
}
