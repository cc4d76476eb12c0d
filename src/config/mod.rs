//! The one table of parameters, and how sources override each other, as values.
//!
//! [`Source`]s hold [`Setting`]s, texts as somebody wrote them. [`Config::resolve`] looks each up in
//! [`PARAMETERS`], lets the strongest win and gives a typed [`Config`], how etcd is reached, and a
//! [`ConfigProblem`] for what is not in force as it was written.

mod clients;
mod draft;
mod etcd;
mod field;
pub mod file;
mod kind;
pub mod listing;
mod nearest;
mod parameter;
mod parameters;
mod problem;
mod routing;
mod running;
mod setting;
mod sources;
mod value;

pub use etcd::draft::EtcdFault;
pub use etcd::url::{EtcdUrl, EtcdUrlError};
pub use etcd::{EtcdAccess, Identity, Login, Pem, Secret};
pub use field::{FieldError, FieldValue, field_to_text, parameter_for_field};
pub use kind::Kind;
pub(crate) use nearest::nearest;
pub use parameter::{Parameter, Scope, left_out};
pub use parameters::PARAMETERS;
pub use problem::{ConfigProblem, ProblemKind, Severity};
pub use routing::{ClusterRoutes, RouteSource, Routing};
pub use running::{BackendChoice, Enforcement, Listener, Reporting, StatusReporting};
pub use setting::Setting;
pub use sources::{Chosen, Resolved, Source, SourceKind};
pub use value::Refusal;

use std::net::Ipv4Addr;

use ipnet::IpNet;

use value::choices;

/// Felix's parameters as this program uses them (reference §11.2), after all sources were merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The node that this host is; None: the operating system's name in lower case.
    pub hostname: Option<String>,
    pub ipv6_support: bool,
    /// Host interfaces whose names begin so belong to workloads.
    pub interface_prefixes: Vec<String>,
    pub chain_insert_mode: InsertMode,
    pub default_endpoint_to_host_action: EndpointToHostAction,
    pub filter_allow_action: AllowAction,
    pub mangle_allow_action: AllowAction,
    pub filter_deny_action: DenyAction,
    pub log_prefix: String,
    /// `50/minute`
    pub log_action_rate_limit: Option<String>,
    pub log_action_rate_limit_burst: u32,
    pub mark_mask: u32,
    pub disable_conntrack_invalid_check: bool,
    pub nat_port_range: Option<(u16, u16)>,
    pub nat_outgoing_address: Option<Ipv4Addr>,
    pub nat_outgoing_exclusions: NatOutgoingExclusions,
    pub nat_outgoing_interface_filter: Option<String>,
    pub workload_source_spoofing: bool,
    pub floating_ips: bool,
    pub allow_vxlan_packets_from_workloads: bool,
    pub allow_ipip_packets_from_workloads: bool,
    /// None: as the pools say.
    pub ipip_enabled: Option<bool>,
    pub vxlan_port: u16,
    pub max_ipset_size: u32,
    pub external_nodes: Vec<IpNet>,
    pub invalid_objects: InvalidObjects,
    pub openstack: Option<OpenStack>,
    pub routing: Routing,
    pub enforcement: Enforcement,
    pub reporting: Reporting,
    pub status: StatusReporting,
}

impl Config {
    /// Whether floating IPs of an orchestrator's endpoints are translated: always OpenStack's.
    pub fn floats(&self, orchestrator: &str) -> bool {
        self.floating_ips || orchestrator == "openstack"
    }
}

/// OpenStack's special cases are on; where its metadata service listens, if an address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenStack {
    pub metadata: Option<(Ipv4Addr, u16)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertMode {
    Insert,
    Append,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointToHostAction {
    Drop,
    Return,
    Accept,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowAction {
    Accept,
    Return,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyAction {
    Drop,
    Reject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatOutgoingExclusions {
    IpPoolsOnly,
    IpPoolsAndHostIps,
}

/// What an object that can't be understood does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidObjects {
    /// It closes what a valid one would have closed.
    Deny,
    /// It is absent, as in Felix.
    Ignore,
}

choices!(InsertMode { "insert" => Insert, "append" => Append });
choices!(EndpointToHostAction { "DROP" => Drop, "RETURN" => Return, "ACCEPT" => Accept });
choices!(AllowAction { "ACCEPT" => Accept, "RETURN" => Return });
choices!(DenyAction { "DROP" => Drop, "REJECT" => Reject });
choices!(NatOutgoingExclusions { "IPPoolsOnly" => IpPoolsOnly, "IPPoolsAndHostIPs" => IpPoolsAndHostIps });
choices!(InvalidObjects { "Deny" => Deny, "Ignore" => Ignore });

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: None,
            ipv6_support: true,
            interface_prefixes: vec!["cali".to_owned()],
            chain_insert_mode: InsertMode::Insert,
            default_endpoint_to_host_action: EndpointToHostAction::Drop,
            filter_allow_action: AllowAction::Accept,
            mangle_allow_action: AllowAction::Accept,
            filter_deny_action: DenyAction::Drop,
            log_prefix: "calico-packet".to_owned(),
            log_action_rate_limit: None,
            log_action_rate_limit_burst: 5,
            mark_mask: 0xffff_0000,
            disable_conntrack_invalid_check: false,
            nat_port_range: None,
            nat_outgoing_address: None,
            nat_outgoing_exclusions: NatOutgoingExclusions::IpPoolsOnly,
            nat_outgoing_interface_filter: None,
            workload_source_spoofing: false,
            floating_ips: false,
            allow_vxlan_packets_from_workloads: false,
            allow_ipip_packets_from_workloads: false,
            ipip_enabled: None,
            vxlan_port: 4789,
            max_ipset_size: 1_048_576,
            external_nodes: Vec::new(),
            invalid_objects: InvalidObjects::Deny,
            openstack: None,
            routing: Routing::default(),
            enforcement: Enforcement::default(),
            reporting: Reporting::default(),
            status: StatusReporting::default(),
        }
    }
}
