//! `metadata`: names, namespaces, labels, annotations.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fields::{Field, Form, Mistake, Object};
use super::kind::Kind;
use super::name::{self, Syntax};
use crate::datastore::{Value, Written};
use crate::model::Labels;
use crate::model::diagnostic::Code;

const V3: &[&str] = &[
    "name",
    "namespace",
    "labels",
    "annotations",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
];

/// The namespace of a namespaced resource that a manifest gives none.
const DEFAULT_NAMESPACE: &str = "default";

/// `metadata` of a v3 document, as strict as the document itself.
pub(super) fn v3<'s>(document: &'s Object<'_>) -> Object<'s> {
    document.object("metadata", V3, document.unknown())
}

/// The resource's name: of its key, or as it is written, and then it must be there.
pub(super) fn name(metadata: &Object<'_>, syntax: &Syntax) -> Option<Arc<str>> {
    let Some(key) = metadata.report().resource_key() else {
        return metadata.require("name")?.read(name::named(syntax));
    };
    // Clients of before v3.32 put the tier in front of a policy's name, in the key or here.
    let policy = matches!(key.kind, Kind::V3Policy(_));
    warn_of_other(metadata, "name", key.name, |written| {
        written == key.name || policy && without_tier(written) == without_tier(key.name)
    });
    metadata.report().name_in_key(syntax, key.name)
}

/// The namespace of a namespaced kind.
pub(super) fn namespace(metadata: &Object<'_>) -> Option<Arc<str>> {
    if let Some(namespace) = metadata.report().resource_key().and_then(|key| key.namespace) {
        warn_of_other(metadata, "namespace", namespace, |written| written == namespace);
        return metadata.report().name_in_key(&name::DNS_LABEL, namespace);
    }
    match metadata.get("namespace") {
        Some(field) => field.read(name::named(&name::DNS_LABEL)),
        // In the default namespace it might be taken for another one's resource.
        None if metadata.misspells("namespace") => None,
        None => Some(Arc::from(DEFAULT_NAMESPACE)),
    }
}

/// Says that the document calls itself something else than its key does.
fn warn_of_other(metadata: &Object<'_>, name: &'static str, in_key: &str, same: impl FnOnce(&str) -> bool) {
    let Some(field) = metadata.get(name) else { return };
    let agrees = match &field.node().value {
        Value::Scalar(scalar) => same(&scalar.text),
        Value::Sequence(_) | Value::Mapping(_) => false,
    };
    if !agrees {
        let message = format!("the key says `{in_key}`, and the key counts");
        field.warn(Mistake::new(Code::InvalidName, message, "passed over"));
    }
}

fn without_tier(name: &str) -> &str {
    name.strip_prefix("default.").unwrap_or(name)
}

/// Says that a namespace does nothing on a global kind.
pub(super) fn refuse_namespace(metadata: &Object<'_>) {
    if let Some(field) = metadata.get("namespace") {
        field.warn(Mistake::new(
            Code::UnknownField,
            "this kind has no namespace",
            "passed over: it is global",
        ));
    }
}

/// Says that a global policy is not for one namespace. Who wrote a manifest meant less than it says.
pub(super) fn refuse_narrowing_namespace(metadata: &Object<'_>) {
    let Some(field) = metadata.get("namespace") else { return };
    let mistake = Mistake::new(
        Code::UnknownField,
        "a GlobalNetworkPolicy has no namespace",
        "it applies in every namespace",
    );
    match metadata.report().written() {
        Written::Manifest => {
            field.error(mistake.help("write `kind: NetworkPolicy`, or take the namespace away"));
        }
        Written::Stored => field.warn(mistake),
    }
}

/// `labels` of `object`; an unreadable one is reported and left out.
pub(super) fn labels(object: &Object<'_>, name: &'static str) -> Labels {
    object.get(name).map(|field| read_labels(&field)).unwrap_or_default()
}

/// A mapping of labels; an unreadable one is reported and left out.
pub(super) fn read_labels(field: &Field<'_>) -> Labels {
    let syntax = name::label_key(field.report.form);
    field
        .pairs()
        .filter_map(|(key, value)| {
            let valid_key = name::check(syntax, key).map_err(|mistake| value.error(mistake)).is_ok();
            let text =
                if value.is_null() { Arc::default() } else { value.read(name::named(&name::LABEL_VALUE))? };
            valid_key.then(|| (Arc::from(key), text))
        })
        .collect()
}

/// Keys and texts without rules. A null value is an empty text.
pub(super) fn annotations(object: &Object<'_>) -> BTreeMap<Arc<str>, Arc<str>> {
    let Some(field) = object.get("annotations") else { return BTreeMap::new() };
    let text =
        |value: Field<'_>| if value.is_null() { Some(Arc::default()) } else { value.text().map(Arc::from) };
    field.pairs().filter_map(|(key, value)| Some((Arc::from(key), text(value)?))).collect()
}

/// Labels of Calico's own.
pub(in crate::model) mod label {
    pub const NAMESPACE: &str = "projectcalico.org/namespace";
    pub const ORCHESTRATOR: &str = "projectcalico.org/orchestrator";
    pub const SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";
    /// What an endpoint inherits from its namespace begins so.
    pub const OF_NAMESPACE: &str = "pcns.";
    /// What an endpoint inherits from its service account begins so.
    pub const OF_SERVICE_ACCOUNT: &str = "pcsa.";
}

/// References to profiles.
pub(super) fn profiles(spec: &Object<'_>) -> Vec<Arc<str>> {
    let syntax = match spec.report().form {
        Form::V1 => &name::NAMESPACED_WORD,
        Form::V3 => &name::DNS_SUBDOMAIN,
    };
    spec.read_all("profiles", name::named(syntax))
}
