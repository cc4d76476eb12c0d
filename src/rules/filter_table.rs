//! The filter table, kept up to date: what was made of each endpoint, policy and profile stays until that changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compile::CompileError;
use super::dispatch::{Dispatch, Interfaces, Way};
use super::endpoint_chains::endpoint_chain;
use super::family::Family;
use super::filter;
use super::made::{Changed, Made};
use super::policy_chains::{policy_chains, profile_chains};
use super::ruleset::{Chain, Hook, Provenance, Rule, Table, TableName};
use super::table_builder::{ChainOwner, Offer, TableBuilder};
use super::table_index::{Impossible, TableIndex};
use super::tier_jumps::Grouping;
use crate::model::{PolicyId, Stage, WorkloadId};
use crate::policy::{ActivePolicy, ActiveProfile, Direction, LocalEndpoint, Owner};

/// One family's filter table, under one configuration. After it was [`Impossible`] only [`FilterTable::made_whole`]
/// is of use.
pub(super) struct FilterTable {
    hooks: Vec<Hook>,
    host: Vec<Arc<Offer>>,
    interfaces: Interfaces,
    dispatch: [Dispatch; 2],
    dispatch_chains: Vec<Arc<Offer>>,
    endpoints: Made<WorkloadId, LocalEndpoint, EndpointChains>,
    policies: Made<PolicyId, ActivePolicy, [Arc<Offer>; 2]>,
    profiles: Made<Arc<str>, ActiveProfile, [Arc<Offer>; 2]>,
    index: TableIndex,
}

/// What one endpoint brings; nothing where another has its interface.
#[derive(Clone, Default)]
pub(super) struct EndpointChains {
    own: Vec<Arc<Offer>>,
    /// Of the groups of its policies; other endpoints bring the same.
    groups: Vec<Arc<Offer>>,
}

/// Offers to take away, and to make then.
#[derive(Default)]
struct Exchange {
    withdrawn: Vec<Arc<Offer>>,
    offered: Vec<Arc<Offer>>,
}

impl FilterTable {
    /// Without any chain yet.
    pub(super) fn new(family: &Family<'_>) -> Self {
        // A packet of an interface with our prefix that we don't know: its endpoint may be on its way to us.
        let unknown =
            Rule::always(family.filter_deny(), &Provenance::UnknownInterface).comment("Unknown interface");
        let dispatch = [("cali-from-wl-dispatch", Way::From), ("cali-to-wl-dispatch", Way::To)]
            .map(|(root, way)| Dispatch::new(root, way, vec![unknown.clone()]));
        let hooks = filter::hooks(family);
        let index = TableIndex::new(&hooks);
        Self {
            hooks,
            host: Vec::new(),
            interfaces: Interfaces::new(),
            dispatch,
            dispatch_chains: Vec::new(),
            endpoints: Made::default(),
            policies: Made::default(),
            profiles: Made::default(),
            index,
        }
    }

    /// Takes over what has changed of the policy; the endpoints that have. The chains of every host are made anew only if
    /// `host_changed`.
    pub(super) fn update(
        &mut self,
        family: &Family<'_>,
        host_changed: bool,
    ) -> Result<Vec<Changed<LocalEndpoint, EndpointChains>>, Impossible> {
        let mut exchange = Exchange::default();
        let regrouped = self.update_policies(family, &mut exchange);
        self.update_profiles(family, &mut exchange);
        let endpoints = self.update_endpoints(family, &regrouped);
        for Changed { before, after } in &endpoints {
            let offers = |made: &Option<(_, EndpointChains)>| -> Vec<Arc<Offer>> {
                made.iter().flat_map(|(_, chains)| chains.offers()).cloned().collect()
            };
            exchange.replace(&offers(before), &offers(after));
        }
        self.update_dispatch(&endpoints, &mut exchange);
        if host_changed {
            let host = filter::chains(family).into_iter().map(Arc::new);
            let host = kept(&self.host, &ChainOwner::Static, host);
            exchange.replace(&self.host, &host);
            self.host = host;
        }
        self.index.change(&exchange.withdrawn, &exchange.offered)?;
        Ok(endpoints)
    }

    pub(super) fn table(&self) -> Table {
        Table { name: TableName::Filter, hooks: self.hooks.clone(), chains: self.index.chains().clone() }
    }

    /// The same from all that it is made of, or why there is no such table.
    pub(super) fn made_whole(&self) -> Result<Table, CompileError> {
        let mut table = TableBuilder::new(TableName::Filter, self.hooks.clone());
        let endpoints = || self.endpoints.values();
        (self.host.iter())
            .chain(&self.dispatch_chains)
            .chain(endpoints().flat_map(|chains| &chains.own))
            .chain(endpoints().flat_map(|chains| &chains.groups))
            .chain(self.policies.values().flatten())
            .chain(self.profiles.values().flatten())
            .try_for_each(|offer| table.offer(offer))?;
        table.build()
    }

    /// The policies whose endpoints may group them otherwise now.
    fn update_policies(&mut self, family: &Family<'_>, exchange: &mut Exchange) -> BTreeSet<PolicyId> {
        let filter = family.context(TableName::Filter);
        let changed = self.policies.update(
            &family.policy.policies,
            |_| false,
            |policy, before| {
                let owner = ChainOwner::Rules(Owner::Policy(policy.id.clone()));
                offers(before, &owner, policy_chains(policy, &filter), policy.needed_everywhere)
            },
        );
        exchange.take(&changed);
        changed.iter().filter_map(regrouped).cloned().collect()
    }

    fn update_profiles(&mut self, family: &Family<'_>, exchange: &mut Exchange) {
        let filter = family.context(TableName::Filter);
        let changed = self.profiles.update(
            &family.policy.profiles,
            |_| false,
            |profile, before| {
                let owner = ChainOwner::Rules(Owner::Profile(Arc::clone(&profile.name)));
                offers(before, &owner, profile_chains(profile, &filter), false)
            },
        );
        exchange.take(&changed);
    }

    fn update_endpoints(
        &mut self,
        family: &Family<'_>,
        regrouped: &BTreeSet<PolicyId>,
    ) -> Vec<Changed<LocalEndpoint, EndpointChains>> {
        let names_one = |local: &LocalEndpoint| {
            let mut ids = local.tiers.iter().flat_map(|tier| tier.ingress.iter().chain(&tier.egress));
            !regrouped.is_empty() && ids.any(|id| regrouped.contains(id))
        };
        // Made for the first endpoint that needs it.
        let mut grouping = None;
        self.endpoints.update(&family.policy.endpoints, names_one, |local, before| {
            if local.shadowed_by.is_some() {
                return EndpointChains::default();
            }
            let grouping = grouping.get_or_insert_with(|| Grouping::new(family, &self.index));
            endpoint_chains(family, grouping, local, before)
        })
    }

    fn update_dispatch(
        &mut self,
        endpoints: &[Changed<LocalEndpoint, EndpointChains>],
        exchange: &mut Exchange,
    ) {
        let changed = update_interfaces(&mut self.interfaces, endpoints);
        if changed.is_empty() && !self.dispatch_chains.is_empty() {
            return;
        }
        let chains = self.dispatch.iter_mut().flat_map(|dispatch| {
            dispatch.update(&self.interfaces, &changed);
            dispatch.chains()
        });
        let chains = kept(&self.dispatch_chains, &ChainOwner::Dispatch, chains);
        exchange.replace(&self.dispatch_chains, &chains);
        self.dispatch_chains = chains;
    }
}

impl EndpointChains {
    fn offers(&self) -> impl Iterator<Item = &Arc<Offer>> {
        self.own.iter().chain(&self.groups)
    }
}

impl Exchange {
    fn take<P>(&mut self, changed: &[Changed<P, [Arc<Offer>; 2]>]) {
        for Changed { before, after } in changed {
            let offers = |made: &Option<(_, [Arc<Offer>; 2])>| made.clone().map(|(_, offers)| offers);
            self.withdrawn.extend(offers(before).into_iter().flatten());
            self.offered.extend(offers(after).into_iter().flatten());
        }
    }

    fn replace(&mut self, before: &[Arc<Offer>], after: &[Arc<Offer>]) {
        self.withdrawn.extend_from_slice(before);
        self.offered.extend_from_slice(after);
    }
}

/// Ingress first.
fn endpoint_chains<'a>(
    family: &'a Family<'a>,
    grouping: &mut Grouping<'a>,
    local: &'a LocalEndpoint,
    before: Option<&EndpointChains>,
) -> EndpointChains {
    let mut groups = Vec::new();
    let chains = [Direction::Ingress, Direction::Egress].map(|direction| {
        let tiers = grouping.tiers(local, direction, &mut groups);
        Arc::new(endpoint_chain(family, local, direction, &tiers))
    });
    let before = before.map_or(&[][..], |before| &before.own);
    let owner = ChainOwner::Endpoint(Arc::new(local.endpoint.id.clone()));
    EndpointChains { own: kept(before, &owner, chains), groups }
}

/// A policy's or profile's chains as offers; equal ones are those from `before`.
fn offers(
    before: Option<&[Arc<Offer>; 2]>,
    owner: &ChainOwner,
    chains: [Chain; 2],
    forced: bool,
) -> [Arc<Offer>; 2] {
    let before = before.map_or(&[][..], |before| before);
    chains.map(|chain| kept_offer(before, owner, Arc::new(chain), forced))
}

/// The chains as offers of one owner; equal ones are those from `before`.
fn kept(
    before: &[Arc<Offer>],
    owner: &ChainOwner,
    chains: impl IntoIterator<Item = Arc<Chain>>,
) -> Vec<Arc<Offer>> {
    chains.into_iter().map(|chain| kept_offer(before, owner, chain, false)).collect()
}

fn kept_offer(before: &[Arc<Offer>], owner: &ChainOwner, chain: Arc<Chain>, forced: bool) -> Arc<Offer> {
    let same = before.iter().find(|before| before.chain.name == chain.name && before.chain == chain);
    match same {
        Some(before) if before.forced == forced => Arc::clone(before),
        Some(before) => Arc::new(Offer { forced, ..Offer::clone(before) }),
        None => Arc::new(Offer { owner: owner.clone(), chain, forced }),
    }
}

/// The policy, if endpoints that have not changed may group it otherwise: by another selector, or since it governs them
/// no more, or only now. One that came or went is no matter if it governs workloads: who named it while it was not there
/// led to a missing chain.
fn regrouped(changed: &Changed<ActivePolicy, [Arc<Offer>; 2]>) -> Option<&PolicyId> {
    let Changed { before, after } = changed;
    match (before, after) {
        (Some((before, _)), Some((after, _))) => {
            let same = before.selector == after.selector && before.stage == after.stage;
            (!same).then_some(&after.id)
        }
        (Some((policy, _)), None) | (None, Some((policy, _))) => match policy.stage {
            Stage::Normal { apply_on_forward: _ } => None,
            Stage::Untracked | Stage::PreDnat => Some(&policy.id),
        },
        (None, None) => None,
    }
}

/// The interfaces that other endpoints have now.
fn update_interfaces(
    interfaces: &mut Interfaces,
    endpoints: &[Changed<LocalEndpoint, EndpointChains>],
) -> BTreeSet<Arc<str>> {
    let owned = |made: &Option<(Arc<LocalEndpoint>, EndpointChains)>| {
        let (local, _) = made.as_ref().filter(|(local, _)| local.shadowed_by.is_none())?;
        Some((Arc::clone(&local.endpoint.interface), local.endpoint.id.clone()))
    };
    let moved = |changed: &Changed<_, _>| {
        let (before, after) = (owned(&changed.before), owned(&changed.after));
        (before != after).then_some((before, after))
    };
    let mut changed = BTreeSet::new();
    for (before, after) in endpoints.iter().filter_map(moved) {
        if let Some((interface, id)) = before {
            if let Some(ids) = interfaces.get_mut(&interface) {
                ids.remove(&id);
                if ids.is_empty() {
                    interfaces.remove(&interface);
                }
            }
            changed.insert(interface);
        }
        if let Some((interface, id)) = after {
            interfaces.entry(Arc::clone(&interface)).or_default().insert(Arc::new(id));
            changed.insert(interface);
        }
    }
    changed
}
