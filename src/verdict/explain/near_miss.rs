//! Rules that would have let a packet through, had it not failed one field.

use super::wording::mismatch_text;
use crate::model::Action;
use crate::policy::{ActiveRule, ActiveSide, Direction, LocalEndpoint};
use crate::rules::ruleset::Side;
use crate::verdict::packet::Packet;
use crate::verdict::policy::judge::{Judge, rules};
use crate::verdict::policy::rule_match::{Field, Mismatch, Sets, first_mismatch};

/// An Allow that fails one field of the packet and no other.
pub struct NearMiss<'p> {
    rule: &'p ActiveRule,
    mismatch: Mismatch<'p>,
}

/// The near misses among the policies that govern the endpoint, in order.
pub fn near_misses<'p>(
    judge: &Judge<'p>,
    local: &LocalEndpoint,
    direction: Direction,
    packet: &Packet,
) -> Vec<NearMiss<'p>> {
    let policies = local.tiers.iter().flat_map(|tier| judge.policies(tier, direction));
    let rules = policies.flat_map(|policy| rules(&policy.ingress, &policy.egress, direction));
    let allows = rules.map(|rule| &**rule).filter(|rule| rule.action == Action::Allow);
    allows
        .filter_map(|rule| {
            let mismatch = first_mismatch(rule, packet, judge.sets())?;
            let holds = first_mismatch(&without(rule, &mismatch), packet, judge.sets()).is_none();
            holds.then_some(NearMiss { rule, mismatch })
        })
        .collect()
}

impl NearMiss<'_> {
    /// `rule 1 of … (…) would allow it, but its destination port 80 is not 443`
    pub fn text(&self, packet: &Packet, sets: &Sets<'_>) -> String {
        let source = &self.rule.provenance;
        let number = source.index.map_or(0, |index| index + 1);
        let place = super::wording::place_suffix(source.place.as_ref());
        let why = mismatch_text(&self.mismatch, packet, sets);
        format!("rule {number} of {}{place} would allow it, but {why}", source.owner)
    }
}

/// The rule without the field that fails.
fn without(rule: &ActiveRule, mismatch: &Mismatch<'_>) -> ActiveRule {
    let mut rule = rule.clone();
    match mismatch {
        Mismatch::IpVersion(_) => rule.ip_version = None,
        Mismatch::Protocol(_) => rule.protocol = None,
        Mismatch::NotProtocol(_) => rule.not_protocol = None,
        Mismatch::Icmp(_) => rule.icmp = None,
        Mismatch::NotIcmp(_) => rule.not_icmp = None,
        Mismatch::Side(Side::Source, field) => relax(&mut rule.source, field),
        Mismatch::Side(Side::Destination, field) => relax(&mut rule.destination, field),
    }
    rule
}

fn relax(side: &mut ActiveSide, field: &Field<'_>) {
    match field {
        Field::Nets(_) => side.nets.clear(),
        Field::NotNets(_) => side.not_nets.clear(),
        Field::NetsOfOtherFamily(_) => {
            side.nets.clear();
            side.not_nets.clear();
        }
        Field::Set(_) => side.sets.clear(),
        Field::NotSet(_) => side.not_sets.clear(),
        Field::Ports(_, _) => {
            side.ports.clear();
            side.port_sets.clear();
        }
        Field::NotPorts(_) => side.not_ports.clear(),
        Field::NotPortSet(_) => side.not_port_sets.clear(),
    }
}
