//! A line as words, as `iptables-restore` and `ipset restore` split it.

use std::borrow::Cow;

/// A word without its quotes and escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub(super) text: Cow<'t, str>,
    /// As it is written.
    pub(super) raw: &'t str,
}

impl Word<'_> {
    /// A quoted word is never an option.
    fn is_quoted(&self) -> bool {
        self.raw.contains('"')
    }

    /// `-s`, `--source`; not `-1`, `-`, `"-s"`.
    pub(super) fn is_option(&self) -> bool {
        let behind = self.raw.strip_prefix("--").or_else(|| self.raw.strip_prefix('-'));
        !self.is_quoted()
            && (behind.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
                || matches!(self.raw, "-4" | "-6"))
    }

    pub(super) fn is_not(&self) -> bool {
        self.raw == "!"
    }
}

/// The line has no end to a quotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnclosedQuote;

/// Splits at blanks and behind a closing quote. Within quotes, a backslash makes the next character an ordinary one.
pub(super) fn words(line: &str) -> Result<Vec<Word<'_>>, UnclosedQuote> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, behind) = first_word(rest)?;
        words.push(word);
        rest = behind.trim_start();
    }
    Ok(words)
}

/// Of a text that doesn't begin with a blank.
fn first_word(text: &str) -> Result<(Word<'_>, &str), UnclosedQuote> {
    let mut changed = None::<String>;
    let mut quoted = false;
    let mut escaped = false;
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        let so_far = || text.get(..at).unwrap_or_default().to_owned();
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => {
                escaped = true;
                continue;
            }
            '"' if quoted => {
                quoted = false;
                end = at + c.len_utf8();
                break;
            }
            '"' => {
                quoted = true;
                changed.get_or_insert_with(so_far);
                continue;
            }
            _ if c.is_whitespace() && !quoted => {
                end = at;
                break;
            }
            _ => {}
        }
        if let Some(word) = &mut changed {
            word.push(c);
        }
    }
    let (raw, behind) = text.split_at_checked(end).unwrap_or((text, ""));
    let text = changed.map_or(Cow::Borrowed(raw), Cow::Owned);
    if quoted { Err(UnclosedQuote) } else { Ok((Word { text, raw }, behind)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split() {
        for (line, expected) in [
            ("", Some(&[][..])),
            ("  -A  a\t-j b ", Some(&["-A", "a", "-j", "b"])),
            (r#"--comment "two words" -j"#, Some(&["--comment", "two words", "-j"])),
            (r#""" x"#, Some(&["", "x"])),
            (r#"a"b c"d"#, Some(&["ab c", "d"])),
            (r#""say \"no\" \\ \'""#, Some(&[r#"say "no" \ '"#])),
            (r"back\slash", Some(&[r"back\slash"])),
            (r#""open"#, None),
            (r#""open\""#, None),
            ("\"äö\" ü", Some(&["äö", "ü"])),
        ] {
            let found = words(line).ok();
            let found = found.as_ref().map(|words| words.iter().map(|word| &*word.text).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn options_are_told_from_values() {
        for (word, expected) in [
            ("-s", true),
            ("--to-ports", true),
            ("-4", true),
            ("-1", false),
            ("-", false),
            ("--", false),
            ("\"-j\"", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(words(word).unwrap()[0].is_option(), expected, "{word}");
        }
    }
}
