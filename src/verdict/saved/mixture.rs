//! One text that holds what several tools print or take, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use super::literals::address;
use super::sets::family;
use super::words::words;
use crate::model::IpVersion;

/// A text's parts, told apart.
///
/// The line above a part, which `iptables-save` and `felix-rs render` print, says which family it is of. Without one,
/// what only one family has in its rules says so. Each part has as many lines as the whole, those of the others empty,
/// so that a line's number stays what it was.
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
    pub fn of(text: &str) -> Self {
        let mut sorter = Sorter::default();
        let owners: Vec<Owner> = text.lines().map(|line| sorter.owner(line.trim())).collect();
        let Sorter { tables, set_families, heading: _, in_table: _ } = sorter;
        let versions: Vec<Option<IpVersion>> =
            tables.iter().map(|tables| tables.version(&set_families)).collect();
        let part = |wanted: fn(Owner, &[Option<IpVersion>]) -> bool| {
            let mut part = String::new();
            let mut any = false;
            for (line, owner) in text.lines().zip(&owners) {
                if wanted(*owner, &versions) {
                    part.push_str(line);
                    any = true;
                }
                part.push('\n');
            }
            any.then(|| part.into_boxed_str())
        };
        Self {
            v4: part(|owner, versions| version_of(owner, versions) == Some(Some(IpVersion::V4))),
            v6: part(|owner, versions| version_of(owner, versions) == Some(Some(IpVersion::V6))),
            unclear: part(|owner, versions| version_of(owner, versions) == Some(None)),
            sets: part(|owner, _| owner == Owner::Sets),
        }
    }

    /// The tables of one family, as far as that is known.
    pub fn tables(&self, version: IpVersion) -> Option<&str> {
        match version {
            IpVersion::V4 => self.v4.as_deref(),
            IpVersion::V6 => self.v6.as_deref(),
        }
    }
}

/// Of a line of a table: its family, where that is known.
fn version_of(owner: Owner, versions: &[Option<IpVersion>]) -> Option<Option<IpVersion>> {
    match owner {
        Owner::Tables(index) => versions.get(index).copied(),
        Owner::Nobody | Owner::Sets => None,
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

    /// The last tables.
    fn current(&mut self) -> usize {
        if self.tables.is_empty() {
            self.tables.push(Tables::default());
        }
        self.tables.len() - 1
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
            let mixture = Mixture::of(text);
            let found = [&mixture.v4, &mixture.v6, &mixture.unclear, &mixture.sets];
            let found = found.map(|part| part.as_deref().map_or(String::new(), |part| lines_of(text, part)));
            assert_eq!(found, [v4, v6, unclear, sets], "{text}");
        }
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
