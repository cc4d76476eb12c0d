//! What is said of whole sets of flows is so for each packet: diffs, assertions, and chains against policy.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use felix_rs::datastore::yaml;
use felix_rs::model::{IpVersion, WorkloadId};
use felix_rs::policy::Direction;
use felix_rs::verdict::chains::program::{Policy, Program};
use felix_rs::verdict::explain::cluster::{Cluster, Enforcement, Party};
use felix_rs::verdict::flows::against::compare_with_chains;
use felix_rs::verdict::flows::assertions::{Assertion, Side};
use felix_rs::verdict::flows::diff::{Change, Comparison, compare};
use felix_rs::verdict::flows::{End, Flows, is_flow};
use felix_rs::verdict::packet::{ConnState, Packet, Payload, Way};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::generate::{HOST, documents};
use crate::packets::{address, payload};
use crate::random::Random;
use crate::world::World;

/// Flows that are tried of each pair of datastores.
const FLOWS: usize = 300;

/// A diff names exactly the flows that one side allows and the other denies.
pub fn diffs_name_what_differs(seed: u64, pairs: u64) -> Result<(), Failed> {
    let mut tried = Tried::default();
    for number in 0..pairs {
        let mut random = Random::new(seed.wrapping_add(number));
        let old = documents(&mut random);
        let new = changed(&old, &mut random);
        let (old, new) = (enforced(&old), enforced(&new));
        let (old, new) = (Flows::new(&old), Flows::new(&new));
        let comparison = compare(&old, &new);
        let ends = ends(&old, &new, &comparison);
        for _ in 0..FLOWS {
            let Some(flow) = Flow::random(&ends, &ends, &mut random) else { continue };
            let (before, after) = (flow.is_allowed(&old), flow.is_allowed(&new));
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
        let programs: Vec<&Program> = programs.iter().collect();
        let comparison = compare_with_chains(&flows, host, &programs)
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
                let end = |party: &Party, address| Place { id: party.id().cloned(), address, end: None };
                let (from, to) = (end(&flow.from, flow.source), end(&flow.to, flow.destination));
                if (Flow { from, to, payload: flow.payload }).is_allowed(&flows) == allows {
                    return Err(format!("seed {seed}: {text}: the witness {flow} is as asserted").into());
                }
            }
            None => {
                held += 1;
                let ends =
                    |side: &Side| side.ends(&cluster, &enforcement).map_err(|error| format!("{error:?}"));
                let (from, to) = (ends(&assertion.from)?, ends(&assertion.to)?);
                for _ in 0..FLOWS {
                    let Some(flow) = Flow::random(&from, &to, &mut random) else { continue };
                    let wanted = Payload::Ports {
                        protocol: assertion.protocol.unwrap_or_default(),
                        source: random.below(65536) as u16,
                        destination: port_of(&assertion, &mut random),
                    };
                    let flow = Flow { payload: wanted, ..flow };
                    if flow.is_allowed(&flows) != allows {
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

/// An address, and whose it is; the end that it was chosen from.
#[derive(Clone, Debug)]
struct Place {
    id: Option<WorkloadId>,
    address: IpAddr,
    end: Option<End>,
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

    /// As a packet, which both endpoints must let through.
    fn is_allowed(&self, flows: &Flows<'_>) -> bool {
        let packet = Packet {
            way: Way::Forwarded { input: "a".into(), output: "b".into() },
            source: self.from.address,
            destination: self.to.address,
            payload: self.payload,
            state: ConnState::New,
            reverse_path: true,
        };
        self.from.lets(flows, Direction::Egress, &packet) && self.to.lets(flows, Direction::Ingress, &packet)
    }

    /// How the regions say that it has changed.
    fn in_regions(&self, comparison: &Comparison) -> BTreeSet<Change> {
        let has = |ends: &[End], place: &Place| place.end.as_ref().is_some_and(|end| ends.contains(end));
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
            End::Endpoint { .. } => end.address(),
            End::Outside(piece) => {
                let known = (0..20).map(|_| address(piece.version, random));
                known.into_iter().find(|address| piece.ranges.contains(*address)).unwrap_or(piece.example)
            }
        };
        Self { id: end.id().cloned(), address, end: Some(end) }
    }

    fn lets(&self, flows: &Flows<'_>, direction: Direction, packet: &Packet) -> bool {
        let Some(id) = &self.id else { return true };
        let (Some(judge), Some(local)) = (flows.judge(id), flows.endpoint(id)) else { return false };
        let has_address = local.endpoint.networks.iter().any(|net| net.contains(&self.address));
        has_address && judge.at_endpoint(local, direction, packet).allowed
    }
}

fn port_of(assertion: &Assertion, random: &mut Random) -> u16 {
    let range = random.of(&assertion.ports);
    random.between(range.first.into(), range.last.into()) as u16
}

/// Every end of both, as the regions have them.
fn ends(old: &Flows<'_>, new: &Flows<'_>, comparison: &Comparison) -> Vec<End> {
    let endpoints: BTreeSet<End> = old.ends().chain(new.ends()).collect();
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
