//! What the keys of a store say about the entries under them (reference §2; felix-2.1 §2.1).

use std::fmt;

use ipnet::IpNet;

use super::kind::{self, Kind};
use super::scalar;
use crate::datastore::{Scalar, StoredPath};
use crate::model::IpVersion;

/// An entry's identity, as its key has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StoredKey<'k> {
    /// A resource of today.
    Resource(ResourceKey<'k>),
    Block(IpNet),
    Affinity {
        node: &'k str,
        cidr: IpNet,
    },
    Ready,
    GlobalParameter(String),
    HostParameter {
        host: &'k str,
        name: String,
    },
    HostAddress(&'k str),
    Workload(WorkloadKey<'k>),
    HostEndpoint {
        host: &'k str,
        name: &'k str,
    },
    Policy(&'k str),
    Profile {
        name: &'k str,
        part: Part,
    },
    Pool(IpNet),
    NetworkSet(&'k str),
}

/// A v3 resource: the plural in the key decides what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResourceKey<'k> {
    pub kind: Kind,
    /// As documents write it.
    pub kind_name: &'static str,
    /// Of namespaced kinds.
    pub namespace: Option<&'k str>,
    pub name: &'k str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WorkloadKey<'k> {
    pub host: &'k str,
    pub orchestrator: &'k str,
    pub workload: &'k str,
    pub endpoint: &'k str,
}

/// The keys that a profile of Felix 2.1 lies under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Rules,
    Tags,
    Labels,
}

impl<'k> StoredKey<'k> {
    /// None for a key that is of no use to an enforcer.
    pub fn of(path: &'k StoredPath) -> Option<Self> {
        let parts = path.parts();
        if parts.contains(&"") {
            return None;
        }
        match *parts.as_slice() {
            ["resources", "v3", "projectcalico.org", plural, name] => resource(plural, None, name),
            ["resources", "v3", "projectcalico.org", plural, namespace, name] => {
                resource(plural, Some(namespace), name)
            }
            ["ipam", "v2", "assignment", family, "block", cidr] => net(family, cidr).map(Self::Block),
            ["ipam", "v2", "host", node, family, "block", cidr] => {
                Some(Self::Affinity { node, cidr: net(family, cidr)? })
            }
            ["v1", "Ready"] => Some(Self::Ready),
            ["v1", "config", first, ref rest @ ..] => Some(Self::GlobalParameter(joined(first, rest))),
            ["v1", "host", host, "config", first, ref rest @ ..] => {
                Some(Self::HostParameter { host, name: joined(first, rest) })
            }
            ["v1", "host", host, "bird_ip"] => Some(Self::HostAddress(host)),
            ["v1", "host", host, "workload", orchestrator, workload, "endpoint", endpoint] => {
                Some(Self::Workload(WorkloadKey { host, orchestrator, workload, endpoint }))
            }
            ["v1", "host", host, "endpoint", name] => Some(Self::HostEndpoint { host, name }),
            // Every tier of Felix 2.1 is `default`; staged policies came later, and are not enforced.
            ["v1", "policy", "tier", _, "policy", name] => {
                (!name.starts_with("staged:")).then_some(Self::Policy(name))
            }
            ["v1", "policy", "profile", name, "rules"] => Some(Self::Profile { name, part: Part::Rules }),
            ["v1", "policy", "profile", name, "tags"] => Some(Self::Profile { name, part: Part::Tags }),
            ["v1", "policy", "profile", name, "labels"] => Some(Self::Profile { name, part: Part::Labels }),
            ["v1", "ipam", "v4", "pool", cidr] => net("ipv4", cidr).map(Self::Pool),
            ["v1", "ipam", "v6", "pool", cidr] => net("ipv6", cidr).map(Self::Pool),
            ["v1", "netset", name] => Some(Self::NetworkSet(name)),
            _ => None,
        }
    }
}

fn resource<'k>(plural: &str, namespace: Option<&'k str>, name: &'k str) -> Option<StoredKey<'k>> {
    let (kind_name, kind) = kind::stored(plural)?;
    let fits = kind.is_namespaced() == namespace.is_some();
    fits.then_some(StoredKey::Resource(ResourceKey { kind, kind_name, namespace, name }))
}

/// The names of parameters may have slashes in them.
fn joined(first: &str, rest: &[&str]) -> String {
    [&[first], rest].concat().join("/")
}

/// A CIDR with `-` for its slash, of the family that the key says.
fn net(family: &str, text: &str) -> Option<IpNet> {
    let (address, length) = text.rsplit_once('-')?;
    let text = Scalar { text: format!("{address}/{length}").into(), plain: false };
    let net = scalar::masked_net(&text).ok()?;
    let written = match scalar::version_of(&net) {
        IpVersion::V4 => "ipv4",
        IpVersion::V6 => "ipv6",
    };
    (family == written).then_some(net)
}

impl fmt::Display for StoredKey<'_> {
    /// What the entry is, for people; in the words of its own API.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(ResourceKey { kind: _, kind_name, namespace: Some(namespace), name }) => {
                write!(f, "{kind_name} {namespace}/{name}")
            }
            Self::Resource(ResourceKey { kind: _, kind_name, namespace: None, name }) => {
                write!(f, "{kind_name} {name}")
            }
            Self::Block(cidr) => write!(f, "IPAMBlock {cidr}"),
            Self::Affinity { node, cidr } => write!(f, "BlockAffinity {node} {cidr}"),
            Self::Ready => f.write_str("Ready"),
            Self::GlobalParameter(name) => write!(f, "config {name}"),
            Self::HostParameter { host, name } => write!(f, "config {name} of {host}"),
            Self::HostAddress(host) => write!(f, "node {host}"),
            Self::Workload(WorkloadKey { host, orchestrator, workload, endpoint }) => {
                write!(f, "workloadEndpoint {host}/{orchestrator}/{workload}/{endpoint}")
            }
            Self::HostEndpoint { host, name } => write!(f, "hostEndpoint {host}/{name}"),
            Self::Policy(name) => write!(f, "policy {name}"),
            Self::Profile { name, part: _ } => write!(f, "profile {name}"),
            Self::Pool(cidr) => write!(f, "ipPool {cidr}"),
            Self::NetworkSet(name) => write!(f, "network set {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for (key, wanted) in [
            (
                "resources/v3/projectcalico.org/globalnetworkpolicies/allow-dns",
                "GlobalNetworkPolicy allow-dns",
            ),
            ("resources/v3/projectcalico.org/networkpolicies/ns1/web", "NetworkPolicy ns1/web"),
            ("resources/v3/projectcalico.org/nodes/host1", "Node host1"),
            ("ipam/v2/assignment/ipv4/block/10.65.1.0-26", "IPAMBlock 10.65.1.0/26"),
            ("ipam/v2/assignment/ipv6/block/fd00:10::-122", "IPAMBlock fd00:10::/122"),
            ("ipam/v2/host/h-1/ipv4/block/10.65.1.0-26", "BlockAffinity h-1 10.65.1.0/26"),
            ("v1/Ready", "Ready"),
            ("v1/config/LogPrefix", "config LogPrefix"),
            ("v1/config/a/b", "config a/b"),
            ("v1/host/h1/config/LogPrefix", "config LogPrefix of h1"),
            ("v1/host/h1/bird_ip", "node h1"),
            (
                "v1/host/foobar/workload/open%2fstack/work%2fload/endpoint/end%2fpoint",
                "workloadEndpoint foobar/open/stack/work/load/end/point",
            ),
            ("v1/host/h1/endpoint/eth0", "hostEndpoint h1/eth0"),
            ("v1/policy/tier/other/policy/a%2fb", "policy a/b"),
            ("v1/policy/profile/ns%2fprof/rules", "profile ns/prof"),
            ("v1/ipam/v4/pool/10.0.0.0-8", "ipPool 10.0.0.0/8"),
            ("v1/ipam/v6/pool/fd00::-64", "ipPool fd00::/64"),
            ("v1/netset/a", "network set a"),
        ] {
            let path = StoredPath::of(key);
            assert_eq!(StoredKey::of(&path).map(|key| key.to_string()).as_deref(), Some(wanted), "{key}");
        }
    }

    /// Reference §15, rows 93 and 94, and what others write.
    #[test]
    fn keys_of_no_use() {
        for key in [
            "",
            "v1",
            "v1/",
            "v1/ready",
            "v1/config",
            "v1/host/h1/metadata",
            "v1/host//bird_ip",
            "v1/ipam/v4/pool/577559",
            "v1/ipam/v4/pool/10.0.0.0-33",
            "v1/ipam/v6/pool/10.0.0.0-8",
            "v1/policy/GlobalNetworkPolicy//my-global-policy",
            "v1/policy/tier/default/metadata",
            "v1/policy/tier/default/policy/staged:name",
            "v1/policy/profile/a/egress",
            "resources/v3/projectcalico.org/networkpolicies",
            "resources/v3/projectcalico.org/networkpolicies/web",
            "resources/v3/projectcalico.org/felixconfigurations/default/my-network-policy",
            "resources/v3/projectcalico.org/stagednetworkpolicies/ns1/web",
            "resources/v3/projectcalico.org/ipreservations/a",
            "resources/v3/projectcalico.org/wonders/a",
            "resources/v3/projectcalico.org/nodes/",
            "resources/v4/projectcalico.org/nodes/a",
            "ipam/v2/handle/h",
            "ipam/v2/config",
            "ipam/v2/host/virtual/ipv4",
            "ipam/v2/virtual/lb/ipv4/block/10.65.1.0-26",
            "ipam/v2/assignment/ipv4/block/fd00::-122",
            "ipam/v2/assignment/ipv4/block/10.65.1.1-26",
        ] {
            let path = StoredPath::of(key);
            assert_eq!(StoredKey::of(&path), None, "{key}");
        }
    }
}
