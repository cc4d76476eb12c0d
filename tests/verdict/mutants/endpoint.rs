//! Faults in the chains of endpoints, and on the way to them.

use std::ops::Range;
use std::sync::Arc;

use felix_rs::model::{PortRange, Protocol};
use felix_rs::rules::ruleset::{
    ConntrackState, Criterion, EndpointStep, InterfaceMatch, Match, Provenance, Rule, TableName, Target,
};

use super::site::{At, Mutant, Place, asks_for, is_mark};
use super::verdicts::is_policy_jump;

pub const MUTANTS: &[Mutant] = &[
    Mutant::rule("an endpoint that is down is not closed", |at| {
        at.lost_if(at.is_step(|step| *step == EndpointStep::AdminDown))
    }),
    // Connection tracking.
    Mutant::rule("established packets meet policy", |at| {
        at.lost_if(is_conntrack(at) && !at.denies() && !marks_any(at))
    }),
    Mutant::rule("related packets meet policy", |at| states(at, &[ConntrackState::Established])),
    Mutant::rule("packets of known connections other than related ones meet policy", |at| {
        states(at, &[ConntrackState::Related])
    }),
    Mutant::rule("new packets are taken for established", |at| {
        states(at, &[ConntrackState::New, ConntrackState::Related, ConntrackState::Established])
    }),
    Mutant::rule("established packets are dropped", |at| {
        at.with_target_if(is_conntrack(at) && !at.denies() && !marks_any(at), Target::Drop)
    }),
    Mutant::rule("invalid packets meet policy", |at| at.lost_if(is_conntrack(at) && at.denies())),
    Mutant::rule("invalid packets return", |at| {
        at.with_target_if(is_conntrack(at) && at.denies(), Target::Return)
    }),
    Mutant::rule("the receiver finds the sender's accept mark", |at| {
        at.lost_if(
            at.place.chain.starts_with("cali-tw-") && at.is_step(|step| *step == EndpointStep::ClearMarks),
        )
    }),
    Mutant::rule("the receiver clears the pass mark only", |at| {
        let is =
            at.place.chain.starts_with("cali-tw-") && at.is_step(|step| *step == EndpointStep::ClearMarks);
        at.with_target_if(is, Target::ClearMark { mask: at.place.marks.pass })
    }),
    // Encapsulation.
    Mutant::rule("VXLAN may leave a workload", |at| at.lost_if(is_encapsulation(at) && has_port(at))),
    Mutant::rule("VXLAN is denied on the port beside", |at| {
        if !is_encapsulation(at) {
            return vec![];
        }
        at.instead_of(|c| match c {
            Criterion::Ports(side, ranges) => {
                let next =
                    ranges.iter().map(|range| PortRange { first: range.first + 1, last: range.last + 1 });
                vec![Criterion::Ports(*side, next.collect())]
            }
            _ => vec![],
        })
    }),
    Mutant::rule("all of UDP is taken for VXLAN", |at| {
        if is_encapsulation(at) {
            at.without(|m| matches!(m.criterion, Criterion::Ports(..)))
        } else {
            vec![]
        }
    }),
    Mutant::rule("VXLAN's port is denied for every protocol", |at| {
        if is_encapsulation(at) && has_port(at) {
            at.without(|m| matches!(m.criterion, Criterion::Protocol(_)))
        } else {
            vec![]
        }
    }),
    Mutant::rule("IP in IP may leave a workload", |at| at.lost_if(is_encapsulation(at) && !has_port(at))),
    Mutant::rule("GRE is taken for IP in IP", |at| {
        if !is_encapsulation(at) || has_port(at) {
            return vec![];
        }
        at.instead_of(|_| vec![Criterion::Protocol(Protocol::Number(47))])
    }),
    // Tiers.
    Mutant::rule("the start of a tier leaves the pass mark", |at| at.lost_if(starts_later_tier(at))),
    Mutant::rule("the start of a tier clears the accept mark instead", |at| {
        let accept = at.place.marks.accept;
        at.with_target_if(starts_later_tier(at), Target::ClearMark { mask: accept })
    }),
    Mutant::rule("a policy is not tried", |at| at.lost_if(is_policies(at) && at.targets(is_policy_jump))),
    Mutant::rule("a policy is tried although one before it passed", |at| {
        // The first one finds no mark.
        let is_later = at.index > 0 && at.place.rules[at.index - 1].target == Some(Target::Return);
        if is_policies(at) && at.targets(is_policy_jump) && is_later { at.without(is_mark) } else { vec![] }
    }),
    Mutant::rule("a policy's accept isn't returned on", |at| {
        at.lost_if(is_policies(at) && at.rule.target == Some(Target::Return))
    }),
    Mutant::rule("a policy's accept accepts at once", |at| {
        at.with_target_if(is_policies(at) && at.rule.target == Some(Target::Return), Target::Accept)
    }),
    Mutant::rule("every policy is taken to accept", |at| {
        let accept = at.place.marks.accept;
        if is_policies(at) { at.without(|m| asks_for(m, accept)) } else { vec![] }
    }),
    Mutant::rule("a policy's pass is taken for accept", |at| {
        let (accept, pass) = (at.place.marks.accept, at.place.marks.pass);
        if !is_policies(at) {
            return vec![];
        }
        at.instead(|m| {
            if asks_for(m, accept) {
                vec![Match::is(Criterion::Mark { value: pass, mask: pass })]
            } else {
                vec![]
            }
        })
    }),
    Mutant::chain("the jumps of two policies are swapped", |place| place.swapped(&pairs(place))),
    Mutant::chain("two tiers are swapped", |place| place.swapped(&tiers(place))),
    Mutant::rule("the end of a tier doesn't deny", |at| at.lost_if(is_end_of_tier(at))),
    Mutant::rule("the end of a tier denies what passed", |at| {
        if is_end_of_tier(at) { at.without(is_mark) } else { vec![] }
    }),
    Mutant::rule("the end of a tier returns", |at| at.with_target_if(is_end_of_tier(at), Target::Return)),
    Mutant::chain("a tier that passes denies at its end", |place| {
        let pass = place.marks.pass;
        let open = tiers(place).into_iter().filter(|range| {
            !matches!(
                &place.rules[range.end - 1].provenance,
                Provenance::Endpoint(_, EndpointStep::EndOfTier(_))
            )
        });
        open.map(|range| {
            let mut rules = place.rules.to_vec();
            let deny = Rule {
                matches: vec![Match::is(Criterion::Mark { value: 0, mask: pass })],
                target: Some(Target::Drop),
                ..rules[range.end - 1].clone()
            };
            rules.insert(range.end, deny);
            rules
        })
        .collect()
    }),
    // Profiles.
    Mutant::rule("a profile is not tried", |at| at.lost_if(is_profile(at) && at.targets(is_policy_jump))),
    Mutant::rule("a profile's accept isn't returned on", |at| {
        at.lost_if(is_profile(at) && at.rule.target == Some(Target::Return))
    }),
    Mutant::rule("every profile is taken to accept", |at| {
        if is_profile(at) { at.without(is_mark) } else { vec![] }
    }),
    Mutant::chain("two profiles are swapped", |place| {
        let profiles = stretches(place, |step| matches!(step, EndpointStep::Profile(_)));
        place.swapped(
            &profiles
                .into_iter()
                .flat_map(|range| range.clone().step_by(2).map(move |at| at..at + 2))
                .collect::<Vec<_>>(),
        )
    }),
    Mutant::rule("what no profile has decided is not dropped", |at| {
        at.lost_if(at.is_step(|step| *step == EndpointStep::NoProfileMatched))
    }),
    Mutant::rule("what no profile has decided returns", |at| {
        at.with_target_if(at.is_step(|step| *step == EndpointStep::NoProfileMatched), Target::Return)
    }),
    Mutant::chain("an endpoint's chain has another's rules", |place| {
        let others = place
            .others()
            .filter(|other| is_endpoint(place.chain) && other.name.as_str()[..8] == place.chain[..8]);
        others.map(|other| other.rules.clone()).collect()
    }),
    Mutant::chain("an endpoint's two chains are mixed up", |place| {
        let other = match place.chain.split_at_checked(8) {
            Some(("cali-tw-", name)) => format!("cali-fw-{name}"),
            Some(("cali-fw-", name)) => format!("cali-tw-{name}"),
            _ => return vec![],
        };
        place.find(&other).map(|other| other.rules.clone()).into_iter().collect()
    }),
    // Dispatch.
    Mutant::rule("an unknown sender is not dropped", |at| {
        at.lost_if(is_unknown(at) && at.place.chain == FROM)
    }),
    Mutant::rule("an unknown receiver is not dropped", |at| {
        at.lost_if(is_unknown(at) && at.place.chain == TO)
    }),
    Mutant::rule("an unknown sender is not dropped by a child", |at| {
        at.lost_if(is_unknown(at) && at.place.chain.starts_with("cali-from-wl-dispatch-"))
    }),
    Mutant::rule("an unknown receiver is not dropped by a child", |at| {
        at.lost_if(is_unknown(at) && at.place.chain.starts_with("cali-to-wl-dispatch-"))
    }),
    Mutant::rule("an interface is unknown", |at| at.lost_if(is_leaf(at))),
    Mutant::rule("an interface leads to another's chain", |at| {
        let Some(Target::Goto(chain)) = &at.rule.target else { return vec![] };
        if !is_leaf(at) {
            return vec![];
        }
        let others = at
            .place
            .others()
            .filter(|other| other.name != *chain && other.name.as_str()[..8] == chain.as_str()[..8]);
        others.flat_map(|other| at.with_target(Target::Goto(other.name.clone()))).collect()
    }),
    Mutant::rule("an endpoint is jumped to", |at| to_jump(at, is_leaf(at))),
    Mutant::rule("a child is jumped to", |at| to_jump(at, is_child(at))),
    Mutant::rule("a child is for a shorter prefix", |at| {
        child_prefix(at, |prefix| vec![prefix[..prefix.len() - 1].into()])
    }),
    Mutant::rule("a child is for a longer prefix", |at| {
        child_prefix(at, |prefix| vec![[prefix, "2"].concat()])
    }),
    Mutant::rule("a child is not reached", |at| at.lost_if(is_child(at))),
    Mutant::rule("an interface is taken for a prefix", |at| {
        interface(at, is_leaf(at), |i| match i {
            InterfaceMatch::Name(name) => vec![InterfaceMatch::Prefix(Arc::clone(name))],
            InterfaceMatch::Prefix(_) => vec![],
        })
    }),
    Mutant::rule("a prefix is taken for an interface", |at| {
        interface(at, is_child(at), |i| match i {
            InterfaceMatch::Prefix(name) => vec![InterfaceMatch::Name(Arc::clone(name))],
            InterfaceMatch::Name(_) => vec![],
        })
    }),
    Mutant::rule("the other interface decides", |at| {
        if !is_leaf(at) && !is_child(at) {
            return vec![];
        }
        at.instead_of(|c| match c {
            Criterion::InInterface(i) => vec![Criterion::OutInterface(i.clone())],
            Criterion::OutInterface(i) => vec![Criterion::InInterface(i.clone())],
            _ => vec![],
        })
    }),
];

const FROM: &str = "cali-from-wl-dispatch";
const TO: &str = "cali-to-wl-dispatch";

fn is_conntrack(at: &At<'_>) -> bool {
    at.is_step(|step| *step == EndpointStep::Conntrack)
}

fn marks_any(at: &At<'_>) -> bool {
    at.targets(|target| matches!(target, Target::SetMark { .. }))
}

/// The rule that lets known connections through has other states.
fn states(at: &At<'_>, states: &'static [ConntrackState]) -> Vec<Vec<Rule>> {
    if !is_conntrack(at) || at.denies() || marks_any(at) {
        return vec![];
    }
    at.instead_of(|c| match c {
        Criterion::Conntrack(_) => vec![Criterion::Conntrack(states)],
        _ => vec![],
    })
}

fn is_encapsulation(at: &At<'_>) -> bool {
    at.is_step(|step| *step == EndpointStep::Encapsulation)
}

fn has_port(at: &At<'_>) -> bool {
    at.has(|m| matches!(m.criterion, Criterion::Ports(..)))
}

/// The first tier finds no mark.
fn starts_later_tier(at: &At<'_>) -> bool {
    let is_start =
        |rule: &Rule| matches!(&rule.provenance, Provenance::Endpoint(_, EndpointStep::StartOfTier(_)));
    is_start(at.rule) && at.place.rules[..at.index].iter().any(is_start)
}

fn is_policies(at: &At<'_>) -> bool {
    at.is_step(|step| matches!(step, EndpointStep::Policies(_)))
}

fn is_end_of_tier(at: &At<'_>) -> bool {
    at.is_step(|step| matches!(step, EndpointStep::EndOfTier(_)))
}

fn is_profile(at: &At<'_>) -> bool {
    at.is_step(|step| matches!(step, EndpointStep::Profile(_)))
}

/// The stretches of an endpoint's chain whose steps are such ones.
fn stretches(place: &Place<'_>, is: fn(&EndpointStep) -> bool) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (number, rule) in place.rules.iter().enumerate() {
        if !matches!(&rule.provenance, Provenance::Endpoint(_, step) if is(step)) {
            continue;
        }
        match ranges.last_mut().filter(|last| last.end == number) {
            Some(last) => last.end += 1,
            None => ranges.push(number..number + 1),
        }
    }
    ranges
}

/// The jump to each policy with the return behind it.
fn pairs(place: &Place<'_>) -> Vec<Range<usize>> {
    let policies = stretches(place, |step| matches!(step, EndpointStep::Policies(_)));
    policies.into_iter().flat_map(|range| range.step_by(2).map(|at| at..at + 2)).collect()
}

/// From the start of each tier to its end.
fn tiers(place: &Place<'_>) -> Vec<Range<usize>> {
    let starts = stretches(place, |step| matches!(step, EndpointStep::StartOfTier(_)));
    let is_in = |rule: &Rule| {
        use EndpointStep::{EndOfTier, Policies};
        matches!(&rule.provenance, Provenance::Endpoint(_, Policies(_) | EndOfTier(_)))
    };
    let length = |start: usize| place.rules[start + 1..].iter().take_while(|rule| is_in(rule)).count();
    starts.into_iter().map(|start| start.start..start.start + 1 + length(start.start)).collect()
}

fn is_endpoint(chain: &str) -> bool {
    chain.starts_with("cali-tw-") || chain.starts_with("cali-fw-")
}

fn is_unknown(at: &At<'_>) -> bool {
    at.rule.provenance == Provenance::UnknownInterface
}

fn is_leaf(at: &At<'_>) -> bool {
    matches!(at.rule.provenance, Provenance::Dispatch(_))
}

fn is_child(at: &At<'_>) -> bool {
    at.place.table == TableName::Filter
        && (at.place.chain == FROM || at.place.chain == TO)
        && at.rule.provenance == Provenance::Static
}

pub fn to_jump(at: &At<'_>, condition: bool) -> Vec<Vec<Rule>> {
    match &at.rule.target {
        Some(Target::Goto(chain)) if condition => at.with_target(Target::Jump(chain.clone())),
        _ => vec![],
    }
}

pub fn interface(
    at: &At<'_>,
    condition: bool,
    other: fn(&InterfaceMatch) -> Vec<InterfaceMatch>,
) -> Vec<Vec<Rule>> {
    if !condition {
        return vec![];
    }
    at.instead_of(|c| match c {
        Criterion::InInterface(i) => other(i).into_iter().map(Criterion::InInterface).collect(),
        Criterion::OutInterface(i) => other(i).into_iter().map(Criterion::OutInterface).collect(),
        _ => vec![],
    })
}

fn child_prefix(at: &At<'_>, other: fn(&str) -> Vec<String>) -> Vec<Vec<Rule>> {
    if !is_child(at) {
        return vec![];
    }
    let prefixes = |i: &InterfaceMatch| match i {
        InterfaceMatch::Prefix(prefix) => {
            other(prefix).into_iter().map(|prefix| InterfaceMatch::Prefix(prefix.into())).collect()
        }
        InterfaceMatch::Name(_) => vec![],
    };
    at.instead_of(|c| match c {
        Criterion::InInterface(i) => prefixes(i).into_iter().map(Criterion::InInterface).collect(),
        Criterion::OutInterface(i) => prefixes(i).into_iter().map(Criterion::OutInterface).collect(),
        _ => vec![],
    })
}
