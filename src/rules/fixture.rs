//! Hosts, policies and endpoints for tests.

use std::sync::Arc;

use super::family::Family;
use super::marks::Marks;
use super::ruleset::{Chain, Rule, TableName};
use super::text::rule_text;
use crate::config::Config;
use crate::datastore::Place;
use crate::model::{
    Action, IpVersion, Labels, PolicyId, PolicyKind, Stage, TierDefault, WorkloadEndpoint, WorkloadId,
};
use crate::policy::{
    ActivePolicy, ActiveProfile, ActiveRule, ActiveSide, Direction, Encapsulation, EndpointTier, HostPolicy,
    LocalEndpoint, Owner, Pool, RuleSource,
};
use crate::rules::ruleset::Ruleset;

/// Felix's unit tests' marks.
pub(super) const MARKS: Marks =
    Marks { accept: 0x8, pass: 0x10, drop: 0x80, scratch0: 0x20, scratch1: 0x40, endpoint: 0xff00 };

pub(super) fn family<'a>(policy: &'a HostPolicy, config: &'a Config, version: IpVersion) -> Family<'a> {
    Family { marks: MARKS, ..Family::new(policy, config, version).unwrap() }
}

pub(super) fn texts(rules: &[Rule]) -> Vec<String> {
    rules.iter().map(rule_text).collect()
}

/// The rules of the chain `name`.
pub(super) fn chain_texts(chains: &[Chain], name: &str) -> Vec<String> {
    let chain = chains.iter().find(|chain| chain.name.as_str() == name);
    texts(&chain.unwrap_or_else(|| panic!("no chain {name}")).rules)
}

/// The names of a table's chains.
pub(super) fn chain_names(ruleset: &Ruleset, table: TableName) -> Vec<&str> {
    let table = ruleset.tables.iter().find(|t| t.name == table).unwrap();
    table.chains.keys().map(|name| name.as_str()).collect()
}

pub(crate) fn place() -> Place {
    Place { source: "test.yaml".into(), line: 1, column: 1 }
}

pub(crate) fn workload_id(name: &str) -> WorkloadId {
    WorkloadId {
        node: "host".into(),
        orchestrator: "k8s".into(),
        workload: format!("ns/{name}").into(),
        endpoint: "eth0".into(),
    }
}

pub(crate) fn workload(interface: &str) -> WorkloadEndpoint {
    WorkloadEndpoint {
        id: workload_id(interface),
        name: interface.into(),
        namespace: "ns".into(),
        interface: interface.into(),
        active: true,
        labels: Labels::new(),
        profiles: vec![],
        networks: vec![],
        nats: vec![],
        mac: None,
        ports: vec![],
        allowed_source_prefixes: vec![],
        place: place(),
    }
}

pub(crate) fn local(endpoint: WorkloadEndpoint, tiers: Vec<EndpointTier>) -> LocalEndpoint {
    LocalEndpoint { endpoint: Arc::new(endpoint), tiers, shadowed_by: None }
}

pub(crate) fn policy_id(name: &str) -> PolicyId {
    PolicyId { kind: PolicyKind::GlobalNetworkPolicy, namespace: "".into(), name: name.into() }
}

/// A tier with the same policies in both directions.
pub(crate) fn tier(name: &str, default_action: TierDefault, policies: &[&str]) -> EndpointTier {
    let ids: Vec<_> = policies.iter().map(|name| policy_id(name)).collect();
    EndpointTier { name: name.into(), default_action, ingress: ids.clone(), egress: ids }
}

/// A policy that allows everything.
pub(crate) fn policy(name: &str, selector: &str) -> ActivePolicy {
    let id = policy_id(name);
    let rule = |direction| vec![Arc::new(allow(Owner::Policy(id.clone()), direction))];
    ActivePolicy {
        tier: "default".into(),
        selector: selector.into(),
        stage: Stage::Normal { apply_on_forward: false },
        ingress: rule(Direction::Ingress),
        egress: rule(Direction::Egress),
        needed_everywhere: false,
        place: place(),
        id: id.clone(),
    }
}

/// A profile that allows everything.
pub(crate) fn profile(name: &str) -> ActiveProfile {
    let owner = Owner::Profile(name.into());
    ActiveProfile {
        name: name.into(),
        ingress: vec![Arc::new(allow(owner.clone(), Direction::Ingress))],
        egress: vec![Arc::new(allow(owner, Direction::Egress))],
        place: Some(place()),
    }
}

pub(crate) fn allow(owner: Owner, direction: Direction) -> ActiveRule {
    ActiveRule {
        action: Action::Allow,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: ActiveSide::default(),
        destination: ActiveSide::default(),
        annotations: vec![],
        provenance: RuleSource { owner, direction, index: Some(0), place: Some(place()) },
    }
}

pub(crate) fn pool(cidr: &str) -> Pool {
    Pool {
        cidr: cidr.parse().unwrap(),
        encapsulation: Encapsulation::None,
        nat_outgoing: false,
        load_balancer_only: false,
    }
}

/// A host with these.
pub(crate) fn host(
    endpoints: Vec<LocalEndpoint>,
    policies: Vec<ActivePolicy>,
    profiles: Vec<ActiveProfile>,
    pools: Vec<Pool>,
) -> HostPolicy {
    HostPolicy {
        endpoints: endpoints.into_iter().map(|local| (local.endpoint.id.clone(), Arc::new(local))).collect(),
        policies: policies.into_iter().map(|policy| (policy.id.clone(), Arc::new(policy))).collect(),
        profiles: profiles
            .into_iter()
            .map(|profile| (Arc::clone(&profile.name), Arc::new(profile)))
            .collect(),
        pools: pools.into_iter().map(|pool| (pool.cidr, Arc::new(pool))).collect(),
        ..HostPolicy::default()
    }
}
