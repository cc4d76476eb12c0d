//! Why a packet is let through or not: two interpreters, one of the policy and one of the chains, and what stands on them.

pub mod compiled;
pub mod machine;
pub mod packet;
pub mod program;
pub mod ranges;
pub mod saved;
