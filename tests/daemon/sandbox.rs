//! This program again, in namespaces made for one trial: all that it starts ends with it.

use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use crate::netns::{self, Backend};
use crate::{Case, Verdict};

/// Names the network namespace that no trial must be in.
const HOME: &str = "FELIX_RS_HOST_NETNS";

/// What a worker is started with, before the trial's name and the backend's.
const WORKER: &str = "--in-sandbox";

/// When a trial is given up, in seconds.
const LIMIT: &str = "120";

const HELP: &str = "help: these tests need root and `unshare --net --mount --pid`; FELIX_RS_SKIP_KERNEL=1 leaves them out, visibly";

/// The trial and backend that this process is to carry out.
pub fn asked() -> Option<(String, String)> {
    let mut arguments = env::args().skip(1);
    arguments.next().filter(|first| first == WORKER)?;
    Some((arguments.next()?, arguments.next()?))
}

/// Carries it out, in the namespaces that this process is in.
pub fn work(name: &str, backend: &str, cases: &[Case]) -> ExitCode {
    let verdict = refuse_home().and_then(|()| {
        // One lock a trial: the legacy tools of two of them must not wait for each other.
        netns::run(&["mount", "-t", "tmpfs", "tmpfs", "/run"], "")?;
        let (_, trial) = cases.iter().find(|(case, _)| *case == name).ok_or("there is no such trial")?;
        let backend = Backend::ALL.into_iter().find(|known| known.name() == backend);
        trial(backend.ok_or("there is no such backend")?)
    });
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Has a trial carried out in new namespaces.
pub fn carry_out(name: &str, backend: Backend) -> Verdict {
    let unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    verdict(&unshare, name, backend)
}

/// Has it carried out in these, which it must refuse.
pub fn carry_out_at_home(name: &str, backend: Backend) -> Verdict {
    verdict(&[], name, backend)
}

fn verdict(before: &[&str], name: &str, backend: Backend) -> Verdict {
    let home = fs::read_link("/proc/self/ns/net").map_err(|e| format!("/proc/self/ns/net: {e}"))?;
    let this = env::current_exe().map_err(|e| format!("this program: {e}"))?;
    let output = Command::new("timeout")
        .args(["--kill-after=5", LIMIT])
        .args(before)
        .arg(this)
        .args([WORKER, name, backend.name()])
        .env_clear()
        .env(HOME, home)
        .env("PATH", netns::PATH)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("starting a worker: {e}\n{HELP}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let help = if said.starts_with("unshare:") { HELP } else { "" };
    let late = if output.status.code() == Some(124) { "not done in time; " } else { "" };
    Err(format!("{late}{}\n{said}{help}", output.status))
}

fn refuse_home() -> Verdict {
    let here = fs::read_link("/proc/self/ns/net").map_err(|e| format!("/proc/self/ns/net: {e}"))?;
    match env::var_os(HOME) {
        Some(home) if !home.is_empty() && home != here.as_os_str() => Ok(()),
        _ => Err("refused: this is the network namespace of the tests".to_owned()),
    }
}
