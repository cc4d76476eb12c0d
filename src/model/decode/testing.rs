//! Entries as a store's source says them.

use std::sync::Arc;

use crate::datastore::{Entry, Key, Node, Origin, Scalar, Span, StoredPath, Value, Written, yaml};

const REVISION: &str = "7";

/// JSON under a key.
pub fn stored(key: &str, json: &str) -> Entry {
    let origin = origin(key, json);
    // A list would be taken for a list of resources: of one in another it is the only resource.
    let text = if json.starts_with('[') { format!("[{json}]").into() } else { Arc::clone(&origin.text) };
    let mut reading = yaml::parse(&origin.source, &text);
    assert!(reading.errors.is_empty() && reading.entries.len() == 1, "{json}\n{:?}", reading.errors);
    entry(key, reading.entries.remove(0).node, origin)
}

/// A bare text under a key.
pub fn raw(key: &str, text: &str) -> Entry {
    let span = Span { start: 0, end: u32::try_from(text.len()).unwrap(), line: 1, column: 1 };
    let value = Value::Scalar(Scalar { text: text.into(), plain: false });
    entry(key, Node { value, span }, origin(key, text))
}

fn entry(key: &str, node: Node, origin: Origin) -> Entry {
    Entry { key: Key(format!("/calico/{key}").into()), path: Some(StoredPath::of(key)), node, origin }
}

fn origin(key: &str, text: &str) -> Origin {
    let source = Arc::from(format!("/calico/{key}@{REVISION}"));
    Origin { source, text: Arc::from(text), written: Written::Stored }
}
