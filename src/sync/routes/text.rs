//! Steps as commands.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::plan::{RoutePlan, RouteStep, Withheld, WithheldFor};
use super::programmed::{KernelRoute, RouteKind};
use crate::model::IpVersion;
use crate::routes::{TUNNEL, Via, Word};

/// Who made a route, by number and by the name that it usually stands for.
pub struct Protocol(pub u8);

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = self;
        let name = match number {
            2 => "kernel",
            3 => "boot",
            4 => "static",
            9 => "ra",
            11 => "zebra",
            12 => "bird",
            16 => "dhcp",
            18 => "keepalived",
            42 => "babel",
            80 => "felix",
            186 => "bgp",
            187 => "isis",
            188 => "ospf",
            189 => "rip",
            192 => "eigrp",
            _ => return write!(f, "{number}"),
        };
        write!(f, "{number} ({name})")
    }
}

impl RoutePlan {
    /// For `sh -e`, a step a line.
    pub fn text(&self) -> String {
        self.steps().map(|step| format!("{step}\n")).collect()
    }
}

impl fmt::Display for RouteStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The device comes with the module, in every network namespace.
            Self::CreateTunnel => f.write_str("modprobe ipip"),
            Self::SetTunnelMtu(mtu) => write!(f, "ip link set {TUNNEL} mtu {mtu}"),
            Self::RaiseTunnel => write!(f, "ip link set {TUNNEL} up"),
            Self::AddTunnelAddress(address) => write!(f, "ip addr replace {address}/32 dev {TUNNEL}"),
            Self::RemoveTunnelAddress(net) => write!(f, "ip addr del {net} dev {TUNNEL}"),
            Self::DeleteRoute(route) => write!(f, "{} route del {route}", ip(route.destination.addr())),
            Self::ReplaceRoute(route) => write!(f, "{} route replace {route}", ip(route.destination.addr())),
            Self::DeleteNeighbour { device, address } => write!(f, "ip neigh del {}", at(*address, device)),
            Self::ReplaceNeighbour { device, address, mac } => {
                write!(f, "ip neigh replace {} lladdr {mac} nud permanent", at(*address, device))
            }
        }
    }
}

fn ip(address: IpAddr) -> &'static str {
    match IpVersion::of(address) {
        IpVersion::V4 => "ip",
        IpVersion::V6 => "ip -6",
    }
}

fn at(address: Ipv4Addr, device: &str) -> String {
    format!("{address} dev {}", Word(device))
}

impl fmt::Display for KernelRoute {
    /// As far as `ip route del` needs it to find this one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            destination,
            kind,
            protocol,
            gateway,
            device,
            metric,
            scope: _,
            onlink: _,
            hops: _,
            mtu: _,
            source: _,
        } = self;
        match kind {
            RouteKind::Unicast => {}
            RouteKind::Blackhole => f.write_str("blackhole ")?,
            RouteKind::Other(7) => f.write_str("unreachable ")?,
            RouteKind::Other(8) => f.write_str("prohibit ")?,
            RouteKind::Other(9) => f.write_str("throw ")?,
            RouteKind::Other(number) => write!(f, "{number} ")?,
        }
        write!(f, "{destination}")?;
        if let Some(gateway) = *gateway {
            write!(f, " via {}", Via { of: destination, gateway })?;
        }
        if let Some(device) = device {
            write!(f, " dev {}", Word(device))?;
        }
        write!(f, " proto {protocol} metric {metric}")
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, why } = self;
        match why {
            WithheldFor::Writer { protocol } => {
                write!(
                    f,
                    "{destination}: another program has a route for it, of protocol {}",
                    Protocol(*protocol)
                )
            }
            WithheldFor::NoTunnel => write!(f, "{destination}: there can be no tunnel"),
        }
    }
}
