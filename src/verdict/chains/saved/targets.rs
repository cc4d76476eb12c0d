//! What a rule does, as an action.

use std::net::IpAddr;

use super::Names;
use super::literals::{address, masked, number};
use super::rule::{Choice, Parts, Target};
use crate::model::IpVersion;
use crate::verdict::chains::program::{Action, ChainNumber, Table};

pub(super) fn action(names: &Names, table: Table, parts: &Parts) -> Action {
    let Some(target) = &parts.target else { return Action::Continue };
    let action = if target.goto {
        Some(chain(names, table, &target.name, Action::Goto)).filter(|_| target.choices.is_empty())
    } else {
        jump(names, table, target)
    };
    action.unwrap_or_else(|| Action::Unknown(target.to_string().into()))
}

/// None where it isn't modelled.
fn jump(names: &Names, table: Table, target: &Target) -> Option<Action> {
    let Target { goto: _, name, choices } = target;
    let plain = |action| choices.is_empty().then_some(action);
    match &**name {
        "ACCEPT" => plain(Action::Accept),
        "DROP" => plain(Action::Drop),
        "RETURN" => plain(Action::Return),
        name if names.chains.contains_key(&(table, name)) || is_chain_name(name) => {
            plain(chain(names, table, name, Action::Jump))
        }
        // With whichever answer.
        "REJECT" => Some(Action::Reject),
        "MARK" => mark(choices),
        "CONNMARK" => connection_mark(choices),
        "NOTRACK" => plain(Action::NoTrack),
        "CT" => match choices.as_slice() {
            [Choice { negated: false, name: "--notrack", values }] if values.is_empty() => {
                Some(Action::NoTrack)
            }
            _ => None,
        },
        "MASQUERADE" => Some(Action::TranslateSource(None)),
        "SNAT" => Some(Action::TranslateSource(source(names.version, choices))),
        "DNAT" => destination(names.version, choices),
        // It writes the set's values into the packet's mark, or may.
        "SET" if choices.iter().any(|choice| choice.name == "--map-set") => {
            Some(Action::BlurMark { bits: u32::MAX })
        }
        "LOG" | "NFLOG" | "TRACE" | "TCPMSS" | "CHECKSUM" | "DSCP" | "TOS" | "TTL" | "HL" | "CLASSIFY"
        | "SET" | "AUDIT" => Some(Action::Continue),
        _ => None,
    }
}

/// Targets of the kernel's modules are written in capitals.
fn is_chain_name(name: &str) -> bool {
    name.contains(|c: char| c.is_ascii_lowercase())
}

fn chain(names: &Names, table: Table, name: &str, action: fn(ChainNumber) -> Action) -> Action {
    match names.chains.get(&(table, name)) {
        Some(_) if table.kernel_chains().contains(&name) => {
            Action::Unknown(format!("the chain {name}, which only the kernel calls").into())
        }
        Some(number) => action(*number),
        // The kernel would refuse the table.
        None => Action::Unknown(format!("the chain {name}, which is not there").into()),
    }
}

/// As `iptables-extensions(8)` defines them.
fn mark(choices: &[Choice]) -> Option<Action> {
    let [choice] = choices else { return None };
    let value = choice.value().filter(|_| !choice.negated)?;
    let (clear, flip) = match choice.name {
        "--set-xmark" => masked(value).map(|(value, mask)| (mask, value))?,
        "--set-mark" => masked(value).map(|(value, mask)| (value | mask, value))?,
        "--and-mark" => (!number(value)?, 0),
        "--or-mark" => number(value).map(|bits| (bits, bits))?,
        "--xor-mark" => (0, number(value)?),
        _ => return None,
    };
    Some(Action::Mark { clear, flip })
}

/// Only where it changes the packet's mark it matters here.
fn connection_mark(choices: &[Choice]) -> Option<Action> {
    match choices.first()?.name {
        "--save-mark" | "--set-mark" | "--set-xmark" | "--and-mark" | "--or-mark" | "--xor-mark" => {
            Some(Action::Continue)
        }
        "--restore-mark" => restored_bits(choices).map(|bits| Action::BlurMark { bits }),
        _ => None,
    }
}

fn restored_bits(choices: &[Choice]) -> Option<u32> {
    let mut packet = u32::MAX;
    let mut connection = u32::MAX;
    let mut shifted = false;
    for choice in choices {
        match choice.name {
            "--restore-mark" if choice.values.is_empty() => {}
            "--mask" => {
                packet = number(choice.value()?)?;
                connection = packet;
            }
            "--nfmask" => packet = number(choice.value()?)?,
            "--ctmask" => connection = number(choice.value()?)?,
            "--left-shift-mark" | "--right-shift-mark" => shifted = true,
            _ => return None,
        }
    }
    Some(if shifted { u32::MAX } else { packet | connection })
}

/// The one address, where there is one.
fn source(version: IpVersion, choices: &[Choice]) -> Option<IpAddr> {
    let mut to = None;
    for choice in choices {
        match choice.name {
            "--to-source" => {
                let (address, _) = with_ports(version, choice.value()?)?;
                // Of several, any is taken.
                if to.replace(address).is_some() {
                    return None;
                }
            }
            "--random" | "--random-fully" | "--persistent" => {}
            _ => return None,
        }
    }
    to
}

fn destination(version: IpVersion, choices: &[Choice]) -> Option<Action> {
    let mut action = None;
    for choice in choices {
        match choice.name {
            "--to-destination" if action.is_none() => {
                let (to, port) = with_ports(version, choice.value()?)?;
                let port = match port {
                    Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
                    None => None,
                };
                action = Some(Action::TranslateDestination { to, port });
            }
            "--random" | "--persistent" => {}
            _ => return None,
        }
    }
    action
}

/// `address:ports`, in IPv6 `[address]:ports`; or the address alone.
fn with_ports(version: IpVersion, text: &str) -> Option<(IpAddr, Option<&str>)> {
    let (text, ports) = match version {
        IpVersion::V4 => text.split_once(':').map_or((text, None), |(text, ports)| (text, Some(ports))),
        IpVersion::V6 => match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            Some((text, "")) => (text, None),
            Some((text, ports)) => (text, Some(ports.strip_prefix(':')?)),
            None => (text, None),
        },
    };
    Some((address(version, text)?, ports))
}
