//! The program as a user starts it, in the root of the tree and with an empty environment.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;

use libtest_mimic::Failed;

/// How a run of the program ended, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program to its end, with these variables alone.
pub fn run<'a>(
    arguments: impl IntoIterator<Item = &'a str>,
    variables: &[(&str, &str)],
    stdin: &str,
) -> Result<Said, Failed> {
    let mut command = command(arguments);
    command.envs(variables.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    let output = thread::scope(|scope| {
        scope.spawn(move || ignore_closed(input.write_all(stdin.as_bytes())));
        child.wait_with_output()
    })?;
    Ok(Said {
        code: output.status.code().ok_or("ended by a signal")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// The program, not yet started.
pub fn command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_felix-rs"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
    command
}

/// A program need not read what it is given.
fn ignore_closed(written: io::Result<()>) {
    if let Err(error) = written {
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
    }
}
