//! `felix-rs check`: everything that is wrong with manifests, or looks so.

mod routes;

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::configuration::{self, Given};
use super::source::Datastore;
use super::{Failure, Outcome, report, source};
use crate::config::Config;
use crate::datastore::Event;
use crate::model::{self, Catalog, Diagnostic};
use crate::policy::lint;

/// Check manifests: every diagnostic, for a person or a machine. Exits 1 if one is an error.
#[derive(Args)]
pub(super) struct Arguments {
    /// Files and directories of manifests, `-` for standard input, or etcd://HOST:PORT,…/PREFIX (etcds:// for TLS); may be
    /// left out where parameters or the environment name etcd
    #[arg(value_name = "PATH|-|URL", value_parser = NonEmptyStringValueParser::new())]
    paths: Vec<String>,
    /// Same as PATH
    #[arg(long, value_name = "PATH|-|URL", value_parser = NonEmptyStringValueParser::new())]
    datastore: Vec<String>,
    /// How to print what was found
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Felix's configuration file, which is checked, too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A parameter, as in `--set InvalidObjects=Ignore`; may be repeated, and beats every other source
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { paths, datastore, format, config, set } = arguments;
    let mut given = configuration::given(config.as_deref(), set)?;
    let datastore = source::choose(&[paths.as_slice(), datastore.as_slice()].concat(), &mut given)?;
    let events = source::read(&datastore)?;
    let diagnostics = diagnose(&datastore, &events, &given);
    match format {
        Format::Text => super::print(&report::for_stdout(&diagnostics))?,
        Format::Json => super::print(&report::json(&diagnostics))?,
    }
    let summary =
        report::summary(&diagnostics).unwrap_or_else(|| nothing_wrong(&datastore, &events).to_owned());
    super::say(&format!("{summary}\n"));
    Ok(if report::has_errors(&diagnostics) { Outcome::Found } else { Outcome::Clean })
}

/// That nothing is wrong is worth little where nothing was read.
fn nothing_wrong(datastore: &Datastore, events: &[Event]) -> &'static str {
    let read = events.iter().any(|event| matches!(event, Event::Put(_)));
    match datastore {
        _ if read => "no problems",
        Datastore::Manifests(_) => "nothing was checked: there is no *.yaml, *.yml or *.json with a resource",
        Datastore::Etcd(_) => "nothing was checked: there is no resource below the prefix",
    }
}

/// What reading, decoding and linting say, and what is wrong with parameters, wherever they are.
fn diagnose(datastore: &Datastore, events: &[Event], given: &Given) -> Vec<Diagnostic> {
    let (catalog, each) = one_by_one(events);
    let mut diagnostics = lint::lint(catalog.resources());
    diagnostics.extend(routes::missing(&catalog, &given.sources));
    catalog.illustrate(&mut diagnostics);
    diagnostics.extend(each);
    diagnostics.extend(source::not_ready(datastore, model::readiness(&catalog)));
    let problems = Config::resolve(&given.sources).problems;
    diagnostics.extend(given.problems.iter().chain(&problems).map(Diagnostic::from));
    diagnostics.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    diagnostics
}

/// What is wrong with each of the resources, whatever else there is in the cluster.
pub(super) fn one_by_one(events: &[Event]) -> (Catalog, Vec<Diagnostic>) {
    let mut catalog = Catalog::new();
    for event in events {
        catalog.take(event);
    }
    let mut diagnostics = catalog.diagnostics();
    for source in model::configurations(catalog.resources()) {
        diagnostics.extend(Config::resolve(&[source]).problems.iter().map(Diagnostic::from));
    }
    (catalog, diagnostics)
}
