//! Parameters of routes and of the tunnel (reference §10, §11.2).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::value::choices;

/// Which routes are made, and what marks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Routes are left to others.
    pub disabled: bool,
    pub cluster_routes: ClusterRoutes,
    pub source: RouteSource,
    /// The protocol number of routes to this host's workloads. Unless it is [`Routing::BOOT`], it is that of all.
    pub protocol: u8,
    /// The address that this host speaks to its workloads from.
    pub source_v4: Option<Ipv4Addr>,
    pub source_v6: Option<Ipv6Addr>,
    pub metric_v4: u32,
    pub metric_v6: u32,
    /// Routes and neighbours of others on workloads' interfaces are removed.
    pub remove_external: bool,
    /// None: that of the interface below, less the outer header.
    pub ipip_mtu: Option<u32>,
    /// The address of tunl0, whatever this host's Node says.
    pub tunnel_address: Option<Ipv4Addr>,
    /// Where nobody says one, tunl0 has a spare one of this host's blocks.
    pub tunnel_address_from_block: bool,
}

/// Which routes to other hosts are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterRoutes {
    /// All, but for a block that another program has a route for.
    Auto,
    Enabled,
    IpipOnly,
    NoEncapOnly,
    Disabled,
}

impl ClusterRoutes {
    /// Those of pools with IP in IP, whether they go through the tunnel or not.
    pub fn has_ipip(self) -> bool {
        match self {
            Self::Auto | Self::Enabled | Self::IpipOnly => true,
            Self::NoEncapOnly | Self::Disabled => false,
        }
    }

    /// Those of pools without encapsulation.
    pub fn has_plain(self) -> bool {
        match self {
            Self::Auto | Self::Enabled | Self::NoEncapOnly => true,
            Self::IpipOnly | Self::Disabled => false,
        }
    }
}

/// What routes to other hosts are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteSource {
    /// Blocks of addresses.
    CalicoIpam,
    /// The addresses of endpoints.
    WorkloadIps,
}

choices!(ClusterRoutes {
    "Auto" => Auto,
    "Enabled" => Enabled,
    "EnabledIPIPOnly" => IpipOnly,
    "EnabledNoEncapOnly" => NoEncapOnly,
    "Disabled" => Disabled,
});
choices!(RouteSource { "CalicoIPAM" => CalicoIpam, "WorkloadIPs" => WorkloadIps });

impl Routing {
    /// What the kernel marks routes with that nobody named a protocol for (`RTPROT_BOOT`).
    pub const BOOT: u8 = 3;
    /// The number that is ours alone, where another one marks routes to workloads.
    const OURS: u8 = 80;

    /// The protocol number of routes to other hosts and of blackholes: who has it is ours.
    pub fn cluster_protocol(&self) -> u8 {
        if self.protocol == Self::BOOT { Self::OURS } else { self.protocol }
    }

    /// Whether a route on a workload's interface is ours by its protocol number, whoever else may write there.
    pub fn is_workload_protocol(&self, protocol: u8) -> bool {
        [Self::BOOT, Self::OURS, self.protocol].contains(&protocol)
    }
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            disabled: false,
            cluster_routes: ClusterRoutes::Auto,
            source: RouteSource::CalicoIpam,
            protocol: Self::BOOT,
            source_v4: None,
            source_v6: None,
            metric_v4: 1024,
            metric_v6: 1024,
            remove_external: true,
            ipip_mtu: None,
            tunnel_address: None,
            tunnel_address_from_block: false,
        }
    }
}
