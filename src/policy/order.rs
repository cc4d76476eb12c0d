//! In which order tiers and policies are evaluated (reference §3.7).

use std::sync::Arc;

use super::host_policy::EndpointTier;
use crate::model::{Order, Policy, Tier, TierDefault};

/// The policies that govern one endpoint, as tiers in order, each with its policies in order.
pub(super) fn in_tiers<'p>(
    policies: impl IntoIterator<Item = &'p Policy>,
    tier: impl Fn(&Arc<str>) -> Option<&'p Tier>,
) -> Vec<EndpointTier> {
    let mut policies: Vec<_> =
        policies.into_iter().map(|policy| (sort_key(policy, tier(&policy.tier)), policy)).collect();
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
                default_action: tier(&first.tier).map_or(TierDefault::Deny, |tier| tier.default_action),
                ingress: governing(|policy| policy.types.ingress),
                egress: governing(|policy| policy.types.egress),
            })
        })
        .collect()
}

/// Known tiers before unknown ones, by order, then name; in a tier by order, then `name/namespace/kind` as one text.
fn sort_key(policy: &Policy, tier: Option<&Tier>) -> (bool, Order, Arc<str>, Order, String) {
    (
        tier.is_none(),
        tier.map_or(Order::LAST, |tier| tier.order),
        Arc::clone(&policy.tier),
        policy.order,
        format!("{}/{}/{}", policy.id.name, policy.id.namespace, policy.id.kind.name()),
    )
}
