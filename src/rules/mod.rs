//! What one host must enforce, as chains: [`ruleset`] is the value, the other modules make it.

mod blocks;
mod compile;
pub mod context;
mod dispatch;
mod endpoint_chains;
mod family;
mod filter;
#[cfg(test)]
mod fixture;
pub mod groups;
pub mod hash;
mod mangle;
pub mod marks;
mod matches;
pub mod names;
mod nat;
pub mod policy_chains;
mod policy_rules;
mod raw;
pub mod ruleset;
mod sets;
mod shorthand;
mod table_builder;
pub mod text;
mod tier_jumps;

pub use compile::{Collision, CompileError, compile};
pub use table_builder::ChainOwner;
