//! What was made of each of many parts, made anew only for parts that changed.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// By key, a part and what was made of it. The part is held, so that no other one can have its address.
pub(super) struct Made<K, P, M> {
    made: BTreeMap<K, (Arc<P>, M)>,
}

/// A part before and after, each with what was made of it. None where it was not there, or is there no more.
pub(super) struct Changed<P, M> {
    pub before: Option<(Arc<P>, M)>,
    pub after: Option<(Arc<P>, M)>,
}

impl<K, P, M> Default for Made<K, P, M> {
    fn default() -> Self {
        Self { made: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, P, M: Clone> Made<K, P, M> {
    /// Is brought up to date with `parts`: `make` is given each that is new, is another than before, or was made from
    /// what is `stale` now, and what was made of the one before it.
    ///
    /// Walks along the parts that are there, at a comparison of pointers each.
    pub(super) fn update<'p>(
        &mut self,
        parts: &'p BTreeMap<K, Arc<P>>,
        stale: impl Fn(&P) -> bool,
        mut make: impl FnMut(&'p P, Option<&M>) -> M,
    ) -> Vec<Changed<P, M>> {
        let differing = self.differing(parts, stale);
        let change = |(key, part): (K, Option<&'p Arc<P>>)| {
            let Some(part) = part else { return Changed { before: self.made.remove(&key), after: None } };
            let before = self.made.get(&key).map(|(_, made)| made);
            let after = (Arc::clone(part), make(part, before));
            Changed { before: self.made.insert(key, after.clone()), after: Some(after) }
        };
        differing.into_iter().map(change).collect()
    }

    /// What was made, by key.
    pub(super) fn values(&self) -> impl Iterator<Item = &M> {
        self.made.values().map(|(_, made)| made)
    }

    /// The keys of parts that are to be made, and of those that are gone.
    fn differing<'p>(
        &self,
        parts: &'p BTreeMap<K, Arc<P>>,
        stale: impl Fn(&P) -> bool,
    ) -> Vec<(K, Option<&'p Arc<P>>)> {
        let (mut made, mut parts) = (self.made.iter().peekable(), parts.iter().peekable());
        let mut differing = Vec::new();
        loop {
            let order = match (made.peek(), parts.peek()) {
                (None, None) => return differing,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                // One part has one key.
                (Some((_, (before, _))), Some((_, part))) if Arc::ptr_eq(before, part) => Ordering::Equal,
                (Some((made, _)), Some((key, _))) => made.cmp(key),
            };
            let before = if order.is_le() { made.next() } else { None };
            let after = if order.is_ge() { parts.next() } else { None };
            match (before, after) {
                (Some((_, (before, _))), Some((_, part))) if Arc::ptr_eq(before, part) && !stale(part) => {}
                (_, Some((key, part))) => differing.push((key.clone(), Some(part))),
                (Some((key, _)), None) => differing.push((key.clone(), None)),
                (None, None) => {}
            }
        }
    }
}
