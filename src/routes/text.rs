//! How routes and their reasons read.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::route_set::{HeldBack, Hop, Owner, Provenance, Remote, Route, Target, Way, Why};
use crate::config::Routing;
use crate::model::IpVersion;

/// A name as a shell takes it: the kernel lets interfaces be called almost anything.
pub struct Word<'w>(pub &'w str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.:@-".contains(c);
        if self.0.chars().all(is_plain) {
            f.write_str(self.0)
        } else {
            write!(f, "'{}'", self.0.replace('\'', "'\\''"))
        }
    }
}

impl fmt::Display for Route {
    /// As `ip route` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, target, protocol, metric, source, mtu } = self;
        match target {
            Target::Blackhole => write!(f, "blackhole {destination}")?,
            Target::Link(device) => {
                write!(f, "{destination} dev {}", Word(device))?;
                // Routes of IPv6 have no scope.
                if IpVersion::of(destination.addr()) == IpVersion::V4 {
                    f.write_str(" scope link")?;
                }
            }
            Target::Via { gateway, device, onlink } => {
                write!(f, "{destination} via {}", Via { of: destination, gateway: *gateway })?;
                if let Some(device) = device {
                    write!(f, " dev {}", Word(device))?;
                }
                if *onlink {
                    f.write_str(" onlink")?;
                }
            }
            // Behind all else: `ip` takes what follows to be the next hop's.
            Target::Several(_) => write!(f, "{destination}")?,
        }
        match *protocol {
            Routing::BOOT => f.write_str(" proto boot")?,
            other => write!(f, " proto {other}")?,
        }
        write!(f, " metric {metric}")?;
        if let Some(source) = source {
            write!(f, " src {source}")?;
        }
        if let Some(mtu) = mtu {
            write!(f, " mtu {mtu}")?;
        }
        match target {
            Target::Several(hops) => hops.iter().try_for_each(|hop| write_hop(f, destination, hop)),
            Target::Blackhole | Target::Link(_) | Target::Via { .. } => Ok(()),
        }
    }
}

fn write_hop(f: &mut fmt::Formatter<'_>, of: &IpNet, hop: &Hop) -> fmt::Result {
    let Hop { device, gateway, onlink, weight } = hop;
    f.write_str(" nexthop")?;
    if let Some(gateway) = *gateway {
        write!(f, " via {}", Via { of, gateway })?;
    }
    write!(f, " dev {} weight {weight}", Word(device))?;
    if *onlink { f.write_str(" onlink") } else { Ok(()) }
}

/// A gateway as `ip route` takes it: one of the other family must be said to be so.
pub struct Via<'a> {
    pub of: &'a IpNet,
    pub gateway: IpAddr,
}

impl fmt::Display for Via<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, gateway } = self;
        match (IpVersion::of(of.addr()), IpVersion::of(*gateway)) {
            (IpVersion::V4, IpVersion::V6) => write!(f, "inet6 {gateway}"),
            (IpVersion::V6, IpVersion::V4) => write!(f, "inet {gateway}"),
            (IpVersion::V4, IpVersion::V4) | (IpVersion::V6, IpVersion::V6) => write!(f, "{gateway}"),
        }
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(id) => write!(f, "an address of WorkloadEndpoint {id}"),
            Self::FloatingIp(id) => write!(f, "a floating IP of WorkloadEndpoint {id}"),
            Self::OwnBlock { pool } => write!(f, "a block of this host, of pool {pool}"),
            Self::Remote { node, what, pool, way } => {
                write!(f, "{what} of Node {node}, of pool {pool}: {way}")
            }
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block => f.write_str("a block"),
            Self::Borrowed { block } => write!(f, "an address borrowed from block {block}"),
            Self::Endpoint(id) => write!(f, "WorkloadEndpoint {id}"),
            Self::TunnelAddress => f.write_str("the tunnel's address"),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameSubnet => "in the same subnet",
            Self::Tunnel => "by IP in IP",
            Self::Plain => "without encapsulation",
            Self::IpipOff => "without encapsulation, since IP in IP is switched off",
        })
    }
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, of, why } = self;
        write!(f, "{destination} of {of}: {why}")
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(id) => write!(f, "WorkloadEndpoint {id}"),
            Self::Node(name) => write!(f, "Node {name}"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down { interface } => write!(f, "its interface {interface} is not up"),
            Self::NotAWorkloads { interface } => {
                write!(f, "its interface {interface} begins with no prefix of InterfacePrefix")
            }
            Self::AHostsOwn => f.write_str("it is a host's own address, which no workload has"),
            Self::YieldsTo(other) => write!(f, "{other} has it"),
            Self::NoPool => f.write_str("no pool has it"),
            Self::LoadBalancers { pool } => write!(f, "pool {pool} is for load balancers only"),
            Self::Vxlan { pool } => write!(f, "pool {pool} wants VXLAN, which is not made here"),
            Self::UnknownNode => f.write_str("nobody describes that node"),
            Self::NoAddress(IpVersion::V4) => f.write_str("that node has no IPv4 address"),
            Self::NoAddress(IpVersion::V6) => f.write_str("that node has no IPv6 address"),
            Self::OurAddress { address } => write!(f, "that node's address {address} is this host's own"),
            Self::NoWay { to } => write!(f, "no interface is known that leads to {to}"),
            Self::HoldsHost { address } => {
                write!(
                    f,
                    "it holds the host address {address}, and packets to that host would take this route"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_of_a_shell() {
        for (name, expected) in [
            ("cali18c1dc57ca", "cali18c1dc57ca"),
            ("eth0.5@a:b-c_d", "eth0.5@a:b-c_d"),
            ("a;reboot", "'a;reboot'"),
            ("a'b", r"'a'\''b'"),
            ("$a", "'$a'"),
        ] {
            assert_eq!(Word(name).to_string(), expected);
        }
    }
}
