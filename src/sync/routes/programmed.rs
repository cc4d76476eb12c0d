//! What the kernel has, as far as routes go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use crate::model::IpVersion;
use crate::routes::{Hop, Route, Target};

/// What a host's main table, neighbours and tunnel are. The default is a kernel without any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgrammedRoutes {
    /// All of the main table, others' too. Those of one destination in the kernel's order.
    pub routes: BTreeMap<IpNet, Vec<KernelRoute>>,
    /// Permanent ones with a hardware address, of workloads' interfaces.
    pub neighbours: BTreeMap<(Arc<str>, Ipv4Addr), Arc<str>>,
    pub tunnel: ProgrammedTunnel,
    /// Addresses that this process gave to the tunnel: they are ours although their pool may be gone. Whoever reads the
    /// kernel anew carries them over.
    pub given: BTreeSet<Ipv4Addr>,
    /// Interfaces that came a moment ago. What is unexpected there stays for now: it may be of the orchestrator, which
    /// tells us a little later.
    pub fresh: BTreeSet<Arc<str>>,
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    pub destination: IpNet,
    pub kind: RouteKind,
    pub protocol: u8,
    /// IPv6's are all global.
    pub scope: Scope,
    /// None for one with several hops, too.
    pub gateway: Option<IpAddr>,
    /// None for one that leads nowhere, whatever IPv6 says, or has several hops.
    pub device: Option<Arc<str>>,
    pub metric: u32,
    pub onlink: bool,
    /// Of one with several, sorted. Those whose interface is down are not among them.
    pub hops: Vec<Hop>,
    pub mtu: Option<u32>,
    pub source: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    Unicast,
    Blackhole,
    /// `RTN_…`
    Other(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Global,
    Link,
    /// `RT_SCOPE_…`
    Other(u8),
}

/// `tunl0` as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProgrammedTunnel {
    #[default]
    Absent,
    /// The kernel has no IP in IP, which was tried.
    Impossible,
    /// Somebody's interface of another kind has the name.
    Foreign,
    There {
        up: bool,
        mtu: u32,
        addresses: BTreeSet<Ipv4Net>,
    },
}

impl KernelRoute {
    /// What the kernel has once `route` was written. A device that was left to the kernel to find stays unknown.
    pub fn written(route: &Route) -> Self {
        let Route { destination, target, protocol, metric, source, mtu } = route;
        let (scope, gateway, device, onlink, hops) = match target {
            Target::Blackhole => (Scope::Global, None, None, false, Vec::new()),
            Target::Link(device) => {
                let scope = match IpVersion::of(destination.addr()) {
                    IpVersion::V4 => Scope::Link,
                    IpVersion::V6 => Scope::Global,
                };
                (scope, None, Some(Arc::clone(device)), false, Vec::new())
            }
            Target::Via { gateway, device, onlink } => {
                (Scope::Global, Some(*gateway), device.clone(), *onlink, Vec::new())
            }
            Target::Several(hops) => (Scope::Global, None, None, false, hops.clone()),
        };
        let kind = match target {
            Target::Blackhole => RouteKind::Blackhole,
            Target::Link(_) | Target::Via { .. } | Target::Several(_) => RouteKind::Unicast,
        };
        Self {
            destination: *destination,
            kind,
            protocol: *protocol,
            scope,
            gateway,
            device,
            metric: *metric,
            onlink,
            hops,
            mtu: *mtu,
            source: *source,
        }
    }

    /// It is as wanted.
    pub fn is(&self, wanted: &Route) -> bool {
        let mut written = Self::written(wanted);
        if let Target::Via { device: None, .. } = wanted.target {
            written.device.clone_from(&self.device);
        }
        *self == written
    }

    /// The kernel keeps one route for both, and replaces it by whichever is written.
    pub fn takes_place_of(&self, wanted: &Route) -> bool {
        self.destination == wanted.destination && self.metric == wanted.metric
    }
}
