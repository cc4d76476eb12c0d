//! `felix-rs cleanup`: removes what this program, or Felix, has put into the kernel, and nothing else.

use std::fmt::Write;

use clap::Args;

use super::kernel::{self, refusal};
use super::run::only_one;
use super::{Failure, Outcome};
use crate::model::IpVersion;
use crate::rules::ruleset::TableName;
use crate::sync::{Programmed, Step, plan};
use crate::system::iptables::{Backend, Iptables};
use crate::system::kernel::{nothing, tables_of};
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
    let programmed = tables_of(iptables).await.map_err(|error| refusal(&error))?;
    for step in plan(&nothing(), &programmed).steps() {
        let Step::Table(changes) = step else { continue };
        let (version, table) = (changes.version(), changes.table());
        let what = format!(
            "{} of the {} table, {version}, {}",
            parts(changes.parts().len()),
            table.name(),
            iptables.backend()
        );
        if dry_run {
            done.would(&kernel::restore_command(version, iptables.backend()), &changes.text());
            continue;
        }
        match iptables.restore(version, changes.text()).await {
            Ok(_) => done.removed.push(what),
            Err(error) => done.left.push(format!("{what}: {error}")),
        }
    }
    Ok(None)
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
