//! What the kernel has, as far as it concerns us: names, ids and members, no rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sets::ProgrammedSet;
use crate::config::InsertMode;
use crate::model::IpVersion;
use crate::rules::hash::RuleHash;
use crate::rules::ruleset::{Chain, IpSetName, KernelSet, SharedMap, Table, TableName};

/// What the kernel has. The default is a kernel without any rule or set; its own chains need no mention.
///
/// Parts that were found equal to a wanted value, or written from it, remember that value: planning it again is a
/// comparison of pointers. So do whole tables, and the sets of a family: of those, only what is not shared between what
/// is wanted now and what was wanted then is looked at.
#[derive(Clone, Debug, Default)]
pub struct Programmed {
    pub(super) tables: BTreeMap<(IpVersion, TableName), ProgrammedTable>,
    /// Ours only, by name.
    pub(super) sets: BTreeMap<Box<str>, ProgrammedSet>,
    /// The wanted sets of a family that `sets` has as they are, and no others of it.
    pub(super) set_sources: BTreeMap<IpVersion, SharedMap<IpSetName, KernelSet>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ProgrammedTable {
    pub(super) ours: BTreeMap<Box<str>, ProgrammedChain>,
    /// The kernel's chains and those of other programs.
    pub(super) foreign: BTreeMap<Box<str>, Vec<Entry>>,
    pub(super) source: Option<TableSource>,
}

/// The wanted table that the kernel has: all of its chains and no others of ours, its hooks put in by that mode.
#[derive(Clone, Debug)]
pub(super) struct TableSource {
    pub(super) table: Arc<Table>,
    pub(super) mode: InsertMode,
}

/// A chain of ours. A rule in it that has no id is somebody else's, or an old Felix's.
#[derive(Clone, Debug, Default)]
pub(super) struct ProgrammedChain {
    pub(super) ids: Vec<Option<RuleHash>>,
    /// The wanted chain that `ids` are those of.
    pub(super) source: Option<Arc<Chain>>,
}

/// A rule in a chain that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Foreign,
    Ours(OurRule),
}

/// A rule of ours in a chain that is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OurRule {
    /// None for one that is to go in any case.
    pub(super) id: Option<RuleHash>,
    /// What stands behind the chain's name: by it the rule is deleted.
    pub(super) text: Box<str>,
}

static EMPTY_TABLE: ProgrammedTable =
    ProgrammedTable { ours: BTreeMap::new(), foreign: BTreeMap::new(), source: None };

impl Programmed {
    pub(super) fn table(&self, version: IpVersion, table: TableName) -> &ProgrammedTable {
        self.tables.get(&(version, table)).unwrap_or(&EMPTY_TABLE)
    }
}

impl ProgrammedChain {
    pub(super) fn is_written_from(&self, chain: &Arc<Chain>) -> bool {
        self.source.as_ref().is_some_and(|source| Arc::ptr_eq(source, chain))
    }

    pub(super) fn has_ids(&self, ids: &[RuleHash]) -> bool {
        self.ids.iter().copied().eq(ids.iter().copied().map(Some))
    }
}

impl Entry {
    pub(super) fn ours(&self) -> Option<&OurRule> {
        match self {
            Self::Foreign => None,
            Self::Ours(rule) => Some(rule),
        }
    }
}
