//! Which hosts entries are about, before anything is decoded.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::decode::host_of;
use crate::datastore::{self, Entry, Event, Value};

/// The names of all nodes that are described, or that an endpoint is on.
pub fn node_names(events: &[Event]) -> BTreeSet<Arc<str>> {
    let entries = events.iter().filter_map(|event| match event {
        Event::Put(entry) => Some(entry),
        Event::Delete(_)
        | Event::Unreadable(_)
        | Event::Readable(_)
        | Event::Revision(_)
        | Event::InSync
        | Event::Lost => None,
    });
    entries.filter_map(of_entry).map(Arc::from).collect()
}

/// Resources of today say it themselves wherever they are written; of Felix 2.1's store the keys do.
fn of_entry(entry: &Entry) -> Option<&str> {
    entry.path.as_ref().and_then(host_of).or_else(|| node_name(&entry.node))
}

fn node_name(resource: &datastore::Node) -> Option<&str> {
    let metadata = |key| resource.child("metadata")?.child(key);
    let name = match text(resource.child("kind")?)? {
        "Node" | "node" => metadata("name"),
        "WorkloadEndpoint" | "HostEndpoint" => resource.child("spec")?.child("node"),
        "workloadEndpoint" | "hostEndpoint" => metadata("node"),
        _ => None,
    };
    text(name?)
}

fn text(node: &datastore::Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) if !scalar.is_null() => Some(&scalar.text),
        Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => None,
    }
}
