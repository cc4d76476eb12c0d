//! Netlink's framing: messages in a datagram, attributes in a message.
//!
//! Requests are made by the `netlink-packet-*` crates. Answers are read here: those crates decode every attribute, and
//! where they don't know one's form the whole message is lost. An interface of a newer kernel must not be invisible.

mod channel;

pub(super) use channel::{Channel, Refusal};

use netlink_packet_core::{
    NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use std::io;
use std::net::IpAddr;

/// As large as any datagram of the kernel: it fills 32 KiB at most.
pub(super) const DATAGRAM: usize = 64 << 10;

/// `ENOBUFS`: the socket's buffer was full, and messages are lost.
pub(super) const OVERRUN: i32 = 105;

const HEADER: usize = 16;
/// Flags in the kind of an attribute: nested, big-endian.
const KIND: u16 = 0x3fff;

/// One message of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// Whom it is for; 0 for what all hear.
    pub port: u32,
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// What ends an answer: `Ok` for its end or a confirmation, the kernel's reason otherwise; None for all else.
    pub fn end(&self) -> Option<io::Result<()>> {
        if self.kind != NLMSG_DONE && self.kind != NLMSG_ERROR {
            return None;
        }
        Some(match self.payload.first_chunk().copied().map(i32::from_ne_bytes) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
            None => Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

/// A datagram that ends within a message: the rest of it is lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CutOff;

/// The messages of one datagram.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, CutOff>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let taken = message(rest);
        rest = taken.as_ref().map_or(&[], |(_, behind)| behind);
        Some(taken.map(|(message, _)| message).ok_or(CutOff))
    })
}

fn message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let message = Message {
        kind: u16_at(bytes, 4)?,
        flags: u16_at(bytes, 6)?,
        sequence: u32_at(bytes, 8)?,
        port: u32_at(bytes, 12)?,
        payload: bytes.get(HEADER..length)?,
    };
    Some((message, behind(bytes, length)))
}

/// Kinds and values of the attributes, up to the first that is cut off.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let attribute = (u16_at(rest, 2)? & KIND, rest.get(4..length)?);
        rest = behind(rest, length);
        Some(attribute)
    })
}

/// All begins at a multiple of four.
fn behind(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(4)..).unwrap_or_default()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// An address of either family, by its length.
pub(super) fn address(value: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4().or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

/// The bytes of a request.
pub(super) fn request<T: NetlinkSerializable>(message: T, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(2_u16.to_ne_bytes());
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend(9_u32.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn read(kind: u16, payload: &[u8]) -> Message<'_> {
        Message { kind, flags: 2, sequence: 7, port: 9, payload }
    }

    #[test]
    fn messages_follow_each_other() {
        let [first, second] = [bytes(16, &[1, 2, 3]), bytes(20, &[])];
        let both = [first.as_slice(), &second].concat();
        let cases: [(&[u8], Vec<_>); 6] = [
            (&[], vec![]),
            (&both, vec![Ok(read(16, &[1, 2, 3])), Ok(read(20, &[]))]),
            // The padding of the last one may be left out.
            (&both[..19], vec![Ok(read(16, &[1, 2, 3]))]),
            (&both[..18], vec![Err(CutOff)]),
            (&both[..27], vec![Ok(read(16, &[1, 2, 3])), Err(CutOff)]),
            // A length that is less than a header would never come to an end.
            (&[0; 32], vec![Err(CutOff)]),
        ];
        for (datagram, want) in cases {
            assert_eq!(messages(datagram).collect::<Vec<_>>(), want, "{datagram:?}");
        }
    }

    #[test]
    fn attributes_follow_each_other() {
        let flagged = 0x8003_u16.to_ne_bytes();
        let two = [&[5, 0, 1, 0, 42, 0, 0, 0, 6, 0][..], &flagged, &[1, 2]].concat();
        let (first, second) = ((1, &[42][..]), (3, &[1, 2][..]));
        let cases: [(&[u8], Vec<_>); 4] =
            [(&[], vec![]), (&two, vec![first, second]), (&two[..13], vec![first]), (&[0; 8], vec![])];
        if cfg!(target_endian = "little") {
            for (bytes, want) in cases {
                assert_eq!(attributes(bytes).collect::<Vec<_>>(), want, "{bytes:?}");
            }
        }
    }

    #[test]
    fn an_end_says_why() {
        let end = |kind, code: i32| {
            read(kind, &code.to_ne_bytes()).end().map(|end| end.map_err(|e| e.raw_os_error()))
        };
        assert_eq!(end(NLMSG_DONE, 0), Some(Ok(())));
        assert_eq!(end(NLMSG_ERROR, -2), Some(Err(Some(2))));
        assert_eq!(end(NLMSG_DONE, -22), Some(Err(Some(22))));
        assert_eq!(end(16, 0), None);
        assert!(read(NLMSG_DONE, &[0]).end().is_some_and(|end| end.is_err()));
    }
}
