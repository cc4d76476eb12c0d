//! Making one tree of another. What is made of a value has that value's place, so that a mistake is shown where a
//! person wrote it.

use crate::datastore::{Node, Scalar, Span, Value};

/// A mapping that is being made.
pub(super) struct Mapping {
    span: Span,
    entries: Vec<(Box<str>, Node)>,
}

impl Mapping {
    /// Of what stands at `span`.
    pub fn at(span: Span) -> Self {
        Self { span, entries: Vec::new() }
    }

    /// With the value under this name, if there is one that says something.
    pub fn with(mut self, name: &str, node: impl Into<Option<Node>>) -> Self {
        if let Some(node) = node.into().filter(|node| !node.is_null()) {
            self.entries.push((name.into(), node));
        }
        self
    }

    /// With those fields of `from` that have these names, as they are.
    pub fn copying(self, from: Option<&Node>, names: &[&str]) -> Self {
        names
            .iter()
            .fold(self, |mapping, name| mapping.with(name, from.and_then(|from| from.child(name)).cloned()))
    }

    pub fn into_node(self) -> Node {
        let Self { span, entries } = self;
        Node::mapping(entries, span)
    }
}

/// A text.
pub(super) fn text(text: impl Into<Box<str>>, span: Span) -> Node {
    Node { value: Value::Scalar(Scalar { text: text.into(), plain: false }), span }
}

/// A word that is not a text.
pub(super) fn word(text: &str, span: Span) -> Node {
    Node { value: Value::Scalar(Scalar { text: text.into(), plain: true }), span }
}

pub(super) fn list(items: Vec<Node>, span: Span) -> Node {
    Node { value: Value::Sequence(items), span }
}

/// The text of a scalar that says something.
pub(super) fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) if !scalar.is_null() => Some(&scalar.text),
        Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

/// The items of a list.
pub(super) fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::Sequence(items) => items,
        Value::Scalar(_) | Value::Mapping(_) => &[],
    }
}
