//! What the kernel has, as far as it concerns us: names, ids and members, no rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ownership::set_family;
use super::sets::ProgrammedSet;
use crate::config::InsertMode;
use crate::model::IpVersion;
use crate::rules::hash::RuleHash;
use crate::rules::ruleset::{Chain, ChainName, Hook, IpSetName, KernelSet, SharedMap, TableName};

/// What the kernel has. The default is a kernel without any rule or set; its own chains need no mention.
///
/// Parts that were found equal to a wanted value, or written from it, remember that value: planning it again is a
/// comparison of pointers. Where all chains of a table or all sets of a family do, the whole is remembered beside the
/// parts, whichever steps of which plans it came by: what is wanted then is compared with that, and what they share
/// is not looked at.
#[derive(Clone, Debug, Default)]
pub struct Programmed {
    pub(super) tables: BTreeMap<(IpVersion, TableName), ProgrammedTable>,
    /// Ours only, by name.
    pub(super) sets: BTreeMap<Box<str>, ProgrammedSet>,
    /// The wanted sets that those of a family are, if each is one.
    pub(super) written_sets: BTreeMap<IpVersion, SharedMap<IpSetName, KernelSet>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ProgrammedTable {
    pub(super) ours: BTreeMap<Box<str>, ProgrammedChain>,
    /// The kernel's chains and those of other programs.
    pub(super) foreign: BTreeMap<Box<str>, Vec<Entry>>,
    /// The wanted chains that `ours` are, if each is one.
    pub(super) written: Option<SharedMap<ChainName, Chain>>,
    /// These are in `foreign`, put in by that mode, and nothing else of ours.
    pub(super) hooked: Option<(Vec<Hook>, InsertMode)>,
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
    ProgrammedTable { ours: BTreeMap::new(), foreign: BTreeMap::new(), written: None, hooked: None };

impl Programmed {
    pub(super) fn table(&self, version: IpVersion, table: TableName) -> &ProgrammedTable {
        self.tables.get(&(version, table)).unwrap_or(&EMPTY_TABLE)
    }

    /// The set is there, written from this one; the one before, if any.
    pub(super) fn put_set(&mut self, set: &Arc<KernelSet>) -> Option<ProgrammedSet> {
        if let Some(written) = self.written_sets.get_mut(&set.version) {
            written.insert(set.name.clone(), Arc::clone(set));
        }
        self.sets.insert(set.name.as_str().into(), ProgrammedSet::Written(Arc::clone(set)))
    }

    /// A set is there under another name than it was written with.
    pub(super) fn put_set_aside(&mut self, version: IpVersion, name: &str, set: ProgrammedSet) {
        self.written_sets.remove(&version);
        self.sets.insert(name.into(), set);
    }

    pub(super) fn remove_set(&mut self, name: &str) {
        self.sets.remove(name);
        if let Some(written) = set_family(name).and_then(|version| self.written_sets.get_mut(&version)) {
            written.remove(name);
        }
    }

    /// Remembers the whole of a family's sets: `wanted`, if it is that.
    pub(super) fn remember_sets(&mut self, version: IpVersion, wanted: &SharedMap<IpSetName, KernelSet>) {
        let known = self.written_sets.remove(&version).or_else(|| self.all_written(version, wanted));
        if let Some(known) = known {
            self.written_sets.insert(version, shared(known, wanted));
        }
    }

    /// None where one of the wanted sets is not known to be written. Others are leftovers that could not be destroyed.
    fn all_written(
        &self,
        version: IpVersion,
        wanted: &SharedMap<IpSetName, KernelSet>,
    ) -> Option<SharedMap<IpSetName, KernelSet>> {
        let of_family = self.sets.iter().filter(|(name, _)| set_family(name) == Some(version));
        let of_family = of_family.filter(|(name, _)| wanted.contains_key(&***name));
        let written = of_family.map(|(name, set)| match set {
            ProgrammedSet::Written(set) if set.name.as_str() == &**name => {
                Some((set.name.clone(), Arc::clone(set)))
            }
            ProgrammedSet::Written(_) | ProgrammedSet::Read(_) => None,
        });
        written.collect()
    }
}

impl ProgrammedTable {
    /// The chain is there, with these ids, which are those of `chain`.
    pub(super) fn put(&mut self, chain: &Arc<Chain>, ids: Vec<Option<RuleHash>>) {
        if let Some(written) = &mut self.written {
            written.insert(chain.name.clone(), Arc::clone(chain));
        }
        let programmed = ProgrammedChain { ids, source: Some(Arc::clone(chain)) };
        self.ours.insert(chain.name.as_str().into(), programmed);
    }

    /// What is there under its name is this chain.
    pub(super) fn recognise(&mut self, chain: &Arc<Chain>) {
        let Some(programmed) = self.ours.get_mut(chain.name.as_str()) else { return };
        programmed.source = Some(Arc::clone(chain));
        if let Some(written) = &mut self.written {
            written.insert(chain.name.clone(), Arc::clone(chain));
        }
    }

    pub(super) fn remove(&mut self, chain: &str) {
        self.ours.remove(chain);
        if let Some(written) = &mut self.written {
            written.remove(chain);
        }
    }

    /// Remembers the whole of our chains: `wanted`, if it is that.
    pub(super) fn remember_chains(&mut self, wanted: &SharedMap<ChainName, Chain>) {
        let known = self.written.take().or_else(|| {
            let sources = self.ours.values().map(|chain| chain.source.as_ref());
            sources.map(|chain| Some((chain?.name.clone(), Arc::clone(chain?)))).collect()
        });
        self.written = known.map(|known| shared(known, wanted));
    }
}

/// The one of two equal maps that others share.
fn shared<K: Ord, V>(known: SharedMap<K, V>, wanted: &SharedMap<K, V>) -> SharedMap<K, V> {
    if wanted.since(&known).is_empty() { wanted.clone() } else { known }
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
