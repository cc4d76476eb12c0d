//! What would change the answer.

use std::fmt::Write;

use super::cluster::short_name;
use super::near_miss::near_misses;
use super::teller::{Teller, translated};
use crate::config::EndpointToHostAction;
use crate::policy::{Direction, LocalEndpoint};
use crate::verdict::packet::Packet;
use crate::verdict::policy::judge::{Decision, HostReason, Judgement, Reason, Ruling};

impl<'a> Teller<'a> {
    pub(super) fn help(&self, judgement: &Judgement<'a>, help: &mut Vec<String>) {
        let Judgement { ruling, translation, egress, ingress, host } = judgement;
        let seen = translated(self.packet, translation);
        for (direction, decision) in [(Direction::Egress, egress), (Direction::Ingress, ingress)] {
            if let Some(decision) = decision.filter(|decision| !decision.allowed) {
                self.help_endpoint(direction, decision, &seen, help);
            }
        }
        match host {
            Some(HostReason::EndpointToHost(EndpointToHostAction::Drop)) => help.push(
                "set DefaultEndpointToHostAction to Return or Accept, if workloads are to reach their host"
                    .to_owned(),
            ),
            Some(HostReason::SpoofedSource) => help.push(
                "send from one of the endpoint's own addresses; `allowedSpoofedSourcePrefixes` with \
                 WorkloadSourceSpoofing=Any allows others"
                    .to_owned(),
            ),
            Some(HostReason::IpipFromElsewhere) => help.push(
                "describe the sending host as a Node with its address, or name it in ExternalNodesCIDRList"
                    .to_owned(),
            ),
            _ if *ruling == Ruling::LeaveToHost => {
                help.push("`--kernel` or `--saved FILE` on the host tells what its other rules do".to_owned())
            }
            _ => {}
        }
    }

    fn help_endpoint(
        &self,
        direction: Direction,
        decision: Decision<'a>,
        packet: &Packet,
        help: &mut Vec<String>,
    ) {
        let way = direction.name();
        let Some(local) = decision.endpoint else {
            help.push(format!(
                "give {} a WorkloadEndpoint with that interface, or look why the one that has it is refused: `felix-rs check`",
                self.host.name
            ));
            return;
        };
        let name = short_name(&local.endpoint);
        match decision.reason {
            Reason::PolicyRule(rule, tier) => {
                let owner = &rule.provenance.owner;
                help.push(match rule.provenance.index {
                    Some(index) => format!(
                        "narrow rule {} of {owner}, or put an {way} Allow ahead of it: in tier {}, with a lower order",
                        index + 1,
                        tier.name
                    ),
                    None => format!("correct {owner}: `felix-rs check` says what is wrong"),
                });
            }
            Reason::ProfileRule(rule) => {
                let owner = &rule.provenance.owner;
                help.push(match (rule.provenance.index, &rule.provenance.place) {
                    (Some(index), _) => {
                        format!("narrow rule {} of {owner}, or let a policy that selects {name} decide", index + 1)
                    }
                    (None, None) => format!("write {owner}, or take it out of {name}'s profiles"),
                    (None, Some(_)) => format!("correct {owner}: `felix-rs check` says what is wrong"),
                });
            }
            Reason::EndOfTier(tier) => {
                let misses = near_misses(&self.judge, local, direction, packet);
                help.extend(misses.iter().take(3).map(|miss| miss.text(packet, self.judge.sets())));
                let names: Vec<String> =
                    self.judge.policies(tier, direction).map(|policy| policy.id.qualified_name()).collect();
                help.push(format!("add an {way} rule that allows it to {} (tier {})", names.join(" or "), tier.name));
            }
            Reason::NoProfileMatched => {
                help.push(format!(
                    "write a policy that selects {name} ({}) with an {way} rule that allows it",
                    self.labels(local)
                ));
                if let [profile, ..] = local.endpoint.profiles.as_slice() {
                    help.push(format!("or add an {way} rule that allows it to profile {profile}"));
                }
            }
            Reason::Encapsulation => help.push(
                "AllowVXLANPacketsFromWorkloads and AllowIPIPPacketsFromWorkloads let workloads send such packets"
                    .to_owned(),
            ),
            Reason::UnknownInterface | Reason::AdminDown | Reason::Established | Reason::InvalidState => {}
        }
    }

    fn labels(&self, local: &LocalEndpoint) -> String {
        let labels = self.enforcement.labels.get(&local.endpoint.id).into_iter().flatten();
        let mut text = String::new();
        for (key, value) in labels.take(6) {
            let comma = if text.is_empty() { "" } else { ", " };
            // A String takes everything.
            let _ = write!(text, "{comma}{key}={value}");
        }
        if text.is_empty() { "it has no labels".to_owned() } else { format!("its labels: {text}") }
    }
}
