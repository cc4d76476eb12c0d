//! One connection of the table.

use std::net::IpAddr;

use netlink_packet_core::NLA_F_NESTED;

use crate::system::netlink::{address, attributes};

/// Before the attributes: family, version, resource.
const HEADER: usize = 4;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const MARK: u16 = 8;
const ZONE: u16 = 18;

/// In a tuple, and in its two parts.
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_SOURCE: [u16; 2] = [1, 3];
const IP_DESTINATION: [u16; 2] = [2, 4];
const PROTOCOL: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
const ICMP_ID: [u16; 2] = [4, 7];
const ICMP_TYPE: [u16; 2] = [5, 8];
const ICMP_CODE: [u16; 2] = [6, 9];

/// A connection, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// As its first packet was when it came.
    pub original: Tuple,
    /// As answers are when they come. With NAT, more than the original's sides exchanged.
    pub reply: Tuple,
    /// 0 but where somebody uses zones.
    pub zone: u16,
    pub mark: u32,
    /// Bits of the kernel's `enum ip_conntrack_status`.
    pub status: u32,
    /// What the kernel finds it by.
    key: &'a [u8],
    zone_key: Option<&'a [u8]>,
}

/// One direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuple {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// By number.
    pub protocol: u8,
    pub detail: Detail,
}

/// What a protocol adds to addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Ports {
        source: u16,
        destination: u16,
    },
    /// Of either family.
    Icmp {
        kind: u8,
        code: u8,
        id: u16,
    },
    None,
}

impl<'a> Entry<'a> {
    /// None where it has no addresses that can be read.
    pub(super) fn parse(payload: &'a [u8]) -> Option<Self> {
        let (mut original, mut reply, mut zone) = (None, None, None);
        let (mut mark, mut status) = (0, 0);
        for (kind, value) in attributes(payload.get(HEADER..)?) {
            match kind {
                TUPLE_ORIGINAL => original = Some(value),
                TUPLE_REPLY => reply = Some(value),
                STATUS => status = u32::from_be_bytes(*value.first_chunk()?),
                MARK => mark = u32::from_be_bytes(*value.first_chunk()?),
                ZONE => zone = Some(value),
                _ => {}
            }
        }
        let key = original?;
        Some(Self {
            original: Tuple::parse(key)?,
            reply: Tuple::parse(reply?)?,
            zone: zone.map_or(Some(0), big_endian)?,
            mark,
            status,
            key,
            zone_key: zone,
        })
    }

    /// The attributes by which the kernel finds it. Not by its id too: that is made from the place in memory, and a
    /// successor often gets the same.
    pub(super) fn identity(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let zone = self.zone_key.map(|zone| (ZONE, zone));
        [Some((TUPLE_ORIGINAL | NLA_F_NESTED, self.key)), zone].into_iter().flatten()
    }
}

impl Tuple {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (mut source, mut destination, mut protocol) = (None, None, None);
        let (mut source_port, mut destination_port) = (None, None);
        let (mut icmp_type, mut icmp_code, mut icmp_id) = (None, None, None);
        for (part, value) in attributes(bytes) {
            for (kind, value) in attributes(value) {
                match part {
                    TUPLE_IP if IP_SOURCE.contains(&kind) => source = address(value),
                    TUPLE_IP if IP_DESTINATION.contains(&kind) => destination = address(value),
                    TUPLE_PROTOCOL if kind == PROTOCOL => protocol = value.first().copied(),
                    TUPLE_PROTOCOL if kind == SOURCE_PORT => source_port = big_endian(value),
                    TUPLE_PROTOCOL if kind == DESTINATION_PORT => destination_port = big_endian(value),
                    TUPLE_PROTOCOL if ICMP_TYPE.contains(&kind) => icmp_type = value.first().copied(),
                    TUPLE_PROTOCOL if ICMP_CODE.contains(&kind) => icmp_code = value.first().copied(),
                    TUPLE_PROTOCOL if ICMP_ID.contains(&kind) => icmp_id = big_endian(value),
                    _ => {}
                }
            }
        }
        let detail = match (source_port, destination_port, icmp_type, icmp_code) {
            (Some(source), Some(destination), _, _) => Detail::Ports { source, destination },
            (_, _, Some(kind), Some(code)) => Detail::Icmp { kind, code, id: icmp_id.unwrap_or(0) },
            _ => Detail::None,
        };
        Some(Self { source: source?, destination: destination?, protocol: protocol?, detail })
    }
}

fn big_endian(value: &[u8]) -> Option<u16> {
    value.first_chunk().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question to 10.77.0.1:53 that was sent on to 10.9.0.2:7000, in zone 5, and answered.
    const UDP: &str = "02000000\
        3400018014000180080001000a090001080002000a4d00011c0002800500010011000000060002000fa100000600030000350000\
        3400028014000180080001000a090002080002000a0900011c0002800500010011000000060002001b580000060003000fa10000\
        060012000005000008000300000001a8080008000000000008000c00c57010ce08000b0000000001080007000000001d";

    /// An echo request from fd09::1 to itself.
    const ICMPV6: &str = "0a000000\
        540001802c00018014000300fd09000000000000000000000000000114000400fd090000000000000000000000000001\
        24000280050001003a000000060007001234000005000800800000000500090000000000\
        540002802c00018014000300fd09000000000000000000000000000114000400fd090000000000000000000000000001\
        24000280050001003a000000060007001234000005000800810000000500090000000000\
        080003000000000a080008000000000008000c00f4e1fb8708000b0000000001080007000000001d";

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn tuple(source: &str, destination: &str, protocol: u8, detail: Detail) -> Tuple {
        let address = |text: &str| text.parse().unwrap();
        Tuple { source: address(source), destination: address(destination), protocol, detail }
    }

    #[test]
    fn entries_of_a_kernel_are_read() {
        let ports = |source, destination| Detail::Ports { source, destination };
        let echo = |kind| Detail::Icmp { kind, code: 0, id: 0x1234 };
        let cases = [
            (
                UDP,
                tuple("10.9.0.1", "10.77.0.1", 17, ports(4001, 53)),
                tuple("10.9.0.2", "10.9.0.1", 17, ports(7000, 4001)),
                (5, 0x1a8, vec![0x8001, ZONE]),
            ),
            (
                ICMPV6,
                tuple("fd09::1", "fd09::1", 58, echo(128)),
                tuple("fd09::1", "fd09::1", 58, echo(129)),
                (0, 0xa, vec![0x8001]),
            ),
        ];
        for (hex, original, reply, (zone, status, kinds)) in cases {
            let bytes = bytes(hex);
            let entry = Entry::parse(&bytes).unwrap();
            assert_eq!((&entry.original, &entry.reply), (&original, &reply));
            assert_eq!((entry.zone, entry.status, entry.mark), (zone, status, 0));
            assert_eq!(entry.identity().map(|(kind, _)| kind).collect::<Vec<_>>(), kinds);
            assert_eq!(
                entry.identity().next().map(|(_, key)| key),
                Some(&bytes[8..4 + usize::from(bytes[4])])
            );
            // Cut off anywhere, it is no entry, or one without what it needn't have.
            let both = 4 + 2 * usize::from(bytes[4]);
            for length in 0..bytes.len() {
                assert_eq!(Entry::parse(&bytes[..length]).is_some(), length >= both, "{length}");
            }
        }
    }
}
