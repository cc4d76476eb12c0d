//! What a host's policies allow, against what the chains that it has do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::diff::{Change, Comparison, Region, Witness, grouped};
use super::{End, Flows, Piece, ends_of, is_flow, nets_in_rules, nets_of, networks, outside_by};
use crate::model::IpVersion;
use crate::policy::{Direction, SetId};
use crate::verdict::chains::machine::{Machine, Record, Refusal, Verdict};
use crate::verdict::chains::program::{Members, Program, Test};
use crate::verdict::explain::cluster::Host;
use crate::verdict::packet::{ConnState, Packet, Payload, Way};
use crate::verdict::policy::judge::Judge;
use crate::verdict::policy::rule_match::Sets;
use crate::verdict::services::Services;

/// Compares every flow of the host's endpoints, from and to everybody: what its backends all let through.
///
/// Addresses that are translated to others are left out: a packet to a floating IP is one to the endpoint behind it.
/// What depends on conditions that aren't modelled is counted as neither allowed nor denied: it is no difference.
///
/// # Errors
/// The chains give no answer.
pub fn compare_with_chains(
    flows: &Flows<'_>,
    host: &Host,
    uplink: &Arc<str>,
    backends: &[(&Program, Machine<'_>)],
) -> Result<Comparison, Refusal> {
    let mut comparison = Comparison::default();
    for version in [IpVersion::V4, IpVersion::V6] {
        let ours = || backends.iter().filter(|(program, _)| program.version == version);
        let programs: Vec<&Program> = ours().map(|(program, _)| *program).collect();
        if programs.is_empty() {
            continue;
        }
        let nets =
            nets_of(flows.enforcement()).chain(programs.iter().flat_map(|program| nets_of_program(program)));
        let pieces = outside_by(&[flows.enforcement()], version, None, nets);
        let classes = classes(flows, host, version, &programs, &pieces);
        let machines = ours().map(|(_, machine)| machine).collect();
        let side = Side { flows, host, machines, uplink: Arc::clone(uplink) };
        compare_family(&side, &classes, version, &mut comparison)?;
        comparison.outside.extend(pieces);
    }
    Ok(comparison)
}

/// One of the ends stands for all of them: neither policies nor chains tell them apart.
struct Class {
    example: End,
    all: Vec<End>,
}

struct Side<'a> {
    flows: &'a Flows<'a>,
    host: &'a Host,
    machines: Vec<&'a Machine<'a>>,
    uplink: Arc<str>,
}

fn compare_family(
    side: &Side<'_>,
    classes: &[Class],
    version: IpVersion,
    comparison: &mut Comparison,
) -> Result<(), Refusal> {
    let mut ends: Vec<End> = Vec::new();
    let mut numbers: BTreeMap<End, usize> = BTreeMap::new();
    let mut number = |end: &End| {
        *numbers.entry(end.clone()).or_insert_with(|| {
            ends.push(end.clone());
            ends.len() - 1
        })
    };
    let mut differing = BTreeMap::<(Change, Services), Vec<(usize, usize)>>::new();
    let locals = side.host.policy.endpoints.values().filter(|local| local.shadowed_by.is_none());
    let judge = Judge::new(&side.host.policy, &side.host.config);
    let own = locals.flat_map(|local| ends_of(local));
    for end in own.filter(|end| end.version() == version && !judge.translates(end.address())) {
        for class in classes {
            let peer_is_local = side.interface(&class.example).is_some();
            // Between two local endpoints one look is enough.
            let ways = [(&end, &class.example, true), (&class.example, &end, false)];
            for (from, to, outgoing) in ways.into_iter().filter(|(.., outgoing)| *outgoing || !peer_is_local)
            {
                if !is_flow(from, to) {
                    continue;
                }
                comparison.pairs += 1;
                let Differences { certain, unclear } = side.differences(from, to)?;
                comparison.unclear += usize::from(!unclear.is_empty());
                for (change, services) in certain {
                    let pairs = differing.entry((change, services)).or_default();
                    for other in &class.all {
                        let (from, to) = if outgoing { (&end, other) } else { (other, &end) };
                        pairs.push((number(from), number(to)));
                    }
                }
            }
        }
    }
    for ((change, services), pairs) in differing {
        let mut flows = BTreeMap::<usize, BTreeSet<usize>>::new();
        for (from, to) in pairs {
            flows.entry(from).or_default().insert(to);
        }
        comparison.regions.extend(grouped(flows, &ends).into_iter().filter_map(|(from, to)| {
            let pick = |numbers: BTreeSet<usize>| -> Vec<End> {
                numbers.into_iter().filter_map(|number| ends.get(number)).cloned().collect()
            };
            Region::of(change, services.clone(), pick(from), pick(to))
        }));
    }
    Ok(())
}

struct Differences {
    certain: Vec<(Change, Services)>,
    /// What depends on conditions that aren't modelled.
    unclear: Services,
}

impl Side<'_> {
    /// What the chains allow and policy doesn't, and the reverse.
    fn differences(&self, from: &End, to: &End) -> Result<Differences, Refusal> {
        let by_policy = self.by_policy(from, to);
        let (accepted, dropped) = self.by_chains(from, to)?;
        // What can't be a connection's first packet is not asked about.
        let opening = Services::all(from.version()).minus(&Services::never_first(from.version()));
        let (accepted, dropped) = (accepted.and(&opening), dropped.and(&opening));
        // What is in both depends on what isn't modelled.
        let gained = accepted.minus(&dropped).minus(&by_policy);
        let lost = dropped.minus(&accepted).and(&by_policy);
        let all = [(Change::Gained, gained), (Change::Lost, lost)];
        let certain = all.into_iter().filter(|(_, services)| !services.is_empty()).collect();
        Ok(Differences { certain, unclear: accepted.and(&dropped) })
    }

    /// Only what this host is asked for: of a peer elsewhere, that host is.
    fn by_policy(&self, from: &End, to: &End) -> Services {
        let all = || Services::all(from.version());
        let at = |end: &End, direction| match self.interface(end) {
            Some(_) => self.flows.at(end, direction, from.address(), to.address()),
            None => all(),
        };
        match (self.is_host(from), self.is_host(to)) {
            // A host may reach its own workloads.
            (true, _) => all(),
            (false, true) => {
                let judge = Judge::new(&self.host.policy, &self.host.config);
                judge.to_host(from.address(), to.address(), &at(from, Direction::Egress))
            }
            (false, false) => at(from, Direction::Egress).and(&at(to, Direction::Ingress)),
        }
    }

    fn is_host(&self, end: &End) -> bool {
        matches!(end, End::Host { name, address: _ } if *name == self.host.name)
    }

    /// What may be accepted and what may be dropped: both, where that depends on what isn't modelled.
    fn by_chains(&self, from: &End, to: &End) -> Result<(Services, Services), Refusal> {
        let version = from.version();
        let packet = self.packet(from, to, Payload::Other { protocol: 0 });
        let (mut accepted, mut dropped) = (Services::all(version), Services::none(version));
        for machine in &self.machines {
            let mut accepted_here = Services::none(version);
            for passage in machine.run_all(&packet, Services::all(version), Record::Nothing)? {
                match passage.verdict {
                    Verdict::Accept => accepted_here = accepted_here.or(&passage.payloads),
                    Verdict::Drop | Verdict::Reject => dropped = dropped.or(&passage.payloads),
                }
            }
            accepted = accepted.and(&accepted_here);
        }
        Ok((accepted, dropped))
    }

    fn packet(&self, from: &End, to: &End, payload: Payload) -> Packet {
        let interface = |end: &End| self.interface(end).unwrap_or_else(|| Arc::clone(&self.uplink));
        let way = match (self.is_host(from), self.is_host(to)) {
            (true, _) => Way::FromHost { output: interface(to) },
            (false, true) => Way::ToHost { input: interface(from) },
            (false, false) => Way::Forwarded { input: interface(from), output: interface(to) },
        };
        Packet {
            way,
            source: from.address(),
            destination: to.address(),
            payload,
            state: ConnState::New,
            reverse_path: true,
        }
    }

    /// The interface of an endpoint of this host.
    fn interface(&self, end: &End) -> Option<Arc<str>> {
        let local = self.host.policy.endpoints.get(end.id()?)?;
        Some(Arc::clone(&local.endpoint.interface))
    }
}

/// The packet of a witness as this host sees it.
pub fn witness_packet(flows: &Flows<'_>, host: &Host, uplink: &Arc<str>, witness: &Witness) -> Packet {
    let side = Side { flows, host, machines: Vec::new(), uplink: Arc::clone(uplink) };
    side.packet(&witness.from, &witness.to, witness.payload)
}

/// All ends of the program's family, those together that nothing tells apart. The host and its endpoints stand alone: their
/// packets take other ways.
fn classes(
    flows: &Flows<'_>,
    host: &Host,
    version: IpVersion,
    programs: &[&Program],
    pieces: &[Piece],
) -> Vec<Class> {
    let signatures = Signatures::of(flows, host, programs);
    let mut classes: BTreeMap<(Option<End>, Vec<u64>), Class> = BTreeMap::new();
    let judge = Judge::new(&host.policy, &host.config);
    let ends = flows.ends().chain(pieces.iter().cloned().map(End::Outside));
    let ends = ends.filter(|end| end.version() == version && !judge.translates(end.address()));
    for end in ends {
        let local = match &end {
            End::Endpoint { id, .. } | End::Floating { id, .. } if id.node == host.name => Some(end.clone()),
            End::Host { name, .. } if *name == host.name => Some(end.clone()),
            End::Endpoint { .. } | End::Floating { .. } | End::Host { .. } | End::Outside(_) => None,
        };
        let key = (local, signatures.signature(end.address()));
        let class = classes.entry(key).or_insert_with(|| Class { example: end.clone(), all: Vec::new() });
        class.all.push(end);
    }
    classes.into_values().collect()
}

/// What tells addresses apart.
struct Signatures<'a> {
    nets: Vec<IpNet>,
    sets: Sets<'a>,
    ids: Vec<&'a SetId>,
    kernel_sets: Vec<&'a Members>,
}

impl<'a> Signatures<'a> {
    fn of(flows: &Flows<'_>, host: &'a Host, programs: &[&'a Program]) -> Self {
        let in_chains = programs.iter().flat_map(|program| nets_in_chains(program));
        let mut nets: Vec<IpNet> = nets_in_rules(flows.enforcement()).chain(in_chains).collect();
        nets.sort_unstable();
        nets.dedup();
        let kernel_sets =
            programs.iter().flat_map(|program| program.sets.iter().map(|set| &set.members)).collect();
        Self { nets, sets: Sets::of(&host.policy), ids: host.policy.sets.keys().collect(), kernel_sets }
    }

    /// Equal for addresses that nothing tells apart: a bit for each network and set, then the ports that go with it.
    fn signature(&self, address: IpAddr) -> Vec<u64> {
        let in_nets = self.nets.iter().map(|net| net.contains(&address));
        let in_sets = self.ids.iter().map(|id| self.sets.has_address(id, address));
        let in_chains = self.kernel_sets.iter().map(|members| match members {
            Members::Addresses(ranges) => ranges.contains(address),
            Members::AddressPorts(_) | Members::Unknown(_) => false,
        });
        let mut signature = Vec::new();
        for (position, has) in in_nets.chain(in_sets).chain(in_chains).enumerate() {
            if position % 64 == 0 {
                signature.push(0_u64);
            }
            if let Some(last) = signature.last_mut() {
                *last |= u64::from(has) << (position % 64);
            }
        }
        let pair = |(set, (protocol, port)): (usize, (u8, u16))| {
            (set as u64) << 32 | u64::from(protocol) << 16 | u64::from(port)
        };
        let of_policy = self.ids.iter().enumerate();
        signature.extend(of_policy.flat_map(|(number, id)| {
            self.sets.ports_of(id, address).map(move |ports| pair((number, ports)))
        }));
        let of_chains = self.kernel_sets.iter().enumerate();
        signature.extend(of_chains.flat_map(|(number, members)| {
            members.ports_of(address).map(move |ports| pair((self.ids.len() + number, ports)))
        }));
        signature
    }
}

/// Every network of a program's rules and sets.
fn nets_of_program(program: &Program) -> impl Iterator<Item = IpNet> {
    let in_sets = program.sets.iter().flat_map(|set| match &set.members {
        Members::Addresses(ranges) => networks(program.version, ranges),
        Members::AddressPorts(members) => members.iter().map(|(address, ..)| (*address).into()).collect(),
        Members::Unknown(_) => Vec::new(),
    });
    nets_in_chains(program).chain(in_sets)
}

fn nets_in_chains(program: &Program) -> impl Iterator<Item = IpNet> {
    let rules = program.chains.iter().flat_map(|chain| &chain.rules);
    rules.flat_map(|rule| &rule.conditions).filter_map(|condition| match &condition.test {
        Test::Address(_, net) => Some(*net),
        _ => None,
    })
}
