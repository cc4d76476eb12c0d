//! A burst of changes, made one message.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Link, LinkChange, Links};

/// Changes that have not been sent yet: a few a name, however many there were.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// As the receiver knows it.
    sent: Links,
    pending: BTreeMap<Arc<str>, Pending>,
}

/// What is to be said of one name, in this order.
#[derive(Debug, Default)]
struct Pending {
    gone: bool,
    /// It was down for a while, which cost it its routes.
    fell: Option<Link>,
    now: Option<Link>,
}

impl Batch {
    pub fn take(&mut self, change: LinkChange) {
        match change {
            LinkChange::Put(link) => {
                let pending = self.pending.entry(Arc::clone(&link.name)).or_default();
                pending.fell = match pending.now.take() {
                    // As it is down, nothing more is to be said of an earlier fall.
                    _ if !link.up => None,
                    Some(before) if !before.up => Some(before),
                    Some(_) | None => pending.fell.take(),
                };
                pending.now = Some(link);
            }
            LinkChange::Gone { index, name } => {
                let pending = self.pending.entry(Arc::clone(&name)).or_default();
                let now = pending.now.as_ref().or_else(|| self.sent.named(&name));
                if now.is_some_and(|link| link.index == index) {
                    *pending = Pending { gone: true, fell: None, now: None };
                }
            }
            LinkChange::InSync => {}
        }
    }

    /// The changes to be sent, which then count as sent: by name, and only what differs.
    pub fn drain(&mut self) -> Vec<LinkChange> {
        let mut changes = Vec::new();
        for (name, pending) in std::mem::take(&mut self.pending) {
            for change in differences(self.sent.named(&name), pending) {
                self.sent.apply(change.clone());
                changes.push(change);
            }
        }
        changes
    }
}

fn differences(before: Option<&Link>, pending: Pending) -> Vec<LinkChange> {
    let Pending { gone, fell, now } = pending;
    let replaced = |before: &Link| gone || now.as_ref().is_some_and(|now| now.index != before.index);
    let gone = before.filter(|before| replaced(before));
    let kept = before.filter(|_| gone.is_none());
    let fell = fell.filter(|_| kept.is_some_and(|before| before.up));
    let now = now.filter(|now| fell.is_some() || kept != Some(now));
    let gone = gone.map(|link| LinkChange::Gone { index: link.index, name: Arc::clone(&link.name) });
    gone.into_iter().chain([fell, now].into_iter().flatten().map(LinkChange::Put)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::link;
    use super::*;

    #[test]
    fn a_burst_is_told_by_what_differs() {
        let put = |index, name: &str, up| LinkChange::Put(link(index, name, up));
        let gone = |index, name: &str| LinkChange::Gone { index, name: name.into() };
        // `a` is known, and up; `d` is down.
        let known = [put(1, "a", true), put(4, "d", false)];
        let cases = [
            (vec![], vec![]),
            (vec![put(1, "a", true)], vec![]),
            (vec![put(1, "a", false)], vec![put(1, "a", false)]),
            (vec![put(1, "a", true), put(1, "a", false)], vec![put(1, "a", false)]),
            // Down and up again, as often as you like: its routes are lost.
            (vec![put(1, "a", false), put(1, "a", true)], vec![put(1, "a", false), put(1, "a", true)]),
            (
                vec![
                    put(1, "a", false),
                    put(1, "a", true),
                    put(1, "a", false),
                    put(1, "a", true),
                    put(1, "a", true),
                ],
                vec![put(1, "a", false), put(1, "a", true)],
            ),
            (vec![put(1, "a", false), put(1, "a", true), put(1, "a", false)], vec![put(1, "a", false)]),
            // It was down before: nothing was lost.
            (vec![put(4, "d", true), put(4, "d", false), put(4, "d", true)], vec![put(4, "d", true)]),
            (vec![gone(1, "a")], vec![gone(1, "a")]),
            (vec![gone(1, "a"), put(1, "a", true)], vec![gone(1, "a"), put(1, "a", true)]),
            (vec![gone(1, "a"), put(7, "a", true)], vec![gone(1, "a"), put(7, "a", true)]),
            (vec![put(7, "a", true)], vec![gone(1, "a"), put(7, "a", true)]),
            // The end of the old one is heard late.
            (vec![put(7, "a", true), gone(1, "a")], vec![gone(1, "a"), put(7, "a", true)]),
            // Came and went.
            (vec![put(9, "n", true), gone(9, "n")], vec![]),
            (vec![put(9, "n", false), put(9, "n", true)], vec![put(9, "n", true)]),
            (vec![gone(9, "n")], vec![]),
            // Names are exchanged.
            (
                vec![gone(1, "a"), put(1, "x", true), gone(4, "d"), put(4, "a", false)],
                vec![gone(1, "a"), put(4, "a", false), gone(4, "d"), put(1, "x", true)],
            ),
        ];
        for (burst, want) in cases {
            let mut batch = Batch::default();
            known.iter().cloned().for_each(|change| batch.take(change));
            assert_eq!(batch.drain(), known);
            burst.iter().cloned().for_each(|change| batch.take(change));
            assert_eq!(batch.drain(), want, "{burst:?}");
            assert_eq!(batch.drain(), [], "{burst:?}");
        }
    }
}
