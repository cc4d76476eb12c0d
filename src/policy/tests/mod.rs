//! A host that is told resources as YAML, and what comes out as text.

mod activation;
mod lints;
mod network;
mod ordering;
mod random;
mod rules;
mod sets;
mod settings;
mod unchanged;

use std::sync::Arc;

use super::{ActiveRule, Calc, EndpointTier, HostPolicy, IpSet, LocalEndpoint, SetId, Settings};
use crate::datastore::yaml;
use crate::model::decode;
use crate::model::{PolicyId, Resource, Update, WorkloadId};

const HOST: &str = "host-1";

/// The resources of documents; those that are of no use to a host are passed over.
fn resources(text: &str) -> Vec<Resource> {
    let reading = yaml::parse(&"test.yaml".into(), &text.into());
    assert!(reading.errors.is_empty(), "{text}\n{:?}", reading.errors);
    reading.entries.iter().filter_map(|entry| decode(entry).resource().cloned()).collect()
}

fn document(version: &str, kind: &str, metadata: &str, spec: &str) -> String {
    format!("---\n{{apiVersion: {version}, kind: {kind}, metadata: {{{metadata}}}, spec: {{{spec}}}}}\n")
}

fn v3(kind: &str, metadata: &str, spec: &str) -> String {
    document("projectcalico.org/v3", kind, metadata, spec)
}

fn gnp(name: &str, spec: &str) -> String {
    v3("GlobalNetworkPolicy", &format!("name: {name}"), spec)
}

fn profile(name: &str, spec: &str) -> String {
    v3("Profile", &format!("name: {name}"), spec)
}

fn tier(name: &str, spec: &str) -> String {
    v3("Tier", &format!("name: {name}"), spec)
}

fn network_set(name: &str, labels: &str, nets: &str) -> String {
    v3("GlobalNetworkSet", &format!("name: {name}, labels: {{{labels}}}"), &format!("nets: [{nets}]"))
}

/// An endpoint of this host in the namespace `ns`, with the interface `cali-<pod>` and the rest of its spec.
fn local(pod: &str, labels: &str, rest: &str) -> String {
    workload(HOST, pod, labels, &format!("interfaceName: cali-{pod}, {rest}"))
}

/// The same on another host.
fn remote(pod: &str, labels: &str, rest: &str) -> String {
    workload("host-2", pod, labels, &format!("interfaceName: cali-{pod}, {rest}"))
}

fn workload(node: &str, pod: &str, labels: &str, spec: &str) -> String {
    let name = format!("{}-k8s-{pod}-eth0", node.replace('-', "--"));
    v3(
        "WorkloadEndpoint",
        &format!("name: {name}, namespace: ns, labels: {{{labels}}}"),
        &format!("node: {node}, orchestrator: k8s, pod: {pod}, endpoint: eth0, {spec}"),
    )
}

/// A calculation and the settings that it is asked with.
struct Host {
    calc: Calc,
    settings: Settings,
}

impl Host {
    fn new(documents: &[&str]) -> Self {
        let mut host = Self { calc: Calc::new(HOST.into()), settings: Settings::default() };
        for text in documents {
            host.put(text);
        }
        host
    }

    fn put(&mut self, text: &str) -> &mut Self {
        for resource in resources(text) {
            self.calc.apply(Update::Put(Arc::new(resource)));
        }
        self
    }

    /// What `text` describes goes.
    fn delete(&mut self, text: &str) -> &mut Self {
        for resource in resources(text) {
            self.calc.apply(Update::Delete(resource.id()));
        }
        self
    }

    fn set(&mut self, settings: Settings) -> &mut Self {
        self.settings = settings;
        self
    }

    fn desired(&mut self) -> HostPolicy {
        self.calc.desired(self.settings).clone()
    }
}

/// How tests look at a host's policy.
impl HostPolicy {
    fn endpoint(&self, pod: &str) -> &LocalEndpoint {
        &self.endpoints[&workload_id(pod)]
    }

    /// The endpoint's tiers in order: `name Default: ingress policies | egress policies`.
    fn tiers(&self, pod: &str) -> Vec<String> {
        self.endpoint(pod).tiers.iter().map(tier_line).collect()
    }

    fn policy_names(&self) -> Vec<String> {
        self.policies.keys().map(PolicyId::qualified_name).collect()
    }

    fn profile_names(&self) -> Vec<&str> {
        self.profiles.keys().map(|name| &**name).collect()
    }

    fn pods(&self) -> Vec<&str> {
        self.endpoints.keys().map(|id| id.workload.trim_start_matches("ns/")).collect()
    }

    /// `meaning = members`, in order of the meaning.
    fn set_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.sets.values().map(|set| format!("{} = {}", set.meaning, member_line(set))).collect();
        lines.sort();
        lines
    }

    /// The meaning of each.
    fn meanings(&self, ids: &[SetId]) -> Vec<String> {
        ids.iter().map(|id| self.sets[id].meaning.to_string()).collect()
    }
}

fn workload_id(pod: &str) -> WorkloadId {
    WorkloadId {
        node: HOST.into(),
        orchestrator: "k8s".into(),
        workload: format!("ns/{pod}").into(),
        endpoint: "eth0".into(),
    }
}

fn tier_line(tier: &EndpointTier) -> String {
    let names = |ids: &[PolicyId]| {
        let names: Vec<String> = ids.iter().map(PolicyId::qualified_name).collect();
        names.join(" ")
    };
    format!("{} {:?}: {} | {}", tier.name, tier.default_action, names(&tier.ingress), names(&tier.egress))
}

fn member_line(set: &IpSet) -> String {
    let members: Vec<String> = set.members.iter().map(ToString::to_string).collect();
    members.join(" ")
}

/// `index action` of each rule; `-` for the deny that stands for all.
fn rule_lines(rules: &[Arc<ActiveRule>]) -> Vec<String> {
    let line = |rule: &Arc<ActiveRule>| {
        let index = rule.provenance.index.map_or_else(|| "-".to_owned(), |index| index.to_string());
        format!("{index} {:?}", rule.action)
    };
    rules.iter().map(line).collect()
}

const NONE: &[&str] = &[];
