//! How a set is replaced by another of its name, where rules must not meet both.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sets::{Way, differing_sets, wanted_sets};
use super::turning::{may_meet_itself, meets_itself};
use super::{Desired, Programmed};
use crate::model::IpVersion;
use crate::policy::SetId;
use crate::rules::names::IpSetName;
use crate::rules::ruleset::{Chain, Criterion, Hook, KernelSet, Match, Rule, Ruleset, Side, Table};

type Names = BTreeMap<IpSetName, IpSetName>;

/// Members of sets that are made a second time for an endpoint's sake, at most: beyond, time counts for more.
const MOST_MEMBERS: usize = 1 << 16;

/// What to program before `desired`: wanted sets are first made under other names, with the same members, and the rules
/// name those: they say the same all the while. Then nothing names the sets of the wanted names, and the way to
/// `desired` is free. It is taken
///
/// - where a set of a wanted name is there with another type. While a rule names it the kernel lets nobody swap it with
///   one of the wanted type ("their type does not match"), rename it ("in use by another system") or destroy it;
/// - where sets change together with rules of policies, or with an endpoint that its own rules match by such a set: see
///   [`meets_itself`]. Sets and chains then change at once, by the transaction that renames
///   the sets in the rules.
pub(super) fn detour(desired: &Desired, programmed: &Programmed) -> Option<Desired> {
    let turning: Vec<IpVersion> = desired
        .rulesets
        .iter()
        .filter(|ruleset| meets_itself(ruleset, programmed) || may_meet_itself(ruleset, programmed))
        .map(|ruleset| ruleset.version)
        .collect();
    let is_there = |set: &KernelSet| programmed.sets.contains_key(set.name.as_str());
    let differing = || differing_sets(desired, programmed).filter(|set| is_there(set));
    let turns = |set: &KernelSet| turning.contains(&set.version);
    let members: usize = differing().filter(|set| turns(set)).map(|set| set.members.len()).sum();
    let goes_aside = |set: &KernelSet| is_blocked(set, programmed) || members <= MOST_MEMBERS && turns(set);
    let aside: Vec<&KernelSet> = differing().filter(|set| goes_aside(set)).map(|set| &**set).collect();
    let names = names_aside(&aside, desired, programmed);
    (!names.is_empty()).then(|| Desired {
        rulesets: desired.rulesets.iter().map(|ruleset| Arc::new(renamed_ruleset(ruleset, &names))).collect(),
        insert_mode: desired.insert_mode,
        routes: None,
    })
}

fn is_blocked(set: &KernelSet, programmed: &Programmed) -> bool {
    programmed.sets.get(set.name.as_str()).is_some_and(|there| there.way_to(set) == Way::Blocked)
}

/// A name for each. It is the set's own, so that a detour that was left half-way is taken up where it was, and no rule
/// ever means another set than it meant.
fn names_aside(sets: &[&KernelSet], desired: &Desired, programmed: &Programmed) -> Names {
    let is_free = |name: &IpSetName, set: &KernelSet| {
        let there = programmed.sets.get(name.as_str());
        there.is_none_or(|there| there.way_to(set) != Way::Blocked)
            && wanted_sets(desired).all(|wanted| wanted.name != *name)
    };
    let named = sets.iter().filter_map(|set| {
        let aside = (0..).map(|number| name_aside(set, number)).find(|name| is_free(name, set))?;
        Some((set.name.clone(), aside))
    });
    named.collect()
}

/// Numbers but the first are for a name that something else has.
fn name_aside(set: &KernelSet, number: u32) -> IpSetName {
    let id = set.name.id();
    let id = if number == 0 { format!("aside:{id}") } else { format!("aside{number}:{id}") };
    IpSetName::new(set.version, &SetId(id.into()))
}

fn renamed_ruleset(ruleset: &Ruleset, names: &Names) -> Ruleset {
    let Ruleset { version, sets, tables } = ruleset;
    Ruleset {
        version: *version,
        sets: sets.values().map(|set| renamed_set(set, names)).map(|set| (set.name.clone(), set)).collect(),
        tables: tables.iter().map(|table| Arc::new(renamed_table(table, names))).collect(),
    }
}

fn renamed_set(set: &Arc<KernelSet>, names: &Names) -> Arc<KernelSet> {
    match names.get(&set.name) {
        None => Arc::clone(set),
        Some(name) => Arc::new(KernelSet { name: name.clone(), ..KernelSet::clone(set) }),
    }
}

fn renamed_table(table: &Table, names: &Names) -> Table {
    let Table { name, hooks, chains } = table;
    Table {
        name: *name,
        hooks: hooks.iter().map(|hook| renamed_hook(hook, names)).collect(),
        chains: chains.iter().map(|(name, chain)| (name.clone(), renamed_chain(chain, names))).collect(),
    }
}

fn renamed_hook(hook: &Hook, names: &Names) -> Hook {
    let Hook { chain, rules, appended } = hook;
    Hook { chain, rules: renamed_rules(rules, names), appended: renamed_rules(appended, names) }
}

fn renamed_chain(chain: &Arc<Chain>, names: &Names) -> Arc<Chain> {
    let Chain { name, rules } = &**chain;
    let named = rules.iter().flat_map(|rule| &rule.matches).filter_map(|m| named_set(&m.criterion));
    if named.into_iter().any(|set| names.contains_key(set)) {
        Arc::new(Chain { name: name.clone(), rules: renamed_rules(rules, names) })
    } else {
        Arc::clone(chain)
    }
}

fn renamed_rules(rules: &[Rule], names: &Names) -> Vec<Rule> {
    let mut rules = rules.to_vec();
    for Match { negated: _, criterion } in rules.iter_mut().flat_map(|rule| &mut rule.matches) {
        if let Some(name) = named_set(criterion).and_then(|set| names.get(set)) {
            rename_set(criterion, name);
        }
    }
    rules
}

fn rename_set(criterion: &mut Criterion, name: &IpSetName) {
    if let Criterion::Set(_, set) | Criterion::SetWithPort(_, set) = criterion {
        *set = name.clone();
    }
}

pub(super) fn named_set(criterion: &Criterion) -> Option<&IpSetName> {
    side_and_set(criterion).map(|(_, set)| set)
}

/// The set that a criterion looks into, and which end of the packet it looks for there.
pub(super) fn side_and_set(criterion: &Criterion) -> Option<(Side, &IpSetName)> {
    match criterion {
        Criterion::Set(side, set) | Criterion::SetWithPort(side, set) => Some((*side, set)),
        Criterion::Protocol(_)
        | Criterion::Net(..)
        | Criterion::Address(..)
        | Criterion::Ports(..)
        | Criterion::Icmp(..)
        | Criterion::Mark { .. }
        | Criterion::InInterface(_)
        | Criterion::OutInterface(_)
        | Criterion::Conntrack(_)
        | Criterion::ReversePath
        | Criterion::SourceIsLocal { .. }
        | Criterion::DestinationIsLocal
        | Criterion::Limit { .. } => None,
    }
}
