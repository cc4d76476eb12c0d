//! OUT: the kernel of this host, changed and read through its own tools and netlink.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "the edge where the kernel is written and read"
)]

pub mod conntrack;
pub mod enforcer;
pub mod generation;
pub mod ipsets;
pub mod iptables;
pub mod kernel;
pub mod links;
mod lock;
mod netlink;
pub mod routes;
pub mod sysctl;
pub mod tool;
