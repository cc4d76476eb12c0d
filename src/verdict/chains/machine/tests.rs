use super::*;
use crate::model::IpVersion;
use crate::verdict::chains::saved::parse;

/// `tcp 10.0.0.1:1000 → 10.0.0.2:80`, from eth0 to cali1.
fn packet() -> Packet {
    Packet {
        way: Way::Forwarded { input: "eth0".into(), output: "cali1".into() },
        source: "10.0.0.1".parse().unwrap(),
        destination: "10.0.0.2".parse().unwrap(),
        payload: Payload::Ports { protocol: 6, source: 1000, destination: 80 },
        state: ConnState::New,
        reverse_path: true,
    }
}

fn program(rules: &str) -> Program {
    let rules: String = rules.lines().map(|line| format!("{}\n", line.trim())).collect();
    let text = format!("*filter\n:FORWARD DROP [0:0]\n:a - [0:0]\n:b - [0:0]\n:c - [0:0]\n{rules}COMMIT\n");
    parse(IpVersion::V4, &text, Some("")).unwrap().program
}

/// The verdict of each way, sorted.
fn verdicts(rules: &str, packet: &Packet) -> Result<Vec<Verdict>, Refusal> {
    let program = program(rules);
    let passages = Machine::new(&program).run(packet, Record::Steps)?;
    let mut verdicts: Vec<Verdict> = passages.into_iter().map(|passage| passage.verdict).collect();
    verdicts.sort_unstable();
    Ok(verdicts)
}

#[test]
fn chains_are_run_as_the_kernel_runs_them() {
    use Verdict::{Accept, Drop, Reject};
    for (rules, expected) in [
        ("", vec![Drop]),
        ("-A FORWARD -j ACCEPT", vec![Accept]),
        ("-A FORWARD -j REJECT", vec![Reject]),
        // RETURN from one of the kernel's own chains is its policy.
        ("-A FORWARD -j RETURN\n-A FORWARD -j ACCEPT", vec![Drop]),
        ("-A FORWARD -j a\n-A FORWARD -j ACCEPT\n-A a -j RETURN\n-A a -j DROP", vec![Accept]),
        // Whoever went by goto comes back to where the last jump was made.
        (
            "-A FORWARD -j a\n-A FORWARD -j ACCEPT\n-A a -g b\n-A a -j DROP\n-A b -m mark --mark 0x0/0x1",
            vec![Accept],
        ),
        ("-A FORWARD -g a\n-A FORWARD -j ACCEPT\n-A a -j RETURN", vec![Drop]),
        // Marks: what is set stays over chains; xor turns bits round.
        (
            "-A FORWARD -j MARK --set-xmark 0x3/0x3\n-A FORWARD -j a\n-A FORWARD -m mark --mark 0x2/0x3 -j ACCEPT\n\
             -A a -j MARK --xor-mark 0x1",
            vec![Accept],
        ),
        ("-A FORWARD -p udp -j ACCEPT\n-A FORWARD ! -p tcp -j ACCEPT", vec![Drop]),
        ("-A FORWARD -p tcp -m multiport --dports 79,81 -j ACCEPT", vec![Drop]),
        ("-A FORWARD -p tcp -m multiport --ports 1000 -j ACCEPT", vec![Accept]),
        ("-A FORWARD -i eth+ -o cali1 -s 10.0.0.0/31 ! -d 10.0.0.3 -j ACCEPT", vec![Accept]),
        ("-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT", vec![Drop]),
    ] {
        assert_eq!(verdicts(rules, &packet()), Ok(expected), "{rules}");
    }
}

#[test]
fn what_is_not_modelled_is_supposed_both_ways() {
    use Verdict::{Accept, Drop};
    for (rules, expected) in [
        ("-A FORWARD -m limit --limit 1/s -j ACCEPT", vec![Accept, Drop]),
        // It decides nothing where the rule only logs, or another condition fails.
        ("-A FORWARD -m limit --limit 1/s -j LOG", vec![Drop]),
        ("-A FORWARD -p udp -m limit --limit 1/s -j ACCEPT", vec![Drop]),
        ("-A FORWARD ! -i eth0 -m limit --limit 1/s -j ACCEPT", vec![Drop]),
        ("-A FORWARD -m set --match-set s src -j ACCEPT", vec![Accept, Drop]),
        // A target may accept, drop, or let the packet go on.
        ("-A FORWARD -j NFQUEUE --queue-num 0", vec![Accept, Drop, Drop]),
        // A mark that comes from elsewhere, until it is set.
        (
            "-A FORWARD -j CONNMARK --restore-mark\n-A FORWARD -m mark --mark 0x1 -j ACCEPT",
            vec![Accept, Drop],
        ),
        (
            "-A FORWARD -j CONNMARK --restore-mark\n-A FORWARD -j MARK --set-mark 0x2\n\
             -A FORWARD -m mark --mark 0x1/0x1 -j ACCEPT",
            vec![Drop],
        ),
    ] {
        assert_eq!(verdicts(rules, &packet()), Ok(expected), "{rules}");
    }
    // How an established connection was translated is not to be seen.
    let established = Packet { state: ConnState::Established, ..packet() };
    let rules = "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT";
    assert_eq!(verdicts(rules, &established), Ok(vec![Accept, Drop]));
    assert_eq!(verdicts(rules, &packet()), Ok(vec![Drop]));
}

#[test]
fn an_interface_without_a_name_is_only_known_not_to_be_a_workloads() {
    for (rules, expected) in [
        ("-A FORWARD -i cali+ -j ACCEPT", vec![Verdict::Drop]),
        ("-A FORWARD -i + -j ACCEPT", vec![Verdict::Accept]),
        ("-A FORWARD -i eth0 -j ACCEPT", vec![Verdict::Accept, Verdict::Drop]),
        ("-A FORWARD -i c+ -j ACCEPT", vec![Verdict::Accept, Verdict::Drop]),
        ("-A FORWARD -o cali1 -j ACCEPT", vec![Verdict::Accept]),
    ] {
        let program = program(rules);
        let unnamed = Unnamed { name: "eth0".into(), not: vec!["cali".to_owned()] };
        let machine = Machine::new(&program).with_unnamed(Some(unnamed));
        let passages = machine.run(&packet(), Record::Nothing).unwrap();
        let mut verdicts: Vec<Verdict> = passages.iter().map(|passage| passage.verdict).collect();
        verdicts.sort_unstable();
        assert_eq!(verdicts, expected, "{rules}");
    }
}

#[test]
fn no_program_hangs() {
    let jumps = "-A FORWARD -j a\n-A a -j b\n-A b -j a";
    assert_eq!(verdicts(jumps, &packet()), Err(Refusal::Endless));
    let gotos = "-A FORWARD -j a\n-A a -g b\n-A b -g a";
    assert_eq!(verdicts(gotos, &packet()), Err(Refusal::Endless));
    let forks = "-A FORWARD -j a\n-A a -m statistic --mode random --probability 0.5 -j MARK --set-mark 0x1\n-A a -j a";
    assert!(verdicts(forks, &packet()).is_err());
    let many = "-A FORWARD -m limit --limit 1/s -j MARK --set-mark 0x1\n".repeat(300);
    assert_eq!(verdicts(&many, &packet()), Err(Refusal::TooManyWays));
    let v6 =
        Packet { source: "fd00::1".parse().unwrap(), destination: "fd00::2".parse().unwrap(), ..packet() };
    assert_eq!(verdicts("", &v6), Err(Refusal::OtherFamily));
}

#[test]
fn only_a_first_packet_meets_the_nat_table() {
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n\
                -A PREROUTING -d 10.0.0.9/32 -p tcp -j DNAT --to-destination 10.0.0.2:8080\nCOMMIT\n\
                *filter\n:FORWARD DROP [0:0]\n-A FORWARD -d 10.0.0.2/32 -p tcp -m tcp --dport 8080 -j ACCEPT\nCOMMIT\n";
    let program = parse(IpVersion::V4, text, Some("")).unwrap().program;
    let to = |state| Packet { destination: "10.0.0.9".parse().unwrap(), state, ..packet() };
    let verdict = |state| Machine::new(&program).verdict(&to(state));
    assert_eq!(verdict(ConnState::New), Ok(Some(Verdict::Accept)));
    assert_eq!(verdict(ConnState::Established), Ok(Some(Verdict::Drop)));
}
