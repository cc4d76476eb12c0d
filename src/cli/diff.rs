//! `felix-rs diff`: what a change means in flows, not in lines.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Failure, Outcome, cluster, json};
use crate::model::IpVersion;
use crate::verdict::cluster::{Cluster, Enforcement};
use crate::verdict::diff::{Change, Comparison, Region, Witness, compare};
use crate::verdict::explain::{explain, hops};
use crate::verdict::flows::{End, Flows, Piece, flow, name_of, networks};
use crate::verdict::ranges::AddressRanges;

/// Most names or networks of one side that are listed.
const MAX_NAMES: usize = 8;

/// Show the flows that one set of manifests allows and another denies, with a packet and the rule that decides for each.
/// Exits 1 if there are any.
#[derive(Args)]
pub(super) struct Arguments {
    /// The manifests as they were: a file, a directory, or `-` for standard input
    #[arg(value_name = "OLD", value_parser = NonEmptyStringValueParser::new())]
    old: String,
    /// The manifests as they are to be
    #[arg(value_name = "NEW", value_parser = NonEmptyStringValueParser::new())]
    new: String,
    /// Text, Markdown for a review comment, or JSON
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
    Markdown,
    Json,
}

/// A region for a person or a machine.
#[derive(Serialize)]
struct Record {
    change: &'static str,
    services: String,
    from: String,
    to: String,
    /// One of the flows, and what each side says of it.
    witness: String,
    old: String,
    new: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let read = |location: &String| {
        let locations = std::slice::from_ref(location);
        cluster::read(locations, arguments.config.as_deref(), &arguments.set).map(Side::of)
    };
    let (old, new) = thread::scope(|scope| {
        let old = scope.spawn(|| read(&arguments.old));
        let new = read(&arguments.new);
        (old.join(), new)
    });
    let old = old.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let new = new?;
    let (old_flows, new_flows) = (Flows::new(&old.enforcement), Flows::new(&new.enforcement));
    let comparison = compare(&old_flows, &new_flows);
    let records: Vec<Record> =
        comparison.regions.iter().map(|region| record(region, &comparison, &old, &new)).collect();
    super::print(&match arguments.format {
        Format::Text => records.iter().map(text).collect(),
        Format::Markdown => markdown(&records),
        Format::Json => json::pretty(&records),
    })?;
    if records.is_empty() {
        let pairs = comparison.pairs;
        super::say(&match pairs {
            0 => "no flow is allowed by one and denied by the other\n".to_owned(),
            _ => format!(
                "no flow is allowed by one and denied by the other: {pairs} pairs of ends have other policies at one end, and \
                 the other end decides\n"
            ),
        });
        return Ok(Outcome::Clean);
    }
    Ok(Outcome::Found)
}

/// One of the two.
struct Side {
    cluster: Cluster,
    enforcement: Enforcement,
}

impl Side {
    fn of(cluster: Cluster) -> Self {
        let enforcement = cluster.enforce(&cluster.hosts());
        Self { cluster, enforcement }
    }

    /// What the policies say of the witness, in a line.
    fn says(&self, Witness { from, to, payload }: &Witness, other: &Self) -> String {
        let told =
            flow(&self.cluster, from, to, *payload).or_else(|| flow(&other.cluster, from, to, *payload));
        told.map_or_else(String::new, |flow| {
            explain(&hops(&flow, &self.enforcement), &self.enforcement).summary
        })
    }
}

fn record(region: &Region, comparison: &Comparison, old: &Side, new: &Side) -> Record {
    let Region { change, services, from, to, witness } = region;
    let ends = |ends: &[End]| ends_text(ends, comparison, old, new);
    Record {
        change: match change {
            Change::Gained => "allowed now",
            Change::Lost => "denied now",
        },
        services: services.to_string(),
        from: ends(from),
        to: ends(to),
        witness: witness_text(witness, old, new),
        old: old.says(witness, new),
        new: new.says(witness, old),
    }
}

fn witness_text(Witness { from, to, payload }: &Witness, old: &Side, new: &Side) -> String {
    let told = flow(&new.cluster, from, to, *payload).or_else(|| flow(&old.cluster, from, to, *payload));
    told.map_or_else(String::new, |flow| flow.to_string())
}

/// `web, db and 3 more; outside: 10.0.0.0/8`
fn ends_text(ends: &[End], comparison: &Comparison, old: &Side, new: &Side) -> String {
    let names: BTreeSet<String> = ends
        .iter()
        .filter_map(End::id)
        .map(|id| {
            let side = if new.enforcement.has(id) { new } else { old };
            name_of(&side.enforcement, id)
        })
        .collect();
    let mut parts = Vec::new();
    if !names.is_empty() {
        parts.push(listed(names.into_iter()));
    }
    for version in [IpVersion::V4, IpVersion::V6] {
        let pieces: Vec<&Piece> = ends
            .iter()
            .filter_map(|end| match end {
                End::Outside(piece) if piece.version == version => Some(piece),
                End::Outside(_) | End::Endpoint { .. } => None,
            })
            .collect();
        if pieces.is_empty() {
            continue;
        }
        let all = comparison.outside.iter().filter(|piece| piece.version == version).count();
        let family = match version {
            IpVersion::V4 => "IPv4",
            IpVersion::V6 => "IPv6",
        };
        parts.push(if pieces.len() == all {
            format!("every {family} address outside")
        } else {
            let ranges = AddressRanges::from_ranges(pieces.iter().flat_map(|piece| piece.ranges.iter()));
            format!("outside {}", listed(networks(version, &ranges).iter().map(ToString::to_string)))
        });
    }
    parts.join("; ")
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let shown = items.iter().take(MAX_NAMES).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn text(record: &Record) -> String {
    let Record { change, services, from, to, witness, old, new } = record;
    format!(
        "{change}: {services}\n  from {from}\n  to   {to}\n  as in {witness}\n    old: {old}\n    new: {new}\n\n"
    )
}

fn markdown(records: &[Record]) -> String {
    if records.is_empty() {
        return "No flow is allowed by one and denied by the other.\n".to_owned();
    }
    let mut out = "| | services | from | to |\n| --- | --- | --- | --- |\n".to_owned();
    let cell = |text: &str| text.replace('|', "\\|");
    for Record { change, services, from, to, .. } in records {
        out += &format!("| **{change}** | {} | {} | {} |\n", cell(services), cell(from), cell(to));
    }
    for Record { change, services, from: _, to: _, witness, old, new } in records {
        out += &format!(
            "\n<details><summary>{change}: {services}</summary>\n\n`{witness}`\n\n- old: {old}\n- new: {new}\n\n</details>\n"
        );
    }
    out
}
