//! Rules, and why they don't hold, in words.

use std::fmt::{Display, Write};

use crate::datastore::Place;
use crate::model::{Action, IcmpMatch, IpVersion, PortRange, Protocol};
use crate::policy::{ActiveRule, ActiveSide, SetId};
use crate::rules::ruleset::Side;
use crate::verdict::packet::{Packet, Payload, protocol_name};
use crate::verdict::policy::rule_match::{Field, Mismatch, Sets};

/// Most items of a list that are told.
const MAX_ITEMS: usize = 6;

/// ` (file:line:column)`, or nothing.
pub fn place_suffix(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!(" ({place})"))
}

/// Why a rule doesn't hold: what the packet has, and what the rule asks for.
pub fn mismatch_text(mismatch: &Mismatch<'_>, packet: &Packet, sets: &Sets<'_>) -> String {
    match mismatch {
        Mismatch::IpVersion(version) => format!("the rule is for {}", version_name(*version)),
        Mismatch::Protocol(wanted) => {
            format!("protocol {} is not {}", number_name(packet.protocol()), protocol(*wanted))
        }
        Mismatch::NotProtocol(not) => format!("notProtocol {}", protocol(*not)),
        Mismatch::Icmp(wanted) => match packet.payload {
            Payload::Icmp { icmp_type, code } => {
                format!("ICMP type {icmp_type} code {code} is not {}", icmp(*wanted))
            }
            Payload::Ports { .. } | Payload::Other { .. } => format!("it is not ICMP {}", icmp(*wanted)),
        },
        Mismatch::NotIcmp(not) => format!("notICMP {}", icmp(*not)),
        Mismatch::Side(side, field) => field_text(*side, field, packet, sets),
    }
}

fn field_text(side: Side, field: &Field<'_>, packet: &Packet, sets: &Sets<'_>) -> String {
    let (name, address, port) = match side {
        Side::Source => ("source", packet.source, packet.payload.ports().map(|(source, _)| source)),
        Side::Destination => {
            ("destination", packet.destination, packet.payload.ports().map(|(_, destination)| destination))
        }
    };
    match field {
        Field::Nets(nets) => format!("{name} {address} is not in {}", list(nets.iter())),
        Field::NotNets(net) => format!("{name} {address} is in {net}, which {name} notNets leaves out"),
        Field::NetsOfOtherFamily(nets) => {
            format!("the rule's {name} networks {} are of the other IP version", list(nets.iter()))
        }
        Field::Set(id) => match sets.find(id) {
            Some(set) if set.members.is_empty() => {
                format!("{name} {} selects nobody: its set is empty", meaning(id, sets))
            }
            Some(_) | None => format!("{name} {address} is not selected by {}", meaning(id, sets)),
        },
        Field::NotSet(id) => {
            format!("{name} {address} is selected by {}, which is left out", meaning(id, sets))
        }
        Field::Ports(ranges, ids) => {
            let wanted = ranges.iter().map(range).chain(ids.iter().map(|id| meaning(id, sets)));
            match port {
                Some(port) => format!("{name} port {port} is not {}", list(wanted)),
                None => format!("it has no {name} port, which must be {}", list(wanted)),
            }
        }
        Field::NotPorts(not) => {
            format!("{name} port {} is in notPorts {}", port.unwrap_or_default(), range(not))
        }
        Field::NotPortSet(id) => {
            format!("{name} port {} is in notPorts {}", port.unwrap_or_default(), meaning(id, sets))
        }
    }
}

/// A rule in one line: `Allow TCP from role == "web" to port 80`.
pub fn rule_text(rule: &ActiveRule, sets: &Sets<'_>) -> String {
    let ActiveRule {
        action,
        ip_version,
        protocol: wanted,
        not_protocol,
        icmp: icmp_wanted,
        not_icmp,
        source,
        destination,
        annotations: _,
        provenance: _,
    } = rule;
    let action = match action {
        Action::Allow => "Allow",
        Action::Deny => "Deny",
        Action::Log => "Log",
        Action::Pass => "Pass",
    };
    let parts = [
        ip_version.map(|version| version_name(version).to_owned()),
        wanted.map(protocol),
        not_protocol.map(|not| format!("not {}", protocol(not))),
        icmp_wanted.map(icmp),
        not_icmp.map(|not| format!("not {}", icmp(not))),
        side_text("from", source, sets),
        side_text("to", destination, sets),
    ];
    parts.into_iter().flatten().fold(action.to_owned(), |text, part| text + " " + &part)
}

fn side_text(word: &str, side: &ActiveSide, sets: &Sets<'_>) -> Option<String> {
    let ActiveSide { nets, not_nets, sets: in_sets, not_sets, ports, port_sets, not_ports, not_port_sets } =
        side;
    let mut parts = Vec::new();
    if !nets.is_empty() {
        parts.push(list(nets.iter()));
    }
    parts.extend(in_sets.iter().map(|id| meaning(id, sets)));
    if !ports.is_empty() || !port_sets.is_empty() {
        let wanted = ports.iter().map(range).chain(port_sets.iter().map(|id| meaning(id, sets)));
        parts.push(format!("port {}", list(wanted)));
    }
    if !not_nets.is_empty() {
        parts.push(format!("not {}", list(not_nets.iter())));
    }
    parts.extend(not_sets.iter().map(|id| format!("not {}", meaning(id, sets))));
    if !not_ports.is_empty() || !not_port_sets.is_empty() {
        let not = not_ports.iter().map(range).chain(not_port_sets.iter().map(|id| meaning(id, sets)));
        parts.push(format!("not port {}", list(not)));
    }
    (!parts.is_empty()).then(|| format!("{word} {}", parts.join(" ")))
}

/// `tcp port 80`, `icmp type 8 code 0`
pub fn payload_text(version: IpVersion, payload: Payload) -> String {
    match payload {
        Payload::Ports { protocol, source: _, destination } => {
            format!("{} port {destination}", number_name(protocol))
        }
        Payload::Icmp { icmp_type, code } => {
            format!("{} type {icmp_type} code {code}", number_name(Payload::icmp_of(version)))
        }
        Payload::Other { protocol } => match protocol_name(protocol) {
            Some(name) => name.to_owned(),
            None => format!("protocol {protocol}"),
        },
    }
}

/// What a set stands for.
fn meaning(id: &SetId, sets: &Sets<'_>) -> String {
    sets.find(id).map_or_else(|| id.0.to_string(), |set| format!("`{}`", set.meaning))
}

fn list<T: Display>(items: impl Iterator<Item = T>) -> String {
    let mut text = String::new();
    let mut more = 0_usize;
    for (position, item) in items.enumerate() {
        if position >= MAX_ITEMS {
            more += 1;
            continue;
        }
        let comma = if position == 0 { "" } else { ", " };
        // A String takes everything.
        let _ = write!(text, "{comma}{item}");
    }
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

fn range(range: &PortRange) -> String {
    let PortRange { first, last } = range;
    if first == last { first.to_string() } else { format!("{first}:{last}") }
}

fn icmp(icmp: IcmpMatch) -> String {
    let IcmpMatch { icmp_type, code } = icmp;
    code.map_or_else(|| format!("type {icmp_type}"), |code| format!("type {icmp_type} code {code}"))
}

fn protocol(protocol: Protocol) -> String {
    number_name(protocol.number())
}

fn number_name(number: u8) -> String {
    protocol_name(number).map_or_else(|| number.to_string(), str::to_owned)
}

fn version_name(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "IPv4",
        IpVersion::V6 => "IPv6",
    }
}
