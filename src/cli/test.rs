//! `felix-rs test`: assertions beside the policies, held against every packet that they speak of.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Failure, Outcome, cluster, explanation, json, report, source};
use crate::datastore::{Entry, yaml};
use crate::model::{Code, Diagnostic, Severity};
use crate::verdict::explain::cluster::{Cluster, Enforcement};
use crate::verdict::explain::{Explanation, Flow, explain, hops};
use crate::verdict::flows::Flows;
use crate::verdict::flows::assertions::{Assertion, AssertionError};

/// Hold assertions (`allow: {from, to, proto, port}`, `deny: …`) against all packets that they speak of. Exits 1 if one
/// fails, with a packet and its explanation.
#[derive(Args)]
pub(super) struct Arguments {
    /// YAML files, each a list of assertions
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[arg(long, value_name = "PATH|-|URL", help = source::HELP, value_parser = NonEmptyStringValueParser::new())]
    datastore: Vec<String>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Felix's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A parameter, as in `--set LogPrefix=drop`; may be repeated, and beats every other source
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// How one assertion came out.
#[derive(Serialize)]
struct Record {
    place: String,
    assertion: String,
    holds: bool,
    /// Pairs of two ends, each looked at for all payloads at once.
    pairs: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    witness: Option<Explanation>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let cluster = cluster::read(&arguments.datastore, arguments.config.as_deref(), &arguments.set)?;
    let enforcement = cluster::enforce(&cluster, &cluster.hosts());
    let flows = Flows::new(&enforcement);
    let mut records = Vec::new();
    let mut problems = Vec::new();
    for path in &arguments.files {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| Failure::Io { what: name.clone(), error })?;
        let reading = yaml::parse(&name.into(), &Arc::from(text));
        problems.extend(reading.errors.iter().map(Diagnostic::from));
        for entry in &reading.entries {
            match check(entry, &cluster, &flows, &enforcement) {
                Ok(record) => records.push(record),
                Err(error) => problems.push(diagnostic(entry, &error)),
            }
        }
    }
    super::print(&match arguments.format {
        Format::Text => records.iter().map(text).collect(),
        Format::Json => json::pretty(&records),
    })?;
    super::say(&report::for_stderr(&problems));
    let failed = records.iter().filter(|record| !record.holds).count();
    super::say(&format!(
        "{} hold, {failed} fail, {} can't be understood\n",
        records.len() - failed,
        problems.len()
    ));
    if !problems.is_empty() || records.is_empty() {
        let what = if records.is_empty() && problems.is_empty() {
            "there is no assertion"
        } else {
            "not all was tested"
        };
        return Err(Failure::Usage(what.to_owned()));
    }
    Ok(if failed > 0 { Outcome::Found } else { Outcome::Clean })
}

fn check(
    entry: &Entry,
    cluster: &Cluster,
    flows: &Flows<'_>,
    enforcement: &Enforcement,
) -> Result<Record, AssertionError> {
    let assertion = Assertion::decode(&entry.node)?;
    let outcome = assertion.check(cluster, flows)?;
    let explained = |flow: &Flow| explain(&hops(flow, enforcement), enforcement);
    Ok(Record {
        place: entry.origin.place(assertion.span).to_string(),
        assertion: assertion.to_string(),
        holds: outcome.witness.is_none(),
        pairs: outcome.pairs,
        witness: outcome.witness.as_ref().map(explained),
    })
}

fn text(record: &Record) -> String {
    let Record { place, assertion, holds, pairs, witness } = record;
    let plural = if *pairs == 1 { "" } else { "s" };
    let verdict = if *holds { "holds" } else { "FAILS" };
    let mut text = format!("{verdict}: {assertion} ({place}; {pairs} pair{plural}, all packets)\n");
    for line in witness
        .iter()
        .flat_map(|witness| explanation::text(witness, &[]).lines().map(str::to_owned).collect::<Vec<_>>())
    {
        text += &if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    }
    text
}

fn diagnostic(entry: &Entry, AssertionError { span, problem }: &AssertionError) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: Code::InvalidValue,
        place: entry.origin.place(*span),
        excerpt: Some(entry.origin.excerpt(*span)),
        message: problem.to_string(),
        label: String::new(),
        effect: None,
        help: problem.help(),
    }
}
