//! What one host must enforce, as chains: [`ruleset`] is the value, the other modules make it.

mod blocks;
mod compile;
mod compiler;
pub mod context;
mod dispatch;
mod endpoint_chains;
mod family;
mod filter;
mod filter_table;
#[cfg(test)]
pub(crate) mod fixture;
pub mod groups;
pub mod hash;
mod made;
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
mod shared_map;
mod shorthand;
mod table_builder;
mod table_index;
pub mod text;
mod tier_jumps;

pub use compile::{Collision, CompileError, compile};
pub use compiler::Compiler;
pub use table_builder::ChainOwner;
