//! Network namespaces without names, and what runs in them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::thread;

pub use felix_rs::system::iptables::Backend;

use crate::Verdict;

pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// There as long as this, or something in it, is.
pub struct Netns {
    handle: File,
}

impl Netns {
    pub fn new() -> Result<Self, String> {
        let made = thread::spawn(|| {
            // SAFETY: unshare touches no memory; it moves this thread alone, which ends here.
            match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
                0 => File::open("/proc/thread-self/ns/net"),
                _ => Err(io::Error::last_os_error()),
            }
        });
        let handle = made.join().map_err(|_| "a namespace: panic")?;
        Ok(Self { handle: handle.map_err(|e| format!("a namespace: {e}"))? })
    }

    /// What `ip link … netns` takes.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.handle.as_raw_fd())
    }

    /// Does something in it: sockets and processes that are made then stay there.
    pub fn within<T: Send>(&self, does: impl FnOnce() -> T + Send) -> T {
        let handle = self.handle.as_raw_fd();
        let inside = || {
            // SAFETY: setns touches no memory; it moves this thread alone, which ends with the scope.
            assert_eq!(
                unsafe { libc::setns(handle, libc::CLONE_NEWNET) },
                0,
                "{}",
                io::Error::last_os_error()
            );
            does()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Runs a command to its end; what it printed.
    pub fn run(&self, command: &[&str], stdin: &str) -> Result<String, String> {
        self.within(|| run(command, stdin))
    }

    /// Runs `ip -batch` with these lines.
    pub fn ip(&self, lines: &str) -> Verdict {
        self.run(&["ip", "-batch", "-"], lines).map(drop)
    }

    /// Runs lines of shell.
    pub fn shell(&self, lines: &str) -> Verdict {
        self.run(&["sh", "-eu"], lines).map(drop)
    }

    /// A setting below `/proc/sys`.
    pub fn sysctl(&self, name: &str) -> Result<String, String> {
        let text = self.within(|| fs::read_to_string(sysctl(name)));
        text.map(|text| text.trim().to_owned()).map_err(|e| format!("{name}: {e}"))
    }

    pub fn set_sysctl(&self, name: &str, value: &str) -> Verdict {
        self.within(|| fs::write(sysctl(name), value)).map_err(|e| format!("{name}: {e}"))
    }
}

fn sysctl(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}

/// Runs a command in the namespace of the caller to its end; what it printed.
pub fn run(command: &[&str], stdin: &str) -> Result<String, String> {
    let failed = |e| format!("{command:?}: {e}");
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(stdin.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
}
