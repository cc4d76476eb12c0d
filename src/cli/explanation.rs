//! An explanation as a person reads it.

use crate::verdict::chains::walk::{Step, Walk, Way};
use crate::verdict::explain::{
    Answer, Explanation, HopExplanation, ListExplanation, RuleExplanation, StageExplanation, TierExplanation,
};

/// The explanation, and below each hop its way through the chains, where those were asked for.
pub(super) fn text(explanation: &Explanation, chains: &[Walk]) -> String {
    let Explanation { answer: _, summary, hops, help } = explanation;
    let mut out = format!("{summary}\n");
    for (number, hop) in hops.iter().enumerate() {
        hop_text(&mut out, hop);
        if let Some(walk) = chains.get(number) {
            walk_text(&mut out, walk);
        }
    }
    if !help.is_empty() {
        out += "\n";
    }
    for line in help {
        out += &format!("help: {line}\n");
    }
    out
}

fn hop_text(out: &mut String, hop: &HopExplanation) {
    let HopExplanation { host, packet, answer: _, stages, notes } = hop;
    *out += &format!("\n{host}: {packet}\n");
    for note in notes {
        *out += &format!("  note: {note}\n");
    }
    for StageExplanation { what, answer, because, tiers, profiles } in stages {
        *out += &format!("  {what}: {}\n", answer_text(*answer));
        for TierExplanation { name, outcome, policies } in tiers {
            *out += &format!("    tier {name}: {outcome}\n");
            policies.iter().for_each(|policy| list_text(out, policy, "      "));
        }
        profiles.iter().for_each(|profile| list_text(out, profile, "    "));
        *out += &format!("    so: {because}\n");
    }
}

fn list_text(out: &mut String, list: &ListExplanation, indent: &str) {
    let ListExplanation { name, place, rules, note } = list;
    let place = place.as_ref().map_or_else(String::new, |place| format!(" ({place})"));
    *out += &format!("{indent}{name}{place}\n");
    for RuleExplanation { number, place: _, action, matched, because } in rules {
        let number = number.map_or_else(String::new, |number| format!("rule {number}: "));
        let sign = if *matched { "=" } else { "-" };
        *out += &format!("{indent}  {sign} {number}{action}: {because}\n");
    }
    if let Some(note) = note {
        *out += &format!("{indent}  {note}\n");
    }
}

/// What a host's chains do with a packet.
pub(super) fn chains_text(summary: &str, packet: &str, backends: &[Walk]) -> String {
    let mut out = format!("{summary}\n\n{packet}\n");
    for walk in backends {
        walk_text(&mut out, walk);
    }
    out
}

/// Most ways that are shown, where something isn't modelled.
const MAX_WAYS: usize = 4;

fn walk_text(out: &mut String, walk: &Walk) {
    *out += "  chains:\n";
    if walk.ways.len() > MAX_WAYS {
        *out += &format!("    {MAX_WAYS} of {} ways:\n", walk.ways.len());
    }
    for way in walk.ways.iter().take(MAX_WAYS) {
        let Way { verdict, assumptions, unknown: _, steps, policy_of, .. } = way;
        for assumption in assumptions {
            *out += &format!("    supposing that {assumption}\n");
        }
        for Step { table, chain, rule, reason, mark, packets } in steps {
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!("   # {reason}"));
            let packets = packets.map_or_else(String::new, |packets| format!("   [{packets} packets]"));
            *out += &format!("    mark {mark:#010x}  {table} {chain} {rule}{packets}{reason}\n");
        }
        let by = policy_of.as_ref().map_or_else(String::new, |chain| format!(" by the policy of {chain}"));
        *out += &format!("    {verdict}{by}\n");
    }
}

fn answer_text(answer: Answer) -> &'static str {
    match answer {
        Answer::Allowed => "allowed",
        Answer::Denied => "denied",
        Answer::Depends => "not decided by policy",
    }
}
