//! Why a flow is let through or not, told for people.

pub mod cluster;
mod flow;
mod help;
mod near_miss;
mod teller;
pub mod wording;

use std::collections::BTreeSet;

use serde::Serialize;

use cluster::Enforcement;
pub use flow::{Flow, Hop, addresses, hops, through};
use teller::Teller;

use crate::verdict::packet::{Packet, SourceTranslation};
use crate::verdict::policy::judge::Judge;

/// What becomes of a flow, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub answer: Answer,
    /// All of it in one line.
    pub summary: String,
    pub hops: Vec<HopExplanation>,
    /// What would change the answer.
    pub help: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Allowed,
    /// It depends on what isn't known here.
    Depends,
    Denied,
}

/// What one host does with the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HopExplanation {
    pub host: String,
    pub packet: String,
    pub answer: Answer,
    pub stages: Vec<StageExplanation>,
    /// Address translation and other things worth knowing.
    pub notes: Vec<String>,
}

/// What one endpoint, or the host itself, says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageExplanation {
    /// `egress of workload-b`
    pub what: String,
    pub answer: Answer,
    pub because: String,
    pub tiers: Vec<TierExplanation>,
    pub profiles: Vec<ListExplanation>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TierExplanation {
    pub name: String,
    pub outcome: String,
    pub policies: Vec<ListExplanation>,
}

/// The rules of a policy or profile as far as they were tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListExplanation {
    pub name: String,
    pub place: Option<String>,
    pub rules: Vec<RuleExplanation>,
    /// What there is to say where no rule was tried.
    pub note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleExplanation {
    /// From 1; none for the deny that stands for what could not be understood, or is missing.
    pub number: Option<u32>,
    pub place: Option<String>,
    pub action: String,
    pub matched: bool,
    /// The first field that fails, or what the rule did.
    pub because: String,
}
/// What the policies of the hosts say of the flow.
pub fn explain(hops: &[Hop], enforcement: &Enforcement) -> Explanation {
    let mut explained = Vec::new();
    let mut help = Vec::new();
    // The source under which the packet leaves the host before.
    let mut source = None;
    for Hop { host, packet } in hops {
        let Some(host) = enforcement.hosts.get(host) else { continue };
        let judge = Judge::new(&host.policy, &host.config);
        let packet = &Packet { source: source.unwrap_or(packet.source), ..packet.clone() };
        let teller = Teller { host, judge, packet, enforcement };
        let judgement = teller.judge.judge(packet);
        teller.help(&judgement, &mut help);
        explained.push(teller.hop(&judgement));
        source = match judgement.translation.source {
            None => source,
            Some(SourceTranslation::To(address)) => Some(address),
            Some(SourceTranslation::Masquerade) => host.address(packet.version()).or(source),
        };
    }
    if explained.is_empty() {
        let summary = "denied: the endpoints are not there".to_owned();
        return Explanation { answer: Answer::Denied, summary, hops: explained, help };
    }
    let answer = explained.iter().map(|hop| hop.answer).max().unwrap_or(Answer::Depends);
    let mut known = BTreeSet::new();
    help.retain(|line| known.insert(line.clone()));
    Explanation { answer, summary: summary(answer, &explained), hops: explained, help }
}

/// `denied at calico-02, egress of workload-b: …`; of an allowed flow, all that was asked.
fn summary(answer: Answer, hops: &[HopExplanation]) -> String {
    let stages = hops.iter().flat_map(|hop| hop.stages.iter().map(move |stage| (hop, stage)));
    let told: Vec<String> = stages
        .filter(|(_, stage)| {
            stage.answer == answer || (answer == Answer::Depends && stage.answer == Answer::Allowed)
        })
        .map(|(hop, stage)| format!("at {}, {}: {}", hop.host, stage.what, stage.because))
        .collect();
    match answer {
        Answer::Denied => format!("denied {}", told.first().map_or("", String::as_str)),
        Answer::Allowed => format!("allowed {}", told.join("; ")),
        Answer::Depends => format!("depends {}", told.join("; ")),
    }
}
