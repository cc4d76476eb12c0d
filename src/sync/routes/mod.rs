//! The wanted routes less those that the kernel has: a [`RoutePlan`] of steps, each an `ip` command.
//!
//! It stands beside the plan of tables and sets: neither waits for the other.

#[cfg(test)]
mod fake_kernel;
mod gateways;
mod ownership;
mod plan;
mod programmed;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod tunnel;

pub use gateways::gateways;
pub use plan::{RoutePlan, RouteStep, Withheld, WithheldFor, plan};
pub use programmed::{KernelRoute, ProgrammedRoutes, ProgrammedTunnel, RouteKind, Scope};
pub use text::Protocol;
