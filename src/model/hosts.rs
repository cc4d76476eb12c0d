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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decode::testing::{raw, stored};

    /// Of the entries of a store: by the key where that says it, else by the document.
    #[test]
    fn hosts_of_a_store() {
        let v3 = |key: &str, json: &str| stored(&format!("resources/v3/projectcalico.org/{key}"), json);
        for (entry, host) in [
            (v3("nodes/h1", "{}"), Some("h1")),
            (v3("nodes/h1", r#"{"kind":"Node","metadata":{"name":"other"}}"#), Some("h1")),
            (v3("hostendpoints/a", r#"{"kind":"HostEndpoint","spec":{"node":"h2"}}"#), Some("h2")),
            (
                v3("workloadendpoints/ns/h3-k8s-a-b", r#"{"kind":"WorkloadEndpoint","spec":{"node":"h3"}}"#),
                Some("h3"),
            ),
            (v3("tiers/a", r#"{"kind":"Tier","metadata":{"name":"a"}}"#), None),
            (raw("v1/host/h4/bird_ip", "10.0.0.1"), Some("h4")),
            (stored("v1/host/h5/endpoint/e", "{}"), Some("h5")),
            (stored("v1/host/h6/workload/o/w/endpoint/e", "{}"), Some("h6")),
            (raw("v1/host/h7/config/LogPrefix", "a"), None),
            (raw("v1/Ready", "true"), None),
        ] {
            let key = entry.key.clone();
            let found = node_names(&[Event::Put(entry)]);
            assert_eq!(found.first().map(|host| &**host), host, "{key}");
        }
    }
}
