//! Blocks of addresses and who has them (reference §1.13).

use std::sync::Arc;

use ipnet::IpNet;

use super::fields::{Field, Mistake, Object, Unknown};
use super::{metadata, name, scalar};
use crate::datastore::{Place, Scalar, Written};
use crate::model::{BlockAffinity, IpamBlock};

const AFFINITY: &[&str] = &["state", "node", "type", "cidr", "deleted"];

/// A BlockAffinity. None where it is being taken away.
pub(super) fn affinity(document: &Object<'_>) -> Option<BlockAffinity> {
    let meta = metadata::v3(document);
    let spec = document.object("spec", AFFINITY, Unknown::Tolerated);
    let node = spec.require("node").and_then(|field| field.read(name::named(&name::WORD)));
    let cidr = spec.require("cidr").and_then(|field| field.read(scalar::masked_net));
    let standing = stands(&spec);
    let name = if meta.get("name").is_none() && meta.report().written() == Written::Manifest {
        affinity_name(node.as_deref()?, cidr?)
    } else {
        metadata::name(&meta, &name::DNS_SUBDOMAIN)?
    };
    let affinity = BlockAffinity { name, node: node?, cidr: cidr?, place: document.field().place() };
    (document.report().errors() == 0 && standing).then_some(affinity)
}

/// What a store has of a node and a block: a state, or nothing at all.
pub(super) fn stored_affinity(root: &Field<'_>, node: &str, cidr: IpNet) -> Option<BlockAffinity> {
    let node = root.report.name_in_key(&name::WORD, node);
    let standing =
        root.is_null() || root.is_empty_text() || stands(&root.object(AFFINITY, Unknown::Tolerated));
    let name = affinity_name(node.as_deref()?, cidr);
    let affinity = BlockAffinity { name, node: node?, cidr, place: root.place() };
    (root.report.errors() == 0 && standing).then_some(affinity)
}

fn affinity_name(node: &str, cidr: IpNet) -> Arc<str> {
    Arc::from(format!("{node}-{}", cidr.to_string().replace(['.', ':', '/'], "-")))
}

/// Whether an affinity is not about to go.
fn stands(affinity: &Object<'_>) -> bool {
    let deleted = affinity.read("deleted", flag).unwrap_or(false);
    let leaving = affinity.text("state").is_some_and(|state| &*state == "pendingDeletion");
    !deleted && !leaving
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
    block_of(&spec, cidr?, document.field().place())
}

/// The block itself, as a store has it: its key has its CIDR.
pub(super) fn stored_block(root: &Field<'_>, cidr: IpNet) -> Option<IpamBlock> {
    let block = root.object(BLOCK, Unknown::Tolerated);
    if let Some(field) = block.get("cidr")
        && field.read(scalar::masked_net).is_some_and(|written| written != cidr)
    {
        field.error(Mistake::contradiction(format!("the key says `{cidr}`"), "another CIDR"));
    }
    block_of(&block, cidr, root.place())
}

fn block_of(spec: &Object<'_>, cidr: IpNet, place: Place) -> Option<IpamBlock> {
    let node = node_of(spec);
    let allocations = allocations(spec);
    let allocated = allocations.iter().map(|(ordinal, _)| *ordinal).collect();
    let lent = allocations.into_iter().filter_map(|(ordinal, holder)| Some((ordinal, holder?)));
    let borrowed = lent.filter(|(_, holder)| Some(holder) != node.as_ref()).collect();
    let deleted = spec.read("deleted", flag).unwrap_or(false);
    let block = IpamBlock { cidr, node, borrowed, allocated, place };
    (spec.report().errors() == 0 && !deleted).then_some(block)
}

/// `host:<node>`; another affinity (`virtual:…`) is no node's.
fn node_of(spec: &Object<'_>) -> Option<Arc<str>> {
    match spec.text("affinity") {
        Some(affinity) => affinity.strip_prefix("host:").map(Arc::from),
        None => spec.text("hostAffinity"),
    }
}

/// The ordinals of all addresses that somebody has, and the node that has each, where that is said.
fn allocations(spec: &Object<'_>) -> Vec<(u32, Option<Arc<str>>)> {
    let nodes = attribute_nodes(spec);
    let Some(allocations) = spec.get("allocations") else { return Vec::new() };
    let mut allocated = Vec::new();
    for (ordinal, item) in (0..).zip(allocations.items()).filter(|(_, item)| !item.is_null()) {
        let Some(index) = item.read(scalar::integer(0..=u64::from(u32::MAX))) else { continue };
        match usize::try_from(index).ok().and_then(|index| nodes.get(index)) {
            Some(node) => allocated.push((ordinal, node.clone())),
            None => item.error(Mistake::value(
                format!("there is no attribute {index}"),
                format!("{} attributes, counted from 0", nodes.len()),
            )),
        }
    }
    allocated
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
