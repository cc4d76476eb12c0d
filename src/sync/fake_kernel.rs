//! A kernel for tests: carries out the texts of a plan as the real tools would, and refuses what they refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Plan, Programmed, Step};
use crate::model::IpVersion;
use crate::rules::ruleset::TableName;

#[derive(Clone, Default)]
pub(super) struct FakeKernel {
    tables: BTreeMap<(IpVersion, TableName), Chains>,
    /// Header and members, by name.
    sets: BTreeMap<String, (String, BTreeSet<String>)>,
}

/// The text of each rule behind the chain's name.
type Chains = BTreeMap<String, Vec<String>>;

const BUILT_IN: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

impl FakeKernel {
    /// A kernel on which others, or an earlier life, already ran these texts.
    pub(super) fn with(version: IpVersion, table: TableName, restore: &str, sets: &str) -> Self {
        let mut kernel = Self::default();
        kernel.restore_sets(sets);
        kernel.restore_table(version, table, restore);
        kernel
    }

    pub(super) fn run(&mut self, plan: &Plan) {
        plan.steps().for_each(|step| self.run_step(step));
    }

    pub(super) fn run_step(&mut self, step: &Step) {
        match step {
            Step::Sets(changes) => self.restore_sets(&changes.text()),
            Step::Table(changes) => {
                self.restore_table(changes.version(), changes.table(), &changes.text());
            }
            Step::RemoveSets(removals) => self.restore_sets(&removals.text()),
        }
    }

    pub(super) fn read_back(&self) -> Programmed {
        let mut programmed = Programmed::default();
        for (version, table) in self.tables.keys() {
            programmed.read_table(*version, *table, &self.save_table(*version, *table)).unwrap();
        }
        programmed.read_sets(&self.save_sets()).unwrap();
        programmed
    }

    pub(super) fn save_table(&self, version: IpVersion, table: TableName) -> String {
        let mut out = format!("# Generated\n*{}\n", table.name());
        let empty = Chains::new();
        let chains = self.tables.get(&(version, table)).unwrap_or(&empty);
        for chain in chains.keys() {
            writeln!(out, ":{chain} - [0:0]").unwrap();
        }
        for (chain, rules) in chains {
            for rule in rules {
                writeln!(out, "-A {chain} {}", rule.replace("--jump", "-j")).unwrap();
            }
        }
        out + "COMMIT\n# Completed\n"
    }

    pub(super) fn save_sets(&self) -> String {
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

    fn restore_table(&mut self, version: IpVersion, table: TableName, text: &str) {
        let mut chains = self.tables.get(&(version, table)).cloned().unwrap_or_default();
        for chain in BUILT_IN {
            chains.entry(chain.to_owned()).or_default();
        }
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(&*format!("*{}", table.name())));
        assert_eq!(lines.next_back(), Some("COMMIT"));
        for line in lines {
            restore_rule(&mut chains, line);
        }
        self.assert_whole(&chains);
        self.tables.insert((version, table), chains);
    }

    /// Every jump leads to a chain, every set is there.
    fn assert_whole(&self, chains: &Chains) {
        for rule in chains.values().flatten() {
            if let Some(target) = jump_target(rule).filter(|target| target.contains('-')) {
                assert!(chains.contains_key(target), "{rule}: no such chain");
            }
            if let Some(set) = named_set(rule) {
                assert!(self.sets.contains_key(set), "{rule}: no such set");
            }
        }
    }

    fn restore_sets(&mut self, text: &str) {
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["create", name, ..] => {
                    let header = words[2..].join(" ");
                    let before = self.sets.insert(name.to_owned(), (header, BTreeSet::new()));
                    assert!(before.is_none(), "{line}: exists");
                }
                ["add", name, member] => {
                    assert!(self.members(name).insert(member.to_owned()), "{line}: exists");
                }
                ["del", name, member, "--exist"] => drop(self.members(name).remove(member)),
                ["swap", one, other] => self.swap(one, other),
                ["destroy", name] => {
                    assert!(!self.is_named(name), "{line}: in use");
                    assert!(self.sets.remove(name).is_some(), "{line}: no such set");
                }
                ["COMMIT"] => {}
                _ => panic!("{line}"),
            }
        }
    }

    fn members(&mut self, name: &str) -> &mut BTreeSet<String> {
        &mut self.sets.get_mut(name).expect("no such set").1
    }

    fn swap(&mut self, one: &str, other: &str) {
        let (a, b) = (self.sets[one].clone(), self.sets[other].clone());
        let kind = |header: &str| header.split(' ').take(3).collect::<Vec<_>>().join(" ");
        assert_eq!(kind(&a.0), kind(&b.0), "swap {one} {other}: their type does not match");
        self.sets.insert(one.to_owned(), b);
        self.sets.insert(other.to_owned(), a);
    }

    fn is_named(&self, set: &str) -> bool {
        self.tables.values().flat_map(BTreeMap::values).flatten().any(|rule| named_set(rule) == Some(set))
    }
}

fn restore_rule(chains: &mut Chains, line: &str) {
    if let Some(chain) = line.strip_prefix(':') {
        chains.insert(chain.strip_suffix(" - -").expect(line).to_owned(), Vec::new());
        return;
    }
    let (command, rest) = line.split_once(' ').expect(line);
    let (chain, rule) = rest.split_once(' ').unwrap_or((rest, ""));
    let rules = chains.get_mut(chain).unwrap_or_else(|| panic!("{line}: no such chain"));
    match command {
        "-A" => rules.push(rule.to_owned()),
        "-I" => rules.insert(0, rule.to_owned()),
        "-D" => {
            let same = |there: &String| there.replace("--jump", "-j") == rule.replace("--jump", "-j");
            let index = rules.iter().position(same).unwrap_or_else(|| panic!("{line}: no such rule"));
            rules.remove(index);
        }
        "--delete-chain" => {
            assert!(rules.is_empty(), "{line}: not empty");
            let named = |rule: &String| jump_target(rule) == Some(chain);
            assert!(!chains.values().flatten().any(named), "{line}: in use");
            chains.remove(chain);
        }
        _ => panic!("{line}"),
    }
}

fn jump_target(rule: &str) -> Option<&str> {
    word_behind(rule, "--jump").or_else(|| word_behind(rule, "-j"))
}

fn named_set(rule: &str) -> Option<&str> {
    word_behind(rule, "--match-set")
}

fn word_behind<'a>(rule: &'a str, option: &str) -> Option<&'a str> {
    rule.split(' ').skip_while(|word| *word != option).nth(1)
}
