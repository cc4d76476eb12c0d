//! What names a resource. The same identity from two entries is a duplicate, whichever form each is written in.

use std::fmt;
use std::sync::Arc;

/// Any resource's identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceId {
    Tier(Arc<str>),
    Policy(PolicyId),
    Profile(Arc<str>),
    NetworkSet(NetworkSetId),
    WorkloadEndpoint(WorkloadId),
    HostEndpoint(HostEndpointId),
    IpPool(Arc<str>),
    Node(Arc<str>),
    Config(ConfigId),
    ClusterInformation(Arc<str>),
    Ready,
    /// Node and block.
    BlockAffinity(Arc<str>),
    /// The block's CIDR.
    IpamBlock(Arc<str>),
}

/// What parameters are kept in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigId {
    /// A FelixConfiguration, by its name.
    Felix(Arc<str>),
    /// One parameter for all hosts, under a key of its own in Felix 2.1's store.
    GlobalKey(Arc<str>),
    /// One parameter for one host, likewise.
    HostKey { host: Arc<str>, name: Arc<str> },
}

/// Which kind of policy; a name is unique within its kind and namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    GlobalNetworkPolicy,
    NetworkPolicy,
}

impl PolicyKind {
    /// The kind as manifests write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            Self::NetworkPolicy => "NetworkPolicy",
        }
    }

    /// The kind as chain names and log prefixes write it.
    pub fn short(self) -> &'static str {
        match self {
            Self::GlobalNetworkPolicy => "gnp",
            Self::NetworkPolicy => "np",
        }
    }
}

/// A policy: kind, namespace (empty for a global one) and name. The tier is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    pub kind: PolicyKind,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl PolicyId {
    /// `namespace/name`, or the name alone.
    pub fn qualified_name(&self) -> String {
        if self.namespace.is_empty() {
            self.name.to_string()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Display for PolicyId {
    /// `GlobalNetworkPolicy name` or `NetworkPolicy namespace/name`, as the chain comments have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.qualified_name())
    }
}

/// A network set: namespace (empty for a global one) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkSetId {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// A workload endpoint as the datastore keys it. In the v3 form the workload is `namespace/pod`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId {
    pub node: Arc<str>,
    pub orchestrator: Arc<str>,
    pub workload: Arc<str>,
    pub endpoint: Arc<str>,
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.node, self.orchestrator, self.workload, self.endpoint)
    }
}

/// A host endpoint: names are unique within a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostEndpointId {
    pub node: Arc<str>,
    pub name: Arc<str>,
}

impl fmt::Display for HostEndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.name)
    }
}

impl fmt::Display for NetworkSetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Display for ConfigId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Felix(name) => write!(f, "FelixConfiguration {name}"),
            Self::GlobalKey(name) => write!(f, "config {name}"),
            Self::HostKey { host, name } => write!(f, "config {name} of {host}"),
        }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tier(name) => write!(f, "Tier {name}"),
            Self::Policy(id) => id.fmt(f),
            Self::Profile(name) => write!(f, "Profile {name}"),
            Self::NetworkSet(id) if id.namespace.is_empty() => write!(f, "GlobalNetworkSet {id}"),
            Self::NetworkSet(id) => write!(f, "NetworkSet {id}"),
            Self::WorkloadEndpoint(id) => write!(f, "WorkloadEndpoint {id}"),
            Self::HostEndpoint(id) => write!(f, "HostEndpoint {id}"),
            Self::IpPool(name) => write!(f, "IPPool {name}"),
            Self::Node(name) => write!(f, "Node {name}"),
            Self::Config(id) => id.fmt(f),
            Self::Ready => f.write_str("Ready"),
            Self::ClusterInformation(name) => write!(f, "ClusterInformation {name}"),
            Self::BlockAffinity(name) => write!(f, "BlockAffinity {name}"),
            Self::IpamBlock(name) => write!(f, "IPAMBlock {name}"),
        }
    }
}
