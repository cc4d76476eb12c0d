//! A cluster's policies, asked about whole sets of flows: every endpoint, and every address that none has.

pub mod against;
pub mod assertions;
pub mod diff;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};

use crate::model::{IpVersion, WorkloadId};
use crate::policy::{ActiveRule, Direction, LocalEndpoint, Member};
use crate::verdict::check::boundary::outside as uplink_of;
use crate::verdict::explain::Flow;
use crate::verdict::explain::cluster::{Cluster, Enforcement, Party, short_name};
use crate::verdict::packet::{ConnState, Payload, SourceTranslation};
use crate::verdict::policy::allowed::allowed;
use crate::verdict::policy::judge::Judge;
use crate::verdict::ranges::{AddressRanges, address, number};
use crate::verdict::services::Services;

/// What the policies of a cluster's hosts let through between any two ends.
pub struct Flows<'e> {
    enforcement: &'e Enforcement,
    judges: BTreeMap<&'e str, Judge<'e>>,
    /// Endpoints by address; None where several have it.
    by_address: BTreeMap<IpAddr, Option<&'e WorkloadId>>,
}

/// One end of flows. Everything that is the same to all policies is one end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    Endpoint {
        id: WorkloadId,
        address: IpAddr,
    },
    /// A floating IP, and the endpoint and its address behind it. Only a receiver is one.
    Floating {
        id: WorkloadId,
        external: IpAddr,
        internal: IpAddr,
    },
    /// A host itself.
    Host {
        name: Arc<str>,
        address: IpAddr,
    },
    Outside(Piece),
}

/// Addresses that no endpoint has and no policy tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece {
    pub version: IpVersion,
    pub ranges: AddressRanges,
    /// One of them.
    pub example: IpAddr,
}

impl<'e> Flows<'e> {
    pub fn new(enforcement: &'e Enforcement) -> Self {
        let hosts = enforcement.hosts.values();
        let judges =
            hosts.clone().map(|host| (&*host.name, Judge::new(&host.policy, &host.config))).collect();
        let mut by_address = BTreeMap::new();
        let locals = hosts.flat_map(|host| host.policy.endpoints.values());
        for local in locals.filter(|local| local.shadowed_by.is_none()) {
            for net in &local.endpoint.networks {
                let owner = by_address.entry(net.addr()).or_insert(Some(&local.endpoint.id));
                *owner = owner.filter(|id| **id == local.endpoint.id);
            }
        }
        Self { enforcement, judges, by_address }
    }

    /// The same end as it is called here: an endpoint that isn't there may be there by another name, or on another host,
    /// with the same address.
    pub fn resolve(&self, end: &End) -> End {
        match end {
            End::Endpoint { id, address } if self.endpoint(id).is_none() => {
                match self.by_address.get(address).copied().flatten() {
                    Some(id) => End::Endpoint { id: id.clone(), address: *address },
                    None => end.clone(),
                }
            }
            End::Endpoint { .. } | End::Floating { .. } | End::Host { .. } | End::Outside(_) => end.clone(),
        }
    }

    /// Whether there is such an end here.
    fn has(&self, end: &End) -> bool {
        let has_address = |id, address: &IpAddr| {
            let local: Option<&LocalEndpoint> = self.endpoint(id);
            local.is_some_and(|local| local.endpoint.networks.iter().any(|net| net.contains(address)))
        };
        match end {
            End::Endpoint { id, address } => has_address(id, address),
            End::Floating { id, external, internal } => {
                let judge = self.judge(id);
                has_address(id, internal)
                    && judge.and_then(|judge| judge.behind(*external)) == Some(*internal)
            }
            End::Host { name, address } => {
                self.enforcement.hosts.get(name).is_some_and(|host| host.addresses.contains(address))
            }
            End::Outside(_) => true,
        }
    }

    /// The services by which a connection can be opened from one end to the other, as far as policy has a say: out of the
    /// sender's endpoint, and into the receiver's. What policy leaves to a host's other rules is let through.
    ///
    /// What isn't there neither sends nor receives.
    pub fn allowed(&self, from: &End, to: &End) -> Services {
        let version = from.version();
        let (from, to) = (&self.resolve(from), &self.resolve(to));
        if !self.has(from) || !self.has(to) {
            return Services::none(version);
        }
        let (source, destination) = self.seen(from, to, Direction::Egress);
        let out = match from {
            End::Endpoint { .. } => self.at(from, Direction::Egress, source, destination),
            End::Floating { .. } | End::Host { .. } | End::Outside(_) => Services::all(version),
        };
        match to {
            // Not out, but in: the host's own services don't ask policy.
            End::Host { name, .. } => match (from, self.judges.get(&**name)) {
                (End::Endpoint { id, .. }, Some(judge)) if id.node == *name && self.is_policed(id) => {
                    judge.to_host(from.address(), to.address(), &out)
                }
                (_, Some(judge)) => judge.into_host(self.source_behind(from, to.address()), &out),
                (_, None) => out,
            },
            // A host may reach its own workloads.
            End::Endpoint { .. } | End::Floating { .. }
                if matches!(from, End::Host { .. }) && self.share_host(from, to) =>
            {
                out
            }
            End::Endpoint { .. } | End::Floating { .. } if out.is_empty() => out,
            End::Endpoint { .. } | End::Floating { .. } => {
                let (source, destination) = self.seen(from, to, Direction::Ingress);
                out.and(&self.at(to, Direction::Ingress, source, destination))
            }
            End::Outside(_) => out,
        }
    }

    /// The addresses that the sender's egress, or the receiver's ingress, sees: between two hosts the sender's may
    /// translate the source; the receiver's translates a floating IP.
    pub fn seen(&self, from: &End, to: &End, direction: Direction) -> (IpAddr, IpAddr) {
        let (from, to) = (&self.resolve(from), &self.resolve(to));
        let (source, destination) = (from.address(), to.address());
        let same_host = self.share_host(from, to);
        match (direction, to) {
            (Direction::Egress, End::Floating { internal, .. }) if same_host => (source, *internal),
            (Direction::Egress, _) => (source, destination),
            (Direction::Ingress, _) => {
                let internal = match to {
                    End::Floating { internal, .. } => *internal,
                    End::Endpoint { .. } | End::Host { .. } | End::Outside(_) => destination,
                };
                let source = if same_host { source } else { self.source_behind(from, destination) };
                (source, internal)
            }
        }
    }

    /// The source under which the sender's packets leave its host; its own where that host's address isn't known.
    fn source_behind(&self, from: &End, destination: IpAddr) -> IpAddr {
        let source = from.address();
        let Some(host) = from.host().and_then(|name| self.enforcement.hosts.get(name)) else { return source };
        let Some(judge) = self.judges.get(&*host.name) else { return source };
        match judge.translated_source(source, destination, &uplink_of(&host.config)) {
            None => source,
            Some(SourceTranslation::To(address)) => address,
            Some(SourceTranslation::Masquerade) => host.address(IpVersion::of(source)).unwrap_or(source),
        }
    }

    fn share_host(&self, from: &End, to: &End) -> bool {
        from.host().is_some() && from.host() == to.host()
    }

    /// What the end lets through in one direction.
    pub fn at(&self, end: &End, direction: Direction, source: IpAddr, destination: IpAddr) -> Services {
        let version = IpVersion::of(source);
        let (id, own) = match end {
            End::Endpoint { id, address } => (id, address),
            End::Floating { id, external: _, internal } => (id, internal),
            End::Host { .. } | End::Outside(_) => return Services::all(version),
        };
        let has_address = |local: &LocalEndpoint| local.endpoint.networks.iter().any(|net| net.contains(own));
        match (self.judge(id), self.endpoint(id)) {
            // Not a workload's interface, as far as the host can tell.
            (Some(_), Some(_)) if !self.is_policed(id) => Services::all(version),
            (Some(judge), Some(local)) if has_address(local) => {
                allowed(judge, local, direction, source, destination)
            }
            // An endpoint that isn't there lets nothing through.
            _ => Services::none(version),
        }
    }

    /// Whether the endpoint's interface has a prefix of workloads.
    pub fn is_policed(&self, id: &WorkloadId) -> bool {
        let local = self.endpoint(id);
        let judge = self.judge(id);
        local.zip(judge).is_some_and(|(local, judge)| judge.is_workload_interface(&local.endpoint.interface))
    }

    /// What its host's policy says.
    pub fn judge(&self, id: &WorkloadId) -> Option<&Judge<'e>> {
        self.judges.get(&*id.node)
    }

    /// The endpoint, where its host enforces its policies.
    pub fn endpoint(&self, id: &WorkloadId) -> Option<&'e LocalEndpoint> {
        let local = self.enforcement.hosts.get(&id.node)?.policy.endpoints.get(id)?;
        local.shadowed_by.is_none().then_some(&**local)
    }

    /// All endpoints, each by each of its addresses, and all hosts likewise.
    pub fn ends(&self) -> impl Iterator<Item = End> + use<'e> {
        let hosts = self.enforcement.hosts.values();
        let own = hosts.clone().flat_map(|host| {
            host.addresses.iter().map(|address| End::Host { name: Arc::clone(&host.name), address: *address })
        });
        let locals = hosts.flat_map(|host| host.policy.endpoints.values());
        locals.filter(|local| local.shadowed_by.is_none()).flat_map(|local| ends_of(local)).chain(own)
    }

    /// All floating IPs that a host translates.
    pub fn floating_ends(&self) -> Vec<End> {
        let hosts = self.enforcement.hosts.values();
        hosts
            .filter_map(|host| Some((host, self.judges.get(&*host.name)?)))
            .flat_map(|(host, judge)| {
                judge.floating().map(move |(external, internal)| (host, external, internal))
            })
            .filter_map(|(host, external, internal)| {
                let has = |local: &&Arc<LocalEndpoint>| {
                    local.shadowed_by.is_none()
                        && local
                            .endpoint
                            .nats
                            .iter()
                            .any(|nat| (nat.external, nat.internal) == (external, internal))
                };
                let id = host.policy.endpoints.values().find(has)?.endpoint.id.clone();
                Some(End::Floating { id, external, internal })
            })
            .collect()
    }

    pub fn enforcement(&self) -> &'e Enforcement {
        self.enforcement
    }
}

impl End {
    pub fn address(&self) -> IpAddr {
        match self {
            Self::Endpoint { id: _, address } | Self::Host { name: _, address } => *address,
            Self::Floating { id: _, external, internal: _ } => *external,
            Self::Outside(piece) => piece.example,
        }
    }

    pub fn version(&self) -> IpVersion {
        IpVersion::of(self.address())
    }

    /// The endpoint.
    pub fn id(&self) -> Option<&WorkloadId> {
        match self {
            Self::Endpoint { id, .. } | Self::Floating { id, .. } => Some(id),
            Self::Host { .. } | Self::Outside(_) => None,
        }
    }

    /// The host that it is on, or is.
    pub fn host(&self) -> Option<&Arc<str>> {
        match self {
            Self::Endpoint { id, .. } | Self::Floating { id, .. } => Some(&id.node),
            Self::Host { name, .. } => Some(name),
            Self::Outside(_) => None,
        }
    }

    fn is_floating(&self) -> bool {
        matches!(self, Self::Floating { .. })
    }
}

/// Two ends of one family that are not the same endpoint. Where neither is one, no policy has a say.
pub fn is_flow(from: &End, to: &End) -> bool {
    let same = from.id().is_some() && from.id() == to.id();
    let policed = from.id().is_some() || to.id().is_some();
    from.version() == to.version() && !same && policed && !from.is_floating()
}

/// The flow of one payload between two ends.
pub fn flow(cluster: &Cluster, from: &End, to: &End, payload: Payload) -> Option<Flow> {
    let party = |end: &End| match end {
        End::Endpoint { id, address } => cluster.party(id, *address),
        End::Floating { id, external, internal: _ } => cluster.party(id, *external),
        End::Host { name, address } => {
            Some(Party::Host { name: Arc::clone(name), addresses: vec![*address] })
        }
        End::Outside(piece) => Some(Party::Outside(piece.example)),
    };
    Some(Flow {
        from: party(from)?,
        to: party(to)?,
        source: from.address(),
        destination: to.address(),
        payload,
        state: ConnState::first(from.version(), payload),
    })
}

/// The endpoint by each of its addresses.
pub fn ends_of(local: &LocalEndpoint) -> impl Iterator<Item = End> + use<> {
    let id = local.endpoint.id.clone();
    let addresses: Vec<IpAddr> = local.endpoint.networks.iter().map(IpNet::addr).collect();
    addresses.into_iter().map(move |address| End::Endpoint { id: id.clone(), address })
}

/// What people call the endpoint; its whole id where others are called so too.
pub fn name_of(enforcement: &Enforcement, id: &WorkloadId) -> String {
    let all = || enforcement.hosts.values().flat_map(|host| host.policy.endpoints.values());
    let local = enforcement.hosts.get(&id.node).and_then(|host| host.policy.endpoints.get(id));
    let Some(local) = local else { return id.to_string() };
    let name = short_name(&local.endpoint);
    let is_unique = all().filter(|other| short_name(&other.endpoint) == name).count() == 1;
    if is_unique { name } else { id.to_string() }
}

/// The addresses of one family that neither an endpoint nor a host has, cut where any of the policies tells them apart; with `within`, only
/// those.
pub fn outside(enforcements: &[&Enforcement], version: IpVersion, within: Option<IpNet>) -> Vec<Piece> {
    outside_by(enforcements, version, within, enforcements.iter().flat_map(|one| nets_of(one)))
}

/// The addresses of one family that no endpoint has, cut at the edges of `nets`.
pub fn outside_by(
    enforcements: &[&Enforcement],
    version: IpVersion,
    within: Option<IpNet>,
    nets: impl Iterator<Item = IpNet>,
) -> Vec<Piece> {
    let policies = || enforcements.iter().flat_map(|one| one.hosts.values().map(|host| &host.policy));
    let of_family = |address: IpAddr| IpVersion::of(address) == version;
    let hosts = || enforcements.iter().flat_map(|one| one.hosts.values());
    let of_endpoints = policies()
        .flat_map(|policy| policy.endpoints.values())
        .filter(|local| local.shadowed_by.is_none())
        .flat_map(|local| local.endpoint.networks.iter().map(IpNet::addr));
    let floating = hosts().flat_map(|host| {
        let locals = host
            .policy
            .endpoints
            .values()
            .filter(|local| host.config.floats(&local.endpoint.id.orchestrator));
        locals.flat_map(|local| local.endpoint.nats.iter().map(|nat| nat.external))
    });
    let of_hosts = hosts().flat_map(|host| host.addresses.iter().copied());
    let endpoints: BTreeSet<u128> = of_endpoints
        .chain(floating)
        .chain(of_hosts)
        .filter(|address| of_family(*address))
        .map(number)
        .collect();
    let all = match version {
        IpVersion::V4 => (0, u128::from(u32::MAX)),
        IpVersion::V6 => (0, u128::MAX),
    };
    let (first, last) = within.map_or(all, |net| (number(net.network()), number(net.broadcast())));
    let mut begins: BTreeSet<u128> = [first].into();
    for net in nets.filter(|net| of_family(net.addr())) {
        let (begin, end) = (number(net.network()), number(net.broadcast()));
        let is_endpoint = begin == end && endpoints.contains(&begin);
        if !is_endpoint {
            begins.insert(begin);
            begins.extend(end.checked_add(1));
        }
    }
    let begins: Vec<u128> = begins.range(first..=last).copied().collect();
    let ends = begins.iter().skip(1).map(|next| next - 1).chain([last]);
    begins.iter().zip(ends).filter_map(|(begin, end)| piece(version, *begin, end, &endpoints)).collect()
}

/// The addresses from first to last that no endpoint has; None where there are none.
fn piece(version: IpVersion, first: u128, last: u128, endpoints: &BTreeSet<u128>) -> Option<Piece> {
    let mut ranges = Vec::new();
    let mut next = Some(first);
    for taken in endpoints.range(first..=last) {
        if let Some(begin) = next.filter(|begin| begin < taken) {
            ranges.push((begin, taken - 1));
        }
        next = taken.checked_add(1);
    }
    if let Some(begin) = next.filter(|begin| *begin <= last) {
        ranges.push((begin, last));
    }
    let ranges = AddressRanges::from_ranges(ranges);
    // An address for documentation, if there is one (RFC 5737, RFC 3849); else neither the first nor the last of a
    // network, where there is another: those are hardly anybody's.
    let documented: &[IpAddr] = match version {
        IpVersion::V4 => &[
            IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
            IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        ],
        IpVersion::V6 => &[IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))],
    };
    let (begin, end) = ranges.iter().max_by_key(|(begin, end)| end - begin)?;
    let within = if end - begin > 1 { begin + 1 } else { begin };
    let example = documented.iter().find(|address| ranges.contains(**address)).map_or(within, |a| number(*a));
    Some(Piece { version, ranges, example: address(version, example)? })
}

/// Every network that some rule or set tells from others. Hosts share sets: each is looked at once.
pub fn nets_of(enforcement: &Enforcement) -> impl Iterator<Item = IpNet> {
    let hosts = enforcement.hosts.values();
    let sets: BTreeMap<_, _> = hosts.flat_map(|host| &host.policy.sets).collect();
    let in_sets = sets.into_values().flat_map(|set| &set.members).map(|member| match member {
        Member::Net(net) => *net,
        Member::IpPort(address, _, _) => IpNet::from(*address),
    });
    nets_in_rules(enforcement).chain(in_sets)
}

/// Every network that some rule names. Hosts share policies and profiles: each is looked at once.
pub fn nets_in_rules(enforcement: &Enforcement) -> impl Iterator<Item = IpNet> {
    let hosts = || enforcement.hosts.values().map(|host| &host.policy);
    let policies: BTreeMap<_, _> = hosts().flat_map(|policy| &policy.policies).collect();
    let profiles: BTreeMap<_, _> = hosts().flat_map(|policy| &policy.profiles).collect();
    let of_policies = policies.into_values().flat_map(|policy| policy.ingress.iter().chain(&policy.egress));
    let of_profiles =
        profiles.into_values().flat_map(|profile| profile.ingress.iter().chain(&profile.egress));
    of_policies.chain(of_profiles).flat_map(nets_of_rule)
}

fn nets_of_rule(rule: &Arc<ActiveRule>) -> impl Iterator<Item = IpNet> {
    let sides = [&rule.source, &rule.destination];
    sides.into_iter().flat_map(|side| side.nets.iter().chain(&side.not_nets).copied())
}

/// Addresses as the fewest networks.
pub fn networks(version: IpVersion, ranges: &AddressRanges) -> Vec<IpNet> {
    let subnets = |(first, last)| {
        Some(match (address(version, first)?, address(version, last)?) {
            (IpAddr::V4(first), IpAddr::V4(last)) => IpSubnets::from(Ipv4Subnets::new(first, last, 0)),
            (IpAddr::V6(first), IpAddr::V6(last)) => IpSubnets::from(Ipv6Subnets::new(first, last, 0)),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        })
    };
    ranges.iter().filter_map(subnets).flatten().collect()
}
