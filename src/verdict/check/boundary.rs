//! The packets at the edges of every rule and set: where an off-by-one, a lost negation or a wrong jump would show.

mod host;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::Config;
use crate::model::{IpVersion, PolicyId, PortRange};
use crate::policy::{ActiveRule, ActiveSide, Direction, HostPolicy, LocalEndpoint, Member, SetId};
use crate::verdict::packet::{ConnState, Packet, Payload, Way};
use crate::verdict::policy::judge::{Judge, rules};
use crate::verdict::ranges::{address, number};

/// Most networks, or members of a set, whose edges are tried for one field: the first ones and the last.
const EDGES_A_FIELD: usize = 4;
/// IFNAMSIZ, less the terminator.
const LONGEST_INTERFACE: usize = 15;
/// Most packets, and most senders, that are tried for a packet between two endpoints of the host.
const PACKETS_BETWEEN: usize = 6;
const SENDERS: usize = 2;

/// The packets of one family that show whether chains do what the policy says.
///
/// For every rule, at the first endpoint that meets it, a packet that the rule holds for as far as one can, and packets
/// that differ from it in one field each, to the field's edges. Where a policy is met again at another endpoint, its
/// first rule's packet must do. To every endpoint, packets from another one of the host that each of the two lets
/// through or not. At every endpoint and beside them, the packets of what holds for every host.
pub fn boundary_packets(policy: &HostPolicy, config: &Config, version: IpVersion) -> Vec<Packet> {
    let outside = outside(config);
    let mut boundary = Boundary { policy, config, version, outside, packets: Vec::new() };
    let judge = Judge::new(policy, config);
    let mut seen = Seen::default();
    let locals: Vec<&LocalEndpoint> =
        policy.endpoints.values().map(|local| &**local).filter(|local| local.shadowed_by.is_none()).collect();
    for (number, local) in locals.iter().enumerate() {
        // The next ones, in a circle.
        let senders = locals.iter().cycle().skip(number + 1).take(SENDERS.min(locals.len() - 1));
        for direction in [Direction::Ingress, Direction::Egress] {
            let start = boundary.packets.len();
            boundary.endpoint(local, direction, &mut seen);
            match direction {
                Direction::Ingress => boundary.between(local, senders.clone().copied(), start, &judge),
                Direction::Egress => boundary.at_host(local, start, &judge),
            }
            boundary.common(local, direction);
        }
        boundary.allowed_sources(local, senders.copied());
        boundary.floating(local);
    }
    boundary.host();
    boundary.packets
}

/// The name of an interface that belongs to no workload.
pub fn outside(config: &Config) -> Arc<str> {
    let is_free =
        |name: &&str| !config.interface_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
    ["uplink", "eth0", "0"].into_iter().find(is_free).unwrap_or("-").into()
}

/// Whose packets are there already.
#[derive(Default)]
struct Seen<'p> {
    policies: BTreeSet<(&'p PolicyId, Direction)>,
    profiles: BTreeSet<(&'p str, Direction)>,
}

struct Boundary<'p> {
    policy: &'p HostPolicy,
    config: &'p Config,
    version: IpVersion,
    outside: Arc<str>,
    packets: Vec<Packet>,
}

impl<'p> Boundary<'p> {
    /// What every endpoint does, whatever its policies.
    fn common(&mut self, local: &LocalEndpoint, direction: Direction) {
        let Some(base) = self.base(local, direction) else { return };
        let states = [ConnState::New, ConnState::Established, ConnState::Related, ConnState::Invalid];
        self.packets.extend(states.map(|state| Packet { state, ..base.clone() }));
        let vxlan = self.config.vxlan_port;
        let payloads = [
            Payload::Ports { protocol: UDP, source: 1, destination: vxlan },
            Payload::Ports { protocol: UDP, source: 1, destination: vxlan.saturating_add(1) },
            Payload::Ports { protocol: TCP, source: 1, destination: vxlan },
            Payload::Other { protocol: IPIP },
            Payload::Other { protocol: GRE },
            Payload::new(self.version, Payload::icmp_of(self.version), (0, 0), (135, 0)),
        ];
        self.packets.extend(payloads.map(|payload| Packet { payload, ..base.clone() }));
        // Whatever policy says of new packets, these show that it was asked at all, and in which order.
        let established = Packet { state: ConnState::Established, ..base.clone() };
        let (own, outside) = (&local.endpoint.interface, &self.outside);
        match direction {
            Direction::Ingress => {
                let ways = unknown_interfaces(self.config)
                    .map(|input| Way::Forwarded { input, output: Arc::clone(own) });
                let to_neighbour = Way::Forwarded { input: Arc::clone(outside), output: neighbour(own) };
                self.packets
                    .extend(ways.chain([to_neighbour]).map(|way| Packet { way, ..established.clone() }));
            }
            Direction::Egress => {
                let to_host = Way::ToHost { input: Arc::clone(own) };
                let spoofed = Packet { reverse_path: false, ..established };
                let same = Way::Forwarded { input: Arc::clone(outside), output: Arc::clone(outside) };
                self.packets.push(Packet { way: same, ..spoofed.clone() });
                self.packets.push(Packet { way: to_host.clone(), ..spoofed.clone() });
                self.packets.push(Packet { way: to_host, ..base });
                let from_neighbour = Way::ToHost { input: neighbour(own) };
                self.packets.push(Packet { way: from_neighbour, reverse_path: true, ..spoofed.clone() });
                self.packets.push(spoofed);
            }
        }
    }

    /// From another endpoint of the host: packets behind `start`, which this one's rules have led to, so that of its
    /// sender and it, both, only the one, only the other, and neither lets one through.
    fn between<'l>(
        &mut self,
        local: &'l LocalEndpoint,
        senders: impl Iterator<Item = &'l LocalEndpoint>,
        start: usize,
        judge: &Judge<'l>,
    ) {
        let made = self.packets.iter().skip(start).take(PACKETS_BETWEEN).cloned();
        let packets: Vec<Packet> = made.chain(self.base(local, Direction::Ingress)).collect();
        let mut found = BTreeSet::new();
        for sender in senders {
            for packet in &packets {
                let (input, output) = (&sender.endpoint.interface, &local.endpoint.interface);
                let way = Way::Forwarded { input: Arc::clone(input), output: Arc::clone(output) };
                let packet = Packet { way, ..packet.clone() };
                let sends = judge.at_endpoint(sender, Direction::Egress, &packet).allowed;
                let receives = judge.at_endpoint(local, Direction::Ingress, &packet).allowed;
                if found.insert((sends, receives)) {
                    self.packets.push(packet);
                }
            }
        }
    }

    /// To the host: one of the packets behind `start` that egress lets through, and one that it doesn't.
    fn at_host<'l>(&mut self, local: &'l LocalEndpoint, start: usize, judge: &Judge<'l>) {
        let made: Vec<Packet> = self.packets.iter().skip(start).take(PACKETS_BETWEEN).cloned().collect();
        let mut found = BTreeSet::new();
        for packet in made {
            if found.insert(judge.at_endpoint(local, Direction::Egress, &packet).allowed) {
                let way = Way::ToHost { input: Arc::clone(&local.endpoint.interface) };
                self.packets.push(Packet { way, ..packet });
            }
        }
    }

    fn endpoint(&mut self, local: &'p LocalEndpoint, direction: Direction, seen: &mut Seen<'p>) {
        let HostPolicy { policies, profiles, .. } = self.policy;
        for tier in &local.tiers {
            let ids = match direction {
                Direction::Ingress => &tier.ingress,
                Direction::Egress => &tier.egress,
            };
            for policy in ids.iter().filter_map(|id| policies.get(id)) {
                let is_new = seen.policies.insert((&policy.id, direction));
                self.rules(local, direction, rules(&policy.ingress, &policy.egress, direction), is_new);
            }
        }
        for profile in local.endpoint.profiles.iter().filter_map(|name| profiles.get(name)) {
            let is_new = seen.profiles.insert((&profile.name, direction));
            self.rules(local, direction, rules(&profile.ingress, &profile.egress, direction), is_new);
        }
    }

    fn rules(
        &mut self,
        local: &LocalEndpoint,
        direction: Direction,
        rules: &[Arc<ActiveRule>],
        is_new: bool,
    ) {
        let wanted = if is_new { rules.len() } else { 1 };
        for rule in rules.iter().take(wanted) {
            let Some(base) = self.base(local, direction) else { return };
            self.rule(rule, &base, is_new);
        }
    }

    /// A packet that the rule holds for as far as each field's first edge goes, and where asked for, one for each other
    /// edge of each field.
    fn rule(&mut self, rule: &ActiveRule, base: &Packet, edges: bool) {
        let protocols = self.protocols(rule);
        let protocol = protocols.first().copied().unwrap_or(TCP);
        let icmp = icmp_edges(rule);
        let (sources, destinations) =
            (self.addresses(&rule.source, base.source), self.addresses(&rule.destination, base.destination));
        let source_ports = self.ports(&rule.source);
        let destination_ports = self.ports(&rule.destination);
        let packet = |protocol, source, destination, ports, icmp| Packet {
            source,
            destination,
            payload: Payload::new(self.version, protocol, ports, icmp),
            ..base.clone()
        };
        let first = |edges: &[IpAddr], otherwise| edges.first().copied().unwrap_or(otherwise);
        let source = first(&sources, base.source);
        let destination = first(&destinations, base.destination);
        let ports = (
            source_ports.first().copied().unwrap_or(EPHEMERAL),
            destination_ports.first().copied().unwrap_or(HTTP),
        );
        let icmp_first = icmp.first().copied().unwrap_or((0, 0));
        let mut packets = vec![packet(protocol, source, destination, ports, icmp_first)];
        if edges {
            for (protocol, address, port) in self.named_ports(&rule.source) {
                packets.push(packet(protocol, address, destination, (port, ports.1), icmp_first));
            }
            for (protocol, address, port) in self.named_ports(&rule.destination) {
                packets.push(packet(protocol, source, address, (ports.0, port), icmp_first));
            }
            packets.extend(
                protocols.iter().skip(1).map(|other| packet(*other, source, destination, ports, icmp_first)),
            );
            packets.extend(
                sources.iter().skip(1).map(|other| packet(protocol, *other, destination, ports, icmp_first)),
            );
            packets.extend(
                destinations.iter().skip(1).map(|other| packet(protocol, source, *other, ports, icmp_first)),
            );
            packets.extend(
                source_ports
                    .iter()
                    .skip(1)
                    .map(|other| packet(protocol, source, destination, (*other, ports.1), icmp_first)),
            );
            packets.extend(
                destination_ports
                    .iter()
                    .skip(1)
                    .map(|other| packet(protocol, source, destination, (ports.0, *other), icmp_first)),
            );
            packets.extend(
                icmp.iter().skip(1).map(|other| packet(protocol, source, destination, ports, *other)),
            );
        }
        self.packets.append(&mut packets);
    }

    /// A packet between the endpoint and somebody outside.
    fn base(&self, local: &LocalEndpoint, direction: Direction) -> Option<Packet> {
        let networks = local.endpoint.networks.iter().map(IpNet::addr);
        let own = networks.into_iter().find(|address| IpVersion::of(*address) == self.version)?;
        let (interface, outside) = (Arc::clone(&local.endpoint.interface), Arc::clone(&self.outside));
        let peer = self.peer();
        let (way, source, destination) = match direction {
            Direction::Ingress => (Way::Forwarded { input: outside, output: interface }, peer, own),
            Direction::Egress => (Way::Forwarded { input: interface, output: outside }, own, peer),
        };
        let payload = Payload::Ports { protocol: TCP, source: EPHEMERAL, destination: HTTP };
        Some(Packet { way, source, destination, payload, state: ConnState::New, reverse_path: true })
    }

    /// An address of nobody (RFC 5737, RFC 3849).
    fn peer(&self) -> IpAddr {
        match self.version {
            IpVersion::V4 => Ipv4Addr::new(198, 51, 100, 1).into(),
            IpVersion::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// The rule's protocol first, then others.
    fn protocols(&self, rule: &ActiveRule) -> Vec<u8> {
        let icmp = Payload::icmp_of(self.version);
        let wanted = rule.protocol.map(crate::model::Protocol::number);
        let not = rule.not_protocol.map(crate::model::Protocol::number);
        let usual = [TCP, UDP, icmp, SCTP, GRE];
        let first = wanted.or(usual.into_iter().find(|protocol| Some(*protocol) != not));
        let others = usual.into_iter().chain(not).filter(|protocol| Some(*protocol) != first);
        first.into_iter().chain(others.take(2).chain(not)).collect()
    }

    /// Addresses that the side asks for, then the edges of all its fields.
    fn addresses(&self, side: &ActiveSide, usual: IpAddr) -> Vec<IpAddr> {
        let ActiveSide { nets, not_nets, sets, not_sets, ports: _, port_sets, not_ports: _, not_port_sets } =
            side;
        let mut inside = Vec::new();
        let mut beside = Vec::new();
        let sets = sets.iter().chain(port_sets).map(|id| self.members(id));
        for fields in [nets.clone()].into_iter().chain(sets) {
            for (first, last) in self.edges(&fields) {
                inside.extend([first, last]);
                beside.extend([before(first), behind(last)].into_iter().flatten());
            }
        }
        let not_sets = not_sets.iter().chain(not_port_sets).map(|id| self.members(id));
        for fields in [not_nets.clone()].into_iter().chain(not_sets) {
            for (first, last) in self.edges(&fields) {
                beside.extend([first, last]);
                beside.extend([before(first), behind(last)].into_iter().flatten());
            }
        }
        inside.push(usual);
        inside.extend(beside);
        let mut known = BTreeSet::new();
        inside.retain(|address| known.insert(*address));
        inside
    }

    /// First and last address of some of the networks of this family.
    fn edges(&self, nets: &[IpNet]) -> Vec<(IpAddr, IpAddr)> {
        let ours: Vec<&IpNet> = nets.iter().filter(|net| IpVersion::of(net.addr()) == self.version).collect();
        let last = ours.len().checked_sub(1).filter(|last| *last >= EDGES_A_FIELD);
        let some = ours.iter().take(EDGES_A_FIELD).chain(last.and_then(|last| ours.get(last)));
        some.map(|net| (net.network(), net.broadcast())).collect()
    }

    fn members(&self, id: &SetId) -> Vec<IpNet> {
        let members = self.policy.sets.get(id).into_iter().flat_map(|set| &set.members);
        members
            .map(|member| match member {
                Member::Net(net) => *net,
                Member::IpPort(address, _, _) => IpNet::from(*address),
            })
            .collect()
    }

    /// Some of the members of sets of named ports, asked for or not, and the addresses beside them.
    fn named_ports(&self, side: &ActiveSide) -> Vec<(u8, IpAddr, u16)> {
        let sets = side.port_sets.iter().chain(&side.not_port_sets).filter_map(|id| self.policy.sets.get(id));
        sets.flat_map(|set| {
            let ours = set.members.iter().filter_map(|member| match member {
                Member::IpPort(address, protocol, port) if IpVersion::of(*address) == self.version => {
                    Some((protocol.number(), *address, *port))
                }
                Member::IpPort(..) | Member::Net(_) => None,
            });
            ours.take(EDGES_A_FIELD)
        })
        .flat_map(|(protocol, address, port)| {
            let addresses = [Some(address), before(address), behind(address)];
            addresses.into_iter().flatten().map(move |address| (protocol, address, port))
        })
        .collect()
    }

    /// Ports that the side asks for, then the edges of all its fields.
    fn ports(&self, side: &ActiveSide) -> Vec<u16> {
        let in_sets = |ids: &[SetId]| -> Vec<PortRange> {
            let members = ids.iter().filter_map(|id| self.policy.sets.get(id)).flat_map(|set| &set.members);
            let ports = members.filter_map(|member| match member {
                Member::Net(_) => None,
                Member::IpPort(_, _, port) => Some(PortRange { first: *port, last: *port }),
            });
            ports.take(EDGES_A_FIELD).collect()
        };
        let wanted = [side.ports.clone(), in_sets(&side.port_sets)].concat();
        let not = [side.not_ports.clone(), in_sets(&side.not_port_sets)].concat();
        let mut ports: Vec<u16> = wanted.iter().flat_map(|range| [range.first, range.last]).collect();
        if wanted.is_empty() && !not.is_empty() {
            ports.push(EPHEMERAL);
        }
        for PortRange { first, last } in wanted.iter().chain(&not) {
            ports.extend(
                [Some(*first), Some(*last), first.checked_sub(1), last.checked_add(1)].into_iter().flatten(),
            );
        }
        let mut known = BTreeSet::new();
        ports.retain(|port| known.insert(*port));
        ports
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const IPIP: u8 = 4;
const GRE: u8 = 47;
const HTTP: u16 = 80;
const EPHEMERAL: u16 = 49_152;

/// An interface of each workload prefix that no endpoint has.
fn unknown_interfaces(config: &Config) -> impl Iterator<Item = Arc<str>> {
    config.interface_prefixes.iter().map(|prefix| format!("{prefix}-nobody").into())
}

/// An interface whose name is all but one character this one's, or begins with it.
fn neighbour(interface: &str) -> Arc<str> {
    let all_but_last = interface.char_indices().next_back().map_or(0, |(last, _)| last);
    let kept = if interface.len() < LONGEST_INTERFACE {
        interface
    } else {
        interface.get(..all_but_last).unwrap_or_default()
    };
    format!("{kept}-").into()
}

/// Types and codes that the rule asks for, then those beside.
fn icmp_edges(rule: &ActiveRule) -> Vec<(u8, u8)> {
    let fields = rule.icmp.iter().chain(&rule.not_icmp);
    let mut edges: Vec<(u8, u8)> = fields
        .flat_map(|icmp| {
            let code = icmp.code.unwrap_or(0);
            let next = icmp.icmp_type.wrapping_add(1);
            [(icmp.icmp_type, code), (icmp.icmp_type, code.wrapping_add(1)), (next, code)]
        })
        .collect();
    edges.push((8, 0));
    edges
}

fn before(edge: IpAddr) -> Option<IpAddr> {
    number(edge).checked_sub(1).and_then(|number| address(IpVersion::of(edge), number))
}

fn behind(edge: IpAddr) -> Option<IpAddr> {
    number(edge).checked_add(1).and_then(|number| address(IpVersion::of(edge), number))
}
