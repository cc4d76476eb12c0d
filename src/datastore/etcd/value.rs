//! JSON as it is stored, made into a tree whose values know their place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::datastore::{Excerpt, Node, Place, ReadError, ReadErrorKind, Scalar, Span, Value, node::Key};

/// No resource is nested so deep.
const MAX_DEPTH: usize = 64;

/// The tree that `text` is. Numbers, `true`, `false` and `null` are plain scalars, texts are quoted ones.
///
/// # Errors
///
/// Not JSON, a key twice in one object, or nested too deep; the place is in `source`.
pub(super) fn tree(source: &Arc<str>, text: &str) -> Result<Node, ReadError> {
    let places = Places::of(text);
    let begun = serde_json::from_str::<&RawValue>(text);
    let node = begun.map_err(|error| places.fault(&error)).and_then(|raw| places.node(raw, 0));
    node.map_err(|Fault { kind, span }| ReadError {
        place: Place { source: Arc::clone(source), line: span.line, column: span.column },
        excerpt: Some(Excerpt::of(text, span)),
        kind,
    })
}

/// A text as it is, without any syntax.
pub(super) fn plain_text(text: &str) -> Node {
    let span = Places::of(text).span(0, text.len());
    Node { value: Value::Scalar(Scalar { text: text.into(), plain: false }), span }
}

struct Fault {
    kind: ReadErrorKind,
    span: Span,
}

/// The members of an object, the values as they stand in the text.
struct Members<'t>(Vec<(String, &'t RawValue)>);

/// Where things are in a text.
struct Places<'t> {
    text: &'t str,
    /// Where each line begins; none where the text is one line of ASCII.
    lines: Vec<usize>,
    /// How many characters are before each block; none where the text is one line of ASCII.
    blocks: Vec<usize>,
}

/// So long a part is searched for characters at most, however long the line is.
const BLOCK: usize = 1 << 10;

impl<'t> Places<'t> {
    fn of(text: &'t str) -> Self {
        if text.is_ascii() && !text.contains('\n') {
            return Self { text, lines: Vec::new(), blocks: Vec::new() };
        }
        let behind = text.match_indices('\n').map(|(at, _)| at + 1);
        let blocks = text.as_bytes().chunks(BLOCK).scan(0, |sum, block| {
            let before = *sum;
            *sum += characters(block);
            Some(before)
        });
        Self { text, lines: [0].into_iter().chain(behind).collect(), blocks: blocks.collect() }
    }

    /// How many characters begin before a byte.
    fn characters_before(&self, at: usize) -> usize {
        // The end of a text may be the end of a full block.
        let block = (at / BLOCK).min(self.blocks.len().saturating_sub(1));
        let before = self.blocks.get(block).copied().unwrap_or_default();
        before + characters(self.text.as_bytes().get(block * BLOCK..at).unwrap_or_default())
    }

    /// The value at `raw`, which is a part of the text.
    fn node(&self, raw: &'t RawValue, depth: usize) -> Result<Node, Fault> {
        let text = raw.get();
        // A value borrowed from the text stands in it.
        let start = text.as_ptr() as usize - self.text.as_ptr() as usize;
        let span = self.span(start, start + text.len());
        if depth > MAX_DEPTH {
            return Err(Fault { kind: ReadErrorKind::TooDeep { limit: MAX_DEPTH }, span });
        }
        let fault = |error: serde_json::Error| self.fault(&error);
        let value = match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text).map_err(fault)?;
                self.mapping(members, depth)?
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(fault)?;
                let nodes = items.into_iter().map(|item| self.node(item, depth + 1));
                Value::Sequence(nodes.collect::<Result<_, _>>()?)
            }
            Some(b'"') => {
                let text: String = serde_json::from_str(text).map_err(fault)?;
                Value::Scalar(Scalar { text: text.into(), plain: false })
            }
            Some(_) | None => Value::Scalar(Scalar { text: text.into(), plain: true }),
        };
        Ok(Node { value, span })
    }

    fn mapping(&self, members: Vec<(String, &'t RawValue)>, depth: usize) -> Result<Value, Fault> {
        let mut mapping: Vec<(Key, Node)> = Vec::with_capacity(members.len());
        for (key, raw) in members {
            let node = self.node(raw, depth + 1)?;
            let span = self.key(node.span);
            mapping.push((Key { text: key.into(), span }, node));
        }
        // Each with each would take minutes for the largest object that fits into a value.
        let mut lines = BTreeMap::new();
        for (Key { text, span }, _) in &mapping {
            if let Some(first_line) = lines.insert(&**text, span.line) {
                let key = text.to_string();
                return Err(Fault { kind: ReadErrorKind::DuplicateKey { key, first_line }, span: *span });
            }
        }
        Ok(Value::Mapping(mapping))
    }

    /// The place of the key in front of a value, within its quotes.
    fn key(&self, value: Span) -> Span {
        let before = self.text.get(..value.start as usize).unwrap_or_default();
        let quoted = before.trim_end().trim_end_matches(':').trim_end();
        let end = quoted.len().saturating_sub(1);
        let inside = quoted.get(..end).unwrap_or_default();
        let is_open = |at: usize| {
            let slashes = inside.get(..at).unwrap_or_default().bytes().rev();
            slashes.take_while(|byte| *byte == b'\\').count() % 2 == 0
        };
        let start = inside.rmatch_indices('"').map(|(at, _)| at).find(|at| is_open(*at));
        self.span(start.map_or(end, |at| at + 1), end)
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let line = self.lines.partition_point(|begin| *begin <= start).max(1);
        let begin = self.lines.get(line - 1).copied().unwrap_or_default();
        let column = match self.lines.is_empty() {
            true => start,
            false => self.characters_before(start) - self.characters_before(begin),
        };
        Span { start: start as u32, end: end as u32, line: line as u32, column: column as u32 + 1 }
    }

    /// Of a text that is not JSON.
    fn fault(&self, error: &serde_json::Error) -> Fault {
        let begin = self.lines.get(error.line().saturating_sub(1)).copied().unwrap_or_default();
        // The column is that of the last byte that was read.
        let at = (begin + error.column().saturating_sub(1)).min(self.text.len());
        let at = (0..=at).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or_default();
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or_default().to_owned();
        Fault { kind: ReadErrorKind::Json(words), span: self.span(at, at + 1) }
    }
}

/// How many characters begin in a part of a text.
fn characters(part: &[u8]) -> usize {
    part.iter().filter(|byte| !matches!(byte, 0x80..0xc0)).count()
}

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = access.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(node: &Node) -> String {
        let at = format!("{}:{}", node.span.line, node.span.column);
        match &node.value {
            Value::Scalar(Scalar { text, plain: true }) => format!("{at} {text}"),
            Value::Scalar(Scalar { text, plain: false }) => format!("{at} {text:?}"),
            Value::Sequence(items) => {
                format!("{at} [{}]", items.iter().map(flat).collect::<Vec<_>>().join(", "))
            }
            Value::Mapping(members) => {
                let member = |(key, node): &(Key, Node)| {
                    format!("{}@{}:{}: {}", key.text, key.span.line, key.span.column, flat(node))
                };
                format!("{at} {{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[test]
    fn trees_and_places() {
        let deep = format!("{}1{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        for (text, expected) in [
            ("null", "1:1 null"),
            (" 12.5 ", "1:2 12.5"),
            (r#""a\u0026\"b\/\ud83d\ude00""#, "1:1 \"a&\\\"b/😀\""),
            (r#"{"a":1,"b":[true,"x"]}"#, "1:1 {a@1:3: 1:6 1, b@1:9: 1:12 [1:13 true, 1:18 \"x\"]}"),
            ("{\n \"é\" : {\"a\\\"\\\\\": 1}}", "1:1 {é@2:3: 2:8 {a\"\\@2:10: 2:18 1}}"),
            ("[\"é\", 1]", "1:1 [1:2 \"é\", 1:7 1]"),
            ("{}", "1:1 {}"),
            (r#"{"a":{"b":1,"b":2}}"#, "! key@7:1:14: `b` is already set on line 1"),
            ("{\"a\":\n[1,}", "! key@7:2:4: not valid JSON: expected value"),
            ("{\"a\":1", "! key@7:1:6: not valid JSON: EOF while parsing an object"),
            ("", "! key@7:1:1: not valid JSON: EOF while parsing a value"),
            ("{} x", "! key@7:1:4: not valid JSON: trailing characters"),
            ("true", "1:1 true"),
            (&deep, "! key@7:1:66: nested deeper than 64 levels"),
        ] {
            let said = tree(&Arc::from("key@7"), text);
            let said = said.map_or_else(|error| format!("! {error}"), |node| flat(&node));
            assert_eq!(said, expected, "{text}");
        }
    }

    #[test]
    fn hostile_depth_is_refused_quickly() {
        for text in ["[".repeat(1_000_000), "{\"a\":".repeat(1_000_000)] {
            assert!(tree(&Arc::from("key"), &text).is_err());
        }
    }

    /// The largest objects that fit into a value are read in no time, with places in a line of a million characters.
    #[test]
    fn large_objects_are_read_quickly() {
        let members: Vec<String> = (0..120_000).map(|at| format!("\"é{at:06}\":1")).collect();
        let text = format!("{{{}}}", members.join(","));
        let Value::Mapping(members) = tree(&Arc::from("key"), &text).unwrap().value else { panic!("{text}") };
        let last = members.last().map(|(key, node)| (&*key.text, key.span.column, node.span.column));
        assert_eq!(last, Some(("é119999", 12 * 119_999 + 3, 12 * 119_999 + 12)));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]
        #[test]
        fn any_text_is_a_tree_or_an_error_with_a_place(text in r#"[{}\[\]":,\\ \na1é-]{0,30}"#) {
            match tree(&Arc::from("key"), &text) {
                Ok(_) => assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok()),
                Err(error) => assert!(error.place.line > 0 && error.place.column > 0),
            }
        }
    }
}
