//! `felix-rs run`: the daemon. Keeps the kernel of this host as the source says.

mod agenda;
mod connections;
mod daemon;
mod enforcement;
mod http;
mod interfaces;
mod reports;

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use tracing::{info, warn};

use super::{Failure, Outcome, configuration};
use crate::Pipeline;
use crate::config::Config;
use crate::datastore::yaml::{self, Location};
use crate::system::tool::Tools;
use crate::telemetry::metrics::Metrics;

/// Where Felix looks for its configuration.
const CONFIG: &str = "/etc/calico/felix.cfg";

/// Keep the kernel of this host as the manifests say, until told to end.
#[derive(Args)]
pub(super) struct Arguments {
    /// Where the manifests are: a file or a directory, which is followed; may be repeated
    #[arg(long, value_name = "PATH", required = true, value_parser = NonEmptyStringValueParser::new())]
    datastore: Vec<String>,
    /// This host's name in the manifests [default: FelixHostname, or the system's in lower case]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    host: Option<String>,
    /// Felix's configuration file [default: /etc/calico/felix.cfg where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A parameter, as in `--set HealthEnabled=true`; may be repeated, and beats every other source
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Where iptables and ipset are, as PATH is written
    #[arg(long, value_name = "DIRS", default_value = Tools::PATH)]
    tools: String,
}

/// Runs until a signal ends it. `severity`: the configuration says what is logged.
pub(super) fn run(arguments: &Arguments, severity: bool) -> Result<Outcome, Failure> {
    let default = Path::new(CONFIG);
    let file = arguments.config.as_deref().or_else(|| default.exists().then_some(default));
    let given = configuration::given(file, &arguments.set)?;
    for problem in &given.problems {
        warn!("{problem}");
    }
    let config = Config::resolve(&given.sources).config;
    let host = match arguments.host.clone().or_else(|| config.hostname.clone()) {
        Some(host) => host,
        None => system_hostname()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::Io { what: "the runtime".to_owned(), error })?;
    let fault = |error: prometheus::Error| Failure::Usage(format!("metrics: {error}"));
    let metrics = Metrics::new(&host).map_err(fault)?;
    info!(host, version = env!("CARGO_PKG_VERSION"), "begins");
    let outcome = runtime.block_on(async {
        let locations = arguments.datastore.iter().map(|path| Location::from(PathBuf::from(path))).collect();
        let source = yaml::watch(locations)
            .map_err(|error| Failure::Usage(format!("{error}\nhelp: {}", error.help())))?;
        let _only = only_one()?;
        let pipeline = Pipeline::new(host.as_str().into(), given.sources);
        let options = daemon::Options { tools: arguments.tools.clone(), config, severity };
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

/// Held by the daemon, and by who must not meet one: two would undo each other's work. The name lives in the network
/// namespace, as what they write does, and goes with the process.
pub(super) fn only_one() -> Result<UnixListener, Failure> {
    let failure = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            Failure::Usage("another felix-rs keeps this network namespace\nhelp: end it first".to_owned())
        }
        _ => Failure::Io { what: "the lock against a second felix-rs".to_owned(), error },
    };
    let address = SocketAddr::from_abstract_name("felix-rs").map_err(failure)?;
    UnixListener::bind_addr(&address).map_err(failure)
}
