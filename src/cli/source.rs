//! Which datastore a command reads.

use std::fs;
use std::path::PathBuf;

use tracing::info;

use super::Failure;
use crate::config::nearest;
use crate::datastore::yaml::{self, Location};
use crate::datastore::{Event, Place};
use crate::model::{self, Code, Diagnostic, Severity};

/// What `locations` say, to the end. One that is not there is a slip of whoever asks, not of whoever wrote.
pub(super) fn read(locations: &[String]) -> Result<Vec<Event>, Failure> {
    let locations: Vec<Location> = locations.iter().map(|path| Location::from(PathBuf::from(path))).collect();
    for location in &locations {
        if let Location::Path(path) = location {
            fs::metadata(path).map_err(|error| Failure::Io { what: path.display().to_string(), error })?;
        }
    }
    let events = yaml::read(&locations);
    info!(events = events.len(), "manifests are read");
    Ok(events)
}

/// The host to compile for: as asked, or the only one that the manifests name.
pub(super) fn host(asked: Option<&str>, events: &[Event]) -> Result<String, Failure> {
    if let Some(host) = asked {
        return Ok(host.to_owned());
    }
    let nodes = model::node_names(events);
    let mut names = nodes.iter();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.to_string()),
        (None, _) => Err(Failure::Usage(
            "the manifests name no node\nhelp: say which host to compile for with --host NAME".to_owned(),
        )),
        (Some(_), Some(_)) => {
            let names: Vec<&str> = nodes.iter().map(|name| &**name).collect();
            Err(Failure::Usage(format!(
                "the manifests name {} nodes\nhelp: choose one with --host: {}",
                names.len(),
                names.join(", ")
            )))
        }
    }
}

/// A host that no manifest speaks of has no endpoints: probably not the one that was meant.
pub(super) fn unknown_host(host: &str, events: &[Event]) -> Option<Diagnostic> {
    let known = model::node_names(events);
    if known.is_empty() || known.contains(host) {
        return None;
    }
    let similar = nearest(host, known.iter().map(|name| &**name));
    Some(Diagnostic {
        severity: Severity::Warning,
        code: Code::MissingReference,
        place: Place { source: "--host".into(), line: 0, column: 0 },
        excerpt: None,
        message: format!("no node or endpoint names the host `{host}`"),
        label: "it has no endpoints".to_owned(),
        effect: None,
        help: similar.map(|name| format!("did you mean `{name}`?")),
    })
}
