//! The text of `felix.cfg`: `name = value` lines (reference §11.1).
//!
//! Deliberately small: INI libraries read some values of real files as something else than what stands there.
//! Sections are ignored. A comment is a whole line; `#` and `;` within a value are part of it.

use super::problem::ConfigProblem;
use super::setting::settings;
use super::sources::{Source, SourceKind};

/// The settings of a file called `name`, and the lines that are none. Of duplicates the later will win.
pub fn read(name: &str, text: &str) -> (Source, Vec<ConfigProblem>) {
    let (settings, problems) = settings(lines(text).map(|(number, line)| (line, format!("{name}:{number}"))));
    (Source { kind: SourceKind::File, name: name.to_owned(), settings }, problems)
}

/// Trimmed lines that should be settings, counted from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let content = |line: &str| !line.is_empty() && !line.starts_with(['#', ';']) && !is_section(line);
    (1..).zip(text.lines().map(str::trim)).filter(move |(_, line)| content(line))
}

fn is_section(line: &str) -> bool {
    line.starts_with('[') && line.ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::super::setting::Setting;
    use super::*;

    #[test]
    fn values_are_kept_raw() {
        let rows = [
            ("LogPrefix=a", "LogPrefix", "a"),
            ("  LogPrefix\t=  a b  ", "LogPrefix", "a b"),
            ("FelixHostname = 0123", "FelixHostname", "0123"),
            ("EtcdEndpoints = http://a/#frag", "EtcdEndpoints", "http://a/#frag"),
            ("LogPrefix = a ; b # c", "LogPrefix", "a ; b # c"),
            ("FeatureDetectOverride = a=b,c=d", "FeatureDetectOverride", "a=b,c=d"),
            ("LogPrefix = \"quoted\"", "LogPrefix", "\"quoted\""),
            ("LogPrefix =", "LogPrefix", ""),
            ("\u{feff}LogPrefix = a\r\n", "LogPrefix", "a"),
        ];
        for (text, name, value) in rows {
            let (source, problems) = read("felix.cfg", text);
            let expected =
                Setting { name: name.to_owned(), value: value.to_owned(), origin: "felix.cfg:1".to_owned() };
            assert_eq!((source.settings, problems), (vec![expected], vec![]), "{text}");
        }
    }

    #[test]
    fn what_is_no_setting() {
        let text = "# comment\n; comment\n\n[global]\n  # indented\n[ports]\n";
        assert_eq!(read("felix.cfg", text).0.settings, []);
    }

    #[test]
    fn a_line_without_equals_is_said_with_its_line() {
        let (source, problems) = read("felix.cfg", "[global]\nbareword\nDup = 1\n= 2\nDup = 3\n");
        let origins: Vec<_> = source.settings.iter().map(|s| (s.value.as_str(), s.origin.as_str())).collect();
        assert_eq!(origins, [("1", "felix.cfg:3"), ("3", "felix.cfg:5")]);
        let problems: Vec<_> = problems.iter().map(|p| (p.name.as_str(), p.origin.as_str())).collect();
        assert_eq!(problems, [("bareword", "felix.cfg:2"), ("= 2", "felix.cfg:4")]);
    }
}
