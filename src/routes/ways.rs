//! Which interface leads to another host.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::TUNNEL;
use super::route_set::Target;
use super::uplinks::{Gateway, Uplinks};
use crate::config::Config;
use crate::model::IpVersion;
use crate::policy::NodeAddresses;

/// The interfaces that are up and not workloads', and other programs' routes.
pub(super) struct Ways<'u> {
    interfaces: Vec<Interface<'u>>,
    gateways: &'u [Gateway],
    own: [Option<IpAddr>; 2],
}

struct Interface<'u> {
    /// None for one that is only taken to be there.
    name: Option<&'u Arc<str>>,
    mtu: Option<u32>,
    addresses: Vec<IpNet>,
}

impl<'u> Ways<'u> {
    pub(super) fn new(own: Option<&NodeAddresses>, uplinks: &'u Uplinks, config: &Config) -> Self {
        let is_workloads =
            |name: &str| config.interface_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let up =
            uplinks.links.iter().filter(|link| link.up && *link.name != *TUNNEL && !is_workloads(&link.name));
        let mut interfaces: Vec<Interface<'_>> = up
            .map(|link| Interface {
                name: Some(&link.name),
                mtu: link.mtu,
                addresses: link.addresses.clone(),
            })
            .collect();
        let addresses = own.map(|own| [own.of(IpVersion::V4), own.of(IpVersion::V6)]).unwrap_or_default();
        if !uplinks.complete {
            let unseen =
                addresses.iter().flatten().filter(|(address, _)| holder(&interfaces, *address).is_none());
            let addresses = unseen.filter_map(|(address, subnet)| with_length(*address, *subnet)).collect();
            interfaces.push(Interface { name: None, mtu: None, addresses });
        }
        let own = addresses.map(|address| address.map(|(address, _)| address));
        Self { interfaces, gateways: &uplinks.gateways, own }
    }

    /// To the host itself where an interface has it in its subnet; else to the router that others have a route by; else
    /// to the host, as if it were on the link of this host's own address: there are networks without subnets.
    pub(super) fn to(&self, host: IpAddr) -> Option<Target> {
        if let Some(interface) = self.connected(host) {
            return Some(Target::Via { gateway: host, device: interface.name.cloned(), onlink: false });
        }
        let routers = self.gateways.iter().filter(|gateway| gateway.destination.contains(&host));
        if let Some(router) = routers.max_by_key(|gateway| gateway.destination.prefix_len()) {
            let device = Some(Arc::clone(&router.device));
            return Some(Target::Via { gateway: router.gateway, device, onlink: false });
        }
        let parent = self.parent(IpVersion::of(host))?.name?;
        Some(Target::Via { gateway: host, device: Some(Arc::clone(parent)), onlink: true })
    }

    /// Of the interface with this host's own IPv4 address.
    pub(super) fn parent_mtu(&self) -> Option<u32> {
        self.parent(IpVersion::V4)?.mtu
    }

    fn parent(&self, version: IpVersion) -> Option<&Interface<'u>> {
        let [v4, v6] = self.own;
        let own = match version {
            IpVersion::V4 => v4?,
            IpVersion::V6 => v6?,
        };
        holder(&self.interfaces, own)
    }

    /// The smallest subnet with the address; of two such, that of this host's own address, then the first.
    fn connected(&self, address: IpAddr) -> Option<&Interface<'u>> {
        let parent = self.parent(IpVersion::of(address)).map(|interface| interface.name);
        let subnets = self
            .interfaces
            .iter()
            .flat_map(|interface| interface.addresses.iter().map(move |net| (interface, net)));
        let having =
            subnets.filter(|(_, net)| net.prefix_len() < net.max_prefix_len() && net.contains(&address));
        let best = having.min_by_key(|(interface, net)| {
            (std::cmp::Reverse(net.prefix_len()), Some(interface.name) != parent, interface.name)
        });
        best.map(|(interface, _)| interface)
    }
}

fn holder<'i, 'u>(interfaces: &'i [Interface<'u>], address: IpAddr) -> Option<&'i Interface<'u>> {
    interfaces.iter().find(|interface| interface.addresses.iter().any(|net| net.addr() == address))
}

/// The address as an interface has it.
fn with_length(address: IpAddr, subnet: IpNet) -> Option<IpNet> {
    IpNet::new(address, subnet.prefix_len()).ok()
}
