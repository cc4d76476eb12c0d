//! A document as a tree in which every value knows its place.

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub value: Value,
    pub span: Span,
}

/// A stretch of a source's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Byte offset of the first byte.
    pub start: u32,
    /// Byte offset behind the last byte.
    pub end: u32,
    /// Line of the first byte, counted from 1.
    pub line: u32,
    /// Column of the first character, counted from 1.
    pub column: u32,
}

/// The three shapes of YAML and JSON. What a scalar means is decided by who reads it.
#[derive(Clone, Debug)]
pub enum Value {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    /// In the order written; keys are unique.
    Mapping(Vec<(Key, Node)>),
}

/// A mapping's key and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    pub text: Box<str>,
    pub span: Span,
}

/// A word, number or text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    pub text: Box<str>,
    /// Without quotes, so that `null`, `true` and `80` are not texts.
    pub plain: bool,
}

impl Scalar {
    /// Nothing: an absent value, `~` or `null`.
    pub fn is_null(&self) -> bool {
        self.plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }
}

impl Node {
    /// A mapping that nobody wrote: each key stands where its value does.
    pub fn mapping(fields: Vec<(Box<str>, Node)>, span: Span) -> Self {
        let keyed = |(text, node): (Box<str>, Self)| (Key { text, span: node.span }, node);
        Self { value: Value::Mapping(fields.into_iter().map(keyed).collect()), span }
    }

    /// Nothing: an absent value, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// The value of `key`, where this is a mapping that has it.
    pub fn child(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|(k, _)| &*k.text == key).map(|(_, node)| node),
            Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }
}
