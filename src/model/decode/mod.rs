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
mod endpoint_name;
mod entity;
mod fields;
mod ipam;
mod kind;
mod metadata;
mod name;
mod network;
mod policy;
mod rule;
mod scalar;
mod selector;

use fields::{Form, Mistake, Object, Report, Unknown};
use kind::{Kind, Stranger};

use super::diagnostic::Code;
use super::{Diagnostic, Effect, Resource, Severity};
use crate::datastore::{Entry, Value};

/// What an entry says, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// None where there is nothing to enforce: of no use to us, or not to be understood.
    pub resource: Option<Resource>,
    /// In the order found.
    pub diagnostics: Vec<Diagnostic>,
}

const DOCUMENT: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];

/// Reads `entry` as a resource of either form of the API.
pub fn decode(entry: &Entry) -> Decoded {
    let mut report = Report::new(entry, Form::V3);
    let resource = identify(&report).and_then(|(form, kind)| {
        report.form = form;
        resource(&report, kind)
    });
    let mut diagnostics = report.into_diagnostics();
    let effect = effect(resource.as_ref());
    for error in diagnostics.iter_mut().filter(|diagnostic| diagnostic.severity == Severity::Error) {
        error.effect = Some(effect);
    }
    Decoded { resource, diagnostics }
}

/// What errors in an entry make of it.
fn effect(resource: Option<&Resource>) -> Effect {
    match resource {
        None => Effect::LeftOut,
        Some(Resource::Policy(policy)) if policy.invalid => Effect::PolicyDenies,
        Some(Resource::Profile(profile)) if profile.invalid => Effect::ProfileDenies,
        Some(Resource::Tier(tier)) if tier.invalid => Effect::TierDenies,
        Some(_) => Effect::WithoutUnreadable,
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

fn resource(report: &Report<'_>, kind: Kind) -> Option<Resource> {
    if kind == Kind::Unused {
        return None;
    }
    let document = report.root().object(DOCUMENT, unknown_fields(kind));
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
        Kind::Tier => Resource::Tier(policy::tier(document)?),
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
mod tests;
