//! One `felix-rs run`, its log and what it serves.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::netns::{self, Backend, Netns};

/// How long the daemon may take for what it is to do; a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to its end.
const END: Duration = Duration::from_secs(5);

/// What it says, once, when all is programmed.
pub const READY: &str = "the kernel is as the policy says";

/// How it is started.
#[derive(Clone)]
pub struct Settings {
    pub host: &'static str,
    pub backend: Backend,
    /// As on the command line.
    pub datastore: String,
    /// Beside `PATH`.
    pub environment: Vec<(&'static str, String)>,
    /// Where what it writes is kept.
    pub scratch: PathBuf,
    /// As `PATH` is written.
    pub tools: String,
    /// `Name=value`
    pub parameters: Vec<String>,
}

pub struct Daemon<'a> {
    netns: &'a Netns,
    child: Child,
    log: PathBuf,
}

/// A place in the log; by default its beginning.
#[derive(Clone, Copy, Default)]
pub struct Mark(usize);

impl<'a> Daemon<'a> {
    /// Begins; what it does is seen in its log.
    pub fn start(netns: &'a Netns, settings: &Settings) -> Result<Self, String> {
        let failed = |e| format!("felix-rs: {e}");
        let (file, log) = new_file(&settings.scratch, "log").map_err(failed)?;
        let (_, config) = new_file(&settings.scratch, "cfg").map_err(failed)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_felix-rs"));
        command
            .args(["run", "--log", "debug", "--log-format", "json", "--host", settings.host])
            .args([
                "--tools",
                &settings.tools,
                "--set",
                &format!("IptablesBackend={}", settings.backend.name()),
            ])
            .args(["--set", "HealthEnabled=true", "--set", "PrometheusMetricsEnabled=true"])
            .args(settings.parameters.iter().flat_map(|parameter| ["--set", parameter]))
            .args(["--datastore", &settings.datastore])
            .arg("--config")
            .arg(config)
            .env_clear()
            .env("PATH", netns::PATH)
            .envs(settings.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(file));
        let child = netns.within(|| command.spawn()).map_err(failed)?;
        Ok(Self { netns, child, log })
    }

    /// Begins, and has programmed everything.
    pub fn ready(netns: &'a Netns, settings: &Settings) -> Result<Self, String> {
        let mut daemon = Self::start(netns, settings)?;
        daemon.hear(Mark::default(), |line| says(line, READY))?;
        Ok(daemon)
    }

    /// The end of the log as it is now.
    pub fn mark(&self) -> Mark {
        Mark(self.lines(Mark::default()).len())
    }

    /// The log behind a place. A line that is being written is not there yet.
    pub fn lines(&self, Mark(skip): Mark) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().skip(skip).filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a line of the log behind a place; the place behind it.
    pub fn hear(&mut self, from: Mark, wanted: impl Fn(&Value) -> bool) -> Result<Mark, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.lines(from).iter().position(&wanted) {
                return Ok(Mark(from.0 + at + 1));
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("felix-rs has ended: {status}\n{}", self.tail()));
            }
            if Instant::now() > end {
                return Err(format!("felix-rs does not say what is waited for\n{}", self.tail()));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for a message that contains this.
    pub fn hear_of(&mut self, from: Mark, part: &str) -> Result<Mark, String> {
        self.hear(from, |line| says(line, part)).map_err(|e| format!("{part}: {e}"))
    }

    /// Waits until what the source has said since is in the kernel.
    pub fn settle(&mut self, from: Mark) -> Result<Mark, String> {
        let heard = self.hear_of(from, "the source has said something")?;
        self.hear(heard, |line| line["message"] == "applied" || line["message"] == "nothing to write")
    }

    pub fn hang_up(&self) {
        self.signal(libc::SIGHUP);
    }

    /// Ends it as a supervisor does.
    pub fn terminate(mut self) -> Result<ExitStatus, String> {
        self.signal(libc::SIGTERM);
        self.end()
    }

    /// Ends it in the midst of what it does.
    pub fn kill(mut self) -> Result<ExitStatus, String> {
        self.signal(libc::SIGKILL);
        self.end()
    }

    /// How it ended, by itself or told to.
    pub fn end(&mut self) -> Result<ExitStatus, String> {
        let end = Instant::now() + END;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(format!("felix-rs does not end\n{}", self.tail()))
    }

    /// The whole log, as text.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The value of a metric, written with its labels.
    pub fn metric(&self, name: &str) -> Result<f64, String> {
        let (_, text) = self.ask(9091, "/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).ok_or(format!("there is no {name} in\n{text}"))
    }

    /// The status and text of the answer to `/readiness`.
    pub fn readiness(&self) -> Result<(u16, String), String> {
        self.ask(9099, "/readiness")
    }

    fn ask(&self, port: u16, path: &str) -> Result<(u16, String), String> {
        let failed = |e: std::io::Error| format!("{path}: {e}\n{}", self.tail());
        let answer = self.netns.within(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        });
        let answer = answer.map_err(failed)?;
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        Ok((status.ok_or("no status")?, body.to_owned()))
    }

    /// The end of the log, for people.
    fn tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    fn signal(&self, signal: i32) {
        // SAFETY: kill touches no memory; the child was not waited for yet, so the number is its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a line's message contains this.
pub fn says(line: &Value, part: &str) -> bool {
    line["message"].as_str().is_some_and(|message| message.contains(part))
}

fn new_file(folder: &Path, ending: &str) -> std::io::Result<(File, PathBuf)> {
    let file = tempfile::Builder::new().suffix(&format!(".{ending}")).tempfile_in(folder)?;
    file.keep().map_err(|e| e.error)
}
