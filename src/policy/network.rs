//! Pools and nodes, as NAT and encapsulation see them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::host_policy::{HostPolicy, Pool};
use crate::model::{EncapMode, IpPool, Node};

/// All pools and nodes, and whether what they give may have changed.
#[derive(Default)]
pub(super) struct Network {
    pools: BTreeMap<Arc<str>, IpPool>,
    nodes: BTreeMap<Arc<str>, Node>,
    pools_changed: bool,
    nodes_changed: bool,
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
        self.nodes.insert(Arc::clone(&node.name), node.clone());
        self.nodes_changed = true;
    }

    pub(super) fn delete_node(&mut self, name: &str) {
        self.nodes.remove(name);
        self.nodes_changed = true;
    }

    /// Brings what is desired up to date, for one host or many; what comes out the same keeps its `Arc`.
    pub(super) fn settle(&mut self, host: Option<&str>, desired: &mut HostPolicy) {
        if std::mem::take(&mut self.pools_changed) {
            desired.pools = self.pools_by_cidr(&desired.pools);
        }
        if std::mem::take(&mut self.nodes_changed) {
            let addresses = self.host_addresses();
            if *desired.host_addresses != addresses {
                desired.host_addresses = Arc::new(addresses);
            }
            desired.ipip_tunnel_addr = host.and_then(|host| self.tunnel_of(host));
        }
    }

    /// The address of the host's own tunl0.
    pub(super) fn tunnel_of(&self, host: &str) -> Option<Ipv4Addr> {
        self.nodes.get(host)?.ipip_tunnel_addr
    }

    /// By name: of two pools with one CIDR the lowest name counts (reference §3.6); those of Felix 2.1 have none.
    fn pools_by_cidr(&self, before: &BTreeMap<IpNet, Arc<Pool>>) -> BTreeMap<IpNet, Arc<Pool>> {
        let mut pools = BTreeMap::new();
        let (unnamed, named): (Vec<_>, Vec<_>) = self.pools.values().partition(|pool| pool.unnamed);
        for pool in named.into_iter().chain(unnamed) {
            pools.entry(pool.cidr).or_insert_with(|| {
                let pool = pool_for_nat(pool);
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

fn pool_for_nat(pool: &IpPool) -> Pool {
    let IpPool { name: _, cidr, ipip, vxlan: _, nat_outgoing, load_balancer_only, unnamed: _, place: _ } =
        pool;
    Pool {
        cidr: *cidr,
        ipip: match ipip {
            EncapMode::Never => false,
            EncapMode::Always | EncapMode::CrossSubnet => true,
        },
        nat_outgoing: *nat_outgoing,
        load_balancer_only: *load_balancer_only,
    }
}
