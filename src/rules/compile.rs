//! The top of the stage: policy and configuration in, one family's tables and sets out.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::compiler::Compiler;
use super::marks::MarkError;
use super::ruleset::{ChainName, Ruleset, TableName};
use super::table_builder::ChainOwner;
use crate::config::Config;
use crate::model::IpVersion;
use crate::policy::HostPolicy;

/// The chains and sets of one family that enforce `policy`.
///
/// Pure: equal arguments give equal rulesets. A chain is part of a table only if something there leads to it
/// (reference §8.4), so that a policy of no endpoint costs the kernel nothing.
pub fn compile(policy: &HostPolicy, config: &Config, version: IpVersion) -> Result<Ruleset, CompileError> {
    let ruleset = Compiler::default().compile(policy, config, version)?;
    Ok(Arc::unwrap_or_clone(ruleset))
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
