//! `felix-rs render`: the dry run. Prints the plan that `run` would carry out on a kernel that has nothing of ours.

mod against;

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use tracing::info;

use super::artefact::{Part, Selection};
use super::{Failure, Outcome, artefact, configuration, golden, json, kernel, report, source};
use crate::Pipeline;
use crate::config::Config;
use crate::datastore::Place;
use crate::model::{Code, Diagnostic, IpVersion, Severity};
use crate::routes::{Told, Uplinks};
use crate::rules::CompileError;
use crate::sync::Desired;
use crate::system::routes::Found;
use crate::verdict::check::{Checked, check};

/// Print what one host would be programmed with: IP sets first, then tables, then routes, in the order of applying.
#[derive(Args)]
pub(super) struct Arguments {
    #[arg(long, value_name = "PATH|-|URL", help = source::HELP, value_parser = NonEmptyStringValueParser::new())]
    datastore: Vec<String>,
    /// The host to compile for; may be left out where the manifests name one node
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    host: Option<String>,
    /// Only these parts; may be repeated [default: all]
    #[arg(long = "table", value_enum, value_name = "PART")]
    tables: Vec<Part>,
    /// Only this family
    #[arg(long, value_enum, default_value = "both")]
    ip_version: Family,
    /// Text for `ipset restore`, `iptables-restore --noflush` and `sh -e`, or JSON with the reason of every rule and route
    #[arg(long, value_enum, default_value = "text", conflicts_with = "golden")]
    format: Format,
    /// Felix's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A parameter, as in `--set LogPrefix=drop`; may be repeated, and beats every other source
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// An interface of the host that routes may lead through, as in `--uplink eth0=10.0.0.5/24,mtu=1500,via=10.0.0.1`, with
    /// `to=NETWORK[@ROUTER]` for a route that somebody has made; may be repeated
    #[arg(long = "uplink", value_name = "NAME=ADDRESS/LENGTH", conflicts_with = "against")]
    uplinks: Vec<Told>,
    /// Compare with an earlier run, a file a part and family; a difference is printed and exits 1
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,
    /// Rewrite the files of --golden instead
    #[arg(long, requires = "golden")]
    update: bool,
    /// Print only what would change of what is programmed now, in this network namespace; exits 1 where something would
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with = "golden")]
    against: Option<Against>,
    /// First hold the chains against the policy, packet by packet; exits 1 with a packet where they differ
    #[arg(long)]
    verify: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Family {
    #[value(name = "4")]
    V4,
    #[value(name = "6")]
    V6,
    Both,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What is there already.
#[derive(Clone, Copy, ValueEnum)]
enum Against {
    Kernel,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let mut given = configuration::given(arguments.config.as_deref(), &arguments.set)?;
    let datastore = source::choose(&arguments.datastore, &mut given)?;
    let events = source::read(&datastore)?;
    let host = source::host(arguments.host.as_deref(), &events)?;
    let mut diagnostics: Vec<Diagnostic> = given.problems.iter().map(Diagnostic::from).collect();
    diagnostics.extend(source::unknown_host(&host, &events));
    let found = match arguments.against {
        Some(Against::Kernel) if arguments.selection().has_routes() => Some(kernel::found_routes()?),
        Some(Against::Kernel) | None => None,
    };
    let mut pipeline = Pipeline::new(host.as_str().into(), given.sources);
    pipeline.see(Uplinks::told(&arguments.uplinks));
    for event in events {
        pipeline.take(&event);
    }
    info!("resources are decoded");
    diagnostics.extend(source::not_ready(&datastore, pipeline.readiness()));
    if let Some(found) = &found {
        against::look(&mut pipeline, found);
    }
    let desired = pipeline.desired().map(|desired| desired.restricted_to(&arguments.ip_version.versions()));
    info!("chains are compiled");
    diagnostics.extend(pipeline.diagnostics());
    if let (true, Ok(desired)) = (arguments.verify, &desired) {
        diagnostics.extend(verify(&host, &pipeline, desired));
    }
    let config = pipeline.config().clone();
    // The process is about to end: freeing a large cluster piece by piece would only take time.
    std::mem::forget(pipeline);
    diagnostics.extend(desired.as_ref().err().map(|error| refused(&host, error)));
    super::say(&report::for_stderr(&diagnostics));
    let outcome = desired.map_or(Ok(Outcome::Found), |desired| show(arguments, &desired, &config, found))?;
    Ok(if report::has_errors(&diagnostics) { Outcome::Found } else { outcome })
}

/// There are no chains for this host.
fn refused(host: &str, error: &CompileError) -> Diagnostic {
    about_host(host, Code::Uncompilable, error.to_string(), "nothing is programmed")
}

/// Says how many packets were compared, or of which one chains and policy say different things.
fn verify(host: &str, pipeline: &Pipeline, desired: &Desired) -> Option<Diagnostic> {
    let Checked { packets, disagreement } = check(pipeline.policy(), pipeline.config(), &desired.rulesets);
    match disagreement {
        None => {
            super::say(&format!("verified: the chains do what the policy says with {packets} packets\n"));
            None
        }
        Some(disagreement) => {
            let message = format!("the chains don't do what the policy says: {disagreement}");
            Some(about_host(
                host,
                Code::Unfaithful,
                message,
                "this is a fault of felix-rs, not of the policy",
            ))
        }
    }
}

fn about_host(host: &str, code: Code, message: String, label: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code,
        place: Place { source: format!("host {host}").into(), line: 0, column: 0 },
        excerpt: None,
        message,
        label: label.to_owned(),
        effect: None,
        help: None,
    }
}

/// Prints or compares what was asked for.
fn show(
    arguments: &Arguments,
    desired: &Desired,
    config: &Config,
    found: Option<Found>,
) -> Result<Outcome, Failure> {
    let selection = arguments.selection();
    if let Some(Against::Kernel) = arguments.against {
        return against::show(desired, config, found, &selection, arguments.format);
    }
    match (&arguments.golden, arguments.format) {
        (Some(directory), _) => {
            golden::compare(directory, &selection, &artefact::of(desired), arguments.update)
        }
        (None, Format::Text) => {
            super::print(&artefact::text(&selection, &artefact::of(desired))).map(|()| Outcome::Clean)
        }
        (None, Format::Json) => super::print(&json::desired(desired, &selection)).map(|()| Outcome::Clean),
    }
}

impl Arguments {
    fn selection(&self) -> Selection {
        let parts =
            if self.tables.is_empty() { Part::value_variants().to_vec() } else { self.tables.clone() };
        Selection { parts, versions: self.ip_version.versions() }
    }
}

impl Family {
    fn versions(self) -> Vec<IpVersion> {
        match self {
            Self::V4 => vec![IpVersion::V4],
            Self::V6 => vec![IpVersion::V6],
            Self::Both => vec![IpVersion::V4, IpVersion::V6],
        }
    }
}
