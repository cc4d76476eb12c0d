//! `felix-rs run`: the daemon. Keeps the kernel of this host as the source says.

mod agenda;
mod connections;
mod daemon;
mod enforcement;
mod fight;
mod followed;
mod http;
mod interfaces;
mod reports;
mod routing;
mod teller;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use tracing::{info, warn};

use super::configuration::Parameters;
use super::{Failure, Outcome, source};
use crate::Pipeline;
use crate::config::Config;
use crate::system::tool::Tools;
use crate::telemetry::metrics::Metrics;

/// Where locks are kept.
const LOCKS: &str = "/run/felix-rs";

/// Keep the kernel of this host as the manifests say, until told to end.
#[derive(Args)]
pub(super) struct Arguments {
    /// Where the resources are, which are followed: a file or directory of manifests, may be repeated, or
    /// etcd://HOST:PORT,…/PREFIX (etcds:// for TLS); may be left out where parameters or the environment name etcd
    #[arg(long, value_name = "PATH|URL", value_parser = NonEmptyStringValueParser::new())]
    datastore: Vec<String>,
    /// This host's name in the manifests [default: FelixHostname, or the system's in lower case]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    host: Option<String>,
    #[command(flatten)]
    parameters: Parameters,
    /// Where iptables and ipset are, as PATH is written
    #[arg(long, value_name = "DIRS", default_value = Tools::PATH)]
    tools: String,
}

/// Runs until a signal ends it. `severity`: the configuration says what is logged.
pub(super) fn run(arguments: &Arguments, severity: bool) -> Result<Outcome, Failure> {
    let mut given = arguments.parameters.given()?;
    let datastore = source::choose(&arguments.datastore, &mut given)?;
    for problem in &given.problems {
        warn!("{problem}");
    }
    let config = Config::resolve(&given.sources).config;
    let host = match arguments.host.clone().or_else(|| config.hostname.clone()) {
        Some(host) => host,
        None => system_hostname()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The main loop has a thread of its own; beside it there is little to do. Each thread keeps memory.
        .worker_threads(1)
        .max_blocking_threads(8)
        .enable_all()
        .build()
        .map_err(|error| Failure::Io { what: "the runtime".to_owned(), error })?;
    let fault = |error: prometheus::Error| Failure::Usage(format!("metrics: {error}"));
    let metrics = Metrics::new(&host).map_err(fault)?;
    info!(host, version = env!("CARGO_PKG_VERSION"), "begins");
    let outcome = runtime.block_on(async {
        let store = datastore.store().cloned();
        let source = source::follow(datastore)?;
        let _only = only_one()?;
        let pipeline = Pipeline::new(host.as_str().into(), given.sources);
        let options = daemon::Options { tools: arguments.tools.clone(), config, severity, store };
        daemon::Daemon::new(pipeline, source, metrics, options)?.run().await
    });
    // What still runs in the background holds nothing that must be finished.
    runtime.shutdown_background();
    outcome
}

/// The kernel's name for this host, as a Node is called by default.
fn system_hostname() -> Result<String, Failure> {
    let path = "/proc/sys/kernel/hostname";
    let name = fs::read_to_string(path).map_err(|error| Failure::Io { what: path.to_owned(), error })?;
    Ok(name.trim().to_lowercase())
}

/// Held by the daemon, and by who must not meet one: two would undo each other's work. One lock a network namespace, as
/// what they write is there; it goes with the process.
pub(super) fn only_one() -> Result<File, Failure> {
    let failure = |error: io::Error| Failure::Io { what: LOCKS.to_owned(), error };
    let namespace = fs::metadata("/proc/self/ns/net").map_err(failure)?.ino();
    fs::create_dir_all(LOCKS).map_err(failure)?;
    let path = Path::new(LOCKS).join(format!("{namespace}.lock"));
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file =
        options.open(&path).map_err(|error| Failure::Io { what: path.display().to_string(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Usage(
            "another felix-rs keeps this network namespace\nhelp: end it first".to_owned(),
        )),
        Err(TryLockError::Error(error)) => Err(failure(error)),
    }
}
