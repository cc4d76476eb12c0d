//! What a client stores of manifests does what the manifests do.

use std::collections::{BTreeMap, BTreeSet};

use felix_rs::datastore::{Entry, Event, Key, StoredPath, Written, yaml};
use felix_rs::model::stored::{Completed, Stored, collisions, complete};
use felix_rs::model::{Decoded, Diagnostic, Resource, Severity, decode};
use libtest_mimic::Failed;

use crate::case::Case;
use crate::observed::{Host, same};

/// The kernel is given the same texts, whichever of the two a host reads. Rules by tag are rules by label in a store: there
/// it is given other sets, of the same members.
pub fn says_what_the_manifests_say(case: &Case) -> Result<(), Failed> {
    let entries = manifests(&case.events);
    let decoded: Vec<Decoded> = entries.iter().map(|entry| decode(entry)).collect();
    if entries.len() < case.events.len() || why_not(&decoded).is_some() {
        return Ok(());
    }
    let stored = completed(&entries)?;
    let (expected, found) = (texts(case, &case.events)?, texts(case, &stored)?);
    if decoded.iter().filter_map(Decoded::resource).any(asks_for_tags) {
        return same("sets as stored", &members(&expected), &members(&found));
    }
    same("stored", &expected, &found)
}

/// What is stored of the manifests, as events.
fn completed(entries: &[&Entry]) -> Result<Vec<Event>, Failed> {
    let mut stored = Vec::new();
    for entry in entries {
        let Completed { stored: made, diagnostics } = complete(entry);
        if let Some(error) = diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error) {
            return Err(format!("not to be stored: {error:?}").into());
        }
        stored.extend(made);
    }
    let collisions = collisions(&stored);
    if !collisions.is_empty() {
        return Err(format!("{collisions:?}").into());
    }
    stored.iter().map(event).collect()
}

/// Why the two can't be compared, if so.
fn why_not(decoded: &[Decoded]) -> Option<&'static str> {
    let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
    if decoded.iter().flat_map(|decoded| &decoded.diagnostics).any(is_error) {
        return Some("what has an error is not stored");
    }
    let resources = || decoded.iter().filter_map(Decoded::resource);
    let ids: BTreeSet<_> = resources().map(Resource::id).collect();
    if ids.len() < resources().count() {
        return Some("a store has no two of one name");
    }
    let is_record =
        |resource: &Resource| matches!(resource, Resource::BlockAffinity(_) | Resource::IpamBlock(_));
    resources().any(is_record).then_some("the records of address management are not for clients to write")
}

/// The members of each set, whatever it is called.
fn members(texts: &str) -> String {
    let mut sets = BTreeMap::<&str, BTreeSet<&str>>::new();
    for line in texts.lines() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["create", name, ..] => drop(sets.entry(name).or_default()),
            ["add", name, member, ..] => drop(sets.entry(name).or_default().insert(member)),
            _ => {}
        }
    }
    let mut lines: Vec<String> = sets.values().map(|members| format!("{members:?}\n")).collect();
    lines.sort();
    lines.concat()
}

fn asks_for_tags(resource: &Resource) -> bool {
    let (ingress, egress) = match resource {
        Resource::Policy(policy) => (&policy.ingress, &policy.egress),
        Resource::Profile(profile) => (&profile.ingress, &profile.egress),
        _ => return false,
    };
    let sides = ingress.iter().chain(egress).flat_map(|rule| [&rule.source, &rule.destination]);
    sides.into_iter().any(|side| side.tag.is_some() || side.not_tag.is_some())
}

fn manifests(events: &[Event]) -> Vec<&Entry> {
    let entries = events.iter().filter_map(|event| match event {
        Event::Put(entry) => Some(entry),
        _ => None,
    });
    entries.collect()
}

/// As a host would be told of it by a store. JSON is YAML.
fn event(stored: &Stored) -> Result<Event, Failed> {
    let key = stored.key();
    let source = format!("/calico/{key}@7");
    let mut entry =
        yaml::parse(&source.into(), &stored.value.to_string().into()).entries.pop().ok_or("no document")?;
    entry.key = Key(format!("/calico/{key}").into());
    entry.path = Some(StoredPath::of(&key));
    entry.origin.written = Written::Stored;
    Ok(Event::Put(entry))
}

fn texts(case: &Case, events: &[Event]) -> Result<String, Failed> {
    let mut host = Host::new(&case.host, case.sources.clone(), case.uplinks.clone());
    for event in events {
        host.take(event);
    }
    host.texts()
}
