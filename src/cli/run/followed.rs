//! What is known of the source as a whole.

use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use super::http::Shared;
use super::reports::Reports;
use crate::datastore::Event;
use crate::model::Readiness;
use crate::telemetry::metrics::ResyncState;

/// The name of the source in health's answers, as Felix has it.
const SOURCE: &str = "CalculationGraph";

/// Whether what the source says is whole, recent and meant to be enforced.
pub(super) struct Followed {
    shared: Shared,
    /// A store says itself whether it is complete; manifests always are.
    is_store: bool,
    in_sync: bool,
    /// In Unix time.
    lost_since: Option<u64>,
    revision: Option<i64>,
    readiness: Readiness,
}

impl Followed {
    pub(super) fn new(shared: Shared, is_store: bool) -> Self {
        shared.metrics().resync_state.set(ResyncState::Waiting as i64);
        shared.metrics().resyncs_started.inc();
        Self {
            shared,
            is_store,
            in_sync: false,
            lost_since: None,
            revision: None,
            readiness: Readiness::Ready,
        }
    }

    /// Takes note of what concerns the source as a whole. `readiness`: what the store says after these events.
    pub(super) fn take(&mut self, events: &[Event], readiness: impl FnOnce() -> Readiness) {
        if !self.in_sync {
            self.shared.metrics().resync_state.set(ResyncState::Reading as i64);
        }
        for event in events {
            match event {
                Event::InSync => self.found(),
                Event::Lost => self.lost(),
                Event::Revision(revision) => self.revision = Some(*revision),
                Event::Put(_) | Event::Delete(_) | Event::Unreadable(_) | Event::Readable(_) => {}
            }
        }
        if self.is_store && self.in_sync {
            self.ready(readiness());
        }
        self.tell();
    }

    /// Why nothing may be programmed that was not programmed before.
    pub(super) fn waits_for(&self) -> Option<String> {
        match self.readiness {
            _ if !self.in_sync => Some("waits for the source".to_owned()),
            Readiness::NotReady(why) => Some(why.to_string()),
            Readiness::Ready => None,
        }
    }

    /// The kernel is as the source says, but for what is held.
    pub(super) fn applied(&self) {
        let is_held = self.waits_for().is_some();
        if let Some(revision) = self.revision.filter(|_| !is_held) {
            self.shared.metrics().applied_revision.set(revision);
        }
    }

    fn found(&mut self) {
        if !std::mem::replace(&mut self.in_sync, true) {
            info!("the source is read");
        } else if self.lost_since.is_some() {
            info!("the source is there again");
        }
        self.lost_since = None;
        self.shared.metrics().resync_state.set(ResyncState::InSync as i64);
    }

    fn lost(&mut self) {
        warn!("the source is lost: what it said last stands");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.lost_since.get_or_insert(now.as_secs());
        self.shared.metrics().resync_state.set(ResyncState::Waiting as i64);
        self.shared.metrics().resyncs_started.inc();
    }

    fn ready(&mut self, readiness: Readiness) {
        if readiness == self.readiness {
            return;
        }
        match readiness {
            Readiness::Ready => info!("the store is ready"),
            Readiness::NotReady(why) => warn!("waits: {why}; {}", why.help()),
        }
        self.readiness = readiness;
    }

    fn tell(&self) {
        let metrics = self.shared.metrics();
        metrics.source_lost.set(self.lost_since.map_or(0, |since| i64::try_from(since).unwrap_or(i64::MAX)));
        metrics.source_revision.set(self.revision.unwrap_or_default());
        let at = self.revision.map(|revision| format!(" at revision {revision}")).unwrap_or_default();
        let report = match (self.waits_for(), self.lost_since) {
            (None, None) => Reports::good(&format!("in sync{at}")),
            // What stands is enforced: alive, and ready if it ever was.
            (None, Some(since)) => {
                let since = UNIX_EPOCH + std::time::Duration::from_secs(since);
                let since = humantime::format_rfc3339_seconds(since);
                Reports::good(&format!("lost since {since}; what it said last{at} stands"))
            }
            (Some(_), Some(_)) if !self.in_sync => Reports::unready("not there yet"),
            (Some(why), _) => Reports::unready(&why),
        };
        self.shared.with_health(|health| health.say(SOURCE, report));
    }
}
