//! This program again, in a namespace made for it.

use std::process::{Child, Command, ExitCode, Stdio};
use std::{env, fs, thread, time::Duration};

use crate::worker::{self, WORKER, Worker};
use crate::{Case, Verdict, conntrack};

/// When a trial is given up, in seconds; all that it has started ends then too.
const LIMIT: &str = "60";

const HELP: &str =
    "help: these tests need root and `unshare --net`; FELIX_RS_SKIP_KERNEL=1 leaves them out, visibly";

/// The trial that this process is to carry out.
pub fn asked() -> Option<String> {
    worker::asked()?.into_iter().next()
}

/// Carries it out, in the namespace that this process is in.
pub fn work(name: &str, cases: &[Case]) -> ExitCode {
    worker::work(|| match cases.iter().find(|(case, _)| *case == name) {
        Some((_, trial)) => trial(),
        None if name == conntrack::PEER => conntrack::be_the_peer(),
        None => Err(format!("there is no trial {name}")),
    })
}

/// Has a trial carried out in a new namespace.
pub fn carry_out(name: &str) -> Verdict {
    verdict(&["unshare", "--net", "--mount"], name)
}

/// Has it carried out in this one, which it must refuse.
pub fn carry_out_at_home(name: &str) -> Verdict {
    verdict(&[], name)
}

fn verdict(unshare: &[&str], name: &str) -> Verdict {
    let scratch = tempfile::tempdir().map_err(|e| format!("a scratch folder: {e}"))?;
    // One lock a namespace: the legacy tools of two of them must not wait for each other.
    let lock = format!("XTABLES_LOCKFILE={}", scratch.path().join("xtables.lock").display());
    // Few files, as one trial opens all that it may.
    let mut before = vec!["env", &lock, "prlimit", "--nofile=256"];
    before.extend(unshare);
    Worker { before: &before, asked: &[name], limit: LIMIT, help: HELP }.carry_out()
}

/// Runs `ip -batch` with these lines.
pub fn ip(lines: &str) -> Verdict {
    ip_in(&[], lines)
}

/// The same, by a command that enters another namespace.
pub fn ip_in(entering: &[&str], lines: &str) -> Verdict {
    let mut command = entering.to_vec();
    command.extend(["ip", "-batch", "-"]);
    run(&command, lines)
}

/// Runs a command to its end.
pub fn run(command: &[&str], stdin: &str) -> Verdict {
    let failed = |e| format!("{command:?}: {e}");
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        std::io::Write::write_all(&mut pipe, stdin.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}: {said}", output.status)) }
}

/// A second namespace, there as long as this is.
pub struct Neighbour {
    keeper: Child,
}

impl Neighbour {
    pub fn new() -> Result<Self, String> {
        let keeper = Command::new("unshare").args(["--net", "sleep", LIMIT]).spawn();
        let neighbour = Self { keeper: keeper.map_err(|e| format!("unshare: {e}"))? };
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net"));
        let own = of("self").map_err(|e| format!("/proc/self: {e}"))?;
        while of(&neighbour.keeper.id().to_string()).is_ok_and(|there| there == own) {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(neighbour)
    }

    /// What `ip link set … netns` takes.
    pub fn process(&self) -> u32 {
        self.keeper.id()
    }

    /// A command in front of another that is to run there.
    pub fn entering(&self) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.keeper.id())]
    }

    /// This program again, there.
    pub fn start(&self, name: &str) -> Result<Guest, String> {
        let this = env::current_exe().map_err(|e| format!("this program: {e}"))?;
        let [enter, which] = self.entering();
        let child =
            Command::new(enter).arg(which).arg(this).args([WORKER, name]).stdout(Stdio::piped()).spawn();
        child.map(Guest).map_err(|e| format!("nsenter: {e}"))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A process that ends with this.
pub struct Guest(pub Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
