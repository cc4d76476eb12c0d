//! `felix-rs cleanup`: removes what this program, or Felix, has put into the kernel, and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::Args;
use ipnet::{IpNet, Ipv4Net};

use super::kernel;
use super::run::only_one;
use super::{Failure, Outcome};
use crate::config::{Config, Routing};
use crate::model::IpVersion;
use crate::routes::{Ownership, RouteSet, TUNNEL};
use crate::rules::ruleset::TableName;
use crate::sync::routes::{KernelRoute, RouteStep, plan as plan_routes};
use crate::sync::{Part, Programmed, Step, TableChanges, plan};
use crate::system::iptables::{Backend, Iptables};
use crate::system::kernel::{nothing, read_table};
use crate::system::routes::{MainTable, RoutesError};
use crate::system::tool::{ToolError, Tools};

/// Remove every chain, hook, IP set and route of ours, of both iptables backends; connections are left alone
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
    clean_routes(arguments.dry_run, &mut done)?;
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

/// By protocol 80, and on interfaces that begin with `cali` by protocol 3, too; and the neighbours there. An address of
/// `tunl0` is ours where a route of ours has it, as this host's own block has.
fn clean_routes(dry_run: bool, done: &mut Done) -> Result<(), Failure> {
    let failed = |error: RoutesError| kernel::routes_refusal(&error);
    let mut table = MainTable::open().map_err(failed)?;
    let mut found = table.read().map_err(failed)?;
    let routes = plan_routes(&no_routes(false, Vec::new()), &found.programmed);
    let is_route = |step: &&RouteStep| matches!(step, RouteStep::DeleteRoute(_));
    let blocks = routes.steps().filter_map(|step| match step {
        RouteStep::DeleteRoute(KernelRoute { destination: IpNet::V4(net), .. }) => Some(*net),
        _ => None,
    });
    let all = plan_routes(&no_routes(true, blocks.collect()), &found.programmed);
    let steps: Vec<&RouteStep> =
        routes.steps().filter(is_route).chain(all.steps().filter(|step| !is_route(step))).collect();
    if dry_run {
        let text: String = steps.iter().map(|step| format!("{step}\n")).collect();
        if !text.is_empty() {
            done.would("sh -e", &text);
        }
        return Ok(());
    }
    let mut removed = 0;
    for step in steps {
        match table.carry_out(step, &mut found) {
            Ok(_) => removed += 1,
            Err(error) => done.left.push(format!("by `{step}`: {error}")),
        }
    }
    if removed > 0 {
        done.removed.push(format!("{removed} routes, neighbours and addresses of {TUNNEL}"));
    }
    Ok(())
}

/// Nothing is wanted. `all`: whatever is on workloads' interfaces is ours.
fn no_routes(all: bool, pools: Vec<Ipv4Net>) -> RouteSet {
    RouteSet {
        routes: BTreeMap::new(),
        neighbours: BTreeMap::new(),
        tunnel: None,
        held_back: Vec::new(),
        ownership: Ownership {
            families: IpVersion::ALL.to_vec(),
            tunnel: true,
            routing: Routing { remove_external: all, ..Routing::default() },
            prefixes: Config::default().interface_prefixes,
            pools,
        },
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
