//! The raw table: marks start at zero, sources of workloads are checked (reference §6.4).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::family::Family;
use super::ruleset::{
    Chain, Criterion, EndpointStep, Hook, InterfaceMatch, Match, Provenance, Rule, Side, Target,
};
use crate::model::{IpVersion, Protocol};
use crate::policy::LocalEndpoint;

pub(super) fn hooks() -> Vec<Hook> {
    vec![Hook::jump("PREROUTING", "cali-PREROUTING"), Hook::jump("OUTPUT", "cali-OUTPUT")]
}

pub(super) fn chains(family: &Family<'_>) -> Vec<Chain> {
    vec![
        prerouting(family),
        output(family),
        spoofing_allowed(family),
        Chain::fixed("cali-from-host-endpoint", vec![]),
        Chain::fixed("cali-to-host-endpoint", vec![]),
    ]
}

fn prerouting(family: &Family<'_>) -> Chain {
    let why = &Provenance::Static;
    // The workload's packets carry scratch0 through this chain.
    let from_workload = family.marks.scratch0;
    let mut rules = vec![Rule::always(Target::clear_mark(family.marks.all()), why)];
    rules.extend(
        family
            .workload_interfaces()
            .map(|interface| Rule::when([Match::from(interface)], Target::mark(from_workload), why)),
    );
    rules.push(Rule::when([Match::marked(from_workload)], Target::jump("cali-rpf-skip"), why));
    if family.config.openstack.is_some() && family.version == IpVersion::V4 {
        rules.push(dhcp_request());
    }
    rules.extend([
        // Not REJECT, whatever is configured: the kernel refuses it in this table.
        Rule::when([Match::marked(from_workload), Match::not(Criterion::ReversePath)], Target::Drop, why),
        Rule::when([Match::unmarked(from_workload)], Target::jump("cali-from-host-endpoint"), why),
        Rule::when([Match::marked(family.marks.accept)], Target::Accept, why),
    ]);
    Chain::fixed("cali-PREROUTING", rules)
}

/// Who asks for an address has none: its source can't be checked.
fn dhcp_request() -> Rule {
    let matches = [
        Match::protocol(Protocol::Udp),
        Match::is(Criterion::Address(Side::Source, IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
        Match::port(Side::Source, 68),
        Match::port(Side::Destination, 67),
    ];
    Rule::when(matches, Target::Accept, &Provenance::Static)
}

fn output(family: &Family<'_>) -> Chain {
    let why = &Provenance::Static;
    let rules = vec![
        Rule::always(Target::clear_mark(family.marks.all()), why),
        Rule::always(Target::jump("cali-to-host-endpoint"), why),
        Rule::when([Match::marked(family.marks.accept)], Target::Accept, why),
    ];
    Chain::fixed("cali-OUTPUT", rules)
}

fn spoofing_allowed(family: &Family<'_>) -> Chain {
    Chain::fixed(
        "cali-rpf-skip",
        family.endpoints().flat_map(|local| allowed_sources(family, local)).collect(),
    )
}

fn allowed_sources(family: &Family<'_>, local: &LocalEndpoint) -> Vec<Rule> {
    let endpoint = &local.endpoint;
    let id = Arc::new(endpoint.id.clone());
    let prefixes = endpoint.allowed_source_prefixes.iter().filter(|net| family.is_ours(net.addr()));
    prefixes
        .map(|&net| {
            let matches = [
                Match::from(InterfaceMatch::Name(Arc::clone(&endpoint.interface))),
                Match::is(Criterion::Net(Side::Source, net)),
            ];
            let why = Provenance::Endpoint(Arc::clone(&id), EndpointStep::AllowedSource);
            Rule::when(matches, Target::Accept, &why)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, OpenStack};
    use crate::model::WorkloadEndpoint;
    use crate::policy::HostPolicy;
    use crate::rules::fixture::{chain_texts, family, host, local, workload};

    #[test]
    fn prerouting_checks_sources_of_workloads() {
        const DHCP: &str = "-p udp --source 0.0.0.0 -m multiport --source-ports 68 -m multiport --destination-ports 67 --jump ACCEPT";
        let policy = HostPolicy::default();
        let interface_prefixes = vec!["cali".to_owned(), "tap".to_owned()];
        let plain = Config { interface_prefixes, ..Config::default() };
        let openstack = Config { openstack: Some(OpenStack { metadata: None }), ..plain.clone() };
        for (config, version, dhcp) in [
            (&plain, IpVersion::V4, None),
            (&plain, IpVersion::V6, None),
            (&openstack, IpVersion::V4, Some(DHCP)),
            (&openstack, IpVersion::V6, None),
        ] {
            let start = [
                "--jump MARK --set-mark 0/0x78",
                "--in-interface cali+ --jump MARK --set-mark 0x20/0x20",
                "--in-interface tap+ --jump MARK --set-mark 0x20/0x20",
                "-m mark --mark 0x20/0x20 --jump cali-rpf-skip",
            ];
            let end = [
                "-m mark --mark 0x20/0x20 -m rpfilter --invert --validmark --jump DROP",
                "-m mark --mark 0/0x20 --jump cali-from-host-endpoint",
                "-m mark --mark 0x8/0x8 --jump ACCEPT",
            ];
            let expected: Vec<_> = start.into_iter().chain(dhcp).chain(end).collect();
            let chains = chains(&family(&policy, config, version));
            assert_eq!(chain_texts(&chains, "cali-PREROUTING"), expected, "{version:?}");
        }
    }

    #[test]
    fn output_starts_afresh() {
        let (policy, config) = (HostPolicy::default(), Config::default());
        let chains = chains(&family(&policy, &config, IpVersion::V4));
        assert_eq!(
            chain_texts(&chains, "cali-OUTPUT"),
            [
                "--jump MARK --set-mark 0/0x78",
                "--jump cali-to-host-endpoint",
                "-m mark --mark 0x8/0x8 --jump ACCEPT"
            ]
        );
    }

    #[test]
    fn some_may_send_from_other_sources() {
        let allowed_source_prefixes = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).to_vec();
        let endpoint = WorkloadEndpoint { allowed_source_prefixes, ..workload("cali1") };
        let policy =
            host(vec![local(endpoint, vec![]), local(workload("cali2"), vec![])], vec![], vec![], vec![]);
        let config = Config::default();
        for (version, expected) in [
            (IpVersion::V4, "--in-interface cali1 --source 10.0.0.0/8 --jump ACCEPT"),
            (IpVersion::V6, "--in-interface cali1 --source fd00::/8 --jump ACCEPT"),
        ] {
            let chains = chains(&family(&policy, &config, version));
            assert_eq!(chain_texts(&chains, "cali-rpf-skip"), [expected]);
        }
    }
}
