//! A kernel in memory that can be made to fail, and that others write to.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::model::IpVersion;
use crate::rules::ruleset::TableName;
use crate::sync::fake_kernel::{FakeKernel, Refusal};
use crate::system::enforcer::System;
use crate::system::lock::LockWait;
use crate::system::tool::ToolError;

/// Clones are the same kernel.
#[derive(Clone, Default)]
pub(super) struct Faulty(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub(super) kernel: FakeKernel,
    pub(super) faults: Vec<Fault>,
    pub(super) calls: Vec<(Call, String)>,
    /// What the kernel itself refused, as the real one would.
    pub(super) refusals: Vec<Refusal>,
    /// Somebody else, before the call of this number.
    pub(super) others: Vec<(usize, Meddling)>,
    /// Is shown the kernel behind each write, ours and others'.
    pub(super) watcher: Option<Watcher>,
    generation: u32,
}

pub(super) type Watcher = Box<dyn FnMut(&FakeKernel, Writer) + Send>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    SaveTable,
    RestoreTable,
    SaveSets,
    RestoreSets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Us,
    Others,
}

#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// A rule with this text is not understood: the tool names its line. What we close a chain by is.
    Rule { version: IpVersion, text: String },
    /// The kernel refuses it at the end, and the tool does not know why.
    Commit { version: IpVersion, text: String },
    /// Somebody else's chain leads to this one: it can't be deleted.
    Busy(String),
    /// A line for `ipset` that begins so.
    SetLine(String),
    /// So many calls of a kind fail, but for the first ones. The work may be done all the same.
    Next { call: Call, skip: usize, left: usize, error: ToolError, done: bool },
    /// What is printed has no end.
    Cut(Call),
}

/// What somebody else does to a table, or to the sets.
#[derive(Clone, Debug)]
pub(super) enum Meddling {
    Table(IpVersion, TableName, String),
    Sets(String),
}

impl Faulty {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// From now on.
    pub(super) fn fail(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    pub(super) fn mend(&self) {
        self.state().faults.clear();
    }

    /// All that was called since this was last asked.
    pub(super) fn calls(&self) -> Vec<(Call, String)> {
        std::mem::take(&mut self.state().calls)
    }

    pub(super) fn meddle(&self, meddling: &Meddling) {
        self.state().meddle(meddling);
    }

    fn enter(&self, call: Call, detail: &str) -> MutexGuard<'_, State> {
        let mut state = self.state();
        let number = state.calls.len();
        let (now, later) = std::mem::take(&mut state.others).into_iter().partition(|(at, _)| *at <= number);
        state.others = later;
        let now: Vec<(usize, Meddling)> = now;
        now.iter().for_each(|(_, meddling)| state.meddle(meddling));
        state.calls.push((call, detail.to_owned()));
        state
    }
}

impl State {
    fn meddle(&mut self, meddling: &Meddling) {
        // It may come too late: then it is as if it had not been.
        let done = match meddling {
            Meddling::Table(version, table, text) => self.kernel.restore_table(*version, *table, text),
            Meddling::Sets(text) => self.kernel.restore_sets(text),
        };
        if done.is_ok() && matches!(meddling, Meddling::Table(..)) {
            self.generation += 1;
        }
        self.show(Writer::Others);
    }

    fn show(&mut self, writer: Writer) {
        if let Some(watcher) = &mut self.watcher {
            watcher(&self.kernel, writer);
        }
    }

    /// The error of the next such call, and whether the work is done.
    fn next(&mut self, wanted: Call) -> Option<(ToolError, bool)> {
        self.faults.iter_mut().find_map(|fault| match fault {
            Fault::Next { call, skip, .. } if *call == wanted && *skip > 0 => {
                *skip -= 1;
                None
            }
            Fault::Next { call, skip: _, left, error, done } if *call == wanted && *left > 0 => {
                *left -= 1;
                Some((error.clone(), *done))
            }
            _ => None,
        })
    }

    fn is_cut(&self, wanted: Call) -> bool {
        self.faults.iter().any(|fault| matches!(fault, Fault::Cut(call) if *call == wanted))
    }

    fn refusal_of_table(&self, version: IpVersion, text: &str) -> Option<ToolError> {
        let is_open = |line: &str| !line.contains("refused by the kernel");
        let number = |wanted: &str| {
            let line = text.lines().position(|line| line.contains(wanted) && is_open(line));
            line.map(|index| index + 1)
        };
        self.faults.iter().find_map(|fault| match fault {
            Fault::Rule { version: of, text } if *of == version => number(text).map(|line| {
                failed(2, &format!("unknown protocol specified\nError occurred at line: {line}"))
            }),
            Fault::Commit { version: of, text: wanted } if *of == version => number(wanted)
                .map(|_| failed(4, &format!("iptables-restore: line {} failed", text.lines().count()))),
            Fault::Busy(chain) => number(&format!("--delete-chain {chain}"))
                .map(|line| failed(4, &format!("line {line}: CHAIN_DEL failed (Device or resource busy)"))),
            _ => None,
        })
    }

    fn restore_sets(&mut self, text: &str) -> Result<(), ToolError> {
        for (number, line) in (1..).zip(text.lines()) {
            let refused = |fault: &Fault| matches!(fault, Fault::SetLine(start) if line.starts_with(start));
            if self.faults.iter().any(refused) {
                return Err(failed(1, &format!("Error in line {number}: Hash is full, cannot add more")));
            }
            self.kernel.restore_sets(line).map_err(|refusal| {
                self.refusals.push(refusal.clone());
                failed(1, &format!("Error in line {number}: {refusal}"))
            })?;
        }
        Ok(())
    }

    fn restore_table(&mut self, version: IpVersion, text: &str) -> Result<(), ToolError> {
        let name = text.lines().next().unwrap().trim_start_matches('*');
        let table = TableName::ALL.into_iter().find(|table| table.name() == name).unwrap();
        if let Some(error) = self.refusal_of_table(version, text) {
            return Err(error);
        }
        self.kernel.restore_table(version, table, text).map_err(|refusal| {
            self.refusals.push(refusal.clone());
            failed(2, &refusal)
        })?;
        if text.lines().count() > 2 {
            self.generation += 1;
        }
        Ok(())
    }
}

impl System for Faulty {
    async fn save_table(&self, version: IpVersion, table: TableName) -> Result<String, ToolError> {
        let mut state = self.enter(Call::SaveTable, &format!("{version:?} {}", table.name()));
        if let Some((error, _)) = state.next(Call::SaveTable) {
            return Err(error);
        }
        let text = state.kernel.save_table(version, table);
        let is_cut = state.is_cut(Call::SaveTable);
        Ok(if is_cut { text.replace("COMMIT\n", "") } else { text })
    }

    async fn restore_table(&self, version: IpVersion, text: String) -> Result<LockWait, ToolError> {
        let mut state = self.enter(Call::RestoreTable, &format!("{version:?} {text}"));
        let next = state.next(Call::RestoreTable);
        if let Some((error, false)) = next {
            return Err(error);
        }
        let result = state.restore_table(version, &text);
        state.show(Writer::Us);
        next.map_or(result, |(error, _)| Err(error)).map(|()| LockWait::default())
    }

    async fn save_sets(&self) -> Result<String, ToolError> {
        let mut state = self.enter(Call::SaveSets, "");
        if let Some((error, _)) = state.next(Call::SaveSets) {
            return Err(error);
        }
        let text = state.kernel.save_sets();
        Ok(if state.is_cut(Call::SaveSets) { text + "add cali40s:not-there 10.0.0.1\n" } else { text })
    }

    async fn restore_sets(&self, text: String) -> Result<(), ToolError> {
        let mut state = self.enter(Call::RestoreSets, &text);
        let next = state.next(Call::RestoreSets);
        if let Some((error, false)) = next {
            return Err(error);
        }
        let result = state.restore_sets(&text);
        state.show(Writer::Us);
        next.map_or(result, |(error, _)| Err(error))
    }

    fn generation(&self) -> Option<u32> {
        Some(self.state().generation)
    }
}

pub(super) fn failed(code: i32, complaint: &str) -> ToolError {
    ToolError::Failed { tool: "restore".to_owned(), code: Some(code), complaint: complaint.to_owned() }
}

pub(super) fn late() -> ToolError {
    ToolError::TimedOut { tool: "restore".to_owned(), after: Duration::from_secs(600) }
}
