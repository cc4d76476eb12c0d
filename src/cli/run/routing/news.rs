//! What is told of routes: metrics, health, the log.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::super::http::Shared;
use super::super::reports::Reports;
use super::keeper::Account;
use crate::sync::routes::WithheldFor;

/// The name of this part in health's answers.
const ROUTES: &str = "RouteTables";

/// So many routes are named in a line of the log.
const FEW: usize = 5;

pub(super) struct News {
    shared: Shared,
    /// Routes were as wanted once.
    has_kept: bool,
    /// What was last wrong, and whether that was said: what is mended by the next try is nobody's business.
    failure: Option<(String, bool)>,
    withheld: BTreeSet<String>,
    no_ipip: Option<String>,
}

impl News {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, has_kept: false, failure: None, withheld: BTreeSet::new(), no_ipip: None }
    }

    pub(super) fn tell(&mut self, account: Account) {
        let Account {
            gateways: _,
            waits,
            read,
            made,
            mended,
            refused,
            failure,
            vanished: _,
            wanted,
            withheld,
            no_ipip,
            truces,
            next: _,
        } = account;
        let metrics = self.shared.metrics();
        if let Some(took) = read {
            metrics.route_reading.observe(took.as_secs_f64());
        }
        metrics.route_changes.inc_by(made as u64);
        metrics.route_errors.inc_by(refused as u64 + u64::from(failure.is_some() && refused == 0));
        metrics.drift.inc_by(mended as u64);
        for said in truces {
            warn!("{said}");
        }
        if waits {
            return;
        }
        if let Some(failure) = failure {
            self.failed(&failure);
            return;
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        metrics.routes.set(count(wanted.saturating_sub(withheld.len())));
        metrics.routes_withheld.set(count(withheld.len()));
        if made > 0 {
            info!(changes = made, mended, routes = wanted - withheld.len(), "routes are as wanted");
        }
        self.no_tunnel(no_ipip);
        let others = withheld.iter().filter(|one| matches!(one.why, WithheldFor::Writer { .. }));
        self.withhold(others.map(ToString::to_string).collect());
        if let Some((failure, true)) = self.failure.take() {
            info!("routes are as wanted again; before that: {failure}");
        }
        self.has_kept = true;
        let detail = match withheld.len() {
            0 => format!("{wanted} routes are as wanted"),
            some => format!("{wanted} routes are wanted, of which {some} are withheld"),
        };
        self.shared.with_health(|health| health.say(ROUTES, Reports::good(&detail)));
    }

    /// What does not mend itself by another try.
    pub(super) fn fault(&mut self, fault: &str) {
        self.say(fault);
        self.failure = Some((fault.to_owned(), true));
    }

    /// Not all is as wanted.
    fn failed(&mut self, failure: &str) {
        let is_said = match self.failure.take().filter(|(before, _)| before == failure) {
            None => false,
            Some((_, true)) => true,
            Some((_, false)) => {
                self.say(failure);
                true
            }
        };
        self.failure = Some((failure.to_owned(), is_said));
    }

    fn say(&self, failure: &str) {
        warn!("routes are not as wanted: {failure}");
        let report = if self.has_kept { Reports::good(failure) } else { Reports::unready(failure) };
        self.shared.with_health(|health| health.say(ROUTES, report));
    }

    fn no_tunnel(&mut self, why: Option<String>) {
        if let Some(why) = why.as_ref().filter(|_| self.no_ipip != why) {
            warn!("{why}; what would lead through the tunnel is not made, and all else is");
        }
        self.no_ipip = why;
    }

    /// Says which routes of ours others stand in the way of, where that is new.
    fn withhold(&mut self, now: BTreeSet<String>) {
        let new: Vec<&String> = now.difference(&self.withheld).collect();
        if !new.is_empty() {
            let named = new.iter().take(FEW).map(|one| one.as_str()).collect::<Vec<_>>().join(", ");
            let more = new.len().saturating_sub(FEW);
            info!(more, "routes are left to others: {named}");
        }
        let back = self.withheld.difference(&now).count();
        if back > 0 {
            info!(routes = back, "routes are not withheld any more");
        }
        self.withheld = now;
    }
}
