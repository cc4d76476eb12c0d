//! A rule's criteria as one family sees them, and as iptables matches (reference §5.2, §5.3).

use ipnet::IpNet;

use super::names::IpSetName;
use super::ruleset::{Criterion, Match, Side};
use crate::model::{IcmpMatch, IpVersion, PortRange, Protocol};
use crate::policy::{ActiveRule, ActiveSide, SetId};

/// Most slots of one multiport match: XT_MULTI_PORTS. A port takes one, a range two.
const MULTIPORT_SLOTS: usize = 15;

/// What a packet of one family must be for a rule to hold. [Blocks](super::blocks) take from it what one iptables
/// rule cannot say.
pub(super) struct Criteria<'r> {
    version: IpVersion,
    pub protocol: Option<Protocol>,
    not_protocol: Option<Protocol>,
    icmp: Option<IcmpMatch>,
    not_icmp: Option<IcmpMatch>,
    pub source: SideCriteria<'r>,
    pub destination: SideCriteria<'r>,
}

/// What one side of such a packet must be.
pub(super) struct SideCriteria<'r> {
    version: IpVersion,
    pub side: Side,
    /// In one of these; at most one can stand in a rule.
    pub nets: Vec<IpNet>,
    /// In none of these; at most one can stand in a rule, and only without one of `nets`.
    pub not_nets: Vec<IpNet>,
    sets: &'r [SetId],
    not_sets: &'r [SetId],
    /// In one of these, each of which fits a multiport match, or in one of `port_sets`.
    pub ports: Vec<Vec<PortRange>>,
    pub port_sets: &'r [SetId],
    not_ports: Vec<Vec<PortRange>>,
    not_port_sets: &'r [SetId],
}

impl<'r> Criteria<'r> {
    /// What `rule` asks of packets of one family; None where none of them can match.
    pub fn new(rule: &'r ActiveRule, version: IpVersion) -> Option<Self> {
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
        let families = [*ip_version, protocol.and_then(family)];
        if families.into_iter().flatten().any(|family| family != version) {
            return None;
        }
        Some(Self {
            version,
            protocol: *protocol,
            not_protocol: remaining_not_protocol(*protocol, *not_protocol)?,
            icmp: *icmp,
            not_icmp: *not_icmp,
            source: SideCriteria::new(source, Side::Source, version)?,
            destination: SideCriteria::new(destination, Side::Destination, version)?,
        })
    }

    /// All criteria that no block has taken, in the reference's order.
    pub fn matches(&self) -> Vec<Match> {
        let Self { version, protocol, not_protocol, icmp, not_icmp, source, destination } = self;
        let icmp_match = |icmp: &IcmpMatch| Criterion::Icmp(*version, *icmp);
        let mut matches = Vec::new();
        matches.extend(protocol.map(Criterion::Protocol).map(Match::is));
        matches.extend(source.positive());
        matches.extend(destination.positive());
        matches.extend(icmp.as_ref().map(icmp_match).map(Match::is));
        matches.extend(not_protocol.map(Criterion::Protocol).map(Match::not));
        matches.extend(source.negative());
        matches.extend(destination.negative());
        matches.extend(not_icmp.as_ref().map(icmp_match).map(Match::not));
        matches
    }
}

impl<'r> SideCriteria<'r> {
    fn new(active: &'r ActiveSide, side: Side, version: IpVersion) -> Option<Self> {
        let ActiveSide { nets, not_nets, sets, not_sets, ports, port_sets, not_ports, not_port_sets } =
            active;
        let not_nets = in_family(not_nets, version)?;
        if not_nets.iter().any(|net| net.prefix_len() == 0) {
            return None;
        }
        Some(Self {
            version,
            side,
            nets: in_family(nets, version)?,
            not_nets,
            sets,
            not_sets,
            ports: multiport_groups(ports),
            port_sets,
            not_ports: multiport_groups(not_ports),
            not_port_sets,
        })
    }

    /// The set `id` in this family.
    pub fn set_name(&self, id: &SetId) -> IpSetName {
        IpSetName::new(self.version, id)
    }

    fn positive(&self) -> impl Iterator<Item = Match> {
        self.criteria(&self.nets, self.sets, &self.ports, self.port_sets).map(Match::is)
    }

    fn negative(&self) -> impl Iterator<Item = Match> {
        self.criteria(&self.not_nets, self.not_sets, &self.not_ports, self.not_port_sets).map(Match::not)
    }

    fn criteria<'s>(
        &'s self,
        nets: &'s [IpNet],
        sets: &'s [SetId],
        ports: &'s [Vec<PortRange>],
        port_sets: &'s [SetId],
    ) -> impl Iterator<Item = Criterion> + use<'s, 'r> {
        let side = self.side;
        let nets = nets.iter().map(move |net| Criterion::Net(side, *net));
        let sets = sets.iter().map(move |id| Criterion::Set(side, self.set_name(id)));
        let ports = ports.iter().map(move |ports| Criterion::Ports(side, ports.clone()));
        let port_sets = port_sets.iter().map(move |id| Criterion::SetWithPort(side, self.set_name(id)));
        nets.chain(sets).chain(ports).chain(port_sets)
    }
}

/// The family that a protocol belongs to. The kernel has ICMP matches only there, so numbers count as names do.
fn family(protocol: Protocol) -> Option<IpVersion> {
    match protocol.number() {
        1 => Some(IpVersion::V4),
        58 => Some(IpVersion::V6),
        _ => None,
    }
}

/// What `not_protocol` still asks beside `protocol`: iptables takes one `-p` a rule. None where nothing is both.
fn remaining_not_protocol(
    protocol: Option<Protocol>,
    not_protocol: Option<Protocol>,
) -> Option<Option<Protocol>> {
    match (protocol, not_protocol) {
        (Some(protocol), Some(not)) if protocol.number() == not.number() => None,
        (Some(_), _) => Some(None),
        (None, not) => Some(not),
    }
}

/// The nets of one family; None where there are only others, which must not read as no constraint.
fn in_family(nets: &[IpNet], version: IpVersion) -> Option<Vec<IpNet>> {
    let wanted: Vec<IpNet> = nets.iter().copied().filter(|net| net_family(net) == version).collect();
    (nets.is_empty() || !wanted.is_empty()).then_some(wanted)
}

fn net_family(net: &IpNet) -> IpVersion {
    match net {
        IpNet::V4(_) => IpVersion::V4,
        IpNet::V6(_) => IpVersion::V6,
    }
}

/// `ports` in order, cut where a multiport match is full.
fn multiport_groups(ports: &[PortRange]) -> Vec<Vec<PortRange>> {
    let mut groups: Vec<Vec<PortRange>> = Vec::new();
    let mut free = 0;
    for &range in ports {
        let slots = if range.first == range.last { 1 } else { 2 };
        match groups.last_mut() {
            Some(group) if slots <= free => {
                group.push(range);
                free -= slots;
            }
            _ => {
                groups.push(vec![range]);
                free = MULTIPORT_SLOTS - slots;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiport_matches_hold_fifteen_slots() {
        let single = |port| (port, port);
        let singles: Vec<(u16, u16)> = (1..=16).map(single).collect();
        let ranges: Vec<(u16, u16)> = (1..=8).map(|n| (2 * n - 1, 2 * n)).collect();
        let mixed: Vec<(u16, u16)> = (1..=14).map(single).chain([(20, 30), single(40)]).collect();
        for (ports, expected) in [
            (&singles[..0], &[][..]),
            (&singles[..1], &[1]),
            (&singles[..15], &[15]),
            (&singles[..], &[15, 1]),
            (&ranges[..7], &[7]),
            (&ranges[..], &[7, 1]),
            // A range that does not fit begins a new match though one slot is free.
            (&mixed[..], &[14, 2]),
        ] {
            let ports: Vec<PortRange> =
                ports.iter().map(|&(first, last)| PortRange { first, last }).collect();
            let groups = multiport_groups(&ports);
            assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), expected);
            assert_eq!(groups.concat(), ports);
        }
    }
}
