//! The daemon, as a supervisor has it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::kernel::Backend;
use crate::objects::HOST;

/// How long anything may take that ought to take a moment; machines may be busy.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// How long tools may outlive the daemon.
const GRACE: Duration = Duration::from_millis(300);

/// How it is started.
pub struct Supervisor {
    pub backend: Backend,
    pub datastore: PathBuf,
    /// As `PATH` is written.
    pub tools: String,
    /// What it says goes there, a JSON object a line.
    pub log: PathBuf,
}

/// A process group of its own.
pub struct Daemon(Child);

impl Supervisor {
    pub fn start(&self) -> Result<Daemon, String> {
        let Self { backend, datastore, tools, log } = self;
        let failed = |e| format!("starting the daemon: {e}");
        let log = OpenOptions::new().create(true).append(true).open(log).map_err(failed)?;
        let child = Command::new(env!("CARGO_BIN_EXE_felix-rs"))
            .args(["run", "--host", HOST, "--log", "debug", "--log-format", "json", "--tools", tools])
            .arg("--datastore")
            .arg(datastore)
            .arg(format!("--set=IptablesBackend={}", backend.name()))
            // A tool that hangs is given up so soon.
            .args(["--set=DataplaneWatchdogTimeout=0.5", "--set=HealthEnabled=true"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Daemon(child))
    }

    /// The last lines that it said.
    pub fn last_words(&self, lines: usize) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Daemon {
    /// `kill -9`, of the daemon alone or with the tools that it runs. Ends when none of them is there any more, as a
    /// supervisor waits for the processes of a service.
    pub fn kill(mut self, with_tools: bool) -> Result<(), String> {
        let group = self.0.id();
        let whom = if with_tools { -group.cast_signed() } else { group.cast_signed() };
        // SAFETY: it takes two numbers. The process is ours and was not waited for: its number is no one else's.
        let sent = unsafe { libc::kill(whom, libc::SIGKILL) };
        if sent != 0 {
            return Err(format!("kill {whom}: {}", io::Error::last_os_error()));
        }
        self.0.wait().map_err(|e| format!("waiting for the daemon: {e}"))?;
        let killed = Instant::now();
        while is_there(group) {
            if killed.elapsed() > PATIENCE {
                return Err("the daemon's tools outlive it".to_owned());
            }
            if killed.elapsed() > GRACE {
                // SAFETY: as above. One that hangs is ended.
                unsafe { libc::kill(-group.cast_signed(), libc::SIGKILL) };
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// SIGHUP: reads everything anew. One that has just been started does so anyway, and might not listen yet.
    pub fn hang_up(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while answer().is_err() {
            self.check()?;
            if Instant::now() > deadline {
                return Err("the daemon does not answer".to_owned());
            }
            thread::sleep(Duration::from_millis(5));
        }
        // SAFETY: as above.
        unsafe { libc::kill(self.0.id().cast_signed(), libc::SIGHUP) };
        Ok(())
    }

    /// It has not ended by itself.
    pub fn check(&mut self) -> Result<(), String> {
        match self.0.try_wait() {
            Ok(None) => Ok(()),
            ended => Err(format!("the daemon has ended: {ended:?}")),
        }
    }
}

/// The daemon says that the kernel is as the policy says.
pub fn is_ready() -> bool {
    let answer = answer().unwrap_or_default();
    answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200")
}

fn answer() -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", 9099))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /readiness HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map(|_| answer)
}

/// A process of the group that is no zombie.
fn is_there(group: u32) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| fs::read_to_string(Path::new(&entry.path()).join("stat")).ok()).any(|stat| {
        // Behind the name, which may hold anything: state, parent, group.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.get(2).is_some_and(|found| *found == group.to_string()) && fields.first() != Some(&"Z")
    })
}
