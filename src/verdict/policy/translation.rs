//! Where the first packet of a connection really goes, and whom it seems to come from: floating IPs, OpenStack's metadata,
//! what leaves the pools.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::judge::Judge;
use crate::config::{Config, NatOutgoingExclusions};
use crate::model::IpVersion;
use crate::policy::LocalEndpoint;
use crate::verdict::packet::{ConnState, Packet, Payload, SourceTranslation, Translation};

const TCP: u8 = 6;
const HTTP: u16 = 80;
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

impl Judge<'_> {
    /// The internal address behind a floating IP.
    pub fn behind(&self, external: IpAddr) -> Option<IpAddr> {
        self.floating.get(&external).copied()
    }

    /// All floating IPs, each with the address behind it.
    pub fn floating(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        self.floating.iter().map(|(external, internal)| (*external, *internal))
    }

    /// Whether the first packet of a connection to the address goes elsewhere.
    pub fn translates(&self, address: IpAddr) -> bool {
        let to_metadata = address == IpAddr::V4(METADATA) && self.config.openstack.is_some();
        to_metadata || self.floating.contains_key(&address)
    }

    pub(super) fn translate_destination(&self, packet: &Packet, translation: &mut Translation) -> Packet {
        let mut packet = packet.clone();
        if packet.state != ConnState::New {
            return packet;
        }
        if let Some(&internal) = self.floating.get(&packet.destination) {
            translation.destination = Some((internal, None));
            packet.destination = internal;
        } else if let (Some((address, port)), Payload::Ports { protocol: TCP, source: _, destination }) =
            (self.metadata_of(&packet), &mut packet.payload)
        {
            *destination = port;
            translation.destination = Some((address, Some(port)));
            packet.destination = address;
        }
        packet
    }

    /// Where a packet to OpenStack's metadata address goes.
    fn metadata_of(&self, packet: &Packet) -> Option<(IpAddr, u16)> {
        let arrives = packet.way.input().is_some();
        let (address, port) = self.config.openstack.filter(|_| arrives)?.metadata?;
        let to_metadata = packet.destination == IpAddr::V4(METADATA);
        let is_http = packet.payload.ports().is_some_and(|(_, destination)| destination == HTTP);
        (to_metadata && is_http).then_some((address.into(), port))
    }

    /// The source under which the first packet of a connection leaves the host.
    pub fn translated_source(
        &self,
        source: IpAddr,
        destination: IpAddr,
        output: &str,
    ) -> Option<SourceTranslation> {
        if source == destination
            && let Some(external) = self.floating_of(source)
        {
            return Some(SourceTranslation::To(external));
        }
        let pools = || self.policy.pools.values();
        let leaves_pools = pools().any(|pool| pool.nat_outgoing && pool.cidr.contains(&source))
            && !pools().any(|pool| !pool.load_balancer_only && pool.cidr.contains(&destination));
        let is_excluded = match self.config.nat_outgoing_exclusions {
            NatOutgoingExclusions::IpPoolsOnly => false,
            NatOutgoingExclusions::IpPoolsAndHostIps => self.is_cluster_host(destination),
        };
        let by_interface = self.config.nat_outgoing_interface_filter.as_deref().is_none_or(|filter| {
            filter.strip_suffix('+').map_or(output == filter, |prefix| output.starts_with(prefix))
        });
        (leaves_pools && !is_excluded && by_interface).then(|| {
            match (IpVersion::of(source), self.config.nat_outgoing_address) {
                (IpVersion::V4, Some(address)) => SourceTranslation::To(address.into()),
                (IpVersion::V4, None) | (IpVersion::V6, _) => SourceTranslation::Masquerade,
            }
        })
    }

    /// The external address of an internal one; of several the first in the order of their texts.
    fn floating_of(&self, internal: IpAddr) -> Option<IpAddr> {
        let externals =
            self.floating.iter().filter(|(_, to)| **to == internal).map(|(external, _)| *external);
        externals.min_by_key(ToString::to_string)
    }
}

/// The internal address of each floating IP; of two claims to one, the first in the order of their texts has it.
pub(super) fn floating_ips<'p>(
    owners: impl Iterator<Item = &'p LocalEndpoint>,
    config: &Config,
) -> BTreeMap<IpAddr, IpAddr> {
    let mut floating = BTreeMap::<IpAddr, IpAddr>::new();
    let enabled = owners.filter(|local| config.floats(&local.endpoint.id.orchestrator));
    for nat in enabled.flat_map(|local| &local.endpoint.nats) {
        if IpVersion::of(nat.internal) != IpVersion::of(nat.external) {
            continue;
        }
        let internal = floating.entry(nat.external).or_insert(nat.internal);
        if nat.internal.to_string() < internal.to_string() {
            *internal = nat.internal;
        }
    }
    floating
}
