//! Why a packet is let through or not.
//!
//! Two interpreters answer the same question from two sides: [`policy`] reads a host's policy as a policy, and knows
//! nothing of chains; [`chains`] takes the packet through tables and sets as the kernel would, and knows nothing of policy.
//! [`check`] holds the one against the other. On the two stand the readers for people: [`explain`], and [`flows`], which
//! asks about whole sets of packets at once.

pub mod chains;
pub mod check;
pub mod connections;
pub mod explain;
pub mod flows;
pub mod packet;
pub mod policy;
pub mod ranges;
pub mod services;
