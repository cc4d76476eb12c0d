//! Endpoints: what policies select and rules match.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::Labels;
use super::id::{HostEndpointId, WorkloadId};
use super::rule::Protocol;
use crate::datastore::Place;

/// A container's or virtual machine's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadEndpoint {
    pub id: WorkloadId,
    /// The resource's own name and namespace, for people; a v1 endpoint has no namespace.
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    /// The host's side of the veth; at most 15 bytes (IFNAMSIZ - 1).
    pub interface: Arc<str>,
    /// v1 `state: active`; an inactive endpoint's packets are dropped.
    pub active: bool,
    pub labels: Labels,
    /// In the order in which their rules are tried and their labels win.
    pub profiles: Vec<Arc<str>>,
    /// Single addresses, masked to /32 or /128.
    pub networks: Vec<IpNet>,
    pub nats: Vec<NatMapping>,
    pub mac: Option<Arc<str>>,
    pub ports: Vec<EndpointPort>,
    /// Sources other than its own that it may send from, where the configuration allows that.
    pub allowed_source_prefixes: Vec<IpNet>,
    pub place: Place,
}

/// A floating IP: `external` is translated to `internal`, one of the endpoint's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatMapping {
    pub internal: IpAddr,
    pub external: IpAddr,
}

/// A port with a name that rules can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    pub name: Arc<str>,
    pub protocol: Protocol,
    pub port: u16,
}

/// An interface of a host itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEndpoint {
    pub id: HostEndpointId,
    /// `*` is all interfaces; absent, the addresses decide.
    pub interface: Option<Arc<str>>,
    pub expected_ips: Vec<IpAddr>,
    pub labels: Labels,
    pub profiles: Vec<Arc<str>>,
    pub ports: Vec<EndpointPort>,
    pub place: Place,
}
