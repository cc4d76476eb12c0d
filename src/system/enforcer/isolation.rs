//! Which parts of a refused input are at fault, and how these are closed.

use tracing::warn;

use super::{Application, Applied, Enforcer, System, Written, is_refusal};
use crate::sync::{Part, SetChanges, Step, TableChanges, plan};
use crate::system::tool::ToolError;

impl<S: System> Enforcer<S> {
    /// Does without the sets that are refused, and writes the others; the last complaint.
    pub(super) async fn isolate_sets(
        &mut self,
        mut error: ToolError,
        application: &mut Application<'_>,
    ) -> ToolError {
        let sets = application.desired.rulesets.iter().map(|ruleset| ruleset.sets.keys().count());
        // Each turn settles one; more turns than sets settle nothing.
        for _ in 0..=sets.sum::<usize>() {
            let Some(changes) = self.sets_left(application).await else { break };
            let Some((set, first, others)) = changes.split_first() else { break };
            // Lines are carried out in order: what is not right yet begins with the set at fault.
            let result = self.restore_sets(first.text(), &mut application.applied).await;
            if let Err(refusal) = result {
                if !is_refusal(&refusal) {
                    return refusal;
                }
                warn!("set {} is refused: {refusal}", set.name);
                error = refusal;
                if !self.quarantine.leave_out_set(set, &error.to_string()) {
                    break;
                }
            }
            if others.is_empty() {
                break;
            }
            match self.restore_sets(others.text(), &mut application.applied).await {
                Ok(()) => break,
                Err(refusal) if is_refusal(&refusal) => {}
                Err(other) => return other,
            }
        }
        error
    }

    /// What remains to be done of the first sets of the plan; None where that is nothing, or not known.
    async fn sets_left(&mut self, application: &mut Application<'_>) -> Option<SetChanges> {
        let saved = self.system.save_sets().await;
        if !self.take_sets(saved, application) {
            return None;
        }
        let wanted = self.quarantine.applied_to(application.desired);
        plan(&wanted, &self.programmed).steps().find_map(|step| match step {
            Step::Sets(changes) => Some(changes.clone()),
            Step::Table(_) | Step::RemoveMembers(..) | Step::RemoveSets(_) => None,
        })
    }

    /// Writes the table in pieces, until it is known which parts are refused; why the table is not as wanted yet.
    ///
    /// Each piece that is taken is progress, and is what some order of applying the objects one by one would show.
    pub(super) async fn isolate_chains(
        &mut self,
        changes: &TableChanges,
        error: ToolError,
        application: &mut Application<'_>,
    ) -> ToolError {
        match self.write_pieces(changes, &mut application.applied).await {
            Ok(Pieces::Settled) => error,
            Ok(Pieces::Hopeless) => {
                let what = Written::Table(changes.version(), changes.table());
                application.hopeless.insert(what, error.clone());
                error
            }
            Err(other) => other,
        }
    }

    async fn write_pieces(
        &mut self,
        changes: &TableChanges,
        applied: &mut Applied,
    ) -> Result<Pieces, ToolError> {
        // No part is at fault where not even nothing is taken.
        if let Err(error) = self.restore_table(&changes.only(&[]), applied).await {
            warn!("the table is refused, whatever is in it: {error}");
            return if is_refusal(&error) { Ok(Pieces::Hopeless) } else { Err(error) };
        }
        let is_removal = |part: &Part| matches!(part, Part::Removal(..));
        let (removals, written): (Vec<Part>, Vec<Part>) = changes.parts().into_iter().partition(is_removal);
        let pieces = self.write_halves(changes, written, applied).await?;
        // What could not be written, and is as it was, may lead to what would be removed.
        if pieces == Pieces::Hopeless || removals.is_empty() {
            return Ok(pieces);
        }
        match self.restore_table(&changes.emptying(), applied).await {
            Err(error) if !is_refusal(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.write_halves(changes, removals, applied).await
    }

    async fn write_halves(
        &mut self,
        changes: &TableChanges,
        parts: Vec<Part>,
        applied: &mut Applied,
    ) -> Result<Pieces, ToolError> {
        let mut pieces = Pieces::Settled;
        let mut open = vec![parts];
        while let Some(parts) = open.pop().filter(|parts| !parts.is_empty()) {
            let Err(error) = self.restore_table(&changes.only(&parts), applied).await else { continue };
            if !is_refusal(&error) {
                return Err(error);
            }
            if let [part] = parts.as_slice() {
                if !self.close(part, changes, &error, applied).await? {
                    warn!("{part} is refused, and can't be closed without closing the host: {error}");
                    pieces = Pieces::Hopeless;
                }
            } else {
                let (callees, callers) = parts.split_at(parts.len() / 2);
                open.push(callers.to_vec());
                open.push(callees.to_vec());
            }
        }
        Ok(pieces)
    }

    /// False where that is not to be done, or is refused as well.
    async fn close(
        &mut self,
        part: &Part,
        changes: &TableChanges,
        error: &ToolError,
        applied: &mut Applied,
    ) -> Result<bool, ToolError> {
        let reason = error.to_string();
        let closed = match part {
            Part::Chain(version, table, name) => {
                let chain = changes.chain(name);
                chain.and_then(|chain| self.quarantine.close_chain(*version, *table, chain, &reason))
            }
            Part::Removal(version, table, name) => {
                return Ok(self.quarantine.keep_chain(*version, *table, name, &reason));
            }
            Part::Hook(..) | Part::Set(_) => None,
        };
        let Some(closed) = closed else { return Ok(false) };
        warn!("{part} is refused, and closed: {reason}");
        // At once: chains that lead to it can't be written where it is not.
        match self.restore_table(&changes.instead(&closed), applied).await {
            Ok(()) => Ok(true),
            Err(error) if is_refusal(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// How a table is after all pieces were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pieces {
    /// All are written, or closed.
    Settled,
    /// Some are as they were, and can't be closed.
    Hopeless,
}
