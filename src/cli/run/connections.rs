//! Connections that must not outlive what let them through.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use ipnet::IpNet;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{info, warn};

use crate::config::Config;
use crate::model::{IpVersion, WorkloadId};
use crate::policy::{HostPolicy, LocalEndpoint};
use crate::routes::RouteSet;
use crate::system::conntrack::{self, ConntrackError, Detail, Entry};
use crate::system::links::Links;
use crate::system::routes::MainTable;
use crate::telemetry::metrics::Metrics;
use crate::verdict::connections::{Connection, Connections};
use crate::verdict::packet::Payload;

/// How long a pass waits until routes no longer lead to those who had the addresses: what they go on sending until then
/// would make new entries. Where routes are others' business they may lead there for ever.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same where only addresses are left that nobody else has: their routes may be spared for some seconds.
const LITTLE_PATIENCE: Duration = Duration::from_millis(100);

/// Between two looks at these routes.
const PAUSE: Duration = Duration::from_millis(5);

/// Removes connections in the background, one pass at a time: the table may have a million of them.
pub(super) struct Cutter {
    /// Of this host's endpoints, as last applied.
    holders: Holders,
    /// They left who is named, and their connections are still to be looked for.
    gone: Holders,
    /// The policy has changed since the last pass.
    stale: bool,
    /// What it could not do.
    pass: Option<JoinHandle<Option<Pass>>>,
}

/// Who has which address.
type Holders = BTreeMap<IpAddr, Holder>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    endpoint: WorkloadId,
    interface: Arc<str>,
}

/// What one pass removes.
struct Pass {
    gone: Holders,
    /// Where packets to them went.
    old_ways: Vec<OldWay>,
    /// Where the policy as it is now is to be asked.
    asked: Option<Asked>,
    ipv6: bool,
}

#[derive(Clone, Copy)]
struct OldWay {
    address: IpAddr,
    /// The interface, by number.
    interface: u32,
    /// Somebody else has the address now.
    moved: bool,
}

struct Asked {
    policy: HostPolicy,
    config: Config,
    host: BTreeSet<IpAddr>,
}

impl Cutter {
    pub(super) fn new() -> Self {
        Self { holders: Holders::new(), gone: Holders::new(), stale: false, pass: None }
    }

    /// The kernel's tables are as `policy` says now, and `routes` follow; `changed`: the tables were not so before.
    pub(super) fn applied(
        &mut self,
        policy: &HostPolicy,
        routes: Option<&RouteSet>,
        config: &Config,
        links: &Links,
        changed: bool,
        metrics: &Metrics,
    ) {
        let now = holders(policy, routes, config, &self.holders);
        let before = std::mem::replace(&mut self.holders, now);
        self.gone.extend(before);
        self.forget_kept();
        self.stale |= changed && config.enforcement.conntrack_cut;
        self.go_on(policy, config, links, metrics);
    }

    /// An address that is where it was has connections of its own, even if it was away meanwhile.
    fn forget_kept(&mut self) {
        let is_kept = |address: &IpAddr, holder: &Holder| {
            self.holders.get(address).is_some_and(|now| now.endpoint == holder.endpoint)
        };
        self.gone.retain(|address, holder| !is_kept(address, holder));
    }

    /// Begins a pass, where there is something to do and none is under way.
    pub(super) fn go_on(&mut self, policy: &HostPolicy, config: &Config, links: &Links, metrics: &Metrics) {
        if self.pass.as_ref().is_some_and(|pass| !pass.is_finished()) {
            return;
        }
        if let Some(Ok(Some(failed))) = self.pass.take().and_then(FutureExt::now_or_never) {
            for (address, holder) in failed.gone {
                self.gone.entry(address).or_insert(holder);
            }
            self.forget_kept();
            self.stale |= failed.asked.is_some();
        }
        if self.gone.is_empty() && !self.stale {
            return;
        }
        let asked = std::mem::take(&mut self.stale).then(|| Asked {
            policy: policy.clone(),
            config: config.clone(),
            host: links.iter().flat_map(|link| link.addresses.iter().map(IpNet::addr)).collect(),
        });
        let gone = std::mem::take(&mut self.gone);
        let old_ways = self.old_ways(&gone, links);
        let pass = Pass { gone, old_ways, asked, ipv6: config.ipv6_support };
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

    /// Those whose interface is still there.
    fn old_ways(&self, gone: &Holders, links: &Links) -> Vec<OldWay> {
        if gone.is_empty() {
            return Vec::new();
        }
        let by_name: BTreeMap<&str, u32> = links.iter().map(|link| (&*link.name, link.index)).collect();
        let old_way = |(address, holder): (&IpAddr, &Holder)| {
            let interface = *by_name.get(&*holder.interface)?;
            Some(OldWay { address: *address, interface, moved: self.holders.contains_key(address) })
        };
        gone.iter().filter_map(old_way).collect()
    }

    /// A pass is under way, or something waits for one.
    pub(super) fn has_work(&self) -> bool {
        self.pass.is_some() || self.stale || !self.gone.is_empty()
    }
}

impl Pass {
    fn run(&self) -> Result<usize, ConntrackError> {
        if !self.old_ways.is_empty() {
            self.wait_for_routes();
        }
        let gone: BTreeSet<IpAddr> = self.gone.keys().copied().collect();
        let Some(Asked { policy, config, host }) = &self.asked else {
            return conntrack::remove_of_addresses(&gone);
        };
        let connections = Connections::new(policy, config, host);
        let is_unwanted = |entry: &Entry<'_>| {
            let ends = [&entry.original, &entry.reply];
            ends.iter().any(|tuple| gone.contains(&tuple.source) || gone.contains(&tuple.destination))
                || connections.is_denied(&connection(entry))
        };
        let mut removed = conntrack::remove_where(IpVersion::V4, is_unwanted)?;
        if self.ipv6 {
            removed += conntrack::remove_where(IpVersion::V6, is_unwanted)?;
        }
        Ok(removed)
    }

    /// Routes are kept by somebody else, who waits for nobody.
    fn wait_for_routes(&self) {
        let mut stand = self.old_ways.clone();
        let started = Instant::now();
        // Who can't ask does not wait.
        let Ok(mut table) = MainTable::open() else { return };
        loop {
            stand.retain(|OldWay { address, interface, moved: _ }| {
                table.interface_to(*address).is_ok_and(|now| now == Some(*interface))
            });
            let patience = match stand.iter().any(|way| way.moved) {
                true => PATIENCE,
                false => LITTLE_PATIENCE,
            };
            if stand.is_empty() || started.elapsed() > patience {
                return;
            }
            sleep(PAUSE);
        }
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

/// Of several that claim an address it is theirs who has the route. Where there is none, an interface being down, say, it
/// stays with whom it was.
fn holders(policy: &HostPolicy, routes: Option<&RouteSet>, config: &Config, before: &Holders) -> Holders {
    let routed = |net: &IpNet| routes.and_then(|routes| routes.routes.get(net)?.provenance.endpoint());
    let mut now = Holders::new();
    for local in policy.endpoints.values().filter(|local| local.shadowed_by.is_none()) {
        let endpoint = &local.endpoint;
        for net in addresses(local, config) {
            let address = net.addr();
            let first = routed(&net).or_else(|| Some(&before.get(&address)?.endpoint));
            if first == Some(&endpoint.id) || !now.contains_key(&address) {
                let interface = Arc::clone(&endpoint.interface);
                now.insert(address, Holder { endpoint: endpoint.id.clone(), interface });
            }
        }
    }
    now
}

/// Those that are translated to one of them, too.
fn addresses(local: &LocalEndpoint, config: &Config) -> Vec<IpNet> {
    let endpoint = &local.endpoint;
    let nats = endpoint.nats.iter().filter(|_| config.floats(&endpoint.id.orchestrator));
    endpoint.networks.iter().copied().chain(nats.map(|nat| nat.external.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pipeline;
    use crate::config::Source;
    use crate::datastore::yaml;

    /// Endpoints, each with its addresses and one that is translated to the first of them.
    type Claims<'a> = &'a [(&'a str, &'a [&'a str], Option<&'a str>)];

    /// What it is called, parameters, claims one after the other, and whose connections are to be removed then.
    type Row<'a> = (&'a str, &'a [&'a str], &'a [Claims<'a>], &'a [&'a str]);

    fn manifest(claims: Claims<'_>) -> String {
        let endpoint = |(name, addresses, external): &(&str, &[&str], Option<&str>)| {
            let networks: Vec<String> = addresses.iter().map(|address| format!("{address}/32")).collect();
            let nats = external.map(|external| {
                format!(", ipNATs: [{{internalIP: {}, externalIP: {external}}}]", addresses[0])
            });
            format!(
                "---\napiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\nmetadata: {{namespace: default}}\n\
                 spec: {{node: here, orchestrator: demo, workload: {name}, endpoint: eth0, interfaceName: cali{name}, \
                 ipNetworks: [{}]{}}}\n",
                networks.join(", "),
                nats.unwrap_or_default()
            )
        };
        claims.iter().map(endpoint).collect()
    }

    fn after(cutter: &mut Cutter, claims: Claims<'_>, parameters: &[&str]) -> Vec<String> {
        let (flags, _) = Source::flags(parameters.iter().copied());
        let mut pipeline = Pipeline::new("here".into(), vec![flags]);
        for event in yaml::parse(&"claims.yaml".into(), &manifest(claims).into()).into_events() {
            pipeline.take(&event);
        }
        let routes = pipeline.desired().unwrap().routes;
        let now = holders(pipeline.policy(), routes.as_deref(), pipeline.config(), &cutter.holders);
        let before = std::mem::replace(&mut cutter.holders, now);
        cutter.gone.extend(before);
        cutter.forget_kept();
        cutter.gone.iter().map(|(address, holder)| format!("{address} of {}", holder.interface)).collect()
    }

    #[test]
    fn connections_go_with_who_had_the_address() {
        const ONE: &str = "10.0.0.1";
        const TWO: &str = "10.0.0.2";
        let rows: [Row<'_>; 9] = [
            ("stays", &[], &[&[("a", &[ONE], None)], &[("a", &[ONE, TWO], None)]], &[]),
            ("leaves", &[], &[&[("a", &[ONE, TWO], None)], &[("a", &[ONE], None)]], &["10.0.0.2 of calia"]),
            (
                "moves in one batch",
                &[],
                &[&[("a", &[ONE], None), ("b", &[TWO], None)], &[("b", &[ONE], None)]],
                &["10.0.0.1 of calia", "10.0.0.2 of calib"],
            ),
            (
                "two change places",
                &[],
                &[&[("a", &[ONE], None), ("b", &[TWO], None)], &[("a", &[TWO], None), ("b", &[ONE], None)]],
                &["10.0.0.1 of calia", "10.0.0.2 of calib"],
            ),
            ("is away and back", &[], &[&[("a", &[ONE], None)], &[], &[("a", &[ONE], None)]], &[]),
            (
                "is away and elsewhere",
                &[],
                &[&[("a", &[ONE], None)], &[], &[("b", &[ONE], None)]],
                &["10.0.0.1 of calia"],
            ),
            (
                "another claims it who does not get the route",
                &[],
                &[
                    &[("a", &[ONE], None)],
                    &[("a", &[ONE], None), ("b", &[ONE], None)],
                    &[("a", &[ONE], None)],
                ],
                &[],
            ),
            (
                "is translated to another's",
                &["FloatingIPs=Enabled"],
                &[
                    &[("a", &[ONE], Some("203.0.113.1")), ("b", &[TWO], None)],
                    &[("a", &[ONE], None), ("b", &[TWO], Some("203.0.113.1"))],
                ],
                &["203.0.113.1 of calia"],
            ),
            (
                "routes are others' business",
                &["RouteSyncDisabled=true"],
                &[&[("b", &[ONE], None)], &[("a", &[ONE], None), ("b", &[ONE], None)]],
                &[],
            ),
        ];
        for (name, parameters, steps, expected) in rows {
            let mut cutter = Cutter::new();
            let mut gone = Vec::new();
            for claims in steps {
                gone = after(&mut cutter, claims, parameters);
            }
            assert_eq!(gone, expected, "{name}");
        }
    }
}
