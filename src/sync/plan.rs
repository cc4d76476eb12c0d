//! The order in which a host is changed.

use std::collections::BTreeSet;

use super::detour::detour;
use super::sets::{SetChanges, SetRemovals};
use super::tables::TableChanges;
use super::turning::turning;
use super::{Desired, Part, Programmed};
use crate::model::IpVersion;
use crate::rules::ruleset::TableName;

/// What to do, in order, so that the kernel has what is desired.
///
/// 1. *No rule ever names a set that is not there.* A restore that does is refused as a whole. So sets are made and
///    filled first, then the tables are written, and only then do members go, and sets that nothing names any more.
/// 2. *A table changes at once.* `iptables-restore` commits a table as a whole; a failed one changes nothing. Between
///    tables, and between sets and tables, nothing is atomic; each step alone leaves a host that enforces either the
///    old or the new rules of that table.
/// 3. *A plan leaves nothing to do*: `plan(d, p.after(&plan(d, p)))` is empty. A step with nothing to do is absent.
/// 4. *The texts are a function of both ends only*: sorted, and without regard to how the host came there.
///
/// Goal 1 conflicts with names that are fixed: a set of ours may be there with a type that can't be swapped, and can
/// neither be renamed nor destroyed while rules name it. Then the plan has two such rounds, the first on a detour (`detour.rs`).
///
/// What goal 2 lacks matters where an endpoint's own chains change together with the sets that it is in. Then there are two
/// rounds as well: see `turning.rs`.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Also those with nothing to do: they know what was found right, which need not be compared again.
    steps: Vec<Step>,
}

/// The input of one process.
#[derive(Clone, Debug)]
pub enum Step {
    /// For `ipset restore`: sets are created, filled, changed.
    Sets(SetChanges),
    /// For `iptables-restore --noflush` or its IPv6 sibling.
    Table(TableChanges),
    /// For `ipset restore`: members that are not wanted any more are removed from sets of one family.
    RemoveMembers(IpVersion, SetChanges),
    /// For `ipset restore`: sets that no rule names any more are destroyed. The kernel may hold on to one for a
    /// moment after the rules are gone.
    RemoveSets(SetRemovals),
}

/// The changes that make the kernel, as it is `programmed`, have what is `desired`.
pub fn plan(desired: &Desired, programmed: &Programmed) -> Plan {
    let first = match detour(desired, programmed) {
        Some(aside) => Some(aside),
        None => turning(desired, programmed),
    };
    let Some(first) = first else {
        return Plan { steps: round(desired, programmed, None).concat() };
    };
    let mut plan = Plan { steps: round(&first, programmed, Some(desired)).concat() };
    let between = programmed.clone().after(&plan);
    // Members go as soon as others have come: no rule names those sets now, or what turns denies meanwhile what they
    // could let through.
    let [sets, tables, members, rest] = round(desired, &between, None);
    plan.steps.extend([sets, members, tables, rest].into_iter().flatten());
    plan
}

impl Plan {
    /// In the order in which they must be carried out.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !step.is_empty())
    }

    /// In the order in which they must be carried out, also those that have nothing to do: they tell
    /// [`Programmed::take`] what was found right.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }

    /// All that is changed; sets that are destroyed are not among it.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let parts = self.steps.iter().flat_map(|step| match step {
            Step::Sets(changes) | Step::RemoveMembers(_, changes) => changes.parts().collect(),
            Step::Table(changes) => changes.parts(),
            Step::RemoveSets(_) => Vec::new(),
        });
        // Members may come and go in one set.
        parts.collect::<BTreeSet<_>>().into_iter()
    }

    /// The kernel has what is desired.
    pub fn is_empty(&self) -> bool {
        self.steps().next().is_none()
    }
}

impl Step {
    /// The input of the process.
    pub fn text(&self) -> String {
        match self {
            Self::Sets(changes) | Self::RemoveMembers(_, changes) => changes.text(),
            Self::Table(changes) => changes.text(),
            Self::RemoveSets(removals) => removals.text(),
        }
    }

    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Sets(changes) | Self::RemoveMembers(_, changes) => changes.is_empty(),
            Self::Table(changes) => changes.is_empty(),
            Self::RemoveSets(removals) => removals.is_empty(),
        }
    }
}

impl Programmed {
    /// What the kernel has once `plan` was carried out.
    #[must_use]
    pub fn after(mut self, plan: &Plan) -> Self {
        plan.steps.iter().for_each(|step| self.take(step));
        self
    }

    /// Takes note that `step` was carried out.
    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Sets(changes) | Step::RemoveMembers(_, changes) => changes.apply(self),
            Step::Table(changes) => changes.apply(self),
            Step::RemoveSets(removals) => removals.apply(self),
        }
    }
}

/// Sets, then tables, then the members and sets that are left over, unless they are wanted `next`.
fn round(desired: &Desired, programmed: &Programmed, next: Option<&Desired>) -> [Vec<Step>; 4] {
    let sets = SetChanges::between(desired, programmed);
    let removals = SetRemovals::between(desired, programmed, &sets, next);
    let members = IpVersion::ALL.map(|version| SetChanges::removing(desired, programmed, version));
    let tables: Vec<Step> = tables(desired, programmed).collect();
    let (sets, members) = if tables.iter().all(Step::is_empty) {
        // Nothing comes in between.
        (sets.then(members), Vec::new())
    } else {
        let [v4, v6] = members;
        (sets, vec![Step::RemoveMembers(IpVersion::V4, v4), Step::RemoveMembers(IpVersion::V6, v6)])
    };
    [vec![Step::Sets(sets)], tables, members, vec![Step::RemoveSets(removals)]]
}

fn tables(desired: &Desired, programmed: &Programmed) -> impl Iterator<Item = Step> {
    [IpVersion::V4, IpVersion::V6]
        .into_iter()
        .filter_map(|version| desired.rulesets.iter().find(|ruleset| ruleset.version == version))
        .flat_map(|ruleset| TableName::ALL.map(|table| (ruleset, table)))
        .map(|(ruleset, table)| {
            Step::Table(TableChanges::between(ruleset, table, desired.insert_mode, programmed))
        })
}
