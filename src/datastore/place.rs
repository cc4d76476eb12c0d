//! Where something was written.

use std::fmt;
use std::sync::Arc;

use super::Span;

/// A place in a source, for people: prints as `file:line:column`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, `<stdin>`, or the etcd key and revision.
    pub source: Arc<str>,
    /// Counted from 1; 0 where a source has no lines.
    pub line: u32,
    /// Counted from 1, in characters; 0 where a source has no columns.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// One source line and the part of it to underline, kept with an error so that it can be shown
/// when the source is long gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line without its end. One too long for a terminal is cut around the part, each cut shown as `…`.
    pub line: String,
    /// Byte range within `line`, at character boundaries.
    pub start: usize,
    pub end: usize,
}

impl Excerpt {
    /// Longest line shown whole, in bytes.
    const LIMIT: usize = 240;
    /// What stays in front of the part when the line is cut, in bytes.
    const LEAD: usize = 60;
    const CUT: &str = "…";

    /// The line of `text` that `span` starts on. Looks no further than it shows: a file may be one long line.
    pub fn of(text: &str, span: Span) -> Self {
        let at = floor(text, span.start as usize);
        let (before, behind) = text.split_at_checked(at).unwrap_or((text, ""));
        let mut head = last(before, Self::LIMIT).rsplit(BREAKS).next().unwrap_or_default();
        let mut tail = first(behind, Self::LIMIT).split(BREAKS).next().unwrap_or_default();
        if head.len() + tail.len() > Self::LIMIT {
            head = last(head, Self::LEAD.max(Self::LIMIT - tail.len()));
            tail = first(tail, Self::LIMIT - head.len());
        }
        let cut_before =
            !before.strip_suffix(head).is_none_or(|rest| rest.is_empty() || rest.ends_with(BREAKS));
        let cut_behind =
            !behind.strip_prefix(tail).is_none_or(|rest| rest.is_empty() || rest.starts_with(BREAKS));

        let left = if cut_before { Self::CUT } else { "" };
        let right = if cut_behind { Self::CUT } else { "" };
        let start = left.len() + head.len();
        let length = floor(tail, (span.end as usize).saturating_sub(at));
        Self { line: [left, head, tail, right].concat(), start, end: start + length }
    }
}

impl Excerpt {
    /// The line of `text` that `place` is on, from there to the line's end.
    pub fn at(text: &str, place: &Place) -> Option<Self> {
        let line = text.split_inclusive('\n').nth((place.line as usize).checked_sub(1)?)?;
        let column = (place.column as usize).checked_sub(1)?;
        let (offset, _) = line.char_indices().nth(column)?;
        let end = line.trim_end().len().max(offset);
        let span = Span { start: offset as u32, end: end as u32, line: place.line, column: place.column };
        Some(Self::of(line, span))
    }
}

const BREAKS: [char; 2] = ['\n', '\r'];

/// At most the first `length` bytes.
fn first(text: &str, length: usize) -> &str {
    text.get(..floor(text, length)).unwrap_or_default()
}

/// At most the last `length` bytes.
fn last(text: &str, length: usize) -> &str {
    let from = text.len().saturating_sub(length);
    (from..text.len()).find_map(|from| text.get(from..)).unwrap_or_default()
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts() {
        let long = format!("{}KEY{}", "a".repeat(500), "b".repeat(500));
        let wide = format!("{}KEY{}", "é".repeat(500), "ü".repeat(500));
        let late = format!("{}KEY{}", "a".repeat(200), "b".repeat(60));
        let cases = [
            ("KEY: b", "KEY: b"),
            ("a: b\nc: KEY # d\ne: f", "c: KEY # d"),
            ("a: b\r\nc: KEY\r\ne: f", "c: KEY"),
            ("a: é\tKEY", "a: é\tKEY"),
            (&late, &format!("…{}KEY{}", "a".repeat(177), "b".repeat(60))),
            (&long, &format!("…{}KEY{}…", "a".repeat(60), "b".repeat(177))),
            (&wide, &format!("…{}KEY{}…", "é".repeat(30), "ü".repeat(88))),
        ];
        for (text, line) in cases {
            let start = text.find("KEY").unwrap();
            let span = Span { start: start as u32, end: start as u32 + 3, line: 1, column: 1 };
            let excerpt = Excerpt::of(text, span);
            assert_eq!(excerpt.line, line);
            assert_eq!(&excerpt.line[excerpt.start..excerpt.end], "KEY");
        }
    }

    #[test]
    fn excerpts_of_spans_that_leave_the_line_or_the_text() {
        let cases = [
            ("a\nb", 0, 3, "a", "a"),
            ("a\nb", 1, 1, "a", ""),
            ("a\nb\n", 4, 9, "", ""),
            ("aé", 2, 9, "aé", "é"),
            ("", 5, 2, "", ""),
            ("ab", 9, 9, "ab", ""),
        ];
        for (text, start, end, line, part) in cases {
            let excerpt = Excerpt::of(text, Span { start, end, line: 1, column: 1 });
            assert_eq!(
                (excerpt.line.as_str(), &excerpt.line[excerpt.start..excerpt.end]),
                (line, part),
                "{text:?}"
            );
        }
    }
}
