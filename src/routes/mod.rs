//! The routes, neighbours and tunnel that a host needs so that its workloads and those of other hosts reach each other.
//!
//! [`desired`] makes a [`RouteSet`] of a host's policy, its configuration and what is known of its interfaces.

mod choice;
mod cluster;
mod context;
mod local;
mod route_set;
#[cfg(test)]
mod tests;
mod text;
mod uplinks;
mod ways;

pub use route_set::{
    HeldBack, Hop, Neighbour, Owner, Ownership, Provenance, Remote, Route, RouteSet, Target, Tunnel,
    WantedRoute, Way, Why,
};
pub use text::{Via, Word};
pub use uplinks::{Gateway, Link, TellingError, Told, Uplinks};

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::Config;
use crate::model::IpVersion;
use crate::policy::HostPolicy;
use choice::Choice;
use context::Context;

/// The device that IP in IP goes through. The kernel makes it with this name.
pub const TUNNEL: &str = "tunl0";

/// The device that leads nowhere but to this host.
pub const LOOPBACK: &str = "lo";

/// What the host's main table, neighbours and tunnel should hold of ours.
pub fn desired(policy: &HostPolicy, uplinks: &Uplinks, config: &Config) -> RouteSet {
    let context = Context::new(policy, uplinks, config);
    let mut choice = Choice::default();
    local::offer(&context, &mut choice);
    cluster::offer(&context, &mut choice);
    let (routes, held_back) = choice.made();
    RouteSet {
        neighbours: neighbours(&routes, policy),
        routes,
        tunnel: policy
            .has_ipip(config)
            .then(|| Tunnel { mtu: context.tunnel_mtu(), address: policy.ipip_tunnel_addr }),
        held_back,
        ownership: ownership(policy, config),
    }
}

/// Permanent entries for the IPv4 addresses of endpoints whose hardware address is known: nobody has to ask for it.
fn neighbours(
    routes: &BTreeMap<IpNet, WantedRoute>,
    policy: &HostPolicy,
) -> BTreeMap<(Arc<str>, Ipv4Addr), Neighbour> {
    let neighbour = |wanted: &WantedRoute| {
        let id = wanted.provenance.endpoint()?;
        let mac = policy.endpoints.get(id)?.endpoint.mac.as_ref()?;
        match (&wanted.route.target, wanted.route.destination.addr()) {
            (Target::Link(device), IpAddr::V4(address)) => {
                let neighbour = Neighbour { mac: Arc::clone(mac), endpoint: id.clone() };
                Some(((Arc::clone(device), address), neighbour))
            }
            (Target::Blackhole | Target::Link(_) | Target::Via { .. } | Target::Several(_), _) => None,
        }
    };
    routes.values().filter_map(neighbour).collect()
}

fn ownership(policy: &HostPolicy, config: &Config) -> Ownership {
    let families: &[IpVersion] =
        if config.ipv6_support { &[IpVersion::V4, IpVersion::V6] } else { &[IpVersion::V4] };
    let pools = policy.pools.keys().filter_map(|cidr| match cidr {
        IpNet::V4(net) => Some(*net),
        IpNet::V6(_) => None,
    });
    Ownership {
        families: if config.routing.disabled { Vec::new() } else { families.to_vec() },
        tunnel: true,
        routing: config.routing.clone(),
        prefixes: config.interface_prefixes.clone(),
        pools: pools.collect(),
    }
}
