//! What is ours among the kernel's routes (reference §10.4).

use std::net::IpAddr;

use ipnet::IpNet;

use super::programmed::{KernelRoute, RouteKind};
use crate::config::ClusterRoutes;
use crate::model::IpVersion;
use crate::routes::{Ownership, TUNNEL};

/// The kernel's own routes, which come and go with an interface's addresses (`RTPROT_KERNEL`).
const KERNEL: u8 = 2;
/// `RTPROT_BIRD`
const BIRD: u8 = 12;

/// Of these families everything is ours to look at.
pub(super) fn is_in_scope(ownership: &Ownership, destination: &IpNet) -> bool {
    ownership.families.contains(&IpVersion::of(destination.addr()))
}

/// The route is ours: who has our protocol number, or leads down a workload's interface. With IP in IP expressly ours, a
/// BIRD's through the tunnel are left over from when they were its own.
pub(super) fn is_ours(ownership: &Ownership, route: &KernelRoute) -> bool {
    let routing = &ownership.routing;
    if is_the_links_own(&route.destination) {
        return false;
    }
    if route.protocol == routing.cluster_protocol() {
        return true;
    }
    let Some(device) = route.device.as_deref().filter(|_| route.kind == RouteKind::Unicast) else {
        return false;
    };
    if ownership.is_workloads(device) {
        let removable = routing.remove_external && route.protocol != KERNEL;
        return removable || routing.is_workload_protocol(route.protocol);
    }
    let owns_tunnel = match routing.cluster_routes {
        ClusterRoutes::Enabled | ClusterRoutes::IpipOnly => true,
        ClusterRoutes::Auto | ClusterRoutes::NoEncapOnly | ClusterRoutes::Disabled => false,
    };
    owns_tunnel && device == TUNNEL && route.protocol == BIRD
}

/// Link-local and multicast of IPv6: every interface has them.
fn is_the_links_own(destination: &IpNet) -> bool {
    match destination.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    }
}
