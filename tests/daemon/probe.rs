//! Real packets: an echo, a connection, a datagram, and those who answer them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;

/// Ports of TCP on which every container answers.
pub const TCP_PORTS: [u16; 3] = [80, 8080, 9000];

/// Those of UDP.
pub const UDP_PORTS: [u16; 2] = [53, 5353];

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Icmp,
    Tcp(u16),
    Udp(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Passes,
    Blocked,
}

impl Answer {
    /// An answer that is expected may take long on a busy machine; a silence is soon believed.
    pub fn patience(self) -> Duration {
        match self {
            Self::Passes => Duration::from_secs(5),
            Self::Blocked => Duration::from_millis(250),
        }
    }
}

/// Sends from the namespace that the caller is in; always a new flow.
pub fn send(to: IpAddr, kind: Kind, patience: Duration) -> io::Result<Answer> {
    let answered = match kind {
        Kind::Icmp => echo(to, patience),
        Kind::Tcp(port) => match TcpStream::connect_timeout(&(to, port).into(), patience) {
            Ok(mut stream) => says_back(&mut stream, patience),
            Err(error) => silence(error),
        },
        Kind::Udp(port) => datagram(to, port, patience),
    };
    Ok(if answered? { Answer::Passes } else { Answer::Blocked })
}

/// A connection that stays open.
pub fn connection(from: &Netns, to: IpAddr, port: u16) -> io::Result<TcpStream> {
    from.within(|| TcpStream::connect_timeout(&(to, port).into(), Answer::Passes.patience()))
}

/// Whether the other end of a connection still answers.
pub fn says_back(stream: &mut TcpStream, patience: Duration) -> io::Result<bool> {
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"?")?;
    match stream.read(&mut [0]) {
        Ok(read) => Ok(read == 1),
        Err(error) => silence(error),
    }
}

/// Answers in a namespace, on all of the ports and in both families, until the process ends.
pub fn answer_in(netns: &Netns) -> io::Result<()> {
    for port in TCP_PORTS {
        let listener = netns.within(|| TcpListener::bind(("::", port)))?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
    }
    for port in UDP_PORTS {
        let socket = netns.within(|| UdpSocket::bind(("::", port)))?;
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                // An answer that can't be sent is none, as the sender will see.
                let _ = socket.send_to(&buffer[..length], from);
            }
        });
    }
    Ok(())
}

fn datagram(to: IpAddr, port: u16, patience: Duration) -> io::Result<bool> {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((to, port))?;
    socket.set_read_timeout(Some(patience))?;
    match socket.send(b"?").and_then(|_| socket.recv(&mut [0])) {
        Ok(_) => Ok(true),
        Err(error) => silence(error),
    }
}

fn echo(to: IpAddr, patience: Duration) -> io::Result<bool> {
    static SEQUENCE: AtomicU16 = AtomicU16::new(0);
    // The identifier makes a flow of its own.
    let id = SEQUENCE.fetch_add(1, Ordering::Relaxed).wrapping_add(process::id() as u16);
    let (domain, protocol, request, reply) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    let mut socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    let [high, low] = id.to_be_bytes();
    let mut packet = [request, 0, 0, 0, high, low, 0, 1];
    if to.is_ipv4() {
        // The kernel does it for IPv6.
        let [high, low] = checksum(&packet).to_be_bytes();
        (packet[2], packet[3]) = (high, low);
    }
    if let Err(error) = socket.send_to(&packet, &SocketAddr::from((to, 0)).into()) {
        return silence(error);
    }
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left))?;
        let mut buffer = [0; 128];
        let bytes = match socket.read(&mut buffer) {
            Ok(length) => &buffer[..length],
            Err(error) => return silence(error),
        };
        // A raw socket of IPv4 hears the header too.
        let icmp = if to.is_ipv4() { bytes.get(usize::from(bytes[0] & 15) * 4..) } else { Some(bytes) };
        if icmp.is_some_and(|icmp| icmp.len() >= 6 && icmp[0] == reply && icmp[4..6] == id.to_be_bytes()) {
            return Ok(true);
        }
    }
}

fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Nobody answered. Anything but silence is a fault of the world, or of the chains.
fn silence(error: io::Error) -> io::Result<bool> {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Ok(false),
        _ => Err(error),
    }
}
