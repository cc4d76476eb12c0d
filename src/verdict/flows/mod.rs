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
use crate::verdict::explain::Flow;
use crate::verdict::explain::cluster::{Cluster, Enforcement, Party, short_name};
use crate::verdict::packet::{ConnState, Payload};
use crate::verdict::policy::allowed::allowed;
use crate::verdict::policy::judge::Judge;
use crate::verdict::ranges::{AddressRanges, address, number};
use crate::verdict::services::Services;

/// What the policies of a cluster's hosts let through between any two ends.
pub struct Flows<'e> {
    enforcement: &'e Enforcement,
    judges: BTreeMap<&'e str, Judge<'e>>,
}

/// One end of flows. Everything that is the same to all policies is one end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    Endpoint { id: WorkloadId, address: IpAddr },
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
        let judges = hosts.map(|host| (&*host.name, Judge::new(&host.policy, &host.config))).collect();
        Self { enforcement, judges }
    }

    /// The services that get from one end to the other: out of the sender's endpoint, and into the receiver's. An end
    /// without an endpoint lets everything through.
    pub fn allowed(&self, from: &End, to: &End) -> Services {
        let out = self.at(from, Direction::Egress, from.address(), to.address());
        if out.is_empty() {
            out
        } else {
            out.and(&self.at(to, Direction::Ingress, from.address(), to.address()))
        }
    }

    /// What the end lets through in one direction.
    pub fn at(&self, end: &End, direction: Direction, source: IpAddr, destination: IpAddr) -> Services {
        let version = IpVersion::of(source);
        let End::Endpoint { id, address } = end else { return Services::all(version) };
        let has_address =
            |local: &LocalEndpoint| local.endpoint.networks.iter().any(|net| net.contains(address));
        match (self.judge(id), self.endpoint(id)) {
            (Some(judge), Some(local)) if has_address(local) => {
                allowed(judge, local, direction, source, destination)
            }
            // An endpoint that isn't there lets nothing through.
            _ => Services::none(version),
        }
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

    /// All endpoints, each by its first address of either family.
    pub fn ends(&self) -> impl Iterator<Item = End> + use<'e> {
        let hosts = self.enforcement.hosts.values();
        let locals = hosts.flat_map(|host| host.policy.endpoints.values());
        locals.filter(|local| local.shadowed_by.is_none()).flat_map(|local| ends_of(local))
    }

    pub fn enforcement(&self) -> &'e Enforcement {
        self.enforcement
    }
}

impl End {
    pub fn address(&self) -> IpAddr {
        match self {
            Self::Endpoint { id: _, address } => *address,
            Self::Outside(piece) => piece.example,
        }
    }

    pub fn version(&self) -> IpVersion {
        IpVersion::of(self.address())
    }

    pub fn id(&self) -> Option<&WorkloadId> {
        match self {
            Self::Endpoint { id, address: _ } => Some(id),
            Self::Outside(_) => None,
        }
    }
}

/// Two ends of one family that are not the same endpoint. Between two outsiders no policy has a say.
pub fn is_flow(from: &End, to: &End) -> bool {
    let same = from.id().is_some() && from.id() == to.id();
    from.version() == to.version() && !same && (from.id().is_some() || to.id().is_some())
}

/// The flow of one payload between two ends.
pub fn flow(cluster: &Cluster, from: &End, to: &End, payload: Payload) -> Option<Flow> {
    let party = |end: &End| match end {
        End::Endpoint { id, address } => cluster.party(id, *address),
        End::Outside(piece) => Some(Party::Outside(piece.example)),
    };
    Some(Flow {
        from: party(from)?,
        to: party(to)?,
        source: from.address(),
        destination: to.address(),
        payload,
        state: ConnState::New,
    })
}

/// The endpoint by each of its addresses.
pub fn ends_of(local: &LocalEndpoint) -> impl Iterator<Item = End> + use<> {
    let id = local.endpoint.id.clone();
    let addresses: Vec<IpAddr> = local.endpoint.networks.iter().map(IpNet::addr).collect();
    addresses.into_iter().map(move |address| End::Endpoint { id: id.clone(), address })
}

/// What people call the endpoint.
pub fn name_of(enforcement: &Enforcement, id: &WorkloadId) -> String {
    let local = enforcement.hosts.get(&id.node).and_then(|host| host.policy.endpoints.get(id));
    local.map_or_else(|| id.to_string(), |local| short_name(&local.endpoint))
}

/// The addresses of one family that no endpoint has, cut where any of the policies tells them apart; with `within`, only
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
    let endpoints: BTreeSet<u128> = policies()
        .flat_map(|policy| policy.endpoints.values())
        .flat_map(|local| local.endpoint.networks.iter().map(IpNet::addr))
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
