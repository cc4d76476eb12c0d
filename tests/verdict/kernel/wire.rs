//! A packet as bytes, and what the bytes of one say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use felix_rs::model::IpVersion;
use felix_rs::verdict::packet::Payload;

/// What the content of each of our packets begins with; its number follows. No IP header begins so: a packet that an
/// ICMP error quotes is not taken for one of ours.
const OURS: [u8; 8] = *b"\xfefelixrs";

/// A packet that we make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub payload: Payload,
    pub moment: Moment,
    /// Names the packet, whatever becomes of its addresses and ports.
    pub number: u32,
    /// ICMP's, which tells connections apart as ports do.
    pub identifier: u16,
    /// The checksum of the transport's header is right.
    pub checked: bool,
}

/// Where in a connection a packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    First,
    /// The first one back.
    Answer,
    /// Any further one.
    Later,
    /// Such as no connection has, so that connection tracking finds it invalid.
    Broken,
}

/// What can be read from a packet's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub addresses: Option<(IpAddr, IpAddr)>,
    pub payload: Payload,
    pub number: u32,
}

impl Frame {
    pub fn version(&self) -> IpVersion {
        IpVersion::of(self.source)
    }

    /// The whole packet.
    pub fn bytes(&self) -> Vec<u8> {
        let (protocol, content) = self.transport();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut bytes = vec![0x45, 0];
                bytes.extend(be16(20 + content.len()));
                // Don't fragment; 64 hops.
                bytes.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                let sum = internet_checksum(&[&bytes]);
                bytes[10..12].copy_from_slice(&sum.to_be_bytes());
                bytes.extend(content);
                bytes
            }
            (source, destination) => {
                let mut bytes = vec![0x60, 0, 0, 0];
                bytes.extend(be16(content.len()));
                bytes.extend([protocol, 64]);
                bytes.extend(octets(source));
                bytes.extend(octets(destination));
                bytes.extend(content);
                bytes
            }
        }
    }

    fn transport(&self) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        let (protocol, checksum_at) = match self.payload {
            Payload::Ports { protocol, source, destination } => {
                bytes.extend(source.to_be_bytes());
                bytes.extend(destination.to_be_bytes());
                (protocol, self.behind_ports(protocol, &mut bytes))
            }
            Payload::Icmp { icmp_type, code } => {
                bytes.extend([icmp_type, code, 0, 0]);
                bytes.extend(self.identifier.to_be_bytes());
                bytes.extend([0, 1]);
                (Payload::icmp_of(self.version()), Some(2))
            }
            Payload::Other { protocol } => {
                // Read as GRE's first words, these are the version that is tracked like any protocol.
                bytes.extend([0; 8]);
                // IPv6's raw sockets look at the checksum of this one.
                (protocol, (protocol == MOBILITY).then_some(4))
            }
        };
        bytes.extend(OURS);
        bytes.extend(self.number.to_be_bytes());
        if protocol == UDP {
            let length = if self.moment == Moment::Broken { [0xff; 2] } else { be16(bytes.len()) };
            bytes[4..6].copy_from_slice(&length);
        }
        if let Some(at) = checksum_at {
            self.put_checksum(protocol, at, &mut bytes);
        }
        (protocol, bytes)
    }

    /// The rest of the header of a protocol with ports; where its checksum belongs.
    fn behind_ports(&self, protocol: u8, bytes: &mut Vec<u8>) -> Option<usize> {
        match protocol {
            TCP => {
                const FIN: u8 = 1;
                const SYN: u8 = 2;
                const PSH: u8 = 8;
                const ACK: u8 = 16;
                let (sequence, acknowledged, flags): (u32, u32, u8) = match self.moment {
                    Moment::First => (1000, 0, SYN),
                    Moment::Answer => (1000, 1001, SYN | ACK),
                    Moment::Later => (1001, 1001, ACK | PSH),
                    // `tcp_error`: no flags that ever go together.
                    Moment::Broken => (1000, 0, SYN | FIN),
                };
                bytes.extend(sequence.to_be_bytes());
                bytes.extend(acknowledged.to_be_bytes());
                bytes.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
                Some(16)
            }
            // The length is put where it is known; `udp_error` refuses one that is larger than the packet.
            UDP => {
                bytes.extend([0; 4]);
                Some(6)
            }
            UDP_LITE => {
                // The checksum covers all (0); `udplite_error` refuses less than the header.
                let coverage = if self.moment == Moment::Broken { [0, 1] } else { [0; 2] };
                bytes.extend(coverage);
                bytes.extend([0; 2]);
                Some(6)
            }
            SCTP => {
                let (tag, chunk) = match self.moment {
                    Moment::First => ([0; 4], INIT),
                    // `sctp_new` refuses an INIT with a tag.
                    Moment::Broken => (TAG, INIT),
                    Moment::Answer => (TAG, INIT_ACK),
                    Moment::Later => (TAG, DATA),
                };
                bytes.extend(tag);
                bytes.extend([0; 4]);
                // One chunk, our content in it. The tag of INIT and INIT_ACK is DATA's sequence number.
                bytes.extend([chunk, 3]);
                bytes.extend(be16(20 + OURS.len() + 4));
                bytes.extend(TAG);
                bytes.extend([0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1]);
                Some(8)
            }
            DCCP => {
                let (kind, rest): (u8, &[u8]) = match self.moment {
                    // Request: a service code.
                    Moment::First | Moment::Broken => (0, &[0; 4]),
                    // Response: what it acknowledges, and a service code.
                    Moment::Answer => (1, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
                    // DataAck: what it acknowledges.
                    Moment::Later => (4, &[0, 0, 0, 0, 0, 0, 0, 1]),
                };
                let words = u8::try_from(4 + rest.len() / 4).expect("a short header");
                let sequence = if self.moment == Moment::Later { 2 } else { 1 };
                bytes.extend([words, 0, 0, 0, kind << 1 | 1, 0, 0, 0, 0, 0, 0, sequence]);
                bytes.extend(rest);
                Some(6)
            }
            _ => unreachable!("{protocol} has no ports"),
        }
    }

    fn put_checksum(&self, protocol: u8, at: usize, bytes: &mut [u8]) {
        if protocol == SCTP {
            let sum = if self.checked { crc32c(bytes) } else { !crc32c(bytes) };
            bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
            return;
        }
        let mut pseudo = Vec::new();
        if protocol != ICMP {
            pseudo.extend(octets(self.source));
            pseudo.extend(octets(self.destination));
            pseudo.extend([0, protocol]);
            pseudo.extend(be16(bytes.len()));
        }
        let sum = internet_checksum(&[&pseudo, bytes]);
        let sum = if self.checked { sum } else { !sum };
        // In UDP, 0 stands for no checksum.
        let sum = if sum == 0 { 0xffff } else { sum };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Reads a whole packet, if it is one of ours.
pub fn read(bytes: &[u8]) -> Option<Read> {
    let (source, destination, protocol, content): (IpAddr, IpAddr, u8, &[u8]) = match bytes.first()? >> 4 {
        4 => {
            let header = usize::from(bytes.first()? & 15) * 4;
            let source: [u8; 4] = bytes.get(12..16)?.try_into().ok()?;
            let destination: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
            let ends = (Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into());
            (ends.0, ends.1, *bytes.get(9)?, bytes.get(header..)?)
        }
        6 => {
            let source: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let destination: [u8; 16] = bytes.get(24..40)?.try_into().ok()?;
            let ends = (Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into());
            (ends.0, ends.1, *bytes.get(6)?, bytes.get(40..)?)
        }
        _ => return None,
    };
    let read = read_transport(IpVersion::of(source), protocol, content)?;
    Some(Read { addresses: Some((source, destination)), ..read })
}

/// Reads what stands behind the IP header, if it is ours.
pub fn read_transport(version: IpVersion, protocol: u8, content: &[u8]) -> Option<Read> {
    let ours_at = match protocol {
        TCP => usize::from(content.get(12)? >> 4) * 4,
        DCCP => usize::from(*content.get(4)?) * 4,
        SCTP => 32,
        _ => 8,
    };
    let ours = content.get(ours_at..ours_at + OURS.len())?;
    let number = content.get(ours_at + OURS.len()..)?.get(..4)?;
    let port = |at: usize| Some(u16::from_be_bytes(content.get(at..at + 2)?.try_into().ok()?));
    let payload =
        Payload::new(version, protocol, (port(0)?, port(2)?), (*content.first()?, *content.get(1)?));
    let read = Read { addresses: None, payload, number: u32::from_be_bytes(number.try_into().ok()?) };
    (ours == OURS).then_some(read)
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const MOBILITY: u8 = 135;
const UDP_LITE: u8 = 136;

/// SCTP's chunks, and the tag that both ends of each of our connections have.
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const TAG: [u8; 4] = [0, 0, 0, 7];

fn be16(number: usize) -> [u8; 2] {
    u16::try_from(number).expect("a short packet").to_be_bytes()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// RFC 1071, over parts of even length but for the last.
fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 =
        words.map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| (*low).into())).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}
