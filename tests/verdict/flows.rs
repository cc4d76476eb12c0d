//! What is said of whole sets of flows is so for each packet: diffs, assertions, and chains against policy.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use felix_rs::datastore::yaml;
use felix_rs::model::IpVersion;
use felix_rs::verdict::chains::machine::Machine;
use felix_rs::verdict::chains::program::{Policy, Program};
use felix_rs::verdict::explain::cluster::{Cluster, Enforcement, Party};
use felix_rs::verdict::explain::{self, Answer};
use felix_rs::verdict::flows::against::compare_with_chains;
use felix_rs::verdict::flows::assertions::{Assertion, Side};
use felix_rs::verdict::flows::diff::{Change, Comparison, compare};
use felix_rs::verdict::flows::{End, Flows, flow, is_flow};
use felix_rs::verdict::packet::Payload;
use libtest_mimic::Failed;
use serde_json::Value;

use crate::generate::{HOST, documents};
use crate::packets::{address, payload};
use crate::random::Random;
use crate::world::World;

/// Flows that are tried of each pair of datastores.
const FLOWS: usize = 60;

/// A diff names exactly the flows that one side allows and the other denies.
pub fn diffs_name_what_differs(seed: u64, pairs: u64) -> Result<(), Failed> {
    let mut tried = Tried::default();
    for number in 0..pairs {
        let mut random = Random::new(seed.wrapping_add(number));
        let old = documents(&mut random);
        let new = changed(&old, &mut random);
        let clusters = [cluster(&old), cluster(&new)];
        let [old, new] = clusters.each_ref().map(|cluster| cluster.enforce(&cluster.hosts()));
        let (old, new) = (Flows::new(&old), Flows::new(&new));
        let comparison = compare(&old, &new);
        let ends = ends(&old, &new, &comparison);
        let [old_cluster, new_cluster] = &clusters;
        for _ in 0..FLOWS {
            let Some(flow) = Flow::random(&ends, &ends, &mut random) else { continue };
            if flow.is_ambiguous(&old) || flow.is_ambiguous(&new) {
                continue;
            }
            let (before, after) = (flow.is_allowed(old_cluster, &old), flow.is_allowed(new_cluster, &new));
            let expected = match (before, after) {
                (false, true) => Some(Change::Gained),
                (true, false) => Some(Change::Lost),
                (true, true) | (false, false) => None,
            };
            let found = flow.in_regions(&comparison);
            if expected.into_iter().collect::<BTreeSet<_>>() != found {
                let seed = seed.wrapping_add(number);
                return Err(
                    format!("seed {seed}: {flow:?}: {expected:?}, but the diff says {found:?}").into()
                );
            }
            tried.flows += 1;
            tried.changed += usize::from(expected.is_some());
        }
    }
    let Tried { flows, changed } = tried;
    println!(
        "diff = packets: {flows} flows between {pairs} pairs of datastores, {changed} of them changed, seed {seed}"
    );
    if changed == 0 { Err("no flow has changed".into()) } else { Ok(()) }
}

/// Chains as they are compiled differ from their policy in no flow, as sets.
pub fn compiled_chains_allow_what_policy_allows(seed: u64, sets: u64) -> Result<(), Failed> {
    let mut pairs = 0;
    for number in 0..sets {
        let seed = seed.wrapping_add(number);
        let documents = documents(&mut Random::new(seed));
        let world = World::of(HOST, &documents).map_err(|error| error.to_string())?;
        let enforcement = enforced(&documents);
        let flows = Flows::new(&enforcement);
        let Some(host) = enforcement.hosts.get(HOST) else { continue };
        let programs: Vec<Program> =
            world.desired.rulesets.iter().map(|ruleset| Program::compiled(ruleset, Policy::Accept)).collect();
        let backends: Vec<_> = programs.iter().map(|program| (program, Machine::new(program))).collect();
        let comparison = compare_with_chains(&flows, host, &"eth0".into(), &backends)
            .map_err(|refusal| format!("seed {seed}: {refusal}"))?;
        if let Some(region) = comparison.regions.first() {
            return Err(format!("seed {seed}: {region:?}").into());
        }
        pairs += comparison.pairs;
    }
    println!("chains = policy as sets: {pairs} pairs of ends in {sets} policy sets, seed {seed}");
    Ok(())
}

/// What is calculated for many hosts at once is what each calculates alone.
pub fn hosts_together_are_hosts_alone(seed: u64, sets: u64) -> Result<(), Failed> {
    for number in 0..sets {
        let seed = seed.wrapping_add(number);
        let documents = documents(&mut Random::new(seed));
        let enforcement = enforced(&documents);
        for (name, host) in &enforcement.hosts {
            let alone = World::of(name, &documents).map_err(|error| error.to_string())?;
            if host.policy != *alone.policy() || host.config != *alone.config() {
                return Err(format!("seed {seed}: {name} differs").into());
            }
        }
    }
    Ok(())
}

/// An assertion holds exactly if no packet that it speaks of is otherwise.
pub fn assertions_hold_for_every_packet(seed: u64, sets: u64) -> Result<(), Failed> {
    let (mut held, mut failed) = (0, 0);
    for number in 0..sets {
        let seed = seed.wrapping_add(number);
        let mut random = Random::new(seed);
        let documents = documents(&mut random);
        let cluster = cluster(&documents);
        let enforcement = cluster.enforce(&cluster.hosts());
        let flows = Flows::new(&enforcement);
        let (expected, from, to) = (random.of(&["allow", "deny"]), random.of(&SIDES), random.of(&SIDES));
        let (proto, ports) = random.of(&[("tcp", "79-81"), ("udp", "0-65535"), ("sctp", "443, 8080")]);
        let text =
            format!("- {expected}: {{from: \"{from}\", to: \"{to}\", proto: {proto}, port: \"{ports}\"}}");
        let reading = yaml::parse(&"assertion.yaml".into(), &text.as_str().into());
        let assertion =
            Assertion::decode(&reading.entries[0].node).map_err(|error| format!("{text}: {error:?}"))?;
        let Ok(outcome) = assertion.check(&cluster, &flows) else { continue };
        let allows = expected == "allow";
        match &outcome.witness {
            Some(flow) => {
                failed += 1;
                let explanation = explain::explain(&explain::hops(flow, &enforcement), &enforcement);
                if (explanation.answer != Answer::Denied) == allows {
                    return Err(format!("seed {seed}: {text}: the witness {flow} is as asserted").into());
                }
            }
            None => {
                held += 1;
                let ends = |side: &Side| side.ends(&cluster, &flows).map_err(|error| format!("{error:?}"));
                let (from, to) = (ends(&assertion.from)?, ends(&assertion.to)?);
                for _ in 0..FLOWS {
                    let Some(flow) = Flow::random(&from, &to, &mut random) else { continue };
                    let wanted = Payload::Ports {
                        protocol: assertion.protocol.unwrap_or_default(),
                        source: random.below(65536) as u16,
                        destination: port_of(&assertion, &mut random),
                    };
                    let flow = Flow { payload: wanted, ..flow };
                    if !flow.is_ambiguous(&flows) && flow.is_allowed(&cluster, &flows) != allows {
                        return Err(format!("seed {seed}: {text}: {flow:?} is otherwise").into());
                    }
                }
            }
        }
    }
    println!("assertions = packets: {held} hold, {failed} fail with a witness, seed {seed}");
    if held == 0 || failed == 0 { Err("not both were met".into()) } else { Ok(()) }
}

/// What sides of assertions may say.
const SIDES: [&str; 7] =
    ["anyone", "a == 'x'", "has(b)", "10.0.0.0/16", "203.0.113.0/24", "10.0.0.1", "fd00::/64"];

#[derive(Default)]
struct Tried {
    flows: usize,
    changed: usize,
}

/// A flow of one packet.
#[derive(Debug)]
struct Flow {
    from: Place,
    to: Place,
    payload: Payload,
}

/// An address of an end.
#[derive(Clone, Debug)]
struct Place {
    address: IpAddr,
    end: End,
}

impl Flow {
    fn random(from: &[End], to: &[End], random: &mut Random) -> Option<Self> {
        let (from, to) = (random.of(from), random.of(to));
        if !is_flow(&from, &to) {
            return None;
        }
        let payload = payload(from.version(), random);
        Some(Self { from: Place::within(from, random), to: Place::within(to, random), payload })
    }

    /// As packets through the hosts that it comes to, by what each one's policy says: not denied by any.
    fn is_allowed(&self, side: &Cluster, flows: &Flows<'_>) -> bool {
        if !self.from.is_there(flows) || !self.to.is_there(flows) {
            return false;
        }
        let (from, to) = (flows.resolve(&self.from.end), flows.resolve(&self.to.end));
        let Some(flow) = flow(side, &from, &to, self.payload) else { return false };
        let party = |party, address| match party {
            Party::Outside(_) => Party::Outside(address),
            party @ (Party::Endpoint { .. } | Party::Host { .. }) => party,
        };
        let (source, destination) = (self.from.address, self.to.address);
        let (from, to) = (party(flow.from, source), party(flow.to, destination));
        let flow = explain::Flow { from, to, source, destination, ..flow };
        let explanation = explain::explain(&explain::hops(&flow, flows.enforcement()), flows.enforcement());
        explanation.answer != Answer::Denied
    }

    /// An endpoint's address that is another's floating IP: whose it is depends on who asks.
    fn is_ambiguous(&self, flows: &Flows<'_>) -> bool {
        let is_floating = matches!(self.to.end, End::Floating { .. });
        let floating = flows.floating_ends();
        let translated = floating.iter().filter(|end| end.address() == self.to.address);
        translated.count() > usize::from(is_floating)
            || (is_floating && flows.ends().any(|end| end.address() == self.to.address))
    }

    /// How the regions say that it has changed.
    fn in_regions(&self, comparison: &Comparison) -> BTreeSet<Change> {
        let has = |ends: &[End], place: &Place| ends.contains(&place.end);
        let version = IpVersion::of(self.from.address);
        let regions = comparison.regions.iter().filter(|region| {
            has(&region.from, &self.from)
                && has(&region.to, &self.to)
                && region.services.version() == version
                && region.services.contains(self.payload)
        });
        regions.map(|region| region.change).collect()
    }
}

impl Place {
    /// Any address of the end.
    fn within(end: End, random: &mut Random) -> Self {
        let address = match &end {
            End::Endpoint { .. } | End::Floating { .. } | End::Host { .. } => end.address(),
            End::Outside(piece) => {
                let known = (0..20).map(|_| address(piece.version, random));
                known.into_iter().find(|address| piece.ranges.contains(*address)).unwrap_or(piece.example)
            }
        };
        Self { address, end }
    }

    /// Whether there is such an end on this side.
    fn is_there(&self, flows: &Flows<'_>) -> bool {
        match &flows.resolve(&self.end) {
            End::Endpoint { id, address } => flows
                .endpoint(id)
                .is_some_and(|local| local.endpoint.networks.iter().any(|net| net.contains(address))),
            End::Floating { .. } => flows.floating_ends().contains(&self.end),
            End::Host { .. } => flows.ends().any(|end| end == self.end),
            End::Outside(_) => true,
        }
    }
}

fn port_of(assertion: &Assertion, random: &mut Random) -> u16 {
    let range = random.of(&assertion.ports);
    random.between(range.first.into(), range.last.into()) as u16
}

/// Every end of both, as the regions have them.
fn ends(old: &Flows<'_>, new: &Flows<'_>, comparison: &Comparison) -> Vec<End> {
    let floating = [old, new].into_iter().flat_map(Flows::floating_ends);
    let endpoints: BTreeSet<End> =
        old.ends().map(|end| new.resolve(&end)).chain(new.ends()).chain(floating).collect();
    endpoints.into_iter().chain(comparison.outside.iter().cloned().map(End::Outside)).collect()
}

/// The same with a document changed, gone, or new.
fn changed(old: &[Value], random: &mut Random) -> Vec<Value> {
    let others = documents(random);
    let mut new = old.to_vec();
    for _ in 0..random.between(1, 3) {
        let at = random.below(new.len());
        let other = random.of(&others);
        match random.below(3) {
            0 if new.len() > 1 => drop(new.remove(at)),
            1 => new.push(other),
            _ => {
                // Of the same name, so that it is another version of it.
                let kind = new[at]["kind"].clone();
                let version = others.iter().find(|document| document["kind"] == kind).cloned();
                if let Some(mut version) = version {
                    version["metadata"] = new[at]["metadata"].clone();
                    new[at] = version;
                }
            }
        }
    }
    new
}

fn cluster(documents: &[Value]) -> Cluster {
    let text: String = documents.iter().map(|document| format!("---\n{document}\n")).collect();
    let reading = yaml::parse(&"generated.yaml".into(), &Arc::from(text));
    Cluster::new(&reading.into_events().collect::<Vec<_>>(), Vec::new())
}

fn enforced(documents: &[Value]) -> Enforcement {
    let cluster = cluster(documents);
    cluster.enforce(&cluster.hosts())
}
