//! What a kernel refuses, and what stands in its place: closed, never absent.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::Desired;
use super::detour::named_set;
use crate::datastore::Place;
use crate::model::IpVersion;
use crate::rules::hash::rule_hashes;
use crate::rules::names::{ChainName, IpSetName};
use crate::rules::ruleset::{Chain, KernelSet, Provenance, Rule, Ruleset, Table, TableName, Target};

/// The smallest thing that can be written apart from the rest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A chain of ours.
    Chain(IpVersion, TableName, ChainName),
    /// Our rules in a chain of the kernel's.
    Hook(IpVersion, TableName, Box<str>),
    /// The removal of a chain of ours.
    Removal(IpVersion, TableName, Box<str>),
    Set(IpSetName),
}

/// The parts that a kernel refuses.
///
/// 1. *What can't be programmed is closed.* A policy's or endpoint's chain becomes one that drops: what it governs is
///    denied, all else goes on. A chain that can't be removed, as somebody else's rule leads to it, stays, empty.
///    Rules that match by a set that can't be had are in chains that are closed.
/// 2. *What would close the host itself is not closed*: chains that every host has stay as they were; the table
///    waits.
/// 3. *Nothing is refused for ever*: a part that changes, or was refused long ago, is tried again by whoever holds
///    this.
#[derive(Clone, Debug, Default)]
pub struct Quarantine {
    parts: BTreeMap<Part, Quarantined>,
}

/// One part that is refused.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// The tool's or kernel's words.
    pub reason: String,
    stand_in: StandIn,
}

#[derive(Clone, Debug)]
enum StandIn {
    /// `wanted` is not written, `closed` is.
    Chain { wanted: Arc<Chain>, closed: Arc<Chain> },
    /// An empty chain.
    Kept(Arc<Chain>),
    /// `wanted` is not there, and chains that name it are closed, which is remembered by the chain.
    Set { wanted: Arc<KernelSet> },
}

impl Quarantine {
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// The parts.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.keys()
    }

    /// The parts, and why.
    pub fn iter(&self) -> impl Iterator<Item = (&Part, &Quarantined)> {
        self.parts.iter()
    }

    /// Closes a chain: what is to be written in its place. None where it must not be closed, or is already.
    pub fn close_chain(
        &mut self,
        version: IpVersion,
        table: TableName,
        wanted: &Arc<Chain>,
        reason: &str,
    ) -> Option<Arc<Chain>> {
        let closed = Arc::new(closed(table, wanted)?);
        let part = Part::Chain(version, table, wanted.name.clone());
        let stand_in = StandIn::Chain { wanted: Arc::clone(wanted), closed: Arc::clone(&closed) };
        self.insert(part, reason, stand_in).then_some(closed)
    }

    /// Keeps a chain that can't be removed; false where it already is kept, or is not of a name that we give.
    pub fn keep_chain(&mut self, version: IpVersion, table: TableName, name: &str, reason: &str) -> bool {
        let Some(name) = ChainName::found(name) else { return false };
        let part = Part::Removal(version, table, name.as_str().into());
        self.insert(part, reason, StandIn::Kept(Arc::new(Chain { name, rules: Vec::new() })))
    }

    /// Does without a set; false where this was so already.
    pub fn leave_out_set(&mut self, wanted: &Arc<KernelSet>, reason: &str) -> bool {
        let part = Part::Set(wanted.name.clone());
        self.insert(part, reason, StandIn::Set { wanted: Arc::clone(wanted) })
    }

    /// All parts are tried again.
    pub fn clear(&mut self) {
        self.parts.clear();
    }

    /// Parts that are not wanted any more, or not as they were refused, are tried again.
    pub fn release_changed(&mut self, desired: &Desired) {
        self.parts.retain(|part, quarantined| quarantined.stand_in.is_wanted(part, desired));
    }

    /// What shall be programmed instead of `desired`.
    #[must_use]
    pub fn applied_to(&self, desired: &Desired) -> Desired {
        if self.is_empty() {
            return desired.clone();
        }
        let rulesets = desired.rulesets.iter().map(|ruleset| Arc::new(self.applied_to_ruleset(ruleset)));
        let routes = desired.routes.clone();
        Desired { rulesets: rulesets.collect(), insert_mode: desired.insert_mode, routes }
    }

    fn insert(&mut self, part: Part, reason: &str, stand_in: StandIn) -> bool {
        match self.parts.entry(part) {
            // It is the stand-in that is refused now.
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(Quarantined { reason: reason.to_owned(), stand_in });
                true
            }
        }
    }

    fn applied_to_ruleset(&self, ruleset: &Ruleset) -> Ruleset {
        let mut ruleset = ruleset.clone();
        let refused: BTreeSet<&IpSetName> = self
            .parts
            .keys()
            .filter_map(|part| match part {
                Part::Set(name) => Some(name),
                Part::Chain(..) | Part::Hook(..) | Part::Removal(..) => None,
            })
            .collect();
        for name in &refused {
            ruleset.sets.remove(*name);
        }
        for table in &mut ruleset.tables {
            let table = Arc::make_mut(table);
            close_where_named(table, &refused);
            for (part, quarantined) in &self.parts {
                quarantined.stand_in.put_into(part, ruleset.version, table);
            }
        }
        ruleset
    }
}

impl StandIn {
    fn is_wanted(&self, part: &Part, desired: &Desired) -> bool {
        let ruleset = |version| desired.rulesets.iter().find(|ruleset| ruleset.version == version);
        let table = |version, name| {
            let tables = ruleset(version).map(|ruleset| &ruleset.tables);
            tables.and_then(|tables| tables.iter().find(|table| table.name == name))
        };
        match (self, part) {
            (Self::Chain { wanted, closed: _ }, Part::Chain(version, name, _)) => table(*version, *name)
                .and_then(|table| table.chains.get(&wanted.name))
                .is_some_and(|chain| is_same_chain(chain, wanted)),
            (Self::Kept(chain), Part::Removal(version, name, _)) => {
                table(*version, *name).is_some_and(|table| !table.chains.contains_key(&chain.name))
            }
            (Self::Set { wanted }, _) => ruleset(wanted.version)
                .and_then(|ruleset| ruleset.sets.get(&wanted.name))
                .is_some_and(|set| is_same_set(set, wanted)),
            (Self::Chain { .. } | Self::Kept(_), _) => false,
        }
    }

    fn put_into(&self, part: &Part, version: IpVersion, table: &mut Table) {
        let is_here = match part {
            Part::Chain(of, name, _) | Part::Hook(of, name, _) | Part::Removal(of, name, _) => {
                (*of, *name) == (version, table.name)
            }
            Part::Set(_) => false,
        };
        match self {
            Self::Chain { wanted: _, closed: chain } | Self::Kept(chain) if is_here => {
                table.chains.insert(chain.name.clone(), Arc::clone(chain));
            }
            Self::Chain { .. } | Self::Kept(_) | Self::Set { .. } => {}
        }
    }
}

/// The kernel would be told the same.
fn is_same_chain(one: &Arc<Chain>, other: &Arc<Chain>) -> bool {
    let ids = |chain: &Chain| rule_hashes(chain.name.as_str(), &chain.rules);
    Arc::ptr_eq(one, other) || ids(one) == ids(other)
}

fn is_same_set(one: &Arc<KernelSet>, other: &Arc<KernelSet>) -> bool {
    let told = |set: &Arc<KernelSet>| (set.version, set.set_type, set.max_elements);
    Arc::ptr_eq(one, other) || (told(one) == told(other) && one.members == other.members)
}

/// Closes chains that match by a set that is not to be had, where that is allowed.
fn close_where_named(table: &mut Table, refused: &BTreeSet<&IpSetName>) {
    if refused.is_empty() {
        return;
    }
    let names_one = |rule: &Rule| {
        rule.matches.iter().filter_map(|m| named_set(&m.criterion)).any(|set| refused.contains(set))
    };
    let naming = table.chains.values().filter(|chain| chain.rules.iter().any(names_one));
    let closed: Vec<Chain> = naming.filter_map(|chain| closed(table.name, chain)).collect();
    for chain in closed {
        table.chains.insert(chain.name.clone(), Arc::new(chain));
    }
}

/// The chain that denies all that `chain` decides on; None for those that decide for the host as a whole.
fn closed(table: TableName, chain: &Chain) -> Option<Chain> {
    // The way to several endpoints begins with rules that are nobody's.
    let is_somebodys = |rule: &&Rule| rule.provenance != Provenance::Static;
    let rule = chain.rules.iter().find(is_somebodys).or(chain.rules.first())?;
    let provenance = rule.provenance.clone();
    let of = |target| Rule::always(target, &provenance).comment("felix-rs: refused by the kernel");
    let rules = match (&provenance, table) {
        (
            Provenance::Dispatch(_)
            | Provenance::Endpoint(..)
            | Provenance::Rule(_)
            | Provenance::Empty(..)
            | Provenance::Group(_)
            | Provenance::UnknownInterface,
            TableName::Filter,
        ) => vec![of(Target::Drop)],
        // An address that is not translated reaches nothing that policy does not let it.
        (Provenance::Nat, TableName::Nat) => Vec::new(),
        (
            Provenance::Static
            | Provenance::Nat
            | Provenance::Dispatch(_)
            | Provenance::Endpoint(..)
            | Provenance::Rule(_)
            | Provenance::Empty(..)
            | Provenance::Group(_)
            | Provenance::UnknownInterface,
            TableName::Raw | TableName::Mangle | TableName::Nat | TableName::Filter,
        ) => return None,
    };
    Some(Chain { name: chain.name.clone(), rules })
}

impl Quarantined {
    /// Who is responsible for what was refused, and where it is written, for people; nobody for a leftover.
    pub fn culprits(&self) -> Vec<(String, Option<Place>)> {
        let chain = match &self.stand_in {
            StandIn::Chain { wanted, closed: _ } => wanted,
            StandIn::Kept(_) => return Vec::new(),
            StandIn::Set { wanted } => return vec![(format!("the set of {}", wanted.meaning), None)],
        };
        let mut culprits: Vec<(String, Option<Place>)> = Vec::new();
        for rule in &chain.rules {
            let culprit = match &rule.provenance {
                Provenance::Rule(source) => (source.owner.to_string(), source.place.clone()),
                Provenance::Empty(owner, _) => (owner.to_string(), None),
                Provenance::Endpoint(id, _) | Provenance::Dispatch(id) => (format!("endpoint {id}"), None),
                Provenance::Group(id) => (id.to_string(), None),
                Provenance::Static | Provenance::UnknownInterface | Provenance::Nat => continue,
            };
            if !culprits.iter().any(|(name, _)| *name == culprit.0) {
                culprits.push(culprit);
            }
        }
        culprits
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(version, table, name) => {
                write!(f, "chain {name} of the {} table for {version}", table.name())
            }
            Self::Hook(version, table, chain) => {
                write!(f, "our rules in {chain} of the {} table for {version}", table.name())
            }
            Self::Removal(version, table, name) => {
                write!(f, "the removal of chain {name} from the {} table for {version}", table.name())
            }
            Self::Set(name) => write!(f, "set {name}"),
        }
    }
}

#[cfg(test)]
mod tests;
