//! The interfaces of this host, and each change of them.
//!
//! 1. *Complete*: the first message is all that there is, and whatever was missed later is found: messages that the
//!    kernel had to throw away (`ENOBUFS`) and lost sockets lead to a new reading of everything, as does each refresh.
//! 2. *Quiet*: only differences are sent; a burst becomes one message.
//! 3. *Nothing hidden*: the kernel forgets routes of an interface that goes down, and all of one that is deleted. A
//!    burst that ends as it began still tells of it.
//!
//! The kernel is heard and read by one socket. What is heard while a reading is on its way wins over the reading:
//! every change is told, so the last that was told of a thing is how it is.

mod batch;
mod error;
pub(super) mod view;
mod watch;
pub(super) mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

pub use error::LinksError;
pub use watch::watch;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number. Another one under the same name is another interface.
    pub index: u32,
    pub name: Arc<str>,
    /// Set up by the administrator.
    pub up: bool,
    /// Up, and able to carry packets.
    pub running: bool,
    /// In bytes.
    pub mtu: u32,
    /// None where the interface has none, as tunnels have.
    pub mac: Option<[u8; 6]>,
    /// Its own addresses, each with the prefix of its network and all of its bits.
    pub addresses: BTreeSet<IpNet>,
}

/// What happened to an interface. A new name is [`LinkChange::Gone`] of the old one and [`LinkChange::Put`] of the new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// It is there, like this.
    Put(Link),
    /// It isn't there any more.
    Gone { index: u32, name: Arc<str> },
    /// All that there is has been said. Said once.
    InSync,
}

/// The interfaces by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    by_name: BTreeMap<Arc<str>, Link>,
}

impl Links {
    /// Takes note of one change.
    pub fn apply(&mut self, change: LinkChange) {
        match change {
            LinkChange::Put(link) => {
                self.by_name.insert(Arc::clone(&link.name), link);
            }
            LinkChange::Gone { index, name } => {
                // Another one may have got the name.
                if self.by_name.get(&name).is_some_and(|link| link.index == index) {
                    self.by_name.remove(&name);
                }
            }
            LinkChange::InSync => {}
        }
    }

    /// The interface of this name.
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.by_name.values()
    }
}

#[cfg(test)]
fn link(index: u32, name: &str, up: bool) -> Link {
    Link { index, name: name.into(), up, running: up, mtu: 1500, mac: None, addresses: BTreeSet::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_changes() {
        let put = |index, name: &str| LinkChange::Put(link(index, name, true));
        let gone = |index, name: &str| LinkChange::Gone { index, name: name.into() };
        let cases = [
            (vec![put(1, "b"), put(2, "a"), LinkChange::InSync], vec![(2, "a"), (1, "b")]),
            (vec![put(1, "a"), gone(1, "a")], vec![]),
            (vec![put(1, "a"), gone(1, "a"), put(1, "b")], vec![(1, "b")]),
            // The name has been taken over before its old bearer's end is told.
            (vec![put(1, "a"), put(2, "a"), gone(1, "a")], vec![(2, "a")]),
        ];
        for (changes, want) in cases {
            let mut links = Links::default();
            changes.iter().cloned().for_each(|change| links.apply(change));
            let found: Vec<(u32, &str)> = links.iter().map(|link| (link.index, &*link.name)).collect();
            assert_eq!(found, want, "{changes:?}");
            assert!(want.iter().all(|(index, name)| links.named(name).is_some_and(|l| l.index == *index)));
        }
    }
}
