//! Routes to this host's own workloads (reference §10.1).

use std::sync::Arc;

use ipnet::IpNet;

use super::choice::Choice;
use super::context::Context;
use super::route_set::{Owner, Provenance, Route, Target, WantedRoute, Why};
use crate::model::IpVersion;
use crate::policy::LocalEndpoint;

/// Each address of each active endpoint that owns its interface, down that interface.
pub(super) fn offer(context: &Context<'_>, choice: &mut Choice) {
    let locals = context.policy.endpoints.values();
    for local in locals.filter(|local| local.endpoint.active && local.shadowed_by.is_none()) {
        for (destination, provenance) in addresses(context, local) {
            if context.makes(&destination) {
                offer_one(context, local, destination, provenance, choice);
            }
        }
    }
}

fn addresses(context: &Context<'_>, local: &LocalEndpoint) -> Vec<(IpNet, Provenance)> {
    let endpoint = &local.endpoint;
    let own = endpoint.networks.iter().map(|net| (*net, Provenance::Endpoint(endpoint.id.clone())));
    let floats = context.config.floats(&endpoint.id.orchestrator);
    let nats = endpoint.nats.iter().filter(|_| floats);
    let external = nats.map(|nat| (nat.external.into(), Provenance::FloatingIp(endpoint.id.clone())));
    own.chain(external).collect()
}

fn offer_one(
    context: &Context<'_>,
    local: &LocalEndpoint,
    destination: IpNet,
    provenance: Provenance,
    choice: &mut Choice,
) {
    let interface = &local.endpoint.interface;
    let index = match index_of(context, interface, &destination) {
        Ok(index) => index,
        Err(why) => {
            return choice.hold_back(destination, Owner::Endpoint(local.endpoint.id.clone()), why);
        }
    };
    let routing = &context.config.routing;
    let source = match IpVersion::of(destination.addr()) {
        IpVersion::V4 => routing.source_v4.map(Into::into),
        IpVersion::V6 => routing.source_v6.map(Into::into),
    };
    let route = Route {
        destination,
        target: Target::Link(Arc::clone(interface)),
        protocol: routing.protocol,
        metric: context.metric(&destination),
        source,
        mtu: None,
    };
    choice.offer(WantedRoute { route, provenance }, index);
}

/// The index of the interface, where the route may lead down there.
fn index_of(context: &Context<'_>, interface: &Arc<str>, destination: &IpNet) -> Result<u32, Why> {
    let is_workloads =
        context.config.interface_prefixes.iter().any(|prefix| interface.starts_with(prefix.as_str()));
    if !is_workloads {
        return Err(Why::NotAWorkloads { interface: Arc::clone(interface) });
    }
    if context.is_a_hosts_own(destination) {
        return Err(Why::AHostsOwn);
    }
    context.up(interface).ok_or_else(|| Why::Down { interface: Arc::clone(interface) })
}
