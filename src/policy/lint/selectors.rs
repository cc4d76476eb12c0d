//! Selectors that select nothing, and labels that nobody has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{World, sides, warning};
use crate::config::nearest;
use crate::datastore::Place;
use crate::labels::{LabelIndex, Selector};
use crate::model::{Code, Diagnostic, Labels};

/// Where a selector stands, and what it is looked up in.
struct Use<'r> {
    selector: &'r Selector,
    /// `GlobalNetworkPolicy web: selector`
    what: String,
    place: &'r Place,
    /// A policy's own selector looks for endpoints; a rule's also for network sets.
    endpoints_only: bool,
}

pub(super) fn lint(world: &World<'_>, found: &mut Vec<Diagnostic>) {
    let known = world.workloads.len() + world.hosts.len() + world.network_sets.len();
    if known == 0 {
        // Policies alone: their endpoints are kept elsewhere.
        return;
    }
    let uses = uses(world);
    let mut endpoints = LabelIndex::<usize, Arc<str>>::default();
    let mut all = LabelIndex::<usize, Arc<str>>::default();
    let keys = fill(world, &mut endpoints, &mut all);
    for usage in &uses {
        let index = if usage.endpoints_only { &mut endpoints } else { &mut all };
        index.add_selector(usage.selector.canonical().into(), usage.selector.clone());
    }
    for usage in &uses {
        let index = if usage.endpoints_only { &endpoints } else { &all };
        let selects_nothing =
            index.unordered_matches(&Arc::from(usage.selector.canonical())).next().is_none();
        let unknown = usage.selector.labels_used().find(|key| !keys.contains(*key));
        match unknown {
            Some(key) => found.push(unknown_label(usage, key, &keys, selects_nothing)),
            None if selects_nothing => found.push(nothing_selected(usage)),
            None => {}
        }
    }
}

/// Every selector of a policy or rule.
fn uses<'r>(world: &World<'r>) -> Vec<Use<'r>> {
    let of_policies = world.policies.iter().map(|policy| Use {
        selector: &policy.selector,
        what: format!("{}: selector", policy.id),
        place: &policy.selector_place,
        endpoints_only: true,
    });
    let mut uses: Vec<Use<'_>> = of_policies.collect();
    for list in world.rule_lists() {
        for (index, rule) in list.rules.iter().enumerate() {
            for (side, entity) in sides(rule) {
                let what = |name| format!("{}: {}[{index}].{side}.{name}", list.owner, list.direction.name());
                let named = [("selector", &entity.selector), ("notSelector", &entity.not_selector)];
                uses.extend(named.into_iter().filter_map(|(name, selector)| {
                    let selector = selector.as_ref()?;
                    Some(Use { selector, what: what(name), place: &rule.place, endpoints_only: false })
                }));
            }
        }
    }
    uses
}

/// Puts all endpoints and network sets into the indexes; the label keys that any of them has.
fn fill(
    world: &World<'_>,
    endpoints: &mut LabelIndex<usize, Arc<str>>,
    all: &mut LabelIndex<usize, Arc<str>>,
) -> BTreeSet<Arc<str>> {
    let mut keys = BTreeSet::new();
    let profiles: BTreeMap<&Arc<str>, (&Labels, &[Arc<str>])> = world
        .profiles
        .iter()
        .map(|profile| (&profile.name, (&profile.labels, profile.tags.as_slice())))
        .collect();
    for (name, (labels, tags)) in &profiles {
        endpoints.set_parent(name, labels, tags);
        all.set_parent(name, labels, tags);
        keys.extend(labels.keys().chain(tags.iter()).cloned());
    }
    let workloads = world.workloads.iter().map(|endpoint| (&endpoint.labels, &endpoint.profiles));
    let hosts = world.hosts.iter().map(|endpoint| (&endpoint.labels, &endpoint.profiles));
    let endpoint_count = world.workloads.len() + world.hosts.len();
    let sets = world.network_sets.iter().map(|set| (&set.labels, &set.profiles));
    for (number, (labels, parents)) in workloads.chain(hosts).chain(sets).enumerate() {
        if number < endpoint_count {
            endpoints.set_item(number, labels, parents);
        }
        all.set_item(number, labels, parents);
        keys.extend(labels.keys().cloned());
    }
    keys
}

fn unknown_label(usage: &Use<'_>, key: &str, keys: &BTreeSet<Arc<str>>, selects_nothing: bool) -> Diagnostic {
    let consequence = if selects_nothing { "; it selects nothing" } else { "" };
    let suggested = nearest(key, keys.iter().map(|key| &**key));
    let help = suggested.map(|known| format!("did you mean `{known}`?"));
    warning(
        Code::UnknownLabel,
        usage.place,
        format!("{} names the label `{key}`, which nothing has{consequence}", usage.what),
        format!("`{}`", usage.selector.canonical()),
        help.or_else(|| {
            Some("check the spelling, or the labels of endpoints, profiles and network sets".to_owned())
        }),
    )
}

fn nothing_selected(usage: &Use<'_>) -> Diagnostic {
    let among = if usage.endpoints_only { "endpoint" } else { "endpoint or network set" };
    warning(
        Code::SelectsNothing,
        usage.place,
        format!("{} selects no {among}", usage.what),
        format!("`{}`", usage.selector.canonical()),
        Some("every label in it is known; look at the values and at how they are combined".to_owned()),
    )
}
