//! The lines of `iptables-save` and `iptables-restore` as chains of rules whose words nobody has read yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Counters;
use super::error::{Input, Problem, SavedError};
use crate::verdict::chains::program::{Policy, Table};

/// Longest text in bytes: two million rules.
pub(super) const MAX_TEXT: usize = 1 << 28;
/// Longest line in bytes: some times what `iptables-restore` takes.
pub(super) const MAX_LINE: usize = 1 << 16;

/// All chains, also those of the kernel that the text doesn't name.
pub(super) struct Tables<'t> {
    pub(super) chains: BTreeMap<(Table, &'t str), ChainText<'t>>,
}

#[derive(Default)]
pub(super) struct ChainText<'t> {
    pub(super) policy: Option<Policy>,
    pub(super) rules: VecDeque<RuleText<'t>>,
}

pub(super) struct RuleText<'t> {
    pub(super) line: usize,
    pub(super) counters: Option<Counters>,
    /// What stands behind the chain's name.
    pub(super) text: &'t str,
}

impl<'t> Tables<'t> {
    pub(super) fn read(text: &'t str) -> Result<Self, SavedError> {
        let mut reader = Reader { chains: BTreeMap::new(), seen: BTreeSet::new(), open: None };
        for table in [Table::Raw, Table::Mangle, Table::Nat, Table::Filter] {
            reader.begin(table);
        }
        let error = |number, line, problem| SavedError::new(Input::Tables, number, line, problem);
        if text.len() > MAX_TEXT {
            return Err(error(1, "", Problem::LongText));
        }
        let mut last = 0;
        for (number, line) in (1..).zip(text.lines()) {
            last = number;
            reader.line(number, line.trim()).map_err(|problem| error(number, line, problem))?;
        }
        match reader.open {
            None => Ok(Self { chains: reader.chains }),
            Some(_) => Err(error(last + 1, "", Problem::Unterminated)),
        }
    }
}

struct Reader<'t> {
    chains: BTreeMap<(Table, &'t str), ChainText<'t>>,
    seen: BTreeSet<Table>,
    /// The table of the lines to come.
    open: Option<Table>,
}

impl<'t> Reader<'t> {
    fn line(&mut self, number: usize, line: &'t str) -> Result<(), Problem> {
        if line.len() > MAX_LINE {
            return Err(Problem::LongLine);
        }
        if let Some(comment) = line.strip_prefix('#') {
            return if is_incompatible(comment) { Err(Problem::Incompatible) } else { Ok(()) };
        }
        if let Some(name) = line.strip_prefix('*') {
            return self.table(name);
        }
        if line.is_empty() {
            return Ok(());
        }
        let table = self.open.ok_or(Problem::OutsideTable)?;
        if line == "COMMIT" {
            self.open = None;
            return Ok(());
        }
        if let Some(chain) = line.strip_prefix(':') {
            return self.declare(table, chain);
        }
        let (counters, command) = counted(line)?;
        self.command(table, RuleText { line: number, counters, text: command })
    }

    fn table(&mut self, name: &str) -> Result<(), Problem> {
        if self.open.is_some() {
            return Err(Problem::TableInTable);
        }
        let table = Table::named(name).ok_or(Problem::UnknownTable)?;
        if !self.seen.insert(table) {
            return Err(Problem::RepeatedTable);
        }
        self.begin(table);
        self.open = Some(table);
        Ok(())
    }

    fn begin(&mut self, table: Table) {
        for chain in table.kernel_chains() {
            let text = ChainText { policy: Some(Policy::Accept), rules: VecDeque::new() };
            self.chains.entry((table, *chain)).or_insert(text);
        }
    }

    /// `name policy [packets:bytes]`, and `-` where there is no policy.
    fn declare(&mut self, table: Table, line: &'t str) -> Result<(), Problem> {
        let mut words = line.split_whitespace();
        let name = words.next().ok_or(Problem::UndeclaredChain)?;
        match words.next() {
            None | Some("-") if table.kernel_chains().contains(&name) => Ok(()),
            None | Some("-") => self.create(table, name),
            Some(policy) => self.policy(table, name, policy),
        }
    }

    fn create(&mut self, table: Table, name: &'t str) -> Result<(), Problem> {
        match self.chains.insert((table, name), ChainText::default()) {
            None => Ok(()),
            Some(_) => Err(Problem::RepeatedChain),
        }
    }

    fn policy(&mut self, table: Table, name: &'t str, policy: &str) -> Result<(), Problem> {
        let policy = match policy {
            "ACCEPT" => Policy::Accept,
            "DROP" => Policy::Drop,
            _ => return Err(Problem::Policy),
        };
        match self.chains.get_mut(&(table, name)) {
            Some(ChainText { policy: Some(old), rules: _ }) => {
                *old = policy;
                Ok(())
            }
            Some(ChainText { policy: None, rules: _ }) | None => Err(Problem::PolicyOfOtherChain),
        }
    }

    /// A command that its text begins with.
    fn command(&mut self, table: Table, rule: RuleText<'t>) -> Result<(), Problem> {
        let (command, rest) = word(rule.text);
        let (name, rest) = word(rest);
        match command {
            "-A" | "--append" => {
                self.chain(table, name)?.rules.push_back(RuleText { text: rest, ..rule });
            }
            "-I" | "--insert" => {
                let rules = &mut self.chain(table, name)?.rules;
                let (place, behind) = word(rest);
                let (place, text) = place.parse::<usize>().map_or((1, rest), |place| (place, behind));
                let index =
                    place.checked_sub(1).filter(|index| *index <= rules.len()).ok_or(Problem::Place)?;
                rules.insert(index, RuleText { text, ..rule });
            }
            "-N" | "--new-chain" if !name.is_empty() && rest.is_empty() => self.create(table, name)?,
            "-P" | "--policy" => self.policy(table, name, word(rest).0)?,
            _ => return Err(Problem::Command),
        }
        Ok(())
    }

    fn chain(&mut self, table: Table, name: &'t str) -> Result<&mut ChainText<'t>, Problem> {
        self.chains.get_mut(&(table, name)).ok_or(Problem::UndeclaredChain)
    }
}

/// The first word and what stands behind it.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// `[packets:bytes] command`, or the command alone.
fn counted(line: &str) -> Result<(Option<Counters>, &str), Problem> {
    let Some(line) = line.strip_prefix('[') else { return Ok((None, line)) };
    let (counters, command) = line.split_once(']').ok_or(Problem::Counters)?;
    let (packets, bytes) = counters.split_once(':').ok_or(Problem::Counters)?;
    let number = |text: &str| text.parse().map_err(|_| Problem::Counters);
    let counters = Counters { packets: number(packets)?, bytes: number(bytes)? };
    Ok((Some(counters), command.trim_start()))
}

/// `` # Table `filter' is incompatible, use 'nft' tool. ``, or the same of base chains.
fn is_incompatible(comment: &str) -> bool {
    comment.starts_with(" Table `") && comment.contains("incompatible")
}
