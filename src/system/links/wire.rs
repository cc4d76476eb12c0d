//! The kernel's messages of interfaces and addresses, and the socket that they come by.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use super::LinksError;
use super::view::{Device, Fact};
use crate::system::netlink::{self, CutOff, DATAGRAM, Message, OVERRUN, attributes, messages, u32_at};

/// Of the groups, bit by bit: interfaces, IPv4 addresses, IPv6 addresses.
const GROUPS: u32 = 1 | 1 << 4 | 1 << 8;

pub(in crate::system) const NEW_LINK: u16 = 16;
pub(in crate::system) const DEL_LINK: u16 = 17;
pub(in crate::system) const NEW_ADDRESS: u16 = 20;
pub(in crate::system) const DEL_ADDRESS: u16 = 21;

const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

const IFF_UP: u32 = 1;
/// Up, and the lower layers are ready.
const IFF_RUNNING: u32 = 1 << 6;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
/// The peer's address on a point-to-point interface, where `IFA_LOCAL` is its own.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Links,
    Addresses,
}

/// What came in.
#[derive(Debug)]
pub(super) enum Heard {
    /// A change.
    Told(Fact),
    /// A line of the list that was asked for.
    Found(Fact),
    /// Something changed under the list while the kernel wrote it: lines may be missing.
    Interrupted,
    /// The end of the list.
    Listed,
    Refused(io::Error),
    /// Changes were lost.
    Lost,
}

/// A socket that hears all changes.
pub(super) struct Wire {
    socket: TokioSocket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Wire {
    pub fn open() -> Result<Self, LinksError> {
        let mut port = SocketAddr::new(0, 0);
        let socket = TokioSocket::new(NETLINK_ROUTE).and_then(|mut socket| {
            socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
            socket.socket_mut().get_address(&mut port)?;
            Ok(socket)
        });
        let socket = socket.map_err(|source| LinksError::Socket { doing: "opening", source })?;
        Ok(Self { socket, port: port.port_number(), sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Asks for a list. What is still to come of an earlier one is no longer heard.
    pub async fn ask(&mut self, list: List) -> Result<(), LinksError> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = match list {
            List::Links => {
                let mut message = LinkMessage::default();
                // Statistics are most of a line.
                message.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
                RouteNetlinkMessage::GetLink(message)
            }
            List::Addresses => RouteNetlinkMessage::GetAddress(AddressMessage::default()),
        };
        let request = netlink::request(message, NLM_F_DUMP, self.sequence);
        let sent = self.socket.send_to(&request, &SocketAddr::new(0, 0)).await;
        sent.map(drop).map_err(|source| LinksError::Socket { doing: "asking", source })
    }

    /// Waits for the next datagram. Nothing is lost if the waiting is given up.
    pub async fn receive(&mut self) -> Result<Vec<Heard>, LinksError> {
        self.buffer.clear();
        match self.socket.recv_from(&mut self.buffer).await {
            // Only the kernel is believed.
            Ok(sender) if sender.port_number() == 0 => Ok(heard(&self.buffer, self.port, self.sequence)),
            Ok(_) => Ok(Vec::new()),
            Err(e) if e.raw_os_error() == Some(OVERRUN) => Ok(vec![Heard::Lost]),
            Err(source) => Err(LinksError::Socket { doing: "listening", source }),
        }
    }
}

/// What a datagram says to the socket `port` that has last asked by `sequence`.
fn heard(datagram: &[u8], port: u32, sequence: u32) -> Vec<Heard> {
    let mut heard = Vec::new();
    for message in messages(datagram) {
        let message = match message {
            Ok(message) => message,
            Err(CutOff) => {
                heard.push(Heard::Lost);
                continue;
            }
        };
        if message.port != port {
            heard.extend(fact(&message).map(Heard::Told));
            continue;
        }
        if message.sequence != sequence {
            continue;
        }
        if message.flags & NLM_F_DUMP_INTR != 0 {
            heard.push(Heard::Interrupted);
        }
        match message.end() {
            Some(Ok(())) => heard.push(Heard::Listed),
            Some(Err(source)) => heard.push(Heard::Refused(source)),
            None => heard.extend(fact(&message).map(Heard::Found)),
        }
    }
    heard
}

fn fact(message: &Message<'_>) -> Option<Fact> {
    match message.kind {
        NEW_LINK => device(message.payload).map(Fact::Link),
        DEL_LINK => plain_index(message.payload).map(|index| Fact::LinkGone { index }),
        NEW_ADDRESS => address(message.payload).map(|(index, address)| Fact::Address { index, address }),
        DEL_ADDRESS => address(message.payload).map(|(index, address)| Fact::AddressGone { index, address }),
        _ => None,
    }
}

/// The interface that is spoken of. None where a bridge speaks of its port (`AF_BRIDGE`): its deletion there is not
/// the interface's.
pub(in crate::system) fn plain_index(payload: &[u8]) -> Option<u32> {
    (payload.first() == Some(&0)).then(|| u32_at(payload, 4)).flatten()
}

/// What kind of interface is told of, `ARPHRD_…`.
pub(in crate::system) fn kind(payload: &[u8]) -> Option<u16> {
    payload.get(2..4)?.try_into().ok().map(u16::from_ne_bytes)
}

/// An interface as it is told.
///
/// None for parts of an interface, such as the events of a wireless one: those have no MTU.
pub(in crate::system) fn device(payload: &[u8]) -> Option<Device> {
    let index = plain_index(payload)?;
    let flags = u32_at(payload, 8)?;
    let (mut name, mut mtu, mut mac) = (None, None, None);
    for (kind, value) in attributes(payload.get(LINK_HEADER..)?) {
        match kind {
            IFLA_IFNAME => name = value.split(|byte| *byte == 0).next(),
            IFLA_MTU => mtu = u32_at(value, 0),
            IFLA_ADDRESS => mac = value.try_into().ok(),
            _ => {}
        }
    }
    let name = String::from_utf8_lossy(name?).into();
    Some(Device { index, name, up: flags & IFF_UP != 0, running: flags & IFF_RUNNING != 0, mtu: mtu?, mac })
}

/// An address, and the number of the interface that has it.
pub(in crate::system) fn address(payload: &[u8]) -> Option<(u32, IpNet)> {
    let prefix = *payload.get(1)?;
    let index = u32_at(payload, 4)?;
    let (mut own, mut peer): (Option<IpAddr>, Option<IpAddr>) = (None, None);
    for (kind, value) in attributes(payload.get(ADDRESS_HEADER..)?) {
        match kind {
            IFA_LOCAL => own = netlink::address(value),
            IFA_ADDRESS => peer = netlink::address(value),
            _ => {}
        }
    }
    match (own, peer) {
        // The network is the peer's, to which the kernel has a route.
        (Some(own), Some(peer)) if own != peer => Some((index, own.into())),
        (own, peer) => Some((index, IpNet::new(own.or(peer)?, prefix).ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NLM_F_MULTIPART, NLMSG_DONE, NLMSG_ERROR};
    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::address::AddressAttribute;
    use netlink_packet_route::link::LinkFlags;

    use super::*;

    const PORT: u32 = 77;
    const SEQUENCE: u32 = 3;

    /// As the kernel would say it.
    fn said(message: RouteNetlinkMessage, flags: u16, sequence: u32, port: u32) -> Vec<u8> {
        let mut bytes = netlink::request(message, flags, sequence);
        bytes[12..16].copy_from_slice(&port.to_ne_bytes());
        bytes
    }

    fn end(kind: u16, flags: u16, code: i32, sequence: u32) -> Vec<u8> {
        let mut bytes = 20_u32.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(PORT.to_ne_bytes());
        bytes.extend(code.to_ne_bytes());
        bytes
    }

    fn veth(family: AddressFamily) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.interface_family = family;
        message.header.index = 5;
        message.header.flags = LinkFlags::Up | LinkFlags::Running;
        message.attributes = vec![
            LinkAttribute::IfName("cali1".into()),
            LinkAttribute::Mtu(1440),
            LinkAttribute::Address(vec![0xee, 0xee, 0xee, 0xee, 0xee, 0xee]),
            LinkAttribute::TxQueueLen(1000),
        ];
        message
    }

    fn on(prefix: u8, attributes: Vec<AddressAttribute>) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = 5;
        message.header.prefix_len = prefix;
        message.attributes = attributes;
        message
    }

    fn shown(heard: &[Heard]) -> Vec<String> {
        heard.iter().map(|heard| format!("{heard:?}")).collect()
    }

    #[test]
    fn messages_become_facts() {
        use RouteNetlinkMessage::{DelAddress, DelLink, NewAddress, NewLink};
        let cali1 = Device {
            index: 5,
            name: "cali1".into(),
            up: true,
            running: true,
            mtu: 1440,
            mac: Some([0xee; 6]),
        };
        let changed = |change: fn(&mut LinkMessage)| {
            let mut message = veth(AddressFamily::Unspec);
            change(&mut message);
            NewLink(message)
        };
        let own = |text: &str| AddressAttribute::Local(text.parse().unwrap());
        let peer = |text: &str| AddressAttribute::Address(text.parse().unwrap());
        let at = |text: &str| Fact::Address { index: 5, address: text.parse().unwrap() };
        let cases = [
            (NewLink(veth(AddressFamily::Unspec)), Some(Fact::Link(cali1.clone()))),
            (DelLink(veth(AddressFamily::Unspec)), Some(Fact::LinkGone { index: 5 })),
            // A port leaves its bridge, and stays.
            (DelLink(veth(AddressFamily::Bridge)), None),
            (NewLink(veth(AddressFamily::Bridge)), None),
            (
                changed(|message| message.header.flags = LinkFlags::Up),
                Some(Fact::Link(Device { running: false, ..cali1.clone() })),
            ),
            (
                changed(|message| message.header.flags = LinkFlags::empty()),
                Some(Fact::Link(Device { up: false, running: false, ..cali1.clone() })),
            ),
            // A tunnel's is four bytes of address.
            (
                changed(|message| message.attributes[2] = LinkAttribute::Address(vec![10, 0, 0, 1])),
                Some(Fact::Link(Device { mac: None, ..cali1 })),
            ),
            (changed(|message| message.attributes.truncate(1)), None),
            (NewAddress(on(24, vec![peer("10.0.0.1"), own("10.0.0.1")])), Some(at("10.0.0.1/24"))),
            (NewAddress(on(32, vec![peer("10.0.0.9"), own("10.0.0.1")])), Some(at("10.0.0.1/32"))),
            // The network is the peer's.
            (NewAddress(on(24, vec![peer("10.9.0.9"), own("10.0.0.1")])), Some(at("10.0.0.1/32"))),
            (NewAddress(on(64, vec![peer("fe80::1")])), Some(at("fe80::1/64"))),
            (
                DelAddress(on(24, vec![own("10.0.0.1")])),
                Some(Fact::AddressGone { index: 5, address: "10.0.0.1/24".parse().unwrap() }),
            ),
            (NewAddress(on(33, vec![own("10.0.0.1")])), None),
            (NewAddress(on(24, vec![])), None),
        ];
        for (message, want) in cases {
            let told = heard(&said(message.clone(), 0, 0, 0), PORT, SEQUENCE);
            let want = want.map(Heard::Told).into_iter().collect::<Vec<_>>();
            assert_eq!(shown(&told), shown(&want), "{message:?}");
        }
    }

    #[test]
    fn a_list_is_told_from_changes() {
        let gone = |sequence, port| {
            let message = RouteNetlinkMessage::DelLink(veth(AddressFamily::Unspec));
            said(message, NLM_F_MULTIPART, sequence, port)
        };
        let fact = Fact::LinkGone { index: 5 };
        let refused = || Heard::Refused(io::Error::from_raw_os_error(1));
        let cases = [
            (gone(SEQUENCE, PORT), vec![Heard::Found(fact.clone())]),
            // The sequence number of another's request that changed something.
            (gone(SEQUENCE, PORT + 1), vec![Heard::Told(fact.clone())]),
            // The rest of a list that nobody waits for any more.
            (gone(SEQUENCE - 1, PORT), vec![]),
            (end(NLMSG_DONE, 0, 0, SEQUENCE), vec![Heard::Listed]),
            (end(NLMSG_DONE, 0, 0, SEQUENCE - 1), vec![]),
            (end(NLMSG_DONE, NLM_F_DUMP_INTR, 0, SEQUENCE), vec![Heard::Interrupted, Heard::Listed]),
            (end(NLMSG_DONE, 0, -1, SEQUENCE), vec![refused()]),
            (end(NLMSG_ERROR, 0, -1, SEQUENCE), vec![refused()]),
            (
                [gone(SEQUENCE, PORT), end(NLMSG_DONE, 0, 0, SEQUENCE)[..19].to_vec()].concat(),
                vec![Heard::Found(fact), Heard::Lost],
            ),
        ];
        for (datagram, want) in cases {
            assert_eq!(shown(&heard(&datagram, PORT, SEQUENCE)), shown(&want), "{datagram:?}");
        }
    }
}
