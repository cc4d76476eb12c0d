//! One rule of a policy or profile as iptables rules (reference §5.5).

use std::sync::Arc;

use super::blocks::{Step, push_blocks};
use super::context::Context;
use super::matches::Criteria;
use super::ruleset::{Criterion, Match, Provenance, Rule, Target};
use crate::model::Action;
use crate::policy::{ActiveRule, Owner};

/// Appends what `rule` comes to in the context's family, maybe nothing. `tier` is only for its log prefix.
pub(super) fn push_rules(rules: &mut Vec<Rule>, rule: &ActiveRule, tier: &str, context: &Context<'_>) {
    let steps = steps(rule, tier, context);
    if steps.is_empty() {
        return;
    }
    let comments: Vec<String> =
        rule.annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let source = Arc::new(rule.provenance.clone());
    rules.extend(steps.into_iter().map(|Step { matches, target }| Rule {
        comments: comments.clone(),
        matches,
        target: Some(target),
        provenance: Provenance::Rule(Arc::clone(&source)),
    }));
}

fn steps(rule: &ActiveRule, tier: &str, context: &Context<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let Some(criteria) = Criteria::new(rule, context.version) else { return steps };
    let marks = &context.marks;
    let matches = push_blocks(&mut steps, criteria, marks);
    match rule.action {
        Action::Allow => push_verdict(&mut steps, matches, marks.accept, Target::Return),
        Action::Pass => push_verdict(&mut steps, matches, marks.pass, Target::Return),
        Action::Deny => push_verdict(&mut steps, matches, marks.drop, context.deny()),
        Action::Log => steps.push(log_step(matches, &rule.provenance.owner, tier, context)),
    }
    steps
}

/// The verdict is marked first and carried out next, so that rules may stand between the two.
fn push_verdict(steps: &mut Vec<Step>, matches: Vec<Match>, mark: u32, target: Target) {
    steps.push(Step { matches, target: Target::mark(mark) });
    steps.push(Step { matches: vec![Match::marked(mark)], target });
}

fn log_step(matches: Vec<Match>, owner: &Owner, tier: &str, context: &Context<'_>) -> Step {
    let config = context.config;
    let limit = config.log_action_rate_limit.as_ref().map(|rate| {
        Match::is(Criterion::Limit { rate: rate.clone(), burst: config.log_action_rate_limit_burst })
    });
    Step {
        matches: limit.into_iter().chain(matches).collect(),
        target: Target::Log { prefix: log_prefix(&config.log_prefix, owner, tier) },
    }
}

/// `format` with `%t` (tier), `%k` (short kind), `%n` (name) and `%p` (name with namespace) filled in; any other
/// `%` stays. A profile has no tier.
fn log_prefix(format: &str, owner: &Owner, tier: &str) -> String {
    let format = if format.is_empty() { "calico-packet" } else { format };
    let (kind, name, qualified) = match owner {
        Owner::Policy(id) => (id.kind.short(), &*id.name, id.qualified_name()),
        Owner::Profile(name) => ("pro", &**name, name.to_string()),
    };
    let mut prefix = String::new();
    let mut parts = format.split('%');
    prefix.extend(parts.next());
    for part in parts {
        let mut rest = part.chars();
        match rest.next() {
            Some('t') => prefix.extend([tier, rest.as_str()]),
            Some('k') => prefix.extend([kind, rest.as_str()]),
            Some('n') => prefix.extend([name, rest.as_str()]),
            Some('p') => prefix.extend([&*qualified, rest.as_str()]),
            Some(_) | None => prefix.extend(["%", part]),
        }
    }
    prefix
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Config, DenyAction};
    use crate::model::{IcmpMatch, IpVersion, PolicyId, PolicyKind, PortRange, Protocol};
    use crate::policy::{ActiveSide, Direction, RuleSource, SetId};
    use crate::rules::marks::Marks;
    use crate::rules::ruleset::TableName;
    use crate::rules::text::rule_text;

    const V4: IpVersion = IpVersion::V4;
    const V6: IpVersion = IpVersion::V6;

    /// The marks of the reference's examples.
    pub fn marks() -> Marks {
        Marks { accept: 0x80, pass: 0x100, drop: 0x800, scratch0: 0x200, scratch1: 0x400, endpoint: 0xff000 }
    }

    pub fn gnp(name: &str) -> PolicyId {
        PolicyId { kind: PolicyKind::GlobalNetworkPolicy, namespace: "".into(), name: name.into() }
    }

    /// A rule that asks nothing.
    pub fn active(action: Action) -> ActiveRule {
        ActiveRule {
            action,
            ip_version: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: ActiveSide::default(),
            destination: ActiveSide::default(),
            annotations: Vec::new(),
            provenance: RuleSource {
                owner: Owner::Policy(gnp("test")),
                direction: Direction::Ingress,
                index: Some(0),
                place: None,
            },
        }
    }

    fn allow() -> ActiveRule {
        active(Action::Allow)
    }

    fn texts(rule: &ActiveRule, version: IpVersion, config: &Config) -> Vec<String> {
        let context = Context { version, table: TableName::Filter, marks: marks(), config };
        let mut rules = Vec::new();
        push_rules(&mut rules, rule, "default", &context);
        assert!(rules.iter().all(|r| r.provenance == Provenance::Rule(Arc::new(rule.provenance.clone()))));
        rules.iter().map(rule_text).collect()
    }

    /// What the rule itself matches, where it needs no blocks.
    fn match_text(rule: &ActiveRule, version: IpVersion) -> Option<String> {
        const VERDICT: &str = "--jump MARK --set-mark 0x80/0x80";
        let texts = texts(rule, version, &Config::default());
        let [matching, verdict] = &*texts else {
            assert!(texts.is_empty(), "{texts:?}");
            return None;
        };
        assert_eq!(verdict, "-m mark --mark 0x80/0x80 --jump RETURN");
        Some(matching.strip_suffix(VERDICT).expect(matching).trim_end().to_owned())
    }

    fn ports(ranges: &[(u16, u16)]) -> Vec<PortRange> {
        ranges.iter().map(|&(first, last)| PortRange { first, last }).collect()
    }

    fn sets(ids: &[&str]) -> Vec<SetId> {
        ids.iter().map(|&id| SetId(id.into())).collect()
    }

    /// The net of one side: `nets`, and behind `!`, `not_nets`.
    fn nets(text: &str) -> ActiveSide {
        let (not_nets, nets): (Vec<&str>, Vec<&str>) =
            text.split_whitespace().partition(|net| net.starts_with('!'));
        let parse = |net: &str| net.trim_start_matches('!').parse().expect("a net");
        ActiveSide {
            nets: nets.into_iter().map(parse).collect(),
            not_nets: not_nets.into_iter().map(parse).collect(),
            ..ActiveSide::default()
        }
    }

    fn eight_ranges() -> Vec<PortRange> {
        ports(&[(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)])
    }

    #[test]
    fn actions_mark_and_then_act() {
        let config = Config::default;
        let reject = Config { filter_deny_action: DenyAction::Reject, ..config() };
        let foobar = Config { log_prefix: "foobar".to_owned(), ..config() };
        let empty = Config { log_prefix: String::new(), ..config() };
        let limited = |log_action_rate_limit_burst| Config {
            log_action_rate_limit: Some("50/minute".to_owned()),
            log_action_rate_limit_burst,
            ..config()
        };
        let deny_mark = "--jump MARK --set-mark 0x800/0x800";
        let log = "--jump LOG --log-prefix \"calico-packet: \" --log-level 5";
        let limit = "-m limit --limit 50/minute";
        let rows: [(Action, Config, &[&str]); 9] = [
            (
                Action::Allow,
                config(),
                &["--jump MARK --set-mark 0x80/0x80", "-m mark --mark 0x80/0x80 --jump RETURN"],
            ),
            (Action::Deny, config(), &[deny_mark, "-m mark --mark 0x800/0x800 --jump DROP"]),
            (Action::Deny, reject, &[deny_mark, "-m mark --mark 0x800/0x800 --jump REJECT"]),
            (
                Action::Pass,
                config(),
                &["--jump MARK --set-mark 0x100/0x100", "-m mark --mark 0x100/0x100 --jump RETURN"],
            ),
            (Action::Log, config(), &[log]),
            (Action::Log, empty, &[log]),
            (Action::Log, foobar, &["--jump LOG --log-prefix \"foobar: \" --log-level 5"]),
            (Action::Log, limited(90), &[&format!("{limit} --limit-burst 90 {log}")]),
            (Action::Log, limited(0), &[&format!("{limit} {log}")]),
        ];
        for (action, config, expected) in rows {
            assert_eq!(texts(&active(action), V4, &config), expected);
        }
    }

    #[test]
    fn the_limit_of_a_log_rule_comes_first() {
        let config = Config { log_action_rate_limit: Some("50/minute".to_owned()), ..Config::default() };
        let rule = ActiveRule {
            protocol: Some(Protocol::Tcp),
            source: nets("10.0.0.0/24 10.0.1.0/24"),
            ..active(Action::Log)
        };
        assert_eq!(
            texts(&rule, V4, &config),
            [
                "--jump MARK --set-mark 0x0/0x600",
                "--source 10.0.0.0/24 --jump MARK --set-mark 0x200/0x200",
                "--source 10.0.1.0/24 --jump MARK --set-mark 0x200/0x200",
                "-m limit --limit 50/minute --limit-burst 5 -p tcp -m mark --mark 0x200/0x200 \
                 --jump LOG --log-prefix \"calico-packet: \" --log-level 5",
            ]
        );
    }

    #[test]
    fn log_prefixes_are_filled_in() {
        let np = Owner::Policy(PolicyId {
            kind: PolicyKind::NetworkPolicy,
            namespace: "ns".into(),
            name: "web".into(),
        });
        let profile = Owner::Profile("kns.default".into());
        for (format, owner, expected) in [
            ("", &np, "calico-packet"),
            ("plain", &np, "plain"),
            ("%t %k %p %n", &np, "tier-1 np ns/web web"),
            ("%t %k %p %n", &Owner::Policy(gnp("web")), "tier-1 gnp web web"),
            ("%k %p %n", &profile, "pro kns.default kns.default"),
            ("a%tb%%n%x %", &np, "atier-1b%web%x %"),
            ("%", &np, "%"),
        ] {
            assert_eq!(log_prefix(format, owner, "tier-1"), expected, "{format}");
        }
    }

    #[test]
    fn criteria_become_matches() {
        let icmp = |icmp_type, code| Some(IcmpMatch { icmp_type, code });
        let source = |source| ActiveRule { source, ..allow() };
        let destination = |destination| ActiveRule { destination, ..allow() };
        let tcp = |source| ActiveRule { protocol: Some(Protocol::Tcp), source, ..allow() };
        let side = ActiveSide::default;
        let eight = "1:2,3:4,5:6,7:8,9:10,11:12,13:14";
        for (rule, expected) in [
            (ActiveRule { protocol: Some(Protocol::Tcp), ..allow() }, "-p tcp"),
            (ActiveRule { protocol: Some(Protocol::Number(8)), ..allow() }, "-p 8"),
            (ActiveRule { not_protocol: Some(Protocol::Tcp), ..allow() }, "! -p tcp"),
            (ActiveRule { not_protocol: Some(Protocol::Number(8)), ..allow() }, "! -p 8"),
            (ActiveRule { not_protocol: Some(Protocol::IcmpV6), ..allow() }, "! -p icmpv6"),
            (
                ActiveRule { protocol: Some(Protocol::Udp), not_protocol: Some(Protocol::Tcp), ..allow() },
                "-p udp",
            ),
            (source(nets("10.0.0.0/16")), "--source 10.0.0.0/16"),
            (destination(nets("10.0.0.0/16")), "--destination 10.0.0.0/16"),
            (source(nets("!10.0.0.0/16")), "! --source 10.0.0.0/16"),
            (destination(nets("!10.0.0.0/16")), "! --destination 10.0.0.0/16"),
            (
                source(ActiveSide { sets: sets(&["a", "b"]), ..side() }),
                "-m set --match-set cali40a src -m set --match-set cali40b src",
            ),
            (
                destination(ActiveSide { not_sets: sets(&["a", "b"]), ..side() }),
                "-m set ! --match-set cali40a dst -m set ! --match-set cali40b dst",
            ),
            (
                tcp(ActiveSide { ports: ports(&[(10, 12), (20, 30), (8080, 8080)]), ..side() }),
                "-p tcp -m multiport --source-ports 10:12,20:30,8080",
            ),
            (
                tcp(ActiveSide { not_ports: eight_ranges(), ..side() }),
                &format!("-p tcp -m multiport ! --source-ports {eight} -m multiport ! --source-ports 15:16"),
            ),
            (
                tcp(ActiveSide { port_sets: sets(&["n"]), ..side() }),
                "-p tcp -m set --match-set cali40n src,src",
            ),
            (
                destination(ActiveSide { port_sets: sets(&["n"]), ..side() }),
                "-m set --match-set cali40n dst,dst",
            ),
            (
                tcp(ActiveSide { not_port_sets: sets(&["n", "m"]), ..side() }),
                "-p tcp -m set ! --match-set cali40n src,src -m set ! --match-set cali40m src,src",
            ),
            (
                ActiveRule { protocol: Some(Protocol::Icmp), icmp: icmp(10, None), ..allow() },
                "-p icmp -m icmp --icmp-type 10",
            ),
            (
                ActiveRule { protocol: Some(Protocol::Number(1)), not_icmp: icmp(10, Some(12)), ..allow() },
                "-p 1 -m icmp ! --icmp-type 10/12",
            ),
        ] {
            assert_eq!(match_text(&rule, V4).as_deref(), Some(expected));
        }
    }

    #[test]
    fn matches_stand_in_the_order_that_is_hashed() {
        let side = |net: &str, side: &str| ActiveSide {
            sets: sets(&[&format!("{side}-set")]),
            not_sets: sets(&[&format!("{side}-not-set")]),
            ports: ports(&[(1, 1)]),
            not_ports: ports(&[(2, 2)]),
            not_port_sets: sets(&[&format!("{side}-not-named")]),
            ..nets(net)
        };
        let rule = ActiveRule {
            protocol: Some(Protocol::IcmpV6),
            icmp: Some(IcmpMatch { icmp_type: 10, code: Some(12) }),
            not_icmp: Some(IcmpMatch { icmp_type: 10, code: Some(13) }),
            source: side("feed::/16", "s"),
            destination: side("!beef::/16", "d"),
            ..allow()
        };
        assert_eq!(
            match_text(&rule, V6).as_deref(),
            Some(
                "-p icmpv6 --source feed::/16 -m set --match-set cali60s-set src \
                 -m multiport --source-ports 1 \
                 -m set --match-set cali60d-set dst -m multiport --destination-ports 1 \
                 -m icmp6 --icmpv6-type 10/12 \
                 -m set ! --match-set cali60s-not-set src -m multiport ! --source-ports 2 \
                 -m set ! --match-set cali60s-not-named src,src \
                 ! --destination beef::/16 -m set ! --match-set cali60d-not-set dst \
                 -m multiport ! --destination-ports 2 -m set ! --match-set cali60d-not-named dst,dst \
                 -m icmp6 ! --icmpv6-type 10/13"
            )
        );
    }

    #[test]
    fn rules_are_written_for_the_families_that_they_can_match() {
        let version = |ip_version| ActiveRule { ip_version, ..allow() };
        let protocol = |protocol| ActiveRule { protocol: Some(protocol), ..allow() };
        let source = |text| ActiveRule { source: nets(text), ..allow() };
        let destination = |text| ActiveRule { destination: nets(text), ..allow() };
        for (rule, v4, v6) in [
            (version(None), Some(""), Some("")),
            (version(Some(V4)), Some(""), None),
            (version(Some(V6)), None, Some("")),
            (protocol(Protocol::Icmp), Some("-p icmp"), None),
            (protocol(Protocol::IcmpV6), None, Some("-p icmpv6")),
            (protocol(Protocol::Number(1)), Some("-p 1"), None),
            (protocol(Protocol::Number(58)), None, Some("-p 58")),
            (ActiveRule { ip_version: Some(V6), ..protocol(Protocol::Icmp) }, None, None),
            (
                ActiveRule { not_protocol: Some(Protocol::Icmp), ..allow() },
                Some("! -p icmp"),
                Some("! -p icmp"),
            ),
            // Nothing is TCP and not.
            (ActiveRule { not_protocol: Some(Protocol::Number(6)), ..protocol(Protocol::Tcp) }, None, None),
            (
                source("10.0.0.1/32 feed::beef/128"),
                Some("--source 10.0.0.1/32"),
                Some("--source feed::beef/128"),
            ),
            (source("feed::beef/128"), None, Some("--source feed::beef/128")),
            (source("!feed::beef/128"), None, Some("! --source feed::beef/128")),
            (destination("10.0.0.1/32"), Some("--destination 10.0.0.1/32"), None),
            (destination("!10.0.0.1/32"), Some("! --destination 10.0.0.1/32"), None),
            (source("0.0.0.0/0"), Some("--source 0.0.0.0/0"), None),
            (source("!0.0.0.0/0 !feed::/16"), None, Some("! --source feed::/16")),
            (destination("!10.0.0.0/8 !::/0"), Some("! --destination 10.0.0.0/8"), None),
        ] {
            assert_eq!(match_text(&rule, V4).as_deref(), v4, "{rule:?}");
            assert_eq!(match_text(&rule, V6).as_deref(), v6, "{rule:?}");
        }
    }

    #[test]
    fn alternatives_become_blocks() {
        let side = ActiveSide::default;
        let tcp = |source, destination| ActiveRule {
            protocol: Some(Protocol::Tcp),
            source,
            destination,
            ..allow()
        };
        for (rule, expected) in [
            (
                ActiveRule { source: nets("10.0.0.0/24 10.0.1.0/24"), ..allow() },
                "--jump MARK --set-mark 0x0/0x600
                 --source 10.0.0.0/24 --jump MARK --set-mark 0x200/0x200
                 --source 10.0.1.0/24 --jump MARK --set-mark 0x200/0x200
                 -m mark --mark 0x200/0x200 --jump MARK --set-mark 0x80/0x80",
            ),
            (
                ActiveRule { source: nets("!11.0.0.0/24 !11.0.1.0/24"), ..allow() },
                "--jump MARK --set-mark 0x200/0x600
                 --source 11.0.0.0/24 --jump MARK --set-mark 0/0x200
                 --source 11.0.1.0/24 --jump MARK --set-mark 0/0x200
                 -m mark --mark 0x200/0x200 --jump MARK --set-mark 0x80/0x80",
            ),
            (
                ActiveRule { source: nets("10.0.0.0/24 !11.0.0.0/24"), ..allow() },
                "--jump MARK --set-mark 0x200/0x600
                 --source 11.0.0.0/24 --jump MARK --set-mark 0/0x200
                 --source 10.0.0.0/24 -m mark --mark 0x200/0x200 --jump MARK --set-mark 0x80/0x80",
            ),
            (
                ActiveRule { source: nets("10.0.0.0/24 10.0.1.0/24 !11.0.0.0/24"), ..allow() },
                "--jump MARK --set-mark 0x0/0x600
                 --source 10.0.0.0/24 --jump MARK --set-mark 0x200/0x200
                 --source 10.0.1.0/24 --jump MARK --set-mark 0x200/0x200
                 ! --source 11.0.0.0/24 -m mark --mark 0x200/0x200 --jump MARK --set-mark 0x80/0x80",
            ),
            (
                ActiveRule {
                    source: nets("10.0.0.0/24 10.0.1.0/24 !11.0.0.0/24 !11.0.1.0/24"),
                    destination: nets("12.0.0.0/24 12.0.1.0/24 !13.0.0.0/24 !13.0.1.0/24"),
                    ..allow()
                },
                "--jump MARK --set-mark 0x0/0x600
                 --source 10.0.0.0/24 --jump MARK --set-mark 0x200/0x200
                 --source 10.0.1.0/24 --jump MARK --set-mark 0x200/0x200
                 --destination 12.0.0.0/24 --jump MARK --set-mark 0x400/0x400
                 --destination 12.0.1.0/24 --jump MARK --set-mark 0x400/0x400
                 -m mark --mark 0/0x400 --jump MARK --set-mark 0/0x200
                 --source 11.0.0.0/24 --jump MARK --set-mark 0/0x200
                 --source 11.0.1.0/24 --jump MARK --set-mark 0/0x200
                 --destination 13.0.0.0/24 --jump MARK --set-mark 0/0x200
                 --destination 13.0.1.0/24 --jump MARK --set-mark 0/0x200
                 -m mark --mark 0x200/0x200 --jump MARK --set-mark 0x80/0x80",
            ),
            (
                tcp(ActiveSide { ports: eight_ranges(), ..side() }, side()),
                "--jump MARK --set-mark 0x0/0x600
                 -p tcp -m multiport --source-ports 1:2,3:4,5:6,7:8,9:10,11:12,13:14 --jump MARK --set-mark 0x200/0x200
                 -p tcp -m multiport --source-ports 15:16 --jump MARK --set-mark 0x200/0x200
                 -p tcp -m mark --mark 0x200/0x200 --jump MARK --set-mark 0x80/0x80",
            ),
            (
                tcp(
                    ActiveSide {
                        ports: eight_ranges(),
                        port_sets: sets(&["ipset-1", "ipset-2", "ipset-3"]),
                        ..side()
                    },
                    side(),
                ),
                "--jump MARK --set-mark 0x0/0x600
                 -p tcp -m multiport --source-ports 1:2,3:4,5:6,7:8,9:10,11:12,13:14 --jump MARK --set-mark 0x200/0x200
                 -p tcp -m multiport --source-ports 15:16 --jump MARK --set-mark 0x200/0x200
                 -m set --match-set cali40ipset-1 src,src --jump MARK --set-mark 0x200/0x200
                 -m set --match-set cali40ipset-2 src,src --jump MARK --set-mark 0x200/0x200
                 -m set --match-set cali40ipset-3 src,src --jump MARK --set-mark 0x200/0x200
                 -p tcp -m mark --mark 0x200/0x200 --jump MARK --set-mark 0x80/0x80",
            ),
            (
                tcp(ActiveSide { port_sets: sets(&["ipset-1", "ipset-2"]), ..side() }, side()),
                "--jump MARK --set-mark 0x0/0x600
                 -m set --match-set cali40ipset-1 src,src --jump MARK --set-mark 0x200/0x200
                 -m set --match-set cali40ipset-2 src,src --jump MARK --set-mark 0x200/0x200
                 -p tcp -m mark --mark 0x200/0x200 --jump MARK --set-mark 0x80/0x80",
            ),
            (
                tcp(
                    side(),
                    ActiveSide { ports: ports(&[(80, 80)]), port_sets: sets(&["ipset-1"]), ..side() },
                ),
                "--jump MARK --set-mark 0x0/0x600
                 -p tcp -m multiport --destination-ports 80 --jump MARK --set-mark 0x200/0x200
                 -m set --match-set cali40ipset-1 dst,dst --jump MARK --set-mark 0x200/0x200
                 -p tcp -m mark --mark 0x200/0x200 --jump MARK --set-mark 0x80/0x80",
            ),
            // Everything at once; scratch1 is cleared before the third and the fourth positive block.
            (
                tcp(
                    ActiveSide {
                        ports: ports(&[(1, 1)]),
                        port_sets: sets(&["ipset-1"]),
                        not_ports: ports(&[(101, 101)]),
                        not_port_sets: sets(&["ipset-3"]),
                        ..nets("10.0.0.0/24 10.0.1.0/24 !11.0.0.0/24 !11.0.1.0/24")
                    },
                    ActiveSide {
                        ports: ports(&[(2, 2)]),
                        port_sets: sets(&["ipset-2"]),
                        not_ports: ports(&[(201, 201)]),
                        not_port_sets: sets(&["ipset-4"]),
                        ..nets("12.0.0.0/24 12.0.1.0/24 !13.0.0.0/24 !13.0.1.0/24")
                    },
                ),
                "--jump MARK --set-mark 0x0/0x600
                 -p tcp -m multiport --source-ports 1 --jump MARK --set-mark 0x200/0x200
                 -m set --match-set cali40ipset-1 src,src --jump MARK --set-mark 0x200/0x200
                 -p tcp -m multiport --destination-ports 2 --jump MARK --set-mark 0x400/0x400
                 -m set --match-set cali40ipset-2 dst,dst --jump MARK --set-mark 0x400/0x400
                 -m mark --mark 0/0x400 --jump MARK --set-mark 0/0x200
                 --jump MARK --set-mark 0/0x400
                 --source 10.0.0.0/24 --jump MARK --set-mark 0x400/0x400
                 --source 10.0.1.0/24 --jump MARK --set-mark 0x400/0x400
                 -m mark --mark 0/0x400 --jump MARK --set-mark 0/0x200
                 --jump MARK --set-mark 0/0x400
                 --destination 12.0.0.0/24 --jump MARK --set-mark 0x400/0x400
                 --destination 12.0.1.0/24 --jump MARK --set-mark 0x400/0x400
                 -m mark --mark 0/0x400 --jump MARK --set-mark 0/0x200
                 --source 11.0.0.0/24 --jump MARK --set-mark 0/0x200
                 --source 11.0.1.0/24 --jump MARK --set-mark 0/0x200
                 --destination 13.0.0.0/24 --jump MARK --set-mark 0/0x200
                 --destination 13.0.1.0/24 --jump MARK --set-mark 0/0x200
                 -p tcp -m multiport ! --source-ports 101 -m set ! --match-set cali40ipset-3 src,src -m multiport ! --destination-ports 201 -m set ! --match-set cali40ipset-4 dst,dst -m mark --mark 0x200/0x200 --jump MARK --set-mark 0x80/0x80",
            ),
        ] {
            let mut expected: Vec<&str> = expected.lines().map(str::trim_start).collect();
            expected.push("-m mark --mark 0x80/0x80 --jump RETURN");
            assert_eq!(texts(&rule, V4, &Config::default()), expected);
        }
    }

    #[test]
    fn annotations_stand_on_every_rule() {
        let rule = ActiveRule {
            source: nets("10.0.0.0/24 10.0.1.0/24 feed::/16 beef::/16"),
            annotations: vec![
                ("testkey00".into(), "testvalue00".into()),
                ("testkey01".into(), "testvalue01".into()),
            ],
            ..allow()
        };
        let comments =
            "-m comment --comment \"testkey00=testvalue00\" -m comment --comment \"testkey01=testvalue01\" ";
        for version in [V4, V6] {
            let texts = texts(&rule, version, &Config::default());
            assert_eq!(texts.len(), 5);
            assert!(texts.iter().all(|text| text.starts_with(comments)), "{texts:?}");
        }
    }
}
