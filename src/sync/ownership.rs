//! What is ours among what the kernel has: also what Felix, or a version of it long ago, left (reference §8.3, §9).

use crate::model::IpVersion;
use crate::rules::ruleset::TableName;

const CHAIN_PREFIXES: [&str; 8] =
    ["cali-", "califw-", "calitw-", "califh-", "calith-", "calipi-", "calipo-", "felix-"];

const SET_PREFIXES: [(&str, IpVersion); 6] = [
    ("cali4", IpVersion::V4),
    ("cali6", IpVersion::V6),
    ("felix-4", IpVersion::V4),
    ("felix-6", IpVersion::V6),
    ("felix-masq-ipam-pools", IpVersion::V4),
    ("felix-all-ipam-pools", IpVersion::V4),
];

/// What Felix put into nat POSTROUTING before it marked its rules by a comment.
const OLD_TUNNEL_MASQUERADE: &str =
    "-o tunl0 -m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL -j MASQUERADE";

/// The chain is ours: nobody else may have rules in it.
pub(super) fn is_our_chain(name: &str) -> bool {
    CHAIN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The set is ours, by its name.
pub fn is_our_set(name: &str) -> bool {
    set_family(name).is_some()
}

/// The family of a set of ours; None for a foreign one.
pub(super) fn set_family(name: &str) -> Option<IpVersion> {
    SET_PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, version)| *version)
}

/// The name of a set that holds what another will have, or had.
pub(super) fn temporary_set_name(version: IpVersion, number: usize) -> String {
    match version {
        IpVersion::V4 => format!("cali4t{number}"),
        IpVersion::V6 => format!("cali6t{number}"),
    }
}

/// The value of our mark in a rule as `iptables-save` prints it: what follows `cali:` in the first such comment.
pub(super) fn rule_id(rule: &str) -> Option<&str> {
    words(rule)
        .zip(words(rule).skip(1))
        .filter(|(option, _)| *option == "--comment")
        .find_map(|(_, comment)| comment.strip_prefix("cali:").filter(|id| id.starts_with(is_id_character)))
}

/// A rule of a Felix that did not yet mark its rules, in a chain that is not ours.
pub(super) fn is_old_rule(table: TableName, chain: &str, rule: &str) -> bool {
    jumps_to_our_chain(rule) || is_old_masquerade(table, chain, rule)
}

fn is_id_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn jumps_to_our_chain(rule: &str) -> bool {
    words(rule)
        .zip(words(rule).skip(1))
        .any(|(option, target)| matches!(option, "-j" | "--jump") && is_our_chain(target))
}

fn is_old_masquerade(table: TableName, chain: &str, rule: &str) -> bool {
    table == TableName::Nat
        && chain == "POSTROUTING"
        && (rule == OLD_TUNNEL_MASQUERADE || words(rule).any(|word| word == "felix-masq-ipam-pools"))
}

/// The words of a rule, quoted ones without their quotes; escapes stay.
fn words(rule: &str) -> impl Iterator<Item = &str> {
    let mut rest = rule;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_at_checked(closing_quote(quoted))?,
            None => rest.split_at_checked(rest.find(' ').unwrap_or(rest.len()))?,
        };
        let ended = rest.is_empty();
        rest = behind.strip_prefix('"').unwrap_or(behind);
        (!ended).then_some(word)
    })
}

fn closing_quote(quoted: &str) -> usize {
    let mut escaped = false;
    quoted
        .bytes()
        .position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        })
        .unwrap_or(quoted.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found() {
        for (rule, expected) in [
            ("-m comment --comment \"cali:wUHhoiAYhphO9Mso\" -j cali-FORWARD", Some("wUHhoiAYhphO9Mso")),
            ("-i cali+ -m comment --comment cali:wUHhoiAYhphO9Mso -j DROP", Some("wUHhoiAYhphO9Mso")),
            ("-m comment --comment \"first\" -m comment --comment \"cali:a_-9\"", Some("a_-9")),
            ("-m comment --comment \"cali:one\" -m comment --comment \"cali:two\"", Some("one")),
            ("-m comment --comment \"cali:\" -j DROP", None),
            ("-m comment --comment \"calico:one\" -j DROP", None),
            ("-m comment --comment \"say \\\" --comment cali:one \\\"\" -j DROP", None),
            ("-m comment --comment \"unclosed", None),
            ("-j DROP", None),
            ("", None),
        ] {
            assert_eq!(rule_id(rule), expected, "{rule}");
        }
    }

    #[test]
    fn old_rules_are_recognised() {
        use TableName::{Filter, Nat};
        for (table, chain, rule, expected) in [
            (Filter, "FORWARD", "-j felix-FORWARD", true),
            (Filter, "FORWARD", "--jump felix-FORWARD", true),
            (Filter, "FORWARD", "-i eth0 -j cali-FORWARD", true),
            (Filter, "foo", "-j califw-1", true),
            (Filter, "FORWARD", "-j calico-mine", false),
            (Filter, "FORWARD", "-j foo-bar", false),
            (Filter, "FORWARD", "-m comment --comment \"not -j cali-FORWARD\" -j ACCEPT", false),
            (Nat, "POSTROUTING", OLD_TUNNEL_MASQUERADE, true),
            (Filter, "POSTROUTING", OLD_TUNNEL_MASQUERADE, false),
            (Nat, "PREROUTING", OLD_TUNNEL_MASQUERADE, false),
            (
                Nat,
                "POSTROUTING",
                "-m set --match-set felix-masq-ipam-pools src -m set ! --match-set felix-all-ipam-pools dst -j MASQUERADE",
                true,
            ),
            (Nat, "POSTROUTING", "-o tunl0 -j MASQUERADE", false),
        ] {
            assert_eq!(is_old_rule(table, chain, rule), expected, "{rule}");
        }
    }

    #[test]
    fn names_are_recognised() {
        use IpVersion::{V4, V6};
        for (name, expected) in [
            ("cali40s:abc", Some(V4)),
            ("cali4-s:abc", Some(V4)),
            ("cali4t0", Some(V4)),
            ("cali60s:abc", Some(V6)),
            ("cali6t1", Some(V6)),
            ("felix-4-abc", Some(V4)),
            ("felix-4t-abc", Some(V4)),
            ("felix-6-abc", Some(V6)),
            ("felix-masq-ipam-pools", Some(V4)),
            ("felix-all-ipam-pools", Some(V4)),
            ("foobar", None),
            ("noncali", None),
            ("calico", None),
        ] {
            assert_eq!(set_family(name), expected, "{name}");
        }
        for (name, expected) in [
            ("cali-FORWARD", true),
            ("felix-FORWARD", true),
            ("calipi-a", true),
            ("calico-a", false),
            ("FORWARD", false),
        ] {
            assert_eq!(is_our_chain(name), expected, "{name}");
        }
    }
}
