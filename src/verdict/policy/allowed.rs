//! All that an endpoint lets through between two addresses, at once: [`Judge`] for sets of payloads instead of one.

use std::net::IpAddr;
use std::sync::Arc;

use super::judge::{Judge, rules};
use super::rule_match::{Sets, concerns, family};
use crate::model::{Action, IcmpMatch, IpVersion, PortRange, TierDefault};
use crate::policy::{ActiveRule, ActiveSide, Direction, LocalEndpoint, SetId};
use crate::verdict::packet::Payload;
use crate::verdict::services::Services;

/// The payloads of a connection's first packet that the endpoint's egress or ingress lets through. Both addresses are of
/// one family.
pub fn allowed(
    judge: &Judge<'_>,
    local: &LocalEndpoint,
    direction: Direction,
    source: IpAddr,
    destination: IpAddr,
) -> Services {
    let version = IpVersion::of(source);
    let mut undecided = Undecided { allowed: Services::none(version), rest: Services::all(version) };
    if !local.endpoint.active {
        return undecided.allowed;
    }
    if direction == Direction::Egress {
        undecided.rest = undecided.rest.minus(judge.never_sent(version));
    }
    let ends = Ends { source, destination, sets: judge.sets() };
    for tier in &local.tiers {
        let mut policies = judge.policies(tier, direction).peekable();
        if policies.peek().is_none() {
            continue;
        }
        let mut passed = Services::none(version);
        for policy in policies {
            undecided.meet(rules(&policy.ingress, &policy.egress, direction), &ends, &mut passed);
        }
        undecided.rest = match tier.default_action {
            TierDefault::Deny => passed,
            TierDefault::Pass => passed.or(&undecided.rest),
        };
    }
    for profile in judge.profiles(local) {
        let mut passed = Services::none(version);
        undecided.meet(rules(&profile.ingress, &profile.egress, direction), &ends, &mut passed);
        undecided.rest = passed.or(&undecided.rest);
    }
    undecided.allowed
}

/// What was let through so far, and what no rule has decided yet.
struct Undecided {
    allowed: Services,
    rest: Services,
}

impl Undecided {
    fn meet<'r>(
        &mut self,
        rules: impl IntoIterator<Item = &'r Arc<ActiveRule>>,
        ends: &Ends<'_>,
        passed: &mut Services,
    ) {
        for rule in rules {
            if self.rest.is_empty() {
                return;
            }
            let Some(held) = matched(rule, ends) else { continue };
            let held = held.and(&self.rest);
            match rule.action {
                Action::Log => continue,
                Action::Allow => self.allowed = self.allowed.or(&held),
                Action::Pass => *passed = passed.or(&held),
                Action::Deny => {}
            }
            self.rest = self.rest.minus(&held);
        }
    }
}

/// Both addresses of a packet.
struct Ends<'a> {
    source: IpAddr,
    destination: IpAddr,
    sets: &'a Sets<'a>,
}

/// The payloads that the rule holds for between two addresses; None where the addresses are not as it asks.
fn matched(rule: &ActiveRule, ends: &Ends<'_>) -> Option<Services> {
    let ActiveRule {
        action: _,
        ip_version,
        protocol,
        not_protocol,
        icmp,
        not_icmp,
        source,
        destination,
        annotations: _,
        provenance: _,
    } = rule;
    let version = IpVersion::of(ends.source);
    let families = [*ip_version, protocol.and_then(family)];
    if families.into_iter().flatten().any(|family| family != version)
        || !concerns(source, ends.source, ends.sets)
        || !concerns(destination, ends.destination, ends.sets)
    {
        return None;
    }
    let icmp_set = |icmp: &IcmpMatch| Services::icmp(version, icmp.icmp_type, icmp.code);
    let mut services =
        protocol.map_or_else(|| Services::all(version), |p| Services::protocol(version, p.number()));
    if let Some(not) = not_protocol {
        services = services.minus(&Services::protocol(version, not.number()));
    }
    if let Some(icmp) = icmp {
        services = services.and(&icmp_set(icmp));
    }
    if let Some(not) = not_icmp {
        services = services.minus(&icmp_set(not));
    }
    services = of_ports(services, source, ends.source, ends.sets, Services::from_ports);
    Some(of_ports(services, destination, ends.destination, ends.sets, Services::to_ports))
}

/// Of `services`, those whose port on one side is as the rule asks.
fn of_ports(
    services: Services,
    side: &ActiveSide,
    address: IpAddr,
    sets: &Sets<'_>,
    with_port: fn(IpVersion, u8, PortRange) -> Services,
) -> Services {
    let ActiveSide { ports, port_sets, not_ports, not_port_sets, .. } = side;
    let version = IpVersion::of(address);
    let any_of = |ranges: &[PortRange], ids: &[SetId]| {
        let numbers = ranges
            .iter()
            .flat_map(|range| Payload::PORT_PROTOCOLS.map(|protocol| with_port(version, protocol, *range)));
        let named = ids
            .iter()
            .flat_map(|id| sets.ports_of(id, address))
            .map(|(protocol, port)| with_port(version, protocol, PortRange { first: port, last: port }));
        numbers.chain(named).fold(Services::none(version), |all, one| all.or(&one))
    };
    let services = if ports.is_empty() && port_sets.is_empty() {
        services
    } else {
        services.and(&any_of(ports, port_sets))
    };
    if not_ports.is_empty() && not_port_sets.is_empty() {
        services
    } else {
        services.minus(&any_of(not_ports, not_port_sets))
    }
}
