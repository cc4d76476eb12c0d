//! `felix-rs check`: everything that is wrong with manifests, or looks so.

use clap::Args;

use super::{Failure, Outcome, report, source};
use crate::datastore::Event;
use crate::model::{Catalog, Diagnostic};
use crate::policy::lint;

/// Check manifests: every diagnostic, for a person or a machine. Exits 1 if one is an error.
#[derive(Args)]
pub(super) struct Arguments {
    /// Files and directories of manifests; `-` is standard input
    #[arg(value_name = "PATH", required_unless_present = "datastore")]
    paths: Vec<String>,
    /// The same, as `render` names it
    #[arg(long, value_name = "PATH|-")]
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
    let diagnostics = diagnose(&source::read(&locations)?);
    match format {
        Format::Text => super::print(&report::for_stdout(&diagnostics))?,
        Format::Json => super::print(&report::json(&diagnostics))?,
    }
    let summary = report::summary(&diagnostics).unwrap_or_else(|| "no problems".to_owned());
    super::say(&format!("{summary}\n"));
    Ok(if report::has_errors(&diagnostics) { Outcome::Found } else { Outcome::Clean })
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
    diagnostics.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    diagnostics
}
