//! What one host must enforce: active policies and profiles, IP sets and their members, tiers in order.
//!
//! [`Calc`] is told about resources one by one and keeps a [`HostPolicy`] up to date.

mod blocks;
mod built_in;
mod calc;
mod host_policy;
pub mod lint;
mod lower;
mod network;
mod order;
mod sets;
#[cfg(test)]
mod tests;

pub use built_in::builtin_tiers;
pub use calc::{Calc, Settings};
pub use host_policy::{
    ActivePolicy, ActiveProfile, ActiveRule, ActiveSide, Block, Direction, Encapsulation, EndpointTier,
    HostPolicy, IpSet, LocalEndpoint, Member, NodeAddresses, Owner, Pool, RuleSource, SetId, SetKind,
    TransportProtocol,
};
