//! The host whose kernel is asked: its interfaces, addresses and routes.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use felix_rs::verdict::packet::Way;
use ipnet::IpNet;

/// The host. Its routes are all that decides where a packet goes: its addresses bring none along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    pub interfaces: Vec<Interface>,
    /// The host's own addresses that are on no interface but `lo`.
    pub addresses: Vec<IpAddr>,
}

/// An interface with no neighbours to ask for, such as a cable to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// At most 15 bytes; not `lo`.
    pub name: Arc<str>,
    /// What is routed by it. The longest prefix counts; no two interfaces may have the same.
    pub routes: Vec<IpNet>,
    /// The host's own addresses on it.
    pub addresses: Vec<IpAddr>,
}

/// Where the host's routes lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'w> {
    /// One of its own addresses.
    Host,
    By(&'w Interface),
    Nowhere,
}

impl World {
    pub fn route(&self, to: IpAddr) -> Route<'_> {
        if self.own().any(|address| address == to) {
            return Route::Host;
        }
        let routes = self.interfaces.iter().flat_map(|interface| {
            interface
                .routes
                .iter()
                .filter(|net| net.contains(&to))
                .map(move |net| (net.prefix_len(), interface))
        });
        routes.max_by_key(|(prefix, _)| *prefix).map_or(Route::Nowhere, |(_, interface)| Route::By(interface))
    }

    /// The way of a packet that comes in by an interface, or else from the host; None where it has none, or would
    /// never leave the host.
    pub fn way(&self, input: Option<&Arc<str>>, destination: IpAddr) -> Option<Way> {
        match (input.cloned(), self.route(destination)) {
            (Some(input), Route::Host) => Some(Way::ToHost { input }),
            (Some(input), Route::By(output)) => Some(Way::Forwarded { input, output: output.name.clone() }),
            (None, Route::By(output)) => Some(Way::FromHost { output: output.name.clone() }),
            (None, Route::Host) | (_, Route::Nowhere) => None,
        }
    }

    /// Whether an answer to the source would leave by the interface: what `-m rpfilter` asks.
    pub fn routes_back(&self, input: &str, source: IpAddr) -> bool {
        matches!(self.route(source), Route::By(interface) if *interface.name == *input)
    }

    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.interfaces.iter().position(|interface| *interface.name == *name)
    }

    /// All addresses that are the host's.
    fn own(&self) -> impl Iterator<Item = IpAddr> {
        let on_interfaces = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        self.addresses.iter().chain(on_interfaces).copied()
    }

    /// Those of IPv6.
    pub fn own_v6(&self) -> Vec<Ipv6Addr> {
        let v6 = |address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        };
        self.own().filter_map(v6).collect()
    }

    /// What `ip -batch` makes it from, once the interfaces exist.
    pub fn batch(&self) -> String {
        let mut text = "link set lo up\n".to_owned();
        let on_lo = self.addresses.iter().map(|address| ("lo", address));
        let on_interfaces = self
            .interfaces
            .iter()
            .flat_map(|interface| interface.addresses.iter().map(move |address| (&*interface.name, address)));
        for Interface { name, .. } in &self.interfaces {
            let _ = writeln!(text, "link set {name} up");
        }
        for (name, address) in on_lo.chain(on_interfaces) {
            let _ = writeln!(text, "address add {} dev {name}", IpNet::from(*address));
        }
        for Interface { name, routes, .. } in &self.interfaces {
            for route in routes {
                let _ = writeln!(text, "route add {} dev {name}", route.trunc());
            }
        }
        text
    }
}
