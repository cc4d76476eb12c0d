//! What must be allowed and what must be denied, written beside the policies and held against all packets it speaks of.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{End, Flows, ends_of, flow, is_flow, outside};
use crate::datastore::{Node, Span, Value};
use crate::labels::{Selector, SelectorError};
use crate::model::{IpVersion, PortRange};
use crate::verdict::explain::Flow;
use crate::verdict::explain::cluster::{Cluster, LocateError, Party};
use crate::verdict::packet::{Payload, protocol_name, protocol_number};
use crate::verdict::services::Services;

/// One assertion.
#[derive(Clone, Debug)]
pub struct Assertion {
    pub expected: Expected,
    pub from: Side,
    pub to: Side,
    /// None is every protocol.
    pub protocol: Option<u8>,
    /// Destination ports; empty is all.
    pub ports: Vec<PortRange>,
    /// ICMP type, with or without a code.
    pub icmp: Option<(u8, Option<u8>)>,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Allowed,
    Denied,
}

/// One side of an assertion as it is written.
#[derive(Clone, Debug)]
pub struct Side {
    pub text: String,
    pub meaning: Meaning,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Meaning {
    /// All addresses of a network, endpoints' and others.
    Net(IpNet),
    /// Endpoints by their labels.
    Selector(Selector),
    /// An endpoint by name.
    Name,
    /// Every endpoint and every other address.
    Anyone,
}

/// What is wrong with an assertion as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionError {
    pub span: Span,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    NotAMapping,
    /// Neither `allow` nor `deny`, or both.
    NoExpectation,
    UnknownField(String),
    Missing(&'static str),
    NotAText(&'static str),
    Protocol(String),
    Port(String),
    PortWithoutProtocol,
    Icmp(String),
    IcmpWithoutProtocol,
    Selector {
        text: String,
        error: SelectorError,
    },
    Network(String),
    /// Neither a name nor a network nor a selector.
    Side {
        text: String,
        locate: LocateError,
    },
    /// The assertion would hold whatever the policies say.
    SpeaksOfNothing(String),
}

/// How an assertion came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Pairs of two ends that were looked at, each for all payloads at once.
    pub pairs: usize,
    /// A flow that is not as expected.
    pub witness: Option<Flow>,
}

impl Assertion {
    /// Reads an assertion: `allow: {from, to, proto, port, icmp}` or `deny: …`.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn decode(node: &Node) -> Result<Self, AssertionError> {
        let fault = |span, problem| AssertionError { span, problem };
        let Value::Mapping(entries) = &node.value else { return Err(fault(node.span, Problem::NotAMapping)) };
        let [(key, body)] = entries.as_slice() else { return Err(fault(node.span, Problem::NoExpectation)) };
        let expected = match &*key.text {
            "allow" => Expected::Allowed,
            "deny" => Expected::Denied,
            _ => return Err(fault(key.span, Problem::NoExpectation)),
        };
        let Value::Mapping(fields) = &body.value else { return Err(fault(body.span, Problem::NotAMapping)) };
        if let Some((key, _)) = fields.iter().find(|(key, _)| !FIELDS.contains(&&*key.text)) {
            return Err(fault(key.span, Problem::UnknownField(key.text.to_string())));
        }
        let side = |name: &'static str| {
            let node = body.child(name).ok_or_else(|| fault(body.span, Problem::Missing(name)))?;
            let text = scalar(node).ok_or_else(|| fault(node.span, Problem::NotAText(name)))?;
            let meaning = Meaning::of(text).map_err(|problem| fault(node.span, problem))?;
            Ok(Side { meaning, text: text.to_owned(), span: node.span })
        };
        let (from, to) = (side("from")?, side("to")?);
        let protocol = body.child("proto").map(protocol).transpose()?;
        let ports = body.child("port").map_or(Ok(Vec::new()), ports)?;
        let icmp = body.child("icmp").map(icmp).transpose()?;
        let has_ports = protocol.is_some_and(|protocol| Payload::PORT_PROTOCOLS.contains(&protocol));
        if !ports.is_empty() && !has_ports {
            return Err(fault(body.span, Problem::PortWithoutProtocol));
        }
        let is_icmp = protocol.is_some_and(|protocol| [1, 58].contains(&protocol));
        if icmp.is_some() && !is_icmp {
            return Err(fault(body.span, Problem::IcmpWithoutProtocol));
        }
        Ok(Self { expected, from, to, protocol, ports, icmp, span: node.span })
    }

    /// Looks at every packet that the assertion speaks of: at every pair of ends, for all payloads at once.
    ///
    /// # Errors
    /// A side means nobody.
    pub fn check(&self, cluster: &Cluster, flows: &Flows<'_>) -> Result<Outcome, AssertionError> {
        let from = self.from.ends(cluster, flows)?;
        let to = self.to.ends(cluster, flows)?;
        let mut outcome = Outcome { pairs: 0, witness: None };
        for sender in &from {
            // `icmp` is of IPv4, `icmpv6` of IPv6.
            if self.protocol.is_some_and(|protocol| family(protocol).is_some_and(|of| of != sender.version()))
            {
                continue;
            }
            for receiver in to.iter().filter(|receiver| is_flow(sender, receiver)) {
                outcome.pairs += 1;
                let allowed = flows.allowed(sender, receiver);
                let wanted = self.services(flows, sender);
                let wrong = match self.expected {
                    Expected::Allowed => wanted.minus(&allowed),
                    Expected::Denied => wanted.and(&allowed),
                };
                if let Some(payload) = wrong.example() {
                    outcome.witness = flow(cluster, sender, receiver, payload);
                    return Ok(outcome);
                }
            }
        }
        if outcome.pairs == 0 {
            let what = format!("from {} to {}", self.from.text, self.to.text);
            return Err(AssertionError { span: self.span, problem: Problem::SpeaksOfNothing(what) });
        }
        Ok(outcome)
    }

    /// What the assertion speaks of. Without a protocol, all that can open a connection and the sender may ever send;
    /// of ICMP, what can open one.
    fn services(&self, flows: &Flows<'_>, sender: &End) -> Services {
        let version = sender.version();
        let opening = Services::all(version).minus(&Services::never_first(version));
        let Some(protocol) = self.protocol else {
            let judge = sender.id().and_then(|id| flows.judge(id));
            return judge.map_or(opening.clone(), |judge| opening.minus(judge.never_sent(version)));
        };
        if [1, 58].contains(&protocol) {
            return match self.icmp {
                Some((icmp_type, code)) => Services::icmp(version, icmp_type, code),
                None => opening.and(&Services::protocol(version, Payload::icmp_of(version))),
            };
        }
        if self.ports.is_empty() {
            return Services::protocol(version, protocol);
        }
        let ports = self.ports.iter().map(|range| Services::to_ports(version, protocol, *range));
        ports.fold(Services::none(version), |all, one| all.or(&one))
    }
}

const FIELDS: [&str; 5] = ["from", "to", "proto", "port", "icmp"];

impl Meaning {
    /// What can only be a selector or a network, and is none, isn't taken for a name.
    fn of(text: &str) -> Result<Self, Problem> {
        let net = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
        match (net, Selector::parse(text)) {
            (Ok(net), _) => Ok(Self::Net(net.trunc())),
            (Err(_), _) if text == "anyone" => Ok(Self::Anyone),
            (Err(_), Ok(selector)) => Ok(Self::Selector(selector)),
            (Err(_), Err(error)) if text.contains(['=', '!', '(', '{', '&', '|', '"', '\'']) => {
                Err(Problem::Selector { text: text.to_owned(), error })
            }
            (Err(_), Err(_)) if is_like_a_network(text) => Err(Problem::Network(text.to_owned())),
            (Err(_), Err(_)) => Ok(Self::Name),
        }
    }
}

/// Digits, dots and a length, or colons: no name of anybody.
fn is_like_a_network(text: &str) -> bool {
    let all = |allowed: fn(char) -> bool| text.chars().all(allowed);
    let v4 = text.contains('.') && all(|c| c.is_ascii_digit() || c == '.' || c == '/');
    let v6 = text.matches(':').count() > 1 && all(|c| c.is_ascii_hexdigit() || c == ':' || c == '/');
    v4 || v6
}

impl Side {
    /// All ends that the side means.
    ///
    /// # Errors
    /// It means nobody, or one of several.
    pub fn ends(&self, cluster: &Cluster, flows: &Flows<'_>) -> Result<Vec<End>, AssertionError> {
        let enforcement = flows.enforcement();
        let locals = || {
            let all = enforcement.hosts.values().flat_map(|host| host.policy.endpoints.values());
            all.filter(|local| local.shadowed_by.is_none())
        };
        let around = |within: Option<IpNet>| {
            let versions = [IpVersion::V4, IpVersion::V6]
                .into_iter()
                .filter(|version| within.is_none_or(|net| IpVersion::of(net.addr()) == *version));
            let pieces = versions.flat_map(|version| outside(&[enforcement], version, within));
            let known = flows.ends().chain(flows.floating_ends());
            let known = known.filter(|end| within.is_none_or(|net| net.contains(&end.address())));
            known.chain(pieces.map(End::Outside)).collect::<Vec<End>>()
        };
        let ends: Vec<End> = match &self.meaning {
            Meaning::Anyone => around(None),
            Meaning::Net(net) => around(Some(*net)),
            Meaning::Selector(selector) => locals()
                .filter(|local| {
                    let labels = enforcement.labels.get(&local.endpoint.id);
                    selector.matches(&|key: &str| Some(labels?.get(key)?.as_str()))
                })
                .flat_map(|local| ends_of(local))
                .collect(),
            Meaning::Name => match cluster.locate(&self.text) {
                Ok(Party::Endpoint { endpoint, address: _ }) => locals()
                    .filter(|local| local.endpoint.id == endpoint.id)
                    .flat_map(|local| ends_of(local))
                    .collect(),
                Ok(Party::Host { name, addresses }) => addresses
                    .into_iter()
                    .map(|address| End::Host { name: Arc::clone(&name), address })
                    .collect(),
                Ok(Party::Outside(_)) => Vec::new(),
                Err(locate) => {
                    let problem = Problem::Side { text: self.text.clone(), locate };
                    return Err(AssertionError { span: self.span, problem });
                }
            },
        };
        if ends.is_empty() {
            let problem = Problem::SpeaksOfNothing(self.text.clone());
            return Err(AssertionError { span: self.span, problem });
        }
        Ok(ends)
    }
}

/// The family that an ICMP belongs to.
fn family(protocol: u8) -> Option<IpVersion> {
    [IpVersion::V4, IpVersion::V6].into_iter().find(|version| Payload::icmp_of(*version) == protocol)
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) if !scalar.is_null() => Some(&scalar.text),
        Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

fn protocol(node: &Node) -> Result<u8, AssertionError> {
    let text = scalar(node).unwrap_or_default();
    let problem = || AssertionError { span: node.span, problem: Problem::Protocol(text.to_owned()) };
    protocol_number(text).ok_or_else(problem)
}

/// A port, a range `80-90` or `80:90`, several joined by commas, or a list of these.
fn ports(node: &Node) -> Result<Vec<PortRange>, AssertionError> {
    match &node.value {
        Value::Sequence(items) => {
            let each: Result<Vec<_>, _> = items.iter().map(ports).collect();
            Ok(each?.concat())
        }
        Value::Scalar(_) | Value::Mapping(_) => {
            let text = scalar(node).unwrap_or_default();
            let problem = || AssertionError { span: node.span, problem: Problem::Port(text.to_owned()) };
            text.split(',').map(|part| port_range(part.trim()).ok_or_else(problem)).collect()
        }
    }
}

fn port_range(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once(['-', ':']).unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some(PortRange { first, last })
}

fn icmp(node: &Node) -> Result<(u8, Option<u8>), AssertionError> {
    let text = scalar(node).unwrap_or_default();
    let problem = || AssertionError { span: node.span, problem: Problem::Icmp(text.to_owned()) };
    match text.split_once('/') {
        None => Ok((text.parse().map_err(|_| problem())?, None)),
        Some((icmp_type, code)) => {
            Ok((icmp_type.parse().map_err(|_| problem())?, Some(code.parse().map_err(|_| problem())?)))
        }
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, from, to, protocol, ports, icmp, span: _ } = self;
        let expected = match expected {
            Expected::Allowed => "allow",
            Expected::Denied => "deny",
        };
        write!(f, "{expected} {} → {}", from.text, to.text)?;
        if let Some(protocol) = protocol {
            match protocol_name(*protocol) {
                Some(name) => write!(f, " {name}")?,
                None => write!(f, " protocol {protocol}")?,
            }
        }
        for (position, PortRange { first, last }) in ports.iter().enumerate() {
            let separator = if position == 0 { " " } else { "," };
            if first == last {
                write!(f, "{separator}{first}")?
            } else {
                write!(f, "{separator}{first}-{last}")?
            }
        }
        match icmp {
            Some((icmp_type, Some(code))) => write!(f, " type {icmp_type} code {code}"),
            Some((icmp_type, None)) => write!(f, " type {icmp_type}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAMapping => f.write_str("an assertion is a mapping"),
            Self::NoExpectation => f.write_str("an assertion has one key, `allow` or `deny`"),
            Self::UnknownField(field) => write!(f, "`{field}` is no field of an assertion"),
            Self::Missing(field) => write!(f, "`{field}` is missing"),
            Self::NotAText(field) => write!(f, "`{field}` is not a text"),
            Self::Protocol(text) => write!(f, "`{text}` is no protocol"),
            Self::Port(text) => write!(f, "`{text}` is no port or range of ports"),
            Self::PortWithoutProtocol => f.write_str("a port needs a protocol that has ports"),
            Self::Icmp(text) => write!(f, "`{text}` is no ICMP type, or type and code"),
            Self::IcmpWithoutProtocol => f.write_str("`icmp` needs `proto: icmp`"),
            Self::Selector { text, error } => write!(f, "`{text}` is not a selector: {error}"),
            Self::Network(text) => write!(f, "`{text}` is no address or network"),
            Self::Side { text, locate: LocateError::Unknown { .. } } => {
                write!(f, "`{text}` is nobody's name, no network and no selector")
            }
            Self::Side { text, locate: LocateError::Ambiguous { candidates, .. } } => {
                write!(f, "`{text}` may mean {} endpoints", candidates.len())
            }
            Self::SpeaksOfNothing(what) => {
                write!(f, "there is no flow {what}: it would hold whatever the policies say")
            }
        }
    }
}

impl Problem {
    /// What to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotAMapping | Self::NoExpectation | Self::Missing(_) | Self::NotAText(_) => {
                Some("as in `- allow: {from: web, to: \"role == 'db'\", proto: tcp, port: 5432}`".to_owned())
            }
            Self::UnknownField(_) => Some(format!("the fields are {}", FIELDS.join(", "))),
            Self::Protocol(_) => Some("a name such as tcp, or a number from 0 to 255".to_owned()),
            Self::Port(_) => Some("as in 80, `8080-8090` or [80, 443]".to_owned()),
            Self::PortWithoutProtocol => Some("say `proto: tcp`, udp or sctp".to_owned()),
            Self::Icmp(_) => Some("as in 8, or `3/1`".to_owned()),
            Self::IcmpWithoutProtocol => None,
            Self::Selector { text: _, error } => error.help.clone(),
            Self::Network(_) => Some("as in 10.0.0.1, 10.0.0.0/8 or fd00::/64".to_owned()),
            Self::Side { text: _, locate: LocateError::Unknown { text: _, similar } } => {
                Some(similar.as_ref().map_or_else(
                    || "give an endpoint's name, a CIDR, a selector, or `anyone`".to_owned(),
                    |similar| format!("did you mean `{similar}`?"),
                ))
            }
            Self::Side { text: _, locate: LocateError::Ambiguous { text: _, candidates } } => {
                Some(format!("choose one of: {}", candidates.join(", ")))
            }
            Self::SpeaksOfNothing(_) => Some("look for a misspelt label, name or network".to_owned()),
        }
    }
}
