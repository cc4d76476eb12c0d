//! One packet at one host: which endpoints it comes to, what their policies say, and why.

use std::sync::Arc;

use super::cluster::{Enforcement, Host, short_name};
use super::wording::{mismatch_text, place_suffix, rule_text};
use super::{Answer, HopExplanation, ListExplanation, RuleExplanation, StageExplanation, TierExplanation};
use crate::config::EndpointToHostAction;
use crate::model::{Action, TierDefault};
use crate::policy::{ActiveRule, Direction, EndpointTier, LocalEndpoint};
use crate::verdict::packet::{Packet, Payload, SourceTranslation, Translation};
use crate::verdict::policy::judge::{Decision, HostReason, Judge, Judgement, Reason, Ruling, rules};
use crate::verdict::policy::rule_match::first_mismatch;

/// Tells of one packet at one host.
pub(super) struct Teller<'a> {
    pub(super) host: &'a Host,
    pub(super) judge: Judge<'a>,
    pub(super) packet: &'a Packet,
    pub(super) enforcement: &'a Enforcement,
}

impl<'a> Teller<'a> {
    pub(super) fn hop(&self, judgement: &Judgement<'a>) -> HopExplanation {
        let Judgement { ruling, translation, egress, ingress, host } = judgement;
        // Behind a translation the endpoints see another destination.
        let seen = translated(self.packet, translation);
        let endpoints = [(Direction::Egress, egress), (Direction::Ingress, ingress)];
        let mut stages: Vec<StageExplanation> = endpoints
            .into_iter()
            .filter_map(|(direction, decision)| Some(self.stage(direction, (*decision)?, &seen)))
            .collect();
        stages.extend(host.map(|reason| self.host_stage(reason, *ruling)));
        if *ruling == Ruling::LeaveToHost && host.is_none() {
            stages.push(StageExplanation {
                what: "the host's other rules".to_owned(),
                answer: Answer::Depends,
                because: "with FilterAllowAction=Return, what policy allows is left to them".to_owned(),
                tiers: Vec::new(),
                profiles: Vec::new(),
            });
        }
        HopExplanation {
            host: self.host.name.to_string(),
            packet: self.packet.to_string(),
            answer: answer(*ruling),
            stages,
            notes: notes(translation),
        }
    }

    fn stage(&self, direction: Direction, decision: Decision<'a>, packet: &Packet) -> StageExplanation {
        let interface = match direction {
            Direction::Ingress => packet.way.output(),
            Direction::Egress => packet.way.input(),
        };
        let name = decision.endpoint.map_or_else(
            || format!("interface {}", interface.map_or("", |name| name)),
            |local| short_name(&local.endpoint),
        );
        let considered = decision.endpoint.filter(|_| self.reaches_policies(decision.reason));
        StageExplanation {
            what: format!("{} of {name}", direction.name()),
            answer: if decision.allowed { Answer::Allowed } else { Answer::Denied },
            because: self.because(direction, decision),
            tiers: considered
                .map(|local| self.tiers(local, direction, decision.reason, packet))
                .unwrap_or_default(),
            profiles: considered
                .filter(|_| matches!(decision.reason, Reason::ProfileRule(_) | Reason::NoProfileMatched))
                .map(|local| self.profiles(local, direction, packet))
                .unwrap_or_default(),
        }
    }

    fn reaches_policies(&self, reason: Reason<'_>) -> bool {
        match reason {
            Reason::UnknownInterface
            | Reason::AdminDown
            | Reason::Established
            | Reason::InvalidState
            | Reason::Encapsulation => false,
            Reason::PolicyRule(..)
            | Reason::EndOfTier(_)
            | Reason::ProfileRule(_)
            | Reason::NoProfileMatched => true,
        }
    }

    fn because(&self, direction: Direction, decision: Decision<'a>) -> String {
        let verb = |rule: &ActiveRule| match rule.action {
            Action::Allow => "allows",
            Action::Deny => "denies",
            Action::Log => "logs",
            Action::Pass => "passes",
        };
        let by_rule = |rule: &ActiveRule| {
            let source = &rule.provenance;
            let place = place_suffix(source.place.as_ref());
            match source.index {
                Some(index) => format!("rule {} of {}{place} {} it", index + 1, source.owner, verb(rule)),
                None if source.place.is_none() => format!("{} is missing, which denies", source.owner),
                None => {
                    format!("{}{place} could not be understood, and denies all that it governs", source.owner)
                }
            }
        };
        match decision.reason {
            Reason::UnknownInterface => "no endpoint has the interface, which closes it".to_owned(),
            Reason::AdminDown => "the endpoint is switched off".to_owned(),
            Reason::Established => "it belongs to a connection that was let through".to_owned(),
            Reason::InvalidState => "connection tracking can't place the packet".to_owned(),
            Reason::Encapsulation => "workloads may not send encapsulated packets".to_owned(),
            Reason::PolicyRule(rule, _) | Reason::ProfileRule(rule) => by_rule(rule),
            Reason::EndOfTier(tier) => {
                let names: Vec<String> =
                    self.judge.policies(tier, direction).map(|policy| policy.id.to_string()).collect();
                format!(
                    "no rule of {} decides, and tier {} denies what its policies leave undecided",
                    names.join(", "),
                    tier.name
                )
            }
            Reason::NoProfileMatched => {
                decision.endpoint.map_or_else(String::new, |local| self.no_profile(local, direction))
            }
        }
    }

    fn no_profile(&self, local: &LocalEndpoint, direction: Direction) -> String {
        let mut governing = local
            .tiers
            .iter()
            .filter(|tier| self.judge.policies(tier, direction).next().is_some())
            .peekable();
        let policies = if governing.peek().is_some() {
            "its policies pass it on".to_owned()
        } else if local.tiers.is_empty() {
            "no policy selects it".to_owned()
        } else {
            format!("no policy that selects it governs its {}", direction.name())
        };
        match local.endpoint.profiles.as_slice() {
            [] => format!("{policies} and it has no profile"),
            [profile] => format!("{policies} and no rule of its profile {profile} allows"),
            profiles => format!("{policies} and no rule of its profiles {} allows", profiles.join(", ")),
        }
    }

    fn tiers(
        &self,
        local: &'a LocalEndpoint,
        direction: Direction,
        reason: Reason<'a>,
        packet: &Packet,
    ) -> Vec<TierExplanation> {
        let mut tiers = Vec::new();
        for tier in &local.tiers {
            tiers.push(self.tier(tier, direction, packet));
            let decided = match reason {
                Reason::PolicyRule(_, deciding) | Reason::EndOfTier(deciding) => deciding.name == tier.name,
                _ => false,
            };
            if decided {
                break;
            }
        }
        tiers
    }

    fn tier(&self, tier: &'a EndpointTier, direction: Direction, packet: &Packet) -> TierExplanation {
        let mut policies = Vec::new();
        let mut outcome = match tier.default_action {
            TierDefault::Deny => "no rule decides: denied by the tier's default",
            TierDefault::Pass => "no rule decides: passed on by the tier's default",
        };
        let mut governing = self.judge.policies(tier, direction).peekable();
        if governing.peek().is_none() {
            outcome = match direction {
                Direction::Ingress => "its policies govern egress only",
                Direction::Egress => "its policies govern ingress only",
            };
        }
        for policy in governing {
            let (list, decided) = self.list(
                policy.id.to_string(),
                Some(policy.place.to_string()),
                rules(&policy.ingress, &policy.egress, direction),
                packet,
            );
            policies.push(list);
            if let Some(action) = decided {
                outcome = match action {
                    Action::Allow => "allowed",
                    Action::Deny => "denied",
                    Action::Pass => "passed on",
                    Action::Log => "logged",
                };
                break;
            }
        }
        TierExplanation { name: tier.name.to_string(), outcome: outcome.to_owned(), policies }
    }

    fn profiles(
        &self,
        local: &'a LocalEndpoint,
        direction: Direction,
        packet: &Packet,
    ) -> Vec<ListExplanation> {
        let mut profiles = Vec::new();
        for profile in self.judge.profiles(local) {
            let place = profile.place.as_ref().map(ToString::to_string);
            let rules = rules(&profile.ingress, &profile.egress, direction);
            let (list, decided) = self.list(format!("profile {}", profile.name), place, rules, packet);
            profiles.push(list);
            if matches!(decided, Some(Action::Allow | Action::Deny)) {
                break;
            }
        }
        profiles
    }

    /// The rules up to the one that holds, and what that one does.
    fn list(
        &self,
        name: String,
        place: Option<String>,
        rules: &'a [Arc<ActiveRule>],
        packet: &Packet,
    ) -> (ListExplanation, Option<Action>) {
        let mut told = Vec::new();
        let mut decided = None;
        for rule in rules {
            let mismatch = first_mismatch(rule, packet, self.judge.sets());
            let because = match &mismatch {
                Some(mismatch) => mismatch_text(mismatch, packet, self.judge.sets()),
                None if rule.action == Action::Log => "holds: logged, and on with the next rule".to_owned(),
                None => "holds".to_owned(),
            };
            told.push(RuleExplanation {
                number: rule.provenance.index.map(|index| index + 1),
                place: rule.provenance.place.as_ref().map(ToString::to_string),
                action: rule_text(rule, self.judge.sets()),
                matched: mismatch.is_none(),
                because,
            });
            if mismatch.is_none() && rule.action != Action::Log {
                decided = Some(rule.action);
                break;
            }
        }
        let note = rules.is_empty().then(|| "it has no rule for this direction".to_owned());
        (ListExplanation { name, place, rules: told, note }, decided)
    }

    fn host_stage(&self, reason: HostReason, ruling: Ruling) -> StageExplanation {
        let because = match reason {
            HostReason::SpoofedSource => "the source is no address of the endpoint: spoofed",
            HostReason::IpipFromCluster => "IP in IP from a host of the cluster",
            HostReason::IpipFromElsewhere => "IP in IP from an address that is no host's of the cluster",
            HostReason::LinkIcmp => "neighbour and router discovery is always let through",
            HostReason::OpenStackService => "a service of OpenStack at the host",
            HostReason::EndpointToHost(EndpointToHostAction::Drop) => {
                "DefaultEndpointToHostAction=Drop: workloads may not reach their host"
            }
            HostReason::EndpointToHost(EndpointToHostAction::Return) => {
                "DefaultEndpointToHostAction=Return: left to the host's other rules"
            }
            HostReason::EndpointToHost(EndpointToHostAction::Accept) => {
                "DefaultEndpointToHostAction=Accept: workloads may reach their host"
            }
            HostReason::IpipToCluster => "IP in IP to a host of the cluster",
            HostReason::NotPoliced => "no workload is concerned: left to the host's other rules",
            HostReason::HostToWorkload => {
                "a host may reach its own workloads, unless its other rules forbid it"
            }
        };
        StageExplanation {
            what: "the host".to_owned(),
            answer: answer(ruling),
            because: because.to_owned(),
            tiers: Vec::new(),
            profiles: Vec::new(),
        }
    }
}

fn answer(ruling: Ruling) -> Answer {
    match ruling {
        Ruling::Allow => Answer::Allowed,
        Ruling::Deny => Answer::Denied,
        Ruling::LeaveToHost => Answer::Depends,
    }
}

/// The packet as it is behind destination translation.
pub(super) fn translated(packet: &Packet, translation: &Translation) -> Packet {
    let mut packet = packet.clone();
    if let Some((address, port)) = translation.destination {
        packet.destination = address;
        if let (Some(port), Payload::Ports { destination, .. }) = (port, &mut packet.payload) {
            *destination = port;
        }
    }
    packet
}

fn notes(translation: &Translation) -> Vec<String> {
    let Translation { destination, source } = translation;
    let destination = destination.map(|(address, port)| match port {
        Some(port) => format!("its destination becomes {address}, port {port}"),
        None => format!("its destination becomes {address}"),
    });
    let source = source.map(|source| match source {
        SourceTranslation::Masquerade => "its source becomes the host's address".to_owned(),
        SourceTranslation::To(address) => format!("its source becomes {address}"),
    });
    destination.into_iter().chain(source).collect()
}
