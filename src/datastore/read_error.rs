//! What kept us from reading, in words for people.

use std::fmt;

use super::{Excerpt, Place};

/// Why a part of a source could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    pub place: Place,
    pub excerpt: Option<Excerpt>,
    pub kind: ReadErrorKind,
}

/// What kept us from reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadErrorKind {
    /// The operating system refused; its words.
    Io(String),
    /// A pipe, a device or a socket, which could block or never end.
    NotRegular,
    /// Not UTF-8; the offset of the first bad byte.
    NotUtf8 { offset: usize },
    /// Larger than we read; the limit in bytes.
    TooLarge { limit: u64 },
    /// Not YAML; the parser's words.
    Syntax(String),
    /// Not JSON; the parser's words.
    Json(String),
    /// A store that can't be asked: why, and what can be done about it.
    Store { words: String, help: Option<String> },
    /// A tab where YAML wants spaces.
    Tab,
    /// `!word` in front of a value. YAML reads `selector: !has(x)` as a tag with nothing behind it.
    Tag(String),
    /// The same key twice in one mapping; the line of the first.
    DuplicateKey { key: String, first_line: u32 },
    /// A key that is not a plain word.
    KeyNotScalar,
    /// Nested deeper than any resource.
    TooDeep { limit: usize },
    /// The anchors and aliases of one document stand for more copied values than we make.
    TooManyNodes { limit: usize },
    /// `*name` without a finished `&name` above it.
    UnknownAlias,
}

impl ReadErrorKind {
    /// What the reader of the message can do about it.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::NotRegular => "pipe it into standard input, and give `-` as the path",
            Self::NotUtf8 { .. } => "save the file as UTF-8",
            Self::TooLarge { .. } => "split it into several files",
            Self::Syntax(words) => return syntax_help(words).map(str::to_owned),
            Self::Json(_) => "write it anew with the client that wrote it",
            Self::Store { words: _, help } => return help.clone(),
            Self::Tab => "indent with spaces",
            Self::Tag(_) => "quote the whole value: selector: '!has(x)'",
            Self::DuplicateKey { .. } => "keep one of the two: readers differ in which one they believe",
            Self::KeyNotScalar => {
                "a value that begins with `{` or `[` must be quoted; a template must be rendered first"
            }
            Self::TooManyNodes { .. } => "write the values out, or split the document with `---`",
            Self::UnknownAlias => {
                "an anchor is known only in its own document; a text that begins with `*` must be quoted"
            }
            Self::Io(_) | Self::TooDeep { .. } => return None,
        };
        Some(help.to_owned())
    }
}

/// What most often stands behind the parser's words.
fn syntax_help(words: &str) -> Option<&'static str> {
    const HELPS: [(&str, &str); 7] = [
        ("mapping values are not allowed", "a text that holds `: ` must be quoted"),
        ("invalid trailing content", "quote the whole value: 'role == \"web\"'"),
        ("simple key expect", "a line here has no `key:` in front of its value"),
        ("unexpected character", "a text that begins with this character must be quoted"),
        ("scanning an anchor or alias", "a text that begins with `&` or `*` must be quoted"),
        ("expected ',' or", "a comma or a closing bracket is missing"),
        ("expected <document start>", "separate documents with a line `---`"),
    ];
    HELPS.iter().find(|(part, _)| words.contains(part)).map(|(_, help)| *help)
}

impl fmt::Display for ReadErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(words) => f.write_str(words),
            Self::NotRegular => f.write_str("not a regular file"),
            Self::NotUtf8 { offset } => write!(f, "not UTF-8 at byte {offset}"),
            Self::TooLarge { limit } => write!(f, "larger than {} MiB", limit >> 20),
            Self::Syntax(words) => write!(f, "not valid YAML: {words}"),
            Self::Json(words) => write!(f, "not valid JSON: {words}"),
            Self::Store { words, help: _ } => f.write_str(words),
            Self::Tab => f.write_str("a tab where YAML wants spaces"),
            Self::Tag(tag) => write!(f, "YAML reads `{tag}` as a tag, not as text"),
            Self::DuplicateKey { key, first_line } => {
                write!(f, "`{key}` is already set on line {first_line}")
            }
            Self::KeyNotScalar => f.write_str("a key must be a plain word"),
            Self::TooDeep { limit } => write!(f, "nested deeper than {limit} levels"),
            Self::TooManyNodes { limit } => write!(f, "aliases stand for more than {limit} values"),
            Self::UnknownAlias => f.write_str("no anchor of this name is complete above its alias"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.kind)
    }
}

impl std::error::Error for ReadError {}
