//! Faults in what is on every host: hooks, the tables' own chains, address translation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use felix_rs::model::{IcmpMatch, PortRange};
use felix_rs::rules::ruleset::{
    Criterion, EndpointStep, InterfaceMatch, Match, Provenance, Rule, Side, TableName, Target,
};
use ipnet::IpNet;

use super::endpoint::{interface, to_jump};
use super::site::{At, Mutant, is_mark};

pub const MUTANTS: &[Mutant] = &[
    // Hooks.
    Mutant::rule("FORWARD doesn't lead to us", |at| {
        at.lost_if(at.is_in(TableName::Filter, "FORWARD") && jumps(at, "cali-FORWARD"))
    }),
    Mutant::rule("INPUT doesn't lead to us", |at| at.lost_if(at.is_in(TableName::Filter, "INPUT"))),
    Mutant::rule("OUTPUT doesn't lead to us", |at| at.lost_if(at.is_in(TableName::Filter, "OUTPUT"))),
    Mutant::rule("raw's PREROUTING doesn't lead to us", |at| {
        at.lost_if(at.is_in(TableName::Raw, "PREROUTING"))
    }),
    Mutant::rule("nat's PREROUTING doesn't lead to us", |at| {
        at.lost_if(at.is_in(TableName::Nat, "PREROUTING"))
    }),
    Mutant::rule("nat's OUTPUT doesn't lead to us", |at| at.lost_if(at.is_in(TableName::Nat, "OUTPUT"))),
    Mutant::rule("nat's POSTROUTING doesn't lead to us", |at| {
        at.lost_if(at.is_in(TableName::Nat, "POSTROUTING"))
    }),
    Mutant::rule("what policy accepted is not accepted in the end", |at| {
        at.lost_if(at.is_in(TableName::Filter, "FORWARD") && at.rule.target == Some(Target::Accept))
    }),
    Mutant::rule("all that is forwarded is accepted in the end", |at| {
        if at.is_in(TableName::Filter, "FORWARD") && at.rule.target == Some(Target::Accept) {
            at.without(is_mark)
        } else {
            vec![]
        }
    }),
    // Filter, forwarded.
    Mutant::rule("the senders of a prefix are not policed", |at| {
        at.lost_if(in_forward(at) && jumps(at, "cali-from-wl-dispatch"))
    }),
    Mutant::rule("the receivers of a prefix are not policed", |at| {
        at.lost_if(in_forward(at) && jumps(at, "cali-to-wl-dispatch"))
    }),
    Mutant::chain("receivers are asked before senders", |place| {
        let dispatch = |name: &str| -> Vec<usize> {
            let rules = place.rules.iter().enumerate();
            rules.filter(|(_, rule)| leads_to(rule, name)).map(|(at, _)| at).collect()
        };
        if place.table != TableName::Filter || place.chain != "cali-FORWARD" {
            return vec![];
        }
        let (from, to) = (dispatch("cali-from-wl-dispatch"), dispatch("cali-to-wl-dispatch"));
        let (Some(&last), Some(&first)) = (from.last(), to.first()) else { return vec![] };
        let mut rules = place.rules.to_vec();
        rules.swap(last, first);
        vec![rules]
    }),
    Mutant::rule("the prefix of forwarded packets is longer", |at| longer(at, in_forward(at))),
    Mutant::rule("the prefix of packets to the host is longer", |at| {
        longer(at, at.is_in(TableName::Filter, "cali-INPUT"))
    }),
    Mutant::rule("the prefix of checked sources is longer", |at| {
        longer(at, at.is_in(TableName::Raw, "cali-PREROUTING"))
    }),
    Mutant::rule("every interface is a workload's", |at| {
        let is_interface =
            |m: &Match| matches!(m.criterion, Criterion::InInterface(_) | Criterion::OutInterface(_));
        if in_forward(at) { at.without(is_interface) } else { vec![] }
    }),
    // Filter, to and from the host.
    Mutant::rule("workloads' packets to the host are not policed", |at| at.lost_if(to_host(at))),
    Mutant::rule("the chain of workloads to the host is jumped to", |at| to_jump(at, to_host(at))),
    Mutant::rule("all senders are taken for workloads", |at| {
        if to_host(at) { at.without(|m| matches!(m.criterion, Criterion::InInterface(_))) } else { vec![] }
    }),
    Mutant::rule("egress doesn't decide what goes to the host", |at| {
        at.lost_if(in_to_host(at) && jumps(at, "cali-from-wl-dispatch"))
    }),
    Mutant::rule("DefaultEndpointToHostAction is lost", |at| at.lost_if(is_to_host_action(at))),
    Mutant::rule("DefaultEndpointToHostAction accepts", |at| other_action(at, Target::Accept)),
    Mutant::rule("DefaultEndpointToHostAction returns", |at| other_action(at, Target::Return)),
    Mutant::rule("DefaultEndpointToHostAction drops", |at| other_action(at, Target::Drop)),
    Mutant::chain("DefaultEndpointToHostAction comes before egress", |place| {
        let last = place.rules.len().saturating_sub(2);
        let is = place.table == TableName::Filter && place.chain == "cali-wl-to-host";
        if is { place.swapped(&[last..last + 1, last + 1..last + 2]) } else { vec![] }
    }),
    Mutant::rule("ICMPv6 of the link meets policy", |at| at.lost_if(in_to_host(at) && is_icmp(at))),
    Mutant::rule("an ICMPv6 type beside those of the link is let through", |at| {
        if !in_to_host(at) {
            return vec![];
        }
        at.instead_of(|c| match c {
            Criterion::Icmp(version, IcmpMatch { icmp_type: 136, code }) => {
                vec![Criterion::Icmp(*version, IcmpMatch { icmp_type: 137, code: *code })]
            }
            _ => vec![],
        })
    }),
    Mutant::rule("all of ICMPv6 is let through to the host", |at| {
        if in_to_host(at) { at.without(|m| matches!(m.criterion, Criterion::Icmp(..))) } else { vec![] }
    }),
    Mutant::rule("DHCP or DNS to the host meets policy", |at| at.lost_if(in_to_host(at) && has_port(at))),
    Mutant::rule("a service of the host is on the port beside", |at| next_port(at, in_to_host(at))),
    Mutant::rule("a service of the host is on every port", |at| {
        if in_to_host(at) { at.without(|m| matches!(m.criterion, Criterion::Ports(..))) } else { vec![] }
    }),
    Mutant::rule("the metadata service is at every address", |at| {
        if in_to_host(at) { at.without(|m| matches!(m.criterion, Criterion::Address(..))) } else { vec![] }
    }),
    Mutant::rule("IP in IP from hosts is not let in", |at| at.lost_if(ipip_in(at) && !at.denies())),
    Mutant::rule("IP in IP from anybody is let in", |at| {
        if ipip_in(at) { at.without(|m| matches!(m.criterion, Criterion::Set(..))) } else { vec![] }
    }),
    Mutant::rule("IP in IP to groups is let in", |at| {
        if ipip_in(at) {
            at.without(|m| matches!(m.criterion, Criterion::DestinationIsLocal))
        } else {
            vec![]
        }
    }),
    Mutant::rule("IP in IP from strangers is not dropped", |at| at.lost_if(ipip_in(at) && at.denies())),
    Mutant::rule("all that comes to the host is taken for strangers' IP in IP", |at| {
        if ipip_in(at) && at.denies() { at.without(|_| true) } else { vec![] }
    }),
    Mutant::chain("IP in IP is dropped before it is let in", |place| {
        let is = place.table == TableName::Filter
            && place.chain == "cali-INPUT"
            && place.rules.first().is_some_and(is_ipip);
        if is { place.swapped(&[0..1, 1..2]) } else { vec![] }
    }),
    Mutant::rule("IP in IP to hosts is left to others", |at| at.lost_if(ipip_out(at))),
    Mutant::rule("IP in IP to anybody is accepted", |at| {
        if ipip_out(at) { at.without(|m| matches!(m.criterion, Criterion::Set(..))) } else { vec![] }
    }),
    Mutant::rule("all that the host sends to hosts is accepted", |at| {
        if ipip_out(at) { at.without(|m| matches!(m.criterion, Criterion::Protocol(_))) } else { vec![] }
    }),
    Mutant::rule("IP in IP to a workload is taken for that to a host", |at| {
        at.lost_if(
            at.is_in(TableName::Filter, "cali-OUTPUT")
                && at.rule.target == Some(Target::Return)
                && !at.has(is_mark),
        )
    }),
    // Raw.
    Mutant::rule("sources are not checked", |at| at.lost_if(is_rpfilter(at))),
    Mutant::rule("the sources of a prefix are not checked", |at| {
        at.lost_if(
            at.is_in(TableName::Raw, "cali-PREROUTING")
                && at.has(|m| matches!(m.criterion, Criterion::InInterface(_))),
        )
    }),
    Mutant::rule("everybody's sources are checked", |at| {
        if is_rpfilter(at) { at.without(is_mark) } else { vec![] }
    }),
    Mutant::rule("sources that are routed back are dropped", |at| {
        if !is_rpfilter(at) {
            return vec![];
        }
        at.instead(|m| match m.criterion {
            Criterion::ReversePath => vec![Match { negated: !m.negated, ..m.clone() }],
            _ => vec![],
        })
    }),
    Mutant::rule("nobody may send from other sources", |at| {
        at.lost_if(at.is_in(TableName::Raw, "cali-PREROUTING") && jumps(at, "cali-rpf-skip"))
    }),
    Mutant::rule("an allowed source is lost", |at| at.lost_if(is_allowed_source(at))),
    Mutant::rule("an allowed source is one bit shorter", |at| {
        if !is_allowed_source(at) {
            return vec![];
        }
        at.instead_of(|c| match c {
            Criterion::Net(side, net) => {
                net.supernet().map(|net| Criterion::Net(*side, net)).into_iter().collect()
            }
            _ => vec![],
        })
    }),
    Mutant::rule("every source is allowed", |at| {
        if is_allowed_source(at) { at.without(|m| matches!(m.criterion, Criterion::Net(..))) } else { vec![] }
    }),
    Mutant::rule("every workload may send from an allowed source", |at| {
        if is_allowed_source(at) {
            at.without(|m| matches!(m.criterion, Criterion::InInterface(_)))
        } else {
            vec![]
        }
    }),
    Mutant::rule("an allowed source is asked of the destination", |at| {
        if !is_allowed_source(at) {
            return vec![];
        }
        at.instead_of(|c| match c {
            Criterion::Net(_, net) => vec![Criterion::Net(Side::Destination, *net)],
            _ => vec![],
        })
    }),
    Mutant::rule("who asks for an address is dropped", |at| at.lost_if(asks_for_address(at))),
    Mutant::rule("anybody may ask for an address", |at| {
        if asks_for_address(at) {
            at.without(|m| matches!(m.criterion, Criterion::Address(..)))
        } else {
            vec![]
        }
    }),
    // Address translation.
    Mutant::rule("what leaves a pool is not masqueraded", |at| at.lost_if(masquerades(at))),
    Mutant::rule("every source is masqueraded", |at| sets(at, |m| !m.negated)),
    Mutant::rule("what stays in the pools is masqueraded", |at| sets(at, |m| m.negated)),
    Mutant::rule("another set's sources are masqueraded", |at| {
        if !masquerades(at) {
            return vec![];
        }
        at.instead(|m| match &m.criterion {
            Criterion::Set(Side::Source, name) => {
                let others = at.place.ruleset.sets.keys().filter(|other| *other != name);
                others.map(|other| Match::is(Criterion::Set(Side::Source, other.clone()))).collect()
            }
            _ => vec![],
        })
    }),
    Mutant::rule("what leaves by any interface is masqueraded", |at| {
        if masquerades(at) {
            at.without(|m| matches!(m.criterion, Criterion::OutInterface(_)))
        } else {
            vec![]
        }
    }),
    Mutant::rule("masqueraded to the address beside", |at| match at.rule.target {
        Some(Target::Snat { to: IpAddr::V4(to), ports }) if masquerades(at) => {
            at.with_target(Target::Snat { to: Ipv4Addr::from(u32::from(to) + 1).into(), ports })
        }
        _ => vec![],
    }),
    Mutant::rule("a floating IP leads nowhere", |at| at.lost_if(is_floating(at, "cali-fip-dnat"))),
    Mutant::rule("a floating IP leads to the address beside", |at| match at.rule.target {
        Some(Target::Dnat { to, port }) if is_floating(at, "cali-fip-dnat") => {
            let to = match to {
                IpAddr::V4(to) => Ipv4Addr::from(u32::from(to) + 1).into(),
                IpAddr::V6(to) => Ipv6Addr::from(u128::from(to) + 1).into(),
            };
            at.with_target(Target::Dnat { to, port })
        }
        _ => vec![],
    }),
    Mutant::rule("the address beside is a floating IP too", |at| {
        floating(at, "cali-fip-dnat", |side, address| {
            let net = IpNet::from(address).supernet();
            net.map(|net| Criterion::Net(side, net)).into_iter().collect()
        })
    }),
    Mutant::rule("a floating IP is looked for in the source", |at| {
        floating(at, "cali-fip-dnat", |_, address| vec![Criterion::Address(Side::Source, address)])
    }),
    Mutant::rule("who reaches itself by its floating IP keeps its source", |at| {
        at.lost_if(is_floating(at, "cali-fip-snat"))
    }),
    Mutant::rule("all that is sent to a floating IP is given its source", |at| {
        if is_floating(at, "cali-fip-snat") { at.without(|m| is_address(m, Side::Source)) } else { vec![] }
    }),
    Mutant::rule("all that has a floating IP leaves under it", |at| {
        if is_floating(at, "cali-fip-snat") {
            at.without(|m| is_address(m, Side::Destination))
        } else {
            vec![]
        }
    }),
    Mutant::rule("floating IPs are not for packets from elsewhere", |at| {
        at.lost_if(at.is_in(TableName::Nat, "cali-PREROUTING") && jumps(at, "cali-fip-dnat"))
    }),
    Mutant::rule("floating IPs are not for the host's own packets", |at| {
        at.lost_if(at.is_in(TableName::Nat, "cali-OUTPUT") && jumps(at, "cali-fip-dnat"))
    }),
    Mutant::rule("the metadata service is not reached", |at| at.lost_if(is_metadata(at))),
    Mutant::rule("the metadata service is reached by every port", |at| {
        if is_metadata(at) { at.without(|m| matches!(m.criterion, Criterion::Ports(..))) } else { vec![] }
    }),
    Mutant::rule("the metadata service is at the port beside", |at| match at.rule.target {
        Some(Target::Dnat { to, port: Some(port) }) => {
            at.with_target(Target::Dnat { to, port: Some(port + 1) })
        }
        _ => vec![],
    }),
];

fn leads_to(rule: &Rule, name: &str) -> bool {
    matches!(&rule.target, Some(Target::Jump(chain) | Target::Goto(chain)) if chain.as_str() == name)
}

fn jumps(at: &At<'_>, name: &str) -> bool {
    leads_to(at.rule, name)
}

fn in_forward(at: &At<'_>) -> bool {
    at.is_in(TableName::Filter, "cali-FORWARD")
}

fn in_to_host(at: &At<'_>) -> bool {
    at.is_in(TableName::Filter, "cali-wl-to-host")
}

fn to_host(at: &At<'_>) -> bool {
    at.is_in(TableName::Filter, "cali-INPUT") && jumps(at, "cali-wl-to-host")
}

/// A prefix for some of its interfaces only.
fn longer(at: &At<'_>, condition: bool) -> Vec<Vec<Rule>> {
    interface(at, condition, |i| match i {
        InterfaceMatch::Prefix(prefix) => vec![InterfaceMatch::Prefix([prefix, "1"].concat().into())],
        InterfaceMatch::Name(_) => vec![],
    })
}

fn is_to_host_action(at: &At<'_>) -> bool {
    in_to_host(at) && at.index + 1 == at.place.rules.len()
}

fn other_action(at: &At<'_>, action: Target) -> Vec<Vec<Rule>> {
    let differs = at.rule.target.as_ref() != Some(&action);
    at.with_target_if(is_to_host_action(at) && differs, action)
}

fn is_icmp(at: &At<'_>) -> bool {
    at.has(|m| matches!(m.criterion, Criterion::Icmp(..)))
}

fn has_port(at: &At<'_>) -> bool {
    at.has(|m| matches!(m.criterion, Criterion::Ports(..)))
}

fn next_port(at: &At<'_>, condition: bool) -> Vec<Vec<Rule>> {
    if !condition {
        return vec![];
    }
    at.instead_of(|c| match c {
        Criterion::Ports(side, ranges) => {
            let next = ranges.iter().map(|range| PortRange { first: range.first + 1, last: range.last + 1 });
            vec![Criterion::Ports(*side, next.collect())]
        }
        _ => vec![],
    })
}

fn is_ipip(rule: &Rule) -> bool {
    let is = |m: &Match| matches!(m.criterion, Criterion::Protocol(protocol) if protocol.number() == 4);
    rule.matches.iter().any(is)
}

fn ipip_in(at: &At<'_>) -> bool {
    at.is_in(TableName::Filter, "cali-INPUT") && is_ipip(at.rule)
}

fn ipip_out(at: &At<'_>) -> bool {
    at.is_in(TableName::Filter, "cali-OUTPUT") && is_ipip(at.rule)
}

fn is_rpfilter(at: &At<'_>) -> bool {
    at.has(|m| matches!(m.criterion, Criterion::ReversePath))
}

fn is_allowed_source(at: &At<'_>) -> bool {
    at.is_step(|step| *step == EndpointStep::AllowedSource)
}

fn asks_for_address(at: &At<'_>) -> bool {
    at.is_in(TableName::Raw, "cali-PREROUTING") && at.has(|m| matches!(m.criterion, Criterion::Address(..)))
}

fn masquerades(at: &At<'_>) -> bool {
    at.is_in(TableName::Nat, "cali-nat-outgoing") && at.rule.target != Some(Target::Return)
}

/// The rule doesn't ask for one of its sets.
fn sets(at: &At<'_>, is: fn(&Match) -> bool) -> Vec<Vec<Rule>> {
    if !masquerades(at) {
        return vec![];
    }
    at.without(|m| matches!(m.criterion, Criterion::Set(..)) && is(m))
}

fn is_floating(at: &At<'_>, chain: &str) -> bool {
    at.is_in(TableName::Nat, chain) && at.rule.provenance == Provenance::Nat
}

/// The address of a floating IP's rule as it may be instead.
fn floating(at: &At<'_>, chain: &str, other: fn(Side, IpAddr) -> Vec<Criterion>) -> Vec<Vec<Rule>> {
    if !is_floating(at, chain) {
        return vec![];
    }
    at.instead_of(|c| match c {
        Criterion::Address(side, address) => other(*side, *address),
        Criterion::Net(side, net) => other(*side, net.addr()),
        _ => vec![],
    })
}

fn is_address(m: &Match, side: Side) -> bool {
    match &m.criterion {
        Criterion::Address(of, _) | Criterion::Net(of, _) => *of == side,
        _ => false,
    }
}

fn is_metadata(at: &At<'_>) -> bool {
    at.is_in(TableName::Nat, "cali-PREROUTING") && matches!(at.rule.target, Some(Target::Dnat { .. }))
}
