//! What would change of a kernel, as JSON.

use serde::Serialize;

use super::artefact::Artefact;
use super::json_routes::{self, HeldBackRecord, Reason};
use crate::routes::RouteSet;
use crate::sync::routes::{RoutePlan, RouteStep, Withheld, WithheldFor};

#[derive(Serialize)]
struct ChangesRecord<'a> {
    /// In the order of applying.
    changes: Vec<ChangeRecord<'a>>,
    /// Wanted, and not made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_back: Vec<HeldBackRecord>,
    /// Left to another program, or to a kernel that has IP in IP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    withheld: Vec<WithheldRecord>,
}

/// One run of a tool.
#[derive(Serialize)]
struct ChangeRecord<'a> {
    tool: &'static str,
    input: Vec<LineRecord<'a>>,
}

#[derive(Serialize)]
struct LineRecord<'a> {
    text: &'a str,
    /// Of routes that are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<Reason>,
}

#[derive(Serialize)]
struct WithheldRecord {
    destination: String,
    #[serde(flatten)]
    why: WithheldReason,
}

/// [`WithheldFor`] for machines.
#[derive(Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
enum WithheldReason {
    AnotherWriter { protocol: u8 },
    NoIpip,
}

/// Pretty-printed, with a line end.
pub(super) fn text<'a>(
    artefacts: impl Iterator<Item = &'a Artefact>,
    routes: Option<&(&RouteSet, RoutePlan)>,
) -> String {
    super::json::pretty(&ChangesRecord {
        changes: artefacts.map(|artefact| change(artefact, routes)).collect(),
        held_back: routes.map(|(wanted, _)| json_routes::held_back(wanted)).unwrap_or_default(),
        withheld: routes.map(|(_, plan)| plan.withheld().iter().map(withheld).collect()).unwrap_or_default(),
    })
}

fn change<'a>(artefact: &'a Artefact, routes: Option<&(&RouteSet, RoutePlan)>) -> ChangeRecord<'a> {
    // A line of the routes' text is a step.
    let steps = routes
        .filter(|_| artefact.is_routes())
        .into_iter()
        .flat_map(|(wanted, plan)| plan.steps().map(|step| because(step, wanted)));
    let reasons = steps.chain(std::iter::repeat_with(|| None));
    let input = artefact.text.lines().zip(reasons).map(|(text, because)| LineRecord { text, because });
    ChangeRecord { tool: artefact.tool(), input: input.collect() }
}

fn because(step: &RouteStep, wanted: &RouteSet) -> Option<Reason> {
    match step {
        RouteStep::ReplaceRoute(route) => {
            wanted.routes.get(&route.destination).map(|wanted| json_routes::reason(&wanted.provenance))
        }
        RouteStep::CreateTunnel
        | RouteStep::SetTunnelMtu(_)
        | RouteStep::AddTunnelAddress(_)
        | RouteStep::RaiseTunnel
        | RouteStep::RemoveTunnelAddress(_)
        | RouteStep::DeleteRoute(_)
        | RouteStep::DeleteNeighbour { .. }
        | RouteStep::ReplaceNeighbour { .. } => None,
    }
}

fn withheld(withheld: &Withheld) -> WithheldRecord {
    let Withheld { destination, why } = withheld;
    WithheldRecord {
        destination: destination.to_string(),
        why: match why {
            WithheldFor::Writer { protocol } => WithheldReason::AnotherWriter { protocol: *protocol },
            WithheldFor::NoTunnel => WithheldReason::NoIpip,
        },
    }
}
