//! Routes, neighbours and the tunnel's address.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net};

use super::Done;
use crate::config::{Config, Routing};
use crate::model::IpVersion;
use crate::routes::{Ownership, RouteSet, TUNNEL};
use crate::sync::routes::{KernelRoute, ProgrammedRoutes, RouteStep, plan};
use crate::system::routes::{MainTable, RoutesError};

/// By protocol 80, and on workloads' interfaces by protocol 3, too, or by the one that parameters say; and the neighbours
/// there. An address of `tunl0` is ours where parameters say it, or a route of ours has it, as this host's own block has.
pub(super) fn clean(config: &Config, dry_run: bool, done: &mut Done) {
    if let Err(error) = try_to_clean(config, dry_run, done) {
        done.left.push(format!("routes: {error}; help: {}", error.help()));
    }
}

fn try_to_clean(config: &Config, dry_run: bool, done: &mut Done) -> Result<(), RoutesError> {
    let mut table = MainTable::open()?;
    let mut found = table.read()?;
    let steps = steps(config, &found.programmed);
    if dry_run {
        let text: String = steps.iter().map(|step| format!("{step}\n")).collect();
        if !text.is_empty() {
            done.would("sh -e", &text);
        }
        return Ok(());
    }
    let mut removed = 0;
    for step in &steps {
        match table.carry_out(step, &mut found) {
            Ok(_) => removed += 1,
            Err(error) => done.left.push(format!("by `{step}`: {error}")),
        }
    }
    if removed > 0 {
        done.removed.push(format!("{removed} routes, neighbours and addresses of {TUNNEL}"));
    }
    Ok(())
}

fn steps(config: &Config, programmed: &ProgrammedRoutes) -> Vec<RouteStep> {
    let routes = plan(&nothing(config, false, Vec::new()), programmed);
    let is_route = |step: &&RouteStep| matches!(step, RouteStep::DeleteRoute(_));
    let blocks = routes.steps().filter_map(|step| match step {
        RouteStep::DeleteRoute(KernelRoute { destination: IpNet::V4(net), .. }) => Some(*net),
        _ => None,
    });
    let pools = blocks.chain(config.routing.tunnel_address.map(Ipv4Net::from)).collect();
    let all = plan(&nothing(config, true, pools), programmed);
    let others = all.steps().filter(|step| !is_route(step));
    routes.steps().filter(is_route).chain(others).cloned().collect()
}

/// Nothing is wanted. `all`: whatever is on workloads' interfaces is ours.
fn nothing(config: &Config, all: bool, pools: Vec<Ipv4Net>) -> RouteSet {
    let disabled = config.routing.disabled;
    // A route by tunl0 that is marked as BIRD's may be BIRD's, whoever had it last.
    let routing = Routing { remove_external: all, protocol: config.routing.protocol, ..Routing::default() };
    RouteSet {
        routes: BTreeMap::new(),
        neighbours: BTreeMap::new(),
        tunnel: None,
        held_back: Vec::new(),
        ownership: Ownership {
            families: if disabled { Vec::new() } else { IpVersion::ALL.to_vec() },
            tunnel: !disabled,
            routing,
            prefixes: config.interface_prefixes.clone(),
            pools,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Source;
    use crate::sync::routes::{ProgrammedTunnel, RouteKind, Scope};

    fn route(destination: &str, device: Option<&str>, protocol: u8) -> KernelRoute {
        KernelRoute {
            destination: destination.parse().unwrap(),
            kind: if device.is_some() { RouteKind::Unicast } else { RouteKind::Blackhole },
            protocol,
            scope: Scope::Global,
            gateway: None,
            device: device.map(Into::into),
            metric: 0,
            onlink: false,
            hops: Vec::new(),
            mtu: None,
            source: None,
        }
    }

    fn kernel() -> ProgrammedRoutes {
        let mut kernel = ProgrammedRoutes::default();
        for (destination, device, protocol) in [
            ("10.0.0.0/24", None, 80),
            ("10.0.0.1/32", Some("cali1"), 3),
            ("10.0.0.2/32", Some("tap2"), 3),
            ("10.0.0.3/32", Some("tap3"), 95),
            ("10.0.0.4/32", Some("cali4"), 4),
            ("10.0.1.0/24", Some("eth0"), 95),
            ("10.0.2.0/24", Some("tunl0"), 12),
            ("10.0.3.0/24", Some("eth0"), 3),
        ] {
            let route = route(destination, device, protocol);
            kernel.routes.insert(route.destination, vec![route]);
        }
        for device in ["cali1", "tap2"] {
            kernel.neighbours.insert((Arc::from(device), [10, 0, 0, 1].into()), "ee:ee:ee:ee:ee:ee".into());
        }
        let addresses = ["10.0.0.9/32", "10.5.0.1/32"].map(|net| net.parse().unwrap());
        kernel.tunnel = ProgrammedTunnel::There { up: true, mtu: 1480, addresses: addresses.into() };
        kernel
    }

    #[test]
    fn what_parameters_say_is_ours() {
        let rows: [(&[&str], &str); 5] = [
            (&[], "-10.0.0.0/24 -10.0.0.1/32 ~cali1 @10.0.0.9/32"),
            (&["InterfacePrefix=tap"], "-10.0.0.0/24 -10.0.0.2/32 ~tap2 @10.0.0.9/32"),
            (
                &["InterfacePrefix=cali,tap", "DeviceRouteProtocol=95"],
                "-10.0.0.1/32 -10.0.0.2/32 -10.0.0.3/32 -10.0.1.0/24 ~cali1 ~tap2",
            ),
            (
                &["IpInIpTunnelAddr=10.5.0.1", "ProgramClusterRoutes=Enabled"],
                "-10.0.0.0/24 -10.0.0.1/32 ~cali1 @10.0.0.9/32 @10.5.0.1/32",
            ),
            (&["RouteSyncDisabled=true"], ""),
        ];
        for (parameters, expected) in rows {
            let (flags, _) = Source::flags(parameters.iter().copied());
            let config = Config::resolve(&[flags]).config;
            let steps = steps(&config, &kernel());
            let said = steps.iter().map(|step| match step {
                RouteStep::DeleteRoute(route) => format!("-{}", route.destination),
                RouteStep::DeleteNeighbour { device, address: _ } => format!("~{device}"),
                RouteStep::RemoveTunnelAddress(net) => format!("@{net}"),
                other => other.to_string(),
            });
            assert_eq!(said.collect::<Vec<_>>().join(" "), expected, "{parameters:?}");
        }
    }
}
