//! Rules that can never match, and lists of rules that do less than they seem to.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{RuleList, World, sides, warning};
use crate::config::nearest;
use crate::model::{Action, Code, Diagnostic, EntityMatch, IpVersion, PortRange, Rule, TierDefault};
use crate::policy::Owner;

pub(super) fn lint(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let ports = declared_ports(world);
    for list in world.rule_lists() {
        log_only(&list, found);
        never_matching(&list, ports.as_ref(), found);
    }
}

/// The names of ports that endpoints have; None where no endpoint is known.
fn declared_ports<'r>(world: &World<'r>) -> Option<BTreeSet<&'r str>> {
    let of_workloads = world.workloads.iter().map(|endpoint| &endpoint.ports);
    let endpoints: Vec<_> = of_workloads.chain(world.hosts.iter().map(|endpoint| &endpoint.ports)).collect();
    (!endpoints.is_empty()).then(|| endpoints.into_iter().flatten().map(|port| &*port.name).collect())
}

/// A policy that only logs still takes the packets of its tier: behind it, they are dropped.
fn log_only(list: &RuleList<'_>, found: &mut Vec<Diagnostic>) {
    let only_logs = !list.rules.is_empty() && list.rules.iter().all(|rule| rule.action == Action::Log);
    if !only_logs || list.undecided == TierDefault::Pass {
        return;
    }
    let consequence = match &list.owner {
        Owner::Policy(_) => "blocks what it selects",
        Owner::Profile(_) => "lets nothing through",
    };
    found.push(warning(
        Code::LogOnly,
        list.place,
        format!("{}: its {} rules only log, so it {consequence}", list.owner, list.direction.name()),
        "a packet that no rule decides is denied at the end of the tier or profiles".to_owned(),
        Some("add a rule with action Pass to leave the decision to what comes next, or Allow".to_owned()),
    ));
}

fn never_matching(list: &RuleList<'_>, ports: Option<&BTreeSet<&str>>, found: &mut Vec<Diagnostic>) {
    let mut all_taken_by = None;
    for (index, rule) in list.rules.iter().enumerate() {
        let reason = match all_taken_by {
            Some(earlier) => {
                Some((format!("{}[{earlier}] above takes every packet", list.direction.name()), None))
            }
            None => contradiction(rule)
                .map(|reason| (reason, None))
                .or_else(|| ports.and_then(|ports| undeclared_port(rule, ports))),
        };
        if let Some((reason, help)) = reason {
            found.push(warning(
                Code::NeverMatches,
                &rule.place,
                format!("{}: {}[{index}] can never match", list.owner, list.direction.name()),
                reason,
                help,
            ));
        } else if all_taken_by.is_none() && rule.action != Action::Log && asks_nothing(rule) {
            all_taken_by = Some(index);
        }
    }
}

/// A name that no endpoint gives to a port stands for none: why the rule can't match, and what was perhaps meant.
fn undeclared_port(rule: &Rule, declared: &BTreeSet<&str>) -> Option<(String, Option<String>)> {
    sides(rule).into_iter().find_map(|(side, entity)| {
        let name = entity.named_ports.first()?;
        let other_ports = !entity.ports.is_empty();
        if other_ports || entity.named_ports.iter().any(|name| declared.contains(&**name)) {
            return None;
        }
        let help = nearest(name, declared.iter().copied()).map(|known| format!("did you mean `{known}`?"));
        Some((format!("{side}: no endpoint has a port called `{name}`"), help))
    })
}

/// Why no packet fulfils all that the rule asks.
fn contradiction(rule: &Rule) -> Option<String> {
    if let (Some(protocol), Some(not)) = (rule.protocol, rule.not_protocol)
        && protocol.number() == not.number()
    {
        return Some("protocol and notProtocol are the same".to_owned());
    }
    if rule.icmp.is_some() && rule.icmp == rule.not_icmp {
        return Some("icmp and notICMP are the same".to_owned());
    }
    sides(rule).into_iter().find_map(|(side, entity)| {
        contradiction_of_side(entity, rule.ip_version).map(|reason| format!("{side}: {reason}"))
    })
}

fn contradiction_of_side(side: &EntityMatch, version: Option<IpVersion>) -> Option<&'static str> {
    let wrong_family = |net: &IpNet| match version {
        Some(IpVersion::V4) => net.addr().is_ipv6(),
        Some(IpVersion::V6) => net.addr().is_ipv4(),
        None => false,
    };
    let excluded = |net: &IpNet| side.not_nets.iter().any(|not| not.contains(net));
    let closed = |range: &PortRange| {
        side.not_ports.iter().any(|not| not.first <= range.first && range.last <= not.last)
    };
    if !side.nets.is_empty() && side.nets.iter().all(wrong_family) {
        return Some("all nets are of the other IP version");
    }
    if !side.nets.is_empty() && side.nets.iter().all(excluded) {
        return Some("notNets takes away all that nets gives");
    }
    if !side.ports.is_empty() && side.named_ports.is_empty() && side.ports.iter().all(closed) {
        return Some("notPorts takes away all that ports gives");
    }
    if side.selector.is_some() && side.selector == side.not_selector {
        return Some("selector and notSelector are the same");
    }
    if side.tag.is_some() && side.tag == side.not_tag {
        return Some("tag and notTag are the same");
    }
    None
}

/// Whether the rule takes every packet of both families.
fn asks_nothing(rule: &Rule) -> bool {
    let Rule {
        action: _,
        ip_version,
        protocol,
        not_protocol,
        icmp,
        not_icmp,
        source,
        destination,
        unenforceable,
        annotations: _,
        place: _,
    } = rule;
    let no_criterion = ip_version.is_none() && protocol.is_none() && not_protocol.is_none();
    let no_icmp = icmp.is_none() && not_icmp.is_none();
    no_criterion
        && no_icmp
        && unenforceable.is_none()
        && side_asks_nothing(source)
        && side_asks_nothing(destination)
}

fn side_asks_nothing(side: &EntityMatch) -> bool {
    let EntityMatch {
        nets,
        not_nets,
        selector,
        not_selector,
        tag,
        not_tag,
        ports,
        named_ports,
        not_ports,
        not_named_ports,
        services,
    } = side;
    let no_address = nets.is_empty() && not_nets.is_empty() && selector.is_none() && not_selector.is_none();
    let no_tag = tag.is_none() && not_tag.is_none();
    let no_port =
        ports.is_empty() && named_ports.is_empty() && not_ports.is_empty() && not_named_ports.is_empty();
    no_address && no_tag && no_port && services.is_none()
}
