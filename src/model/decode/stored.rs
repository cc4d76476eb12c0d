//! What a store has under a key: resources of today, address blocks, and the layout of Felix 2.1, in which a value has
//! no name in it and its fields have names of their own (reference §2; felix-2.1 §2).

mod endpoint;
mod network;
mod parameter;
mod profile;
mod rule;

pub(super) use rule::rules;

use super::fields::{Form, Mistake, Object, Report, Unknown};
use super::key::{StoredKey, WorkloadKey};
use super::kind::{Kind, V3_VERSION};
use super::{Content, ipam, policy};
use crate::datastore::StoredPath;
use crate::model::Resource;
use crate::model::diagnostic::Code;

const POLICY: &[&str] = &["order", "selector", "untracked", "inbound_rules", "outbound_rules"];

/// The generation of the API that the value under a key is of.
pub(super) fn form(key: &StoredKey<'_>) -> Form {
    match key {
        StoredKey::Resource(_) | StoredKey::Block(_) | StoredKey::Affinity { .. } => Form::V3,
        StoredKey::Ready
        | StoredKey::GlobalParameter(_)
        | StoredKey::HostParameter { .. }
        | StoredKey::HostAddress(_)
        | StoredKey::Workload(_)
        | StoredKey::HostEndpoint { .. }
        | StoredKey::Policy(_)
        | StoredKey::Profile { .. }
        | StoredKey::Pool(_)
        | StoredKey::NetworkSet(_) => Form::V1,
    }
}

/// What the value says that stands under `key`.
pub(super) fn read(report: &Report<'_>, key: &StoredKey<'_>) -> Option<Content> {
    let root = report.root();
    let resource = match key {
        StoredKey::Profile { name, part } => {
            return profile::part(&root, name, *part).map(Content::ProfilePart);
        }
        StoredKey::Resource(key) => super::resource(report, key.kind)?,
        StoredKey::Block(cidr) => Resource::IpamBlock(ipam::stored_block(&root, *cidr)?),
        StoredKey::Affinity { node, cidr } => {
            Resource::BlockAffinity(ipam::stored_affinity(&root, node, *cidr)?)
        }
        StoredKey::Ready => Resource::Ready(parameter::ready(&root)?),
        StoredKey::GlobalParameter(name) => Resource::Config(parameter::global(&root, name)?),
        StoredKey::HostParameter { host, name } => Resource::Config(parameter::of_host(&root, host, name)?),
        StoredKey::HostAddress(host) => Resource::Node(network::node(&root, host)?),
        StoredKey::Workload(key) => Resource::WorkloadEndpoint(endpoint::workload(&root, key)?),
        StoredKey::HostEndpoint { host, name } => Resource::HostEndpoint(endpoint::host(&root, host, name)?),
        StoredKey::Policy(name) => {
            Resource::Policy(policy::backend(&root.object(POLICY, Unknown::MisspeltRefused), name)?)
        }
        StoredKey::Pool(cidr) => Resource::IpPool(network::pool(&root, *cidr)?),
        StoredKey::NetworkSet(_) => {
            root.warn(
                Mistake::new(
                    Code::NotImplemented,
                    "network sets are read in their v3 form only",
                    "passed over",
                )
                .help("make a GlobalNetworkSet of it"),
            );
            return None;
        }
    };
    Some(Content::from(resource))
}

/// Reports a document that calls itself another kind of thing than its key does.
pub(super) fn agree(document: &Object<'_>) {
    let Some(key) = document.report().resource_key() else { return };
    for (name, wanted) in [("kind", key.kind_name), ("apiVersion", V3_VERSION)] {
        if let Some(field) = document.get(name)
            && let Some(text) = field.text().filter(|text| *text != wanted)
        {
            let message = format!("`{text}` under a key of `{wanted}`");
            field.error(Mistake::new(Code::NotAResource, message, format!("`{wanted}` is wanted")));
        }
    }
}

/// The host that a key describes, or has an endpoint on.
pub(in crate::model) fn host_of(path: &StoredPath) -> Option<&str> {
    match StoredKey::of(path)? {
        StoredKey::Resource(key) if key.kind == Kind::Node => Some(key.name),
        StoredKey::HostAddress(host)
        | StoredKey::HostEndpoint { host, name: _ }
        | StoredKey::Workload(WorkloadKey { host, orchestrator: _, workload: _, endpoint: _ }) => Some(host),
        StoredKey::Resource(_)
        | StoredKey::Block(_)
        | StoredKey::Affinity { .. }
        | StoredKey::Ready
        | StoredKey::GlobalParameter(_)
        | StoredKey::HostParameter { .. }
        | StoredKey::Policy(_)
        | StoredKey::Profile { .. }
        | StoredKey::Pool(_)
        | StoredKey::NetworkSet(_) => None,
    }
}
