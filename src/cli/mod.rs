//! The door: flags, environment, files, standard streams. One file a subcommand.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "the door is where the program meets the environment, files and standard streams"
)]

mod apply;
mod artefact;
mod chains;
mod check;
mod cleanup;
mod cluster;
mod config;
mod configuration;
mod diff;
mod explain;
mod explanation;
mod golden;
mod init;
mod json;
mod json_changes;
mod json_routes;
mod kernel;
mod log;
mod render;
mod report;
mod run;
mod source;
mod store;
mod test;
mod unit;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use crate::datastore::etcd::EtcdError;

/// Compiles Calico policy for one host into iptables chains and IP sets.
#[derive(Parser)]
#[command(name = "felix-rs", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Log level for stderr, or `module=level,…` [default: warn; for run LogSeverityScreen]
    #[arg(long, global = true, display_order = OF_EVERY_COMMAND, value_name = "FILTER", env = "RUST_LOG")]
    log: Option<EnvFilter>,
    /// How log lines are written
    #[arg(long, global = true, display_order = OF_EVERY_COMMAND, value_enum, default_value = "text")]
    log_format: log::Format,
}

/// Behind a command's own options, however many those are.
const OF_EVERY_COMMAND: usize = 100;

#[derive(Subcommand)]
enum Command {
    Render(render::Arguments),
    Check(check::Arguments),
    Explain(Box<explain::Arguments>),
    Test(test::Arguments),
    Diff(diff::Arguments),
    Run(run::Arguments),
    Init(init::Arguments),
    Apply(apply::Arguments),
    Cleanup(cleanup::Arguments),
    Unit(unit::Arguments),
    Config(config::Arguments),
}

/// How a command ended; the numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// 0: nothing wrong, nothing different.
    Clean,
    /// 1: a difference, a diagnostic of severity error, or a flow that is denied.
    Found,
    /// 3: the answer depends on what can't be known.
    Depends,
}

/// What stopped a command before it could answer: exit code 2.
#[derive(Debug)]
enum Failure {
    /// The arguments don't go together; what to do.
    Usage(String),
    /// A path named by an argument, or a standard stream.
    Io { what: String, error: io::Error },
    /// etcd can't be asked.
    Etcd(EtcdError),
}

/// Runs the command line that the process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let severity = arguments.log.is_none();
    log::begin(arguments.log.unwrap_or_else(|| EnvFilter::new("warn")), arguments.log_format);
    let outcome = match arguments.command {
        Command::Render(arguments) => render::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Unit(arguments) => unit::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Apply(arguments) => apply::run(&arguments),
        Command::Cleanup(arguments) => cleanup::run(&arguments),
        Command::Run(arguments) => run::run(&arguments, severity),
    };
    match outcome {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(1),
        Ok(Outcome::Depends) => ExitCode::from(3),
        Err(failure) => {
            // Nobody may be listening any more; the exit code still tells.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(2)
        }
    }
}

/// For commands that ask a store and wait for its answer.
fn question_runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Io { what: "the runtime".to_owned(), error })
}

/// Writes the artefact. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Io { what: "standard output".to_owned(), error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Says something to whoever watches; nothing depends on it being heard.
fn say(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(problem) => f.write_str(problem),
            Self::Io { what, error } => write!(f, "{what}: {error}"),
            Self::Etcd(error) => {
                write!(f, "{error}")?;
                error.help().map_or(Ok(()), |help| write!(f, "\nhelp: {help}"))
            }
        }
    }
}
