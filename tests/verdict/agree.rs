//! The policy interpreter and the chain interpreter say the same of every packet.

use felix_rs::model::IpVersion;
use felix_rs::verdict::boundary::boundary_packets;
use felix_rs::verdict::check::{Disagreement, compare};
use felix_rs::verdict::machine::Machine;
use felix_rs::verdict::packet::Packet;
use felix_rs::verdict::program::{Policy, Program};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::generate::{HOST, documents};
use crate::packets::packet;
use crate::random::Random;
use crate::shrink::shrink;
use crate::world::World;

/// Random packets of each family beside those at the edges of rules and sets.
const RANDOM_PACKETS: usize = 150;

/// Compares until `pairs` pairs of a policy set and a packet were compared; prints how many, and from which seed.
pub fn policy_equals_chains(seed: u64, pairs: usize) -> Result<(), Failed> {
    let mut compared = 0;
    let mut sets = 0;
    while compared < pairs {
        let mut random = Random::new(seed.wrapping_add(sets));
        let documents = documents(&mut random);
        match compare_all(&documents, random.clone()) {
            Ok(packets) => compared += packets,
            Err(fault) => return Err(report(&documents, random, seed.wrapping_add(sets), &fault).into()),
        }
        sets += 1;
    }
    println!("policy = chains: {compared} pairs of {sets} policy sets and a packet, seed {seed}");
    Ok(())
}

/// How many packets were compared, or what is wrong.
fn compare_all(documents: &[Value], mut random: Random) -> Result<usize, String> {
    let world = World::of(HOST, documents).map_err(|error| error.to_string())?;
    let judge = world.judge();
    let mut compared = 0;
    for ruleset in &world.desired.rulesets {
        let program = Program::compiled(ruleset, Policy::Accept);
        let machine = Machine::new(&program);
        for packet in packets(&world, ruleset.version, &mut random) {
            compared += 1;
            compare(&judge, &machine, &packet).map_err(|fault: Box<Disagreement>| fault.to_string())?;
        }
    }
    Ok(compared)
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

fn report(documents: &[Value], random: Random, seed: u64, fault: &str) -> String {
    let smallest = shrink(documents, |documents| compare_all(documents, random.clone()).is_err());
    let fault = compare_all(&smallest, random).err().unwrap_or_else(|| fault.to_owned());
    let text: String = smallest.iter().map(|document| format!("---\n{document}\n")).collect();
    format!("seed {seed}: {fault}\nkeep it as a case in golden/verdict:\n{text}")
}
