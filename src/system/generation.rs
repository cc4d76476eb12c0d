//! The number of `nf_tables`' last transaction: a cheap sign that somebody wrote.

use std::fmt;
use std::io;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::nftables::{GenAttribute, GenMessage, NfTablesMessage};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// The number of the last transaction in this network namespace; each adds 1.
///
/// # Errors
/// The kernel has no `nf_tables`, or does not say.
pub fn generation() -> Result<u32, GenerationError> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    number(&answer)
}

/// Why the number is not known.
#[derive(Debug)]
pub enum GenerationError {
    Io(io::Error),
    /// Not the answer to the question.
    Strange(String),
}

fn request() -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(
        header,
        NetlinkPayload::from(NetfilterMessage::new(
            NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0),
            NfTablesMessage::GetGen(GenMessage { attributes: Vec::new() }),
        )),
    );
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn number(answer: &[u8]) -> Result<u32, GenerationError> {
    let strange = |what: &dyn fmt::Debug| GenerationError::Strange(format!("{what:?}"));
    let message = NetlinkMessage::<NetfilterMessage>::deserialize(answer).map_err(|error| strange(&error))?;
    match message.payload {
        NetlinkPayload::InnerMessage(NetfilterMessage {
            inner: NetfilterMessageInner::NfTables(NfTablesMessage::NewGen(GenMessage { attributes })),
            ..
        }) => attributes
            .iter()
            .find_map(|attribute| match attribute {
                GenAttribute::Id(id) => Some(*id),
                _ => None,
            })
            .ok_or_else(|| strange(&attributes)),
        NetlinkPayload::Error(error) => Err(GenerationError::Io(error.to_io())),
        other => Err(strange(&other)),
    }
}

impl From<io::Error> for GenerationError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for GenerationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "nf_tables does not tell its generation: {error}"),
            Self::Strange(answer) => write!(f, "nf_tables' generation can't be read: {answer}"),
        }
    }
}

impl std::error::Error for GenerationError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_and_the_answer() {
        // As `nft` asks, but for the sequence number.
        assert_eq!(request(), [0x14, 0, 0, 0, 0x10, 0x0a, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let answer = [
            0x2c, 0, 0, 0, 0x0f, 0x0a, 0, 0, 0, 0, 0, 0, 0xf2, 0x34, 0, 0, 0, 0, 0, 1, 8, 0, 1, 0, 0, 0, 1,
            2, 8, 0, 2, 0, 0, 0, 0x34, 0xf2, 8, 0, 3, 0, 0x6e, 0x66, 0x74, 0,
        ];
        assert_eq!(number(&answer).ok(), Some(0x102));
        assert!(number(&answer[..20]).is_err());
        assert!(number(&[]).is_err());
    }
}
