//! Where a fault can be planted, and the planting.

use std::sync::Arc;

use felix_rs::rules::marks::Marks;
use felix_rs::rules::ruleset::{
    Chain, Criterion, EndpointStep, KernelSet, Match, Provenance, Rule, Ruleset, TableName, Target,
};

use crate::random::Random;

/// A deliberate fault.
#[derive(Clone, Copy)]
pub struct Mutant {
    pub name: &'static str,
    pub fault: Fault,
}

/// What each place of one kind may be instead; nothing where the fault can't be made.
#[derive(Clone, Copy)]
pub enum Fault {
    /// The rules that stand for one.
    Rule(fn(&At<'_>) -> Vec<Vec<Rule>>),
    /// All rules of a chain.
    Chain(fn(&Place<'_>) -> Vec<Vec<Rule>>),
    Set(fn(&KernelSet, &Ruleset) -> Vec<KernelSet>),
}

/// A chain of ours, or our part of one of the kernel's own.
#[derive(Clone, Copy)]
pub struct Place<'r> {
    pub ruleset: &'r Ruleset,
    pub marks: Marks,
    pub table: TableName,
    pub chain: &'r str,
    pub rules: &'r [Rule],
    part: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Ours,
    Hook,
    Appended,
}

/// A rule in its place.
#[derive(Clone, Copy)]
pub struct At<'r> {
    pub place: Place<'r>,
    pub index: usize,
    pub rule: &'r Rule,
}

impl Mutant {
    pub const fn rule(name: &'static str, fault: fn(&At<'_>) -> Vec<Vec<Rule>>) -> Self {
        Self { name, fault: Fault::Rule(fault) }
    }

    pub const fn chain(name: &'static str, fault: fn(&Place<'_>) -> Vec<Vec<Rule>>) -> Self {
        Self { name, fault: Fault::Chain(fault) }
    }

    pub const fn set(name: &'static str, fault: fn(&KernelSet, &Ruleset) -> Vec<KernelSet>) -> Self {
        Self { name, fault: Fault::Set(fault) }
    }

    /// The ruleset with the fault at one of its places; None where it has none.
    pub fn apply(&self, ruleset: &Ruleset, marks: Marks, random: &mut Random) -> Option<Ruleset> {
        let edits: Vec<Edit<'_>> = match self.fault {
            Fault::Set(fault) => {
                ruleset.sets.values().flat_map(|set| fault(set, ruleset).into_iter().map(Edit::Set)).collect()
            }
            Fault::Chain(fault) => places(ruleset, marks)
                .into_iter()
                .flat_map(|place| fault(&place).into_iter().map(move |rules| Edit::Rules(place, rules)))
                .collect(),
            Fault::Rule(fault) => {
                places(ruleset, marks).into_iter().flat_map(|place| rule_edits(place, fault)).collect()
            }
        };
        if edits.is_empty() { None } else { Some(random.of(&edits).applied(ruleset)) }
    }
}

#[derive(Clone)]
enum Edit<'r> {
    Rules(Place<'r>, Vec<Rule>),
    Set(KernelSet),
}

impl Edit<'_> {
    fn applied(self, ruleset: &Ruleset) -> Ruleset {
        let mut ruleset = ruleset.clone();
        match self {
            Self::Set(set) => {
                ruleset.sets.insert(set.name.clone(), Arc::new(set));
            }
            Self::Rules(Place { table, chain, part, .. }, rules) => {
                let table = ruleset.tables.iter_mut().find(|candidate| candidate.name == table);
                let table = Arc::make_mut(table.expect("the table of the place"));
                if part == Part::Ours {
                    let name = table.chains.keys().find(|name| name.as_str() == chain);
                    let name = name.expect("the chain of the place").clone();
                    table.chains.insert(name.clone(), Arc::new(Chain { name, rules }));
                } else {
                    let hook = table.hooks.iter_mut().find(|hook| hook.chain == chain);
                    let hook = hook.expect("the hook of the place");
                    *(if part == Part::Hook { &mut hook.rules } else { &mut hook.appended }) = rules;
                }
            }
        }
        ruleset
    }
}

fn places(ruleset: &Ruleset, marks: Marks) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    for table in &ruleset.tables {
        let mut add = |chain, rules, part| {
            places.push(Place { ruleset, marks, table: table.name, chain, rules, part });
        };
        for hook in &table.hooks {
            add(hook.chain, hook.rules.as_slice(), Part::Hook);
            add(hook.chain, hook.appended.as_slice(), Part::Appended);
        }
        for chain in table.chains.values() {
            add(chain.name.as_str(), chain.rules.as_slice(), Part::Ours);
        }
    }
    places
}

fn rule_edits(place: Place<'_>, fault: fn(&At<'_>) -> Vec<Vec<Rule>>) -> Vec<Edit<'_>> {
    let mut edits = Vec::new();
    for (index, rule) in place.rules.iter().enumerate() {
        for instead in fault(&At { place, index, rule }) {
            let mut rules = place.rules.to_vec();
            rules.splice(index..=index, instead);
            edits.push(Edit::Rules(place, rules));
        }
    }
    edits
}

impl At<'_> {
    /// One of a policy's or profile's own.
    pub fn is_policy(&self) -> bool {
        matches!(self.rule.provenance, Provenance::Rule(_))
    }

    pub fn is_step(&self, is: fn(&EndpointStep) -> bool) -> bool {
        matches!(&self.rule.provenance, Provenance::Endpoint(_, step) if is(step))
    }

    pub fn is_in(&self, table: TableName, chain: &str) -> bool {
        self.place.table == table && self.place.chain == chain
    }

    pub fn targets(&self, is: fn(&Target) -> bool) -> bool {
        self.rule.target.as_ref().is_some_and(is)
    }

    pub fn denies(&self) -> bool {
        self.targets(|target| matches!(target, Target::Drop | Target::Reject))
    }

    pub fn has(&self, is: impl Fn(&Match) -> bool) -> bool {
        self.rule.matches.iter().any(is)
    }

    /// The rule is not there.
    pub fn lost_if(&self, condition: bool) -> Vec<Vec<Rule>> {
        if condition { vec![vec![]] } else { vec![] }
    }

    /// Each match that is such a one is not there.
    pub fn without(&self, is: impl Fn(&Match) -> bool) -> Vec<Vec<Rule>> {
        let places = self.rule.matches.iter().enumerate().filter(|(_, m)| is(m));
        places
            .map(|(number, _)| {
                let mut rule = self.rule.clone();
                rule.matches.remove(number);
                vec![rule]
            })
            .collect()
    }

    /// Each match as it may be instead.
    pub fn instead(&self, other: impl Fn(&Match) -> Vec<Match>) -> Vec<Vec<Rule>> {
        let places = self.rule.matches.iter().enumerate();
        places
            .flat_map(|(number, m)| other(m).into_iter().map(move |other| (number, other)))
            .map(|(number, other)| {
                let mut rule = self.rule.clone();
                rule.matches[number] = other;
                vec![rule]
            })
            .collect()
    }

    /// Each criterion as it may be instead, negated as it was.
    pub fn instead_of(&self, other: impl Fn(&Criterion) -> Vec<Criterion>) -> Vec<Vec<Rule>> {
        self.instead(|Match { negated, criterion }| {
            other(criterion).into_iter().map(|criterion| Match { negated: *negated, criterion }).collect()
        })
    }

    pub fn with_target(&self, target: Target) -> Vec<Vec<Rule>> {
        vec![vec![Rule { target: Some(target), ..self.rule.clone() }]]
    }

    /// Another target, where there may be one.
    pub fn with_target_if(&self, condition: bool, target: Target) -> Vec<Vec<Rule>> {
        if condition { self.with_target(target) } else { vec![] }
    }
}

impl<'r> Place<'r> {
    /// Another chain of the table.
    pub fn find(&self, name: &str) -> Option<&'r Chain> {
        let table = self.ruleset.tables.iter().find(|table| table.name == self.table)?;
        table.chains.values().find(|chain| chain.name.as_str() == name).map(|chain| &**chain)
    }

    pub fn others(&self) -> impl Iterator<Item = &'r Chain> + use<'r> {
        let (name, wanted) = (self.chain, self.table);
        let tables = self.ruleset.tables.iter().filter(move |table| table.name == wanted);
        tables
            .flat_map(|table| table.chains.values().map(|chain| &**chain))
            .filter(move |chain| chain.name.as_str() != name)
    }

    /// The chain with two neighbouring stretches of it swapped.
    pub fn swapped(&self, stretches: &[std::ops::Range<usize>]) -> Vec<Vec<Rule>> {
        let neighbours = stretches.windows(2).filter(|pair| pair[0].end == pair[1].start);
        neighbours
            .map(|pair| {
                let mut rules = self.rules.to_vec();
                rules[pair[0].start..pair[1].end].rotate_left(pair[0].len());
                rules
            })
            .collect()
    }
}

/// Whether some match is about the packet's mark.
pub fn is_mark(Match { criterion, .. }: &Match) -> bool {
    matches!(criterion, Criterion::Mark { .. })
}

/// Whether the match asks for exactly these bits.
pub fn asks_for(Match { negated, criterion }: &Match, bits: u32) -> bool {
    !negated && *criterion == Criterion::Mark { value: bits, mask: bits }
}
