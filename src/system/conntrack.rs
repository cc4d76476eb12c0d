//! The kernel's table of connections, read and thinned out by netlink.
//!
//! A connection that was let through once goes on whatever the chains say now. So the entries of an address that left,
//! and those that the present policy denies, must go.
//!
//! Everything here waits for the kernel, some 4 µs an entry of the table: call it where blocking is allowed. Memory
//! does not grow with the table: entries are judged as they come in.

mod entry;
mod error;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_DUMP};
use netlink_packet_netfilter::conntrack::{ConntrackAttribute, ConntrackMessage};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::netlink::{Channel, Refusal, messages};
use crate::model::IpVersion;

pub use entry::{Detail, Entry, Tuple};
pub use error::ConntrackError;

/// Shows all entries of a family to `visit`, one after the other, in no order.
///
/// # Errors
///
/// See [`ConntrackError`]. Entries before the failure have been shown.
pub fn dump(family: IpVersion, mut visit: impl FnMut(&Entry<'_>)) -> Result<(), ConntrackError> {
    // A new one each time: what a failed dump left behind would be taken for an answer.
    let mut channel = open()?;
    send(&mut channel, family, ConntrackMessage::Get(Vec::new()), NLM_F_DUMP)?;
    let mut unreadable = 0;
    loop {
        receive(&mut channel)?;
        for message in messages(&channel.buffer) {
            let Ok(message) = message else {
                unreadable += 1;
                continue;
            };
            match message.end() {
                Some(Ok(())) if unreadable == 0 => return Ok(()),
                Some(Ok(())) => return Err(ConntrackError::Unreadable { entries: unreadable }),
                Some(Err(source)) => {
                    return Err(ConntrackError::unless_absent("listing connections", source));
                }
                None => match Entry::parse(message.payload) {
                    Some(entry) => visit(&entry),
                    None => unreadable += 1,
                },
            }
        }
    }
}

/// Removes the entries of a family that are `unwanted`, and says how many. One that is gone already is as good as
/// removed, and not counted.
///
/// # Errors
///
/// See [`ConntrackError`]. One entry that can't be removed doesn't save the others; the first reason is told.
pub fn remove_where(
    family: IpVersion,
    mut unwanted: impl FnMut(&Entry<'_>) -> bool,
) -> Result<usize, ConntrackError> {
    // Beside the dump's: its lines and these answers would come mixed.
    let mut remover = open()?;
    let (mut removed, mut failed) = (0, None);
    dump(family, |entry| {
        if unwanted(entry) {
            match remove(&mut remover, family, entry) {
                Ok(true) => removed += 1,
                Ok(false) => {}
                Err(error) => failed = failed.take().or(Some(error)),
            }
        }
    })?;
    failed.map_or(Ok(removed), Err)
}

/// Removes the entries in which one of the addresses stands, as source or destination of either direction, and says
/// how many. Each family that has addresses is read once.
///
/// # Errors
///
/// See [`ConntrackError`].
pub fn remove_of_addresses(addresses: &BTreeSet<IpAddr>) -> Result<usize, ConntrackError> {
    let concerned =
        |tuple: &Tuple| addresses.contains(&tuple.source) || addresses.contains(&tuple.destination);
    let mut removed = 0;
    for (family, has_some) in [
        (IpVersion::V4, addresses.iter().any(IpAddr::is_ipv4)),
        (IpVersion::V6, addresses.iter().any(IpAddr::is_ipv6)),
    ] {
        if has_some {
            removed += remove_where(family, |entry| concerned(&entry.original) || concerned(&entry.reply))?;
        }
    }
    Ok(removed)
}

fn open() -> Result<Channel, ConntrackError> {
    Channel::open(NETLINK_NETFILTER)
        .map_err(|source| ConntrackError::unless_absent("opening a netlink socket", source))
}

fn send(
    channel: &mut Channel,
    family: IpVersion,
    message: ConntrackMessage,
    flags: u16,
) -> Result<(), ConntrackError> {
    let family = match family {
        IpVersion::V4 => NetfilterProtoFamily::IPv4,
        IpVersion::V6 => NetfilterProtoFamily::IPv6,
    };
    let message = NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message);
    channel.send(message, flags).map_err(|source| ConntrackError::Socket { doing: "asking", source })
}

fn receive(channel: &mut Channel) -> Result<(), ConntrackError> {
    channel.receive().map_err(|source| match source.kind() {
        ErrorKind::WouldBlock => ConntrackError::Silent,
        _ => ConntrackError::Socket { doing: "listening", source },
    })
}

/// Whether the entry was there.
fn remove(channel: &mut Channel, family: IpVersion, entry: &Entry<'_>) -> Result<bool, ConntrackError> {
    let attributes = entry.identity().map(|(kind, value)| DefaultNla::new(kind, value.to_vec()));
    let attributes = attributes.map(ConntrackAttribute::Other).collect();
    send(channel, family, ConntrackMessage::Delete(attributes), NLM_F_ACK)?;
    receive(channel)?;
    match channel.confirmation() {
        Some(Ok(())) => Ok(true),
        Some(Err(Refusal { source, said: _ })) if source.kind() == ErrorKind::NotFound => Ok(false),
        Some(Err(Refusal { source, said: _ })) => {
            Err(ConntrackError::Refused { doing: "removing a connection", source })
        }
        None => Err(ConntrackError::Silent),
    }
}
