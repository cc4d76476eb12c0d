//! What is wanted less what is programmed: a [`Plan`] of texts for `ipset restore` and `iptables-restore`.
//!
//! Routes have a plan of their own: [`routes`].
//!
//! [`Plan`] says in which order a host is changed and why. [`Programmed`] is what the kernel has, read from the
//! output of `ipset save` and `iptables-save`; rules are compared by the id in their comment, never parsed.

mod detour;
#[cfg(test)]
pub(crate) mod fake_kernel;
mod ownership;
mod plan;
mod programmed;
mod quarantine;
mod read_back;
pub mod routes;
mod sets;
mod tables;
#[cfg(test)]
mod tests;
mod turning;

use std::sync::Arc;

pub use ownership::is_our_set;
pub use plan::{Plan, Step, plan};
pub use programmed::Programmed;
pub use quarantine::{Part, Quarantine, Quarantined};
pub use read_back::ReadBackError;
pub use sets::{SetChanges, SetRemovals};
pub use tables::TableChanges;

use crate::config::InsertMode;
use crate::model::IpVersion;
use crate::routes::RouteSet;
use crate::rules::ruleset::Ruleset;

/// What the kernel shall have of ours.
#[derive(Clone, Debug)]
pub struct Desired {
    /// One a family. A family without one is left alone; one whose ruleset is empty is cleaned of all that is ours.
    pub rulesets: Vec<Arc<Ruleset>>,
    /// Where our rules stand among the foreign ones of a kernel chain.
    pub insert_mode: InsertMode,
    /// None: routes are left alone. They are planned by themselves, see [`routes::plan`].
    pub routes: Option<Arc<RouteSet>>,
}

impl Desired {
    /// Only these families.
    pub fn restricted_to(mut self, versions: &[IpVersion]) -> Self {
        self.rulesets.retain(|ruleset| versions.contains(&ruleset.version));
        self.routes =
            self.routes.map(|routes| Arc::new(Arc::unwrap_or_clone(routes).restricted_to(versions)));
        self
    }
}
