//! `felix-rs cleanup`: removes what this program, or Felix, has put into the kernel, and nothing else.

mod routes;

use std::fmt::Write;

use clap::Args;

use super::configuration::Parameters;
use super::run::only_one;
use super::{Failure, Outcome, kernel, report};
use crate::config::Config;
use crate::model::{Diagnostic, IpVersion};
use crate::rules::ruleset::TableName;
use crate::sync::{Part, Programmed, Step, TableChanges, plan};
use crate::system::iptables::{Backend, Iptables};
use crate::system::kernel::{nothing, read_table};
use crate::system::tool::{ToolError, Tools};

/// Remove every route, chain, hook and IP set of ours, of both iptables backends; connections are left alone. Exits 1 where
/// something is left
#[derive(Args)]
pub(super) struct Arguments {
    /// Print what would be done, as the tools' own input, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    parameters: Parameters,
    /// Where iptables and ipset are, as PATH is written
    #[arg(long, value_name = "DIRS", default_value = Tools::PATH)]
    tools: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { dry_run, parameters, tools } = arguments;
    let given = parameters.given()?;
    let resolved = Config::resolve(&given.sources);
    let problems = given.problems.iter().chain(&resolved.problems);
    let diagnostics: Vec<Diagnostic> = problems.map(Diagnostic::from).collect();
    super::say(&report::for_stderr(&diagnostics));
    // A daemon that runs would put everything back.
    let _only = if *dry_run { None } else { Some(only_one()?) };
    let tools = Tools::new(tools, Tools::DEADLINE);
    let done = kernel::wait(async { Ok(clean(&tools, &resolved.config, *dry_run).await) })?;
    done.tell(*dry_run)?;
    let is_clean = done.left.is_empty() && !report::has_errors(&diagnostics);
    Ok(if is_clean { Outcome::Clean } else { Outcome::Found })
}

/// Routes go first: nobody is reached any more when the chains go that police it. Then both backends' tables, then the
/// sets, which they share and name. What fails does not keep the rest.
async fn clean(tools: &Tools, config: &Config, dry_run: bool) -> Done {
    let mut done = Done::default();
    routes::clean(config, dry_run, &mut done);
    let mut missing = Vec::new();
    for backend in Backend::ALL {
        let iptables = kernel::iptables(tools, backend);
        missing.extend(clean_tables(&iptables, dry_run, &mut done).await.map(|error| (backend, error)));
    }
    if missing.len() == Backend::ALL.len() {
        done.left.push("chains: there is no iptables; help: install the package iptables".to_owned());
    } else {
        for (backend, error) in missing {
            super::say(&format!("note: {backend} is not looked at: {error}\n"));
        }
    }
    clean_sets(tools, dry_run, &mut done).await;
    done
}

/// Why the backend can't be used, if so: most hosts have one only.
async fn clean_tables(iptables: &Iptables, dry_run: bool, done: &mut Done) -> Option<ToolError> {
    if let Err(error) = iptables.save(IpVersion::V4, TableName::Mangle).await
        && let ToolError::Missing { .. } = error
    {
        return Some(error);
    }
    for version in IpVersion::ALL {
        for table in TableName::ALL {
            clean_table(iptables, version, table, dry_run, done).await;
        }
    }
    None
}

/// One that can't be read or cleaned does not keep the others.
async fn clean_table(
    iptables: &Iptables,
    version: IpVersion,
    table: TableName,
    dry_run: bool,
    done: &mut Done,
) {
    let mut programmed = Programmed::default();
    if let Err(error) = read_table(iptables, version, table, &mut programmed).await {
        done.left.push(error.to_string());
        return;
    }
    for step in plan(&nothing(), &programmed).steps() {
        let Step::Table(changes) = step else { continue };
        if dry_run {
            done.would(&kernel::restore_command(version, iptables.backend()), &changes.text());
            continue;
        }
        let place = format!("the {} table, {version}, {}", table.name(), iptables.backend());
        match iptables.restore(version, changes.text()).await {
            Ok(_) => done.removed.push(format!("{} of {place}", parts(changes.parts().len()))),
            Err(_) => clean_in_parts(iptables, changes, &place, done).await,
        }
    }
}

/// Where another program's rule leads to a chain of ours, that chain stays, empty, and all else goes.
async fn clean_in_parts(iptables: &Iptables, changes: &TableChanges, place: &str, done: &mut Done) {
    let is_removal = |part: &Part| matches!(part, Part::Removal(..));
    let (removals, hooks): (Vec<Part>, Vec<Part>) = changes.parts().into_iter().partition(is_removal);
    let version = changes.version();
    for (what, only) in [("hooks", changes.only(&hooks)), ("rules of chains", changes.emptying())] {
        if let Err(error) = iptables.restore(version, only.text()).await {
            done.left.push(format!("{what} of {place}: {error}"));
            return;
        }
    }
    let mut removed = hooks.len();
    for part in removals {
        match iptables.restore(version, changes.only(std::slice::from_ref(&part)).text()).await {
            Ok(_) => removed += 1,
            Err(error) => done.left.push(format!("{part}, {}, now empty: {error}", iptables.backend())),
        }
    }
    done.removed.push(format!("{} of {place}", parts(removed)));
}

/// The sets one by one: another program's rule may name one, which stays then.
async fn clean_sets(tools: &Tools, dry_run: bool, done: &mut Done) {
    let ipset = kernel::ipset(tools);
    let mut programmed = Programmed::default();
    let unread = match ipset.save().await {
        Ok(saved) => programmed.read_sets(&saved).err().map(|error| format!("ipset save: {error}")),
        Err(error) => Some(match error.help() {
            Some(help) => format!("{error}; help: {help}"),
            None => error.to_string(),
        }),
    };
    if let Some(why) = unread {
        done.left.push(format!("sets: {why}"));
        return;
    }
    for step in plan(&nothing(), &programmed).steps() {
        let Step::RemoveSets(removals) = step else { continue };
        if dry_run {
            done.would("ipset restore", &removals.text());
            continue;
        }
        for one in removals.each() {
            let names: Vec<&str> = one.names().collect();
            let what = format!("set {}", names.join(", "));
            match ipset.restore(one.text()).await {
                Ok(_) => done.removed.push(what),
                Err(error) => done.left.push(format!("{what}: {error}")),
            }
        }
    }
}

/// What was done, for people.
#[derive(Default)]
struct Done {
    removed: Vec<String>,
    left: Vec<String>,
    would: String,
}

impl Done {
    fn would(&mut self, command: &str, text: &str) {
        // A String takes everything.
        let _ = write!(self.would, "# {command}\n{text}");
    }

    fn tell(&self, dry_run: bool) -> Result<(), Failure> {
        let lines = |sign: &str, all: &[String]| -> String {
            all.iter().map(|what| format!("{sign}: {what}\n")).collect()
        };
        let left = lines("left", &self.left);
        if dry_run {
            // What is printed is for the tools.
            super::say(&left);
            return super::print(&self.would);
        }
        let text = lines("removed", &self.removed) + &left;
        super::print(if text.is_empty() { "nothing of ours is there\n" } else { &text })
    }
}

fn parts(number: usize) -> String {
    if number == 1 { "1 chain or hook".to_owned() } else { format!("{number} chains and hooks") }
}
