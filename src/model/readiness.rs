//! Whether a store has been set up (reference §1.12; felix-2.1 §2.1): of one that is not, nothing is to be enforced.

use std::fmt;

use super::catalog::Catalog;
use super::id::ResourceId;
use super::resource::Resource;

/// Whether a store's content is to be enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// What is waited for.
    NotReady(NotReady),
}

/// Why a store is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// Neither `ClusterInformation default` nor Felix 2.1's `Ready` is there.
    NotSetUp,
    /// `ClusterInformation default` has no `datastoreReady` that can be read.
    Unsaid,
    /// `ClusterInformation default` says that it is not.
    Said,
    /// Felix 2.1's `Ready` is something else than `true`, and there is no `ClusterInformation default`.
    FlagDown,
}

/// What the resources of a store say about its being ready. Manifests need not say it.
pub fn readiness(catalog: &Catalog) -> Readiness {
    let found = [ResourceId::ClusterInformation("default".into()), ResourceId::Ready]
        .iter()
        .find_map(|id| catalog.resource(id).and_then(said));
    found.unwrap_or(Readiness::NotReady(NotReady::NotSetUp))
}

fn said(resource: &Resource) -> Option<Readiness> {
    let (ready, otherwise) = match resource {
        Resource::ClusterInformation(info) => (
            info.datastore_ready == Some(true),
            if info.datastore_ready.is_some() { NotReady::Said } else { NotReady::Unsaid },
        ),
        Resource::Ready(flag) => (flag.ready, NotReady::FlagDown),
        Resource::Tier(_)
        | Resource::Policy(_)
        | Resource::Profile(_)
        | Resource::NetworkSet(_)
        | Resource::WorkloadEndpoint(_)
        | Resource::HostEndpoint(_)
        | Resource::IpPool(_)
        | Resource::Node(_)
        | Resource::Config(_)
        | Resource::BlockAffinity(_)
        | Resource::IpamBlock(_) => return None,
    };
    Some(if ready { Readiness::Ready } else { Readiness::NotReady(otherwise) })
}

impl NotReady {
    /// What to do about it.
    pub fn help(self) -> &'static str {
        match self {
            Self::NotSetUp => "`felix-rs init --datastore etcd://…` writes what an empty store lacks",
            Self::Unsaid => "set `spec.datastoreReady: true` in it once the store is complete",
            Self::Said => "a client is working on the store, and sets it to true when it has finished",
            Self::FlagDown => "a client is working on the store, and sets it to `true` when it has finished",
        }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSetUp => "the store is not ready: it has no ClusterInformation `default`",
            Self::Unsaid => {
                "the store is not ready: its ClusterInformation `default` has no `datastoreReady`"
            }
            Self::Said => "the store is not ready: `datastoreReady` of its ClusterInformation is false",
            Self::FlagDown => "the store is not ready: its key `Ready` is not `true`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decode::testing::{raw, stored};

    #[test]
    fn what_is_waited_for() {
        let info = |spec: &str| {
            let text = format!(
                r#"{{"kind":"ClusterInformation","apiVersion":"projectcalico.org/v3","metadata":{{"name":"default"}},"spec":{spec}}}"#
            );
            stored("resources/v3/projectcalico.org/clusterinformations/default", &text)
        };
        let other = stored(
            "resources/v3/projectcalico.org/clusterinformations/other",
            r#"{"spec":{"datastoreReady":true}}"#,
        );
        let flag = |text| raw("v1/Ready", text);
        for (entries, expected) in [
            (vec![], Some(NotReady::NotSetUp)),
            (vec![other], Some(NotReady::NotSetUp)),
            (vec![info(r#"{"datastoreReady":true}"#)], None),
            (vec![info(r#"{"datastoreReady":false}"#)], Some(NotReady::Said)),
            (vec![info(r#"{"datastoreReady":null}"#)], Some(NotReady::Unsaid)),
            (vec![info(r#"{"datastoreReady":"soon"}"#)], Some(NotReady::Unsaid)),
            (vec![info("{}"), flag("true")], Some(NotReady::Unsaid)),
            (vec![flag("true")], None),
            (vec![flag("True")], Some(NotReady::FlagDown)),
            (vec![flag("true\n")], Some(NotReady::FlagDown)),
            (vec![flag("")], Some(NotReady::FlagDown)),
            (vec![flag("false"), info(r#"{"datastoreReady":true}"#)], None),
        ] {
            let mut catalog = Catalog::new();
            entries.iter().for_each(|entry| drop(catalog.put(entry)));
            let expected = expected.map_or(Readiness::Ready, Readiness::NotReady);
            assert_eq!(readiness(&catalog), expected, "{entries:?}");
        }
    }
}
