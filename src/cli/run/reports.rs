//! What the daemon tells: health, systemd, the log, metrics of what it found.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sd_notify::NotifyState;
use tracing::{error, info, warn};

use super::http::Shared;
use crate::cli::report;
use crate::config::Reporting;
use crate::model::{Diagnostic, Severity, WorkloadId};
use crate::policy::HostPolicy;
use crate::sync::{Part, Quarantine};
use crate::telemetry::health::Report;

use super::interfaces::State;

/// The name of the loop in health's answers, as Felix has it.
const MAIN_LOOP: &str = "InternalDataplaneMainLoop";

/// The least time that the loop may be busy before it counts as stuck, as in Felix.
const LEAST_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Reports {
    shared: Shared,
    /// How often systemd wants to hear that we are alive.
    watchdog: Option<Duration>,
    /// How long the loop may be busy with one thing.
    timeout: Duration,
    applied: bool,
    /// Why the kernel is not as desired.
    failure: Option<String>,
    failing_since: Option<Instant>,
    known: BTreeSet<String>,
    refused: BTreeSet<Part>,
    endpoints: Vec<(WorkloadId, State)>,
}

impl Reports {
    pub(super) fn new(shared: Shared, watchdog: Option<Duration>) -> Self {
        Self {
            shared,
            watchdog,
            timeout: LEAST_TIMEOUT,
            applied: false,
            failure: None,
            failing_since: None,
            known: BTreeSet::new(),
            refused: BTreeSet::new(),
            endpoints: Vec::new(),
        }
    }

    pub(super) fn configure(&mut self, reporting: &Reporting) {
        let Reporting { watchdog, .. } = reporting;
        self.timeout = if watchdog.is_zero() { Duration::ZERO } else { LEAST_TIMEOUT.max(*watchdog) };
    }

    /// A part that is well.
    pub(super) fn good(detail: &str) -> Report {
        said(true, true, detail, Duration::ZERO)
    }

    /// A part that is alive, and does not do its work yet.
    pub(super) fn unready(detail: &str) -> Report {
        said(true, false, detail, Duration::ZERO)
    }

    /// From now on the loop may be stuck.
    pub(super) fn main_loop_is_busy(&self) {
        let report = said(true, self.is_ready(), "busy", self.timeout);
        self.shared.with_health(|health| health.say(MAIN_LOOP, report));
    }

    /// The loop waits for something to happen. `waiting`: for how long changes could not be applied.
    pub(super) fn main_loop_waits(&self, waiting: Option<Duration>) {
        let detail = match (&self.failure, self.applied) {
            (Some(failure), _) => failure.as_str(),
            (None, true) => "the kernel is as the policy says",
            (None, false) => "nothing is programmed yet",
        };
        let report = said(true, self.is_ready(), detail, Duration::ZERO);
        self.shared.with_health(|health| health.say(MAIN_LOOP, report));
        let failing = self.failing_since.map(|since| since.elapsed());
        self.shared.metrics().set_stale(failing.or(waiting).unwrap_or_default());
    }

    /// The kernel is not as desired.
    pub(super) fn main_loop_failing(&mut self, failure: &str) {
        if self.failure.as_deref() != Some(failure) {
            error!("the kernel is not as the policy says: {failure}");
            notify(&[NotifyState::Status(failure)]);
        }
        self.failure = Some(failure.to_owned());
        self.failing_since.get_or_insert_with(Instant::now);
    }

    /// The kernel is as desired, but for what it refuses.
    pub(super) fn applied(&mut self, policy: &HostPolicy) {
        self.failing_since = None;
        if self.failure.take().is_some() {
            info!("the kernel is as the policy says again");
        }
        let HostPolicy { endpoints, policies, .. } = policy;
        let metrics = self.shared.metrics();
        metrics.set_applied(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        metrics.active_local_endpoints.set(endpoints.len() as i64);
        metrics.active_local_policies.set(policies.len() as i64);
        let status = format!("{} endpoints, {} policies in force", endpoints.len(), policies.len());
        notify(&[NotifyState::Status(&status)]);
        if !std::mem::replace(&mut self.applied, true) {
            info!(endpoints = endpoints.len(), policies = policies.len(), "the kernel is as the policy says");
            notify(&[NotifyState::Ready]);
        }
    }

    /// Says what the kernel refuses, where that is new.
    pub(super) fn refused(&mut self, quarantine: Option<&Quarantine>) {
        if let Some(quarantine) = quarantine {
            self.shared.metrics().quarantined.set(quarantine.len() as i64);
            self.say_refused(quarantine);
        }
    }

    /// Long work goes on.
    pub(super) fn alive(&self) {
        self.main_loop_is_busy();
        if self.watchdog.is_some() {
            notify(&[NotifyState::Watchdog]);
        }
    }

    /// Says what is new in what is wrong with the source, and what no longer is.
    pub(super) fn diagnostics(&mut self, diagnostics: Vec<Diagnostic>) {
        for (severity, name) in
            [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")]
        {
            let number = diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
            self.shared.metrics().set_diagnostics(name, number);
        }
        let mut now = BTreeSet::new();
        for diagnostic in &diagnostics {
            let text = report::one_line(diagnostic);
            if !self.known.contains(&text) {
                match diagnostic.severity {
                    Severity::Error => error!("{text}"),
                    Severity::Warning => warn!("{text}"),
                    Severity::Note => info!("{text}"),
                }
            }
            now.insert(text);
        }
        for gone in self.known.difference(&now) {
            info!("no longer: {gone}");
        }
        self.known = now;
    }

    /// Says which endpoints changed their state.
    pub(super) fn endpoints(&mut self, states: Vec<(WorkloadId, State)>) {
        for state in State::ALL {
            let number = states.iter().filter(|(_, found)| *found == state).count();
            self.shared.metrics().set_endpoints(state.name(), number);
        }
        let before: BTreeSet<_> = self.endpoints.iter().collect();
        for changed in states.iter().filter(|state| !before.contains(state)) {
            let (id, state) = changed;
            info!("endpoint {id} is {}", state.name());
        }
        self.endpoints = states;
    }

    /// Tells systemd that we are alive; when to do so again.
    pub(super) fn watchdog(&self) -> Option<tokio::time::Instant> {
        notify(&[NotifyState::Watchdog]);
        self.watchdog.map(|interval| tokio::time::Instant::now() + interval)
    }

    pub(super) fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    fn is_ready(&self) -> bool {
        self.applied && self.failure.is_none()
    }

    /// Whoever wrote what is refused must hear of it.
    fn say_refused(&mut self, quarantine: &Quarantine) {
        let mut now = BTreeSet::new();
        for (part, quarantined) in quarantine.iter() {
            if !self.refused.contains(part) {
                let culprits: Vec<String> = quarantined
                    .culprits()
                    .into_iter()
                    .map(|(name, place)| place.map_or(name.clone(), |place| format!("{name} ({place})")))
                    .collect();
                error!(
                    "the kernel refuses {part}; until it takes it, what that governs is denied: {}: {}",
                    if culprits.is_empty() { "nobody's".to_owned() } else { culprits.join(", ") },
                    quarantined.reason
                );
            }
            now.insert(part.clone());
        }
        for part in self.refused.difference(&now) {
            info!("{part} is no longer refused");
        }
        self.refused = now;
    }
}

fn said(live: bool, ready: bool, detail: &str, timeout: Duration) -> Report {
    Report { live, ready, detail: detail.to_owned(), at: Instant::now(), timeout }
}

/// Nothing depends on systemd hearing it.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!("systemd can't be told: {error}");
    }
}
