//! Connections that were let through once, asked about anew: would the present policy let their first packet through?

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::packet::{ConnState, Packet, Payload, Way};
use super::policy::judge::{Judge, Ruling};
use crate::config::Config;
use crate::policy::HostPolicy;

/// A connection as its first packet was once its destination was translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub payload: Payload,
}

/// Decides on connections of one host.
pub struct Connections<'p> {
    judge: Judge<'p>,
    /// Whose address it is.
    interfaces: BTreeMap<IpAddr, Arc<str>>,
    host: &'p BTreeSet<IpAddr>,
    /// A stand-in for whatever interface leads elsewhere.
    uplink: Arc<str>,
}

impl<'p> Connections<'p> {
    /// `host`: the host's own addresses.
    pub fn new(policy: &'p HostPolicy, config: &'p Config, host: &'p BTreeSet<IpAddr>) -> Self {
        let owners = policy.endpoints.values().filter(|local| local.shadowed_by.is_none());
        let interfaces = owners.flat_map(|local| {
            let addresses = local.endpoint.networks.iter().map(ipnet::IpNet::addr);
            addresses.map(|address| (address, Arc::clone(&local.endpoint.interface)))
        });
        Self {
            judge: Judge::new(policy, config),
            interfaces: interfaces.collect(),
            host,
            uplink: super::check::boundary::outside(config),
        }
    }

    /// Whether policy denies it. One that concerns no endpoint of this host is none of policy's business.
    pub fn is_denied(&self, connection: &Connection) -> bool {
        let Connection { source, destination, payload } = *connection;
        let Some(way) = self.way(source, destination) else { return false };
        // An endpoint that sent from elsewhere would not have got so far.
        let packet = Packet { way, source, destination, payload, state: ConnState::New, reverse_path: true };
        self.judge.judge(&packet).ruling == Ruling::Deny
    }

    fn way(&self, source: IpAddr, destination: IpAddr) -> Option<Way> {
        let (from, to) = (self.interfaces.get(&source), self.interfaces.get(&destination));
        let outside = || Arc::clone(&self.uplink);
        match (from, to) {
            (None, None) => None,
            (Some(input), None) if self.host.contains(&destination) => {
                Some(Way::ToHost { input: Arc::clone(input) })
            }
            (None, Some(output)) if self.host.contains(&source) => {
                Some(Way::FromHost { output: Arc::clone(output) })
            }
            (Some(input), output) => Some(Way::Forwarded {
                input: Arc::clone(input),
                output: output.map_or_else(outside, Arc::clone),
            }),
            (None, Some(output)) => Some(Way::Forwarded { input: outside(), output: Arc::clone(output) }),
        }
    }
}
