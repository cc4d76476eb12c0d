//! `felix-rs apply`: manifests into a cluster's store, or out of it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::Value as Json;

use super::source::{self, Datastore};
use super::{Failure, Outcome, check, question_runtime, report, store};
use crate::datastore::Event;
use crate::datastore::etcd::{Change, Writer};
use crate::datastore::yaml::Location;
use crate::model::stored::{Completed, Stored, collisions, complete, policy_keys, tier_key};
use crate::model::{Catalog, Code, Diagnostic};

/// Write manifests of either API to a cluster's store, as Calico's clients would. Exits 1, with nothing written, if one of
/// them has an error.
#[derive(Args)]
pub(super) struct Arguments {
    /// Files and directories of manifests; `-` is standard input
    #[arg(short, long, value_name = "PATH", required = true, num_args = 1.., value_parser = NonEmptyStringValueParser::new())]
    filename: Vec<String>,
    /// Delete what the manifests name
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    store: store::Address,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { filename, delete, store } = arguments;
    let access = store::access(store)?;
    let locations = filename.iter().map(|path| Location::from(PathBuf::from(path)));
    let events = source::read(&Datastore::Manifests(locations.collect()))?;
    let (manifests, diagnostics) = Manifests::of(&events);
    if !manifests.accepted(diagnostics) {
        return Ok(Outcome::Found);
    }
    if manifests.objects.is_empty() {
        super::say(nothing_to_write(&events));
        return Ok(Outcome::Clean);
    }
    question_runtime()?.block_on(async {
        let writer = store::connect(&access).await?;
        if *delete { manifests.take_out(&writer).await } else { manifests.put_in(&writer).await }
    })
}

/// To say that all is well would be worth little where nothing was read.
fn nothing_to_write(events: &[Event]) -> &'static str {
    if events.iter().any(|event| matches!(event, Event::Put(_))) {
        "nothing to write\n"
    } else {
        "nothing to write: there is no *.yaml, *.yml or *.json with a resource\n"
    }
}

/// What is to be written.
struct Manifests {
    catalog: Catalog,
    /// In the order of writing.
    objects: Vec<Stored>,
}

impl Manifests {
    /// And what is wrong with them.
    fn of(events: &[Event]) -> (Self, Vec<Diagnostic>) {
        let (catalog, mut diagnostics) = check::one_by_one(events);
        let mut objects = Vec::new();
        for event in events {
            let Event::Put(entry) = event else { continue };
            let Completed { stored, diagnostics: further } = complete(entry);
            objects.extend(stored);
            diagnostics.extend(further);
        }
        let twice: BTreeSet<_> = diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.code == Code::Duplicate)
            .map(|diagnostic| diagnostic.place.clone())
            .collect();
        diagnostics.extend(collisions(&objects).into_iter().filter(|more| !twice.contains(&more.place)));
        objects.sort_by_key(Stored::rank);
        (Self { catalog, objects }, diagnostics)
    }

    /// Says what is wrong. With an error nothing at all is written: half of what belongs together may let through what
    /// the other half forbids.
    fn accepted(&self, mut diagnostics: Vec<Diagnostic>) -> bool {
        self.catalog.illustrate(&mut diagnostics);
        for diagnostic in &mut diagnostics {
            // It speaks of what is enforced of a manifest; here nothing is until it is written.
            diagnostic.effect = None;
        }
        diagnostics.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        super::say(&report::for_stderr(&diagnostics));
        let has_errors = report::has_errors(&diagnostics);
        if let Some(summary) = report::summary(&diagnostics) {
            super::say(&format!("{summary}{}\n", if has_errors { ": nothing is written" } else { "" }));
        }
        !has_errors
    }

    async fn put_in(&self, writer: &Writer) -> Result<Outcome, Failure> {
        let Self { catalog: _, objects } = self;
        if !self.accepted(without_tier(writer, objects).await?) {
            return Ok(Outcome::Found);
        }
        for (change, stored) in store::prepare(writer).await? {
            if change != Change::Unchanged {
                super::print(&store::line(change, &stored))?;
            }
        }
        for object in objects {
            let change = writer.put(&object.key(), &object.value).await;
            said(writer, change.map_err(store::refusal)?, object).await?;
        }
        Ok(Outcome::Clean)
    }

    /// In the reverse order, so that nothing is left that refers to what is gone.
    async fn take_out(&self, writer: &Writer) -> Result<Outcome, Failure> {
        let Self { catalog: _, objects } = self;
        if !self.accepted(needed_tiers(writer, objects).await?) {
            return Ok(Outcome::Found);
        }
        for object in objects.iter().rev() {
            let change = writer.delete(&object.key()).await;
            said(writer, change.map_err(store::refusal)?, object).await?;
        }
        Ok(Outcome::Clean)
    }
}

/// Prints what became of the object. A policy that was not there may be so under an older client's name, and then it
/// counts.
async fn said(writer: &Writer, change: Change, object: &Stored) -> Result<(), Failure> {
    super::print(&store::line(change, object))?;
    let was_there = match change {
        Change::Created | Change::Absent => false,
        Change::Configured | Change::Unchanged | Change::Deleted => true,
    };
    let Some(key) = object.older_key().filter(|_| !was_there) else { return Ok(()) };
    if writer.value(&key).await.map_err(Failure::Etcd)?.is_some() {
        super::say(&format!(
            "warning: {object}: an older client's policy of this name is in force under {key}\n\
             help: delete that key, or have Calico's client migrate policy names\n"
        ));
    }
    Ok(())
}

/// Policies whose tier is neither in the store nor among the objects. What a store must have comes before them.
async fn without_tier(writer: &Writer, objects: &[Stored]) -> Result<Vec<Diagnostic>, Failure> {
    let mut known: BTreeSet<String> =
        objects.iter().filter_map(Stored::as_tier).chain(Stored::BUILT_IN_TIERS).map(str::to_owned).collect();
    let mut diagnostics = Vec::new();
    for object in objects {
        let Some(tier) = object.needs_tier().filter(|tier| !known.contains(*tier)) else { continue };
        let found = writer.value(&tier_key(tier)).await.map_err(Failure::Etcd)?;
        if found.is_some() {
            known.insert(tier.to_owned());
        } else {
            let message = format!("there is no tier `{tier}`");
            let help = "write the Tier first, or among the same manifests".to_owned();
            diagnostics.push(object.error(
                Code::MissingReference,
                &message,
                "neither here nor in the store",
                Some(help),
            ));
        }
    }
    Ok(diagnostics)
}

/// Tiers that can't be deleted: every cluster's own, and those that would still have policies.
async fn needed_tiers(writer: &Writer, objects: &[Stored]) -> Result<Vec<Diagnostic>, Failure> {
    if !objects.iter().any(|object| object.as_tier().is_some()) {
        return Ok(Vec::new());
    }
    let leaving: BTreeSet<String> = objects.iter().map(Stored::key).collect();
    let mut staying = Vec::new();
    for range in policy_keys() {
        let policies = writer.all(&range).await.map_err(Failure::Etcd)?;
        staying.extend(policies.into_iter().filter(|(key, _)| !leaving.contains(key)));
    }
    let problem = |object: &Stored| {
        let tier = object.as_tier()?;
        if Stored::BUILT_IN_TIERS.contains(&tier) {
            let message = "this tier can't be deleted";
            return Some(object.error(Code::InvalidValue, message, "every cluster has it", None));
        }
        let (key, _) = staying.iter().find(|(_, policy)| tier_of(policy) == Some(tier))?;
        let help = "delete its policies first, or with it".to_owned();
        let label = format!("it has {key}");
        Some(object.error(Code::MissingReference, "policies are still in this tier", &label, Some(help)))
    };
    Ok(objects.iter().filter_map(problem).collect())
}

fn tier_of(policy: &Json) -> Option<&str> {
    policy.pointer("/spec/tier")?.as_str()
}
