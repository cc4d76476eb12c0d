//! One run of one of the system's tools: fixed arguments, a clean environment, a deadline, bounded output.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};
use tracing::debug;

/// The largest output that is read, in bytes. A host with a million rules prints a fifth of it.
const OUTPUT_LIMIT: u64 = 1 << 30;

/// What is kept of a tool's complaints, in bytes.
const COMPLAINT_LIMIT: u64 = 16 << 10;

/// Where the tools are looked for, and how long they may take.
#[derive(Clone, Debug)]
pub struct Tools {
    /// As `PATH` has it. A caller's `PATH` does not choose.
    path: Arc<str>,
    deadline: Duration,
}

/// What a tool is to do.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) tool: &'a str,
    pub(super) arguments: &'a [&'a str],
    /// For its standard input.
    pub(super) input: Option<String>,
    /// Whether it may change the kernel, for the log.
    pub(super) writes: bool,
    pub(super) deadline: Duration,
}

/// Why a tool did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolError {
    /// There is no such tool on [`Tools`]' path.
    Missing { tool: String },
    /// The operating system refused to start it, or to speak with it; its words.
    Io { tool: String, error: String },
    /// It was ended when it had not ended by itself.
    TimedOut { tool: String, after: Duration },
    /// It ended with this exit code (None: by a signal), and said this.
    Failed { tool: String, code: Option<i32>, complaint: String },
    /// What it printed is not text, or endless.
    Unreadable { tool: String },
}

impl Tools {
    /// Where Debian and its relatives have them.
    pub const PATH: &'static str = "/usr/sbin:/usr/bin:/sbin:/bin";

    /// Enough for a large host's table where nft is slow (minutes: users of such daemons, section 3).
    pub const DEADLINE: Duration = Duration::from_secs(600);

    /// Looks in the directories of `path`, which is written as `PATH` is. A tool is killed after `deadline`.
    pub fn new(path: &str, deadline: Duration) -> Self {
        Self { path: path.into(), deadline }
    }

    /// The tool's file. A process whose tool is looked for by the operating system is made by copying this one's tables
    /// of memory, which takes milliseconds on a large host.
    fn find(&self, tool: &str) -> Result<PathBuf, ToolError> {
        let candidates = self.path.split(':').filter(|folder| !folder.is_empty());
        candidates
            .map(|folder| Path::new(folder).join(tool))
            .find(|file| file.is_file())
            .ok_or_else(|| ToolError::Missing { tool: tool.to_owned() })
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// What a tool prints that changes nothing.
    ///
    /// # Errors
    /// As for every tool: see [`ToolError`].
    pub async fn ask(&self, tool: &str, arguments: &[&str]) -> Result<String, ToolError> {
        self.run(Job { tool, arguments, input: None, writes: false, deadline: self.deadline }).await
    }

    /// Runs the tool to its end; what it printed.
    ///
    /// # Errors
    /// It could not be run, or did not succeed. A tool that is late is killed.
    pub(super) async fn run(&self, job: Job<'_>) -> Result<String, ToolError> {
        let Job { tool, arguments, input, writes, deadline } = job;
        let started = Instant::now();
        let (lines, bytes) = input.as_deref().map_or((0, 0), |text| (text.lines().count(), text.len()));
        let child = Command::new(self.find(tool)?)
            .args(arguments)
            .env_clear()
            .env("PATH", &*self.path)
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| not_started(tool, &error))?;
        let result = match timeout(deadline, talk(tool, child, input)).await {
            Ok(result) => result,
            Err(_) => Err(ToolError::TimedOut { tool: tool.to_owned(), after: deadline }),
        };
        debug!(
            tool,
            arguments = arguments.join(" "),
            writes,
            lines,
            bytes,
            milliseconds = started.elapsed().as_secs_f64() * 1e3,
            error = result.as_ref().err().map(tracing::field::display),
            "ran"
        );
        result
    }
}

impl Default for Tools {
    fn default() -> Self {
        Self::new(Self::PATH, Self::DEADLINE)
    }
}

/// Feeds the child and listens to it, all at once: one that is not listened to stops listening.
async fn talk(tool: &str, mut child: Child, input: Option<String>) -> Result<String, ToolError> {
    let stdin = child.stdin.take();
    let write = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            for chunk in whole_lines(&input) {
                // One that ends early says why in its complaint.
                if stdin.write_all(chunk).await.is_err() {
                    break;
                }
            }
        }
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ((), printed, complaint, status) =
        tokio::join!(write, read(stdout, OUTPUT_LIMIT), read(stderr, COMPLAINT_LIMIT), child.wait());
    let io = |error: io::Error| ToolError::Io { tool: tool.to_owned(), error: error.to_string() };
    let status: ExitStatus = status.map_err(io)?;
    let complaint = String::from_utf8_lossy(&complaint.map_err(io)?).trim().to_owned();
    if !status.success() {
        return Err(ToolError::Failed { tool: tool.to_owned(), code: status.code(), complaint });
    }
    let printed = printed.map_err(io)?;
    let unreadable = || ToolError::Unreadable { tool: tool.to_owned() };
    if printed.len() as u64 >= OUTPUT_LIMIT {
        return Err(unreadable());
    }
    String::from_utf8(printed).map_err(|_| unreadable())
}

/// The text in pieces that a pipe takes whole or not at all (`pipe(7)`: up to `PIPE_BUF` bytes). If this process is
/// killed the tool sees the end of its input behind a line: half of `add set 10.0.0.12` would be another member.
fn whole_lines(text: &str) -> impl Iterator<Item = &[u8]> {
    const PIPE_BUF: usize = 4096;
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = match rest.get(..PIPE_BUF) {
            None => rest.len(),
            Some(head) => head.iter().rposition(|byte| *byte == b'\n').map_or_else(
                // No line of a set is that long; one of a table counts for nothing without its COMMIT.
                || rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1),
                |at| at + 1,
            ),
        };
        let (chunk, behind) = rest.split_at_checked(end)?;
        rest = behind;
        Some(chunk)
    })
}

/// The first `limit` bytes; what comes behind them is read and dropped, so that the writer ends.
async fn read(from: Option<impl AsyncRead + Unpin>, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(limit).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(bytes)
}

fn not_started(tool: &str, error: &io::Error) -> ToolError {
    let tool = tool.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => ToolError::Missing { tool },
        _ => ToolError::Io { tool, error: error.to_string() },
    }
}

impl ToolError {
    /// What the reader of the message can do about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Missing { tool } if tool.contains("tables") => Some("install the package iptables"),
            Self::Missing { tool } if tool == "ipset" => Some("install the package ipset"),
            Self::Failed { complaint, .. } if complaint.contains("Permission denied") => {
                Some("run it as root, or with the capabilities NET_ADMIN and NET_RAW")
            }
            Self::Failed { complaint, .. } if complaint.contains("Operation not permitted") => {
                Some("run it as root, or with the capabilities NET_ADMIN and NET_RAW")
            }
            Self::Missing { .. }
            | Self::Io { .. }
            | Self::TimedOut { .. }
            | Self::Failed { .. }
            | Self::Unreadable { .. } => None,
        }
    }

    /// The number of the line of its input that the tool complains about, from 1.
    pub fn line(&self) -> Option<usize> {
        const BEFORE: [&str; 3] = ["Error occurred at line: ", "Error in line ", "line "];
        let Self::Failed { complaint, .. } = self else { return None };
        BEFORE.iter().find_map(|before| {
            let (_, behind) = complaint.split_once(before)?;
            let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
            behind.get(..end)?.parse().ok()
        })
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { tool } => write!(f, "{tool}: there is no such tool"),
            Self::Io { tool, error } => write!(f, "{tool}: {error}"),
            Self::TimedOut { tool, after } => {
                write!(f, "{tool} had not ended after {} s", after.as_secs_f32())
            }
            Self::Failed { tool, code, complaint } => {
                write!(f, "{tool} ")?;
                match code {
                    Some(code) => write!(f, "failed with exit code {code}")?,
                    None => f.write_str("was killed by a signal")?,
                }
                if complaint.is_empty() { Ok(()) } else { write!(f, ": {}", one_line(complaint)) }
            }
            Self::Unreadable { tool } => write!(f, "{tool} printed what is no text, or is endless"),
        }
    }
}

impl std::error::Error for ToolError {}

/// A log line is one line.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn run(tool: &str, arguments: &[&str], input: Option<&str>) -> Result<String, ToolError> {
        let input = input.map(str::to_owned);
        let job = Job { tool, arguments, input, writes: false, deadline: 5 * SECOND };
        Tools::default().run(job).await
    }

    #[tokio::test]
    async fn a_tool_is_fed_and_heard() {
        assert_eq!(run("cat", &[], Some("a\nb\n")).await.as_deref(), Ok("a\nb\n"));
        assert_eq!(run("env", &[], None).await.unwrap(), format!("PATH={}\n", Tools::PATH));
        // More than a pipe holds, both ways at once.
        let much = "x".repeat(1 << 20);
        assert_eq!(run("cat", &[], Some(&much)).await.unwrap().len(), much.len());
    }

    #[tokio::test]
    async fn failures_say_what_happened() {
        let missing = run("no-such-iptables", &[], None).await.unwrap_err();
        assert_eq!(missing.to_string(), "no-such-iptables: there is no such tool");
        assert_eq!(missing.help(), Some("install the package iptables"));
        // It does not read what it is given.
        let failed = run("sh", &["-c", "echo 'line 7 failed' >&2; exit 4"], Some(&"y".repeat(1 << 20))).await;
        let failed = failed.unwrap_err();
        assert_eq!(failed.to_string(), "sh failed with exit code 4: line 7 failed");
        assert_eq!(failed.line(), Some(7));
        let job =
            Job { tool: "sleep", arguments: &["60"], input: None, writes: false, deadline: SECOND / 20 };
        let late = Tools::default().run(job).await.unwrap_err();
        assert_eq!(late.to_string(), "sleep had not ended after 0.05 s");
        assert_eq!(
            run("printf", &[r"\377"], None).await,
            Err(ToolError::Unreadable { tool: "printf".to_owned() })
        );
    }

    #[test]
    fn a_tool_is_given_whole_lines() {
        for (text, expected) in [
            (String::new(), vec![]),
            ("a\n".to_owned(), vec![2]),
            ("a\nno end".to_owned(), vec![8]),
            ("x".repeat(4094) + "\n" + "b\nc\n", vec![4095, 4]),
            ("x".repeat(5000) + "\nb\n", vec![5001, 2]),
            ("x".repeat(5000), vec![5000]),
        ] {
            let lengths: Vec<usize> = whole_lines(&text).map(<[u8]>::len).collect();
            assert_eq!(lengths, expected);
            assert_eq!(whole_lines(&text).flatten().copied().collect::<Vec<u8>>(), text.as_bytes());
        }
    }

    #[test]
    fn lines_that_tools_complain_about() {
        let failed = |complaint: &str| ToolError::Failed {
            tool: "t".to_owned(),
            code: Some(1),
            complaint: complaint.to_owned(),
        };
        for (complaint, expected) in [
            ("iptables-restore v1.8.9 (nf_tables): x\nError occurred at line: 12\nTry …", Some(12)),
            ("iptables-restore: line 7 failed", Some(7)),
            ("iptables-nft-restore: line 3: CHAIN_DEL failed (Device or resource busy): chain a", Some(3)),
            ("ipset v7.17: Error in line 3: Hash is full, cannot add more elements", Some(3)),
            ("something else", None),
        ] {
            assert_eq!(failed(complaint).line(), expected, "{complaint}");
        }
    }
}
