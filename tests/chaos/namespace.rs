//! This program again, in namespaces made for it: of the network; of processes, so that all that it started ends with it;
//! and of mounts, so that its iptables have a lock of their own.

use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use crate::kernel::{self, Backend};

/// Names the network namespace that no trial must be in.
const HOST: &str = "FELIX_RS_HOST_NETNS";

/// What a worker is started with, before what it is asked.
const WORKER: &str = "--in-namespace";

/// When a trial is given up, in seconds.
const LIMIT: &str = "900";

const NEW: [&str; 7] = ["unshare", "--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"];

const HELP: &str = "help: these tests need root, /dev/net/tun and `unshare --net --mount --pid`; FELIX_RS_SKIP_KERNEL=1 \
                    leaves them out, visibly";

pub const REFUSED: &str = "refused: this is the network namespace of the tests";

/// One trial.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub backend: Backend,
    pub seed: u64,
    pub rounds: usize,
}

/// The trial that this process is to carry out.
pub fn asked() -> Option<Asked> {
    let mut arguments = env::args().skip(1);
    arguments.next().filter(|first| first == WORKER)?;
    let backend = arguments.next()?;
    let backend = Backend::ALL.into_iter().find(|known| known.name() == backend)?;
    Some(Asked { backend, seed: arguments.next()?.parse().ok()?, rounds: arguments.next()?.parse().ok()? })
}

/// Carries it out, in the namespaces that this process is in.
pub fn work(asked: &Asked, trial: impl FnOnce(&Asked) -> Result<(), String>) -> ExitCode {
    let own_lock = || kernel::run(&["mount", "-t", "tmpfs", "felix-rs-chaos", "/run"], "").map(drop);
    match refuse_home().and_then(|()| own_lock()).and_then(|()| trial(asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Has a trial carried out in new namespaces.
pub fn carry_out(asked: &Asked) -> Result<(), String> {
    verdict(&NEW, asked)
}

/// Has it carried out in those of the tests, which it must refuse.
pub fn carry_out_at_home(asked: &Asked) -> Result<(), String> {
    verdict(&[], asked)
}

fn verdict(before: &[&str], asked: &Asked) -> Result<(), String> {
    let Asked { backend, seed, rounds } = asked;
    let here = fs::read_link("/proc/self/ns/net").map_err(|e| format!("/proc/self/ns/net: {e}"))?;
    let this = env::current_exe().map_err(|e| format!("this program: {e}"))?;
    let output = Command::new("timeout")
        .args(["--kill-after=5", LIMIT])
        .args(before)
        .arg(this)
        .args([WORKER, backend.name(), &seed.to_string(), &rounds.to_string()])
        .env(HOST, here)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| format!("starting a worker: {e}\n{HELP}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let help = if said.starts_with("unshare:") { HELP } else { "" };
    let again = format!("again: FELIX_RS_SEED={seed} cargo test --test chaos -- {}/0", backend.name());
    Err(format!("{}\n{said}{help}\n{again}", output.status))
}

fn refuse_home() -> Result<(), String> {
    let here = fs::read_link("/proc/self/ns/net").map_err(|e| format!("/proc/self/ns/net: {e}"))?;
    match env::var_os(HOST) {
        Some(home) if !home.is_empty() && home != here.as_os_str() => Ok(()),
        _ => Err(REFUSED.to_owned()),
    }
}
