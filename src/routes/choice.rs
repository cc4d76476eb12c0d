//! One route a destination (reference §10.4).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ipnet::IpNet;

use super::route_set::{HeldBack, Owner, Provenance, WantedRoute, Way, Why};

/// The best offer for each destination so far, and those that are no more.
#[derive(Default)]
pub(super) struct Choice {
    best: BTreeMap<IpNet, Offer>,
    held_back: Vec<HeldBack>,
}

/// A route, and what it is worth beside others: of two, the lower rank is made.
struct Offer {
    rank: Rank,
    wanted: WantedRoute,
    owner: Option<Owner>,
}

/// Of one class the interface that came later, then whose name comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: Class,
    index: Reverse<u32>,
    provenance: Provenance,
}

/// The lower one is made.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Local,
    SameSubnet,
    Tunnel,
    Plain,
    Blackhole,
}

impl Choice {
    /// `index` is that of the interface, where there is one.
    pub(super) fn offer(&mut self, wanted: WantedRoute, index: u32) {
        let offer = Offer::new(wanted, index);
        let destination = offer.wanted.route.destination;
        let Some(best) = self.best.get_mut(&destination) else {
            self.best.insert(destination, offer);
            return;
        };
        let worse = if offer.rank < best.rank { std::mem::replace(best, offer) } else { offer };
        if let (Some(of), Some(better)) = (worse.owner, &best.owner)
            && of != *better
        {
            self.held_back.push(HeldBack { destination, of, why: Why::YieldsTo(better.clone()) });
        }
    }

    pub(super) fn hold_back(&mut self, destination: IpNet, of: Owner, why: Why) {
        self.held_back.push(HeldBack { destination, of, why });
    }

    pub(super) fn made(mut self) -> (BTreeMap<IpNet, WantedRoute>, Vec<HeldBack>) {
        self.held_back.sort();
        self.held_back.dedup();
        (
            self.best.into_iter().map(|(destination, offer)| (destination, offer.wanted)).collect(),
            self.held_back,
        )
    }
}

impl Offer {
    fn new(wanted: WantedRoute, index: u32) -> Self {
        let provenance = wanted.provenance.clone();
        let (class, owner) = match &provenance {
            Provenance::Endpoint(id) | Provenance::FloatingIp(id) => {
                (Class::Local, Some(Owner::Endpoint(id.clone())))
            }
            Provenance::Remote { node, what: _, pool: _, way } => {
                let class = match way {
                    Way::SameSubnet => Class::SameSubnet,
                    Way::Tunnel => Class::Tunnel,
                    Way::Plain | Way::IpipOff => Class::Plain,
                };
                (class, Some(Owner::Node(node.clone())))
            }
            Provenance::OwnBlock { pool: _ } => (Class::Blackhole, None),
        };
        Self { rank: Rank { class, index: Reverse(index), provenance }, wanted, owner }
    }
}
