//! One look at the file system: what is there now against what was said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::super::files::{self, Found, Id};
use super::super::{FileReading, readings};
use super::inotify::Watches;
use super::notices::{News, Notices, Touch};
use super::said::{Batch, Said};
use super::survey::{Reach, Sighted, Stamp, Survey};
use crate::datastore::{Event, Place, ReadError, ReadErrorKind};

/// What was said so far, and what that was made of.
pub(super) struct Follower {
    locations: Vec<PathBuf>,
    notices: Arc<Notices>,
    watches: Watches,
    reach: Arc<Reach>,
    /// Which file is behind a real path.
    names: BTreeMap<PathBuf, PathBuf>,
    files: BTreeMap<PathBuf, File>,
    /// Files of which nobody told that they changed, so that they may still be written to.
    young: BTreeMap<PathBuf, Young>,
    away: BTreeMap<PathBuf, ReadErrorKind>,
    told: Told,
    /// To be said together with what is still to be read.
    held: Vec<Event>,
    due: Instant,
}

/// What comes of a look.
pub(super) struct Look {
    pub(super) events: Vec<Event>,
    /// When to look at everything, whatever the kernel tells.
    pub(super) due: Instant,
}

/// A file that something was said of.
#[derive(Default)]
struct File {
    /// When it was read last; none, if it could not even be looked at.
    stamp: Option<Stamp>,
    /// Whether another text would have another stamp.
    is_sure: bool,
    /// Looked at since the source was lost last.
    is_current: bool,
    said: Said,
}

#[derive(Clone, Copy)]
struct Young {
    stamp: Stamp,
    /// With this stamp, and with any.
    seen: Instant,
    first_seen: Instant,
}

/// What was said last of the source as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    InSync,
    Lost,
}

struct ToRead {
    path: PathBuf,
    real: PathBuf,
    stamp: Stamp,
    touch: Touch,
}

/// What is still to come before all is said.
#[derive(Default)]
struct Waiting {
    /// When it is worth another look; the kernel may tell before.
    again: Option<Duration>,
    /// Something of which nothing was said yet: what went may have got this name.
    is_unknown: bool,
    /// Something that was not looked at since the source was lost.
    is_stale: bool,
}

impl Follower {
    const BACKSTOP: Duration = Duration::from_secs(30);
    /// Where the kernel does not tell.
    const POLL: Duration = Duration::from_secs(2);
    /// A watched file that did not change for so long is not being written.
    const CALM: Duration = Duration::from_millis(50);
    const SHORTEST: Duration = Duration::from_millis(10);
    /// A tree that changes faster than this many walks through it is looked at again later.
    const WALKS: usize = 8;

    pub(super) fn new(locations: Vec<PathBuf>, notices: Arc<Notices>) -> Self {
        Self {
            locations,
            watches: Watches::new(Arc::clone(&notices)),
            notices,
            reach: Arc::default(),
            names: BTreeMap::new(),
            files: BTreeMap::new(),
            young: BTreeMap::new(),
            away: BTreeMap::new(),
            told: Told::Nothing,
            held: Vec::new(),
            due: Instant::now(),
        }
    }

    /// Reads what the news make necessary. Blocks for as long as that takes.
    pub(super) fn look(&mut self, news: &News) -> Look {
        let events = match self.alone(news) {
            Some(to_read) => self.look_at(to_read),
            None => self.look_at_all(news),
        };
        Look { events, due: self.due }
    }

    /// What is to be read, if the news are of files alone that can't change what others stand for.
    fn alone(&self, news: &News) -> Option<Vec<ToRead>> {
        // What is held back must not be said behind what is newer.
        if news.is_overrun || news.is_due || !self.held.is_empty() {
            return None;
        }
        let mut to_read = Vec::new();
        for (real, &touch) in &news.touched {
            let file = match self.names.get(real) {
                Some(path) => self.known(path, real)?,
                None => self.unknown(real)?,
            };
            if let Some((path, stamp)) = file
                && (touch == Touch::Restless || !self.notices.is_open(real))
            {
                to_read.push(ToRead { path, real: real.clone(), stamp, touch });
            }
        }
        Some(to_read)
    }

    /// None, if it is another thing than it was, or one with several names. Nothing, if it is what it was.
    fn known(&self, path: &Path, real: &Path) -> Option<Option<(PathBuf, Stamp)>> {
        let known = self.files.get(path)?;
        let before = known.stamp?;
        let metadata = fs::symlink_metadata(real).ok()?;
        let stamp = Stamp::from(&metadata);
        if !metadata.is_file() {
            // A device that somebody uses.
            return ((stamp.id, stamp.kind) == (before.id, before.kind)).then_some(None);
        }
        let is_alone = before.links == 1 && stamp.links == 1;
        let is_changed = !known.is_sure || before != stamp;
        is_alone.then(|| is_changed.then(|| (path.to_owned(), stamp)))
    }

    /// None, if it may be, or lead to, more than one file. Nothing, if it is nothing to be read: hidden, of another name,
    /// or gone again, as the files are that an editor makes beside the one that it saves.
    fn unknown(&self, real: &Path) -> Option<Option<(PathBuf, Stamp)>> {
        if self.reach.steps.contains(real) || self.reach.directories.contains_key(real) {
            return None;
        }
        let directory = real.parent().and_then(|parent| self.reach.directories.get(parent));
        let name = real.file_name().filter(|name| !name.as_bytes().starts_with(b"."));
        let (Some(directory), Some(name)) = (directory, name) else { return Some(None) };
        let metadata = match fs::symlink_metadata(real) {
            Ok(metadata) => metadata,
            Err(error) => return (error.kind() == io::ErrorKind::NotFound).then_some(None),
        };
        if !files::is_manifest(real) {
            return metadata.is_file().then_some(None);
        }
        let stamp = Stamp::from(&metadata);
        (metadata.is_file() && stamp.links == 1).then(|| Some((directory.join(name), stamp)))
    }

    fn look_at(&mut self, to_read: Vec<ToRead>) -> Vec<Event> {
        let mut batch = Batch::default();
        let mut waiting = Waiting::default();
        self.read(to_read, &mut batch, &mut waiting);
        if let Some(again) = waiting.again {
            self.due = self.due.min(Instant::now() + again);
        }
        batch.into_events()
    }

    fn look_at_all(&mut self, news: &News) -> Vec<Event> {
        let mut batch = Batch::default();
        let mut waiting = Waiting::default();
        let Survey { files, mut away, adrift, names, reach, watched: _ } = self.survey(news, &mut waiting);
        (self.reach, self.names) = (reach, names);
        away.extend(adrift.into_iter().filter(|(path, _)| self.knows_below(path)));
        if !away.is_empty() {
            self.files.values_mut().for_each(|file| file.is_current = false);
        }
        self.reread_locations(&away, &mut batch);

        let is_below_away = |path: &Path| path.ancestors().any(|above| away.contains_key(above));
        let missing: Vec<PathBuf> =
            self.files.keys().filter(|path| !files.contains_key(*path)).cloned().collect();
        let (standing, gone): (Vec<_>, Vec<_>) = missing.into_iter().partition(|path| is_below_away(path));
        let standing = self.ids(&standing);
        let to_read = self.changed(files, &standing, news, &mut batch, &mut waiting);
        self.read(to_read, &mut batch, &mut waiting);
        if !waiting.is_unknown {
            for path in gone {
                if let Some(file) = self.files.remove(&path) {
                    file.said.withdraw(&files::name(&path), &mut batch);
                }
            }
        }

        let is_held = away.is_empty() && self.told != Told::InSync && waiting.is_stale;
        if !is_held {
            self.tell(away, &mut batch);
        }
        let backstop = if self.watches.is_whole() { Self::BACKSTOP } else { Self::POLL };
        self.due = Instant::now() + waiting.again.map_or(backstop, |again| again.min(backstop));
        self.held.extend(batch.into_events());
        if is_held { Vec::new() } else { std::mem::take(&mut self.held) }
    }

    /// Watches before it looks. What went is looked for once more, as a walk can miss what is renamed under its feet.
    fn survey(&mut self, news: &News, waiting: &mut Waiting) -> Survey {
        self.watches.forget(news);
        let mut survey = Survey::of(&self.locations);
        let mut is_searched = false;
        for _ in 0..Self::WALKS {
            self.notices.attend_to(Arc::clone(&survey.reach));
            let is_news = self.watches.set(&survey.watched);
            let is_missed = !is_searched && self.files.keys().any(|path| !survey.files.contains_key(path));
            if !is_news && !is_missed {
                return survey;
            }
            is_searched |= is_missed;
            survey = Survey::of(&self.locations);
        }
        waiting.look_again(Self::CALM);
        survey
    }

    fn knows_below(&self, path: &Path) -> bool {
        let next =
            self.files.range::<Path, _>((std::ops::Bound::Included(path), std::ops::Bound::Unbounded)).next();
        next.is_some_and(|(file, _)| file.starts_with(path))
    }

    /// What is wrong with a location that is a file, and in it, is said under one name: that it is back takes back both.
    fn reread_locations(&mut self, away: &BTreeMap<PathBuf, ReadErrorKind>, batch: &mut Batch) {
        let back: Vec<PathBuf> = self.away.keys().filter(|path| !away.contains_key(*path)).cloned().collect();
        for path in back {
            if let Some(file) = self.files.get_mut(&path) {
                self.away.remove(&path);
                file.is_sure = false;
                file.said.forget_errors();
                batch.cleared.push(files::name(&path));
            }
        }
    }

    fn ids(&self, paths: &[PathBuf]) -> BTreeSet<Id> {
        paths.iter().filter_map(|path| Some(self.files.get(path)?.stamp?.id)).collect()
    }

    /// What has another stamp than it had, or may have another text all the same. What could not be looked at is said.
    fn changed(
        &mut self,
        files: BTreeMap<PathBuf, Sighted>,
        standing: &BTreeSet<Id>,
        news: &News,
        batch: &mut Batch,
        waiting: &mut Waiting,
    ) -> Vec<ToRead> {
        let before = std::mem::take(&mut self.young);
        let mut to_read = Vec::new();
        for (path, sighted) in files {
            let known = self.files.get_mut(&path);
            match sighted {
                Sighted::Unreachable(kind) => {
                    let source = files::name(&path);
                    let errors = vec![unreadable(&path, kind)];
                    let file = self.files.entry(path).or_default();
                    file.stamp = None;
                    file.is_current = true;
                    file.said.take(&source, FileReading { entries: Vec::new(), errors }, batch);
                }
                Sighted::File { stamp, real } => {
                    match known {
                        Some(known) if known.is_sure && known.stamp == Some(stamp) => {
                            known.is_current = true;
                            continue;
                        }
                        // A second name of what stands under the first, which can't be looked at.
                        None if standing.contains(&stamp.id) => continue,
                        Some(_) | None => {}
                    }
                    match self.rest(&path, &real, stamp, before.get(&path), news) {
                        Ok(touch) => to_read.push(ToRead { path, real, stamp, touch }),
                        Err(again) => self.wait(&path, again, waiting),
                    }
                }
            }
        }
        to_read
    }

    /// Whether the file may be read, or else when that is worth another look.
    fn rest(
        &mut self,
        path: &Path,
        real: &Path,
        stamp: Stamp,
        before: Option<&Young>,
        news: &News,
    ) -> Result<Touch, Option<Duration>> {
        match news.touched.get(real) {
            Some(Touch::Restless) => return Ok(Touch::Restless),
            Some(Touch::Rested) | None if self.notices.is_open(real) => return Err(None),
            Some(Touch::Rested) => return Ok(Touch::Rested),
            None => {}
        }
        let now = Instant::now();
        let first_seen = before.map_or(now, |young| young.first_seen);
        let seen = before.filter(|young| young.stamp == stamp).map_or(now, |young| young.seen);
        self.young.insert(path.to_owned(), Young { stamp, seen, first_seen });
        let calm = if self.watches.is_whole() { Self::CALM } else { Notices::PAUSE };
        let age = stamp.rested(SystemTime::now()).max(now - seen);
        if age >= calm {
            Ok(Touch::Rested)
        } else if now - first_seen >= Notices::PATIENCE {
            Ok(Touch::Restless)
        } else {
            Err(Some(calm - age))
        }
    }

    fn wait(&self, path: &Path, again: Option<Duration>, waiting: &mut Waiting) {
        if let Some(again) = again {
            waiting.look_again(again);
        }
        let known = self.files.get(path);
        waiting.is_unknown |= known.is_none();
        waiting.is_stale |= known.is_none_or(|known| !known.is_current);
    }

    /// Reads, and takes what nobody wrote to in the meantime.
    fn read(&mut self, to_read: Vec<ToRead>, batch: &mut Batch, waiting: &mut Waiting) {
        if to_read.is_empty() {
            return;
        }
        let now = SystemTime::now();
        let found: Vec<Found> = to_read.iter().map(|file| Found::File(file.path.clone())).collect();
        let readings = readings(&found);
        self.watches.catch_up();
        for (ToRead { path, real, stamp, touch }, reading) in to_read.into_iter().zip(readings) {
            let is_rested =
                !self.notices.is_open(&real) && Stamp::of(&path).is_ok_and(|after| after == stamp);
            if touch == Touch::Rested && !is_rested {
                self.wait(&path, Some(Self::CALM), waiting);
                continue;
            }
            self.young.remove(&path);
            self.names.insert(real, path.clone());
            let source = files::name(&path);
            let file = self.files.entry(path).or_default();
            file.stamp = Some(stamp);
            file.is_sure = stamp.is_sure(now);
            file.is_current = true;
            file.said.take(&source, reading, batch);
        }
    }

    /// Says of the source as a whole what has not been said.
    fn tell(&mut self, away: BTreeMap<PathBuf, ReadErrorKind>, batch: &mut Batch) {
        for (path, kind) in &away {
            let before = self.away.get(path);
            if before != Some(kind) {
                batch.cleared.extend(before.map(|_| files::name(path)));
                batch.unreadable.push(unreadable(path, kind.clone()));
            }
        }
        let back = self.away.keys().filter(|path| !away.contains_key(*path));
        batch.back.extend(back.map(|path| files::name(path)));
        let told = if away.is_empty() { Told::InSync } else { Told::Lost };
        if told != self.told {
            batch.end = Some(if away.is_empty() { Event::InSync } else { Event::Lost });
        }
        self.told = told;
        self.away = away;
    }
}

impl Waiting {
    fn look_again(&mut self, after: Duration) {
        let after = after.max(Follower::SHORTEST);
        self.again = Some(self.again.map_or(after, |again| again.min(after)));
    }
}

fn unreadable(path: &Path, kind: ReadErrorKind) -> ReadError {
    ReadError { place: Place { source: files::name(path), line: 0, column: 0 }, excerpt: None, kind }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    type Change = fn(&Path) -> io::Result<()>;

    /// What a change of one path makes us read: some files, or everything.
    #[test]
    fn what_is_read_alone() {
        let write = |path: &Path| fs::write(path, "a: 2");
        let replace = |path: &Path| {
            let new = path.with_file_name("new");
            fs::write(&new, "a: 3").and_then(|()| fs::rename(new, path))
        };
        let nothing = |_: &Path| Ok(());
        let link = |path: &Path| {
            fs::remove_file(path)?;
            symlink("b.yaml", path)
        };
        let cases: [(&str, Change, Option<&[&str]>); 17] = [
            ("a.yaml", write, Some(&["a.yaml"])),
            ("a.yaml", replace, Some(&["a.yaml"])),
            ("behind", write, Some(&["link.yaml"])),
            ("new.yaml", write, Some(&["new.yaml"])),
            ("new.txt", write, Some(&[])),
            (".new.yaml", write, Some(&[])),
            ("gone.yaml", nothing, Some(&[])),
            ("zero.yaml", nothing, None),
            ("/dev/zero", nothing, Some(&[])),
            ("a.yaml", |path| fs::remove_file(path), None),
            ("a.yaml", link, None),
            ("two.yaml", write, None),
            ("also-two.yaml", write, None),
            ("link.yaml", nothing, None),
            ("sub", nothing, None),
            ("new", |path| fs::create_dir(path), None),
            ("new", |path| symlink("sub", path), None),
        ];
        for (name, change, want) in cases {
            let root = tempfile::tempdir().unwrap();
            let root = root.path();
            for file in ["a.yaml", "b.yaml", "two.yaml", "behind"] {
                fs::write(root.join(file), "a: 1").unwrap();
            }
            fs::create_dir(root.join("sub")).unwrap();
            fs::hard_link(root.join("two.yaml"), root.join("also-two.yaml")).unwrap();
            symlink("behind", root.join("link.yaml")).unwrap();
            symlink("/dev/zero", root.join("zero.yaml")).unwrap();
            let mut follower = Follower::new(vec![root.to_owned()], Arc::default());
            let all = News { is_due: true, ..News::default() };
            while follower.told == Told::Nothing {
                follower.look(&all);
            }
            change(&root.join(name)).unwrap();
            let touched = BTreeMap::from([(root.join(name), Touch::Rested)]);
            let alone = follower.alone(&News { touched, ..News::default() });
            let read: Option<Vec<PathBuf>> =
                alone.map(|alone| alone.into_iter().map(|file| file.path).collect());
            let want = want.map(|want| want.iter().map(|name| root.join(name)).collect::<Vec<_>>());
            assert_eq!(read, want, "{name}");
        }
    }

    /// Nobody told of its last change, so that it may have a writer still.
    #[test]
    fn a_young_file_is_looked_at_twice() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yaml");
        fs::write(&path, "a: 1").unwrap();
        // As young as can be, however slow this is.
        let future = SystemTime::now() + Duration::from_secs(3600);
        fs::File::options().append(true).open(&path).unwrap().set_modified(future).unwrap();
        let mut follower = Follower::new(vec![root.path().to_owned()], Arc::default());
        let all = News { is_due: true, ..News::default() };
        let Look { events, due } = follower.look(&all);
        assert!(events.is_empty() && due <= Instant::now() + Follower::CALM);
        loop {
            let Look { events, due: _ } = follower.look(&all);
            if !events.is_empty() {
                assert!(matches!(events.as_slice(), [Event::Put(_), Event::InSync]), "{events:?}");
                break;
            }
        }
    }
}
