//! Parameters of Felix 2.1's store, a key and a bare text each, and its ready flag (felix-2.1 §2.1).

use std::sync::Arc;

use crate::model::decode::fields::Field;
use crate::model::decode::name;
use crate::model::{ConfigEntry, ConfigId, ConfigResource, ConfigScope, ReadyFlag};

/// Whether clients have finished setting the store up: exactly `true`.
pub(super) fn ready(root: &Field<'_>) -> Option<ReadyFlag> {
    Some(ReadyFlag { ready: root.text()? == "true", place: root.place() })
}

/// A parameter for all hosts.
pub(super) fn global(root: &Field<'_>, name: &str) -> Option<ConfigResource> {
    parameter(root, ConfigId::GlobalKey(name.into()), ConfigScope::Global, name)
}

/// A parameter for one host.
pub(super) fn of_host(root: &Field<'_>, host: &str, name: &str) -> Option<ConfigResource> {
    let host = root.report.name_in_key(&name::WORD, host)?;
    let id = ConfigId::HostKey { host: Arc::clone(&host), name: name.into() };
    parameter(root, id, ConfigScope::Host(host), name)
}

fn parameter(root: &Field<'_>, id: ConfigId, scope: ConfigScope, name: &str) -> Option<ConfigResource> {
    let entry = ConfigEntry { name: name.into(), value: root.text()?.into(), place: root.place() };
    Some(ConfigResource { id, scope, created: None, entries: vec![entry], place: root.place() })
}
