//! Small numbers for keys, so that sets of them are small and quick.

use std::borrow::Borrow;
use std::hash::Hash;

use rustc_hash::FxHashMap;

/// A number that stands for a key as long as the key is held; used again afterwards, so it must not show.
pub(super) type Slot = u32;

/// Values by key and by slot.
pub(super) struct Slots<K, V> {
    by_key: FxHashMap<K, Slot>,
    entries: Vec<Option<(K, V)>>,
    free: Vec<Slot>,
}

impl<K: Clone + Eq + Hash, V: Default> Slots<K, V> {
    pub(super) fn new() -> Self {
        Self { by_key: FxHashMap::default(), entries: Vec::new(), free: Vec::new() }
    }

    /// The slot of `key`, and whether it was made just now, with an empty value.
    pub(super) fn hold(&mut self, key: &K) -> (Slot, bool) {
        if let Some(slot) = self.find(key) {
            return (slot, false);
        }
        let entry = Some((key.clone(), V::default()));
        let reused = self.free.pop().and_then(|slot| Some((slot, self.entries.get_mut(slot as usize)?)));
        let slot = match reused {
            Some((slot, place)) => {
                *place = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as Slot
            }
        };
        self.by_key.insert(key.clone(), slot);
        (slot, true)
    }

    pub(super) fn find<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Slot>
    where
        K: Borrow<Q>,
    {
        self.by_key.get(key).copied()
    }

    pub(super) fn key(&self, slot: Slot) -> Option<&K> {
        self.entry(slot).map(|(key, _)| key)
    }

    pub(super) fn value(&self, slot: Slot) -> Option<&V> {
        self.entry(slot).map(|(_, value)| value)
    }

    pub(super) fn value_mut(&mut self, slot: Slot) -> Option<&mut V> {
        self.entries.get_mut(slot as usize)?.as_mut().map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<(K, V)> {
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        self.by_key.remove(&entry.0);
        self.free.push(slot);
        Some(entry)
    }

    /// Every slot in use, in ascending order.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.entries.iter().zip(0..).filter_map(|(entry, slot)| entry.is_some().then_some(slot))
    }

    fn entry(&self, slot: Slot) -> Option<&(K, V)> {
        self.entries.get(slot as usize)?.as_ref()
    }
}
