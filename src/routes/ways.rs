//! Which interface leads to another host.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::route_set::{Hop, Target};
use super::uplinks::{Gateway, Uplinks};
use super::{LOOPBACK, TUNNEL};
use crate::config::Config;
use crate::model::IpVersion;
use crate::policy::NodeAddresses;

/// The interfaces that are up and lead to others than workloads, and other programs' routes.
pub(super) struct Ways<'u> {
    interfaces: Vec<Interface<'u>>,
    routes: BTreeMap<IpNet, &'u Gateway>,
    /// Of the prefixes of `routes`.
    lengths: BTreeSet<u8>,
    own: [Option<IpAddr>; 2],
}

struct Interface<'u> {
    /// None for one that is only taken to be there.
    name: Option<&'u Arc<str>>,
    mtu: Option<u32>,
    addresses: Vec<IpNet>,
}

/// Where packets to a host go, and by which length of prefix.
struct Found<T> {
    length: u8,
    to: T,
}

impl<'u> Ways<'u> {
    pub(super) fn new(own: Option<&NodeAddresses>, uplinks: &'u Uplinks, config: &Config) -> Self {
        let is_workloads =
            |name: &str| config.interface_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let leads_out = |name: &str| name != TUNNEL && name != LOOPBACK && !is_workloads(name);
        let up = uplinks.links.iter().filter(|link| link.up && leads_out(&link.name));
        let mut interfaces: Vec<Interface<'_>> = up
            .map(|link| Interface {
                name: Some(&link.name),
                mtu: link.mtu,
                addresses: link.addresses.clone(),
            })
            .collect();
        let addresses = own.map(|own| [own.of(IpVersion::V4), own.of(IpVersion::V6)]).unwrap_or_default();
        if !uplinks.complete {
            let is_told = |address: &IpAddr| {
                uplinks.links.iter().any(|link| link.addresses.iter().any(|net| net.addr() == *address))
            };
            let unseen = addresses.iter().flatten().filter(|(address, _)| !is_told(address));
            let addresses = unseen.filter_map(|(address, subnet)| with_length(*address, *subnet)).collect();
            interfaces.push(Interface { name: None, mtu: None, addresses });
        }
        let own = addresses.map(|address| address.map(|(address, _)| address));
        let routes: BTreeMap<IpNet, &Gateway> =
            uplinks.gateways.iter().map(|gateway| (gateway.destination, gateway)).collect();
        let lengths = routes.keys().map(IpNet::prefix_len).collect();
        Self { interfaces, routes, lengths, own }
    }

    /// The kernel's: of the interfaces' subnets and others' routes the longest prefix, and of two such the route. Where
    /// there is none the host is taken to be on the link of this host's own address: there are networks without subnets.
    pub(super) fn to(&self, host: IpAddr) -> Option<Target> {
        match (self.connected(host), self.routed(host)) {
            (Some(subnet), route) if route.as_ref().is_none_or(|route| route.length < subnet.length) => {
                let device = subnet.to.name.cloned();
                Some(Target::Via { gateway: host, device, onlink: false })
            }
            (_, Some(route)) => target(host, route.to),
            (_, None) => {
                let parent = self.parent(IpVersion::of(host))?.name?;
                Some(Target::Via { gateway: host, device: Some(Arc::clone(parent)), onlink: true })
            }
        }
    }

    /// Of the interface with this host's own IPv4 address; where none has it, as where it is the loopback's, the least
    /// of those that lead to the `hosts`.
    pub(super) fn parent_mtu(&self, hosts: &BTreeSet<IpAddr>) -> Option<u32> {
        if let Some(parent) = self.parent(IpVersion::V4) {
            return parent.mtu;
        }
        let [own, _] = self.own;
        let others = hosts.iter().filter(|host| host.is_ipv4() && Some(**host) != own);
        others.filter_map(|host| self.to(*host)).filter_map(|target| self.mtu_of(&target)).min()
    }

    fn mtu_of(&self, target: &Target) -> Option<u32> {
        let of_device = |device: &Arc<str>| self.named(device)?.mtu;
        match target {
            Target::Blackhole => None,
            Target::Link(device) | Target::Via { device: Some(device), .. } => of_device(device),
            Target::Via { device: None, .. } => None,
            Target::Several(hops) => hops.iter().filter_map(|hop| of_device(&hop.device)).min(),
        }
    }

    fn parent(&self, version: IpVersion) -> Option<&Interface<'u>> {
        let [v4, v6] = self.own;
        let own = match version {
            IpVersion::V4 => v4?,
            IpVersion::V6 => v6?,
        };
        self.interfaces.iter().find(|interface| interface.addresses.iter().any(|net| net.addr() == own))
    }

    fn named(&self, device: &str) -> Option<&Interface<'u>> {
        self.interfaces.iter().find(|interface| interface.name.is_some_and(|name| **name == *device))
    }

    /// The smallest subnet with the address; of two such, that of this host's own address, then the first.
    fn connected(&self, address: IpAddr) -> Option<Found<&Interface<'u>>> {
        let parent = self.parent(IpVersion::of(address)).map(|interface| interface.name);
        let subnets = self
            .interfaces
            .iter()
            .filter_map(|interface| Some(Found { length: interface.subnet_with(address)?, to: interface }));
        subnets.min_by_key(|found| (Reverse(found.length), Some(found.to.name) != parent, found.to.name))
    }

    /// The longest of others' routes to the address that leads through an interface that is there. What leads nowhere
    /// counts, and ends the search as it does in the kernel.
    fn routed(&self, address: IpAddr) -> Option<Found<Vec<Hop>>> {
        let nets = self.lengths.iter().rev().filter_map(|length| IpNet::new(address, *length).ok());
        let mut having = nets.filter_map(|net| self.routes.get(&net.trunc()));
        having.find_map(|route| {
            let Gateway { destination, hops } = *route;
            let usable: Vec<Hop> = hops.iter().filter_map(|hop| self.usable(hop, address)).collect();
            let found = Found { length: destination.prefix_len(), to: usable };
            (hops.is_empty() || !found.to.is_empty()).then_some(found)
        })
    }

    /// The hop as one on the way to the address, if its interface is there.
    fn usable(&self, hop: &Hop, address: IpAddr) -> Option<Hop> {
        let interface = self.named(&hop.device)?;
        let onlink = match hop.gateway {
            Some(_) => hop.onlink,
            None => interface.subnet_with(address).is_none(),
        };
        Some(Hop { onlink, ..hop.clone() })
    }
}

impl Interface<'_> {
    /// The length of its smallest subnet with the address.
    fn subnet_with(&self, address: IpAddr) -> Option<u8> {
        let subnets = self.addresses.iter().filter(|net| net.prefix_len() < net.max_prefix_len());
        subnets.filter(|net| net.contains(&address)).map(IpNet::prefix_len).max()
    }
}

/// None where there is no hop: packets to the host are dropped.
fn target(host: IpAddr, hops: Vec<Hop>) -> Option<Target> {
    let to_host = |hop: Hop| Hop { gateway: Some(hop.gateway.unwrap_or(host)), ..hop };
    let mut hops: Vec<Hop> = hops.into_iter().map(to_host).collect();
    hops.sort();
    match hops.as_slice() {
        [] => None,
        [Hop { device, gateway, onlink, weight: _ }] => Some(Target::Via {
            gateway: gateway.unwrap_or(host),
            device: Some(Arc::clone(device)),
            onlink: *onlink,
        }),
        _ => Some(Target::Several(hops)),
    }
}

/// The address as an interface has it.
fn with_length(address: IpAddr, subnet: IpNet) -> Option<IpNet> {
    IpNet::new(address, subnet.prefix_len()).ok()
}
