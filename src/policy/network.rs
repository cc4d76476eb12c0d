//! Pools, nodes, blocks and addresses, as NAT, encapsulation and routes see them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::blocks::Blocks;
use super::calc::{Settings, settle};
use super::host_policy::{Encapsulation, HostPolicy, NodeAddresses, Pool};
use crate::model::{EncapMode, IpPool, Node, WorkloadEndpoint, WorkloadId};

/// All that routes are made of, and whether what it gives may have changed.
#[derive(Default)]
pub(super) struct Network {
    pub(super) blocks: Blocks,
    pools: BTreeMap<Arc<str>, IpPool>,
    nodes: BTreeMap<Arc<str>, Node>,
    /// The addresses of all hosts' endpoints.
    workloads: BTreeMap<WorkloadId, Arc<Vec<IpNet>>>,
    pools_changed: bool,
    dirty_nodes: BTreeSet<Arc<str>>,
    dirty_workloads: BTreeSet<WorkloadId>,
    /// As of the last settling.
    settings: Settings,
}

impl Network {
    pub(super) fn put_pool(&mut self, pool: &IpPool) {
        self.pools.insert(Arc::clone(&pool.name), pool.clone());
        self.pools_changed = true;
    }

    pub(super) fn delete_pool(&mut self, name: &str) {
        self.pools.remove(name);
        self.pools_changed = true;
    }

    pub(super) fn put_node(&mut self, node: &Node) {
        self.dirty_nodes.insert(Arc::clone(&node.name));
        self.nodes.insert(Arc::clone(&node.name), node.clone());
    }

    pub(super) fn delete_node(&mut self, name: &Arc<str>) {
        self.dirty_nodes.insert(Arc::clone(name));
        self.nodes.remove(name);
    }

    pub(super) fn put_workload(&mut self, endpoint: &WorkloadEndpoint) {
        self.dirty_workloads.insert(endpoint.id.clone());
        self.workloads.insert(endpoint.id.clone(), Arc::new(endpoint.networks.clone()));
    }

    pub(super) fn delete_workload(&mut self, id: &WorkloadId) {
        self.dirty_workloads.insert(id.clone());
        self.workloads.remove(id);
    }

    /// Brings what is desired up to date, for one host or many; what comes out the same keeps its `Arc`.
    pub(super) fn settle(&mut self, host: Option<&str>, settings: Settings, desired: &mut HostPolicy) {
        let reset = std::mem::replace(&mut self.settings, settings) != settings;
        if std::mem::take(&mut self.pools_changed) {
            desired.pools = self.pools_by_cidr(&desired.pools);
        }
        let nodes = std::mem::take(&mut self.dirty_nodes);
        let blocks = self.blocks.take_dirty();
        let mut workloads = std::mem::take(&mut self.dirty_workloads);
        if !nodes.is_empty() {
            let addresses = self.host_addresses();
            if *desired.host_addresses != addresses {
                desired.host_addresses = Arc::new(addresses);
            }
        }
        if reset {
            workloads.extend(self.workloads.keys().cloned());
        }
        let changed = reset || !nodes.is_empty() || !blocks.is_empty() || !workloads.is_empty();
        for name in nodes {
            let value = self.nodes.get(&name).map(addresses_of);
            settle(&mut desired.nodes, name, value);
        }
        for cidr in blocks {
            let value = self.blocks.block(&cidr);
            settle(&mut desired.blocks, cidr, value);
        }
        self.settle_workloads(workloads, desired);
        if changed {
            desired.ipip_tunnel_addr = host.and_then(|host| self.tunnel_of(host, desired));
        }
    }

    fn settle_workloads(&self, dirty: BTreeSet<WorkloadId>, desired: &mut HostPolicy) {
        for id in dirty {
            let networks = self.workloads.get(&id).filter(|_| self.settings.routes_of_workloads);
            match (networks, desired.workloads.get(&id)) {
                (Some(now), Some(before)) if now == before => {}
                (Some(now), _) => drop(desired.workloads.insert(id, Arc::clone(now))),
                (None, _) => drop(desired.workloads.remove(&id)),
            }
        }
    }

    /// The address of the host's own tunl0: as configured, else as its Node says, else a spare one of its blocks where
    /// that is allowed.
    pub(super) fn tunnel_of(&self, host: &str, desired: &HostPolicy) -> Option<Ipv4Addr> {
        let Settings { tunnel_address, tunnel_address_from_block, .. } = self.settings;
        let said = || self.nodes.get(host)?.ipip_tunnel_addr;
        let spare = || {
            let taken = self.taken_addresses();
            self.blocks.spare_address(host, desired.blocks.values(), |address| taken.contains(&address))
        };
        tunnel_address.or_else(said).or_else(|| tunnel_address_from_block.then(spare)?)
    }

    /// Of everybody that is known, whether or not address management knows it.
    fn taken_addresses(&self) -> BTreeSet<IpAddr> {
        let workloads = self.workloads.values().flat_map(|networks| networks.iter().map(IpNet::addr));
        let tunnels = self.nodes.values().filter_map(|node| node.ipip_tunnel_addr).map(IpAddr::V4);
        workloads.chain(tunnels).chain(self.host_addresses()).collect()
    }

    /// By name: of two pools with one CIDR the lowest name counts (reference §3.6); those of Felix 2.1 have none.
    fn pools_by_cidr(&self, before: &BTreeMap<IpNet, Arc<Pool>>) -> BTreeMap<IpNet, Arc<Pool>> {
        let mut pools = BTreeMap::new();
        let (unnamed, named): (Vec<_>, Vec<_>) = self.pools.values().partition(|pool| pool.unnamed);
        for pool in named.into_iter().chain(unnamed) {
            pools.entry(pool.cidr).or_insert_with(|| {
                let pool = pool_of(pool);
                let same = before.get(&pool.cidr).filter(|before| ***before == pool);
                same.map_or_else(|| Arc::new(pool), Arc::clone)
            });
        }
        pools
    }

    fn host_addresses(&self) -> BTreeSet<IpAddr> {
        let addresses = self.nodes.values().flat_map(|node| {
            let v4 = node.ipv4.map(|(address, _)| address.into());
            let v6 = node.ipv6.map(|(address, _)| address.into());
            v4.into_iter().chain(v6)
        });
        addresses.collect()
    }
}

fn addresses_of(node: &Node) -> NodeAddresses {
    let Node { name: _, labels: _, ipv4, ipv6, ipip_tunnel_addr, place: _ } = node;
    NodeAddresses { ipv4: *ipv4, ipv6: *ipv6, ipip_tunnel_addr: *ipip_tunnel_addr }
}

fn pool_of(pool: &IpPool) -> Pool {
    let IpPool { name: _, cidr, ipip, vxlan, nat_outgoing, load_balancer_only, unnamed: _, place: _ } = pool;
    Pool {
        cidr: *cidr,
        encapsulation: match (vxlan, ipip) {
            (EncapMode::Always | EncapMode::CrossSubnet, _) => Encapsulation::Vxlan,
            (EncapMode::Never, EncapMode::Always) => Encapsulation::Ipip,
            (EncapMode::Never, EncapMode::CrossSubnet) => Encapsulation::IpipCrossSubnet,
            (EncapMode::Never, EncapMode::Never) => Encapsulation::None,
        },
        nat_outgoing: *nat_outgoing,
        load_balancer_only: *load_balancer_only,
    }
}
