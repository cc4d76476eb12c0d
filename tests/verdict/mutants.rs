//! Deliberate faults in compiled chains and sets: each must be found by holding policy and chains against each other.
//!
//! A comparison that finds nothing is worth as much as the faults that it would have found. Here they are, one a line.
//!
//! Left out, because no packet shows them: marks cleared at the start of raw and of `cali-FORWARD`, which nothing has
//! set; the pass mark cleared at the start of an endpoint's chain, which every tier clears again; that mark asked for
//! before a tier's first policy; the accept mark that is set for established packets with `FilterAllowAction=Return`,
//! which nobody asks for; mangle's chains and every jump to a host endpoint's chain, empty as long as there are none;
//! the masquerade of `tunl0`, which depends on the interface's addresses; ports of a translated source. And because next
//! to none does: the order of floating IPs and outgoing translation, which meet where a pool is for load balancers only.

mod criteria;
mod endpoint;
mod host;
mod site;
mod verdicts;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use felix_rs::config::Config;
use felix_rs::policy::HostPolicy;
use felix_rs::rules::compile;
use felix_rs::rules::marks::Marks;
use felix_rs::rules::ruleset::Ruleset;
use felix_rs::verdict::chains::machine::Machine;
use felix_rs::verdict::chains::program::{Policy, Program};
use felix_rs::verdict::check::boundary::boundary_packets;
use felix_rs::verdict::check::compare;
use felix_rs::verdict::packet::Packet;
use felix_rs::verdict::policy::judge::Judge;
use libtest_mimic::Failed;
use site::Mutant;

use crate::agree::random_packets;
use crate::generate::{HOST, documents};
use crate::random::Random;
use crate::world::World;

/// How often a fault must be found before it is believed to be.
const KILLS: usize = 3;
/// Most policy sets that are tried.
const SETS: u64 = 5000;

/// Plants every fault in random policy sets until each was found; prints how many, and how many of them the packets at
/// the edges find alone.
pub fn every_fault_is_found(seed: u64) -> Result<(), Failed> {
    let mutants = mutants();
    let mut scores = vec![Score::default(); mutants.len()];
    let mut sets = 0;
    let mut last = "";
    while sets < SETS && scores.iter().any(Score::is_open) {
        let mut random = Random::new(seed.wrapping_add(sets));
        let scene = Scene::random(&mut random)?;
        for (mutant, score) in mutants.iter().zip(&mut scores).filter(|(_, score)| score.is_open()) {
            let outcome = scene.outcome(mutant, &mut random);
            score.add(outcome.map_err(|fault| format!("seed {}: {fault}", seed.wrapping_add(sets)))?);
            last = mutant.name;
        }
        sets += 1;
    }
    let count = |is: fn(&Score) -> bool| scores.iter().filter(|score| is(score)).count();
    let (all, killed, at_edges) =
        (mutants.len(), count(|score| score.killed >= KILLS), count(|score| score.at_edges >= KILLS));
    println!("mutants: {killed} of {all} killed, by {sets} policy sets, seed {seed}; last: {last}");
    println!("mutants: {at_edges} of {all} killed by the packets at the edges alone (`render --verify`)");
    if killed == all && at_edges == all { Ok(()) } else { Err(table(&mutants, &scores).into()) }
}

fn mutants() -> Vec<Mutant> {
    let all = [criteria::MUTANTS, verdicts::MUTANTS, endpoint::MUTANTS, host::MUTANTS];
    let mutants: Vec<Mutant> = all.into_iter().flatten().copied().collect();
    let by_name: BTreeMap<&str, &Mutant> = mutants.iter().map(|mutant| (mutant.name, mutant)).collect();
    assert_eq!(by_name.len(), mutants.len(), "two mutants of one name");
    mutants
}

/// One host's policy, its chains, and the packets to ask both about.
struct Scene {
    policy: HostPolicy,
    config: Config,
    families: Vec<Family>,
}

struct Family {
    ruleset: Ruleset,
    random: Random,
    /// Made where they are asked for: most faults have no place in most policy sets.
    packets: OnceCell<Packets>,
}

struct Packets {
    /// Those at the edges first.
    packets: Vec<Packet>,
    edges: usize,
}

/// What came of one fault in one policy set.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// There is no place for it.
    NotApplied,
    Survived,
    KilledAtEdges,
    KilledByRandom,
}

impl Scene {
    fn random(random: &mut Random) -> Result<Self, Failed> {
        let world = World::of(HOST, &documents(random)).map_err(|error| error.to_string())?;
        let (mut policy, config) = (world.policy().clone(), world.config().clone());
        // No manifest can say this of an endpoint; etcd can.
        if random.once_in(4) {
            for local in policy.endpoints.values_mut().take(1) {
                let local = Arc::make_mut(local);
                Arc::make_mut(&mut local.endpoint).active = false;
            }
        }
        let versions = world.desired.rulesets.iter().map(|ruleset| ruleset.version);
        let families = versions.map(|version| {
            let ruleset = compile(&policy, &config, version).map_err(|error| error.to_string())?;
            Ok(Family { ruleset, random: random.clone(), packets: OnceCell::new() })
        });
        let families = families.collect::<Result<_, Failed>>()?;
        Ok(Self { policy, config, families })
    }

    /// Plants the fault at one of its places.
    ///
    /// # Errors
    /// A packet that finds it is seen otherwise without the fault too: then it has found nothing.
    fn outcome(&self, mutant: &Mutant, random: &mut Random) -> Result<Outcome, String> {
        let marks = Marks::allocate(self.config.mark_mask).map_err(|error| error.to_string())?;
        let first = random.below(self.families.len());
        let mut families = self.families[first..].iter().chain(&self.families[..first]);
        let planted =
            families.find_map(|family| Some((family, mutant.apply(&family.ruleset, marks, random)?)));
        let Some((family, ruleset)) = planted else { return Ok(Outcome::NotApplied) };
        let Packets { packets, edges } = family.packets.get_or_init(|| self.packets(family));
        let Some((number, _)) = self.first_difference(&ruleset, packets) else {
            return Ok(Outcome::Survived);
        };
        match self.first_difference(&family.ruleset, &packets[number..=number]) {
            Some((_, fault)) => Err(format!("without any fault: {fault}")),
            None if number < *edges => Ok(Outcome::KilledAtEdges),
            None => Ok(Outcome::KilledByRandom),
        }
    }

    fn packets(&self, family: &Family) -> Packets {
        let version = family.ruleset.version;
        let mut packets = boundary_packets(&self.policy, &self.config, version);
        let edges = packets.len();
        packets.extend(random_packets(version, &mut family.random.clone()));
        Packets { packets, edges }
    }

    /// The first packet of which policy and chains differ: its number, and what they say.
    fn first_difference(&self, ruleset: &Ruleset, packets: &[Packet]) -> Option<(usize, String)> {
        let judge = Judge::new(&self.policy, &self.config);
        let program = Program::compiled(ruleset, Policy::Accept);
        let machine = Machine::new(&program);
        packets.iter().enumerate().find_map(|(number, packet)| {
            compare(&judge, &machine, packet).err().map(|fault| (number, fault.to_string()))
        })
    }
}

#[derive(Clone, Copy, Default)]
struct Score {
    applied: usize,
    killed: usize,
    at_edges: usize,
}

impl Score {
    fn is_open(&self) -> bool {
        self.killed < KILLS || self.at_edges < KILLS
    }

    fn add(&mut self, outcome: Outcome) {
        let (applied, killed, at_edges) = match outcome {
            Outcome::NotApplied => (0, 0, 0),
            Outcome::Survived => (1, 0, 0),
            Outcome::KilledByRandom => (1, 1, 0),
            Outcome::KilledAtEdges => (1, 1, 1),
        };
        self.applied += applied;
        self.killed += killed;
        self.at_edges += at_edges;
    }
}

/// Those that were not found often enough, or not by the packets at the edges.
fn table(mutants: &[Mutant], scores: &[Score]) -> String {
    let mut table = "applied  killed  at edges\n".to_owned();
    for (Mutant { name, fault: _ }, score) in mutants.iter().zip(scores).filter(|(_, score)| score.is_open())
    {
        let Score { applied, killed, at_edges } = score;
        let _ = writeln!(table, "{applied:7} {killed:7} {at_edges:9}  {name}");
    }
    table
}
