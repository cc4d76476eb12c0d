//! A stream of documents cut into its documents, so that a broken one hides no other.

use super::spans::BOM;

/// One document of a stream: text between markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'t> {
    pub(super) text: &'t str,
    /// Byte offset of `text` in the stream.
    pub(super) start: usize,
    /// Line of the first byte, counted from 1.
    pub(super) line: u32,
}

/// Cuts in front of each line `---` and behind each line `...`. YAML takes these for markers wherever they
/// begin a line, be it in the middle of a block scalar. What may precede a `---` (comments, directives) stays with it.
pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut part = Cut::default();
    let mut offset = 0;
    for (line, content) in (1_u32..).zip(lines(text)) {
        if part.has_content && is_marker(content, "---") {
            parts.extend(part.until(text, offset));
            part = Cut { start: offset, line, has_content: false };
        }
        offset += content.len();
        part.has_content |= !may_precede_marker(content);
        if is_marker(content, "...") {
            parts.extend(part.until(text, offset));
            part = Cut { start: offset, line: line + 1, has_content: false };
        }
    }
    parts.extend(part.until(text, offset));
    parts
}

/// Where the present part began.
struct Cut {
    start: usize,
    line: u32,
    has_content: bool,
}

impl Default for Cut {
    fn default() -> Self {
        Self { start: 0, line: 1, has_content: false }
    }
}

impl Cut {
    fn until<'t>(&self, text: &'t str, end: usize) -> Option<Part<'t>> {
        let text = text.get(self.start..end).filter(|text| !text.is_empty())?;
        Some(Part { text, start: self.start, line: self.line })
    }
}

/// The lines with their ends, which are those of YAML: LF, CR LF or CR.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').flat_map(|line| {
        let body = line.strip_suffix("\r\n").unwrap_or(line);
        let (head, last) = match body.rfind('\r') {
            Some(at) => line.split_at_checked(at + 1).unwrap_or((line, "")),
            None => ("", line),
        };
        head.split_inclusive('\r').chain(Some(last).filter(|last| !last.is_empty()))
    })
}

fn is_marker(line: &str, marker: &str) -> bool {
    let line = line.strip_prefix(BOM).unwrap_or(line);
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether `line` is blank, a comment or a directive.
pub(super) fn may_precede_marker(line: &str) -> bool {
    let content = line.trim_start_matches([BOM, ' ', '\t', '\r', '\n']);
    content.is_empty() || content.starts_with('#') || line.starts_with('%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts() {
        let cases: [(&str, &[(u32, &str)]); 17] = [
            ("", &[]),
            ("a: b", &[(1, "a: b")]),
            ("a: b\n---\nc: d\n", &[(1, "a: b\n"), (2, "---\nc: d\n")]),
            ("---\na: b\n--- # second\nc: d", &[(1, "---\na: b\n"), (3, "--- # second\nc: d")]),
            ("--- a\n---\tb\n---", &[(1, "--- a\n"), (2, "---\tb\n"), (3, "---")]),
            ("a: b\r\n---\r\nc: d\r\n", &[(1, "a: b\r\n"), (2, "---\r\nc: d\r\n")]),
            ("a: b\r---\rc: d\r", &[(1, "a: b\r"), (2, "---\rc: d\r")]),
            ("# one\n\n---\na: b", &[(1, "# one\n\n---\na: b")]),
            ("%YAML 1.2\n---\na: b", &[(1, "%YAML 1.2\n---\na: b")]),
            ("a\n...\n%YAML 1.2\n---\nb", &[(1, "a\n...\n"), (3, "%YAML 1.2\n---\nb")]),
            ("a\n... # end\nb", &[(1, "a\n... # end\n"), (3, "b")]),
            ("a: |\n  x\n---\nb", &[(1, "a: |\n  x\n"), (3, "---\nb")]),
            ("a: ---\nb: ---", &[(1, "a: ---\nb: ---")]),
            ("a\n ---\n", &[(1, "a\n ---\n")]),
            ("a\n----\n....\n", &[(1, "a\n----\n....\n")]),
            ("a\n\u{feff}---\nb", &[(1, "a\n"), (2, "\u{feff}---\nb")]),
            ("\n\n", &[(1, "\n\n")]),
        ];
        for (text, expected) in cases {
            let parts = parts(text);
            let seen: Vec<_> = parts.iter().map(|part| (part.line, part.text)).collect();
            assert_eq!(seen, expected, "{text:?}");
            assert!(parts.iter().all(|part| text[part.start..].starts_with(part.text)));
        }
    }

    #[test]
    fn every_kind_of_line_end() {
        let cases: [(&str, &[&str]); 6] = [
            ("a\nb", &["a\n", "b"]),
            ("a\r\nb\r\n", &["a\r\n", "b\r\n"]),
            ("a\rb\r", &["a\r", "b\r"]),
            ("\r\r\n\n", &["\r", "\r\n", "\n"]),
            ("a\rb\r\nc\n", &["a\r", "b\r\n", "c\n"]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(lines(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }
}
