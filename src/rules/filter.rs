//! The filter table's chains that every host has (reference §6.7).

use super::family::Family;
use super::ruleset::{Chain, Criterion, Hook, Match, Provenance, Rule, Side, Target};
use super::sets::StaticSet;
use super::shorthand::{DNAT, HOST_ENDPOINT_ACCEPTED, IPIP};
use crate::config::EndpointToHostAction;
use crate::model::{IcmpMatch, IpVersion, Protocol};

/// Multicast listeners, router and neighbour discovery: without them there is no IPv6 on a link.
const ICMPV6_OF_THE_LINK: [u8; 6] = [130, 131, 132, 133, 135, 136];

pub(super) fn hooks(family: &Family<'_>) -> Vec<Hook> {
    let why = &Provenance::Static;
    let accept = family.marks.accept;
    let forward = Hook {
        // Behind foreign rules: those still see what policy accepted.
        appended: vec![
            Rule::when([Match::marked(accept)], family.filter_allow(), why)
                .comment("Policy explicitly accepted packet."),
            Rule::always(Target::mark(accept), why),
        ],
        ..Hook::jump("FORWARD", "cali-FORWARD")
    };
    vec![forward, Hook::jump("INPUT", "cali-INPUT"), Hook::jump("OUTPUT", "cali-OUTPUT")]
}

pub(super) fn chains(family: &Family<'_>) -> Vec<Chain> {
    vec![
        input(family),
        workload_to_host(family),
        forward(family),
        output(family),
        // No datastore here knows the services' addresses.
        Chain::fixed("cali-cidr-block", vec![]),
        Chain::fixed("cali-from-host-endpoint", vec![]),
        Chain::fixed("cali-to-host-endpoint", vec![]),
        Chain::fixed("cali-from-hep-forward", vec![]),
        Chain::fixed("cali-to-hep-forward", vec![]),
    ]
}

fn input(family: &Family<'_>) -> Chain {
    let why = &Provenance::Static;
    let accepted = || Rule::when([Match::marked(family.marks.accept)], family.filter_allow(), why);
    let mut rules = if family.ipip { ipip_to_us(family) } else { vec![] };
    rules.extend(
        family
            .workload_interfaces()
            .map(|interface| Rule::when([Match::from(interface)], Target::goto("cali-wl-to-host"), why)),
    );
    rules.extend([
        accepted(),
        Rule::always(Target::clear_mark(family.marks.all()), why),
        Rule::always(Target::jump("cali-from-host-endpoint"), why),
        accepted().comment(HOST_ENDPOINT_ACCEPTED),
    ]);
    Chain::fixed("cali-INPUT", rules)
}

/// The tunnel is as good as a wire between workloads: only hosts may send into it.
fn ipip_to_us(family: &Family<'_>) -> Vec<Rule> {
    let why = &Provenance::Static;
    let from_hosts = [
        Match::protocol(IPIP),
        Match::in_set(Side::Source, &family.set(StaticSet::AllHosts)),
        Match::is(Criterion::DestinationIsLocal),
    ];
    vec![
        Rule::when(from_hosts, family.filter_allow(), why).comment("Allow IPIP packets from Calico hosts"),
        Rule::when([Match::protocol(IPIP)], family.filter_deny(), why)
            .comment(format!("{} IPIP packets from non-Calico hosts", family.deny_verb())),
    ]
}

fn workload_to_host(family: &Family<'_>) -> Chain {
    let why = &Provenance::Static;
    let action = match family.config.default_endpoint_to_host_action {
        EndpointToHostAction::Drop => Target::Drop,
        EndpointToHostAction::Return => Target::Return,
        EndpointToHostAction::Accept => Target::Accept,
    };
    let mut rules = match family.version {
        IpVersion::V4 => vec![],
        IpVersion::V6 => icmpv6_of_the_link(family),
    };
    rules.extend(openstack_services(family));
    rules.extend([
        Rule::always(Target::jump("cali-from-wl-dispatch"), why),
        Rule::always(action, why).comment("Configured DefaultEndpointToHostAction"),
    ]);
    Chain::fixed("cali-wl-to-host", rules)
}

fn icmpv6_of_the_link(family: &Family<'_>) -> Vec<Rule> {
    ICMPV6_OF_THE_LINK
        .into_iter()
        .map(|icmp_type| {
            let matches = [
                Match::protocol(Protocol::Number(58)),
                Match::is(Criterion::Icmp(IpVersion::V6, IcmpMatch { icmp_type, code: None })),
            ];
            Rule::when(matches, family.filter_allow(), &Provenance::Static)
        })
        .collect()
}

/// Metadata, DHCP and DNS are served by the host.
fn openstack_services(family: &Family<'_>) -> Vec<Rule> {
    if family.config.openstack.is_none() {
        return vec![];
    }
    let why = &Provenance::Static;
    let (client, server) = match family.version {
        IpVersion::V4 => (68, 67),
        IpVersion::V6 => (546, 547),
    };
    let metadata = family.metadata().map(|(address, port)| {
        let matches = [
            Match::protocol(Protocol::Tcp),
            Match::is(Criterion::Address(Side::Destination, address.into())),
            Match::port(Side::Destination, port),
        ];
        Rule::when(matches, family.filter_allow(), why)
    });
    let dhcp = [
        Match::protocol(Protocol::Udp),
        Match::port(Side::Source, client),
        Match::port(Side::Destination, server),
    ];
    let dns = [Match::protocol(Protocol::Udp), Match::port(Side::Destination, 53)];
    let (dhcp, dns) =
        (Rule::when(dhcp, family.filter_allow(), why), Rule::when(dns, family.filter_allow(), why));
    metadata.into_iter().chain([dhcp, dns]).collect()
}

fn forward(family: &Family<'_>) -> Chain {
    let why = &Provenance::Static;
    let accept = family.marks.accept;
    let mut rules = vec![
        // Accepted in raw or mangle stays accepted.
        Rule::always(Target::clear_mark(family.marks.all() & !accept), why),
        Rule::when([Match::unmarked(accept)], Target::jump("cali-from-hep-forward"), why),
    ];
    // All senders before all receivers: a receiver lets an established packet through at once, whoever has sent it.
    let (from, to) =
        (family.workload_interfaces().map(Match::from), family.workload_interfaces().map(Match::to));
    rules.extend(from.map(|from| Rule::when([from], Target::jump("cali-from-wl-dispatch"), why)));
    rules.extend(to.map(|to| Rule::when([to], Target::jump("cali-to-wl-dispatch"), why)));
    rules.push(Rule::always(Target::jump("cali-to-hep-forward"), why));
    rules.push(Rule::always(Target::jump("cali-cidr-block"), why));
    Chain::fixed("cali-FORWARD", rules)
}

fn output(family: &Family<'_>) -> Chain {
    let why = &Provenance::Static;
    let accepted = || Rule::when([Match::marked(family.marks.accept)], family.filter_allow(), why);
    let mut rules = vec![accepted()];
    rules.extend(
        family.workload_interfaces().map(|interface| Rule::when([Match::to(interface)], Target::Return, why)),
    );
    if family.ipip {
        rules.push(ipip_from_us(family));
    }
    rules.extend([
        Rule::always(Target::clear_mark(family.marks.all()), why),
        // The way out of what is sent to a service is settled only behind this chain: mangle's POSTROUTING looks at it.
        Rule::when([Match::not(Criterion::Conntrack(DNAT))], Target::jump("cali-to-host-endpoint"), why),
        accepted().comment(HOST_ENDPOINT_ACCEPTED),
    ]);
    Chain::fixed("cali-OUTPUT", rules)
}

fn ipip_from_us(family: &Family<'_>) -> Rule {
    let to_hosts = [
        Match::protocol(IPIP),
        Match::in_set(Side::Destination, &family.set(StaticSet::AllHosts)),
        Match::is(Criterion::SourceIsLocal { limit_iface_out: false }),
    ];
    Rule::when(to_hosts, family.filter_allow(), &Provenance::Static)
        .comment("Allow IPIP packets to other Calico hosts")
}

#[cfg(test)]
mod tests;
