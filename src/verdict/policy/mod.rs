//! The policy read as a policy: what it says of a packet, and of all packets between two addresses.

pub mod allowed;
pub mod judge;
pub mod rule_match;
mod translation;
