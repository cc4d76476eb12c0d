//! Workload and host endpoints (reference §1.7, §1.8, §2.3, §3.5; felix-2.1 §1.6, §1.7).
//!
//! An endpoint with any error is absent: its interface is then unknown, and dropped.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::endpoint_name::{Parts, check_part, workload_field};
use super::fields::{Field, Form, Mistake, Object, Unknown};
use super::metadata::{self, label};
use super::name::{self, named};
use super::rule::protocol;
use super::scalar;
use crate::datastore::Written;
use crate::model::diagnostic::Code;
use crate::model::{
    EndpointPort, HostEndpoint, HostEndpointId, Labels, NatMapping, WorkloadEndpoint, WorkloadId,
};

const WORKLOAD: &[&str] = &[
    "orchestrator",
    "workload",
    "node",
    "containerID",
    "pod",
    "endpoint",
    "serviceAccountName",
    "ipNetworks",
    "ipNATs",
    "ipv4Gateway",
    "ipv6Gateway",
    "profiles",
    "interfaceName",
    "mac",
    "ports",
    "allowSpoofedSourcePrefixes",
    "qosControls",
];

const V1_WORKLOAD: &[&str] =
    &["ipNetworks", "ipNATs", "ipv4Gateway", "ipv6Gateway", "profiles", "interfaceName", "mac"];

const V1_WORKLOAD_METADATA: &[&str] =
    &["name", "workload", "orchestrator", "node", "activeInstanceID", "labels"];

/// A WorkloadEndpoint of today. None where anything of it can't be read, or it has no address.
pub(super) fn workload_v3(document: &Object<'_>) -> Option<WorkloadEndpoint> {
    let meta = metadata::v3(document);
    let spec = document.object("spec", WORKLOAD, Unknown::RefusedInManifest);
    let namespace = metadata::namespace(&meta);
    let parts = parts(&meta, &spec);
    let labels = v3_labels(&meta, &spec, namespace.as_deref(), parts.as_ref());
    let ports = spec.get("ports").map(|field| ports(&field, WORKLOAD_PORT)).unwrap_or_default();
    let allowed_source_prefixes = spec.read_all("allowSpoofedSourcePrefixes", scalar::net);
    if let Some(field) = spec.get("qosControls") {
        field.warn(Mistake::new(Code::NotImplemented, "limits are not enforced", "passed over"));
    }
    let addressed = spec.get("ipNetworks").is_some_and(|field| !field.is_empty_list());
    if !addressed {
        let message = "an endpoint without addresses is not programmed";
        document.field().warn(Mistake::new(Code::MissingField, message, "no `spec.ipNetworks`"));
    }
    let common = common(document, &spec);
    let parts = parts?;
    let namespace = namespace?;
    let workload = format!("{namespace}/{}", parts.workload);
    let id = WorkloadId {
        node: parts.node.as_str().into(),
        orchestrator: parts.orchestrator.as_str().into(),
        workload: workload.into(),
        endpoint: parts.endpoint.as_str().into(),
    };
    let name = parts.compose().into();
    let endpoint = common?.endpoint(id, name, namespace, document);
    addressed.then_some(WorkloadEndpoint { labels, ports, allowed_source_prefixes, ..endpoint })
}

/// A workloadEndpoint of 2017.
pub(super) fn workload_v1(document: &Object<'_>) -> Option<WorkloadEndpoint> {
    let meta = document.object("metadata", V1_WORKLOAD_METADATA, Unknown::RefusedInManifest);
    let spec = document.object("spec", V1_WORKLOAD, Unknown::RefusedInManifest);
    let part = |name, syntax| meta.require(name).and_then(|field| field.read(named(syntax)));
    let node = part("node", &name::WORD);
    let orchestrator = part("orchestrator", &name::NAMESPACED_WORD);
    let workload = part("workload", &name::NAMESPACED_WORD);
    let name = part("name", &name::NAMESPACED_WORD);
    let labels = metadata::labels(&meta, "labels");
    let common = common(document, &spec);
    let name = name?;
    let id = WorkloadId {
        node: node?,
        orchestrator: orchestrator?,
        workload: workload?,
        endpoint: Arc::clone(&name),
    };
    Some(WorkloadEndpoint { labels, ..common?.endpoint(id, name, Arc::default(), document) })
}

/// What both forms write alike.
struct Common {
    interface: Arc<str>,
    profiles: Vec<Arc<str>>,
    networks: Vec<IpNet>,
    nats: Vec<NatMapping>,
    mac: Option<Arc<str>>,
}

impl Common {
    fn endpoint(
        self,
        id: WorkloadId,
        name: Arc<str>,
        namespace: Arc<str>,
        document: &Object<'_>,
    ) -> WorkloadEndpoint {
        let Self { interface, profiles, networks, nats, mac } = self;
        WorkloadEndpoint {
            id,
            name,
            namespace,
            interface,
            active: true,
            labels: Labels::new(),
            profiles,
            networks,
            nats,
            mac,
            ports: Vec::new(),
            allowed_source_prefixes: Vec::new(),
            place: document.field().place(),
        }
    }
}

/// None where there was any error in the whole document.
fn common(document: &Object<'_>, spec: &Object<'_>) -> Option<Common> {
    let report = document.report();
    let interface =
        spec.require("interfaceName").and_then(|field| field.read(named(name::interface(report.form))));
    let profiles = metadata::profiles(spec);
    let networks = spec.read_all("ipNetworks", scalar::host_net);
    let nats = spec
        .get("ipNATs")
        .map(|field| nats(&field, &["internalIP", "externalIP"], &networks))
        .unwrap_or_default();
    gateway(spec, "ipv4Gateway", true);
    gateway(spec, "ipv6Gateway", false);
    let mac = mac(spec);
    let common = Common { interface: interface?, profiles, networks, nats, mac };
    (report.errors() == 0).then_some(common)
}

/// Nothing uses a gateway; it is still to be what it says.
pub(super) fn gateway(spec: &Object<'_>, name: &'static str, v4: bool) {
    let Some(field) = spec.get(name).filter(|field| !field.is_empty_text()) else { return };
    field.read(|text| match scalar::address(text)? {
        address if address.is_ipv4() == v4 => Ok(()),
        address => Err(Mistake::value(format!("`{address}` is of the other IP version"), "wrong version")),
    });
}

pub(super) fn mac(spec: &Object<'_>) -> Option<Arc<str>> {
    spec.get("mac").filter(|field| !field.is_empty_text())?.read(scalar::mac)
}

/// A list of pairs of addresses, the endpoint's own and the floating one, called by these names.
pub(super) fn nats(
    field: &Field<'_>,
    names: &'static [&'static str; 2],
    networks: &[IpNet],
) -> Vec<NatMapping> {
    field.items().filter_map(|item| nat(&item, names, networks)).collect()
}

fn nat(field: &Field<'_>, names: &'static [&'static str; 2], networks: &[IpNet]) -> Option<NatMapping> {
    let object = field.object(names, Unknown::RefusedInManifest);
    let [internal, external] = names.map(|name| object.require(name)?.read(scalar::address));
    let (internal, external) = (internal?, external?);
    if internal.is_ipv4() != external.is_ipv4() {
        field.error(Mistake::contradiction("addresses of two IP versions", "one IPv4, one IPv6"));
    }
    if !networks.iter().any(|net| net.addr() == internal) {
        let message = format!("`{internal}` is not an address of the endpoint");
        field.error(Mistake::contradiction(message, "not in its networks"));
    }
    Some(NatMapping { internal, external })
}

/// The identity: what the name in the key says, or what the spec says and the name agrees with.
fn parts(meta: &Object<'_>, spec: &Object<'_>) -> Option<Parts> {
    let written = meta.get("name");
    if spec.report().resource_key().is_some() {
        let name = metadata::name(meta, &name::DNS_SUBDOMAIN)?;
        let parts = Parts::split(&name);
        if parts.is_none() {
            spec.report().root().error(Mistake::new(
                Code::InvalidName,
                format!("the key: `{name}` is not a workload endpoint's name"),
                "wanted: node-orchestrator-workload-endpoint, dashes within doubled",
            ));
        }
        return parts;
    }
    let part = |name| {
        let text = spec.require(name)?.read(scalar::text)?;
        spec.read(name, |_| check_part(&text))?;
        Some(text.to_string())
    };
    let (node, orchestrator, endpoint) = (part("node"), part("orchestrator"), part("endpoint"));
    let orchestrator = orchestrator?;
    let workload = match workload_field(&orchestrator) {
        Some(field) => part(field),
        None => Some(orchestrator.clone()),
    };
    let parts = Parts { node: node?, workload: workload?, orchestrator, endpoint: endpoint? };
    let composed = parts.compose();
    if let Some(field) = written
        && field.text()? != composed
    {
        field.error(
            Mistake::new(
                Code::InvalidName,
                "the name is not what `spec` says",
                format!("`{composed}` is wanted"),
            )
            .help("leave the name out, or correct `spec`: node, orchestrator, workload, endpoint"),
        );
    }
    Some(parts)
}

/// As written without what only a namespace or service account may give; a manifest gets what clients add.
fn v3_labels(meta: &Object<'_>, spec: &Object<'_>, namespace: Option<&str>, parts: Option<&Parts>) -> Labels {
    let mut labels = metadata::labels(meta, "labels");
    labels.retain(|key, _| {
        !key.starts_with(label::OF_NAMESPACE) && !key.starts_with(label::OF_SERVICE_ACCOUNT)
    });
    if let Some(account) = spec.text("serviceAccountName") {
        labels.insert(label::SERVICE_ACCOUNT.into(), account);
    }
    match spec.report().written() {
        Written::Manifest => {
            let orchestrator = parts.map(|parts| parts.orchestrator.as_str());
            for (key, value) in [(label::NAMESPACE, namespace), (label::ORCHESTRATOR, orchestrator)] {
                labels.extend(value.map(|value| (Arc::from(key), Arc::from(value))));
            }
        }
        Written::Stored => {}
    }
    labels
}

/// The fields of an endpoint's port; only the first three mean something to policies.
const WORKLOAD_PORT: &[&str] = &["name", "protocol", "port", "hostPort", "hostIP"];

const HOST_PORT: &[&str] = &["name", "protocol", "port"];

fn ports(field: &Field<'_>, known: &'static [&'static str]) -> Vec<EndpointPort> {
    field.items().filter_map(|item| port(&item, known)).collect()
}

/// A port that rules can use: one without a name is left out.
fn port(field: &Field<'_>, known: &'static [&'static str]) -> Option<EndpointPort> {
    let object = field.object(known, Unknown::RefusedInManifest);
    let name = object.get("name").filter(|field| !field.is_empty_text());
    let name = name.and_then(|field| field.read(named(&name::PORT_NAME)));
    let form = field.report.form;
    let protocol = object.require("protocol").and_then(|field| {
        field.read(|scalar| {
            let protocol = protocol(scalar, form)?;
            let mistake = || Mistake::value("a protocol without ports", "`TCP`, `UDP` or `SCTP`");
            protocol.has_ports().then_some(protocol).ok_or_else(mistake)
        })
    });
    let port = object.require("port").and_then(|field| field.read(scalar::integer(1..=65535)));
    Some(EndpointPort { name: name?, protocol: protocol?, port: u16::try_from(port?).ok()? })
}

/// A HostEndpoint of either form.
pub(super) fn host(document: &Object<'_>) -> Option<HostEndpoint> {
    let (node, name, labels, spec) = match document.report().form {
        Form::V1 => v1_host(document),
        Form::V3 => v3_host(document),
    };
    let interface = spec.get("interfaceName").filter(|field| !field.is_empty_text());
    let expected_ips: Vec<IpAddr> = spec.read_all("expectedIPs", scalar::address);
    if interface.is_none() && spec.get("expectedIPs").is_none_or(|field| field.is_empty_list()) {
        spec.field().error(unidentified("give `interfaceName` or `expectedIPs`"));
    }
    let interface =
        interface.and_then(|field| field.read(|text| host_interface(text, document.report().form)));
    let profiles = metadata::profiles(&spec);
    let ports = match document.report().form {
        Form::V1 => Vec::new(),
        Form::V3 => spec.get("ports").map(|field| ports(&field, HOST_PORT)).unwrap_or_default(),
    };
    let id = HostEndpointId { node: node?, name: name? };
    let place = document.field().place();
    let endpoint = HostEndpoint { id, interface, expected_ips, labels, profiles, ports, place };
    (document.report().errors() == 0).then_some(endpoint)
}

/// A host endpoint that no interface can be.
pub(super) fn unidentified(help: &str) -> Mistake {
    Mistake::new(Code::MissingField, "neither interface nor addresses", "which interface is it?").help(help)
}

type HostParts<'s> = (Option<Arc<str>>, Option<Arc<str>>, Labels, Object<'s>);

fn v1_host<'s>(document: &'s Object<'_>) -> HostParts<'s> {
    let meta = document.object("metadata", &["name", "node", "labels"], Unknown::RefusedInManifest);
    let spec =
        document.object("spec", &["interfaceName", "expectedIPs", "profiles"], Unknown::RefusedInManifest);
    let node = meta.require("node").and_then(|field| field.read(named(&name::WORD)));
    (node, metadata::name(&meta, &name::NAMESPACED_WORD), metadata::labels(&meta, "labels"), spec)
}

fn v3_host<'s>(document: &'s Object<'_>) -> HostParts<'s> {
    const SPEC: &[&str] = &["node", "interfaceName", "expectedIPs", "profiles", "ports"];
    let meta = metadata::v3(document);
    metadata::refuse_namespace(&meta);
    let spec = document.object("spec", SPEC, Unknown::RefusedInManifest);
    let node = spec.require("node").and_then(|field| field.read(named(&name::WORD)));
    (node, metadata::name(&meta, &name::DNS_SUBDOMAIN), metadata::labels(&meta, "labels"), spec)
}

/// `*` is all interfaces, in v3 only.
fn host_interface(text: &crate::datastore::Scalar, form: Form) -> Result<Arc<str>, Mistake> {
    if form == Form::V3 && &*text.text == "*" {
        scalar::text(text)
    } else {
        named(name::interface(form))(text)
    }
}
