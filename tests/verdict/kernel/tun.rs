//! The ends at which packets are put in and taken out: TUN devices and raw sockets. None of them ever blocks.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use socket2::{Domain, Protocol, Socket, Type};

use super::script::Listener;

/// An interface, and the other side of it.
pub struct Tun(File);

impl Tun {
    /// Makes the interface. It stays when we end: the namespace takes it along, beside us and all at once, where closing
    /// each would make us wait.
    pub fn new(name: &str) -> io::Result<Self> {
        const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
        const TUNSETPERSIST: libc::Ioctl = 0x4004_54cb;
        /// `struct ifreq` as TUNSETIFF reads it.
        #[repr(C)]
        struct Request {
            name: [u8; libc::IFNAMSIZ],
            flags: libc::c_short,
            rest: [u8; 22],
        }
        let mut request = Request {
            name: [0; libc::IFNAMSIZ],
            flags: (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short,
            rest: [0; 22],
        };
        if name.len() >= libc::IFNAMSIZ {
            return Err(io::Error::other("the name is too long"));
        }
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
        // SAFETY: both take the descriptor of an open file; the first a pointer to a whole `struct ifreq` that outlives
        // the call, the second a number.
        let done = unsafe {
            libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) == 0
                && libc::ioctl(file.as_raw_fd(), TUNSETPERSIST, 1) == 0
        };
        if done { Ok(Self(file)) } else { Err(io::Error::last_os_error()) }
    }

    /// The packet arrives at the interface. The kernel has done with it when this returns.
    pub fn arrive(&self, packet: &[u8]) -> io::Result<()> {
        (&self.0).write_all(packet)
    }

    /// The next packet that left by the interface.
    pub fn left(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; 2048];
        or_none((&self.0).read(&mut buffer)).map(|length| length.map(|length| buffer[..length].to_vec()))
    }
}

/// A raw socket: it is given each packet of its protocol that the host takes, behind the INPUT hook.
pub struct Ear {
    socket: Socket,
    pub listener: Listener,
}

impl Ear {
    pub fn new(listener: Listener) -> io::Result<Self> {
        let socket = Socket::new(
            domain(listener.is_v6),
            Type::RAW,
            Some(Protocol::from(i32::from(listener.protocol))),
        )?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, listener })
    }

    /// The next packet, from behind its IP header on.
    pub fn heard(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; 2048];
        let Some(length) = or_none((&self.socket).read(&mut buffer))? else { return Ok(None) };
        // Only IPv4's raw sockets give the header too.
        let header = if self.listener.is_v6 { 0 } else { usize::from(buffer[0] & 15) * 4 };
        Ok(Some(buffer[..length].get(header..).unwrap_or_default().to_vec()))
    }
}

/// Sends whole packets from the host: a raw socket of protocol 255 takes the IP header too, in both families.
pub struct Mouth {
    v4: Socket,
    v6: Socket,
}

impl Mouth {
    pub fn new() -> io::Result<Self> {
        let open = |is_v6| Socket::new(domain(is_v6), Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)));
        Ok(Self { v4: open(false)?, v6: open(true)? })
    }

    pub fn send(&self, to: IpAddr, packet: &[u8]) -> io::Result<()> {
        let socket = if to.is_ipv6() { &self.v6 } else { &self.v4 };
        match socket.send_to(packet, &SocketAddr::new(to, 0).into()) {
            // A packet that a chain drops is told to its sender.
            Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(()),
            sent => sent.map(drop),
        }
    }
}

/// Empties the connection table of the namespace.
pub struct Forgetter(Socket);

impl Forgetter {
    pub fn new() -> io::Result<Self> {
        let protocol = Protocol::from(libc::NETLINK_NETFILTER);
        Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol)).map(Self)
    }

    pub fn forget(&self) -> io::Result<()> {
        /// `NFNL_SUBSYS_CTNETLINK`, `IPCTNL_MSG_CT_DELETE`: without a tuple, all.
        const DELETE: u16 = 1 << 8 | 2;
        let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK).expect("small numbers");
        let mut message = 20_u32.to_ne_bytes().to_vec();
        message.extend(DELETE.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        // Sequence number and sender; any family, version 0.
        message.extend([0; 12]);
        self.0.send(&message)?;
        let mut answer = [0; 1024];
        let length = (&self.0).read(&mut answer)?;
        let code = answer[..length].get(16..20).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes);
        match code {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(-code)),
            None => Err(io::Error::other("a short answer")),
        }
    }
}

fn domain(is_v6: bool) -> Domain {
    if is_v6 { Domain::IPV6 } else { Domain::IPV4 }
}

fn or_none(read: io::Result<usize>) -> io::Result<Option<usize>> {
    match read {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
        read => read.map(Some),
    }
}
