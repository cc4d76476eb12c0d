//! From the parser's marks to places in the whole file.

use saphyr_parser::{Marker, ScalarStyle};

use super::parts::{Part, lines};
use crate::datastore::Span;

/// The parser counts the characters of one document; a [`Span`] counts the bytes of the file.
pub(super) struct Spans<'t> {
    part: Part<'t>,
    /// Byte offsets of each `STEP`th character; empty where a character is a byte.
    steps: Vec<usize>,
}

/// The byte order mark: no character of the text.
pub(super) const BOM: char = '\u{feff}';

/// Characters between two known offsets.
const STEP: usize = 64;

/// A place within the part: byte offset, line and column of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) offset: usize,
    line: u32,
    column: u32,
}

impl<'t> Spans<'t> {
    pub(super) fn new(part: Part<'t>) -> Self {
        let steps = if part.text.is_ascii() {
            Vec::new()
        } else {
            part.text.char_indices().step_by(STEP).map(|(offset, _)| offset).collect()
        };
        Self { part, steps }
    }

    /// The text from `position` on.
    pub(super) fn behind(&self, position: Position) -> &'t str {
        self.part.text.get(position.offset..).unwrap_or_default()
    }

    pub(super) fn position(&self, mark: &Marker) -> Position {
        let offset = self.offset(mark);
        if offset >= self.part.text.len() {
            // The parser begins a line of its own there.
            return self.walk(self.origin(), offset);
        }
        Position { offset, line: self.part.line - 1 + count(mark.line()), column: count(mark.col() + 1) }
    }

    /// The byte of the part that `mark` stands at.
    pub(super) fn offset(&self, mark: &Marker) -> usize {
        let text = self.part.text;
        if self.steps.is_empty() {
            return mark.index().min(text.len());
        }
        let step = self.steps.get(mark.index() / STEP).copied().unwrap_or(text.len());
        let rest = text.get(step..).unwrap_or_default();
        rest.char_indices().nth(mark.index() % STEP).map_or(text.len(), |(offset, _)| step + offset)
    }

    /// Where the value begins whose tag or anchor stands at `start`.
    pub(super) fn content(&self, start: Position, end: usize) -> Position {
        let mut text = self.part.text.get(start.offset..end).unwrap_or_default();
        while text.starts_with(['!', '&']) {
            text =
                without_blanks(text.trim_start_matches(|c: char| !c.is_whitespace() && !FLOW.contains(&c)));
        }
        self.walk(start, end.max(start.offset) - text.len())
    }

    /// The scalar that the parser says stands from `start` to `end`; it counts what follows on the line to a
    /// quoted scalar, and the lines below to a block scalar.
    pub(super) fn scalar(&self, start: Position, end: usize, style: ScalarStyle) -> Span {
        let text = self.part.text.get(start.offset..end).unwrap_or_default();
        let length = match style {
            ScalarStyle::Plain => text.len(),
            ScalarStyle::SingleQuoted => quoted_length(text, '\''),
            ScalarStyle::DoubleQuoted => quoted_length(text, '"'),
            ScalarStyle::Literal | ScalarStyle::Folded => text.trim_end().len(),
        };
        self.span(start, start.offset + length)
    }

    pub(super) fn span(&self, start: Position, end: usize) -> Span {
        Span {
            start: count(self.part.start + start.offset),
            end: count(self.part.start + end.max(start.offset)),
            line: start.line,
            column: start.column,
        }
    }

    /// The first content line of a block scalar whose header stands at `start`.
    pub(super) fn below_header(&self, start: Position) -> Position {
        let text = self.behind(start);
        let header = lines(text).next().unwrap_or_default().len();
        let blank =
            lines(text).skip(1).take_while(|line| line.trim().is_empty()).map(str::len).sum::<usize>();
        let first = text.get(header + blank..).unwrap_or_default();
        self.walk(start, start.offset + header + blank + first.len() - first.trim_start_matches(' ').len())
    }

    /// The line that holds `position`, up to it and from it on.
    pub(super) fn line_around(&self, position: Position) -> (&'t str, &'t str) {
        let (before, behind) = self.part.text.split_at_checked(position.offset).unwrap_or_default();
        (before.rsplit(['\n', '\r']).next().unwrap_or_default(), lines(behind).next().unwrap_or_default())
    }

    /// The position of a byte.
    pub(super) fn at(&self, offset: usize) -> Position {
        self.walk(self.origin(), offset)
    }

    /// The whole document.
    pub(super) fn text(&self) -> &'t str {
        self.part.text
    }

    fn origin(&self) -> Position {
        Position { offset: 0, line: self.part.line, column: 1 }
    }

    /// The position of `offset`, counted from `from` before it.
    fn walk(&self, from: Position, offset: usize) -> Position {
        let between = self.part.text.get(from.offset..offset).unwrap_or_default();
        let (line, column) = advance((from.line, from.column), between);
        Position { offset: from.offset + between.len(), line, column }
    }
}

/// The line and column behind `text` that begins at the given ones.
pub(super) fn advance(start: (u32, u32), text: &str) -> (u32, u32) {
    lines(text).fold(start, |(line, column), text| {
        if text.ends_with(['\n', '\r']) {
            (line + 1, 1)
        } else {
            (line, column + count(text.trim_start_matches(BOM).chars().count()))
        }
    })
}

/// What a tag or anchor cannot hold.
pub(super) const FLOW: [char; 5] = [',', '[', ']', '{', '}'];

/// `text` behind its leading spaces, line ends and comments.
fn without_blanks(text: &str) -> &str {
    let text = text.trim_start();
    match text.strip_prefix('#') {
        Some(comment) => without_blanks(comment.trim_start_matches(|c| c != '\n' && c != '\r')),
        None => text,
    }
}

/// The length of the quoted scalar at the start of `text`, with both quotes.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        let escaped = match character {
            '\\' => quote == '"',
            _ if character != quote => false,
            '\'' if characters.peek().is_some_and(|(_, next)| *next == quote) => true,
            _ => return at + 1,
        };
        if escaped {
            characters.next();
        }
    }
    text.len()
}

/// Saturates, as no text that we read is that long.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
