//! Names of things that are not there, and things that are there twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{World, warning};
use crate::config::nearest;
use crate::datastore::Place;
use crate::model::{Code, Diagnostic, HostEndpoint, Severity, WorkloadEndpoint, WorkloadId};
use crate::policy::built_in::{DEFAULT_ALLOW, builtin_tiers};
use crate::policy::host_policy::HostPolicy;

pub(super) fn lint(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    missing_profiles(world, found);
    missing_tiers(world, found);
    shared_interfaces(world, found);
    shared_pools(world, found);
    found.extend(world.hosts.iter().map(|endpoint| host_endpoint(endpoint)));
}

/// Why a local endpoint's packets meet no chains of its own, where they don't.
pub(super) fn left_out(
    endpoint: &WorkloadEndpoint,
    enforced: &HostPolicy,
    prefixes: &[String],
) -> Option<Diagnostic> {
    let Some(local) = enforced.endpoints.get(&endpoint.id) else { return Some(spoofer(endpoint)) };
    let unseen = || !prefixes.iter().any(|prefix| endpoint.interface.starts_with(prefix.as_str()));
    match &local.shadowed_by {
        Some(owner) => Some(shadowed(endpoint, owner)),
        None => unseen().then(|| unpoliced(endpoint, prefixes)),
    }
}

fn spoofer(endpoint: &WorkloadEndpoint) -> Diagnostic {
    warning(
        Code::InvalidValue,
        &endpoint.place,
        format!("WorkloadEndpoint {} is left out: it wants to send from other addresses", endpoint.id),
        "allowSpoofedSourcePrefixes needs WorkloadSourceSpoofing=Any; until then its packets are dropped"
            .to_owned(),
        Some("set WorkloadSourceSpoofing=Any, or take the prefixes away".to_owned()),
    )
}

fn unpoliced(endpoint: &WorkloadEndpoint, prefixes: &[String]) -> Diagnostic {
    warning(
        Code::InvalidValue,
        &endpoint.place,
        format!("WorkloadEndpoint {} is not policed: its interface is not a workload's", endpoint.id),
        format!("`{}` begins with none of InterfacePrefix={}", endpoint.interface, prefixes.join(",")),
        Some("name the interface by the prefix, or add its prefix to InterfacePrefix".to_owned()),
    )
}

/// Host endpoints are read, and their addresses selected; chains of their own are not there yet.
pub(super) fn host_endpoint(endpoint: &HostEndpoint) -> Diagnostic {
    Diagnostic {
        severity: Severity::Note,
        code: Code::NotImplemented,
        place: endpoint.place.clone(),
        excerpt: None,
        message: format!(
            "HostEndpoint {}: no chains are made for host endpoints by this version",
            endpoint.id
        ),
        label: "its addresses are members of IP sets; its own traffic is not policed".to_owned(),
        effect: None,
        help: None,
    }
}

fn missing_profiles(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let known: BTreeSet<&str> =
        (world.profiles.iter().map(|profile| &*profile.name)).chain([DEFAULT_ALLOW]).collect();
    let workloads =
        world.workloads.iter().map(|e| (format!("WorkloadEndpoint {}", e.id), &e.profiles, &e.place));
    let hosts = world.hosts.iter().map(|e| (format!("HostEndpoint {}", e.id), &e.profiles, &e.place));
    for (endpoint, profiles, place) in workloads.chain(hosts) {
        for profile in profiles.iter().filter(|profile| !known.contains(&***profile)) {
            let similar = nearest(profile, known.iter().copied());
            found.push(missing(
                place,
                format!("{endpoint} names the profile `{profile}`, which is not there"),
                "a missing profile denies what no policy decides",
                similar,
            ));
        }
    }
}

fn missing_tiers(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let builtin: Vec<Arc<str>> = builtin_tiers().map(|tier| tier.name).collect();
    let known: BTreeSet<&str> =
        world.tiers.iter().map(|tier| &*tier.name).chain(builtin.iter().map(|name| &**name)).collect();
    for policy in world.policies.iter().filter(|policy| !known.contains(&*policy.tier)) {
        found.push(missing(
            &policy.place,
            format!("{} is in the tier `{}`, which is not there", policy.id, policy.tier),
            "it is evaluated after all known tiers, and what it selects and does not decide is denied",
            nearest(&policy.tier, known.iter().copied()),
        ));
    }
}

fn missing(place: &Place, message: String, label: &str, similar: Option<&str>) -> Diagnostic {
    let help = similar.map(|known| format!("did you mean `{known}`?"));
    warning(Code::MissingReference, place, message, label.to_owned(), help)
}

/// Of several endpoints with one interface of one node only one can be programmed.
fn shared_interfaces(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let mut owners = BTreeMap::new();
    let mut endpoints: Vec<_> = world.workloads.iter().collect();
    endpoints.sort_by(|a, b| a.id.cmp(&b.id));
    for endpoint in endpoints {
        let owner = *owners.entry((&endpoint.id.node, &endpoint.interface)).or_insert(endpoint);
        if owner.id != endpoint.id {
            found.push(shadowed(endpoint, &owner.id));
        }
    }
}

/// Of several pools with one CIDR only one counts (reference §3.6).
fn shared_pools(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let mut owners = BTreeMap::new();
    let mut pools: Vec<_> = world.pools.iter().collect();
    pools.sort_by(|a, b| (a.unnamed, &a.name).cmp(&(b.unnamed, &b.name)));
    for pool in pools {
        let owner = *owners.entry(pool.cidr).or_insert(pool);
        if owner.name != pool.name {
            let reason = if pool.unnamed { "the pool with a name" } else { "the lower name" };
            found.push(warning(
                Code::Duplicate,
                &pool.place,
                format!("IPPool {} has the CIDR of {}", pool.name, owner.name),
                format!("{} belongs to {}; this one's settings do nothing", pool.cidr, reason),
                None,
            ));
        }
    }
}

fn shadowed(endpoint: &WorkloadEndpoint, owner: &WorkloadId) -> Diagnostic {
    warning(
        Code::Duplicate,
        &endpoint.place,
        format!("WorkloadEndpoint {} has the interface of {owner}", endpoint.id),
        format!(
            "`{}` belongs to the endpoint with the lower id; this one is not programmed",
            endpoint.interface
        ),
        None,
    )
}
