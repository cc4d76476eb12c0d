//! Manifests: streams of YAML (or JSON) documents in files and on standard input.
//!
//! What is read here stands between a person's file and the host's firewall, so nothing is guessed: a key given
//! twice, a tag (`selector: !has(x)`), a half-written document are errors with their place, never a value that
//! was not meant. An error is confined to its document. Depth, copies by aliases and file size are bounded.

mod files;
mod parts;
mod resources;
mod spans;
mod syntax;
mod tree;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::files::Found;
use self::parts::{Part, parts};
use self::tree::{Fault, tree};
pub use self::watch::{WatchError, watch};
use super::parallel::map;
use super::{Entry, Event, Key, Node, Origin, ReadError, Written};

/// Where manifests are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Standard input, shown as `<stdin>`.
    Stdin,
    /// A file of any name, or a directory whose `.yaml`, `.yml` and `.json` files are read, at any depth,
    /// but for hidden files and directories.
    Path(PathBuf),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("<stdin>"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

impl From<PathBuf> for Location {
    /// `-` is standard input.
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::Path(path) }
    }
}

/// What a source says at the moment.
#[derive(Clone, Debug, Default)]
pub struct FileReading {
    /// In the order written.
    pub entries: Vec<Entry>,
    /// One a broken document, or one for the whole source.
    pub errors: Vec<ReadError>,
}

impl FileReading {
    /// What was read as events: the entries, then the errors.
    pub fn into_events(self) -> impl Iterator<Item = Event> {
        let Self { entries, errors } = self;
        entries.into_iter().map(Event::Put).chain(errors.into_iter().map(Event::Unreadable))
    }
}

/// All that the locations say, ending with [`Event::InSync`]. The order is that of the locations, in a directory that
/// of the paths' bytes, in a file that of the text. A file that is named twice is read once.
pub fn read(locations: &[Location]) -> Vec<Event> {
    let readings = readings(&files::find(locations));
    readings.into_iter().flat_map(FileReading::into_events).chain([Event::InSync]).collect()
}

/// What one file says.
pub fn read_file(path: &Path) -> FileReading {
    readings(&[Found::File(path.to_owned())]).pop().unwrap_or_default()
}

/// What a text says that came from `source`. A byte order mark is not part of the text.
pub fn parse(source: &Arc<str>, text: &Arc<str>) -> FileReading {
    documents(&[Ok(Text { source: Arc::clone(source), text: Arc::clone(text) })]).pop().unwrap_or_default()
}

/// A source's whole text.
struct Text {
    source: Arc<str>,
    text: Arc<str>,
}

type Document = Result<Option<Node>, Fault>;

fn readings(found: &[Found]) -> Vec<FileReading> {
    documents(&map(found, files::load))
}

/// Reads all documents of all texts at once, as one file may hold most of them.
fn documents(texts: &[Result<Text, ReadError>]) -> Vec<FileReading> {
    let parts: Vec<Vec<Part<'_>>> =
        map(texts, |text| text.as_ref().map(|text| parts(&text.text)).unwrap_or_default());
    let mut documents = map(&parts.concat(), |part| tree(*part)).into_iter();
    let readings = texts.iter().zip(&parts).map(|(text, parts)| match text {
        Ok(text) => text.reading(documents.by_ref().take(parts.len())),
        Err(error) => FileReading { entries: Vec::new(), errors: vec![error.clone()] },
    });
    readings.collect()
}

impl Text {
    fn reading(&self, documents: impl Iterator<Item = Document>) -> FileReading {
        let mut reading = FileReading::default();
        for document in documents {
            match document {
                Ok(None) => {}
                Ok(Some(document)) => {
                    for node in resources::resources(document) {
                        let ordinal = reading.entries.len() + 1;
                        reading.entries.push(self.entry(ordinal, node));
                    }
                }
                Err(fault) => reading.errors.push(self.error(fault)),
            }
        }
        reading
    }

    /// Keys are texts: the ordinal is wide enough for any file, so that their order is the file's.
    fn entry(&self, ordinal: usize, node: Node) -> Entry {
        let key = Key(format!("{}#{ordinal:010}", self.source).into());
        Entry { key, path: None, node, origin: self.origin() }
    }

    fn error(&self, Fault { kind, span }: Fault) -> ReadError {
        let origin = self.origin();
        ReadError { place: origin.place(span), excerpt: Some(origin.excerpt(span)), kind }
    }

    fn origin(&self) -> Origin {
        Origin { source: Arc::clone(&self.source), text: Arc::clone(&self.text), written: Written::Manifest }
    }
}

#[cfg(test)]
mod tests;
