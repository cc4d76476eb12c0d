//! Texts that hold what several tools print or take, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use super::literals::address;
use super::sets::family;
use super::words::words;
use crate::model::IpVersion;

/// The parts of some files, told apart.
///
/// The line above a part, which `iptables-save` and `felix-rs render` print, says which family it is of. Without one,
/// what only one family has in its rules says so. Each part has as many lines as all files together, those of the others
/// empty, so that a line's number still says where it is: see [`Mixture::place`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mixture {
    pub v4: Option<Box<str>>,
    pub v6: Option<Box<str>>,
    /// Tables of which nothing says what family they are of.
    pub unclear: Option<Box<str>>,
    /// Sets of both families.
    pub sets: Option<Box<str>>,
}

/// Whose a line is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    /// Of the tables from one heading to the next.
    Tables(usize),
    Sets,
}

/// Tables of one family.
#[derive(Default)]
struct Tables<'t> {
    /// As the heading says.
    version: Option<IpVersion>,
    names: BTreeSet<&'t str>,
    evidence: Evidence<'t>,
}

/// What the rules have that only one family has.
#[derive(Default)]
struct Evidence<'t> {
    v4: bool,
    v6: bool,
    sets: Vec<std::borrow::Cow<'t, str>>,
}

impl Mixture {
    /// Of the texts of one or more files.
    pub fn of(texts: &[&str]) -> Self {
        let texts: Vec<(Option<IpVersion>, &str)> = texts.iter().map(|text| (None, *text)).collect();
        Self::of_versions(&texts)
    }

    /// The same; where a family is given, the file's tables are of that one unless a line in it says otherwise.
    pub fn of_versions(texts: &[(Option<IpVersion>, &str)]) -> Self {
        let mut sorter = Sorter::default();
        let mut owners = Vec::new();
        for (version, text) in texts {
            sorter.begin(*version);
            owners.extend(text.lines().map(|line| (line, sorter.owner(line.trim()))));
        }
        let Sorter { tables, set_families, heading: _, in_table: _ } = sorter;
        let versions: Vec<Option<IpVersion>> =
            tables.iter().map(|tables| tables.version(&set_families)).collect();
        let part = |wanted: &dyn Fn(Owner) -> bool| {
            let mut part = String::new();
            for (line, owner) in &owners {
                part.push_str(if wanted(*owner) { line } else { "" });
                part.push('\n');
            }
            owners.iter().any(|(_, owner)| wanted(*owner)).then(|| part.into_boxed_str())
        };
        let tables = |version: Option<IpVersion>| {
            part(&|owner| match owner {
                Owner::Tables(index) => versions.get(index) == Some(&version),
                Owner::Nobody | Owner::Sets => false,
            })
        };
        Self {
            v4: tables(Some(IpVersion::V4)),
            v6: tables(Some(IpVersion::V6)),
            unclear: tables(None),
            sets: part(&|owner| owner == Owner::Sets),
        }
    }

    /// The index of the file, and the line there, of a line of a part.
    pub fn place(texts: &[&str], line: usize) -> Option<(usize, usize)> {
        let mut line = line;
        for (index, text) in texts.iter().enumerate() {
            let lines = text.lines().count();
            // Also what is missing behind the last line of all.
            if line <= lines || index + 1 == texts.len() {
                return Some((index, line));
            }
            line -= lines;
        }
        None
    }

    /// The tables of one family, as far as that is known.
    pub fn tables(&self, version: IpVersion) -> Option<&str> {
        match version {
            IpVersion::V4 => self.v4.as_deref(),
            IpVersion::V6 => self.v6.as_deref(),
        }
    }
}

/// Reads line by line.
#[derive(Default)]
struct Sorter<'t> {
    tables: Vec<Tables<'t>>,
    set_families: BTreeMap<&'t str, IpVersion>,
    heading: Option<IpVersion>,
    in_table: bool,
}

impl<'t> Sorter<'t> {
    /// A new file, of which none before says anything.
    fn begin(&mut self, version: Option<IpVersion>) {
        self.heading = version;
        self.in_table = false;
        self.tables.push(Tables { version, ..Tables::default() });
    }

    fn owner(&mut self, line: &'t str) -> Owner {
        if let Some(comment) = line.strip_prefix('#') {
            return self.comment(comment.trim());
        }
        if line.is_empty() {
            return Owner::Nobody;
        }
        if let Some(name) = line.strip_prefix('*') {
            self.in_table = true;
            return self.table(name);
        }
        if !self.in_table && is_set_line(line) {
            self.note_set(line);
            return Owner::Sets;
        }
        if line == "COMMIT" {
            self.in_table = false;
        }
        let index = self.current();
        if let Some(tables) = self.tables.get_mut(index) {
            tables.evidence.note(line);
        }
        Owner::Tables(index)
    }

    fn comment(&mut self, comment: &str) -> Owner {
        if let Some(version) = heading(comment) {
            if self.heading != Some(version) {
                self.tables.push(Tables { version: Some(version), ..Tables::default() });
            }
            self.heading = Some(version);
        }
        // It may say that something isn't shown.
        if comment.starts_with("Table ") { Owner::Tables(self.current()) } else { Owner::Nobody }
    }

    fn table(&mut self, name: &'t str) -> Owner {
        let index = self.current();
        let Some(tables) = self.tables.get_mut(index) else { return Owner::Nobody };
        if tables.names.insert(name) || tables.version.is_some() {
            return Owner::Tables(index);
        }
        // Without headings, only the other family can have such a table once more.
        self.tables.push(Tables { names: BTreeSet::from([name]), ..Tables::default() });
        Owner::Tables(index + 1)
    }

    /// The index of the last tables.
    fn current(&self) -> usize {
        self.tables.len().saturating_sub(1)
    }

    fn note_set(&mut self, line: &'t str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["create", name, set_type, options @ ..] = words.as_slice()
            && let Some(version) = family(set_type, options.iter())
        {
            self.set_families.insert(name, version);
        }
    }
}

/// `Generated by ip6tables-save v1.8.9 on …`, `iptables-restore --noflush`
fn heading(comment: &str) -> Option<IpVersion> {
    let mut words = comment.strip_prefix("Generated by ").unwrap_or(comment).split_whitespace();
    let tool = words.next()?;
    let tool = tool.strip_suffix("-save").or_else(|| tool.strip_suffix("-restore"))?;
    match tool.strip_suffix("-legacy").or_else(|| tool.strip_suffix("-nft")).unwrap_or(tool) {
        "iptables" => Some(IpVersion::V4),
        "ip6tables" => Some(IpVersion::V6),
        _ => None,
    }
}

fn is_set_line(line: &str) -> bool {
    let command = line.split_whitespace().next().unwrap_or_default();
    matches!(command, "create" | "add" | "COMMIT")
}

impl Tables<'_> {
    fn version(&self, set_families: &BTreeMap<&str, IpVersion>) -> Option<IpVersion> {
        let Self { version, names: _, evidence: Evidence { v4, v6, sets } } = self;
        let of_sets = |version| sets.iter().any(|name| set_families.get(&**name) == Some(&version));
        version.or(match (*v4 || of_sets(IpVersion::V4), *v6 || of_sets(IpVersion::V6)) {
            (true, false) => Some(IpVersion::V4),
            (false, true) => Some(IpVersion::V6),
            (true, true) | (false, false) => None,
        })
    }
}

impl<'t> Evidence<'t> {
    fn note(&mut self, rule: &'t str) {
        let Ok(words) = words(rule) else { return };
        let behind = words.iter().skip(1);
        for (option, value) in words.iter().zip(behind).filter(|(option, _)| option.is_option()) {
            match option.raw {
                "-s" | "-d" | "--source" | "--destination" | "--src" | "--dst" | "--to-source"
                | "--to-destination" => self.note_address(&value.text),
                "--match-set" => self.sets.push(value.text.clone()),
                "--icmp-type" => self.v4 = true,
                "--icmpv6-type" => self.v6 = true,
                "--reject-with" => {
                    self.v4 |= value.text.starts_with("icmp-");
                    self.v6 |= value.text.starts_with("icmp6-");
                }
                _ => {}
            }
        }
    }

    fn note_address(&mut self, text: &str) {
        let bare = text.split(['/', ',', '-']).next().unwrap_or_default();
        let unbracketed = bare.strip_prefix('[').and_then(|text| text.split(']').next());
        let without_port = bare.split(':').next().unwrap_or_default();
        self.v4 |= address(IpVersion::V4, without_port).is_some();
        self.v6 |= address(IpVersion::V6, unbracketed.unwrap_or(bare)).is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        for (text, v4, v6, unclear, sets) in [
            ("", "", "", "", ""),
            ("# Generated by iptables-save v1.8.9\n*raw\nCOMMIT\n# Completed", "2-3", "", "", ""),
            ("# Generated by ip6tables-save v1.8.9\n*raw\nCOMMIT", "", "2-3", "", ""),
            (
                "# ip6tables-restore --noflush\n*raw\nCOMMIT\n# iptables-restore --noflush\n*raw\nCOMMIT\n*nat\nCOMMIT",
                "5-8",
                "2-3",
                "",
                "",
            ),
            (
                "# ipset restore\ncreate a hash:net\nadd a 1.1.1.1\nCOMMIT\n# iptables-restore --noflush\n*raw\n-A OUTPUT\nCOMMIT",
                "6-8",
                "",
                "",
                "2-4",
            ),
            ("*raw\nCOMMIT", "", "", "1-2", ""),
            ("*raw\n-A OUTPUT -d 10.0.0.0/8 -j DROP\nCOMMIT\n*nat\nCOMMIT", "1-5", "", "", ""),
            (
                "*raw\n-A OUTPUT ! -s fd00::/8\nCOMMIT\n*raw\n-A OUTPUT -m icmp --icmp-type 8\nCOMMIT",
                "4-6",
                "1-3",
                "",
                "",
            ),
            ("*raw\n-A OUTPUT -j REJECT --reject-with icmp6-port-unreachable\nCOMMIT", "", "1-3", "", ""),
            ("*nat\n-A OUTPUT -j DNAT --to-destination [fd00::1]:80\nCOMMIT", "", "1-3", "", ""),
            ("*nat\n-A OUTPUT -j DNAT --to-destination 10.0.0.1:80-90\nCOMMIT", "1-3", "", "", ""),
            ("*raw\n-A OUTPUT -s fd00::1 -d 10.0.0.1\nCOMMIT", "", "", "1-3", ""),
            ("*raw\n-A OUTPUT -m comment --comment \"-s 10.0.0.1\"\nCOMMIT", "", "", "1-3", ""),
            (
                "*raw\n-A OUTPUT -m set --match-set a src\nCOMMIT\ncreate a hash:net family inet6",
                "",
                "1-3",
                "",
                "4-4",
            ),
            ("*raw\n-A OUTPUT -m set --match-set a src\nCOMMIT\ncreate a hash:net", "1-3", "", "", "4-4"),
            ("# ip6tables-save\n# Table `raw' is incompatible, use 'nft' tool.", "", "2-2", "", ""),
            ("nonsense", "", "", "1-1", ""),
        ] {
            let mixture = Mixture::of(&[text]);
            let found = [&mixture.v4, &mixture.v6, &mixture.unclear, &mixture.sets];
            let found = found.map(|part| part.as_deref().map_or(String::new(), |part| lines_of(text, part)));
            assert_eq!(found, [v4, v6, unclear, sets], "{text}");
        }
    }

    #[test]
    fn files_are_told_apart() {
        let texts = [
            "# Generated by ip6tables-save v1.8.9\n*raw\nCOMMIT\n",
            "*raw\n-A OUTPUT -d 10.0.0.1",
            "*raw\nCOMMIT\n",
            "create a hash:net",
        ];
        let Mixture { v4, v6, unclear, sets } = Mixture::of(&texts);
        let whole = texts.map(str::trim_end).join("\n");
        let found = [v4, v6, unclear, sets].map(|part| lines_of(&whole, &part.unwrap()));
        assert_eq!(found, ["4-5", "2-3", "6-7", "8-8"]);
        for (line, place) in [(1, (0, 1)), (3, (0, 3)), (4, (1, 1)), (7, (2, 2)), (8, (3, 1)), (9, (3, 2))] {
            assert_eq!(Mixture::place(&texts, line), Some(place));
        }
        assert_eq!(Mixture::place(&[], 1), None);
    }

    /// The first and last line that is not empty; all lines stand where they stood.
    fn lines_of(whole: &str, part: &str) -> String {
        assert_eq!(whole.lines().count(), part.lines().count());
        let numbered = || (1..).zip(whole.lines().zip(part.lines()));
        assert!(numbered().all(|(_, (whole, part))| part.is_empty() || part == whole));
        let mut numbers =
            numbered().filter(|(_, (_, part))| !part.is_empty()).map(|(number, _): (usize, _)| number);
        let first = numbers.next().unwrap();
        format!("{first}-{}", numbers.last().unwrap_or(first))
    }
}
