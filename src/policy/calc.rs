//! The calculation: resources in, [`HostPolicy`] out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::host_policy::{HostPolicy, LocalEndpoint, Pool, SetId};
use super::lower::{self, Lowered};
use super::order::{builtin_tiers, in_tiers};
use super::sets::{Item, ItemId, SetTable};
use crate::labels::{Change, LabelIndex};
use crate::model::{
    Action, EncapMode, EntityMatch, HostEndpoint, IpPool, NetworkSet, Node, Policy, PolicyId, Profile,
    Resource, ResourceId, Rule, Stage, Tier, Update, WorkloadEndpoint, WorkloadId,
};

/// Keeps what one host must enforce up to date while resources come and go.
///
/// 1. *The result depends on the resources, not on how they came.* [`Calc::apply`] stores a resource, tells the
///    indexes and marks what may have changed; [`Calc::desired`] makes the marked parts anew from what is stored.
///    Nothing is patched, so there is no history to get wrong.
/// 2. *Work follows the change.* An endpoint of another host touches only the sets that it is in; a policy only the
///    endpoints that it governs. What comes out the same keeps its `Arc`, so that later stages can skip it.
/// 3. *Only what this host needs is active*: policies that select a local endpoint, profiles that one names, and the
///    sets that their rules match by. The members of those sets come from all hosts.
///
/// The two goals of small work and no history conflict where something is shared (sets by rules, profiles by
/// endpoints): there a count of users is kept, and it is the only such state.
///
/// One thread at a time; values that were handed out never change.
pub struct Calc {
    host: Arc<str>,
    settings: Settings,
    policies: BTreeMap<PolicyId, Arc<Policy>>,
    profiles: BTreeMap<Arc<str>, Arc<Profile>>,
    tiers: BTreeMap<Arc<str>, Tier>,
    /// The workload endpoints of this host, but for those that the parameters refuse.
    locals: BTreeMap<WorkloadId, Arc<WorkloadEndpoint>>,
    /// The endpoints of all hosts that ask to send from other addresses: absent unless the parameters let them.
    spoofers: BTreeMap<WorkloadId, Arc<WorkloadEndpoint>>,
    pools: BTreeMap<Arc<str>, IpPool>,
    nodes: BTreeMap<Arc<str>, Node>,
    /// Local endpoints by the policies that may govern workloads.
    governed: LabelIndex<WorkloadId, PolicyId>,
    sets: SetTable,
    /// The sets that each active policy and profile uses.
    used_by_policies: BTreeMap<PolicyId, Vec<SetId>>,
    used_by_profiles: BTreeMap<Arc<str>, Vec<SetId>>,
    dirty: Dirty,
    desired: HostPolicy,
}

/// The parameters that decide what is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `InvalidObjects=Ignore`: what could not be understood is absent, rather than closed.
    pub ignore_invalid: bool,
    /// `WorkloadSourceSpoofing=Any`: endpoints may ask to send from other addresses.
    pub source_spoofing: bool,
}

/// What may have changed since the last settling.
#[derive(Default)]
struct Dirty {
    policies: BTreeSet<PolicyId>,
    profiles: BTreeSet<Arc<str>>,
    endpoints: BTreeSet<WorkloadId>,
    interfaces: bool,
    pools: bool,
    nodes: bool,
}

impl Calc {
    /// Nothing known yet but the tiers that are always there.
    pub fn new(host: Arc<str>) -> Self {
        Self {
            host,
            settings: Settings::default(),
            policies: BTreeMap::new(),
            profiles: BTreeMap::new(),
            tiers: builtin_tiers().map(|tier| (Arc::clone(&tier.name), tier)).collect(),
            locals: BTreeMap::new(),
            spoofers: BTreeMap::new(),
            pools: BTreeMap::new(),
            nodes: BTreeMap::new(),
            governed: LabelIndex::default(),
            sets: SetTable::default(),
            used_by_policies: BTreeMap::new(),
            used_by_profiles: BTreeMap::new(),
            dirty: Dirty::default(),
            desired: HostPolicy::default(),
        }
        .with_default_allow()
    }

    /// Takes note of one change. Cheap: the work is done when the result is asked for.
    pub fn apply(&mut self, update: Update) {
        match update {
            Update::Put(resource) => self.put(&resource),
            Update::Delete(id) => self.delete(&id),
        }
    }

    /// What the host must enforce now.
    pub fn desired(&mut self, settings: Settings) -> &HostPolicy {
        self.configure(settings);
        self.settle_endpoints();
        self.settle_policies();
        self.settle_profiles();
        self.sets.settle(&mut self.desired.sets);
        self.settle_network();
        &self.desired
    }

    /// What [`Calc::desired`] last gave.
    pub fn desired_now(&self) -> &HostPolicy {
        &self.desired
    }

    /// Other parameters: whatever they decide is made anew.
    fn configure(&mut self, settings: Settings) {
        let Settings { ignore_invalid, source_spoofing } = std::mem::replace(&mut self.settings, settings);
        if ignore_invalid != settings.ignore_invalid {
            self.dirty.policies.extend(self.policies.keys().cloned());
            self.dirty.profiles.extend(self.profiles.keys().cloned());
            self.dirty.endpoints.extend(self.locals.keys().cloned());
        }
        if source_spoofing != settings.source_spoofing {
            for spoofer in self.spoofers.values().cloned().collect::<Vec<_>>() {
                self.put_workload(&spoofer);
            }
        }
    }

    /// The profile that lets everything through is never stored, and always there (reference §2.4).
    fn with_default_allow(mut self) -> Self {
        self.put_profile(&default_allow());
        self
    }

    fn put(&mut self, resource: &Resource) {
        match resource {
            Resource::Tier(tier) => self.put_tier(tier),
            Resource::Policy(policy) => self.put_policy(policy),
            Resource::Profile(profile) => self.put_profile(profile),
            Resource::NetworkSet(set) => self.put_network_set(set),
            Resource::WorkloadEndpoint(endpoint) => self.put_workload(endpoint),
            Resource::HostEndpoint(endpoint) => self.put_host_endpoint(endpoint),
            Resource::IpPool(pool) => {
                self.pools.insert(Arc::clone(&pool.name), pool.clone());
                self.dirty.pools = true;
            }
            Resource::Node(node) => {
                self.nodes.insert(Arc::clone(&node.name), node.clone());
                self.dirty.nodes = true;
            }
            // Parameters are the business of whoever makes the settings; blocks are the routes'.
            Resource::Config(_)
            | Resource::ClusterInformation(_)
            | Resource::BlockAffinity(_)
            | Resource::IpamBlock(_) => {}
        }
    }

    fn delete(&mut self, id: &ResourceId) {
        match id {
            ResourceId::Tier(name) => self.delete_tier(name),
            ResourceId::Policy(id) => self.delete_policy(id),
            ResourceId::Profile(name) => self.delete_profile(name),
            ResourceId::NetworkSet(id) => self.sets.remove_item(&ItemId::NetworkSet(id.clone())),
            ResourceId::WorkloadEndpoint(id) => self.delete_workload(id),
            ResourceId::HostEndpoint(id) => self.sets.remove_item(&ItemId::Host(id.clone())),
            ResourceId::IpPool(name) => {
                self.pools.remove(name);
                self.dirty.pools = true;
            }
            ResourceId::Node(name) => {
                self.nodes.remove(name);
                self.dirty.nodes = true;
            }
            ResourceId::Config(_)
            | ResourceId::ClusterInformation(_)
            | ResourceId::BlockAffinity(_)
            | ResourceId::IpamBlock(_) => {}
        }
    }

    fn put_tier(&mut self, tier: &Tier) {
        self.tiers.insert(Arc::clone(&tier.name), tier.clone());
        self.mark_tier(&tier.name);
    }

    fn delete_tier(&mut self, name: &Arc<str>) {
        match builtin_tiers().find(|tier| tier.name == *name) {
            Some(builtin) => self.tiers.insert(Arc::clone(name), builtin),
            None => self.tiers.remove(name),
        };
        self.mark_tier(name);
    }

    fn put_policy(&mut self, policy: &Policy) {
        let changes = match policy.stage {
            Stage::Normal { apply_on_forward: _ } => {
                self.governed.add_selector(policy.id.clone(), policy.selector.clone())
            }
            // Only host endpoints heed these.
            Stage::Untracked | Stage::PreDnat => self.governed.remove_selector(&policy.id),
        };
        self.mark_governed(&changes);
        self.policies.insert(policy.id.clone(), Arc::new(policy.clone()));
        self.mark_policy(&policy.id);
    }

    fn delete_policy(&mut self, id: &PolicyId) {
        self.mark_policy(id);
        let changes = self.governed.remove_selector(id);
        self.mark_governed(&changes);
        self.policies.remove(id);
    }

    fn put_profile(&mut self, profile: &Profile) {
        self.sets.put_profile(&profile.name, &profile.labels, &profile.tags);
        let changes = self.governed.set_parent(&profile.name, &profile.labels, &profile.tags);
        self.mark_governed(&changes);
        self.dirty.profiles.insert(Arc::clone(&profile.name));
        self.profiles.insert(Arc::clone(&profile.name), Arc::new(profile.clone()));
    }

    fn delete_profile(&mut self, name: &Arc<str>) {
        if let Some(builtin) = Some(default_allow()).filter(|builtin| builtin.name == *name) {
            return self.put_profile(&builtin);
        }
        self.sets.remove_profile(name);
        let changes = self.governed.remove_parent(name);
        self.mark_governed(&changes);
        self.dirty.profiles.insert(Arc::clone(name));
        self.profiles.remove(name);
    }

    fn put_network_set(&mut self, set: &NetworkSet) {
        let item = Item { nets: set.nets.clone(), ports: Vec::new() };
        self.sets.put_item(&ItemId::NetworkSet(set.id.clone()), &set.labels, &set.profiles, item);
    }

    fn put_host_endpoint(&mut self, endpoint: &HostEndpoint) {
        let item = Item {
            nets: endpoint.expected_ips.iter().copied().map(Into::into).collect(),
            ports: endpoint.ports.clone(),
        };
        self.sets.put_item(&ItemId::Host(endpoint.id.clone()), &endpoint.labels, &endpoint.profiles, item);
    }

    fn put_workload(&mut self, endpoint: &WorkloadEndpoint) {
        let spoofs = !endpoint.allowed_source_prefixes.is_empty();
        if spoofs {
            self.spoofers.insert(endpoint.id.clone(), Arc::new(endpoint.clone()));
        } else {
            self.spoofers.remove(&endpoint.id);
        }
        // An endpoint that may not have what it asks for is absent (reference §3.5).
        if spoofs && !self.settings.source_spoofing {
            self.withdraw_workload(&endpoint.id);
        } else {
            self.admit_workload(endpoint);
        }
    }

    fn delete_workload(&mut self, id: &WorkloadId) {
        self.spoofers.remove(id);
        self.withdraw_workload(id);
    }

    fn admit_workload(&mut self, endpoint: &WorkloadEndpoint) {
        let item = Item { nets: endpoint.networks.clone(), ports: endpoint.ports.clone() };
        let id = ItemId::Workload(endpoint.id.clone());
        self.sets.put_item(&id, &endpoint.labels, &endpoint.profiles, item);
        if endpoint.id.node != self.host {
            return;
        }
        let changes = self.governed.set_item(endpoint.id.clone(), &endpoint.labels, &endpoint.profiles);
        self.mark_governed(&changes);
        let before = self.locals.insert(endpoint.id.clone(), Arc::new(endpoint.clone()));
        self.mark_profiles_of(before.as_deref());
        self.mark_profiles_of(Some(endpoint));
        self.dirty.endpoints.insert(endpoint.id.clone());
        self.dirty.interfaces = true;
    }

    fn withdraw_workload(&mut self, id: &WorkloadId) {
        self.sets.remove_item(&ItemId::Workload(id.clone()));
        if let Some(before) = self.locals.remove(id) {
            let changes = self.governed.remove_item(id);
            self.mark_governed(&changes);
            self.mark_profiles_of(Some(&before));
            self.dirty.endpoints.insert(id.clone());
            self.dirty.interfaces = true;
        }
    }

    fn mark_profiles_of(&mut self, endpoint: Option<&WorkloadEndpoint>) {
        self.dirty
            .profiles
            .extend(endpoint.into_iter().flat_map(|endpoint| endpoint.profiles.iter().cloned()));
    }

    /// The policy's own chains, and those of all endpoints that it governs.
    fn mark_policy(&mut self, id: &PolicyId) {
        self.dirty.endpoints.extend(self.governed.unordered_matches(id).cloned());
        self.dirty.policies.insert(id.clone());
    }

    fn mark_tier(&mut self, name: &Arc<str>) {
        for id in self.policies.values().filter(|policy| policy.tier == *name).map(|policy| &policy.id) {
            self.dirty.endpoints.extend(self.governed.unordered_matches(id).cloned());
        }
    }

    fn mark_governed(&mut self, changes: &[Change<PolicyId, WorkloadId>]) {
        for change in changes {
            let (Change::Started { selector, item } | Change::Stopped { selector, item }) = change;
            self.dirty.endpoints.insert(item.clone());
            self.dirty.policies.insert(selector.clone());
        }
    }

    fn settle_endpoints(&mut self) {
        let shadows = std::mem::take(&mut self.dirty.interfaces).then(|| self.shadows());
        if let Some(shadows) = &shadows {
            let changed = self
                .desired
                .endpoints
                .iter()
                .filter(|(id, local)| local.shadowed_by.as_ref() != shadows.get(id));
            self.dirty.endpoints.extend(changed.map(|(id, _)| id.clone()));
        }
        for id in std::mem::take(&mut self.dirty.endpoints) {
            let Some(endpoint) = self.locals.get(&id) else {
                self.desired.endpoints.remove(&id);
                continue;
            };
            let before = self.desired.endpoints.get(&id);
            let local = LocalEndpoint {
                endpoint: Arc::clone(endpoint),
                tiers: self.tiers_of(&id),
                shadowed_by: match &shadows {
                    Some(shadows) => shadows.get(&id).cloned(),
                    None => before.and_then(|before| before.shadowed_by.clone()),
                },
            };
            if before.is_none_or(|before| !before.same(&local)) {
                self.desired.endpoints.insert(id, Arc::new(local));
            }
        }
    }

    /// Endpoints whose interface belongs to another one with a lower id (reference §6.11).
    fn shadows(&self) -> BTreeMap<WorkloadId, WorkloadId> {
        let mut owners: BTreeMap<&str, &WorkloadId> = BTreeMap::new();
        let mut shadows = BTreeMap::new();
        for (id, endpoint) in &self.locals {
            match owners.get(&*endpoint.interface) {
                Some(owner) => {
                    shadows.insert(id.clone(), (*owner).clone());
                }
                None => {
                    owners.insert(&endpoint.interface, id);
                }
            }
        }
        shadows
    }

    fn tiers_of(&self, id: &WorkloadId) -> Vec<super::EndpointTier> {
        let policies = self.governed.selectors_of(id).into_iter().filter_map(|id| self.policies.get(id));
        in_tiers(policies.map(Arc::as_ref).filter(|policy| self.enforces(policy.invalid)), &self.tiers)
    }

    fn enforces(&self, invalid: bool) -> bool {
        !(invalid && self.settings.ignore_invalid)
    }

    fn settle_policies(&mut self) {
        for id in std::mem::take(&mut self.dirty.policies) {
            let lowered =
                self.policies.get(&id).filter(|policy| self.is_active(policy)).map(|p| lower::policy(p));
            let value = swap_users(&mut self.sets, &mut self.used_by_policies, &id, lowered);
            match value {
                Some(value) => replace(&mut self.desired.policies, id, value),
                None => drop(self.desired.policies.remove(&id)),
            }
        }
    }

    fn is_active(&self, policy: &Policy) -> bool {
        let normal = matches!(policy.stage, Stage::Normal { apply_on_forward: _ });
        let needed = policy.needed_everywhere || self.governed.unordered_matches(&policy.id).next().is_some();
        normal && needed && self.enforces(policy.invalid)
    }

    fn settle_profiles(&mut self) {
        let dirty = std::mem::take(&mut self.dirty.profiles);
        if dirty.is_empty() {
            return;
        }
        let named: BTreeSet<&Arc<str>> =
            self.locals.values().flat_map(|endpoint| &endpoint.profiles).collect();
        let named: BTreeSet<Arc<str>> = dirty.iter().filter(|name| named.contains(name)).cloned().collect();
        for name in dirty {
            let lowered = named.contains(&name).then(|| {
                let profile = self.profiles.get(&name).filter(|profile| self.enforces(profile.invalid));
                lower::profile(&name, profile.map(Arc::as_ref))
            });
            match swap_users(&mut self.sets, &mut self.used_by_profiles, &name, lowered) {
                Some(value) => replace(&mut self.desired.profiles, name, value),
                None => drop(self.desired.profiles.remove(&name)),
            }
        }
    }

    fn settle_network(&mut self) {
        if std::mem::take(&mut self.dirty.pools) {
            let mut pools = BTreeMap::new();
            // By name: of two pools with one CIDR the lowest name counts (reference §3.6).
            for pool in self.pools.values() {
                pools.entry(pool.cidr).or_insert_with(|| {
                    let wanted = Pool {
                        cidr: pool.cidr,
                        ipip: pool.ipip != EncapMode::Never,
                        nat_outgoing: pool.nat_outgoing,
                        load_balancer_only: pool.load_balancer_only,
                    };
                    let before = self.desired.pools.get(&pool.cidr).filter(|before| ***before == wanted);
                    before.map_or_else(|| Arc::new(wanted), Arc::clone)
                });
            }
            self.desired.pools = pools;
        }
        if std::mem::take(&mut self.dirty.nodes) {
            let addresses = self.nodes.values().flat_map(|node| {
                let v4 = node.ipv4.map(|(address, _)| address.into());
                v4.into_iter().chain(node.ipv6.map(|(address, _)| address.into()))
            });
            self.desired.host_addresses = Arc::new(addresses.collect());
            self.desired.ipip_tunnel_addr = self.nodes.get(&self.host).and_then(|node| node.ipip_tunnel_addr);
        }
    }
}

/// Counts the users of sets anew for one policy or profile. The new ones come first, so that a set that both need stays.
fn swap_users<K: Ord + Clone, T>(
    sets: &mut SetTable,
    used: &mut BTreeMap<K, Vec<SetId>>,
    key: &K,
    lowered: Option<Lowered<T>>,
) -> Option<T> {
    let (value, now) = match lowered {
        Some(Lowered { value, specs }) => {
            (Some(value), specs.iter().map(|spec| sets.acquire(spec)).collect())
        }
        None => (None, Vec::new()),
    };
    let before = if now.is_empty() { used.remove(key) } else { used.insert(key.clone(), now) };
    for id in before.into_iter().flatten() {
        sets.release(&id);
    }
    value
}

/// Puts `value` there, unless what is there is the same.
fn replace<K: Ord, T: PartialEq>(map: &mut BTreeMap<K, Arc<T>>, key: K, value: T) {
    if map.get(&key).is_none_or(|before| **before != value) {
        map.insert(key, Arc::new(value));
    }
}

fn default_allow() -> Profile {
    let place = crate::datastore::Place { source: "built-in".into(), line: 0, column: 0 };
    let allow = Rule {
        action: Action::Allow,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: EntityMatch::default(),
        destination: EntityMatch::default(),
        unenforceable: None,
        annotations: BTreeMap::new(),
        place: place.clone(),
    };
    Profile {
        name: "projectcalico-default-allow".into(),
        labels: BTreeMap::new(),
        tags: Vec::new(),
        ingress: vec![allow.clone()],
        egress: vec![allow],
        invalid: false,
        place,
    }
}
