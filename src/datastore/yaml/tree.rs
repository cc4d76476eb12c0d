//! The parser's events of one document, made a tree.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::parts::Part;
use super::spans::Spans;
use super::syntax;
use crate::datastore::node::{Key, Node, Scalar, Value};
use crate::datastore::{ReadErrorKind, Span};

/// Deeper than any resource.
const MAX_DEPTH: usize = 64;

/// Values that anchors and aliases may copy in one document. What is written out is bounded by the file's size.
const MAX_COPIES: usize = 250_000;

/// So much text of a copied scalar counts as one more value.
const TEXT_PER_COPY: usize = 64;

/// What is wrong in a document, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: ReadErrorKind,
    pub(super) span: Span,
}

/// The tree of a document; none where it is empty.
pub(super) fn tree(part: Part<'_>) -> Result<Option<Node>, Fault> {
    let mut tree = Tree::new(part);
    syntax::refuse_wide_directive(&tree.spans)?;
    for event in Parser::new_from_str(part.text) {
        let (event, span) = event.map_err(|error| tree.misread(&error))?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        tree.take(event, span)?;
    }
    Ok(tree.root.filter(|node| !node.is_null()))
}

/// A tree that grows. A stack instead of recursion: the depth is the writer's choice.
struct Tree<'t> {
    spans: Spans<'t>,
    /// From the root inwards.
    open: Vec<Collection>,
    root: Option<Node>,
    anchors: BTreeMap<usize, Anchored>,
    copies: usize,
}

/// A sequence or mapping whose end is not reached.
struct Collection {
    span: Span,
    /// Ends with a bracket rather than with its last child.
    flow: bool,
    /// The parser's id of its anchor; 0 for none.
    anchor: usize,
    children: Children,
}

enum Children {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Key, Node)>, key: Option<Key> },
}

/// A value to be copied for each of its aliases.
struct Anchored {
    node: Node,
    size: Size,
}

impl<'t> Tree<'t> {
    fn new(part: Part<'t>) -> Self {
        Self { spans: Spans::new(part), open: Vec::new(), root: None, anchors: BTreeMap::new(), copies: 0 }
    }

    fn take(&mut self, event: Event<'_>, span: saphyr_parser::Span) -> Result<(), Fault> {
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = self.is_plain(style, tag.as_deref(), span)?;
                let place = self.scalar_span(span, style, anchor > 0 || tag.is_some());
                self.scalar(Scalar { text: text.into(), plain }, place, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.allow_tag(tag.as_deref(), "seq", span)?;
                self.begin(Children::Sequence(Vec::new()), anchor, span)
            }
            Event::MappingStart(anchor, tag) => {
                self.allow_tag(tag.as_deref(), "map", span)?;
                self.begin(Children::Mapping { entries: Vec::new(), key: None }, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(id) => self.alias(id, span),
        }
    }

    fn scalar(&mut self, scalar: Scalar, span: Span, anchor: usize) -> Result<(), Fault> {
        let node = Node { value: Value::Scalar(scalar), span };
        self.remember(anchor, &node)?;
        match (self.awaited_key(), node) {
            (Some(key), Node { value: Value::Scalar(scalar), span }) => {
                *key = Some(Key { text: scalar.text, span })
            }
            (_, node) => self.hang(node, span.end),
        }
        Ok(())
    }

    fn begin(&mut self, children: Children, anchor: usize, span: saphyr_parser::Span) -> Result<(), Fault> {
        let end = self.spans.offset(&span.end);
        let start = self.spans.content(self.spans.position(&span.start), end);
        let flow = self.spans.behind(start).starts_with(['[', '{']);
        let span = self.spans.span(start, start.offset + usize::from(flow));
        if self.awaited_key().is_some() {
            return Err(Fault { kind: ReadErrorKind::KeyNotScalar, span });
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault { kind: ReadErrorKind::TooDeep { limit: MAX_DEPTH }, span });
        }
        self.open.push(Collection { span, flow, anchor, children });
        Ok(())
    }

    fn end(&mut self, end: saphyr_parser::Span) -> Result<(), Fault> {
        let Some(Collection { mut span, flow, anchor, children }) = self.open.pop() else { return Ok(()) };
        if flow {
            let bracket = self.spans.position(&end.start);
            span.end = self.spans.span(bracket, bracket.offset + 1).end;
        }
        let value = match children {
            Children::Sequence(nodes) => Value::Sequence(nodes),
            Children::Mapping { entries, key: _ } => {
                refuse_duplicates(&entries)?;
                Value::Mapping(entries)
            }
        };
        let node = Node { value, span };
        self.remember(anchor, &node)?;
        self.hang(node, span.end);
        Ok(())
    }

    fn alias(&mut self, id: usize, span: saphyr_parser::Span) -> Result<(), Fault> {
        let start = self.spans.position(&span.start);
        let place = self.spans.span(start, self.spans.offset(&span.end));
        if self.awaited_key().is_some() {
            return Err(Fault { kind: ReadErrorKind::KeyNotScalar, span: place });
        }
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(Fault { kind: ReadErrorKind::UnknownAlias, span: place });
        };
        if self.open.len() + anchored.size.depth > MAX_DEPTH {
            return Err(Fault { kind: ReadErrorKind::TooDeep { limit: MAX_DEPTH }, span: place });
        }
        let node = anchored.node.clone();
        self.count_copies(anchored.size.values, place)?;
        self.hang(node, place.end);
        Ok(())
    }

    /// Hangs a complete value, which was written up to `end`, into the tree.
    fn hang(&mut self, node: Node, end: u32) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Collection { span, flow: _, anchor: _, children }) => {
                span.end = span.end.max(end);
                match children {
                    Children::Sequence(nodes) => nodes.push(node),
                    Children::Mapping { entries, key } => entries.extend(key.take().map(|key| (key, node))),
                }
            }
        }
    }

    /// Keeps a complete value for its aliases, if it has an anchor.
    fn remember(&mut self, anchor: usize, node: &Node) -> Result<(), Fault> {
        if anchor > 0 {
            let size = Size::of(node);
            self.count_copies(size.values, node.span)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        Ok(())
    }

    fn count_copies(&mut self, values: usize, span: Span) -> Result<(), Fault> {
        self.copies += values;
        if self.copies > MAX_COPIES {
            return Err(Fault { kind: ReadErrorKind::TooManyNodes { limit: MAX_COPIES }, span });
        }
        Ok(())
    }

    /// Where the next scalar goes, if it is a key.
    fn awaited_key(&mut self) -> Option<&mut Option<Key>> {
        match &mut self.open.last_mut()?.children {
            Children::Mapping { entries: _, key } if key.is_none() => Some(key),
            Children::Mapping { .. } | Children::Sequence(_) => None,
        }
    }

    fn scalar_span(&self, span: saphyr_parser::Span, style: ScalarStyle, has_properties: bool) -> Span {
        let mut start = self.spans.position(&span.start);
        let end = self.spans.offset(&span.end);
        if has_properties {
            start = self.spans.content(start, end);
            if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                start = self.spans.below_header(start);
            }
        }
        self.spans.scalar(start, end, style)
    }

    /// Whether a scalar is without quotes, in the writing or by a tag that says so.
    fn is_plain(
        &self,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: saphyr_parser::Span,
    ) -> Result<bool, Fault> {
        let Some(tag) = tag else { return Ok(style == ScalarStyle::Plain) };
        match tag.suffix.as_str() {
            "str" if tag.is_yaml_core_schema() => Ok(false),
            "int" | "bool" | "null" | "float" if tag.is_yaml_core_schema() => Ok(true),
            _ => Err(self.tagged(span)),
        }
    }

    /// `!!map` and `!!seq` say no more than the writing does.
    fn allow_tag(&self, tag: Option<&Tag>, shape: &str, span: saphyr_parser::Span) -> Result<(), Fault> {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema() || tag.suffix != shape => Err(self.tagged(span)),
            Some(_) | None => Ok(()),
        }
    }

    fn tagged(&self, span: saphyr_parser::Span) -> Fault {
        syntax::tag(&self.spans, self.spans.position(&span.start))
    }

    fn misread(&self, error: &ScanError) -> Fault {
        syntax::fault(&self.spans, error, MAX_DEPTH)
    }
}

/// Readers differ in which of two they believe: a policy must mean one thing.
fn refuse_duplicates(entries: &[(Key, Node)]) -> Result<(), Fault> {
    let mut keys: Vec<&Key> = entries.iter().map(|(key, _)| key).collect();
    keys.sort_by(|a, b| a.text.cmp(&b.text));
    let pairs = keys.windows(2).filter_map(|pair| match pair {
        [first, second] if first.text == second.text => Some((first, second)),
        _ => None,
    });
    match pairs.min_by_key(|(_, second)| second.span.start) {
        None => Ok(()),
        Some((first, second)) => Err(Fault {
            kind: ReadErrorKind::DuplicateKey { key: second.text.to_string(), first_line: first.span.line },
            span: second.span,
        }),
    }
}

/// What a copy costs.
struct Size {
    values: usize,
    /// Levels of collections.
    depth: usize,
}

impl Size {
    fn of(node: &Node) -> Self {
        let (own, children) = match &node.value {
            Value::Scalar(scalar) => return Self { values: 1 + scalar.text.len() / TEXT_PER_COPY, depth: 0 },
            Value::Sequence(nodes) => (1, nodes.iter().map(Self::of).fold(Self::NONE, Self::and)),
            Value::Mapping(entries) => {
                let keys: usize = entries.iter().map(|(key, _)| key.text.len() / TEXT_PER_COPY).sum();
                (1 + keys, entries.iter().map(|(_, node)| Self::of(node)).fold(Self::NONE, Self::and))
            }
        };
        Self { values: own + children.values, depth: 1 + children.depth }
    }

    const NONE: Self = Self { values: 0, depth: 0 };

    fn and(self, other: Self) -> Self {
        Self { values: self.values + other.values, depth: self.depth.max(other.depth) }
    }
}
