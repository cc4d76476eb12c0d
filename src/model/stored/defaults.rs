//! What Calico's clients fill in before they store an object (reference §1, §2.3, §3.5).

use serde_json::{Map, Value as Json, json};

use super::kinds::{Fill, Kind};
use super::policy_annotation;
use crate::model::decode::endpoint_name::{Parts, workload_field};
use crate::model::decode::metadata::label;
use crate::model::decode::name::NAMESPACED_POLICY;
use crate::model::{BUILT_IN_TIERS, TierDefault};

/// The namespace of a namespaced object that a manifest gives none.
const DEFAULT_NAMESPACE: &str = "default";
const DEFAULT_TIER: &str = "default";

/// The label by which clients find the policies of a tier.
const TIER_LABEL: &str = "projectcalico.org/tier";

/// Where a tier without an order stands.
const TIER_ORDER: f64 = 1_000_000.0;

/// What a store, not a person, says of an object.
const OF_STORE: [&str; 4] = ["uid", "creationTimestamp", "resourceVersion", "selfLink"];

type Object = Map<String, Json>;

/// The object as a client stores it, but for what the store says of it.
pub(super) fn fill_in(kind: &Kind, document: Json) -> Json {
    let mut document = object(document);
    let mut metadata = object(document.shift_remove("metadata").unwrap_or_default());
    let mut spec = object(document.shift_remove("spec").unwrap_or_default());
    metadata.retain(|name, _| !OF_STORE.contains(&name.as_str()));
    if !kind.namespaced {
        metadata.shift_remove("namespace");
    } else if !metadata.contains_key("namespace") {
        metadata.insert("namespace".to_owned(), DEFAULT_NAMESPACE.into());
    }
    match kind.fill {
        Fill::Nothing => {}
        Fill::Policy => policy(&mut metadata, &mut spec),
        Fill::Tier => tier(&metadata, &mut spec),
        Fill::Pool => pool(&mut spec),
        Fill::WorkloadEndpoint => workload_endpoint(&mut metadata, &spec),
    }
    let mut filled = Object::new();
    for name in ["kind", "apiVersion"] {
        filled.extend(document.shift_remove_entry(name));
    }
    filled.insert("metadata".to_owned(), Json::Object(ordered(metadata)));
    filled.insert("spec".to_owned(), Json::Object(spec));
    filled.extend(document);
    Json::Object(filled)
}

/// Anything but an object has no fields; `decode` has refused it where it matters.
fn object(json: Json) -> Object {
    match json {
        Json::Object(object) => object,
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => Object::new(),
    }
}

/// As clients write it: what names the object first, labels and annotations by name.
fn ordered(mut metadata: Object) -> Object {
    let mut ordered = Object::new();
    for name in ["name", "namespace", "labels", "annotations"] {
        ordered.extend(metadata.shift_remove_entry(name));
    }
    for name in ["labels", "annotations"] {
        if let Some(Json::Object(pairs)) = ordered.get_mut(name) {
            pairs.sort_keys();
        }
    }
    ordered.extend(metadata);
    ordered
}

fn text<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    object.get(name).and_then(Json::as_str).filter(|text| !text.is_empty())
}

/// Fills in one that is absent, or as good as that.
fn default(object: &mut Object, name: &str, value: impl Into<Json>) {
    let says_nothing = |json: &Json| match json {
        Json::Null => true,
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Bool(_) | Json::Number(_) | Json::Object(_) => false,
    };
    if object.get(name).is_none_or(says_nothing) {
        object.insert(name.to_owned(), value.into());
    }
}

/// Sets one pair of `labels` or `annotations`.
fn set(metadata: &mut Object, map: &str, key: &str, value: &str) {
    let mut pairs = object(metadata.shift_remove(map).unwrap_or_default());
    pairs.insert(key.to_owned(), value.into());
    metadata.insert(map.to_owned(), Json::Object(pairs));
}

fn policy(metadata: &mut Object, spec: &mut Object) {
    default(spec, "tier", DEFAULT_TIER);
    default(spec, "types", inferred_types(spec));
    let tier = text(spec, "tier").unwrap_or(DEFAULT_TIER).to_owned();
    if let Some(name) = current_name(metadata, &tier) {
        let (annotation, value) = policy_annotation(&name);
        set(metadata, "annotations", annotation, &value);
        metadata.insert("name".to_owned(), name.into());
    }
    set(metadata, "labels", TIER_LABEL, &tier);
}

/// Directions that have rules; without any, ingress.
fn inferred_types(spec: &Object) -> Json {
    let has = |name| spec.get(name).and_then(Json::as_array).is_some_and(|rules| !rules.is_empty());
    match (has("ingress"), has("egress")) {
        (_, false) => json!(["Ingress"]),
        (false, true) => json!(["Egress"]),
        (true, true) => json!(["Ingress", "Egress"]),
    }
}

/// The name that the annotation has; otherwise the written one, without the tier `default` in front.
fn current_name(metadata: &Object, tier: &str) -> Option<String> {
    let (annotation, _) = policy_annotation("");
    let annotated = metadata.get("annotations").and_then(|annotations| {
        let value: Json = serde_json::from_str(annotations.get(annotation)?.as_str()?).ok()?;
        let name = value.get("name")?.as_str()?;
        NAMESPACED_POLICY.allows(name).then(|| name.to_owned())
    });
    let written = text(metadata, "name")?;
    let short = written.strip_prefix("default.").filter(|_| tier == DEFAULT_TIER);
    Some(annotated.unwrap_or_else(|| short.unwrap_or(written).to_owned()))
}

/// Calico's own tiers are what they are.
fn tier(metadata: &Object, spec: &mut Object) {
    let name = text(metadata, "name").unwrap_or_default();
    let own = BUILT_IN_TIERS.into_iter().find(|(own, _, _)| *own == name);
    let (order, action) = own.map_or((TIER_ORDER, TierDefault::Deny), |(_, order, action)| (order, action));
    default(spec, "order", super::built_in::order(order));
    default(spec, "defaultAction", super::built_in::action(action));
}

fn pool(spec: &mut Object) {
    let is_v6 = text(spec, "cidr").is_some_and(|cidr| cidr.contains(':'));
    default(spec, "ipipMode", "Never");
    default(spec, "vxlanMode", "Never");
    default(spec, "blockSize", if is_v6 { 122 } else { 26 });
    default(spec, "nodeSelector", "all()");
    default(spec, "allowedUses", json!(["Workload", "Tunnel"]));
    default(spec, "assignmentMode", "Automatic");
}

/// Its name and labels say again what its fields do.
fn workload_endpoint(metadata: &mut Object, spec: &Object) {
    let part = |name| text(spec, name).unwrap_or_default().to_owned();
    let orchestrator = part("orchestrator");
    let workload = workload_field(&orchestrator).map_or_else(|| orchestrator.clone(), part);
    let parts = Parts { node: part("node"), orchestrator, workload, endpoint: part("endpoint") };
    metadata.insert("name".to_owned(), parts.compose().into());
    let namespace = text(metadata, "namespace").unwrap_or(DEFAULT_NAMESPACE).to_owned();
    set(metadata, "labels", label::NAMESPACE, &namespace);
    set(metadata, "labels", label::ORCHESTRATOR, &parts.orchestrator);
    if let Some(account) = text(spec, "serviceAccountName") {
        set(metadata, "labels", label::SERVICE_ACCOUNT, account);
    }
}
