//! A world, a directory of manifests, and daemons that follow it.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Verdict;
use crate::daemon::{Daemon, Settings};
use crate::netns::{self, Backend};
use crate::world::{self, HOSTS, Row, World};

/// How long something may take of which the log tells nothing.
const PATIENCE: Duration = Duration::from_secs(25);

pub struct Lab {
    pub world: World,
    pub backend: Backend,
    scratch: TempDir,
}

impl Lab {
    pub fn new(backend: Backend) -> Result<Self, String> {
        Self::of(World::new()?, backend)
    }

    /// Where nobody has made routes.
    pub fn bare(backend: Backend) -> Result<Self, String> {
        Self::of(World::bare()?, backend)
    }

    /// The same with four hosts.
    pub fn wide(backend: Backend) -> Result<Self, String> {
        Self::of(World::wide()?, backend)
    }

    fn of(world: World, backend: Backend) -> Result<Self, String> {
        let scratch = tempfile::tempdir().map_err(|e| format!("a scratch folder: {e}"))?;
        let lab = Self { world, backend, scratch };
        fs::create_dir(lab.source()).map_err(|e| format!("manifests: {e}"))?;
        Ok(lab)
    }

    /// Where the manifests are.
    pub fn source(&self) -> PathBuf {
        self.scratch.path().join("manifests")
    }

    /// A folder of the trial's own.
    pub fn scratch(&self) -> &std::path::Path {
        self.scratch.path()
    }

    /// Writes a manifest as editors do: under another name first.
    pub fn put(&self, name: &str, text: &str) -> Verdict {
        let (target, new) = (self.source().join(format!("{name}.yaml")), self.scratch.path().join("new"));
        fs::write(&new, text).and_then(|()| fs::rename(&new, &target)).map_err(|e| format!("{name}: {e}"))
    }

    pub fn remove(&self, name: &str) -> Verdict {
        fs::remove_file(self.source().join(format!("{name}.yaml"))).map_err(|e| format!("{name}: {e}"))
    }

    /// How a host's daemon is started.
    pub fn settings(&self, host: usize, parameters: &[&str]) -> Settings {
        Settings {
            host: HOSTS[host],
            backend: self.backend,
            datastore: self.source().display().to_string(),
            environment: Vec::new(),
            scratch: self.scratch.path().to_owned(),
            tools: netns::PATH.to_owned(),
            parameters: parameters.iter().map(|parameter| (*parameter).to_owned()).collect(),
        }
    }

    /// A daemon that has programmed everything, with parameters of its own.
    pub fn daemon_with(&self, host: usize, parameters: &[&str]) -> Result<Daemon<'_>, String> {
        Daemon::ready(self.world.host(host), &self.settings(host, parameters))
    }

    pub fn daemon(&self, host: usize) -> Result<Daemon<'_>, String> {
        self.daemon_with(host, &[])
    }

    /// One on each host.
    pub fn daemons(&self) -> Result<[Daemon<'_>; 2], String> {
        Ok([self.daemon(0)?, self.daemon(1)?])
    }

    /// Changes the manifests, in one file; returns when all these daemons have made the kernel so.
    pub fn change(&self, daemons: &mut [Daemon], change: impl FnOnce(&Self) -> Verdict) -> Verdict {
        let marks: Vec<_> = daemons.iter().map(Daemon::mark).collect();
        change(self)?;
        daemons.iter_mut().zip(marks).try_for_each(|(daemon, mark)| daemon.settle(mark).map(drop))
    }

    /// What a host's kernel has: tables and sets.
    pub fn programmed(&self, host: usize) -> Result<Vec<String>, String> {
        let netns = self.world.host(host);
        let mut all = world::tables(netns, self.backend)?;
        all.extend(world::sets(netns)?);
        Ok(all)
    }

    /// Waits until a host's kernel has this.
    pub fn until(&self, host: usize, wanted: &[String]) -> Verdict {
        until(|| {
            let found = self.programmed(host)?;
            if found == wanted { Ok(()) } else { Err(difference(wanted, &found)) }
        })
    }

    /// Does something while these packets are sent again and again, as new flows. None of them may fail.
    pub fn meanwhile<T>(&self, rows: &[Row], does: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        thread::scope(|scope| {
            // Hung up on when the work is done, or panics.
            let (works, done) = channel::<()>();
            let sender = scope.spawn(move || {
                let mut rounds = 0;
                while done.try_recv() != Err(TryRecvError::Disconnected) {
                    rounds += 1;
                    self.expect(&format!("meanwhile, in round {rounds}"), rows)?;
                    thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            });
            let result = does();
            drop(works);
            let sent: Verdict = sender.join().map_err(|_| "who sends panicked")?;
            sent.and(result)
        })
    }

    /// Sends packets.
    pub fn expect(&self, step: &str, rows: &[Row]) -> Verdict {
        self.world.expect(rows).map_err(|found| format!("{step}:\n{found}"))
    }
}

/// Waits for what the log does not tell.
pub fn until(mut good: impl FnMut() -> Verdict) -> Verdict {
    let end = Instant::now() + PATIENCE;
    loop {
        match good() {
            Err(why) if Instant::now() > end => return Err(why),
            Err(_) => thread::sleep(Duration::from_millis(20)),
            Ok(()) => return Ok(()),
        }
    }
}

/// What of two texts is in one only.
pub fn difference(wanted: &[String], found: &[String]) -> String {
    let only = |of: &[String], not: &[String], sign: &str| -> Vec<String> {
        of.iter().filter(|line| !not.contains(line)).map(|line| format!("{sign} {line}")).collect()
    };
    let mut lines = only(wanted, found, "-");
    lines.extend(only(found, wanted, "+"));
    if lines.is_empty() { "another order".to_owned() } else { lines.join("\n") }
}
