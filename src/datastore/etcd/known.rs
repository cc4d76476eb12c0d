//! What the store was last seen to hold, and what a new look at it changes.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::sync::Arc;

use super::layout::{self, Form};
use super::store::Row;
use super::value;
use crate::datastore::{
    Entry, Key, Node, Origin, Place, ReadError, ReadErrorKind, Scalar, Span, StoredPath, Value, Written,
};

/// Larger than etcd takes unless it is told to.
const VALUE_LIMIT: usize = 8 << 20;

/// Every key that is there, and as of which revision.
#[derive(Default)]
pub(super) struct Known {
    keys: BTreeMap<Arc<str>, Version>,
    hasher: RandomState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    revision: i64,
    /// Of the value: after a restore, another value may have the same revision.
    sum: u64,
    /// What could not be read, as it was named.
    complaint: Option<Arc<str>>,
}

/// Something that is other than it was.
#[derive(Debug)]
pub(super) enum Change {
    Put(Entry),
    Delete(Key),
    Unreadable(ReadError),
    Readable(Arc<str>),
}

/// A key and its value, read as far as this can be done without knowing what was there before.
pub(super) struct Stored {
    key: Arc<str>,
    revision: i64,
    sum: u64,
    reading: Result<Entry, ReadError>,
}

impl Known {
    /// Whether the key was seen as of that revision.
    pub(super) fn has(&self, key: &str, revision: i64) -> bool {
        self.keys.get(key).is_some_and(|version| version.revision == revision)
    }

    /// All known keys that begin so.
    pub(super) fn below<'k>(&'k self, prefix: &'k str) -> impl Iterator<Item = &'k Arc<str>> {
        let from = self.keys.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.map(|(key, _)| key).take_while(move |key| key.starts_with(prefix))
    }

    pub(super) fn hasher(&self) -> RandomState {
        self.hasher.clone()
    }

    /// The key has this value now.
    pub(super) fn put(&mut self, stored: Stored, changes: &mut Vec<Change>) {
        let Stored { key, revision, sum, reading } = stored;
        let old = self.keys.get(&key);
        if old.is_some_and(|old| old.sum == sum && old.complaint.is_none()) {
            // Written again as it was: nothing to say.
            if let Some(version) = self.keys.get_mut(&key) {
                version.revision = revision;
            }
            return;
        }
        changes.extend(old.and_then(|old| old.complaint.clone()).map(Change::Readable));
        let complaint = match reading {
            Ok(entry) => {
                changes.push(Change::Put(entry));
                None
            }
            Err(error) => {
                let source = Arc::clone(&error.place.source);
                changes.push(Change::Unreadable(error));
                Some(source)
            }
        };
        self.keys.insert(key, Version { revision, sum, complaint });
    }

    /// The key is gone.
    pub(super) fn delete(&mut self, key: &str, changes: &mut Vec<Change>) {
        let Some((key, version)) = self.keys.remove_entry(key) else { return };
        changes.push(Change::Delete(Key(key)));
        changes.extend(version.complaint.map(Change::Readable));
    }
}

impl Stored {
    /// None for keys that say nothing to us.
    pub(super) fn of(row: &Row, root: &str, hasher: &RandomState) -> Option<Self> {
        let Row { key, revision, value, is_deleted: _, lease: _ } = row;
        let path = StoredPath::of(key.strip_prefix(root)?);
        let form = layout::form(&path)?;
        let source: Arc<str> = format!("{key}@{revision}").into();
        let key: Arc<str> = key.as_str().into();
        let reading = read(&source, value, form).map(|(text, node)| Entry {
            key: Key(Arc::clone(&key)),
            path: Some(path),
            node,
            origin: Origin { source, text, written: Written::Stored },
        });
        Some(Self { key, revision: *revision, sum: hasher.hash_one(value), reading })
    }

    pub(super) fn into_reading(self) -> Result<Entry, ReadError> {
        self.reading
    }
}

fn read(source: &Arc<str>, value: &[u8], form: Form) -> Result<(Arc<str>, Node), ReadError> {
    let error = |kind| {
        let place = Place { source: Arc::clone(source), line: 0, column: 0 };
        ReadError { place, excerpt: None, kind }
    };
    if value.len() > VALUE_LIMIT {
        return Err(error(ReadErrorKind::TooLarge { limit: VALUE_LIMIT as u64 }));
    }
    let text = std::str::from_utf8(value)
        .map_err(|fault| error(ReadErrorKind::NotUtf8 { offset: fault.valid_up_to() }))?;
    let node = match form {
        // IPAM claims a block by its key alone.
        Form::Json if text.is_empty() => nothing(),
        Form::Json => value::tree(source, text)?,
        Form::Text => value::plain_text(text),
    };
    Ok((text.into(), node))
}

fn nothing() -> Node {
    let scalar = Scalar { text: Box::default(), plain: true };
    Node { value: Value::Scalar(scalar), span: Span { start: 0, end: 0, line: 1, column: 1 } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, revision: i64, value: &[u8]) -> Row {
        Row { key: key.to_owned(), revision, value: value.to_vec(), is_deleted: false, lease: 0 }
    }

    fn words(change: &Change) -> String {
        match change {
            Change::Put(entry) => format!("put {}", entry.origin.source),
            Change::Delete(key) => format!("delete {key}"),
            Change::Unreadable(error) => format!("unreadable {error}"),
            Change::Readable(source) => format!("readable {source}"),
        }
    }

    /// What a key's history makes be said.
    #[test]
    fn changes() {
        let mut known = Known::default();
        let hasher = known.hasher();
        let mut step = |revision: i64, value: Option<&[u8]>| {
            let mut changes = Vec::new();
            match value {
                None => known.delete("/c/v1/policy/p", &mut changes),
                Some(value) => {
                    let stored = Stored::of(&row("/c/v1/policy/p", revision, value), "/c/", &hasher);
                    known.put(stored.expect("a key that we read"), &mut changes);
                }
            }
            assert_eq!(known.has("/c/v1/policy/p", revision), value.is_some());
            changes.iter().map(words).collect::<Vec<_>>().join("; ")
        };
        let source = |revision| format!("/c/v1/policy/p@{revision}");
        assert_eq!(step(1, Some(b"{}")), format!("put {}", source(1)));
        assert_eq!(step(2, Some(b"{}")), "");
        assert_eq!(step(3, Some(b"{\"a\":1}")), format!("put {}", source(3)));
        let broken = step(4, Some(b"{"));
        assert!(broken.starts_with(&format!("unreadable {}:1:1: not valid JSON", source(4))), "{broken}");
        let worse = step(5, Some(b"\xff"));
        let expected = format!("readable {}; unreadable {}: not UTF-8 at byte 0", source(4), source(5));
        assert_eq!(worse, expected);
        assert_eq!(step(6, Some(b"{}")), format!("readable {}; put {}", source(5), source(6)));
        step(7, Some(b"{"));
        assert_eq!(step(8, None), format!("delete /c/v1/policy/p; readable {}", source(7)));
        assert_eq!(step(9, None), "");
        assert!(known.keys.is_empty());
    }

    #[test]
    fn keys_below() {
        let mut known = Known::default();
        let hasher = known.hasher();
        for key in ["/c/v1/policy/a", "/c/v1/policy/b", "/c/v1/policz/c"] {
            let stored = Stored::of(&row(key, 1, b"{}"), "/c/", &hasher);
            stored.into_iter().for_each(|stored| known.put(stored, &mut Vec::new()));
        }
        let below: Vec<&str> = known.below("/c/v1/policy/").map(|key| &**key).collect();
        assert_eq!(below, ["/c/v1/policy/a", "/c/v1/policy/b"]);
    }
}
