//! The packets at the edges of every rule and set: where an off-by-one, a lost negation or a wrong jump would show.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::judge::rules;
use super::packet::{ConnState, Packet, Payload, Way};
use super::ranges::{address, number};
use crate::config::Config;
use crate::model::{IpVersion, PolicyId, PortRange};
use crate::policy::{ActiveRule, ActiveSide, Direction, HostPolicy, LocalEndpoint, Member, SetId};

/// Most networks, or members of a set, whose edges are tried for one field: the first ones and the last.
const EDGES_A_FIELD: usize = 4;

/// The packets of one family that show whether chains do what the policy says.
///
/// For every rule, at the first endpoint that meets it, a packet that the rule holds for as far as one can, and packets
/// that differ from it in one field each, to the field's edges. Where a policy is met again at another endpoint, its
/// first rule's packet must do. At every endpoint and beside them, the packets of what holds for every host.
pub fn boundary_packets(policy: &HostPolicy, config: &Config, version: IpVersion) -> Vec<Packet> {
    let mut boundary = Boundary { policy, version, outside: outside(config), packets: Vec::new() };
    let mut seen = Seen::default();
    for local in policy.endpoints.values().filter(|local| local.shadowed_by.is_none()) {
        for direction in [Direction::Ingress, Direction::Egress] {
            boundary.common(local, direction, config);
            boundary.endpoint(local, direction, &mut seen);
        }
    }
    boundary.host(config);
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
    version: IpVersion,
    outside: Arc<str>,
    packets: Vec<Packet>,
}

impl<'p> Boundary<'p> {
    /// What every endpoint does, whatever its policies.
    fn common(&mut self, local: &LocalEndpoint, direction: Direction, config: &Config) {
        let Some(base) = self.base(local, direction) else { return };
        let states = [ConnState::New, ConnState::Established, ConnState::Related, ConnState::Invalid];
        self.packets.extend(states.map(|state| Packet { state, ..base.clone() }));
        let payloads = [
            Payload::Ports { protocol: 17, source: 1, destination: config.vxlan_port },
            Payload::Other { protocol: 4 },
            Payload::Icmp { icmp_type: 135, code: 0 },
        ];
        self.packets.extend(payloads.map(|payload| Packet { payload, ..base.clone() }));
        if direction == Direction::Egress {
            let interface = &local.endpoint.interface;
            self.packets.push(Packet { reverse_path: false, ..base.clone() });
            self.packets.push(Packet { way: Way::ToHost { input: Arc::clone(interface) }, ..base });
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

    /// What concerns no endpoint.
    fn host(&mut self, config: &Config) {
        let prefix = config.interface_prefixes.first().map_or("cali", String::as_str);
        let unknown: Arc<str> = format!("{prefix}-nobody").into();
        let outside = Arc::clone(&self.outside);
        let peer = self.peer();
        let base = Packet {
            way: Way::Forwarded { input: Arc::clone(&outside), output: Arc::clone(&outside) },
            source: peer,
            destination: peer,
            payload: Payload::Ports { protocol: TCP, source: EPHEMERAL, destination: HTTP },
            state: ConnState::New,
            reverse_path: true,
        };
        let ways = [
            base.way.clone(),
            Way::Forwarded { input: Arc::clone(&unknown), output: Arc::clone(&outside) },
            Way::Forwarded { input: Arc::clone(&outside), output: Arc::clone(&unknown) },
            Way::ToHost { input: Arc::clone(&unknown) },
            Way::FromHost { output: Arc::clone(&unknown) },
            Way::ToHost { input: Arc::clone(&outside) },
            Way::FromHost { output: outside },
        ];
        let hosts = self.policy.host_addresses.iter().copied().filter(|a| IpVersion::of(*a) == self.version);
        let sources: Vec<IpAddr> = [peer].into_iter().chain(hosts.take(2)).collect();
        for way in ways {
            for source in &sources {
                for payload in [base.payload, Payload::Other { protocol: 4 }] {
                    for destination in &sources {
                        let (source, destination) = (*source, *destination);
                        self.packets.push(Packet {
                            way: way.clone(),
                            source,
                            destination,
                            payload,
                            ..base.clone()
                        });
                    }
                }
            }
        }
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
        let usual = [TCP, UDP, icmp, SCTP, 47];
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
const HTTP: u16 = 80;
const EPHEMERAL: u16 = 49_152;

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
