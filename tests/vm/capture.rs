//! What passes an interface, a line a packet, as `tcpdump` prints it.

use std::ffi::CString;
use std::io::{ErrorKind, Read as _};
use std::mem::{size_of, zeroed};
use std::net::Ipv4Addr;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::netns::Netns;

/// Every protocol: only who hears all hears what is sent, too.
const ETH_P_ALL: u16 = libc::ETH_P_ALL as u16;

const IPIP: u8 = 4;

pub struct Capture {
    socket: Socket,
}

impl Capture {
    /// Begins.
    pub fn on(netns: &Netns, interface: &str) -> Result<Self, String> {
        let socket = netns.within(|| {
            // Packets begin with their own header, whatever the link's is.
            let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
            socket.bind(&link(interface)?)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        Ok(Self { socket: socket.map_err(|e: std::io::Error| format!("a capture on {interface}: {e}"))? })
    }

    /// The packets of IPv4 that have passed since this was last asked.
    pub fn lines(&mut self) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        loop {
            let mut packet = [0; 2048];
            match self.socket.read(&mut packet) {
                Ok(length) => lines.extend(line(&packet[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(lines),
                // Said once, of an interface that is not up: nothing passes it.
                Err(error) if error.kind() == ErrorKind::NetworkDown => {}
                Err(error) => return Err(format!("a capture: {error}")),
            }
        }
    }
}

/// The address of an interface in the namespace of the caller.
fn link(interface: &str) -> std::io::Result<SockAddr> {
    let name = CString::new(interface)?;
    // SAFETY: the name is a string of C that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(std::io::Error::last_os_error());
    }
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: all zeroes is such an address, and the storage is large enough for any.
    let address = unsafe {
        let mut address: libc::sockaddr_ll = zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ETH_P_ALL.to_be();
        address.sll_ifindex = index as i32;
        *storage.view_as() = address;
        SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as u32)
    };
    Ok(address)
}

/// A packet of IPv4, and what it carries.
fn line(packet: &[u8]) -> Option<String> {
    let version = packet.first()? >> 4;
    let header = usize::from(packet.first()? & 15) * 4;
    if version != 4 {
        return None;
    }
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let inner = packet.get(header..)?;
    let carried = match *packet.get(9)? {
        IPIP => line(inner)?,
        1 => match inner.first()? {
            8 => "ICMP echo request".to_owned(),
            0 => "ICMP echo reply".to_owned(),
            kind => format!("ICMP type {kind}"),
        },
        protocol => format!("protocol {protocol}"),
    };
    Some(format!("IP {} > {}: {carried}", address(12)?, address(16)?))
}
