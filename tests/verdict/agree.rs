//! The policy interpreter and the chain interpreter say the same of every packet.

use std::fmt::Write;

use felix_rs::model::IpVersion;
use felix_rs::policy::Direction;
use felix_rs::verdict::chains::machine::{Machine, Record, Refusal};
use felix_rs::verdict::chains::program::{Policy, Program};
use felix_rs::verdict::chains::walk::through_ruleset;
use felix_rs::verdict::check::boundary::boundary_packets;
use felix_rs::verdict::check::{Disagreement, compare};
use felix_rs::verdict::packet::{ConnState, Packet};
use felix_rs::verdict::policy::allowed::allowed;
use felix_rs::verdict::policy::judge::Judge;
use felix_rs::verdict::services::Services;
use libtest_mimic::Failed;
use serde_json::Value;

use crate::generate::{HOST, documents};
use crate::golden_cases;
use crate::packets::packet;
use crate::random::Random;
use crate::shrink::shrink;
use crate::world::World;

/// Random packets of each family beside those at the edges of rules and sets.
const RANDOM_PACKETS: usize = 150;

/// Once in so many packets, what is allowed as a set is looked at: that takes longer.
const SETS_AMONG: usize = 25;

/// Compares until `pairs` pairs of a policy set and a packet were compared; prints how many, and from which seed.
pub fn policy_equals_chains(seed: u64, pairs: usize) -> Result<(), Failed> {
    let mut compared = 0;
    let mut sets = 0;
    while compared < pairs {
        let mut random = Random::new(seed.wrapping_add(sets));
        let documents = documents(&mut random);
        match compare_all(&documents, random.clone()) {
            Ok(packets) => compared += packets,
            Err(fault) => return Err(report(&documents, random, seed.wrapping_add(sets), fault).into()),
        }
        sets += 1;
    }
    println!("policy = chains: {compared} pairs of {sets} policy sets and a packet, seed {seed}");
    Ok(())
}

/// What is wrong, and with which packet, if it is one's fault.
struct Fault {
    text: String,
    packet: Option<Packet>,
}

/// How many packets were compared, or what is wrong.
fn compare_all(documents: &[Value], mut random: Random) -> Result<usize, Fault> {
    let world =
        World::of(HOST, documents).map_err(|error| Fault { text: error.to_string(), packet: None })?;
    let judge = world.judge();
    let mut compared = 0;
    for ruleset in &world.desired.rulesets {
        let program = Program::compiled(ruleset, Policy::Accept);
        let machine = Machine::new(&program);
        for packet in packets(&world, ruleset.version, &mut random) {
            compared += 1;
            let of_packet = |text| Fault { text, packet: Some(packet.clone()) };
            compare(&judge, &machine, &packet)
                .map_err(|fault: Box<Disagreement>| of_packet(fault.to_string()))?;
            if compared % SETS_AMONG == 0 {
                one_of_the_allowed(&world, &judge, &packet).map_err(of_packet)?;
                one_of_the_accepted(&machine, &packet).map_err(of_packet)?;
            }
        }
    }
    Ok(compared)
}

/// What is allowed as a set has the packet exactly if the packet is allowed.
fn one_of_the_allowed(world: &World, judge: &Judge<'_>, packet: &Packet) -> Result<(), String> {
    let state = ConnState::first(packet.version(), packet.payload);
    let packet = Packet { state, ..packet.clone() };
    for local in world.policy().endpoints.values() {
        for direction in [Direction::Ingress, Direction::Egress] {
            let services = allowed(judge, local, direction, packet.source, packet.destination);
            let decision = judge.at_endpoint(local, direction, &packet);
            if services.contains(packet.payload) != decision.allowed {
                let (id, direction) = (&local.endpoint.id, direction.name());
                return Err(format!(
                    "{packet}: {direction} of {id} allows {services}, but {:?}",
                    decision.reason
                ));
            }
        }
    }
    Ok(())
}

/// What the chains do with all payloads at once is what they do with each.
fn one_of_the_accepted(machine: &Machine<'_>, packet: &Packet) -> Result<(), String> {
    let refused = |refusal: Refusal| format!("{packet}: {refusal}");
    let all = Services::all(packet.version());
    let together = machine.run_all(packet, all.clone(), Record::Nothing).map_err(refused)?;
    let alone = machine.run(packet, Record::Nothing).map_err(refused)?;
    let of_it: Vec<_> = together.iter().filter(|passage| passage.payloads.contains(packet.payload)).collect();
    let same = of_it.len() == alone.len()
        && of_it.iter().all(|a| {
            alone
                .iter()
                .any(|b| (a.verdict, a.decided_at, a.translation) == (b.verdict, b.decided_at, b.translation))
        });
    let total = together.iter().fold(Services::none(packet.version()), |all, one| all.or(&one.payloads));
    if same && total == all { Ok(()) } else { Err(format!("{packet}: {alone:?} alone, {of_it:?} together")) }
}

/// Packets at the edges, and random ones.
pub fn packets(world: &World, version: IpVersion, random: &mut Random) -> Vec<Packet> {
    let mut packets = boundary_packets(world.policy(), world.config(), version);
    packets.extend(random_packets(version, random));
    packets
}

pub fn random_packets(version: IpVersion, random: &mut Random) -> impl Iterator<Item = Packet> {
    (0..RANDOM_PACKETS).map(move |_| packet(version, random))
}

/// The smallest datastore that still fails, as a case to keep, and the packet's way through its chains.
fn report(documents: &[Value], random: Random, seed: u64, fault: Fault) -> String {
    let smallest = shrink(documents, |documents| compare_all(documents, random.clone()).is_err());
    let Fault { text: fault, packet } = compare_all(&smallest, random).err().unwrap_or(fault);
    let datastore: String = smallest.iter().map(|document| format!("---\n{document}\n")).collect();
    let way = packet.as_ref().map_or_else(String::new, |packet| way(&smallest, packet));
    let line = packet.as_ref().map(golden_cases::line).unwrap_or_default();
    format!(
        "{fault}\n\nthe chains' way:\n{way}\nagain: FELIX_RS_SEED={seed} cargo test --release --test verdict -- \
         policy-equals-chains\nkeep it as a case in golden/verdict, its verdict reasoned from what the policy \
         means:\nargs: --host {HOST}\npackets: {line} allow|deny|leave\ndatastore:\n{datastore}"
    )
}

/// Each rule that held, a line each.
fn way(documents: &[Value], packet: &Packet) -> String {
    let Ok(world) = World::of(HOST, documents) else { return String::new() };
    let ruleset = world.desired.rulesets.iter().find(|ruleset| ruleset.version == packet.version());
    let walk = ruleset.and_then(|ruleset| through_ruleset(ruleset, packet).ok());
    let mut text = String::new();
    for way in walk.into_iter().flat_map(|walk| walk.ways) {
        for step in &way.steps {
            let _ = writeln!(text, "  {} {} {} [mark {:#x}]", step.table, step.chain, step.rule, step.mark);
        }
        let _ = writeln!(text, "  {}", way.verdict);
    }
    text
}
