//! What a rule asks of a packet, as conditions.

use super::Names;
use super::literals::{icmp, masked, net, ports, protocol, states};
use super::rule::{Choice, Head, Module, Parts};
use crate::model::IpVersion;
use crate::rules::ruleset::{InterfaceMatch, Side};
use crate::verdict::chains::program::{Condition, PortSide, Test};
use crate::verdict::packet::Payload;

/// All conditions, in the order of the words. What isn't modelled is one of them.
pub(super) fn conditions(names: &Names, parts: &Parts) -> Vec<Condition> {
    let protocol = asked_protocol(parts);
    let asked = Asked { names, protocol };
    let head = parts.head.iter().filter_map(|(head, choice)| asked.head(*head, choice));
    let modules = parts.modules.iter().flat_map(|module| asked.module(module));
    let loose = parts.loose.iter().map(|choice| asked.loose(choice));
    head.chain(modules).chain(loose).collect()
}

/// The protocol that the packet must be of.
fn asked_protocol(parts: &Parts) -> Option<u8> {
    let (_, choice) = parts.head.iter().find(|(head, _)| *head == Head::Protocol)?;
    if choice.negated { None } else { choice.value().and_then(protocol) }
}

/// What a module may depend on.
struct Asked<'a> {
    names: &'a Names<'a>,
    protocol: Option<u8>,
}

impl Asked<'_> {
    /// None where it asks for nothing.
    fn head(&self, head: Head, choice: &Choice) -> Option<Condition> {
        let value = choice.value().unwrap_or_default();
        let test = match head {
            Head::Source => self.net(Side::Source, value),
            Head::Destination => self.net(Side::Destination, value),
            Head::InInterface => interface(value).map(Test::InInterface),
            Head::OutInterface => interface(value).map(Test::OutInterface),
            Head::Protocol if is_any_protocol(value) && !choice.negated => return None,
            // The kernel has no test for "no protocol at all".
            Head::Protocol if is_any_protocol(value) => None,
            Head::Protocol => protocol(value).map(Test::Protocol),
            Head::Flag => None,
        };
        Some(condition(choice, test, || choice.to_string()))
    }

    fn net(&self, side: Side, value: &str) -> Option<Test> {
        net(self.names.version, value).map(|net| Test::Address(side, net))
    }

    fn module(&self, module: &Module) -> Vec<Condition> {
        let Module { name, choices } = module;
        let each = |test: fn(&Self, &Choice) -> Option<Test>| -> Vec<Condition> {
            let known =
                |choice: &Choice| condition(choice, test(self, choice), || format!("-m {name} {choice}"));
            choices.iter().map(|choice| self.of_protocol(choice).unwrap_or_else(|| known(choice))).collect()
        };
        let whole = |tests: Option<Vec<Condition>>| tests.unwrap_or_else(|| vec![unknown(module)]);
        match &**name {
            "comment" => {
                let other = choices.iter().filter(|choice| choice.name != "--comment" || choice.negated);
                other.map(|choice| self.loose(choice)).collect()
            }
            // Their options are looked at in `of_protocol`. Without one, they ask for what `-p` asks for.
            "tcp" | "udp" | "udplite" | "sctp" | "dccp" if self.module_is_of_protocol(name) => {
                each(|_, _| None)
            }
            "icmp" if self.module_is_of_protocol(name) => each(|_, _| None),
            "icmp6" if self.module_is_of_protocol(name) && !choices.is_empty() => each(|_, _| None),
            "conntrack" if !choices.is_empty() => each(|_, choice| state(choice, "--ctstate")),
            "state" if !choices.is_empty() => each(|_, choice| state(choice, "--state")),
            "mark" if !choices.is_empty() => each(|_, choice| mark(choice)),
            "multiport" => whole(self.multiport(choices)),
            "set" => whole(self.set(choices)),
            "rpfilter" => whole(reverse_path(choices)),
            "addrtype" => whole(local(choices)),
            "limit" => whole(limit(choices)),
            _ => vec![unknown(module)],
        }
    }

    /// An option without a module of its own.
    fn loose(&self, choice: &Choice) -> Condition {
        self.of_protocol(choice).unwrap_or_else(|| unknown(choice))
    }

    /// The protocol's own module is there whether or not it is named, and its options may stand anywhere.
    fn of_protocol(&self, choice: &Choice) -> Option<Condition> {
        let version = self.names.version;
        let value = choice.value()?;
        let has_ports = self.protocol.is_some_and(|protocol| Payload::PORT_PROTOCOLS.contains(&protocol));
        let is_icmp = self.protocol == Some(Payload::icmp_of(version));
        let port_test = |side| ports(value).map(|ports| Test::Ports(side, vec![ports]));
        let icmp_test = || icmp(version, value).map(|(icmp_type, codes)| Test::Icmp { icmp_type, codes });
        let test = match (choice.name, version) {
            ("--sport" | "--source-port", _) if has_ports => port_test(PortSide::Source),
            ("--dport" | "--destination-port", _) if has_ports => port_test(PortSide::Destination),
            ("--icmp-type", IpVersion::V4) | ("--icmpv6-type", IpVersion::V6) if is_icmp => icmp_test(),
            _ => None,
        };
        test.map(|test| Condition { negated: choice.negated, test })
    }

    /// `iptables` loads a protocol's module only where `-p` asks for that protocol.
    fn module_is_of_protocol(&self, module: &str) -> bool {
        let of = match (module, self.names.version) {
            ("icmp6", IpVersion::V6) => Some(Payload::icmp_of(IpVersion::V6)),
            ("icmp", IpVersion::V6) | ("icmp6", IpVersion::V4) => None,
            _ => protocol(module),
        };
        of.is_some() && of == self.protocol
    }

    fn multiport(&self, choices: &[Choice]) -> Option<Vec<Condition>> {
        self.protocol.filter(|protocol| Payload::PORT_PROTOCOLS.contains(protocol))?;
        let [choice] = choices else { return None };
        let side = match choice.name {
            "--sports" | "--source-ports" => PortSide::Source,
            "--dports" | "--destination-ports" => PortSide::Destination,
            "--ports" => PortSide::Either,
            _ => return None,
        };
        let ranges = choice.value()?.split(',').map(ports).collect::<Option<_>>()?;
        Some(vec![Condition { negated: choice.negated, test: Test::Ports(side, ranges) }])
    }

    fn set(&self, choices: &[Choice]) -> Option<Vec<Condition>> {
        let [Choice { negated, name: "--match-set", values }] = choices else { return None };
        let [name, sides] = values.as_slice() else { return None };
        let side = |word| match word {
            "src" => Some(Side::Source),
            "dst" => Some(Side::Destination),
            _ => None,
        };
        let sides = sides.text.split(',').map(side).collect::<Option<_>>()?;
        let name = &*name.text;
        let test = match self.names.sets.get(name) {
            Some(number) => Test::Set(*number, sides),
            None if self.names.elsewhere.contains(name) => {
                Test::Unknown(format!("the set {name}, which is of the other IP version").into())
            }
            // The kernel would refuse the table.
            None => Test::Unknown(format!("the set {name}, which is not there").into()),
        };
        Some(vec![Condition { negated: *negated, test }])
    }
}

/// The test or, where there is none, what is written. A negation is part of that.
fn condition(choice: &Choice, test: Option<Test>, written: impl Fn() -> String) -> Condition {
    match test {
        Some(test) => Condition { negated: choice.negated, test },
        None => Condition::is(Test::Unknown(written().into())),
    }
}

fn unknown(written: &impl ToString) -> Condition {
    Condition::is(Test::Unknown(written.to_string().into()))
}

fn is_any_protocol(text: &str) -> bool {
    text.eq_ignore_ascii_case("all") || text == "0"
}

fn interface(name: &str) -> Option<InterfaceMatch> {
    match name.strip_suffix('+') {
        Some(prefix) => Some(InterfaceMatch::Prefix(prefix.into())),
        None if name.is_empty() => None,
        None => Some(InterfaceMatch::Name(name.into())),
    }
}

fn state(choice: &Choice, option: &str) -> Option<Test> {
    choice.value().filter(|_| choice.name == option).and_then(states).map(Test::State)
}

fn mark(choice: &Choice) -> Option<Test> {
    let (value, mask) = choice.value().filter(|_| choice.name == "--mark").and_then(masked)?;
    Some(Test::Mark { value, mask })
}

fn reverse_path(choices: &[Choice]) -> Option<Vec<Condition>> {
    let mut negated = false;
    for choice in choices {
        match choice.name {
            _ if choice.negated || !choice.values.is_empty() => return None,
            "--invert" => negated = true,
            "--validmark" => {}
            _ => return None,
        }
    }
    Some(vec![Condition { negated, test: Test::ReversePath }])
}

fn local(choices: &[Choice]) -> Option<Vec<Condition>> {
    let limit_iface_out =
        choices.iter().any(|choice| matches!(choice, Choice { name: "--limit-iface-out", .. }));
    let mut conditions = Vec::new();
    for choice in choices {
        let side = match choice.name {
            "--src-type" => Side::Source,
            "--dst-type" => Side::Destination,
            "--limit-iface-out" if choice.values.is_empty() && !choice.negated => continue,
            _ => return None,
        };
        choice.value().filter(|value| *value == "LOCAL")?;
        conditions.push(Condition { negated: choice.negated, test: Test::Local { side, limit_iface_out } });
    }
    (!conditions.is_empty()).then_some(conditions)
}

fn limit(choices: &[Choice]) -> Option<Vec<Condition>> {
    let mut rate = None;
    let mut burst = 0;
    for choice in choices {
        match (choice.negated, choice.name, choice.value()?) {
            (false, "--limit", value) => rate = Some(value),
            (false, "--limit-burst", value) => burst = value.parse().ok()?,
            _ => return None,
        }
    }
    rate.map(|rate| vec![Condition::is(Test::limit(rate, burst))])
}
