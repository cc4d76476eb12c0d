//! The top of the stage: policy and configuration in, one family's tables and sets out.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::dispatch::{Destination, Way, dispatch_chains};
use super::endpoint_chains::{chain_name, endpoint_chain};
use super::family::Family;
use super::marks::MarkError;
use super::policy_chains::{policy_chains, profile_chains};
use super::ruleset::{Chain, ChainName, Hook, Provenance, Rule, Ruleset, Table, TableName};
use super::sets::kernel_sets;
use super::table_builder::{ChainOwner, TableBuilder};
use super::tier_jumps::{GroupChain, Grouping};
use super::{filter, mangle, nat, raw};
use crate::config::Config;
use crate::model::IpVersion;
use crate::policy::{Direction, HostPolicy, LocalEndpoint, Owner};

/// The chains and sets of one family that enforce `policy`.
///
/// Pure: equal arguments give equal rulesets. A chain is part of a table only if something there leads to it
/// (reference §8.4), so that a policy of no endpoint costs the kernel nothing.
pub fn compile(policy: &HostPolicy, config: &Config, version: IpVersion) -> Result<Ruleset, CompileError> {
    let family = Family::new(policy, config, version)?;
    let tables = vec![
        static_table(TableName::Raw, raw::hooks(), raw::chains(&family))?,
        static_table(TableName::Mangle, mangle::hooks(), mangle::chains(&family))?,
        static_table(TableName::Nat, nat::hooks(), nat::chains(&family))?,
        filter_table(&family)?,
    ];
    Ok(Ruleset { version, sets: kernel_sets(&family), tables })
}

/// Why there are no chains for a policy. What the kernel has stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileError {
    Mark(MarkError),
    Collision(Box<Collision>),
    /// A rule leads to a chain that nobody made: the policy names a policy or profile that it does not hold.
    MissingChain {
        table: TableName,
        name: ChainName,
    },
}

/// Two chains would have one name: each would do what the other says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    pub name: ChainName,
    pub first: ChainOwner,
    pub second: ChainOwner,
}

fn static_table(name: TableName, hooks: Vec<Hook>, chains: Vec<Chain>) -> Result<Table, CompileError> {
    let mut table = TableBuilder::new(name, hooks);
    table.add_all(&ChainOwner::Static, chains)?;
    table.build()
}

fn filter_table(family: &Family<'_>) -> Result<Table, CompileError> {
    let mut table = TableBuilder::new(TableName::Filter, filter::hooks(family));
    table.add_all(&ChainOwner::Static, filter::chains(family))?;
    add_dispatch(family, &mut table)?;
    add_endpoints(family, &mut table)?;
    add_policies(family, &mut table)?;
    add_profiles(family, &mut table)?;
    table.build()
}

fn add_dispatch(family: &Family<'_>, table: &mut TableBuilder) -> Result<(), CompileError> {
    // A packet of an interface with our prefix that we don't know: its endpoint may be on its way to us.
    let unknown =
        Rule::always(family.filter_deny(), &Provenance::UnknownInterface).comment("Unknown interface");
    for (root, way, direction) in [
        ("cali-from-wl-dispatch", Way::From, Direction::Egress),
        ("cali-to-wl-dispatch", Way::To, Direction::Ingress),
    ] {
        let destinations: Vec<_> = family.endpoints().map(|local| destination(local, direction)).collect();
        let root = ChainName::fixed(root);
        let chains = dispatch_chains(&root, way, &destinations, std::slice::from_ref(&unknown));
        table.add_all(&ChainOwner::Dispatch, chains)?;
    }
    Ok(())
}

fn destination(local: &LocalEndpoint, direction: Direction) -> Destination {
    Destination {
        interface: Arc::clone(&local.endpoint.interface),
        chain: chain_name(local, direction),
        endpoint: Arc::new(local.endpoint.id.clone()),
    }
}

fn add_endpoints(family: &Family<'_>, table: &mut TableBuilder) -> Result<(), CompileError> {
    let mut grouping = Grouping::new(family);
    for local in family.endpoints() {
        let owner = ChainOwner::Endpoint(Arc::new(local.endpoint.id.clone()));
        let chains = [Direction::Ingress, Direction::Egress].map(|direction| {
            let tiers = grouping.tiers(local, direction);
            endpoint_chain(family, local, direction, &tiers)
        });
        table.add_all(&owner, chains)?;
    }
    grouping
        .into_groups()
        .into_iter()
        .try_for_each(|GroupChain { group, chain }| table.add(ChainOwner::Group(group), chain))
}

fn add_policies(family: &Family<'_>, table: &mut TableBuilder) -> Result<(), CompileError> {
    let filter = family.context(TableName::Filter);
    for policy in family.policy.policies.values() {
        let chains = policy_chains(policy, &filter);
        if policy.needed_everywhere {
            chains.iter().for_each(|chain| table.force(chain.name.clone()));
        }
        table.add_all(&ChainOwner::Rules(Owner::Policy(policy.id.clone())), chains)?;
    }
    Ok(())
}

fn add_profiles(family: &Family<'_>, table: &mut TableBuilder) -> Result<(), CompileError> {
    let filter = family.context(TableName::Filter);
    family.policy.profiles.values().try_for_each(|profile| {
        let owner = ChainOwner::Rules(Owner::Profile(Arc::clone(&profile.name)));
        table.add_all(&owner, profile_chains(profile, &filter))
    })
}

impl From<MarkError> for CompileError {
    fn from(error: MarkError) -> Self {
        Self::Mark(error)
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mark(error) => error.fmt(f),
            Self::Collision(collision) => {
                let Collision { name, first, second } = &**collision;
                write!(f, "{first} and {second} would share the chain {name}")
            }
            Self::MissingChain { table, name } => {
                write!(
                    f,
                    "a rule of the {} table leads to the chain {name}, which is not there",
                    table.name()
                )
            }
        }
    }
}

impl Error for CompileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Mark(error) => Some(error),
            Self::Collision(_) | Self::MissingChain { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
