//! How endpoints turn together with sets, though sets and chains can't change at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::detour::side_and_set;
use super::{Desired, Programmed};
use crate::rules::hash::rule_hashes;
use crate::rules::names::Age;
use crate::rules::ruleset::{
    Chain, ChainName, Difference, IpSetName, KernelSet, Provenance, Rule, Ruleset, SharedMap, Side, Table,
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
/// That is not enough where an endpoint's rules match its own address by such a set, or where rules of policies change as
/// well: then all goes by a detour, see [`meets_itself`].
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
    turns.then_some(Desired { rulesets, insert_mode: desired.insert_mode, routes: None })
}

/// Whether sets change together with what a turn does not cover: rules of a policy or profile that stays, or an endpoint
/// with rules that match its own address by a set that changes.
///
/// Then an old chain with a new address in the sets, or the reverse, may decide as neither state does.
pub(super) fn meets_itself(ruleset: &Ruleset, programmed: &Programmed) -> bool {
    let Some(turns) = Turns::of(ruleset, programmed) else { return false };
    let stays_otherwise = |change: &Difference<'_, ChainName, Chain>| match (change.before, change.after) {
        (Some(before), Some(after)) => decides(after) && !is_turning(change) && before.rules != after.rules,
        (None, _) | (_, None) => false,
    };
    if turns.chain_changes.iter().any(stays_otherwise) {
        return true;
    }
    let changing: BTreeSet<&IpSetName> =
        turns.set_changes.iter().filter(|change| changes_members(change)).map(|change| change.key).collect();
    let after = &turns.filter.chains;
    turns.chains().any(|(before_chain, after_chain)| {
        // Towards the endpoint it is the destination, away from it the source.
        let own = if after_chain.name.is_to_workload() { Side::Destination } else { Side::Source };
        let names_one = |chain: &Chain| {
            let matches = chain.rules.iter().flat_map(|rule| &rule.matches);
            matches
                .filter_map(|m| side_and_set(&m.criterion))
                .any(|(side, set)| side == own && changing.contains(set))
        };
        [(before_chain, turns.known_chains), (after_chain, after)]
            .into_iter()
            .any(|(chain, chains)| reached(chain, chains).into_iter().any(names_one))
    })
}

/// Whether chains that say what endpoints may change together with sets, where it is not known what the kernel's say: it
/// was read, and may be what an earlier life left half-way.
pub(super) fn may_meet_itself(ruleset: &Ruleset, programmed: &Programmed) -> bool {
    let Ruleset { version, sets, tables } = ruleset;
    let table = programmed.table(*version, TableName::Filter);
    if programmed.written_sets.contains_key(version) && table.written.is_some() {
        return false;
    }
    let changes = |set: &Arc<KernelSet>| {
        programmed.sets.get(set.name.as_str()).is_some_and(|there| *there.members() != *set.members)
    };
    let chain_changes = |chain: &Arc<Chain>| {
        table.ours.get(chain.name.as_str()).is_some_and(|there| {
            !there.is_written_from(chain) && !there.has_ids(&rule_hashes(chain.name.as_str(), &chain.rules))
        })
    };
    let filter = tables.iter().filter(|table| table.name == TableName::Filter);
    sets.values().any(changes)
        && filter.flat_map(|table| table.chains.values()).any(|chain| decides(chain) && chain_changes(chain))
}

/// The chain says what an endpoint may. One that only finds the endpoint's chain changes whenever an endpoint comes or goes.
fn decides(chain: &Chain) -> bool {
    chain.rules.iter().any(|rule| match rule.provenance {
        Provenance::Endpoint(..) | Provenance::Rule(_) | Provenance::Empty(..) | Provenance::Group(_) => true,
        Provenance::Static | Provenance::Nat | Provenance::Dispatch(_) | Provenance::UnknownInterface => {
            false
        }
    })
}

/// What a chain leads to: its policies, groups and profiles.
fn reached<'c>(from: &'c Chain, chains: &'c SharedMap<ChainName, Chain>) -> Vec<&'c Chain> {
    let mut reached = vec![from];
    let mut next = 0;
    while let Some(chain) = reached.get(next).copied() {
        next += 1;
        let targets = chain.rules.iter().filter_map(|rule| rule.target.as_ref()?.chain());
        reached.extend(targets.filter_map(|name| chains.get(name)).map(|chain| &**chain));
    }
    reached
}

/// What changes in one family, where members of sets do.
struct Turns<'t> {
    known_sets: &'t SharedMap<IpSetName, KernelSet>,
    set_changes: Vec<Difference<'t, IpSetName, KernelSet>>,
    known_chains: &'t SharedMap<ChainName, Chain>,
    filter: &'t Table,
    chain_changes: Vec<Difference<'t, ChainName, Chain>>,
}

impl<'t> Turns<'t> {
    /// None where no set changes its members, or it is not known what the kernel has.
    fn of(ruleset: &'t Ruleset, programmed: &'t Programmed) -> Option<Self> {
        let Ruleset { version, sets, tables } = ruleset;
        let known_sets = programmed.written_sets.get(version)?;
        let set_changes = sets.since(known_sets);
        if !set_changes.iter().any(changes_members) {
            return None;
        }
        let known_chains = programmed.table(*version, TableName::Filter).written.as_ref()?;
        let filter = tables.iter().find(|table| table.name == TableName::Filter)?;
        let chain_changes = filter.chains.since(known_chains);
        Some(Self { known_sets, set_changes, known_chains, filter, chain_changes })
    }

    /// The chains that turn, as they are and as they are to be.
    fn chains(&self) -> impl Iterator<Item = (&'t Chain, &'t Chain)> {
        let turning = self.chain_changes.iter().filter(|change| is_turning(change));
        turning.filter_map(|change| Some((&**change.before?, &**change.after?)))
    }
}

fn turned(ruleset: &Ruleset, programmed: &Programmed) -> Option<Ruleset> {
    let turns = Turns::of(ruleset, programmed)?;
    if !(1..=MOST).contains(&turns.chains().count()) {
        return None;
    }
    let mut tables = ruleset.tables.clone();
    let filter = tables.iter_mut().find(|table| table.name == TableName::Filter)?;
    turn(Arc::make_mut(filter), &turns.chain_changes, turns.known_chains);
    let sets = with_new(turns.known_sets, &turns.set_changes);
    Some(Ruleset { version: ruleset.version, sets, tables })
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

fn turn(
    table: &mut Table,
    changes: &[Difference<'_, ChainName, Chain>],
    known: &SharedMap<ChainName, Chain>,
) {
    // Old chains may lead to what is to go.
    for gone in changes.iter().filter(|change| change.after.is_none()).filter_map(|change| change.before) {
        table.chains.insert(gone.name.clone(), Arc::clone(gone));
    }
    for change in changes.iter().filter(|change| is_turning(change)) {
        if let (Some(before), Some(after)) = (change.before, change.after) {
            // One that has not finished an earlier turn: what it was then is what it still is.
            let before = known.get(&ChainName::turning(&after.name, Age::Old)).unwrap_or(before);
            for chain in both(before, after) {
                table.chains.insert(chain.name.clone(), Arc::new(chain));
            }
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
