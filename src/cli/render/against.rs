//! What would change of what is programmed.

use super::Format;
use crate::Pipeline;
use crate::cli::artefact::{self, Selection};
use crate::cli::json_changes;
use crate::cli::{Failure, Outcome, kernel};
use crate::config::Config;
use crate::routes::{RouteSet, Uplinks};
use crate::sync::Desired;
use crate::sync::routes::{self, ProgrammedTunnel, RoutePlan};
use crate::system::routes::Found;

/// Takes the interfaces and the routers of others from the kernel: which routes are others' is known only when ours are.
pub(super) fn look(pipeline: &mut Pipeline, found: &Found) {
    let mut uplinks =
        Uplinks { links: found.links.values().cloned().collect(), complete: true, gateways: Vec::new() };
    pipeline.see(uplinks.clone());
    let desired = pipeline.desired();
    if let Some(routes) = desired.ok().and_then(|desired| desired.routes) {
        let hosts = &pipeline.policy().host_addresses;
        uplinks.gateways = routes::gateways(&found.programmed, &routes.ownership, hosts);
        pipeline.see(uplinks);
    }
}

/// Prints what would change, and says what is not made and why.
pub(super) fn show(
    desired: &Desired,
    config: &Config,
    found: Option<Found>,
    selection: &Selection,
    format: Format,
) -> Result<Outcome, Failure> {
    let mut artefacts = artefact::changes(desired, &kernel::programmed(config)?);
    let routes = found.zip(desired.routes.as_deref());
    let routes = routes.map(|(found, wanted)| plan(found, wanted).map(|plan| (wanted, plan))).transpose()?;
    if let Some((wanted, plan)) = &routes {
        let held = wanted.held_back.iter().map(ToString::to_string);
        let not_made = held.chain(plan.withheld().iter().map(ToString::to_string));
        not_made.for_each(|what| crate::cli::say(&format!("note: not made: {what}\n")));
        artefacts.extend(artefact::route_changes(plan));
    }
    let is_same = artefact::selected(selection, &artefacts).next().is_none();
    crate::cli::print(&match format {
        Format::Text => artefact::text(selection, &artefacts),
        Format::Json => json_changes::text(artefact::selected(selection, &artefacts), routes.as_ref()),
    })?;
    Ok(if is_same { Outcome::Clean } else { Outcome::Found })
}

/// As the daemon would make it, who tries whether the kernel can do IP in IP. Here nothing is tried.
fn plan(mut found: Found, wanted: &RouteSet) -> Result<RoutePlan, Failure> {
    let is_missed = wanted.tunnel.is_some() && found.programmed.tunnel == ProgrammedTunnel::Absent;
    if is_missed && let Some(why) = kernel::lacks_ipip()? {
        crate::cli::say(&format!("note: no IP in IP: {why}\n"));
        found.programmed.tunnel = ProgrammedTunnel::Impossible;
    }
    Ok(routes::plan(wanted, &found.programmed))
}
