//! A socket by which the kernel is asked.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NetlinkSerializable};
use netlink_sys::{Socket, SocketAddr};

use super::{DATAGRAM, Message, attributes, messages, request};

/// The answer says more than a number (`NLM_F_ACK_TLVS`), behind the number and the header of the request.
const SAYS_MORE: u16 = 0x200;
const SAID_AT: usize = 20;
/// `NLMSGERR_ATTR_MSG`
const SAID: u16 = 1;

/// A socket, and the datagram that came in last.
///
/// The kernel answers before a request returns: where there is nothing to read, nothing will come. So nobody waits here
/// for longer than the kernel works.
pub(in crate::system) struct Channel {
    socket: Socket,
    port: u32,
    sequence: u32,
    pub(in crate::system) buffer: Vec<u8>,
}

/// Why the kernel did not do what it was asked to.
#[derive(Debug)]
pub(in crate::system) struct Refusal {
    pub source: io::Error,
    /// Its own words, if it has any.
    pub said: Option<String>,
}

impl Channel {
    pub(in crate::system) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_non_blocking(true)?;
        // Old kernels have no words.
        let _ = socket.set_ext_ack(true).and_then(|()| socket.set_cap_ack(true));
        Ok(Self { socket, port, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Whom the kernel says changes are by that were asked for here.
    pub(in crate::system) fn port(&self) -> u32 {
        self.port
    }

    pub(in crate::system) fn send<T: NetlinkSerializable>(
        &mut self,
        message: T,
        flags: u16,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(message, flags, self.sequence);
        self.socket.send_to(&request, &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: there is no answer.
    pub(in crate::system) fn receive(&mut self) -> io::Result<()> {
        self.buffer.clear();
        self.socket.recv_from(&mut self.buffer, 0).map(drop)
    }

    /// Whether the last datagram confirms the last request, or why not.
    pub(in crate::system) fn confirmation(&self) -> Option<Result<(), Refusal>> {
        let mut messages = messages(&self.buffer).flatten();
        let answer = messages.find(|message| message.sequence == self.sequence)?;
        Some(answer.end()?.map_err(|source| Refusal { source, said: words(&answer) }))
    }

    /// Asks for a change, and hears whether it was made.
    pub(in crate::system) fn change<T: NetlinkSerializable>(
        &mut self,
        message: T,
        flags: u16,
    ) -> Result<(), Refusal> {
        let failed = |source| Refusal { source, said: None };
        self.send(message, flags | NLM_F_ACK).map_err(failed)?;
        loop {
            self.receive().map_err(failed)?;
            // An earlier request may have been given up before it was answered.
            if let Some(confirmation) = self.confirmation() {
                return confirmation;
            }
        }
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// Also where there is no such thing.
    pub(in crate::system) fn one<T: NetlinkSerializable, R>(
        &mut self,
        message: T,
        read: impl Fn(&Message<'_>) -> R,
    ) -> io::Result<R> {
        self.send(message, 0)?;
        loop {
            self.receive()?;
            let mut messages = messages(&self.buffer).flatten();
            // An earlier request may have been given up before it was answered.
            let Some(answer) = messages.find(|message| message.sequence == self.sequence) else { continue };
            if let Some(Err(refusal)) = answer.end() {
                return Err(refusal);
            }
            return Ok(read(&answer));
        }
    }

    /// Shows each line of a list to `visit`; false where something changed under it, so that lines may be missing.
    pub(in crate::system) fn list<T: NetlinkSerializable>(
        &mut self,
        message: T,
        mut visit: impl FnMut(&Message<'_>),
    ) -> io::Result<bool> {
        self.send(message, NLM_F_DUMP)?;
        let mut whole = true;
        loop {
            self.receive()?;
            for message in messages(&self.buffer) {
                let Ok(message) = message else {
                    whole = false;
                    continue;
                };
                if message.sequence != self.sequence {
                    continue;
                }
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.end() {
                    Some(end) => return end.map(|()| whole),
                    None => visit(&message),
                }
            }
        }
    }
}

fn words(answer: &Message<'_>) -> Option<String> {
    let said = answer.payload.get(SAID_AT..).filter(|_| answer.flags & SAYS_MORE != 0)?;
    let (_, text) = attributes(said).find(|(kind, _)| *kind == SAID)?;
    let text = text.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}
