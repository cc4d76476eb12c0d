//! Which chains stand for the policies of a tier: a policy's own, or that of a group of policies.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::family::Family;
use super::groups::{PolicyGroup, group_policies};
use super::ruleset::ChainName;
use super::table_builder::{ChainOwner, Offer};
use super::table_index::TableIndex;
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

/// Groups policies. Most endpoints share their lists with others: each list is looked at once.
pub(super) struct Grouping<'a> {
    family: &'a Family<'a>,
    index: &'a TableIndex,
    policies: FxHashMap<&'a PolicyId, &'a ActivePolicy>,
    known: FxHashMap<(Direction, &'a [PolicyId]), Grouped>,
}

/// A list of policies as groups.
#[derive(Clone)]
struct Grouped {
    jumps: Arc<[ChainName]>,
    /// The chains of those groups that have one.
    chains: Vec<Arc<Offer>>,
}

impl<'a> Grouping<'a> {
    /// Groups that are in the `index` already are taken from there.
    pub(super) fn new(family: &'a Family<'a>, index: &'a TableIndex) -> Self {
        let policies = family.policy.policies.iter().map(|(id, policy)| (id, &**policy)).collect();
        Self { family, index, policies, known: FxHashMap::default() }
    }

    /// The tiers with a policy for `local` in that direction. The chains of their groups are added to `chains`.
    pub(super) fn tiers(
        &mut self,
        local: &'a LocalEndpoint,
        direction: Direction,
        chains: &mut Vec<Arc<Offer>>,
    ) -> Vec<TierJumps> {
        local.tiers.iter().filter_map(|tier| self.tier(tier, direction, chains)).collect()
    }

    fn tier(
        &mut self,
        tier: &'a EndpointTier,
        direction: Direction,
        chains: &mut Vec<Arc<Offer>>,
    ) -> Option<TierJumps> {
        let EndpointTier { name, default_action, ingress, egress } = tier;
        let ids = match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        };
        let grouped = self.grouped(ids, direction);
        chains.extend(grouped.chains);
        let jumps = grouped.jumps;
        let is_needed = !jumps.is_empty();
        is_needed.then(|| TierJumps {
            name: Arc::clone(name),
            default_action: *default_action,
            chains: jumps,
        })
    }

    fn grouped(&mut self, ids: &'a [PolicyId], direction: Direction) -> Grouped {
        if let Some(known) = self.known.get(&(direction, ids)) {
            return known.clone();
        }
        let grouped = self.group(ids, direction);
        self.known.insert((direction, ids), grouped.clone());
        grouped
    }

    fn group(&self, ids: &[PolicyId], direction: Direction) -> Grouped {
        let ids: Vec<_> = ids.iter().filter(|id| self.governs_workloads(id)).cloned().collect();
        // One that is not there has no chain either: that is found when the table is put together.
        let selector_of = |id: &PolicyId| self.policies.get(id).map_or("", |policy| &policy.selector);
        let groups = group_policies(&ids, selector_of, direction);
        let jumps = groups.iter().flat_map(PolicyGroup::jumps).collect();
        let chains = groups.into_iter().filter_map(|group| {
            let chain = Arc::new(group.chain(&self.family.marks)?);
            Some(self.index.shared(Offer { owner: ChainOwner::Group(group), chain, forced: false }))
        });
        Grouped { jumps, chains: chains.collect() }
    }

    /// Policies before connection tracking or destination NAT are for host endpoints only.
    fn governs_workloads(&self, id: &PolicyId) -> bool {
        match self.policies.get(id).map(|policy| policy.stage) {
            None | Some(Stage::Normal { apply_on_forward: _ }) => true,
            Some(Stage::Untracked | Stage::PreDnat) => false,
        }
    }
}
