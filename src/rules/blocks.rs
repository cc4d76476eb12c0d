//! What one iptables rule cannot say, said by several (reference §5.4).
//!
//! Alternatives need a rule each. A *block* is one criterion with its alternatives; a rule's blocks come before the
//! rule itself and leave in the scratch0 mark whether all of them hold. Within a block from the second on, scratch1
//! tells whether one of its alternatives did.

use std::mem::take;

use super::marks::Marks;
use super::matches::{Criteria, SideCriteria};
use super::ruleset::{Criterion, Match, Target};
use crate::model::Protocol;

/// A rule that is yet without comments and provenance.
pub(super) struct Step {
    pub matches: Vec<Match>,
    pub target: Target,
}

/// One criterion: it holds where one of the alternatives does, or, negated, where none does.
struct Block {
    negated: bool,
    alternatives: Vec<Vec<Match>>,
}

/// Takes from `criteria` what needs blocks and appends the blocks' rules to `steps`. Returns what the rule itself has
/// to match: the remaining criteria, and that all blocks hold.
pub(super) fn push_blocks(steps: &mut Vec<Step>, mut criteria: Criteria<'_>, marks: &Marks) -> Vec<Match> {
    let blocks = take_blocks(&mut criteria);
    let mut matches = criteria.matches();
    if let Some(first) = blocks.first() {
        steps.push(initial_step(first, marks));
        matches.push(Match::marked(marks.scratch0));
    }
    for (position, block) in blocks.into_iter().enumerate() {
        push_block(steps, position, block, marks);
    }
    matches
}

/// The blocks that `criteria` needs, positive ones first; what they say is no longer in `criteria`.
fn take_blocks(criteria: &mut Criteria<'_>) -> Vec<Block> {
    let Criteria { protocol, source, destination, .. } = criteria;
    [
        take_ports(source, *protocol),
        take_ports(destination, *protocol),
        take_nets(source),
        take_nets(destination),
        take_not_nets(source),
        take_not_nets(destination),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn take_ports(side: &mut SideCriteria<'_>, protocol: Option<Protocol>) -> Option<Block> {
    if side.ports.len() + side.port_sets.len() < 2 {
        return None;
    }
    let protocol = protocol.map(|protocol| Match::is(Criterion::Protocol(protocol)));
    let ports = take(&mut side.ports).into_iter().map(|ports| {
        let ports = Match::is(Criterion::Ports(side.side, ports));
        protocol.clone().into_iter().chain([ports]).collect()
    });
    // The members of a set carry their protocol.
    let sets = take(&mut side.port_sets)
        .iter()
        .map(|id| vec![Match::is(Criterion::SetWithPort(side.side, side.set_name(id)))]);
    Some(Block { negated: false, alternatives: ports.chain(sets).collect() })
}

fn take_nets(side: &mut SideCriteria<'_>) -> Option<Block> {
    (side.nets.len() > 1).then(|| Block {
        negated: false,
        alternatives: take(&mut side.nets)
            .into_iter()
            .map(|net| vec![Match::is(Criterion::Net(side.side, net))])
            .collect(),
    })
}

/// iptables takes `--source` once a rule, negated or not.
fn take_not_nets(side: &mut SideCriteria<'_>) -> Option<Block> {
    (!side.not_nets.is_empty() && side.nets.len() + side.not_nets.len() > 1).then(|| Block {
        negated: true,
        alternatives: take(&mut side.not_nets)
            .into_iter()
            .map(|net| vec![Match::is(Criterion::Net(side.side, net))])
            .collect(),
    })
}

/// Makes both marks known: a positive block must prove that it holds, a negated one that it does not.
fn initial_step(first: &Block, marks: &Marks) -> Step {
    let value = if first.negated { marks.scratch0 } else { 0 };
    Step { matches: Vec::new(), target: Target::SetMark { value, mask: marks.scratch0 | marks.scratch1 } }
}

fn push_block(steps: &mut Vec<Step>, position: usize, block: Block, marks: &Marks) {
    let &Marks { scratch0: all, scratch1: this, .. } = marks;
    let Block { negated, alternatives } = block;
    let target = match (negated, position) {
        (true, _) => Target::ClearMark { mask: all },
        (false, 0) => Target::mark(all),
        (false, _) => Target::mark(this),
    };
    let uses_scratch1 = !negated && position > 0;
    // Felix leaves the mark of the block before, and so takes any third block to hold.
    if uses_scratch1 && position > 1 {
        steps.push(Step { matches: Vec::new(), target: Target::ClearMark { mask: this } });
    }
    steps.extend(alternatives.into_iter().map(|matches| Step { matches, target: target.clone() }));
    if uses_scratch1 {
        steps.push(Step { matches: vec![Match::unmarked(this)], target: Target::ClearMark { mask: all } });
    }
}
