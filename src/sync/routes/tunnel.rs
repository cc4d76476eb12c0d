//! What changes of the tunnel (reference §10.5).

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::plan::RouteStep;
use super::programmed::{ProgrammedRoutes, ProgrammedTunnel};
use crate::routes::{RouteSet, Tunnel};

/// What comes before all routes, and what comes after them. A tunnel that is not wanted stays without an address of ours.
pub(super) fn steps(wanted: &RouteSet, programmed: &ProgrammedRoutes) -> (Vec<RouteStep>, Vec<RouteStep>) {
    if !wanted.ownership.tunnel {
        return (Vec::new(), Vec::new());
    }
    let none = BTreeSet::new();
    let (there, addresses) = match &programmed.tunnel {
        ProgrammedTunnel::Impossible | ProgrammedTunnel::Foreign => return (Vec::new(), Vec::new()),
        ProgrammedTunnel::Absent => (None, &none),
        ProgrammedTunnel::There { up, mtu, addresses } => (Some((*up, *mtu)), addresses),
    };
    let address = wanted.tunnel.as_ref().and_then(|tunnel| tunnel.address).map(Ipv4Net::from);
    let removed = addresses.iter().filter(|net| Some(**net) != address && is_ours(net, wanted, programmed));
    let removed = removed.map(|net| RouteStep::RemoveTunnelAddress(*net)).collect();
    let prepared = wanted.tunnel.as_ref().map(|tunnel| prepared(tunnel, there, addresses));
    (prepared.unwrap_or_default(), removed)
}

fn prepared(tunnel: &Tunnel, there: Option<(bool, u32)>, addresses: &BTreeSet<Ipv4Net>) -> Vec<RouteStep> {
    let Tunnel { mtu, address } = tunnel;
    let created = there.is_none().then_some(RouteStep::CreateTunnel);
    let mtu = mtu.filter(|mtu| there.is_none_or(|(_, now)| now != *mtu)).map(RouteStep::SetTunnelMtu);
    let address = address.filter(|address| !addresses.contains(&Ipv4Net::from(*address)));
    let raised = (!there.is_some_and(|(up, _)| up)).then_some(RouteStep::RaiseTunnel);
    [created, mtu, address.map(RouteStep::AddTunnelAddress), raised].into_iter().flatten().collect()
}

/// Only these are: others may have given the device one for their own ends.
fn is_ours(net: &Ipv4Net, wanted: &RouteSet, programmed: &ProgrammedRoutes) -> bool {
    let address = net.addr();
    programmed.given.contains(&address) || wanted.ownership.pools.iter().any(|pool| pool.contains(&address))
}
