//! The packets of what doesn't depend on any policy: checked sources, floating IPs, what goes to the host and comes from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::{Boundary, EPHEMERAL, HTTP, IPIP, TCP, UDP, before, behind, unknown_interfaces};
use crate::model::IpVersion;
use crate::policy::{Direction, LocalEndpoint};
use crate::verdict::packet::{ConnState, Packet, Payload, Way};

/// Where OpenStack's workloads look for their metadata.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

impl Boundary<'_> {
    /// Sources that the endpoint is allowed to send from, and those beside them; the same from others, who aren't.
    pub(super) fn allowed_sources<'l>(
        &mut self,
        local: &'l LocalEndpoint,
        others: impl Iterator<Item = &'l LocalEndpoint>,
    ) {
        let Some(base) = self.base(local, Direction::Egress) else { return };
        let senders: Vec<Arc<str>> =
            [local].into_iter().chain(others).map(|local| Arc::clone(&local.endpoint.interface)).collect();
        for (first, last) in self.edges(&local.endpoint.allowed_source_prefixes) {
            let sources = [Some(first), Some(last), before(first), behind(last)];
            for source in
                sources.into_iter().flatten().filter(|source| IpVersion::of(*source) == self.version)
            {
                // Whatever policy says of new packets.
                let spoofed =
                    Packet { source, state: ConnState::Established, reverse_path: false, ..base.clone() };
                let ways = senders.iter().map(|input| Way::ToHost { input: Arc::clone(input) });
                self.packets.extend(ways.map(|way| Packet { way, ..spoofed.clone() }));
            }
        }
    }

    /// To the endpoint's floating IPs, from outside, from the host and from the endpoint itself; to those beside.
    pub(super) fn floating(&mut self, local: &LocalEndpoint) {
        let Some(base) = self.base(local, Direction::Ingress) else { return };
        let own = &local.endpoint.interface;
        for nat in local.endpoint.nats.iter().filter(|nat| IpVersion::of(nat.external) == self.version) {
            let ways = [
                base.way.clone(),
                Way::FromHost { output: Arc::clone(own) },
                Way::ToHost { input: Arc::clone(&self.outside) },
                Way::Forwarded { input: Arc::clone(own), output: Arc::clone(own) },
                // Between others, which no policy denies.
                Way::Forwarded { input: Arc::clone(&self.outside), output: Arc::clone(&self.outside) },
            ];
            let external = Some(nat.external);
            let destinations = [external, before(nat.external), behind(nat.external), Some(base.source)];
            for way in ways {
                for destination in destinations.into_iter().flatten() {
                    for source in [base.source, nat.internal, nat.external] {
                        self.packets.push(Packet { way: way.clone(), source, destination, ..base.clone() });
                    }
                }
            }
        }
        self.packets.retain(|packet| IpVersion::of(packet.source) == IpVersion::of(packet.destination));
    }

    /// What concerns no endpoint.
    pub(super) fn host(&mut self) {
        let Some(unknown) = unknown_interfaces(self.config).next() else { return };
        self.ways(&unknown);
        self.services(&unknown);
    }

    /// Every way without an endpoint, between hosts and strangers, in a tunnel or not.
    fn ways(&mut self, unknown: &Arc<str>) {
        let outside = Arc::clone(&self.outside);
        let base = self.between_others();
        let ways = [
            base.way.clone(),
            Way::Forwarded { input: Arc::clone(unknown), output: Arc::clone(&outside) },
            Way::Forwarded { input: Arc::clone(&outside), output: Arc::clone(unknown) },
            Way::ToHost { input: Arc::clone(unknown) },
            Way::FromHost { output: Arc::clone(unknown) },
            Way::ToHost { input: Arc::clone(&outside) },
            Way::FromHost { output: outside },
        ];
        let ours = |address: &IpAddr| IpVersion::of(*address) == self.version;
        let hosts = self.policy.host_addresses.iter().copied().filter(ours);
        let external = self.config.external_nodes.iter().map(IpNet::network).filter(ours);
        let mut addresses = vec![base.source];
        addresses.extend(hosts.take(2).chain(external.take(1)));
        for way in ways {
            for &source in &addresses {
                for payload in [base.payload, Payload::Other { protocol: IPIP }] {
                    for &destination in addresses.iter().chain([&self.group()]) {
                        let way = way.clone();
                        self.packets.push(Packet { way, source, destination, payload, ..base.clone() });
                    }
                }
            }
        }
        self.packets.extend(
            unknown_interfaces(self.config)
                .map(|input| Packet { way: Way::ToHost { input }, ..base.clone() }),
        );
    }

    /// What the host serves to every workload, and what is beside that. An interface that nobody has shows it best: all
    /// else from there is dropped.
    fn services(&mut self, unknown: &Arc<str>) {
        let base = Packet { way: Way::ToHost { input: Arc::clone(unknown) }, ..self.between_others() };
        let icmp = Payload::icmp_of(self.version);
        let of_link = (129..=137).map(|icmp_type| Payload::new(self.version, icmp, (0, 0), (icmp_type, 0)));
        self.packets.extend(of_link.map(|payload| Packet { payload, ..base.clone() }));
        let Some(openstack) = self.config.openstack else { return };
        let udp = [
            (68, 67),
            (67, 68),
            (68, 68),
            (69, 67),
            (546, 547),
            (547, 546),
            (547, 547),
            (546, 548),
            (1, 53),
            (1, 54),
        ];
        let unicast = [(UDP, udp.as_slice()), (TCP, &[(68, 67), (546, 547), (1, 53)])];
        for (protocol, ports) in unicast {
            for &(source, destination) in ports {
                let payload = Payload::Ports { protocol, source, destination };
                self.packets.push(Packet { payload, ..base.clone() });
            }
        }
        if self.version == IpVersion::V6 {
            return;
        }
        // Who asks for an address has none yet: its source isn't routed back.
        for source in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), base.source] {
            for ports in [(68, 67), (69, 67), (68, 68)] {
                let payload = Payload::new(self.version, UDP, ports, (0, 0));
                self.packets.push(Packet { source, payload, reverse_path: false, ..base.clone() });
            }
        }
        let Some((address, port)) = openstack.metadata else { return };
        for destination in [IpAddr::V4(address), base.destination, METADATA.into()] {
            for port in [HTTP, HTTP + 1, port, port.saturating_add(1)] {
                for protocol in [TCP, UDP] {
                    let payload = Payload::new(self.version, protocol, (EPHEMERAL, port), (0, 0));
                    let to_service = Packet { destination, payload, ..base.clone() };
                    let from_outside = Way::ToHost { input: Arc::clone(&self.outside) };
                    self.packets.push(Packet { way: from_outside, ..to_service.clone() });
                    self.packets.push(to_service);
                }
            }
        }
    }

    /// A packet that no policy is asked about.
    fn between_others(&self) -> Packet {
        let peer = self.peer();
        Packet {
            way: Way::Forwarded { input: Arc::clone(&self.outside), output: Arc::clone(&self.outside) },
            source: peer,
            destination: peer,
            payload: Payload::Ports { protocol: TCP, source: EPHEMERAL, destination: HTTP },
            state: ConnState::New,
            reverse_path: true,
        }
    }

    /// All hosts on the link.
    fn group(&self) -> IpAddr {
        match self.version {
            IpVersion::V4 => Ipv4Addr::new(224, 0, 0, 1).into(),
            IpVersion::V6 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
        }
    }
}
