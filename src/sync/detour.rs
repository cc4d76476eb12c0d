//! How a set is replaced by one of the same name and another type.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sets::{Way, differing_sets, wanted_sets};
use super::{Desired, Programmed};
use crate::model::IpVersion;
use crate::policy::SetId;
use crate::rules::names::IpSetName;
use crate::rules::ruleset::{Chain, Criterion, Hook, KernelSet, Match, Rule, Ruleset, Table};

type Names = BTreeMap<IpSetName, IpSetName>;

/// What to program before `desired`, if a set of a wanted name is there with another type.
///
/// While a rule names that set the kernel lets nobody swap it with one of the wanted type ("their type does not
/// match"), rename it ("in use by another system") or destroy it. So the wanted set is first made under another
/// name, with the same members, and the rules name that one: they say the same all the while. The one in the way is
/// then a leftover and is destroyed, and the way to `desired` is free.
pub(super) fn detour(desired: &Desired, programmed: &Programmed) -> Option<Desired> {
    let blocked: Vec<&KernelSet> = differing_sets(desired, programmed)
        .filter(|set| is_blocked(set, programmed))
        .map(|set| &**set)
        .collect();
    let names = names_aside(&blocked, desired, programmed);
    (!names.is_empty()).then(|| Desired {
        rulesets: desired.rulesets.iter().map(|ruleset| Arc::new(renamed_ruleset(ruleset, &names))).collect(),
        insert_mode: desired.insert_mode,
    })
}

fn is_blocked(set: &KernelSet, programmed: &Programmed) -> bool {
    programmed.sets.get(set.name.as_str()).is_some_and(|there| there.way_to(set) == Way::Blocked)
}

/// A free name for each.
fn names_aside(blocked: &[&KernelSet], desired: &Desired, programmed: &Programmed) -> Names {
    let is_free = |name: &IpSetName| {
        !programmed.sets.contains_key(name.as_str()) && wanted_sets(desired).all(|set| set.name != *name)
    };
    let free = |version| (0..).map(move |number: u64| name_aside(version, number)).filter(is_free);
    let (mut v4, mut v6) = (free(IpVersion::V4), free(IpVersion::V6));
    blocked
        .iter()
        .filter_map(|set| {
            let aside = match set.version {
                IpVersion::V4 => v4.next(),
                IpVersion::V6 => v6.next(),
            };
            Some((set.name.clone(), aside?))
        })
        .collect()
}

fn name_aside(version: IpVersion, number: u64) -> IpSetName {
    IpSetName::new(version, &SetId(format!("aside:{number}").into()))
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
    match criterion {
        Criterion::Set(_, set) | Criterion::SetWithPort(_, set) => Some(set),
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
