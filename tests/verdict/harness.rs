//! The harness that asks a kernel: it sees what hand-made rules do to packets, and its facts about the kernel are so.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use felix_rs::model::IpVersion;
use felix_rs::verdict::packet::{ConnState, Packet, Payload, Way};
use libtest_mimic::{Failed, Trial};

use crate::kernel::{Backend, Interface, Job, Seen, World, send, send_at_home, sendable};

pub fn trials() -> Vec<Trial> {
    type Check<A> = fn(A) -> Result<(), Failed>;
    const EACH: [(&str, Check<Backend>); 10] = [
        ("without_rules_packets_go_their_way", without_rules),
        ("from_and_to_any_single_host", odd_ends),
        ("a_rule_drops_what_it_matches", each_rule_drops_its_packet),
        ("packets_have_the_states_they_say", states),
        ("rpfilter_agrees_with_the_routes", rpfilter),
        ("translation_is_seen", translation),
        ("connections_do_not_meet", meetings),
        ("sets_and_default_policy_are_loaded", sets_and_policy),
        ("rejected_is_nowhere", rejected),
        ("what_a_tool_refuses_is_said", refused_text),
    ];
    let each = EACH.into_iter().flat_map(|(name, check)| {
        Backend::ALL
            .map(|backend| Trial::test(format!("harness/{name}::{}", backend.name()), move || check(backend)))
    });
    const ONCE: [(&str, Check<()>); 2] = [
        ("the_own_namespace_is_never_written_to", at_home),
        ("what_is_not_sendable_is_refused", not_sendable),
    ];
    let once =
        ONCE.into_iter().map(|(name, check)| Trial::test(format!("harness/{name}"), move || check(())));
    each.chain(once).collect()
}

fn interface(name: &str, routes: &[&str], addresses: &[&str]) -> Interface {
    Interface {
        name: name.into(),
        routes: routes.iter().map(|net| net.parse().expect("a CIDR")).collect(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
    }
}

/// Two workloads, and the rest of the world behind eth0.
fn world() -> World {
    World {
        interfaces: vec![
            interface("cali1", &["10.65.0.1/32", "fd00:65::1/128"], &[]),
            interface("cali2", &["10.65.0.2/32", "fd00:65::2/128"], &[]),
            interface("eth0", &["0.0.0.0/0", "::/0"], &["192.0.2.1", "2001:db8::1"]),
        ],
        addresses: vec![ip("10.96.0.1"), ip("fd00:96::1")],
    }
}

/// Of either family: a workload, the other one, a peer far away, the host.
const ENDS: [[&str; 4]; 2] = [
    ["10.65.0.1", "10.65.0.2", "203.0.113.9", "10.96.0.1"],
    ["fd00:65::1", "fd00:65::2", "2001:db8:9::9", "fd00:96::1"],
];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A new packet by the routes of [`world`].
fn packet(input: Option<&str>, source: &str, destination: &str, payload: Payload) -> Packet {
    let input: Option<Arc<str>> = input.map(Into::into);
    let (source, destination) = (ip(source), ip(destination));
    let reverse_path = input.as_deref().is_none_or(|input| world().routes_back(input, source));
    let way = world().way(input.as_ref(), destination).expect("a way");
    Packet { way, source, destination, payload, state: ConnState::New, reverse_path }
}

/// Between workloads, to the host, and from it.
fn by_each_way([workload, other, far, host]: [&str; 4], payload: Payload) -> [Packet; 4] {
    [
        packet(Some("cali1"), workload, other, payload),
        packet(Some("eth0"), far, workload, payload),
        packet(Some("cali1"), workload, host, payload),
        packet(None, host, other, payload),
    ]
}

fn tcp(source: u16, destination: u16) -> Payload {
    Payload::Ports { protocol: 6, source, destination }
}

fn job(backend: Backend, tables: Vec<(IpVersion, String)>, packets: Vec<Packet>) -> Job {
    Job { world: world(), backend, sets: String::new(), tables, drop_by_default: false, packets }
}

/// The same text for both families.
fn both(text: &str) -> Vec<(IpVersion, String)> {
    [IpVersion::V4, IpVersion::V6].map(|version| (version, text.to_owned())).to_vec()
}

/// A table that has these rules in each chain of the kernel's own that a packet's way ends with.
fn everywhere(rules: &[String]) -> String {
    let mut text = "*filter\n".to_owned();
    for chain in ["INPUT", "FORWARD", "OUTPUT"] {
        for rule in rules {
            let _ = writeln!(text, "-A {chain} {rule}");
        }
    }
    text + "COMMIT\n"
}

/// What is seen of a packet that nothing happens to.
fn untouched(packet: &Packet) -> Seen {
    match &packet.way {
        Way::Forwarded { input: _, output } | Way::FromHost { output } => Seen::Left {
            interface: output.clone(),
            source: packet.source,
            destination: packet.destination,
            ports: packet.payload.ports(),
        },
        Way::ToHost { input: _ } => Seen::ByHost,
    }
}

fn left(interface: &str, source: &str, destination: &str, ports: Option<(u16, u16)>) -> Seen {
    Seen::Left { interface: interface.into(), source: ip(source), destination: ip(destination), ports }
}

/// Sends; of each packet, that must be seen.
fn expect(job: &Job, want: impl Fn(&Packet) -> Seen) -> Result<(), Failed> {
    let seen = send(job)?;
    let pairs = job.packets.iter().zip(&seen);
    let wrong: Vec<_> = pairs.filter(|(packet, seen)| want(packet) != **seen).collect();
    if seen.len() == job.packets.len() && wrong.is_empty() {
        return Ok(());
    }
    let wrong: Vec<_> =
        wrong.iter().map(|(packet, seen)| format!("{packet}: {seen:?}, not {:?}", want(packet))).collect();
    Err(format!("{} of {} are wrong:\n{}", wrong.len(), seen.len(), wrong.join("\n")).into())
}

/// One of each kind of payload and type of ICMP that can open a connection.
fn kinds(version: IpVersion) -> Vec<Payload> {
    let ports =
        Payload::PORT_PROTOCOLS.map(|protocol| Payload::Ports { protocol, source: 1024, destination: 80 });
    let asking = (0..=255).map(|icmp_type| Payload::Icmp { icmp_type, code: 3 });
    let asking = asking.filter(|payload| ConnState::first(version, *payload) == ConnState::New);
    let others = [2, 4, 41, 47, 50, 89, 112, 254].map(|protocol| Payload::Other { protocol });
    ports.into_iter().chain(asking).chain(others).collect()
}

fn new_of_each_kind() -> Vec<Packet> {
    let families = [(IpVersion::V4, ENDS[0]), (IpVersion::V6, ENDS[1])];
    families
        .into_iter()
        .flat_map(|(version, ends)| kinds(version).into_iter().flat_map(move |kind| by_each_way(ends, kind)))
        .collect()
}

fn without_rules(backend: Backend) -> Result<(), Failed> {
    expect(&job(backend, Vec::new(), new_of_each_kind()), untouched)
}

/// No address that is sendable is treated apart, nor is one that meets itself, or the host's own come in from outside.
fn odd_ends(backend: Backend) -> Result<(), Failed> {
    const V4: &[&str] = &[
        "0.1.2.3",
        "1.0.0.0",
        "10.65.0.1",
        "10.65.0.255",
        "10.96.0.1",
        "100.64.0.1",
        "169.254.1.1",
        "192.0.2.1",
        "223.255.255.255",
        "240.0.0.1",
        "255.255.255.254",
    ];
    const V6: &[&str] = &[
        "::2",
        "::a00:1",
        "64:ff9b::1",
        "100::1",
        "2002::1",
        "2001:db8::1",
        "2001:db8::",
        "4000::1",
        "fd00:65::1",
        "fd00:96::1",
        "fec0::1",
        "fe00::1",
    ];
    let mut packets = Vec::new();
    for ends in [V4, V6] {
        for source in ends {
            for destination in ends {
                for input in [Some("cali1"), Some("eth0")] {
                    packets.push(packet(input, source, destination, tcp(1, 2)));
                }
                if world().way(None, ip(destination)).is_some() {
                    packets.push(packet(None, source, destination, tcp(1, 2)));
                }
            }
        }
    }
    if let Some(packet) = packets.iter().find(|packet| !sendable(packet)) {
        return Err(format!("{packet}: not sendable").into());
    }
    expect(&job(backend, Vec::new(), packets), untouched)
}

/// For each kind a rule; the packets of that kind alone are lost.
fn each_rule_drops_its_packet(backend: Backend) -> Result<(), Failed> {
    let icmp = |family, name| {
        move |kind: Payload, version| match kind {
            Payload::Icmp { icmp_type, code } if version == family => {
                Some(format!("-p {name} --{name}-type {icmp_type}/{code}"))
            }
            _ => None,
        }
    };
    let by_icmp = [icmp(IpVersion::V4, "icmp"), icmp(IpVersion::V6, "icmpv6")];
    let dropped = [
        Payload::Ports { protocol: 6, source: 1024, destination: 80 },
        Payload::Ports { protocol: 33, source: 1024, destination: 80 },
        Payload::Ports { protocol: 132, source: 1024, destination: 80 },
        Payload::Icmp { icmp_type: 8, code: 3 },
        Payload::Icmp { icmp_type: 139, code: 3 },
        Payload::Other { protocol: 4 },
        Payload::Other { protocol: 50 },
    ];
    let rules = |version| -> Vec<String> {
        let rule = |kind: Payload| match kind {
            Payload::Ports { protocol, source, destination } => Some(format!(
                "-p {protocol} -m multiport --sports {source} -m multiport --dports {destination}"
            )),
            Payload::Icmp { .. } => by_icmp.iter().find_map(|rule| rule(kind, version)),
            Payload::Other { protocol } => Some(format!("-p {protocol}")),
        };
        dropped.into_iter().filter_map(rule).map(|rule| rule + " -j DROP").collect()
    };
    let tables = [IpVersion::V4, IpVersion::V6].map(|version| (version, everywhere(&rules(version))));
    expect(&job(backend, tables.to_vec(), new_of_each_kind()), |packet| {
        if dropped.contains(&packet.payload) { Seen::Nowhere } else { untouched(packet) }
    })
}

/// Every protocol, type of ICMP, state and way that is sendable: rules that drop one state, and that drop all others.
fn states(backend: Backend) -> Result<(), Failed> {
    let tracked = [ConnState::New, ConnState::Established, ConnState::Invalid, ConnState::Untracked];
    for state in tracked {
        let mut packets = Vec::new();
        for (version, ends) in [(IpVersion::V4, ENDS[0]), (IpVersion::V6, ENDS[1])] {
            let protocols = (0..=255).map(|protocol| Payload::new(version, protocol, (1024, 80), (200, 0)));
            let types = (0..=255).map(|icmp_type| Payload::Icmp { icmp_type, code: 0 });
            for payload in protocols.chain(types) {
                packets.extend(by_each_way(ends, payload).map(|packet| Packet { state, ..packet }));
            }
        }
        packets.retain(sendable);
        if packets.is_empty() {
            return Err(format!("no packet is {}", state.name()).into());
        }
        for (negation, want) in [("! ", untouched as fn(&Packet) -> Seen), ("", |_| Seen::Nowhere)] {
            let rule = format!("-m conntrack {negation}--ctstate {} -j DROP", state.name());
            expect(&job(backend, both(&everywhere(&[rule])), packets.clone()), want)?;
        }
    }
    Ok(())
}

fn rpfilter(backend: Backend) -> Result<(), Failed> {
    let mut packets = Vec::new();
    for [workload, other, far, host] in ENDS {
        for input in ["cali1", "cali2", "eth0"] {
            for source in [workload, other, far, host] {
                for destination in [workload, other, far, host] {
                    packets.push(packet(Some(input), source, destination, tcp(1, 2)));
                }
            }
        }
    }
    let text = "*raw\n-A PREROUTING -m rpfilter --validmark --invert -j DROP\nCOMMIT\n";
    expect(&job(backend, both(text), packets), |packet| {
        if packet.reverse_path { untouched(packet) } else { Seen::Nowhere }
    })
}

fn translation(backend: Backend) -> Result<(), Failed> {
    let nat = |service: &str, to: &str, host: &str, at_host: &str| {
        format!(
            "*nat\n-A PREROUTING -d {service} -p tcp --dport 80 -j DNAT --to-destination {to}\n\
             -A OUTPUT -d {service} -p tcp --dport 80 -j DNAT --to-destination {to}\n\
             -A PREROUTING -d {service} -p tcp --dport 81 -j DNAT --to-destination {at_host}\n\
             -A POSTROUTING -s {host} -o eth0 -j MASQUERADE\nCOMMIT\n"
        )
    };
    let v4 = nat("198.51.100.1", "10.65.0.2:8080", "10.65.0.1", "10.96.0.1");
    let v6 = nat("2001:db8:5::1", "[fd00:65::2]:8080", "fd00:65::1", "fd00:96::1");
    let udp = Payload::Ports { protocol: 17, source: 1024, destination: 53 };
    let echo = |icmp_type| Payload::Icmp { icmp_type, code: 0 };
    let cases = [
        (
            packet(Some("cali1"), "10.65.0.1", "198.51.100.1", tcp(1024, 80)),
            left("cali2", "10.65.0.1", "10.65.0.2", Some((1024, 8080))),
        ),
        (packet(Some("cali1"), "10.65.0.1", "198.51.100.1", tcp(1024, 81)), Seen::ByHost),
        (
            packet(Some("cali1"), "10.65.0.1", "198.51.100.1", tcp(1024, 82)),
            left("eth0", "192.0.2.1", "198.51.100.1", Some((1024, 82))),
        ),
        (
            packet(None, "192.0.2.1", "198.51.100.1", tcp(1024, 80)),
            left("cali2", "192.0.2.1", "10.65.0.2", Some((1024, 8080))),
        ),
        (
            packet(Some("cali1"), "10.65.0.1", "203.0.113.9", udp),
            left("eth0", "192.0.2.1", "203.0.113.9", Some((1024, 53))),
        ),
        (
            packet(Some("cali1"), "10.65.0.1", "203.0.113.9", echo(8)),
            left("eth0", "192.0.2.1", "203.0.113.9", None),
        ),
        (
            packet(Some("cali1"), "10.65.0.1", "10.65.0.2", udp),
            left("cali2", "10.65.0.1", "10.65.0.2", Some((1024, 53))),
        ),
        (
            packet(Some("cali1"), "fd00:65::1", "2001:db8:5::1", tcp(1024, 80)),
            left("cali2", "fd00:65::1", "fd00:65::2", Some((1024, 8080))),
        ),
        (packet(Some("cali1"), "fd00:65::1", "2001:db8:5::1", tcp(1024, 81)), Seen::ByHost),
        (
            packet(None, "2001:db8::1", "2001:db8:5::1", tcp(1024, 80)),
            left("cali2", "2001:db8::1", "fd00:65::2", Some((1024, 8080))),
        ),
        (
            packet(Some("cali1"), "fd00:65::1", "2001:db8:9::9", udp),
            left("eth0", "2001:db8::1", "2001:db8:9::9", Some((1024, 53))),
        ),
        (
            packet(Some("cali1"), "fd00:65::1", "2001:db8:9::9", echo(128)),
            left("eth0", "2001:db8::1", "2001:db8:9::9", None),
        ),
    ];
    let packets = cases.iter().map(|(packet, _)| packet.clone()).collect();
    let tables = vec![(IpVersion::V4, v4), (IpVersion::V6, v6)];
    expect(&job(backend, tables, packets), |packet| {
        cases.iter().find(|(of, _)| of == packet).map_or(Seen::Nowhere, |(_, seen)| seen.clone())
    })
}

/// The same connection twice, its other direction, and one whose translation meets it: each is as if alone.
fn meetings(backend: Backend) -> Result<(), Failed> {
    let there = packet(Some("cali1"), "10.65.0.1", "10.65.0.2", tcp(1024, 8080));
    let back = packet(Some("cali2"), "10.65.0.2", "10.65.0.1", tcp(8080, 1024));
    let translated = packet(Some("cali1"), "10.65.0.1", "198.51.100.1", tcp(1024, 80));
    let established =
        [&there, &back].map(|packet| Packet { state: ConnState::Established, ..packet.clone() });
    let invalid = [&there, &back].map(|packet| Packet { state: ConnState::Invalid, ..packet.clone() });
    let packets = [&there, &back, &translated, &there, &back, &translated];
    let packets = packets.into_iter().chain(&established).chain(&invalid).chain(&established).chain([&there]);
    let packets: Vec<_> = packets.cloned().collect();
    let text = "*nat\n-A PREROUTING -d 198.51.100.1 -p tcp -j DNAT --to-destination 10.65.0.2:8080\nCOMMIT\n";
    let want = |packet: &Packet| {
        if *packet == translated {
            left("cali2", "10.65.0.1", "10.65.0.2", Some((1024, 8080)))
        } else {
            untouched(packet)
        }
    };
    expect(&job(backend, vec![(IpVersion::V4, text.to_owned())], packets.clone()), want)?;
    for (state, name) in
        [(ConnState::New, "NEW"), (ConnState::Established, "ESTABLISHED"), (ConnState::Invalid, "INVALID")]
    {
        let drop = everywhere(&[format!("-m conntrack --ctstate {name} -j DROP")]);
        let tables = vec![(IpVersion::V4, text.to_owned()), (IpVersion::V4, drop)];
        expect(&job(backend, tables, packets.clone()), |packet| {
            if packet.state == state { Seen::Nowhere } else { want(packet) }
        })?;
    }
    Ok(())
}

fn sets_and_policy(backend: Backend) -> Result<(), Failed> {
    let packets = ENDS.map(|ends| by_each_way(ends, tcp(1, 2))).concat();
    let sets = "create a4 hash:net family inet\nadd a4 10.65.0.0/31\ncreate a6 hash:net family inet6\nadd a6 fd00:65::1/128\n";
    let accept = |set: &str| format!("*filter\n-A FORWARD -m set --match-set {set} src -j ACCEPT\nCOMMIT\n");
    let tables = vec![(IpVersion::V4, accept("a4")), (IpVersion::V6, accept("a6"))];
    let job = Job { sets: sets.to_owned(), drop_by_default: true, ..job(backend, tables, packets) };
    expect(&job, |packet| match &packet.way {
        Way::Forwarded { input, output: _ } if **input == *"eth0" => Seen::Nowhere,
        _ => untouched(packet),
    })
}

fn rejected(backend: Backend) -> Result<(), Failed> {
    let packets = new_of_each_kind();
    expect(&job(backend, both(&everywhere(&["-j REJECT".to_owned()])), packets.clone()), |_| Seen::Nowhere)?;
    let reset = ["-p tcp -j REJECT --reject-with tcp-reset".to_owned(), "-j DROP".to_owned()];
    expect(&job(backend, both(&everywhere(&reset)), packets), |_| Seen::Nowhere)
}

fn refused_text(backend: Backend) -> Result<(), Failed> {
    let rules = both("*filter\n-A FORWARD -m nosuchmatch -j DROP\nCOMMIT\n");
    fails(send(&job(backend, rules, Vec::new())), "nosuchmatch")?;
    let rules = both("*filter\n-A FORWARD -j cali-missing\nCOMMIT\n");
    fails(send(&job(backend, rules, Vec::new())), &format!("iptables-{}-restore", backend.name()))?;
    let sets = "add cali-missing 10.0.0.0/8\n".to_owned();
    fails(send(&Job { sets, ..job(backend, Vec::new(), Vec::new()) }), "ipset restore")
}

fn at_home((): ()) -> Result<(), Failed> {
    let packets = vec![packet(Some("cali1"), "10.65.0.1", "10.65.0.2", tcp(1, 2))];
    fails(
        send_at_home(&job(Backend::Legacy, Vec::new(), packets)),
        "refused: this is the network namespace of the tests",
    )
}

fn not_sendable((): ()) -> Result<(), Failed> {
    let fine = packet(Some("cali1"), "10.65.0.1", "10.65.0.2", tcp(1, 2));
    let odd = [
        Packet { state: ConnState::Related, ..fine.clone() },
        Packet { state: ConnState::Untracked, ..fine.clone() },
        Packet { way: Way::FromHost { output: "lo".into() }, ..fine.clone() },
        Packet { source: ip("127.0.0.1"), ..fine.clone() },
        Packet { destination: ip("224.0.0.5"), ..fine.clone() },
        Packet { payload: Payload::Icmp { icmp_type: 3, code: 0 }, ..fine.clone() },
        Packet { payload: Payload::Other { protocol: 47 }, state: ConnState::Invalid, ..fine.clone() },
    ];
    for packet in odd {
        fails(send(&job(Backend::Legacy, Vec::new(), vec![packet])), "not sendable")?;
    }
    let unknown = Way::Forwarded { input: "cali3".into(), output: "cali2".into() };
    fails(
        send(&job(Backend::Legacy, Vec::new(), vec![Packet { way: unknown, ..fine }])),
        "no interface cali3",
    )
}

fn fails(result: Result<Vec<Seen>, String>, part: &str) -> Result<(), Failed> {
    match result {
        Err(said) if said.contains(part) => Ok(()),
        other => Err(format!("wanted an error with {part:?}, found {other:?}").into()),
    }
}
