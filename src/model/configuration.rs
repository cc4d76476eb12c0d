//! FelixConfiguration resources as sources of parameters (reference §11.1).

use super::{ConfigResource, Labels, Resource, ResourceId, Update};
use crate::config::{Setting, Source, SourceKind};

/// What the datastore's configuration resources say for `host`, whatever their precedence.
pub fn configuration<'r>(host: &str, resources: impl Iterator<Item = &'r Resource> + Clone) -> Vec<Source> {
    let labels = resources.clone().find_map(|resource| match resource {
        Resource::Node(node) if &*node.name == host => Some(&node.labels),
        _ => None,
    });
    let configs: Vec<_> = resources
        .filter_map(|resource| match resource {
            Resource::Config(config) => Some(config),
            _ => None,
        })
        .collect();
    let own = format!("node.{host}");
    let global =
        configs.iter().filter(|config| &*config.name == "default").map(|c| source(SourceKind::Global, c));
    let per_host = configs.iter().filter(|config| *config.name == *own).map(|c| source(SourceKind::Host, c));
    let selected =
        labels.and_then(|labels| selected(&configs, labels)).map(|c| source(SourceKind::Selector, c));
    global.chain(per_host).chain(selected).collect()
}

/// Whether [`configuration`] of `host` may say something else after the update.
pub fn configures(host: &str, update: &Update) -> bool {
    let id = match update {
        Update::Put(resource) => resource.id(),
        Update::Delete(id) => id.clone(),
    };
    match id {
        ResourceId::Config(_) => true,
        ResourceId::Node(name) => *name == *host,
        ResourceId::Tier(_)
        | ResourceId::Policy(_)
        | ResourceId::Profile(_)
        | ResourceId::NetworkSet(_)
        | ResourceId::WorkloadEndpoint(_)
        | ResourceId::HostEndpoint(_)
        | ResourceId::IpPool(_)
        | ResourceId::ClusterInformation(_)
        | ResourceId::BlockAffinity(_)
        | ResourceId::IpamBlock(_) => false,
    }
}

/// Each configuration resource as a source of its own, to be checked.
pub fn configurations<'r>(resources: impl Iterator<Item = &'r Resource>) -> impl Iterator<Item = Source> {
    resources.filter_map(|resource| match resource {
        Resource::Config(config) => Some(source(SourceKind::Global, config)),
        _ => None,
    })
}

/// The one that counts of those for nodes with certain labels: the oldest, then the lowest name.
fn selected<'r>(configs: &[&'r ConfigResource], labels: &Labels) -> Option<&'r ConfigResource> {
    let label = |key: &str| labels.get(key).map(|value| &**value);
    let selecting = configs.iter().filter(|config| {
        let special = &*config.name == "default" || config.name.starts_with("node.");
        !special && config.node_selector.as_ref().is_some_and(|selector| selector.matches(&label))
    });
    // RFC 3339 in UTC sorts as text; one without a date is the youngest.
    selecting.min_by_key(|config| (config.created.is_none(), &config.created, &config.name)).copied()
}

fn source(kind: SourceKind, config: &ConfigResource) -> Source {
    let settings = config.entries.iter().map(|entry| Setting {
        name: entry.name.to_string(),
        value: entry.value.to_string(),
        origin: entry.place.to_string(),
    });
    Source { kind, name: format!("FelixConfiguration {}", config.name), settings: settings.collect() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::datastore::yaml;
    use crate::model::decode;

    #[test]
    fn only_some_resources_configure_a_host() {
        for (kind, name, expected) in [
            ("FelixConfiguration", "default", true),
            ("FelixConfiguration", "node.host-2", true),
            ("Node", "host-1", true),
            ("Node", "host-2", false),
            ("Profile", "host-1", false),
        ] {
            let text =
                format!("{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: {name}}}}}");
            let entry = yaml::parse(&"a.yaml".into(), &text.as_str().into()).entries.remove(0);
            let resource = decode(&entry).resource.expect("a resource");
            let id = resource.id();
            for update in [Update::Put(Arc::new(resource)), Update::Delete(id)] {
                assert_eq!(configures("host-1", &update), expected, "{update:?}");
            }
        }
    }
}
