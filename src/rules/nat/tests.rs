use super::*;
use crate::config::{Config, OpenStack};
use crate::model::WorkloadEndpoint;
use crate::policy::{Encapsulation, HostPolicy, Pool};
use crate::rules::fixture::{chain_texts, family, host, local, pool, workload};
use IpVersion::{V4, V6};

fn masquerading(cidrs: &[&str]) -> HostPolicy {
    let pools = cidrs
        .iter()
        .map(|cidr| Pool { nat_outgoing: true, encapsulation: Encapsulation::Ipip, ..pool(cidr) })
        .collect();
    host(vec![], vec![], vec![], pools)
}

#[track_caller]
fn check(policy: &HostPolicy, config: &Config, version: IpVersion, chain: &str, expected: &[&str]) {
    assert_eq!(chain_texts(&chains(&family(policy, config, version)), chain), expected, "{version:?}");
}

#[test]
fn outgoing_traffic_of_pools() {
    const OUT: &str =
        "-m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40network-ip-pools dst";
    let policy = masquerading(&["10.0.0.0/16"]);
    let plain = Config::default();
    let ports = Config { nat_port_range: Some((99, 100)), ..Config::default() };
    let address = |config: &Config| Config {
        nat_outgoing_address: Some(Ipv4Addr::new(192, 168, 0, 1)),
        ..config.clone()
    };
    let interface = |config: &Config, filter: &str| Config {
        nat_outgoing_interface_filter: Some(filter.to_owned()),
        ..config.clone()
    };
    let hosts =
        Config { nat_outgoing_exclusions: NatOutgoingExclusions::IpPoolsAndHostIps, ..Config::default() };
    for (config, rules) in [
        (plain.clone(), vec!["--jump MASQUERADE --random-fully"]),
        (address(&plain), vec!["--jump SNAT --to-source 192.168.0.1 --random-fully"]),
        (interface(&plain, "eth+"), vec!["--out-interface eth+ --jump MASQUERADE --random-fully"]),
        (hosts, vec!["-m set ! --match-set cali40all-hosts-net dst --jump MASQUERADE --random-fully"]),
        (
            ports.clone(),
            vec![
                "-p tcp --jump MASQUERADE --to-ports 99-100 --random-fully",
                "-p tcp --jump RETURN",
                "-p udp --jump MASQUERADE --to-ports 99-100 --random-fully",
                "-p udp --jump RETURN",
                "--jump MASQUERADE --random-fully",
            ],
        ),
        (
            interface(&address(&ports), "cali-123"),
            vec![
                "-p tcp --out-interface cali-123 --jump SNAT --to-source 192.168.0.1:99-100 --random-fully",
                "-p tcp --out-interface cali-123 --jump RETURN",
                "-p udp --out-interface cali-123 --jump SNAT --to-source 192.168.0.1:99-100 --random-fully",
                "-p udp --out-interface cali-123 --jump RETURN",
                "--out-interface cali-123 --jump SNAT --to-source 192.168.0.1 --random-fully",
            ],
        ),
    ] {
        let expected: Vec<String> = rules.iter().map(|rule| format!("{OUT} {rule}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&policy, &config, V4, "cali-nat-outgoing", &expected);
    }
}

#[test]
fn only_pools_of_the_family_are_masqueraded() {
    let config = Config { nat_outgoing_address: Some(Ipv4Addr::new(192, 168, 0, 1)), ..Config::default() };
    let six = "-m set --match-set cali60masq-ipam-pools src -m set ! --match-set cali60network-ip-pools dst --jump MASQUERADE --random-fully";
    let plain = host(vec![], vec![], vec![], vec![pool("10.0.0.0/16"), pool("fd00::/64")]);
    for (policy, version, expected) in [
        (masquerading(&["fd00::/64"]), V4, &[][..]),
        // The configured address is of IPv4.
        (masquerading(&["fd00::/64"]), V6, &[six]),
        (plain.clone(), V4, &[]),
        (plain, V6, &[]),
    ] {
        check(&policy, &config, version, "cali-nat-outgoing", expected);
    }
}

#[test]
fn tunnelled_traffic_of_the_host() {
    const START: [&str; 2] = ["--jump cali-fip-snat", "--jump cali-nat-outgoing"];
    const TUNNEL: &str = "--out-interface tunl0 -m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL --jump MASQUERADE --random-fully";
    let unknown = masquerading(&["10.0.0.0/16"]);
    let known = HostPolicy { ipip_tunnel_addr: Some(Ipv4Addr::new(10, 0, 0, 1)), ..unknown.clone() };
    let off = Config { ipip_enabled: Some(false), ..Config::default() };
    for (policy, config, version, tunnel) in [
        (&known, Config::default(), V4, &[TUNNEL][..]),
        (&unknown, Config::default(), V4, &[]),
        (&known, Config::default(), V6, &[]),
        (&known, off, V4, &[]),
    ] {
        check(policy, &config, version, "cali-POSTROUTING", &[&START[..], tunnel].concat());
    }
}

#[test]
fn openstack_metadata() {
    const FLOATING: &str = "--jump cali-fip-dnat";
    const METADATA: &str = "-p tcp -m multiport --destination-ports 80 --destination 169.254.169.254/32 --jump DNAT --to-destination 10.0.0.1:1234";
    let metadata = Some((Ipv4Addr::new(10, 0, 0, 1), 1234));
    let config = Config { openstack: Some(OpenStack { metadata }), ..Config::default() };
    let policy = HostPolicy::default();
    check(&policy, &config, V4, "cali-PREROUTING", &[FLOATING, METADATA]);
    check(&policy, &config, V6, "cali-PREROUTING", &[FLOATING]);
    check(&policy, &Config::default(), V4, "cali-PREROUTING", &[FLOATING]);
    check(&policy, &config, V4, "cali-OUTPUT", &[FLOATING]);
}

#[test]
fn floating_ips() {
    let nat = |(internal, external): (&str, &str)| NatMapping {
        internal: internal.parse().unwrap(),
        external: external.parse().unwrap(),
    };
    let host = |nats: &[(&str, &str)], orchestrator: &str| {
        let nats = nats.iter().copied().map(nat).collect();
        let mut endpoint = WorkloadEndpoint { nats, ..workload("cali1") };
        endpoint.id.orchestrator = orchestrator.into();
        host(vec![local(endpoint, vec![])], vec![], vec![], vec![])
    };
    let on = Config { floating_ips: true, ..Config::default() };
    let off = Config::default();
    let one = [("10.0.0.1", "1.1.1.1"), ("fd00::1", "fd01::1")];
    // By text: 10.0.0.10 is before 10.0.0.9.
    let claimed = [("10.0.0.9", "1.1.1.1"), ("10.0.0.10", "1.1.1.1")];
    let several = [("10.0.0.1", "1.1.1.9"), ("10.0.0.1", "1.1.1.10")];
    for (policy, config, version, dnat, snat) in [
        (host(&one, "k8s"), &off, V4, &[][..], &[][..]),
        (
            host(&one, "k8s"),
            &on,
            V4,
            &["--destination 1.1.1.1 --jump DNAT --to-destination 10.0.0.1"],
            &["--destination 10.0.0.1 --source 10.0.0.1 --jump SNAT --to-source 1.1.1.1 --random-fully"],
        ),
        (
            host(&one, "openstack"),
            &off,
            V6,
            &["--destination fd01::1 --jump DNAT --to-destination fd00::1"],
            &["--destination fd00::1 --source fd00::1 --jump SNAT --to-source fd01::1 --random-fully"],
        ),
        (
            host(&claimed, "k8s"),
            &on,
            V4,
            &["--destination 1.1.1.1 --jump DNAT --to-destination 10.0.0.10"],
            &["--destination 10.0.0.10 --source 10.0.0.10 --jump SNAT --to-source 1.1.1.1 --random-fully"],
        ),
        (
            host(&several, "k8s"),
            &on,
            V4,
            &[
                "--destination 1.1.1.10 --jump DNAT --to-destination 10.0.0.1",
                "--destination 1.1.1.9 --jump DNAT --to-destination 10.0.0.1",
            ],
            &["--destination 10.0.0.1 --source 10.0.0.1 --jump SNAT --to-source 1.1.1.10 --random-fully"],
        ),
    ] {
        check(&policy, config, version, "cali-fip-dnat", dnat);
        check(&policy, config, version, "cali-fip-snat", snat);
    }
}
