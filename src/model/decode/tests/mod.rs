mod documents;
mod endpoints;
mod networks;
mod policies;
mod rules;

use std::sync::Arc;

use super::{Decoded, decode};
use crate::datastore::{Entry, Written, yaml};
use crate::model::{Diagnostic, Policy, Resource};

/// The only resource of a text.
pub(super) fn entry(text: &str, written: Written) -> Entry {
    let mut reading = yaml::parse(&Arc::from("a.yaml"), &Arc::from(text));
    assert!(reading.errors.is_empty(), "{text}\n{:?}", reading.errors);
    assert_eq!(reading.entries.len(), 1, "{text}");
    let mut entry = reading.entries.pop().unwrap();
    entry.origin.written = written;
    entry
}

fn manifest(text: &str) -> Decoded {
    decode(&entry(text, Written::Manifest))
}

fn stored(text: &str) -> Decoded {
    decode(&entry(text, Written::Stored))
}

/// A v3 document in one line.
fn v3(kind: &str, metadata: &str, spec: &str) -> Decoded {
    manifest(&document("projectcalico.org/v3", kind, metadata, spec))
}

fn v1(kind: &str, metadata: &str, spec: &str) -> Decoded {
    manifest(&document("v1", kind, metadata, spec))
}

fn document(version: &str, kind: &str, metadata: &str, spec: &str) -> String {
    format!("{{apiVersion: {version}, kind: {kind}, metadata: {metadata}, spec: {spec}}}")
}

/// What is said, one line a diagnostic: severity, code, message.
fn said(decoded: &Decoded) -> Vec<String> {
    decoded.diagnostics.iter().map(one_line).collect()
}

fn one_line(diagnostic: &Diagnostic) -> String {
    let Diagnostic { severity, code, message, .. } = diagnostic;
    format!("{severity} {}: {message}", code.name())
}

/// Checks that nothing is said where nothing is wanted, and that one diagnostic has `wanted` in it otherwise.
fn expect(decoded: &Decoded, wanted: &str, what: &str) {
    let said = said(decoded);
    if wanted.is_empty() {
        assert!(said.is_empty(), "{what}: {said:#?}");
    } else {
        assert!(said.iter().any(|line| line.contains(wanted)), "{what}: {wanted} not in {said:#?}");
    }
}

fn policy(decoded: &Decoded) -> &Policy {
    match &decoded.resource {
        Some(Resource::Policy(policy)) => policy,
        other => panic!("not a policy: {other:?} {:#?}", decoded.diagnostics),
    }
}
