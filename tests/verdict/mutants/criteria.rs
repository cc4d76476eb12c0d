//! Faults in what rules ask of a packet, and in sets.

use std::net::IpAddr;

use felix_rs::model::{IcmpMatch, IpVersion, PortRange, Protocol};
use felix_rs::policy::{Member, TransportProtocol};
use felix_rs::rules::ruleset::{Criterion, KernelSet, Match, Rule, Ruleset, Side};
use felix_rs::verdict::ranges::{address, number};
use ipnet::IpNet;

use super::site::{At, Mutant, is_mark};

pub const MUTANTS: &[Mutant] = &[
    Mutant::rule("a negation is lost", |at| {
        policy(at, |m| vec![Match { negated: !m.negated, ..m.clone() }; usize::from(m.negated)])
    }),
    Mutant::rule("a negation too many", |at| {
        policy(at, |m| vec![Match { negated: !m.negated, ..m.clone() }; usize::from(!m.negated)])
    }),
    Mutant::rule("a protocol is not asked for", |at| {
        lost(at, |m| !m.negated && matches!(m.criterion, Criterion::Protocol(_)))
    }),
    Mutant::rule("a notProtocol is not asked for", |at| {
        lost(at, |m| m.negated && matches!(m.criterion, Criterion::Protocol(_)))
    }),
    Mutant::rule("a net is not asked for", |at| {
        lost(at, |m| !m.negated && matches!(m.criterion, Criterion::Net(..)))
    }),
    Mutant::rule("a notNet is not asked for", |at| {
        lost(at, |m| m.negated && matches!(m.criterion, Criterion::Net(..)))
    }),
    Mutant::rule("a set is not asked for", |at| {
        lost(at, |m| !m.negated && matches!(m.criterion, Criterion::Set(..)))
    }),
    Mutant::rule("a notSelector's set is not asked for", |at| {
        lost(at, |m| m.negated && matches!(m.criterion, Criterion::Set(..)))
    }),
    Mutant::rule("ports are not asked for", |at| {
        lost(at, |m| !m.negated && matches!(m.criterion, Criterion::Ports(..)))
    }),
    Mutant::rule("notPorts are not asked for", |at| {
        lost(at, |m| m.negated && matches!(m.criterion, Criterion::Ports(..)))
    }),
    Mutant::rule("a named port is not asked for", |at| {
        lost(at, |m| !m.negated && matches!(m.criterion, Criterion::SetWithPort(..)))
    }),
    Mutant::rule("a named notPort is not asked for", |at| {
        lost(at, |m| m.negated && matches!(m.criterion, Criterion::SetWithPort(..)))
    }),
    Mutant::rule("an ICMP type is not asked for", |at| {
        lost(at, |m| !m.negated && matches!(m.criterion, Criterion::Icmp(..)))
    }),
    Mutant::rule("a notICMP is not asked for", |at| {
        lost(at, |m| m.negated && matches!(m.criterion, Criterion::Icmp(..)))
    }),
    Mutant::rule("an ICMP code is lost", |at| {
        criterion(at, |c| match c {
            Criterion::Icmp(version, IcmpMatch { icmp_type, code: Some(_) }) => {
                vec![icmp(*version, *icmp_type, None)]
            }
            _ => vec![],
        })
    }),
    Mutant::rule("no ICMP code is taken for code 0", |at| {
        criterion(at, |c| match c {
            Criterion::Icmp(version, IcmpMatch { icmp_type, code: None }) => {
                vec![icmp(*version, *icmp_type, Some(0))]
            }
            _ => vec![],
        })
    }),
    Mutant::rule("an ICMP type is one higher", |at| {
        criterion(at, |c| match c {
            Criterion::Icmp(version, IcmpMatch { icmp_type, code }) => {
                vec![icmp(*version, icmp_type + 1, *code)]
            }
            _ => vec![],
        })
    }),
    Mutant::rule("an ICMP code is one higher", |at| {
        criterion(at, |c| match c {
            Criterion::Icmp(version, IcmpMatch { icmp_type, code: Some(code) }) => {
                vec![icmp(*version, *icmp_type, Some(code + 1))]
            }
            _ => vec![],
        })
    }),
    Mutant::rule("TCP instead of UDP, or the other way", |at| {
        criterion(at, |c| match c {
            Criterion::Protocol(protocol) => {
                vec![Criterion::Protocol(if protocol.number() == 6 { Protocol::Udp } else { Protocol::Tcp })]
            }
            _ => vec![],
        })
    }),
    Mutant::rule("a range begins one port later", |at| {
        ranges(at, |r| (r.first < r.last).then(|| PortRange { first: r.first + 1, ..r }))
    }),
    Mutant::rule("a range begins one port earlier", |at| {
        ranges(at, |r| (r.first > 0).then(|| PortRange { first: r.first - 1, ..r }))
    }),
    Mutant::rule("a range ends one port earlier", |at| {
        ranges(at, |r| (r.first < r.last).then(|| PortRange { last: r.last - 1, ..r }))
    }),
    Mutant::rule("a range ends one port later", |at| {
        ranges(at, |r| (r.last < u16::MAX).then(|| PortRange { last: r.last + 1, ..r }))
    }),
    Mutant::rule("a range is only its first port", |at| {
        ranges(at, |r| (r.first < r.last).then_some(PortRange { last: r.first, ..r }))
    }),
    Mutant::rule("the last of several ports is lost", |at| {
        criterion(at, |c| match c {
            Criterion::Ports(side, ranges) if ranges.len() > 1 => {
                vec![Criterion::Ports(*side, ranges[..ranges.len() - 1].to_vec())]
            }
            _ => vec![],
        })
    }),
    Mutant::rule("the ports behind the fifteenth are lost", |at| {
        let is_second = at.index > 0
            && same_rule(at, at.index - 1)
            && has_ports(&at.place.rules[at.index - 1])
            && has_ports(at.rule);
        let of_a_block = at.lost_if(at.is_policy() && is_second);
        let negated = |m: &Match| m.negated && matches!(m.criterion, Criterion::Ports(..));
        let of_one_rule = match at.rule.matches.iter().rposition(negated) {
            Some(last) if at.is_policy() && at.rule.matches.iter().filter(|m| negated(m)).count() > 1 => {
                let mut rule = at.rule.clone();
                rule.matches.remove(last);
                vec![vec![rule]]
            }
            _ => vec![],
        };
        [of_a_block, of_one_rule].concat()
    }),
    Mutant::rule("a net is that of the other side", |at| {
        criterion(at, |c| match c {
            Criterion::Net(side, net) => vec![Criterion::Net(other(*side), *net)],
            _ => vec![],
        })
    }),
    Mutant::rule("a set is that of the other side", |at| {
        criterion(at, |c| match c {
            Criterion::Set(side, set) => vec![Criterion::Set(other(*side), set.clone())],
            _ => vec![],
        })
    }),
    Mutant::rule("a named port is that of the other side", |at| {
        criterion(at, |c| match c {
            Criterion::SetWithPort(side, set) => vec![Criterion::SetWithPort(other(*side), set.clone())],
            _ => vec![],
        })
    }),
    Mutant::rule("ports are those of the other side", |at| {
        criterion(at, |c| match c {
            Criterion::Ports(side, ranges) => vec![Criterion::Ports(other(*side), ranges.clone())],
            _ => vec![],
        })
    }),
    Mutant::rule("a net is one bit shorter", |at| {
        criterion(at, |c| match c {
            Criterion::Net(side, net) => {
                net.supernet().map(|net| Criterion::Net(*side, net)).into_iter().collect()
            }
            _ => vec![],
        })
    }),
    Mutant::rule("half of a net is lost", |at| {
        criterion(at, |c| match c {
            Criterion::Net(side, net) => {
                halves(*net).into_iter().map(|net| Criterion::Net(*side, net)).collect()
            }
            _ => vec![],
        })
    }),
    Mutant::rule("a set is another one", |at| {
        criterion(at, |c| match c {
            Criterion::Set(side, name) => {
                let sets = &at.place.ruleset.sets;
                let set_type = sets.get(name).expect("a set that is there").set_type;
                let others = sets.values().filter(|set| set.set_type == set_type && set.name != *name);
                others.map(|set| Criterion::Set(*side, set.name.clone())).collect()
            }
            _ => vec![],
        })
    }),
    Mutant::set("a set is empty", |set, _| members(set, |members| (!members.is_empty()).then(Vec::new))),
    Mutant::set("a set's first member is lost", |set, _| {
        members(set, |members| members.split_first().map(|(_, rest)| rest.to_vec()))
    }),
    Mutant::set("a set's last member is lost", |set, _| {
        members(set, |members| members.split_last().map(|(_, rest)| rest.to_vec()))
    }),
    Mutant::set("a set has the address beside a member", |set, _| {
        each(set, |member| match member {
            Member::Net(net) => beside(*net).into_iter().map(|net| vec![*member, Member::Net(net)]).collect(),
            Member::IpPort(..) => vec![],
        })
    }),
    Mutant::set("a member is one bit shorter", |set, _| {
        each(set, |member| match member {
            Member::Net(net) => net.supernet().map(|net| vec![Member::Net(net)]).into_iter().collect(),
            Member::IpPort(..) => vec![],
        })
    }),
    Mutant::set("half of a member is lost", |set, _| {
        each(set, |member| match member {
            Member::Net(net) => halves(*net).into_iter().map(|net| vec![Member::Net(net)]).collect(),
            Member::IpPort(..) => vec![],
        })
    }),
    Mutant::set("half of /0 is lost", |set, _| {
        each(set, |member| match member {
            Member::Net(net) if net.prefix_len() == 1 => vec![vec![]],
            Member::Net(_) | Member::IpPort(..) => vec![],
        })
    }),
    Mutant::set("a member's port is one higher", |set, _| {
        each(set, |member| match member {
            Member::IpPort(address, protocol, port) => {
                vec![vec![Member::IpPort(*address, *protocol, port.saturating_add(1))]]
            }
            Member::Net(_) => vec![],
        })
    }),
    Mutant::set("a member's protocol is another one", |set, _| {
        each(set, |member| match member {
            Member::IpPort(address, protocol, port) => {
                let other = if *protocol == TransportProtocol::Tcp {
                    TransportProtocol::Udp
                } else {
                    TransportProtocol::Tcp
                };
                vec![vec![Member::IpPort(*address, other, *port)]]
            }
            Member::Net(_) => vec![],
        })
    }),
    Mutant::set("a named port is open at the address beside", |set, _| {
        each(set, |member| match member {
            Member::IpPort(address, protocol, port) => {
                let beside = beside(IpNet::from(*address));
                beside
                    .into_iter()
                    .map(|net| vec![*member, Member::IpPort(net.addr(), *protocol, *port)])
                    .collect()
            }
            Member::Net(_) => vec![],
        })
    }),
    Mutant::set("a set has another one's members", |set, ruleset: &Ruleset| {
        let others = ruleset
            .sets
            .values()
            .filter(|other| other.set_type == set.set_type && other.members != set.members);
        others.map(|other| KernelSet { members: other.members.clone(), ..set.clone() }).collect()
    }),
];

/// The match of a policy's rule as it may be instead.
fn policy(at: &At<'_>, other: fn(&Match) -> Vec<Match>) -> Vec<Vec<Rule>> {
    if at.is_policy() { at.instead(|m| if is_mark(m) { vec![] } else { other(m) }) } else { vec![] }
}

fn criterion(at: &At<'_>, other: impl Fn(&Criterion) -> Vec<Criterion>) -> Vec<Vec<Rule>> {
    if at.is_policy() { at.instead_of(other) } else { vec![] }
}

fn lost(at: &At<'_>, is: fn(&Match) -> bool) -> Vec<Vec<Rule>> {
    if at.is_policy() { at.without(is) } else { vec![] }
}

/// Each range of ports as it may be instead.
fn ranges(at: &At<'_>, other: fn(PortRange) -> Option<PortRange>) -> Vec<Vec<Rule>> {
    criterion(at, |c| match c {
        Criterion::Ports(side, ranges) => ranges
            .iter()
            .enumerate()
            .filter_map(|(number, range)| {
                let mut ranges = ranges.clone();
                ranges[number] = other(*range)?;
                Some(Criterion::Ports(*side, ranges))
            })
            .collect(),
        _ => vec![],
    })
}

fn icmp(version: IpVersion, icmp_type: u8, code: Option<u8>) -> Criterion {
    Criterion::Icmp(version, IcmpMatch { icmp_type, code })
}

fn same_rule(at: &At<'_>, index: usize) -> bool {
    at.place.rules[index].provenance == at.rule.provenance
}

fn has_ports(rule: &Rule) -> bool {
    rule.matches.iter().any(|m| !m.negated && matches!(m.criterion, Criterion::Ports(..)))
}

fn other(side: Side) -> Side {
    match side {
        Side::Source => Side::Destination,
        Side::Destination => Side::Source,
    }
}

fn halves(net: IpNet) -> Vec<IpNet> {
    net.subnets(net.prefix_len() + 1).map(Iterator::collect).unwrap_or_default()
}

/// The addresses before and behind a net.
fn beside(net: IpNet) -> Vec<IpNet> {
    let version = IpVersion::of(net.addr());
    let before = number(net.network()).checked_sub(1).and_then(|number| address(version, number));
    let behind = number(net.broadcast()).checked_add(1).and_then(|number| address(version, number));
    before.into_iter().chain(behind).map(|address: IpAddr| IpNet::from(address)).collect()
}

fn members(set: &KernelSet, other: fn(&[Member]) -> Option<Vec<Member>>) -> Vec<KernelSet> {
    other(&set.members).into_iter().map(|members| KernelSet { members, ..set.clone() }).collect()
}

/// Each member as those that may be there instead.
fn each(set: &KernelSet, other: fn(&Member) -> Vec<Vec<Member>>) -> Vec<KernelSet> {
    let places = set.members.iter().enumerate();
    places
        .flat_map(|(number, member)| other(member).into_iter().map(move |instead| (number, instead)))
        .map(|(number, instead)| {
            let mut members = set.members.clone();
            members.splice(number..=number, instead);
            members.sort_unstable();
            members.dedup();
            KernelSet { members, ..set.clone() }
        })
        .collect()
}
