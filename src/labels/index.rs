//! Which items match which selectors, kept up to date as labels, parents and selectors come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::expr::Expr;
use super::posting::Postings;
use super::requirement::Need;
use super::slots::{Slot, Slots};
use super::{Labels, Selector};

/// A pair that began or ceased to match. Sorted, what starts comes before what stops: who counts references never
/// sees a zero on the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change<S, I> {
    /// The selector matches the item now.
    Started { selector: S, item: I },
    /// The selector does not match the item any more.
    Stopped { selector: S, item: I },
}

/// Items with labels (endpoints, network sets), the parents that they inherit labels from (profiles), and selectors.
///
/// Goals, the first first:
///
/// 1. *Right*: at any time the matches are those of evaluating every selector on every item. Each mutation returns
///    the transitions, sorted, and only those: saying a thing again returns nothing.
/// 2. *Quick*: 10,000 items times 5,000 selectors are not 50 million evaluations. Each selector is filed under
///    needs of which a matching item meets one (`Need`). An item's update evaluates the selectors that it matched,
///    those filed under its labels, and those without needs. A selector's update combines the items posted under
///    its labels as its expression does, and evaluates what is left. A parent's update evaluates as much for each of its items, and nothing for others.
/// 3. *Small*: ids are held once and known by number inside. Inherited labels are not copied into items: a parent
///    is posted under its own labels and stands for its items. An item may so be evaluated in vain (an own label
///    hides an inherited one), never missed.
///
/// An item's own label wins, then the earliest of its parents that has the label; in a parent a label wins over a
/// tag, which is a label without a value. A parent that nobody described has no labels; it may be described later.
pub struct LabelIndex<I, S> {
    items: Slots<I, Item>,
    parents: Slots<Arc<str>, Parent>,
    selectors: Slots<S, Entry>,
    /// Items by own labels.
    item_postings: Postings,
    /// Parents by labels and tags.
    parent_postings: Postings,
    /// Selectors by needs.
    selector_postings: Postings,
    /// Selectors without needs.
    unfiled: BTreeSet<Slot>,
}

#[derive(Default)]
struct Item {
    labels: Labels,
    /// In order of precedence.
    parents: Vec<Slot>,
    matched_by: RoaringBitmap,
}

#[derive(Default)]
struct Parent {
    /// Tags included.
    labels: Labels,
    described: bool,
    items: RoaringBitmap,
}

#[derive(Default)]
struct Entry {
    selector: Option<Selector>,
    /// What it is filed under; nothing if among the unfiled.
    needs: Option<Vec<Need>>,
    matches: RoaringBitmap,
}

impl<I: Ord + Clone + Hash, S: Ord + Clone + Hash> Default for LabelIndex<I, S> {
    fn default() -> Self {
        Self {
            items: Slots::new(),
            parents: Slots::new(),
            selectors: Slots::new(),
            item_postings: Postings::default(),
            parent_postings: Postings::default(),
            selector_postings: Postings::default(),
            unfiled: BTreeSet::new(),
        }
    }
}

impl<I: Ord + Clone + Hash, S: Ord + Clone + Hash> LabelIndex<I, S> {
    /// The item is there, with these labels and these parents in order of precedence.
    pub fn set_item(&mut self, item: I, labels: &Labels, parents: &[Arc<str>]) -> Vec<Change<S, I>> {
        let parents: Vec<Slot> = parents.iter().map(|name| self.parents.hold(name).0).collect();
        let (slot, new) = self.items.hold(&item);
        let Some(entry) = self.items.value_mut(slot) else { return Vec::new() };
        if !new && entry.labels == *labels && entry.parents == parents {
            return Vec::new();
        }
        self.item_postings.remove_labels(&entry.labels, slot);
        self.item_postings.insert_labels(labels, slot);
        entry.labels = labels.clone();
        let former = std::mem::replace(&mut entry.parents, parents.clone());
        for parent in parents {
            if let Some(parent) = self.parents.value_mut(parent) {
                parent.items.insert(slot);
            }
        }
        self.leave_parents(slot, &former);
        self.settled(|index, changes| index.settle_item(slot, changes))
    }

    /// The item is gone.
    pub fn remove_item(&mut self, item: &I) -> Vec<Change<S, I>> {
        let Some((slot, (item, Item { labels, parents, matched_by }))) =
            self.items.find(item).and_then(|slot| Some((slot, self.items.remove(slot)?)))
        else {
            return Vec::new();
        };
        self.item_postings.remove_labels(&labels, slot);
        self.leave_parents(slot, &parents);
        let mut changes = Vec::new();
        for selector in matched_by {
            if let Some(entry) = self.selectors.value_mut(selector) {
                entry.matches.remove(slot);
            }
            changes.extend(
                self.selectors
                    .key(selector)
                    .map(|selector| Change::Stopped { selector: selector.clone(), item: item.clone() }),
            );
        }
        changes.sort_unstable();
        changes
    }

    /// Describes what items with this parent inherit. A tag is a label with an empty value.
    pub fn set_parent(&mut self, name: &Arc<str>, labels: &Labels, tags: &[Arc<str>]) -> Vec<Change<S, I>> {
        let mut inherited = labels.clone();
        for tag in tags {
            inherited.entry(Arc::clone(tag)).or_default();
        }
        let (slot, _) = self.parents.hold(name);
        self.describe_parent(slot, inherited, true)
    }

    /// Nothing is inherited from this parent any more. Items go on naming it.
    pub fn remove_parent(&mut self, name: &str) -> Vec<Change<S, I>> {
        match self.parents.find(name) {
            Some(slot) => self.describe_parent(slot, Labels::new(), false),
            None => Vec::new(),
        }
    }

    /// The selector is there, and says this.
    pub fn add_selector(&mut self, id: S, selector: Selector) -> Vec<Change<S, I>> {
        let (slot, _) = self.selectors.hold(&id);
        let Some(entry) = self.selectors.value_mut(slot) else { return Vec::new() };
        if entry.selector.as_ref() == Some(&selector) {
            return Vec::new();
        }
        let former = entry.selector.replace(selector.clone());
        let matched = entry.matches.clone();
        if former.is_some() {
            self.unfile(slot);
        }
        self.file(slot, &selector);
        let candidates =
            self.candidate_items(selector.expr()).unwrap_or_else(|| self.items.slots().collect());
        self.settled(|index, changes| {
            for item in candidates | matched {
                index.settle_pair(slot, item, changes);
            }
        })
    }

    /// The selector is gone.
    pub fn remove_selector(&mut self, id: &S) -> Vec<Change<S, I>> {
        let Some(slot) = self.selectors.find(id) else { return Vec::new() };
        self.unfile(slot);
        let Some((id, entry)) = self.selectors.remove(slot) else { return Vec::new() };
        let mut changes = Vec::new();
        for item in entry.matches {
            if let Some(item) = self.items.value_mut(item) {
                item.matched_by.remove(slot);
            }
            changes.extend(
                self.items.key(item).map(|item| Change::Stopped { selector: id.clone(), item: item.clone() }),
            );
        }
        changes.sort_unstable();
        changes
    }

    /// The items that the selector matches, in order.
    pub fn matches(&self, id: &S) -> Vec<&I> {
        let mut items: Vec<&I> = self.unordered_matches(id).collect();
        items.sort_unstable();
        items
    }

    /// The same, in an order that must not show.
    pub fn unordered_matches(&self, id: &S) -> impl Iterator<Item = &I> {
        let entry = self.selectors.find(id).and_then(|slot| self.selectors.value(slot));
        let slots = entry.map(|entry| &entry.matches);
        slots.into_iter().flatten().filter_map(|slot| self.items.key(slot))
    }

    /// The selectors that match the item, in order.
    pub fn selectors_of(&self, item: &I) -> Vec<&S> {
        let entry = self.items.find(item).and_then(|slot| self.items.value(slot));
        let slots = entry.map(|entry| &entry.matched_by);
        let mut selectors: Vec<&S> =
            slots.into_iter().flatten().filter_map(|slot| self.selectors.key(slot)).collect();
        selectors.sort_unstable();
        selectors
    }

    /// The labels that selectors see of the item, inherited ones included.
    pub fn labels_of(&self, item: &I) -> BTreeMap<&str, &str> {
        let Some(item) = self.items.find(item).and_then(|slot| self.items.value(slot)) else {
            return BTreeMap::new();
        };
        let parents = item.parents.iter().rev().filter_map(|&parent| self.parents.value(parent));
        let weakest_first = parents.map(|parent| &parent.labels).chain([&item.labels]);
        weakest_first.flatten().map(|(key, value)| (&**key, &**value)).collect()
    }

    fn describe_parent(&mut self, slot: Slot, labels: Labels, described: bool) -> Vec<Change<S, I>> {
        let Some(parent) = self.parents.value_mut(slot) else { return Vec::new() };
        let mut items = Vec::new();
        parent.described = described;
        if parent.labels != labels {
            self.parent_postings.remove_labels(&parent.labels, slot);
            self.parent_postings.insert_labels(&labels, slot);
            parent.labels = labels;
            items.extend(parent.items.iter());
        }
        self.forget_unused_parent(slot);
        self.settled(|index, changes| {
            for item in items {
                index.settle_item(item, changes);
            }
        })
    }

    /// The item no longer names `former` parents, unless it still does.
    fn leave_parents(&mut self, item: Slot, former: &[Slot]) {
        for &slot in former {
            let still = self.items.value(item).is_some_and(|item| item.parents.contains(&slot));
            let Some(parent) = self.parents.value_mut(slot).filter(|_| !still) else { continue };
            parent.items.remove(item);
            self.forget_unused_parent(slot);
        }
    }

    fn forget_unused_parent(&mut self, slot: Slot) {
        if self.parents.value(slot).is_some_and(|parent| !parent.described && parent.items.is_empty()) {
            self.parents.remove(slot);
        }
    }

    /// Files the selector where the fewest others are: `region == "x" && has(app)` does not join the thousands that
    /// begin with the same region. Among equals an exact value goes first.
    fn file(&mut self, slot: Slot, selector: &Selector) {
        let postings = &mut self.selector_postings;
        let needs = selector.expr().requirement(&|need| match need {
            Need::Key(_) => 2 * postings.count(need) + 1,
            Need::Value(..) => 2 * postings.count(need),
        });
        match &needs {
            Some(needs) => needs.iter().for_each(|need| postings.insert(need, slot)),
            None => {
                self.unfiled.insert(slot);
            }
        }
        if let Some(entry) = self.selectors.value_mut(slot) {
            entry.needs = needs;
        }
    }

    fn unfile(&mut self, slot: Slot) {
        let needs = self.selectors.value_mut(slot).and_then(|entry| entry.needs.take());
        for need in needs.iter().flatten() {
            self.selector_postings.remove(need, slot);
        }
        self.unfiled.remove(&slot);
    }

    /// The items that `expr` could match; None is any. What stands under a negation may be any: an own label can
    /// hide the inherited one by which an item was found.
    fn candidate_items(&self, expr: &Expr) -> Option<RoaringBitmap> {
        match expr {
            Expr::Has(key) | Expr::Contains(key, _) | Expr::StartsWith(key, _) | Expr::EndsWith(key, _) => {
                Some(self.meeting(&Need::Key(key.clone())))
            }
            Expr::Equals(key, value) => Some(self.meeting(&Need::Value(key.clone(), value.clone()))),
            Expr::In(key, values) => {
                let each = values.iter().map(|value| self.meeting(&Need::Value(key.clone(), value.clone())));
                Some(each.fold(RoaringBitmap::new(), |all, items| all | items))
            }
            Expr::And(parts) => {
                parts.iter().filter_map(|part| self.candidate_items(part)).reduce(|all, items| all & items)
            }
            Expr::Or(parts) => parts
                .iter()
                .map(|part| self.candidate_items(part))
                .try_fold(RoaringBitmap::new(), |all, items| Some(all | items?)),
            Expr::All | Expr::Global | Expr::NotEquals(..) | Expr::NotIn(..) | Expr::Not(_) => None,
        }
    }

    /// The items of which an own label, or one of a parent, meets `need`.
    fn meeting(&self, need: &Need) -> RoaringBitmap {
        let own = self.item_postings.under(need).cloned().unwrap_or_default();
        let parents = self.parent_postings.under(need).into_iter().flatten();
        parents.filter_map(|parent| self.parents.value(parent)).fold(own, |all, parent| all | &parent.items)
    }

    /// Brings every pair with this item up to date.
    fn settle_item(&mut self, item: Slot, changes: &mut Vec<Change<S, I>>) {
        for selector in each_once(self.candidate_selectors(item)) {
            self.settle_pair(selector, item, changes);
        }
    }

    /// The selectors that match the item or could.
    fn candidate_selectors(&self, item: Slot) -> Vec<Slot> {
        let Some(item) = self.items.value(item) else { return Vec::new() };
        let parents = item.parents.iter().filter_map(|&parent| self.parents.value(parent));
        let labels = parents.map(|parent| &parent.labels).chain([&item.labels]).flatten();
        let filed = labels.flat_map(|(key, value)| self.selector_postings.met_by(key, value));
        filed.chain(item.matched_by.iter()).chain(self.unfiled.iter().copied()).collect()
    }

    fn settle_pair(&mut self, selector: Slot, item: Slot, changes: &mut Vec<Change<S, I>>) {
        let holds = self.holds(selector, item);
        let (Some(entry), Some(labelled)) = (self.selectors.value_mut(selector), self.items.value_mut(item))
        else {
            return;
        };
        let changed = if holds { entry.matches.insert(item) } else { entry.matches.remove(item) };
        if !changed {
            return;
        }
        if holds {
            labelled.matched_by.insert(selector);
        } else {
            labelled.matched_by.remove(selector);
        }
        if let (Some(selector), Some(item)) = (self.selectors.key(selector), self.items.key(item)) {
            let (selector, item) = (selector.clone(), item.clone());
            changes.push(match holds {
                true => Change::Started { selector, item },
                false => Change::Stopped { selector, item },
            });
        }
    }

    fn holds(&self, selector: Slot, item: Slot) -> bool {
        let selector = self.selectors.value(selector).and_then(|entry| entry.selector.as_ref());
        let (Some(selector), Some(item)) = (selector, self.items.value(item)) else { return false };
        let inherited =
            |key: &str| item.parents.iter().find_map(|&parent| self.parents.value(parent)?.labels.get(key));
        selector.matches(&|key| item.labels.get(key).or_else(|| inherited(key)).map(|value| &**value))
    }

    /// What `settle` reports, in order.
    fn settled(&mut self, settle: impl FnOnce(&mut Self, &mut Vec<Change<S, I>>)) -> Vec<Change<S, I>> {
        let mut changes = Vec::new();
        settle(self, &mut changes);
        changes.sort_unstable();
        changes
    }
}

fn each_once(mut slots: Vec<Slot>) -> Vec<Slot> {
    slots.sort_unstable();
    slots.dedup();
    slots
}

#[cfg(test)]
mod tests;
