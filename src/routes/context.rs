//! What all routes of a host are made from.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::route_set::Target;
use super::uplinks::{Link, Uplinks};
use super::ways::Ways;
use crate::config::Config;
use crate::model::IpVersion;
use crate::policy::{HostPolicy, NodeAddresses, Pool};

/// The outer header of IP in IP.
const IPIP_HEADER: u32 = 20;

pub(super) struct Context<'a> {
    pub policy: &'a HostPolicy,
    pub config: &'a Config,
    /// By IP in IP, where pools want it.
    pub ipip: bool,
    links: BTreeMap<&'a str, &'a Link>,
    /// Nobody looked: what is not among the links counts as up.
    assumes: bool,
    ways: Ways<'a>,
    tunnel_mtu: Option<u32>,
}

impl<'a> Context<'a> {
    pub(super) fn new(policy: &'a HostPolicy, uplinks: &'a Uplinks, config: &'a Config) -> Self {
        let own = policy.host.as_ref().and_then(|host| policy.nodes.get(host)).map(|node| &**node);
        let ipip = policy.has_ipip(config);
        let ways = Ways::new(own, uplinks, config);
        let parent = || if ipip { ways.parent_mtu(&policy.host_addresses) } else { None };
        let tunnel_mtu =
            config.routing.ipip_mtu.or_else(|| parent().map(|mtu| mtu.saturating_sub(IPIP_HEADER)));
        Self {
            policy,
            config,
            ipip,
            links: uplinks.links.iter().map(|link| (&*link.name, link)).collect(),
            assumes: !uplinks.complete,
            ways,
            tunnel_mtu,
        }
    }

    /// This host's addresses, where its Node says them.
    pub(super) fn own(&self) -> Option<&'a NodeAddresses> {
        Some(&**self.policy.nodes.get(self.policy.host.as_ref()?)?)
    }

    /// The routes of this family are ours to make.
    pub(super) fn makes(&self, destination: &IpNet) -> bool {
        !self.config.routing.disabled
            && match IpVersion::of(destination.addr()) {
                IpVersion::V4 => true,
                IpVersion::V6 => self.config.ipv6_support,
            }
    }

    /// Of no workload, whoever claims it: the kernel knows its own addresses, and hosts find each other without us.
    pub(super) fn is_a_hosts_own(&self, destination: &IpNet) -> bool {
        let address = destination.addr();
        let is_tunnel = self.policy.ipip_tunnel_addr.is_some_and(|own| IpAddr::V4(own) == address);
        is_single(destination) && (is_tunnel || self.policy.host_addresses.contains(&address))
    }

    /// The index of an interface that is up; 0 where it is only taken to be.
    pub(super) fn up(&self, interface: &str) -> Option<u32> {
        match self.links.get(interface) {
            Some(link) => link.up.then_some(link.index),
            None => self.assumes.then_some(0),
        }
    }

    pub(super) fn metric(&self, destination: &IpNet) -> u32 {
        match IpVersion::of(destination.addr()) {
            IpVersion::V4 => self.config.routing.metric_v4,
            IpVersion::V6 => self.config.routing.metric_v6,
        }
    }

    /// The pool that has the addresses: of several the smallest.
    pub(super) fn pool(&self, destination: &IpNet) -> Option<&'a Arc<Pool>> {
        let having = self.policy.pools.values().filter(|pool| pool.cidr.contains(destination));
        having.max_by_key(|pool| pool.cidr.prefix_len())
    }

    /// How packets get to a host without a tunnel.
    pub(super) fn way(&self, to: IpAddr) -> Option<Target> {
        self.ways.to(to)
    }

    /// As configured, else what the interface below leaves.
    pub(super) fn tunnel_mtu(&self) -> Option<u32> {
        self.tunnel_mtu
    }
}

pub(super) fn is_single(destination: &IpNet) -> bool {
    destination.prefix_len() == destination.max_prefix_len()
}
