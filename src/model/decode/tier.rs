//! Tiers (reference §1.4).

use super::fields::{Mistake, Object, Unknown};
use super::policy::unread;
use super::{metadata, name, scalar};
use crate::datastore::Written;
use crate::model::diagnostic::Code;
use crate::model::{BUILT_IN_TIERS, Order, Tier, TierDefault};

/// The order that clients give a tier without one.
const TIER_ORDER: f64 = 1_000_000.0;

/// A Tier. A wrong action denies, as an unknown tier does; an unknown field changes nothing of what the others say.
///
/// One whose order can't be read comes first, and its policies deny: at its own place or behind, what it denies could
/// lose to what others allow; as it is, what it allows could beat what others deny.
pub(super) fn tier(document: &Object<'_>) -> Option<Tier> {
    let report = document.report();
    let meta = metadata::v3(document);
    metadata::refuse_namespace(&meta);
    let name = metadata::name(&meta, &name::DNS_LABEL);
    let spec = document.object("spec", &["order", "defaultAction"], Unknown::MisspeltRefused);
    let absent = match report.written() {
        Written::Manifest => Order::new(TIER_ORDER),
        Written::Stored => Some(Order::LAST),
    };
    let order = spec.get("order").map_or(absent, |field| field.read(scalar::order));
    let placed = report.all_readable() && !unread(document, &spec, "order");
    let actions = [("Deny", TierDefault::Deny), ("Pass", TierDefault::Pass)];
    let default_action = spec.read("defaultAction", scalar::choice(&actions));
    let order = order.filter(|_| placed);
    let tier = Tier {
        name: name?,
        order: order.unwrap_or(Order::FIRST),
        default_action: default_action.unwrap_or(TierDefault::Deny),
        invalid: order.is_none(),
        place: document.field().place(),
    };
    Some(built_in(&spec, tier))
}

/// Calico's own tiers are what they are (reference §1.4).
fn built_in(spec: &Object<'_>, tier: Tier) -> Tier {
    let fixed = BUILT_IN_TIERS.into_iter().find(|(name, _, _)| *name == &*tier.name);
    let Some((_, order, default_action)) = fixed else { return tier };
    let Some(order) = Order::new(order) else { return tier };
    let changed = (spec.get("order").is_some() && tier.order != order)
        || (spec.get("defaultAction").is_some() && tier.default_action != default_action);
    if changed && spec.report().written() == Written::Manifest {
        spec.field().error(
            Mistake::new(Code::InvalidValue, "this tier can't be changed", "built in")
                .help(format!("order {}, defaultAction {default_action:?}", order.value())),
        );
    }
    Tier { order, default_action, invalid: false, ..tier }
}
