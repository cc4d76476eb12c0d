//! The resources in a document.

use crate::datastore::{Node, Value};

/// The resources that a document holds: the items of a YAML list or of a `…List` object, else the document itself.
/// An item is a resource whatever it is: lists in lists are not looked through.
pub(super) fn resources(document: Node) -> Vec<Node> {
    if !is_list(&document) {
        return vec![document];
    }
    match document.value {
        Value::Sequence(items) => items,
        Value::Mapping(entries) => entries
            .into_iter()
            .filter(|(key, _)| &*key.text == ITEMS)
            .flat_map(|(_, node)| items(node))
            .collect(),
        Value::Scalar(_) => Vec::new(),
    }
}

const ITEMS: &str = "items";

fn is_list(document: &Node) -> bool {
    match &document.value {
        Value::Scalar(_) => false,
        Value::Sequence(_) => true,
        Value::Mapping(_) => {
            let kind_is_list = document.child("kind").is_some_and(|kind| match &kind.value {
                Value::Scalar(kind) => kind.text.ends_with("List"),
                Value::Sequence(_) | Value::Mapping(_) => false,
            });
            let holds_items = |node: &Node| node.is_null() || matches!(node.value, Value::Sequence(_));
            kind_is_list && document.child(ITEMS).is_some_and(holds_items)
        }
    }
}

fn items(node: Node) -> Vec<Node> {
    match node.value {
        Value::Sequence(items) => items,
        Value::Scalar(_) | Value::Mapping(_) => Vec::new(),
    }
}
