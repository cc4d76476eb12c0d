//! Asks a kernel what becomes of packets, by sending them.
//!
//! A worker, this program once more, makes a host of a new network namespace. Each interface is a TUN device: what is
//! written to its other side arrives, what leaves can be read there. The worker is given a [`Script`] and knows nothing
//! else; what packets look like ([`wire`]), which can be sent ([`sendable`]) and what was seen is decided on this side.
//!
//! # How a packet gets its state
//!
//! - *Established*: its connection is opened, both ways, before the rules are there. A rule in the security table keeps
//!   connection tracking on meanwhile; it has no target. Where there are ports, checksums are wrong: the host itself
//!   doesn't take what is for it, and doesn't end the connection by an answer.
//! - *New*: it is the first of its connection, and what is tracked is forgotten behind each packet: no packet is
//!   another's answer, nor does one find its ports taken.
//! - *Invalid*: no connection has such a packet: flags, lengths or tags that are never used; of ICMP a wrong checksum.
//! - *Untracked* are ICMPv6's types that keep a link going. *Related* is not sent.
//!
//! Connection tracking looks at checksums only while packets with wrong ones are to be invalid. It would find each
//! UDP-Lite packet invalid that arrives, as it checks them with UDP's number (`udplite_error`).

mod script;
mod sendable;
mod spawn;
mod tun;
mod wire;
mod worker;
mod world;

use std::collections::BTreeSet;
use std::env;
use std::net::IpAddr;
use std::sync::Arc;

use felix_rs::model::IpVersion;
use felix_rs::verdict::packet::{ConnState, Packet, Payload};

use script::{Listener, Place, Script, Sighting, Step};
use wire::{Frame, Moment};

pub use sendable::{sendable, unsendable};
pub use worker::work;
pub use world::{Interface, World};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Job {
    pub world: World,
    pub backend: Backend,
    /// For `ipset restore`.
    pub sets: String,
    /// Each for its family's `restore --noflush`, in this order.
    pub tables: Vec<(IpVersion, String)>,
    /// What no rule of the filter table's FORWARD chain accepts is dropped.
    pub drop_by_default: bool,
    /// Those that are [`sendable`].
    pub packets: Vec<Packet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Legacy,
    Nft,
}

/// What became of a packet. Answers that the host makes of its own accord are not looked at: dropped and rejected look
/// the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Nowhere,
    /// As it was then, whatever was translated.
    Left {
        interface: Arc<str>,
        source: IpAddr,
        destination: IpAddr,
        ports: Option<(u16, u16)>,
    },
    ByHost,
}

/// This program has been started as a worker: [`work`] is all it shall do.
pub fn is_worker() -> bool {
    env::args().nth(1).is_some_and(|argument| argument == spawn::WORKER)
}

/// Sends all packets of a job; what became of each.
///
/// # Errors
/// Where a packet isn't sendable, a tool refuses its text (with what it said), or the kernel does what it never should.
pub fn send(job: &Job) -> Result<Vec<Seen>, String> {
    let asked = Asked::new(job)?;
    asked.read(job, spawn::carry_out(&asked.script)?)
}

/// As [`send`], in the network namespace that the tests run in: always an error.
pub fn send_at_home(job: &Job) -> Result<Vec<Seen>, String> {
    let asked = Asked::new(job)?;
    asked.read(job, spawn::carry_out_at_home(&asked.script)?)
}

impl Backend {
    pub const ALL: [Self; 2] = [Self::Legacy, Self::Nft];

    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Nft => "nft",
        }
    }

    fn restore(self, version: IpVersion) -> Vec<String> {
        let tool = match version {
            IpVersion::V4 => "iptables",
            IpVersion::V6 => "ip6tables",
        };
        vec![format!("{tool}-{}-restore", self.name()), "--noflush".to_owned()]
    }
}

/// A script, and what each frame in it is there for: its number is its place.
struct Asked {
    script: Script,
    frames: Vec<(Frame, Purpose)>,
}

#[derive(Clone, Copy)]
enum Purpose {
    /// Asks about the packet of that number.
    Ask(usize),
    /// Opens its connection.
    Open(usize),
}

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

impl Asked {
    fn new(job: &Job) -> Result<Self, String> {
        let Job { world, backend: _, sets: _, tables: _, drop_by_default: _, packets } = job;
        for packet in packets {
            if let Some(why) = unsendable(packet) {
                return Err(format!("{packet}: not sendable: {why}"));
            }
        }
        let interfaces = world.interfaces.iter().map(|interface| interface.name.to_string()).collect();
        let script = Script { interfaces, listen: listeners(packets), steps: Vec::new() };
        let mut asked = Self { script, frames: Vec::new() };
        asked.run(&["ip", "-batch", "-"], &world.batch());
        asked.script.steps.push(Step::Await { own: world.own_v6() });
        let established = |packet: &&Packet| packet.state == ConnState::Established;
        if packets.iter().any(|packet| established(&packet)) {
            asked.open_connections(job)?;
        }
        asked.load(job);
        let mut packets: Vec<_> =
            packets.iter().enumerate().map(|(n, packet)| (turn(packet), n, packet)).collect();
        packets.sort_by_key(|(turn, number, _)| (*turn, *number));
        let mut last = Turn::Established;
        for (turn, number, packet) in packets {
            if turn != last {
                asked.script.steps.extend([Step::Forget, look_at_checksums(turn == Turn::WrongChecksum)]);
                last = turn;
            }
            let moment = match turn {
                Turn::Established => Moment::Later,
                Turn::First => Moment::First,
                Turn::Malformed | Turn::WrongChecksum => Moment::Broken,
            };
            asked.send(world, packet, End::Source, packet.payload, moment, Purpose::Ask(number))?;
            if turn == Turn::First {
                asked.script.steps.push(Step::Forget);
            }
        }
        Ok(asked)
    }

    fn open_connections(&mut self, job: &Job) -> Result<(), String> {
        let Job { world, backend, sets: _, tables: _, drop_by_default: _, packets } = job;
        for version in [IpVersion::V4, IpVersion::V6] {
            const TRACK: &str = "*security\n-A FORWARD -m conntrack --ctstate NEW\nCOMMIT\n";
            self.restore(*backend, version, TRACK);
        }
        let mut open = BTreeSet::new();
        for (number, packet) in packets.iter().enumerate() {
            if packet.state != ConnState::Established || !open.insert(connection(number, packet)) {
                continue;
            }
            let version = packet.version();
            let (opener, payload) = match packet.payload {
                Payload::Icmp { icmp_type, code }
                    if ConnState::first(version, packet.payload) != ConnState::New =>
                {
                    let asks = sendable::icmp_counterpart(version, icmp_type).ok_or("nothing asks for it")?;
                    (End::Destination, Payload::Icmp { icmp_type: asks, code })
                }
                payload => (End::Source, payload),
            };
            let answer = match payload {
                Payload::Icmp { icmp_type, code } => {
                    let answers =
                        sendable::icmp_counterpart(version, icmp_type).ok_or("nothing answers it")?;
                    Payload::Icmp { icmp_type: answers, code }
                }
                Payload::Ports { .. } | Payload::Other { .. } => payload,
            };
            let purpose = Purpose::Open(number);
            self.send(world, packet, opener, payload, Moment::First, purpose)?;
            self.send(world, packet, opener.other(), answer, Moment::Answer, purpose)?;
            self.send(world, packet, opener, payload, Moment::Later, purpose)?;
        }
        Ok(())
    }

    fn load(&mut self, job: &Job) {
        let Job { world: _, backend, sets, tables, drop_by_default, packets: _ } = job;
        if !sets.is_empty() {
            self.run(&["ipset", "restore"], sets);
        }
        for (version, text) in tables {
            self.restore(*backend, *version, text);
        }
        if *drop_by_default {
            for version in [IpVersion::V4, IpVersion::V6] {
                self.restore(*backend, version, "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n");
            }
        }
    }

    fn run(&mut self, command: &[&str], stdin: &str) {
        let command = command.iter().map(ToString::to_string).collect();
        self.script.steps.push(Step::Run { command, stdin: stdin.to_owned() });
    }

    fn restore(&mut self, backend: Backend, version: IpVersion, text: &str) {
        self.script.steps.push(Step::Run { command: backend.restore(version), stdin: text.to_owned() });
    }

    /// One end of the packet's connection sends a packet to the other; its ports are as the packet's source has them.
    fn send(
        &mut self,
        world: &World,
        packet: &Packet,
        from: End,
        payload: Payload,
        moment: Moment,
        purpose: Purpose,
    ) -> Result<(), String> {
        let (Purpose::Ask(of) | Purpose::Open(of)) = purpose;
        let (source, destination, payload) = match from {
            End::Source => (packet.source, packet.destination, payload),
            End::Destination => (packet.destination, packet.source, swapped(payload)),
        };
        let number = u32::try_from(self.frames.len()).map_err(|_| "too many packets")?;
        let identifier = u16::try_from(of).map_err(|_| "too many packets")?;
        let checked = match payload {
            Payload::Icmp { .. } => moment != Moment::Broken,
            Payload::Ports { .. } => packet.state != ConnState::Established,
            Payload::Other { .. } => true,
        };
        let frame = Frame { source, destination, payload, moment, number, identifier, checked };
        let bytes = frame.bytes();
        let interface = match from {
            End::Source => packet.way.input(),
            End::Destination => packet.way.output(),
        };
        self.script.steps.push(match interface {
            Some(name) => {
                let at = world.index_of(name).ok_or_else(|| format!("{packet}: no interface {name}"))?;
                Step::Arrive { at, bytes }
            }
            None => Step::Leave { to: destination, bytes },
        });
        self.frames.push((frame, purpose));
        Ok(())
    }

    fn read(&self, job: &Job, sightings: Vec<Sighting>) -> Result<Vec<Seen>, String> {
        let mut seen: Vec<Option<Seen>> = vec![None; self.frames.len()];
        for sighting in sightings {
            let Some((number, what)) = self.recognise(&job.world, &sighting) else { continue };
            if let Some(before) = seen[number].replace(what) {
                return Err(format!(
                    "{:?} was seen twice: {before:?}, {:?}",
                    self.frames[number].0, seen[number]
                ));
            }
        }
        let mut answer = vec![Seen::Nowhere; job.packets.len()];
        for ((frame, purpose), seen) in self.frames.iter().zip(seen) {
            match (purpose, seen) {
                (Purpose::Ask(of), seen) => answer[*of] = seen.unwrap_or(Seen::Nowhere),
                (Purpose::Open(_), Some(_)) => {}
                (Purpose::Open(of), None) => {
                    return Err(format!(
                        "{}: its connection was not opened: {frame:?} was lost",
                        job.packets[*of]
                    ));
                }
            }
        }
        Ok(answer)
    }

    /// Which of our frames that is, and where it was seen; None of what the host makes itself.
    fn recognise(&self, world: &World, sighting: &Sighting) -> Option<(usize, Seen)> {
        let Sighting { at, bytes } = sighting;
        let read = match *at {
            Place::Interface(_) => wire::read(bytes)?,
            Place::Host(Listener { is_v6, protocol }) => {
                wire::read_transport(if is_v6 { IpVersion::V6 } else { IpVersion::V4 }, protocol, bytes)?
            }
        };
        let number = usize::try_from(read.number).ok()?;
        let (frame, _) = self.frames.get(number)?;
        // An answer that repeats our content is another protocol's or type's.
        let same = match (frame.payload, read.payload) {
            (Payload::Ports { protocol: sent, .. }, Payload::Ports { protocol: found, .. }) => sent == found,
            (sent, found) => sent == found,
        };
        let seen = match (*at, read.addresses) {
            (Place::Interface(index), Some((source, destination))) => {
                let interface = world.interfaces.get(index)?.name.clone();
                Seen::Left { interface, source, destination, ports: read.payload.ports() }
            }
            _ => Seen::ByHost,
        };
        same.then_some((number, seen))
    }
}

/// The order in which packets are sent. Connections that are open must not be forgotten before all others have been
/// sent; who looks at checksums comes last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Established,
    /// Of its connection, or of none.
    First,
    Malformed,
    WrongChecksum,
}

fn turn(packet: &Packet) -> Turn {
    match packet.state {
        ConnState::Established => Turn::Established,
        state if state == ConnState::first(packet.version(), packet.payload) => Turn::First,
        _ => match packet.payload {
            Payload::Icmp { .. } => Turn::WrongChecksum,
            Payload::Ports { .. } | Payload::Other { .. } => Turn::Malformed,
        },
    }
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}

/// Any packet may be for the host, once its destination is translated.
fn listeners(packets: &[Packet]) -> Vec<Listener> {
    let listeners: BTreeSet<_> = packets
        .iter()
        .map(|packet| Listener { is_v6: packet.version() == IpVersion::V6, protocol: packet.protocol() })
        // No socket can be given it.
        .filter(|listener| listener.protocol != 0)
        .collect();
    listeners.into_iter().collect()
}

/// What tells connections apart: both ends, in either order; ICMP's by the identifiers that we give.
fn connection(number: usize, packet: &Packet) -> (u8, [(IpAddr, u16); 2], Option<usize>) {
    let (ports, identifier) = match packet.payload {
        Payload::Ports { protocol: _, source, destination } => ((source, destination), None),
        Payload::Icmp { .. } => ((0, 0), Some(number)),
        Payload::Other { protocol: _ } => ((0, 0), None),
    };
    let mut ends = [(packet.source, ports.0), (packet.destination, ports.1)];
    ends.sort_unstable();
    (packet.protocol(), ends, identifier)
}

fn swapped(payload: Payload) -> Payload {
    match payload {
        Payload::Ports { protocol, source, destination } => {
            Payload::Ports { protocol, source: destination, destination: source }
        }
        Payload::Icmp { .. } | Payload::Other { .. } => payload,
    }
}

fn look_at_checksums(on: bool) -> Step {
    let value = if on { "1" } else { "0" };
    Step::Set { name: "netfilter/nf_conntrack_checksum".to_owned(), value: value.to_owned() }
}
