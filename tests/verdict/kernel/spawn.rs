//! The tests' side: starts a worker in a new namespace and hears its answer.

use std::io::{self, ErrorKind, Write};
use std::process::{Command, Output, Stdio};
use std::{env, fs, thread};

use super::script::{Answer, Script};

/// Names the namespace that a worker must not be in.
pub const HOST: &str = "FELIX_RS_HOST_NETNS";

/// What a worker is started with.
pub const WORKER: &str = "--kernel-worker";

/// When a job is given up, in seconds; all that it has started ends then too.
const LIMIT: &str = "60";

const HELP: &str = "help: these tests need root, /dev/net/tun and `unshare --net`; FELIX_RS_SKIP_KERNEL=1 leaves them out, visibly";

/// Has the script carried out in a new namespace.
pub fn carry_out(script: &Script) -> Answer {
    answer(start(&["unshare", "--net"], script))
}

/// Has it carried out in this one, which the worker must refuse.
pub fn carry_out_at_home(script: &Script) -> Answer {
    answer(start(&[], script))
}

fn start(before: &[&str], script: &Script) -> io::Result<Output> {
    let host = fs::read_link("/proc/self/ns/net")?;
    let text = serde_json::to_vec(script)?;
    let scratch = tempfile::tempdir()?;
    let mut child = Command::new("timeout")
        .args(["--kill-after=5", LIMIT])
        .args(before)
        .arg(env::current_exe()?)
        .arg(WORKER)
        .env(HOST, host)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        // One lock a namespace: the legacy tools of two of them must not wait for each other.
        .env("XTABLES_LOCKFILE", scratch.path().join("xtables.lock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take();
    // Beside the reading: script and answer may both be larger than a pipe.
    let writer = thread::spawn(move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(&text)));
    let output = child.wait_with_output()?;
    match writer.join() {
        // A worker that refuses reads nothing.
        Ok(Err(e)) if e.kind() != ErrorKind::BrokenPipe => Err(e),
        Ok(_) => Ok(output),
        Err(_) => Err(io::Error::other("the writer of the script panicked")),
    }
}

fn answer(output: io::Result<Output>) -> Answer {
    let output = output.map_err(|e| format!("starting a worker: {e}\n{HELP}"))?;
    if output.status.success() {
        return serde_json::from_slice(&output.stdout).map_err(|e| format!("the worker's answer: {e}"))?;
    }
    let late = if output.status.code() == Some(124) {
        format!("no answer within {LIMIT} s\n")
    } else {
        String::new()
    };
    Err(format!("the worker: {}\n{late}{}{HELP}", output.status, String::from_utf8_lossy(&output.stderr)))
}
