//! Documents of 2017 as documents of today (felix-2.1 §1, reference §1).
//!
//! Names stay what they are: one that today's API does not allow is refused by it, not changed, since others may
//! refer to it. What an object does stays the same, too:
//!
//! - a policy governs both directions, whatever rules it has;
//! - a tag is two labels of its profile: one without a value under the tag's own name, which is what selectors saw of
//!   it; and one of a name that no endpoint has by itself, which is what rules by tag ask for. With the first alone, an
//!   endpoint with a label of that name would count as tagged, and an Allow by tag would let in more than it did.

mod rules;
mod tree;

use self::rules::rules;
use self::tree::{Mapping, items, list, text, text_of, word};
use super::policy_annotation;
use crate::datastore::{Node, Value};
use crate::model::decode::endpoint_name::workload_field;
use crate::model::{EncapMode, IpPool, Policy, Resource, Stage};

/// The document in today's form. `resource` is what it says. None of kinds that 2017 did not have.
pub(super) fn document(node: &Node, resource: &Resource) -> Option<Node> {
    let (kind, metadata, spec) = match resource {
        Resource::Policy(policy) => policy_parts(node, policy),
        Resource::Profile(_) => profile_parts(node),
        Resource::WorkloadEndpoint(_) => workload_parts(node),
        Resource::HostEndpoint(_) => host_parts(node),
        Resource::IpPool(pool) => pool_parts(node, pool),
        Resource::Node(_) => node_parts(node),
        Resource::Tier(_)
        | Resource::NetworkSet(_)
        | Resource::Config(_)
        | Resource::ClusterInformation(_)
        | Resource::Ready(_)
        | Resource::BlockAffinity(_)
        | Resource::IpamBlock(_) => return None,
    };
    let span = |name| node.child(name).map_or(node.span, |child| child.span);
    let document = Mapping::at(node.span)
        .with("apiVersion", text("projectcalico.org/v3", span("apiVersion")))
        .with("kind", text(kind, span("kind")))
        .with("metadata", metadata.into_node())
        .with("spec", spec.into_node());
    Some(document.into_node())
}

/// Kind, `metadata` and `spec`.
type Parts = (&'static str, Mapping, Mapping);

/// What is made of `metadata` and of `spec`, as yet empty.
fn begun(node: &Node) -> (Option<&Node>, Mapping, Option<&Node>, Mapping) {
    let (metadata, spec) = (node.child("metadata"), node.child("spec"));
    let at = |child: Option<&Node>| Mapping::at(child.map_or(node.span, |child| child.span));
    (metadata, at(metadata), spec, at(spec))
}

fn policy_parts(node: &Node, policy: &Policy) -> Parts {
    let (old, metadata, old_spec, spec) = begun(node);
    // Else a name that begins with `default.` would be taken for one of a tier's.
    let (annotation, name) = policy_annotation(&policy.id.name);
    let annotations = old.and_then(|old| old.child("annotations"));
    let span = annotations.map_or(node.span, |annotations| annotations.span);
    let annotations = copy_pairs(Mapping::at(span), annotations).with(annotation, text(name, span));
    let metadata = metadata.copying(old, &["name"]).with("annotations", annotations.into_node());
    let both = list(vec![text("Ingress", node.span), text("Egress", node.span)], node.span);
    let spec = directions(spec.copying(old_spec, &["order", "selector"]).with("types", both), old_spec);
    let spec = match policy.stage {
        Stage::Untracked => {
            spec.with("doNotTrack", word("true", node.span)).with("applyOnForward", word("true", node.span))
        }
        Stage::Normal { apply_on_forward: _ } | Stage::PreDnat => spec,
    };
    ("GlobalNetworkPolicy", metadata, spec)
}

fn profile_parts(node: &Node) -> Parts {
    let (old, metadata, old_spec, spec) = begun(node);
    let child = |name| old.and_then(|old| old.child(name)).filter(|node| !node.is_null());
    let (labels, tags) = (child("labels"), child("tags"));
    let span = labels.or(tags).map_or(node.span, |node| node.span);
    let mut applied = copy_pairs(Mapping::at(span), labels);
    for tag in tags.map(items).unwrap_or_default() {
        let Some(name) = text_of(tag) else { continue };
        // A label of that name says more than the tag.
        let own = labels.and_then(|labels| labels.child(name)).is_none().then(|| text("", tag.span));
        applied = applied.with(name, own).with(&tag_label(name), text("", tag.span));
    }
    let spec = directions(spec, old_spec);
    let spec = if labels.is_some() || tags.is_some() {
        spec.with("labelsToApply", applied.into_node())
    } else {
        spec
    };
    ("Profile", metadata.copying(old, &["name"]), spec)
}

/// The label by which rules of today find what a tag marks.
fn tag_label(tag: &str) -> String {
    format!("tag.felix-rs/{tag}")
}

fn directions(spec: Mapping, old: Option<&Node>) -> Mapping {
    let rules_of = |name| old.and_then(|old| old.child(name)).map(rules);
    spec.with("ingress", rules_of("ingress")).with("egress", rules_of("egress"))
}

/// The name is made of the parts later, as for every endpoint.
fn workload_parts(node: &Node) -> Parts {
    let (old, metadata, old_spec, spec) = begun(node);
    let child = |name| old.and_then(|old| old.child(name)).cloned();
    let field = child("orchestrator").as_ref().and_then(text_of).and_then(workload_field);
    let spec = spec
        .copying(old, &["orchestrator", "node"])
        .with(field.unwrap_or("workload"), child("workload"))
        .with("endpoint", child("name"))
        .copying(
            old_spec,
            &["ipNetworks", "ipNATs", "ipv4Gateway", "ipv6Gateway", "profiles", "interfaceName", "mac"],
        );
    ("WorkloadEndpoint", metadata.copying(old, &["labels"]), spec)
}

fn host_parts(node: &Node) -> Parts {
    let (old, metadata, old_spec, spec) = begun(node);
    let spec = spec.copying(old, &["node"]).copying(old_spec, &["interfaceName", "expectedIPs", "profiles"]);
    ("HostEndpoint", metadata.copying(old, &["name", "labels"]), spec)
}

/// What was called by its CIDR alone gets a name of it.
fn pool_parts(node: &Node, pool: &IpPool) -> Parts {
    let (old, metadata, old_spec, spec) = begun(node);
    let span = old.and_then(|old| old.child("cidr")).map_or(node.span, |cidr| cidr.span);
    let ipip = match pool.ipip {
        EncapMode::Never => "Never",
        EncapMode::Always => "Always",
        EncapMode::CrossSubnet => "CrossSubnet",
    };
    let spec = spec
        .with("cidr", text(pool.cidr.to_string(), span))
        .with("ipipMode", text(ipip, span))
        .with("natOutgoing", old_spec.and_then(|spec| spec.child("nat-outgoing")).cloned())
        .copying(old_spec, &["disabled"]);
    ("IPPool", metadata.with("name", text(pool_name(&pool.cidr.to_string()), span)), spec)
}

/// A name begins and ends with a letter or digit.
fn pool_name(cidr: &str) -> String {
    let name = cidr.replace(['.', ':', '/'], "-");
    if name.starts_with('-') { format!("0{name}") } else { name }
}

fn node_parts(node: &Node) -> Parts {
    let (old, metadata, old_spec, spec) = begun(node);
    ("Node", metadata.copying(old, &["name"]), spec.copying(old_spec, &["bgp"]))
}

/// All fields of a mapping with free keys. One without a value has an empty text.
fn copy_pairs(mapping: Mapping, from: Option<&Node>) -> Mapping {
    match from.map(|from| &from.value) {
        Some(Value::Mapping(entries)) => entries.iter().fold(mapping, |mapping, (key, node)| {
            let node = if node.is_null() { text("", node.span) } else { node.clone() };
            mapping.with(&key.text, node)
        }),
        Some(Value::Scalar(_) | Value::Sequence(_)) | None => mapping,
    }
}
