//! Which chains stand for the policies of a tier: a policy's own, or that of a group of policies.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::family::Family;
use super::groups::{PolicyGroup, group_policies};
use super::ruleset::{Chain, ChainName};
use crate::model::{PolicyId, Stage, TierDefault};
use crate::policy::{ActivePolicy, Direction, EndpointTier, LocalEndpoint};

/// A tier as one endpoint's chain in one direction runs through it.
#[derive(Clone, Debug)]
pub(super) struct TierJumps {
    pub name: Arc<str>,
    pub default_action: TierDefault,
    /// In order, at least one.
    pub chains: Arc<[ChainName]>,
}

/// A chain that stands for several policies.
#[derive(Clone, Debug)]
pub(super) struct GroupChain {
    pub group: PolicyGroup,
    pub chain: Chain,
}

/// Groups policies. Most endpoints share their lists with others: each list is looked at once.
pub(super) struct Grouping<'a> {
    family: &'a Family<'a>,
    policies: FxHashMap<&'a PolicyId, &'a ActivePolicy>,
    known: FxHashMap<(Direction, &'a [PolicyId]), Arc<[ChainName]>>,
    groups: Vec<GroupChain>,
}

impl<'a> Grouping<'a> {
    pub(super) fn new(family: &'a Family<'a>) -> Self {
        let policies = family.policy.policies.iter().map(|(id, policy)| (id, &**policy)).collect();
        Self { family, policies, known: FxHashMap::default(), groups: Vec::new() }
    }

    /// The tiers with a policy for `local` in that direction.
    pub(super) fn tiers(&mut self, local: &'a LocalEndpoint, direction: Direction) -> Vec<TierJumps> {
        local.tiers.iter().filter_map(|tier| self.tier(tier, direction)).collect()
    }

    /// The chains of the groups met so far; the same one may be there more than once.
    pub(super) fn into_groups(self) -> Vec<GroupChain> {
        self.groups
    }

    fn tier(&mut self, tier: &'a EndpointTier, direction: Direction) -> Option<TierJumps> {
        let EndpointTier { name, default_action, ingress, egress } = tier;
        let ids = match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        };
        let chains = self.chains(ids, direction);
        let is_needed = !chains.is_empty();
        is_needed.then(|| TierJumps { name: Arc::clone(name), default_action: *default_action, chains })
    }

    fn chains(&mut self, ids: &'a [PolicyId], direction: Direction) -> Arc<[ChainName]> {
        if let Some(known) = self.known.get(&(direction, ids)) {
            return Arc::clone(known);
        }
        let chains: Arc<[ChainName]> = self.group(ids, direction).into();
        self.known.insert((direction, ids), Arc::clone(&chains));
        chains
    }

    fn group(&mut self, ids: &[PolicyId], direction: Direction) -> Vec<ChainName> {
        let ids: Vec<_> = ids.iter().filter(|id| self.governs_workloads(id)).cloned().collect();
        // One that is not there has no chain either: that is found when the table is put together.
        let selector_of = |id: &PolicyId| self.policies.get(id).map_or("", |policy| &policy.selector);
        let groups = group_policies(&ids, selector_of, direction);
        let jumps = groups.iter().flat_map(PolicyGroup::jumps).collect();
        self.groups.extend(groups.into_iter().filter_map(|group| {
            let chain = group.chain(&self.family.marks)?;
            Some(GroupChain { chain, group })
        }));
        jumps
    }

    /// Policies before connection tracking or destination NAT are for host endpoints only.
    fn governs_workloads(&self, id: &PolicyId) -> bool {
        match self.policies.get(id).map(|policy| policy.stage) {
            None | Some(Stage::Normal { apply_on_forward: _ }) => true,
            Some(Stage::Untracked | Stage::PreDnat) => false,
        }
    }
}
