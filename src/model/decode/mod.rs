//! An entry made into a resource: parse, don't validate.
//!
//! Reading goes on behind a mistake, so that one look says all that is wrong with an object. What remains of an
//! object with mistakes never opens what the object as meant would have closed:
//!
//! - a policy stands in its place, marked [`invalid`](super::Policy::invalid): it denies; so does a profile. Where
//!   it can't be read which endpoints the policy is for, it is absent;
//! - an endpoint is absent: packets of an interface that nobody knows are dropped;
//! - a network set keeps the networks that can be read; a tier, pool or configuration with an unknown field keeps
//!   what its other fields say; all else is absent.

mod configuration;
mod endpoint;
pub(super) mod endpoint_name;
mod entity;
mod fields;
mod ipam;
mod key;
mod kind;
pub(super) mod metadata;
pub(super) mod name;
mod network;
mod policy;
mod rule;
mod scalar;
mod selector;
mod stored;
mod tier;

use std::sync::Arc;

use fields::{Form, Mistake, Object, Report, Unknown};
use key::StoredKey;
use kind::{Kind, Stranger};
pub(super) use stored::host_of;

use super::diagnostic::Code;
use super::{Diagnostic, Effect, ProfilePart, Resource, Severity};
use crate::datastore::{Entry, Value};

/// What an entry says, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// None where there is nothing to enforce: of no use to us, or not to be understood.
    pub content: Option<Content>,
    /// In the order found.
    pub diagnostics: Vec<Diagnostic>,
}

/// What an entry says that could be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Resource(Arc<Resource>),
    /// A part of a resource, which other entries complete.
    ProfilePart(ProfilePart),
}

impl From<Resource> for Content {
    fn from(resource: Resource) -> Self {
        Self::Resource(Arc::new(resource))
    }
}

impl Decoded {
    /// The resource that the entry is the whole of.
    pub fn resource(&self) -> Option<&Resource> {
        match &self.content {
            Some(Content::Resource(resource)) => Some(resource),
            Some(Content::ProfilePart(_)) | None => None,
        }
    }
}

const DOCUMENT: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];

/// Reads `entry`: a document of either form of the API, or what a store has under its key.
pub fn decode(entry: &Entry) -> Decoded {
    let Some(path) = &entry.path else {
        return manifest(entry);
    };
    match StoredKey::of(path) {
        Some(key) => {
            let report = Report::new(entry, stored::form(&key), Some(key.clone()));
            let content = stored::read(&report, &key);
            decoded(report, content)
        }
        None => Decoded::default(),
    }
}

fn manifest(entry: &Entry) -> Decoded {
    let mut report = Report::new(entry, Form::V3, None);
    let resource = identify(&report).and_then(|(form, kind)| {
        report.form = form;
        resource(&report, kind)
    });
    decoded(report, resource.map(Content::from))
}

fn decoded(report: Report<'_>, content: Option<Content>) -> Decoded {
    let mut diagnostics = report.into_diagnostics();
    let effect = effect(content.as_ref());
    for error in diagnostics.iter_mut().filter(|diagnostic| diagnostic.severity == Severity::Error) {
        error.effect = Some(effect);
    }
    Decoded { content, diagnostics }
}

/// What errors in an entry make of it.
fn effect(content: Option<&Content>) -> Effect {
    let resource = match content {
        None => return Effect::LeftOut,
        Some(Content::ProfilePart(part)) if part.invalid => return Effect::ProfileDenies,
        Some(Content::ProfilePart(_)) => return Effect::WithoutUnreadable,
        Some(Content::Resource(resource)) => resource,
    };
    match &**resource {
        Resource::Policy(policy) if policy.invalid => Effect::PolicyDenies,
        Resource::Profile(profile) if profile.invalid => Effect::ProfileDenies,
        Resource::Tier(tier) if tier.invalid => Effect::TierDenies,
        _ => Effect::WithoutUnreadable,
    }
}

/// Which form and kind the document is; a reason why it is none is reported.
fn identify(report: &Report<'_>) -> Option<(Form, Kind)> {
    let root = report.root();
    if !matches!(root.node().value, Value::Mapping(_)) {
        root.error(
            Mistake::new(Code::NotAResource, "not a resource", "a mapping is wanted")
                .help("a resource begins with `apiVersion:` and `kind:`"),
        );
        return None;
    }
    let document = root.object(&["apiVersion", "kind"], Unknown::Free);
    let (version, kind) = (document.require("apiVersion"), document.require("kind"));
    let (version, kind) = (version?, kind?);
    let (version_text, kind_text) = (version.text()?, kind.text()?);
    let (field, stranger) = match kind::form(version_text) {
        Ok(form) => match kind::kind(form, kind_text) {
            Ok(kind) => return Some((form, kind)),
            Err(stranger) => (kind, stranger),
        },
        Err(stranger) => (version, stranger),
    };
    match stranger {
        Stranger::Foreign(mistake) => field.warn(mistake),
        Stranger::Unknown(mistake) => field.error(mistake),
    }
    None
}

/// The document as a resource of that kind.
fn resource(report: &Report<'_>, kind: Kind) -> Option<Resource> {
    if kind == Kind::Unused {
        return None;
    }
    let document = report.root().object(DOCUMENT, unknown_fields(kind));
    stored::agree(&document);
    resource_of(&document, kind)
}

/// How unknown fields of a whole document are taken. What only informs us is written by programs, newer ones too.
fn unknown_fields(kind: Kind) -> Unknown {
    match kind {
        Kind::Policy
        | Kind::V3Policy(_)
        | Kind::Profile
        | Kind::Tier
        | Kind::NetworkSet { .. }
        | Kind::WorkloadEndpoint
        | Kind::HostEndpoint
        | Kind::IpPool
        | Kind::FelixConfiguration => Unknown::RefusedInManifest,
        Kind::Node | Kind::ClusterInformation | Kind::BlockAffinity | Kind::IpamBlock | Kind::Unused => {
            Unknown::Tolerated
        }
    }
}

fn resource_of(document: &Object<'_>, kind: Kind) -> Option<Resource> {
    let form = document.report().form;
    Some(match kind {
        Kind::Policy => Resource::Policy(policy::v1(document)?),
        Kind::V3Policy(kind) => Resource::Policy(policy::v3(document, kind)?),
        Kind::Profile => Resource::Profile(policy::profile(document)?),
        Kind::Tier => Resource::Tier(tier::tier(document)?),
        Kind::NetworkSet { namespaced } => Resource::NetworkSet(network::set(document, namespaced)?),
        Kind::WorkloadEndpoint => Resource::WorkloadEndpoint(match form {
            Form::V1 => endpoint::workload_v1(document)?,
            Form::V3 => endpoint::workload_v3(document)?,
        }),
        Kind::HostEndpoint => Resource::HostEndpoint(endpoint::host(document)?),
        Kind::IpPool => Resource::IpPool(match form {
            Form::V1 => network::pool_v1(document)?,
            Form::V3 => network::pool_v3(document)?,
        }),
        Kind::Node => Resource::Node(network::node(document)?),
        Kind::FelixConfiguration => Resource::Config(configuration::felix(document)?),
        Kind::ClusterInformation => Resource::ClusterInformation(configuration::cluster(document)?),
        Kind::BlockAffinity => Resource::BlockAffinity(ipam::affinity(document)?),
        Kind::IpamBlock => Resource::IpamBlock(ipam::block(document)?),
        Kind::Unused => return None,
    })
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
