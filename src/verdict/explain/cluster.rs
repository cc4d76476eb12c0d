//! Manifests as a whole: which hosts there are, what each must enforce, and who is meant by a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{Config, Resolved, Source, nearest};
use crate::datastore::Event;
use crate::model::{
    self, Catalog, Diagnostic, IpVersion, Node, Resource, ResourceId, WorkloadEndpoint, WorkloadId,
};
use crate::policy::{Calc, HostPolicy, Settings};

/// A snapshot of a whole datastore.
pub struct Cluster {
    catalog: Catalog,
    /// From outside the datastore.
    sources: Vec<Source>,
}

/// What some of the hosts must enforce.
#[derive(Default)]
pub struct Enforcement {
    pub hosts: BTreeMap<Arc<str>, Host>,
    /// All labels of the hosts' endpoints, own and inherited.
    pub labels: BTreeMap<WorkloadId, BTreeMap<String, String>>,
    /// Parameters that are not in force as they were written.
    pub problems: Vec<Diagnostic>,
}

/// One host.
#[derive(Debug)]
pub struct Host {
    pub name: Arc<str>,
    /// Its own, as its Node says: those that others know it by, and tunl0's.
    pub addresses: Vec<IpAddr>,
    pub config: Config,
    pub policy: HostPolicy,
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// An endpoint; by which of its addresses, where that was said.
    Endpoint { endpoint: Arc<WorkloadEndpoint>, address: Option<IpAddr> },
    /// A host itself.
    Host { name: Arc<str>, addresses: Vec<IpAddr> },
    /// An address that no manifest speaks of.
    Outside(IpAddr),
}

/// Nobody, or more than one, is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocateError {
    Unknown {
        text: String,
        similar: Option<String>,
    },
    /// The candidates, each by a name that only it has.
    Ambiguous {
        text: String,
        candidates: Vec<String>,
    },
}

impl Cluster {
    /// Takes all that a source says.
    pub fn new(events: &[Event], sources: Vec<Source>) -> Self {
        let mut catalog = Catalog::new();
        for event in events {
            catalog.take(event);
        }
        Self { catalog, sources }
    }

    /// Every host that is described, or that an endpoint is on.
    pub fn hosts(&self) -> BTreeSet<Arc<str>> {
        let nodes = self.nodes().map(|node| Arc::clone(&node.name));
        nodes.chain(self.workloads().map(|endpoint| Arc::clone(&endpoint.id.node))).collect()
    }

    /// What is wrong with the manifests.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.catalog.diagnostics()
    }

    /// What each of `hosts` must enforce. Hosts with the same settings are calculated together.
    pub fn enforce(&self, hosts: &BTreeSet<Arc<str>>) -> Enforcement {
        let mut enforcement = Enforcement::default();
        let mut groups: BTreeMap<Settings, Vec<(Arc<str>, Config)>> = BTreeMap::new();
        // Looked through once a host, and endpoints are many.
        let configuring: Vec<&Resource> = self
            .catalog
            .resources()
            .filter(|resource| matches!(resource, Resource::Node(_) | Resource::Config(_)))
            .collect();
        for host in hosts {
            let Resolved { config, etcd: _, values: _, problems } =
                self.resolved(host, configuring.iter().copied());
            enforcement.problems.extend(problems.iter().map(Diagnostic::from));
            groups.entry(Settings::from(&config)).or_default().push((Arc::clone(host), config));
        }
        for (settings, hosts) in groups {
            let mut calc = Calc::of_hosts(hosts.iter().map(|(name, _)| Arc::clone(name)).collect());
            self.catalog.updates().for_each(|update| calc.apply(update));
            calc.desired(settings);
            for (name, config) in hosts {
                let policy = calc.of_host(&name);
                enforcement.labels.extend(policy.endpoints.keys().map(|id| (id.clone(), labels(&calc, id))));
                let node = self.nodes().find(|node| node.name == name);
                let addresses = node.map(addresses_of).unwrap_or_default();
                enforcement.hosts.insert(Arc::clone(&name), Host { name, addresses, config, policy });
            }
        }
        // Each host is told of what concerns all.
        enforcement.problems.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        enforcement.problems.dedup();
        enforcement
    }

    /// Who is meant by `text`: an endpoint by its name, workload or interface, alone or behind its host or namespace and
    /// a slash; a host by its name; either by an address. Any other address is outside.
    ///
    /// # Errors
    /// It is nobody's name, or that of several.
    pub fn locate(&self, text: &str) -> Result<Party, LocateError> {
        let address: Option<IpAddr> = text.parse().ok();
        let endpoints: Vec<&WorkloadEndpoint> = match address {
            Some(address) => {
                self.workloads().filter(|endpoint| self.has_address(endpoint, address)).collect()
            }
            None => self.workloads().filter(|endpoint| is_called(endpoint, text)).collect(),
        };
        let host = self.nodes().find(|node| match address {
            Some(address) => addresses_of(node).contains(&address),
            None => *node.name == *text,
        });
        match (endpoints.as_slice(), host, address) {
            ([endpoint], None, _) => Ok(Party::Endpoint { endpoint: Arc::new((*endpoint).clone()), address }),
            ([], Some(node), _) => Ok(Party::Host {
                name: Arc::clone(&node.name),
                addresses: address.map_or_else(|| addresses_of(node), |address| vec![address]),
            }),
            ([], None, Some(address)) => Ok(Party::Outside(address)),
            ([], None, None) => {
                let names: Vec<String> = self.workloads().flat_map(names_of).collect();
                let hosts: Vec<Arc<str>> = self.nodes().map(|node| Arc::clone(&node.name)).collect();
                let known = names.iter().map(String::as_str).chain(hosts.iter().map(|name| &**name));
                let similar = nearest(text, known).map(ToString::to_string);
                Err(LocateError::Unknown { text: text.to_owned(), similar })
            }
            _ => {
                let endpoints = endpoints.iter().map(|endpoint| endpoint.id.to_string());
                let candidates = endpoints.chain(host.map(|node| node.name.to_string())).collect();
                Err(LocateError::Ambiguous { text: text.to_owned(), candidates })
            }
        }
    }

    /// The endpoint by one of its addresses.
    pub fn party(&self, id: &WorkloadId, address: IpAddr) -> Option<Party> {
        match self.catalog.resource(&ResourceId::WorkloadEndpoint(id.clone()))? {
            Resource::WorkloadEndpoint(endpoint) => {
                Some(Party::Endpoint { endpoint: Arc::new(endpoint.clone()), address: Some(address) })
            }
            _ => None,
        }
    }

    /// By one of its own, or by a floating IP that its host translates.
    fn has_address(&self, endpoint: &WorkloadEndpoint, address: IpAddr) -> bool {
        let is_own = endpoint.networks.iter().any(|net| net.contains(&address));
        let is_external = || endpoint.nats.iter().any(|nat| nat.external == address);
        let floats = || {
            let node = &endpoint.id.node;
            self.resolved(node, self.catalog.resources()).config.floats(&endpoint.id.orchestrator)
        };
        is_own || (is_external() && floats())
    }

    fn resolved<'r>(&self, host: &str, resources: impl Iterator<Item = &'r Resource> + Clone) -> Resolved {
        let stored = model::configuration(host, resources);
        Config::resolve(&[self.sources.as_slice(), &stored].concat())
    }

    fn workloads(&self) -> impl Iterator<Item = &WorkloadEndpoint> {
        self.catalog.resources().filter_map(|resource| match resource {
            Resource::WorkloadEndpoint(endpoint) => Some(endpoint),
            _ => None,
        })
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.catalog.resources().filter_map(|resource| match resource {
            Resource::Node(node) => Some(node),
            _ => None,
        })
    }
}

impl Host {
    /// The first of a family: the one that others know the host by.
    pub fn address(&self, version: IpVersion) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| IpVersion::of(*address) == version)
    }
}

impl Enforcement {
    /// Whether one of the hosts has the endpoint.
    pub fn has(&self, id: &WorkloadId) -> bool {
        self.labels.contains_key(id)
    }
}

impl Party {
    /// The addresses by which the party can be meant, of one family or both.
    pub fn addresses(&self, version: Option<IpVersion>) -> Vec<IpAddr> {
        let all = match self {
            Self::Endpoint { endpoint: _, address: Some(address) } | Self::Outside(address) => vec![*address],
            Self::Endpoint { endpoint, address: None } => {
                endpoint.networks.iter().map(ipnet::IpNet::addr).collect()
            }
            Self::Host { name: _, addresses } => addresses.clone(),
        };
        all.into_iter()
            .filter(|address| version.is_none_or(|wanted| wanted == IpVersion::of(*address)))
            .collect()
    }

    /// The endpoint that the party is.
    pub fn id(&self) -> Option<&WorkloadId> {
        match self {
            Self::Endpoint { endpoint, address: _ } => Some(&endpoint.id),
            Self::Host { .. } | Self::Outside(_) => None,
        }
    }

    /// The host that the party is on, or is.
    pub fn host(&self) -> Option<&Arc<str>> {
        match self {
            Self::Endpoint { endpoint, address: _ } => Some(&endpoint.id.node),
            Self::Host { name, addresses: _ } => Some(name),
            Self::Outside(_) => None,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint { endpoint, address: _ } => f.write_str(&short_name(endpoint)),
            Self::Host { name, addresses: _ } => write!(f, "host {name}"),
            Self::Outside(address) => address.fmt(f),
        }
    }
}

/// What people call an endpoint: `namespace/pod` where it has a namespace, else its name.
pub fn short_name(endpoint: &WorkloadEndpoint) -> String {
    if endpoint.namespace.is_empty() { endpoint.name.to_string() } else { endpoint.id.workload.to_string() }
}

fn labels(calc: &Calc, id: &WorkloadId) -> BTreeMap<String, String> {
    calc.labels_of(id).into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn is_called(endpoint: &WorkloadEndpoint, text: &str) -> bool {
    names_of(endpoint).any(|name| name == text)
}

/// Every text that means the endpoint.
fn names_of(endpoint: &WorkloadEndpoint) -> impl Iterator<Item = String> + use<'_> {
    let id = &endpoint.id;
    let workload = [Arc::clone(&id.workload)];
    let pod = id.workload.rsplit('/').next().map(Arc::from);
    let bare: BTreeSet<Arc<str>> = [Arc::clone(&endpoint.name), Arc::clone(&endpoint.interface)]
        .into_iter()
        .chain(workload)
        .chain(pod)
        .collect();
    let namespaced =
        (!endpoint.namespace.is_empty()).then(|| format!("{}/{}", endpoint.namespace, endpoint.name));
    let with_host: Vec<String> = bare.iter().map(|name| format!("{}/{name}", id.node)).collect();
    let bare = bare.into_iter().map(|name| name.to_string());
    bare.chain(with_host).chain(namespaced).chain([id.to_string()])
}

fn addresses_of(node: &Node) -> Vec<IpAddr> {
    let v4 = node.ipv4.map(|(address, _)| IpAddr::from(address));
    let v6 = node.ipv6.map(|(address, _)| IpAddr::from(address));
    v4.into_iter().chain(v6).chain(node.ipip_tunnel_addr.map(IpAddr::from)).collect()
}

impl fmt::Display for LocateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { text, similar } => {
                write!(f, "nothing is called `{text}`\nhelp: ")?;
                match similar {
                    Some(similar) => write!(f, "did you mean `{similar}`?"),
                    None => f.write_str(
                        "give the name, workload, interface or address of an endpoint, a host's name, or an address",
                    ),
                }
            }
            Self::Ambiguous { text, candidates } => {
                write!(
                    f,
                    "`{text}` may mean {} things\nhelp: choose one of: {}",
                    candidates.len(),
                    candidates.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for LocateError {}
