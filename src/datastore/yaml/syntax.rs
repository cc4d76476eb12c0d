//! What the parser refuses, named by its cause.

use saphyr_parser::ScanError;

use super::parts::{lines, may_precede_marker};
use super::spans::{FLOW, Position, Spans};
use super::tree::Fault;
use crate::datastore::ReadErrorKind;

/// The parser's refusal as a fault. The parser stops where it can't go on, which may be behind the cause.
pub(super) fn fault(spans: &Spans<'_>, error: &ScanError, max_depth: usize) -> Fault {
    let position = spans.position(error.marker());
    if let Some(bang) = misread_tag(spans, position) {
        return tag(spans, bang);
    }
    if let Some(tab) = misplaced_tab(spans, position, error.info()) {
        return Fault { kind: ReadErrorKind::Tab, span: spans.span(tab, tab.offset + 1) };
    }
    let kind = match error.info() {
        "recursion limit exceeded" => ReadErrorKind::TooDeep { limit: max_depth },
        "while parsing node, found unknown anchor" => ReadErrorKind::UnknownAlias,
        words => ReadErrorKind::Syntax(words.to_owned()),
    };
    let end = spans.text().trim_end().len();
    let start = if position.offset > end { spans.at(end) } else { position };
    let width = spans.behind(start).chars().next().filter(|c| !c.is_whitespace()).map_or(0, char::len_utf8);
    Fault { kind, span: spans.span(start, start.offset + width) }
}

/// Refuses a directive (`%WORD …`) that is not ASCII. The parser counts its bytes as characters, so that every place
/// behind it would be wrong.
pub(super) fn refuse_wide_directive(spans: &Spans<'_>) -> Result<(), Fault> {
    let mut offset = 0;
    for line in lines(spans.text()).take_while(|line| may_precede_marker(line)) {
        if line.starts_with('%') && !line.is_ascii() {
            let kind = ReadErrorKind::Syntax("a line with a directive must be ASCII".to_owned());
            return Err(Fault { kind, span: spans.span(spans.at(offset), offset + line.trim_end().len()) });
        }
        offset += line.len();
    }
    Ok(())
}

/// The tag of a value whose tag and anchor begin at `start`.
pub(super) fn tag(spans: &Spans<'_>, start: Position) -> Fault {
    let text = spans.behind(start);
    let bang = text.find('!').unwrap_or_default();
    let word = text.get(bang..).unwrap_or_default();
    let length = word.find(|c: char| c.is_whitespace() || FLOW.contains(&c)).unwrap_or(word.len());
    let word = word.get(..length).unwrap_or_default();
    let start = spans.at(start.offset + bang);
    Fault { kind: ReadErrorKind::Tag(word.to_owned()), span: spans.span(start, start.offset + length) }
}

/// The `!` that begins the value on this line: in `selector: !has(a) || b` the parser stumbles over the `|`.
fn misread_tag(spans: &Spans<'_>, position: Position) -> Option<Position> {
    let (before, behind) = spans.line_around(position);
    if behind.starts_with('!') {
        return Some(position);
    }
    let mut value = before.trim_start_matches([' ', '-', '?']);
    if let Some((key, rest)) = value.split_once(": ")
        && !key.contains(['"', '\'', '#', '!'])
    {
        value = rest.trim_start();
    }
    value.starts_with('!').then(|| spans.at(position.offset - value.len()))
}

/// The tab that the parser speaks of, or one that indents this line in block style.
fn misplaced_tab(spans: &Spans<'_>, position: Position, words: &str) -> Option<Position> {
    let (before, _) = spans.line_around(position);
    let line_start = position.offset - before.len();
    let text = spans.text().get(line_start..)?;
    let (line, below) = text.split_at_checked(lines(text).next()?.len())?;
    let tab = if words.ends_with("found a tab") {
        line.len() + indenting_tab(below)?
    } else if words.contains("tab") || words.ends_with("valid YAML whitespace") {
        line.find('\t')?
    } else if spans.text().trim_start().starts_with(['{', '[']) {
        return None;
    } else {
        indenting_tab(line)?
    };
    Some(spans.at(line_start + tab))
}

/// The first tab that indents a line of `text`.
fn indenting_tab(text: &str) -> Option<usize> {
    let mut offset = 0;
    for line in lines(text) {
        let content = line.trim_start();
        if !content.is_empty()
            && let Some(tab) = line.strip_suffix(content)?.find('\t')
        {
            return Some(offset + tab);
        }
        offset += line.len();
    }
    None
}
