//! Any resource, and what is said about one.

use std::sync::Arc;

use super::endpoint::{HostEndpoint, WorkloadEndpoint};
use super::id::ResourceId;
use super::network::{BlockAffinity, IpPool, IpamBlock, NetworkSet, Node};
use super::policy::{Policy, Profile, Tier};
use crate::datastore::Place;

/// A resource that an enforcer has a use for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    Tier(Tier),
    Policy(Policy),
    Profile(Profile),
    NetworkSet(NetworkSet),
    WorkloadEndpoint(WorkloadEndpoint),
    HostEndpoint(HostEndpoint),
    IpPool(IpPool),
    Node(Node),
    /// FelixConfiguration.
    Config(ConfigResource),
    ClusterInformation(ConfigResource),
    BlockAffinity(BlockAffinity),
    IpamBlock(IpamBlock),
}

/// A FelixConfiguration (`default`, `node.<name>` or another) or ClusterInformation: one text a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigResource {
    pub name: Arc<str>,
    /// Which nodes it is for, where it is neither `default` nor `node.<name>`.
    pub node_selector: Option<crate::labels::Selector>,
    /// RFC 3339, to choose the oldest of several that select a node.
    pub created: Option<Arc<str>>,
    /// In the order written.
    pub entries: Vec<ConfigEntry>,
    pub place: Place,
}

/// One parameter: Felix's name (`LogPrefix`), the value as the environment would have it, its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: Arc<str>,
    pub value: Arc<str>,
    pub place: Place,
}

impl Resource {
    pub fn id(&self) -> ResourceId {
        match self {
            Self::Tier(tier) => ResourceId::Tier(Arc::clone(&tier.name)),
            Self::Policy(policy) => ResourceId::Policy(policy.id.clone()),
            Self::Profile(profile) => ResourceId::Profile(Arc::clone(&profile.name)),
            Self::NetworkSet(set) => ResourceId::NetworkSet(set.id.clone()),
            Self::WorkloadEndpoint(endpoint) => ResourceId::WorkloadEndpoint(endpoint.id.clone()),
            Self::HostEndpoint(endpoint) => ResourceId::HostEndpoint(endpoint.id.clone()),
            Self::IpPool(pool) => ResourceId::IpPool(Arc::clone(&pool.name)),
            Self::Node(node) => ResourceId::Node(Arc::clone(&node.name)),
            Self::Config(config) => ResourceId::Config(Arc::clone(&config.name)),
            Self::ClusterInformation(info) => ResourceId::ClusterInformation(Arc::clone(&info.name)),
            Self::BlockAffinity(affinity) => ResourceId::BlockAffinity(Arc::clone(&affinity.name)),
            Self::IpamBlock(block) => ResourceId::IpamBlock(block.cidr.to_string().into()),
        }
    }

    /// Where it was written.
    pub fn place(&self) -> &Place {
        match self {
            Self::Tier(tier) => &tier.place,
            Self::Policy(policy) => &policy.place,
            Self::Profile(profile) => &profile.place,
            Self::NetworkSet(set) => &set.place,
            Self::WorkloadEndpoint(endpoint) => &endpoint.place,
            Self::HostEndpoint(endpoint) => &endpoint.place,
            Self::IpPool(pool) => &pool.place,
            Self::Node(node) => &node.place,
            Self::Config(config) | Self::ClusterInformation(config) => &config.place,
            Self::BlockAffinity(affinity) => &affinity.place,
            Self::IpamBlock(block) => &block.place,
        }
    }
}

/// What changed: one resource is there with this value, or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    Put(Arc<Resource>),
    Delete(ResourceId),
}
