//! Why a saved text can't be read.

use std::fmt;

/// A line that makes the text unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedError {
    pub input: Input,
    /// From 1; that behind the last one where something is missing at the end.
    pub line: usize,
    /// The line, cut where it is long.
    pub text: Box<str>,
    pub problem: Problem,
}

/// Which of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Tables,
    Sets,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The text has more bytes than anybody's firewall.
    LongText,
    LongLine,
    /// `iptables-nft-save` says that it doesn't show all there is.
    Incompatible,
    UnknownTable,
    /// The table before has no COMMIT.
    TableInTable,
    /// Two backends, or two texts: which of them comes first isn't said.
    RepeatedTable,
    OutsideTable,
    /// The text ends within a table.
    Unterminated,
    /// A chain's line or `-P` without one of the policies.
    Policy,
    /// A policy for a chain that the kernel doesn't call.
    PolicyOfOtherChain,
    RepeatedChain,
    /// A rule for a chain that isn't there.
    UndeclaredChain,
    /// Neither `-A`, `-I`, `-N` nor `-P`.
    Command,
    Counters,
    /// `-I` into a place that the chain doesn't have.
    Place,
    UnclosedQuote,
    /// A word that belongs to no option.
    Stray(Box<str>),
    /// Nothing behind an option.
    NoValue(Box<str>),
    /// An option that a rule has once.
    Repeated(Box<str>),
    /// Neither `create` nor `add`.
    SetCommand,
    /// `create` or `add` with less than their words.
    ShortSetLine,
    RepeatedSet,
    UnknownSet,
}

impl SavedError {
    /// Most bytes of a line that an error repeats.
    const SHOWN: usize = 200;

    pub(super) fn new(input: Input, line: usize, text: &str, problem: Problem) -> Self {
        let end = (0..=Self::SHOWN.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        let shown = text.get(..end.unwrap_or(0)).unwrap_or_default();
        Self { input, line, text: shown.into(), problem }
    }
}

impl fmt::Display for SavedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, line, text, problem } = self;
        let input = match input {
            Input::Tables => "tables",
            Input::Sets => "IP sets",
        };
        write!(f, "{input}, line {line}: {problem}")?;
        if text.is_empty() { Ok(()) } else { write!(f, ": {}", text.escape_debug()) }
    }
}

impl std::error::Error for SavedError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LongText => "the text is too long",
            Self::LongLine => "the line is too long",
            Self::Incompatible => "the table has rules that are not shown here",
            Self::UnknownTable => "no such table",
            Self::TableInTable => "a table begins before the one before has its COMMIT",
            Self::RepeatedTable => "the table is there twice",
            Self::OutsideTable => "this stands in no table",
            Self::Unterminated => "the text ends before the table has its COMMIT",
            Self::Policy => "a chain's policy is ACCEPT or DROP",
            Self::PolicyOfOtherChain => "only the kernel's own chains have a policy",
            Self::RepeatedChain => "the chain is declared twice",
            Self::UndeclaredChain => "the chain is not declared",
            Self::Command => "not a command that makes chains or rules",
            Self::Counters => "counters are two numbers",
            Self::Place => "the chain has no such place",
            Self::UnclosedQuote => "a quotation mark is not closed",
            Self::Stray(word) => return write!(f, "the word {word:?} belongs to no option"),
            Self::NoValue(option) => return write!(f, "nothing stands behind {option}"),
            Self::Repeated(option) => return write!(f, "a rule has only one {option}"),
            Self::SetCommand => "not a command that makes sets or members",
            Self::ShortSetLine => "this ends too early",
            Self::RepeatedSet => "the set is created twice",
            Self::UnknownSet => "the set is not created before",
        })
    }
}
