//! The one place that touches the file system: which files there are, and their texts.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::spans::{BOM, advance};
use super::{Location, Text};
use crate::datastore::{Place, ReadError, ReadErrorKind};

/// The largest file or standard input, in bytes.
const LIMIT: u64 = 64 << 20;

/// `O_NONBLOCK` of Linux on x86 and Arm. Opening a pipe that nobody writes to would wait for ever without it.
const O_NONBLOCK: i32 = 0o4000;

/// Something to read.
pub(super) enum Found {
    Stdin,
    File(PathBuf),
    /// Could not even be looked at.
    Unreachable(PathBuf, ReadErrorKind),
}

/// What there is to read at the locations, each file once.
pub(super) fn find(locations: &[Location]) -> Vec<Found> {
    let mut search = Search::default();
    let mut found = Vec::new();
    let mut has_stdin = false;
    for location in locations {
        match location {
            Location::Stdin if has_stdin => {}
            Location::Stdin => {
                has_stdin = true;
                found.push(Found::Stdin);
            }
            Location::Path(path) => {
                let mut below: Vec<Found> = search.path(path).into_iter().filter_map(Sight::found).collect();
                below.sort_by(|a, b| a.path_bytes().cmp(b.path_bytes()));
                found.append(&mut below);
            }
        }
    }
    found
}

/// The text of what was found, or why there is none.
pub(super) fn load(found: &Found) -> Result<Text, ReadError> {
    let source = found.name();
    let bytes = match found {
        Found::Stdin => read(io::stdin().lock(), LIMIT),
        Found::File(path) => open(path).and_then(|file| read(file, LIMIT)),
        Found::Unreachable(_, kind) => Err(kind.clone()),
    };
    match bytes {
        Ok(bytes) => decode(&source, &bytes).map(|text| Text { source, text }),
        Err(kind) => Err(ReadError { place: Place { source, line: 0, column: 0 }, excerpt: None, kind }),
    }
}

/// A path as it is shown to people, and in keys: as it was given.
pub(super) fn name(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

impl Found {
    fn name(&self) -> Arc<str> {
        match self {
            Self::Stdin => "<stdin>".into(),
            Self::File(path) | Self::Unreachable(path, _) => name(path),
        }
    }

    fn path_bytes(&self) -> &[u8] {
        match self {
            Self::Stdin => &[],
            Self::File(path) | Self::Unreachable(path, _) => path.as_os_str().as_bytes(),
        }
    }
}

impl From<io::Error> for ReadErrorKind {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// A walk through locations that comes by each thing once.
#[derive(Default)]
pub(super) struct Search {
    /// What was seen before, under whatever name. Ends loops of links, too.
    seen: BTreeSet<Id>,
}

/// Something that a walk came by.
pub(super) struct Sight {
    pub(super) path: PathBuf,
    /// A location itself, not something found in a directory.
    pub(super) is_given: bool,
    /// Found in a directory, as a symbolic link.
    pub(super) is_link: bool,
    pub(super) what: What,
}

pub(super) enum What {
    /// To be read.
    File(Metadata),
    /// What it holds comes later in the walk.
    Directory(Metadata),
    /// A directory that can't be listed.
    Closed(io::Error),
    /// A location, or something with a manifest's name, that can't be looked at.
    Unreachable(io::Error),
    /// Something without a manifest's name that can't be looked at: a directory, or of no interest.
    Adrift(io::Error),
}

impl Search {
    /// Everything at a location but for what was come by before. A directory comes before what is in it.
    pub(super) fn path(&mut self, given: &Path) -> Vec<Sight> {
        let above = above(given);
        let mut sights = Vec::new();
        let mut ahead = vec![Child { path: given.to_owned(), is_link: false }];
        while let Some(Child { path, is_link }) = ahead.pop() {
            let is_given = sights.is_empty();
            let is_wanted = is_given || is_manifest(&path);
            let what = match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    if above.contains(&id(&metadata)) || !self.seen.insert(id(&metadata)) {
                        continue;
                    }
                    match children(&path) {
                        Ok(children) => {
                            ahead.extend(children);
                            What::Directory(metadata)
                        }
                        Err(error) => What::Closed(error),
                    }
                }
                Ok(metadata) if is_wanted && self.seen.insert(id(&metadata)) => What::File(metadata),
                Ok(_) => continue,
                Err(error) if is_wanted => What::Unreachable(error),
                Err(error) => What::Adrift(error),
            };
            sights.push(Sight { path, is_given, is_link, what });
        }
        sights
    }
}

impl Sight {
    fn found(self) -> Option<Found> {
        match self.what {
            What::File(_) => Some(Found::File(self.path)),
            What::Closed(error) | What::Unreachable(error) => {
                Some(Found::Unreachable(self.path, error.into()))
            }
            What::Directory(_) | What::Adrift(_) => None,
        }
    }
}

/// Device and inode: what a thing is, whatever it is called.
pub(super) type Id = (u64, u64);

pub(super) fn id(metadata: &Metadata) -> Id {
    (metadata.dev(), metadata.ino())
}

/// The directories that `path` is in. A link to one of them would lead out of `path`, and back into it.
fn above(path: &Path) -> BTreeSet<Id> {
    let path = fs::canonicalize(path).unwrap_or_default();
    path.ancestors()
        .skip(1)
        .filter_map(|directory| fs::metadata(directory).ok())
        .map(|directory| id(&directory))
        .collect()
}

/// Something in a directory.
struct Child {
    path: PathBuf,
    is_link: bool,
}

/// What is in a directory but for hidden things (`.git`, `..data` of a mounted ConfigMap); the first name last.
fn children(directory: &Path) -> io::Result<Vec<Child>> {
    let mut children = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().as_bytes().starts_with(b".") {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            children.push(Child { path: entry.path(), is_link });
        }
    }
    children.sort_unstable_by(|a, b| b.path.cmp(&a.path));
    Ok(children)
}

/// Whether a file of this name is read when it is found in a directory.
pub(super) fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

/// Opens a regular file only: a pipe may block, and to open some devices is to use them.
fn open(path: &Path) -> Result<File, ReadErrorKind> {
    refuse_irregular(&fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    refuse_irregular(&file.metadata()?)?;
    Ok(file)
}

fn refuse_irregular(metadata: &Metadata) -> Result<(), ReadErrorKind> {
    if metadata.is_file() { Ok(()) } else { Err(ReadErrorKind::NotRegular) }
}

fn read(input: impl Read, limit: u64) -> Result<Vec<u8>, ReadErrorKind> {
    let mut bytes = Vec::new();
    let length = input.take(limit + 1).read_to_end(&mut bytes)?;
    if length as u64 > limit { Err(ReadErrorKind::TooLarge { limit }) } else { Ok(bytes) }
}

/// The text without its byte order mark.
pub(super) fn decode(source: &Arc<str>, bytes: &[u8]) -> Result<Arc<str>, ReadError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix(BOM).unwrap_or(text).into()),
        Err(error) => Err(not_utf8(source, bytes, error.valid_up_to())),
    }
}

fn not_utf8(source: &Arc<str>, bytes: &[u8], offset: usize) -> ReadError {
    let before = bytes.get(..offset).and_then(|before| std::str::from_utf8(before).ok()).unwrap_or_default();
    let before = before.strip_prefix(BOM).unwrap_or(before);
    let (line, column) = advance((1, 1), before);
    let place = Place { source: Arc::clone(source), line, column };
    ReadError { place, excerpt: None, kind: ReadErrorKind::NotUtf8 { offset } }
}
