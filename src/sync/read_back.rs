//! The output of `iptables-save` and `ipset save`, read as far as it concerns us (reference §8.3, §9).

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::ownership::{is_old_rule, is_our_chain, rule_id, set_family};
use super::programmed::{Entry, OurRule, Programmed, ProgrammedTable};
use super::sets::{ProgrammedSet, ReadSet};
use crate::model::IpVersion;
use crate::policy::{Member, TransportProtocol};
use crate::rules::hash::RuleHash;
use crate::rules::ruleset::{SetType, TableName};

/// What the kernel has can't be told from the output of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadBackError {
    /// `iptables-nft-save` can't show the table: `nft` wrote to it.
    Incompatible { line: String },
    /// The output is of another table.
    OtherTable { wanted: TableName, line: String },
    /// The output ends within the table.
    Truncated { table: TableName },
    /// A line that is not what the tool writes; from 1.
    Unreadable { number: usize, line: String },
}

impl fmt::Display for ReadBackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incompatible { line } => {
                write!(f, "iptables can't show what nft wrote: {line}")
            }
            Self::OtherTable { wanted, line } => {
                write!(f, "asked for the table {}, got {line}", wanted.name())
            }
            Self::Truncated { table } => write!(f, "the table {} has no end", table.name()),
            Self::Unreadable { number, line } => write!(f, "line {number} can't be read: {line}"),
        }
    }
}

impl std::error::Error for ReadBackError {}

impl Programmed {
    /// Takes over one table from the output of `iptables-save -t <table>` or its IPv6 sibling, legacy or nft.
    ///
    /// # Errors
    /// The output can't be trusted to be the whole table; nothing is taken over.
    pub fn read_table(
        &mut self,
        version: IpVersion,
        table: TableName,
        output: &str,
    ) -> Result<(), ReadBackError> {
        self.tables.insert((version, table), read_table(table, output)?);
        Ok(())
    }

    /// Takes over all sets of ours from the output of `ipset save`. Lines of foreign sets are not read.
    ///
    /// # Errors
    /// A line of a set of ours can't be read; nothing is taken over.
    pub fn read_sets(&mut self, output: &str) -> Result<(), ReadBackError> {
        let mut read = Self::default();
        for (number, line) in (1..).zip(output.lines()) {
            read_set_line(&mut read, line)
                .ok_or_else(|| ReadBackError::Unreadable { number, line: line.to_owned() })?;
        }
        for set in read.sets.values_mut() {
            if let ProgrammedSet::Read(ReadSet { members, .. }) = set {
                members.sort_unstable();
                members.dedup();
            }
        }
        self.sets = read.sets;
        self.written_sets.clear();
        Ok(())
    }
}

fn read_table(table: TableName, output: &str) -> Result<ProgrammedTable, ReadBackError> {
    let mut read = ProgrammedTable::default();
    let mut open = false;
    for (number, line) in (1..).zip(output.lines()) {
        match line.split_once(' ') {
            Some(("-A", rule)) => read_rule(&mut read, table, rule),
            _ if line.starts_with(':') => read_chain(&mut read, line),
            _ if line.starts_with('#') => reject_incompatible(line)?,
            None if line == "COMMIT" => open = false,
            None if line.strip_prefix('*') == Some(table.name()) => open = true,
            _ if line.starts_with('*') => {
                return Err(ReadBackError::OtherTable { wanted: table, line: line.to_owned() });
            }
            _ if line.is_empty() => {}
            _ => return Err(ReadBackError::Unreadable { number, line: line.to_owned() }),
        }
    }
    if open { Err(ReadBackError::Truncated { table }) } else { Ok(read) }
}

fn reject_incompatible(line: &str) -> Result<(), ReadBackError> {
    if line.starts_with("# Table ") && line.contains(" is incompatible, use 'nft' tool.") {
        return Err(ReadBackError::Incompatible { line: line.to_owned() });
    }
    Ok(())
}

/// `:name policy [packets:bytes]`
fn read_chain(read: &mut ProgrammedTable, line: &str) {
    let name = line.trim_start_matches(':').split(' ').next().unwrap_or_default();
    if is_our_chain(name) {
        read.ours.entry(name.into()).or_default();
    } else {
        read.foreign.entry(name.into()).or_default();
    }
}

/// The chain's name and what stands behind it.
fn read_rule(read: &mut ProgrammedTable, table: TableName, line: &str) {
    let (chain, rule) = line.split_once(' ').unwrap_or((line, ""));
    let id = rule_id(rule);
    let hash = id.and_then(RuleHash::parse);
    if is_our_chain(chain) {
        read.ours.entry(chain.into()).or_default().ids.push(hash);
    } else if id.is_some() || is_old_rule(table, chain, rule) {
        read.foreign
            .entry(chain.into())
            .or_default()
            .push(Entry::Ours(OurRule { id: hash, text: rule.into() }));
    } else {
        read.foreign.entry(chain.into()).or_default().push(Entry::Foreign);
    }
}

/// None where a line of a set of ours can't be read.
fn read_set_line(read: &mut Programmed, line: &str) -> Option<()> {
    let mut words = line.split_ascii_whitespace();
    match (words.next(), words.next()) {
        (Some(_), Some(name)) if set_family(name).is_none() => Some(()),
        (Some("create"), Some(name)) => {
            read.sets.insert(name.into(), ProgrammedSet::Read(read_create(words)?));
            Some(())
        }
        (Some("add"), Some(name)) => match read.sets.get_mut(name)? {
            ProgrammedSet::Read(set) => read_add(set, words),
            ProgrammedSet::Written(_) => None,
        },
        (None, _) => Some(()),
        (Some(_), _) => None,
    }
}

/// What stands behind the name: the type, then options. Sizes that the kernel chooses are no difference.
fn read_create<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<ReadSet> {
    let mut set = ReadSet {
        set_type: set_type(words.next()?),
        version: None,
        max_elements: None,
        strange: false,
        members: Vec::new(),
    };
    while let Some(option) = words.next() {
        match option {
            "family" => set.version = family(words.next()?),
            "maxelem" => set.max_elements = words.next()?.parse().ok(),
            "hashsize" | "bucketsize" | "initval" => drop(words.next()?),
            _ => set.strange = true,
        }
    }
    Some(set)
}

/// What stands behind the name: the member, then options.
fn read_add<'a>(set: &mut ReadSet, mut words: impl Iterator<Item = &'a str>) -> Option<()> {
    match member(words.next()?) {
        Some(member) => set.members.push(member),
        None => set.strange = true,
    }
    set.strange |= words.next().is_some();
    Some(())
}

fn set_type(name: &str) -> Option<SetType> {
    [SetType::HashNet, SetType::HashIpPort].into_iter().find(|set_type| set_type.name() == name)
}

fn family(name: &str) -> Option<IpVersion> {
    match name {
        "inet" => Some(IpVersion::V4),
        "inet6" => Some(IpVersion::V6),
        _ => None,
    }
}

fn member(text: &str) -> Option<Member> {
    if let Some((address, port)) = text.split_once(',') {
        let (protocol, port) = port.split_once(':')?;
        return Some(Member::IpPort(
            address.parse().ok()?,
            transport_protocol(protocol)?,
            port.parse().ok()?,
        ));
    }
    let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.ok().map(Member::Net)
}

fn transport_protocol(name: &str) -> Option<TransportProtocol> {
    [TransportProtocol::Tcp, TransportProtocol::Udp, TransportProtocol::Sctp]
        .into_iter()
        .find(|protocol| protocol.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use IpVersion::V4;
    use TableName::{Filter, Nat};

    #[test]
    fn what_is_not_a_whole_table_is_refused() {
        let incompatible = "# Table `filter' is incompatible, use 'nft' tool.";
        let rows: [(&str, Option<ReadBackError>); 8] = [
            ("", None),
            (
                "# Generated by iptables-save v1.8.9\n*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n# Completed\n",
                None,
            ),
            ("# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n", None),
            ("*filter\n-A FORWARD\nCOMMIT\n", None),
            (incompatible, Some(ReadBackError::Incompatible { line: incompatible.to_owned() })),
            ("*nat\nCOMMIT\n", Some(ReadBackError::OtherTable { wanted: Filter, line: "*nat".to_owned() })),
            ("*filter\n:FORWARD ACCEPT [0:0]\n", Some(ReadBackError::Truncated { table: Filter })),
            (
                "*filter\niptables: no\nCOMMIT\n",
                Some(ReadBackError::Unreadable { number: 2, line: "iptables: no".to_owned() }),
            ),
        ];
        for (output, expected) in rows {
            assert_eq!(Programmed::default().read_table(V4, Filter, output).err(), expected, "{output}");
        }
    }

    #[test]
    fn rules_are_sorted_into_ours_and_foreign() {
        let id = "wUHhoiAYhphO9Mso";
        let hash = RuleHash::parse(id);
        assert!(hash.is_some());
        let marked = format!("-m comment --comment \"cali:{id}\" -j cali-FORWARD");
        let entry = |id, text: &str| Entry::Ours(OurRule { id, text: text.into() });
        let rows = [
            (Filter, "FORWARD", marked.as_str(), entry(hash, &marked)),
            (Filter, "mine", marked.as_str(), entry(hash, &marked)),
            (Filter, "FORWARD", "-j felix-FORWARD", entry(None, "-j felix-FORWARD")),
            (
                Filter,
                "FORWARD",
                "-m comment --comment \"cali:old\"",
                entry(None, "-m comment --comment \"cali:old\""),
            ),
            (Filter, "FORWARD", "-j ACCEPT", Entry::Foreign),
            (Nat, "POSTROUTING", "-o tunl0 -j MASQUERADE", Entry::Foreign),
        ];
        for (table, chain, rule, expected) in rows {
            let output = format!("*{}\n-A {chain} {rule}\nCOMMIT\n", table.name());
            let read = read_table(table, &output).unwrap();
            assert_eq!(read.foreign.get(chain), Some(&vec![expected]), "{rule}");
            assert!(read.ours.is_empty(), "{rule}");
        }
    }

    #[test]
    fn members_are_values() {
        for (text, expected) in [
            ("10.0.0.1", Some("Net(10.0.0.1/32)")),
            ("10.0.0.0/8", Some("Net(10.0.0.0/8)")),
            ("fd00::1", Some("Net(fd00::1/128)")),
            ("10.0.0.1,tcp:80", Some("IpPort(10.0.0.1, Tcp, 80)")),
            ("fd00::1,sctp:9", Some("IpPort(fd00::1, Sctp, 9)")),
            ("10.0.0.1,icmp:echo-request", None),
            ("10.0.0.1,eth0", None),
            ("a-host", None),
        ] {
            assert_eq!(member(text).map(|member| format!("{member:?}")).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn lines_of_foreign_sets_are_not_read() {
        let unreadable = |line: &str| Some(ReadBackError::Unreadable { number: 1, line: line.to_owned() });
        for (output, expected) in [
            ("create theirs list:set size 8\nadd theirs what \"ever\"\n\n", None),
            (
                "create cali40s:a hash:net family inet maxelem",
                unreadable("create cali40s:a hash:net family inet maxelem"),
            ),
            ("add cali40s:a 10.0.0.1", unreadable("add cali40s:a 10.0.0.1")),
            ("create", unreadable("create")),
        ] {
            assert_eq!(Programmed::default().read_sets(output).err(), expected, "{output}");
        }
    }
}
