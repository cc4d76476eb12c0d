//! What interfaces of workloads need of the host, and the state of their endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{debug, info, warn};

use crate::config::Config;
use crate::model::{WorkloadEndpoint, WorkloadId};
use crate::policy::HostPolicy;
use crate::system::links::Links;
use crate::system::sysctl::{Outcome, SysctlError, Sysctls};

/// What is said of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// It is wanted, and its interface carries packets.
    Up,
    Down,
    /// Its interface could not be set up.
    Error,
}

/// Sets up interfaces when they come, or when what they need changes.
pub(super) struct Interfaces {
    sysctls: Sysctls,
    /// None until it was read.
    rp_filter: Option<String>,
    /// What the host was prepared for.
    host: Option<HostNeeds>,
    done: BTreeMap<Arc<str>, Done>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct HostNeeds {
    ipv6: bool,
    forwarding: bool,
}

/// What an interface was set up for. Another index is another interface of the same name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Needs {
    index: u32,
    ipv6: bool,
    spoofing: bool,
}

struct Done {
    needs: Needs,
    failed: bool,
}

impl State {
    pub(super) const ALL: [Self; 3] = [Self::Up, Self::Down, Self::Error];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Error => "error",
        }
    }
}

impl Interfaces {
    pub(super) fn new() -> Self {
        Self { sysctls: Sysctls::below("/proc/sys"), rp_filter: None, host: None, done: BTreeMap::new() }
    }

    /// Makes the host forward, as configured. What fails is said, and stops nothing: chains matter more.
    pub(super) fn prepare_host(&mut self, config: &Config) {
        let needs = HostNeeds { ipv6: config.ipv6_support, forwarding: config.enforcement.ip_forwarding };
        if self.host == Some(needs) {
            return;
        }
        match self.sysctls.host(needs.ipv6, needs.forwarding) {
            Ok(outcome) => {
                say("the host", &outcome);
                self.host = Some(needs);
            }
            Err(error) => warn!("the host can't be made to forward: {error}; {}", error.help()),
        }
    }

    /// Sets up what came or changed; whether something could not be.
    pub(super) fn set_up(&mut self, policy: &HostPolicy, links: &Links, config: &Config, ipv6: bool) -> bool {
        let spoofing = spoofing(policy);
        self.done.retain(|name, _| links.named(name).is_some());
        for link in links.iter().filter(|link| link.up) {
            let is_endpoint = spoofing.contains_key(&link.name);
            if !is_endpoint && !is_workload(&link.name, config) {
                continue;
            }
            let spoofing = spoofing.get(&link.name).copied().unwrap_or_default();
            let needs = Needs { index: link.index, ipv6, spoofing };
            if self.done.get(&link.name).is_some_and(|done| done.needs == needs && !done.failed) {
                continue;
            }
            let result = self.set_up_one(&link.name, needs);
            let known = self.done.get(&link.name).is_some_and(|done| done.failed);
            match &result {
                Ok(outcome) => say(&link.name, outcome),
                Err(error) if !known => {
                    warn!("interface {} can't be set up: {error}; {}", link.name, error.help());
                }
                Err(error) => debug!("interface {} still can't be set up: {error}", link.name),
            }
            self.done.insert(Arc::clone(&link.name), Done { needs, failed: result.is_err() });
        }
        self.done.values().any(|done| done.failed)
    }

    /// The state of every endpoint of this host.
    pub(super) fn states(&self, policy: &HostPolicy, links: &Links) -> Vec<(WorkloadId, State)> {
        let endpoints = policy.endpoints.values();
        endpoints.map(|local| (local.endpoint.id.clone(), self.state(&local.endpoint, links))).collect()
    }

    fn state(&self, endpoint: &WorkloadEndpoint, links: &Links) -> State {
        let failed = self.done.get(&endpoint.interface).is_some_and(|done| done.failed);
        let running = links.named(&endpoint.interface).is_some_and(|link| link.running);
        match (failed, endpoint.active && running) {
            (true, _) => State::Error,
            (false, true) => State::Up,
            (false, false) => State::Down,
        }
    }

    fn set_up_one(&mut self, name: &str, needs: Needs) -> Result<Outcome, SysctlError> {
        let rp_filter = match &self.rp_filter {
            Some(value) => value.clone(),
            None => self.rp_filter.insert(self.sysctls.default_rp_filter()?).clone(),
        };
        self.sysctls.workload(name, needs.ipv6, needs.spoofing, &rp_filter)
    }
}

/// Which endpoints may send from other addresses, by interface.
fn spoofing(policy: &HostPolicy) -> BTreeMap<Arc<str>, bool> {
    let owners = policy.endpoints.values().filter(|local| local.shadowed_by.is_none());
    owners
        .map(|local| {
            let endpoint = &local.endpoint;
            (Arc::clone(&endpoint.interface), !endpoint.allowed_source_prefixes.is_empty())
        })
        .collect()
}

/// An interface whose endpoint may be on its way to us.
fn is_workload(name: &str, config: &Config) -> bool {
    config.interface_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
}

fn say(what: &str, outcome: &Outcome) {
    let Outcome { written, left } = outcome;
    for written in written {
        info!("{what}: {} was {}, is {}", written.path.display(), written.before, written.value);
    }
    for error in left {
        debug!("{what}: {error}");
    }
}
