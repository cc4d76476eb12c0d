//! IP sets of one family as the kernel has them (reference §9).

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::family::Family;
use super::ruleset::{IpSetName, KernelSet, SetType};
use crate::config::NatOutgoingExclusions;
use crate::model::IpVersion;
use crate::policy::{IpSet, Member, SetId, SetKind};

/// Sets that the chains of every host match by, whatever the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StaticSet {
    /// Every host's addresses, and those of hosts outside the cluster that may send us tunnelled packets.
    AllHosts,
    /// Every pool that endpoints have addresses of.
    Pools,
    /// Every pool whose outgoing traffic is masqueraded.
    MasqPools,
}

impl StaticSet {
    pub(super) fn name(self, version: IpVersion) -> IpSetName {
        IpSetName::new(version, &SetId(Arc::from(self.id())))
    }

    fn id(self) -> &'static str {
        match self {
            Self::AllHosts => "all-hosts-net",
            Self::Pools => "network-ip-pools",
            Self::MasqPools => "masq-ipam-pools",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::AllHosts => "addresses of all hosts",
            Self::Pools => "IP pools",
            Self::MasqPools => "IP pools with natOutgoing",
        }
    }

    fn is_needed(self, family: &Family<'_>) -> bool {
        match self {
            Self::AllHosts => {
                family.ipip
                    || family.config.nat_outgoing_exclusions == NatOutgoingExclusions::IpPoolsAndHostIps
            }
            Self::Pools | Self::MasqPools => true,
        }
    }

    fn nets(self, family: &Family<'_>) -> Vec<IpNet> {
        match self {
            Self::AllHosts => {
                let hosts = family.policy.host_addresses.iter().map(|&address| IpNet::from(address));
                hosts.chain(family.config.external_nodes.iter().copied()).collect()
            }
            Self::Pools => {
                family.pools().filter(|pool| !pool.load_balancer_only).map(|pool| pool.cidr).collect()
            }
            Self::MasqPools => {
                family.pools().filter(|pool| pool.nat_outgoing).map(|pool| pool.cidr).collect()
            }
        }
    }
}

/// The sets of every host.
pub(super) fn static_sets(family: &Family<'_>) -> impl Iterator<Item = KernelSet> {
    [StaticSet::AllHosts, StaticSet::Pools, StaticSet::MasqPools]
        .into_iter()
        .filter(|set| set.is_needed(family))
        .map(|set| static_set(family, set))
}

/// A set of the policy.
pub(super) fn policy_set(family: &Family<'_>, set: &IpSet) -> KernelSet {
    let IpSet { id, kind, members, meaning } = set;
    let set_type = match kind {
        SetKind::Nets => SetType::HashNet,
        SetKind::IpPorts => SetType::HashIpPort,
    };
    let name = IpSetName::new(family.version, id);
    kernel_set(family, name, set_type, members.iter().copied(), Arc::clone(meaning))
}

fn static_set(family: &Family<'_>, set: StaticSet) -> KernelSet {
    let members = set.nets(family).into_iter().map(Member::Net);
    kernel_set(family, set.name(family.version), SetType::HashNet, members, Arc::from(set.meaning()))
}

fn kernel_set(
    family: &Family<'_>,
    name: IpSetName,
    set_type: SetType,
    members: impl Iterator<Item = Member>,
    meaning: Arc<str>,
) -> KernelSet {
    let mut members: Vec<Member> =
        members.filter(|member| family.is_ours(member.address())).flat_map(without_catch_all).collect();
    members.sort_unstable();
    members.dedup();
    let max_elements = max_elements(family.config.max_ipset_size, members.len());
    KernelSet { name, version: family.version, set_type, members, max_elements, meaning }
}

/// The configured size, or where the members don't fit, a larger one: a set that can't be filled would stop every
/// later update. With room for a quarter more, as a new size means a new set.
fn max_elements(configured: u32, members: usize) -> u32 {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    if members <= configured {
        return configured;
    }
    members.saturating_add(members / 4).checked_next_power_of_two().unwrap_or(u32::MAX)
}

/// `hash:net` takes no /0: its two halves say the same.
fn without_catch_all(member: Member) -> impl Iterator<Item = Member> {
    let (whole, halves) = match member {
        Member::Net(net) if net.prefix_len() == 0 => (None, net.subnets(1).ok()),
        Member::Net(_) | Member::IpPort(..) => (Some(member), None),
    };
    whole.into_iter().chain(halves.into_iter().flatten().map(Member::Net))
}

impl Member {
    fn address(&self) -> IpAddr {
        match self {
            Self::Net(net) => net.addr(),
            Self::IpPort(address, ..) => *address,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Config;
    use crate::policy::{HostPolicy, Pool, TransportProtocol};
    use crate::rules::fixture::{family, host, pool};
    use IpVersion::{V4, V6};

    fn net(text: &str) -> Member {
        Member::Net(text.parse().unwrap())
    }

    fn port(address: &str, port: u16) -> Member {
        Member::IpPort(address.parse().unwrap(), TransportProtocol::Tcp, port)
    }

    fn sets(policy: &HostPolicy, config: &Config, version: IpVersion) -> Vec<(String, Vec<Member>)> {
        let family = family(policy, config, version);
        let of_policy = policy.sets.values().map(|set| policy_set(&family, set));
        let sets = of_policy.chain(static_sets(&family)).map(|set| (set.name.to_string(), set.members));
        sets.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    fn with_set(kind: SetKind, members: &[Member]) -> HostPolicy {
        let id = SetId("s:id".into());
        let set = IpSet { id: id.clone(), kind, members: members.to_vec(), meaning: "x".into() };
        HostPolicy { sets: [(id, Arc::new(set))].into(), ..HostPolicy::default() }
    }

    #[test]
    fn sets_of_every_host() {
        let policy = HostPolicy {
            host_addresses: Arc::new(
                ["192.168.0.2", "192.168.0.1", "fd00::2"].map(|a| a.parse().unwrap()).into(),
            ),
            ..host(
                vec![],
                vec![],
                vec![],
                vec![
                    Pool { nat_outgoing: true, ..pool("10.0.0.0/16") },
                    pool("10.1.0.0/16"),
                    Pool { nat_outgoing: true, load_balancer_only: true, ..pool("10.2.0.0/16") },
                    Pool { nat_outgoing: true, ..pool("fd00::/64") },
                ],
            )
        };
        let external_nodes = ["172.16.0.0/24", "fd01::/64"].map(|net| net.parse().unwrap()).to_vec();
        let plain = Config { external_nodes, ..Config::default() };
        let ipip = Config { ipip_enabled: Some(true), ..plain.clone() };
        let hosts =
            Config { nat_outgoing_exclusions: NatOutgoingExclusions::IpPoolsAndHostIps, ..plain.clone() };
        let pools4 = [
            ("cali40masq-ipam-pools", vec!["10.0.0.0/16", "10.2.0.0/16"]),
            ("cali40network-ip-pools", vec!["10.0.0.0/16", "10.1.0.0/16"]),
        ];
        let pools6 =
            [("cali60masq-ipam-pools", vec!["fd00::/64"]), ("cali60network-ip-pools", vec!["fd00::/64"])];
        let hosts4 = ("cali40all-hosts-net", vec!["172.16.0.0/24", "192.168.0.1/32", "192.168.0.2/32"]);
        let hosts6 = ("cali60all-hosts-net", vec!["fd00::2/128", "fd01::/64"]);
        for (config, version, hosts, pools) in [
            (&plain, V4, None, &pools4),
            (&plain, V6, None, &pools6),
            (&ipip, V4, Some(&hosts4), &pools4),
            (&ipip, V6, None, &pools6),
            (&hosts, V4, Some(&hosts4), &pools4),
            (&hosts, V6, Some(&hosts6), &pools6),
        ] {
            let expected: Vec<(String, Vec<Member>)> = hosts
                .into_iter()
                .chain(pools)
                .map(|(name, nets)| ((*name).to_owned(), nets.iter().map(|text| net(text)).collect()))
                .collect();
            assert_eq!(sets(&policy, config, version), expected, "{version:?}");
        }
    }

    #[test]
    fn members_are_of_one_family() {
        let nets = [net("10.0.0.1/32"), net("10.0.0.0/8"), net("fd00::/8")];
        let ports = [port("10.0.0.1", 80), port("fd00::1", 80)];
        let all = [net("0.0.0.0/0"), net("128.0.0.0/1"), net("64.0.0.0/2"), net("::/0")];
        for (kind, members, version, expected) in [
            (SetKind::Nets, &nets[..], V4, vec![net("10.0.0.0/8"), net("10.0.0.1/32")]),
            (SetKind::Nets, &nets, V6, vec![net("fd00::/8")]),
            (SetKind::IpPorts, &ports, V4, vec![port("10.0.0.1", 80)]),
            (SetKind::IpPorts, &ports, V6, vec![port("fd00::1", 80)]),
            (SetKind::Nets, &all, V4, vec![net("0.0.0.0/1"), net("64.0.0.0/2"), net("128.0.0.0/1")]),
            (SetKind::Nets, &all, V6, vec![net("::/1"), net("8000::/1")]),
        ] {
            let name = IpSetName::new(version, &SetId("s:id".into())).to_string();
            let sets = sets(&with_set(kind, members), &Config::default(), version);
            assert!(sets.contains(&(name, expected)), "{kind:?} {version:?}: {sets:?}");
        }
    }

    #[test]
    fn a_set_grows_only_where_it_must() {
        for (configured, members, expected) in [
            (1_048_576, 0, 1_048_576),
            (1_048_576, 1_048_576, 1_048_576),
            (1_048_576, 1_048_577, 2_097_152),
            (1000, 1001, 2048),
            (0, 1, 1),
            (0, 4, 8),
            (1000, usize::MAX, u32::MAX),
        ] {
            assert_eq!(max_elements(configured, members), expected, "{configured} {members}");
        }
    }
}
