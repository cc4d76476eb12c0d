//! A sorted map whose copies share what they have in common.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHasher;

/// One key in so many begins a run.
const RUN: u64 = 64;

/// A sorted map to shared values, for maps of which one is made from another by a few changes: the copy, the change and
/// the comparison of the two all cost as much as the change, and little for what stays.
///
/// It is cut into runs, and copies share them. A key's hash says whether it begins one, so that the cuts are a function
/// of the keys: two maps that came by different ways to the same keys are cut alike.
pub struct SharedMap<K, V> {
    /// In order, none empty.
    runs: Vec<Run<K, V>>,
}

type Run<K, V> = Arc<Vec<(K, Arc<V>)>>;

/// Where one map differs from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<'m, K, V> {
    pub key: &'m K,
    /// None where the key was not there.
    pub before: Option<&'m Arc<V>>,
    /// None where the key is not there any more.
    pub after: Option<&'m Arc<V>>,
}

impl<K, V> SharedMap<K, V> {
    pub const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// In the order of the keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &Arc<V>)> {
        self.runs.iter().flat_map(|run| run.iter()).map(|(key, value)| (key, value))
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Arc<V>> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SharedMap<K, V> {
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Arc<V>>
    where
        K: Borrow<Q>,
    {
        let run = self.runs.get(self.run_of(key))?;
        let at = run.binary_search_by(|(other, _)| other.borrow().cmp(key)).ok()?;
        run.get(at).map(|(_, value)| value)
    }

    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// What has changed since `before`, by key; values are compared by pointer.
    pub fn since<'m>(&'m self, before: &'m Self) -> Vec<Difference<'m, K, V>> {
        let (mut new, mut old) = (Cursor::of(self), Cursor::of(before));
        let mut differences = Vec::new();
        loop {
            if new.skips_with(&mut old) {
                continue;
            }
            let order = match (new.entry(), old.entry()) {
                (None, None) => return differences,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((new, _)), Some((old, _))) => new.cmp(old),
            };
            let after = if order.is_le() { new.next() } else { None };
            let before = if order.is_ge() { old.next() } else { None };
            let same = matches!((after, before), (Some((_, a)), Some((_, b))) if Arc::ptr_eq(a, b));
            if let Some((key, _)) = after.or(before).filter(|_| !same) {
                let value = |entry: Option<&'m (K, Arc<V>)>| entry.map(|(_, value)| value);
                differences.push(Difference { key, before: value(before), after: value(after) });
            }
        }
    }

    /// The number of the run that would hold the key.
    fn run_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let begins_behind = |run: &Run<K, V>| run.first().is_some_and(|(first, _)| first.borrow() > key);
        self.runs.partition_point(|run| !begins_behind(run)).saturating_sub(1)
    }
}

impl<K: Ord + Hash + Clone, V> SharedMap<K, V> {
    /// Puts the value there; the one before, if any.
    pub fn insert(&mut self, key: K, value: Arc<V>) -> Option<Arc<V>> {
        let number = self.run_of(&key);
        let Some(run) = self.runs.get_mut(number) else {
            self.runs.push(Arc::new(vec![(key, value)]));
            return None;
        };
        let at = match run.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(at) => return replace(Arc::make_mut(run).as_mut_slice(), at, value),
            Err(at) => at,
        };
        if at == 0 && run.first().is_some_and(|(first, _)| begins_run(first)) {
            self.runs.insert(number, Arc::new(vec![(key, value)]));
        } else if at > 0 && begins_run(&key) {
            let behind = Arc::make_mut(run).split_off(at);
            let begun = [(key, value)].into_iter().chain(behind).collect();
            self.runs.insert(number + 1, Arc::new(begun));
        } else {
            Arc::make_mut(run).insert(at, (key, value));
        }
        None
    }

    /// Takes the value away; it, if there is one.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        let number = self.run_of(key);
        let run = self.runs.get_mut(number)?;
        let at = run.binary_search_by(|(other, _)| other.borrow().cmp(key)).ok()?;
        let (_, value) = Arc::make_mut(run).remove(at);
        if at == 0 {
            self.lost_its_beginning(number);
        }
        Some(value)
    }

    /// What is left of such a run belongs to the one before it.
    fn lost_its_beginning(&mut self, number: usize) {
        let before = number.checked_sub(1);
        if before.is_none() && self.runs.first().is_some_and(|run| !run.is_empty()) {
            return;
        }
        let rest = self.runs.remove(number);
        if let Some(before) = before.and_then(|before| self.runs.get_mut(before)) {
            Arc::make_mut(before).extend(rest.iter().cloned());
        }
    }
}

/// A place in a map.
struct Cursor<'m, K, V> {
    runs: std::slice::Iter<'m, Run<K, V>>,
    run: std::slice::Iter<'m, (K, Arc<V>)>,
}

impl<'m, K, V> Cursor<'m, K, V> {
    fn of(map: &'m SharedMap<K, V>) -> Self {
        let mut cursor = Self { runs: map.runs.iter(), run: [].iter() };
        cursor.settle();
        cursor
    }

    fn entry(&self) -> Option<&'m (K, Arc<V>)> {
        self.run.as_slice().first()
    }

    fn next(&mut self) -> Option<&'m (K, Arc<V>)> {
        let entry = self.run.next();
        self.settle();
        entry
    }

    /// Leaves out the run at which both stand, if they share it.
    fn skips_with(&mut self, other: &mut Self) -> bool {
        let (ours, theirs) = (self.run.as_slice(), other.run.as_slice());
        let shared = !ours.is_empty() && std::ptr::eq(ours, theirs);
        if shared {
            (self.run, other.run) = ([].iter(), [].iter());
            self.settle();
            other.settle();
        }
        shared
    }

    /// At the end of a run stands the next one's beginning.
    fn settle(&mut self) {
        if self.run.as_slice().is_empty()
            && let Some(next) = self.runs.next()
        {
            self.run = next.iter();
        }
    }
}

fn replace<K, V>(run: &mut [(K, Arc<V>)], at: usize, value: Arc<V>) -> Option<Arc<V>> {
    run.get_mut(at).map(|(_, there)| std::mem::replace(there, value))
}

fn begins_run<K: Hash>(key: &K) -> bool {
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    hasher.finish().is_multiple_of(RUN)
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { runs: self.runs.clone() }
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Hash + Clone, V> FromIterator<(K, Arc<V>)> for SharedMap<K, V> {
    /// Of values of one key the last counts.
    fn from_iter<I: IntoIterator<Item = (K, Arc<V>)>>(entries: I) -> Self {
        let sorted: BTreeMap<K, Arc<V>> = entries.into_iter().collect();
        let mut runs: Vec<Vec<(K, Arc<V>)>> = Vec::new();
        for (key, value) in sorted {
            match runs.last_mut() {
                Some(run) if !begins_run(&key) => run.push((key, value)),
                Some(_) | None => runs.push(vec![(key, value)]),
            }
        }
        Self { runs: runs.into_iter().map(Arc::new).collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Map = SharedMap<u16, u8>;

    fn entries(map: &Map) -> BTreeMap<u16, Arc<u8>> {
        map.iter().map(|(key, value)| (*key, Arc::clone(value))).collect()
    }

    fn differences(new: &BTreeMap<u16, Arc<u8>>, old: &BTreeMap<u16, Arc<u8>>) -> Vec<(u16, Sides)> {
        let keys: std::collections::BTreeSet<u16> = new.keys().chain(old.keys()).copied().collect();
        let sides = |key: u16| (key, (old.get(&key).cloned(), new.get(&key).cloned()));
        let same = |(before, after): &Sides| match (before, after) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            _ => false,
        };
        keys.into_iter().map(sides).filter(|(_, sides)| !same(sides)).collect()
    }

    type Sides = (Option<Arc<u8>>, Option<Arc<u8>>);

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Some keys begin a run, so that runs are begun, split, joined and emptied.
        #[test]
        fn it_is_a_sorted_map(
            first in prop::collection::vec(0..400_u16, 0..300),
            steps in prop::collection::vec((any::<bool>(), 0..400_u16, any::<u8>()), 0..300),
        ) {
            let mut model: BTreeMap<u16, Arc<u8>> = first.into_iter().map(|key| (key, Arc::new(0))).collect();
            let mut map: Map = model.clone().into_iter().collect();
            let (model_before, before) = (model.clone(), map.clone());
            for (put, key, value) in steps {
                prop_assert_eq!(map.get(&key), model.get(&key));
                if put {
                    let value = Arc::new(value);
                    prop_assert_eq!(map.insert(key, Arc::clone(&value)), model.insert(key, value));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
            }
            prop_assert!(map.iter().map(|(key, _)| key).eq(model.keys()));
            prop_assert_eq!(entries(&map), model.clone());
            prop_assert_eq!(entries(&before), model_before.clone());
            let found: Vec<_> = map.since(&before).into_iter()
                .map(|Difference { key, before, after }| (*key, (before.cloned(), after.cloned())))
                .collect();
            prop_assert_eq!(found, differences(&model, &model_before));
            // Cut like a new one of the same keys.
            let lengths = |map: &Map| map.runs.iter().map(|run| run.len()).collect::<Vec<_>>();
            prop_assert_eq!(lengths(&map), lengths(&model.into_iter().collect()));
        }
    }

    #[test]
    fn what_stays_is_shared() {
        let before: Map = (0..2_000).map(|key| (key, Arc::new(0))).collect();
        let mut after = before.clone();
        after.insert(1_000, Arc::new(1));
        after.remove(&1_500);
        let shared = after.runs.iter().filter(|run| before.runs.iter().any(|other| Arc::ptr_eq(run, other)));
        assert!(before.runs.len() > 10 && shared.count() >= before.runs.len() - 3);
    }
}
