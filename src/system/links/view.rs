//! What the kernel has said, by its own numbers, and what that means by names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::{Link, LinkChange};

/// One thing that the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Link(Device),
    LinkGone { index: u32 },
    Address { index: u32, address: IpNet },
    AddressGone { index: u32, address: IpNet },
}

/// An interface without its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::system) struct Device {
    pub index: u32,
    pub name: Arc<str>,
    pub up: bool,
    pub running: bool,
    pub mtu: u32,
    pub mac: Option<[u8; 6]>,
}

/// All interfaces and addresses, as far as told.
#[derive(Debug, Default)]
pub(super) struct View {
    devices: BTreeMap<u32, Device>,
    addresses: BTreeMap<u32, BTreeSet<IpNet>>,
}

/// A list of everything, as it comes in.
#[derive(Debug, Default)]
pub(super) struct Reading {
    devices: BTreeMap<u32, Device>,
    addresses: BTreeSet<(u32, IpNet)>,
    /// Told meanwhile, and so known better.
    told_devices: BTreeSet<u32>,
    told_addresses: BTreeSet<(u32, IpNet)>,
}

impl View {
    /// Takes in what was told. Two changes at most.
    pub fn take(&mut self, fact: Fact) -> Vec<LinkChange> {
        match fact {
            Fact::Link(device) => {
                let index = device.index;
                let before = self.devices.insert(index, device);
                let renamed = before.and_then(|before| {
                    let kept = self.devices.get(&index).is_some_and(|now| now.name == before.name);
                    (!kept).then_some(LinkChange::Gone { index, name: before.name })
                });
                renamed.into_iter().chain(self.put(index)).collect()
            }
            Fact::LinkGone { index } => {
                self.addresses.remove(&index);
                let gone = self.devices.remove(&index);
                gone.map(|device| LinkChange::Gone { index, name: device.name }).into_iter().collect()
            }
            Fact::Address { index, address } => {
                self.addresses.entry(index).or_default().insert(address);
                self.put(index).into_iter().collect()
            }
            Fact::AddressGone { index, address } => {
                self.addresses.entry(index).or_default().remove(&address);
                self.put(index).into_iter().collect()
            }
        }
    }

    /// Takes in a whole list: what it has is, what it has not is gone, but for what was told meanwhile.
    pub fn settle(&mut self, reading: Reading) -> Vec<LinkChange> {
        let Reading { devices, addresses, told_devices, told_addresses } = reading;
        let gone = self.devices.keys().filter(|index| !devices.contains_key(index));
        let gone = gone.filter(|index| !told_devices.contains(index));
        let gone_devices = gone.map(|&index| Fact::LinkGone { index });
        let had =
            self.addresses.iter().flat_map(|(&index, on)| on.iter().map(move |&address| (index, address)));
        let gone = had.filter(|key| !addresses.contains(key) && !told_addresses.contains(key));
        let gone_addresses = gone.map(|(index, address)| Fact::AddressGone { index, address });
        let mut facts: Vec<Fact> = gone_addresses.chain(gone_devices).collect();
        let is = devices.into_iter().filter(|(index, _)| !told_devices.contains(index));
        facts.extend(is.map(|(_, device)| Fact::Link(device)));
        let is = addresses.into_iter().filter(|key| !told_addresses.contains(key));
        facts.extend(is.map(|(index, address)| Fact::Address { index, address }));
        let changes = facts.into_iter().flat_map(|fact| self.take(fact)).collect();
        // Of an interface that went while it was listed.
        self.addresses.retain(|index, _| self.devices.contains_key(index));
        changes
    }

    fn put(&self, index: u32) -> Option<LinkChange> {
        let Device { index, name, up, running, mtu, mac } = self.devices.get(&index)?.clone();
        let addresses = self.addresses.get(&index).cloned().unwrap_or_default();
        Some(LinkChange::Put(Link { index, name, up, running, mtu, mac, addresses }))
    }
}

impl Reading {
    /// Takes in a line of the list.
    pub fn found(&mut self, fact: Fact) {
        match fact {
            Fact::Link(device) => {
                self.devices.insert(device.index, device);
            }
            Fact::Address { index, address } => {
                self.addresses.insert((index, address));
            }
            // No list has these.
            Fact::LinkGone { index: _ } | Fact::AddressGone { index: _, address: _ } => {}
        }
    }

    /// Takes note of what is told while the list is on its way.
    pub fn told(&mut self, fact: &Fact) {
        match *fact {
            Fact::Link(Device { index, .. }) | Fact::LinkGone { index } => {
                self.told_devices.insert(index);
            }
            Fact::Address { index, address } | Fact::AddressGone { index, address } => {
                self.told_addresses.insert((index, address));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Links;
    use super::*;

    fn device(index: u32, name: &str, up: bool) -> Fact {
        Fact::Link(Device { index, name: name.into(), up, running: up, mtu: 1500, mac: None })
    }

    fn address(index: u32, address: &str) -> Fact {
        Fact::Address { index, address: address.parse().unwrap() }
    }

    fn address_gone(index: u32, address: &str) -> Fact {
        Fact::AddressGone { index, address: address.parse().unwrap() }
    }

    fn gone(index: u32) -> Fact {
        Fact::LinkGone { index }
    }

    /// `name#index` with `+` if up, and its addresses.
    fn shown(links: &Links) -> Vec<String> {
        let shown = |link: &Link| {
            let addresses: Vec<String> = link.addresses.iter().map(IpNet::to_string).collect();
            format!("{}#{}{} {}", link.name, link.index, if link.up { "+" } else { "" }, addresses.join(" "))
        };
        links.iter().map(|link| shown(link).trim_end().to_owned()).collect()
    }

    #[test]
    fn what_is_told_becomes_the_table() {
        let cases = [
            (vec![device(1, "a", false), device(1, "a", true)], vec!["a#1+"]),
            (vec![device(1, "a", true), gone(1)], vec![]),
            (vec![device(1, "a", true), device(1, "b", true)], vec!["b#1+"]),
            (
                vec![device(1, "a", true), device(2, "b", true), device(1, "c", true), device(2, "a", true)],
                vec!["a#2+", "c#1+"],
            ),
            (
                vec![device(1, "a", true), address(1, "10.0.0.1/24"), address(1, "fe80::1/64")],
                vec!["a#1+ 10.0.0.1/24 fe80::1/64"],
            ),
            // Addresses may come first.
            (vec![address(1, "10.0.0.1/24"), device(1, "a", true)], vec!["a#1+ 10.0.0.1/24"]),
            (
                vec![device(1, "a", true), address(1, "10.0.0.1/24"), address_gone(1, "10.0.0.1/24")],
                vec!["a#1+"],
            ),
            // A new interface has none of the old one's.
            (
                vec![device(1, "a", true), address(1, "10.0.0.1/24"), gone(1), device(1, "a", true)],
                vec!["a#1+"],
            ),
        ];
        for (facts, want) in cases {
            let (mut view, mut links) = (View::default(), Links::default());
            facts.iter().cloned().flat_map(|fact| view.take(fact)).for_each(|change| links.apply(change));
            assert_eq!(shown(&links), want, "{facts:?}");
        }
    }

    #[test]
    fn a_list_is_believed_but_for_what_is_told_meanwhile() {
        let before = [device(1, "a", true), address(1, "10.0.0.1/24"), device(2, "b", true)];
        let cases = [
            (
                vec![device(1, "a", true), address(1, "10.0.0.1/24"), device(2, "b", true)],
                vec![],
                vec!["a#1+ 10.0.0.1/24", "b#2+"],
            ),
            // Missed: one went, one lost its address, one came.
            (vec![device(1, "a", true), device(3, "c", true)], vec![], vec!["a#1+", "c#3+"]),
            // Missed: another one under the same name.
            (vec![device(1, "a", true), device(4, "b", false)], vec![], vec!["a#1+", "b#4"]),
            // Listed, then told.
            (
                vec![device(1, "a", true), device(2, "b", true)],
                vec![device(2, "b", false)],
                vec!["a#1+", "b#2"],
            ),
            (
                vec![device(1, "a", true), device(2, "b", true), address(2, "10.0.0.2/24")],
                vec![gone(2)],
                vec!["a#1+"],
            ),
            (
                vec![device(1, "a", true), address(1, "10.0.0.1/24")],
                vec![address_gone(1, "10.0.0.1/24"), gone(2)],
                vec!["a#1+"],
            ),
            // Told of behind where the list was.
            (
                vec![device(1, "a", true), device(2, "b", true)],
                vec![device(3, "c", true), address(3, "10.0.0.3/24")],
                vec!["a#1+", "b#2+", "c#3+ 10.0.0.3/24"],
            ),
        ];
        for (listed, told, want) in cases {
            let (mut view, mut links, mut reading) = (View::default(), Links::default(), Reading::default());
            let mut changes: Vec<LinkChange> =
                before.iter().cloned().flat_map(|fact| view.take(fact)).collect();
            listed.iter().cloned().for_each(|fact| reading.found(fact));
            for fact in told.iter().cloned() {
                reading.told(&fact);
                changes.extend(view.take(fact));
            }
            changes.extend(view.settle(reading));
            changes.into_iter().for_each(|change| links.apply(change));
            assert_eq!(shown(&links), want, "{listed:?} {told:?}");
            assert!(
                view.addresses.keys().all(|index| view.devices.contains_key(index)),
                "{listed:?} {told:?}"
            );
        }
    }
}
