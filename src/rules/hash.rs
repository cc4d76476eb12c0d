//! Rule ids: which rule, behind which others, in which chain (reference §7.1).

use std::fmt;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha224};

use super::ruleset::Rule;
use super::text::push_rule;

/// A rule's id: 96 bits that print as 16 characters of base64url. It stands in the rule's first comment,
/// `cali:<id>`, so that a chain can be compared with the kernel's without reading rules.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleHash([u8; 12]);

/// The ids of the rules of one chain, in order. Each stands for the chain's name, the rule, and all rules before it.
///
/// For the rules that are always appended to a kernel chain, `chain` is that chain's name and `*appends*`.
pub fn rule_hashes(chain: &str, rules: &[Rule]) -> Vec<RuleHash> {
    let mut previous = Sha224::digest(chain);
    let mut text = format!("-A {chain} HASH");
    let head = text.len();
    rules
        .iter()
        .map(|rule| {
            text.truncate(head);
            push_rule(&mut text, rule);
            previous = Sha224::new().chain_update(previous).chain_update(&text).finalize();
            RuleHash::of(previous.into())
        })
        .collect()
}

impl RuleHash {
    /// The id that prints as `text`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 12];
        (URL_SAFE_NO_PAD.decode_slice(text, &mut id) == Ok(id.len())).then_some(Self(id))
    }

    fn of(digest: [u8; 28]) -> Self {
        Self(digest.first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for RuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(&self.0, &URL_SAFE_NO_PAD).fmt(f)
    }
}

impl fmt::Debug for RuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PortRange, Protocol};
    use crate::rules::names::ChainName;
    use crate::rules::ruleset::{Criterion, Match, Provenance, Side, Target};

    fn commented(comment: &str, matches: Vec<Match>, target: Option<Target>) -> Rule {
        let comments = if comment.is_empty() { Vec::new() } else { vec![comment.to_owned()] };
        Rule { comments, matches, target, provenance: Provenance::Static }
    }

    fn plain(target: Target) -> Rule {
        commented("", Vec::new(), Some(target))
    }

    fn jump(chain: &'static str) -> Rule {
        plain(Target::Jump(ChainName::fixed(chain)))
    }

    #[test]
    fn ids_are_those_of_the_reference() {
        use Target::{Accept, Drop, Return};
        let is = |criterion| Match { negated: false, criterion };
        let mark = |bit| Target::SetMark { value: bit, mask: bit };
        let ssh = vec![
            is(Criterion::Protocol(Protocol::Tcp)),
            is(Criterion::Ports(Side::Destination, vec![PortRange { first: 22, last: 22 }])),
        ];
        let rows: [(&str, Vec<Rule>, &[&str]); 14] = [
            ("FORWARD", vec![plain(Drop)], &["hecdSCslEjdBPBPo"]),
            (
                "FORWARD",
                vec![plain(Drop), plain(Accept), plain(Drop), plain(Accept)],
                &["hecdSCslEjdBPBPo", "plvr29-ZiKUwbzDV", "BMJ7gfua-eMLZ8Gu", "rmnR1gc8haxMy_0W"],
            ),
            ("FORWARD", vec![jump("cali-FORWARD")], &["wUHhoiAYhphO9Mso"]),
            ("FORWARD", vec![jump("cali-foobar")], &["JttcEuxbGad9jG6N"]),
            (
                "FORWARD",
                vec![
                    commented("a drop rule", Vec::new(), Some(Drop)),
                    commented("an accept rule", Vec::new(), Some(Accept)),
                ],
                &["upaItQyFMdN7MTTl", "EpCg3AYNp_DftVFS"],
            ),
            (
                "FORWARD*appends*",
                vec![
                    commented("append drop rule", Vec::new(), Some(Drop)),
                    commented("append accept rule", Vec::new(), Some(Accept)),
                ],
                &["qNsBylRkftPwO3XF", "IQ9H0Scq00rF0w4S"],
            ),
            ("cali-foobar", vec![plain(Drop), plain(Accept)], &["I9LKcIJU9vtw4suw", "2XsaWB87aQT7Fxgc"]),
            ("cali-foobar", vec![plain(Return)], &["ZqwJQBzCmuABAOQt"]),
            (
                "cali-foobar",
                vec![plain(Accept), plain(Drop), plain(Return)],
                &["42h7Q64_2XDzpwKe", "0sUFHicPNNqNyNx8", "yilSOZ62PxMhMnS9"],
            ),
            (
                "cali-pi-gnp/allow-ssh",
                vec![commented("GlobalNetworkPolicy allow-ssh ingress", ssh, Some(mark(0x1_0000)))],
                &["yf-mINIE7VrfxPFr"],
            ),
            (
                "cali-po-gnp/allow-ssh",
                vec![commented("GlobalNetworkPolicy allow-ssh egress", Vec::new(), None)],
                &["8dxhSQxikz8oaHxs"],
            ),
            (
                "cali-pi-gnp/deny-all",
                vec![
                    commented("GlobalNetworkPolicy deny-all ingress", Vec::new(), Some(mark(0x4_0000))),
                    commented("", vec![is(Criterion::Mark { value: 0x4_0000, mask: 0x4_0000 })], Some(Drop)),
                ],
                &["hmG0RWV0RbWDskbC", "eT5lYfTkFiWJ-V96"],
            ),
            ("INPUT", vec![jump("cali-INPUT")], &["Cz_u1IQiXIMmKD4c"]),
            ("cali-empty", Vec::new(), &[]),
        ];
        for (chain, rules, expected) in rows {
            let ids: Vec<String> = rule_hashes(chain, &rules).iter().map(RuleHash::to_string).collect();
            assert_eq!(ids, expected, "{chain}");
        }
    }
}
