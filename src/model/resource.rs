//! Any resource, and what is said about one.

use std::sync::Arc;

use super::endpoint::{HostEndpoint, WorkloadEndpoint};
use super::id::{ConfigId, ResourceId};
use super::network::{BlockAffinity, IpPool, IpamBlock, NetworkSet, Node};
use super::policy::{Policy, Tier};
use super::profile::Profile;
use crate::datastore::Place;
use crate::labels::Selector;

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
    /// FelixConfiguration, or a parameter of Felix 2.1's store.
    Config(ConfigResource),
    ClusterInformation(ClusterInformation),
    /// Felix 2.1's flag that a store is set up.
    Ready(ReadyFlag),
    BlockAffinity(BlockAffinity),
    IpamBlock(IpamBlock),
}

/// Parameters that are kept together: one text each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigResource {
    pub id: ConfigId,
    pub scope: ConfigScope,
    /// RFC 3339, to choose the oldest of several that select a node.
    pub created: Option<Arc<str>>,
    /// In the order written.
    pub entries: Vec<ConfigEntry>,
    pub place: Place,
}

/// Which hosts parameters are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigScope {
    /// All.
    Global,
    /// The one of that name.
    Host(Arc<str>),
    /// Those with such labels; none without a selector.
    Selected(Option<Selector>),
}

/// What a cluster says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInformation {
    /// Only `default` counts.
    pub name: Arc<str>,
    /// Whether clients have finished setting the store up.
    pub datastore_ready: Option<bool>,
    /// What of it is a parameter too.
    pub entries: Vec<ConfigEntry>,
    pub place: Place,
}

/// Felix 2.1's `Ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyFlag {
    pub ready: bool,
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
            Self::Config(config) => ResourceId::Config(config.id.clone()),
            Self::Ready(_) => ResourceId::Ready,
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
            Self::Config(config) => &config.place,
            Self::ClusterInformation(info) => &info.place,
            Self::Ready(flag) => &flag.place,
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
