//! Connections that must not outlive what let them through.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{info, warn};

use crate::config::Config;
use crate::model::IpVersion;
use crate::policy::HostPolicy;
use crate::system::conntrack::{self, ConntrackError, Detail, Entry};
use crate::system::links::Links;
use crate::telemetry::metrics::Metrics;
use crate::verdict::connections::{Connection, Connections};
use crate::verdict::packet::Payload;

/// Removes connections in the background, one pass at a time: the table may have a million of them.
pub(super) struct Cutter {
    /// Of this host's endpoints, as last applied.
    addresses: BTreeSet<IpAddr>,
    /// Left the host, and still to be looked for.
    gone: BTreeSet<IpAddr>,
    /// The policy has changed since the last pass.
    stale: bool,
    /// What it could not do.
    pass: Option<JoinHandle<Option<Pass>>>,
}

/// What one pass removes.
struct Pass {
    gone: BTreeSet<IpAddr>,
    /// Where the policy as it is now is to be asked.
    asked: Option<Asked>,
    ipv6: bool,
}

struct Asked {
    policy: HostPolicy,
    config: Config,
    host: BTreeSet<IpAddr>,
}

impl Cutter {
    pub(super) fn new() -> Self {
        Self { addresses: BTreeSet::new(), gone: BTreeSet::new(), stale: false, pass: None }
    }

    /// The kernel is as `policy` says now; `changed`: it was not before.
    pub(super) fn applied(
        &mut self,
        policy: &HostPolicy,
        config: &Config,
        links: &Links,
        changed: bool,
        metrics: &Metrics,
    ) {
        let now = addresses(policy);
        self.gone.extend(self.addresses.difference(&now).copied());
        // One that came back meanwhile has connections of its own.
        self.gone.retain(|address| !now.contains(address));
        self.addresses = now;
        self.stale |= changed && config.enforcement.conntrack_cut;
        self.go_on(policy, config, links, metrics);
    }

    /// Begins a pass, where there is something to do and none is under way.
    pub(super) fn go_on(&mut self, policy: &HostPolicy, config: &Config, links: &Links, metrics: &Metrics) {
        if self.pass.as_ref().is_some_and(|pass| !pass.is_finished()) {
            return;
        }
        if let Some(Ok(Some(failed))) = self.pass.take().and_then(FutureExt::now_or_never) {
            self.gone.extend(failed.gone.into_iter().filter(|address| !self.addresses.contains(address)));
            self.stale |= failed.asked.is_some();
        }
        if self.gone.is_empty() && !self.stale {
            return;
        }
        let asked = std::mem::take(&mut self.stale).then(|| Asked {
            policy: policy.clone(),
            config: config.clone(),
            host: links.iter().flat_map(|link| link.addresses.iter().map(ipnet::IpNet::addr)).collect(),
        });
        let pass = Pass { gone: std::mem::take(&mut self.gone), asked, ipv6: config.ipv6_support };
        let removed = metrics.conntrack_removed.clone();
        self.pass = Some(spawn_blocking(move || match pass.run() {
            Ok(0) => None,
            Ok(number) => {
                removed.inc_by(number as u64);
                info!(connections = number, "connections are removed that nothing lets through any more");
                None
            }
            Err(error) => {
                warn!("connections can't be removed: {error}; {}", error.help());
                Some(pass)
            }
        }));
    }

    /// A pass is under way, or something waits for one.
    pub(super) fn has_work(&self) -> bool {
        self.pass.is_some() || self.stale || !self.gone.is_empty()
    }
}

impl Pass {
    fn run(&self) -> Result<usize, ConntrackError> {
        let Some(Asked { policy, config, host }) = &self.asked else {
            return conntrack::remove_of_addresses(&self.gone);
        };
        let connections = Connections::new(policy, config, host);
        let is_unwanted = |entry: &Entry<'_>| {
            let ends = [&entry.original, &entry.reply];
            ends.iter()
                .any(|tuple| self.gone.contains(&tuple.source) || self.gone.contains(&tuple.destination))
                || connections.is_denied(&connection(entry))
        };
        let mut removed = conntrack::remove_where(IpVersion::V4, is_unwanted)?;
        if self.ipv6 {
            removed += conntrack::remove_where(IpVersion::V6, is_unwanted)?;
        }
        Ok(removed)
    }
}

/// Where it goes is where answers come from.
fn connection(entry: &Entry<'_>) -> Connection {
    let (original, reply) = (&entry.original, &entry.reply);
    let version = IpVersion::of(original.source);
    let (ports, icmp) = match (original.detail, reply.detail) {
        (Detail::Ports { source, .. }, Detail::Ports { source: destination, .. }) => {
            ((source, destination), (0, 0))
        }
        (Detail::Icmp { kind, code, id: _ }, _) => ((0, 0), (kind, code)),
        (Detail::Ports { source, destination }, _) => ((source, destination), (0, 0)),
        (Detail::None, _) => ((0, 0), (0, 0)),
    };
    Connection {
        source: original.source,
        destination: reply.source,
        payload: Payload::new(version, original.protocol, ports, icmp),
    }
}

fn addresses(policy: &HostPolicy) -> BTreeSet<IpAddr> {
    let endpoints = policy.endpoints.values().filter(|local| local.shadowed_by.is_none());
    let endpoints = endpoints.map(|local| Arc::clone(&local.endpoint));
    endpoints
        .flat_map(|endpoint| endpoint.networks.iter().map(ipnet::IpNet::addr).collect::<Vec<_>>())
        .collect()
}
