//! What is legal and probably not what was meant. Readers of the whole set of resources, for any host.

mod references;
mod rules;
mod selectors;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::built_in::builtin_tiers;
use super::host_policy::{Direction, HostPolicy, Owner};
use crate::datastore::Place;
use crate::model::{
    Code, Diagnostic, EntityMatch, HostEndpoint, IpPool, NetworkSet, Policy, Profile, Resource, Rule,
    Severity, Tier, TierDefault, Types, WorkloadEndpoint,
};

/// All lints over `resources`, in no particular order.
pub fn lint<'r>(resources: impl IntoIterator<Item = &'r Resource>) -> Vec<Diagnostic> {
    let world = World::of(resources);
    let mut found = Vec::new();
    selectors::lint(&world, &mut found);
    rules::lint(&world, &mut found);
    references::lint(&world, &mut found);
    found
}

/// What `host` has in its datastore and does not enforce as written. Packets are taken for a workload's where their
/// interface's name begins with one of `prefixes`.
pub fn on_host<'r>(
    host: &str,
    resources: impl IntoIterator<Item = &'r Resource>,
    enforced: &HostPolicy,
    prefixes: &[String],
) -> Vec<Diagnostic> {
    let World { policies: _, profiles: _, tiers: _, workloads, hosts, network_sets: _, pools: _ } =
        World::of(resources);
    let workloads = workloads.into_iter().filter(|endpoint| &*endpoint.id.node == host);
    let hosts = hosts.into_iter().filter(|endpoint| &*endpoint.id.node == host);
    workloads
        .filter_map(|endpoint| references::left_out(endpoint, enforced, prefixes))
        .chain(hosts.map(references::host_endpoint))
        .collect()
}

/// The resources that lints look at, by kind.
#[derive(Default)]
struct World<'r> {
    policies: Vec<&'r Policy>,
    profiles: Vec<&'r Profile>,
    tiers: Vec<&'r Tier>,
    workloads: Vec<&'r WorkloadEndpoint>,
    hosts: Vec<&'r HostEndpoint>,
    network_sets: Vec<&'r NetworkSet>,
    pools: Vec<&'r IpPool>,
}

/// The rules of one owner in one direction.
struct RuleList<'r> {
    owner: Owner,
    direction: Direction,
    rules: &'r [Rule],
    /// What becomes of a packet that no rule decides, neither here nor in what stands beside it.
    undecided: TierDefault,
    place: &'r Place,
}

impl<'r> World<'r> {
    fn of(resources: impl IntoIterator<Item = &'r Resource>) -> Self {
        let mut world = Self::default();
        for resource in resources {
            match resource {
                Resource::Policy(policy) => world.policies.push(policy),
                Resource::Profile(profile) => world.profiles.push(profile),
                Resource::Tier(tier) => world.tiers.push(tier),
                Resource::WorkloadEndpoint(endpoint) => world.workloads.push(endpoint),
                Resource::HostEndpoint(endpoint) => world.hosts.push(endpoint),
                Resource::NetworkSet(set) => world.network_sets.push(set),
                Resource::IpPool(pool) => world.pools.push(pool),
                Resource::Node(_)
                | Resource::Config(_)
                | Resource::ClusterInformation(_)
                | Resource::Ready(_)
                | Resource::BlockAffinity(_)
                | Resource::IpamBlock(_) => {}
            }
        }
        world
    }

    /// Every list of rules that somebody wrote, that could be understood and that is enforced.
    fn rule_lists(&self) -> impl Iterator<Item = RuleList<'r>> {
        let defaults: BTreeMap<Arc<str>, TierDefault> = builtin_tiers()
            .map(|tier| (tier.name, tier.default_action))
            .chain(self.tiers.iter().map(|tier| (Arc::clone(&tier.name), tier.default_action)))
            .collect();
        let of_policies = self.policies.iter().filter(|policy| !policy.invalid);
        let of_profiles = self.profiles.iter().filter(|profile| !profile.invalid);
        of_policies
            .flat_map(move |policy| {
                // A tier that nobody described denies.
                let undecided = defaults.get(&policy.tier).copied().unwrap_or(TierDefault::Deny);
                lists_of_policy(policy, undecided)
            })
            .chain(of_profiles.flat_map(|profile| lists_of_profile(profile)))
    }
}

fn lists_of_policy(policy: &Policy, undecided: TierDefault) -> impl Iterator<Item = RuleList<'_>> {
    let Types { ingress, egress } = policy.types;
    let list = move |direction, rules| RuleList {
        owner: Owner::Policy(policy.id.clone()),
        direction,
        rules,
        undecided,
        place: &policy.place,
    };
    let ingress = ingress.then(|| list(Direction::Ingress, &policy.ingress));
    let egress = egress.then(|| list(Direction::Egress, &policy.egress));
    ingress.into_iter().chain(egress)
}

fn lists_of_profile(profile: &Profile) -> [RuleList<'_>; 2] {
    [(Direction::Ingress, &profile.ingress), (Direction::Egress, &profile.egress)].map(
        |(direction, rules)| RuleList {
            owner: Owner::Profile(Arc::clone(&profile.name)),
            direction,
            rules,
            undecided: TierDefault::Deny,
            place: &profile.place,
        },
    )
}

/// The two sides of a rule with the names that manifests give them.
fn sides(rule: &Rule) -> [(&'static str, &EntityMatch); 2] {
    [("source", &rule.source), ("destination", &rule.destination)]
}

fn warning(code: Code, place: &Place, message: String, label: String, help: Option<String>) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning,
        code,
        place: place.clone(),
        excerpt: None,
        message,
        label,
        effect: None,
        help,
    }
}
