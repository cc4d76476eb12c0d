//! What is told of routes: metrics, health, the log.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::super::http::Shared;
use super::super::reports::Reports;
use super::keeper::Account;
use crate::routes::Why;
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
    held_back: BTreeSet<String>,
    no_tunnel: Option<String>,
}

impl News {
    pub(super) fn new(shared: Shared) -> Self {
        let nothing = Reports::unready("routes were not looked at yet");
        shared.with_health(|health| health.say(ROUTES, nothing));
        Self {
            shared,
            has_kept: false,
            failure: None,
            withheld: BTreeSet::new(),
            held_back: BTreeSet::new(),
            no_tunnel: None,
        }
    }

    pub(super) fn tell(&mut self, account: Account) {
        let Account {
            gateways: _,
            waits,
            read,
            made,
            mended,
            refused,
            refusal,
            failure,
            vanished: _,
            wanted,
            withheld,
            held_back,
            no_tunnel,
            truces,
            next: _,
        } = account;
        let metrics = self.shared.metrics();
        if let Some(took) = read {
            metrics.route_reading.observe(took.as_secs_f64());
        }
        metrics.route_changes.inc_by(made as u64);
        metrics.route_errors.inc_by(refused as u64 + u64::from(failure.is_some()));
        metrics.drift.inc_by(mended as u64);
        for said in truces {
            warn!("{said}");
        }
        if let Some(failure) = failure {
            self.failed(&failure);
            return;
        }
        if waits {
            return;
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        metrics.routes.set(count(wanted.saturating_sub(withheld.len() + refused)));
        metrics.routes_withheld.set(count(withheld.len()));
        metrics.routes_held_back.set(count(held_back.len()));
        self.say_no_tunnel(no_tunnel);
        let others = withheld.iter().filter(|one| matches!(one.why, WithheldFor::Writer { .. }));
        self.withhold(others.map(ToString::to_string).collect());
        // That an interface is down is the state of its endpoint, which is told of elsewhere.
        let known = held_back.iter().filter(|held| !matches!(held.why, Why::Down { .. }));
        self.hold_back(known.map(ToString::to_string).collect());
        // All was looked at: one that is refused keeps nobody from the others.
        self.has_kept = true;
        if let Some(refusal) = refusal {
            self.failed(&refusal);
            return;
        }
        if made > 0 {
            info!(changes = made, mended, routes = wanted - withheld.len(), "routes are as wanted");
        }
        if let Some((failure, true)) = self.failure.take() {
            info!("routes are as wanted again; before that: {failure}");
        }
        let mut detail = match withheld.len() {
            0 => format!("{wanted} routes are as wanted"),
            some => format!("{wanted} routes are wanted, of which {some} are withheld"),
        };
        if !held_back.is_empty() {
            detail += &format!("; {} can't be made", held_back.len());
        }
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

    fn say_no_tunnel(&mut self, why: Option<String>) {
        if let Some(why) = why.as_ref().filter(|_| self.no_tunnel != why) {
            warn!("{why}; what would lead through the tunnel is not made, and all else is");
        }
        self.no_tunnel = why;
    }

    /// Says which routes of ours others stand in the way of, where that is new.
    fn withhold(&mut self, now: BTreeSet<String>) {
        if let Some((named, more)) = new_ones(&now, &self.withheld) {
            info!(more, "routes are left to others: {named}");
        }
        let back = self.withheld.difference(&now).count();
        if back > 0 {
            info!(routes = back, "routes are not withheld any more");
        }
        self.withheld = now;
    }

    /// Says which can't be made, where that is new.
    fn hold_back(&mut self, now: BTreeSet<String>) {
        if let Some((named, more)) = new_ones(&now, &self.held_back) {
            warn!(more, "routes can't be made: {named}");
        }
        self.held_back = now;
    }
}

/// A few by name, and how many more; None where there are none.
fn new_ones(now: &BTreeSet<String>, before: &BTreeSet<String>) -> Option<(String, usize)> {
    let new: Vec<&str> = now.difference(before).map(String::as_str).collect();
    let named = new.iter().take(FEW).copied().collect::<Vec<_>>().join(", ");
    (!new.is_empty()).then(|| (named, new.len().saturating_sub(FEW)))
}
