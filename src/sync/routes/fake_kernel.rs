//! A kernel's routes, neighbours and tunnel that take the text of plans.

use std::sync::Arc;

use ipnet::IpNet;

use super::{KernelRoute, ProgrammedRoutes, ProgrammedTunnel, RouteKind, Scope};
use crate::model::IpVersion;
use crate::routes::Hop;

/// The interface that leads to every gateway.
pub(super) const UPLINK: &str = "eth0";

#[derive(Clone, Debug, Default)]
pub(super) struct FakeKernel {
    pub has: ProgrammedRoutes,
}

impl FakeKernel {
    /// What `sh -e` would do. Panics where `ip` would fail.
    pub(super) fn run(&mut self, text: &str) {
        for line in text.lines() {
            self.run_line(line);
        }
    }

    fn run_line(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').filter(|word| *word != "-6").collect();
        match words.as_slice() {
            ["modprobe", "ipip"] => {
                assert_eq!(self.has.tunnel, ProgrammedTunnel::Absent, "{line}");
                self.has.tunnel =
                    ProgrammedTunnel::There { up: false, mtu: 1480, addresses: Default::default() };
            }
            ["ip", "link", "set", "tunl0", rest @ ..] => {
                let ProgrammedTunnel::There { up, mtu, addresses: _ } = &mut self.has.tunnel else {
                    panic!("no device: {line}");
                };
                match rest {
                    ["up"] => *up = true,
                    ["mtu", wanted] => *mtu = wanted.parse().unwrap(),
                    _ => panic!("{line}"),
                }
            }
            ["ip", "addr", verb, net, "dev", "tunl0"] => {
                let ProgrammedTunnel::There { addresses, .. } = &mut self.has.tunnel else {
                    panic!("no device: {line}");
                };
                let changed = match *verb {
                    "replace" => addresses.insert(net.parse().unwrap()),
                    "del" => addresses.remove(&net.parse().unwrap()),
                    _ => panic!("{line}"),
                };
                assert!(changed, "{line}");
            }
            ["ip", "neigh", "replace", address, "dev", device, "lladdr", mac, "nud", "permanent"] => {
                self.has.neighbours.insert(((*device).into(), address.parse().unwrap()), (*mac).into());
            }
            ["ip", "neigh", "del", address, "dev", device] => {
                let gone = self.has.neighbours.remove(&((*device).into(), address.parse().unwrap()));
                assert!(gone.is_some(), "{line}");
            }
            ["ip", "route", "replace", rest @ ..] => self.replace(route(rest)),
            ["ip", "route", "del", rest @ ..] => self.delete(&route(rest), line),
            _ => panic!("{line}"),
        }
    }

    /// The first one with the destination and metric, whatever it is, or a new one.
    fn replace(&mut self, mut route: KernelRoute) {
        if route.gateway.is_some() && route.device.is_none() {
            route.device = Some(UPLINK.into());
        }
        if route.device.as_deref() == Some("tunl0") {
            assert!(matches!(self.has.tunnel, ProgrammedTunnel::There { up: true, .. }), "{route:?}");
        }
        let there = self.has.routes.entry(route.destination).or_default();
        match there.iter_mut().find(|one| one.metric == route.metric) {
            Some(first) => *first = route,
            None => there.push(route),
        }
    }

    /// The first one that has all that is said.
    fn delete(&mut self, said: &KernelRoute, line: &str) {
        let there = self.has.routes.get_mut(&said.destination).unwrap_or_else(|| panic!("{line}"));
        let is_meant = |one: &KernelRoute| {
            one.kind == said.kind
                && one.protocol == said.protocol
                && one.metric == said.metric
                && one.gateway == said.gateway
                && one.device == said.device
        };
        let at = there.iter().position(is_meant).unwrap_or_else(|| panic!("{line}"));
        there.remove(at);
        if there.is_empty() {
            self.has.routes.remove(&said.destination);
        }
    }
}

/// The route that words of `ip route` describe.
pub(super) fn route(words: &[&str]) -> KernelRoute {
    let mut words = words.iter().copied().peekable();
    let kind = match words.next_if(|word| ["blackhole", "unreachable"].contains(word)) {
        Some("blackhole") => RouteKind::Blackhole,
        Some(_) => RouteKind::Other(7),
        None => RouteKind::Unicast,
    };
    let destination: IpNet = words.next().unwrap().parse().unwrap();
    let is_v4 = IpVersion::of(destination.addr()) == IpVersion::V4;
    let mut route = KernelRoute {
        destination,
        kind,
        protocol: 3,
        scope: Scope::Global,
        gateway: None,
        device: None,
        metric: if is_v4 { 0 } else { 1024 },
        onlink: false,
        hops: Vec::new(),
        mtu: None,
        source: None,
    };
    while let Some(word) = words.next() {
        if word == "onlink" {
            route.onlink = true;
            continue;
        }
        if word == "nexthop" {
            route.hops = hops(words);
            break;
        }
        let value = words.next().unwrap();
        match word {
            "via" if value.starts_with("inet") => {
                route.gateway = Some(words.next().unwrap().parse().unwrap());
            }
            "via" => route.gateway = Some(value.parse().unwrap()),
            "dev" => route.device = Some(Arc::from(value)),
            "scope" => route.scope = if value == "link" { Scope::Link } else { Scope::Global },
            "proto" => route.protocol = if value == "boot" { 3 } else { value.parse().unwrap() },
            "metric" => route.metric = value.parse().unwrap(),
            "mtu" => route.mtu = Some(value.parse().unwrap()),
            "src" => route.source = Some(value.parse().unwrap()),
            other => panic!("{other}"),
        }
    }
    route
}

/// The words behind the first `nexthop`.
fn hops<'w>(words: impl Iterator<Item = &'w str>) -> Vec<Hop> {
    let words: Vec<&str> = words.collect();
    let mut hops: Vec<Hop> = words.split(|word| *word == "nexthop").map(hop).collect();
    hops.sort();
    hops
}

fn hop(words: &[&str]) -> Hop {
    let behind = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words[at + 1..].iter().find(|word| !word.starts_with("inet")).copied()
    };
    Hop {
        device: behind("dev").unwrap().into(),
        gateway: behind("via").map(|gateway| gateway.parse().unwrap()),
        onlink: words.contains(&"onlink"),
        weight: behind("weight").map_or(1, |weight| weight.parse().unwrap()),
    }
}
