//! A world, a directory of manifests, and daemons that follow it.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::Verdict;
use crate::daemon::{Daemon, Mark, READY, Settings};
use crate::netns::{self, Backend};
use crate::world::{HOSTS, World};

pub struct Lab {
    pub world: World,
    pub backend: Backend,
    scratch: TempDir,
}

impl Lab {
    pub fn new(backend: Backend) -> Result<Self, String> {
        let scratch = tempfile::tempdir().map_err(|e| format!("a scratch folder: {e}"))?;
        let lab = Self { world: World::new()?, backend, scratch };
        fs::create_dir(lab.source()).map_err(|e| format!("manifests: {e}"))?;
        Ok(lab)
    }

    /// Writes a manifest as editors do: under another name first.
    pub fn put(&self, name: &str, text: &str) -> Verdict {
        let (target, new) = (self.file(name), self.scratch.path().join("new"));
        fs::write(&new, text).and_then(|()| fs::rename(&new, &target)).map_err(|e| format!("{name}: {e}"))
    }

    /// One on each host, which have programmed everything.
    pub fn daemons(&self) -> Result<[Daemon<'_>; 2], String> {
        let start = |number| Daemon::start(self.world.host(number), &self.settings(number));
        let mut daemons = [start(0)?, start(1)?];
        for daemon in &mut daemons {
            daemon.hear_of(Mark::default(), READY)?;
        }
        Ok(daemons)
    }

    /// One on the first host alone.
    pub fn daemon(&self) -> Result<Daemon<'_>, String> {
        Daemon::ready(self.world.host(0), &self.settings(0))
    }

    /// Changes the manifests, in one file; returns when all these daemons have made the kernel so.
    pub fn change(&self, daemons: &mut [Daemon], change: impl FnOnce(&Self) -> Verdict) -> Verdict {
        let marks: Vec<_> = daemons.iter().map(Daemon::mark).collect();
        change(self)?;
        daemons.iter_mut().zip(marks).try_for_each(|(daemon, mark)| daemon.settle(mark).map(drop))
    }

    fn settings(&self, number: usize) -> Settings {
        Settings {
            host: HOSTS[number],
            backend: self.backend,
            datastore: self.source().display().to_string(),
            environment: vec![],
            scratch: self.scratch.path().to_owned(),
            tools: netns::PATH.to_owned(),
            // Which has no part in the tunnel, and takes its time.
            parameters: vec!["Ipv6Support=false".to_owned()],
        }
    }

    fn source(&self) -> PathBuf {
        self.scratch.path().join("manifests")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.source().join(format!("{name}.yaml"))
    }
}
