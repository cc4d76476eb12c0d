//! `felix-rs diff`: what a change means in flows, not in lines.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Failure, Outcome, chains, cluster, json};
use crate::model::IpVersion;
use crate::rules;
use crate::verdict::chains::loaded::conclusion;
use crate::verdict::explain::cluster::{Cluster, Enforcement, Host};
use crate::verdict::explain::{Hop, explain, hops};
use crate::verdict::flows::against::{compare_with_chains, witness_packet};
use crate::verdict::flows::diff::{Change, Comparison, Region, Witness, compare};
use crate::verdict::flows::{End, Flows, Piece, flow, name_of, networks};
use crate::verdict::ranges::AddressRanges;

/// Most names or networks of one side that are listed.
const MAX_NAMES: usize = 8;

/// Show the flows that one set of manifests allows and another, or what a host has, denies, and the reverse, each with a
/// packet and the rule that decides. Exits 1 if there are any.
#[derive(Args)]
pub(super) struct Arguments {
    /// The resources as they were: a file or directory of manifests, `-` for standard input, or etcd://HOST:PORT,…/PREFIX
    /// (etcds:// for TLS); without NEW it may be left out where parameters or the environment name etcd
    #[arg(
        value_name = "OLD", required_unless_present_any = ["kernel", "saved"],
        value_parser = NonEmptyStringValueParser::new(),
    )]
    old: Option<String>,
    /// The resources as they are to be, named likewise
    #[arg(
        value_name = "NEW", required_unless_present_any = ["kernel", "saved"],
        conflicts_with_all = ["kernel", "saved", "host"], value_parser = NonEmptyStringValueParser::new(),
    )]
    new: Option<String>,
    /// Instead of NEW: what the chains do that this host has
    #[arg(long, conflicts_with = "saved")]
    kernel: bool,
    /// Instead of NEW: what the chains do in files that iptables-save, ip6tables-save and ipset save were printed into
    #[arg(long, value_name = "FILE", num_args = 1..)]
    saved: Vec<PathBuf>,
    /// The host that the chains are of; may be left out where the manifests name one node
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    host: Option<String>,
    /// The interface by which that host reaches all others
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    uplink: Option<String>,
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
    let Compared { records, pairs, unclear } = match (&arguments.old, &arguments.new) {
        (Some(old), Some(new)) => arguments.between(old, new)?,
        _ => arguments.with_chains()?,
    };
    super::print(&match arguments.format {
        Format::Text => records.iter().map(text).collect(),
        Format::Markdown => markdown(&records),
        Format::Json => json::pretty(&records),
    })?;
    if unclear > 0 {
        super::say(&format!(
            "of {unclear} pairs of ends, some flows depend on what is not known: ask `felix-rs explain` about them\n"
        ));
    }
    if records.is_empty() {
        super::say(&format!(
            "no flow is surely allowed by one and denied by the other ({pairs} pairs of ends were compared)\n"
        ));
    }
    Ok(match (records.is_empty(), unclear) {
        (false, _) => Outcome::Found,
        (true, 0) => Outcome::Clean,
        (true, _) => Outcome::Depends,
    })
}

/// What a comparison has found.
struct Compared {
    records: Vec<Record>,
    /// Pairs of ends that were looked at, and of these, those that depend on what isn't known.
    pairs: usize,
    unclear: usize,
}

impl Arguments {
    fn read(&self, location: Option<&String>) -> Result<Side, Failure> {
        let named = location.map(std::slice::from_ref).unwrap_or_default();
        cluster::read(named, self.config.as_deref(), &self.set).map(Side::of)
    }

    /// Two sets of manifests, read at once.
    fn between(&self, old: &String, new: &String) -> Result<Compared, Failure> {
        let (old, new) = thread::scope(|scope| {
            let old = scope.spawn(|| self.read(Some(old)));
            let new = self.read(Some(new));
            (old.join(), new)
        });
        let old = old.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let new = new?;
        let (old_flows, new_flows) = (Flows::new(&old.enforcement), Flows::new(&new.enforcement));
        let comparison = compare(&old_flows, &new_flows);
        let says =
            |witness: &Witness| (old.says(&old_flows, witness, &new), new.says(&new_flows, witness, &old));
        let records = comparison.regions.iter().map(|region| record(region, &comparison, &old, &new, says));
        Ok(Compared { records: records.collect(), pairs: comparison.pairs, unclear: 0 })
    }

    /// Manifests, and what one host has.
    fn with_chains(&self) -> Result<Compared, Failure> {
        let mut loaded = if self.kernel { chains::of_kernel()? } else { chains::saved(&self.saved)? };
        let side = self.read(self.old.as_ref())?;
        let host = self.chosen_host(&side)?;
        for version in [IpVersion::V4, IpVersion::V6] {
            // Where no chains can be made, rules are told as they are written.
            if let Ok(ruleset) = rules::compile(&host.policy, &host.config, version) {
                loaded.recognise(&ruleset);
            }
        }
        let uplink = chains::uplink(&mut loaded, self.uplink.as_deref(), &host.config);
        let versions = [IpVersion::V4, IpVersion::V6];
        for version in versions.into_iter().filter(|version| loaded.saved(*version).is_empty()) {
            super::say(&format!(
                "note: {} was not compared: there are no tables of it\n",
                family_name(version)
            ));
        }
        let backends: Vec<_> = versions.into_iter().flat_map(|version| loaded.machines(version)).collect();
        let flows = Flows::new(&side.enforcement);
        let comparison = compare_with_chains(&flows, host, &uplink, &backends)
            .map_err(|refusal| Failure::Usage(format!("host {}: {refusal}", host.name)))?;
        let says = |witness: &Witness| {
            let packet = witness_packet(&flows, host, &uplink, witness);
            let hop = Hop { host: Arc::clone(&host.name), packet: packet.clone() };
            let chains = loaded.walks(&packet).map(|walks| conclusion(&host.name, &walks).1);
            (explain(&[hop], &side.enforcement).summary, chains.unwrap_or_default())
        };
        let records = comparison.regions.iter().map(|region| record(region, &comparison, &side, &side, says));
        let records = records.collect();
        Ok(Compared { records, pairs: comparison.pairs, unclear: comparison.unclear })
    }

    fn chosen_host<'s>(&self, side: &'s Side) -> Result<&'s Host, Failure> {
        let hosts = &side.enforcement.hosts;
        let names = || hosts.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
        match (&self.host, hosts.len()) {
            (Some(name), _) => hosts.get(name.as_str()).ok_or_else(|| {
                Failure::Usage(format!(
                    "--host: the manifests name no host {name}\nhelp: they name {}",
                    names()
                ))
            }),
            (None, 1) => hosts.values().next().ok_or_else(|| Failure::Usage(String::new())),
            (None, _) => Err(Failure::Usage(format!(
                "the chains are of one host\nhelp: say which with --host: {}",
                names()
            ))),
        }
    }
}

/// One of the two.
struct Side {
    cluster: Cluster,
    enforcement: Enforcement,
}

impl Side {
    fn of(cluster: Cluster) -> Self {
        let enforcement = cluster::enforce(&cluster, &cluster.hosts());
        Self { cluster, enforcement }
    }

    /// What the policies say of the witness, in a line.
    fn says(&self, flows: &Flows<'_>, witness: &Witness, other: &Self) -> String {
        let Witness { from, to, payload } = witness;
        let (here, there) = (flows.resolve(from), flows.resolve(to));
        let told =
            flow(&self.cluster, &here, &there, *payload).or_else(|| flow(&other.cluster, from, to, *payload));
        told.map_or_else(String::new, |flow| {
            explain(&hops(&flow, &self.enforcement), &self.enforcement).summary
        })
    }
}

fn record(
    region: &Region,
    comparison: &Comparison,
    old: &Side,
    new: &Side,
    says: impl Fn(&Witness) -> (String, String),
) -> Record {
    let Region { change, services, from, to, witness } = region;
    let ends = |ends: &[End]| ends_text(ends, comparison, old, new);
    let (said_by_old, said_by_new) = says(witness);
    Record {
        change: match change {
            Change::Gained => "allowed now",
            Change::Lost => "denied now",
        },
        services: services.told(),
        from: ends(from),
        to: ends(to),
        witness: witness_text(witness, old, new),
        old: said_by_old,
        new: said_by_new,
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
        .filter_map(|end| {
            let of_endpoint = |id| {
                let side = if new.enforcement.has(id) { new } else { old };
                name_of(&side.enforcement, id)
            };
            match end {
                End::Endpoint { id, address: _ } => Some(of_endpoint(id)),
                End::Floating { id, external, internal: _ } => {
                    Some(format!("{external} ({})", of_endpoint(id)))
                }
                End::Host { name, address: _ } => Some(format!("host {name}")),
                End::Outside(_) => None,
            }
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
                End::Outside(_) | End::Endpoint { .. } | End::Floating { .. } | End::Host { .. } => None,
            })
            .collect();
        if pieces.is_empty() {
            continue;
        }
        let others: Vec<&Piece> = comparison
            .outside
            .iter()
            .filter(|piece| piece.version == version && !pieces.contains(piece))
            .collect();
        let nets = |pieces: &[&Piece]| {
            let ranges = AddressRanges::from_ranges(pieces.iter().flat_map(|piece| piece.ranges.iter()));
            networks(version, &ranges)
        };
        let (within, without) = (nets(&pieces), nets(&others));
        let every = format!("every {} address outside", family_name(version));
        // Whichever takes fewer words.
        parts.push(match (without.len(), within.len()) {
            (0, _) => every,
            (fewer, more) if fewer < more => {
                format!("{every} but {}", listed(without.iter().map(ToString::to_string)))
            }
            _ => format!("outside {}", listed(within.iter().map(ToString::to_string))),
        });
    }
    parts.join("; ")
}

fn family_name(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "IPv4",
        IpVersion::V6 => "IPv6",
    }
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
