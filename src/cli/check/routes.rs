//! Addresses that no route leads to, for reasons that need no look at a host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::{Config, Source};
use crate::datastore::Place;
use crate::model::{self, Catalog, Code, Diagnostic, Resource, ResourceId, Severity};
use crate::policy::{Block, Calc, HostPolicy, NodeAddresses, Settings};
use crate::routes::{self, HeldBack, Owner, Uplinks, Why};

/// Whose addresses, and why; no owner where it is the same for all of a pool's.
type Subject = (Option<Owner>, Why);

/// A warning for each reason, not for each address: a pool may have a thousand blocks.
pub(super) fn missing(catalog: &Catalog, sources: &[Source]) -> Vec<Diagnostic> {
    let mut subjects: BTreeMap<Subject, BTreeSet<IpNet>> = BTreeMap::new();
    for HeldBack { destination, of, why } in held_back(catalog, sources) {
        let owner = match why {
            // Only a look at the host says so.
            Why::Down { .. } | Why::NoWay { .. } => continue,
            Why::LoadBalancers { .. } | Why::Vxlan { .. } => None,
            Why::NotAWorkloads { .. }
            | Why::AHostsOwn
            | Why::YieldsTo(_)
            | Why::NoPool
            | Why::UnknownNode
            | Why::NoAddress(_)
            | Why::OurAddress { .. }
            | Why::HoldsHost { .. } => Some(of),
        };
        subjects.entry((owner, why)).or_default().insert(destination);
    }
    subjects.iter().filter_map(|(subject, all)| diagnostic(catalog, subject, all)).collect()
}

/// Of all hosts. What is said of other hosts' addresses is the same wherever it is said, but on the host that has them: two
/// hosts, and those that share an address with another, see all of it.
fn held_back(catalog: &Catalog, sources: &[Source]) -> BTreeSet<HeldBack> {
    let hosts = hosts(catalog);
    let mut calc = Calc::of_hosts(hosts.clone());
    catalog.updates().filter(crate::reroutes).for_each(|update| calc.apply(update));
    let mut by_settings: BTreeMap<Settings, Vec<(Arc<str>, Config)>> = BTreeMap::new();
    let configuring: Vec<&Resource> = catalog.resources().filter(|resource| configures(resource)).collect();
    for host in hosts {
        let stored = model::configuration(&host, configuring.iter().copied());
        let config = Config::resolve(&[sources, &stored].concat()).config;
        by_settings.entry(Settings::from(&config)).or_default().push((host, config));
    }
    let mut all = BTreeSet::new();
    for (settings, hosts) in by_settings {
        let whole = calc.desired(settings);
        let seers = seers(whole, hosts.iter().map(|(host, _)| host));
        let mut parts = parts(whole);
        for (host, config) in hosts {
            let policy = match seers.contains(&host) {
                true => calc.of_host(&host),
                false => parts.remove(&host).unwrap_or_default(),
            };
            all.extend(routes::desired(&policy, &Uplinks::default(), &config).held_back);
        }
    }
    all
}

/// Each host with what is its own.
fn parts(whole: &HostPolicy) -> BTreeMap<Arc<str>, HostPolicy> {
    let mut parts: BTreeMap<Arc<str>, HostPolicy> = BTreeMap::new();
    let mut part = |host: &Arc<str>, put: &dyn Fn(&mut HostPolicy)| {
        put(parts.entry(Arc::clone(host)).or_insert_with(|| HostPolicy {
            host: Some(Arc::clone(host)),
            pools: whole.pools.clone(),
            host_addresses: Arc::clone(&whole.host_addresses),
            ..HostPolicy::default()
        }));
    };
    for (id, local) in &whole.endpoints {
        part(&id.node, &|policy| drop(policy.endpoints.insert(id.clone(), Arc::clone(local))));
    }
    for (cidr, block) in &whole.blocks {
        let Block { cidr: _, node, borrowed: _ } = &**block;
        if let Some(node) = node {
            // What other hosts have of it is told elsewhere.
            let own = Arc::new(Block { cidr: *cidr, node: Some(Arc::clone(node)), borrowed: Vec::new() });
            part(node, &|policy| drop(policy.blocks.insert(*cidr, Arc::clone(&own))));
        }
    }
    for (name, node) in &whole.nodes {
        part(name, &|policy| {
            policy.ipip_tunnel_addr = node.ipip_tunnel_addr;
            policy.nodes.insert(Arc::clone(name), Arc::clone(node));
        });
    }
    parts
}

/// All that something is said about.
fn hosts(catalog: &Catalog) -> BTreeSet<Arc<str>> {
    let host = |resource: &Resource| match resource {
        Resource::Node(node) => Some(Arc::clone(&node.name)),
        Resource::WorkloadEndpoint(endpoint) => Some(Arc::clone(&endpoint.id.node)),
        Resource::Tier(_)
        | Resource::Policy(_)
        | Resource::Profile(_)
        | Resource::NetworkSet(_)
        | Resource::HostEndpoint(_)
        | Resource::IpPool(_)
        | Resource::Config(_)
        | Resource::ClusterInformation(_)
        | Resource::Ready(_)
        | Resource::BlockAffinity(_)
        | Resource::IpamBlock(_) => None,
    };
    catalog.resources().filter_map(host).collect()
}

fn configures(resource: &Resource) -> bool {
    match resource {
        Resource::Config(_) | Resource::ClusterInformation(_) | Resource::Node(_) => true,
        Resource::Tier(_)
        | Resource::Policy(_)
        | Resource::Profile(_)
        | Resource::NetworkSet(_)
        | Resource::WorkloadEndpoint(_)
        | Resource::HostEndpoint(_)
        | Resource::IpPool(_)
        | Resource::Ready(_)
        | Resource::BlockAffinity(_)
        | Resource::IpamBlock(_) => false,
    }
}

fn seers<'h>(policy: &HostPolicy, hosts: impl Iterator<Item = &'h Arc<str>>) -> BTreeSet<Arc<str>> {
    let mut by_address = BTreeMap::new();
    let mut seers: BTreeSet<Arc<str>> = hosts.take(2).cloned().collect();
    for (name, node) in &policy.nodes {
        let NodeAddresses { ipv4, ipv6, ipip_tunnel_addr: _ } = &**node;
        let v4 = ipv4.map(|(address, _)| address.into());
        let v6 = ipv6.map(|(address, _)| address.into());
        for address in v4.into_iter().chain(v6) {
            let address: std::net::IpAddr = address;
            if let Some(other) = by_address.insert(address, name) {
                seers.extend([Arc::clone(other), Arc::clone(name)]);
            }
        }
    }
    seers
}

fn diagnostic(catalog: &Catalog, (owner, why): &Subject, all: &BTreeSet<IpNet>) -> Option<Diagnostic> {
    let first = all.first()?;
    let more = match all.len() {
        1 => String::new(),
        number => format!(" and {} more", number - 1),
    };
    let of = owner.as_ref().map(|owner| format!(" of {owner}")).unwrap_or_default();
    Some(Diagnostic {
        severity: Severity::Warning,
        code: Code::NoRoute,
        place: place(catalog, owner.as_ref(), why, first),
        excerpt: None,
        message: format!("no route leads to {first}{more}{of}"),
        label: label(why),
        effect: None,
        help: help(why).map(str::to_owned),
    })
}

/// Seen from no host.
fn label(why: &Why) -> String {
    match why {
        Why::OurAddress { address } => format!("another Node has its address {address}"),
        other => other.to_string(),
    }
}

/// Where the reason is, or who has it.
fn place(catalog: &Catalog, owner: Option<&Owner>, why: &Why, first: &IpNet) -> Place {
    let block = || catalog.resource(&ResourceId::IpamBlock(first.to_string().into()));
    let resource = match (owner, why) {
        (None, Why::LoadBalancers { pool } | Why::Vxlan { pool }) => catalog
            .resources()
            .find(|resource| matches!(resource, Resource::IpPool(one) if one.cidr == *pool)),
        (None, _) => block(),
        (Some(Owner::Endpoint(id)), _) => catalog.resource(&ResourceId::WorkloadEndpoint(id.clone())),
        (Some(Owner::Node(name)), Why::NoAddress(_) | Why::OurAddress { .. }) => {
            catalog.resource(&ResourceId::Node(Arc::clone(name)))
        }
        (Some(Owner::Node(name)), _) => {
            block().or_else(|| catalog.resource(&ResourceId::Node(Arc::clone(name))))
        }
    };
    let unknown = || Place { source: first.to_string().into(), line: 0, column: 0 };
    resource.map_or_else(unknown, |resource| resource.place().clone())
}

fn help(why: &Why) -> Option<&'static str> {
    match why {
        Why::Down { .. } | Why::NoWay { .. } | Why::LoadBalancers { .. } => None,
        Why::NotAWorkloads { .. } => {
            Some("name the interface by the prefix, or add its prefix to InterfacePrefix")
        }
        Why::AHostsOwn | Why::YieldsTo(_) => Some("give each endpoint addresses of its own"),
        Why::NoPool => Some("add an IPPool that has it"),
        Why::Vxlan { .. } => Some("let the pool use ipipMode, or no encapsulation"),
        Why::UnknownNode => Some("add a Node of that name, with its address"),
        Why::NoAddress(_) => Some("say the node's address, with its subnet"),
        Why::OurAddress { .. } => Some("give each node an address of its own"),
        Why::HoldsHost { .. } => Some("keep hosts' addresses out of pools that go through the tunnel"),
    }
}
