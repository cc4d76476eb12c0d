//! Random packets over the addresses, ports and interfaces that generated datastores speak of.

use std::net::IpAddr;
use std::sync::Arc;

use felix_rs::model::IpVersion;
use felix_rs::verdict::packet::{ConnState, Packet, Payload, Way};

use crate::generate::{PACKET_PORTS, PACKET_V4, PACKET_V6};
use crate::random::Random;

const INTERFACES: [&str; 8] = ["cali1", "cali1", "cali12", "cali13", "cali2", "eth0", "cali", "tap7"];

/// Any packet at all of the family.
pub fn packet(version: IpVersion, random: &mut Random) -> Packet {
    Packet {
        way: way(random),
        source: address(version, random),
        destination: address(version, random),
        payload: payload(version, random),
        state: state(random),
        reverse_path: !random.once_in(8),
    }
}

fn way(random: &mut Random) -> Way {
    let interface = |random: &mut Random| -> Arc<str> { random.of(&INTERFACES).into() };
    match random.below(10) {
        0 => Way::ToHost { input: interface(random) },
        1 => Way::FromHost { output: interface(random) },
        2..=5 => Way::Forwarded { input: interface(random), output: "eth0".into() },
        6..=8 => Way::Forwarded { input: "eth0".into(), output: interface(random) },
        _ => Way::Forwarded { input: interface(random), output: interface(random) },
    }
}

pub fn address(version: IpVersion, random: &mut Random) -> IpAddr {
    let text = match version {
        IpVersion::V4 => random.of(&PACKET_V4),
        IpVersion::V6 => random.of(&PACKET_V6),
    };
    text.parse().expect("an address")
}

pub fn payload(version: IpVersion, random: &mut Random) -> Payload {
    let protocol = random.of(&[6, 6, 6, 17, 17, 132, 1, 58, 47, 4, 136]);
    let port = |random: &mut Random| match random.below(4) {
        0 => 1000 + random.below(1000) as u16,
        _ => random.of(&PACKET_PORTS),
    };
    let icmp = random.of(&[(8, 0), (8, 1), (3, 1), (3, 0), (128, 0), (135, 0), (9, 0)]);
    Payload::new(version, protocol, (port(random), port(random)), icmp)
}

fn state(random: &mut Random) -> ConnState {
    match random.below(12) {
        0 => ConnState::Established,
        1 => ConnState::Related,
        2 => ConnState::Invalid,
        3 => ConnState::Untracked,
        _ => ConnState::New,
    }
}
