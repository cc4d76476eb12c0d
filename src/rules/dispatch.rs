//! From an interface to its endpoint's chain (reference §6.8).
//!
//! The kernel tries rules one after the other. One level of child chains, by the first character in which the names
//! differ, spares a packet the rules of most other interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
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

/// The endpoints of each interface; the last one is led to.
pub(super) type Interfaces = BTreeMap<Arc<str>, BTreeSet<Arc<WorkloadId>>>;

/// The chain `root` and its children. A packet of no interface meets the `end` rules.
pub(super) struct Dispatch {
    root: ChainName,
    way: Way,
    end: Vec<Rule>,
    /// What all names begin with.
    prefix: String,
    /// By the character behind the prefix; None for the name that is the prefix itself.
    buckets: BTreeMap<Option<char>, Bucket>,
}

/// The interfaces that go on alike.
struct Bucket {
    /// What the root has for them.
    rules: Vec<Rule>,
    child: Option<Arc<Chain>>,
}

impl Dispatch {
    pub(super) fn new(root: &'static str, way: Way, end: Vec<Rule>) -> Self {
        let root = ChainName::fixed(root);
        Self { root, way, end, prefix: String::new(), buckets: BTreeMap::new() }
    }

    /// Leads to the endpoints of `interfaces`, of which these have `changed` since the last time.
    pub(super) fn update(&mut self, interfaces: &Interfaces, changed: &BTreeSet<Arc<str>>) {
        let prefix = common_prefix(interfaces);
        if prefix == self.prefix {
            self.update_buckets(interfaces, changed.iter());
        } else {
            self.prefix = prefix.to_owned();
            self.buckets.clear();
            self.update_buckets(interfaces, interfaces.keys());
        }
    }

    /// The children, then the root.
    pub(super) fn chains(&self) -> Vec<Arc<Chain>> {
        let children = self.buckets.values().filter_map(|bucket| bucket.child.clone());
        let rules = self.buckets.values().flat_map(|bucket| bucket.rules.iter().cloned()).collect();
        children.chain([Arc::new(self.chain(self.root.clone(), rules))]).collect()
    }

    fn update_buckets<'n>(&mut self, interfaces: &Interfaces, names: impl Iterator<Item = &'n Arc<str>>) {
        // One that does not begin with the prefix has gone.
        let rests = names.filter_map(|name| name.strip_prefix(&*self.prefix));
        let changed: BTreeSet<Option<char>> = rests.map(|rest| rest.chars().next()).collect();
        for next in changed {
            match self.bucket(interfaces, next) {
                Some(bucket) => self.buckets.insert(next, bucket),
                None => self.buckets.remove(&next),
            };
        }
    }

    /// None where no name goes on so.
    fn bucket(&self, interfaces: &Interfaces, next: Option<char>) -> Option<Bucket> {
        let start: String = self.prefix.chars().chain(next).collect();
        let named = interfaces.range::<str, _>((Bound::Included(&*start), Bound::Unbounded));
        let leaves: Vec<Rule> = match next {
            Some(_) => named
                .take_while(|(name, _)| name.starts_with(&start))
                .filter_map(|entry| self.leaf(entry))
                .collect(),
            None => {
                named.take_while(|(name, _)| ***name == *start).filter_map(|entry| self.leaf(entry)).collect()
            }
        };
        match (next, leaves.len()) {
            (_, 0) => None,
            (Some(next), 2..) => {
                let child = ChainName::dispatch_child(&self.root, next);
                let rules = vec![self.child_rule(start, &child)];
                Some(Bucket { rules, child: Some(Arc::new(self.chain(child, leaves))) })
            }
            _ => Some(Bucket { rules: leaves, child: None }),
        }
    }

    fn leaf(&self, (interface, endpoints): (&Arc<str>, &BTreeSet<Arc<WorkloadId>>)) -> Option<Rule> {
        let provenance = Provenance::Dispatch(Arc::clone(endpoints.last()?));
        let chain = self.way.chain(interface);
        let interface = InterfaceMatch::Name(Arc::clone(interface));
        Some(Rule::when([self.way.interface(interface)], Target::Goto(chain), &provenance))
    }

    fn child_rule(&self, prefix: String, child: &ChainName) -> Rule {
        let interface = InterfaceMatch::Prefix(prefix.into());
        Rule::when([self.way.interface(interface)], Target::Goto(child.clone()), &Provenance::Static)
    }

    fn chain(&self, name: ChainName, mut rules: Vec<Rule>) -> Chain {
        rules.extend_from_slice(&self.end);
        Chain { name, rules }
    }
}

/// The longest beginning that all names share.
fn common_prefix(interfaces: &Interfaces) -> &str {
    // Of sorted names the first and the last differ earliest.
    let (Some((first, _)), Some((last, _))) = (interfaces.first_key_value(), interfaces.last_key_value())
    else {
        return "";
    };
    let shared = first.chars().zip(last.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    first.get(..shared).unwrap_or_default()
}

impl Way {
    /// The chain of the workload behind the interface.
    fn chain(self, interface: &str) -> ChainName {
        match self {
            Self::From => ChainName::from_workload(interface),
            Self::To => ChainName::to_workload(interface),
        }
    }

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

    fn interfaces(names: &[&str]) -> Interfaces {
        let of = |name: &&str| (Arc::from(*name), BTreeSet::from([Arc::new(workload_id(name))]));
        names.iter().map(of).collect()
    }

    fn lines(dispatch: &Dispatch) -> Vec<(String, Vec<String>)> {
        let chains = dispatch.chains();
        chains.iter().map(|chain| (chain.name.to_string(), texts(&chain.rules))).collect()
    }

    fn dispatch(way: Way, names: &[&str], end: &[Rule]) -> Vec<(String, Vec<String>)> {
        let mut dispatch = Dispatch::new("root", way, end.to_vec());
        let interfaces = interfaces(names);
        dispatch.update(&interfaces, &interfaces.keys().cloned().collect());
        lines(&dispatch)
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
            [("root".to_owned(), vec!["--out-interface cali1 --goto cali-tw-cali1".to_owned()])]
        );
    }

    #[test]
    fn what_has_changed_is_made_anew_and_nothing_else() {
        let mut changing = Dispatch::new("root", Way::From, Vec::new());
        let mut before = interfaces(&[]);
        for names in [
            &["cali1a", "cali1b", "cali2"][..],
            &["cali1a", "cali1b", "cali2a", "cali2b"],
            &["cali1b", "cali2a", "cali2b"],
            &["cali1b", "tap"],
            &["cali1a", "cali1b", "cali1c"],
            &["cali1"],
            &["cali1", "cali1c"],
            &[],
            &["tap", "tap1", "tap2", "tap22"],
        ] {
            let after = interfaces(names);
            let changed = |a: &Interfaces, b: &Interfaces| -> BTreeSet<Arc<str>> {
                a.iter()
                    .filter(|(name, ids)| b.get(*name) != Some(*ids))
                    .map(|(name, _)| name.clone())
                    .collect()
            };
            changing.update(&after, &(&changed(&before, &after) | &changed(&after, &before)));
            assert_eq!(lines(&changing), dispatch(Way::From, names, &[]), "{names:?}");
            before = after;
        }
        let chain = |dispatch: &Dispatch| dispatch.chains().into_iter().find(|c| c.name.as_str() == "root-2");
        let (kept, names) = (chain(&changing), ["tap", "tap1", "tap11", "tap2", "tap22"]);
        changing.update(&interfaces(&names), &["tap11".into()].into());
        assert!(Arc::ptr_eq(&kept.unwrap(), &chain(&changing).unwrap()));
    }
}
