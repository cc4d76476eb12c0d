//! What changes of routes and neighbours.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::iter::successors;
use std::sync::Arc;

use ipnet::IpNet;

use super::ownership::{is_in_scope, is_ours};
use super::plan::{RouteStep, Withheld, WithheldFor};
use super::programmed::{KernelRoute, ProgrammedRoutes, ProgrammedTunnel};
use crate::config::ClusterRoutes;
use crate::model::IpVersion;
use crate::routes::{Ownership, Route, RouteSet, TUNNEL, Target, WantedRoute};

#[derive(Default)]
pub(super) struct RouteChanges {
    /// By destination.
    pub deleted: Vec<KernelRoute>,
    /// By destination, but what is within another comes before that.
    pub replaced: Vec<Route>,
    /// What leads to them now is among the replaced: of another metric, or wider.
    pub superseded: Vec<KernelRoute>,
    /// By destination.
    pub withheld: Vec<Withheld>,
}

/// Those that are not wanted any more, and those that are wanted.
pub(super) struct NeighbourChanges {
    pub gone: Vec<RouteStep>,
    pub there: Vec<RouteStep>,
}

impl RouteChanges {
    pub(super) fn between(wanted: &RouteSet, programmed: &ProgrammedRoutes) -> Self {
        let mut changes = Self::default();
        let destinations: BTreeSet<&IpNet> = wanted.routes.keys().chain(programmed.routes.keys()).collect();
        for destination in destinations.into_iter().filter(|net| is_in_scope(&wanted.ownership, net)) {
            let there = programmed.routes.get(destination).map(Vec::as_slice).unwrap_or_default();
            changes.of_one(wanted, destination, there, programmed);
        }
        changes.without_gaps()
    }

    /// No packet meets a wider route that is right only with a narrower one beside it, which is not there yet or not any
    /// more: an address that stays where it is while its block moves, say.
    fn without_gaps(self) -> Self {
        let Self { deleted, mut replaced, mut superseded, withheld } = self;
        replaced
            .sort_by_key(|route| (route.destination.broadcast(), Reverse(route.destination.prefix_len())));
        let written: BTreeSet<IpNet> = replaced.iter().map(|route| route.destination).collect();
        let is_within = |route: &KernelRoute| {
            let mut wider = successors(route.destination.supernet(), IpNet::supernet);
            !written.is_empty() && wider.any(|net| written.contains(&net))
        };
        let (within, deleted): (Vec<_>, Vec<_>) = deleted.into_iter().partition(is_within);
        superseded.extend(within);
        Self { deleted, replaced, superseded, withheld }
    }

    fn of_one(
        &mut self,
        wanted: &RouteSet,
        destination: &IpNet,
        there: &[KernelRoute],
        programmed: &ProgrammedRoutes,
    ) {
        let ownership = &wanted.ownership;
        let (ours, others): (Vec<&KernelRoute>, Vec<&KernelRoute>) =
            there.iter().partition(|route| is_ours(ownership, route));
        let mut route = wanted.routes.get(destination);
        if let Some(why) = route.and_then(|route| obstacle(route, &others, ownership, programmed)) {
            self.withheld.push(Withheld { destination: *destination, why });
            route = None;
        }
        let route = route.map(|wanted| &wanted.route);
        let kept = route.and_then(|route| {
            // As wanted, or replaced at once.
            let right = ours.iter().position(|one| one.is(route));
            right.or_else(|| ours.iter().position(|one| one.takes_place_of(route)))
        });
        let unexpected = ours.iter().enumerate().filter(|(at, _)| Some(*at) != kept).map(|(_, one)| *one);
        let unexpected = unexpected.filter(|one| !is_spared(one, programmed)).cloned();
        let (superseded, deleted): (Vec<KernelRoute>, Vec<KernelRoute>) =
            unexpected.partition(|one| route.is_some_and(|route| !one.takes_place_of(route)));
        self.superseded.extend(superseded);
        self.deleted.extend(deleted);
        let is_right = kept.and_then(|at| ours.get(at)).zip(route).is_some_and(|(one, route)| one.is(route));
        self.replaced.extend(route.filter(|_| !is_right).cloned());
    }
}

/// Why a wanted route can't be written.
fn obstacle(
    wanted: &WantedRoute,
    others: &[&KernelRoute],
    ownership: &Ownership,
    programmed: &ProgrammedRoutes,
) -> Option<WithheldFor> {
    let yields = wanted.provenance.is_of_cluster() && ownership.routing.cluster_routes == ClusterRoutes::Auto;
    let writer = others.iter().find(|other| yields || other.takes_place_of(&wanted.route));
    if let Some(writer) = writer {
        return Some(WithheldFor::Writer { protocol: writer.protocol });
    }
    let by_tunnel = match &wanted.route.target {
        Target::Via { gateway: _, device, onlink: _ } => device.as_deref() == Some(TUNNEL),
        Target::Several(hops) => hops.iter().any(|hop| &*hop.device == TUNNEL),
        Target::Blackhole | Target::Link(_) => false,
    };
    let is_possible = match programmed.tunnel {
        ProgrammedTunnel::Absent | ProgrammedTunnel::There { .. } => true,
        ProgrammedTunnel::Impossible | ProgrammedTunnel::Foreign => false,
    };
    (by_tunnel && !is_possible).then_some(WithheldFor::NoTunnel)
}

/// Whoever made the interface may have made the route, and tells us in a moment.
fn is_spared(route: &KernelRoute, programmed: &ProgrammedRoutes) -> bool {
    route.device.as_ref().is_some_and(|device| programmed.fresh.contains(device))
}

impl NeighbourChanges {
    pub(super) fn between(wanted: &RouteSet, programmed: &ProgrammedRoutes) -> Self {
        let RouteSet { neighbours, ownership, .. } = wanted;
        let is_ours = |device: &Arc<str>| {
            ownership.routing.remove_external
                && ownership.families.contains(&IpVersion::V4)
                && ownership.is_workloads(device)
                && !programmed.fresh.contains(device)
        };
        let gone =
            programmed.neighbours.keys().filter(|key| !neighbours.contains_key(key) && is_ours(&key.0));
        let there =
            neighbours.iter().filter(|(key, wanted)| programmed.neighbours.get(key) != Some(&wanted.mac));
        Self {
            gone: gone
                .map(|(device, address)| RouteStep::DeleteNeighbour {
                    device: Arc::clone(device),
                    address: *address,
                })
                .collect(),
            there: there
                .map(|((device, address), wanted)| RouteStep::ReplaceNeighbour {
                    device: Arc::clone(device),
                    address: *address,
                    mac: Arc::clone(&wanted.mac),
                })
                .collect(),
        }
    }
}
