//! A manifest as Calico's clients would store it: key and JSON.
//!
//! What is written must do what the manifest does, so each step is one that `decode` can check:
//!
//! 1. the manifest is decoded: one with an error is not stored;
//! 2. a document of 2017 is made one of today (`v1`), in the same places of the same text, and decoded again: what
//!    today's API does not allow is shown where a person wrote it;
//! 3. the document becomes JSON (`json`), with all its fields, also those that we have no use for;
//! 4. what clients fill in is filled in (`defaults`).

mod built_in;
mod defaults;
mod json;
mod kinds;
mod v1;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value as Json, json};

pub use built_in::built_in;

use self::kinds::{Fill, Kind};
use super::decode::decode;
use super::decode::name::{DNS_LABEL, DNS_SUBDOMAIN, Syntax};
use super::{BUILT_IN_TIERS, Code, Diagnostic, Severity};
use crate::datastore::{Entry, Node, Place, Value};

/// An object as a store keeps it, but for what the store says of it: `uid` and `creationTimestamp`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    kind: &'static Kind,
    /// None of a global one.
    namespace: Option<String>,
    name: String,
    pub value: Json,
    /// Where it was written.
    pub place: Place,
}

/// What becomes of a manifest.
#[derive(Clone, Debug, Default)]
pub struct Completed {
    /// None where nothing is to be stored.
    pub stored: Option<Stored>,
    /// What is wrong with storing it, beyond what `decode` says of the manifest.
    pub diagnostics: Vec<Diagnostic>,
}

impl Stored {
    /// The tiers that every cluster has.
    pub const BUILT_IN_TIERS: [&str; 3] = {
        let [(first, _, _), (second, _, _), (third, _, _)] = BUILT_IN_TIERS;
        [first, second, third]
    };

    /// Below the store's prefix.
    pub fn key(&self) -> String {
        let Self { kind, namespace, name, value: _, place: _ } = self;
        let plural = kind.plural;
        match namespace {
            Some(namespace) => format!("resources/v3/projectcalico.org/{plural}/{namespace}/{name}"),
            None => format!("resources/v3/projectcalico.org/{plural}/{name}"),
        }
    }

    /// The key under which clients of before v3.32 kept this policy, if it is one of theirs: they put the tier `default` in
    /// front of its name.
    pub fn older_key(&self) -> Option<String> {
        let in_default = self.needs_tier() == Some("default") && !self.name.starts_with("default.");
        let older = Self { name: format!("default.{}", self.name), ..self.clone() };
        in_default.then(|| older.key())
    }

    /// The tier that a policy needs.
    pub fn needs_tier(&self) -> Option<&str> {
        match self.kind.fill {
            Fill::Policy => self.value.pointer("/spec/tier")?.as_str(),
            Fill::Nothing | Fill::Tier | Fill::Pool | Fill::WorkloadEndpoint => None,
        }
    }

    /// The name of the tier that this is.
    pub fn as_tier(&self) -> Option<&str> {
        match self.kind.fill {
            Fill::Tier => Some(&self.name),
            Fill::Nothing | Fill::Policy | Fill::Pool | Fill::WorkloadEndpoint => None,
        }
    }

    /// When it is to be written: what others refer to comes before them.
    pub fn rank(&self) -> u8 {
        match self.kind.fill {
            Fill::Tier => 0,
            Fill::Nothing if self.kind.name == "Profile" => 1,
            Fill::Policy => 2,
            Fill::Nothing | Fill::Pool | Fill::WorkloadEndpoint => 3,
        }
    }

    /// An error about it.
    pub fn error(&self, code: Code, message: &str, label: &str, help: Option<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code,
            place: self.place.clone(),
            excerpt: None,
            message: format!("{self}: {message}"),
            label: label.to_owned(),
            effect: None,
            help,
        }
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, value: _, place: _ } = self;
        match namespace {
            Some(namespace) => write!(f, "{} {namespace}/{name}", kind.name),
            None => write!(f, "{} {name}", kind.name),
        }
    }
}

/// The key below the store's prefix of the tier that is called so.
pub fn tier_key(name: &str) -> String {
    format!("resources/v3/projectcalico.org/tiers/{name}")
}

/// The keys below the store's prefix under which policies of a tier may be.
pub fn policy_keys() -> impl Iterator<Item = String> {
    kinds::policies().map(|kind| format!("resources/v3/projectcalico.org/{}/", kind.plural))
}

/// What is to be stored of `entry`, which is a manifest.
pub fn complete(entry: &Entry) -> Completed {
    let decoded = decode(entry);
    if has_errors(&decoded.diagnostics) {
        return Completed::default();
    }
    let text = |name| entry.node.child(name).and_then(text_of).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if let (kinds::API_OF_2017, Some(resource)) = (api_version, decoded.resource()) {
        return v1::document(&entry.node, resource).map(|node| converted(entry, node)).unwrap_or_default();
    }
    match kinds::place(api_version, kind) {
        kinds::Place::Of(kind) => store(entry, kind),
        kinds::Place::AddressManagement => {
            let message = format!("{kind}: address management writes its own records");
            let label = "not written: they belong together, under keys of their own";
            refused(said(entry, Severity::Error, Code::NotImplemented, message, label))
        }
        kinds::Place::Client => {
            let message = format!("{kind}: this is how a client reaches its store");
            refused(said(entry, Severity::Warning, Code::NotAResource, message, "passed over"))
        }
        kinds::Place::Superseded => {
            let message = format!("{kind}: there is no way from here to the form of today");
            let diagnostic = said(entry, Severity::Warning, Code::NotImplemented, message, "passed over");
            let help = Some("write a BGPPeer of projectcalico.org/v3".to_owned());
            refused(Diagnostic { help, ..diagnostic })
        }
        kinds::Place::Foreign => Completed::default(),
    }
}

/// Errors for each that would be written where one before it is.
pub fn collisions(all: &[Stored]) -> Vec<Diagnostic> {
    let mut first: BTreeMap<String, &Stored> = BTreeMap::new();
    let mut collisions = Vec::new();
    for stored in all {
        match first.get(&stored.key()) {
            Some(before) => collisions.push(stored.error(
                Code::Duplicate,
                "a store has room for one of this name",
                &format!("the other one is at {}", before.place),
                Some("give it another name, or delete one of the two".to_owned()),
            )),
            None => drop(first.insert(stored.key(), stored)),
        }
    }
    collisions
}

/// A document that was one of 2017, which today's API must allow too.
fn converted(entry: &Entry, node: Node) -> Completed {
    let entry = Entry { node, ..entry.clone() };
    let mut diagnostics = decode(&entry).diagnostics;
    diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
    if !diagnostics.is_empty() {
        return Completed { stored: None, diagnostics };
    }
    let kind = entry.node.child("kind").and_then(text_of).and_then(kinds::named);
    kind.map(|kind| store(&entry, kind)).unwrap_or_default()
}

fn store(entry: &Entry, kind: &'static Kind) -> Completed {
    let value = defaults::fill_in(kind, json::document(&entry.node));
    let word = |path| value.pointer(path).and_then(Json::as_str).map(str::to_owned);
    let (name, namespace) = (word("/metadata/name"), word("/metadata/namespace"));
    let wrong = |what, text: &Option<String>, syntax: &Syntax| {
        if text.as_ref().is_some_and(|text| syntax.allows(text)) {
            return None;
        }
        let text = text.as_deref().unwrap_or_default();
        let message = format!("{}: `{text}` is not {what} that can be stored", kind.name);
        Some(said(entry, Severity::Error, Code::InvalidName, message, syntax.rule()))
    };
    let misnamed = wrong("a name", &name, &DNS_SUBDOMAIN);
    let misplaced = kind.namespaced.then(|| wrong("a namespace", &namespace, &DNS_LABEL)).flatten();
    let diagnostics: Vec<Diagnostic> = misnamed.into_iter().chain(misplaced).collect();
    let place = entry.origin.place(entry.node.span);
    let stored = name.filter(|_| diagnostics.is_empty());
    Completed { stored: stored.map(|name| Stored { kind, namespace, name, value, place }), diagnostics }
}

fn refused(diagnostic: Diagnostic) -> Completed {
    Completed { stored: None, diagnostics: vec![diagnostic] }
}

fn said(entry: &Entry, severity: Severity, code: Code, message: String, label: &str) -> Diagnostic {
    let span = entry.node.span;
    Diagnostic {
        severity,
        code,
        place: entry.origin.place(span),
        excerpt: (span.line > 0 && !entry.origin.text.is_empty()).then(|| entry.origin.excerpt(span)),
        message,
        label: label.to_owned(),
        effect: None,
        help: None,
    }
}

fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

/// Key and value of the annotation in which clients keep a policy's name.
fn policy_annotation(name: &str) -> (&'static str, String) {
    ("projectcalico.org/metadata", json!({"name": name}).to_string())
}

#[cfg(test)]
mod tests;
