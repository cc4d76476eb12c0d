//! A directory of manifests: all the ways in which editors, deployers and Kubernetes change files.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use felix_rs::datastore::yaml::{Location, WatchError, watch};
use felix_rs::datastore::{Event, ReadErrorKind};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

use crate::Source;
use crate::contract::contract;
use crate::seen::Seen;

/// A place for a test: what is followed is `in`, the rest is beside it.
pub struct Directory(TempDir);

impl Directory {
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("in")).unwrap();
        Self(scratch)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub fn link(&self, target: &str, name: &str) {
        symlink(target, self.path(name)).unwrap();
    }

    /// Lets `name` lead to `target` without a time at which it leads nowhere.
    fn swap(&self, target: &str, name: &str) {
        let new = format!("{name}.new");
        self.link(target, &new);
        self.rename(&new, name);
    }

    pub fn locations(&self, names: &[&str]) -> Vec<Location> {
        names.iter().map(|name| Location::Path(self.path(name))).collect()
    }

    /// Follows the locations, and takes what is there.
    pub async fn seen(&self, names: &[&str]) -> Seen {
        let mut seen = Seen::new(watch(self.locations(names)).unwrap());
        seen.until(|state| state.is_in_sync || state.is_lost).await;
        seen
    }
}

/// A directory of a file an object.
struct Followed {
    directory: Directory,
    /// Where the files are.
    root: &'static str,
}

impl Followed {
    fn plain() -> Self {
        Self { directory: Directory::new(), root: "in" }
    }

    /// Only a link to the files is followed.
    fn behind_a_link() -> Self {
        let directory = Directory::new();
        directory.rename("in", "real");
        directory.link("real", "in");
        Self { directory, root: "real" }
    }

    fn file(&self, object: &str) -> String {
        let is_away = self.directory.path("away").exists();
        format!("{}/{object}.yaml", if is_away { "away" } else { self.root })
    }
}

impl Source for Followed {
    fn follow(&self) -> Receiver<Vec<Event>> {
        watch(self.directory.locations(&["in"])).unwrap()
    }

    fn put(&self, object: &str, value: u32) {
        self.directory.write(&self.file(object), &format!("a: {value}\n"));
    }

    fn delete(&self, object: &str) {
        self.directory.remove(&self.file(object));
    }

    fn take_away(&self) {
        self.directory.rename(self.root, "away");
    }

    fn bring_back(&self) {
        self.directory.rename("away", self.root);
    }
}

mod keeps_the_contract {
    use super::Followed;

    super::contract!(Followed::plain());
}

mod keeps_the_contract_behind_a_link {
    use super::Followed;

    super::contract!(Followed::behind_a_link());
}

#[tokio::test]
async fn standard_input_is_refused() {
    let error = watch(vec![Location::Path("/".into()), Location::Stdin]).unwrap_err();
    assert_eq!(error, WatchError::Stdin);
    assert!(!error.help().is_empty() && error.to_string().contains("standard input"));
}

#[tokio::test]
async fn a_file_that_is_replaced() {
    let directory = Directory::new();
    directory.write("in/a.yaml", "a: 1");
    directory.write("in/b.yaml", "a: 2");
    let mut seen = directory.seen(&["in"]).await;
    // As vim, as sed, and as what writes elsewhere.
    for (value, new) in [("3", "in/.a.yaml.swp"), ("4", "in/sedB7xK2"), ("5", "in/a.yaml~"), ("6", "beside")]
    {
        directory.write(new, &format!("a: {value}"));
        directory.rename(new, "in/a.yaml");
        seen.until_values(&[value, "2"]).await;
    }
    assert_eq!((seen.state.puts, seen.state.deletes), (6, 0));
}

/// A writer that takes its time is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_being_written_is_not_read_half() {
    let directory = Directory::new();
    directory.write("in/a.yaml", "a: 1\n---\na: 2\n");
    let mut seen = directory.seen(&["in"]).await;
    for round in 0..3 {
        let (known, new) = (directory.path("in/a.yaml"), directory.path(&format!("in/n{round}.yaml")));
        let writer = thread::spawn(move || {
            let mut files = [File::create(known).unwrap(), File::create(new).unwrap()];
            for part in ["a: 1\n", "---\n", "a: ", "3", "\n"] {
                thread::sleep(Duration::from_millis(150));
                files.iter_mut().for_each(|file| file.write_all(part.as_bytes()).unwrap());
            }
        });
        // Something else that makes it look at all there is.
        for value in 0..8 {
            directory.write(&format!("in/other-{round}-{value}/a.yaml"), "a: 0\n");
            thread::sleep(Duration::from_millis(80));
        }
        seen.until(|state| state.entries.len() == 2 + (round + 1) * 10).await;
        seen.until(|state| state.values()[..2] == ["1", "3"]).await;
        writer.join().unwrap();
    }
    assert_eq!(seen.state.puts, 2 + 1 + 3 * 10, "nothing but what was written in the end");
    assert_eq!(seen.state.deletes, 0);
}

/// It is read although it is never closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_stays_open() {
    let directory = Directory::new();
    directory.write("in/a.yaml", "a: 1");
    let mut seen = directory.seen(&["in"]).await;
    let mut known = File::create(directory.path("in/a.yaml")).unwrap();
    known.write_all(b"a: 2").unwrap();
    let mut new = File::create(directory.path("in/b.yaml")).unwrap();
    new.write_all(b"a: 3").unwrap();
    seen.until_values(&["2", "3"]).await;
    // Not even if it does not come to rest.
    let path = directory.path("in/c.yaml");
    let writer = thread::spawn(move || {
        let mut file = File::create(path).unwrap();
        file.write_all(b"a: 4\n").unwrap();
        for _ in 0..800 {
            thread::sleep(Duration::from_millis(10));
            file.write_all(b"# more\n").unwrap();
        }
    });
    seen.until_values(&["2", "3", "4"]).await;
    assert!(!writer.is_finished());
    writer.join().unwrap();
}

#[tokio::test]
async fn a_file_with_another_name_is_never_away() {
    let directory = Directory::new();
    directory.write("in/b.yaml", "a: 1");
    directory.write("in/sub/c.yaml", "a: 2");
    let mut seen = directory.seen(&["in"]).await;
    directory.rename("in/b.yaml", "in/a.yaml");
    assert_eq!(seen.next().await, ["put a.yaml#0000000001 a: 1", "delete b.yaml#0000000001"]);
    directory.rename("in/a.yaml", "in/sub/z.yaml");
    assert_eq!(seen.next().await, ["put z.yaml#0000000001 a: 1", "delete a.yaml#0000000001"]);
    directory.rename("in/sub", "in/other");
    assert_eq!(
        seen.next().await,
        [
            "put c.yaml#0000000001 a: 2",
            "put z.yaml#0000000001 a: 1",
            "delete c.yaml#0000000001",
            "delete z.yaml#0000000001"
        ]
    );
    directory.write("in/other/c.yaml", "a: 3");
    seen.until_values(&["3", "1"]).await;
    directory.rename("in/other/c.yaml", "in/other/c.txt");
    assert_eq!(seen.next().await, ["delete c.yaml#0000000001"]);
}

#[tokio::test]
async fn only_what_changed_in_a_file_is_said() {
    let directory = Directory::new();
    directory.write("in/a.yaml", "a: 1\n---\na: 2\n---\na: 3\n");
    let mut seen = directory.seen(&["in"]).await;
    let steps: [(&str, &[&str]); 5] = [
        ("a: 1\n---\na: 4\n---\na: 3\n", &["put a.yaml#0000000002 a: 4"]),
        // Of the same length, and quoted: another value.
        ("a: 1\n---\na: 5\n---\na: '3'\n", &["put a.yaml#0000000002 a: 5", "put a.yaml#0000000003 a: 3"]),
        // Elsewhere.
        ("a: 1\n---\n\na: 5\n", &["put a.yaml#0000000002 a: 5", "delete a.yaml#0000000003"]),
        ("a: 1 # why\n---\n\na: 6\n", &["put a.yaml#0000000002 a: 6"]),
        ("", &["delete a.yaml#0000000001", "delete a.yaml#0000000002"]),
    ];
    for (text, want) in steps {
        directory.write("beside", text);
        directory.rename("beside", "in/a.yaml");
        assert_eq!(seen.next().await, want, "{text}");
    }
}

/// An entry that does not change keeps the text of its file, and old ones must not pile up.
#[tokio::test]
async fn old_texts_go() {
    const ENTRIES: usize = 30;
    let directory = Directory::new();
    let mut values = vec![0; ENTRIES];
    let text = |values: &[i32]| values.iter().map(|value| format!("a: {value}\n---\n")).collect::<String>();
    directory.write("in/a.yaml", &text(&values));
    let mut seen = directory.seen(&["in"]).await;
    let mut texts = 0;
    for changed in 0..ENTRIES {
        values[changed] = 1;
        directory.write("in/a.yaml", &text(&values));
        seen.until(|state| state.values()[changed] == "1").await;
        texts = texts.max(seen.state.texts());
    }
    assert!((2..=9).contains(&texts), "{texts} texts");
    assert!(seen.state.puts < ENTRIES * ENTRIES / 2, "{} puts", seen.state.puts);
}

/// `..data` leads to the directory of a version, and each file through `..data`.
#[tokio::test]
async fn a_config_map() {
    let directory = Directory::new();
    directory.write("in/..2026_1/x.yaml", "a: 1");
    directory.write("in/..2026_1/y.yaml", "a: 2");
    directory.link("..2026_1", "in/..data");
    directory.link("..data/x.yaml", "in/x.yaml");
    directory.link("..data/y.yaml", "in/y.yaml");
    let mut seen = directory.seen(&["in"]).await;
    assert_eq!(seen.state.values(), ["1", "2"]);
    for version in 2..6 {
        directory.write(&format!("in/..2026_{version}/x.yaml"), &format!("a: {version}"));
        directory.write(&format!("in/..2026_{version}/y.yaml"), "a: 2");
        directory.swap(&format!("..2026_{version}"), "in/..data");
        fs::remove_dir_all(directory.path(&format!("in/..2026_{}", version - 1))).unwrap();
        seen.until_values(&[&version.to_string(), "2"]).await;
    }
    assert_eq!((seen.state.puts, seen.state.deletes, seen.state.losses), (2 + 4, 0, 0));
    // In place, behind the links.
    directory.write("in/..2026_5/y.yaml", "a: 9");
    seen.until_values(&["5", "9"]).await;
    // One is left out: its link goes after the swap.
    directory.write("in/..2026_6/x.yaml", "a: 6");
    directory.swap("..2026_6", "in/..data");
    seen.until(|state| state.unreadable.len() == 1 && state.values()[0] == "6").await;
    assert_eq!(seen.state.values(), ["6", "9"], "what it said stands");
    directory.remove("in/y.yaml");
    seen.until_values(&["6"]).await;
    assert!(seen.state.unreadable.is_empty());
}

#[tokio::test]
async fn links_that_are_swapped() {
    let directory = Directory::new();
    directory.write("releases/1/etc/a.yaml", "a: 1");
    directory.write("releases/2/etc/a.yaml", "a: 2");
    directory.write("releases/3/etc/a.yaml", "a: 3");
    directory.link("releases/1", "current");
    directory.link("current/etc", "location");
    let mut seen = directory.seen(&["location"]).await;
    assert_eq!(seen.state.values(), ["1"]);
    directory.swap("releases/2", "current");
    seen.until_values(&["2"]).await;
    directory.swap("releases/3/etc", "location");
    seen.until_values(&["3"]).await;
    directory.write("releases/3/etc/a.yaml", "a: 4");
    seen.until_values(&["4"]).await;
    directory.swap("current/etc", "location");
    seen.until_values(&["2"]).await;
    // A directory on the way has another name for a time.
    directory.rename("releases", "r");
    seen.until(|state| state.is_lost).await;
    assert_eq!(seen.state.values(), ["2"]);
    directory.rename("r", "releases");
    seen.until(|state| !state.is_lost).await;
    directory.write("releases/2/etc/b.yaml", "a: 5");
    seen.until_values(&["2", "5"]).await;
    assert_eq!(seen.state.deletes, 0);
}

/// A directory behind a link inside of the one that is followed: what was below is not known to be gone.
#[tokio::test]
async fn a_link_to_a_directory_that_leads_nowhere() {
    let directory = Directory::new();
    directory.write("shared/s.yaml", "a: 1");
    directory.write("in/a.yaml", "a: 0");
    directory.link("../shared", "in/shared");
    directory.link("../nowhere", "in/nothing");
    let mut seen = directory.seen(&["in"]).await;
    directory.rename("shared", "gone");
    seen.until(|state| state.is_lost).await;
    directory.write("in/a.yaml", "a: 2");
    seen.until_values(&["2", "1"]).await;
    directory.rename("gone", "shared");
    seen.until(|state| !state.is_lost).await;
    // What led nowhere leads somewhere.
    directory.write("nowhere/n.yaml", "a: 3");
    seen.until_values(&["2", "3", "1"]).await;
    directory.remove("in/shared");
    seen.until_values(&["2", "3"]).await;
    assert_eq!(seen.state.losses, 1);
}

#[tokio::test]
async fn directories_that_are_made_and_filled_at_once() {
    let directory = Directory::new();
    let mut seen = directory.seen(&["in"]).await;
    for round in 1..=20 {
        directory.write(&format!("in/n{round}/m/deep/a.yaml"), "a: 1");
        directory.write(&format!("in/n{round}/b.yaml"), "a: 2");
        seen.until(|state| state.entries.len() == round * 2).await;
    }
    directory.write("in/n20/m/deep/a.yaml", "a: 3");
    seen.until(|state| state.values().contains(&"3")).await;
    for round in 1..=20 {
        fs::remove_dir_all(directory.path(&format!("in/n{round}"))).unwrap();
    }
    seen.until_values(&[]).await;
    assert_eq!(seen.state.losses, 0);
    assert!(seen.state.unreadable.is_empty());
}

#[tokio::test]
async fn a_root_that_is_made_again() {
    let directory = Directory::new();
    directory.write("in/a.yaml", "a: 1");
    let mut seen = directory.seen(&["in"]).await;
    for round in 2..6 {
        directory.write("new/a.yaml", &format!("a: {round}"));
        directory.rename("in", "old");
        if round % 2 == 0 {
            seen.until(|state| state.is_lost).await;
        }
        fs::remove_dir_all(directory.path("old")).unwrap();
        directory.rename("new", "in");
        seen.until(|state| !state.is_lost && state.values() == [round.to_string()]).await;
        directory.write("in/a.yaml", &format!("a: {round}0"));
        seen.until_values(&[&format!("{round}0")]).await;
    }
    assert_eq!(seen.state.deletes, 0);
    // Empty, and there: a state like others.
    directory.remove("in/a.yaml");
    seen.until_values(&[]).await;
    assert!(!seen.state.is_lost);
}

#[tokio::test]
async fn what_a_broken_file_said_stands() {
    let directory = Directory::new();
    directory.write("in/a.yaml", "a: 1\n---\na: [\n---\na: 3\n");
    let mut seen = Seen::new(watch(directory.locations(&["in"])).unwrap());
    let first = ["put a.yaml#0000000001 a: 1", "put a.yaml#0000000002 a: 3", "unreadable a.yaml", "in sync"];
    assert_eq!(seen.next().await, first, "nothing said yet: as `render` has it");
    let not_utf8: &[u8] = b"a: \xff";
    let steps: [(&[u8], &[&str]); 8] = [
        // Wrong in another place: what is wrong is said anew, and nothing else.
        (b"a: 7\n---\n\na: [\n", &["readable a.yaml", "unreadable a.yaml"]),
        (b"a: 7\n", &["readable a.yaml", "put a.yaml#0000000001 a: 7", "delete a.yaml#0000000002"]),
        (b"a: [", &["unreadable a.yaml"]),
        (not_utf8, &["readable a.yaml", "unreadable a.yaml"]),
        (b"a: 7\n", &["readable a.yaml"]),
        (b"a: 7\n---\na: 8\n", &["put a.yaml#0000000002 a: 8"]),
        (b"a: 9\n---\n@\n", &["unreadable a.yaml"]),
        (b"a: 9\n", &["readable a.yaml", "put a.yaml#0000000001 a: 9", "delete a.yaml#0000000002"]),
    ];
    for (text, want) in steps {
        fs::write(directory.path("beside"), text).unwrap();
        directory.rename("beside", "in/a.yaml");
        assert_eq!(seen.next().await, want, "{}", String::from_utf8_lossy(text));
    }
    directory.write("in/a.yaml", "a: [");
    assert_eq!(seen.next().await, ["unreadable a.yaml"]);
    directory.remove("in/a.yaml");
    assert_eq!(seen.next().await, ["readable a.yaml", "delete a.yaml#0000000001"]);
    assert_eq!(seen.state.losses, 0);
}

#[tokio::test]
async fn a_file_that_is_too_large_or_no_file() {
    let directory = Directory::new();
    directory.write("in/a.yaml", "a: 1");
    directory.write("in/b.yaml", "a: 2");
    let mut seen = directory.seen(&["in"]).await;
    File::create(directory.path("beside")).unwrap().set_len((64 << 20) + 1).unwrap();
    directory.rename("beside", "in/a.yaml");
    directory.swap("/dev/zero", "in/b.yaml");
    seen.until(|state| state.unreadable.len() == 2).await;
    assert_eq!(seen.state.values(), ["1", "2"]);
    let kinds: Vec<ReadErrorKind> = seen.state.unreadable.values().flatten().cloned().collect();
    assert_eq!(kinds, [ReadErrorKind::TooLarge { limit: 64 << 20 }, ReadErrorKind::NotRegular]);
    directory.remove("in/b.yaml");
    directory.write("beside", "a: 3");
    directory.rename("beside", "in/a.yaml");
    seen.until_values(&["3"]).await;
    assert!(seen.state.unreadable.is_empty());
}

#[tokio::test]
async fn locations_that_are_files() {
    let directory = Directory::new();
    directory.write("x.txt", "a: 1");
    directory.write("in/y.yaml", "a: 2");
    let mut seen = directory.seen(&["x.txt", "in", "in/y.yaml"]).await;
    assert_eq!(seen.state.values(), ["2", "1"]);
    directory.write("x.txt", "a: 3");
    seen.until_values(&["2", "3"]).await;
    directory.write("x.txt", "a: [");
    seen.until(|state| !state.unreadable.is_empty()).await;
    directory.remove("x.txt");
    seen.until(|state| state.is_lost).await;
    assert_eq!(seen.state.values(), ["2", "3"]);
    // What is wrong in it is said again when it is back.
    directory.write("x.txt", "a: [");
    seen.until(|state| !state.is_lost).await;
    assert_eq!(seen.state.unreadable.len(), 1);
    directory.write("x.txt", "a: 4");
    seen.until_values(&["2", "4"]).await;
    assert!(seen.state.unreadable.is_empty());
    // Two are lost together, and one after the other.
    directory.rename("x.txt", "x");
    seen.until(|state| state.is_lost).await;
    directory.rename("in", "i");
    seen.until(|state| state.unreadable.len() >= 2).await;
    directory.rename("x", "x.txt");
    seen.until(|state| !state.unreadable.keys().any(|source| source.ends_with("x.txt"))).await;
    assert!(seen.state.is_lost);
    directory.rename("i", "in");
    seen.until(|state| !state.is_lost).await;
    assert!(seen.state.unreadable.is_empty());
    assert_eq!((seen.state.values(), seen.state.deletes), (vec!["2", "4"], 0));
}

#[tokio::test]
async fn a_file_of_two_names_is_read_once() {
    let directory = Directory::new();
    directory.write("in/b.yaml", "a: 1");
    fs::hard_link(directory.path("in/b.yaml"), directory.path("in/a.yaml")).unwrap();
    directory.link("b.yaml", "in/c.yaml");
    let mut seen = directory.seen(&["in"]).await;
    assert_eq!(seen.state.values(), ["1"]);
    // The first name takes another file: what it had is known by the second.
    directory.write("beside", "a: 2");
    directory.rename("beside", "in/a.yaml");
    seen.until_values(&["2", "1"]).await;
    directory.write("in/b.yaml", "a: 3");
    seen.until_values(&["2", "3"]).await;
    directory.remove("in/b.yaml");
    seen.until(|state| state.unreadable.len() == 1 && state.values() == ["2"]).await;
    fs::hard_link(directory.path("in/a.yaml"), directory.path("in/b.yaml")).unwrap();
    seen.until(|state| state.unreadable.is_empty()).await;
    assert_eq!(seen.state.values(), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_few_batches() {
    const FILES: usize = 3000;
    let directory = Directory::new();
    let mut seen = directory.seen(&["in"]).await;
    for number in 0..FILES {
        directory.write(&format!("in/{number}.yaml"), "a: 1");
    }
    seen.until(|state| state.entries.len() == FILES).await;
    let made = seen.batches;
    for number in 0..FILES {
        directory.remove(&format!("in/{number}.yaml"));
    }
    seen.until(|state| state.entries.is_empty()).await;
    assert!(seen.batches < FILES / 20, "{made} batches, then {}", seen.batches - made);
    assert_eq!((seen.state.puts, seen.state.deletes), (FILES, FILES));
}

/// What is read tells itself to the one who reads, too.
#[tokio::test]
async fn readers_and_neighbours_are_nothing_new() {
    let directory = Directory::new();
    directory.write("in/a.yaml", "a: 1");
    let mut seen = directory.seen(&["in"]).await;
    for name in ["in/README.md", "in/.hidden.yaml", "in/.git/config.yaml", "beside.yaml", "other/b.yaml"] {
        directory.write(name, "a: 2");
    }
    assert_eq!(fs::read_to_string(directory.path("in/a.yaml")).unwrap(), "a: 1");
    // The same text is no change, nor is a new time.
    directory.write("in/a.yaml", "a: 1");
    File::open(directory.path("in/a.yaml")).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    assert!(seen.is_quiet().await);
    assert!(Path::new(&directory.path("in/a.yaml")).exists());
}
