//! A host with many endpoints: what one change writes is what changed, and nothing else.

#[path = "../bench/generate.rs"]
mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use felix_rs::Pipeline;
use felix_rs::datastore::yaml;
use felix_rs::sync::{Desired, Plan, Programmed, Step, plan};

use crate::daemon::{Daemon, READY};
use crate::lab::Lab;
use crate::netns::Backend;
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[("scale::one_label_writes_what_changed", one_label_writes_what_changed)];

const LOCAL: usize = 1_000;
const POLICIES: usize = 200;

/// The endpoint whose label changes, and where else it is known by.
const ADDRESS: &str = " 10.64.0.0";
const ADDRESS_V6: &str = " fd00:10::";

/// A chain by its family and table, and its rules.
type Chains = BTreeMap<String, Vec<String>>;

fn one_label_writes_what_changed(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    let put =
        |name: &str, text: &str| fs::write(lab.source().join(name), text).map_err(|e| format!("{name}: {e}"));
    let mut endpoint = String::new();
    for (name, text) in generate::generate(LOCAL, LOCAL, POLICIES) {
        let mut text = text;
        if name.starts_with("endpoints") && endpoint.is_empty() {
            let second = text.match_indices("---\n").nth(1).ok_or("a second endpoint")?.0;
            let rest = text.split_off(second);
            endpoint = std::mem::replace(&mut text, rest);
        }
        put(&name, &text)?;
    }
    put("one.yaml", &endpoint)?;
    let before = desired(&lab)?;

    let mut settings = lab.settings(0, &["IptablesPostWriteCheckIntervalSecs=3600"]);
    settings.host = generate::HOST;
    let mut daemon = Daemon::ready(lab.world.host(0), &settings)?;
    let ready = daemon.hear_of(crate::daemon::Mark::default(), READY)?;
    lab.put("one", &endpoint.replacen("app: app-", "app: other-", 1))?;
    let settled = daemon.settle(ready)?;
    let written: Vec<(u64, u64)> = daemon
        .lines(ready)
        .iter()
        .take(daemon.lines(ready).len() - daemon.lines(settled).len())
        // The tunnel's module is looked for about now.
        .filter(|line| line["message"] == "ran" && line["writes"] == true && line["tool"] != "modprobe")
        .filter_map(|line| Some((line["lines"].as_u64()?, line["bytes"].as_u64()?)))
        .collect();

    let after = desired(&lab)?;
    let nothing = Programmed::default();
    let first = plan(&before, &nothing);
    let changes = plan(&after, &nothing.clone().after(&first));
    let planned: Vec<(u64, u64)> = changes.steps().map(|step| size(&step.text())).collect();
    if written != planned {
        return Err(format!("lines and bytes written: {written:?}; of what changed: {planned:?}"));
    }
    only_what_changed(&changes, &chains(&first), &chains(&plan(&after, &nothing)))
}

/// What is written is chains that differ, those of the endpoint also as they were, and members that are the endpoint's.
fn only_what_changed(changes: &Plan, before: &Chains, after: &Chains) -> Verdict {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed: BTreeSet<&str> = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| chain(name))
        .collect();
    let is_endpoints = |name: &str| changed.iter().any(|chain| chain.strip_prefix("cali-") == Some(name));
    for step in changes.steps() {
        for line in step.text().lines() {
            let wrong = match line.strip_prefix(':') {
                Some(declared) => {
                    let name = declared.trim_end_matches(" - -");
                    let turns = name.strip_prefix("cali-old-").or_else(|| name.strip_prefix("cali-new-"));
                    !changed.contains(name) && !turns.is_some_and(is_endpoints)
                }
                None if line.starts_with("add ") || line.starts_with("del ") => {
                    !line.contains(ADDRESS) && !line.contains(ADDRESS_V6)
                }
                None => false,
            };
            if wrong {
                return Err(format!("{line}\nis written, and did not change; these did: {changed:?}"));
            }
        }
    }
    if changed.is_empty() { Err("nothing changed".to_owned()) } else { Ok(()) }
}

fn desired(lab: &Lab) -> Result<Desired, String> {
    let mut pipeline = Pipeline::new(generate::HOST.into(), Vec::new());
    yaml::read(&[lab.source().into()]).iter().for_each(|event| pipeline.take(event));
    pipeline.desired().map_err(|e| e.to_string())
}

fn chains(plan: &Plan) -> Chains {
    let mut chains = Chains::new();
    for step in plan.steps() {
        let Step::Table(changes) = step else { continue };
        let place = format!("{} {}", changes.version(), changes.table().name());
        for line in step.text().lines() {
            if let Some(declared) = line.strip_prefix(':') {
                chains.entry(format!("{place} {}", declared.trim_end_matches(" - -"))).or_default();
            } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' '))
            {
                chains.entry(format!("{place} {chain}")).or_default().push(rule.to_owned());
            }
        }
    }
    chains
}

fn chain(name: &str) -> &str {
    name.rsplit(' ').next().unwrap_or_default()
}

fn size(text: &str) -> (u64, u64) {
    (text.lines().count() as u64, text.len() as u64)
}
