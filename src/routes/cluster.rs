//! Routes to the workloads of other hosts, and the ends of this host's own blocks (reference §10.2, §10.3).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use super::TUNNEL;
use super::choice::Choice;
use super::context::{Context, is_single};
use super::route_set::{Owner, Provenance, Remote, Route, Target, WantedRoute, Way, Why};
use crate::config::RouteSource;
use crate::model::IpVersion;
use crate::policy::{Encapsulation, Pool};

/// Addresses, and the host that has them.
struct Claim<'a> {
    destination: IpNet,
    node: &'a Arc<str>,
    what: Remote,
}

/// A pool whose packets find their way by our routes.
struct Carried {
    pool: IpNet,
    /// By IP in IP: always, or between subnets.
    ipip: bool,
    cross_subnet: bool,
    /// The pool wants IP in IP, which is switched off.
    off: bool,
}

/// What each host has, as far as the configuration wants routes for it.
pub(super) fn offer(context: &Context<'_>, choice: &mut Choice) {
    let Some(host) = &context.policy.host else { return };
    let claims = match context.config.routing.source {
        RouteSource::CalicoIpam => of_blocks(context),
        RouteSource::WorkloadIps => of_workloads(context),
    };
    for claim in claims.into_iter().chain(of_tunnels(context)) {
        let Claim { destination, node, what } = &claim;
        if !context.makes(destination) || context.is_a_hosts_own(destination) {
            continue;
        }
        let offered = match (*node == host, what) {
            (true, Remote::Block) => offer_blackhole(context, *destination, choice),
            // What it has of others is its endpoints'.
            (true, Remote::Borrowed { .. } | Remote::Endpoint(_) | Remote::TunnelAddress) => Ok(()),
            (false, _) => offer_remote(context, &claim, choice),
        };
        if let Err(why) = offered {
            choice.hold_back(*destination, Owner::Node(Arc::clone(node)), why);
        }
    }
}

fn of_blocks<'a>(context: &Context<'a>) -> Vec<Claim<'a>> {
    let blocks = context.policy.blocks.values();
    let claims = blocks.flat_map(|block| {
        let whole =
            block.node.iter().map(|node| Claim { destination: block.cidr, node, what: Remote::Block });
        let borrowed = block.borrowed.iter().map(|(address, node)| Claim {
            destination: IpNet::from(*address),
            node,
            what: Remote::Borrowed { block: block.cidr },
        });
        whole.chain(borrowed)
    });
    claims.collect()
}

fn of_workloads<'a>(context: &Context<'a>) -> Vec<Claim<'a>> {
    let workloads = context.policy.workloads.iter();
    let claims = workloads.flat_map(|(id, networks)| {
        networks.iter().map(|net| Claim {
            destination: *net,
            node: &id.node,
            what: Remote::Endpoint(id.clone()),
        })
    });
    claims.collect()
}

/// The addresses of other hosts' tunnels that no block of theirs leads to: hosts speak from them to workloads.
fn of_tunnels<'a>(context: &Context<'a>) -> Vec<Claim<'a>> {
    let blocks = &context.policy.blocks;
    let by_blocks = context.config.routing.source == RouteSource::CalicoIpam;
    let lengths: BTreeSet<u8> = blocks.keys().map(IpNet::prefix_len).filter(|_| by_blocks).collect();
    let owner = |address: Ipv4Addr| {
        let nets = lengths.iter().rev().filter_map(|length| Ipv4Net::new(address, *length).ok());
        nets.filter_map(|net| blocks.get(&IpNet::V4(net.trunc()))).next()?.node.as_ref()
    };
    let claims = context.policy.nodes.iter().filter_map(|(node, addresses)| {
        let address = addresses.ipip_tunnel_addr?;
        let destination = IpNet::from(IpAddr::V4(address));
        let needed = owner(address) != Some(node) && context.pool(&destination).is_some();
        needed.then_some(Claim { destination, node, what: Remote::TunnelAddress })
    });
    claims.collect()
}

/// What nobody has of an own block ends here: it would else follow the default route, and come back.
fn offer_blackhole(context: &Context<'_>, destination: IpNet, choice: &mut Choice) -> Result<(), Why> {
    let pool = context.pool(&destination).ok_or(Why::NoPool)?;
    let Some(carried) = carried(context, pool)?.filter(|_| !is_single(&destination)) else { return Ok(()) };
    holds_no_host(context, &destination)?;
    let provenance = Provenance::OwnBlock { pool: carried.pool };
    choice.offer(made(context, destination, Target::Blackhole, None, provenance), 0);
    Ok(())
}

/// A way to the host that has the addresses, or why there is none.
fn offer_remote(context: &Context<'_>, claim: &Claim<'_>, choice: &mut Choice) -> Result<(), Why> {
    let Claim { destination, node, what } = claim;
    let Some(carried) = carried(context, context.pool(destination).ok_or(Why::NoPool)?)? else {
        return Ok(());
    };
    let version = IpVersion::of(destination.addr());
    let addresses = context.policy.nodes.get(*node).ok_or(Why::UnknownNode)?;
    let (gateway, _) = addresses.of(version).ok_or(Why::NoAddress(version))?;
    let own = context.own().and_then(|own| own.of(version));
    if own.is_some_and(|(own, _)| own == gateway) {
        return Err(Why::OurAddress { address: gateway });
    }
    let same_subnet = carried.cross_subnet && own.is_some_and(|(_, subnet)| subnet.contains(&gateway));
    let direct = if carried.ipip && !same_subnet { None } else { context.way(gateway) };
    let (target, mtu, way) = match (direct, carried.ipip) {
        (Some(target), true) => (target, None, Way::SameSubnet),
        (Some(target), false) => (target, None, if carried.off { Way::IpipOff } else { Way::Plain }),
        (None, false) => return Err(Why::NoWay { to: gateway }),
        (None, true) => {
            holds_no_host(context, destination)?;
            let target = Target::Via { gateway, device: Some(TUNNEL.into()), onlink: true };
            (target, context.tunnel_mtu(), Way::Tunnel)
        }
    };
    let provenance =
        Provenance::Remote { node: Arc::clone(node), what: what.clone(), pool: carried.pool, way };
    choice.offer(made(context, *destination, target, mtu, provenance), 0);
    Ok(())
}

/// How the pool's packets are carried; None where the configuration leaves that to others.
fn carried(context: &Context<'_>, pool: &Pool) -> Result<Option<Carried>, Why> {
    let Pool { cidr, encapsulation, nat_outgoing: _, load_balancer_only } = pool;
    if *load_balancer_only {
        return Err(Why::LoadBalancers { pool: *cidr });
    }
    let (wants_ipip, cross_subnet) = match encapsulation {
        Encapsulation::Vxlan => return Err(Why::Vxlan { pool: *cidr }),
        Encapsulation::None => (false, false),
        Encapsulation::Ipip => (true, false),
        Encapsulation::IpipCrossSubnet => (true, true),
    };
    let ipip = wants_ipip && context.ipip;
    let wanted = context.config.routing.cluster_routes;
    let is_wanted = if ipip { wanted.has_ipip() } else { wanted.has_plain() };
    let off = wants_ipip && !ipip;
    Ok(is_wanted.then_some(Carried { pool: *cidr, ipip, cross_subnet, off }))
}

/// No other host has its address in there. The tunnel's packets go to the gateway, and those of other tunnels to other
/// hosts: none of them may be sent into this one, or dropped.
fn holds_no_host(context: &Context<'_>, destination: &IpNet) -> Result<(), Why> {
    let version = IpVersion::of(destination.addr());
    let own = context.own().and_then(|own| own.of(version)).map(|(address, _)| address);
    let range = destination.network()..=destination.broadcast();
    let mut inside = context.policy.host_addresses.range(range).filter(|address| Some(**address) != own);
    inside.next().map_or(Ok(()), |address| Err(Why::HoldsHost { address: *address }))
}

fn made(
    context: &Context<'_>,
    destination: IpNet,
    target: Target,
    mtu: Option<u32>,
    provenance: Provenance,
) -> WantedRoute {
    let protocol = context.config.routing.cluster_protocol();
    let metric = context.metric(&destination);
    WantedRoute { route: Route { destination, target, protocol, metric, source: None, mtu }, provenance }
}
