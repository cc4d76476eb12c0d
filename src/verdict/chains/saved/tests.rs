//! Texts and what they mean, row by row.

use super::*;
use crate::model::PortRange;
use crate::rules::ruleset::{InterfaceMatch, Side};
use crate::verdict::chains::program::{Action, Condition, Policy, PortSide, States, Test};
use crate::verdict::ranges::AddressRanges;

use IpVersion::{V4, V6};
use Side::{Destination, Source};

/// Among them, sets 0 and 1 are IPv4's.
const SETS: &str = "create addresses hash:net\ncreate ports hash:ip,port family inet\n\
    create six hash:net family inet6\n";

/// The one rule of a chain, in tables where another is `a`.
fn read(version: IpVersion, rule: &str) -> (Rule, SavedRule) {
    let text = format!("*filter\n:FORWARD ACCEPT [0:0]\n:a - [0:0]\n-A FORWARD {rule}\nCOMMIT\n");
    let Saved { program, rules } = parse(version, &text, Some(SETS)).unwrap();
    let forward = program.find(Table::Filter, "FORWARD").unwrap();
    (program.chain(forward).unwrap().rules[0].clone(), rules[forward.0][0].clone())
}

fn unknown(text: &str) -> (bool, Test) {
    (false, Test::Unknown(text.into()))
}

fn net(side: Side, net: &str) -> Test {
    Test::Address(side, net.parse().unwrap())
}

fn ports(side: PortSide, ranges: &[(u16, u16)]) -> Test {
    Test::Ports(side, ranges.iter().map(|&(first, last)| PortRange { first, last }).collect())
}

fn check(version: IpVersion, rule: &str, expected: &[(bool, Test)]) {
    let expected: Vec<_> =
        expected.iter().map(|(negated, test)| Condition { negated: *negated, test: test.clone() }).collect();
    assert_eq!(read(version, rule).0.conditions, expected, "{rule}");
}

#[test]
fn heads_are_read() {
    let name = |name: &str| InterfaceMatch::Name(name.into());
    let prefix = |prefix: &str| InterfaceMatch::Prefix(prefix.into());
    for (rule, expected) in [
        ("", vec![]),
        ("-s 10.0.0.0/8", vec![(false, net(Source, "10.0.0.0/8"))]),
        ("--src 10.1.2.3/8", vec![(false, net(Source, "10.0.0.0/8"))]),
        ("! --source 10.0.0.1", vec![(true, net(Source, "10.0.0.1/32"))]),
        ("-s ! 10.0.0.1", vec![(true, net(Source, "10.0.0.1/32"))]),
        ("-d 10.0.0.0/255.255.0.0", vec![(false, net(Destination, "10.0.0.0/16"))]),
        ("-s 0.0.0.0/0 -d 0/0", vec![unknown("-d 0/0")]),
        ("! -s 0.0.0.0/0", vec![(true, net(Source, "0.0.0.0/0"))]),
        ("-d 10.0.0.1,10.0.0.2", vec![unknown("-d 10.0.0.1,10.0.0.2")]),
        ("! -d 10.0.0.0/255.0.255.0", vec![unknown("! -d 10.0.0.0/255.0.255.0")]),
        ("-d fd00::1", vec![unknown("-d fd00::1")]),
        ("-d a-host", vec![unknown("-d a-host")]),
        (
            "-i eth0 ! -o cali+",
            vec![(false, Test::InInterface(name("eth0"))), (true, Test::OutInterface(prefix("cali")))],
        ),
        ("-i +", vec![]),
        ("! -i +", vec![(true, Test::InInterface(prefix("")))]),
        ("-p tcp", vec![(false, Test::Protocol(6))]),
        ("! -p UDP", vec![(true, Test::Protocol(17))]),
        ("-p 4", vec![(false, Test::Protocol(4))]),
        ("-p ipencap", vec![(false, Test::Protocol(4))]),
        ("-p ipip", vec![(false, Test::Protocol(94))]),
        ("-p all", vec![]),
        ("-p 0", vec![]),
        ("! -p all", vec![unknown("! -p all")]),
        ("-p 256", vec![unknown("-p 256")]),
        ("-p nonsense", vec![unknown("-p nonsense")]),
        ("-f", vec![unknown("-f")]),
        ("! -f", vec![unknown("! -f")]),
        ("-6", vec![unknown("-6")]),
        // In the kernel's order, whichever is written.
        (
            "-p tcp -o b -i a -d 10.0.0.2 -s 10.0.0.1",
            vec![
                (false, net(Source, "10.0.0.1/32")),
                (false, net(Destination, "10.0.0.2/32")),
                (false, Test::InInterface(name("a"))),
                (false, Test::OutInterface(name("b"))),
                (false, Test::Protocol(6)),
            ],
        ),
    ] {
        check(V4, rule, &expected);
    }
    check(V6, "-s fd00::/ffff::", &[(false, net(Source, "fd00::/16"))]);
    check(V6, "-s 10.0.0.1", &[unknown("-s 10.0.0.1")]);
}

#[test]
fn ports_are_read() {
    use PortSide::{Destination, Either, Source};
    let tcp = (false, Test::Protocol(6));
    for (rule, expected) in [
        ("-m tcp --dport 80", vec![(false, ports(Destination, &[(80, 80)]))]),
        ("--dport 80", vec![(false, ports(Destination, &[(80, 80)]))]),
        ("-m tcp", vec![]),
        (
            "-m tcp --sport 1:2 ! --dport :9",
            vec![(false, ports(Source, &[(1, 2)])), (true, ports(Destination, &[(0, 9)]))],
        ),
        ("-m tcp --source-port 9:", vec![(false, ports(Source, &[(9, u16::MAX)]))]),
        ("-m tcp --dport 9:1", vec![unknown("-m tcp --dport 9:1")]),
        ("-m tcp --dport http", vec![unknown("-m tcp --dport http")]),
        ("-m tcp --dport 65536", vec![unknown("-m tcp --dport 65536")]),
        ("-m tcp --syn", vec![unknown("-m tcp --syn")]),
        (
            "-m tcp --dport 1 ! --tcp-flags SYN,ACK SYN",
            vec![(false, ports(Destination, &[(1, 1)])), unknown("-m tcp ! --tcp-flags SYN,ACK SYN")],
        ),
        (
            "-m state --state NEW --dport 1",
            vec![
                (false, Test::State(States { new: true, ..States::default() })),
                (false, ports(Destination, &[(1, 1)])),
            ],
        ),
        ("-m udp --dport 1", vec![unknown("-m udp --dport 1")]),
        ("-m multiport --dports 1,3:4", vec![(false, ports(Destination, &[(1, 1), (3, 4)]))]),
        ("-m multiport ! --source-ports 1", vec![(true, ports(Source, &[(1, 1)]))]),
        ("-m multiport --ports 1", vec![(false, ports(Either, &[(1, 1)]))]),
        ("-m multiport --dports 1,x", vec![unknown("-m multiport --dports 1,x")]),
        ("-m multiport", vec![unknown("-m multiport")]),
    ] {
        let expected: Vec<_> = [tcp.clone()].into_iter().chain(expected).collect();
        check(V4, &format!("-p tcp {rule}"), &expected);
    }
    for (rule, expected) in [
        ("-m multiport --dports 1", vec![unknown("-m multiport --dports 1")]),
        ("-m tcp --dport 1", vec![unknown("-m tcp --dport 1")]),
        ("--dport 1", vec![unknown("--dport 1")]),
        ("! -p tcp -m tcp --dport 1", vec![(true, Test::Protocol(6)), unknown("-m tcp --dport 1")]),
    ] {
        check(V4, rule, &expected);
    }
}

#[test]
fn icmp_is_read() {
    let icmp = |icmp_type, codes| (false, Test::Icmp { icmp_type, codes });
    for (version, rule, expected) in [
        (V4, "-m icmp --icmp-type 8", vec![icmp(Some(8), (0, 255))]),
        (V4, "-m icmp --icmp-type 3/4", vec![icmp(Some(3), (4, 4))]),
        (V4, "--icmp-type echo-request", vec![icmp(Some(8), (0, 255))]),
        (V4, "-m icmp --icmp-type fragmentation-needed", vec![icmp(Some(3), (4, 4))]),
        (V4, "-m icmp --icmp-type any", vec![icmp(None, (0, 255))]),
        (V4, "-m icmp --icmp-type 255", vec![icmp(None, (0, 255))]),
        (V4, "-m icmp", vec![]),
        (V4, "-m icmp --icmp-type what", vec![unknown("-m icmp --icmp-type what")]),
        (V4, "-m icmp6 --icmpv6-type 1", vec![unknown("-m icmp6 --icmpv6-type 1")]),
        (V6, "-m icmp6 --icmpv6-type neighbour-solicitation", vec![icmp(Some(135), (0, 255))]),
        (V6, "-m icmp6 --icmpv6-type 255", vec![icmp(Some(255), (0, 255))]),
        (V6, "-m icmp6 --icmpv6-type any", vec![unknown("-m icmp6 --icmpv6-type any")]),
        (V6, "-m icmp6", vec![unknown("-m icmp6")]),
        (V6, "-m icmp --icmp-type 8", vec![unknown("-m icmp --icmp-type 8")]),
    ] {
        let (name, number) = if version == V4 { ("icmp", 1) } else { ("ipv6-icmp", 58) };
        let expected: Vec<_> = [(false, Test::Protocol(number))].into_iter().chain(expected).collect();
        check(version, &format!("-p {name} {rule}"), &expected);
    }
    check(V4, "-m icmp --icmp-type 8", &[unknown("-m icmp --icmp-type 8")]);
}

#[test]
fn modules_are_read() {
    let states = |new, established| Test::State(States { new, established, ..States::default() });
    let mark = |value, mask| Test::Mark { value, mask };
    let local = |side, limit_iface_out| Test::Local { side, limit_iface_out };
    let set = |number, sides: &[Side]| Test::Set(SetNumber(number), sides.to_vec());
    for (rule, expected) in [
        ("-m comment --comment \"-j DROP\"", vec![]),
        ("-m comment --comment -x", vec![]),
        ("-m comment --comment a --what b", vec![unknown("--what b")]),
        ("-m conntrack --ctstate NEW,ESTABLISHED", vec![(false, states(true, true))]),
        ("-m conntrack ! --ctstate NEW", vec![(true, states(true, false))]),
        ("-m conntrack --ctstate NEW,WHAT", vec![unknown("-m conntrack --ctstate NEW,WHAT")]),
        (
            "-m conntrack --ctstate NEW ! --ctproto 6",
            vec![(false, states(true, false)), unknown("-m conntrack ! --ctproto 6")],
        ),
        ("-m conntrack", vec![unknown("-m conntrack")]),
        ("-m state --state NEW", vec![(false, states(true, false))]),
        ("-m mark --mark 0x10/0xff", vec![(false, mark(0x10, 0xff))]),
        ("-m mark ! --mark 010", vec![(true, mark(8, u32::MAX))]),
        ("-m mark --mark x", vec![unknown("-m mark --mark x")]),
        ("-m connmark --mark 1", vec![unknown("-m connmark --mark 1")]),
        ("-m set --match-set addresses src", vec![(false, set(0, &[Source]))]),
        ("-m set ! --match-set ports dst,src", vec![(true, set(1, &[Destination, Source]))]),
        ("-m set --match-set six src", vec![unknown("the set six, which is of the other IP version")]),
        ("-m set --match-set gone src", vec![unknown("the set gone, which is not there")]),
        ("-m set --match-set addresses what", vec![unknown("-m set --match-set addresses what")]),
        (
            "-m set --match-set addresses src --return-nomatch",
            vec![unknown("-m set --match-set addresses src --return-nomatch")],
        ),
        ("-m rpfilter", vec![(false, Test::ReversePath)]),
        ("-m rpfilter --validmark --invert", vec![(true, Test::ReversePath)]),
        ("-m rpfilter --loose --invert", vec![unknown("-m rpfilter --loose --invert")]),
        ("-m addrtype --src-type LOCAL", vec![(false, local(Source, false))]),
        (
            "-m addrtype ! --src-type LOCAL --dst-type LOCAL --limit-iface-out",
            vec![(true, local(Source, true)), (false, local(Destination, true))],
        ),
        ("-m addrtype --dst-type LOCAL,BROADCAST", vec![unknown("-m addrtype --dst-type LOCAL,BROADCAST")]),
        (
            "-m addrtype --dst-type LOCAL --limit-iface-in",
            vec![unknown("-m addrtype --dst-type LOCAL --limit-iface-in")],
        ),
        ("-m limit --limit 50/minute", vec![unknown("-m limit --limit 50/min")]),
        ("-m limit --limit 5 --limit-burst 5", vec![unknown("-m limit --limit 5/sec")]),
        ("-m limit --limit 5/s --limit-burst 9", vec![unknown("-m limit --limit 5/sec --limit-burst 9")]),
        (
            "-m string --string \"-j X\" --algo bm ! --icase -s 10.0.0.1",
            vec![
                (false, net(Source, "10.0.0.1/32")),
                unknown("-m string --string \"-j X\" --algo bm ! --icase"),
            ],
        ),
        ("-m time --kerneltz --timestart=10:00", vec![unknown("-m time --kerneltz --timestart 10:00")]),
        ("--what -1", vec![unknown("--what -1")]),
    ] {
        check(V4, rule, &expected);
    }
}

#[test]
fn targets_are_read() {
    let mark = |clear, flip| Action::Mark { clear, flip };
    let blur = |bits| Action::BlurMark { bits };
    let what = |text: &str| Action::Unknown(text.into());
    let address = |text: &str| text.parse().unwrap();
    let to = |text, port| Action::TranslateDestination { to: address(text), port };
    let chain = {
        let text = "*filter\n:a -\nCOMMIT\n";
        parse(V4, text, None).unwrap().program.find(Table::Filter, "a").unwrap()
    };
    for (version, rule, expected) in [
        (V4, "", Action::Continue),
        (V4, "-j ACCEPT", Action::Accept),
        (V4, "--jump DROP", Action::Drop),
        (V4, "-j DROP --dport 80", what("-j DROP --dport 80")),
        (V4, "-j REJECT --reject-with tcp-reset", Action::Reject),
        (V4, "-j RETURN", Action::Return),
        (V4, "-j a", Action::Jump(chain)),
        (V4, "--goto a", Action::Goto(chain)),
        (V4, "-j gone", what("the chain gone, which is not there")),
        (V4, "-g DROP", what("the chain DROP, which is not there")),
        (V4, "-j INPUT", what("the chain INPUT, which only the kernel calls")),
        (V4, "-j MARK --set-xmark 0x10/0xff", mark(0xff, 0x10)),
        (V4, "-j MARK --set-xmark 0x110/0xff", mark(0xff, 0x110)),
        (V4, "-j MARK --set-mark 0x110/0xff", mark(0x1ff, 0x110)),
        (V4, "-j MARK --set-mark 1", mark(u32::MAX, 1)),
        (V4, "-j MARK --and-mark 0xf", mark(!0xf, 0)),
        (V4, "-j MARK --or-mark 0xf", mark(0xf, 0xf)),
        (V4, "-j MARK --xor-mark 0xf", mark(0, 0xf)),
        (V4, "-j MARK --set-mark x", what("-j MARK --set-mark x")),
        (V4, "-j MARK", what("-j MARK")),
        (V4, "-j CONNMARK --restore-mark", blur(u32::MAX)),
        (V4, "-j CONNMARK --restore-mark --mask 0xf0", blur(0xf0)),
        (V4, "-j CONNMARK --restore-mark --nfmask 0xf --ctmask 0xf0", blur(0xff)),
        (V4, "-j CONNMARK --restore-mark --left-shift-mark 2", blur(u32::MAX)),
        (V4, "-j CONNMARK --save-mark --mask 0xf0", Action::Continue),
        (V4, "-j CONNMARK", what("-j CONNMARK")),
        (V4, "-j LOG --log-prefix \"a -j b: \" --log-level 5", Action::Continue),
        (V4, "-j NFLOG --nflog-prefix -x --nflog-group 1", Action::Continue),
        (V4, "-j SET --add-set addresses src", Action::Continue),
        (V4, "-j SET --map-set addresses src --map-mark", blur(u32::MAX)),
        (V4, "-j NOTRACK", Action::NoTrack),
        (V4, "-j CT --notrack", Action::NoTrack),
        (V4, "-j CT --zone 1", what("-j CT --zone 1")),
        (V4, "-j MASQUERADE --to-ports 1-2 --random-fully", Action::TranslateSource(None)),
        (V4, "-j SNAT --to-source 10.0.0.1", Action::TranslateSource(Some(address("10.0.0.1")))),
        (
            V4,
            "-j SNAT --to-source 10.0.0.1:9-10 --random-fully",
            Action::TranslateSource(Some(address("10.0.0.1"))),
        ),
        (V4, "-j SNAT --to-source 10.0.0.1-10.0.0.9", Action::TranslateSource(None)),
        (V6, "-j SNAT --to-source [fd00::1]:9-10", Action::TranslateSource(Some(address("fd00::1")))),
        (V4, "-j DNAT --to-destination 10.0.0.1", to("10.0.0.1", None)),
        (V4, "-j DNAT --to-destination 10.0.0.1:80", to("10.0.0.1", Some(80))),
        (V6, "-j DNAT --to-destination [fd00::1]:80", to("fd00::1", Some(80))),
        (V6, "-j DNAT --to-destination fd00::1", to("fd00::1", None)),
        (V4, "-j DNAT --to-destination 10.0.0.1:80-90", what("-j DNAT --to-destination 10.0.0.1:80-90")),
        (V4, "-j DNAT --to-destination :80", what("-j DNAT --to-destination :80")),
        (
            V4,
            "-j DNAT --to-destination 10.0.0.1-10.0.0.2",
            what("-j DNAT --to-destination 10.0.0.1-10.0.0.2"),
        ),
        (V4, "-j DNAT", what("-j DNAT")),
        (V4, "-j REDIRECT --to-ports 80", what("-j REDIRECT --to-ports 80")),
        (V4, "-j NFQUEUE --queue-num 1", what("-j NFQUEUE --queue-num 1")),
    ] {
        assert_eq!(read(version, rule).0.action, expected, "{rule}");
    }
}

#[test]
fn what_the_program_does_not_use_is_kept() {
    let boxed = |text: &str| Some(Box::from(text));
    let counters = |packets, bytes| Some(Counters { packets, bytes });
    for (line, text, comments, id, expected) in [
        ("-A FORWARD -j DROP", "-j DROP", &[][..], None, None),
        (
            "[3:180] -A FORWARD -m comment --comment \"cali:a_-9\" -m comment --comment \"Two words\" -j DROP",
            "-m comment --comment \"cali:a_-9\" -m comment --comment \"Two words\" -j DROP",
            &["cali:a_-9", "Two words"],
            boxed("a_-9"),
            counters(3, 180),
        ),
        ("-A FORWARD -c 1 2 -j DROP", "-c 1 2 -j DROP", &[], None, counters(1, 2)),
        ("-I FORWARD 1 -m comment --comment cali:", "-m comment --comment cali:", &["cali:"], None, None),
    ] {
        let Saved { program, rules } = parse(V4, &format!("\n*filter\n{line}\nCOMMIT\n"), None).unwrap();
        let forward = program.find(Table::Filter, "FORWARD").unwrap();
        let expected = SavedRule {
            text: text.into(),
            comments: comments.iter().map(|comment| Box::from(*comment)).collect(),
            id,
            counters: expected,
            line: 3,
        };
        assert_eq!(rules[forward.0], [expected], "{line}");
    }
}

#[test]
fn chains_are_all_there_in_order() {
    let text = "# Generated by iptables-save v1.8.9 (nf_tables)\n*mangle\n:PREROUTING DROP [1:2]\n:b - [0:0]\nCOMMIT\n\n\
        *filter\n:a - -\n:INPUT - -\n-P OUTPUT DROP\n-N c\n-A FORWARD -j a\n-I FORWARD -j b\n-I FORWARD 2 -j c\nCOMMIT\r\n\
        # Completed\n";
    let Saved { program, rules } = parse(V4, text, None).unwrap();
    let chains: Vec<String> = program
        .chains
        .iter()
        .map(|chain| {
            format!("{} {} {:?} {}", chain.table.name(), chain.name, chain.policy, chain.rules.len())
        })
        .collect();
    let expected = "raw OUTPUT Some(Accept) 0\nraw PREROUTING Some(Accept) 0\nmangle FORWARD Some(Accept) 0\n\
        mangle INPUT Some(Accept) 0\nmangle OUTPUT Some(Accept) 0\nmangle POSTROUTING Some(Accept) 0\n\
        mangle PREROUTING Some(Drop) 0\nmangle b None 0\nnat INPUT Some(Accept) 0\nnat OUTPUT Some(Accept) 0\n\
        nat POSTROUTING Some(Accept) 0\nnat PREROUTING Some(Accept) 0\nfilter FORWARD Some(Accept) 3\n\
        filter INPUT Some(Accept) 0\nfilter OUTPUT Some(Drop) 0\nfilter a None 0\nfilter c None 0";
    assert_eq!(chains.join("\n"), expected);
    let forward = program.find(Table::Filter, "FORWARD").unwrap();
    let texts: Vec<&str> = rules[forward.0].iter().map(|rule| &*rule.text).collect();
    assert_eq!(texts, ["-j b", "-j c", "-j a"]);
    let jumps: Vec<&Action> = program.chain(forward).unwrap().rules.iter().map(|rule| &rule.action).collect();
    let find = |name| program.find(Table::Filter, name).unwrap();
    // That of another table isn't there.
    let gone = Action::Unknown("the chain b, which is not there".into());
    assert_eq!(jumps, [&gone, &Action::Jump(find("c")), &Action::Jump(find("a"))]);
    assert_eq!(parse(V4, "*security\nCOMMIT\n", None).unwrap().program.chains.len(), 17);
    assert_eq!(parse(V4, "", None).unwrap().program.chains.len(), 14);
}

#[test]
fn sets_are_read() {
    let ranges = |nets: &str| {
        Members::Addresses(AddressRanges::of(nets.split_whitespace().map(|net| net.parse().unwrap())))
    };
    let pairs = |pairs: &[(&str, u8, u16)]| {
        Members::AddressPorts(
            pairs.iter().map(|(a, protocol, port)| (a.parse().unwrap(), *protocol, *port)).collect(),
        )
    };
    let what = |text: &str| Members::Unknown(text.into());
    for (version, text, expected) in [
        (V4, "create s hash:net", Some(ranges(""))),
        (
            V4,
            "create s hash:net family inet hashsize 1024 maxelem 65536 timeout 9 counters comment bucketsize 12 initval 0x1\n\
            add s 10.0.0.0/24 timeout 8 packets 1 bytes 2 comment \"nomatch or not\"\nadd s 10.0.1.1",
            Some(ranges("10.0.0.0/24 10.0.1.1/32")),
        ),
        (
            V4,
            "create s hash:ip\nadd s 10.0.0.1-10.0.0.2\nadd s 10.0.0.4/31 -exist",
            Some(ranges("10.0.0.1/32 10.0.0.2/32 10.0.0.4/31")),
        ),
        (V6, "create s hash:net family inet6\nadd s fd00::/8", Some(ranges("fd00::/8"))),
        (V6, "create s hash:net\nadd s 10.0.0.1", None),
        (V4, "create s hash:net family inet6\nadd s fd00::/8", None),
        (V4, "create s hash:net\nadd s 10.0.0.1 nomatch", Some(what("the set s has the member 10.0.0.1"))),
        (V4, "create s hash:net\nadd s 0.0.0.0/0", Some(what("the set s has the member 0.0.0.0/0"))),
        (
            V4,
            "create s hash:net\nadd s a-host\nadd s 10.0.0.1",
            Some(what("the set s has the member a-host")),
        ),
        (V4, "create s hash:ip netmask 24", Some(what("the set s has the option netmask"))),
        (
            V4,
            "create s hash:ip,port\nadd s 10.0.0.2,udp:53\nadd s 10.0.0.1,tcp:80\nadd s 10.0.0.1,sctp:9\nadd s 10.0.0.1,80",
            Some(pairs(&[("10.0.0.1", 6, 80), ("10.0.0.1", 132, 9), ("10.0.0.2", 17, 53)])),
        ),
        (
            V4,
            "create s hash:ip,port\nadd s 10.0.0.1,icmp:echo-request",
            Some(what("the set s has the member 10.0.0.1,icmp:echo-request")),
        ),
        (
            V4,
            "create s hash:ip,port\nadd s 10.0.0.1,tcp:80-90",
            Some(what("the set s has the member 10.0.0.1,tcp:80-90")),
        ),
        (
            V4,
            "create s hash:ip,port,ip\nadd s 10.0.0.1,tcp:80,10.0.0.1",
            Some(what("the set s is of the type hash:ip,port,ip")),
        ),
        (V6, "create s list:set size 8\nadd s other", Some(what("the set s is of the type list:set"))),
        (V6, "create s bitmap:ip range 10.0.0.0/24", None),
    ] {
        let read = parse(version, "", Some(&format!("# ipset restore\n{text}\nCOMMIT\n"))).unwrap();
        assert_eq!(read.program.sets.first().map(|set| set.members.clone()), expected, "{text}");
    }
}

#[test]
fn sets_that_nobody_gave_are_unknown() {
    let text = "*filter\n-A INPUT -m set --match-set b src\n-A INPUT -m set ! --match-set a dst\nCOMMIT\n";
    let program = parse(V4, text, None).unwrap().program;
    let expected = ["a", "b"].map(not_given);
    assert_eq!(program.sets, expected);
    let input = program.find(Table::Filter, "INPUT").unwrap();
    let tests: Vec<&Condition> =
        program.chain(input).unwrap().rules.iter().flat_map(|rule| &rule.conditions).collect();
    let set = |negated, number, side| Condition { negated, test: Test::Set(SetNumber(number), vec![side]) };
    assert_eq!(tests, [&set(false, 1, Source), &set(true, 0, Destination)]);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let stray = |word: &str| Problem::Stray(word.into());
    for (line, text, problem) in [
        (1, "-A INPUT -j DROP", Problem::OutsideTable),
        (1, "*nonsense", Problem::UnknownTable),
        (2, "*filter\n*nat\nCOMMIT", Problem::TableInTable),
        (3, "*filter\nCOMMIT\n*filter\nCOMMIT", Problem::RepeatedTable),
        (3, "*filter\n:INPUT ACCEPT [0:0]", Problem::Unterminated),
        (2, "*filter\n# Table `nat' is incompatible, use 'nft' tool.", Problem::Incompatible),
        (
            1,
            "# Table `filter' contains incompatible base-chains, use 'nft' tool to list them.",
            Problem::Incompatible,
        ),
        (2, "*filter\n:INPUT QUEUE [0:0]", Problem::Policy),
        (2, "*filter\n:a ACCEPT [0:0]", Problem::PolicyOfOtherChain),
        (2, "*filter\n:PREROUTING ACCEPT [0:0]", Problem::PolicyOfOtherChain),
        (3, "*filter\n:a -\n:a -", Problem::RepeatedChain),
        (2, "*filter\n-N INPUT", Problem::RepeatedChain),
        (2, "*filter\n-A a -j DROP", Problem::UndeclaredChain),
        (2, "*filter\n-F INPUT", Problem::Command),
        (2, "*filter\niptables: no", Problem::Command),
        (2, "*filter\n[1] -A INPUT", Problem::Counters),
        (2, "*filter\n[1:x] -A INPUT", Problem::Counters),
        (2, "*filter\n-I INPUT 2 -j DROP", Problem::Place),
        (2, "*filter\n-I INPUT 0 -j DROP", Problem::Place),
        (2, "*filter\n-A INPUT -m comment --comment \"a\nCOMMIT", Problem::UnclosedQuote),
        (2, "*filter\n-A INPUT DROP\nCOMMIT", stray("DROP")),
        (2, "*filter\n-A INPUT ! -j DROP\nCOMMIT", stray("!")),
        (2, "*filter\n-A INPUT -s 1.1.1.1 !\nCOMMIT", stray("!")),
        (2, "*filter\n-A INPUT -j\nCOMMIT", Problem::NoValue("-j".into())),
        (2, "*filter\n-A INPUT -m comment --comment\nCOMMIT", Problem::NoValue("--comment".into())),
        (2, "*filter\n-A INPUT -j a -g b\nCOMMIT", Problem::Repeated("target".into())),
        (2, "*filter\n-A INPUT -s 1.1.1.1 --src 1.1.1.2\nCOMMIT", Problem::Repeated("--src".into())),
    ] {
        let error = parse(V4, text, None).unwrap_err();
        assert_eq!((error.input, error.line, error.problem), (Input::Tables, line, problem), "{text}");
    }
    for (line, text, problem) in [
        (1, "flush a", Problem::SetCommand),
        (1, "create a", Problem::ShortSetLine),
        (1, "add a 10.0.0.1", Problem::UnknownSet),
        (2, "create a hash:net\ncreate a hash:net", Problem::RepeatedSet),
        (2, "create a hash:net\nadd a 10.0.0.1 comment \"b", Problem::UnclosedQuote),
    ] {
        let error = parse(V4, "", Some(text)).unwrap_err();
        assert_eq!((error.input, error.line, error.problem), (Input::Sets, line, problem), "{text}");
    }
    let long = format!("*filter\n-A INPUT {}\nCOMMIT\n", "ü".repeat(40_000));
    let error = parse(V4, &long, None).unwrap_err();
    assert_eq!((error.problem, error.text.len()), (Problem::LongLine, 199));
    let error = parse(V4, "*filter\n-A a -j DROP\nCOMMIT", None).unwrap_err();
    assert_eq!(error.to_string(), "tables, line 2: the chain is not declared: -A a -j DROP");
}

#[test]
fn nat_policies_are_kept_too() {
    let program = parse(V4, "*nat\n:POSTROUTING DROP [0:0]\nCOMMIT\n", None).unwrap().program;
    let chain = program.find(Table::Nat, "POSTROUTING").and_then(|number| program.chain(number));
    assert_eq!(chain.unwrap().policy, Some(Policy::Drop));
}
