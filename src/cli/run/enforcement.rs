//! The kernel that is kept as desired: which one it is, when it is looked at, what is done after failures.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::agenda::{Agenda, Task};
use super::fight::Fight;
use crate::config::{self, BackendChoice, Config};
use crate::datastore::Backoff;
use crate::model::IpVersion;
use crate::sync::{Desired, Quarantine};
use crate::system::enforcer::{Applied, Enforcer, Written};
use crate::system::ipsets::Ipsets;
use crate::system::iptables::{Iptables, detect};
use crate::system::kernel::{Kernel, has_ipv6, nothing_of, remove_tables};
use crate::system::tool::Tools;
use crate::telemetry::metrics::Metrics;

/// After a failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// After a refusal, which time seldom mends.
const FIRST_RETRY_OF_REFUSED: Duration = Duration::from_secs(60);
const LAST_RETRY_OF_REFUSED: Duration = Duration::from_secs(1800);

/// The longest time between two looks whether somebody else wrote.
const RAREST_CHECK: Duration = Duration::from_secs(3600);

/// The least time between them, as in Felix.
const LEAST_CHECK: Duration = Duration::from_millis(50);

pub(super) struct Enforcement {
    tools: String,
    running: Option<Running>,
    /// Policy was enforced at least once.
    has_applied: bool,
    /// Something was written since policy was last enforced.
    changed: bool,
    retries: Backoff,
    retries_of_refused: Backoff,
    fight: Fight,
}

/// What an application has done.
pub(super) struct Outcome {
    /// What policy decides is as desired, and was not before.
    pub(super) changed: bool,
    /// Something remains to be done soon.
    pub(super) unfinished: bool,
    /// Policy is enforced, whatever else may fail.
    pub(super) decides: bool,
    /// Why not all is as desired.
    pub(super) failure: Option<String>,
}

/// An enforcer, and what it was made for.
struct Running {
    enforcer: Enforcer<Kernel>,
    made_for: MadeFor,
    checks: Backoff,
    /// The other backend was looked at for what an earlier life left.
    is_alone: bool,
    /// Families that are not wanted have nothing of ours.
    unwanted_is_clean: bool,
    refreshes: Refreshes,
}

/// Times between two full reads, as they were last planned with.
#[derive(Default, PartialEq, Eq)]
struct Refreshes {
    tables: Option<Duration>,
    sets: Option<Duration>,
}

#[derive(PartialEq, Eq)]
struct MadeFor {
    backend: BackendChoice,
    lock_probe: Duration,
    post_write_check: Duration,
    deadline: Duration,
}

impl Enforcement {
    /// Tools are looked for in the directories of `tools`.
    pub(super) fn new(tools: &str) -> Self {
        Self {
            tools: tools.to_owned(),
            running: None,
            has_applied: false,
            changed: false,
            retries: Backoff::new(FIRST_RETRY, LAST_RETRY),
            retries_of_refused: Backoff::new(FIRST_RETRY_OF_REFUSED, LAST_RETRY_OF_REFUSED),
            fight: Fight::new(),
        }
    }

    pub(super) fn has_applied(&self) -> bool {
        self.has_applied
    }

    pub(super) fn quarantined(&self) -> Option<&Quarantine> {
        self.running.as_ref().map(|running| running.enforcer.quarantine())
    }

    /// Everything is read anew with the next application.
    pub(super) fn distrust(&mut self) {
        if let Some(Running { enforcer, .. }) = &mut self.running {
            enforcer.distrust_tables();
            enforcer.distrust_sets();
            enforcer.retry_refused();
        }
    }

    /// Does what is due; whether the kernel may not be as desired.
    pub(super) fn do_task(&mut self, task: Task, agenda: &mut Agenda) -> bool {
        let Some(Running { enforcer, checks, .. }) = &mut self.running else { return true };
        match task {
            Task::RefreshTables => enforcer.distrust_tables(),
            Task::RefreshSets => enforcer.distrust_sets(),
            Task::RetryRefused => enforcer.retry_refused(),
            Task::CheckTables => {
                let now = Instant::now();
                match enforcer.was_written_to() {
                    // Nobody wrote: to look again costs next to nothing.
                    Some(false) => {
                        agenda.set(Task::CheckTables, now + checks.first());
                        return false;
                    }
                    Some(true) | None => {
                        enforcer.distrust_tables();
                        agenda.set(Task::CheckTables, now + checks.wait());
                    }
                }
            }
            Task::Retry | Task::Report | Task::Watchdog | Task::Interfaces | Task::Connections => {}
        }
        true
    }

    /// Makes the kernel as desired.
    ///
    /// # Errors
    /// There is no kernel that could be: why, for people. The next try is on the agenda.
    pub(super) async fn apply(
        &mut self,
        desired: &Desired,
        config: &Config,
        metrics: &Metrics,
        agenda: &mut Agenda,
    ) -> Result<Outcome, String> {
        let result = self.try_to_apply(desired, config, metrics, agenda).await;
        if matches!(&result, Ok(Outcome { failure: None, .. })) {
            self.retries.reset();
            agenda.cancel(Task::Retry);
        } else {
            metrics.failures.inc();
            agenda.set(Task::Retry, Instant::now() + self.retries.wait());
        }
        result
    }

    async fn try_to_apply(
        &mut self,
        desired: &Desired,
        config: &Config,
        metrics: &Metrics,
        agenda: &mut Agenda,
    ) -> Result<Outcome, String> {
        let started = Instant::now();
        self.choose_kernel(config).await?;
        let Some(running) = &mut self.running else { return Err("there is no kernel".to_owned()) };
        let versions: Vec<IpVersion> = desired.rulesets.iter().map(|ruleset| ruleset.version).collect();
        let (applied, result) = running.enforcer.apply(desired).await;
        let decides = running.enforcer.decides(&versions);
        metrics.apply.observe(started.elapsed().as_secs_f64());
        count(&applied, metrics);
        self.schedule(&applied, &config.enforcement, agenda);
        self.changed |= !applied.writes.is_empty();
        let mut outcome = Outcome {
            changed: decides && std::mem::take(&mut self.changed),
            unfinished: applied.unfinished,
            decides,
            failure: result.err().map(|error| with_help(&error.to_string(), error.help())),
        };
        if decides {
            self.has_applied = true;
            outcome.unfinished |= self.clean_unwanted(desired, metrics, agenda).await;
            outcome.unfinished |= self.clean_other_backend(agenda).await;
        }
        Ok(outcome)
    }

    /// Finds the backend, unless that was done for these parameters.
    async fn choose_kernel(&mut self, config: &Config) -> Result<(), String> {
        let config::Enforcement { backend, lock_probe, post_write_check, .. } = &config.enforcement;
        let made_for = MadeFor {
            backend: *backend,
            lock_probe: *lock_probe,
            post_write_check: *post_write_check,
            deadline: config.reporting.watchdog,
        };
        if self.running.as_ref().is_some_and(|running| running.made_for == made_for) {
            return Ok(());
        }
        // A tool of which nothing is heard for longer than of the loop as a whole may still be at work: nft is slow on
        // large hosts.
        let deadline = if made_for.deadline.is_zero() { Tools::DEADLINE } else { made_for.deadline * 4 };
        let tools = Tools::new(&self.tools, deadline);
        let detected =
            detect(&tools, *backend).await.map_err(|error| with_help(&error.to_string(), error.help()))?;
        info!(backend = detected.backend.name(), reason = detected.reason, "iptables is chosen");
        let kernel = Kernel {
            tables: Iptables::new(tools.clone(), detected.backend, *lock_probe),
            sets: Ipsets::new(tools),
        };
        let checks = Backoff::new(LEAST_CHECK.max(*post_write_check), RAREST_CHECK);
        self.running = Some(Running {
            enforcer: Enforcer::new(kernel),
            made_for,
            checks,
            is_alone: false,
            unwanted_is_clean: false,
            refreshes: Refreshes::default(),
        });
        Ok(())
    }

    /// IPv6 may have been wanted before, in this life or an earlier one: nobody would keep its chains up to date any more.
    /// Whether there remains something to be done soon; what fails stops nothing, and is tried again in a while.
    async fn clean_unwanted(&mut self, desired: &Desired, metrics: &Metrics, agenda: &mut Agenda) -> bool {
        let Some(Running { enforcer, unwanted_is_clean, .. }) = &mut self.running else { return false };
        if desired.rulesets.iter().any(|ruleset| ruleset.version == IpVersion::V6) {
            *unwanted_is_clean = false;
            return false;
        }
        if *unwanted_is_clean || !has_ipv6() {
            return false;
        }
        let mut cleaned = desired.clone();
        cleaned.rulesets.push(nothing_of(IpVersion::V6));
        let (applied, result) = enforcer.apply(&cleaned).await;
        count(&applied, metrics);
        match result {
            Ok(()) => {
                *unwanted_is_clean = !applied.unfinished;
                if !applied.writes.is_empty() {
                    info!("IPv6 is not wanted: what was there of ours is removed");
                }
            }
            // A host without it may lack its tools.
            Err(error) if error.is_missing() => *unwanted_is_clean = true,
            Err(error) => {
                warn!("chains or sets of ours may be left in IPv6, which is not wanted: {error}");
                agenda.by(Task::RefreshTables, Instant::now() + LAST_RETRY);
            }
        }
        applied.unfinished
    }

    /// An earlier life may have used the other backend: its chains still see every packet. Whether there were any; looks
    /// until it could.
    async fn clean_other_backend(&mut self, agenda: &mut Agenda) -> bool {
        let Some(Running { enforcer, is_alone, .. }) = &mut self.running else { return false };
        if *is_alone {
            return false;
        }
        let other = enforcer.system().tables.other();
        match remove_tables(&other).await {
            Ok(writes) if writes.is_empty() => {
                *is_alone = true;
                false
            }
            Ok(writes) => {
                *is_alone = true;
                let tables: Vec<String> = writes.iter().map(|write| write.what.to_string()).collect();
                warn!(
                    "the other backend, {}, had chains of ours, which are removed from {}",
                    other.backend(),
                    tables.join(", ")
                );
                // Sets that only those chains named can go now.
                enforcer.distrust_sets();
                true
            }
            // Most hosts have one backend only.
            Err(error) if error.is_missing() => {
                debug!("the other backend is not looked at: {error}");
                *is_alone = true;
                false
            }
            Err(error) => {
                warn!("chains of ours may be left in the other backend: {error}");
                agenda.by(Task::RefreshTables, Instant::now() + LAST_RETRY);
                false
            }
        }
    }

    fn schedule(&mut self, applied: &Applied, config: &config::Enforcement, agenda: &mut Agenda) {
        let Some(Running { enforcer, checks, refreshes, .. }) = &mut self.running else { return };
        let now = Instant::now();
        let wanted = Refreshes { tables: config.table_refresh, sets: config.set_refresh };
        if applied.tables_read > 0 || refreshes.tables != wanted.tables {
            plan_next(agenda, Task::RefreshTables, wanted.tables, now);
        }
        if applied.sets_read || refreshes.sets != wanted.sets {
            plan_next(agenda, Task::RefreshSets, wanted.sets, now);
        }
        *refreshes = wanted;
        let has_written = applied.writes.iter().any(|write| matches!(write.what, Written::Table(..)));
        if has_written {
            checks.reset();
            agenda.set(Task::CheckTables, now + checks.wait());
        } else if applied.tables_read > 0 && !agenda.has(Task::CheckTables) {
            agenda.set(Task::CheckTables, now + checks.first());
        }
        if enforcer.quarantine().is_empty() {
            self.retries_of_refused.reset();
            agenda.cancel(Task::RetryRefused);
        } else if applied.quarantine_changed {
            agenda.set(Task::RetryRefused, now + self.retries_of_refused.wait());
        }
        if !applied.drift.is_empty() {
            let truce = self.fight.round(now);
            warn!(
                "somebody else had changed what is ours, and it is as it was again: {}",
                some(&applied.drift)
            );
            if let Some(truce) = truce {
                warn!(
                    seconds = truce.as_secs(),
                    "another program keeps undoing this; its changes stand until it is mended again in a while"
                );
                agenda.set(Task::CheckTables, now + truce);
            }
        }
    }
}

fn plan_next(agenda: &mut Agenda, task: Task, interval: Option<Duration>, now: Instant) {
    match interval {
        Some(interval) => agenda.set(task, now + interval),
        None => agenda.cancel(task),
    }
}

fn count(applied: &Applied, metrics: &Metrics) {
    let Applied { writes, tables_read, sets_read, lock, table_errors, set_errors, drift, .. } = applied;
    let mut lines = 0;
    let mut bytes = 0;
    for write in writes {
        lines += write.lines;
        bytes += write.bytes;
        match write.what {
            Written::Sets => {
                metrics.ipset_calls.inc();
                metrics.ipset_lines.inc_by(write.lines as u64);
            }
            Written::Table(version, table) => {
                metrics.restore_calls.inc();
                metrics.add_lines(version, table, write.lines);
            }
        }
    }
    metrics.ipset_calls.inc_by(*set_errors as u64 + u64::from(*sets_read) * 2);
    metrics.ipset_errors.inc_by(*set_errors as u64);
    metrics.restore_calls.inc_by(*table_errors as u64);
    metrics.restore_errors.inc_by(*table_errors as u64);
    metrics.save_calls.inc_by(*tables_read as u64);
    metrics.lock_wait.observe(lock.waited.as_secs_f64());
    metrics.drift.inc_by(drift.len() as u64);
    if writes.is_empty() {
        debug!(tables_read, sets_read, "nothing to write");
    } else {
        info!(writes = writes.len(), lines, bytes, tables_read, sets_read, "applied");
    }
}

fn with_help(error: &str, help: Option<&str>) -> String {
    help.map_or(error.to_owned(), |help| format!("{error}; {help}"))
}

/// The first few of many.
fn some(names: &[String]) -> String {
    const FEW: usize = 5;
    let shown = names.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > FEW { format!("{shown}, and {} more", names.len() - FEW) } else { shown }
}
