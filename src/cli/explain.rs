//! `felix-rs explain`: what becomes of a flow, which rule or missing rule decides, and what would change that.

use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Failure, Outcome, configuration, json, source};
use crate::model::IpVersion;
use crate::rules;
use crate::verdict::cluster::{Cluster, Enforcement, Party};
use crate::verdict::explain::{
    self, Answer, Explanation, Flow, Hop, HopExplanation, ListExplanation, RuleExplanation, StageExplanation,
    TierExplanation,
};
use crate::verdict::packet::{ConnState, Payload, protocol_number};
use crate::verdict::walk::{self, Step, Walk, Way};

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
    let events = source::read(&arguments.datastore)?;
    let given = configuration::given(arguments.config.as_deref(), &arguments.set)?;
    let cluster = Cluster::new(&events, given.sources);
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
        Format::Text => text(&report),
        Format::Json => json::pretty(&report),
    })?;
    let errors = super::report::summary(&cluster.diagnostics());
    if let Some(errors) = errors {
        super::say(&format!("note: the manifests have {errors}: see `felix-rs check`\n"));
    }
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

fn text(Report { explanation, chains }: &Report) -> String {
    let Explanation { answer: _, summary, hops, help } = explanation;
    let mut out = format!("{summary}\n");
    for (number, hop) in hops.iter().enumerate() {
        hop_text(&mut out, hop);
        if let Some(walk) = chains.get(number) {
            walk_text(&mut out, walk);
        }
    }
    if !help.is_empty() {
        out += "\n";
    }
    for line in help {
        out += &format!("help: {line}\n");
    }
    out
}

fn hop_text(out: &mut String, hop: &HopExplanation) {
    let HopExplanation { host, packet, answer: _, stages, notes } = hop;
    *out += &format!("\n{host}: {packet}\n");
    for note in notes {
        *out += &format!("  note: {note}\n");
    }
    for StageExplanation { what, answer, because, tiers, profiles } in stages {
        *out += &format!("  {what}: {}\n", answer_text(*answer));
        for TierExplanation { name, outcome, policies } in tiers {
            *out += &format!("    tier {name}: {outcome}\n");
            policies.iter().for_each(|policy| list_text(out, policy, "      "));
        }
        profiles.iter().for_each(|profile| list_text(out, profile, "    "));
        *out += &format!("    so: {because}\n");
    }
}

fn list_text(out: &mut String, list: &ListExplanation, indent: &str) {
    let ListExplanation { name, place, rules, note } = list;
    let place = place.as_ref().map_or_else(String::new, |place| format!(" ({place})"));
    *out += &format!("{indent}{name}{place}\n");
    for RuleExplanation { number, place: _, action, matched, because } in rules {
        let number = number.map_or_else(String::new, |number| format!("rule {number}: "));
        let sign = if *matched { "=" } else { "-" };
        *out += &format!("{indent}  {sign} {number}{action}: {because}\n");
    }
    if let Some(note) = note {
        *out += &format!("{indent}  {note}\n");
    }
}

fn walk_text(out: &mut String, walk: &Walk) {
    *out += "  chains:\n";
    for Way { verdict, assumptions, steps, policy_of } in &walk.ways {
        for assumption in assumptions {
            *out += &format!("    supposing that {assumption}\n");
        }
        for Step { table, chain, rule, reason, mark, packets } in steps {
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!("   # {reason}"));
            let packets = packets.map_or_else(String::new, |packets| format!("   [{packets} packets]"));
            *out += &format!("    mark {mark:#010x}  {table} {chain} {rule}{packets}{reason}\n");
        }
        let by = policy_of.as_ref().map_or_else(String::new, |chain| format!(" by the policy of {chain}"));
        *out += &format!("    {verdict}{by}\n");
    }
}

fn answer_text(answer: Answer) -> &'static str {
    match answer {
        Answer::Allowed => "allowed",
        Answer::Denied => "denied",
        Answer::Depends => "not decided by policy",
    }
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
