//! FelixConfiguration and ClusterInformation: one text a parameter (reference §1.11, §1.12, §11.1).

use std::sync::Arc;

use super::fields::{Field, Mistake, Object, Unknown};
use super::{metadata, name, scalar, selector};
use crate::config::{FieldError, FieldValue, field_to_text};
use crate::datastore::{Node, Value};
use crate::labels::Selector;
use crate::model::diagnostic::Code;
use crate::model::{ClusterInformation, ConfigEntry, ConfigId, ConfigResource, ConfigScope};

/// Annotations that begin so override the field of the parameter that they name.
const OVERRIDE: &str = "config.projectcalico.org/";

/// A FelixConfiguration. A parameter that can't be read is left out; without its name or scope it is absent.
pub(super) fn felix(document: &Object<'_>) -> Option<ConfigResource> {
    let meta = metadata::v3(document);
    metadata::refuse_namespace(&meta);
    let name = metadata::name(&meta, &name::DNS_SUBDOMAIN);
    let created = meta.text("creationTimestamp");
    // Its fields are the parameters, which the table of parameters knows.
    let spec = document.object("spec", &["nodeSelector"], Unknown::Free);
    let node_selector = selector::selector(&spec, "nodeSelector");
    // An unknown field of the document takes nothing from the parameters that are there.
    let readable = document.report().all_readable();
    let mut entries: Vec<ConfigEntry> =
        spec.pairs().filter_map(|(key, value)| parameter(key, &value)).collect();
    if let Some(annotations) = meta.get("annotations") {
        for (key, value) in annotations.pairs() {
            if let Some(name) = key.strip_prefix(OVERRIDE) {
                override_entry(&mut entries, name, &value);
            }
        }
    }
    let place = document.field().place();
    let name = name?;
    let scope = scope(&name, node_selector);
    let config = ConfigResource { id: ConfigId::Felix(name), scope, created, entries, place };
    readable.then_some(config)
}

/// `default` is for all, `node.<name>` for that node; another name leaves it to the selector.
fn scope(name: &str, selector: Option<Selector>) -> ConfigScope {
    match (name, name.strip_prefix("node.")) {
        ("default", _) => ConfigScope::Global,
        (_, Some(host)) => ConfigScope::Host(host.into()),
        (_, None) => ConfigScope::Selected(selector),
    }
}

fn parameter(key: &str, value: &Field<'_>) -> Option<ConfigEntry> {
    if key == "nodeSelector" || value.is_null() {
        return None;
    }
    match field_to_text(key, field_value(value.node())) {
        Ok((name, text)) => Some(ConfigEntry { name: name.into(), value: text.into(), place: value.place() }),
        Err(error) => {
            report(value, error);
            None
        }
    }
}

fn report(value: &Field<'_>, error: FieldError) {
    match error {
        FieldError::Unknown { nearest } => {
            let mistake = Mistake::new(Code::UnknownField, "no parameter is called so", "passed over");
            value.warn(Mistake { help: nearest.map(|name| format!("did you mean `{name}`?")), ..mistake });
        }
        FieldError::LeftOut { feature } => {
            let message = format!("there is no {feature} here");
            value.note(Mistake::new(Code::NotImplemented, message, "passed over"));
        }
        FieldError::Form { expected } => value.error(Mistake::new(
            Code::InvalidConfig,
            format!("{expected} is wanted"),
            "the parameter keeps what it has without this",
        )),
    }
}

fn field_value(node: &Node) -> FieldValue {
    match &node.value {
        Value::Scalar(scalar) => FieldValue::Text(scalar.text.to_string()),
        Value::Sequence(items) => FieldValue::List(items.iter().map(field_value).collect()),
        Value::Mapping(entries) => FieldValue::Map(
            entries.iter().map(|(key, value)| (key.text.to_string(), field_value(value))).collect(),
        ),
    }
}

fn override_entry(entries: &mut Vec<ConfigEntry>, name: &str, value: &Field<'_>) {
    let Some(text) = value.text() else { return };
    entries.retain(|entry| !entry.name.eq_ignore_ascii_case(name));
    entries.push(ConfigEntry { name: name.into(), value: text.into(), place: value.place() });
}

/// Fields of a ClusterInformation and the parameters that they are.
const CLUSTER: [(&str, &str); 3] =
    [("clusterGUID", "ClusterGUID"), ("clusterType", "ClusterType"), ("calicoVersion", "CalicoVersion")];

/// A ClusterInformation.
pub(super) fn cluster(document: &Object<'_>) -> Option<ClusterInformation> {
    const SPEC: &[&str] = &["clusterGUID", "clusterType", "calicoVersion", "datastoreReady", "variant"];
    let meta = metadata::v3(document);
    let name = metadata::name(&meta, &name::DNS_SUBDOMAIN);
    let spec = document.object("spec", SPEC, Unknown::Tolerated);
    let entry = |(field, parameter): (&'static str, &'static str)| {
        let field = spec.get(field)?;
        Some(ConfigEntry { name: Arc::from(parameter), value: field.text()?.into(), place: field.place() })
    };
    let entries = CLUSTER.into_iter().filter_map(entry).collect();
    let datastore_ready = spec.read("datastoreReady", scalar::boolean);
    let place = document.field().place();
    Some(ClusterInformation { name: name?, datastore_ready, entries, place })
}
