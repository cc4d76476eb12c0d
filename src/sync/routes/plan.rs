//! The order in which a host's routes are changed.

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use super::programmed::{KernelRoute, ProgrammedRoutes, ProgrammedTunnel};
use super::table::{NeighbourChanges, RouteChanges};
use super::tunnel;
use crate::routes::{Route, RouteSet};

/// What to do, in order, so that the kernel has the routes that are wanted.
///
/// 1. *A route needs its interface*: the tunnel is made and brought up before routes lead through it, and loses an
///    address only when none does any more.
/// 2. *No packet goes astray for longer than it must.* What changes is replaced, which the kernel does at once; of
///    another metric it is another route to the kernel, and goes once the new one is there. What only goes, goes first:
///    its address may be another endpoint's now. Unless a wider route that is written leads there from then on: it goes
///    after that. Of two that are written, the wider one comes after the narrower.
/// 3. *Nobody else's route is touched.* Where one stands in the way it is left there, and ours is withheld: one of the
///    same metric would be replaced by ours. With `ProgramClusterRoutes=Auto` any route of another program for the
///    same destination will do; ours, if it is there, is withdrawn, and comes back when the other goes.
/// 4. *A plan leaves nothing to do*: `plan(d, p.after(&plan(d, p)))` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutePlan {
    steps: Vec<RouteStep>,
    withheld: Vec<Withheld>,
}

/// One change: a command of `ip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteStep {
    /// The kernel makes it as soon as it can do IP in IP.
    CreateTunnel,
    SetTunnelMtu(u32),
    AddTunnelAddress(Ipv4Addr),
    RaiseTunnel,
    RemoveTunnelAddress(Ipv4Net),
    DeleteRoute(KernelRoute),
    DeleteNeighbour {
        device: Arc<str>,
        address: Ipv4Addr,
    },
    ReplaceNeighbour {
        device: Arc<str>,
        address: Ipv4Addr,
        mac: Arc<str>,
    },
    /// Or the first one for its destination.
    ReplaceRoute(Route),
}

/// A wanted route that is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    pub destination: IpNet,
    pub why: WithheldFor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithheldFor {
    /// Another program has a route for it.
    Writer { protocol: u8 },
    /// The kernel has no IP in IP.
    NoTunnel,
}

/// The changes that make the kernel, as it is `programmed`, have what is `wanted`.
pub fn plan(wanted: &RouteSet, programmed: &ProgrammedRoutes) -> RoutePlan {
    let (prepared, removed) = tunnel::steps(wanted, programmed);
    let RouteChanges { deleted, replaced, superseded, withheld } = RouteChanges::between(wanted, programmed);
    let NeighbourChanges { gone, there } = NeighbourChanges::between(wanted, programmed);
    let steps = prepared
        .into_iter()
        .chain(deleted.into_iter().map(RouteStep::DeleteRoute))
        .chain(gone)
        .chain(there)
        .chain(replaced.into_iter().map(RouteStep::ReplaceRoute))
        .chain(superseded.into_iter().map(RouteStep::DeleteRoute))
        .chain(removed);
    RoutePlan { steps: steps.collect(), withheld }
}

impl RoutePlan {
    /// In the order in which they must be carried out.
    pub fn steps(&self) -> impl Iterator<Item = &RouteStep> {
        self.steps.iter()
    }

    /// What would be written, were nobody else's route there; by destination.
    pub fn withheld(&self) -> &[Withheld] {
        &self.withheld
    }

    /// The kernel has what is wanted.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl ProgrammedRoutes {
    /// What the kernel has once `plan` was carried out.
    #[must_use]
    pub fn after(mut self, plan: &RoutePlan) -> Self {
        plan.steps.iter().for_each(|step| self.take(step));
        self
    }

    /// Takes note that `step` was carried out.
    pub fn take(&mut self, step: &RouteStep) {
        match step {
            RouteStep::CreateTunnel
            | RouteStep::SetTunnelMtu(_)
            | RouteStep::AddTunnelAddress(_)
            | RouteStep::RaiseTunnel
            | RouteStep::RemoveTunnelAddress(_) => self.take_of_tunnel(step),
            RouteStep::DeleteRoute(route) => self.delete(route),
            RouteStep::DeleteNeighbour { device, address } => {
                self.neighbours.remove(&(Arc::clone(device), *address));
            }
            RouteStep::ReplaceNeighbour { device, address, mac } => {
                self.neighbours.insert((Arc::clone(device), *address), Arc::clone(mac));
            }
            RouteStep::ReplaceRoute(route) => self.replace(route),
        }
    }

    fn take_of_tunnel(&mut self, step: &RouteStep) {
        if *step == RouteStep::CreateTunnel {
            // What the kernel begins with.
            self.tunnel = ProgrammedTunnel::There { up: false, mtu: 1480, addresses: Default::default() };
        }
        let ProgrammedTunnel::There { up, mtu, addresses } = &mut self.tunnel else { return };
        match step {
            RouteStep::SetTunnelMtu(now) => *mtu = *now,
            RouteStep::RaiseTunnel => *up = true,
            RouteStep::AddTunnelAddress(address) => {
                addresses.insert(Ipv4Net::from(*address));
                self.given.insert(*address);
            }
            RouteStep::RemoveTunnelAddress(net) => {
                addresses.remove(net);
                self.given.remove(&net.addr());
            }
            RouteStep::CreateTunnel
            | RouteStep::DeleteRoute(_)
            | RouteStep::DeleteNeighbour { .. }
            | RouteStep::ReplaceNeighbour { .. }
            | RouteStep::ReplaceRoute(_) => {}
        }
    }

    fn delete(&mut self, route: &KernelRoute) {
        let Some(there) = self.routes.get_mut(&route.destination) else { return };
        if let Some(at) = there.iter().position(|one| one == route) {
            there.remove(at);
        }
        if there.is_empty() {
            self.routes.remove(&route.destination);
        }
    }

    fn replace(&mut self, route: &Route) {
        let there = self.routes.entry(route.destination).or_default();
        match there.iter_mut().find(|one| one.takes_place_of(route)) {
            Some(first) => *first = KernelRoute::written(route),
            None => there.push(KernelRoute::written(route)),
        }
    }
}
