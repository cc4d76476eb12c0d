//! What a store must have before a cluster can work on it (reference §1.4, §1.12, §2.5).

use serde_json::{Number, Value as Json, json};

use super::{Stored, kinds};
use crate::datastore::Place;
use crate::model::{BUILT_IN_TIERS, TierDefault};

/// Where these come from.
const SOURCE: &str = "built in";

/// The tiers that every cluster has, then the word that the store can be used. `guid` is to be the cluster's identity.
pub fn built_in(guid: &str) -> Vec<Stored> {
    let tiers = BUILT_IN_TIERS.into_iter().filter_map(|(name, tier_order, default)| {
        stored("Tier", name, json!({"order": order(tier_order), "defaultAction": action(default)}))
    });
    // No version: clients compare it with their own, and refuse to go on where it is another one.
    let information = json!({"clusterGUID": guid, "clusterType": "felix-rs", "datastoreReady": true});
    tiers.chain(stored("ClusterInformation", "default", information)).collect()
}

fn stored(kind: &'static str, name: &str, spec: Json) -> Option<Stored> {
    Some(Stored {
        kind: kinds::named(kind)?,
        namespace: None,
        name: name.to_owned(),
        value: json!({
            "kind": kind,
            "apiVersion": "projectcalico.org/v3",
            "metadata": {"name": name},
            "spec": spec,
        }),
        place: Place { source: SOURCE.into(), line: 0, column: 0 },
    })
}

/// A whole number, as all of Calico's own are.
pub(super) fn order(order: f64) -> Json {
    Json::Number(Number::from(order as i64))
}

pub(super) fn action(action: TierDefault) -> Json {
    match action {
        TierDefault::Deny => "Deny".into(),
        TierDefault::Pass => "Pass".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_store_lacks() {
        let lacking: Vec<String> =
            built_in("0123").iter().map(|stored| format!("{} {}", stored.key(), stored.value)).collect();
        assert_eq!(
            lacking,
            [
                r#"resources/v3/projectcalico.org/tiers/kube-admin {"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"kube-admin"},"spec":{"order":1000,"defaultAction":"Pass"}}"#,
                r#"resources/v3/projectcalico.org/tiers/default {"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"default"},"spec":{"order":1000000,"defaultAction":"Deny"}}"#,
                r#"resources/v3/projectcalico.org/tiers/kube-baseline {"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"kube-baseline"},"spec":{"order":10000000,"defaultAction":"Pass"}}"#,
                r#"resources/v3/projectcalico.org/clusterinformations/default {"kind":"ClusterInformation","apiVersion":"projectcalico.org/v3","metadata":{"name":"default"},"spec":{"clusterGUID":"0123","clusterType":"felix-rs","datastoreReady":true}}"#,
            ]
        );
    }
}
