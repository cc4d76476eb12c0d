//! What happens to a workload's packets: `cali-tw-…` to it, `cali-fw-…` from it (reference §6.9).

use std::sync::Arc;

use super::family::Family;
use super::ruleset::{Chain, ChainName, EndpointStep, Match, Provenance, Rule, Side, Target};
use super::shorthand::{ESTABLISHED, INVALID, IPIP};
use super::tier_jumps::TierJumps;
use crate::config::AllowAction;
use crate::model::{Protocol, TierDefault, WorkloadId};
use crate::policy::{Direction, LocalEndpoint};

/// The chain of one endpoint in one direction; `tiers` are those with a policy in that direction.
pub(super) fn endpoint_chain(
    family: &Family<'_>,
    local: &LocalEndpoint,
    direction: Direction,
    tiers: &[TierJumps],
) -> Chain {
    let id = Arc::new(local.endpoint.id.clone());
    let mut chain = EndpointChain { family, direction, id, rules: Vec::new() };
    if local.endpoint.active {
        chain.conntrack();
        chain.add(EndpointStep::ClearMarks, [], Target::clear_mark(family.marks.accept | family.marks.pass));
        match direction {
            Direction::Ingress => {}
            Direction::Egress => chain.encapsulation(),
        }
        tiers.iter().for_each(|tier| chain.tier(tier));
        local.endpoint.profiles.iter().for_each(|profile| chain.profile(profile));
        chain.deny(EndpointStep::NoProfileMatched, [], "if no profiles matched");
    } else {
        let down = chain.rule(EndpointStep::AdminDown, [], family.filter_deny());
        chain.rules.push(down.comment("Endpoint admin disabled"));
    }
    Chain { name: chain_name(local, direction), rules: chain.rules }
}

/// `cali-tw-…` or `cali-fw-…`.
fn chain_name(local: &LocalEndpoint, direction: Direction) -> ChainName {
    match direction {
        Direction::Ingress => ChainName::to_workload(&local.endpoint.interface),
        Direction::Egress => ChainName::from_workload(&local.endpoint.interface),
    }
}

struct EndpointChain<'a> {
    family: &'a Family<'a>,
    direction: Direction,
    id: Arc<WorkloadId>,
    rules: Vec<Rule>,
}

impl EndpointChain<'_> {
    /// Policy decides on the first packet of a connection; the rest follow it.
    fn conntrack(&mut self) {
        let Family { marks, config, .. } = self.family;
        match config.filter_allow_action {
            AllowAction::Accept => {}
            // Whoever is returned to must know that the packet was accepted.
            AllowAction::Return => {
                let accepted = Target::mark(marks.accept);
                self.add(EndpointStep::Conntrack, [Match::conntrack(ESTABLISHED)], accepted);
            }
        }
        self.add(EndpointStep::Conntrack, [Match::conntrack(ESTABLISHED)], self.family.filter_allow());
        if !config.disable_conntrack_invalid_check {
            self.add(EndpointStep::Conntrack, [Match::conntrack(INVALID)], self.family.filter_deny());
        }
    }

    /// Packets that a host would unwrap and take for another workload's.
    fn encapsulation(&mut self) {
        let config = self.family.config;
        if !config.allow_vxlan_packets_from_workloads {
            let vxlan =
                [Match::protocol(Protocol::Number(17)), Match::port(Side::Destination, config.vxlan_port)];
            self.deny(EndpointStep::Encapsulation, vxlan, "VXLAN encapped packets originating in workloads");
        }
        if !config.allow_ipip_packets_from_workloads {
            let ipip = [Match::protocol(IPIP)];
            self.deny(EndpointStep::Encapsulation, ipip, "IPinIP encapped packets originating in workloads");
        }
    }

    fn tier(&mut self, tier: &TierJumps) {
        let TierJumps { name, default_action, chains } = tier;
        let marks = self.family.marks;
        let start = EndpointStep::StartOfTier(Arc::clone(name));
        let start = self.rule(start, [], Target::clear_mark(marks.pass));
        self.rules.push(start.comment(format!("Start of tier {name}")));
        for chain in chains.iter() {
            let step = EndpointStep::Policies(Arc::clone(name));
            self.add(step.clone(), [Match::unmarked(marks.pass)], Target::Jump(chain.clone()));
            let accepted = self.rule(step, [Match::marked(marks.accept)], Target::Return);
            self.rules.push(accepted.comment("Return if policy accepted"));
        }
        match default_action {
            TierDefault::Pass => {}
            TierDefault::Deny => {
                let end = EndpointStep::EndOfTier(Arc::clone(name));
                let verb = self.family.deny_verb();
                let end = self.rule(end, [Match::unmarked(marks.pass)], self.family.filter_deny());
                self.rules
                    .push(end.comment(format!("End of tier {name}. {verb} if no policies passed packet")));
            }
        }
    }

    fn profile(&mut self, profile: &Arc<str>) {
        let step = EndpointStep::Profile(Arc::clone(profile));
        let chain = ChainName::profile(self.direction, profile);
        self.add(step.clone(), [], Target::Jump(chain));
        let accepted = self.rule(step, [Match::marked(self.family.marks.accept)], Target::Return);
        self.rules.push(accepted.comment("Return if profile accepted"));
    }

    /// Drops or rejects `what`.
    fn deny<const N: usize>(&mut self, step: EndpointStep, matches: [Match; N], what: &str) {
        let comment = format!("{} {what}", self.family.deny_verb());
        let deny = self.rule(step, matches, self.family.filter_deny());
        self.rules.push(deny.comment(comment));
    }

    fn add<const N: usize>(&mut self, step: EndpointStep, matches: [Match; N], target: Target) {
        self.rules.push(self.rule(step, matches, target));
    }

    fn rule<const N: usize>(&self, step: EndpointStep, matches: [Match; N], target: Target) -> Rule {
        Rule::when(matches, target, &Provenance::Endpoint(Arc::clone(&self.id), step))
    }
}

#[cfg(test)]
mod tests;
