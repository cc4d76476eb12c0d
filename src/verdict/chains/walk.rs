//! The way of a packet through chains, rule by rule, told for people.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::compiled::hook_rules;
use super::machine::{Assumption, Machine, Passage, Position, Record, Refusal, Supposed, Verdict};
use super::program::{Chain, Policy, Program, Table};
use crate::policy::RuleSource;
use crate::rules::ruleset::{EndpointStep, Provenance, Rule, Ruleset};
use crate::rules::text::rule_text;
use crate::verdict::explain::wording::place_suffix;
use crate::verdict::packet::Packet;

/// What chains do with a packet. More than one way where something isn't modelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Walk {
    pub ways: Vec<Way>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    pub verdict: &'static str,
    /// What was supposed of what isn't modelled.
    pub assumptions: Vec<String>,
    /// What isn't modelled, and where.
    pub unknown: Vec<String>,
    /// The rules that held.
    pub steps: Vec<Step>,
    /// Of these the one that decided, where one did.
    #[serde(skip)]
    decisive: Option<usize>,
    /// The chain whose policy decided in the end, where no rule did.
    pub policy_of: Option<String>,
    /// Where the packet's destination is translated to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpAddr>,
}

/// A rule that held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub table: &'static str,
    pub chain: String,
    /// Without its comments where its reason is known.
    pub rule: String,
    pub reason: Option<String>,
    /// The packet's mark behind it.
    pub mark: u32,
    /// How many packets it has met, where that was read.
    pub packets: Option<u64>,
}

/// What there is to tell of a rule.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub rule: String,
    pub reason: Option<String>,
    pub packets: Option<u64>,
}

/// The packet's way through the chains of `ruleset`, with nobody else's rules beside them.
///
/// # Errors
/// See [`Refusal`].
pub fn through_ruleset(ruleset: &Ruleset, packet: &Packet) -> Result<Walk, Refusal> {
    let program = Program::compiled(ruleset, Policy::Accept);
    through_machine(&program, &Machine::new(&program), packet, |chain, index| {
        rule_at(ruleset, chain.table, &chain.name, index).map_or_else(Told::default, |rule| Told {
            rule: rule_text(&Rule { comments: Vec::new(), ..rule.clone() }),
            reason: Some(reason(&rule.provenance)),
            packets: None,
        })
    })
}

/// The packet's way through any program, by a machine for it; `tell` knows the rules of its chains.
///
/// # Errors
/// See [`Refusal`].
pub fn through_machine(
    program: &Program,
    machine: &Machine<'_>,
    packet: &Packet,
    tell: impl Fn(&Chain, usize) -> Told,
) -> Result<Walk, Refusal> {
    let passages = machine.run(packet, Record::Steps)?;
    let ways = passages.iter().map(|passage| way(program, passage, &tell)).collect();
    Ok(Walk { ways })
}

impl Walk {
    /// The verdict of all ways, where they agree.
    pub fn verdict(&self) -> Option<&'static str> {
        let (first, others) = self.ways.split_first()?;
        others.iter().all(|way| way.verdict == first.verdict).then_some(first.verdict)
    }
}

fn way(program: &Program, passage: &Passage, tell: &impl Fn(&Chain, usize) -> Told) -> Way {
    let Passage { payloads: _, verdict, decided_at, left_filter_at, translation, assumptions, steps } =
        passage;
    let told = |at: &Position| {
        let chain = program.chain(at.chain)?;
        let Told { rule, reason, packets } = tell(chain, at.rule?);
        Some((chain, rule, reason, packets))
    };
    // What let the packet through is what its way through the filter table ended with.
    let deciding = match verdict {
        Verdict::Accept => left_filter_at.unwrap_or(*decided_at),
        Verdict::Drop | Verdict::Reject => *decided_at,
    };
    let decisive = steps.iter().position(|step| step.at == deciding);
    let steps = steps.iter().filter_map(|step| {
        let (chain, rule, reason, packets) = told(&step.at)?;
        let (table, chain) = (chain.table.name(), chain.name.to_string());
        Some(Step { table, chain, rule, reason, mark: step.mark, packets })
    });
    let by_policy = deciding.rule.is_none().then(|| program.chain(deciding.chain)).flatten();
    Way {
        verdict: match verdict {
            Verdict::Accept => "accepted",
            Verdict::Drop => "dropped",
            Verdict::Reject => "rejected",
        },
        assumptions: assumptions.iter().map(|assumption| supposed(program, assumption)).collect(),
        unknown: assumptions.iter().map(|assumption| unknown(program, assumption)).collect(),
        steps: steps.collect(),
        decisive,
        destination: translation.destination.map(|(address, _)| address),
        policy_of: by_policy.map(|chain| format!("{} {}", chain.table.name(), chain.name)),
    }
}

impl Way {
    /// The rule that decided, where one did.
    pub fn decided_by(&self) -> Option<&Step> {
        self.steps.get(self.decisive?)
    }
}

/// `limit 50/min (rule 3 of filter INPUT)`
fn unknown(program: &Program, Assumption { at, what, supposed: _ }: &Assumption) -> String {
    format!("{what} ({})", place(program, *at))
}

/// `rule 3 of filter INPUT holds (limit 50/min)`
fn supposed(program: &Program, Assumption { at, what, supposed }: &Assumption) -> String {
    let does = match supposed {
        Supposed::Holds => "holds",
        Supposed::DoesNotHold => "does not hold",
        Supposed::Accepts => "accepts",
        Supposed::Drops => "drops",
        Supposed::GoesOn => "lets it go on",
    };
    format!("{} {does} ({what})", place(program, *at))
}

fn place(program: &Program, at: Position) -> String {
    let number = at.rule.map_or(0, |rule| rule + 1);
    let chain = program.chain(at.chain);
    chain.map_or_else(String::new, |chain| format!("rule {number} of {} {}", chain.table.name(), chain.name))
}

/// The rule of a compiled chain, or of a chain of the kernel's own.
fn rule_at<'r>(ruleset: &'r Ruleset, table: Table, chain: &Arc<str>, index: usize) -> Option<&'r Rule> {
    let table = ruleset.tables.iter().find(|candidate| Table::from(candidate.name) == table)?;
    let ours = table.chains.values().find(|candidate| *candidate.name.as_str() == **chain);
    match ours {
        Some(ours) => ours.rules.get(index),
        None => {
            let hook = table.hooks.iter().find(|hook| *hook.chain == **chain)?;
            hook_rules(hook).get(index).copied()
        }
    }
}

/// Why a rule is there, in words.
pub fn reason(provenance: &Provenance) -> String {
    match provenance {
        Provenance::Static => "on every host".to_owned(),
        Provenance::Dispatch(endpoint) => format!("the interface of {endpoint}"),
        Provenance::Endpoint(endpoint, step) => format!("{endpoint}: {}", step_text(step)),
        Provenance::Rule(source) => {
            let RuleSource { owner, direction, index, place } = &**source;
            let place = place_suffix(place.as_ref());
            match index {
                Some(index) => format!("{} rule {} of {owner}{place}", direction.name(), index + 1),
                None => format!("{owner} denies{place}"),
            }
        }
        Provenance::Empty(owner, direction) => format!("{owner} has no {} rule", direction.name()),
        Provenance::Group(policy) => format!("a group of policies: {policy}"),
        Provenance::UnknownInterface => "no endpoint has the interface".to_owned(),
        Provenance::Nat => "address translation".to_owned(),
    }
}

fn step_text(step: &EndpointStep) -> String {
    match step {
        EndpointStep::AllowedSource => "it may send from that source".to_owned(),
        EndpointStep::AdminDown => "it is switched off".to_owned(),
        EndpointStep::Conntrack => "connection tracking".to_owned(),
        EndpointStep::ClearMarks => "starts without marks".to_owned(),
        EndpointStep::Encapsulation => "may not send encapsulated packets".to_owned(),
        EndpointStep::StartOfTier(tier) => format!("start of tier {tier}"),
        EndpointStep::Policies(tier) => format!("policies of tier {tier}"),
        EndpointStep::EndOfTier(tier) => format!("end of tier {tier}"),
        EndpointStep::Profile(profile) => format!("profile {profile}"),
        EndpointStep::NoProfileMatched => "no profile has decided".to_owned(),
    }
}
