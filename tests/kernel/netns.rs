//! A script in a network namespace of its own, made for it and gone with it.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::{fs, io, thread};

/// Names the namespace that a script must not be in.
const HOST: &str = "FELIX_RS_HOST_NETNS";

/// What every script begins with: no write before it is sure that the namespace is a new one.
const GUARD: &str = r#"
here=$(readlink "/proc/$$/ns/net") || here=
if [ -z "$here" ] || [ -z "$FELIX_RS_HOST_NETNS" ] || [ "$here" = "$FELIX_RS_HOST_NETNS" ]; then
  echo "refused: this is the network namespace of the tests" >&2
  exit 1
fi
"#;

const HELP: &str =
    "help: the kernel tests need root and `unshare --net`; FELIX_RS_SKIP_KERNEL=1 leaves them out, visibly";

/// Runs `script` by `sh -eu` in a new namespace; what it printed, or what went wrong.
pub fn run(script: &str) -> Result<String, String> {
    let host = fs::read_link("/proc/self/ns/net").map_err(|e| format!("/proc/self/ns/net: {e}"))?;
    said(shell(&["sh", "-eu"], &host.to_string_lossy(), script))
}

/// Runs `script` in a new namespace that it must take for the one of the tests.
pub fn run_at_home(script: &str) -> Result<String, String> {
    let at_home = format!("{HOST}=$(readlink /proc/self/ns/net) exec sh -eu");
    said(shell(&["sh", "-c", &at_home], "", script))
}

fn shell(command: &[&str], host: &str, script: &str) -> io::Result<Output> {
    let scratch = tempfile::tempdir()?;
    let mut child = Command::new("timeout")
        .args(["120", "unshare", "--net"])
        .args(command)
        .env(HOST, host)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        // One lock a namespace: the legacy tools of two of them must not wait for each other.
        .env("XTABLES_LOCKFILE", scratch.path().join("xtables.lock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take();
    let script = format!("{GUARD}\n{script}");
    // Beside the reading: the script and its output may both be larger than a pipe.
    let writer = thread::spawn(move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes())));
    let output = child.wait_with_output()?;
    match writer.join() {
        // A script that ends early is read no further.
        Ok(Err(e)) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
        Ok(_) => Ok(output),
        Err(_) => Err(io::Error::other("the writer of the script panicked")),
    }
}

fn said(output: io::Result<Output>) -> Result<String, String> {
    let output = output.map_err(|e| format!("`timeout 120 unshare --net …`: {e}\n{HELP}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let help = if stderr.starts_with("unshare:") { HELP } else { "" };
    Err(format!("{}\n{stderr}{help}", output.status))
}
