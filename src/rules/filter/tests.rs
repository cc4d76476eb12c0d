use super::*;
use crate::config::{AllowAction, Config, DenyAction, OpenStack};
use crate::policy::{Encapsulation, HostPolicy, Pool};
use crate::rules::fixture::{chain_texts, family, host, pool, texts};
use IpVersion::{V4, V6};

fn with_ipip() -> HostPolicy {
    host(vec![], vec![], vec![], vec![Pool { encapsulation: Encapsulation::Ipip, ..pool("10.0.0.0/16") }])
}

#[track_caller]
fn check(policy: &HostPolicy, config: &Config, version: IpVersion, chain: &str, expected: &[&str]) {
    assert_eq!(chain_texts(&chains(&family(policy, config, version)), chain), expected, "{version:?}");
}

const ACCEPTED: &str =
    "-m comment --comment \"Host endpoint policy accepted packet.\" -m mark --mark 0x8/0x8 --jump ACCEPT";

#[test]
fn input() {
    const REST: [&str; 5] = [
        "--in-interface cali+ --goto cali-wl-to-host",
        "-m mark --mark 0x8/0x8 --jump ACCEPT",
        "--jump MARK --set-mark 0/0x78",
        "--jump cali-from-host-endpoint",
        ACCEPTED,
    ];
    const ALLOW: &str = "-m comment --comment \"Allow IPIP packets from Calico hosts\" -p 4 -m set --match-set cali40all-hosts-net src -m addrtype --dst-type LOCAL --jump ACCEPT";
    const DROP: &str = "-m comment --comment \"Drop IPIP packets from non-Calico hosts\" -p 4 --jump DROP";
    const REJECT: &str =
        "-m comment --comment \"Reject IPIP packets from non-Calico hosts\" -p 4 --jump REJECT";
    let reject = Config { filter_deny_action: DenyAction::Reject, ..Config::default() };
    let off = Config { ipip_enabled: Some(false), ..Config::default() };
    let on = Config { ipip_enabled: Some(true), ..Config::default() };
    for (policy, config, version, tunnel) in [
        (HostPolicy::default(), Config::default(), V4, &[][..]),
        (HostPolicy::default(), on, V4, &[ALLOW, DROP]),
        (with_ipip(), Config::default(), V4, &[ALLOW, DROP]),
        (with_ipip(), Config::default(), V6, &[]),
        (with_ipip(), reject, V4, &[ALLOW, REJECT]),
        (with_ipip(), off, V4, &[]),
    ] {
        check(&policy, &config, version, "cali-INPUT", &[tunnel, &REST].concat());
    }
}

#[test]
fn workloads_reach_the_host_as_configured() {
    const REST: [&str; 2] = [
        "--jump cali-from-wl-dispatch",
        "-m comment --comment \"Configured DefaultEndpointToHostAction\" --jump DROP",
    ];
    const NEIGHBOURS: [&str; 6] = [
        "-p 58 -m icmp6 --icmpv6-type 130 --jump ACCEPT",
        "-p 58 -m icmp6 --icmpv6-type 131 --jump ACCEPT",
        "-p 58 -m icmp6 --icmpv6-type 132 --jump ACCEPT",
        "-p 58 -m icmp6 --icmpv6-type 133 --jump ACCEPT",
        "-p 58 -m icmp6 --icmpv6-type 135 --jump ACCEPT",
        "-p 58 -m icmp6 --icmpv6-type 136 --jump ACCEPT",
    ];
    const METADATA: &str =
        "-p tcp --destination 10.0.0.1 -m multiport --destination-ports 1234 --jump ACCEPT";
    const DHCP: &str =
        "-p udp -m multiport --source-ports 68 -m multiport --destination-ports 67 --jump ACCEPT";
    const DHCPV6: &str =
        "-p udp -m multiport --source-ports 546 -m multiport --destination-ports 547 --jump ACCEPT";
    const DNS: &str = "-p udp -m multiport --destination-ports 53 --jump ACCEPT";
    let openstack = |metadata| Config { openstack: Some(OpenStack { metadata }), ..Config::default() };
    let metadata = Some(("10.0.0.1".parse().unwrap(), 1234));
    for (config, version, start) in [
        (Config::default(), V4, &[][..]),
        (Config::default(), V6, &NEIGHBOURS),
        (openstack(None), V4, &[DHCP, DNS]),
        (openstack(metadata), V4, &[METADATA, DHCP, DNS]),
        (openstack(metadata), V6, &[&NEIGHBOURS[..], &[DHCPV6, DNS]].concat()),
    ] {
        check(&HostPolicy::default(), &config, version, "cali-wl-to-host", &[start, &REST].concat());
    }
    for (action, target) in [
        (EndpointToHostAction::Drop, "DROP"),
        (EndpointToHostAction::Return, "RETURN"),
        (EndpointToHostAction::Accept, "ACCEPT"),
    ] {
        let config = Config { default_endpoint_to_host_action: action, ..Config::default() };
        let last = format!("-m comment --comment \"Configured DefaultEndpointToHostAction\" --jump {target}");
        check(&HostPolicy::default(), &config, V4, "cali-wl-to-host", &[REST[0], &last]);
    }
}

#[test]
fn forward() {
    let config = Config { interface_prefixes: vec!["cali".into(), "tap".into()], ..Config::default() };
    check(
        &HostPolicy::default(),
        &config,
        V4,
        "cali-FORWARD",
        &[
            "--jump MARK --set-mark 0/0x70",
            "-m mark --mark 0/0x8 --jump cali-from-hep-forward",
            "--in-interface cali+ --jump cali-from-wl-dispatch",
            "--in-interface tap+ --jump cali-from-wl-dispatch",
            "--out-interface cali+ --jump cali-to-wl-dispatch",
            "--out-interface tap+ --jump cali-to-wl-dispatch",
            "--jump cali-to-hep-forward",
            "--jump cali-cidr-block",
        ],
    );
}

#[test]
fn output() {
    const START: [&str; 2] = ["-m mark --mark 0x8/0x8 --jump ACCEPT", "--out-interface cali+ --jump RETURN"];
    const TUNNEL: &str = "-m comment --comment \"Allow IPIP packets to other Calico hosts\" -p 4 -m set --match-set cali40all-hosts-net dst -m addrtype --src-type LOCAL --jump ACCEPT";
    const END: [&str; 3] = [
        "--jump MARK --set-mark 0/0x78",
        "-m conntrack ! --ctstate DNAT --jump cali-to-host-endpoint",
        ACCEPTED,
    ];
    let config = Config::default();
    check(&with_ipip(), &config, V4, "cali-OUTPUT", &[&START[..], &[TUNNEL], &END].concat());
    check(&with_ipip(), &config, V6, "cali-OUTPUT", &[&START[..], &END].concat());
}

#[test]
fn accepted_packets_stay_visible_to_foreign_rules() {
    let policy = HostPolicy::default();
    for (filter_allow_action, allow) in [(AllowAction::Accept, "ACCEPT"), (AllowAction::Return, "RETURN")] {
        let config = Config { filter_allow_action, ..Config::default() };
        let hooks = hooks(&family(&policy, &config, V4));
        let hooks: Vec<_> =
            hooks.iter().map(|hook| (hook.chain, texts(&hook.rules), texts(&hook.appended))).collect();
        let accept = format!(
            "-m comment --comment \"Policy explicitly accepted packet.\" -m mark --mark 0x8/0x8 --jump {allow}"
        );
        let mark = "--jump MARK --set-mark 0x8/0x8".to_owned();
        assert_eq!(
            hooks,
            [
                ("FORWARD", vec!["--jump cali-FORWARD".to_owned()], vec![accept, mark]),
                ("INPUT", vec!["--jump cali-INPUT".to_owned()], vec![]),
                ("OUTPUT", vec!["--jump cali-OUTPUT".to_owned()], vec![]),
            ]
        );
    }
}
