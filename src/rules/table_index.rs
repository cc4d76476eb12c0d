//! A table that is changed chain by chain.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::ruleset::{Chain, ChainName, Hook, SharedMap};
use super::table_builder::{Offer, hook_targets, targets};

/// The chains that a [`super::table_builder::TableBuilder`] would make a table of, kept up to date while offers come
/// and go, as long as it would make one.
///
/// A chain is in the table while something leads to it: the kernel's own chains, a chain in the table, or force. These
/// are counted. Counting is right as there are no rounds: chains lead from the hooks to endpoints, groups and policies,
/// never back.
#[derive(Default)]
pub(super) struct TableIndex {
    known: FxHashMap<ChainName, Known>,
    /// Those in the table.
    chains: SharedMap<ChainName, Chain>,
    /// Something leads to them, and nobody offers them.
    missing: BTreeSet<ChainName>,
}

/// There can't be a table of all that is offered: two chains have one name, or one is missing. [`TableIndex`] does not
/// tell which, and is of no use any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Impossible;

/// What is known of a name.
#[derive(Default)]
struct Known {
    /// And how many times.
    offer: Option<(Arc<Offer>, usize)>,
    leads: usize,
    /// The chain in the table, to whose targets it leads.
    entered: Option<Arc<Chain>>,
}

impl TableIndex {
    pub(super) fn new(hooks: &[Hook]) -> Self {
        let mut index = Self::default();
        hook_targets(hooks).for_each(|name| index.known(name).leads += 1);
        index
    }

    /// The chains in the table.
    pub(super) fn chains(&self) -> &SharedMap<ChainName, Chain> {
        &self.chains
    }

    /// The offer, as it is known if an equal one is.
    pub(super) fn shared(&self, offer: Offer) -> Arc<Offer> {
        let known = self.known.get(&offer.chain.name).and_then(|known| known.offer.as_ref());
        match known {
            Some((known, _)) if **known == offer => Arc::clone(known),
            Some(_) | None => Arc::new(offer),
        }
    }

    /// Takes offers away, then makes others.
    pub(super) fn change<'o>(
        &mut self,
        withdrawn: impl IntoIterator<Item = &'o Arc<Offer>>,
        offered: impl IntoIterator<Item = &'o Arc<Offer>>,
    ) -> Result<(), Impossible> {
        let mut touched = VecDeque::new();
        for offer in withdrawn {
            self.withdraw(offer);
            touched.push_back(offer.chain.name.clone());
        }
        for offer in offered {
            self.offer(offer)?;
            touched.push_back(offer.chain.name.clone());
        }
        while let Some(name) = touched.pop_front() {
            self.settle(name, &mut touched);
        }
        if self.missing.is_empty() { Ok(()) } else { Err(Impossible) }
    }

    fn withdraw(&mut self, offer: &Offer) {
        let known = self.known(&offer.chain.name);
        known.leads -= usize::from(offer.forced);
        known.offer = match known.offer.take() {
            Some((there, times)) if times > 1 => Some((there, times - 1)),
            Some(_) | None => None,
        };
    }

    fn offer(&mut self, offer: &Arc<Offer>) -> Result<(), Impossible> {
        let known = self.known(&offer.chain.name);
        known.leads += usize::from(offer.forced);
        match &mut known.offer {
            Some((there, _)) if there.owner != offer.owner => return Err(Impossible),
            Some((_, times)) => *times += 1,
            none => *none = Some((Arc::clone(offer), 1)),
        }
        Ok(())
    }

    /// Lets the chain into the table or out of it; those that are led to otherwise then are `touched`.
    fn settle(&mut self, name: ChainName, touched: &mut VecDeque<ChainName>) {
        let known = self.known(&name);
        let (offer, is_led_to) = (known.offer.as_ref(), known.leads > 0);
        let wanted = offer.filter(|_| is_led_to).map(|(offer, _)| &offer.chain);
        let (forgotten, missing) = (offer.is_none() && !is_led_to, offer.is_none() && is_led_to);
        let same = match (wanted, &known.entered) {
            (Some(wanted), Some(entered)) => Arc::ptr_eq(wanted, entered),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !same {
            let wanted = wanted.cloned();
            let before = std::mem::replace(&mut known.entered, wanted.clone());
            self.lead(wanted.as_deref(), before.as_deref(), touched);
            match wanted {
                Some(chain) => self.chains.insert(name.clone(), chain),
                None => self.chains.remove(&name),
            };
        }
        if missing {
            self.missing.insert(name);
        } else {
            self.missing.remove(&name);
            if forgotten {
                self.known.remove(&name);
            }
        }
    }

    /// There are the targets of `chain` in the place of those of `before`.
    fn lead(&mut self, chain: Option<&Chain>, before: Option<&Chain>, touched: &mut VecDeque<ChainName>) {
        for name in chain.into_iter().flat_map(|chain| targets(&chain.rules)) {
            let leads = &mut self.known(name).leads;
            *leads += 1;
            if *leads == 1 {
                touched.push_back(name.clone());
            }
        }
        for name in before.into_iter().flat_map(|chain| targets(&chain.rules)) {
            let leads = &mut self.known(name).leads;
            *leads -= 1;
            if *leads == 0 {
                touched.push_back(name.clone());
            }
        }
    }

    fn known(&mut self, name: &ChainName) -> &mut Known {
        self.known.entry(name.clone()).or_default()
    }
}
