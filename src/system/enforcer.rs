//! Makes one kernel have what is desired, and knows what it has.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::{info, warn};

use super::lock::LockWait;
use super::tool::ToolError;
use crate::model::IpVersion;
use crate::rules::ruleset::TableName;
use crate::sync::{
    Desired, Part, Plan, Programmed, Quarantine, ReadBackError, SetChanges, SetRemovals, Step, TableChanges,
    plan,
};

/// Tries of one application. The kernel may have changed under our hands each time.
const TRIES: u32 = 4;

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
///    these are closed ([`Quarantine`]), the rest is programmed. One family's or table's failure stops no other.
/// 4. *Sets that may still be named are not destroyed*: only where every table was written.
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

/// What must be read before it is planned.
#[derive(Debug, Default)]
struct Unread {
    tables: BTreeSet<(IpVersion, TableName)>,
    sets: bool,
}

/// What one application did.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    pub writes: Vec<Write>,
    /// What was read.
    pub tables_read: usize,
    pub sets_read: bool,
    pub lock: LockWait,
    /// Restores that were refused.
    pub table_errors: usize,
    pub set_errors: usize,
    /// What somebody else had changed since it was last known to be right: part of a sentence for people.
    pub drift: Vec<String>,
    /// Sets remain that are to be destroyed: another round is wanted soon.
    pub unfinished: bool,
    /// Parts that were closed, or are not any more.
    pub quarantine_changed: bool,
    /// Something is refused that can't be closed: to try again at once is of no use.
    pub hopeless: bool,
}

/// One input that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub what: Written,
    pub lines: usize,
    pub bytes: usize,
}

/// What was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Sets,
    Table(IpVersion, TableName),
}

/// Why a kernel is not as desired. What was carried out stays.
#[derive(Clone, Debug)]
pub enum ApplyError {
    /// It can't be read: nothing was written, where it is not known what is there.
    Read { what: Written, error: ReadError },
    /// It refused.
    Refused { what: Written, error: ToolError },
}

/// Why what is there is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    Tool(ToolError),
    Text(ReadBackError),
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
        let mut applied = Applied::default();
        let refused = self.quarantine.len();
        self.quarantine.release_changed(desired);
        let mut result = Ok(());
        for attempt in 0..TRIES {
            result = self.attempt(desired, attempt, &mut applied).await;
            let Err(error) = &result else { break };
            warn!(attempt, "the kernel is not as desired: {error}");
            if applied.hopeless {
                break;
            }
            tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempt)).await;
        }
        applied.quarantine_changed = self.quarantine.len() != refused;
        (applied, result)
    }

    /// Reads what is not known, plans, and carries out; parts that were refused before are closed one by one.
    async fn attempt(
        &mut self,
        desired: &Desired,
        attempt: u32,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let wanted = self.quarantine.applied_to(desired);
        let has_read = self.read(&wanted, applied).await?;
        if let Some(settled) = self.settled.take().filter(|_| has_read) {
            applied.drift.extend(plan(&settled, &self.programmed).parts().map(|part| part.to_string()));
        }
        let plan = plan(&wanted, &self.programmed);
        // The first refusal may come of what changed under our hands, which was read anew since.
        let isolate = attempt > 0;
        self.carry_out(&plan, isolate, applied).await?;
        self.settled = Some(wanted);
        Ok(())
    }

    async fn carry_out(
        &mut self,
        plan: &Plan,
        isolate: bool,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let mut first: Result<(), ApplyError> = Ok(());
        for step in plan.all_steps() {
            let result = match step {
                Step::Sets(changes) => self.write_sets(changes, isolate, applied).await,
                Step::Table(changes) => self.write_table(changes, isolate, applied).await,
                Step::RemoveSets(removals) if first.is_ok() => {
                    self.remove_sets(removals, applied).await;
                    Ok(())
                }
                Step::RemoveSets(_) => Ok(()),
            };
            first = first.and(result);
        }
        first
    }

    async fn write_sets(
        &mut self,
        changes: &SetChanges,
        isolate: bool,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let step = Step::Sets(changes.clone());
        if changes.is_empty() {
            self.programmed.take(&step);
            return Ok(());
        }
        match self.restore_sets(changes.text(), applied).await {
            Ok(()) => {
                self.programmed.take(&step);
                Ok(())
            }
            Err(error) if isolate && is_refusal(&error) => self.isolate_sets(changes, error, applied).await,
            Err(error) => {
                self.unread.sets = true;
                Err(ApplyError::Refused { what: Written::Sets, error })
            }
        }
    }

    /// Writes each set for itself, and does without those that are refused.
    async fn isolate_sets(
        &mut self,
        changes: &SetChanges,
        mut error: ToolError,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        self.unread.sets = true;
        for (set, change) in changes.each() {
            if let Err(refusal) = self.restore_sets(change.text(), applied).await {
                warn!("set {} is refused: {refusal}", set.name);
                self.quarantine.leave_out_set(set, &refusal.to_string());
                error = refusal;
            }
        }
        Err(ApplyError::Refused { what: Written::Sets, error })
    }

    async fn write_table(
        &mut self,
        changes: &TableChanges,
        isolate: bool,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let step = Step::Table(changes.clone());
        if changes.is_empty() {
            self.programmed.take(&step);
            return Ok(());
        }
        match self.restore_table(changes, applied).await {
            Ok(()) => {
                self.programmed.take(&step);
                Ok(())
            }
            Err(error) => {
                let what = Written::Table(changes.version(), changes.table());
                // A missing set is one reason for a refusal.
                self.unread.sets = true;
                self.unread.tables.insert((changes.version(), changes.table()));
                if isolate && is_refusal(&error) {
                    self.isolate_chains(changes, applied).await;
                }
                Err(ApplyError::Refused { what, error })
            }
        }
    }

    /// Writes the table in halves, until it is known which parts are refused.
    ///
    /// Each half that is taken is progress, and is what some order of applying the objects one by one would show.
    async fn isolate_chains(&mut self, changes: &TableChanges, applied: &mut Applied) {
        let mut open = vec![changes.parts()];
        while let Some(parts) = open.pop() {
            let only = changes.only(&parts);
            let Err(error) = self.restore_table(&only, applied).await else { continue };
            match parts.as_slice() {
                [part] => applied.hopeless |= !self.close(part, changes, &error),
                _ => {
                    let (callees, callers) = parts.split_at(parts.len() / 2);
                    open.push(callers.to_vec());
                    open.push(callees.to_vec());
                }
            }
        }
    }

    /// False where that is not to be done.
    fn close(&mut self, part: &Part, changes: &TableChanges, error: &ToolError) -> bool {
        let reason = error.to_string();
        let closed = match part {
            Part::Chain(version, table, name) => changes
                .chain(name)
                .is_some_and(|chain| self.quarantine.close_chain(*version, *table, chain, &reason)),
            Part::Removal(version, table, name) => {
                self.quarantine.keep_chain(*version, *table, name, &reason)
            }
            Part::Hook(..) | Part::Set(_) => false,
        };
        if closed {
            warn!("{part} is refused, and closed: {reason}");
        } else {
            warn!("{part} is refused, and can't be closed without closing the host: {reason}");
        }
        closed
    }

    async fn remove_sets(&mut self, removals: &SetRemovals, applied: &mut Applied) {
        let wanted = removals.without(&self.stuck);
        let some = wanted.first(REMOVALS_AT_A_TIME);
        applied.unfinished = wanted.len() > REMOVALS_AT_A_TIME;
        if some.is_empty() || self.restore_sets(some.text(), applied).await.is_ok() {
            self.programmed.take(&Step::RemoveSets(some));
            return;
        }
        for one in some.each() {
            match self.restore_sets(one.text(), applied).await {
                Ok(()) => self.programmed.take(&Step::RemoveSets(one)),
                Err(error) => {
                    // Somebody else's rule may name it, or it is gone already.
                    info!("a set that is not needed any more can't be destroyed: {error}");
                    self.stuck.extend(one.names().map(str::to_owned));
                }
            }
        }
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
                // Somebody else's write in between is not ours to count.
                if self.generation == before {
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

    /// Reads what is not known; whether there was such.
    async fn read(&mut self, wanted: &Desired, applied: &mut Applied) -> Result<bool, ApplyError> {
        let unread = std::mem::take(&mut self.unread);
        let families: BTreeSet<IpVersion> = wanted.rulesets.iter().map(|ruleset| ruleset.version).collect();
        let (now, later): (BTreeSet<_>, _) =
            unread.tables.into_iter().partition(|(version, _)| families.contains(version));
        self.unread.tables = later;
        // A write that comes while we read is seen as one that came after.
        let generation = self.system.generation();
        if let Err(error) = self.read_parts(&now, unread.sets, applied).await {
            self.unread.tables.extend(now);
            self.unread.sets |= unread.sets;
            return Err(error);
        }
        if now.len() == families.len() * TableName::ALL.len() {
            self.generation = generation;
        }
        Ok(unread.sets || !now.is_empty())
    }

    async fn read_parts(
        &mut self,
        tables: &BTreeSet<(IpVersion, TableName)>,
        sets: bool,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let saves = tables.iter().map(|(version, table)| self.system.save_table(*version, *table));
        let (saved, saved_sets) = tokio::join!(join_all(saves), async {
            if sets { Some(self.system.save_sets().await) } else { None }
        });
        for ((version, table), saved) in tables.iter().zip(saved) {
            let read = saved.map_err(ReadError::Tool).and_then(|text| {
                self.programmed.read_table(*version, *table, &text).map_err(ReadError::Text)
            });
            read.map_err(|error| ApplyError::Read { what: Written::Table(*version, *table), error })?;
        }
        if let Some(saved) = saved_sets {
            let read = saved
                .map_err(ReadError::Tool)
                .and_then(|text| self.programmed.read_sets(&text).map_err(ReadError::Text));
            read.map_err(|error| ApplyError::Read { what: Written::Sets, error })?;
            self.stuck.clear();
            applied.sets_read = true;
        }
        applied.tables_read += tables.len();
        Ok(())
    }
}

impl Unread {
    fn all() -> Self {
        let tables =
            IpVersion::ALL.into_iter().flat_map(|version| TableName::ALL.map(|table| (version, table)));
        Self { tables: tables.collect(), sets: true }
    }
}

/// The tool looked at its input, and would refuse it again.
fn is_refusal(error: &ToolError) -> bool {
    match error {
        ToolError::Failed { code, complaint, .. } => {
            code.is_some() && !complaint.contains("xtables lock") && !complaint.contains("Permission denied")
        }
        ToolError::Missing { .. }
        | ToolError::Io { .. }
        | ToolError::TimedOut { .. }
        | ToolError::Unreadable { .. } => false,
    }
}

fn lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sets => f.write_str("the IP sets"),
            Self::Table(version, table) => write!(f, "the {} table for {version}", table.name()),
        }
    }
}

impl ApplyError {
    /// What the reader of the message can do about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Read { what: _, error: ReadError::Text(ReadBackError::Incompatible { .. }) } => {
                Some("remove what `nft` wrote into iptables' tables, or move it to a table of another name")
            }
            Self::Read { what: _, error: ReadError::Tool(error) } | Self::Refused { what: _, error } => {
                error.help()
            }
            Self::Read { what: _, error: ReadError::Text(_) } => None,
        }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { what, error } => write!(f, "{what} can't be read: {error}"),
            Self::Refused { what, error } => write!(f, "{what} can't be written: {error}"),
        }
    }
}

impl std::error::Error for ApplyError {}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(error) => error.fmt(f),
            Self::Text(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}
