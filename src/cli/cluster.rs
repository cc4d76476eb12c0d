//! Manifests as a whole cluster, for the commands that ask about flows.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{Failure, configuration, report, source};
use crate::model::Diagnostic;
use crate::verdict::explain::cluster::{Cluster, Enforcement};

/// What the datastore says that is named, or that parameters name. That something is wrong with it is noted: the answer is about what is enforced all the same.
pub(super) fn read(named: &[String], config: Option<&Path>, set: &[String]) -> Result<Cluster, Failure> {
    let mut given = configuration::given(config, set)?;
    let datastore = source::choose(named, &mut given)?;
    let events = source::read(&datastore)?;
    let problems: Vec<Diagnostic> = given.problems.iter().map(Diagnostic::from).collect();
    super::say(&report::for_stderr(&problems));
    let cluster = Cluster::new(&events, given.sources);
    if let Some(problems) = report::summary(&cluster.diagnostics()) {
        super::say(&format!("note: {datastore} has {problems}: see `felix-rs check`\n"));
    }
    Ok(cluster)
}

/// What the hosts must enforce. Parameters that are not in force as they were written are said.
pub(super) fn enforce(cluster: &Cluster, hosts: &BTreeSet<Arc<str>>) -> Enforcement {
    let enforcement = cluster.enforce(hosts);
    super::say(&report::for_stderr(&enforcement.problems));
    enforcement
}
