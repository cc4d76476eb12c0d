//! What the kernel tells of changes that concern routes.

use std::net::Ipv4Addr;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use super::{RoutesError, wire};
use crate::system::links::wire as links;
use crate::system::netlink::{DATAGRAM, Message, OVERRUN, messages};

/// Of the groups, bit by bit: interfaces, neighbours, IPv4 addresses and routes, IPv6 addresses and routes.
const GROUPS: u32 = 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10;

/// Something has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface or its addresses: routes may have gone with them, of which IPv4 tells nothing.
    Link { index: u32 },
    /// A route of the main table.
    Route,
    /// An IPv4 neighbour; permanent, or not any more.
    Neighbour { index: u32, address: Ipv4Addr, permanent: bool },
    /// The kernel told of more than was taken up.
    Lost,
}

/// A socket that hears of them.
pub struct Changes {
    socket: TokioSocket,
    buffer: Vec<u8>,
}

impl Changes {
    /// To be called within a tokio runtime.
    ///
    /// # Errors
    /// There is no such socket.
    pub fn open() -> Result<Self, RoutesError> {
        let socket = TokioSocket::new(NETLINK_ROUTE).and_then(|mut socket| {
            socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
            Ok(socket)
        });
        let socket = socket.map_err(|source| RoutesError::Socket { doing: "opening", source })?;
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Waits for changes by anybody but `own`. Nothing is lost if the waiting is given up.
    ///
    /// # Errors
    /// The socket can't be used any more.
    pub async fn next(&mut self, own: Option<u32>) -> Result<Vec<Change>, RoutesError> {
        self.buffer.clear();
        match self.socket.recv_from(&mut self.buffer).await {
            // Only the kernel is believed.
            Ok(sender) if sender.port_number() == 0 => Ok(heard(&self.buffer, own)),
            Ok(_) => Ok(Vec::new()),
            Err(e) if e.raw_os_error() == Some(OVERRUN) => Ok(vec![Change::Lost]),
            Err(source) => Err(RoutesError::Socket { doing: "listening", source }),
        }
    }
}

fn heard(datagram: &[u8], own: Option<u32>) -> Vec<Change> {
    let mut all = Vec::new();
    for message in messages(datagram) {
        match message {
            // Where the kernel does it by itself it names nobody.
            Ok(message) if message.port != 0 && Some(message.port) == own => {}
            Ok(message) => all.extend(change(&message)),
            Err(_) => all.push(Change::Lost),
        }
    }
    all.dedup();
    all
}

fn change(message: &Message<'_>) -> Option<Change> {
    match message.kind {
        links::NEW_LINK | links::DEL_LINK => {
            links::plain_index(message.payload).map(|index| Change::Link { index })
        }
        links::NEW_ADDRESS | links::DEL_ADDRESS => {
            links::address(message.payload).map(|(index, _)| Change::Link { index })
        }
        wire::NEW_ROUTE | wire::DEL_ROUTE => wire::route(message.payload).map(|_| Change::Route),
        wire::NEW_NEIGHBOUR | wire::DEL_NEIGHBOUR => {
            let wire::Neighbour { interface, address, mac } = wire::neighbour(message.payload)?;
            let permanent = mac.is_some() && message.kind == wire::NEW_NEIGHBOUR;
            Some(Change::Neighbour { index: interface, address, permanent })
        }
        _ => None,
    }
}
