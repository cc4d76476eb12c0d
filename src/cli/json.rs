//! What was compiled as JSON, each rule with its text, hash and reason.

use serde::Serialize;

use super::artefact::Selection;
use super::json_routes::RoutingRecord;
use crate::model::IpVersion;
use crate::policy::RuleSource;
use crate::routes::RouteSet;
use crate::rules::hash::rule_hashes;
use crate::rules::ruleset::{EndpointStep, Hook, KernelSet, Provenance, Rule, Ruleset, Table};
use crate::rules::text::rule_text;
use crate::sync::Desired;

/// Pretty-printed, with a line end.
pub(super) fn pretty(value: &impl Serialize) -> String {
    // Our own types have text keys only, so this can't fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// The selected sets, tables and routes of all families.
pub(super) fn desired(desired: &Desired, selection: &Selection) -> String {
    let families = desired.rulesets.iter().map(|ruleset| {
        let routes = desired.routes.as_deref().filter(|_| selection.has_routes());
        family(ruleset, routes, selection)
    });
    pretty(&families.collect::<Vec<_>>())
}

/// The sets, tables and routes of one family.
#[derive(Serialize)]
struct FamilyRecord {
    ip_version: u8,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sets: Vec<SetRecord>,
    tables: Vec<TableRecord>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    routing: Option<RoutingRecord>,
}

#[derive(Serialize)]
struct SetRecord {
    name: String,
    r#type: &'static str,
    max_elements: u32,
    /// The selector, tag or port that the set stands for.
    meaning: String,
    members: Vec<String>,
}

#[derive(Serialize)]
struct TableRecord {
    name: &'static str,
    hooks: Vec<HookRecord>,
    chains: Vec<ChainRecord>,
}

#[derive(Serialize)]
struct HookRecord {
    chain: &'static str,
    rules: Vec<RuleRecord>,
    appended: Vec<RuleRecord>,
}

#[derive(Serialize)]
struct ChainRecord {
    name: String,
    rules: Vec<RuleRecord>,
}

#[derive(Serialize)]
struct RuleRecord {
    /// The id in the rule's `cali:` comment.
    hash: String,
    /// Without the chain and that comment.
    text: String,
    because: Reason,
}

/// [`Provenance`] for machines.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Reason {
    Static,
    Dispatch {
        endpoint: String,
    },
    Endpoint {
        endpoint: String,
        step: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    Rule {
        owner: String,
        direction: &'static str,
        /// From 0; none for the deny that stands for what could not be understood, or is missing.
        index: Option<u32>,
        place: Option<String>,
    },
    Empty {
        owner: String,
        direction: &'static str,
    },
    Group {
        policy: String,
    },
    UnknownInterface,
    Nat,
}

fn family(ruleset: &Ruleset, routes: Option<&RouteSet>, selection: &Selection) -> FamilyRecord {
    let sets = ruleset.sets.values().filter(|_| selection.has_sets());
    let tables = ruleset.tables.iter().filter(|table| selection.has_table(ruleset.version, table.name));
    FamilyRecord {
        ip_version: match ruleset.version {
            IpVersion::V4 => 4,
            IpVersion::V6 => 6,
        },
        sets: sets.map(|set| self::set(set)).collect(),
        tables: tables.map(|table| self::table(table)).collect(),
        routing: routes.map(|routes| RoutingRecord::of(routes, ruleset.version)),
    }
}

fn set(set: &KernelSet) -> SetRecord {
    SetRecord {
        name: set.name.to_string(),
        r#type: set.set_type.name(),
        max_elements: set.max_elements,
        meaning: set.meaning.to_string(),
        members: set.members.iter().map(ToString::to_string).collect(),
    }
}

fn table(table: &Table) -> TableRecord {
    TableRecord {
        name: table.name.name(),
        hooks: table.hooks.iter().map(hook).collect(),
        chains: (table.chains.values())
            .map(|chain| ChainRecord {
                name: chain.name.to_string(),
                rules: rules(chain.name.as_str(), &chain.rules),
            })
            .collect(),
    }
}

fn hook(hook: &Hook) -> HookRecord {
    HookRecord {
        chain: hook.chain,
        rules: rules(hook.chain, &hook.rules),
        appended: rules(&format!("{}*appends*", hook.chain), &hook.appended),
    }
}

fn rules(chain: &str, rules: &[Rule]) -> Vec<RuleRecord> {
    let hashes = rule_hashes(chain, rules);
    (rules.iter().zip(hashes))
        .map(|(rule, hash)| RuleRecord {
            hash: hash.to_string(),
            text: rule_text(rule),
            because: reason(&rule.provenance),
        })
        .collect()
}

fn reason(provenance: &Provenance) -> Reason {
    match provenance {
        Provenance::Static => Reason::Static,
        Provenance::Dispatch(endpoint) => Reason::Dispatch { endpoint: endpoint.to_string() },
        Provenance::Endpoint(endpoint, step) => {
            let (step, name) = step_and_name(step);
            Reason::Endpoint { endpoint: endpoint.to_string(), step, name }
        }
        Provenance::Rule(source) => {
            let RuleSource { owner, direction, index, place } = &**source;
            Reason::Rule {
                owner: owner.to_string(),
                direction: direction.name(),
                index: *index,
                place: place.as_ref().map(ToString::to_string),
            }
        }
        Provenance::Empty(owner, direction) => {
            Reason::Empty { owner: owner.to_string(), direction: direction.name() }
        }
        Provenance::Group(policy) => Reason::Group { policy: policy.to_string() },
        Provenance::UnknownInterface => Reason::UnknownInterface,
        Provenance::Nat => Reason::Nat,
    }
}

fn step_and_name(step: &EndpointStep) -> (&'static str, Option<String>) {
    match step {
        EndpointStep::AllowedSource => ("allowed-source", None),
        EndpointStep::AdminDown => ("admin-down", None),
        EndpointStep::Conntrack => ("conntrack", None),
        EndpointStep::ClearMarks => ("clear-marks", None),
        EndpointStep::Encapsulation => ("encapsulation", None),
        EndpointStep::StartOfTier(tier) => ("start-of-tier", Some(tier.to_string())),
        EndpointStep::Policies(tier) => ("policies", Some(tier.to_string())),
        EndpointStep::EndOfTier(tier) => ("end-of-tier", Some(tier.to_string())),
        EndpointStep::Profile(profile) => ("profile", Some(profile.to_string())),
        EndpointStep::NoProfileMatched => ("no-profile-matched", None),
    }
}
