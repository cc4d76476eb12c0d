//! `felix-rs explain`: what becomes of a flow, which rule or missing rule decides, and what would change that.

use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Failure, Outcome, cluster, explanation, json};
use crate::model::IpVersion;
use crate::rules;
use crate::verdict::cluster::{Cluster, Enforcement, Party};
use crate::verdict::explain::{self, Answer, Explanation, Flow, Hop};
use crate::verdict::packet::{ConnState, Payload, protocol_number};
use crate::verdict::walk::{self, Walk};

/// Say why a flow is let through or not: the hosts, policies and rules that decide, and what would change the answer.
/// Exits 0 if it is allowed, 1 if denied, 3 if that depends on what can't be known.
#[derive(Args)]
pub(super) struct Arguments {
    /// Who sends: an endpoint's name, workload, interface, HOST/NAME or address, a host, or any address
    #[arg(long, value_name = "ENDPOINT|IP", value_parser = NonEmptyStringValueParser::new())]
    from: String,
    /// Who receives, named likewise
    #[arg(long, value_name = "ENDPOINT|IP", value_parser = NonEmptyStringValueParser::new())]
    to: String,
    /// Protocol by name or number
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    proto: u8,
    /// Destination port
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    #[arg(long, value_name = "PORT", default_value_t = 49_152)]
    source_port: u16,
    /// ICMP type, or type and code [default: echo request]
    #[arg(long, value_name = "TYPE[/CODE]", value_parser = icmp)]
    icmp: Option<(u8, u8)>,
    /// What connection tracking says of the packet
    #[arg(long, value_enum, default_value = "new")]
    state: State,
    /// The family, where the two have both [default: 4 before 6]
    #[arg(long, value_parser = ["4", "6"])]
    ip_version: Option<String>,
    /// Only what this host does
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    host: Option<String>,
    /// Where the manifests are: a file, a directory, or `-` for standard input
    #[arg(long, value_name = "PATH|-", required = true, value_parser = NonEmptyStringValueParser::new())]
    datastore: Vec<String>,
    /// Show the iptables rules that hold, with the packet's mark behind each
    #[arg(long)]
    chains: bool,
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
enum State {
    New,
    Established,
    Related,
    Invalid,
    Untracked,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The explanation, and of each hop the chains, where they were asked for.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    explanation: Explanation,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chains: Vec<Walk>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let cluster = cluster::read(&arguments.datastore, arguments.config.as_deref(), &arguments.set)?;
    let flow = arguments.flow(&cluster)?;
    let concerned = flow.from.host().into_iter().chain(flow.to.host()).cloned();
    let enforcement = cluster.enforce(&concerned.chain(arguments.host.as_deref().map(Arc::from)).collect());
    let hops = arguments.hops(&flow, &enforcement)?;
    let explanation = explain::explain(&hops, &enforcement);
    let chains = if arguments.chains { walks(&hops, &enforcement)? } else { Vec::new() };
    let outcome = match explanation.answer {
        Answer::Allowed => Outcome::Clean,
        Answer::Denied => Outcome::Found,
        Answer::Depends => Outcome::Depends,
    };
    let report = Report { explanation, chains };
    super::print(&match arguments.format {
        Format::Text => explanation::text(&report.explanation, &report.chains),
        Format::Json => json::pretty(&report),
    })?;
    Ok(outcome)
}

impl Arguments {
    fn flow(&self, cluster: &Cluster) -> Result<Flow, Failure> {
        let locate = |option: &str, text: &str| {
            cluster.locate(text).map_err(|error| Failure::Usage(format!("{option}: {error}")))
        };
        let (from, to) = (locate("--from", &self.from)?, locate("--to", &self.to)?);
        let version = self.ip_version.as_deref().map(|version| match version {
            "6" => IpVersion::V6,
            _ => IpVersion::V4,
        });
        let (source, destination) = explain::addresses(&from, &to, version).ok_or_else(|| {
            Failure::Usage(format!(
                "{from} and {to} have no addresses of one IP version\nhelp: give an address of each, or another --ip-version"
            ))
        })?;
        let version = IpVersion::of(source);
        // `--proto icmp` means the family's own.
        let protocol = if [1, 58].contains(&self.proto) { Payload::icmp_of(version) } else { self.proto };
        let has_ports = Payload::PORT_PROTOCOLS.contains(&protocol);
        let port = match (has_ports, self.port) {
            (true, None) => {
                return Err(Failure::Usage(
                    "the answer may depend on the destination port\nhelp: say which with --port".to_owned(),
                ));
            }
            (false, Some(_)) => {
                return Err(Failure::Usage(
                    "--port: the protocol has no ports\nhelp: leave it out".to_owned(),
                ));
            }
            (_, port) => port.unwrap_or_default(),
        };
        let echo_request = match version {
            IpVersion::V4 => (8, 0),
            IpVersion::V6 => (128, 0),
        };
        let payload =
            Payload::new(version, protocol, (self.source_port, port), self.icmp.unwrap_or(echo_request));
        Ok(Flow { from, to, source, destination, payload, state: self.state.into() })
    }

    /// The hosts that the flow comes through, or of these the one that was asked for.
    fn hops(&self, flow: &Flow, enforcement: &Enforcement) -> Result<Vec<Hop>, Failure> {
        let mut hops = explain::hops(flow, enforcement);
        if let (true, Some(host), Party::Outside(_), Party::Outside(_)) =
            (hops.is_empty(), &self.host, &flow.from, &flow.to)
        {
            hops.push(explain::through(host.as_str().into(), flow, enforcement));
        }
        if hops.is_empty() {
            return Err(Failure::Usage(format!(
                "neither {} nor {} is an endpoint or a host\nhelp: say with --host which host the packet comes through",
                flow.from, flow.to
            )));
        }
        if let Some(host) = &self.host {
            hops.retain(|hop| *hop.host == **host);
            if hops.is_empty() {
                return Err(Failure::Usage(format!(
                    "--host: the flow does not come through {host}\nhelp: leave it out to see all hosts that it comes through"
                )));
            }
        }
        Ok(hops)
    }
}

/// The way through the chains of each hop's host.
fn walks(hops: &[Hop], enforcement: &Enforcement) -> Result<Vec<Walk>, Failure> {
    hops.iter()
        .filter_map(|hop| Some((hop, enforcement.hosts.get(&hop.host)?)))
        .map(|(hop, host)| {
            let failure = |problem: String| Failure::Usage(format!("host {}: {problem}", host.name));
            let ruleset = rules::compile(&host.policy, &host.config, hop.packet.version())
                .map_err(|error| failure(error.to_string()))?;
            walk::through_ruleset(&ruleset, &hop.packet).map_err(|refusal| failure(refusal.to_string()))
        })
        .collect()
}

fn protocol(text: &str) -> Result<u8, String> {
    protocol_number(text)
        .ok_or_else(|| "neither the name of a protocol nor a number from 0 to 255".to_owned())
}

fn icmp(text: &str) -> Result<(u8, u8), String> {
    let (icmp_type, code) = text.split_once('/').unwrap_or((text, "0"));
    let number = |text: &str| text.parse().map_err(|_| "TYPE or TYPE/CODE, each from 0 to 255".to_owned());
    Ok((number(icmp_type)?, number(code)?))
}

impl From<State> for ConnState {
    fn from(state: State) -> Self {
        match state {
            State::New => Self::New,
            State::Established => Self::Established,
            State::Related => Self::Related,
            State::Invalid => Self::Invalid,
            State::Untracked => Self::Untracked,
        }
    }
}
