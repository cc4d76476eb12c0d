//! Chains and sets kept, so that a change of the policy costs what it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::compile::CompileError;
use super::family::Family;
use super::filter_table::{EndpointChains, FilterTable};
use super::made::{Changed, Made};
use super::ruleset::{Chain, Hook, IpSetName, KernelSet, Ruleset, SharedMap, Table, TableName};
use super::sets::{policy_set, static_sets};
use super::table_builder::{ChainOwner, TableBuilder};
use super::table_index::Impossible;
use super::{mangle, nat, raw};
use crate::config::Config;
use crate::model::{IpVersion, NatMapping};
use crate::policy::{HostPolicy, IpSet, LocalEndpoint, Pool, SetId};

/// Compiles one policy after the other, and makes anew only what has changed.
///
/// 1. *It is a function of its arguments*: whatever was compiled before, the chains, sets and errors are those that
///    [`super::compile()`] gives.
/// 2. *Work follows the change.* A chain or set depends on one endpoint, policy, profile or IP set and is kept beside it
///    until another has its place, which is seen by pointer: the only thing that is done for each that stays. What the
///    chains of every host depend on is small and compared by value.
/// 3. *What comes out the same is the same*: equal chains, sets, tables and rulesets keep their `Arc`, so that `sync` skips
///    them by pointer.
///
/// Where goals 1 and 2 conflict, the first is held by giving up the second: under another configuration, and where there
/// is no table, all is made anew.
#[derive(Default)]
pub struct Compiler {
    config: Config,
    families: BTreeMap<IpVersion, Kept>,
}

/// What was made for one family under one configuration.
struct Kept {
    host: Host,
    /// Raw, mangle and nat.
    host_tables: Vec<Arc<Table>>,
    host_sets: Vec<IpSetName>,
    filter: FilterTable,
    policy_sets: Made<SetId, IpSet, Arc<KernelSet>>,
    sets: SharedMap<IpSetName, KernelSet>,
    ruleset: Option<Arc<Ruleset>>,
}

/// What the chains and sets of every host depend on, besides endpoints.
#[derive(PartialEq)]
struct Host {
    pools: BTreeMap<IpNet, Arc<Pool>>,
    host_addresses: Arc<BTreeSet<IpAddr>>,
    ipip_tunnel_addr: Option<Ipv4Addr>,
}

impl Compiler {
    /// The chains and sets of one family that enforce `policy`.
    ///
    /// # Errors
    ///
    /// As for [`super::compile()`]. What was kept is forgotten.
    pub fn compile(
        &mut self,
        policy: &HostPolicy,
        config: &Config,
        version: IpVersion,
    ) -> Result<Arc<Ruleset>, CompileError> {
        if self.config != *config {
            self.families.clear();
            self.config = config.clone();
        }
        let family = Family::new(policy, config, version)?;
        if let Some(mut kept) = self.families.remove(&version)
            && let Ok(ruleset) = kept.update(&family)
        {
            self.families.insert(version, kept);
            return Ok(ruleset);
        }
        let mut kept = Kept::new(&family)?;
        match kept.update(&family) {
            Ok(ruleset) => {
                self.families.insert(version, kept);
                Ok(ruleset)
            }
            Err(Impossible) => {
                let filter = kept.filter.made_whole()?;
                Ok(Arc::new(kept.ruleset_with(version, Arc::new(filter))))
            }
        }
    }
}

impl Kept {
    /// For an empty policy: filled by the first update.
    fn new(family: &Family<'_>) -> Result<Self, CompileError> {
        let mut kept = Self {
            host: Host::of(family.policy),
            host_tables: host_tables(family)?.into_iter().map(Arc::new).collect(),
            host_sets: Vec::new(),
            filter: FilterTable::new(family),
            policy_sets: Made::default(),
            sets: SharedMap::new(),
            ruleset: None,
        };
        kept.update_host_sets(family);
        Ok(kept)
    }

    fn update(&mut self, family: &Family<'_>) -> Result<Arc<Ruleset>, Impossible> {
        self.update_policy_sets(family);
        let host = Host::of(family.policy);
        let host_changed = self.host != host;
        self.host = host;
        let endpoints = self.filter.update(family, host_changed || self.ruleset.is_none())?;
        if host_changed || endpoints.iter().any(is_seen_by_host) {
            let tables = host_tables(family).map_err(|_| Impossible)?.into_iter();
            self.host_tables = self.host_tables.iter().zip(tables).map(|(old, new)| kept(old, new)).collect();
        }
        if host_changed {
            self.update_host_sets(family);
        }
        Ok(self.kept_ruleset(family.version))
    }

    fn update_host_sets(&mut self, family: &Family<'_>) {
        let sets: Vec<KernelSet> = static_sets(family).collect();
        let names = sets.iter().map(|set| set.name.clone()).collect();
        for name in std::mem::replace(&mut self.host_sets, names) {
            if !self.host_sets.contains(&name) {
                self.sets.remove(&name);
            }
        }
        for set in sets {
            if self.sets.get(&set.name).is_none_or(|before| **before != set) {
                self.sets.insert(set.name.clone(), Arc::new(set));
            }
        }
    }

    fn update_policy_sets(&mut self, family: &Family<'_>) {
        let made = |set: &IpSet, before: Option<&Arc<KernelSet>>| {
            let set = policy_set(family, set);
            before.filter(|before| ***before == set).map_or_else(|| Arc::new(set), Arc::clone)
        };
        for Changed { before, after } in self.policy_sets.update(&family.policy.sets, |_| false, made) {
            match (before, after) {
                (Some((_, before)), Some((_, after))) if Arc::ptr_eq(&before, &after) => {}
                (_, Some((_, set))) => drop(self.sets.insert(set.name.clone(), set)),
                (Some((_, set)), None) => drop(self.sets.remove(&set.name)),
                (None, None) => {}
            }
        }
    }

    /// The one before, if it is the same.
    fn kept_ruleset(&mut self, version: IpVersion) -> Arc<Ruleset> {
        let filter = self.filter.table();
        let Some(before) = &self.ruleset else {
            let ruleset = Arc::new(self.ruleset_with(version, Arc::new(filter)));
            self.ruleset = Some(Arc::clone(&ruleset));
            return ruleset;
        };
        let filter = match before.tables.last() {
            Some(before) if is_same(before, &filter) => Arc::clone(before),
            Some(_) | None => Arc::new(filter),
        };
        let ruleset = self.ruleset_with(version, filter);
        let same_tables =
            before.tables.iter().zip(&ruleset.tables).all(|(before, table)| Arc::ptr_eq(before, table));
        if same_tables && ruleset.sets.since(&before.sets).is_empty() {
            return Arc::clone(before);
        }
        let ruleset = Arc::new(ruleset);
        self.ruleset = Some(Arc::clone(&ruleset));
        ruleset
    }

    fn ruleset_with(&self, version: IpVersion, filter: Arc<Table>) -> Ruleset {
        let tables = self.host_tables.iter().cloned().chain([filter]).collect();
        Ruleset { version, sets: self.sets.clone(), tables }
    }
}

impl Host {
    fn of(policy: &HostPolicy) -> Self {
        let HostPolicy {
            // Looked at one by one.
            endpoints: _,
            policies: _,
            profiles: _,
            sets: _,
            pools,
            host_addresses,
            ipip_tunnel_addr,
            // The routes' business.
            host: _,
            nodes: _,
            blocks: _,
            workloads: _,
        } = policy;
        Self {
            pools: pools.clone(),
            host_addresses: Arc::clone(host_addresses),
            ipip_tunnel_addr: *ipip_tunnel_addr,
        }
    }
}

/// Raw, mangle and nat: they hold chains of every host only.
fn host_tables(family: &Family<'_>) -> Result<[Table; 3], CompileError> {
    Ok([
        host_table(TableName::Raw, raw::hooks(), raw::chains(family))?,
        host_table(TableName::Mangle, mangle::hooks(), mangle::chains(family))?,
        host_table(TableName::Nat, nat::hooks(), nat::chains(family))?,
    ])
}

fn host_table(name: TableName, hooks: Vec<Hook>, chains: Vec<Chain>) -> Result<Table, CompileError> {
    let mut table = TableBuilder::new(name, hooks);
    chains.into_iter().try_for_each(|chain| table.add(ChainOwner::Static, Arc::new(chain)))?;
    table.build()
}

/// Whether chains of every host say something else of the endpoint: the sources that it may have, its floating IPs.
fn is_seen_by_host(changed: &Changed<LocalEndpoint, EndpointChains>) -> bool {
    let Changed { before, after } = changed;
    seen_by_host(before.as_ref().map(|(local, _)| &**local))
        != seen_by_host(after.as_ref().map(|(local, _)| &**local))
}

fn seen_by_host(local: Option<&LocalEndpoint>) -> Option<(&str, &[IpNet], &[NatMapping])> {
    let endpoint = &local.filter(|local| local.shadowed_by.is_none())?.endpoint;
    let (sources, nats) = (&*endpoint.allowed_source_prefixes, &*endpoint.nats);
    (!sources.is_empty() || !nats.is_empty()).then_some((&*endpoint.interface, sources, nats))
}

/// The table, with chains from the one before where they are equal; that one, where all is equal.
fn kept(before: &Arc<Table>, table: Table) -> Arc<Table> {
    let Table { name, hooks, chains } = table;
    let kept = chains.iter().map(|(name, chain)| {
        let same = before.chains.get(name).filter(|before| *before == chain);
        (name.clone(), Arc::clone(same.unwrap_or(chain)))
    });
    let table = Table { name, hooks, chains: kept.collect() };
    if is_same(before, &table) { Arc::clone(before) } else { Arc::new(table) }
}

/// Whether both have the very same chains, and equal hooks.
fn is_same(before: &Table, table: &Table) -> bool {
    table.chains.since(&before.chains).is_empty() && table.hooks == before.hooks
}

#[cfg(test)]
mod tests;
