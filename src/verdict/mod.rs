//! Why a packet is let through or not: two interpreters, one of the policy and one of the chains, and what stands on them.

pub mod allowed;
pub mod assertions;
pub mod boundary;
pub mod check;
pub mod cluster;
pub mod compiled;
pub mod diff;
pub mod explain;
pub mod flows;
pub mod judge;
pub mod load;
pub mod machine;
mod near_miss;
pub mod packet;
pub mod program;
pub mod ranges;
pub mod rule_match;
pub mod saved;
pub mod services;
pub mod walk;
mod wording;
