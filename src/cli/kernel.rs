//! The kernel as commands see it that run once and end.

use std::future::Future;
use std::time::Duration;

use super::Failure;
use crate::config::Config;
use crate::model::IpVersion;
use crate::sync::Programmed;
use crate::system::enforcer::ApplyError;
use crate::system::ipsets::Ipsets;
use crate::system::iptables::{Backend, Iptables, detect};
use crate::system::kernel::tables_of;
use crate::system::routes::{Found, MainTable, RoutesError, lacks_module};
use crate::system::tool::{ToolError, Tools};

/// Runs to the end what waits for tools.
pub(super) fn wait<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Io { what: "the runtime".to_owned(), error })?
        .block_on(work)
}

pub(super) fn iptables(tools: &Tools, backend: Backend) -> Iptables {
    Iptables::new(tools.clone(), backend, Duration::from_millis(50))
}

pub(super) fn ipset(tools: &Tools) -> Ipsets {
    Ipsets::new(tools.clone())
}

/// What the kernel of this network namespace has of ours, in the backend that `run` would choose.
pub(super) fn programmed(config: &Config) -> Result<Programmed, Failure> {
    wait(async {
        let tools = Tools::default();
        let detected = detect(&tools, config.enforcement.backend).await.map_err(|error| {
            let help = error.help().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
            Failure::Usage(format!("{error}{help}"))
        })?;
        super::say(&format!("note: compared with iptables-{}: {}\n", detected.backend, detected.reason));
        let mut programmed =
            tables_of(&iptables(&tools, detected.backend)).await.map_err(|error| refusal(&error))?;
        let sets = ipset(&tools).save().await.map_err(|error| tool_refusal(&error))?;
        programmed.read_sets(&sets).map_err(|error| Failure::Usage(format!("ipset save: {error}")))?;
        Ok(programmed)
    })
}

/// The main table of this network namespace, its permanent neighbours and interfaces.
pub(super) fn found_routes() -> Result<Found, Failure> {
    MainTable::open().and_then(|mut table| table.read()).map_err(|error| routes_refusal(&error))
}

/// Why there can be no tunnel, as far as that is known without making one; None where it could be.
pub(super) fn lacks_ipip() -> Result<Option<String>, Failure> {
    wait(async { Ok(lacks_module(&Tools::default()).await.map(|error| error.to_string())) })
}

/// Why the kernel could not be read or written, with what to do.
pub(super) fn refusal(error: &ApplyError) -> Failure {
    with_help(&error.to_string(), error.help())
}

pub(super) fn tool_refusal(error: &ToolError) -> Failure {
    with_help(&error.to_string(), error.help())
}

pub(super) fn routes_refusal(error: &RoutesError) -> Failure {
    with_help(&error.to_string(), Some(error.help()))
}

/// The families as they are named to people.
pub(super) fn restore_command(version: IpVersion, backend: Backend) -> String {
    match version {
        IpVersion::V4 => format!("iptables-{backend}-restore --noflush"),
        IpVersion::V6 => format!("ip6tables-{backend}-restore --noflush"),
    }
}

fn with_help(error: &str, help: Option<&str>) -> Failure {
    let help = help.map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    Failure::Usage(format!("{error}{help}"))
}
