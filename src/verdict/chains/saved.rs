//! What `iptables-save` and `ipset save` print, or `iptables-restore` and `ipset restore` take, as a [`Program`].

mod error;
mod literals;
mod matches;
mod mixture;
mod rule;
mod sets;
mod tables;
mod targets;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use error::{Input, Problem, SavedError};
pub use mixture::Mixture;
use rule::Parts;
use sets::SetTexts;
use tables::{ChainText, RuleText, Tables};

use super::program::{Chain, ChainNumber, Members, Program, Rule, Set, SetNumber, Table};
use crate::model::IpVersion;

/// A program that was read from texts.
///
/// 1. *Nothing is dropped, and nothing taken for true*: a match or target that isn't modelled stays in its rule, as it
///    is written, for the machine to part the way there.
/// 2. *A text that isn't whole is refused*: a table without its end, a chain that nobody declared, a line that is no rule.
///    Half of a firewall answers nothing.
/// 3. *What the kernel prints reads like what it was given*: our own texts, before and behind the kernel, are one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub program: Program,
    /// What the program has no use for; of each of its chains, each rule.
    pub rules: Vec<Vec<SavedRule>>,
}

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedRule {
    /// What stands behind the chain's name.
    pub text: Box<str>,
    pub comments: Vec<Box<str>>,
    /// Our mark: what follows `cali:` in the first such comment.
    pub id: Option<Box<str>>,
    pub counters: Option<Counters>,
    /// Of the text, from 1.
    pub line: usize,
}

/// What has met a rule so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    pub packets: u64,
    pub bytes: u64,
}

/// Reads the tables of one family, and the sets; without them, what is in a set isn't known.
///
/// # Errors
/// Where a text isn't whole or has a line that can't be read.
pub fn parse(version: IpVersion, tables: &str, sets: Option<&str>) -> Result<Saved, SavedError> {
    let tables = Tables::read(tables)?;
    let SetTexts { sets, elsewhere } = match sets {
        Some(text) => SetTexts::read(version, text)?,
        None => SetTexts { sets: named_sets(&tables)?, elsewhere: BTreeSet::new() },
    };
    let names = Names {
        version,
        chains: numbered(tables.chains.keys().copied(), ChainNumber),
        sets: numbered(sets.iter().map(|set| &*set.name), SetNumber),
        elsewhere: &elsewhere,
    };
    let mut chains = Vec::with_capacity(tables.chains.len());
    let mut saved_rules = Vec::with_capacity(tables.chains.len());
    for ((table, name), ChainText { policy, rules }) in &tables.chains {
        let read = rules.iter().map(|rule| names.rule(*table, rule));
        let (rules, saved): (Vec<_>, Vec<_>) = read.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        chains.push(Chain { table: *table, name: Arc::from(*name), policy: *policy, rules });
        saved_rules.push(saved);
    }
    Ok(Saved { program: Program { version, chains, sets }, rules: saved_rules })
}

/// All sets that rules match by, without their members.
fn named_sets(tables: &Tables) -> Result<Vec<Set>, SavedError> {
    let mut names = BTreeSet::new();
    for rule in tables.chains.values().flat_map(|chain| &chain.rules) {
        names.extend(Parts::read(rule)?.sets().map(str::to_owned));
    }
    Ok(names.iter().map(|name| not_given(name)).collect())
}

fn numbered<K: Ord, N>(keys: impl Iterator<Item = K>, number: fn(usize) -> N) -> BTreeMap<K, N> {
    keys.enumerate().map(|(index, key)| (key, number(index))).collect()
}

fn not_given(name: &str) -> Set {
    Set {
        name: name.into(),
        members: Members::Unknown(format!("the members of the set {name} are not given").into()),
    }
}

/// What a rule's words may name.
struct Names<'a> {
    version: IpVersion,
    chains: BTreeMap<(Table, &'a str), ChainNumber>,
    sets: BTreeMap<&'a str, SetNumber>,
    /// Names of sets of the other family.
    elsewhere: &'a BTreeSet<String>,
}

impl Names<'_> {
    fn rule(&self, table: Table, written: &RuleText) -> Result<(Rule, SavedRule), SavedError> {
        let parts = Parts::read(written)?;
        let comments: Vec<Box<str>> = parts.comments().map(Box::from).collect();
        let id = comments.iter().find_map(|comment| {
            comment.strip_prefix("cali:").filter(|id| id.starts_with(is_id_character)).map(Box::from)
        });
        let RuleText { line, counters, text } = written;
        let counters = counters.or(parts.counters);
        let rule = Rule::new(matches::conditions(self, &parts), targets::action(self, table, &parts));
        Ok((rule, SavedRule { text: (*text).into(), comments, id, counters, line: *line }))
    }
}

fn is_id_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

#[cfg(test)]
mod tests;
