//! `golden/verdict`: packets and what becomes of them, written by hand from what the policy language means.
//!
//! A case is a folder: `datastore/` and `args` as in `golden/render`, and `packets`, a packet a line:
//!
//! ```text
//! # state, protocol (of ICMP with type and code), source, destination, way, what becomes of it
//! new tcp 10.0.0.1:40000 10.0.0.2:80 cali1>cali2 allow
//! new icmp 8/0 10.0.0.1 10.0.0.2 cali1>host deny
//! established udp [fd00::1]:53 [fd00::2]:53 host>cali2 leave
//! new tcp 10.9.9.9:40000 10.0.0.2:80 cali1>cali2 spoofed deny
//! ```
//!
//! Both interpreters must say so. `leave` is what policy leaves to the host's other rules.

use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use felix_rs::model::IpVersion;
use felix_rs::verdict::chains::machine::Machine;
use felix_rs::verdict::chains::program::{Policy, Program};
use felix_rs::verdict::check::compare;
use felix_rs::verdict::packet::{ConnState, Packet, Payload, Way, protocol_name, protocol_number};
use felix_rs::verdict::policy::judge::Ruling;
use libtest_mimic::{Failed, Trial};

use crate::case::Case;
use crate::expectation::{self, Mode};
use crate::world::World;

const AREA: &str = "verdict";

/// One trial a case, and the reader of packets; a folder that is not in order is a failing trial.
pub fn trials() -> Vec<Trial> {
    let reader = Trial::test("verdict/packets-are-read-and-written", packets_are_read_and_written);
    let cases = match expectation::cases(AREA) {
        Ok(cases) => cases,
        Err(error) => return vec![Trial::test(AREA, move || Err(error.into()))],
    };
    let cases = cases.into_iter().map(|case| {
        Trial::test(expectation::trial_name(AREA, &case), move || check(&case, Mode::from_environment()))
    });
    [reader].into_iter().chain(cases).collect()
}

fn check(folder: &Path, mode: Mode) -> Result<(), Failed> {
    let case = Case::read(&expectation::trial_name(AREA, folder), folder)?;
    let world = World::of_case(&case).map_err(|error| error.to_string())?;
    let path = folder.join("packets");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut actual = String::new();
    let mut packets = 0;
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            let _ = writeln!(actual, "{line}");
            continue;
        }
        packets += 1;
        let place = format!("{}:{}", path.display(), number + 1);
        let Expected { text, packet, ruling: _ } =
            line.parse().map_err(|fault| format!("{place}: {fault}: {line}"))?;
        let ruling = ruling(&world, &packet).map_err(|fault| format!("{place}: {fault}"))?;
        let _ = writeln!(actual, "{text} {}", word(ruling));
    }
    if packets == 0 {
        return Err(format!("{}: no packet", path.display()).into());
    }
    expectation::check_file(&path, &actual, mode)
}

/// The packet as a line of `packets`, without what becomes of it.
pub fn line(packet: &Packet) -> String {
    let Packet { way, source, destination, payload, state, reverse_path } = packet;
    let protocol = packet.protocol();
    let protocol = protocol_name(protocol).map_or_else(|| protocol.to_string(), str::to_owned);
    let ends = match *payload {
        Payload::Ports { protocol: _, source: from, destination: to } => {
            format!("{} {}", SocketAddr::new(*source, from), SocketAddr::new(*destination, to))
        }
        Payload::Icmp { icmp_type, code } => format!("{icmp_type}/{code} {source} {destination}"),
        Payload::Other { protocol: _ } => format!("{source} {destination}"),
    };
    let way = match way {
        Way::Forwarded { input, output } => format!("{input}>{output}"),
        Way::ToHost { input } => format!("{input}>host"),
        Way::FromHost { output } => format!("host>{output}"),
    };
    let spoofed = if *reverse_path { "" } else { " spoofed" };
    format!("{} {protocol} {ends} {way}{spoofed}", state.name().to_lowercase())
}

/// What both interpreters say.
fn ruling(world: &World, packet: &Packet) -> Result<Ruling, String> {
    let ruleset = world.desired.rulesets.iter().find(|ruleset| ruleset.version == packet.version());
    let program = Program::compiled(ruleset.ok_or("no chains of this family")?, Policy::Accept);
    let said = compare(&world.judge(), &Machine::new(&program), packet);
    said.map(|judgement| judgement.ruling).map_err(|fault| fault.to_string())
}

/// A line of `packets`.
#[derive(Debug)]
struct Expected {
    /// All but the ruling.
    text: String,
    packet: Packet,
    ruling: Ruling,
}

impl FromStr for Expected {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (text, ruling) = line.rsplit_once(' ').ok_or("no packet and ruling")?;
        let ruling = RULINGS.into_iter().find(|candidate| word(*candidate) == ruling);
        let ruling = ruling.ok_or("not allow, deny or leave at its end")?;
        let mut words = text.split_whitespace();
        let mut next = |what: &str| words.next().ok_or(format!("no {what}"));
        let state = state(next("state")?)?;
        let protocol = next("protocol")?;
        let protocol = protocol_number(protocol).ok_or(format!("{protocol} is no protocol"))?;
        let is_icmp = [IpVersion::V4, IpVersion::V6].map(Payload::icmp_of).contains(&protocol);
        let icmp = if is_icmp { pair(next("ICMP type")?, '/')? } else { (0, 0) };
        let has_ports = Payload::PORT_PROTOCOLS.contains(&protocol);
        let (source, source_port) = end(next("source")?, has_ports)?;
        let (destination, destination_port) = end(next("destination")?, has_ports)?;
        let way = way(next("way")?)?;
        let reverse_path = match words.next() {
            None => true,
            Some("spoofed") => false,
            Some(other) => return Err(format!("{other} is not understood")),
        };
        let version = IpVersion::of(source);
        if IpVersion::of(destination) != version || (is_icmp && Payload::icmp_of(version) != protocol) {
            return Err("two families in one packet".to_owned());
        }
        let payload = Payload::new(version, protocol, (source_port, destination_port), icmp);
        let packet = Packet { way, source, destination, payload, state, reverse_path };
        match words.next() {
            None => Ok(Self { text: text.to_owned(), packet, ruling }),
            Some(other) => Err(format!("{other} is not understood")),
        }
    }
}

const RULINGS: [Ruling; 3] = [Ruling::Allow, Ruling::Deny, Ruling::LeaveToHost];

fn word(ruling: Ruling) -> &'static str {
    match ruling {
        Ruling::Allow => "allow",
        Ruling::Deny => "deny",
        Ruling::LeaveToHost => "leave",
    }
}

fn state(word: &str) -> Result<ConnState, String> {
    use ConnState::{Established, Invalid, New, Related, Untracked};
    let mut states = [New, Established, Related, Invalid, Untracked].into_iter();
    states.find(|state| state.name().to_lowercase() == word).ok_or(format!("{word} is no state"))
}

fn pair<T: FromStr>(word: &str, between: char) -> Result<(T, T), String> {
    let parts = word.split_once(between);
    let parts = parts.and_then(|(first, second)| Some((first.parse().ok()?, second.parse().ok()?)));
    parts.ok_or(format!("{word} is not two numbers with {between} between them"))
}

/// Address and port, where the protocol has one.
fn end(word: &str, has_ports: bool) -> Result<(IpAddr, u16), String> {
    if has_ports {
        let end: SocketAddr = word.parse().map_err(|_| format!("{word} is no address and port"))?;
        return Ok((end.ip(), end.port()));
    }
    word.parse().map(|address| (address, 0)).map_err(|_| format!("{word} is no address"))
}

fn way(word: &str) -> Result<Way, String> {
    match word.split_once('>') {
        Some(("", _) | (_, "") | ("host", "host")) | None => Err(format!("{word} is no way")),
        Some((input, "host")) => Ok(Way::ToHost { input: input.into() }),
        Some(("host", output)) => Ok(Way::FromHost { output: output.into() }),
        Some((input, output)) => Ok(Way::Forwarded { input: input.into(), output: output.into() }),
    }
}

fn packets_are_read_and_written() -> Result<(), Failed> {
    for (line, fault) in [
        ("allow", "no packet and ruling"),
        ("new tcp 10.0.0.1:1 10.0.0.2:2 a>b", "not allow, deny or leave"),
        ("old tcp 10.0.0.1:1 10.0.0.2:2 a>b allow", "old is no state"),
        ("new tpc 10.0.0.1:1 10.0.0.2:2 a>b allow", "tpc is no protocol"),
        ("new tcp 10.0.0.1 10.0.0.2:2 a>b allow", "10.0.0.1 is no address and port"),
        ("new gre 10.0.0.1:1 10.0.0.2 a>b allow", "10.0.0.1:1 is no address"),
        ("new icmp 10.0.0.1 10.0.0.2 a>b allow", "10.0.0.1 is not two numbers"),
        ("new icmp 8/0 fd00::1 fd00::2 a>b allow", "two families"),
        ("new tcp 10.0.0.1:1 [fd00::1]:2 a>b allow", "two families"),
        ("new tcp 10.0.0.1:1 10.0.0.2:2 allow", "no way"),
        ("new tcp 10.0.0.1:1 10.0.0.2:2 a allow", "a is no way"),
        ("new tcp 10.0.0.1:1 10.0.0.2:2 host>host allow", "is no way"),
        ("new tcp 10.0.0.1:1 10.0.0.2:2 a>b spofed allow", "spofed is not understood"),
        ("new tcp 10.0.0.1:1 10.0.0.2:2 a>b spoofed spoofed allow", "spoofed is not understood"),
    ] {
        match line.parse::<Expected>() {
            Err(found) if found.contains(fault) => {}
            other => return Err(format!("{line}: expected {fault:?}, got {other:?}").into()),
        }
    }
    for text in [
        "established icmpv6 135/0 fd00::1 fd00::2 cali1>host spoofed",
        "new tcp [fd00::1]:1 [fd00::2]:2 cali1>cali2",
        "untracked gre 10.0.0.1 10.0.0.2 host>cali2",
        "invalid 99 10.0.0.1 10.0.0.2 cali1>eth0",
    ] {
        let Expected { text: read, packet, ruling } = format!("{text} leave").parse()?;
        if (read.as_str(), line(&packet).as_str(), ruling) != (text, text, Ruling::LeaveToHost) {
            return Err(format!("{text} was read as {packet}").into());
        }
    }
    Ok(())
}
