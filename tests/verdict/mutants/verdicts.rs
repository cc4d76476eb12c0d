//! Faults in how a policy's chain comes to its verdict: actions, blocks of alternatives, groups.

use std::ops::Range;

use felix_rs::rules::ruleset::{ChainName, Criterion, Match, Provenance, Rule, Target};

use super::site::{At, Mutant, Place, asks_for, is_mark};

pub const MUTANTS: &[Mutant] = &[
    Mutant::rule("Allow doesn't mark", |at| at.lost_if(at.is_policy() && marks(at, at.place.marks.accept))),
    Mutant::rule("Allow doesn't return", |at| at.lost_if(returns_on(at, at.place.marks.accept))),
    Mutant::rule("Pass doesn't mark", |at| at.lost_if(at.is_policy() && marks(at, at.place.marks.pass))),
    Mutant::rule("Pass doesn't return", |at| at.lost_if(returns_on(at, at.place.marks.pass))),
    Mutant::rule("Deny doesn't mark", |at| at.lost_if(at.is_policy() && marks(at, at.place.marks.drop))),
    Mutant::rule("Deny doesn't drop", |at| at.lost_if(at.is_policy() && at.denies())),
    Mutant::rule("Deny returns", |at| at.with_target_if(at.is_policy() && at.denies(), Target::Return)),
    Mutant::rule(
        "Deny drops all",
        |at| if at.is_policy() && at.denies() { at.without(is_mark) } else { vec![] },
    ),
    Mutant::rule("Pass marks as accepted", |at| {
        let accept = at.place.marks.accept;
        at.with_target_if(at.is_policy() && marks(at, at.place.marks.pass), mark(accept))
    }),
    Mutant::rule("Allow marks as passed", |at| {
        let pass = at.place.marks.pass;
        at.with_target_if(at.is_policy() && marks(at, at.place.marks.accept), mark(pass))
    }),
    Mutant::rule("Deny marks as accepted", |at| {
        let accept = at.place.marks.accept;
        at.with_target_if(at.is_policy() && marks(at, at.place.marks.drop), mark(accept))
    }),
    Mutant::rule("Allow accepts at once", |at| {
        at.with_target_if(returns_on(at, at.place.marks.accept), Target::Accept)
    }),
    Mutant::rule("Log drops", |at| at.with_target_if(logs(at), Target::Drop)),
    Mutant::rule("Log ends the policy", |at| at.with_target_if(logs(at), Target::Return)),
    Mutant::chain("a policy's rule is lost", |place| {
        let without = |range: Range<usize>| [&place.rules[..range.start], &place.rules[range.end..]].concat();
        policy_rules(place).into_iter().map(without).collect()
    }),
    Mutant::chain("two rules of a policy are swapped", |place| place.swapped(&policy_rules(place))),
    Mutant::chain("two iptables rules of a policy's rule are swapped", |place| {
        let ranges = policy_rules(place);
        ranges
            .into_iter()
            .flat_map(|range| place.swapped(&range.map(|at| at..at + 1).collect::<Vec<_>>()))
            .collect()
    }),
    Mutant::chain("a policy's chain has another's rules", |place| {
        let others = place.others().filter(|other| same_kind(place.chain, other.name.as_str()));
        others.filter(|_| is_rules_chain(place.chain)).map(|other| other.rules.clone()).collect()
    }),
    Mutant::chain("a policy's chain has the rules of its other direction", |place| {
        let other = other_direction(place.chain).and_then(|name| place.find(&name));
        other.map(|other| other.rules.clone()).into_iter().collect()
    }),
    Mutant::chain("a policy's chain is empty", |place| {
        if is_rules_chain(place.chain) { vec![vec![]] } else { vec![] }
    }),
    // Blocks.
    Mutant::rule("the marks of blocks are not set at the start", |at| at.lost_if(begins_blocks(at))),
    Mutant::rule("blocks are taken to hold at the start", |at| {
        let scratch0 = at.place.marks.scratch0;
        let is = begins_blocks(at) && at.targets(|target| matches!(target, Target::SetMark { value: 0, .. }));
        at.with_target_if(is, Target::SetMark { value: scratch0, mask: scratch0 | at.place.marks.scratch1 })
    }),
    Mutant::rule("negated blocks are taken to fail at the start", |at| {
        let mask = at.place.marks.scratch0 | at.place.marks.scratch1;
        let is =
            begins_blocks(at) && at.targets(|target| !matches!(target, Target::SetMark { value: 0, .. }));
        at.with_target_if(is, Target::SetMark { value: 0, mask })
    }),
    Mutant::rule("an alternative of the first block is lost", |at| {
        at.lost_if(at.is_policy() && marks(at, at.place.marks.scratch0))
    }),
    Mutant::rule("an alternative of a later block is lost", |at| {
        at.lost_if(at.is_policy() && marks(at, at.place.marks.scratch1))
    }),
    Mutant::rule("a later block is not asked", |at| {
        let scratch1 = at.place.marks.scratch1;
        at.lost_if(
            at.is_policy() && clears(at, at.place.marks.scratch0) && at.has(|m| is_unmarked(m, scratch1)),
        )
    }),
    Mutant::rule("the mark is not cleared before the third block", |at| {
        at.lost_if(at.is_policy() && clears(at, at.place.marks.scratch1) && at.rule.matches.is_empty())
    }),
    Mutant::rule("an alternative of a negated block is lost", |at| {
        at.lost_if(at.is_policy() && clears(at, at.place.marks.scratch0) && !at.has(is_mark))
    }),
    Mutant::rule("an alternative of a negated block lets the rule hold", |at| {
        let is = at.is_policy() && clears(at, at.place.marks.scratch0) && !at.has(is_mark);
        at.with_target_if(is, mark(at.place.marks.scratch0))
    }),
    Mutant::rule("an alternative of a later block makes all hold", |at| {
        let is = at.is_policy() && marks(at, at.place.marks.scratch1);
        at.with_target_if(is, mark(at.place.marks.scratch0))
    }),
    Mutant::rule("the rule doesn't ask its blocks", |at| {
        let scratch0 = at.place.marks.scratch0;
        if at.is_policy() { at.without(|m| asks_for(m, scratch0)) } else { vec![] }
    }),
    Mutant::chain("blocks use the accept mark", |place| {
        remarked(place, place.marks.scratch0, place.marks.accept)
    }),
    Mutant::chain("blocks use the pass mark", |place| {
        remarked(place, place.marks.scratch0, place.marks.pass)
    }),
    Mutant::chain("both marks of blocks are one", |place| {
        remarked(place, place.marks.scratch1, place.marks.scratch0)
    }),
    // Groups.
    Mutant::rule("a group's policy is not tried", |at| at.lost_if(is_group_jump(at))),
    Mutant::rule("a group's policy is tried after a verdict", |at| {
        if is_group_jump(at) { at.without(is_mark) } else { vec![] }
    }),
    Mutant::rule("a group's jump takes no notice of pass", |at| group_guard(at, at.place.marks.accept)),
    Mutant::rule("a group's jump takes no notice of accept", |at| group_guard(at, at.place.marks.pass)),
    Mutant::rule("a group doesn't return on verdict", |at| at.lost_if(is_group_return(at))),
    Mutant::rule("a group returns without a verdict", |at| {
        if is_group_return(at) { at.without(is_mark) } else { vec![] }
    }),
    Mutant::chain("two policies of a group are swapped", |place| {
        let jumps = place
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| matches!(rule.provenance, Provenance::Group(_)));
        // The matches stay where they are: only what is jumped to changes places.
        let jumps: Vec<usize> = jumps
            .filter(|(_, rule)| matches!(rule.target, Some(Target::Jump(_))))
            .map(|(at, _)| at)
            .collect();
        let swapped = jumps.windows(2).map(|pair| {
            let mut rules = place.rules.to_vec();
            let target = rules[pair[0]].target.clone();
            rules[pair[0]].target = rules[pair[1]].target.clone();
            rules[pair[1]].target = target;
            rules
        });
        swapped.collect()
    }),
    Mutant::rule("a jump leads to the policy's other direction", |at| match &at.rule.target {
        Some(Target::Jump(chain)) => {
            let other = other_direction(chain.as_str()).and_then(|name| at.place.find(&name));
            other.map_or(vec![], |other| at.with_target(Target::Jump(other.name.clone())))
        }
        _ => vec![],
    }),
    Mutant::rule("a jump leads to another policy", |at| match &at.rule.target {
        Some(Target::Jump(chain)) if is_rules_chain(chain.as_str()) => {
            let others = at.place.others().filter(|other| other.name != *chain);
            let same = others.filter(|other| same_kind(chain.as_str(), other.name.as_str()));
            same.flat_map(|other| at.with_target(Target::Jump(other.name.clone()))).collect()
        }
        _ => vec![],
    }),
];

fn mark(bits: u32) -> Target {
    Target::SetMark { value: bits, mask: bits }
}

fn marks(at: &At<'_>, bits: u32) -> bool {
    at.rule.target == Some(mark(bits))
}

fn clears(at: &At<'_>, bits: u32) -> bool {
    at.rule.target == Some(Target::ClearMark { mask: bits })
}

fn returns_on(at: &At<'_>, bits: u32) -> bool {
    at.is_policy() && at.rule.target == Some(Target::Return) && at.has(|m| asks_for(m, bits))
}

fn logs(at: &At<'_>) -> bool {
    at.targets(|target| matches!(target, Target::Log { .. }))
}

fn is_unmarked(Match { negated, criterion }: &Match, bits: u32) -> bool {
    !negated && *criterion == Criterion::Mark { value: 0, mask: bits }
}

fn begins_blocks(at: &At<'_>) -> bool {
    let both = at.place.marks.scratch0 | at.place.marks.scratch1;
    at.is_policy() && matches!(at.rule.target, Some(Target::SetMark { mask, .. }) if mask == both)
}

fn is_group_jump(at: &At<'_>) -> bool {
    matches!(at.rule.provenance, Provenance::Group(_))
        && at.targets(|target| matches!(target, Target::Jump(_)))
}

fn is_group_return(at: &At<'_>) -> bool {
    matches!(at.rule.provenance, Provenance::Group(_)) && at.rule.target == Some(Target::Return)
}

fn group_guard(at: &At<'_>, mask: u32) -> Vec<Vec<Rule>> {
    if !is_group_jump(at) {
        return vec![];
    }
    at.instead_of(|criterion| match criterion {
        Criterion::Mark { value, mask: _ } => vec![Criterion::Mark { value: *value, mask }],
        _ => vec![],
    })
}

/// The stretches of the chain that stand for one rule each.
fn policy_rules(place: &Place<'_>) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for part in place.rules.chunk_by(|a, b| a.provenance == b.provenance) {
        let range = start..start + part.len();
        start = range.end;
        if part.iter().all(|rule| matches!(rule.provenance, Provenance::Rule(_))) {
            ranges.push(range);
        }
    }
    ranges
}

/// All rules of the chain with one mark in another's place; nothing where it isn't used.
fn remarked(place: &Place<'_>, from: u32, to: u32) -> Vec<Vec<Rule>> {
    if !is_rules_chain(place.chain) {
        return vec![];
    }
    let bits = |bits: u32| if bits & from == 0 { bits } else { bits & !from | to };
    let other = |rule: &Rule| {
        let mut rule = rule.clone();
        for m in &mut rule.matches {
            if let Criterion::Mark { value, mask } = &mut m.criterion {
                (*value, *mask) = (bits(*value), bits(*mask));
            }
        }
        match &mut rule.target {
            Some(Target::SetMark { value, mask }) => (*value, *mask) = (bits(*value), bits(*mask)),
            Some(Target::ClearMark { mask }) => *mask = bits(*mask),
            _ => {}
        }
        rule
    };
    let rules: Vec<Rule> = place.rules.iter().map(other).collect();
    let differs = rules.iter().zip(place.rules).any(|(a, b)| a.matches != b.matches || a.target != b.target);
    if differs { vec![rules] } else { vec![] }
}

const RULES: [&str; 4] = ["cali-pi-", "cali-po-", "cali-pri-", "cali-pro-"];

/// Whether a policy's or profile's rules are in the chain.
pub fn is_rules_chain(name: &str) -> bool {
    RULES.iter().any(|prefix| name.starts_with(prefix))
}

fn same_kind(one: &str, other: &str) -> bool {
    RULES.iter().any(|prefix| one.starts_with(prefix) && other.starts_with(prefix))
}

/// The name of the same policy's chain for the other direction, hashed or not.
fn other_direction(name: &str) -> Option<String> {
    let pairs = [("cali-pi-", "cali-po-"), ("cali-pri-", "cali-pro-")];
    pairs
        .into_iter()
        .flat_map(|(a, b)| [(a, b), (b, a)])
        .find_map(|(from, to)| Some([to, name.strip_prefix(from)?].concat()))
}

/// Whether the chain is one of the endpoint's policies, groups or profiles.
pub fn is_policy_jump(target: &Target) -> bool {
    matches!(target, Target::Jump(chain) if is_policy_chain(chain))
}

fn is_policy_chain(chain: &ChainName) -> bool {
    let name = chain.as_str();
    is_rules_chain(name) || name.starts_with("cali-gi-") || name.starts_with("cali-go-")
}
