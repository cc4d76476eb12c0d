//! Neighbouring policies with one selector, which endpoints share as one chain (reference §6.10).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha3::{Digest, Sha3_224};

use super::marks::Marks;
use super::names::MAX_CHAIN_NAME;
use super::ruleset::{Chain, ChainName, Match, Provenance, Rule, Target};
use crate::model::PolicyId;
use crate::policy::Direction;

/// Characters of a group's uid: what `cali-gi-` leaves of a chain name.
const UID_LENGTH: usize = MAX_CHAIN_NAME - 8;

/// A group's chain asks for a verdict once in so many policies, and otherwise before each jump.
const POLICIES_PER_RETURN: usize = 5;

/// Policies of one tier and direction that follow each other and have the same selector: whichever endpoint has one
/// of them has them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyGroup {
    pub direction: Direction,
    /// Canonical text.
    pub selector: String,
    /// In order.
    pub policies: Vec<PolicyId>,
}

/// Cuts `policies`, one tier's in one direction, where the selector changes.
pub fn group_policies<'p>(
    policies: &[PolicyId],
    selector_of: impl Fn(&PolicyId) -> &'p str,
    direction: Direction,
) -> Vec<PolicyGroup> {
    policies
        .chunk_by(|a, b| selector_of(a) == selector_of(b))
        .filter_map(|policies| {
            let selector = selector_of(policies.first()?).to_owned();
            Some(PolicyGroup { direction, selector, policies: policies.to_vec() })
        })
        .collect()
}

impl PolicyGroup {
    /// Where an endpoint's chain jumps to: the group's chain, or that of its only policy.
    pub fn jumps(&self) -> Vec<ChainName> {
        if self.has_chain() {
            vec![ChainName::group(self.direction, &self.uid())]
        } else {
            self.policies.iter().map(|id| ChainName::policy(self.direction, id)).collect()
        }
    }

    /// The group's chain, where it has one of its own.
    pub fn chain(&self, marks: &Marks) -> Option<Chain> {
        self.has_chain().then(|| Chain {
            name: ChainName::group(self.direction, &self.uid()),
            rules: self.rules(marks.pass | marks.accept),
        })
    }

    fn has_chain(&self) -> bool {
        self.policies.len() > 1
    }

    /// Jumps to each policy, unless one before it has set a bit of `verdict`.
    fn rules(&self, verdict: u32) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (position, id) in self.policies.iter().enumerate() {
            let begins_part = position % POLICIES_PER_RETURN == 0;
            if begins_part && position > 0 {
                rules.push(Rule {
                    comments: vec!["Return on verdict".to_owned()],
                    matches: vec![Match::marked_any(verdict)],
                    target: Some(Target::Return),
                    provenance: Provenance::Group(id.clone()),
                });
            }
            rules.push(Rule {
                comments: Vec::new(),
                matches: if begins_part { Vec::new() } else { vec![Match::unmarked(verdict)] },
                target: Some(Target::Jump(ChainName::policy(self.direction, id))),
                provenance: Provenance::Group(id.clone()),
            });
        }
        rules
    }

    /// A name that no other group has: one line each for the selector, the direction, the number of policies, and
    /// every policy, hashed.
    fn uid(&self) -> String {
        let Self { direction, selector, policies } = self;
        let direction = match direction {
            Direction::Ingress => "inbound",
            Direction::Egress => "outbound",
        };
        let mut hash = Sha3_224::new();
        hash.update(format!("{selector}\n{direction}\n{}\n", policies.len()));
        for PolicyId { kind, namespace, name } in policies {
            hash.update(format!("{{Name: {name}, Namespace: {namespace}, Kind: {}}}\n", kind.name()));
        }
        let mut uid = URL_SAFE_NO_PAD.encode(hash.finalize());
        uid.truncate(UID_LENGTH);
        uid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PolicyKind;
    use crate::rules::text::rule_text;

    fn policy(name: &str) -> PolicyId {
        PolicyId { kind: PolicyKind::GlobalNetworkPolicy, namespace: "".into(), name: name.into() }
    }

    fn group(direction: Direction, selector: &str, names: &[&str]) -> PolicyGroup {
        let policies = names.iter().map(|name| policy(name)).collect();
        PolicyGroup { direction, selector: selector.to_owned(), policies }
    }

    fn marks() -> Marks {
        Marks { accept: 0x8, pass: 0x10, drop: 0x80, scratch0: 0x20, scratch1: 0x40, endpoint: 0xff00 }
    }

    #[test]
    fn only_neighbours_with_one_selector_are_grouped() {
        let selector_of = |id: &PolicyId| if id.name.starts_with('a') { "a" } else { "b" };
        for (names, expected) in [
            (&[][..], vec![]),
            (&["a1"], vec![&["a1"][..]]),
            (&["a1", "b1", "b2", "a2"], vec![&["a1"], &["b1", "b2"], &["a2"]]),
            (&["a1", "a2", "a3"], vec![&["a1", "a2", "a3"]]),
        ] {
            let policies: Vec<PolicyId> = names.iter().map(|name| policy(name)).collect();
            let expected: Vec<PolicyGroup> =
                expected.iter().map(|names| group(Direction::Egress, &names[0][..1], names)).collect();
            assert_eq!(group_policies(&policies, selector_of, Direction::Egress), expected);
        }
    }

    #[test]
    fn uids_tell_groups_apart() {
        use Direction::{Egress, Ingress};
        let uids = [
            group(Ingress, "all()", &["a", "b"]),
            group(Egress, "all()", &["a", "b"]),
            group(Ingress, "has(x)", &["a", "b"]),
            group(Ingress, "all()", &["b", "a"]),
            group(Ingress, "all()", &[]),
            group(Ingress, "all()", &["a"]),
            group(Ingress, "all()", &["aaa", "bbb"]),
            group(Ingress, "all()", &["aaab", "bb"]),
        ]
        .map(|group| group.uid());
        assert_eq!(uids[0], "js-B7zioflPRrAki3OCu");
        for (i, uid) in uids.iter().enumerate() {
            assert!(!uids[..i].contains(uid), "{uid}");
        }
    }

    #[test]
    fn a_group_of_one_is_inlined() {
        for (names, jumps, has_chain) in [
            (&[][..], &[][..], false),
            (&["a"], &["cali-pi-gnp/a"], false),
            (&["a", "b"], &["cali-gi-js-B7zioflPRrAki3OCu"], true),
        ] {
            let group = group(Direction::Ingress, "all()", names);
            assert_eq!(group.jumps().iter().map(ChainName::as_str).collect::<Vec<_>>(), jumps);
            let chain = group.chain(&marks()).map(|chain| chain.name);
            assert_eq!(chain, has_chain.then(|| group.jumps()[0].clone()));
        }
    }

    #[test]
    fn a_group_asks_for_the_verdict_before_every_fifth_policy() {
        let group = group(Direction::Egress, "all()", &["0", "1", "2", "3", "4", "5", "6"]);
        let chain = group.chain(&marks()).expect("several policies have a chain");
        let rules: Vec<String> = chain.rules.iter().map(rule_text).collect();
        assert_eq!(
            rules,
            [
                "--jump cali-po-gnp/0",
                "-m mark --mark 0/0x18 --jump cali-po-gnp/1",
                "-m mark --mark 0/0x18 --jump cali-po-gnp/2",
                "-m mark --mark 0/0x18 --jump cali-po-gnp/3",
                "-m mark --mark 0/0x18 --jump cali-po-gnp/4",
                "-m comment --comment \"Return on verdict\" -m mark ! --mark 0/0x18 --jump RETURN",
                "--jump cali-po-gnp/5",
                "-m mark --mark 0/0x18 --jump cali-po-gnp/6",
            ]
        );
    }
}
