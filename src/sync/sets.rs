//! The changes of IP sets, as values and as the input of `ipset restore` (reference §9).

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::sync::Arc;

use super::ownership::{set_family, temporary_set_name};
use super::{Desired, Part, Programmed};
use crate::model::IpVersion;
use crate::policy::Member;
use crate::rules::ruleset::{IpSetName, KernelSet, Ruleset, SetType, SharedMap};

/// Bytes of a member's line, roughly.
const LINE: usize = 64;

/// Sets to make and to change. `ipset restore` carries the lines out one by one: after a failure read back and plan
/// again.
///
/// Members come before the tables are written, and go after: in between an address is in the sets of its old state and
/// of its new. A rule that names one of them and holds then held before, or will hold; so the first one that holds
/// decides as the old state or the new would have done. Were members taken away first, an address on its way from one
/// set to another would be in neither, and pass where both deny.
#[derive(Clone, Debug)]
pub struct SetChanges {
    /// By name.
    changes: Vec<SetChange>,
    /// Found as they are to be.
    right: Vec<Arc<KernelSet>>,
}

/// Sets that no rule names any more.
#[derive(Clone, Debug)]
pub struct SetRemovals {
    /// Sorted.
    names: BTreeSet<Box<str>>,
    /// What each family is to have then.
    left: Vec<(IpVersion, SharedMap<IpSetName, KernelSet>)>,
}

#[derive(Clone, Debug)]
enum SetChange {
    Create(Arc<KernelSet>),
    /// Members come; `set` has those that are to go later, too.
    Add {
        set: Arc<KernelSet>,
        added: Vec<Member>,
    },
    /// Members go, and the set is as wanted.
    Remove {
        set: Arc<KernelSet>,
        removed: Vec<Member>,
    },
    /// Another set is filled and swapped in; under its name what was there before waits to be destroyed.
    Replace {
        set: Arc<KernelSet>,
        temporary: Box<str>,
    },
}

/// A set of ours that is there.
#[derive(Clone, Debug)]
pub(super) enum ProgrammedSet {
    /// As wanted at the time.
    Written(Arc<KernelSet>),
    Read(ReadSet),
}

/// A set as the kernel tells it.
#[derive(Clone, Debug)]
pub(super) struct ReadSet {
    /// None for one that we never make.
    pub(super) set_type: Option<SetType>,
    pub(super) version: Option<IpVersion>,
    pub(super) max_elements: Option<u32>,
    /// It has an option, or a member, that we never write.
    pub(super) strange: bool,
    /// Sorted, each once.
    pub(super) members: Vec<Member>,
}

/// How a set that is there can become the wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By adding and deleting members.
    Update,
    /// Only as a whole: what it may hold differs.
    Replace,
    /// Not at all: the kernel swaps sets of one type and family only.
    Blocked,
}

impl SetChanges {
    /// What comes before the tables are written.
    pub(super) fn between(desired: &Desired, programmed: &Programmed) -> Self {
        let mut changes = Self { changes: Vec::new(), right: Vec::new() };
        let mut temporaries = Temporaries { programmed, next: 0 };
        for set in differing_sets(desired, programmed) {
            match programmed.sets.get(set.name.as_str()) {
                None => changes.changes.push(SetChange::Create(Arc::clone(set))),
                Some(there) => changes.add(set, there, &mut temporaries),
            }
        }
        changes
    }

    /// What comes after: members of a family's sets that are not wanted any more.
    pub(super) fn removing(desired: &Desired, programmed: &Programmed, version: IpVersion) -> Self {
        let of_family = differing_sets(desired, programmed).filter(|set| set.version == version);
        let removals = of_family.filter_map(|set| {
            let there = programmed.sets.get(set.name.as_str())?;
            if there.is_written_from(set) || !there.can_be_updated_to(set) {
                return None;
            }
            let removed = lacking(there.members(), &set.members);
            (!removed.is_empty()).then(|| SetChange::Remove { set: Arc::clone(set), removed })
        });
        Self { changes: removals.collect(), right: Vec::new() }
    }

    /// These, then those: for one run of the tool.
    pub(super) fn then(mut self, others: impl IntoIterator<Item = Self>) -> Self {
        for Self { changes, right } in others {
            self.changes.extend(changes);
            self.right.extend(right);
        }
        self
    }

    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The input of `ipset restore`.
    pub fn text(&self) -> String {
        let lines: usize = self.changes.iter().map(SetChange::lines).sum();
        let mut out = String::with_capacity(lines * LINE);
        // A String takes everything.
        let _ = self.changes.iter().try_for_each(|change| change.write(&mut out));
        out.push_str("COMMIT\n");
        out
    }

    /// The first set for itself, and the others. None where nothing changes.
    pub fn split_first(&self) -> Option<(&Arc<KernelSet>, Self, Self)> {
        let of = |changes: &[SetChange]| Self { changes: changes.to_vec(), right: Vec::new() };
        let (first, others) = self.changes.split_first()?;
        Some((first.set(), of(std::slice::from_ref(first)), of(others)))
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        self.changes.iter().map(|change| Part::Set(change.set().name.clone()))
    }

    pub(super) fn apply(&self, programmed: &mut Programmed) {
        for change in &self.changes {
            let set = change.set();
            let before = programmed.put_set(set);
            if let (SetChange::Replace { temporary, .. }, Some(before)) = (change, before) {
                programmed.put_set_aside(set.version, temporary, before);
            }
        }
        for set in &self.right {
            programmed.put_set(set);
        }
    }

    fn add(&mut self, set: &Arc<KernelSet>, there: &ProgrammedSet, temporaries: &mut Temporaries<'_>) {
        if there.is_written_from(set) {
            return;
        }
        let set = Arc::clone(set);
        // A blocked one was moved aside by a detour: it does not come here.
        if !there.can_be_updated_to(&set) {
            let temporary = temporaries.next(set.version);
            self.changes.push(SetChange::Replace { set, temporary });
            return;
        }
        let added = lacking(&set.members, there.members());
        let removed = lacking(there.members(), &set.members);
        match (added.is_empty(), removed.is_empty()) {
            (true, true) => self.right.push(set),
            (true, false) => {}
            (false, true) => self.changes.push(SetChange::Add { set, added }),
            (false, false) => {
                let members = union(there.members(), &added);
                let set = Arc::new(KernelSet { members, ..KernelSet::clone(&set) });
                self.changes.push(SetChange::Add { set, added });
            }
        }
    }
}

impl SetRemovals {
    /// `next`: what is desired behind that; sets that can become those of it are spared.
    pub(super) fn between(
        desired: &Desired,
        programmed: &Programmed,
        changes: &SetChanges,
        next: Option<&Desired>,
    ) -> Self {
        let is_spared = |name: &str| {
            let next = next.into_iter().flat_map(rulesets).find_map(|ruleset| ruleset.sets.get(name));
            let there = programmed.sets.get(name);
            next.zip(there).is_some_and(|(set, there)| there.way_to(set) != Way::Blocked)
        };
        let unwanted = rulesets(desired).flat_map(|ruleset| unwanted_sets(ruleset, programmed));
        let unwanted = unwanted.filter(|name| !is_spared(name));
        let temporaries = changes.changes.iter().filter_map(SetChange::temporary);
        Self {
            names: unwanted.chain(temporaries).map(Box::from).collect(),
            left: rulesets(desired).map(|ruleset| (ruleset.version, ruleset.sets.clone())).collect(),
        }
    }

    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The input of `ipset restore`.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for name in &self.names {
            out.push_str("destroy ");
            out.push_str(name);
            out.push('\n');
        }
        out.push_str("COMMIT\n");
        out
    }

    /// The first ones, of which there are at most so many: each costs the kernel tens of milliseconds.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        if self.names.len() <= count { self.clone() } else { Self::some(self.names.iter().take(count)) }
    }

    /// But for these.
    #[must_use]
    pub fn without(&self, others: &BTreeSet<String>) -> Self {
        let is_other = |name: &str| others.contains(name);
        if self.names.iter().any(|name| is_other(name)) {
            Self::some(self.names.iter().filter(|name| !is_other(name)))
        } else {
            self.clone()
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Each set for itself.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        self.names.iter().map(|name| Self::some([name]))
    }

    /// Not all: then it is not known that no others are left.
    fn some<'n>(names: impl IntoIterator<Item = &'n Box<str>>) -> Self {
        Self { names: names.into_iter().cloned().collect(), left: Vec::new() }
    }

    /// The sets.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub(super) fn apply(&self, programmed: &mut Programmed) {
        for name in &self.names {
            programmed.remove_set(name);
        }
        for (version, wanted) in &self.left {
            programmed.remember_sets(*version, wanted);
        }
    }
}

impl SetChange {
    fn set(&self) -> &Arc<KernelSet> {
        match self {
            Self::Create(set)
            | Self::Add { set, .. }
            | Self::Remove { set, .. }
            | Self::Replace { set, .. } => set,
        }
    }

    fn temporary(&self) -> Option<&str> {
        match self {
            Self::Create(_) | Self::Add { .. } | Self::Remove { .. } => None,
            Self::Replace { set: _, temporary } => Some(temporary),
        }
    }

    fn lines(&self) -> usize {
        match self {
            Self::Create(set) => set.members.len() + 1,
            Self::Add { set: _, added: members } | Self::Remove { set: _, removed: members } => members.len(),
            Self::Replace { set, temporary: _ } => set.members.len() + 2,
        }
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        match self {
            Self::Create(set) => {
                write_create(out, set.name.as_str(), set)?;
                write_members(out, "add", set.name.as_str(), &set.members, "")
            }
            Self::Add { set, added } => write_members(out, "add", set.name.as_str(), added, ""),
            Self::Remove { set, removed } => {
                write_members(out, "del", set.name.as_str(), removed, " --exist")
            }
            Self::Replace { set, temporary } => {
                write_create(out, temporary, set)?;
                write_members(out, "add", temporary, &set.members, "")?;
                writeln!(out, "swap {} {temporary}", set.name)
            }
        }
    }
}

impl ProgrammedSet {
    pub(super) fn way_to(&self, wanted: &KernelSet) -> Way {
        let (set_type, version, max_elements, strange) = match self {
            Self::Written(set) => (Some(set.set_type), Some(set.version), Some(set.max_elements), false),
            Self::Read(set) => (set.set_type, set.version, set.max_elements, set.strange),
        };
        if set_type != Some(wanted.set_type) || version != Some(wanted.version) {
            Way::Blocked
        } else if max_elements != Some(wanted.max_elements) || strange {
            Way::Replace
        } else {
            Way::Update
        }
    }

    /// Member by member. Old and new ones must find room together.
    fn can_be_updated_to(&self, wanted: &KernelSet) -> bool {
        let together = || self.members().len() + lacking(&wanted.members, self.members()).len();
        self.way_to(wanted) == Way::Update
            && (self.members().len() + wanted.members.len() <= wanted.max_elements as usize
                || together() <= wanted.max_elements as usize)
    }

    pub(super) fn members(&self) -> &[Member] {
        match self {
            Self::Written(set) => &set.members,
            Self::Read(set) => &set.members,
        }
    }

    fn is_written_from(&self, wanted: &Arc<KernelSet>) -> bool {
        matches!(self, Self::Written(set) if Arc::ptr_eq(set, wanted))
    }
}

/// Names for sets that are swapped in, none of them taken.
struct Temporaries<'a> {
    programmed: &'a Programmed,
    next: usize,
}

impl Temporaries<'_> {
    fn next(&mut self, version: IpVersion) -> Box<str> {
        loop {
            let name = temporary_set_name(version, self.next);
            self.next += 1;
            if !self.programmed.sets.contains_key(name.as_str()) {
                return name.into();
            }
        }
    }
}

/// By name, v4 before v6.
pub(super) fn wanted_sets(desired: &Desired) -> impl Iterator<Item = &Arc<KernelSet>> {
    rulesets(desired).flat_map(|ruleset| ruleset.sets.values())
}

/// Of [`wanted_sets`] those that may differ from what is there.
pub(super) fn differing_sets<'d>(
    desired: &'d Desired,
    programmed: &'d Programmed,
) -> impl Iterator<Item = &'d Arc<KernelSet>> {
    rulesets(desired).flat_map(|ruleset| match programmed.written_sets.get(&ruleset.version) {
        Some(written) => {
            ruleset.sets.since(written).into_iter().filter_map(|set| set.after).collect::<Vec<_>>()
        }
        None => ruleset.sets.values().collect(),
    })
}

/// Sets of the family that are there and not wanted.
fn unwanted_sets<'d>(ruleset: &'d Ruleset, programmed: &'d Programmed) -> Vec<&'d str> {
    let Ruleset { version, sets: wanted, tables: _ } = ruleset;
    if let Some(written) = programmed.written_sets.get(version) {
        let gone = wanted.since(written).into_iter().filter(|set| set.after.is_none());
        return gone.map(|set| set.key.as_str()).collect();
    }
    let wanted: BTreeSet<&str> = wanted.keys().map(IpSetName::as_str).collect();
    let there = programmed.sets.keys().map(|name| &**name);
    there.filter(|name| set_family(name) == Some(*version) && !wanted.contains(name)).collect()
}

/// v4 before v6.
fn rulesets(desired: &Desired) -> impl Iterator<Item = &Ruleset> {
    let of = |version| desired.rulesets.iter().find(move |ruleset| ruleset.version == version);
    [IpVersion::V4, IpVersion::V6].into_iter().filter_map(of).map(|ruleset| &**ruleset)
}

/// What `members` has and `others` has not; both sorted.
fn lacking(members: &[Member], others: &[Member]) -> Vec<Member> {
    let mut others = others.iter().peekable();
    members
        .iter()
        .filter(|member| {
            while others.next_if(|other| other < member).is_some() {}
            others.peek() != Some(member)
        })
        .copied()
        .collect()
}

/// Both lists, which have nothing in common, sorted.
fn union(members: &[Member], others: &[Member]) -> Vec<Member> {
    let mut union = [members, others].concat();
    union.sort_unstable();
    union
}

fn write_create(out: &mut String, name: &str, set: &KernelSet) -> fmt::Result {
    let family = match set.version {
        IpVersion::V4 => "inet",
        IpVersion::V6 => "inet6",
    };
    let (set_type, max) = (set.set_type.name(), set.max_elements);
    writeln!(out, "create {name} {set_type} family {family} maxelem {max}")
}

fn write_members(out: &mut String, verb: &str, set: &str, members: &[Member], option: &str) -> fmt::Result {
    for member in members {
        write!(out, "{verb} {set} ")?;
        writeln!(out, "{member}{option}")?;
    }
    Ok(())
}
