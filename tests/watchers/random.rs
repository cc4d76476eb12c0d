//! Random sequences of what can be done to files: in the end the follower knows what a reader sees at once.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::directory::Directory;
use crate::seen::read;

const ROUNDS: usize = 60;
const LONGEST: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_what_a_reader_sees() {
    let seed = seed();
    println!("again: FELIX_RS_SEED={seed} cargo test --test watchers random");
    let mut chance = Chance::new(seed);
    let directory = Directory::new();
    mend(&directory);
    let mut seen = directory.seen(&LOCATIONS).await;
    for round in 0..ROUNDS {
        let mut done = Vec::new();
        for _ in 0..=chance.below(LONGEST) {
            done.push(change(&directory, &mut chance));
            if chance.below(4) == 0 {
                thread::sleep(Duration::from_micros(chance.below(6_000)));
            }
        }
        mend(&directory);
        println!("round {round}\n{}", done.join("\n"));
        let want = read(&directory.locations(&LOCATIONS));
        assert!(want.unreadable.is_empty(), "{want:?}");
        seen.until(|state| state.entries == want.entries && state.unreadable.is_empty() && !state.is_lost)
            .await;
    }
}

/// Does something to a file or directory, if that is possible. Says what.
fn change(directory: &Directory, chance: &mut Chance) -> String {
    let (one, other) = (file(chance), file(chance));
    let (from, to) = (directory.path(&one), directory.path(&other));
    let text: String = (0..chance.below(4)).map(|_| format!("a: {}\n---\n", chance.below(3))).collect();
    let in_directory = |path: &Path| fs::create_dir_all(path.parent().unwrap());
    let (what, outcome) = match chance.below(16) {
        0..4 => ("write", in_directory(&from).and_then(|()| fs::write(&from, text))),
        4..7 => {
            let new = directory.path("beside");
            (
                "replace",
                in_directory(&from)
                    .and_then(|()| fs::write(&new, text))
                    .and_then(|()| fs::rename(new, &from)),
            )
        }
        7 | 8 => ("remove", fs::remove_file(&from)),
        9 | 10 => ("rename", in_directory(&to).and_then(|()| fs::rename(&from, &to))),
        11 => ("hard link", fs::hard_link(&from, &to)),
        12 => ("link", symlink(&to, &from)),
        13 => ("rename directory", fs::rename(from.parent().unwrap(), to.parent().unwrap())),
        14 => ("remove directory", fs::remove_dir_all(from.parent().unwrap())),
        _ => ("link directory", symlink(to.parent().unwrap(), from.parent().unwrap())),
    };
    format!("  {what} {one} {other}: {outcome:?}")
}

/// Where something can't be read, what was said before stands, so that the end is not what a reader sees.
fn mend(directory: &Directory) {
    for name in DIRECTORIES {
        let path = directory.path(name);
        if fs::metadata(&path).is_err() {
            let _ = fs::remove_file(&path);
        }
    }
    for name in LOCATIONS {
        fs::create_dir_all(directory.path(name)).unwrap();
    }
    for name in DIRECTORIES.iter().flat_map(|directory| NAMES.map(|name| format!("{directory}/{name}"))) {
        let path = directory.path(&name);
        if fs::metadata(&path).is_err() {
            let _ = fs::remove_file(&path);
        }
    }
}

const LOCATIONS: [&str; 3] = ["in", "in/d1/f", "other"];
const DIRECTORIES: [&str; 8] =
    ["in", "in/d1", "in/d2", "in/d2/e", "in/.h", "other", "other/d3", "outside/d4"];
const NAMES: [&str; 6] = ["a.yaml", "b.yaml", "c.yml", "d.json", "e.txt", ".f.yaml"];

fn file(chance: &mut Chance) -> String {
    let pick = |names: &[&str], chance: &mut Chance| {
        PathBuf::from(names[chance.below(names.len() as u64) as usize]).display().to_string()
    };
    format!("{}/{}", pick(&DIRECTORIES, chance), pick(&NAMES, chance))
}

/// Another one each day, or `FELIX_RS_SEED`.
pub fn seed() -> u64 {
    let asked = env::var("FELIX_RS_SEED").ok().and_then(|seed| seed.parse().ok());
    asked.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_secs() / 86_400 * 1_000_000_007)
    })
}

/// xorshift64*.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}
