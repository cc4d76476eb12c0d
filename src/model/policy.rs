//! Policies and tiers.

use std::cmp::Ordering;
use std::sync::Arc;

use super::id::PolicyId;
use super::rule::Rule;
use crate::datastore::Place;
use crate::labels::Selector;

/// A place in a sequence: smaller first, absent last.
#[derive(Clone, Copy, Debug)]
pub struct Order(f64);

impl Order {
    /// Where it could not be read: before all others, so that its deny counts.
    pub const FIRST: Self = Self(f64::NEG_INFINITY);

    /// An absent `order`.
    pub const LAST: Self = Self(f64::INFINITY);

    /// None for a value that is not a number.
    pub fn new(order: f64) -> Option<Self> {
        // Adding zero makes -0 the same place as 0.
        (!order.is_nan()).then_some(Self(order + 0.0))
    }

    pub fn value(self) -> f64 {
        self.0
    }
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Order {}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The directions that a policy governs: where it says nothing there, its tier's default still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types {
    pub ingress: bool,
    pub egress: bool,
}

impl Types {
    pub const BOTH: Self = Self { ingress: true, egress: true };
}

/// When in a packet's way through the host a policy is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In the filter table; `apply_on_forward` asks a host endpoint to apply it to forwarded packets too.
    Normal { apply_on_forward: bool },
    /// Before connection tracking, host endpoints only (`doNotTrack`).
    Untracked,
    /// Before destination NAT, host endpoints only (`preDNAT`).
    PreDnat,
}

/// A GlobalNetworkPolicy, NetworkPolicy or v1 policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub id: PolicyId,
    pub tier: Arc<str>,
    pub order: Order,
    /// Namespace and service account selectors included.
    pub selector: Selector,
    /// Where its own selector was written; without one, where the policy was.
    pub selector_place: Place,
    pub types: Types,
    pub stage: Stage,
    pub ingress: Vec<Rule>,
    pub egress: Vec<Rule>,
    /// Some of it could not be understood: it stands in its place and denies what it governs.
    pub invalid: bool,
    /// `AssumeNeededOnEveryNode`: programmed even where it selects nothing.
    pub needed_everywhere: bool,
    pub place: Place,
}

/// What happens to a packet that a tier's policies selected an endpoint for and none decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierDefault {
    Deny,
    Pass,
}

/// The tiers that every cluster has, and nobody can change or delete: name, order, default action (reference §1.4).
pub const BUILT_IN_TIERS: [(&str, f64, TierDefault); 3] = [
    ("kube-admin", 1_000.0, TierDefault::Pass),
    ("default", 1_000_000.0, TierDefault::Deny),
    ("kube-baseline", 10_000_000.0, TierDefault::Pass),
];

/// A group of policies that is evaluated as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    pub name: Arc<str>,
    pub order: Order,
    pub default_action: TierDefault,
    /// Its order could not be read: it comes first, and all its policies deny what they govern.
    pub invalid: bool,
    pub place: Place,
}
