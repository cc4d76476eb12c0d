//! A flow between two parties, and the hosts that it comes through.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::cluster::{Enforcement, Party};
use super::wording::payload_text;
use crate::model::IpVersion;
use crate::verdict::check::boundary::outside;
use crate::verdict::packet::{ConnState, Packet, Payload, Way};

/// A question about one flow's first packet.
#[derive(Clone, Debug)]
pub struct Flow {
    pub from: Party,
    pub to: Party,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub payload: Payload,
    pub state: ConnState,
}

impl fmt::Display for Flow {
    /// `workload-b → workload-a, icmp type 8 code 0`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, source, destination, payload, state: _ } = self;
        write!(f, "{from} → {to}, {}", payload_text(IpVersion::of(*source), *payload))?;
        write!(f, " ({source} → {destination})")
    }
}

/// One host that a flow comes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    pub host: Arc<str>,
    pub packet: Packet,
}

/// The hosts that the flow comes through, with the packet as each sees it.
pub fn hops(flow: &Flow, enforcement: &Enforcement) -> Vec<Hop> {
    let uplink = |host: &Arc<str>| uplink(host, enforcement);
    let hop = |host: &Arc<str>, way| Hop { host: Arc::clone(host), packet: packet(flow, way) };
    let same_host = flow.from.host().is_some() && flow.from.host() == flow.to.host();
    let mut hops = Vec::new();
    match &flow.from {
        Party::Endpoint { endpoint, address: _ } => {
            let (host, input) = (&endpoint.id.node, Arc::clone(&endpoint.interface));
            let way = match &flow.to {
                Party::Endpoint { endpoint: to, address: _ } if same_host => {
                    Way::Forwarded { input, output: Arc::clone(&to.interface) }
                }
                Party::Host { .. } if same_host => Way::ToHost { input },
                Party::Endpoint { .. } | Party::Host { .. } | Party::Outside(_) => {
                    Way::Forwarded { input, output: uplink(host) }
                }
            };
            hops.push(hop(host, way));
        }
        Party::Host { name, addresses: _ } => {
            let output = match &flow.to {
                Party::Endpoint { endpoint, address: _ } if same_host => Arc::clone(&endpoint.interface),
                Party::Endpoint { .. } | Party::Host { .. } | Party::Outside(_) => uplink(name),
            };
            hops.push(hop(name, Way::FromHost { output }));
        }
        Party::Outside(_) => {}
    }
    match &flow.to {
        Party::Endpoint { endpoint, address: _ } if !same_host => {
            let (host, output) = (&endpoint.id.node, Arc::clone(&endpoint.interface));
            hops.push(hop(host, Way::Forwarded { input: uplink(host), output }));
        }
        Party::Host { name, addresses: _ } if !same_host => {
            hops.push(hop(name, Way::ToHost { input: uplink(name) }));
        }
        Party::Endpoint { .. } | Party::Host { .. } | Party::Outside(_) => {}
    }
    hops
}

/// A host that the flow comes through although neither party is there.
pub fn through(host: Arc<str>, flow: &Flow, enforcement: &Enforcement) -> Hop {
    let interface = uplink(&host, enforcement);
    let way = Way::Forwarded { input: Arc::clone(&interface), output: interface };
    Hop { packet: packet(flow, way), host }
}

/// The addresses of a flow: of the family that was asked for, else of the first that both parties have.
pub fn addresses(from: &Party, to: &Party, version: Option<IpVersion>) -> Option<(IpAddr, IpAddr)> {
    let versions = version.map_or(vec![IpVersion::V4, IpVersion::V6], |version| vec![version]);
    versions.into_iter().find_map(|version| {
        let first = |party: &Party| party.addresses(Some(version)).into_iter().next();
        Some((first(from)?, first(to)?))
    })
}

/// The interface by which a host reaches the others, which no manifest names.
fn uplink(host: &Arc<str>, enforcement: &Enforcement) -> Arc<str> {
    enforcement.hosts.get(host).map_or_else(|| "uplink".into(), |host| outside(&host.config))
}

fn packet(flow: &Flow, way: Way) -> Packet {
    Packet {
        way,
        source: flow.source,
        destination: flow.destination,
        payload: flow.payload,
        state: flow.state,
        reverse_path: is_own_address(&flow.from, flow.source),
    }
}

/// Whether an answer to the address comes back to the party.
fn is_own_address(party: &Party, address: IpAddr) -> bool {
    match party {
        Party::Endpoint { endpoint, address: _ } => {
            endpoint.networks.iter().any(|net| net.contains(&address))
        }
        Party::Host { .. } | Party::Outside(_) => true,
    }
}
