//! This program again, in namespaces made for one trial: all that it starts ends with it.

use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

/// Names the network namespace that no trial must be in.
const HOME: &str = "FELIX_RS_HOST_NETNS";

/// Where what was prepared for the tests is kept.
const CACHE: &str = "XDG_CACHE_HOME";

/// What a worker is started with, before what it is asked.
pub const WORKER: &str = "--in-namespace";

pub const REFUSED: &str = "refused: this is the network namespace of the tests";

/// How a trial is carried out.
pub struct Worker<'a> {
    /// What starts it in new namespaces; nothing, where it is to refuse.
    pub before: &'a [&'a str],
    pub asked: &'a [&'a str],
    /// When it is given up, in seconds.
    pub limit: &'a str,
    /// What is said where no namespace can be made.
    pub help: &'a str,
}

/// What this process is asked, if it is a worker.
pub fn asked() -> Option<Vec<String>> {
    let mut arguments = env::args().skip(1);
    arguments.next().filter(|first| first == WORKER)?;
    Some(arguments.collect())
}

/// Carries the trial out, in the namespaces that this process is in.
pub fn work(trial: impl FnOnce() -> Result<(), String>) -> ExitCode {
    match refuse_home().and_then(|()| trial()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

impl Worker<'_> {
    pub fn carry_out(&self) -> Result<(), String> {
        let Self { before, asked, limit, help } = self;
        let home = fs::read_link("/proc/self/ns/net").map_err(|e| format!("/proc/self/ns/net: {e}"))?;
        let this = env::current_exe().map_err(|e| format!("this program: {e}"))?;
        let output = Command::new("timeout")
            .args(["--kill-after=5", limit])
            .args(*before)
            .arg(this)
            .arg(WORKER)
            .args(*asked)
            .env_clear()
            .env(HOME, home)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(env::var_os(CACHE).map(|folder| (CACHE, folder)))
            .stdin(Stdio::null())
            .stdout(Stdio::inherit())
            .stderr(Stdio::piped())
            .output()
            .map_err(|e| format!("starting a worker: {e}\n{help}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let help = if said.starts_with("unshare:") { help } else { "" };
        let late = if output.status.code() == Some(124) { "not done in time; " } else { "" };
        Err(format!("{late}{}\n{said}{help}", output.status))
    }
}

fn refuse_home() -> Result<(), String> {
    let here = fs::read_link("/proc/self/ns/net").map_err(|e| format!("/proc/self/ns/net: {e}"))?;
    match env::var_os(HOME) {
        Some(home) if !home.is_empty() && home != here.as_os_str() => Ok(()),
        _ => Err(REFUSED.to_owned()),
    }
}
