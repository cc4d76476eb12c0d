//! The calculation: resources in, [`HostPolicy`] out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::built_in::{DEFAULT_ALLOW, builtin_tiers, default_allow};
use super::host_policy::{EndpointTier, HostPolicy, LocalEndpoint, SetId};
use super::lower::{self, Lowered};
use super::network::Network;
use super::order::in_tiers;
use super::sets::{Item, ItemId, SetTable};
use crate::config::{Config, InvalidObjects, RouteSource};
use crate::labels::{Change, LabelIndex};
use crate::model::{
    HostEndpoint, NetworkSet, Policy, PolicyId, Profile, Resource, ResourceId, Stage, Tier, Update,
    WorkloadEndpoint, WorkloadId,
};

/// Keeps what one host, or some, must enforce up to date while resources come and go.
///
/// 1. *The result depends on the resources, not on how they came.* [`Calc::apply`] stores a resource, tells the
///    indexes and marks what may have changed; [`Calc::desired`] makes the marked parts anew from what is stored.
///    Nothing is patched, so there is no history to get wrong.
/// 2. *Work follows the change.* An endpoint of another host touches only the sets that it is in; a policy only the
///    endpoints that it governs. What comes out the same keeps its `Arc`, so that later stages can skip it.
/// 3. *Only what this host needs is active*: policies that select a local endpoint, profiles that one names, and the
///    sets that their rules match by. The members of those sets come from all hosts.
///
/// The two goals of small work and no history conflict where something is shared (sets by rules, profiles and
/// interfaces by endpoints): there the users are kept beside what is stored, and that is the only such state.
///
/// One thread at a time; values that were handed out never change.
pub struct Calc {
    hosts: BTreeSet<Arc<str>>,
    settings: Settings,
    policies: BTreeMap<PolicyId, Arc<Policy>>,
    profiles: BTreeMap<Arc<str>, Arc<Profile>>,
    tiers: BTreeMap<Arc<str>, Tier>,
    /// Those of these hosts that the settings admit.
    locals: BTreeMap<WorkloadId, Arc<WorkloadEndpoint>>,
    /// Local endpoints by the profiles that they name, and by their host and interface.
    by_profile: Users<Arc<str>>,
    by_interface: Users<Interface>,
    /// Endpoints of any host that only some settings admit.
    spoofing: BTreeMap<WorkloadId, Arc<WorkloadEndpoint>>,
    network: Network,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Settings {
    /// `InvalidObjects=Ignore`: what could not be understood is absent, rather than closed.
    pub ignore_invalid: bool,
    /// `WorkloadSourceSpoofing=Any`: endpoints may ask to send from other addresses.
    pub source_spoofing: bool,
    /// `RouteSource=WorkloadIPs`: routes to other hosts are made of their endpoints.
    pub routes_of_workloads: bool,
    /// `IpInIpTunnelAddr`: the address of tunl0, whatever this host's Node says.
    pub tunnel_address: Option<Ipv4Addr>,
    /// `IpInIpTunnelAddrFromBlock`: where nobody says one, it may be a spare one of this host's blocks.
    pub tunnel_address_from_block: bool,
}

/// Local endpoints by something that they share.
type Users<K> = BTreeMap<K, BTreeSet<WorkloadId>>;

/// A host and the name of its interface.
type Interface = (Arc<str>, Arc<str>);

/// What may have changed since the last settling.
#[derive(Default)]
struct Dirty {
    policies: BTreeSet<PolicyId>,
    profiles: BTreeSet<Arc<str>>,
    endpoints: BTreeSet<WorkloadId>,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            ignore_invalid: config.invalid_objects == InvalidObjects::Ignore,
            source_spoofing: config.workload_source_spoofing,
            routes_of_workloads: config.routing.source == RouteSource::WorkloadIps,
            tunnel_address: config.routing.tunnel_address,
            tunnel_address_from_block: config.routing.tunnel_address_from_block,
        }
    }
}

impl Calc {
    /// For one host; nothing known yet but what every cluster has.
    pub fn new(host: Arc<str>) -> Self {
        Self::of_hosts([host].into())
    }

    /// For several hosts at once, for who asks about a whole cluster: [`Calc::of_host`] tells them apart.
    pub fn of_hosts(hosts: BTreeSet<Arc<str>>) -> Self {
        let only = only(&hosts).cloned();
        let mut calc = Self {
            hosts,
            settings: Settings::default(),
            policies: BTreeMap::new(),
            profiles: BTreeMap::new(),
            tiers: builtin_tiers().map(|tier| (Arc::clone(&tier.name), tier)).collect(),
            locals: BTreeMap::new(),
            by_profile: Users::new(),
            by_interface: Users::new(),
            spoofing: BTreeMap::new(),
            network: Network::default(),
            governed: LabelIndex::default(),
            sets: SetTable::default(),
            used_by_policies: BTreeMap::new(),
            used_by_profiles: BTreeMap::new(),
            dirty: Dirty::default(),
            desired: HostPolicy { host: only, ..HostPolicy::default() },
        };
        calc.put_profile(&default_allow());
        calc
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
        self.network.settle(only(&self.hosts).map(|host| &**host), settings, &mut self.desired);
        &self.desired
    }

    /// Of what [`Calc::desired`] last gave, what one of the hosts must enforce: the same as if it had been alone.
    pub fn of_host(&self, host: &str) -> HostPolicy {
        let HostPolicy {
            host: _,
            endpoints,
            policies,
            profiles,
            sets,
            pools,
            host_addresses,
            ipip_tunnel_addr: _,
            nodes,
            blocks,
            workloads,
        } = &self.desired;
        let here = endpoints.iter().filter(|(id, _)| &*id.node == host);
        let endpoints: BTreeMap<_, _> = here.map(|(id, local)| (id.clone(), Arc::clone(local))).collect();
        let tiers = endpoints.values().flat_map(|local| &local.tiers);
        let governing: BTreeSet<&PolicyId> =
            tiers.flat_map(|tier| tier.ingress.iter().chain(&tier.egress)).collect();
        let named: BTreeSet<&Arc<str>> =
            endpoints.values().flat_map(|local| &local.endpoint.profiles).collect();
        let policies: BTreeMap<_, _> = (policies.iter())
            .filter(|(id, policy)| policy.needed_everywhere || governing.contains(id))
            .map(|(id, policy)| (id.clone(), Arc::clone(policy)))
            .collect();
        let profiles: BTreeMap<_, _> = (profiles.iter())
            .filter(|(name, _)| named.contains(name))
            .map(|(name, profile)| (Arc::clone(name), Arc::clone(profile)))
            .collect();
        let by_policies = policies.keys().filter_map(|id| self.used_by_policies.get(id));
        let by_profiles = profiles.keys().filter_map(|name| self.used_by_profiles.get(name));
        let used: BTreeSet<&SetId> = by_policies.chain(by_profiles).flatten().collect();
        let used = sets.iter().filter(|(id, _)| used.contains(id));
        HostPolicy {
            host: Some(host.into()),
            sets: used.map(|(id, set)| (id.clone(), Arc::clone(set))).collect(),
            endpoints,
            policies,
            profiles,
            pools: pools.clone(),
            host_addresses: Arc::clone(host_addresses),
            ipip_tunnel_addr: self.network.tunnel_of(host, &self.desired),
            nodes: nodes.clone(),
            blocks: blocks.clone(),
            workloads: workloads.clone(),
        }
    }

    /// All labels of a local endpoint, its own and inherited.
    pub fn labels_of(&self, id: &WorkloadId) -> BTreeMap<&str, &str> {
        self.governed.labels_of(id)
    }

    /// What [`Calc::desired`] last gave.
    pub fn desired_now(&self) -> &HostPolicy {
        &self.desired
    }

    /// Other settings: whatever they decide is made anew.
    fn configure(&mut self, settings: Settings) {
        let Settings {
            ignore_invalid,
            source_spoofing,
            // The network's own business.
            routes_of_workloads: _,
            tunnel_address: _,
            tunnel_address_from_block: _,
        } = std::mem::replace(&mut self.settings, settings);
        if ignore_invalid != settings.ignore_invalid {
            let invalid: Vec<PolicyId> = self
                .policies
                .values()
                .filter(|policy| policy.invalid)
                .map(|policy| policy.id.clone())
                .collect();
            for id in &invalid {
                self.mark_policy(id);
            }
            let invalid = self.tiers.values().filter(|tier| tier.invalid);
            for name in invalid.map(|tier| Arc::clone(&tier.name)).collect::<Vec<_>>() {
                self.mark_tier(&name);
            }
            let invalid = self.profiles.values().filter(|profile| profile.invalid);
            self.dirty.profiles.extend(invalid.map(|profile| Arc::clone(&profile.name)));
        }
        if source_spoofing != settings.source_spoofing {
            let endpoints: Vec<_> = self.spoofing.values().cloned().collect();
            for endpoint in &endpoints {
                self.put_workload(endpoint);
            }
        }
    }

    fn put(&mut self, resource: &Resource) {
        match resource {
            Resource::Tier(tier) => self.put_tier(tier),
            Resource::Policy(policy) => self.put_policy(policy),
            Resource::Profile(profile) => self.put_profile(profile),
            Resource::NetworkSet(set) => self.put_network_set(set),
            Resource::WorkloadEndpoint(endpoint) => self.put_workload(endpoint),
            Resource::HostEndpoint(endpoint) => self.put_host_endpoint(endpoint),
            Resource::IpPool(pool) => self.network.put_pool(pool),
            Resource::Node(node) => self.network.put_node(node),
            Resource::BlockAffinity(affinity) => self.network.blocks.put_affinity(affinity),
            Resource::IpamBlock(block) => self.network.blocks.put_block(block),
            // Parameters are the business of whoever makes the settings.
            Resource::Config(_) | Resource::ClusterInformation(_) | Resource::Ready(_) => {}
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
            ResourceId::IpPool(name) => self.network.delete_pool(name),
            ResourceId::Node(name) => self.network.delete_node(name),
            ResourceId::BlockAffinity(name) => self.network.blocks.delete_affinity(name),
            ResourceId::IpamBlock(name) => self.network.blocks.delete_block(name),
            ResourceId::Config(_) | ResourceId::ClusterInformation(_) | ResourceId::Ready => {}
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
        if &**name == DEFAULT_ALLOW {
            return self.put_profile(&default_allow());
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
        if endpoint.allowed_source_prefixes.is_empty() {
            self.spoofing.remove(&endpoint.id);
        } else {
            self.spoofing.insert(endpoint.id.clone(), Arc::new(endpoint.clone()));
        }
        if self.admits(endpoint) {
            self.admit(endpoint);
        } else {
            self.dismiss(&endpoint.id);
        }
    }

    fn delete_workload(&mut self, id: &WorkloadId) {
        self.spoofing.remove(id);
        self.dismiss(id);
    }

    /// Whether the settings let the endpoint have what it asks for; if not it is absent (reference §3.5).
    fn admits(&self, endpoint: &WorkloadEndpoint) -> bool {
        endpoint.allowed_source_prefixes.is_empty() || self.settings.source_spoofing
    }

    fn admit(&mut self, endpoint: &WorkloadEndpoint) {
        let item = Item { nets: endpoint.networks.clone(), ports: endpoint.ports.clone() };
        let id = ItemId::Workload(endpoint.id.clone());
        self.sets.put_item(&id, &endpoint.labels, &endpoint.profiles, item);
        self.network.put_workload(endpoint);
        if !self.hosts.contains(&endpoint.id.node) {
            return;
        }
        let changes = self.governed.set_item(endpoint.id.clone(), &endpoint.labels, &endpoint.profiles);
        self.mark_governed(&changes);
        if let Some(before) = self.locals.insert(endpoint.id.clone(), Arc::new(endpoint.clone())) {
            self.leave(&before);
        }
        self.join(endpoint);
    }

    fn dismiss(&mut self, id: &WorkloadId) {
        self.sets.remove_item(&ItemId::Workload(id.clone()));
        self.network.delete_workload(id);
        let Some(before) = self.locals.remove(id) else { return };
        let changes = self.governed.remove_item(id);
        self.mark_governed(&changes);
        self.leave(&before);
    }

    /// The local endpoint shares its profiles and its interface with others from now on.
    fn join(&mut self, endpoint: &WorkloadEndpoint) {
        for name in &endpoint.profiles {
            self.by_profile.entry(Arc::clone(name)).or_default().insert(endpoint.id.clone());
        }
        self.by_interface.entry(interface_of(endpoint)).or_default().insert(endpoint.id.clone());
        self.mark_endpoint(endpoint);
    }

    fn leave(&mut self, endpoint: &WorkloadEndpoint) {
        self.mark_endpoint(endpoint);
        for name in &endpoint.profiles {
            remove_user(&mut self.by_profile, name, &endpoint.id);
        }
        remove_user(&mut self.by_interface, &interface_of(endpoint), &endpoint.id);
    }

    /// The endpoint, those that have its interface too, and its profiles.
    fn mark_endpoint(&mut self, endpoint: &WorkloadEndpoint) {
        self.dirty.endpoints.insert(endpoint.id.clone());
        self.dirty
            .endpoints
            .extend(self.by_interface.get(&interface_of(endpoint)).into_iter().flatten().cloned());
        self.dirty.profiles.extend(endpoint.profiles.iter().cloned());
    }

    /// The policy's own chains, and those of all endpoints that it governs.
    fn mark_policy(&mut self, id: &PolicyId) {
        self.dirty.endpoints.extend(self.governed.unordered_matches(id).cloned());
        self.dirty.policies.insert(id.clone());
    }

    /// All policies of the tier, and the endpoints that they govern.
    fn mark_tier(&mut self, name: &Arc<str>) {
        let policies = self.policies.values().filter(|policy| policy.tier == *name);
        for id in policies.map(|policy| policy.id.clone()).collect::<Vec<_>>() {
            self.mark_policy(&id);
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
        for id in std::mem::take(&mut self.dirty.endpoints) {
            let value = self.locals.get(&id).map(|endpoint| self.local_endpoint(endpoint));
            settle(&mut self.desired.endpoints, id, value);
        }
    }

    fn local_endpoint(&self, endpoint: &Arc<WorkloadEndpoint>) -> LocalEndpoint {
        // Of those with one interface the lowest id has it (reference §6.11).
        let owner = self.by_interface.get(&interface_of(endpoint)).and_then(BTreeSet::first);
        LocalEndpoint {
            endpoint: Arc::clone(endpoint),
            tiers: self.tiers_of(&endpoint.id),
            shadowed_by: owner.filter(|owner| **owner != endpoint.id).cloned(),
        }
    }

    fn tiers_of(&self, id: &WorkloadId) -> Vec<EndpointTier> {
        let policies = self.governed.selectors_of(id).into_iter().filter_map(|id| self.policies.get(id));
        let enforced = policies.map(Arc::as_ref).filter(|policy| self.enforces(policy.invalid));
        in_tiers(enforced, |name| self.tier(name))
    }

    /// The tier as the settings have it.
    fn tier(&self, name: &Arc<str>) -> Option<&Tier> {
        self.tiers.get(name).filter(|tier| self.enforces(tier.invalid))
    }

    /// Whether the policy denies all that it governs, whatever its rules say.
    fn closes(&self, policy: &Policy) -> bool {
        policy.invalid || self.tier(&policy.tier).is_some_and(|tier| tier.invalid)
    }

    fn enforces(&self, invalid: bool) -> bool {
        !(invalid && self.settings.ignore_invalid)
    }

    fn settle_policies(&mut self) {
        for id in std::mem::take(&mut self.dirty.policies) {
            let policy = self.policies.get(&id).filter(|policy| self.is_active(policy));
            let lowered = policy.map(|policy| lower::policy(policy, self.closes(policy)));
            let value = swap_users(&mut self.sets, &mut self.used_by_policies, &id, lowered);
            settle(&mut self.desired.policies, id, value);
        }
    }

    fn is_active(&self, policy: &Policy) -> bool {
        let normal = matches!(policy.stage, Stage::Normal { apply_on_forward: _ });
        let needed = policy.needed_everywhere || self.governed.unordered_matches(&policy.id).next().is_some();
        normal && needed && self.enforces(policy.invalid)
    }

    fn settle_profiles(&mut self) {
        for name in std::mem::take(&mut self.dirty.profiles) {
            let lowered = self.by_profile.contains_key(&name).then(|| {
                let profile = self.profiles.get(&name).filter(|profile| self.enforces(profile.invalid));
                lower::profile(&name, profile.map(Arc::as_ref))
            });
            let value = swap_users(&mut self.sets, &mut self.used_by_profiles, &name, lowered);
            settle(&mut self.desired.profiles, name, value);
        }
    }
}

/// The host, where it is one alone.
fn only(hosts: &BTreeSet<Arc<str>>) -> Option<&Arc<str>> {
    hosts.first().filter(|_| hosts.len() == 1)
}

fn interface_of(endpoint: &WorkloadEndpoint) -> Interface {
    (Arc::clone(&endpoint.id.node), Arc::clone(&endpoint.interface))
}

fn remove_user<K: Ord>(users: &mut Users<K>, shared: &K, id: &WorkloadId) {
    if let Some(ids) = users.get_mut(shared) {
        ids.remove(id);
        if ids.is_empty() {
            users.remove(shared);
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
    let (value, needed) = match lowered {
        Some(Lowered { value, sets }) => (Some(value), sets),
        None => (None, lower::Sets::new()),
    };
    let now: Vec<SetId> = needed.keys().cloned().collect();
    for (id, spec) in needed {
        sets.acquire(&id, spec);
    }
    let before = if now.is_empty() { used.remove(key) } else { used.insert(key.clone(), now) };
    for id in before.into_iter().flatten() {
        sets.release(&id);
    }
    value
}

/// Puts `value` there, unless what is there is the same; without one, nothing is there any more.
pub(super) fn settle<K: Ord, T: PartialEq>(map: &mut BTreeMap<K, Arc<T>>, key: K, value: Option<T>) {
    match value {
        Some(value) if map.get(&key).is_some_and(|before| **before == value) => {}
        Some(value) => drop(map.insert(key, Arc::new(value))),
        None => drop(map.remove(&key)),
    }
}
