//! Why a flow is let through or not, told for people.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::boundary::outside;
use super::cluster::{Enforcement, Host, Party, short_name};
use super::judge::{Decision, HostReason, Judge, Judgement, Reason, Ruling, rules};
use super::machine::{SourceTranslation, Translation};
use super::near_miss::near_misses;
use super::packet::{ConnState, Packet, Payload, Way};
use super::rule_match::first_mismatch;
use super::wording::{mismatch_text, payload_text, place_suffix, rule_text};
use crate::config::EndpointToHostAction;
use crate::model::{Action, IpVersion, TierDefault};
use crate::policy::{ActiveRule, Direction, EndpointTier, LocalEndpoint};

/// A question about one flow's first packet.
#[derive(Clone, Debug)]
pub struct Flow {
    pub from: Party,
    pub to: Party,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub payload: Payload,
    pub state: ConnState,
}

impl std::fmt::Display for Flow {
    /// `workload-b → workload-a, icmp type 8 code 0`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to, source, destination, payload, state: _ } = self;
        write!(f, "{from} → {to}, {}", payload_text(IpVersion::of(*source), *payload))?;
        write!(f, " ({source} → {destination})")
    }
}

/// One host that a flow comes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    pub host: Arc<str>,
    pub packet: Packet,
}

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

/// The hosts that the flow comes through, with the packet as each sees it.
pub fn hops(flow: &Flow, enforcement: &Enforcement) -> Vec<Hop> {
    let uplink = |host: &Arc<str>| uplink(host, enforcement);
    let hop = |host: &Arc<str>, way| Hop { host: Arc::clone(host), packet: packet(flow, way) };
    let same_host = flow.from.host().is_some() && flow.from.host() == flow.to.host();
    let mut hops = Vec::new();
    match &flow.from {
        Party::Endpoint { endpoint, address: _ } => {
            let (host, input) = (&endpoint.id.node, Arc::clone(&endpoint.interface));
            let way = match &flow.to {
                Party::Endpoint { endpoint: to, address: _ } if same_host => {
                    Way::Forwarded { input, output: Arc::clone(&to.interface) }
                }
                Party::Host { .. } if same_host => Way::ToHost { input },
                Party::Endpoint { .. } | Party::Host { .. } | Party::Outside(_) => {
                    Way::Forwarded { input, output: uplink(host) }
                }
            };
            hops.push(hop(host, way));
        }
        Party::Host { name, addresses: _ } => {
            let output = match &flow.to {
                Party::Endpoint { endpoint, address: _ } if same_host => Arc::clone(&endpoint.interface),
                Party::Endpoint { .. } | Party::Host { .. } | Party::Outside(_) => uplink(name),
            };
            hops.push(hop(name, Way::FromHost { output }));
        }
        Party::Outside(_) => {}
    }
    match &flow.to {
        Party::Endpoint { endpoint, address: _ } if !same_host => {
            let (host, output) = (&endpoint.id.node, Arc::clone(&endpoint.interface));
            hops.push(hop(host, Way::Forwarded { input: uplink(host), output }));
        }
        Party::Host { name, addresses: _ } if !same_host => {
            hops.push(hop(name, Way::ToHost { input: uplink(name) }));
        }
        Party::Endpoint { .. } | Party::Host { .. } | Party::Outside(_) => {}
    }
    hops
}

/// A host that the flow comes through although neither party is there.
pub fn through(host: Arc<str>, flow: &Flow, enforcement: &Enforcement) -> Hop {
    let interface = uplink(&host, enforcement);
    let way = Way::Forwarded { input: Arc::clone(&interface), output: interface };
    Hop { packet: packet(flow, way), host }
}

/// What the policies of the hosts say of the flow.
pub fn explain(hops: &[Hop], enforcement: &Enforcement) -> Explanation {
    let mut explained = Vec::new();
    let mut help = Vec::new();
    for Hop { host, packet } in hops {
        let Some(host) = enforcement.hosts.get(host) else { continue };
        let judge = Judge::new(&host.policy, &host.config);
        let teller = Teller { host, judge, packet, enforcement };
        let judgement = teller.judge.judge(packet);
        teller.help(&judgement, &mut help);
        explained.push(teller.hop(&judgement));
    }
    let answer = explained.iter().map(|hop| hop.answer).max().unwrap_or(Answer::Depends);
    let mut known = BTreeSet::new();
    help.retain(|line| known.insert(line.clone()));
    Explanation { answer, summary: summary(answer, &explained), hops: explained, help }
}

/// The interface by which a host reaches the others, which no manifest names.
fn uplink(host: &Arc<str>, enforcement: &Enforcement) -> Arc<str> {
    enforcement.hosts.get(host).map_or_else(|| "uplink".into(), |host| outside(&host.config))
}

fn packet(flow: &Flow, way: Way) -> Packet {
    Packet {
        way,
        source: flow.source,
        destination: flow.destination,
        payload: flow.payload,
        state: flow.state,
        reverse_path: is_own_address(&flow.from, flow.source),
    }
}

/// `denied at calico-02, egress of workload-b: …`; of an allowed flow, all that was asked.
fn summary(answer: Answer, hops: &[HopExplanation]) -> String {
    let stages = hops.iter().flat_map(|hop| hop.stages.iter().map(move |stage| (hop, stage)));
    let told: Vec<String> = stages
        .filter(|(_, stage)| stage.answer == answer)
        .map(|(hop, stage)| format!("at {}, {}: {}", hop.host, stage.what, stage.because))
        .collect();
    match answer {
        Answer::Denied => format!("denied {}", told.first().map_or("", String::as_str)),
        Answer::Allowed => format!("allowed {}", told.join("; ")),
        Answer::Depends => format!("depends {}", told.join("; ")),
    }
}

/// Whether an answer to the address comes back to the party.
fn is_own_address(party: &Party, address: IpAddr) -> bool {
    match party {
        Party::Endpoint { endpoint, address: _ } => {
            endpoint.networks.iter().any(|net| net.contains(&address))
        }
        Party::Host { .. } | Party::Outside(_) => true,
    }
}

/// Tells of one packet at one host.
struct Teller<'a> {
    host: &'a Host,
    judge: Judge<'a>,
    packet: &'a Packet,
    enforcement: &'a Enforcement,
}

impl<'a> Teller<'a> {
    fn hop(&self, judgement: &Judgement<'a>) -> HopExplanation {
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
                    "no rule of {} holds, and tier {} denies what its policies don't decide",
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
            TierDefault::Deny => "no rule holds: denied by the tier's default",
            TierDefault::Pass => "no rule holds: passed on by the tier's default",
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

    fn help(&self, judgement: &Judgement<'a>, help: &mut Vec<String>) {
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

fn answer(ruling: Ruling) -> Answer {
    match ruling {
        Ruling::Allow => Answer::Allowed,
        Ruling::Deny => Answer::Denied,
        Ruling::LeaveToHost => Answer::Depends,
    }
}

/// The packet as it is behind destination translation.
fn translated(packet: &Packet, translation: &Translation) -> Packet {
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

/// The addresses of a flow: of the family that was asked for, else of the first that both parties have.
pub fn addresses(from: &Party, to: &Party, version: Option<IpVersion>) -> Option<(IpAddr, IpAddr)> {
    let versions = version.map_or(vec![IpVersion::V4, IpVersion::V6], |version| vec![version]);
    versions.into_iter().find_map(|version| {
        let first = |party: &Party| party.addresses(Some(version)).into_iter().next();
        Some((first(from)?, first(to)?))
    })
}
