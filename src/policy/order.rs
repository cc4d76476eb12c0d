//! In which order tiers and policies are evaluated (reference §3.7).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::host_policy::EndpointTier;
use crate::datastore::Place;
use crate::model::{Order, Policy, Tier, TierDefault};

/// The tiers that every cluster has and nobody can delete (reference §1.4).
pub fn builtin_tiers() -> impl Iterator<Item = Tier> {
    [
        ("kube-admin", 1_000.0, TierDefault::Pass),
        ("default", 1_000_000.0, TierDefault::Deny),
        ("kube-baseline", 10_000_000.0, TierDefault::Pass),
    ]
    .into_iter()
    .map(|(name, order, default_action)| Tier {
        name: name.into(),
        order: Order::new(order).unwrap_or(Order::LAST),
        default_action,
        place: Place { source: "built-in".into(), line: 0, column: 0 },
    })
}

/// The policies that govern one endpoint, as tiers in order, each with its policies in order.
pub(super) fn in_tiers<'p>(
    policies: impl IntoIterator<Item = &'p Policy>,
    tiers: &BTreeMap<Arc<str>, Tier>,
) -> Vec<EndpointTier> {
    let mut policies: Vec<_> = policies.into_iter().map(|policy| (sort_key(policy, tiers), policy)).collect();
    policies.sort_by(|(a, _), (b, _)| a.cmp(b));
    policies
        .chunk_by(|(_, a), (_, b)| a.tier == b.tier)
        .filter_map(|policies| {
            let (_, first) = policies.first()?;
            let governing = |wanted: fn(&Policy) -> bool| {
                policies
                    .iter()
                    .filter(|(_, policy)| wanted(policy))
                    .map(|(_, policy)| policy.id.clone())
                    .collect()
            };
            Some(EndpointTier {
                name: Arc::clone(&first.tier),
                // A tier that nobody described denies.
                default_action: tiers.get(&first.tier).map_or(TierDefault::Deny, |tier| tier.default_action),
                ingress: governing(|policy| policy.types.ingress),
                egress: governing(|policy| policy.types.egress),
            })
        })
        .collect()
}

/// Known tiers before unknown ones, by order, then name; in a tier by order, then `name/namespace/kind` as one text.
fn sort_key(policy: &Policy, tiers: &BTreeMap<Arc<str>, Tier>) -> (bool, Order, Arc<str>, Order, String) {
    let tier = tiers.get(&policy.tier);
    (
        tier.is_none(),
        tier.map_or(Order::LAST, |tier| tier.order),
        Arc::clone(&policy.tier),
        policy.order,
        format!("{}/{}/{}", policy.id.name, policy.id.namespace, policy.id.kind.name()),
    )
}
