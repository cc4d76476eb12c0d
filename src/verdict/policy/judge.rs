//! The policy, read as a policy: what it says of one packet. Knows nothing of chains.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::config::{AllowAction, Config, EndpointToHostAction};
use crate::model::{Action, IpVersion, PolicyId, PortRange, Stage, TierDefault};
use crate::policy::{
    ActivePolicy, ActiveProfile, ActiveRule, Direction, EndpointTier, HostPolicy, LocalEndpoint,
};

use super::rule_match::{Sets, first_mismatch};
use super::translation::floating_ips;
use crate::verdict::packet::{ConnState, Packet, Payload, Translation, Way};
use crate::verdict::services::Services;

/// Says what one host's policy does with a packet. This is the specification that the chains are held against.
///
/// # A packet's way
///
/// 1. A packet that comes in by an interface with a workload prefix must have a source that is routed back there, or
///    that its endpoint is allowed to send from.
/// 2. The first packet of a connection to a floating IP goes to the address behind it; from here on that is the
///    destination.
/// 3. By the interface it came in by, a workload's packet meets the *egress* of its endpoint. By the interface it leaves
///    by, a forwarded packet to a workload meets the *ingress* of its endpoint. It must pass both. An interface with a
///    workload prefix that no endpoint has passes nothing.
/// 4. Into the host: IP in IP only from the cluster's hosts, where that is in use. From a workload, `egress` and then
///    `DefaultEndpointToHostAction` decide; what IPv6 needs on a link is let through.
/// 5. What the host itself sends, and what concerns no workload, is left to the host's other rules. So is what policy
///    allows where `FilterAllowAction` is `Return`.
///
/// # At an endpoint
///
/// 1. One that is down passes nothing.
/// 2. A packet of a connection that was let through is let through: with `FilterAllowAction=Accept` at once, whatever
///    else lies on its way. What connection tracking can't place is dropped (unless that is switched off).
/// 3. Encapsulated packets may not leave a workload (unless that is allowed).
/// 4. Tiers, in order. In each, the rules of all its policies for the direction, in order: the first that holds decides.
///    Allow lets the packet through, Deny drops it, Pass goes on behind the tier, Log goes on with the next rule. Where a
///    tier has policies for the direction and no rule holds, its default decides: deny, or pass.
/// 5. Profiles, in order, in the same way; Pass goes on with the next one.
/// 6. Where nothing has decided, the packet is dropped.
///
/// A rule holds where every field that it has holds; see [`first_mismatch`].
pub struct Judge<'p> {
    pub(super) policy: &'p HostPolicy,
    pub(super) config: &'p Config,
    sets: Sets<'p>,
    by_interface: FxHashMap<&'p str, &'p LocalEndpoint>,
    pub(super) floating: BTreeMap<IpAddr, IpAddr>,
    /// Whether hosts tunnel IPv4 to each other by IP in IP.
    ipip: bool,
    never_sent_v4: Services,
    never_sent_v6: Services,
    invalid_v4: Services,
    invalid_v6: Services,
}

/// What policy says of a packet, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement<'p> {
    pub ruling: Ruling,
    pub translation: Translation,
    /// What the sending endpoint's egress said, where the packet came to it.
    pub egress: Option<Decision<'p>>,
    /// What the receiving endpoint's ingress said, where the packet came to it.
    pub ingress: Option<Decision<'p>>,
    /// What decided on behalf of the host, where that had the last word.
    pub host: Option<HostReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ruling {
    Allow,
    Deny,
    /// Policy has no say, or leaves the last word to the host's other rules.
    LeaveToHost,
}

/// What one endpoint said in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision<'p> {
    /// None where nobody has the interface.
    pub endpoint: Option<&'p LocalEndpoint>,
    pub allowed: bool,
    pub reason: Reason<'p>,
}

/// Why an endpoint lets a packet through, or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason<'p> {
    UnknownInterface,
    AdminDown,
    Established,
    InvalidState,
    Encapsulation,
    /// A rule of a policy; the tier it is in.
    PolicyRule(&'p ActiveRule, &'p EndpointTier),
    /// The tier selects the endpoint, and no rule of it held.
    EndOfTier(&'p EndpointTier),
    ProfileRule(&'p ActiveRule),
    NoProfileMatched,
}

/// Why the host lets a packet through, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostReason {
    SpoofedSource,
    IpipFromCluster,
    IpipFromElsewhere,
    /// Neighbour discovery and the like.
    LinkIcmp,
    OpenStackService,
    EndpointToHost(EndpointToHostAction),
    IpipToCluster,
    /// No workload is concerned.
    NotPoliced,
    /// The host may reach its own workloads.
    HostToWorkload,
}

impl<'p> Judge<'p> {
    pub fn new(policy: &'p HostPolicy, config: &'p Config) -> Self {
        let owners = policy.endpoints.values().filter(|local| local.shadowed_by.is_none());
        let by_interface = owners.clone().map(|local| (&*local.endpoint.interface, &**local)).collect();
        Self {
            policy,
            config,
            sets: Sets::of(policy),
            by_interface,
            floating: floating_ips(owners.map(|local| &**local), config),
            ipip: policy.has_ipip(config),
            never_sent_v4: never_sent(config, IpVersion::V4),
            never_sent_v6: never_sent(config, IpVersion::V6),
            invalid_v4: invalid(config, IpVersion::V4),
            invalid_v6: invalid(config, IpVersion::V6),
        }
    }

    /// What policy says of `packet`.
    pub fn judge(&self, packet: &Packet) -> Judgement<'p> {
        let mut judgement = Judgement {
            ruling: Ruling::LeaveToHost,
            translation: Translation::default(),
            egress: None,
            ingress: None,
            host: None,
        };
        if self.is_spoofed(packet) {
            judgement.ruling = Ruling::Deny;
            judgement.host = Some(HostReason::SpoofedSource);
            return judgement;
        }
        let packet = &self.translate_destination(packet, &mut judgement.translation);
        self.decide(packet, &mut judgement);
        if let (Ruling::Allow | Ruling::LeaveToHost, ConnState::New, Some(output)) =
            (judgement.ruling, packet.state, packet.way.output())
        {
            judgement.translation.source = self.translated_source(packet.source, packet.destination, output);
        }
        judgement
    }

    /// What the endpoint's policies and profiles say of a packet in one direction.
    pub fn at_endpoint(
        &self,
        local: &'p LocalEndpoint,
        direction: Direction,
        packet: &Packet,
    ) -> Decision<'p> {
        let reason = self.reason(local, direction, packet);
        let allowed = match reason {
            Reason::Established => true,
            Reason::PolicyRule(rule, _) | Reason::ProfileRule(rule) => rule.action == Action::Allow,
            Reason::UnknownInterface
            | Reason::AdminDown
            | Reason::InvalidState
            | Reason::Encapsulation
            | Reason::EndOfTier(_)
            | Reason::NoProfileMatched => false,
        };
        Decision { endpoint: Some(local), allowed, reason }
    }

    /// The endpoint that has the interface.
    pub fn owner(&self, interface: &str) -> Option<&'p LocalEndpoint> {
        self.by_interface.get(interface).copied()
    }

    /// What can't open a connection here.
    pub fn invalid(&self, version: IpVersion) -> &Services {
        match version {
            IpVersion::V4 => &self.invalid_v4,
            IpVersion::V6 => &self.invalid_v6,
        }
    }

    /// What workloads may send to this address of their host whatever their policies, and what their policies let out to it.
    pub fn to_host(&self, source: IpAddr, destination: IpAddr, let_out: &Services) -> Services {
        let version = IpVersion::of(destination);
        let services = self.host_services(destination).minus(self.invalid(version));
        let services = match self.config.default_endpoint_to_host_action {
            EndpointToHostAction::Drop => services,
            EndpointToHostAction::Return | EndpointToHostAction::Accept => services.or(let_out),
        };
        // Before any policy, the address decides.
        let ipip = Services::protocol(version, IPIP);
        match self.takes_ipip(source) {
            None => services,
            Some(true) => services.or(&ipip),
            Some(false) => services.minus(&ipip),
        }
    }

    /// Of what comes to the host itself from elsewhere, what it takes.
    pub fn into_host(&self, source: IpAddr, services: &Services) -> Services {
        match self.takes_ipip(source) {
            None | Some(true) => services.clone(),
            Some(false) => services.minus(&Services::protocol(IpVersion::of(source), IPIP)),
        }
    }

    /// Whether the host takes IP in IP from the address; None where hosts don't tunnel by it.
    fn takes_ipip(&self, source: IpAddr) -> Option<bool> {
        (self.ipip && IpVersion::of(source) == IpVersion::V4).then(|| self.is_cluster_host(source))
    }

    /// A host of the cluster, or one outside that is named as if it were.
    pub(super) fn is_cluster_host(&self, address: IpAddr) -> bool {
        self.policy.host_addresses.contains(&address)
            || self.config.external_nodes.iter().any(|net| net.contains(&address))
    }

    /// All that [`Self::host_service`] lets through to this address.
    fn host_services(&self, destination: IpAddr) -> Services {
        let version = IpVersion::of(destination);
        let link = LINK_ICMP.iter().filter(|_| version == IpVersion::V6);
        let link = link.map(|icmp_type| Services::icmp(version, *icmp_type, None));
        let (client, server) = dhcp_ports(version);
        let openstack = self.config.openstack.map(|_| {
            let dhcp = Services::rectangle(version, UDP, (client, client), (server, server));
            dhcp.or(&Services::to_ports(version, UDP, PortRange { first: DNS, last: DNS }))
        });
        let metadata = self.config.openstack.and_then(|openstack| openstack.metadata);
        let metadata = metadata
            .filter(|(address, _)| destination == IpAddr::V4(*address))
            .map(|(_, port)| Services::to_ports(version, TCP, PortRange { first: port, last: port }));
        link.chain(openstack).chain(metadata).fold(Services::none(version), |all, one| all.or(&one))
    }

    pub fn is_workload_interface(&self, interface: &str) -> bool {
        self.config.interface_prefixes.iter().any(|prefix| interface.starts_with(prefix.as_str()))
    }

    /// VXLAN and IP in IP, which another host would unwrap and take for some other workload's: not to be sent by one.
    pub fn never_sent(&self, version: IpVersion) -> &Services {
        match version {
            IpVersion::V4 => &self.never_sent_v4,
            IpVersion::V6 => &self.never_sent_v6,
        }
    }

    /// The sets that rules match by.
    pub fn sets(&self) -> &Sets<'p> {
        &self.sets
    }

    /// The policies of a tier that govern workloads in one direction.
    pub fn policies<'t>(
        &self,
        tier: &'t EndpointTier,
        direction: Direction,
    ) -> impl Iterator<Item = &'p ActivePolicy> + use<'p, 't, '_> {
        let ids: &'t [PolicyId] = match direction {
            Direction::Ingress => &tier.ingress,
            Direction::Egress => &tier.egress,
        };
        let known = ids.iter().filter_map(|id| self.policy.policies.get(id).map(|policy| &**policy));
        known.filter(|policy| matches!(policy.stage, Stage::Normal { apply_on_forward: _ }))
    }

    /// The profiles of an endpoint that are known.
    pub fn profiles<'e>(
        &self,
        local: &'e LocalEndpoint,
    ) -> impl Iterator<Item = &'p ActiveProfile> + use<'p, 'e, '_> {
        local
            .endpoint
            .profiles
            .iter()
            .filter_map(|name| self.policy.profiles.get(name).map(|profile| &**profile))
    }

    fn decide(&self, packet: &Packet, judgement: &mut Judgement<'p>) {
        if let Some((ruling, reason)) = self.ipip_at_host(packet) {
            judgement.ruling = ruling;
            judgement.host = Some(reason);
            return;
        }
        match &packet.way {
            Way::FromHost { output } => {
                let to_workload = self.is_workload_interface(output);
                let reason = if to_workload { HostReason::HostToWorkload } else { HostReason::NotPoliced };
                judgement.host = Some(reason);
            }
            Way::ToHost { input } if self.is_workload_interface(input) => {
                self.decide_to_host(input, packet, judgement);
            }
            Way::ToHost { input: _ } => judgement.host = Some(HostReason::NotPoliced),
            Way::Forwarded { input, output } => self.decide_forwarded(input, output, packet, judgement),
        }
    }

    fn decide_forwarded(&self, input: &str, output: &str, packet: &Packet, judgement: &mut Judgement<'p>) {
        if self.is_workload_interface(input) {
            let decision = self.at_interface(input, Direction::Egress, packet);
            judgement.egress = Some(decision);
            judgement.ruling = self.ruling(decision.allowed);
            if !decision.allowed || self.is_final(decision) {
                return;
            }
        }
        if self.is_workload_interface(output) {
            let decision = self.at_interface(output, Direction::Ingress, packet);
            judgement.ingress = Some(decision);
            judgement.ruling = self.ruling(decision.allowed);
        }
        if judgement.egress.is_none() && judgement.ingress.is_none() {
            judgement.host = Some(HostReason::NotPoliced);
        }
    }

    /// From a workload to the host itself.
    fn decide_to_host(&self, input: &str, packet: &Packet, judgement: &mut Judgement<'p>) {
        if let Some(reason) = self.host_service(packet) {
            judgement.ruling = self.ruling(true);
            judgement.host = Some(reason);
            return;
        }
        let decision = self.at_interface(input, Direction::Egress, packet);
        judgement.egress = Some(decision);
        judgement.ruling = self.ruling(decision.allowed);
        if !decision.allowed || self.is_final(decision) {
            return;
        }
        let action = self.config.default_endpoint_to_host_action;
        judgement.host = Some(HostReason::EndpointToHost(action));
        judgement.ruling = match action {
            EndpointToHostAction::Drop => Ruling::Deny,
            EndpointToHostAction::Return => Ruling::LeaveToHost,
            EndpointToHostAction::Accept => Ruling::Allow,
        };
    }

    fn ruling(&self, allowed: bool) -> Ruling {
        match (allowed, self.config.filter_allow_action) {
            (false, _) => Ruling::Deny,
            (true, AllowAction::Accept) => Ruling::Allow,
            (true, AllowAction::Return) => Ruling::LeaveToHost,
        }
    }

    /// Whether nothing that lies behind can change it.
    fn is_final(&self, decision: Decision<'_>) -> bool {
        decision.reason == Reason::Established && self.config.filter_allow_action == AllowAction::Accept
    }

    fn at_interface(&self, interface: &str, direction: Direction, packet: &Packet) -> Decision<'p> {
        match self.owner(interface) {
            Some(local) => self.at_endpoint(local, direction, packet),
            None => Decision { endpoint: None, allowed: false, reason: Reason::UnknownInterface },
        }
    }

    fn reason(&self, local: &'p LocalEndpoint, direction: Direction, packet: &Packet) -> Reason<'p> {
        if !local.endpoint.active {
            return Reason::AdminDown;
        }
        match packet.state {
            ConnState::Established | ConnState::Related => return Reason::Established,
            ConnState::Invalid if !self.config.disable_conntrack_invalid_check => {
                return Reason::InvalidState;
            }
            ConnState::New | ConnState::Invalid | ConnState::Untracked => {}
        }
        if direction == Direction::Egress && self.never_sent(packet.version()).contains(packet.payload) {
            return Reason::Encapsulation;
        }
        self.by_tiers(local, direction, packet)
            .or_else(|| self.by_profiles(local, direction, packet))
            .unwrap_or(Reason::NoProfileMatched)
    }

    fn by_tiers(
        &self,
        local: &'p LocalEndpoint,
        direction: Direction,
        packet: &Packet,
    ) -> Option<Reason<'p>> {
        local.tiers.iter().find_map(|tier| {
            let mut policies = self.policies(tier, direction).peekable();
            policies.peek()?;
            let rules = policies.flat_map(|policy| rules(&policy.ingress, &policy.egress, direction));
            match (self.first_that_holds(rules, packet), tier.default_action) {
                (Some(rule), _) if rule.action == Action::Pass => None,
                (Some(rule), _) => Some(Reason::PolicyRule(rule, tier)),
                (None, TierDefault::Deny) => Some(Reason::EndOfTier(tier)),
                (None, TierDefault::Pass) => None,
            }
        })
    }

    fn by_profiles(
        &self,
        local: &LocalEndpoint,
        direction: Direction,
        packet: &Packet,
    ) -> Option<Reason<'p>> {
        self.profiles(local).find_map(|profile| {
            let rules = rules(&profile.ingress, &profile.egress, direction);
            let rule = self.first_that_holds(rules, packet)?;
            (rule.action != Action::Pass).then_some(Reason::ProfileRule(rule))
        })
    }

    fn first_that_holds(
        &self,
        rules: impl IntoIterator<Item = &'p Arc<ActiveRule>>,
        packet: &Packet,
    ) -> Option<&'p ActiveRule> {
        let mut deciding = rules.into_iter().map(|rule| &**rule).filter(|rule| rule.action != Action::Log);
        deciding.find(|rule| first_mismatch(rule, packet, &self.sets).is_none())
    }

    /// IP in IP that ends or begins at this host, where hosts tunnel by it.
    fn ipip_at_host(&self, packet: &Packet) -> Option<(Ruling, HostReason)> {
        if !self.ipip || packet.version() != IpVersion::V4 || packet.protocol() != IPIP {
            return None;
        }
        match &packet.way {
            Way::ToHost { input: _ }
                if self.is_cluster_host(packet.source) && is_unicast(packet.destination) =>
            {
                Some((self.ruling(true), HostReason::IpipFromCluster))
            }
            Way::ToHost { input: _ } => Some((Ruling::Deny, HostReason::IpipFromElsewhere)),
            Way::FromHost { output }
                if self.is_cluster_host(packet.destination) && !self.is_workload_interface(output) =>
            {
                Some((self.ruling(true), HostReason::IpipToCluster))
            }
            Way::FromHost { .. } | Way::Forwarded { .. } => None,
        }
    }

    /// What every workload may send to its host, whatever its policy.
    fn host_service(&self, packet: &Packet) -> Option<HostReason> {
        if packet.version() == IpVersion::V6
            && matches!(packet.payload, Payload::Icmp { icmp_type, code: _ } if LINK_ICMP.contains(&icmp_type))
        {
            return Some(HostReason::LinkIcmp);
        }
        let openstack = self.config.openstack?;
        let Payload::Ports { protocol, source, destination } = packet.payload else { return None };
        let is_metadata = packet.version() == IpVersion::V4
            && protocol == TCP
            && openstack.metadata.is_some_and(|(address, port)| {
                packet.destination == IpAddr::V4(address) && destination == port
            });
        let dhcp = dhcp_ports(packet.version());
        let is_dhcp_or_dns = protocol == UDP && ((source, destination) == dhcp || destination == DNS);
        (is_metadata || is_dhcp_or_dns).then_some(HostReason::OpenStackService)
    }

    /// A workload's packet from an address that isn't routed to it.
    fn is_spoofed(&self, packet: &Packet) -> bool {
        let Some(input) = packet.way.input().filter(|input| self.is_workload_interface(input)) else {
            return false;
        };
        let allowed = self.owner(input).is_some_and(|local| {
            local.endpoint.allowed_source_prefixes.iter().any(|net| net.contains(&packet.source))
        });
        let asks_for_address = self.config.openstack.is_some()
            && packet.source == IpAddr::V4(Ipv4Addr::UNSPECIFIED)
            && packet.payload == Payload::Ports { protocol: UDP, source: 68, destination: 67 };
        !packet.reverse_path && !allowed && !asks_for_address
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const IPIP: u8 = 4;
const DNS: u16 = 53;
/// Multicast listeners, routers and neighbours (RFC 4861, RFC 2710).
const LINK_ICMP: [u8; 6] = [130, 131, 132, 133, 135, 136];

/// Client and server.
fn dhcp_ports(version: IpVersion) -> (u16, u16) {
    match version {
        IpVersion::V4 => (68, 67),
        IpVersion::V6 => (546, 547),
    }
}

/// One direction's rules.
pub fn rules<'p>(
    ingress: &'p [Arc<ActiveRule>],
    egress: &'p [Arc<ActiveRule>],
    direction: Direction,
) -> &'p [Arc<ActiveRule>] {
    match direction {
        Direction::Ingress => ingress,
        Direction::Egress => egress,
    }
}

/// What endpoints drop as a connection's first packet, since connection tracking can't place it.
fn invalid(config: &Config, version: IpVersion) -> Services {
    if config.disable_conntrack_invalid_check {
        Services::none(version)
    } else {
        Services::never_first(version)
    }
}

fn never_sent(config: &Config, version: IpVersion) -> Services {
    let port = PortRange { first: config.vxlan_port, last: config.vxlan_port };
    let vxlan = (!config.allow_vxlan_packets_from_workloads).then(|| Services::to_ports(version, UDP, port));
    let ipip = (!config.allow_ipip_packets_from_workloads).then(|| Services::protocol(version, IPIP));
    vxlan.into_iter().chain(ipip).fold(Services::none(version), |all, one| all.or(&one))
}

fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_multicast() && !address.is_broadcast(),
        IpAddr::V6(address) => !address.is_multicast(),
    }
}
