//! IN: documents and where they came from, not what they mean.
//!
//! A *source* (a directory of YAML, standard input, etcd) says [`Event`]s. An [`Entry`] is one resource
//! as a tree of [`Node`]s that remember their place, so that every later stage can point at the very value it
//! complains about.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "the edge where files are read"
)]

mod backoff;
pub mod etcd;
mod node;
mod parallel;
mod path;
mod place;
mod read_error;
pub mod yaml;

pub use backoff::Backoff;
pub use node::{Node, Scalar, Span, Value};
pub use path::StoredPath;
pub use place::{Excerpt, Place};
pub use read_error::{ReadError, ReadErrorKind};

use std::fmt;
use std::sync::Arc;

/// All that a source can say.
#[derive(Clone, Debug)]
pub enum Event {
    /// The entry is there, or has another value now. May repeat.
    Put(Entry),
    /// The entry is gone.
    Delete(Key),
    /// Part of a source could not be read. What it last said stands until a [`Event::Readable`] for the same name.
    Unreadable(ReadError),
    /// The named part of a source (a file, an etcd key) can be read again.
    Readable(Arc<str>),
    /// Everything that the store held at this revision has been said. Only of stores that count their changes, and where
    /// this is known to be so; at most once a batch.
    Revision(i64),
    /// Everything that was there when the source was opened has been said.
    InSync,
    /// The source is away; what it said last stands.
    Lost,
}

/// What names an entry within its source: a file and the position in it, or an etcd key.
/// Says nothing about which resource it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Arc<str>);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One resource as it was written.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Key,
    /// Where a store keeps it, which says what it is. None in manifests: there the document alone says it.
    pub path: Option<StoredPath>,
    pub node: Node,
    pub origin: Origin,
}

/// Where an entry came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file, `<stdin>`, or the etcd key and revision.
    pub source: Arc<str>,
    /// The text that the entry's spans point into (a whole file, or one stored value).
    pub text: Arc<str>,
    pub written: Written,
}

/// Who completed the object: nobody yet, or the client that stored it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// By a person, in a file: defaults that a client would fill in are still missing.
    Manifest,
    /// By a client, in a datastore: taken as it is.
    Stored,
}

impl Origin {
    /// The place of `span` in this source.
    pub fn place(&self, span: Span) -> Place {
        Place { source: Arc::clone(&self.source), line: span.line, column: span.column }
    }

    /// The line at `span`, to be shown underlined.
    pub fn excerpt(&self, span: Span) -> Excerpt {
        Excerpt::of(&self.text, span)
    }
}
