//! A real BIRD in a host, and who asks it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::Verdict;
use crate::lab::{Lab, until};
use crate::netns::Netns;

/// Runs it, wherever it is.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/daemon/bird");

/// What is said by whom it was told to do something.
const DONE: [&str; 2] = ["Shutdown requested", "Reconfigured"];

/// Whether there can be one; if not, why.
pub fn check() -> Verdict {
    let output = Command::new(SCRIPT).arg("--check").output().map_err(|e| format!("{SCRIPT}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

pub struct Bird<'a> {
    netns: &'a Netns,
    child: Child,
    /// Where its configuration and its socket are.
    folder: PathBuf,
}

impl<'a> Bird<'a> {
    /// It answers.
    pub fn start(lab: &'a Lab, host: usize, config: &str) -> Result<Self, String> {
        check()?;
        let folder = lab.scratch().join(format!("bird-{host}"));
        let failed = |e| format!("{}: {e}", folder.display());
        fs::create_dir_all(&folder).map_err(failed)?;
        fs::write(folder.join("conf"), config).map_err(failed)?;
        let netns = lab.world.host(host);
        let mut command = Command::new(SCRIPT);
        command.args(["bird", "-f", "-c"]).arg(folder.join("conf")).arg("-s").arg(folder.join("socket"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = netns.within(|| command.spawn()).map_err(failed)?;
        let bird = Self { netns, child, folder };
        until(|| bird.ask("show status").map(drop))?;
        Ok(bird)
    }

    /// What it answers to a command of `birdc`.
    pub fn ask(&self, command: &str) -> Result<String, String> {
        let socket = self.folder.join("socket").display().to_string();
        let words: Vec<&str> =
            [SCRIPT, "birdc", "-s", &socket].into_iter().chain(command.split(' ')).collect();
        self.netns.run(&words, "")
    }

    /// The destinations of the routes that it knows from one of its protocols, sorted.
    pub fn routes_of(&self, protocol: &str) -> Result<Vec<String>, String> {
        let answer = self.ask(&format!("show route protocol {protocol}"))?;
        let destinations = answer.lines().filter_map(|line| line.split(' ').next());
        let mut destinations: Vec<String> =
            destinations.filter(|word| word.contains('/')).map(str::to_owned).collect();
        destinations.sort();
        destinations.dedup();
        Ok(destinations)
    }

    /// It goes on with another configuration.
    pub fn configure(&self, config: &str) -> Verdict {
        fs::write(self.folder.join("conf"), config).map_err(|e| e.to_string())?;
        self.order("configure", DONE[1])
    }

    fn order(&self, command: &str, done: &str) -> Verdict {
        match self.ask(command)? {
            said if said.contains(done) => Ok(()),
            said => Err(format!("{command}: {said}")),
        }
    }

    /// Ends it as its operator does: it takes its routes with it.
    pub fn down(mut self) -> Verdict {
        self.order("down", DONE[0])?;
        self.child.wait().map(drop).map_err(|e| e.to_string())
    }

    /// Ends it as a supervisor does, who waits.
    pub fn terminate(mut self) -> Verdict {
        // SAFETY: kill touches no memory; the child was not waited for yet, so the number is its own.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        self.child.wait().map(drop).map_err(|e| e.to_string())
    }

    /// Ends it in the midst of what it does: its routes stay.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Bird<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
