//! Which host has which addresses, by the values of blocks and, where there is none, by who lays claim to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::host_policy::Block;
use crate::model::{BlockAffinity, IpamBlock};

/// All blocks and affinities, and those that may have changed.
#[derive(Default)]
pub(super) struct Blocks {
    values: BTreeMap<IpNet, IpamBlock>,
    affinities: BTreeMap<Arc<str>, BlockAffinity>,
    /// The names of a block's affinities: normally one.
    claims: BTreeMap<IpNet, BTreeSet<Arc<str>>>,
    dirty: BTreeSet<IpNet>,
}

impl Blocks {
    pub(super) fn put_block(&mut self, block: &IpamBlock) {
        self.dirty.insert(block.cidr);
        self.values.insert(block.cidr, block.clone());
    }

    /// `name` is the CIDR's text.
    pub(super) fn delete_block(&mut self, name: &str) {
        if let Ok(cidr) = name.parse() {
            self.dirty.insert(cidr);
            self.values.remove(&cidr);
        }
    }

    pub(super) fn put_affinity(&mut self, affinity: &BlockAffinity) {
        self.delete_affinity(&affinity.name);
        self.dirty.insert(affinity.cidr);
        self.claims.entry(affinity.cidr).or_default().insert(Arc::clone(&affinity.name));
        self.affinities.insert(Arc::clone(&affinity.name), affinity.clone());
    }

    pub(super) fn delete_affinity(&mut self, name: &str) {
        let Some(BlockAffinity { name: _, node: _, cidr, place: _ }) = self.affinities.remove(name) else {
            return;
        };
        self.dirty.insert(cidr);
        if let Some(names) = self.claims.get_mut(&cidr) {
            names.remove(name);
            if names.is_empty() {
                self.claims.remove(&cidr);
            }
        }
    }

    /// Those that may have changed since this was last asked.
    pub(super) fn take_dirty(&mut self) -> BTreeSet<IpNet> {
        std::mem::take(&mut self.dirty)
    }

    /// Who has the addresses of `cidr`. The block's own value says it; without one the affinity does, of several that
    /// with the lowest name.
    pub(super) fn block(&self, cidr: &IpNet) -> Option<Block> {
        if let Some(value) = self.values.get(cidr) {
            return Some(block_of(value));
        }
        let name = self.claims.get(cidr)?.first()?;
        let node = Arc::clone(&self.affinities.get(name)?.node);
        Some(Block { cidr: *cidr, node: Some(node), borrowed: Vec::new() })
    }

    /// The lowest address of the host's IPv4 blocks `among` these that nobody has, neither by a block's own value nor
    /// by `is_taken`.
    pub(super) fn spare_address<'b>(
        &self,
        host: &str,
        among: impl Iterator<Item = &'b Arc<Block>>,
        is_taken: impl Fn(IpAddr) -> bool,
    ) -> Option<Ipv4Addr> {
        let own = among.filter(|block| block.node.as_deref() == Some(host));
        own.filter_map(|block| match block.cidr {
            IpNet::V4(net) => Some((block.cidr, net)),
            IpNet::V6(_) => None,
        })
        .find_map(|(cidr, net)| {
            let allocated: BTreeSet<u32> = self
                .values
                .get(&cidr)
                .into_iter()
                .flat_map(|value| value.allocated.iter().copied())
                .collect();
            let first = u32::from(net.network());
            (0..=u32::from(net.broadcast()) - first)
                .filter(|ordinal| !allocated.contains(ordinal))
                .map(|ordinal| Ipv4Addr::from(first + ordinal))
                .find(|address| !is_taken(IpAddr::V4(*address)))
        })
    }
}

fn block_of(value: &IpamBlock) -> Block {
    let IpamBlock { cidr, node, borrowed, allocated: _, place: _ } = value;
    let borrowed = borrowed
        .iter()
        .filter_map(|(ordinal, node)| Some((nth_address(cidr, *ordinal)?, Arc::clone(node))))
        .collect();
    Block { cidr: *cidr, node: node.clone(), borrowed }
}

/// The address of a block by its ordinal; none where the block is too small.
fn nth_address(cidr: &IpNet, ordinal: u32) -> Option<IpAddr> {
    let address = match cidr {
        IpNet::V4(net) => IpAddr::V4(u32::from(net.network()).checked_add(ordinal)?.into()),
        IpNet::V6(net) => IpAddr::V6(u128::from(net.network()).checked_add(ordinal.into())?.into()),
    };
    cidr.contains(&address).then_some(address)
}
