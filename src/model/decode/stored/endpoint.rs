//! Endpoints in Felix 2.1's store (felix-2.1 §2.2). As everywhere, one with any error is absent.

use std::net::IpAddr;
use std::sync::Arc;

use crate::datastore::Scalar;
use crate::model::decode::endpoint::{gateway, mac, nats, unidentified};
use crate::model::decode::fields::{Field, Mistake, Object, Unknown};
use crate::model::decode::key::WorkloadKey;
use crate::model::decode::name::{self, named};
use crate::model::decode::{metadata, scalar};
use crate::model::diagnostic::Code;
use crate::model::{HostEndpoint, HostEndpointId, WorkloadEndpoint, WorkloadId};

const WORKLOAD: &[&str] = &[
    "state",
    "name",
    "active_instance_id",
    "mac",
    "profile_ids",
    "ipv4_nets",
    "ipv6_nets",
    "ipv4_nat",
    "ipv6_nat",
    "labels",
    "ipv4_gateway",
    "ipv6_gateway",
];

const HOST: &[&str] = &["name", "expected_ipv4_addrs", "expected_ipv6_addrs", "labels", "profile_ids"];

/// A workload's endpoint. Only `active` ones have any traffic.
pub(super) fn workload(root: &Field<'_>, key: &WorkloadKey<'_>) -> Option<WorkloadEndpoint> {
    let id = workload_id(root, key);
    let spec = root.object(WORKLOAD, Unknown::RefusedInManifest);
    let interface =
        spec.require("name").and_then(|field| field.read(named(name::interface(root.report.form))));
    let networks = both(&spec, ["ipv4_nets", "ipv6_nets"], scalar::host_net);
    let nat = |name| {
        let mappings = spec.get(name).map(|field| nats(&field, &["int_ip", "ext_ip"], &networks));
        mappings.unwrap_or_default()
    };
    let nats = [nat("ipv4_nat"), nat("ipv6_nat")].concat();
    gateway(&spec, "ipv4_gateway", true);
    gateway(&spec, "ipv6_gateway", false);
    let mac = mac(&spec);
    let state = spec.text("state");
    if state.is_none() {
        let message = "an endpoint without a state is not active";
        root.warn(Mistake::new(Code::MissingField, message, "no `state`: its packets are dropped"));
    }
    let labels = metadata::labels(&spec, "labels");
    let profiles = profiles(&spec);
    let id = id?;
    let endpoint = WorkloadEndpoint {
        name: Arc::clone(&id.endpoint),
        id,
        namespace: Arc::default(),
        interface: interface?,
        active: state.as_deref() == Some("active"),
        labels,
        profiles,
        networks,
        nats,
        mac,
        ports: Vec::new(),
        allowed_source_prefixes: Vec::new(),
        place: root.place(),
    };
    (root.report.errors() == 0).then_some(endpoint)
}

fn workload_id(root: &Field<'_>, key: &WorkloadKey<'_>) -> Option<WorkloadId> {
    let WorkloadKey { host, orchestrator, workload, endpoint } = key;
    let word = |text| root.report.name_in_key(&name::NAMESPACED_WORD, text);
    let node = root.report.name_in_key(&name::WORD, host);
    let (orchestrator, workload, endpoint) = (word(orchestrator), word(workload), word(endpoint));
    Some(WorkloadId { node: node?, orchestrator: orchestrator?, workload: workload?, endpoint: endpoint? })
}

/// An interface of a host.
pub(super) fn host(root: &Field<'_>, host: &str, name: &str) -> Option<HostEndpoint> {
    let node = root.report.name_in_key(&name::WORD, host);
    let name = root.report.name_in_key(&name::NAMESPACED_WORD, name);
    let spec = root.object(HOST, Unknown::RefusedInManifest);
    let interface = spec.get("name").filter(|field| !field.is_empty_text());
    let expected_ips: Vec<IpAddr> =
        both(&spec, ["expected_ipv4_addrs", "expected_ipv6_addrs"], scalar::address);
    if interface.is_none() && expected_ips.is_empty() {
        root.error(unidentified("give `name` or expected addresses"));
    }
    let interface = interface.and_then(|field| field.read(named(name::interface(root.report.form))));
    let labels = metadata::labels(&spec, "labels");
    let profiles = profiles(&spec);
    let id = HostEndpointId { node: node?, name: name? };
    let ports = Vec::new();
    let place = root.place();
    let endpoint = HostEndpoint { id, interface, expected_ips, labels, profiles, ports, place };
    (root.report.errors() == 0).then_some(endpoint)
}

/// The items of both lists, one a family.
fn both<T>(
    spec: &Object<'_>,
    names: [&'static str; 2],
    read: impl Fn(&Scalar) -> Result<T, Mistake>,
) -> Vec<T> {
    names.into_iter().flat_map(|name| spec.read_all(name, &read)).collect()
}

fn profiles(spec: &Object<'_>) -> Vec<Arc<str>> {
    spec.read_all("profile_ids", named(&name::NAMESPACED_WORD))
}
