//! What this host tells about itself in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::interfaces::State;
use crate::config::{EtcdAccess, StatusReporting};
use crate::datastore::etcd::{self, EndpointName, Status};
use crate::model::WorkloadId;

/// Says to the store's writer what there is to tell. Nothing here waits.
pub(super) struct Teller {
    /// None where there is no store.
    statuses: Option<watch::Sender<Status>>,
}

impl Teller {
    /// Must be called within the runtime.
    pub(super) fn new(store: Option<EtcdAccess>, host: Arc<str>, settings: StatusReporting) -> Self {
        let statuses = store.map(|access| {
            let (sender, receiver) =
                watch::channel(Status { settings, applied: false, endpoints: BTreeMap::new() });
            tokio::spawn(etcd::report(access, host, receiver));
            sender
        });
        Self { statuses }
    }

    pub(super) fn configure(&self, settings: &StatusReporting) {
        self.change(|status| status.settings.clone_from(settings));
    }

    /// The kernel is as the source says, and these endpoints are all that there are.
    pub(super) fn endpoints(&self, states: &[(WorkloadId, State)]) {
        let endpoints: BTreeMap<EndpointName, &'static str> =
            states.iter().map(|(id, state)| (name(id), state.name())).collect();
        self.change(|status| {
            status.endpoints = endpoints;
            status.applied = true;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        let Some(statuses) = &self.statuses else { return };
        statuses.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }
}

fn name(id: &WorkloadId) -> EndpointName {
    let WorkloadId { node: _, orchestrator, workload, endpoint } = id;
    EndpointName {
        orchestrator: Arc::clone(orchestrator),
        workload: Arc::clone(workload),
        endpoint: Arc::clone(endpoint),
    }
}
