//! What every cluster has although nobody wrote it.

use std::collections::BTreeMap;

use crate::datastore::Place;
use crate::model::{Action, BUILT_IN_TIERS, EntityMatch, Order, Profile, Rule, Tier};

/// The profile that lets everything through is never stored, and always there (reference §1.5).
pub(super) const DEFAULT_ALLOW: &str = "projectcalico-default-allow";

/// [`BUILT_IN_TIERS`] as they are where nobody wrote them.
pub fn builtin_tiers() -> impl Iterator<Item = Tier> {
    BUILT_IN_TIERS.into_iter().map(|(name, order, default_action)| Tier {
        name: name.into(),
        order: Order::new(order).unwrap_or(Order::LAST),
        default_action,
        invalid: false,
        place: place(),
    })
}

/// [`DEFAULT_ALLOW`] as it is where nobody wrote another.
pub(super) fn default_allow() -> Profile {
    let allow = Rule {
        action: Action::Allow,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: EntityMatch::default(),
        destination: EntityMatch::default(),
        unenforceable: None,
        annotations: BTreeMap::new(),
        place: place(),
    };
    Profile {
        name: DEFAULT_ALLOW.into(),
        labels: BTreeMap::new(),
        tags: Vec::new(),
        ingress: vec![allow.clone()],
        egress: vec![allow],
        invalid: false,
        place: place(),
    }
}

fn place() -> Place {
    Place { source: "built-in".into(), line: 0, column: 0 }
}
