//! Manifests as a whole cluster, for the commands that ask about flows.

use std::path::Path;

use super::{Failure, configuration, report, source};
use crate::verdict::explain::cluster::Cluster;

/// What `locations` say. That something is wrong with it is noted: the answer is about what is enforced all the same.
pub(super) fn read(locations: &[String], config: Option<&Path>, set: &[String]) -> Result<Cluster, Failure> {
    let events = source::read(locations)?;
    let given = configuration::given(config, set)?;
    let cluster = Cluster::new(&events, given.sources);
    if let Some(problems) = report::summary(&cluster.diagnostics()) {
        super::say(&format!("note: {} has {problems}: see `felix-rs check`\n", locations.join(", ")));
    }
    Ok(cluster)
}
