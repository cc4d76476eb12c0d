mod documents;
mod endpoints;
mod networks;
mod policies;
mod rules;
mod stored;

use std::sync::Arc;

use super::{Decoded, decode, testing};
use crate::datastore::{Entry, Node, Value, yaml};
use crate::model::{Diagnostic, Policy, Resource};

/// The only resource of a text.
fn entry(text: &str) -> Entry {
    let mut reading = yaml::parse(&Arc::from("a.yaml"), &Arc::from(text));
    assert!(reading.errors.is_empty(), "{text}\n{:?}", reading.errors);
    assert_eq!(reading.entries.len(), 1, "{text}");
    reading.entries.pop().unwrap()
}

fn manifest(text: &str) -> Decoded {
    decode(&entry(text))
}

/// A v3 document under the key that it asks for itself.
fn stored(text: &str) -> Decoded {
    decode(&testing::stored(&key_of(&entry(text).node), text))
}

fn key_of(document: &Node) -> String {
    let text = |node: Option<&Node>| match node.map(|node| &node.value) {
        Some(Value::Scalar(scalar)) => scalar.text.to_string(),
        _ => String::new(),
    };
    let metadata = |name| text(document.child("metadata").and_then(|metadata| metadata.child(name)));
    let kind = text(document.child("kind")).to_lowercase();
    let plural = kind.strip_suffix('y').map_or(format!("{kind}s"), |stem| format!("{stem}ies"));
    let namespace = match metadata("namespace") {
        namespace if namespace.is_empty() => namespace,
        namespace => format!("{namespace}/"),
    };
    format!("resources/v3/projectcalico.org/{plural}/{namespace}{}", metadata("name"))
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
    match decoded.resource() {
        Some(Resource::Policy(policy)) => policy,
        other => panic!("not a policy: {other:?} {:#?}", decoded.diagnostics),
    }
}
