//! A kernel for tests: carries out the texts of a plan as the real tools would, and refuses what they refuse.
//!
//! `sync`'s own tests let no refusal pass; those of the enforcer get it as the tool's complaint.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Plan, Programmed, Step};
use crate::model::IpVersion;
use crate::rules::ruleset::TableName;

#[derive(Clone, Default)]
pub(crate) struct FakeKernel {
    tables: BTreeMap<(IpVersion, TableName), Chains>,
    /// Header and members, by name.
    sets: BTreeMap<String, (String, BTreeSet<String>)>,
}

/// The text of each rule behind the chain's name.
type Chains = BTreeMap<String, Vec<String>>;

/// What the tool says where it refuses: the line, and why.
pub(crate) type Refusal = String;

const BUILT_IN: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

impl FakeKernel {
    /// A kernel on which others, or an earlier life, already ran these texts.
    pub(crate) fn with(version: IpVersion, table: TableName, restore: &str, sets: &str) -> Self {
        let mut kernel = Self::default();
        kernel.restore_sets(sets).unwrap();
        kernel.restore_table(version, table, restore).unwrap();
        kernel
    }

    pub(crate) fn run(&mut self, plan: &Plan) {
        plan.steps().for_each(|step| self.run_step(step));
    }

    pub(crate) fn run_step(&mut self, step: &Step) {
        match step {
            Step::Sets(changes) | Step::RemoveMembers(_, changes) => self.restore_sets(&changes.text()),
            Step::Table(changes) => self.restore_table(changes.version(), changes.table(), &changes.text()),
            Step::RemoveSets(removals) => self.restore_sets(&removals.text()),
        }
        .unwrap();
    }

    pub(crate) fn read_back(&self) -> Programmed {
        let mut programmed = Programmed::default();
        for (version, table) in self.tables.keys() {
            programmed.read_table(*version, *table, &self.save_table(*version, *table)).unwrap();
        }
        programmed.read_sets(&self.save_sets()).unwrap();
        programmed
    }

    pub(crate) fn save_table(&self, version: IpVersion, table: TableName) -> String {
        let mut out = format!("# Generated\n*{}\n", table.name());
        let empty = Chains::new();
        let chains = self.tables.get(&(version, table)).unwrap_or(&empty);
        for chain in chains.keys() {
            writeln!(out, ":{chain} - [0:0]").unwrap();
        }
        for (chain, rules) in chains {
            for rule in rules {
                writeln!(out, "-A {chain} {}", as_saved(rule)).unwrap();
            }
        }
        out + "COMMIT\n# Completed\n"
    }

    pub(crate) fn save_sets(&self) -> String {
        let mut out = String::new();
        for (name, (header, members)) in &self.sets {
            writeln!(out, "create {name} {header} hashsize 1024 bucketsize 12 initval 0x1").unwrap();
            // Not in our order.
            for member in members.iter().rev() {
                writeln!(out, "add {name} {member}").unwrap();
            }
        }
        out
    }

    /// The rules of a chain as they were written; None where there is no such chain.
    pub(crate) fn rules(&self, version: IpVersion, table: TableName, chain: &str) -> Option<&[String]> {
        self.tables.get(&(version, table))?.get(chain).map(Vec::as_slice)
    }

    /// All or nothing.
    pub(crate) fn restore_table(
        &mut self,
        version: IpVersion,
        table: TableName,
        text: &str,
    ) -> Result<(), Refusal> {
        let mut chains = self.tables.get(&(version, table)).cloned().unwrap_or_default();
        for chain in BUILT_IN {
            chains.entry(chain.to_owned()).or_default();
        }
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(&*format!("*{}", table.name())));
        assert_eq!(lines.next_back(), Some("COMMIT"));
        for line in lines {
            restore_rule(&mut chains, line)?;
        }
        self.check_whole(&chains)?;
        self.tables.insert((version, table), chains);
        Ok(())
    }

    /// Every jump leads to a chain, every set is there.
    fn check_whole(&self, chains: &Chains) -> Result<(), Refusal> {
        for rule in chains.values().flatten() {
            if let Some(target) = jump_target(rule).filter(|target| target.contains('-')) {
                ensure(chains.contains_key(target), rule, "no such chain")?;
            }
            if let Some(set) = named_set(rule) {
                ensure(self.sets.contains_key(set), rule, "no such set")?;
            }
        }
        Ok(())
    }

    /// Line by line, up to one that is refused.
    pub(crate) fn restore_sets(&mut self, text: &str) -> Result<(), Refusal> {
        text.lines().try_for_each(|line| self.restore_set(line))
    }

    fn restore_set(&mut self, line: &str) -> Result<(), Refusal> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["create", name, ..] => {
                ensure(!self.sets.contains_key(name), line, "exists")?;
                let header = words[2..].join(" ");
                self.sets.insert(name.to_owned(), (header, BTreeSet::new()));
                Ok(())
            }
            ["add", name, member] => {
                let is_new = self.members(name, line)?.insert(member.to_owned());
                ensure(is_new, line, "exists")
            }
            ["del", name, member, "--exist"] => self.members(name, line).map(|members| {
                members.remove(member);
            }),
            ["swap", one, other] => self.swap(one, other, line),
            ["destroy", name] => {
                ensure(!self.is_named(name), line, "in use")?;
                let before = self.sets.remove(name);
                ensure(before.is_some(), line, "The set with the given name does not exist")
            }
            ["COMMIT"] => Ok(()),
            _ => panic!("{line}"),
        }
    }

    fn members(&mut self, name: &str, line: &str) -> Result<&mut BTreeSet<String>, Refusal> {
        let set = self.sets.get_mut(name);
        set.map(|(_, members)| members)
            .ok_or_else(|| format!("{line}: The set with the given name does not exist"))
    }

    fn swap(&mut self, one: &str, other: &str, line: &str) -> Result<(), Refusal> {
        for name in [one, other] {
            self.members(name, line)?;
        }
        let (a, b) = (self.sets[one].clone(), self.sets[other].clone());
        let kind = |header: &str| header.split(' ').take(3).collect::<Vec<_>>().join(" ");
        ensure(kind(&a.0) == kind(&b.0), line, "their type does not match")?;
        self.sets.insert(one.to_owned(), b);
        self.sets.insert(other.to_owned(), a);
        Ok(())
    }

    fn is_named(&self, set: &str) -> bool {
        self.tables.values().flat_map(BTreeMap::values).flatten().any(|rule| named_set(rule) == Some(set))
    }
}

fn ensure(holds: bool, line: &str, complaint: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(format!("{line}: {complaint}")) }
}

fn restore_rule(chains: &mut Chains, line: &str) -> Result<(), Refusal> {
    if let Some(chain) = line.strip_prefix(':') {
        chains.insert(chain.strip_suffix(" - -").expect(line).to_owned(), Vec::new());
        return Ok(());
    }
    let (command, rest) = line.split_once(' ').expect(line);
    let (chain, rule) = rest.split_once(' ').unwrap_or((rest, ""));
    let rules = chains.get_mut(chain).ok_or_else(|| format!("{line}: no such chain"))?;
    match command {
        "-A" => rules.push(rule.to_owned()),
        "-I" => rules.insert(0, rule.to_owned()),
        "-D" => {
            let same = |there: &String| as_saved(there) == as_saved(rule);
            let index = rules.iter().position(same).ok_or_else(|| format!("{line}: no such rule"))?;
            rules.remove(index);
        }
        "--delete-chain" => {
            ensure(rules.is_empty(), line, "not empty")?;
            let named = |rule: &String| jump_target(rule) == Some(chain);
            ensure(!chains.values().flatten().any(named), line, "in use")?;
            chains.remove(chain);
        }
        _ => panic!("{line}"),
    }
    Ok(())
}

fn as_saved(rule: &str) -> String {
    rule.replace("--jump", "-j").replace("--goto", "-g")
}

fn jump_target(rule: &str) -> Option<&str> {
    ["--jump", "-j", "--goto", "-g"].into_iter().find_map(|option| word_behind(rule, option))
}

fn named_set(rule: &str) -> Option<&str> {
    word_behind(rule, "--match-set")
}

fn word_behind<'a>(rule: &'a str, option: &str) -> Option<&'a str> {
    rule.split(' ').skip_while(|word| *word != option).nth(1)
}
