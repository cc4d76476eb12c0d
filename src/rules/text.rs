//! A rule as `iptables-restore` takes it (reference §5.2, §6, §8.6). The texts are hashed into the rules' ids, so
//! that every character counts.

use std::fmt::{self, Write};
use std::net::IpAddr;

use super::ruleset::{ConntrackState, Criterion, InterfaceMatch, Match, Rule, Side, Target};
use crate::model::{IcmpMatch, IpVersion, PortRange, Protocol};

/// Longest comment in bytes: XT_MAX_COMMENT_LEN.
const MAX_COMMENT: usize = 256;

/// What stands behind the chain and the hash comment: comments, matches, target, joined by single spaces.
pub fn rule_text(rule: &Rule) -> String {
    let mut text = String::new();
    push_rule(&mut text, rule);
    if text.starts_with(' ') {
        text.remove(0);
    }
    text
}

/// Appends the [`rule_text`] with a space before each part, to a text that ends with the chain or the hash comment.
pub fn push_rule(text: &mut String, rule: &Rule) {
    // A String takes everything.
    let _ = write_rule(text, rule);
}

fn write_rule(out: &mut String, rule: &Rule) -> fmt::Result {
    let Rule { comments, matches, target, provenance: _ } = rule;
    for comment in comments {
        write_comment(out, comment)?;
    }
    for m in matches {
        out.push(' ');
        write_match(out, m)?;
    }
    if let Some(target) = target {
        out.push(' ');
        write_target(out, target)?;
    }
    Ok(())
}

fn write_comment(out: &mut String, comment: &str) -> fmt::Result {
    out.write_str(" -m comment --comment \"")?;
    // One byte a character from here on.
    out.extend(comment.chars().map(plain_or_underscore).take(MAX_COMMENT));
    out.write_char('"')
}

fn plain_or_underscore(c: char) -> char {
    match c {
        'A'..='Z' | 'a'..='z' | '0'..='9' => c,
        '_' | ' ' | '@' | '%' | '+' | '=' | ':' | ',' | '.' | '/' | '-' => c,
        _ => '_',
    }
}

fn write_match(out: &mut String, m: &Match) -> fmt::Result {
    let not = if m.negated { "! " } else { "" };
    match &m.criterion {
        Criterion::Protocol(protocol) => {
            write!(out, "{not}-p ")?;
            write_protocol(out, *protocol)
        }
        Criterion::Net(side, net) => write!(out, "{not}--{} {net}", side_name(*side)),
        Criterion::Address(side, address) => write!(out, "{not}--{} {address}", side_name(*side)),
        Criterion::Set(side, set) => {
            write!(out, "-m set {not}--match-set {set} {}", set_side(*side))
        }
        Criterion::SetWithPort(side, set) => {
            let side = set_side(*side);
            write!(out, "-m set {not}--match-set {set} {side},{side}")
        }
        Criterion::Ports(side, ports) => {
            write!(out, "-m multiport {not}--{}-ports ", side_name(*side))?;
            write_ports(out, ports)
        }
        Criterion::Icmp(version, icmp) => {
            match version {
                IpVersion::V4 => write!(out, "-m icmp {not}--icmp-type ")?,
                IpVersion::V6 => write!(out, "-m icmp6 {not}--icmpv6-type ")?,
            }
            write_icmp(out, *icmp)
        }
        // Zero is printed without 0x here, and with it in `SetMark`, as Felix has it.
        Criterion::Mark { value: 0, mask } => write!(out, "-m mark {not}--mark 0/{mask:#x}"),
        Criterion::Mark { value, mask } => write!(out, "-m mark {not}--mark {value:#x}/{mask:#x}"),
        Criterion::InInterface(interface) => {
            write!(out, "{not}--in-interface ")?;
            write_interface(out, interface)
        }
        Criterion::OutInterface(interface) => {
            write!(out, "{not}--out-interface ")?;
            write_interface(out, interface)
        }
        Criterion::Conntrack(states) => {
            write!(out, "-m conntrack {not}--ctstate ")?;
            write_list(out, states, |out, state| out.write_str(state_name(*state)))
        }
        Criterion::ReversePath => {
            let invert = if m.negated { " --invert" } else { "" };
            write!(out, "-m rpfilter{invert} --validmark")
        }
        Criterion::SourceIsLocal { limit_iface_out } => {
            let limit = if *limit_iface_out { " --limit-iface-out" } else { "" };
            write!(out, "-m addrtype {not}--src-type LOCAL{limit}")
        }
        Criterion::DestinationIsLocal => write!(out, "-m addrtype {not}--dst-type LOCAL"),
        Criterion::Limit { rate, burst: 0 } => write!(out, "-m limit --limit {rate}"),
        Criterion::Limit { rate, burst } => write!(out, "-m limit --limit {rate} --limit-burst {burst}"),
    }
}

fn write_target(out: &mut String, target: &Target) -> fmt::Result {
    match target {
        Target::Accept => out.write_str("--jump ACCEPT"),
        Target::Drop => out.write_str("--jump DROP"),
        Target::Reject => out.write_str("--jump REJECT"),
        Target::Return => out.write_str("--jump RETURN"),
        Target::Jump(chain) => write!(out, "--jump {chain}"),
        Target::Goto(chain) => write!(out, "--goto {chain}"),
        Target::SetMark { value, mask } => write!(out, "--jump MARK --set-mark {value:#x}/{mask:#x}"),
        Target::ClearMark { mask } => write!(out, "--jump MARK --set-mark 0/{mask:#x}"),
        Target::Log { prefix } => {
            out.write_str("--jump LOG --log-prefix \"")?;
            out.extend(prefix.chars().map(unquoting_to_underscore));
            out.write_str(": \" --log-level 5")
        }
        Target::NoTrack => out.write_str("--jump NOTRACK"),
        Target::Masquerade { ports } => {
            out.write_str("--jump MASQUERADE")?;
            if let Some((first, last)) = ports {
                write!(out, " --to-ports {first}-{last}")?;
            }
            out.write_str(RANDOM_FULLY)
        }
        Target::Snat { to, ports } => {
            out.write_str("--jump SNAT --to-source ")?;
            match ports {
                Some((first, last)) => write!(out, "{}:{first}-{last}", BeforePort(to))?,
                None => write!(out, "{to}")?,
            }
            out.write_str(RANDOM_FULLY)
        }
        Target::Dnat { to, port: Some(port) } => {
            write!(out, "--jump DNAT --to-destination {}:{port}", BeforePort(to))
        }
        Target::Dnat { to, port: None } => write!(out, "--jump DNAT --to-destination {to}"),
    }
}

/// Connections from one port at a time collide otherwise. Always last. Needs iptables 1.6.2 and Linux 3.14.
const RANDOM_FULLY: &str = " --random-fully";

/// An address as it stands before a port.
struct BeforePort<'a>(&'a IpAddr);

impl fmt::Display for BeforePort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// What would end the quoted text or the line.
fn unquoting_to_underscore(c: char) -> char {
    if matches!(c, '"' | '\\') || c.is_control() { '_' } else { c }
}

fn write_protocol(out: &mut String, protocol: Protocol) -> fmt::Result {
    out.write_str(match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "icmp",
        Protocol::IcmpV6 => "icmpv6",
        Protocol::Sctp => "sctp",
        Protocol::UdpLite => "udplite",
        Protocol::Number(number) => return write!(out, "{number}"),
    })
}

fn write_ports(out: &mut String, ports: &[PortRange]) -> fmt::Result {
    write_list(
        out,
        ports,
        |out, PortRange { first, last }| {
            if first == last { write!(out, "{first}") } else { write!(out, "{first}:{last}") }
        },
    )
}

fn write_icmp(out: &mut String, icmp: IcmpMatch) -> fmt::Result {
    let IcmpMatch { icmp_type, code } = icmp;
    write!(out, "{icmp_type}")?;
    code.map_or(Ok(()), |code| write!(out, "/{code}"))
}

fn write_interface(out: &mut String, interface: &InterfaceMatch) -> fmt::Result {
    match interface {
        InterfaceMatch::Name(name) => out.write_str(name),
        InterfaceMatch::Prefix(prefix) => write!(out, "{prefix}+"),
    }
}

fn write_list<T>(
    out: &mut String,
    items: &[T],
    write_item: impl Fn(&mut String, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_item(out, item)?;
    }
    Ok(())
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Source => "source",
        Side::Destination => "destination",
    }
}

fn set_side(side: Side) -> &'static str {
    match side {
        Side::Source => "src",
        Side::Destination => "dst",
    }
}

fn state_name(state: ConntrackState) -> &'static str {
    match state {
        ConntrackState::New => "NEW",
        ConntrackState::Related => "RELATED",
        ConntrackState::Established => "ESTABLISHED",
        ConntrackState::Invalid => "INVALID",
        ConntrackState::Dnat => "DNAT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::SetId;
    use crate::rules::names::{ChainName, IpSetName};
    use crate::rules::ruleset::Provenance;

    fn rule(comments: &[&str], matches: Vec<Match>, target: Option<Target>) -> Rule {
        Rule {
            comments: comments.iter().map(|&comment| comment.to_owned()).collect(),
            matches,
            target,
            provenance: Provenance::Static,
        }
    }

    fn ports(ranges: &[(u16, u16)]) -> Vec<PortRange> {
        ranges.iter().map(|&(first, last)| PortRange { first, last }).collect()
    }

    #[test]
    fn matches_are_printed_as_restore_takes_them() {
        use Side::{Destination, Source};
        let set = || IpSetName::new(IpVersion::V4, &SetId("ipset-1".into()));
        let icmp = |icmp_type, code| IcmpMatch { icmp_type, code };
        let name = |name: &str| InterfaceMatch::Name(name.into());
        let prefix = |prefix: &str| InterfaceMatch::Prefix(prefix.into());
        let net = |text: &str| text.parse().expect("a net");
        let address = |text: &str| text.parse().expect("an address");
        for (criterion, positive, negated) in [
            (Criterion::Protocol(Protocol::Tcp), "-p tcp", "! -p tcp"),
            (Criterion::Protocol(Protocol::Udp), "-p udp", "! -p udp"),
            (Criterion::Protocol(Protocol::Icmp), "-p icmp", "! -p icmp"),
            (Criterion::Protocol(Protocol::IcmpV6), "-p icmpv6", "! -p icmpv6"),
            (Criterion::Protocol(Protocol::Sctp), "-p sctp", "! -p sctp"),
            (Criterion::Protocol(Protocol::UdpLite), "-p udplite", "! -p udplite"),
            (Criterion::Protocol(Protocol::Number(8)), "-p 8", "! -p 8"),
            (Criterion::Net(Source, net("10.0.0.0/16")), "--source 10.0.0.0/16", "! --source 10.0.0.0/16"),
            (
                Criterion::Net(Destination, net("feed::beef/128")),
                "--destination feed::beef/128",
                "! --destination feed::beef/128",
            ),
            (Criterion::Address(Source, address("0.0.0.0")), "--source 0.0.0.0", "! --source 0.0.0.0"),
            (
                Criterion::Set(Source, set()),
                "-m set --match-set cali40ipset-1 src",
                "-m set ! --match-set cali40ipset-1 src",
            ),
            (
                Criterion::Set(Destination, set()),
                "-m set --match-set cali40ipset-1 dst",
                "-m set ! --match-set cali40ipset-1 dst",
            ),
            (
                Criterion::SetWithPort(Source, set()),
                "-m set --match-set cali40ipset-1 src,src",
                "-m set ! --match-set cali40ipset-1 src,src",
            ),
            (
                Criterion::SetWithPort(Destination, set()),
                "-m set --match-set cali40ipset-1 dst,dst",
                "-m set ! --match-set cali40ipset-1 dst,dst",
            ),
            (
                Criterion::Ports(Source, ports(&[(10, 12), (20, 30), (8080, 8080)])),
                "-m multiport --source-ports 10:12,20:30,8080",
                "-m multiport ! --source-ports 10:12,20:30,8080",
            ),
            (
                Criterion::Ports(Destination, ports(&[(1234, 1234)])),
                "-m multiport --destination-ports 1234",
                "-m multiport ! --destination-ports 1234",
            ),
            (
                Criterion::Icmp(IpVersion::V4, icmp(10, None)),
                "-m icmp --icmp-type 10",
                "-m icmp ! --icmp-type 10",
            ),
            (
                Criterion::Icmp(IpVersion::V4, icmp(10, Some(12))),
                "-m icmp --icmp-type 10/12",
                "-m icmp ! --icmp-type 10/12",
            ),
            (
                Criterion::Icmp(IpVersion::V6, icmp(10, Some(12))),
                "-m icmp6 --icmpv6-type 10/12",
                "-m icmp6 ! --icmpv6-type 10/12",
            ),
            (
                Criterion::Mark { value: 0x400a, mask: 0x400a },
                "-m mark --mark 0x400a/0x400a",
                "-m mark ! --mark 0x400a/0x400a",
            ),
            (
                Criterion::Mark { value: 0, mask: 0x400a },
                "-m mark --mark 0/0x400a",
                "-m mark ! --mark 0/0x400a",
            ),
            (Criterion::InInterface(name("tap12")), "--in-interface tap12", "! --in-interface tap12"),
            (Criterion::OutInterface(prefix("cali")), "--out-interface cali+", "! --out-interface cali+"),
            (
                Criterion::Conntrack(&[ConntrackState::Related, ConntrackState::Established]),
                "-m conntrack --ctstate RELATED,ESTABLISHED",
                "-m conntrack ! --ctstate RELATED,ESTABLISHED",
            ),
            (
                Criterion::Conntrack(&[ConntrackState::Dnat]),
                "-m conntrack --ctstate DNAT",
                "-m conntrack ! --ctstate DNAT",
            ),
            (Criterion::ReversePath, "-m rpfilter --validmark", "-m rpfilter --invert --validmark"),
            (
                Criterion::SourceIsLocal { limit_iface_out: true },
                "-m addrtype --src-type LOCAL --limit-iface-out",
                "-m addrtype ! --src-type LOCAL --limit-iface-out",
            ),
            (
                Criterion::SourceIsLocal { limit_iface_out: false },
                "-m addrtype --src-type LOCAL",
                "-m addrtype ! --src-type LOCAL",
            ),
            (Criterion::DestinationIsLocal, "-m addrtype --dst-type LOCAL", "-m addrtype ! --dst-type LOCAL"),
        ] {
            for (negated, expected) in [(false, positive), (true, negated)] {
                let m = Match { negated, criterion: criterion.clone() };
                assert_eq!(rule_text(&rule(&[], vec![m], None)), expected);
            }
        }
    }

    #[test]
    fn limits_name_their_burst_where_there_is_one() {
        for (burst, expected) in
            [(90, "-m limit --limit 50/minute --limit-burst 90"), (0, "-m limit --limit 50/minute")]
        {
            let criterion = Criterion::Limit { rate: "50/minute".to_owned(), burst };
            assert_eq!(rule_text(&rule(&[], vec![Match { negated: false, criterion }], None)), expected);
        }
    }

    #[test]
    fn targets_are_printed_as_restore_takes_them() {
        let v4: IpAddr = "10.0.0.1".parse().expect("an address");
        let v6: IpAddr = "feed::beef".parse().expect("an address");
        let log = |prefix: &str| Target::Log { prefix: prefix.to_owned() };
        for (target, expected) in [
            (Target::Accept, "--jump ACCEPT"),
            (Target::Drop, "--jump DROP"),
            (Target::Reject, "--jump REJECT"),
            (Target::Return, "--jump RETURN"),
            (Target::Jump(ChainName::fixed("cali-INPUT")), "--jump cali-INPUT"),
            (Target::Goto(ChainName::fixed("cali-wl-to-host")), "--goto cali-wl-to-host"),
            (Target::SetMark { value: 0x1000, mask: 0x1000 }, "--jump MARK --set-mark 0x1000/0x1000"),
            (Target::SetMark { value: 0, mask: 0x600 }, "--jump MARK --set-mark 0x0/0x600"),
            (Target::ClearMark { mask: 0x1000 }, "--jump MARK --set-mark 0/0x1000"),
            (log("prefix"), "--jump LOG --log-prefix \"prefix: \" --log-level 5"),
            (log("[%x] a\"\\\nb"), "--jump LOG --log-prefix \"[%x] a___b: \" --log-level 5"),
            (Target::NoTrack, "--jump NOTRACK"),
            (Target::Masquerade { ports: None }, "--jump MASQUERADE --random-fully"),
            (
                Target::Masquerade { ports: Some((99, 100)) },
                "--jump MASQUERADE --to-ports 99-100 --random-fully",
            ),
            (Target::Snat { to: v4, ports: None }, "--jump SNAT --to-source 10.0.0.1 --random-fully"),
            (
                Target::Snat { to: v4, ports: Some((99, 100)) },
                "--jump SNAT --to-source 10.0.0.1:99-100 --random-fully",
            ),
            (
                Target::Snat { to: v6, ports: Some((99, 100)) },
                "--jump SNAT --to-source [feed::beef]:99-100 --random-fully",
            ),
            (Target::Dnat { to: v4, port: None }, "--jump DNAT --to-destination 10.0.0.1"),
            (Target::Dnat { to: v4, port: Some(8081) }, "--jump DNAT --to-destination 10.0.0.1:8081"),
            (Target::Dnat { to: v6, port: Some(8081) }, "--jump DNAT --to-destination [feed::beef]:8081"),
        ] {
            assert_eq!(rule_text(&rule(&[], Vec::new(), Some(target))), expected);
        }
    }

    #[test]
    fn comments_are_plain_and_short() {
        let long = "a".repeat(257);
        for (comment, expected) in [
            ("boring", "boring"),
            ("Kind ns/name: 50%, a@b+c=d.e-f_g", "Kind ns/name: 50%, a@b+c=d.e-f_g"),
            ("two\nlines", "two_lines"),
            ("a\"b'c$d`e\\f(g)", "a_b_c_d_e_f_g_"),
            ("caf\u{e9}", "caf_"),
            ("", ""),
            (&long, "a".repeat(256).as_str()),
        ] {
            let expected = format!("-m comment --comment \"{expected}\"");
            assert_eq!(rule_text(&rule(&[comment], Vec::new(), None)), expected);
        }
    }

    #[test]
    fn parts_are_joined_by_single_spaces() {
        let tcp = || Match { negated: false, criterion: Criterion::Protocol(Protocol::Tcp) };
        for (rule, expected) in [
            (rule(&[], Vec::new(), None), ""),
            (
                rule(&["a", "b"], vec![tcp(), tcp()], Some(Target::Drop)),
                "-m comment --comment \"a\" -m comment --comment \"b\" -p tcp -p tcp --jump DROP",
            ),
            (rule(&[], vec![tcp()], Some(Target::Drop)), "-p tcp --jump DROP"),
        ] {
            assert_eq!(rule_text(&rule), expected);
        }
    }
}
