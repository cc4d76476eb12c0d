//! `felix-rs check`: everything that is wrong with manifests, or looks so.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::{Failure, Outcome, report, source};
use crate::config::Config;
use crate::datastore::Event;
use crate::model::{self, Catalog, Diagnostic};
use crate::policy::lint;

/// Check manifests: every diagnostic, for a person or a machine. Exits 1 if one is an error.
#[derive(Args)]
pub(super) struct Arguments {
    /// Files and directories of manifests; `-` is standard input
    #[arg(value_name = "PATH", required_unless_present = "datastore", value_parser = NonEmptyStringValueParser::new())]
    paths: Vec<String>,
    /// Same as PATH
    #[arg(long, value_name = "PATH|-", value_parser = NonEmptyStringValueParser::new())]
    datastore: Vec<String>,
    /// How to print what was found
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { paths, datastore, format } = arguments;
    let locations = [paths.as_slice(), datastore.as_slice()].concat();
    let events = source::read(&locations)?;
    let diagnostics = diagnose(&events);
    match format {
        Format::Text => super::print(&report::for_stdout(&diagnostics))?,
        Format::Json => super::print(&report::json(&diagnostics))?,
    }
    let summary = report::summary(&diagnostics).unwrap_or_else(|| nothing_wrong(&events).to_owned());
    super::say(&format!("{summary}\n"));
    Ok(if report::has_errors(&diagnostics) { Outcome::Found } else { Outcome::Clean })
}

/// That nothing is wrong is worth little where nothing was read.
fn nothing_wrong(events: &[Event]) -> &'static str {
    let read = events.iter().any(|event| matches!(event, Event::Put(_)));
    if read {
        "no problems"
    } else {
        "nothing was checked: there is no *.yaml, *.yml or *.json with a resource"
    }
}

/// What reading, decoding and linting say.
fn diagnose(events: &[Event]) -> Vec<Diagnostic> {
    let mut catalog = Catalog::new();
    for event in events {
        catalog.take(event);
    }
    let mut diagnostics = lint::lint(catalog.resources());
    catalog.illustrate(&mut diagnostics);
    diagnostics.extend(catalog.diagnostics());
    for source in model::configurations(catalog.resources()) {
        diagnostics.extend(Config::resolve(&[source]).problems.iter().map(Diagnostic::from));
    }
    diagnostics.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    diagnostics
}
