//! Chains held against the policy that they were made from: both asked about the same packets.

pub mod boundary;

use std::fmt;

use crate::config::Config;
use crate::policy::HostPolicy;
use crate::rules::ruleset::Ruleset;
use crate::verdict::chains::machine::{Machine, Passage, Record, Refusal, Verdict};
use crate::verdict::chains::program::{Policy, Program};
use crate::verdict::check::boundary::boundary_packets;
use crate::verdict::packet::Packet;
use crate::verdict::policy::judge::{Judge, Judgement, Ruling};

/// A packet of which policy and chains say different things.
#[derive(Clone, Debug, PartialEq)]
pub struct Disagreement {
    pub packet: Packet,
    pub policy: Ruling,
    pub chains: ChainsSaid,
}

/// What the chains say of a packet that policy sees otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum ChainsSaid {
    Ruling(Ruling),
    /// The same, but other addresses.
    OtherTranslation,
    /// Different things, depending on what isn't modelled.
    Unclear,
    Refused(Refusal),
}

/// How many packets were compared, and the first one that differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    pub packets: usize,
    pub disagreement: Option<Disagreement>,
}

/// Compares chains and policy on the packets at the edges of every rule and set, until the first that differs.
pub fn check(policy: &HostPolicy, config: &Config, rulesets: &[impl AsRef<Ruleset>]) -> Checked {
    let judge = Judge::new(policy, config);
    let mut checked = Checked::default();
    for ruleset in rulesets {
        let ruleset = ruleset.as_ref();
        let program = Program::compiled(ruleset, Policy::Accept);
        let machine = Machine::new(&program);
        for packet in boundary_packets(policy, config, ruleset.version) {
            checked.packets += 1;
            if let Err(disagreement) = compare(&judge, &machine, &packet) {
                checked.disagreement = Some(*disagreement);
                return checked;
            }
        }
    }
    checked
}

/// Asks both about one packet; what both say.
///
/// # Errors
/// They differ.
pub fn compare<'p>(
    judge: &Judge<'p>,
    machine: &Machine<'_>,
    packet: &Packet,
) -> Result<Judgement<'p>, Box<Disagreement>> {
    let judgement = judge.judge(packet);
    let chains = match machine.run(packet, Record::Nothing) {
        Ok(passages) => difference(&judgement, &passages),
        Err(refusal) => Some(ChainsSaid::Refused(refusal)),
    };
    match chains {
        None => Ok(judgement),
        Some(chains) => {
            Err(Box::new(Disagreement { packet: packet.clone(), policy: judgement.ruling, chains }))
        }
    }
}

/// What the chains' verdict is in terms of policy: they have left a packet to the host where a chain's policy decided
/// in the filter table.
pub fn ruling(passage: &Passage) -> Ruling {
    let by_rule = passage.left_filter_at.is_some_and(|at| at.rule.is_some());
    match passage.verdict {
        Verdict::Drop | Verdict::Reject => Ruling::Deny,
        Verdict::Accept if by_rule => Ruling::Allow,
        Verdict::Accept => Ruling::LeaveToHost,
    }
}

fn difference(judgement: &Judgement<'_>, passages: &[Passage]) -> Option<ChainsSaid> {
    let mut rulings = passages.iter().map(ruling);
    let first = rulings.next()?;
    if rulings.any(|other| other != first) {
        return Some(ChainsSaid::Unclear);
    }
    if first != judgement.ruling {
        return Some(ChainsSaid::Ruling(first));
    }
    // Where the way has parted, it did so over a translation that depends on the interface's own addresses.
    let translated = match passages {
        [passage] if first != Ruling::Deny => passage.translation == judgement.translation,
        _ => true,
    };
    (!translated).then_some(ChainsSaid::OtherTranslation)
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packet, policy, chains } = self;
        write!(f, "{packet}: policy {}, but the chains {chains}", policy.verb())
    }
}

impl fmt::Display for ChainsSaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ruling(Ruling::Allow) => f.write_str("allow it"),
            Self::Ruling(Ruling::Deny) => f.write_str("deny it"),
            Self::Ruling(Ruling::LeaveToHost) => f.write_str("leave it to the host"),
            Self::OtherTranslation => f.write_str("translate its addresses otherwise"),
            Self::Unclear => f.write_str("depend on what isn't modelled"),
            Self::Refused(refusal) => write!(f, "give no answer: {refusal}"),
        }
    }
}

impl Ruling {
    /// As in `policy allows it`.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Allow => "allows it",
            Self::Deny => "denies it",
            Self::LeaveToHost => "leaves it to the host",
        }
    }
}
