//! What the datastore says about parameters, as sources of them (reference §3.6, §11.1; felix-2.1 §2.1).

use super::{
    ClusterInformation, ConfigEntry, ConfigId, ConfigResource, ConfigScope, Labels, Resource, ResourceId,
    Update,
};
use crate::config::{Setting, Source, SourceKind};

/// What the datastore's configuration resources say for `host`, whatever their precedence.
///
/// Within a level the later counts: a key of Felix 2.1 gives way to what is written in today's form.
pub fn configuration<'r>(host: &str, resources: impl Iterator<Item = &'r Resource> + Clone) -> Vec<Source> {
    let labels = resources.clone().find_map(|resource| match resource {
        Resource::Node(node) if &*node.name == host => Some(&node.labels),
        _ => None,
    });
    let clusters = resources.clone().filter_map(|resource| match resource {
        Resource::ClusterInformation(info) if &*info.name == DEFAULT => Some(of_cluster(info)),
        _ => None,
    });
    let (keys, felix): (Vec<_>, Vec<_>) = resources
        .filter_map(|resource| match resource {
            Resource::Config(config) => Some(config),
            _ => None,
        })
        .partition(|config| match config.id {
            ConfigId::GlobalKey(_) | ConfigId::HostKey { .. } => true,
            ConfigId::Felix(_) => false,
        });
    let of = |configs: &[&ConfigResource], kind| -> Vec<Source> {
        let on_level = configs.iter().filter(|config| level(host, &config.scope) == Some(kind));
        on_level.map(|config| source(kind, config)).collect()
    };
    let selected = labels.and_then(|labels| selected(&felix, labels));
    of(&keys, SourceKind::Global)
        .into_iter()
        .chain(clusters)
        .chain(of(&felix, SourceKind::Global))
        .chain(of(&keys, SourceKind::Host))
        .chain(of(&felix, SourceKind::Host))
        .chain(selected.map(|config| source(SourceKind::Selector, config)))
        .collect()
}

/// The ClusterInformation that counts.
const DEFAULT: &str = "default";

/// Whether [`configuration`] of `host` may say something else after the update.
pub fn configures(host: &str, update: &Update) -> bool {
    let id = match update {
        Update::Put(resource) => resource.id(),
        Update::Delete(id) => id.clone(),
    };
    match id {
        ResourceId::Config(ConfigId::Felix(_) | ConfigId::GlobalKey(_)) => true,
        ResourceId::Config(ConfigId::HostKey { host: other, name: _ }) => *other == *host,
        ResourceId::Node(name) => *name == *host,
        ResourceId::ClusterInformation(name) => &*name == DEFAULT,
        ResourceId::Tier(_)
        | ResourceId::Policy(_)
        | ResourceId::Profile(_)
        | ResourceId::NetworkSet(_)
        | ResourceId::WorkloadEndpoint(_)
        | ResourceId::HostEndpoint(_)
        | ResourceId::IpPool(_)
        | ResourceId::Ready
        | ResourceId::BlockAffinity(_)
        | ResourceId::IpamBlock(_) => false,
    }
}

/// Each configuration resource as a source of its own, to be checked.
pub fn configurations<'r>(resources: impl Iterator<Item = &'r Resource>) -> impl Iterator<Item = Source> {
    resources.filter_map(|resource| match resource {
        Resource::Config(config) => Some(source(SourceKind::Global, config)),
        Resource::ClusterInformation(info) => Some(of_cluster(info)),
        _ => None,
    })
}

/// Where the parameters stand for `host`, but for those that a selector gives it.
fn level(host: &str, scope: &ConfigScope) -> Option<SourceKind> {
    match scope {
        ConfigScope::Global => Some(SourceKind::Global),
        ConfigScope::Host(name) => (**name == *host).then_some(SourceKind::Host),
        ConfigScope::Selected(_) => None,
    }
}

/// The one that counts of those for nodes with certain labels: the oldest, then the lowest name.
fn selected<'r>(configs: &[&'r ConfigResource], labels: &Labels) -> Option<&'r ConfigResource> {
    let label = |key: &str| labels.get(key).map(|value| &**value);
    let selecting = configs.iter().filter(|config| match &config.scope {
        ConfigScope::Selected(selector) => selector.as_ref().is_some_and(|selector| selector.matches(&label)),
        ConfigScope::Global | ConfigScope::Host(_) => false,
    });
    // RFC 3339 in UTC sorts as text; one without a date is the youngest.
    selecting.min_by_key(|config| (config.created.is_none(), &config.created, &config.id)).copied()
}

fn of_cluster(info: &ClusterInformation) -> Source {
    let name = ResourceId::ClusterInformation(info.name.clone()).to_string();
    Source { kind: SourceKind::Global, name, settings: settings(&info.entries) }
}

fn source(kind: SourceKind, config: &ConfigResource) -> Source {
    Source { kind, name: config.id.to_string(), settings: settings(&config.entries) }
}

fn settings(entries: &[ConfigEntry]) -> Vec<Setting> {
    let setting = |entry: &ConfigEntry| Setting {
        name: entry.name.to_string(),
        value: entry.value.to_string(),
        origin: entry.place.to_string(),
    };
    entries.iter().map(setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::model::Catalog;
    use crate::model::decode::testing::{raw, stored};

    #[test]
    fn only_some_resources_configure_a_host() {
        for (entry, expected) in [
            (stored("resources/v3/projectcalico.org/felixconfigurations/default", "{}"), true),
            (stored("resources/v3/projectcalico.org/felixconfigurations/node.host-2", "{}"), true),
            (stored("resources/v3/projectcalico.org/clusterinformations/default", "{}"), true),
            (stored("resources/v3/projectcalico.org/clusterinformations/other", "{}"), false),
            (stored("resources/v3/projectcalico.org/nodes/host-1", "{}"), true),
            (stored("resources/v3/projectcalico.org/nodes/host-2", "{}"), false),
            (stored("resources/v3/projectcalico.org/profiles/host-1", "{}"), false),
            (raw("v1/config/LogPrefix", "a"), true),
            (raw("v1/host/host-1/config/LogPrefix", "a"), true),
            (raw("v1/host/host-2/config/LogPrefix", "a"), false),
            (raw("v1/host/host-1/bird_ip", "10.0.0.1"), true),
            (raw("v1/Ready", "true"), false),
        ] {
            let mut catalog = Catalog::new();
            let updates = [catalog.put(&entry), catalog.delete(&entry.key)].concat();
            assert_eq!(updates.len(), 2, "{:?}", entry.key);
            for update in updates {
                assert_eq!(configures("host-1", &update), expected, "{update:?}");
            }
        }
    }

    /// Levels from the weakest; of one level today's form counts, whichever was there first.
    #[test]
    fn what_counts() {
        let felix = |name: &str, spec: &str| {
            let key = format!("resources/v3/projectcalico.org/felixconfigurations/{name}");
            stored(&key, &format!(r#"{{"spec":{spec}}}"#))
        };
        let node = stored(
            "resources/v3/projectcalico.org/nodes/host-1",
            r#"{"metadata":{"labels":{"rack":"a"}},"spec":{}}"#,
        );
        let entries = [
            raw("v1/config/LogPrefix", "key"),
            felix("default", r#"{"logPrefix":"default"}"#),
            felix("rack-a", r#"{"nodeSelector":"rack == 'a'","logPrefix":"selected"}"#),
            raw("v1/host/host-1/config/LogPrefix", "host key"),
            felix("node.host-1", r#"{"logPrefix":"host"}"#),
            raw("v1/host/host-2/config/LogPrefix", "other host"),
            felix("node.host-2", r#"{"logPrefix":"other host"}"#),
            felix("rack-b", r#"{"nodeSelector":"rack == 'b'","logPrefix":"not selected"}"#),
        ];
        let count = |entries: &[crate::datastore::Entry]| {
            let mut catalog = Catalog::new();
            for entry in entries.iter().chain([&node]) {
                catalog.put(entry);
            }
            Config::resolve(&configuration("host-1", catalog.resources()))
                .value("LogPrefix")
                .unwrap()
                .value
                .clone()
        };
        let strongest_of: [&str; 8] =
            ["key", "default", "selected", "host key", "host", "host", "host", "host"];
        for (last, expected) in strongest_of.iter().enumerate() {
            let mut some = entries[..=last].to_vec();
            assert_eq!(count(&some), *expected, "{last}");
            some.reverse();
            assert_eq!(count(&some), *expected, "{last} reversed");
        }
    }

    /// Reference §3.6, last sentence.
    #[test]
    fn a_cluster_gives_parameters() {
        let mut catalog = Catalog::new();
        catalog.put(&raw("v1/config/ClusterGUID", "old"));
        catalog.put(&stored(
            "resources/v3/projectcalico.org/clusterinformations/default",
            r#"{"spec":{"clusterGUID":"g","clusterType":"k8s","calicoVersion":"v3.32.0","variant":"Calico","datastoreReady":true}}"#,
        ));
        let resolved = Config::resolve(&configuration("host-1", catalog.resources()));
        assert_eq!(resolved.problems, []);
        let value = |name| resolved.value(name).map(|chosen| chosen.value.as_str());
        assert_eq!(
            [value("ClusterGUID"), value("ClusterType"), value("CalicoVersion")],
            [Some("g"), Some("k8s"), Some("v3.32.0")]
        );
    }
}
