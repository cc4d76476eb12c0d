//! `felix-rs explain`: what becomes of a flow, which rule or missing rule decides, and what would change that.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Failure, Outcome, chains, cluster, explanation, json, source};
use crate::config::Config;
use crate::model::IpVersion;
use crate::rules;
use crate::verdict::chains::loaded::{Loaded, LoadedError, conclusion};
use crate::verdict::chains::machine::Refusal;
use crate::verdict::chains::walk::{self, Walk};
use crate::verdict::check::boundary::outside;
use crate::verdict::explain::cluster::{Cluster, Enforcement, Party};
use crate::verdict::explain::{self, Answer, Explanation, Flow, Hop};
use crate::verdict::packet::{ConnState, Packet, Payload, Way, protocol_number};

/// Say why a flow is let through or not: the hosts, policies and rules that decide, and what would change the answer.
/// Exits 0 if it is allowed, 1 if denied, 3 if that depends on what can't be known.
#[derive(Args)]
pub(super) struct Arguments {
    /// Who sends: an endpoint's name, workload, interface, HOST/NAME or address, a host, or any address; without
    /// --datastore, ADDRESS, ADDRESS@INTERFACE, or ADDRESS@host for the host itself
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
    /// What connection tracking says of the packet [default: as of a connection's first]
    #[arg(long, value_enum)]
    state: Option<State>,
    /// The family, where the two have both [default: 4 before 6]
    #[arg(long, value_parser = ["4", "6"])]
    ip_version: Option<String>,
    /// Only what this host does
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    host: Option<String>,
    #[arg(long, value_name = "PATH|-|URL", help = source::HELP, value_parser = NonEmptyStringValueParser::new())]
    datastore: Vec<String>,
    /// Ask the chains that this host has, with their counters, instead of the policies
    #[arg(long, conflicts_with = "saved")]
    kernel: bool,
    /// Ask the chains in files that iptables-save, ip6tables-save and ipset save were printed into
    #[arg(long, value_name = "FILE", num_args = 1..)]
    saved: Vec<PathBuf>,
    /// With --kernel or --saved, the interface by which the host reaches all others
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    uplink: Option<String>,
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

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The explanation, and of each hop the chains, where they were asked for.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    explanation: Explanation,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chains: Vec<Walk>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let loaded = match (arguments.kernel, arguments.saved.as_slice()) {
        (true, _) => Some(chains::of_kernel()?),
        (false, []) => None,
        (false, files) => Some(chains::saved(files)?),
    };
    match loaded {
        Some(loaded) => arguments.by_chains(loaded),
        None => arguments.by_policy(),
    }
}

impl Arguments {
    /// What the policies say.
    fn by_policy(&self) -> Result<Outcome, Failure> {
        let (enforcement, hops) = self.hops_of_cluster()?;
        let explanation = explain::explain(&hops, &enforcement);
        let chains = if self.chains { walks(&hops, &enforcement)? } else { Vec::new() };
        let outcome = outcome(explanation.answer);
        let report = Report { explanation, chains };
        super::print(&match self.format {
            Format::Text => explanation::text(&report.explanation, &report.chains),
            Format::Json => json::pretty(&report),
        })?;
        Ok(outcome)
    }

    /// What the chains that a host has do. With manifests, parties may be named and rules are recognised.
    fn by_chains(&self, mut loaded: Loaded) -> Result<Outcome, Failure> {
        let Hop { host, packet } = if self.datastore.is_empty() {
            let host = self.host.as_deref().unwrap_or_default().into();
            let uplink = chains::uplink(&mut loaded, self.uplink.as_deref(), &Config::default());
            Hop { host, packet: self.packet_between_addresses(&uplink)? }
        } else {
            self.hop_of_cluster(&mut loaded)?
        };
        let (answer, summary, walks) = self.asked_of(&loaded, &host, &packet)?;
        let told = Chains { answer, summary, packet: packet.to_string(), backends: walks };
        super::print(&match self.format {
            Format::Text => explanation::chains_text(&told.summary, &told.packet, &told.backends),
            Format::Json => json::pretty(&told),
        })?;
        Ok(outcome(told.answer))
    }

    /// Without manifests nobody says where a source is routed: where that decides, the answer depends on it.
    fn asked_of(
        &self,
        loaded: &Loaded,
        host: &str,
        packet: &Packet,
    ) -> Result<(Answer, String, Vec<Walk>), Failure> {
        let walks = match loaded.walks(packet) {
            Err(LoadedError::Refused(refusal @ Refusal::TooManyWays)) => {
                return Ok((Answer::Depends, format!("depends: {refusal}"), Vec::new()));
            }
            walks => walks.map_err(|error| Failure::Usage(error.to_string()))?,
        };
        let (answer, summary) = conclusion(host, &walks);
        if self.datastore.is_empty() && packet.way.input().is_some() {
            let spoofed = Packet { reverse_path: false, ..packet.clone() };
            let walks_of_spoofed =
                loaded.walks(&spoofed).map_err(|error| Failure::Usage(error.to_string()))?;
            if conclusion(host, &walks_of_spoofed).0 != answer {
                let route =
                    format!("whether {} is routed back by the interface that it came in by", packet.source);
                let summary = format!("depends on {route}; if it is, {summary}");
                return Ok((Answer::Depends, summary, walks));
            }
        }
        Ok((answer, summary, walks))
    }

    /// The hosts that the flow comes through, and what these enforce.
    fn hops_of_cluster(&self) -> Result<(Enforcement, Vec<Hop>), Failure> {
        let cluster = cluster::read(&self.datastore, self.config.as_deref(), &self.set)?;
        let flow = self.flow(&cluster)?;
        let concerned = flow.from.host().into_iter().chain(flow.to.host()).cloned();
        let concerned = concerned.chain(self.host.as_deref().map(Arc::from));
        let enforcement = cluster::enforce(&cluster, &concerned.collect());
        let hops = self.hops(&flow, &enforcement)?;
        Ok((enforcement, hops))
    }

    /// The packet at the one host that the chains are of.
    fn hop_of_cluster(&self, loaded: &mut Loaded) -> Result<Hop, Failure> {
        let cluster = cluster::read(&self.datastore, self.config.as_deref(), &self.set)?;
        let flow = self.flow(&cluster)?;
        let concerned = flow.from.host().into_iter().chain(flow.to.host()).cloned();
        let enforcement = cluster.enforce(&concerned.chain(self.host.as_deref().map(Arc::from)).collect());
        let hops = self.hops(&flow, &enforcement)?;
        let [hop] = hops.as_slice() else {
            let hosts: Vec<&str> = hops.iter().map(|hop| &*hop.host).collect();
            return Err(Failure::Usage(format!(
                "the flow comes through {}, and the chains are of one host\nhelp: say which with --host",
                hosts.join(" and ")
            )));
        };
        let mut hop = hop.clone();
        if let Some(host) = enforcement.hosts.get(&hop.host) {
            if let Ok(ruleset) = rules::compile(&host.policy, &host.config, hop.packet.version()) {
                loaded.recognise(&ruleset);
            }
            let name = chains::uplink(loaded, self.uplink.as_deref(), &host.config);
            hop.packet.way = hop.packet.way.renamed(&outside(&host.config), &name);
        }
        Ok(hop)
    }

    /// Without manifests: `ADDRESS@INTERFACE`, `ADDRESS@host` for the host itself, or an address by the way to all others.
    fn packet_between_addresses(&self, uplink: &Arc<str>) -> Result<Packet, Failure> {
        let (source, input) = place("--from", &self.from)?;
        let (destination, output) = place("--to", &self.to)?;
        if IpVersion::of(source) != IpVersion::of(destination) {
            return Err(Failure::Usage(
                "the two addresses are of different IP versions\nhelp: give two of one version".to_owned(),
            ));
        }
        let uplink = || Arc::clone(uplink);
        let way = match (input, output) {
            (Place::Host, Place::Host) => {
                return Err(Failure::Usage(
                    "both ends are the host itself\nhelp: name an interface for one of them".to_owned(),
                ));
            }
            (Place::Host, output) => Way::FromHost { output: output.interface(uplink) },
            (input, Place::Host) => Way::ToHost { input: input.interface(uplink) },
            (input, output) => {
                Way::Forwarded { input: input.interface(uplink), output: output.interface(uplink) }
            }
        };
        let payload = self.payload(IpVersion::of(source))?;
        let state = self.state(IpVersion::of(source), payload);
        Ok(Packet { way, source, destination, payload, state, reverse_path: true })
    }

    fn flow(&self, cluster: &Cluster) -> Result<Flow, Failure> {
        let locate = |option: &str, text: &str| {
            cluster.locate(text).map_err(|error| Failure::Usage(format!("{option}: {error}")))
        };
        let (from, to) = (locate("--from", &self.from)?, locate("--to", &self.to)?);
        if from.id().is_some() && from.id() == to.id() {
            return Err(Failure::Usage(format!("{from} to itself: such a packet never leaves it")));
        }
        if let (Party::Host { name: one, .. }, Party::Host { name: other, .. }) = (&from, &to)
            && one == other
        {
            return Err(Failure::Usage(format!(
                "{from} to itself: such a packet goes by lo, where no workload is"
            )));
        }
        let version = match (self.ip_version.as_deref(), self.proto) {
            (Some("6"), _) | (None, ICMPV6) => Some(IpVersion::V6),
            (Some(_), _) => Some(IpVersion::V4),
            (None, _) => None,
        };
        let (source, destination) = explain::addresses(&from, &to, version).ok_or_else(|| {
            Failure::Usage(format!(
                "{from} and {to} have no addresses of one IP version\nhelp: give an address of each, or another --ip-version"
            ))
        })?;
        let payload = self.payload(IpVersion::of(source))?;
        let state = self.state(IpVersion::of(source), payload);
        Ok(Flow { from, to, source, destination, payload, state })
    }

    fn state(&self, version: IpVersion, payload: Payload) -> ConnState {
        self.state.map_or_else(|| ConnState::first(version, payload), ConnState::from)
    }

    fn payload(&self, version: IpVersion) -> Result<Payload, Failure> {
        if self.icmp.is_some() && ![ICMP, ICMPV6].contains(&self.proto) {
            return Err(Failure::Usage(
                "--icmp: the protocol is not ICMP\nhelp: say --proto icmp".to_owned(),
            ));
        }
        // `--proto icmp` means the family's own.
        let protocol =
            if [ICMP, ICMPV6].contains(&self.proto) { Payload::icmp_of(version) } else { self.proto };
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
        Ok(Payload::new(version, protocol, (self.source_port, port), self.icmp.unwrap_or(echo_request)))
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

/// Where a packet comes from or goes to, as far as a host sees it.
enum Place {
    Interface(Arc<str>),
    Host,
    Elsewhere,
}

impl Place {
    fn interface(self, uplink: impl Fn() -> Arc<str>) -> Arc<str> {
        match self {
            Self::Interface(name) => name,
            Self::Host | Self::Elsewhere => uplink(),
        }
    }
}

fn place(option: &str, text: &str) -> Result<(IpAddr, Place), Failure> {
    let (address, place) = match text.split_once('@') {
        Some((address, "host")) => (address, Place::Host),
        Some((address, interface)) => (address, Place::Interface(interface.into())),
        None => (text, Place::Elsewhere),
    };
    let address = address.parse().map_err(|_| {
        Failure::Usage(format!(
            "{option}: `{text}` is no address\nhelp: without --datastore no names are known: give ADDRESS, \
             ADDRESS@INTERFACE, or ADDRESS@host for the host itself"
        ))
    })?;
    Ok((address, place))
}

fn outcome(answer: Answer) -> Outcome {
    match answer {
        Answer::Allowed => Outcome::Clean,
        Answer::Denied => Outcome::Found,
        Answer::Depends => Outcome::Depends,
    }
}

/// What a host's chains do.
#[derive(Serialize)]
struct Chains {
    answer: Answer,
    summary: String,
    packet: String,
    /// A walk for each of iptables' backends.
    backends: Vec<Walk>,
}

/// The way through the chains of each hop's host.
fn walks(hops: &[Hop], enforcement: &Enforcement) -> Result<Vec<Walk>, Failure> {
    hops.iter()
        .filter_map(|hop| Some((hop, enforcement.hosts.get(&hop.host)?)))
        .map(|(hop, host)| {
            let failure = |problem: String| Failure::Usage(format!("host {}: {problem}", host.name));
            if hop.packet.version() == IpVersion::V6 && !host.config.ipv6_support {
                return Err(failure("Ipv6Support is off: it has no chains of IPv6".to_owned()));
            }
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
