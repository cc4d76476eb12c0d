//! Rules as written → rules that match by sets (reference §4.5–4.7).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::host_policy::{
    ActivePolicy, ActiveProfile, ActiveRule, ActiveSide, Direction, Owner, RuleSource, SetId,
    TransportProtocol,
};
use super::sets::SetSpec;
use crate::datastore::Place;
use crate::labels::Selector;
use crate::model::{Action, EntityMatch, Policy, Profile, Protocol, Rule};

/// A policy or profile by sets, and the sets that it needs.
pub(super) struct Lowered<T> {
    pub(super) value: T,
    pub(super) sets: Sets,
}

/// What each set is defined by.
pub(super) type Sets = BTreeMap<SetId, SetSpec>;

/// `policy` by sets. Where it or its tier could not be understood it is `closed`: it denies in the directions that it
/// governs.
pub(super) fn policy(policy: &Policy, closed: bool) -> Lowered<ActivePolicy> {
    let owner = Owner::Policy(policy.id.clone());
    let mut sets = Sets::new();
    let mut rules = |direction, rules: &[Rule], governed: bool| match (governed, closed) {
        (false, _) => Vec::new(),
        (true, true) => vec![deny_all(&owner, direction, Some(&policy.place))],
        (true, false) => lower_rules(&owner, direction, rules, &mut sets),
    };
    let value = ActivePolicy {
        id: policy.id.clone(),
        tier: Arc::clone(&policy.tier),
        selector: policy.selector.canonical().into(),
        stage: policy.stage,
        ingress: rules(Direction::Ingress, &policy.ingress, policy.types.ingress),
        egress: rules(Direction::Egress, &policy.egress, policy.types.egress),
        needed_everywhere: policy.needed_everywhere,
        place: policy.place.clone(),
    };
    Lowered { value, sets }
}

/// `profile` by sets. One that is missing or could not be understood denies both ways.
pub(super) fn profile(name: &Arc<str>, profile: Option<&Profile>) -> Lowered<ActiveProfile> {
    let owner = Owner::Profile(Arc::clone(name));
    let place = profile.map(|profile| profile.place.clone());
    let mut sets = Sets::new();
    let mut rules = |direction, rules: fn(&Profile) -> &[Rule]| match profile {
        Some(profile) if !profile.invalid => lower_rules(&owner, direction, rules(profile), &mut sets),
        Some(_) | None => vec![deny_all(&owner, direction, place.as_ref())],
    };
    let value = ActiveProfile {
        name: Arc::clone(name),
        ingress: rules(Direction::Ingress, |profile| &profile.ingress),
        egress: rules(Direction::Egress, |profile| &profile.egress),
        place: place.clone(),
    };
    Lowered { value, sets }
}

fn lower_rules(owner: &Owner, direction: Direction, rules: &[Rule], sets: &mut Sets) -> Vec<Arc<ActiveRule>> {
    (0..)
        .zip(rules)
        .filter_map(|(index, rule)| {
            let action = enforceable_action(rule)?;
            let provenance = RuleSource {
                owner: owner.clone(),
                direction,
                index: Some(index),
                place: Some(rule.place.clone()),
            };
            Some(Arc::new(lower_rule(rule, action, provenance, sets)))
        })
        .collect()
}

/// What a rule with a criterion that packets don't show may do without opening anything: an Allow never matches,
/// a Deny matches by the rest, and so does a Pass, as a Deny: what it would have let through is not known.
fn enforceable_action(rule: &Rule) -> Option<Action> {
    match (rule.unenforceable, rule.action) {
        (None, action) => Some(action),
        (Some(_), Action::Allow | Action::Log) => None,
        (Some(_), Action::Deny | Action::Pass) => Some(Action::Deny),
    }
}

fn lower_rule(rule: &Rule, action: Action, provenance: RuleSource, sets: &mut Sets) -> ActiveRule {
    let Rule {
        action: _,
        ip_version,
        protocol,
        not_protocol,
        icmp,
        not_icmp,
        source,
        destination,
        unenforceable: _,
        annotations,
        place: _,
    } = rule;
    ActiveRule {
        action,
        ip_version: *ip_version,
        protocol: *protocol,
        not_protocol: *not_protocol,
        icmp: *icmp,
        not_icmp: *not_icmp,
        source: lower_side(source, *protocol, sets),
        destination: lower_side(destination, *protocol, sets),
        annotations: annotations.iter().map(|(k, v)| (Arc::clone(k), Arc::clone(v))).collect(),
        provenance,
    }
}

/// One side of a rule. A positive and a negative selector become one set; a named port's set is filtered by the
/// positive selector, and replaces that one's set where no numeric port stands beside it.
fn lower_side(side: &EntityMatch, protocol: Option<Protocol>, sets: &mut Sets) -> ActiveSide {
    let EntityMatch {
        nets,
        not_nets,
        selector,
        not_selector,
        tag,
        not_tag,
        ports,
        named_ports,
        not_ports,
        not_named_ports,
        // Never matched: the rule is unenforceable.
        services: _,
    } = side;
    let (positive, negative) = match (selector, not_selector) {
        (Some(selector), Some(not)) => (Some(Selector::all_of(vec![selector.clone(), not.negated()])), None),
        (selector, not) => (selector.clone(), not.clone()),
    };
    let named_port = |port: &Arc<str>| SetSpec::NamedPort {
        selector: positive.clone().unwrap_or_else(Selector::all),
        // What has no ports counts as TCP (reference §4.7).
        protocol: protocol.map(|protocol| TransportProtocol::of(protocol).unwrap_or(TransportProtocol::Tcp)),
        port: Arc::clone(port),
    };
    let said_by_ports = !named_ports.is_empty() && ports.is_empty();
    let positive_set = positive.clone().filter(|_| !said_by_ports);
    ActiveSide {
        nets: nets.clone(),
        not_nets: not_nets.clone(),
        sets: need(sets, tag_and_selector(tag, positive_set)),
        not_sets: need(sets, tag_and_selector(not_tag, negative)),
        ports: ports.clone(),
        port_sets: need(sets, named_ports.iter().map(named_port)),
        not_ports: not_ports.clone(),
        not_port_sets: need(sets, not_named_ports.iter().map(named_port)),
    }
}

fn tag_and_selector(tag: &Option<Arc<str>>, selector: Option<Selector>) -> impl Iterator<Item = SetSpec> {
    let tag = tag.clone().map(SetSpec::Tag);
    tag.into_iter().chain(selector.map(SetSpec::Selector))
}

/// Notes that a rule uses the sets; their ids.
fn need(sets: &mut Sets, wanted: impl Iterator<Item = SetSpec>) -> Vec<SetId> {
    wanted
        .map(|spec| {
            let id = spec.id();
            sets.insert(id.clone(), spec);
            id
        })
        .collect()
}

/// The rule that stands for all that could not be understood.
fn deny_all(owner: &Owner, direction: Direction, place: Option<&Place>) -> Arc<ActiveRule> {
    Arc::new(ActiveRule {
        action: Action::Deny,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: ActiveSide::default(),
        destination: ActiveSide::default(),
        annotations: Vec::new(),
        provenance: RuleSource { owner: owner.clone(), direction, index: None, place: place.cloned() },
    })
}
