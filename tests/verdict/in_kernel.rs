//! The chain interpreter says what the kernel does: the same random policies, loaded; the same packets, sent.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use felix_rs::model::IpVersion;
use felix_rs::sync::{Programmed, Step, plan};
use felix_rs::verdict::chains::machine::{Machine, Passage, Record, Verdict};
use felix_rs::verdict::chains::program::{Policy, Program, Table};
use felix_rs::verdict::packet::{ConnState, Packet, SourceTranslation};
use felix_rs::verdict::policy::judge::Judge;
use ipnet::IpNet;
use libtest_mimic::Failed;

use crate::generate::{HOST, documents};
use crate::kernel::{Backend, Interface, Job, Seen, World as Network, send, sendable};
use crate::packets::{address, payload};
use crate::random::Random;
use crate::world::World;

/// Tries to make one packet: most combinations of addresses and interfaces lead nowhere, or can't be sent.
const TRIES: usize = 40;

/// Loads `sets` random policy sets and sends packets through each; prints how many.
pub fn chains_equal_kernel(
    backend: Backend,
    seed: u64,
    sets: u64,
    packets_a_set: usize,
) -> Result<(), Failed> {
    let mut sent = Sent::default();
    for number in 0..sets {
        let seed = seed.wrapping_add(number);
        let part = one_set(backend, seed, packets_a_set).map_err(|fault| format!("seed {seed}: {fault}"))?;
        sent.packets += part.packets;
        sent.passed += part.passed;
        sent.other_states += part.other_states;
        sent.v6 += part.v6;
    }
    let Sent { packets, passed, other_states, v6 } = sent;
    println!(
        "chains = kernel ({}): {packets} packets sent through {sets} policy sets, {passed} passed, {other_states} of \
         them not new, seed {seed}",
        backend.name()
    );
    let enough = packets >= sets as usize * packets_a_set * 4 / 5;
    if enough && passed > packets / 10 && other_states > packets / 10 && v6 > packets / 10 {
        Ok(())
    } else {
        Err(format!("too few: {packets} packets, {passed} passed, {other_states} not new, {v6} of IPv6")
            .into())
    }
}

#[derive(Default)]
struct Sent {
    packets: usize,
    passed: usize,
    other_states: usize,
    v6: usize,
}

fn one_set(backend: Backend, seed: u64, count: usize) -> Result<Sent, String> {
    let mut random = Random::new(seed);
    let documents = documents(&mut random);
    let world = World::of(HOST, &documents).map_err(|error| error.to_string())?;
    let network = network(&world);
    let drop_by_default = random.once_in(2);
    let packets: Vec<Packet> = (0..count).filter_map(|_| one_packet(&world, &network, &mut random)).collect();
    let (sets, tables) = texts(&world);
    let job = Job { world: network, backend, sets, tables, drop_by_default, packets };
    let seen = send(&job)?;
    let mut sent = Sent::default();
    for ruleset in &world.desired.rulesets {
        let mut program = Program::compiled(ruleset, Policy::Accept);
        if drop_by_default && let Some(forward) = program.find(Table::Filter, "FORWARD") {
            program.chains[forward.0].policy = Some(Policy::Drop);
        }
        let machine = Machine::new(&program);
        let ours = job.packets.iter().zip(&seen).filter(|(packet, _)| packet.version() == ruleset.version);
        for (packet, seen) in ours {
            let passages = machine.run(packet, Record::Nothing).map_err(|refusal| refusal.to_string())?;
            // Where it isn't known how an established connection was translated, all ways must be right.
            passages.iter().try_for_each(|passage| agree(packet, passage, seen)).map_err(|fault| {
                let text: String = documents.iter().map(|document| format!("---\n{document}\n")).collect();
                format!("{packet}: {fault}\n{text}")
            })?;
            sent.packets += 1;
            sent.passed += usize::from(*seen != Seen::Nowhere);
            sent.other_states += usize::from(packet.state != ConnState::New);
            sent.v6 += usize::from(packet.version() == IpVersion::V6);
        }
    }
    Ok(sent)
}

/// What was seen is what the passage says.
fn agree(packet: &Packet, passage: &Passage, seen: &Seen) -> Result<(), String> {
    let expected = match (passage.verdict, packet.way.output()) {
        (Verdict::Drop | Verdict::Reject, _) => "nowhere".to_owned(),
        (Verdict::Accept, None) => "by the host".to_owned(),
        (Verdict::Accept, Some(output)) => format!("leaving by {output}"),
    };
    let found = match seen {
        Seen::Nowhere => "nowhere".to_owned(),
        Seen::ByHost => "by the host".to_owned(),
        Seen::Left { interface, .. } => format!("leaving by {interface}"),
    };
    if expected != found {
        return Err(format!("the chains would have it {expected}, and it was seen {found}"));
    }
    if let Seen::Left { interface: _, source, destination, ports } = seen {
        let translation = &passage.translation;
        let to = translation.destination.map_or(packet.destination, |(address, _)| address);
        if to != *destination {
            return Err(format!("to {to} by the chains, and to {destination} in truth"));
        }
        let from = match translation.source {
            None => Some(packet.source),
            Some(SourceTranslation::To(address)) => Some(address),
            // To whichever address the interface has: it is seen that it isn't the packet's own.
            Some(SourceTranslation::Masquerade) => None,
        };
        if from.map_or(packet.source == *source, |from| from != *source) {
            return Err(format!("from {from:?} by the chains, and from {source} in truth"));
        }
        let port = translation.destination.and_then(|(_, port)| port);
        let sent = packet.payload.ports().map(|(_, destination)| port.unwrap_or(destination));
        let arrived = ports.map(|(_, destination)| destination);
        if sent != arrived {
            return Err(format!("to port {sent:?} by the chains, and to {arrived:?} in truth"));
        }
    }
    Ok(())
}

/// The host's interfaces: one an endpoint, one that nobody has declared, and the way to all others.
fn network(world: &World) -> Network {
    let mut routed = BTreeSet::new();
    let mut interfaces: Vec<Interface> = world
        .policy()
        .endpoints
        .values()
        .filter(|local| local.shadowed_by.is_none())
        .map(|local| {
            let networks = local.endpoint.networks.iter().copied();
            let routes = networks.filter(|net| routed.insert(*net)).collect();
            Interface { name: Arc::clone(&local.endpoint.interface), routes, addresses: Vec::new() }
        })
        .collect();
    let nets =
        |texts: &[&str]| -> Vec<IpNet> { texts.iter().map(|net| net.parse().expect("a net")).collect() };
    let addresses = |texts: &[&str]| -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    };
    interfaces.push(Interface {
        name: "cali-nobody".into(),
        routes: nets(&["10.0.9.9/32", "fd00:9::9/128"]),
        addresses: Vec::new(),
    });
    interfaces.push(Interface {
        name: "eth0".into(),
        routes: nets(&["0.0.0.0/0", "::/0"]),
        addresses: addresses(&["172.16.0.1", "fd01::1"]),
    });
    Network { interfaces, addresses: Vec::new() }
}

/// A packet whose way is the one that the routes give it.
fn one_packet(world: &World, network: &Network, random: &mut Random) -> Option<Packet> {
    let judge = world.judge();
    (0..TRIES).find_map(|_| {
        let versions: Vec<IpVersion> = world.desired.rulesets.iter().map(|ruleset| ruleset.version).collect();
        let version = random.of(&versions);
        let names: Vec<Arc<str>> =
            network.interfaces.iter().map(|interface| Arc::clone(&interface.name)).collect();
        let input = (!random.once_in(12)).then(|| random.of(&names));
        let source = source(network, input.as_ref(), version, random);
        let destination = destination(network, version, random);
        let state = match random.below(8) {
            0 | 1 => ConnState::Established,
            2 => ConnState::Invalid,
            3 => ConnState::Untracked,
            _ => ConnState::New,
        };
        let packet = Packet {
            way: network.way(input.as_ref(), destination)?,
            source,
            destination,
            payload: payload(version, random),
            state,
            reverse_path: input.as_ref().is_none_or(|input| network.routes_back(input, source)),
        };
        let packet = rerouted(packet, &judge, network, input.as_ref())?;
        (sendable(&packet) && packet.source != packet.destination).then_some(packet)
    })
}

/// The packet leaves by the route to where its destination is translated to.
fn rerouted(
    packet: Packet,
    judge: &Judge<'_>,
    network: &Network,
    input: Option<&Arc<str>>,
) -> Option<Packet> {
    match judge.judge(&packet).translation.destination {
        None => Some(packet),
        Some((address, _)) => Some(Packet { way: network.way(input, address)?, ..packet }),
    }
}

/// Mostly an address that is routed to the interface: others are dropped early.
fn source(network: &Network, input: Option<&Arc<str>>, version: IpVersion, random: &mut Random) -> IpAddr {
    let of_host = |interface: &Interface| interface.addresses.clone();
    let candidates: Vec<IpAddr> = match input {
        None => network.interfaces.iter().flat_map(of_host).collect(),
        Some(input) => (network.interfaces.iter())
            .filter(|interface| interface.name == *input && &*interface.name != "eth0")
            .flat_map(|interface| interface.routes.iter().map(IpNet::addr))
            .collect(),
    };
    let ours: Vec<IpAddr> =
        candidates.into_iter().filter(|address| IpVersion::of(*address) == version).collect();
    if ours.is_empty() || (input.is_some() && random.once_in(8)) {
        address(version, random)
    } else {
        random.of(&ours)
    }
}

fn destination(network: &Network, version: IpVersion, random: &mut Random) -> IpAddr {
    let routed: Vec<IpAddr> = (network.interfaces.iter())
        .flat_map(|interface| interface.routes.iter().filter(|net| net.prefix_len() > 0).map(IpNet::addr))
        .filter(|address| IpVersion::of(*address) == version)
        .collect();
    if random.once_in(2) { random.of(&routed) } else { address(version, random) }
}

/// What the real tools are given.
fn texts(world: &World) -> (String, Vec<(IpVersion, String)>) {
    let mut sets = String::new();
    let mut tables = Vec::new();
    for step in plan(&world.desired, &Programmed::default()).steps() {
        match step {
            Step::Sets(_) | Step::RemoveMembers(..) => sets += &step.text(),
            Step::Table(changes) => tables.push((changes.version(), step.text())),
            Step::RemoveSets(_) => {}
        }
    }
    (sets, tables)
}
