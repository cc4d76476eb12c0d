//! The lines of `ipset save` and `ipset restore`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::error::{Input, Problem, SavedError};
use super::literals::{address, net, protocol};
use super::tables::{MAX_LINE, MAX_TEXT};
use crate::model::IpVersion;
use crate::verdict::chains::program::{Members, Set};
use crate::verdict::ranges::{AddressRanges, number};

/// The sets of one family.
pub(super) struct SetTexts {
    /// Sorted by name.
    pub(super) sets: Vec<Set>,
    /// The names of those of the other family.
    pub(super) elsewhere: BTreeSet<String>,
}

/// A set so far.
enum Draft {
    Addresses(Vec<(u128, u128)>),
    AddressPorts(Vec<(IpAddr, u8, u16)>),
    Unknown(String),
    Elsewhere,
}

impl SetTexts {
    pub(super) fn read(version: IpVersion, text: &str) -> Result<Self, SavedError> {
        let error = |number, line, problem| SavedError::new(Input::Sets, number, line, problem);
        if text.len() > MAX_TEXT {
            return Err(error(1, "", Problem::LongText));
        }
        let mut drafts = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            read_line(version, &mut drafts, line).map_err(|problem| error(number, line, problem))?;
        }
        let mut read = Self { sets: Vec::new(), elsewhere: BTreeSet::new() };
        for (name, draft) in drafts {
            match draft.members() {
                Some(members) => read.sets.push(Set { name: name.into(), members }),
                None => {
                    read.elsewhere.insert(name.to_owned());
                }
            }
        }
        Ok(read)
    }
}

/// The family of a set by what stands behind its name in a `create` line; None where it holds no addresses.
pub(super) fn family(set_type: &str, mut options: std::slice::Iter<&str>) -> Option<IpVersion> {
    if !set_type.starts_with("hash:ip") && !set_type.starts_with("hash:net") {
        return set_type.starts_with("bitmap:ip").then_some(IpVersion::V4);
    }
    let given = options.by_ref().any(|option| *option == "family").then(|| options.next()).flatten();
    match given {
        Some(&"inet6") => Some(IpVersion::V6),
        _ => Some(IpVersion::V4),
    }
}

fn read_line<'t>(
    version: IpVersion,
    drafts: &mut BTreeMap<&'t str, Draft>,
    line: &'t str,
) -> Result<(), Problem> {
    if line.len() > MAX_LINE {
        return Err(Problem::LongLine);
    }
    if line.is_empty() || line.starts_with('#') || line == "COMMIT" {
        return Ok(());
    }
    let words = words(line)?;
    match words.as_slice() {
        ["create", name, set_type, options @ ..] => {
            let draft = Draft::create(version, name, set_type, options);
            match drafts.insert(name, draft) {
                None => Ok(()),
                Some(_) => Err(Problem::RepeatedSet),
            }
        }
        ["add", name, member, options @ ..] => {
            let draft = drafts.get_mut(name).ok_or(Problem::UnknownSet)?;
            if let Err(Unmodelled) = draft.add(version, member, options) {
                *draft = Draft::Unknown(format!("the set {name} has the member {member}"));
            }
            Ok(())
        }
        ["create" | "add", ..] => Err(Problem::ShortSetLine),
        _ => Err(Problem::SetCommand),
    }
}

/// All words but a comment, whose own words `ipset` doesn't escape.
fn words(line: &str) -> Result<Vec<&str>, Problem> {
    let (before, behind) = match line.split_once(" comment \"") {
        Some((before, comment)) => (before, comment.split_once('"').ok_or(Problem::UnclosedQuote)?.1),
        None => (line, ""),
    };
    Ok(before.split_whitespace().chain(behind.split_whitespace()).collect())
}

/// What would have to be modelled to say what the set has.
struct Unmodelled;

impl Draft {
    fn create(version: IpVersion, name: &str, set_type: &str, options: &[&str]) -> Self {
        if family(set_type, options.iter()).is_some_and(|family| family != version) {
            return Self::Elsewhere;
        }
        let with_value = ["family", "hashsize", "maxelem", "bucketsize", "initval", "timeout"];
        let alone = ["counters", "comment", "skbinfo", "forceadd", "-exist", "-!"];
        let draft = match set_type {
            "hash:ip" | "hash:net" => Self::Addresses(Vec::new()),
            "hash:ip,port" => Self::AddressPorts(Vec::new()),
            _ => return Self::Unknown(format!("the set {name} is of the type {set_type}")),
        };
        match unknown_option(options, &with_value, &alone) {
            None => draft,
            Some(option) => Self::Unknown(format!("the set {name} has the option {option}")),
        }
    }

    fn add(&mut self, version: IpVersion, member: &str, options: &[&str]) -> Result<(), Unmodelled> {
        let with_value = ["timeout", "packets", "bytes", "skbmark", "skbprio", "skbqueue"];
        let known = unknown_option(options, &with_value, &["-exist", "-!"]).is_none();
        match self {
            Self::Addresses(ranges) => {
                ranges.push(addresses(version, member).filter(|_| known).ok_or(Unmodelled)?)
            }
            Self::AddressPorts(members) => {
                members.push(address_port(version, member).filter(|_| known).ok_or(Unmodelled)?);
            }
            Self::Unknown(_) | Self::Elsewhere => {}
        }
        Ok(())
    }

    /// None where they are of the other family.
    fn members(self) -> Option<Members> {
        match self {
            Self::Addresses(ranges) => Some(Members::Addresses(AddressRanges::from_ranges(ranges))),
            Self::AddressPorts(mut members) => {
                members.sort_unstable();
                members.dedup();
                Some(Members::AddressPorts(members))
            }
            Self::Unknown(why) => Some(Members::Unknown(why.into())),
            Self::Elsewhere => None,
        }
    }
}

/// The first option that is in neither list.
fn unknown_option<'o>(options: &[&'o str], with_value: &[&str], alone: &[&str]) -> Option<&'o str> {
    let mut options = options.iter();
    while let Some(option) = options.next() {
        if with_value.contains(option) {
            options.next();
        } else if !alone.contains(option) {
            return Some(option);
        }
    }
    None
}

/// `address`, `address/length`, `first-last`
fn addresses(version: IpVersion, member: &str) -> Option<(u128, u128)> {
    if let Some((first, last)) = member.split_once('-') {
        let (first, last) = (number(address(version, first)?), number(address(version, last)?));
        return (first <= last).then_some((first, last));
    }
    let net = net(version, member).filter(|net| net.prefix_len() > 0)?;
    Some((number(net.network()), number(net.broadcast())))
}

/// `address,protocol:port`. TCP, where no protocol is given. A member of a protocol without ports is not modelled: for ICMP it is a type.
fn address_port(version: IpVersion, member: &str) -> Option<(IpAddr, u8, u16)> {
    let (text, port) = member.split_once(',')?;
    let (name, port) = port.split_once(':').unwrap_or(("tcp", port));
    // Those whose ports `ip_set_get_ip_port` finds.
    let protocol = protocol(name).filter(|protocol| matches!(protocol, 6 | 17 | 132 | 136))?;
    Some((address(version, text)?, protocol, port.parse().ok()?))
}
