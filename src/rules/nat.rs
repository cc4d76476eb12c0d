//! Address translation: outgoing traffic of pools, the tunnel's own, floating IPs (reference §6.6).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::family::Family;
use super::ruleset::{Chain, Criterion, Hook, InterfaceMatch, Match, Provenance, Rule, Side, Target};
use super::sets::StaticSet;
use crate::config::NatOutgoingExclusions;
use crate::model::{IpVersion, NatMapping, Protocol};

/// What workloads ask for OpenStack's metadata.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

pub(super) fn hooks() -> Vec<Hook> {
    vec![
        Hook::jump("PREROUTING", "cali-PREROUTING"),
        // Behind kube-proxy's masquerade, which must meet its own mark first.
        Hook {
            chain: "POSTROUTING",
            rules: vec![],
            appended: vec![Rule::always(Target::jump("cali-POSTROUTING"), &Provenance::Static)],
        },
        Hook::jump("OUTPUT", "cali-OUTPUT"),
    ]
}

pub(super) fn chains(family: &Family<'_>) -> Vec<Chain> {
    let floating = floating_ips(family);
    vec![
        prerouting(family),
        output(),
        postrouting(family),
        nat_outgoing(family),
        floating_ip_dnat(&floating),
        floating_ip_snat(&floating),
    ]
}

fn prerouting(family: &Family<'_>) -> Chain {
    let mut rules = vec![Rule::always(Target::jump("cali-fip-dnat"), &Provenance::Static)];
    rules.extend(family.metadata().map(|(address, port)| {
        let to_metadata = [
            Match::protocol(Protocol::Tcp),
            Match::port(Side::Destination, 80),
            Match::is(Criterion::Net(Side::Destination, IpNet::V4(Ipv4Net::from(METADATA)))),
        ];
        Rule::when(to_metadata, Target::Dnat { to: address.into(), port: Some(port) }, &Provenance::Nat)
    }));
    Chain::fixed("cali-PREROUTING", rules)
}

fn output() -> Chain {
    let rules = vec![Rule::always(Target::jump("cali-fip-dnat"), &Provenance::Static)];
    Chain::fixed("cali-OUTPUT", rules)
}

fn postrouting(family: &Family<'_>) -> Chain {
    let mut rules = vec![
        Rule::always(Target::jump("cali-fip-snat"), &Provenance::Static),
        Rule::always(Target::jump("cali-nat-outgoing"), &Provenance::Static),
    ];
    if family.ipip && family.policy.ipip_tunnel_addr.is_some() {
        rules.push(tunnel_masquerade());
    }
    Chain::fixed("cali-POSTROUTING", rules)
}

/// What this host sends into the tunnel gets the tunnel's address, whatever address it was sent with: others answer
/// through the tunnel only to that one.
fn tunnel_masquerade() -> Rule {
    let matches = [
        Match::to(InterfaceMatch::name("tunl0")),
        Match::not(Criterion::SourceIsLocal { limit_iface_out: true }),
        Match::is(Criterion::SourceIsLocal { limit_iface_out: false }),
    ];
    Rule::when(matches, Target::Masquerade { ports: None }, &Provenance::Nat)
}

fn nat_outgoing(family: &Family<'_>) -> Chain {
    let masquerades = family.pools().any(|pool| pool.nat_outgoing);
    let rules = if masquerades { nat_outgoing_rules(family) } else { vec![] };
    Chain::fixed("cali-nat-outgoing", rules)
}

fn nat_outgoing_rules(family: &Family<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    if let Some(ports) = family.config.nat_port_range {
        // Only protocols with ports can be given a range of them; the RETURN is for those whose range is used up.
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            rules.push(nat_outgoing_rule(family, Some(protocol), source_nat(family, Some(ports))));
            rules.push(nat_outgoing_rule(family, Some(protocol), Target::Return));
        }
    }
    rules.push(nat_outgoing_rule(family, None, source_nat(family, None)));
    rules
}

fn nat_outgoing_rule(family: &Family<'_>, protocol: Option<Protocol>, target: Target) -> Rule {
    let mut matches = vec![
        Match::in_set(Side::Source, &family.set(StaticSet::MasqPools)),
        Match::not_in_set(Side::Destination, &family.set(StaticSet::Pools)),
    ];
    match family.config.nat_outgoing_exclusions {
        NatOutgoingExclusions::IpPoolsOnly => {}
        NatOutgoingExclusions::IpPoolsAndHostIps => {
            matches.push(Match::not_in_set(Side::Destination, &family.set(StaticSet::AllHosts)));
        }
    }
    matches.extend(protocol.map(Match::protocol));
    matches.extend(family.config.nat_outgoing_interface_filter.as_deref().map(|filter| {
        Match::to(match filter.strip_suffix('+') {
            Some(prefix) => InterfaceMatch::prefix(prefix),
            None => InterfaceMatch::name(filter),
        })
    }));
    Rule { comments: vec![], matches, target: Some(target), provenance: Provenance::Nat }
}

/// The configured address is of IPv4: IPv6 is always masqueraded.
fn source_nat(family: &Family<'_>, ports: Option<(u16, u16)>) -> Target {
    match (family.version, family.config.nat_outgoing_address) {
        (IpVersion::V4, Some(to)) => Target::Snat { to: to.into(), ports },
        (IpVersion::V4, None) | (IpVersion::V6, _) => Target::Masquerade { ports },
    }
}

/// The internal address of each external one of this family. Of two claims to one address the smaller wins.
fn floating_ips(family: &Family<'_>) -> BTreeMap<InTextOrder, InTextOrder> {
    let mut internal_of = BTreeMap::new();
    for local in family.endpoints() {
        let enabled = family.config.floats(&local.endpoint.id.orchestrator);
        for &NatMapping { internal, external } in local.endpoint.nats.iter().filter(|_| enabled) {
            if family.is_ours(internal) && family.is_ours(external) {
                claim(&mut internal_of, external.into(), internal.into());
            }
        }
    }
    internal_of
}

fn claim(owners: &mut BTreeMap<InTextOrder, InTextOrder>, claimed: InTextOrder, by: InTextOrder) {
    match owners.entry(claimed) {
        Entry::Vacant(free) => {
            free.insert(by);
        }
        Entry::Occupied(mut taken) if by < *taken.get() => {
            taken.insert(by);
        }
        Entry::Occupied(_) => {}
    }
}

fn floating_ip_dnat(internal_of: &BTreeMap<InTextOrder, InTextOrder>) -> Chain {
    let rules = internal_of
        .iter()
        .map(|(external, internal)| {
            let to_external = [Match::is(Criterion::Address(Side::Destination, external.address))];
            let target = Target::Dnat { to: internal.address, port: None };
            Rule::when(to_external, target, &Provenance::Nat)
        })
        .collect();
    Chain::fixed("cali-fip-dnat", rules)
}

/// A workload that calls itself by its floating IP must see the call come from there, else it answers past us.
fn floating_ip_snat(internal_of: &BTreeMap<InTextOrder, InTextOrder>) -> Chain {
    let mut external_of = BTreeMap::new();
    for (external, internal) in internal_of {
        claim(&mut external_of, internal.clone(), external.clone());
    }
    let rules = external_of
        .iter()
        .map(|(internal, external)| {
            let to_itself = [
                Match::is(Criterion::Address(Side::Destination, internal.address)),
                Match::is(Criterion::Address(Side::Source, internal.address)),
            ];
            let target = Target::Snat { to: external.address, ports: None };
            Rule::when(to_itself, target, &Provenance::Nat)
        })
        .collect();
    Chain::fixed("cali-fip-snat", rules)
}

/// An address in the order of its text: Felix's, so that our rules have its hashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InTextOrder {
    text: String,
    address: IpAddr,
}

impl From<IpAddr> for InTextOrder {
    fn from(address: IpAddr) -> Self {
        Self { text: address.to_string(), address }
    }
}

#[cfg(test)]
mod tests;
