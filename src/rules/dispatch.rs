//! From an interface to its endpoint's chain (reference §6.8).
//!
//! The kernel tries rules one after the other. One level of child chains, by the first character in which the names
//! differ, spares a packet the rules of most other interfaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ruleset::{Chain, ChainName, InterfaceMatch, Match, Provenance, Rule, Target};
use crate::model::WorkloadId;

/// Which interface of the packet decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The one that it came in by.
    From,
    /// The one that it leaves by.
    To,
}

/// An interface and where its packets go.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub interface: Arc<str>,
    pub chain: ChainName,
    pub endpoint: Arc<WorkloadId>,
}

/// The chain `root` and its children. A packet of no interface in `destinations` meets the `end` rules.
pub(super) fn dispatch_chains(
    root: &ChainName,
    way: Way,
    destinations: &[Destination],
    end: &[Rule],
) -> Vec<Chain> {
    let by_name: BTreeMap<&str, &Destination> = destinations.iter().map(|d| (&*d.interface, d)).collect();
    let prefix = common_prefix(by_name.keys().copied());
    let mut chains = Vec::new();
    let mut rules = Vec::new();
    for (next, bucket) in buckets(&by_name, prefix) {
        match (next, bucket.as_slice()) {
            (Some(next), [_, _, ..]) => {
                let child = ChainName::dispatch_child(root, next);
                rules.push(child_rule(way, format!("{prefix}{next}"), &child));
                chains.push(chain(child, leaves(way, &bucket), end));
            }
            _ => rules.extend(leaves(way, &bucket)),
        }
    }
    chains.push(chain(root.clone(), rules, end));
    chains
}

/// Names by the character behind the prefix; None for the name that is the prefix itself.
fn buckets<'a>(
    by_name: &BTreeMap<&str, &'a Destination>,
    prefix: &str,
) -> BTreeMap<Option<char>, Vec<&'a Destination>> {
    let mut buckets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, destination) in by_name {
        let next = name.strip_prefix(prefix).and_then(|rest| rest.chars().next());
        buckets.entry(next).or_default().push(*destination);
    }
    buckets
}

/// The longest beginning that all names share.
fn common_prefix<'a>(mut names: impl DoubleEndedIterator<Item = &'a str>) -> &'a str {
    // Of sorted names the first and the last differ earliest.
    let Some(first) = names.next() else { return "" };
    let last = names.next_back().unwrap_or(first);
    let shared = first.chars().zip(last.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    first.get(..shared).unwrap_or_default()
}

fn leaves(way: Way, bucket: &[&Destination]) -> Vec<Rule> {
    bucket
        .iter()
        .map(|destination| {
            let interface = InterfaceMatch::Name(Arc::clone(&destination.interface));
            let provenance = Provenance::Dispatch(Arc::clone(&destination.endpoint));
            Rule::when([way.interface(interface)], Target::Goto(destination.chain.clone()), &provenance)
        })
        .collect()
}

fn child_rule(way: Way, prefix: String, child: &ChainName) -> Rule {
    let interface = InterfaceMatch::Prefix(prefix.into());
    Rule::when([way.interface(interface)], Target::Goto(child.clone()), &Provenance::Static)
}

fn chain(name: ChainName, mut rules: Vec<Rule>, end: &[Rule]) -> Chain {
    rules.extend_from_slice(end);
    Chain { name, rules }
}

impl Way {
    fn interface(self, interface: InterfaceMatch) -> Match {
        match self {
            Self::From => Match::from(interface),
            Self::To => Match::to(interface),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::{texts, workload_id};

    fn dispatch(way: Way, names: &[&str], end: &[Rule]) -> Vec<(String, Vec<String>)> {
        let destinations: Vec<_> = names
            .iter()
            .map(|name| Destination {
                interface: (*name).into(),
                chain: ChainName::from_workload(name),
                endpoint: Arc::new(workload_id(name)),
            })
            .collect();
        let chains = dispatch_chains(&ChainName::fixed("root"), way, &destinations, end);
        chains.into_iter().map(|chain| (chain.name.to_string(), texts(&chain.rules))).collect()
    }

    #[test]
    fn interfaces_are_a_tree_by_the_first_difference() {
        let drop = [Rule::always(Target::Drop, &Provenance::UnknownInterface).comment("Unknown interface")];
        const DROP: &str = "-m comment --comment \"Unknown interface\" --jump DROP";
        const CALI1: &str = "--in-interface cali1234 --goto cali-fw-cali1234";
        const CALI2: &str = "--in-interface cali2+ --goto root-2";
        for (names, expected) in [
            (&[][..], vec![("root", vec![DROP])]),
            (&["cali1234"], vec![("root", vec![CALI1, DROP])]),
            (&["cali1234", "cali1234"], vec![("root", vec![CALI1, DROP])]),
            (
                &["cali2444", "cali1234", "cali2333"],
                vec![
                    (
                        "root-2",
                        vec![
                            "--in-interface cali2333 --goto cali-fw-cali2333",
                            "--in-interface cali2444 --goto cali-fw-cali2444",
                            DROP,
                        ],
                    ),
                    ("root", vec![CALI1, CALI2, DROP]),
                ],
            ),
            // One name is the beginning of the others.
            (
                &["cali", "cali1234", "tap"],
                vec![
                    ("root-c", vec!["--in-interface cali --goto cali-fw-cali", CALI1, DROP]),
                    (
                        "root",
                        vec![
                            "--in-interface c+ --goto root-c",
                            "--in-interface tap --goto cali-fw-tap",
                            DROP,
                        ],
                    ),
                ],
            ),
            (
                &["cali", "cali1234"],
                vec![("root", vec!["--in-interface cali --goto cali-fw-cali", CALI1, DROP])],
            ),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(name, rules)| (name.to_owned(), rules.into_iter().map(str::to_owned).collect()))
                .collect();
            assert_eq!(dispatch(Way::From, names, &drop), expected, "{names:?}");
        }
    }

    #[test]
    fn the_way_chooses_the_interface() {
        assert_eq!(
            dispatch(Way::To, &["cali1"], &[]),
            [("root".to_owned(), vec!["--out-interface cali1 --goto cali-fw-cali1".to_owned()])]
        );
    }
}
