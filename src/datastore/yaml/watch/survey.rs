//! Which files there are and their stamps, and all the places where a change would alter that.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::files::{Id, Search, Sight, What, id};
use crate::datastore::ReadErrorKind;

/// What one walk through the locations came by.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// By the path that names them in keys.
    pub(super) files: BTreeMap<PathBuf, Sighted>,
    /// Directories and locations that can't be looked into. What was known below them is not known to be gone.
    pub(super) away: BTreeMap<PathBuf, ReadErrorKind>,
    /// Things of unknown kind that can't be looked at: away if something is known below them.
    pub(super) adrift: BTreeMap<PathBuf, ReadErrorKind>,
    /// Which file is behind a real path, by the name in keys.
    pub(super) names: BTreeMap<PathBuf, PathBuf>,
    pub(super) reach: Arc<Reach>,
    /// To be watched: all parents of what is in `reach`, as real paths.
    pub(super) watched: BTreeMap<PathBuf, Id>,
}

#[derive(Debug)]
pub(super) enum Sighted {
    File {
        stamp: Stamp,
        /// Without links on the way: as the kernel tells of it.
        real: PathBuf,
    },
    /// A name of a manifest at which nothing can be looked at, as a link that leads nowhere.
    Unreachable(ReadErrorKind),
}

/// Where a change may matter, as real paths.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Whatever appears in or goes from these matters. Each with the path that names what is in it in keys.
    pub(super) directories: BTreeMap<PathBuf, PathBuf>,
    /// What the way to a location, or through a symbolic link, leads over. `..data` of a mounted ConfigMap is one.
    pub(super) steps: BTreeSet<PathBuf>,
}

impl Reach {
    pub(super) fn holds(&self, path: &Path) -> bool {
        self.steps.contains(path)
            || self.directories.contains_key(path)
            || path.parent().is_some_and(|parent| self.directories.contains_key(parent))
    }
}

impl Survey {
    pub(super) fn of(locations: &[PathBuf]) -> Self {
        let mut surveyor = Surveyor::default();
        let mut search = Search::default();
        for location in locations {
            for sight in search.path(location) {
                surveyor.note(sight);
            }
        }
        surveyor.finish()
    }
}

/// The state of a file. As long as it is the same, so is the text, unless the stamp was young when the text was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) id: Id,
    pub(super) kind: FileType,
    pub(super) links: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// As the kernel sets it: people and tools can't.
    changed: (i64, i64),
}

impl Stamp {
    /// Kernels tell the time in ticks: what is written twice in one tick may have one stamp.
    const TICK: Duration = Duration::from_millis(20);
    /// Of file systems that know only (even) seconds.
    const SECONDS: Duration = Duration::from_secs(2);

    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }

    /// Since the text was last written; nothing, if that is in the future. A new name or mode is no writing.
    pub(super) fn rested(&self, now: SystemTime) -> Duration {
        since(self.modified, now)
    }

    /// Whether a change at `now` or later is sure to give another stamp.
    pub(super) fn is_sure(&self, now: SystemTime) -> bool {
        let (_, nanoseconds) = self.changed;
        since(self.changed, now) > if nanoseconds == 0 { Self::SECONDS } else { Self::TICK }
    }
}

fn since((seconds, nanoseconds): (i64, i64), now: SystemTime) -> Duration {
    let since_epoch = Duration::new(seconds.try_into().unwrap_or(0), nanoseconds.try_into().unwrap_or(0));
    let then = SystemTime::UNIX_EPOCH.checked_add(since_epoch).unwrap_or(now);
    now.duration_since(then).unwrap_or_default()
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            id: id(metadata),
            kind: metadata.file_type(),
            links: metadata.nlink(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[derive(Default)]
struct Surveyor {
    survey: Survey,
    reach: Reach,
    /// The real paths of directories, by those they were come by under.
    real: BTreeMap<PathBuf, PathBuf>,
}

impl Surveyor {
    fn note(&mut self, sight: Sight) {
        let real = self.real_path(&sight);
        let Sight { path, is_given, is_link, what } = sight;
        match what {
            What::File(metadata) => {
                let real = real.unwrap_or_else(|| path.clone());
                self.survey.names.insert(real.clone(), path.clone());
                self.survey.files.insert(path, Sighted::File { stamp: Stamp::from(&metadata), real });
            }
            What::Directory(metadata) => {
                let real = real.unwrap_or_else(|| path.clone());
                self.survey.watched.insert(real.clone(), id(&metadata));
                self.reach.directories.insert(real.clone(), path.clone());
                self.real.insert(path, real);
            }
            // It went while we walked.
            What::Closed(error) if is_missing(&error) && !is_given => {}
            What::Unreachable(error) if is_missing(&error) && !is_given && !is_link => {}
            What::Closed(error) => {
                self.survey.away.insert(path, error.into());
            }
            What::Unreachable(error) if is_given => {
                self.survey.away.insert(path, error.into());
            }
            What::Unreachable(error) => {
                self.survey.files.insert(path, Sighted::Unreachable(error.into()));
            }
            What::Adrift(error) => {
                self.survey.adrift.insert(path, error.into());
            }
        }
    }

    /// None where the way ends early.
    fn real_path(&mut self, sight: &Sight) -> Option<PathBuf> {
        if sight.is_given {
            let path = std::path::absolute(&sight.path).ok()?;
            return follow(PathBuf::from("/"), &path, &mut self.reach.steps);
        }
        let directory = self.real.get(sight.path.parent()?)?;
        let name = Path::new(sight.path.file_name()?);
        if sight.is_link {
            follow(directory.clone(), name, &mut self.reach.steps)
        } else {
            Some(directory.join(name))
        }
    }

    fn finish(self) -> Survey {
        let Self { mut survey, reach, real: _ } = self;
        let parents: BTreeSet<&Path> = reach.steps.iter().filter_map(|step| step.parent()).collect();
        for directory in parents {
            if !survey.watched.contains_key(directory)
                && let Ok(metadata) = fs::metadata(directory)
            {
                survey.watched.insert(directory.to_owned(), id(&metadata));
            }
        }
        survey.reach = Arc::new(reach);
        survey
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Where `path` leads from the directory `at`, a real path. Every name on the way is a step, be it there or not.
fn follow(mut at: PathBuf, path: &Path, steps: &mut BTreeSet<PathBuf>) -> Option<PathBuf> {
    let mut ahead = Vec::new();
    push(&mut ahead, path);
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        match step {
            Step::Root => at = PathBuf::from("/"),
            Step::Up => {
                at.pop();
            }
            Step::Name(name) => {
                let step = at.join(name);
                steps.insert(step.clone());
                match fs::read_link(&step) {
                    Ok(target) => {
                        links += 1;
                        if links > MAX_LINKS {
                            return None;
                        }
                        push(&mut ahead, &target);
                    }
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => at = step,
                    Err(_) => return None,
                }
            }
        }
    }
    Some(at)
}

enum Step {
    Root,
    Up,
    Name(OsString),
}

/// The first step comes to lie on top.
fn push(ahead: &mut Vec<Step>, path: &Path) {
    ahead.extend(path.components().rev().filter_map(|component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Name(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written twice in one tick of the clock may have one stamp.
    #[test]
    fn a_young_stamp_is_not_sure() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let stamp = Stamp::of(path.path()).unwrap();
        let cases = [
            ((100, 1), Duration::from_millis(100_019), false),
            ((100, 1), Duration::from_millis(100_021), true),
            ((100, 0), Duration::from_millis(101_999), false),
            ((100, 0), Duration::from_millis(102_001), true),
            // The clock was set back.
            ((100, 1), Duration::from_secs(50), false),
        ];
        for (changed, now, want) in cases {
            let stamp = Stamp { changed, ..stamp };
            assert_eq!(stamp.is_sure(SystemTime::UNIX_EPOCH + now), want, "{changed:?} {now:?}");
        }
    }

    #[test]
    fn every_name_on_the_way_is_a_step() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        let links = [("to-b", "a/b"), ("up", "a/b/../../to-b"), ("loop", "loop"), ("nowhere", "a/c/d")];
        for (name, target) in links {
            std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("a"), root.join("absolute")).unwrap();
        let cases: [(&str, Option<&str>, &[&str]); 6] = [
            ("a/b", Some("a/b"), &["a", "a/b"]),
            ("to-b", Some("a/b"), &["a", "a/b", "to-b"]),
            ("./up", Some("a/b"), &["a", "a/b", "to-b", "up"]),
            ("absolute/b", Some("a/b"), &["a", "a/b", "absolute"]),
            ("loop", None, &["loop"]),
            ("nowhere", None, &["a", "a/c", "nowhere"]),
        ];
        for (path, want, want_steps) in cases {
            let mut steps = BTreeSet::new();
            let end = follow(root.clone(), Path::new(path), &mut steps);
            assert_eq!(end, want.map(|want| root.join(want)), "{path}");
            let below = steps.iter().filter_map(|step| step.strip_prefix(&root).ok());
            let steps: Vec<&Path> = below.filter(|step| !step.as_os_str().is_empty()).collect();
            assert_eq!(steps, want_steps.iter().map(Path::new).collect::<Vec<_>>(), "{path}");
        }
    }
}
