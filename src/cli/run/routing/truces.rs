//! What other programs keep changing is left to them for a while.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::time::Instant;

use super::super::fight::Fight;
use crate::routes::{Route, RouteSet, TUNNEL, Target};
use crate::sync::routes::{ProgrammedRoutes, Protocol, RouteStep};

/// What a step changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    Route(IpNet),
    Neighbour(Arc<str>, Ipv4Addr),
    Tunnel,
    TunnelMtu,
    TunnelAddress(Ipv4Addr),
    TunnelUp,
}

/// Fights about routes, each by itself: who is at odds with us about one of them does not keep us from the others.
///
/// What was undone is put right each time, and then left for a while; so it stays right where nobody undoes it any more.
#[derive(Default)]
pub(super) struct Truces {
    fights: BTreeMap<Object, Of>,
}

struct Of {
    fight: Fight,
    until: Option<Instant>,
}

impl Truces {
    /// Until when the object is left alone.
    pub(super) fn stands(&self, object: &Object, now: Instant) -> Option<Instant> {
        self.fights.get(object)?.until.filter(|until| *until > now)
    }

    /// Somebody has undone what the step does again; what is to be said of it where it is left alone from now on.
    pub(super) fn round(
        &mut self,
        object: Object,
        step: &RouteStep,
        programmed: &ProgrammedRoutes,
        now: Instant,
    ) -> Option<String> {
        let of = self.fights.entry(object).or_insert_with(|| Of { fight: Fight::new(), until: None });
        let truce = of.fight.round(now)?;
        of.until = Some(now + truce);
        let who = writer(step, programmed).map_or_else(
            || "another program keeps undoing".to_owned(),
            |protocol| format!("another program, whose routes are of protocol {protocol}, keeps undoing"),
        );
        Some(format!("{who} `{step}`; it is done once more, and not again for {} s", truce.as_secs()))
    }

    /// What is wanted anew was never fought about.
    pub(super) fn forget_changed(&mut self, before: &RouteSet, now: &RouteSet) {
        self.fights.retain(|object, _| match object {
            Object::Route(net) => before.routes.get(net) == now.routes.get(net),
            Object::Neighbour(device, address) => {
                let key = (Arc::clone(device), *address);
                before.neighbours.get(&key) == now.neighbours.get(&key)
            }
            Object::Tunnel | Object::TunnelMtu | Object::TunnelAddress(_) | Object::TunnelUp => {
                before.tunnel == now.tunnel
            }
        });
    }

    /// Forgets what has been left in peace.
    pub(super) fn end(&mut self, now: Instant) {
        self.fights.retain(|_, of| !of.fight.is_over(now));
    }
}

/// Whose route is there instead.
fn writer(step: &RouteStep, programmed: &ProgrammedRoutes) -> Option<Protocol> {
    match step {
        RouteStep::DeleteRoute(route) => Some(Protocol(route.protocol)),
        RouteStep::ReplaceRoute(route) => {
            let there = programmed.routes.get(&route.destination)?;
            there.iter().find(|one| one.takes_place_of(route)).map(|one| Protocol(one.protocol))
        }
        RouteStep::CreateTunnel
        | RouteStep::SetTunnelMtu(_)
        | RouteStep::AddTunnelAddress(_)
        | RouteStep::RaiseTunnel
        | RouteStep::RemoveTunnelAddress(_)
        | RouteStep::DeleteNeighbour { .. }
        | RouteStep::ReplaceNeighbour { .. } => None,
    }
}

pub(super) fn object(step: &RouteStep) -> Object {
    match step {
        RouteStep::DeleteRoute(route) => Object::Route(route.destination),
        RouteStep::ReplaceRoute(route) => Object::Route(route.destination),
        RouteStep::DeleteNeighbour { device, address }
        | RouteStep::ReplaceNeighbour { device, address, mac: _ } => {
            Object::Neighbour(Arc::clone(device), *address)
        }
        RouteStep::CreateTunnel => Object::Tunnel,
        RouteStep::SetTunnelMtu(_) => Object::TunnelMtu,
        RouteStep::AddTunnelAddress(address) => Object::TunnelAddress(*address),
        RouteStep::RemoveTunnelAddress(net) => Object::TunnelAddress(net.addr()),
        RouteStep::RaiseTunnel => Object::TunnelUp,
    }
}

/// The interfaces with which what the step is about comes and goes.
pub(super) fn devices(step: &RouteStep) -> Vec<&str> {
    match step {
        RouteStep::DeleteRoute(route) => {
            route.device.as_deref().into_iter().chain(route.hops.iter().map(|hop| &*hop.device)).collect()
        }
        RouteStep::ReplaceRoute(route) => ways_out(route),
        RouteStep::DeleteNeighbour { device, .. } | RouteStep::ReplaceNeighbour { device, .. } => {
            vec![device]
        }
        // Its own changes are what is undone.
        RouteStep::CreateTunnel
        | RouteStep::SetTunnelMtu(_)
        | RouteStep::AddTunnelAddress(_)
        | RouteStep::RaiseTunnel
        | RouteStep::RemoveTunnelAddress(_) => Vec::new(),
    }
}

/// It can't be done, or would be a gap, as long as there is no tunnel.
pub(super) fn needs_tunnel(step: &RouteStep, wanted: &RouteSet) -> bool {
    match step {
        RouteStep::DeleteRoute(there) => {
            let wanted = wanted.routes.get(&there.destination);
            wanted.is_some_and(|wanted| ways_out(&wanted.route).contains(&TUNNEL))
        }
        RouteStep::ReplaceRoute(route) => ways_out(route).contains(&TUNNEL),
        RouteStep::DeleteNeighbour { .. } | RouteStep::ReplaceNeighbour { .. } => false,
        RouteStep::CreateTunnel
        | RouteStep::SetTunnelMtu(_)
        | RouteStep::AddTunnelAddress(_)
        | RouteStep::RaiseTunnel
        | RouteStep::RemoveTunnelAddress(_) => true,
    }
}

fn ways_out(route: &Route) -> Vec<&str> {
    match &route.target {
        Target::Blackhole => Vec::new(),
        Target::Link(device) => vec![device],
        Target::Via { gateway: _, device, onlink: _ } => device.as_deref().into_iter().collect(),
        Target::Several(hops) => hops.iter().map(|hop| &*hop.device).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_keeps_changing_a_route_is_named() {
        let destination: IpNet = "10.0.0.1/32".parse().unwrap();
        let target = Target::Link("cali1".into());
        let route = Route { destination, target, protocol: 3, metric: 1024, source: None, mtu: None };
        let mut programmed = ProgrammedRoutes::default();
        let mut theirs = crate::sync::routes::KernelRoute::written(&route);
        theirs.protocol = 12;
        programmed.routes.insert(destination, vec![theirs]);
        let (step, now) = (RouteStep::ReplaceRoute(route), Instant::now());
        let mut truces = Truces::default();
        for _ in 0..3 {
            assert_eq!(truces.round(object(&step), &step, &programmed, now), None);
        }
        let said = truces.round(object(&step), &step, &programmed, now).unwrap();
        assert!(said.starts_with("another program, whose routes are of protocol 12 (bird), keeps"), "{said}");
        let until = now + Duration::from_secs(15);
        assert_eq!(truces.stands(&object(&step), now), Some(until));
        assert_eq!(truces.stands(&object(&step), until), None);
        assert_eq!(truces.stands(&Object::Tunnel, now), None);
    }
}
