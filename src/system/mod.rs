//! OUT: the kernel of this host, changed and read through its own tools and netlink.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "the edge where the kernel is written and read"
)]
