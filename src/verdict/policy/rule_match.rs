//! Whether one rule of a policy holds for a packet, and if not, which of its fields is the first that fails.

use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use crate::model::{IcmpMatch, IpVersion, PortRange, Protocol};
use crate::policy::{ActiveRule, ActiveSide, HostPolicy, IpSet, Member, SetId, TransportProtocol};
use crate::rules::ruleset::Side;
use crate::verdict::packet::{Packet, Payload};

/// The first field of a rule that a packet fails, in the order in which people read a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch<'p> {
    /// The rule is for the other family: by `ipVersion`, or by a protocol that belongs to it.
    IpVersion(IpVersion),
    Protocol(Protocol),
    NotProtocol(Protocol),
    Icmp(IcmpMatch),
    NotIcmp(IcmpMatch),
    Side(Side, Field<'p>),
}

/// A field of one side of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'p> {
    Nets(&'p [IpNet]),
    /// The packet's address is in this one.
    NotNets(IpNet),
    /// `nets` or `notNets` has networks of the other family only: the rule is for that family.
    NetsOfOtherFamily(&'p [IpNet]),
    /// The address is not in this set.
    Set(&'p SetId),
    /// The address is in this set.
    NotSet(&'p SetId),
    /// The port is in no range, and with the address in no set.
    Ports(&'p [PortRange], &'p [SetId]),
    /// The port is in this range.
    NotPorts(PortRange),
    /// Address and port are in this set.
    NotPortSet(&'p SetId),
}

/// The sets of a host's policy, ready to be searched.
pub struct Sets<'p> {
    by_id: FxHashMap<&'p SetId, Lengths<'p>>,
}

/// A set with the prefix lengths that occur in it, the longest first.
struct Lengths<'p> {
    set: &'p IpSet,
    v4: Vec<u8>,
    v6: Vec<u8>,
}

impl<'p> Sets<'p> {
    pub fn of(policy: &'p HostPolicy) -> Self {
        let by_id = policy.sets.iter().map(|(id, set)| (id, Lengths::of(set))).collect();
        Self { by_id }
    }

    /// The set, where it is known.
    pub fn find(&self, id: &SetId) -> Option<&'p IpSet> {
        self.by_id.get(id).map(|lengths| lengths.set)
    }

    /// Whether a network or address of the set holds the address.
    pub fn has_address(&self, id: &SetId, address: IpAddr) -> bool {
        let Some(Lengths { set, v4, v6 }) = self.by_id.get(id) else { return false };
        let lengths = match address {
            IpAddr::V4(_) => v4,
            IpAddr::V6(_) => v6,
        };
        lengths.iter().any(|&length| {
            let net = IpNet::new(address, length).map(|net| Member::Net(net.trunc()));
            net.is_ok_and(|net| set.members.binary_search(&net).is_ok())
        })
    }

    /// The protocols and ports that the set has of the address.
    pub fn ports_of(&self, id: &SetId, address: IpAddr) -> impl Iterator<Item = (u8, u16)> + use<'p> {
        let members = self.find(id).map_or(&[][..], |set| &set.members);
        let first =
            members.partition_point(|member| *member < Member::IpPort(address, TransportProtocol::Tcp, 0));
        let members = members.get(first..).unwrap_or_default().iter();
        members.map_while(move |member| match member {
            Member::IpPort(of, protocol, port) if *of == address => Some((protocol.number(), *port)),
            Member::IpPort(..) | Member::Net(_) => None,
        })
    }

    /// Whether the set has the address with this port.
    fn has_port(&self, id: &SetId, address: IpAddr, protocol: u8, port: u16) -> bool {
        let Some(Lengths { set, v4: _, v6: _ }) = self.by_id.get(id) else { return false };
        TRANSPORTS
            .into_iter()
            .filter(|transport| transport.number() == protocol)
            .any(|transport| set.members.binary_search(&Member::IpPort(address, transport, port)).is_ok())
    }
}

const TRANSPORTS: [TransportProtocol; 3] =
    [TransportProtocol::Tcp, TransportProtocol::Udp, TransportProtocol::Sctp];

impl<'p> Lengths<'p> {
    fn of(set: &'p IpSet) -> Self {
        let lengths = |version| {
            let nets = set.members.iter().filter_map(|member| match member {
                Member::Net(net) if IpVersion::of(net.addr()) == version => Some(net.prefix_len()),
                Member::Net(_) | Member::IpPort(..) => None,
            });
            let mut lengths: Vec<u8> = nets.collect();
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
            lengths
        };
        Self { set, v4: lengths(IpVersion::V4), v6: lengths(IpVersion::V6) }
    }
}

/// The first field of `rule` that `packet` fails; None where the rule holds.
pub fn first_mismatch<'p>(rule: &'p ActiveRule, packet: &Packet, sets: &Sets<'_>) -> Option<Mismatch<'p>> {
    let ActiveRule {
        action: _,
        ip_version,
        protocol,
        not_protocol,
        icmp,
        not_icmp,
        source,
        destination,
        annotations: _,
        provenance: _,
    } = rule;
    let version = packet.version();
    let number = packet.protocol();
    let other_family = |wanted: &IpVersion| *wanted != version;
    let is_icmp = |wanted: &IcmpMatch| match packet.payload {
        Payload::Icmp { icmp_type, code } => {
            wanted.icmp_type == icmp_type && wanted.code.is_none_or(|wanted| wanted == code)
        }
        Payload::Ports { .. } | Payload::Other { .. } => false,
    };
    let ports = packet.payload.ports();
    ip_version
        .filter(other_family)
        .or(protocol.and_then(family).filter(other_family))
        .map(Mismatch::IpVersion)
        .or_else(|| protocol.filter(|wanted| wanted.number() != number).map(Mismatch::Protocol))
        .or_else(|| not_protocol.filter(|not| not.number() == number).map(Mismatch::NotProtocol))
        .or_else(|| icmp.filter(|wanted| !is_icmp(wanted)).map(Mismatch::Icmp))
        .or_else(|| not_icmp.filter(is_icmp).map(Mismatch::NotIcmp))
        .or_else(|| {
            let end = End { address: packet.source, protocol: number, port: ports.map(|(source, _)| source) };
            failing_field(source, end, sets).map(|field| Mismatch::Side(Side::Source, field))
        })
        .or_else(|| {
            let port = ports.map(|(_, destination)| destination);
            let end = End { address: packet.destination, protocol: number, port };
            failing_field(destination, end, sets).map(|field| Mismatch::Side(Side::Destination, field))
        })
}

/// The family that a protocol belongs to.
pub fn family(protocol: Protocol) -> Option<IpVersion> {
    [IpVersion::V4, IpVersion::V6].into_iter().find(|version| Payload::icmp_of(*version) == protocol.number())
}

/// One end of a packet.
#[derive(Clone, Copy)]
struct End {
    address: IpAddr,
    protocol: u8,
    port: Option<u16>,
}

/// Whether the rule can hold for an address of one side: it is as the rule asks, and where only named ports are asked
/// for, has one of them.
pub fn concerns(side: &ActiveSide, address: IpAddr, sets: &Sets<'_>) -> bool {
    let ActiveSide { ports, port_sets, .. } = side;
    let has_any = || port_sets.iter().any(|id| sets.ports_of(id, address).next().is_some());
    failing_address(side, address, sets).is_none() && (!ports.is_empty() || port_sets.is_empty() || has_any())
}

fn failing_address<'p>(side: &'p ActiveSide, address: IpAddr, sets: &Sets<'_>) -> Option<Field<'p>> {
    let ActiveSide {
        nets,
        not_nets,
        sets: in_sets,
        not_sets,
        ports: _,
        port_sets: _,
        not_ports: _,
        not_port_sets: _,
    } = side;
    let is_other_family = |nets: &[IpNet]| {
        !nets.is_empty() && nets.iter().all(|net| IpVersion::of(net.addr()) != IpVersion::of(address))
    };
    if let Some(others) = [nets, not_nets].into_iter().find(|nets| is_other_family(nets)) {
        return Some(Field::NetsOfOtherFamily(others));
    }
    if !nets.is_empty() && !nets.iter().any(|net| net.contains(&address)) {
        return Some(Field::Nets(nets));
    }
    if let Some(net) = not_nets.iter().find(|net| net.contains(&address)) {
        return Some(Field::NotNets(*net));
    }
    if let Some(id) = in_sets.iter().find(|id| !sets.has_address(id, address)) {
        return Some(Field::Set(id));
    }
    not_sets.iter().find(|id| sets.has_address(id, address)).map(Field::NotSet)
}

fn failing_field<'p>(side: &'p ActiveSide, end: End, sets: &Sets<'_>) -> Option<Field<'p>> {
    let End { address, protocol, port } = end;
    if let Some(field) = failing_address(side, address, sets) {
        return Some(field);
    }
    let ActiveSide { ports, port_sets, not_ports, not_port_sets, .. } = side;
    let with_port = |id: &SetId| port.is_some_and(|port| sets.has_port(id, address, protocol, port));
    let in_range = |range: &PortRange| port.is_some_and(|port| (range.first..=range.last).contains(&port));
    let asks_port = !ports.is_empty() || !port_sets.is_empty();
    if asks_port && !ports.iter().any(in_range) && !port_sets.iter().any(with_port) {
        return Some(Field::Ports(ports, port_sets));
    }
    if let Some(range) = not_ports.iter().find(|range| in_range(range)) {
        return Some(Field::NotPorts(*range));
    }
    not_port_sets.iter().find(|id| with_port(id)).map(Field::NotPortSet)
}
