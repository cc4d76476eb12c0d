//! Entries made into typed, valid resources, once.
//!
//! The forms of 2017 (`apiVersion: v1`) and of today (`projectcalico.org/v3`) meet here; behind this stage there
//! is one model, shaped like v3: tiers, types, namespaces.

mod catalog;
mod configuration;
mod decode;
mod diagnostic;
mod endpoint;
mod hosts;
mod id;
mod network;
mod policy;
mod profile;
mod readiness;
mod resource;
mod rule;
pub mod stored;

pub use catalog::Catalog;
pub use configuration::{configuration, configurations, configures};
pub use decode::{Content, Decoded, decode};
pub use diagnostic::{Code, Diagnostic, Effect, Severity};
pub use endpoint::{EndpointPort, HostEndpoint, NatMapping, WorkloadEndpoint};
pub use hosts::node_names;
pub use id::{ConfigId, HostEndpointId, NetworkSetId, PolicyId, PolicyKind, ResourceId, WorkloadId};
pub use network::{BlockAffinity, EncapMode, IpPool, IpamBlock, NetworkSet, Node};
pub use policy::{BUILT_IN_TIERS, Order, Policy, Stage, Tier, TierDefault, Types};
pub use profile::{Profile, ProfileContent, ProfilePart};
pub use readiness::{NotReady, Readiness, readiness};
pub use resource::{
    ClusterInformation, ConfigEntry, ConfigResource, ConfigScope, ReadyFlag, Resource, Update,
};
pub use rule::{
    Action, EntityMatch, IcmpMatch, IpVersion, PortRange, Protocol, Rule, Services, Unenforceable,
};

pub use crate::labels::Labels;
