//! Round after round: something changes, something goes wrong, and all must be well again.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, PATIENCE, Supervisor, is_ready};
use crate::faults::{self, Strictness, Tools};
use crate::foreign::Foreign;
use crate::kernel::{Backend, Saved};
use crate::objects::{Batch, Objects, batch, first, text, with, write};
use crate::permitted::Round;
use crate::random::Random;
use crate::traffic::Traffic;
use crate::vandals::{Vandalism, leave_in_other, left_in_other};

/// How long after a change is written something else may happen, in milliseconds: until it is in the kernel, and a while.
const MEANWHILE: usize = 250;

/// Rounds with packets decided wrongly that are shown.
const SHOWN: usize = 4;

/// Plays so many rounds.
///
/// # Errors
/// What was not as it should be; the round, its changes, what went wrong on purpose, and the daemon's last words.
pub fn play(backend: Backend, seed: u64, rounds: usize) -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|e| format!("a scratch folder: {e}"))?;
    let mut random = Random::new(seed);
    let mut game = Game::begin(backend, scratch.path().to_owned(), &mut random)?;
    let name = backend.name();
    let mut packets = 0;
    let mut wrong = Vec::new();
    for number in 0..rounds {
        let mut story = format!("round {number} of {name}, seed {seed}:\n");
        match game.round(&mut random, &mut story) {
            Ok(number) => packets += number,
            Err(Fault::Packets(why)) => wrong.push(format!("{story}{why}")),
            Err(Fault::Other(why)) => {
                let last = game.supervisor.last_words(60);
                return Err(format!("{story}\n{why}\nthe daemon's last words:\n{last}"));
            }
        }
    }
    if !wrong.is_empty() {
        let count = wrong.len();
        wrong.truncate(SHOWN);
        return Err(format!("packets were decided wrongly in {count} rounds\n\n{}", wrong.join("\n")));
    }
    game.restart_writes_nothing()?;
    println!("{name}: {rounds} rounds, {packets} packets while changes were carried out, seed {seed}");
    Ok(())
}

/// Why a round is wrong.
enum Fault {
    /// Packets got verdicts that no order of the changes gives. The game can go on.
    Packets(String),
    Other(String),
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

struct Game {
    backend: Backend,
    supervisor: Supervisor,
    /// None only between a kill and the next start.
    daemon: Option<Daemon>,
    tools: Tools,
    traffic: Traffic,
    foreign: Foreign,
    objects: Objects,
}

impl Game {
    fn begin(backend: Backend, scratch: PathBuf, random: &mut Random) -> Result<Self, String> {
        let datastore = scratch.join("datastore");
        fs::create_dir(&datastore).map_err(|e| format!("{}: {e}", datastore.display()))?;
        let tools = Tools::new(scratch.join("tools"))?;
        let supervisor =
            Supervisor { backend, datastore, tools: tools.path(), log: scratch.join("daemon.log") };
        let traffic = Traffic::new()?;
        let foreign = Foreign::new();
        foreign.put(backend)?;
        let objects = first();
        let all: Batch =
            objects.iter().map(|(name, value)| (name.clone(), (None, Some(value.clone())))).collect();
        write(&supervisor.datastore, &all, random)?;
        let daemon = Some(supervisor.start()?);
        let mut game = Self { backend, supervisor, daemon, tools, traffic, foreign, objects };
        game.settle().map_err(|why| format!("{why}\n{}", game.supervisor.last_words(60)))?;
        game.traffic.begin()?;
        Ok(game)
    }

    /// One round; how many packets were sent while its changes were carried out. What is done is told to `story`.
    fn round(&mut self, random: &mut Random, story: &mut String) -> Result<usize, Fault> {
        let batch = batch(&self.objects, random);
        for (name, (before, after)) in &batch {
            let say = |value: &Option<serde_json::Value>| {
                value.as_ref().map_or("gone".to_owned(), ToString::to_string)
            };
            let _ = writeln!(story, "{name}:\n  was {}\n  is  {}", say(before), say(after));
        }
        self.traffic.next_sweep()?;
        self.traffic.take()?;
        let began = Instant::now();
        let mut strictness = Strictness::Exact;
        let fault = faults::Fault::any(random);
        if let Some(fault) = fault {
            let line = self.tools.set(fault, random)?;
            let _ = writeln!(story, "fault {}", line.trim());
            strictness = fault.strictness();
        }
        if random.once_in(4) {
            self.vandalise(random, story)?;
            strictness = Strictness::Unknown;
        }
        write(&self.supervisor.datastore, &batch, random)?;
        if random.once_in(2) {
            pause(random);
            self.kill_and_start(random, began, story)?;
        }
        if fault.is_some() {
            pause(random);
            self.tools.mend();
            let _ = writeln!(story, "mended after {} ms", began.elapsed().as_millis());
        }
        if strictness != Strictness::Exact {
            self.daemon()?.hang_up()?;
        }
        let before = std::mem::take(&mut self.objects);
        self.objects = with(&before, &batch, usize::MAX);
        self.settle()?;
        let settled = Instant::now();
        self.traffic.next_sweep()?;
        let sent = self.traffic.take()?;
        let round = Round { before: &before, batch: &batch, strictness, began, settled };
        match round.check(&self.traffic.kinds, &sent)? {
            Ok(packets) => Ok(packets),
            Err(why) => {
                let before = text(&before);
                let last = self.supervisor.last_words(12);
                Err(Fault::Packets(format!("{strictness:?}:\n{why}before:\n{before}the daemon:\n{last}\n")))
            }
        }
    }

    fn vandalise(&mut self, random: &mut Random, story: &mut String) -> Result<(), String> {
        for _ in 0..random.between(1, 3) {
            if random.once_in(4) {
                let _ = writeln!(story, "{}", self.foreign.add(self.backend, random)?);
                continue;
            }
            let vandalism = random.of(&Vandalism::ALL);
            // The daemon may mend something in between; then there is nothing to do it to.
            match vandalism.act(self.backend, random) {
                Ok(done) => drop(writeln!(story, "{vandalism:?}: {done}")),
                Err(why) => drop(writeln!(story, "{vandalism:?} failed: {why}")),
            }
        }
        Ok(())
    }

    fn kill_and_start(
        &mut self,
        random: &mut Random,
        began: Instant,
        story: &mut String,
    ) -> Result<(), String> {
        let with_tools = random.once_in(2);
        if let Some(daemon) = self.daemon.take() {
            let _ =
                writeln!(story, "kill -9 after {} ms, tools too: {with_tools}", began.elapsed().as_millis());
            daemon.kill(with_tools)?;
        }
        if random.once_in(6) {
            let _ = writeln!(story, "leftovers in the other backend");
            leave_in_other(self.backend)?;
        }
        self.daemon = Some(self.supervisor.start()?);
        let _ = writeln!(story, "started after {} ms", began.elapsed().as_millis());
        Ok(())
    }

    /// Waits until the kernel has what it should, and the daemon says so.
    fn settle(&mut self) -> Result<(), String> {
        let wanted = Saved::rendered(self.backend, &self.foreign, &self.supervisor.datastore)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.daemon()?.check()?;
            // A table or set may go while it is read.
            let found = Saved::read(self.backend);
            let left = left_in_other(self.backend);
            if let (Ok(found), Ok(left)) = (&found, &left)
                && wanted == *found
                && left.is_empty()
                && is_ready()
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                let differences = found?;
                return Err(format!(
                    "the kernel is not as planned, and ready is {}:\n{}in the other backend: {:#?}",
                    is_ready(),
                    wanted.differences(&differences),
                    left?,
                ));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A daemon that finds everything right changes nothing.
    fn restart_writes_nothing(&mut self) -> Result<(), String> {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill(true)?;
        }
        fs::remove_file(&self.supervisor.log).map_err(|e| format!("the log: {e}"))?;
        self.daemon = Some(self.supervisor.start()?);
        self.settle()?;
        let log = self.supervisor.last_words(usize::MAX);
        let wrote = |line: &str| {
            let of_tables = line.contains("tables-") && line.contains("-restore\"");
            line.contains("\"applied\"") || line.contains("\"ran\"") && of_tables
        };
        let written: Vec<&str> = log.lines().filter(|line| wrote(line)).collect();
        if !log.contains("\"nothing to write\"") || !written.is_empty() {
            return Err(format!("a restart with nothing changed wrote: {}\n{log}", written.join("\n")));
        }
        Ok(())
    }

    fn daemon(&mut self) -> Result<&mut Daemon, String> {
        self.daemon.as_mut().ok_or_else(|| "there is no daemon".to_owned())
    }
}

fn pause(random: &mut Random) {
    thread::sleep(Duration::from_millis(random.below(MEANWHILE) as u64));
}
