//! How endpoints turn together with sets, though sets and chains can't change at once.

use std::sync::Arc;

use super::{Desired, Programmed};
use crate::rules::names::Age;
use crate::rules::ruleset::{
    Chain, ChainName, Difference, IpSetName, KernelSet, Provenance, Rule, Ruleset, SharedMap, Table,
    TableName, Target,
};

/// Chains that turn at a time. Where more do it is a policy that changes, not an endpoint; each turn costs three more
/// chains, and a second transaction.
const MOST: usize = 64;

/// What to program before the sets are changed, where an endpoint's own chains change and so do sets.
///
/// An endpoint whose labels change has other policies from now on, and is in other sets, by which other endpoints'
/// policies know it. Chains and sets can't change at one time. In between, policies of before would meet it in sets of
/// its new labels (or the other way round), and let through what neither its old nor its new state does. So while sets
/// change its chains let through only what *both* do: the old chain is jumped to, then the new one. Is the answer of the
/// two the same, it is as before or as it will be, with either state of the sets; do they differ, it is denied, as one
/// of both states does.
///
/// None where nothing turns, or it is not known what the kernel has.
pub(super) fn turning(desired: &Desired, programmed: &Programmed) -> Option<Desired> {
    let mut turns = false;
    let rulesets = desired.rulesets.iter().map(|ruleset| match turned(ruleset, programmed) {
        None => Arc::clone(ruleset),
        Some(turned) => {
            turns = true;
            Arc::new(turned)
        }
    });
    let rulesets = rulesets.collect();
    turns.then_some(Desired { rulesets, insert_mode: desired.insert_mode })
}

fn turned(ruleset: &Ruleset, programmed: &Programmed) -> Option<Ruleset> {
    let Ruleset { version, sets, tables } = ruleset;
    let known = programmed.written_sets.get(version)?;
    let set_changes = sets.since(known);
    if !set_changes.iter().any(changes_members) {
        return None;
    }
    let chains = programmed.table(*version, TableName::Filter).written.as_ref()?;
    let filter = tables.iter().find(|table| table.name == TableName::Filter)?;
    let chain_changes = filter.chains.since(chains);
    let turning = chain_changes.iter().filter(|change| is_turning(change));
    if !(1..=MOST).contains(&turning.count()) {
        return None;
    }
    let mut tables = tables.clone();
    let filter = tables.iter_mut().find(|table| table.name == TableName::Filter)?;
    turn(Arc::make_mut(filter), &chain_changes);
    Some(Ruleset { version: *version, sets: with_new(known, &set_changes), tables })
}

fn changes_members(change: &Difference<'_, IpSetName, KernelSet>) -> bool {
    match (change.before, change.after) {
        (Some(before), Some(after)) => before.members != after.members,
        (None, _) | (_, None) => false,
    }
}

/// It says what an endpoint may, and goes on saying something.
fn is_turning(change: &Difference<'_, ChainName, Chain>) -> bool {
    let is_endpoints = |chain: &Arc<Chain>| {
        chain.rules.first().is_some_and(|rule| matches!(rule.provenance, Provenance::Endpoint(..)))
    };
    match (change.before, change.after) {
        (Some(before), Some(after)) => {
            is_endpoints(before) && is_endpoints(after) && before.rules != after.rules
        }
        (None, _) | (_, None) => false,
    }
}

fn turn(table: &mut Table, changes: &[Difference<'_, ChainName, Chain>]) {
    for change in changes {
        match (change.before, change.after) {
            (Some(before), Some(after)) if is_turning(change) => {
                for chain in both(before, after) {
                    table.chains.insert(chain.name.clone(), Arc::new(chain));
                }
            }
            // Old chains may lead to it.
            (Some(before), None) => drop(table.chains.insert(before.name.clone(), Arc::clone(before))),
            (_, Some(_)) | (None, None) => {}
        }
    }
}

/// The old chain and the new one under other names, and the one that lets through what both do.
fn both(before: &Chain, after: &Chain) -> [Chain; 3] {
    let name = &after.name;
    let [old, new] = [(Age::Old, before), (Age::New, after)]
        .map(|(age, chain)| Chain { name: ChainName::turning(name, age), rules: chain.rules.clone() });
    // Both are of the endpoint, as all of their rules are.
    let provenance = after.rules.first().map_or(Provenance::Static, |rule| rule.provenance.clone());
    let rules = [Target::Jump(old.name.clone()), Target::Goto(new.name.clone())]
        .map(|target| Rule::always(target, &provenance).comment("While sets change"));
    let both = Chain { name: name.clone(), rules: rules.into() };
    [old, new, both]
}

/// The sets as they are, and those that will be new.
fn with_new(
    known: &SharedMap<IpSetName, KernelSet>,
    changes: &[Difference<'_, IpSetName, KernelSet>],
) -> SharedMap<IpSetName, KernelSet> {
    let mut sets = known.clone();
    for change in changes {
        if let (None, Some(new)) = (change.before, change.after) {
            sets.insert(new.name.clone(), Arc::clone(new));
        }
    }
    sets
}
