//! Makes one kernel have what is desired, and knows what it has.

mod applied;
mod isolation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::mem;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::{info, warn};

use applied::is_refusal;
pub use applied::{Applied, ApplyError, ReadError, Write, Written};

use super::lock::LockWait;
use super::tool::ToolError;
use crate::model::IpVersion;
use crate::rules::ruleset::TableName;
use crate::sync::{
    Desired, Part, Plan, Programmed, Quarantine, SetChanges, SetRemovals, Step, TableChanges, plan,
};

/// Tries of one application: sets that are refused are found by the second, tables that lacked them are written by the
/// third and searched by the fourth. The kernel may have changed under our hands each time.
const TRIES: u32 = 6;

/// The wait behind the first try; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(10);

/// Sets that are destroyed at a time: each costs the kernel tens of milliseconds, in which it takes no other change.
const REMOVALS_AT_A_TIME: usize = 10;

/// A kernel: the real one, or one that tests put faults into.
pub trait System {
    /// The table as `iptables-save` prints it.
    fn save_table(
        &self,
        version: IpVersion,
        table: TableName,
    ) -> impl Future<Output = Result<String, ToolError>> + Send;

    /// Carries out the input of `iptables-restore --noflush`, all or nothing.
    fn restore_table(
        &self,
        version: IpVersion,
        text: String,
    ) -> impl Future<Output = Result<LockWait, ToolError>> + Send;

    /// Our sets as `ipset save` prints them.
    fn save_sets(&self) -> impl Future<Output = Result<String, ToolError>> + Send;

    /// Carries out the input of `ipset restore` line by line.
    fn restore_sets(&self, text: String) -> impl Future<Output = Result<(), ToolError>> + Send;

    /// A number that grows by one with each change of any table; None where there is none.
    fn generation(&self) -> Option<u32>;
}

/// Keeps one kernel as desired.
///
/// 1. *What is read is read once.* On a large host to list a table takes seconds. So the kernel is read at the start,
///    after an error, and when the caller distrusts what is known. The kernel's own count of changes tells the caller
///    whether somebody else wrote; since others may write all the time, that alone does not delay a change.
/// 2. *Each try converges.* Whatever fails is read anew and planned anew; what was carried out stays. A process that
///    dies between two steps leaves a kernel that the next one reads and mends.
/// 3. *A refusal is confined.* What the kernel refuses twice is cut in halves until the parts at fault are known;
///    these are closed ([`Quarantine`]), the rest is programmed. One family's or table's failure stops no other. Only
///    what the tool said about its input counts: a tool that is late or missing puts nothing into quarantine.
/// 4. *What is not known is not written*: a table that can't be read waits, and so does one whose rules would match by
///    sets that could not be made.
/// 5. *Sets that may still be named are not destroyed*: only where every table was written.
#[derive(Debug)]
pub struct Enforcer<S> {
    system: S,
    programmed: Programmed,
    unread: Unread,
    quarantine: Quarantine,
    /// After our last write or read of all tables.
    generation: Option<u32>,
    /// Sets that the kernel did not let go, until the sets are read anew.
    stuck: BTreeSet<String>,
    /// What the kernel was last known to have.
    settled: Option<Desired>,
}

/// One application under way.
struct Application<'a> {
    desired: &'a Desired,
    applied: Applied,
    /// Of the present try; the first is the one that is reported.
    failures: Vec<ApplyError>,
    /// What the try before was refused.
    refused_before: BTreeSet<Written>,
    /// What has parts that are refused and can't be closed: all else of it is written.
    hopeless: BTreeMap<Written, ToolError>,
}

/// What must be read before it is planned.
#[derive(Debug, Default)]
struct Unread {
    tables: BTreeSet<(IpVersion, TableName)>,
    sets: bool,
}

impl<S: System> Enforcer<S> {
    /// Knows nothing yet of the kernel.
    pub fn new(system: S) -> Self {
        let unread = Unread::all();
        let (programmed, quarantine) = (Programmed::default(), Quarantine::default());
        Self {
            system,
            programmed,
            unread,
            quarantine,
            generation: None,
            stuck: BTreeSet::new(),
            settled: None,
        }
    }

    /// The next application reads all tables before it plans.
    pub fn distrust_tables(&mut self) {
        self.unread.tables = Unread::all().tables;
    }

    /// The next application reads all sets before it plans.
    pub fn distrust_sets(&mut self) {
        self.unread.sets = true;
    }

    /// Whether the kernel's count of changes says that somebody else wrote since we did; None where it has no count.
    pub fn was_written_to(&self) -> Option<bool> {
        Some(self.system.generation()? != self.generation?)
    }

    /// What policy decides in these families is as it was last desired, or closed; other tables may not be.
    pub fn decides(&self, versions: &[IpVersion]) -> bool {
        let is_unread = |version| self.unread.tables.contains(&(version, TableName::Filter));
        !self.unread.sets && !versions.iter().copied().any(is_unread)
    }

    /// The kernel.
    pub fn system(&self) -> &S {
        &self.system
    }

    /// What the kernel refuses.
    pub fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// What was refused is tried again with the next application.
    pub fn retry_refused(&mut self) {
        self.quarantine.clear();
    }

    /// Makes the kernel have what is `desired`.
    ///
    /// # Errors
    /// All that could be programmed is, and something could not be: the first such thing.
    pub async fn apply(&mut self, desired: &Desired) -> (Applied, Result<(), ApplyError>) {
        let closed_before: BTreeSet<Part> = self.quarantine.parts().cloned().collect();
        self.quarantine.release_changed(desired);
        let mut application = Application::of(desired);
        let mut result = Ok(());
        for attempt in 0..TRIES {
            self.attempt(&mut application).await;
            let failures = mem::take(&mut application.failures);
            let Some(error) = failures.first() else {
                result = Ok(());
                break;
            };
            warn!(attempt, "the kernel is not as desired: {error}");
            result = Err(error.clone());
            if !failures.iter().any(|error| application.may_pass(error)) {
                break;
            }
            application.refused_before = failures.iter().filter_map(ApplyError::refused).collect();
            tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempt)).await;
        }
        let mut applied = application.applied;
        applied.hopeless = !application.hopeless.is_empty();
        applied.quarantine_changed = !self.quarantine.parts().eq(&closed_before);
        (applied, result)
    }

    /// Reads what is not known, plans, and carries out; parts that were refused before are closed one by one.
    async fn attempt(&mut self, application: &mut Application<'_>) {
        let wanted = self.quarantine.applied_to(application.desired);
        let has_read = self.read(&wanted, application).await;
        if let Some(settled) = self.settled.take().filter(|_| has_read) {
            let drift =
                plan(&settled, &self.programmed).parts().map(|part| part.to_string()).collect::<Vec<_>>();
            application.applied.drift.extend(drift);
        }
        let plan = plan(&wanted, &self.programmed);
        self.carry_out(&plan, application).await;
        if application.failures.is_empty() {
            self.settled = Some(wanted);
        }
    }

    async fn carry_out(&mut self, plan: &Plan, application: &mut Application<'_>) {
        let mut steps = plan.all_steps().peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Sets(changes) => self.write_sets(changes, application).await,
                Step::Table(changes) => self.write_table(changes, application).await,
                // While rules of before stand, members that they name stay; unless nobody knows for how long.
                Step::RemoveMembers(version, _) if application.waits_for_rules_of(*version) => {}
                Step::RemoveMembers(_, changes) => self.write_sets(changes, application).await,
                // Rules may still name them.
                Step::RemoveSets(_) if steps.peek().is_none() && !application.failures.is_empty() => return,
                Step::RemoveSets(removals) if steps.peek().is_none() => {
                    self.remove_leftovers(removals, application).await;
                }
                // What would follow needs them gone.
                Step::RemoveSets(_) if application.waits() => return,
                Step::RemoveSets(removals) => {
                    if !self.make_way(removals, application).await {
                        return;
                    }
                }
            }
        }
    }

    async fn write_sets(&mut self, changes: &SetChanges, application: &mut Application<'_>) {
        let step = Step::Sets(changes.clone());
        if changes.is_empty() {
            self.programmed.take(&step);
            return;
        }
        // They could not be read.
        if self.unread.sets {
            return;
        }
        let Err(mut error) = self.restore_sets(changes.text(), &mut application.applied).await else {
            self.programmed.take(&step);
            return;
        };
        if is_refusal(&error) && application.refused_before.contains(&Written::Sets) {
            error = self.isolate_sets(error, application).await;
        }
        // Some of the lines were carried out.
        self.unread.sets = true;
        application.failures.push(ApplyError::Refused { what: Written::Sets, error });
    }

    async fn write_table(&mut self, changes: &TableChanges, application: &mut Application<'_>) {
        let what = Written::Table(changes.version(), changes.table());
        let step = Step::Table(changes.clone());
        if changes.is_empty() {
            self.programmed.take(&step);
            return;
        }
        // It could not be read, or its sets could not be made: what is wrong is known already.
        let lacks_a_set = self.unread.sets && changes.lacks_a_set(&self.programmed);
        if lacks_a_set || self.unread.tables.contains(&(changes.version(), changes.table())) {
            return;
        }
        if let Some(error) = application.hopeless.get(&what) {
            application.failures.push(ApplyError::Refused { what, error: error.clone() });
            return;
        }
        let Err(mut error) = self.restore_table(changes, &mut application.applied).await else {
            self.programmed.take(&step);
            return;
        };
        // A missing set is one reason for a refusal.
        self.unread.sets |= is_refusal(&error);
        self.unread.tables.insert((changes.version(), changes.table()));
        if is_refusal(&error) && application.refused_before.contains(&what) {
            error = self.isolate_chains(changes, error, application).await;
        }
        application.failures.push(ApplyError::Refused { what, error });
    }

    /// Destroys all sets that are not needed; false where one is still in the way of what follows. Rules name another of
    /// the same members then, and do what they shall.
    async fn make_way(&mut self, removals: &SetRemovals, application: &mut Application<'_>) -> bool {
        let Some(error) = self.remove_sets(removals, &mut application.applied).await else { return true };
        let mut wanted = application.desired.rulesets.iter().flat_map(|ruleset| ruleset.sets.keys());
        let is_free = !wanted.any(|name| self.stuck.contains(name.as_str()));
        if !is_free {
            application.hopeless.insert(Written::Sets, error.clone());
            application.failures.push(ApplyError::Refused { what: Written::Sets, error });
        }
        is_free
    }

    /// Destroys a few sets that nothing needs.
    async fn remove_leftovers(&mut self, removals: &SetRemovals, application: &mut Application<'_>) {
        let wanted = removals.without(&self.stuck);
        application.applied.unfinished = wanted.len() > REMOVALS_AT_A_TIME;
        self.remove_sets(&wanted.first(REMOVALS_AT_A_TIME), &mut application.applied).await;
    }

    /// Why one of them can't be destroyed.
    async fn remove_sets(&mut self, removals: &SetRemovals, applied: &mut Applied) -> Option<ToolError> {
        if removals.is_empty() || self.restore_sets(removals.text(), applied).await.is_ok() {
            self.programmed.take(&Step::RemoveSets(removals.clone()));
            return None;
        }
        let mut last = None;
        for one in removals.each() {
            match self.restore_sets(one.text(), applied).await {
                Ok(()) => self.programmed.take(&Step::RemoveSets(one)),
                Err(error) if is_gone(&error) => self.programmed.take(&Step::RemoveSets(one)),
                Err(error) => {
                    // Somebody else's rule may name it.
                    info!("a set that is not needed any more can't be destroyed: {error}");
                    self.stuck.extend(one.names().map(str::to_owned));
                    last = Some(error);
                }
            }
        }
        last
    }

    async fn restore_sets(&self, text: String, applied: &mut Applied) -> Result<(), ToolError> {
        let write = Write { what: Written::Sets, lines: lines(&text), bytes: text.len() };
        let result = self.system.restore_sets(text).await;
        match &result {
            Ok(()) => applied.writes.push(write),
            Err(_) => applied.set_errors += 1,
        }
        result
    }

    async fn restore_table(
        &mut self,
        changes: &TableChanges,
        applied: &mut Applied,
    ) -> Result<(), ToolError> {
        let text = changes.text();
        let what = Written::Table(changes.version(), changes.table());
        let write = Write { what, lines: lines(&text), bytes: text.len() };
        let before = self.system.generation();
        match self.system.restore_table(changes.version(), text).await {
            Ok(LockWait { waited, holder }) => {
                applied.writes.push(write);
                applied.lock.waited += waited;
                applied.lock.holder = applied.lock.holder.or(holder);
                // Somebody else's write in between is not ours to count, and the kernel does not count nothing.
                if self.generation == before && !changes.is_empty() {
                    self.generation = before.map(|generation| generation.wrapping_add(1));
                }
                Ok(())
            }
            Err(error) => {
                applied.table_errors += 1;
                Err(error)
            }
        }
    }

    /// Reads what is not known; whether something was read. What can't be read stays unknown.
    async fn read(&mut self, wanted: &Desired, application: &mut Application<'_>) -> bool {
        let families: BTreeSet<IpVersion> = wanted.rulesets.iter().map(|ruleset| ruleset.version).collect();
        let of_families = self.unread.tables.iter().filter(|(version, _)| families.contains(version));
        let tables: Vec<(IpVersion, TableName)> = of_families.copied().collect();
        // A write that comes while we read is seen as one that came after.
        let generation = self.system.generation();
        let saves = tables.iter().map(|(version, table)| self.system.save_table(*version, *table));
        let (saved, saved_sets) = tokio::join!(join_all(saves), async {
            if self.unread.sets { Some(self.system.save_sets().await) } else { None }
        });
        let mut read = 0;
        for ((version, table), saved) in tables.iter().copied().zip(saved) {
            let result = saved
                .map_err(ReadError::Tool)
                .and_then(|text| self.programmed.read_table(version, table, &text).map_err(ReadError::Text));
            match result {
                Ok(()) => {
                    read += 1;
                    self.unread.tables.remove(&(version, table));
                }
                Err(error) => {
                    let what = Written::Table(version, table);
                    application.failures.push(ApplyError::Read { what, error });
                }
            }
        }
        application.applied.tables_read += read;
        if read == families.len() * TableName::ALL.len() {
            self.generation = generation;
        }
        match saved_sets {
            None => read > 0,
            Some(saved) => self.take_sets(saved, application) || read > 0,
        }
    }

    /// Whether they could be read.
    fn take_sets(&mut self, saved: Result<String, ToolError>, application: &mut Application<'_>) -> bool {
        let result = saved
            .map_err(ReadError::Tool)
            .and_then(|text| self.programmed.read_sets(&text).map_err(ReadError::Text));
        match result {
            Ok(()) => {
                self.unread.sets = false;
                self.stuck.clear();
                application.applied.sets_read = true;
                true
            }
            Err(error) => {
                application.failures.push(ApplyError::Read { what: Written::Sets, error });
                false
            }
        }
    }
}

impl<'a> Application<'a> {
    fn of(desired: &'a Desired) -> Self {
        Self {
            desired,
            applied: Applied::default(),
            failures: Vec::new(),
            refused_before: BTreeSet::new(),
            hopeless: BTreeMap::new(),
        }
    }

    /// Rules of the family are not written in this try, and may be in the next; or those that decide are not. Another
    /// table that fails for good must not keep members where an Allow names them.
    fn waits_for_rules_of(&self, version: IpVersion) -> bool {
        self.failures.iter().any(|error| match error.what() {
            Written::Sets => self.may_pass(error),
            Written::Table(of, TableName::Filter) => {
                of == version && !self.hopeless.contains_key(&error.what())
            }
            Written::Table(of, _) => of == version && self.may_pass(error),
        })
    }

    /// What follows needs what failed, or the next try will do better.
    fn waits(&self) -> bool {
        self.failures.iter().any(|error| match error.what() {
            Written::Sets => true,
            Written::Table(_, TableName::Filter) => !self.hopeless.contains_key(&error.what()),
            Written::Table(..) => self.may_pass(error),
        })
    }

    /// It may go another way when it is tried again at once.
    fn may_pass(&self, error: &ApplyError) -> bool {
        error.may_pass() && !error.refused().is_some_and(|what| self.hopeless.contains_key(&what))
    }
}

impl Unread {
    fn all() -> Self {
        let tables =
            IpVersion::ALL.into_iter().flat_map(|version| TableName::ALL.map(|table| (version, table)));
        Self { tables: tables.collect(), sets: true }
    }
}

/// Somebody else has destroyed it, or it went before another that did not.
fn is_gone(error: &ToolError) -> bool {
    matches!(error, ToolError::Failed { complaint, .. } if complaint.contains("does not exist"))
}

fn lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}
