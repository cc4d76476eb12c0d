//! Chains put together to a table: no two of one name, and only those that something leads to.

use std::sync::Arc;
use std::{fmt, mem};

use rustc_hash::FxHashMap;

use super::compile::{Collision, CompileError};
use super::groups::PolicyGroup;
use super::ruleset::{Chain, ChainName, Hook, Rule, Table, TableName};
use crate::model::WorkloadId;
use crate::policy::Owner;

/// What a chain is for. Long names are hashed, so two of these could come to one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainOwner {
    /// Every host has it.
    Static,
    /// Leads from interfaces to endpoints.
    Dispatch,
    Endpoint(Arc<WorkloadId>),
    Rules(Owner),
    Group(PolicyGroup),
}

/// A chain for a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub owner: ChainOwner,
    pub chain: Arc<Chain>,
    /// It is kept even where nothing leads to it.
    pub forced: bool,
}

/// Chains on their way into a table.
pub(super) struct TableBuilder {
    name: TableName,
    hooks: Vec<Hook>,
    chains: FxHashMap<ChainName, Candidate>,
    forced: Vec<ChainName>,
}

struct Candidate {
    owner: ChainOwner,
    chain: Arc<Chain>,
    reached: bool,
}

impl TableBuilder {
    pub(super) fn new(name: TableName, hooks: Vec<Hook>) -> Self {
        Self { name, hooks, chains: FxHashMap::default(), forced: Vec::new() }
    }

    /// Offers a chain. The same one may be offered again; another of its name is a collision.
    pub(super) fn add(&mut self, owner: ChainOwner, chain: Arc<Chain>) -> Result<(), CompileError> {
        match self.chains.get(&chain.name) {
            Some(present) if present.owner == owner => Ok(()),
            Some(present) => Err(CompileError::Collision(Box::new(Collision {
                name: chain.name.clone(),
                first: present.owner.clone(),
                second: owner,
            }))),
            None => {
                self.chains.insert(chain.name.clone(), Candidate { owner, chain, reached: false });
                Ok(())
            }
        }
    }

    /// Offers a chain as it is asked.
    pub(super) fn offer(&mut self, offer: &Offer) -> Result<(), CompileError> {
        let Offer { owner, chain, forced } = offer;
        if *forced {
            self.forced.push(chain.name.clone());
        }
        self.add(owner.clone(), Arc::clone(chain))
    }

    /// The table, with the chains that can be reached from the kernel's own, or were forced.
    pub(super) fn build(mut self) -> Result<Table, CompileError> {
        let (hooks, forced) = (mem::take(&mut self.hooks), mem::take(&mut self.forced));
        let mut open = Vec::new();
        for name in hook_targets(&hooks).chain(&forced) {
            open.extend(self.reach(name)?);
        }
        while let Some(chain) = open.pop() {
            for name in targets(&chain.rules) {
                open.extend(self.reach(name)?);
            }
        }
        #[expect(clippy::disallowed_methods, reason = "goes into a sorted map")]
        let reached = self.chains.into_values().filter(|candidate| candidate.reached);
        let chains = reached.map(|Candidate { chain, .. }| (chain.name.clone(), chain)).collect();
        Ok(Table { name: self.name, hooks, chains })
    }

    /// The chain, the first time that something leads to it.
    fn reach(&mut self, name: &ChainName) -> Result<Option<Arc<Chain>>, CompileError> {
        let Some(candidate) = self.chains.get_mut(name) else {
            return Err(CompileError::MissingChain { table: self.name, name: name.clone() });
        };
        let first = !mem::replace(&mut candidate.reached, true);
        Ok(first.then(|| Arc::clone(&candidate.chain)))
    }
}

/// Where the hooks lead to.
pub(super) fn hook_targets(hooks: &[Hook]) -> impl Iterator<Item = &ChainName> {
    targets(hooks.iter().flat_map(|hook| hook.rules.iter().chain(&hook.appended)))
}

/// Where the rules lead to.
pub(super) fn targets<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> impl Iterator<Item = &'a ChainName> {
    rules.into_iter().filter_map(|rule| rule.target.as_ref()?.chain())
}

impl fmt::Display for ChainOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static => f.write_str("every host's chains"),
            Self::Dispatch => f.write_str("the dispatch to endpoints"),
            Self::Endpoint(id) => write!(f, "workload endpoint {id}"),
            Self::Rules(owner) => owner.fmt(f),
            Self::Group(PolicyGroup { direction, selector, policies }) => {
                let (count, direction) = (policies.len(), direction.name());
                write!(f, "a group of {count} {direction} policies with the selector {selector}")
            }
        }
    }
}
