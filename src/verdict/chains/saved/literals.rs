//! Addresses, ports, numbers and names as `iptables` writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::model::{IpVersion, PortRange};
use crate::verdict::chains::program::States;
use crate::verdict::packet::protocol_number;

/// The names that `iptables-save` takes from `/etc/protocols`, beyond those that people use. There, `ipip` is not IP in IP.
#[rustfmt::skip]
const PROTOCOLS: [(&str, u8); 43] = [
    ("ggp", 3), ("ipv4", 4), ("st", 5), ("egp", 8), ("igp", 9), ("pup", 12), ("hmp", 20), ("xns-idp", 22),
    ("rdp", 27), ("iso-tp4", 29), ("xtp", 36), ("ddp", 37), ("idpr-cmtp", 38), ("ipv6", 41),
    ("ipv6-route", 43), ("ipv6-frag", 44), ("idrp", 45), ("rsvp", 46), ("skip", 57), ("ipv6-nonxt", 59),
    ("ipv6-opts", 60), ("rspf", 73), ("vmtp", 81), ("eigrp", 88), ("ax.25", 93), ("ipip", 94),
    ("etherip", 97), ("encap", 98), ("pim", 103), ("ipcomp", 108), ("l2tp", 115), ("isis", 124),
    ("fc", 133), ("ipv6-mh", 135), ("mh", 135), ("mobility-header", 135), ("mpls-in-ip", 137),
    ("manet", 138), ("hip", 139), ("shim6", 140), ("wesp", 141), ("rohc", 142), ("ethernet", 143),
];

pub(super) fn protocol(text: &str) -> Option<u8> {
    let ours = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    ours.map(|(_, number)| *number).or_else(|| protocol_number(text))
}

pub(super) fn address(version: IpVersion, text: &str) -> Option<IpAddr> {
    match version {
        IpVersion::V4 => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        IpVersion::V6 => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
    }
}

/// An address, with a length or a mask of that many ones.
pub(super) fn net(version: IpVersion, text: &str) -> Option<IpNet> {
    let (text, length) = text.split_once('/').map_or((text, None), |(text, length)| (text, Some(length)));
    let address = address(version, text)?;
    let Some(length) = length else { return Some(address.into()) };
    let length = length.parse().ok().or_else(|| mask_length(version, length))?;
    IpNet::new(address, length).ok().map(|net| net.trunc())
}

fn mask_length(version: IpVersion, mask: &str) -> Option<u8> {
    ipnet::ip_mask_to_prefix(address(version, mask)?).ok()
}

/// `first:last`, where either end may be left out, or one port.
pub(super) fn ports(text: &str) -> Option<PortRange> {
    let port = |text: &str, open| if text.is_empty() { Some(open) } else { text.parse().ok() };
    let (first, last) = match text.split_once(':') {
        Some((first, last)) => (port(first, 0)?, port(last, u16::MAX)?),
        None => {
            let port = text.parse().ok()?;
            (port, port)
        }
    };
    (first <= last).then_some(PortRange { first, last })
}

/// As C has it: `0x10`, `16`, `020`.
pub(super) fn number(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => u32::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// `value/mask`; without a mask, of all bits.
pub(super) fn masked(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((value, mask)) => Some((number(value)?, number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

pub(super) fn states(text: &str) -> Option<States> {
    let mut states = States::default();
    for name in text.split(',') {
        let state = match name.to_ascii_uppercase().as_str() {
            "NEW" => &mut states.new,
            "ESTABLISHED" => &mut states.established,
            "RELATED" => &mut states.related,
            "INVALID" => &mut states.invalid,
            "UNTRACKED" => &mut states.untracked,
            "DNAT" => &mut states.dnat,
            "SNAT" => &mut states.snat,
            _ => return None,
        };
        *state = true;
    }
    Some(states)
}

/// The type, where one is asked for, and its codes from first to last.
pub(super) type Icmp = (Option<u8>, (u8, u8));

/// `type`, `type/code`, or a name.
pub(super) fn icmp(version: IpVersion, text: &str) -> Option<Icmp> {
    // The kernel takes this type for all of them, in IPv4 only (`icmp_type_code_match`).
    let any = |icmp_type: u8| version == IpVersion::V4 && icmp_type == u8::MAX;
    let (icmp_type, code) = match text.split_once('/') {
        Some((icmp_type, code)) => (icmp_type.parse().ok()?, Some(code.parse().ok()?)),
        None => text.parse().ok().map(|icmp_type| (icmp_type, None)).or_else(|| icmp_name(version, text))?,
    };
    let codes = code.map_or((0, u8::MAX), |code| (code, code));
    Some(((!any(icmp_type)).then_some(icmp_type), codes))
}

fn icmp_name(version: IpVersion, name: &str) -> Option<(u8, Option<u8>)> {
    let names: &[(&str, u8, Option<u8>)] = match version {
        IpVersion::V4 => &ICMP,
        IpVersion::V6 => &ICMPV6,
    };
    let found = names.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
    found.map(|(_, icmp_type, code)| (*icmp_type, *code))
}

/// `iptables -p icmp -h`
const ICMP: [(&str, u8, Option<u8>); 37] = [
    ("any", 255, None),
    ("echo-reply", 0, None),
    ("pong", 0, None),
    ("destination-unreachable", 3, None),
    ("network-unreachable", 3, Some(0)),
    ("host-unreachable", 3, Some(1)),
    ("protocol-unreachable", 3, Some(2)),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("source-route-failed", 3, Some(5)),
    ("network-unknown", 3, Some(6)),
    ("host-unknown", 3, Some(7)),
    ("network-prohibited", 3, Some(9)),
    ("host-prohibited", 3, Some(10)),
    ("TOS-network-unreachable", 3, Some(11)),
    ("TOS-host-unreachable", 3, Some(12)),
    ("communication-prohibited", 3, Some(13)),
    ("host-precedence-violation", 3, Some(14)),
    ("precedence-cutoff", 3, Some(15)),
    ("source-quench", 4, None),
    ("redirect", 5, None),
    ("network-redirect", 5, Some(0)),
    ("host-redirect", 5, Some(1)),
    ("TOS-network-redirect", 5, Some(2)),
    ("TOS-host-redirect", 5, Some(3)),
    ("echo-request", 8, None),
    ("ping", 8, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("time-exceeded", 11, None),
    ("ttl-exceeded", 11, None),
    ("ttl-zero-during-transit", 11, Some(0)),
    ("ttl-zero-during-reassembly", 11, Some(1)),
    ("parameter-problem", 12, None),
    ("ip-header-bad", 12, Some(0)),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
];

/// `ip6tables -p icmpv6 -h`
const ICMPV6: [(&str, u8, Option<u8>); 27] = [
    ("destination-unreachable", 1, None),
    ("no-route", 1, Some(0)),
    ("communication-prohibited", 1, Some(1)),
    ("beyond-scope", 1, Some(2)),
    ("address-unreachable", 1, Some(3)),
    ("port-unreachable", 1, Some(4)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("ttl-exceeded", 3, None),
    ("ttl-zero-during-transit", 3, Some(0)),
    ("ttl-zero-during-reassembly", 3, Some(1)),
    ("parameter-problem", 4, None),
    ("bad-header", 4, Some(0)),
    ("unknown-header-type", 4, Some(1)),
    ("unknown-option", 4, Some(2)),
    ("echo-request", 128, None),
    ("ping", 128, None),
    ("echo-reply", 129, None),
    ("pong", 129, None),
    ("router-solicitation", 133, None),
    ("router-advertisement", 134, None),
    ("neighbour-solicitation", 135, None),
    ("neighbor-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("neighbor-advertisement", 136, None),
    ("redirect", 137, None),
    ("mld-listener-query", 130, None),
];
