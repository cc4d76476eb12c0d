//! Blocks of addresses and who has them (reference §1.13).

use std::sync::Arc;

use super::fields::{Mistake, Object, Unknown};
use super::{metadata, name, scalar};
use crate::datastore::{Scalar, Written};
use crate::model::{BlockAffinity, IpamBlock};

const AFFINITY: &[&str] = &["state", "node", "type", "cidr", "deleted"];

/// A BlockAffinity. None where it is being taken away.
pub(super) fn affinity(document: &Object<'_>) -> Option<BlockAffinity> {
    let meta = metadata::v3(document);
    let spec = document.object("spec", AFFINITY, Unknown::Tolerated);
    let node = spec.require("node").and_then(|field| field.read(name::named(&name::WORD)));
    let cidr = spec.require("cidr").and_then(|field| field.read(scalar::masked_net));
    let deleted = spec.read("deleted", flag).unwrap_or(false);
    let leaving = spec.text("state").is_some_and(|state| &*state == "pendingDeletion");
    let name = match (meta.get("name"), meta.report().written()) {
        (Some(field), _) => field.read(name::named(&name::DNS_SUBDOMAIN))?,
        (None, Written::Manifest) => {
            Arc::from(format!("{}-{}", node.as_ref()?, cidr?.to_string().replace(['.', ':', '/'], "-")))
        }
        (None, Written::Stored) => {
            meta.missing("name");
            return None;
        }
    };
    let affinity = BlockAffinity { name, node: node?, cidr: cidr?, place: document.field().place() };
    (document.report().errors() == 0 && !deleted && !leaving).then_some(affinity)
}

/// The kind's `deleted` is a text in some versions and a boolean in others.
fn flag(scalar: &Scalar) -> Result<bool, Mistake> {
    scalar::boolean(&Scalar { text: scalar.text.clone(), plain: true })
}

const BLOCK: &[&str] = &[
    "cidr",
    "affinity",
    "affinityClaimTime",
    "affinity_claim_time",
    "hostAffinity",
    "strictAffinity",
    "allocations",
    "unallocated",
    "attributes",
    "sequenceNumber",
    "sequenceNumberForAllocation",
    "deleted",
];

const ATTRIBUTE: &[&str] =
    &["handle_id", "handleID", "secondary", "alternateOwnerAttrs", "releasedAt", "released_at"];

/// An IPAMBlock. None where it is deleted.
pub(super) fn block(document: &Object<'_>) -> Option<IpamBlock> {
    // Its name repeats its CIDR, so that there is nothing to check in it.
    metadata::v3(document);
    let spec = document.object("spec", BLOCK, Unknown::Tolerated);
    let cidr = spec.require("cidr").and_then(|field| field.read(scalar::masked_net));
    let node = node_of(&spec);
    let borrowed = borrowed(&spec, node.as_deref());
    let deleted = spec.read("deleted", flag).unwrap_or(false);
    let block = IpamBlock { cidr: cidr?, node, borrowed, place: document.field().place() };
    (document.report().errors() == 0 && !deleted).then_some(block)
}

/// `host:<node>`; another affinity (`virtual:…`) is no node's.
fn node_of(spec: &Object<'_>) -> Option<Arc<str>> {
    match spec.text("affinity") {
        Some(affinity) => affinity.strip_prefix("host:").map(Arc::from),
        None => spec.text("hostAffinity"),
    }
}

/// The addresses that another node than the block's own has.
fn borrowed(spec: &Object<'_>, own: Option<&str>) -> Vec<(u32, Arc<str>)> {
    let nodes = attribute_nodes(spec);
    let Some(allocations) = spec.get("allocations") else { return Vec::new() };
    let mut borrowed = Vec::new();
    for (ordinal, item) in (0..).zip(allocations.items()).filter(|(_, item)| !item.is_null()) {
        let Some(index) = item.read(scalar::integer(0..=u64::from(u32::MAX))) else { continue };
        match usize::try_from(index).ok().and_then(|index| nodes.get(index)) {
            Some(Some(node)) if Some(&**node) != own => borrowed.push((ordinal, Arc::clone(node))),
            Some(_) => {}
            None => item.error(Mistake::value(
                format!("there is no attribute {index}"),
                format!("{} attributes, counted from 0", nodes.len()),
            )),
        }
    }
    borrowed
}

fn attribute_nodes(spec: &Object<'_>) -> Vec<Option<Arc<str>>> {
    let Some(attributes) = spec.get("attributes") else { return Vec::new() };
    attributes
        .items()
        .map(|item| {
            let object = item.object(ATTRIBUTE, Unknown::Tolerated);
            let secondary = object.get("secondary")?;
            secondary.pairs().find(|(key, _)| *key == "node")?.1.read(scalar::text)
        })
        .collect()
}
