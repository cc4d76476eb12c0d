//! What must hold for any bytes at all: the readers answer, in bounded time and stack, and what they answer is sound.
//!
//! Plain functions that panic where it does not hold: called with random and with mutated input by this suite, and by
//! `cargo fuzz` (see `cargo-fuzz/`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use felix_rs::Pipeline;
use felix_rs::datastore::{
    Entry, Event, Excerpt, Key, Node, Origin, Scalar, StoredPath, Value, Written, yaml,
};
use felix_rs::labels::Selector;
use felix_rs::model::{IpVersion, node_names};
use felix_rs::sync::{Programmed, plan};
use felix_rs::verdict::chains::saved::{self, Mixture, Saved};

/// A selector's canonical text is a selector again, and the same one; an error points into the text.
pub fn selector(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Selector::parse(&text) {
        Ok(selector) => {
            let again = Selector::parse(selector.canonical()).expect("canonical text is a selector");
            assert_eq!((again.canonical(), again.id()), (selector.canonical(), selector.id()));
            let label = |name: &str| name.len().is_multiple_of(2).then_some("a");
            assert_eq!(selector.negated().matches(&label), !selector.matches(&label));
        }
        Err(error) => {
            assert!(text.get(error.start..error.end).is_some(), "{error:?} points outside of the text");
            assert!(!error.message.is_empty());
        }
    }
}

/// Every document is read or refused, at a place in the text; keys are unique.
pub fn yaml(data: &[u8]) {
    let text: Arc<str> = String::from_utf8_lossy(data).into();
    let reading = yaml::parse(&"fuzz.yaml".into(), &text);
    let keys: BTreeSet<_> = reading.entries.iter().map(|entry| &entry.key).collect();
    assert_eq!(keys.len(), reading.entries.len());
    let last_line = text.matches(['\n', '\r']).count() + 1;
    for error in &reading.errors {
        assert!((1..=last_line).contains(&(error.place.line as usize)), "{error:?}");
        error.excerpt.as_ref().map(underlined);
    }
}

/// The whole program takes what was read: what comes out is a plan that leaves nothing to do, or a refusal, the same
/// whether the resources came as they stand or backwards; taken away again, nothing is left.
pub fn manifest(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into();
    let events: Vec<Event> = yaml::parse(&"fuzz.yaml".into(), &text).into_events().collect();
    let host = node_names(&events).first().cloned().unwrap_or_else(|| "host".into());
    let mut pipeline = Pipeline::new(Arc::clone(&host), Vec::new());
    let mut reversed = Pipeline::new(Arc::clone(&host), Vec::new());
    events.iter().for_each(|event| pipeline.take(event));
    events.iter().rev().for_each(|event| reversed.take(event));
    assert_eq!(outcome(&mut pipeline), outcome(&mut reversed));
    for event in events {
        pipeline.take(&match event {
            Event::Put(entry) => Event::Delete(entry.key),
            Event::Unreadable(error) => Event::Readable(error.place.source),
            other => other,
        });
    }
    assert_eq!(outcome(&mut pipeline), outcome(&mut Pipeline::new(host, Vec::new())));
}

/// As [`manifest`], of a store with a line an entry: its key, a space, its value. Whatever is wrong is said at the key and
/// the revision.
pub fn stored(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let entries: BTreeMap<&str, Entry> = text.lines().filter_map(entry).collect();
    let mut pipeline = Pipeline::new("host".into(), Vec::new());
    let mut reversed = Pipeline::new("host".into(), Vec::new());
    let put = |entry: &Entry| Event::Put(entry.clone());
    entries.values().for_each(|entry| pipeline.take(&put(entry)));
    entries.values().rev().for_each(|entry| reversed.take(&put(entry)));
    assert_eq!(outcome(&mut pipeline), outcome(&mut reversed));
    assert_eq!(pipeline.readiness(), reversed.readiness());
    let sources: BTreeSet<&str> = entries.values().map(|entry| &*entry.origin.source).collect();
    for diagnostic in pipeline.diagnostics() {
        let of_entry = sources.iter().any(|source| diagnostic.place.source.starts_with(source));
        assert!(of_entry, "{diagnostic:?}");
    }
    entries.values().for_each(|entry| pipeline.take(&Event::Delete(entry.key.clone())));
    assert_eq!(outcome(&mut pipeline), outcome(&mut Pipeline::new("host".into(), Vec::new())));
}

/// As a store's source says it; none where the value is not JSON.
fn entry(line: &str) -> Option<(&str, Entry)> {
    let (key, value) = line.split_once(' ')?;
    let source: Arc<str> = format!("/calico/{key}@7").into();
    // In a list, as one of its own would be taken for a list of resources.
    let mut parsed = yaml::parse(&source, &format!("[{value}]").into());
    let json = parsed.errors.is_empty() && parsed.entries.len() == 1;
    let node = json.then(|| parsed.entries.remove(0).node)?;
    let bare = key.contains("/config/") || key.ends_with("/bird_ip") || key == "v1/Ready";
    let node = match node.value {
        Value::Scalar(scalar) if bare => {
            Node { value: Value::Scalar(Scalar { plain: false, ..scalar }), ..node }
        }
        _ => node,
    };
    let origin = Origin { source, text: format!("[{value}]").into(), written: Written::Stored };
    let entry =
        Entry { key: Key(format!("/calico/{key}").into()), path: Some(StoredPath::of(key)), node, origin };
    Some((key, entry))
}

/// A saved text is read or refused, at a line of it; what is read is a program whose parts are all there, and the same
/// each time.
pub fn saved(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mixture = Mixture::of(&[&text]);
    for version in [IpVersion::V4, IpVersion::V6] {
        let tables = mixture.tables(version).or(mixture.unclear.as_deref()).unwrap_or_default();
        for sets in [None, mixture.sets.as_deref()] {
            let read = saved::parse(version, tables, sets);
            assert_eq!(read, saved::parse(version, tables, sets));
            match read {
                Ok(saved) => whole(&saved),
                Err(error) => assert!((1..=text.lines().count() + 1).contains(&error.line), "{error}"),
            }
        }
    }
    // What is whole stays whole where the other tool's lines are among it.
    let _ = saved::parse(IpVersion::V4, &text, Some(&text));
}

fn whole(Saved { program, rules }: &Saved) {
    assert!(program.chains.is_sorted_by_key(|chain| (chain.table, chain.name.clone())));
    assert!(program.sets.is_sorted_by_key(|set| set.name.clone()));
    assert_eq!(program.chains.len(), rules.len());
    for (chain, texts) in program.chains.iter().zip(rules) {
        assert_eq!(chain.rules.len(), texts.len());
        assert_eq!(
            program.find(chain.table, &chain.name).and_then(|number| program.chain(number)),
            Some(chain)
        );
    }
}

/// All that can be seen, as text.
fn outcome(pipeline: &mut Pipeline) -> String {
    let programmed = match pipeline.desired() {
        Ok(desired) => {
            let all = plan(&desired, &Programmed::default());
            assert!(plan(&desired, &Programmed::default().after(&all)).is_empty());
            all.steps().map(|step| step.text()).collect()
        }
        Err(error) => error.to_string(),
    };
    let diagnostics = pipeline.diagnostics();
    for diagnostic in &diagnostics {
        assert!(!diagnostic.message.is_empty());
        diagnostic.excerpt.as_ref().map(underlined);
    }
    format!("{programmed}\n{diagnostics:?}")
}

/// The part that an excerpt underlines. It is there.
fn underlined(excerpt: &Excerpt) -> &str {
    excerpt.line.get(excerpt.start..excerpt.end).expect("a part of the line, at character boundaries")
}
