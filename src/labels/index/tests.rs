use proptest::prelude::*;

use super::*;

type Index = LabelIndex<u8, u8>;

const SELECTORS: &[&str] = &[
    "all()",
    "a == '1'",
    "a != '1'",
    "a == ''",
    "has(a)",
    "!has(a)",
    "a in {'1', '2'}",
    "a not in {'1', '2'}",
    "a in {}",
    "a == '1' && has(b)",
    "b == '2' && a != '1'",
    "a == '1' || b contains '2'",
    "a == '1' || !has(c)",
    "!(a == '1' && c starts with '1')",
    "(a == '1' || b == '1') && c ends with '2'",
];

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|&(key, value)| (key.into(), value.into())).collect()
}

fn parents(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|&name| name.into()).collect()
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

#[test]
fn the_own_label_wins_then_the_earliest_parent_and_a_label_over_a_tag() {
    let mut index = Index::default();
    index.set_parent(
        &"p".into(),
        &labels(&[("a", "p"), ("b", "p"), ("both", "p")]),
        &parents(&["both", "tag"]),
    );
    index.set_parent(&"q".into(), &labels(&[("b", "q"), ("c", "q"), ("tag", "q")]), &[]);
    index.set_item(1, &labels(&[("a", "own")]), &parents(&["unknown", "p", "q"]));
    let expected = [("a", "own"), ("b", "p"), ("both", "p"), ("c", "q"), ("tag", "")];
    assert_eq!(index.labels_of(&1).into_iter().collect::<Vec<_>>(), expected);
    for (key, value) in expected {
        index.add_selector(7, selector(&format!("{key} == '{value}'")));
        assert_eq!(index.matches(&7), [&1], "{key}");
    }
}

#[test]
fn only_transitions_are_reported() {
    let started = |selector, item| vec![Change::Started { selector, item }];
    let stopped = |selector, item| vec![Change::Stopped { selector, item }];
    let own = labels(&[("a", "1")]);
    let mut index = Index::default();
    let p: Arc<str> = "p".into();
    assert_eq!(index.set_item(1, &own, std::slice::from_ref(&p)), []);
    assert_eq!(index.add_selector(7, selector("has(b)")), []);
    assert_eq!(index.set_parent(&p, &labels(&[("b", "")]), &[]), started(7, 1));
    assert_eq!(index.set_parent(&p, &Labels::new(), &["b".into()]), []);
    assert_eq!(index.set_item(1, &own, std::slice::from_ref(&p)), []);
    assert_eq!(index.add_selector(7, selector("has( b )")), []);
    assert_eq!(index.remove_parent("p"), stopped(7, 1));
    assert_eq!(index.add_selector(7, selector("a == '1'")), started(7, 1));
    assert_eq!(index.add_selector(7, selector("a in {'1'}")), []);
    assert_eq!(index.remove_item(&1), stopped(7, 1));
    assert_eq!(index.set_item(1, &own, &[]), started(7, 1));
    assert_eq!(index.remove_selector(&7), stopped(7, 1));
    assert_eq!(
        (index.remove_selector(&7), index.remove_item(&9), index.remove_parent("x")),
        Default::default()
    );
}

#[test]
fn an_item_without_labels_matches_all() {
    let mut index = Index::default();
    index.add_selector(7, selector("all()"));
    assert_eq!(index.set_item(1, &Labels::new(), &[]), [Change::Started { selector: 7, item: 1 }]);
    assert_eq!(index.selectors_of(&1), [&7]);
}

#[test]
fn nothing_is_kept_of_what_is_gone() {
    let mut index = Index::default();
    index.set_parent(&"p".into(), &labels(&[("b", "1")]), &[]);
    index.set_item(1, &labels(&[("a", "1")]), &parents(&["p", "q", "p"]));
    index.add_selector(7, selector("a == '1' || has(b)"));
    index.add_selector(8, selector("all()"));
    index.remove_parent("p");
    index.remove_selector(&7);
    index.remove_selector(&8);
    index.remove_item(&1);
    assert_eq!(
        index.items.slots().count() + index.parents.slots().count() + index.selectors.slots().count(),
        0
    );
    assert!(index.unfiled.is_empty());
    for postings in [&index.item_postings, &index.parent_postings, &index.selector_postings] {
        assert!(postings.is_empty());
    }
}

#[derive(Clone, Debug)]
enum Step {
    SetItem(u8, Labels, Vec<Arc<str>>),
    RemoveItem(u8),
    SetParent(Arc<str>, Labels, Vec<Arc<str>>),
    RemoveParent(Arc<str>),
    AddSelector(u8, usize),
    RemoveSelector(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || prop::sample::select(vec!["a", "b", "c"]).prop_map(Arc::<str>::from);
    let value = prop::sample::select(vec!["", "1", "2", "12"]).prop_map(Arc::<str>::from);
    let name = || prop::sample::select(vec!["p", "q", "r"]).prop_map(Arc::<str>::from);
    let labels = || prop::collection::btree_map(key(), value.clone(), 0..3);
    let step = prop_oneof![
        4 => (0..4_u8, labels(), prop::collection::vec(name(), 0..4))
            .prop_map(|(item, labels, parents)| Step::SetItem(item, labels, parents)),
        1 => (0..4_u8).prop_map(Step::RemoveItem),
        3 => (name(), labels(), prop::collection::vec(key(), 0..2))
            .prop_map(|(name, labels, tags)| Step::SetParent(name, labels, tags)),
        1 => name().prop_map(Step::RemoveParent),
        4 => (0..6_u8, 0..SELECTORS.len()).prop_map(|(id, text)| Step::AddSelector(id, text)),
        1 => (0..6_u8).prop_map(Step::RemoveSelector),
    ];
    prop::collection::vec(step, 0..40)
}

/// What is there, and the matches found by asking every selector about every item.
#[derive(Default)]
struct Naive {
    items: BTreeMap<u8, (Labels, Vec<Arc<str>>)>,
    parents: BTreeMap<Arc<str>, (Labels, Vec<Arc<str>>)>,
    selectors: BTreeMap<u8, Selector>,
}

impl Naive {
    fn take(&mut self, step: Step) {
        match step {
            Step::SetItem(item, labels, parents) => drop(self.items.insert(item, (labels, parents))),
            Step::RemoveItem(item) => drop(self.items.remove(&item)),
            Step::SetParent(name, labels, tags) => drop(self.parents.insert(name, (labels, tags))),
            Step::RemoveParent(name) => drop(self.parents.remove(&name)),
            Step::AddSelector(id, text) => drop(self.selectors.insert(id, selector(SELECTORS[text]))),
            Step::RemoveSelector(id) => drop(self.selectors.remove(&id)),
        }
    }

    fn labels_of(&self, item: u8) -> BTreeMap<&str, &str> {
        let (own, parents) = &self.items[&item];
        let mut seen: BTreeMap<&str, &str> = own.iter().map(|(key, value)| (&**key, &**value)).collect();
        for (labels, tags) in parents.iter().filter_map(|name| self.parents.get(name)) {
            for (key, value) in labels {
                seen.entry(key).or_insert(value);
            }
            for tag in tags {
                seen.entry(tag).or_insert("");
            }
        }
        seen
    }

    fn pairs(&self) -> BTreeSet<(u8, u8)> {
        let mut pairs = BTreeSet::new();
        for (&id, selector) in &self.selectors {
            for &item in self.items.keys() {
                let labels = self.labels_of(item);
                if selector.matches(&|key| labels.get(key).copied()) {
                    pairs.insert((id, item));
                }
            }
        }
        pairs
    }
}

fn take(index: &mut Index, step: Step) -> Vec<Change<u8, u8>> {
    match step {
        Step::SetItem(item, labels, parents) => index.set_item(item, &labels, &parents),
        Step::RemoveItem(item) => index.remove_item(&item),
        Step::SetParent(name, labels, tags) => index.set_parent(&name, &labels, &tags),
        Step::RemoveParent(name) => index.remove_parent(&name),
        Step::AddSelector(id, text) => index.add_selector(id, selector(SELECTORS[text])),
        Step::RemoveSelector(id) => index.remove_selector(&id),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn after_every_step_it_is_as_if_evaluated_from_scratch(steps in steps()) {
        let (mut index, mut naive, mut replayed) = (Index::default(), Naive::default(), BTreeSet::new());
        for step in steps {
            let changes = take(&mut index, step.clone());
            naive.take(step.clone());
            prop_assert!(changes.is_sorted());
            for change in changes {
                match change {
                    Change::Started { selector, item } => prop_assert!(replayed.insert((selector, item))),
                    Change::Stopped { selector, item } => prop_assert!(replayed.remove(&(selector, item))),
                }
            }
            prop_assert_eq!(&replayed, &naive.pairs());
            prop_assert_eq!(take(&mut index, step), []);
            for &id in naive.selectors.keys() {
                let expected = naive.pairs().into_iter().filter(|pair| pair.0 == id).map(|pair| pair.1);
                prop_assert_eq!(index.matches(&id).into_iter().copied().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            }
            for &item in naive.items.keys() {
                let expected = naive.pairs().into_iter().filter(|pair| pair.1 == item).map(|pair| pair.0);
                prop_assert_eq!(index.selectors_of(&item).into_iter().copied().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
                prop_assert_eq!(index.labels_of(&item), naive.labels_of(item));
            }
        }
    }
}
