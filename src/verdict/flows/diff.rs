//! Flows that one datastore lets through and another does not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::{End, Flows, Piece, ends_of, is_flow, outside};
use crate::model::{IpVersion, TierDefault};
use crate::policy::{ActiveRule, Direction, EndpointTier, IpSet, LocalEndpoint, SetId};
use crate::verdict::explain::cluster::Host;
use crate::verdict::packet::Payload;
use crate::verdict::policy::judge::{Judge, rules};
use crate::verdict::policy::rule_match::concerns;
use crate::verdict::services::Services;

/// What two datastores say differently, and over how many pairs of ends that was looked for.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    pub regions: Vec<Region>,
    /// Pairs for which the policies of one end differ.
    pub pairs: usize,
    /// Of these, those for which some of it depends on what isn't modelled.
    pub unclear: usize,
    /// All pieces of addresses that no endpoint has, to tell all of them from some.
    pub outside: Vec<Piece>,
}

/// Flows that changed alike.
#[derive(Clone, Debug)]
pub struct Region {
    pub change: Change,
    pub services: Services,
    pub from: Vec<End>,
    pub to: Vec<End>,
    /// One of the flows.
    pub witness: Witness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Denied by the old one, allowed by the new one.
    Gained,
    /// Allowed by the old one, denied by the new one.
    Lost,
}

#[derive(Clone, Debug)]
pub struct Witness {
    pub from: End,
    pub to: End,
    pub payload: Payload,
}

/// Compares all flows between all ends.
///
/// Only an end whose policies differ can make a difference, and only to peers that one of the rules that differ speaks of:
/// so the work follows the change, not the cluster. For each such pair the services are compared as sets.
pub fn compare(old: &Flows<'_>, new: &Flows<'_>) -> Comparison {
    let changed_sets = changed_sets(old, new);
    let pieces: Vec<Piece> = [IpVersion::V4, IpVersion::V6]
        .into_iter()
        .flat_map(|version| outside(&[old.enforcement(), new.enforcement()], version, None))
        .collect();
    let floating = [old, new].into_iter().flat_map(Flows::floating_ends);
    let endpoints: BTreeSet<End> =
        old.ends().map(|end| new.resolve(&end)).chain(new.ends()).chain(floating).collect();
    let ends: Vec<End> = endpoints.into_iter().chain(pieces.iter().cloned().map(End::Outside)).collect();
    let pairs = pairs(old, new, &ends, &changed_sets);
    let mut differing = BTreeMap::<(Change, Services), BTreeMap<usize, BTreeSet<usize>>>::new();
    for &(from, to) in &pairs {
        let (Some(sender), Some(receiver)) = (ends.get(from), ends.get(to)) else { continue };
        let (before, after) = (old.allowed(sender, receiver), new.allowed(sender, receiver));
        for (change, services) in
            [(Change::Gained, after.minus(&before)), (Change::Lost, before.minus(&after))]
        {
            if !services.is_empty() {
                differing.entry((change, services)).or_default().entry(from).or_default().insert(to);
            }
        }
    }
    let regions = differing.into_iter().flat_map(|((change, services), flows)| {
        let ends = &ends;
        grouped(flows, ends).into_iter().filter_map(move |(from, to)| {
            let pick = |numbers: &BTreeSet<usize>| -> Vec<End> {
                numbers.iter().filter_map(|number| ends.get(*number)).cloned().collect()
            };
            let (from, to) = (pick(&from), pick(&to));
            let pairs = from.iter().flat_map(|sender| to.iter().map(move |receiver| (sender, receiver)));
            let (sender, receiver) =
                pairs.into_iter().find(|(sender, receiver)| is_flow(sender, receiver))?;
            let witness =
                Witness { from: sender.clone(), to: receiver.clone(), payload: services.example()? };
            Some(Region { change, services: services.clone(), from, to, witness })
        })
    });
    Comparison { regions: regions.collect(), pairs: pairs.len(), unclear: 0, outside: pieces }
}

impl Region {
    /// With a witness; None where no two of the ends have flows.
    pub fn of(change: Change, services: Services, from: Vec<End>, to: Vec<End>) -> Option<Self> {
        let mut pairs = from.iter().flat_map(|sender| to.iter().map(move |receiver| (sender, receiver)));
        let (sender, receiver) = pairs.find(|(sender, receiver)| is_flow(sender, receiver))?;
        let witness = Witness { from: sender.clone(), to: receiver.clone(), payload: services.example()? };
        Some(Self { change, services, from, to, witness })
    }
}

/// The pairs of ends, by number, that may have changed.
fn pairs(
    old: &Flows<'_>,
    new: &Flows<'_>,
    ends: &[End],
    changed_sets: &BTreeSet<SetId>,
) -> BTreeSet<(usize, usize)> {
    let mut pairs = BTreeSet::new();
    for (number, end) in ends.iter().enumerate() {
        if end.id().is_none() {
            continue;
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            let difference = difference(old, new, end, direction, changed_sets);
            if difference.is_none() {
                continue;
            }
            for (other, peer) in ends.iter().enumerate() {
                let (from, to) = match direction {
                    Direction::Ingress => (other, number),
                    Direction::Egress => (number, other),
                };
                let (sender, receiver) = match direction {
                    Direction::Ingress => (peer, end),
                    Direction::Egress => (end, peer),
                };
                if !is_flow(sender, receiver) || pairs.contains(&(from, to)) {
                    continue;
                }
                let seen = |flows: &Flows<'_>| flows.seen(sender, receiver, direction);
                if difference.concerns(seen(old), seen(new))
                    && old.allowed(sender, receiver) != new.allowed(sender, receiver)
                {
                    pairs.insert((from, to));
                }
            }
        }
    }
    pairs
}

/// How an endpoint's policies differ in one direction.
enum Difference<'o, 'n> {
    None,
    /// In these rules only; what holds for neither is decided alike.
    Rules {
        old: RuleList<'o>,
        new: RuleList<'n>,
    },
    Everything,
}

struct RuleList<'p> {
    rules: Vec<&'p ActiveRule>,
    judge: &'p Judge<'p>,
}

impl Difference<'_, '_> {
    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether a flow may be decided otherwise that each side sees between these addresses.
    fn concerns(&self, before: (IpAddr, IpAddr), after: (IpAddr, IpAddr)) -> bool {
        match self {
            Self::None => false,
            Self::Everything => true,
            Self::Rules { old, new } => old.speaks_of(before) || new.speaks_of(after),
        }
    }
}

impl RuleList<'_> {
    fn speaks_of(&self, (source, destination): (IpAddr, IpAddr)) -> bool {
        let sets = self.judge.sets();
        self.rules.iter().any(|rule| {
            concerns(&rule.source, source, sets) && concerns(&rule.destination, destination, sets)
        })
    }
}

fn difference<'o, 'n>(
    old: &'o Flows<'o>,
    new: &'n Flows<'n>,
    end: &End,
    direction: Direction,
    changed_sets: &BTreeSet<SetId>,
) -> Difference<'o, 'n> {
    // By whatever name each side knows it.
    let ends = (old.resolve(end), new.resolve(end));
    let (Some(old_id), Some(new_id)) = (ends.0.id(), ends.1.id()) else { return Difference::Everything };
    let (before, after) = match (old.endpoint(old_id), new.endpoint(new_id)) {
        (Some(before), Some(after)) => (before, after),
        (None, None) => return Difference::None,
        (Some(_), None) | (None, Some(_)) => return Difference::Everything,
    };
    let hosts = (old.enforcement().hosts.get(&old_id.node), new.enforcement().hosts.get(&new_id.node));
    let same_host = matches!(hosts, (Some(old), Some(new)) if treats_alike(old, new));
    let (Some(old), Some(new)) = (old.judge(old_id), new.judge(new_id)) else {
        return Difference::Everything;
    };
    let has = |local: &LocalEndpoint| ends_of(local).any(|other| other.address() == end.address());
    let (one, other) = (&before.endpoint, &after.endpoint);
    if !same_host
        || has(before) != has(after)
        || old_id.node != new_id.node
        || (one.active, &one.interface, &one.nats) != (other.active, &other.interface, &other.nats)
    {
        return Difference::Everything;
    }
    let (before, after) = (steps(old, before, direction), steps(new, after, direction));
    let same = |(a, b): &(&Step<'_>, &Step<'_>)| a.is_same(b, changed_sets);
    let head = before.iter().zip(&after).take_while(same).count();
    let rest = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(rest).take_while(same).count();
    let between = |steps: &[Step<'_>]| steps.len() - head - tail;
    if between(&before) == 0 && between(&after) == 0 {
        return Difference::None;
    }
    match (middle(&before, head, tail), middle(&after, head, tail)) {
        (Some(before), Some(after)) => Difference::Rules {
            old: RuleList { rules: before, judge: old },
            new: RuleList { rules: after, judge: new },
        },
        _ => Difference::Everything,
    }
}

/// Whether nothing differs between the hosts but endpoints and policies: parameters, pools and addresses decide too.
fn treats_alike(old: &Host, new: &Host) -> bool {
    old.config == new.config
        && old.policy.pools == new.policy.pools
        && old.policy.host_addresses == new.policy.host_addresses
        && old.addresses == new.addresses
}

/// The rules between the first `head` and the last `tail` steps; None where there is anything else.
fn middle<'p>(steps: &[Step<'p>], head: usize, tail: usize) -> Option<Vec<&'p ActiveRule>> {
    let between = steps.iter().skip(head).take(steps.len() - head - tail);
    between
        .map(|step| match step {
            Step::Rule(rule) => Some(*rule),
            Step::EndOfTier(_) | Step::EndOfProfile => None,
        })
        .collect()
}

/// What a packet meets at an endpoint, in order.
enum Step<'p> {
    Rule(&'p ActiveRule),
    EndOfTier(TierDefault),
    EndOfProfile,
}

fn steps<'p>(judge: &'p Judge<'p>, local: &'p LocalEndpoint, direction: Direction) -> Vec<Step<'p>> {
    let mut steps = Vec::new();
    for tier in &local.tiers {
        let mut policies = policies(judge, tier, direction);
        if let Some(first) = policies.next() {
            steps.extend(first.iter().chain(policies.flatten()).map(|rule| Step::Rule(rule)));
            steps.push(Step::EndOfTier(tier.default_action));
        }
    }
    for profile in judge.profiles(local) {
        steps.extend(rules(&profile.ingress, &profile.egress, direction).iter().map(|rule| Step::Rule(rule)));
        steps.push(Step::EndOfProfile);
    }
    steps
}

fn policies<'p>(
    judge: &'p Judge<'p>,
    tier: &'p EndpointTier,
    direction: Direction,
) -> impl Iterator<Item = &'p [Arc<ActiveRule>]> {
    judge.policies(tier, direction).map(move |policy| rules(&policy.ingress, &policy.egress, direction))
}

impl Step<'_> {
    /// Both decide alike: they ask the same, wherever they are written, and the sets that they ask are the same.
    fn is_same(&self, other: &Step<'_>, changed_sets: &BTreeSet<SetId>) -> bool {
        match (self, other) {
            (Step::EndOfTier(a), Step::EndOfTier(b)) => a == b,
            (Step::EndOfProfile, Step::EndOfProfile) => true,
            (Step::Rule(a), Step::Rule(b)) => asks_the_same(a, b) && !uses_any(a, changed_sets),
            (Step::EndOfTier(_) | Step::EndOfProfile | Step::Rule(_), _) => false,
        }
    }
}

fn asks_the_same(a: &ActiveRule, b: &ActiveRule) -> bool {
    let ActiveRule {
        action,
        ip_version,
        protocol,
        not_protocol,
        icmp,
        not_icmp,
        source,
        destination,
        annotations: _,
        provenance: _,
    } = a;
    *action == b.action
        && *ip_version == b.ip_version
        && *protocol == b.protocol
        && *not_protocol == b.not_protocol
        && *icmp == b.icmp
        && *not_icmp == b.not_icmp
        && *source == b.source
        && *destination == b.destination
}

fn uses_any(rule: &ActiveRule, sets: &BTreeSet<SetId>) -> bool {
    !sets.is_empty()
        && [&rule.source, &rule.destination].into_iter().any(|side| {
            let all =
                side.sets.iter().chain(&side.not_sets).chain(&side.port_sets).chain(&side.not_port_sets);
            all.into_iter().any(|id| sets.contains(id))
        })
}

/// The sets that have other members, or are there on one side only.
fn changed_sets(old: &Flows<'_>, new: &Flows<'_>) -> BTreeSet<SetId> {
    let (before, after) = (all_sets(old), all_sets(new));
    let differs = |id: &&SetId| match (before.get(*id), after.get(*id)) {
        (Some(a), Some(b)) => a.members != b.members,
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    };
    before.keys().chain(after.keys()).filter(|id| differs(id)).map(|id| (*id).clone()).collect()
}

/// A set has the same members on all hosts.
fn all_sets<'e>(flows: &Flows<'e>) -> BTreeMap<&'e SetId, &'e IpSet> {
    let hosts = flows.enforcement().hosts.values();
    hosts.flat_map(|host| host.policy.sets.iter().map(|(id, set)| (id, &**set))).collect()
}

/// Senders and receivers.
pub type Product = (BTreeSet<usize>, BTreeSet<usize>);

/// Flows as few products of senders and receivers. An endpoint's flows to itself, which are none, don't stand in the way.
pub fn grouped(flows: BTreeMap<usize, BTreeSet<usize>>, ends: &[End]) -> Vec<Product> {
    let mut reverse = BTreeMap::<usize, BTreeSet<usize>>::new();
    for (from, to) in &flows {
        for to in to {
            reverse.entry(*to).or_default().insert(*from);
        }
    }
    let by_receivers = by_partners(flows, ends);
    let by_senders = by_partners(reverse, ends);
    if by_senders.len() < by_receivers.len() {
        by_senders.into_iter().collect()
    } else {
        by_receivers.into_iter().map(|(to, from)| (from, to)).collect()
    }
}

/// Those together that have the same partners; the partners first.
fn by_partners(
    flows: BTreeMap<usize, BTreeSet<usize>>,
    ends: &[End],
) -> BTreeMap<BTreeSet<usize>, BTreeSet<usize>> {
    let all: BTreeSet<usize> = flows.values().flatten().copied().collect();
    let mut by_partners = BTreeMap::<BTreeSet<usize>, BTreeSet<usize>>::new();
    for (end, mut partners) in flows {
        let id = ends.get(end).and_then(End::id);
        let own = all.iter().filter(|other| id.is_some() && ends.get(**other).and_then(End::id) == id);
        partners.extend(own.copied().collect::<Vec<_>>());
        by_partners.entry(partners).or_default().insert(end);
    }
    by_partners
}
