//! `felix-rs cleanup`: removes what this program, or Felix, has put into the kernel, and nothing else.

use std::fmt::Write;

use clap::Args;

use super::kernel;
use super::run::only_one;
use super::{Failure, Outcome};
use crate::model::IpVersion;
use crate::rules::ruleset::TableName;
use crate::sync::{Part, Programmed, Step, TableChanges, plan};
use crate::system::iptables::{Backend, Iptables};
use crate::system::kernel::{nothing, read_table};
use crate::system::tool::{ToolError, Tools};

/// Remove every chain, hook and IP set of ours, of both iptables backends; connections are left alone.
#[derive(Args)]
pub(super) struct Arguments {
    /// Print what would be done, as the tools' own input, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Where iptables and ipset are, as PATH is written
    #[arg(long, value_name = "DIRS", default_value = Tools::PATH)]
    tools: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    // A daemon that runs would put everything back.
    let _only = if arguments.dry_run { None } else { Some(only_one()?) };
    kernel::wait(clean(arguments))
}

/// Both backends' tables, then the sets, which they share and name.
async fn clean(arguments: &Arguments) -> Result<Outcome, Failure> {
    let tools = Tools::new(&arguments.tools, Tools::DEADLINE);
    let mut done = Done::default();
    let mut usable = 0;
    for backend in Backend::ALL {
        let iptables = kernel::iptables(&tools, backend);
        match clean_tables(&iptables, arguments.dry_run, &mut done).await? {
            Some(error) => super::say(&format!("note: {backend} is not looked at: {error}\n")),
            None => usable += 1,
        }
    }
    if usable == 0 {
        return Err(Failure::Usage("there is no iptables\nhelp: install the package iptables".to_owned()));
    }
    clean_sets(&tools, arguments.dry_run, &mut done).await?;
    super::print(&done.text(arguments.dry_run))?;
    if done.left.is_empty() { Ok(Outcome::Clean) } else { Ok(Outcome::Found) }
}

/// Why the backend can't be used, if so: most hosts have one only.
async fn clean_tables(
    iptables: &Iptables,
    dry_run: bool,
    done: &mut Done,
) -> Result<Option<ToolError>, Failure> {
    if let Err(error) = iptables.save(IpVersion::V4, TableName::Mangle).await
        && let ToolError::Missing { .. } = error
    {
        return Ok(Some(error));
    }
    for version in IpVersion::ALL {
        for table in TableName::ALL {
            clean_table(iptables, version, table, dry_run, done).await;
        }
    }
    Ok(None)
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
async fn clean_sets(tools: &Tools, dry_run: bool, done: &mut Done) -> Result<(), Failure> {
    let ipset = kernel::ipset(tools);
    let saved = ipset.save().await.map_err(|error| kernel::tool_refusal(&error))?;
    let mut programmed = Programmed::default();
    programmed.read_sets(&saved).map_err(|error| Failure::Usage(format!("ipset save: {error}")))?;
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
    Ok(())
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

    fn text(&self, dry_run: bool) -> String {
        if dry_run {
            return self.would.clone();
        }
        let mut text = String::new();
        for what in &self.removed {
            let _ = writeln!(text, "removed: {what}");
        }
        for what in &self.left {
            let _ = writeln!(text, "left: {what}");
        }
        if text.is_empty() {
            text.push_str("nothing of ours is there\n");
        }
        text
    }
}

fn parts(number: usize) -> String {
    if number == 1 { "1 chain or hook".to_owned() } else { format!("{number} chains and hooks") }
}
