//! The changes of one table, as values and as the input of `iptables-restore`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use super::detour::named_set;
use super::programmed::{Entry, OurRule, ProgrammedTable};
use super::{Part, Programmed};
use crate::config::InsertMode;
use crate::model::IpVersion;
use crate::rules::hash::{RuleHash, rule_hashes};
use crate::rules::ruleset::{Chain, ChainName, Hook, Rule, Ruleset, Table, TableName};
use crate::rules::text::push_rule;

/// Bytes of a rule's line, roughly.
const LINE: usize = 160;

/// The changes of one table: one transaction.
///
/// A chain that differs is flushed and written again as a whole. Felix edits rules by number in legacy tables and
/// rewrites chains in nft ones, where it deletes chains in a second transaction. One form serves both: since the
/// transaction is atomic no packet sees the empty chain, and iptables-restore 1.8.9, legacy and nft, takes flushes,
/// rules and deletions together. The price: the chain's counters begin again at 0.
#[derive(Clone, Debug)]
pub struct TableChanges {
    version: IpVersion,
    table: TableName,
    /// Created or rewritten, by name.
    written: Vec<WrittenChain>,
    /// Sorted.
    removed: Vec<Box<str>>,
    /// Lose their rules, and stay.
    emptied: Vec<Box<str>>,
    /// By chain.
    hooks: Vec<HookChange>,
    /// Found as they are to be.
    right: Vec<Arc<Chain>>,
    /// The whole table that is to be there then, and where its hooks stand.
    whole: Option<(Arc<Table>, InsertMode)>,
}

#[derive(Clone, Debug)]
struct WrittenChain {
    chain: Arc<Chain>,
    ids: Vec<RuleHash>,
}

/// All of ours in one foreign chain is removed and put in anew.
#[derive(Clone, Debug)]
struct HookChange {
    chain: Box<str>,
    removed: Vec<Box<str>>,
    wanted: HookRules,
}

/// What is to stand in one foreign chain.
#[derive(Clone, Debug)]
struct HookRules {
    mode: InsertMode,
    rules: Vec<OurRule>,
    appended: Vec<OurRule>,
}

impl TableChanges {
    pub(super) fn between(
        ruleset: &Ruleset,
        table: TableName,
        mode: InsertMode,
        programmed: &Programmed,
    ) -> Self {
        let version = ruleset.version;
        let wanted = ruleset.tables.iter().find(|candidate| candidate.name == table);
        let programmed = programmed.table(version, table);
        let whole = wanted.map(|table| (Arc::clone(table), mode));
        let (written, right) = written_and_right(wanted, programmed);
        Self {
            version,
            table,
            written,
            right,
            removed: removed_chains(wanted, programmed),
            emptied: Vec::new(),
            hooks: hook_changes(wanted, mode, programmed),
            whole,
        }
    }

    pub fn version(&self) -> IpVersion {
        self.version
    }

    pub fn table(&self) -> TableName {
        self.table
    }

    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        let Self { version: _, table: _, written, removed, emptied, hooks, right: _, whole: _ } = self;
        written.is_empty() && removed.is_empty() && emptied.is_empty() && hooks.is_empty()
    }

    /// The input of `iptables-restore --noflush`.
    pub fn text(&self) -> String {
        let rules: usize = self.written.iter().map(|written| written.ids.len() + 1).sum();
        let mut out = String::with_capacity(rules * LINE);
        push_line(&mut out, &["*", self.table.name()]);
        self.push_declarations(&mut out);
        self.written.iter().for_each(|written| written.push_rules(&mut out));
        self.hooks.iter().for_each(|hook| hook.push_rules(&mut out));
        self.removed.iter().for_each(|chain| push_line(&mut out, &["--delete-chain ", chain]));
        out.push_str("COMMIT\n");
        out
    }

    /// What can be written apart from the rest, in an order in which each part can follow those before it: a chain
    /// behind those that it leads to, then the kernel's chains, then what is removed.
    pub fn parts(&self) -> Vec<Part> {
        let Self { version, table, written, removed, emptied: _, hooks, right: _, whole: _ } = self;
        let mut order = CalleesFirst { written, done: BTreeSet::new(), order: Vec::new() };
        written.iter().for_each(|written| order.visit(&written.chain));
        let chains = order.order.into_iter().map(|name| Part::Chain(*version, *table, name));
        let hooks = hooks.iter().map(|hook| Part::Hook(*version, *table, hook.chain.clone()));
        let removed = removed.iter().map(|name| Part::Removal(*version, *table, name.clone()));
        chains.chain(hooks).chain(removed).collect()
    }

    /// Only these of the [`TableChanges::parts`].
    #[must_use]
    pub fn only(&self, parts: &[Part]) -> Self {
        let Self { version, table, written, removed, emptied: _, hooks, right: _, whole: _ } = self;
        let parts: BTreeSet<&Part> = parts.iter().collect();
        let chosen = |part| parts.contains(&part);
        let written = written
            .iter()
            .filter(|written| chosen(Part::Chain(*version, *table, written.chain.name.clone())));
        let hooks = hooks.iter().filter(|hook| chosen(Part::Hook(*version, *table, hook.chain.clone())));
        let removed = removed.iter().filter(|name| chosen(Part::Removal(*version, *table, (*name).clone())));
        Self {
            written: written.cloned().collect(),
            removed: removed.cloned().collect(),
            hooks: hooks.cloned().collect(),
            ..self.nothing()
        }
    }

    /// Only takes their rules from the chains that are to be removed: then none of them leads to another.
    #[must_use]
    pub fn emptying(&self) -> Self {
        Self { emptied: self.removed.clone(), ..self.nothing() }
    }

    /// Writes this chain, and nothing else.
    #[must_use]
    pub fn instead(&self, chain: &Arc<Chain>) -> Self {
        let ids = rule_hashes(chain.name.as_str(), &chain.rules);
        Self { written: vec![WrittenChain { chain: Arc::clone(chain), ids }], ..self.nothing() }
    }

    /// A chain that is written matches by a set that is not there.
    pub fn lacks_a_set(&self, programmed: &Programmed) -> bool {
        let rules = self.written.iter().flat_map(|written| &written.chain.rules);
        let mut sets = rules.flat_map(|rule| &rule.matches).filter_map(|m| named_set(&m.criterion));
        sets.any(|set| !programmed.sets.contains_key(set.as_str()))
    }

    fn nothing(&self) -> Self {
        Self {
            version: self.version,
            table: self.table,
            written: Vec::new(),
            removed: Vec::new(),
            emptied: Vec::new(),
            hooks: Vec::new(),
            right: Vec::new(),
            whole: None,
        }
    }

    /// The chain that is written for a part.
    pub fn chain(&self, name: &ChainName) -> Option<&Arc<Chain>> {
        self.written.iter().map(|written| &written.chain).find(|chain| chain.name == *name)
    }

    pub(super) fn apply(&self, programmed: &mut Programmed) {
        let table = programmed.tables.entry((self.version, self.table)).or_default();
        self.removed.iter().for_each(|chain| table.remove(chain));
        for WrittenChain { chain, ids } in &self.written {
            table.put(chain, ids.iter().copied().map(Some).collect());
        }
        self.right.iter().for_each(|chain| table.recognise(chain));
        for hook in &self.hooks {
            table.hooked = None;
            hook.apply(table.foreign.entry(hook.chain.clone()).or_default());
        }
        if let Some((whole, mode)) = &self.whole {
            table.remember_chains(&whole.chains);
            // Of the hooks too, these may be some of the changes only.
            if table.hooked.is_none() && hook_changes(Some(whole), *mode, table).is_empty() {
                table.hooked = Some((whole.hooks.clone(), *mode));
            }
        }
    }

    /// Creates chains and empties the others, also those to be deleted: then none of these jumps to another.
    fn push_declarations(&self, out: &mut String) {
        let written = self.written.iter().map(|written| written.chain.name.as_str());
        let chains: BTreeSet<&str> =
            written.chain(self.removed.iter().chain(&self.emptied).map(|chain| &**chain)).collect();
        chains.into_iter().for_each(|chain| push_line(out, &[":", chain, " - -"]));
    }
}

/// Chains that are written, ordered by what leads where.
struct CalleesFirst<'a> {
    written: &'a [WrittenChain],
    done: BTreeSet<&'a ChainName>,
    order: Vec<ChainName>,
}

impl<'a> CalleesFirst<'a> {
    /// Chains lead to each other without circles, and not deeper than dispatch, endpoint, group and policy.
    fn visit(&mut self, chain: &'a Arc<Chain>) {
        if !self.done.insert(&chain.name) {
            return;
        }
        let targets = chain.rules.iter().filter_map(|rule| rule.target.as_ref()?.chain());
        for target in targets {
            if let Ok(at) = self.written.binary_search_by(|written| written.chain.name.cmp(target))
                && let Some(written) = self.written.get(at)
            {
                self.visit(&written.chain);
            }
        }
        self.order.push(chain.name.clone());
    }
}

impl WrittenChain {
    fn push_rules(&self, out: &mut String) {
        for (id, rule) in self.ids.iter().zip(&self.chain.rules) {
            out.push_str("-A ");
            out.push_str(self.chain.name.as_str());
            out.push(' ');
            push_marked(out, *id, rule);
            out.push('\n');
        }
    }
}

impl HookChange {
    fn push_rules(&self, out: &mut String) {
        let Self { chain, removed, wanted: HookRules { mode, rules, appended } } = self;
        removed.iter().for_each(|rule| push_line(out, &["-D ", chain, " ", rule]));
        match mode {
            // The last one inserted is the first.
            InsertMode::Insert => {
                rules.iter().rev().for_each(|rule| push_line(out, &["-I ", chain, " ", &rule.text]));
            }
            InsertMode::Append => {
                rules.iter().for_each(|rule| push_line(out, &["-A ", chain, " ", &rule.text]));
            }
        }
        appended.iter().for_each(|rule| push_line(out, &["-A ", chain, " ", &rule.text]));
    }

    fn apply(&self, entries: &mut Vec<Entry>) {
        let foreign = entries.iter().filter(|entry| entry.ours().is_none()).count();
        *entries = self
            .wanted
            .among(foreign)
            .map(|rule| rule.cloned().map_or(Entry::Foreign, Entry::Ours))
            .collect();
    }
}

impl HookRules {
    fn new(hook: &Hook, mode: InsertMode) -> Self {
        Self {
            mode,
            rules: marked_rules(hook.chain, &hook.rules),
            appended: marked_rules(&[hook.chain, "*appends*"].concat(), &hook.appended),
        }
    }

    fn none() -> Self {
        Self { mode: InsertMode::Insert, rules: Vec::new(), appended: Vec::new() }
    }

    /// The whole chain, None for each of so many foreign rules.
    fn among(&self, foreign: usize) -> impl Iterator<Item = Option<&OurRule>> {
        let (before, behind) = match self.mode {
            InsertMode::Insert => (0, foreign),
            InsertMode::Append => (foreign, 0),
        };
        std::iter::repeat_n(None, before)
            .chain(self.rules.iter().map(Some))
            .chain(std::iter::repeat_n(None, behind))
            .chain(self.appended.iter().map(Some))
    }

    /// The chain is as it is to be. A rule without an id never is.
    fn stand_in(&self, entries: &[Entry]) -> bool {
        let foreign = entries.iter().filter(|entry| entry.ours().is_none()).count();
        self.among(foreign)
            .map(|rule| rule.map(|rule| rule.id))
            .eq(entries.iter().map(|entry| entry.ours().map(|rule| rule.id)))
    }
}

/// The chains to write, and those that were compared and need not be.
fn written_and_right(
    wanted: Option<&Arc<Table>>,
    programmed: &ProgrammedTable,
) -> (Vec<WrittenChain>, Vec<Arc<Chain>>) {
    let (mut written, mut right) = (Vec::new(), Vec::new());
    for chain in wanted.into_iter().flat_map(|table| differing_chains(table, programmed)) {
        let programmed = programmed.ours.get(chain.name.as_str());
        if programmed.is_some_and(|programmed| programmed.is_written_from(chain)) {
            continue;
        }
        let ids = rule_hashes(chain.name.as_str(), &chain.rules);
        if programmed.is_some_and(|programmed| programmed.has_ids(&ids)) {
            right.push(Arc::clone(chain));
        } else {
            written.push(WrittenChain { chain: Arc::clone(chain), ids });
        }
    }
    (written, right)
}

/// Those that may differ from what is there.
fn differing_chains<'t>(wanted: &'t Table, programmed: &'t ProgrammedTable) -> Vec<&'t Arc<Chain>> {
    match &programmed.written {
        Some(written) => wanted.chains.since(written).into_iter().filter_map(|chain| chain.after).collect(),
        None => wanted.chains.values().collect(),
    }
}

fn removed_chains(wanted: Option<&Arc<Table>>, programmed: &ProgrammedTable) -> Vec<Box<str>> {
    if let (Some(wanted), Some(written)) = (wanted, &programmed.written) {
        let chains = wanted.chains.since(written).into_iter();
        return chains.filter(|chain| chain.after.is_none()).map(|chain| chain.key.as_str().into()).collect();
    }
    let wanted: BTreeSet<&str> =
        wanted.into_iter().flat_map(|table| table.chains.keys()).map(|name| name.as_str()).collect();
    programmed.ours.keys().filter(|name| !wanted.contains(&***name)).cloned().collect()
}

fn hook_changes(
    wanted: Option<&Arc<Table>>,
    mode: InsertMode,
    programmed: &ProgrammedTable,
) -> Vec<HookChange> {
    if let (Some(wanted), Some((hooked, by))) = (wanted, &programmed.hooked)
        && *by == mode
        && *hooked == wanted.hooks
    {
        return Vec::new();
    }
    let mut chains: BTreeMap<&str, HookRules> = programmed
        .foreign
        .iter()
        .filter(|(_, entries)| entries.iter().any(|entry| entry.ours().is_some()))
        .map(|(chain, _)| (&**chain, HookRules::none()))
        .collect();
    let hooks = wanted.into_iter().flat_map(|table| &table.hooks);
    chains.extend(hooks.map(|hook| (hook.chain, HookRules::new(hook, mode))));
    chains
        .into_iter()
        .filter_map(|(chain, wanted)| {
            let entries = programmed.foreign.get(chain).map_or(&[][..], Vec::as_slice);
            (!wanted.stand_in(entries)).then(|| HookChange {
                chain: chain.into(),
                removed: our_texts(entries),
                wanted,
            })
        })
        .collect()
}

fn our_texts(entries: &[Entry]) -> Vec<Box<str>> {
    entries.iter().filter_map(Entry::ours).map(|rule| rule.text.clone()).collect()
}

fn marked_rules(seed: &str, rules: &[Rule]) -> Vec<OurRule> {
    rule_hashes(seed, rules)
        .into_iter()
        .zip(rules)
        .map(|(id, rule)| {
            let mut text = String::new();
            push_marked(&mut text, id, rule);
            OurRule { id: Some(id), text: text.into() }
        })
        .collect()
}

/// The rule with its id as the first comment.
fn push_marked(out: &mut String, id: RuleHash, rule: &Rule) {
    // A String takes everything.
    let _ = write!(out, "-m comment --comment \"cali:{id}\"");
    push_rule(out, rule);
}

fn push_line(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
    out.push('\n');
}
