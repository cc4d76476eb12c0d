//! The store of a cluster, for the commands that write to it.

use std::path::PathBuf;

use clap::Args;

use super::configuration;
use super::source::{self, Datastore};
use super::{Failure, report};
use crate::config::{EtcdAccess, Source};
use crate::datastore::etcd::{self, Change, WriteError, Writer};
use crate::model::Diagnostic;
use crate::model::stored::{Stored, built_in};

/// Which store, as flags say it.
#[derive(Args)]
pub(super) struct Address {
    /// The store, as etcd://HOST:PORT,…/PREFIX (etcds:// for TLS); may be left out where parameters or the environment name
    /// etcd
    #[arg(long, value_name = "URL")]
    datastore: Option<String>,
    /// Felix's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A parameter, as in `--set EtcdPrefix=/calico`; may be repeated, and beats every other source
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// How to reach the store.
pub(super) fn access(address: &Address) -> Result<EtcdAccess, Failure> {
    let Address { datastore, config, set } = address;
    let mut given = configuration::given(config.as_deref(), set)?;
    let problems: Vec<Diagnostic> = given.problems.iter().map(Diagnostic::from).collect();
    super::say(&report::for_stderr(&problems));
    if datastore.is_none() && !given.sources.iter().any(Source::names_etcd) {
        return Err(none("no store is named"));
    }
    match source::choose(&Vec::from_iter(datastore.clone()), &mut given)? {
        Datastore::Etcd(access) => Ok(access),
        Datastore::Manifests(_) => Err(none("manifests are not a store that can be written")),
    }
}

fn none(why: &str) -> Failure {
    Failure::Usage(format!(
        "{why}\nhelp: give --datastore etcd://HOST:PORT, or set ETCD_ENDPOINTS in the environment"
    ))
}

/// To the store.
pub(super) async fn connect(access: &EtcdAccess) -> Result<Writer, Failure> {
    Writer::connect(access).await.map_err(Failure::Etcd)
}

/// Writes what a store lacks before a cluster can work on it; what became of each.
pub(super) async fn prepare(writer: &Writer) -> Result<Vec<(Change, Stored)>, Failure> {
    let mut changes = Vec::new();
    for stored in built_in(&identity()?) {
        let change = writer.create(&stored.key(), &stored.value).await.map_err(refusal)?;
        changes.push((change, stored));
    }
    Ok(changes)
}

/// 32 hexadecimal digits.
fn identity() -> Result<String, Failure> {
    etcd::identity().map(|uid| uid.replace('-', "")).map_err(refusal)
}

/// `created Tier default`
pub(super) fn line(change: Change, stored: &Stored) -> String {
    format!("{} {stored}\n", change.word())
}

pub(super) fn refusal(error: WriteError) -> Failure {
    match error {
        WriteError::Etcd(error) => Failure::Etcd(error),
        WriteError::Contended { .. } | WriteError::NoIdentity(_) => {
            let help = error.help().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
            Failure::Usage(format!("{error}{help}"))
        }
    }
}
