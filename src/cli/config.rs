//! `felix-rs config`: what is configured, and what could be.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::configuration::{Given, Parameters};
use super::{Failure, Outcome, report, source};
use crate::config::{Config, ProblemKind, Resolved, Source, listing};
use crate::datastore::Event;
use crate::model::{self, Catalog, Diagnostic};

/// List the parameters in force on this host and who says so. Exits 1 if one is not in force as it was written.
#[derive(Args)]
pub(super) struct Arguments {
    /// List every parameter: what it is for, what it takes, who may set it
    #[arg(long)]
    explain: bool,
    /// Take also what is stored there
    #[arg(long, value_name = "PATH|-|URL", value_parser = NonEmptyStringValueParser::new())]
    datastore: Vec<String>,
    /// With --datastore, the host [default: FelixHostname, or the only node there is]
    #[arg(long, value_name = "NAME", requires = "datastore", value_parser = NonEmptyStringValueParser::new())]
    host: Option<String>,
    #[command(flatten)]
    parameters: Parameters,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { explain, datastore, host, parameters } = arguments;
    let mut given = parameters.given()?;
    let mut diagnostics: Vec<Diagnostic> = given.problems.iter().map(Diagnostic::from).collect();
    let resolved = if datastore.is_empty() {
        let resolved = Config::resolve(&given.sources);
        if given.sources.iter().any(Source::names_etcd) {
            diagnostics.extend(of_etcd(&resolved));
        }
        resolved
    } else {
        let events = source::read(&source::choose(datastore, &mut given)?)?;
        let known = Config::resolve(&given.sources).config.hostname;
        let host = source::host(host.as_deref().or(known.as_deref()), &events)?;
        with_stored(&host, &events, &given)
    };
    diagnostics.extend(resolved.problems.iter().map(Diagnostic::from));
    super::say(&report::for_stderr(&diagnostics));
    super::print(&if *explain { listing::explanation(&resolved) } else { listing::in_force(&resolved) })?;
    Ok(if report::has_errors(&diagnostics) { Outcome::Found } else { Outcome::Clean })
}

/// What is wrong with how etcd is reached, where that is no single parameter's fault.
fn of_etcd(resolved: &Resolved) -> Option<Diagnostic> {
    let problem = resolved.etcd.as_ref().err()?;
    matches!(problem.kind, ProblemKind::Etcd(_)).then(|| Diagnostic::from(&**problem))
}

/// What is stored for the host decides, too.
fn with_stored(host: &str, events: &[Event], given: &Given) -> Resolved {
    let mut catalog = Catalog::new();
    for event in events {
        catalog.take(event);
    }
    let stored = model::configuration(host, catalog.resources());
    Config::resolve(&[given.sources.as_slice(), &stored].concat())
}
