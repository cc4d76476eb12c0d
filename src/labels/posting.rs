//! Who is concerned by a label, or by a label with a value.

use std::sync::Arc;

use roaring::RoaringBitmap;
use rustc_hash::FxHashMap;

use super::Labels;
use super::requirement::Need;
use super::slots::Slot;

/// Slots by [`Need`].
#[derive(Default)]
pub(super) struct Postings {
    by_key: FxHashMap<Arc<str>, Posting>,
}

#[derive(Default)]
struct Posting {
    any: RoaringBitmap,
    by_value: FxHashMap<Arc<str>, RoaringBitmap>,
}

impl Postings {
    pub(super) fn insert(&mut self, need: &Need, slot: Slot) {
        match need {
            Need::Key(key) => self.posting(key).any.insert(slot),
            Need::Value(key, value) => self.posting(key).of_value(value).insert(slot),
        };
    }

    pub(super) fn remove(&mut self, need: &Need, slot: Slot) {
        let (Need::Key(key) | Need::Value(key, _)) = need;
        let Some(posting) = self.by_key.get_mut(key) else { return };
        match need {
            Need::Key(_) => {
                posting.any.remove(slot);
            }
            Need::Value(_, value) => posting.remove_from_value(value, slot),
        }
        if posting.any.is_empty() && posting.by_value.is_empty() {
            self.by_key.remove(key);
        }
    }

    /// Enters the owner of `labels` under all that they meet.
    pub(super) fn insert_labels(&mut self, labels: &Labels, slot: Slot) {
        for (key, value) in labels {
            let posting = self.posting(key);
            posting.any.insert(slot);
            posting.of_value(value).insert(slot);
        }
    }

    pub(super) fn remove_labels(&mut self, labels: &Labels, slot: Slot) {
        for (key, value) in labels {
            self.remove(&Need::Key(key.clone()), slot);
            self.remove(&Need::Value(key.clone(), value.clone()), slot);
        }
    }

    /// Who stands under exactly this need; None is nobody.
    pub(super) fn under(&self, need: &Need) -> Option<&RoaringBitmap> {
        match need {
            Need::Key(key) => self.by_key.get(key).map(|posting| &posting.any),
            Need::Value(key, value) => self.by_key.get(key)?.by_value.get(value),
        }
    }

    /// How many stand under exactly this need.
    pub(super) fn count(&self, need: &Need) -> u64 {
        self.under(need).map_or(0, RoaringBitmap::len)
    }

    /// Who stands under a need that this label meets.
    pub(super) fn met_by(&self, key: &str, value: &str) -> impl Iterator<Item = Slot> {
        let posting = self.by_key.get(key);
        let any = posting.map(|posting| &posting.any);
        let exact = posting.and_then(|posting| posting.by_value.get(value));
        any.into_iter().chain(exact).flatten()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    fn posting(&mut self, key: &Arc<str>) -> &mut Posting {
        self.by_key.entry(Arc::clone(key)).or_default()
    }
}

impl Posting {
    fn of_value(&mut self, value: &Arc<str>) -> &mut RoaringBitmap {
        self.by_value.entry(Arc::clone(value)).or_default()
    }

    fn remove_from_value(&mut self, value: &Arc<str>, slot: Slot) {
        let Some(slots) = self.by_value.get_mut(value) else { return };
        slots.remove(slot);
        if slots.is_empty() {
            self.by_value.remove(value);
        }
    }
}
