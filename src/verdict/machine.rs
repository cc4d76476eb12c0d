//! A packet through a [`Program`], as the kernel would take it.

use std::net::IpAddr;
use std::sync::Arc;

use super::packet::{ConnState, Packet, Payload, Way};
use super::program::{
    Action, ChainNumber, Condition, Members, Policy, PortSide, Program, Rule, States, Table, Test,
};
use crate::model::PortRange;
use crate::rules::ruleset::{InterfaceMatch, Side};

/// Runs packets through a program.
///
/// 1. *Tables and hooks come in the kernel's order.* A packet meets the chains of its way (forwarded, to the host, from
///    it); an ACCEPT ends one of them and no other, a DROP or REJECT ends all. The nat table is for the first packet of
///    a connection only.
/// 2. *What isn't modelled is never taken to hold, nor not to.* Where a rule with such a condition or target is met, the
///    way parts, and both go on. Only where all ways end the same the verdict is known.
/// 3. *No program makes it hang*: ways and steps are bounded, and a run that meets a bound is refused.
///
/// Goals 2 and 3 conflict where many such rules come one after the other. A condition that isn't modelled parts the way
/// only if its rule would do something, and there is room for [`Machine::MAX_WAYS`].
pub struct Machine<'p> {
    program: &'p Program,
    forwarded: Vec<ChainNumber>,
    to_host: Vec<ChainNumber>,
    from_host: Vec<ChainNumber>,
}

/// One way through the program to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    pub verdict: Verdict,
    /// The rule or chain's policy that decided.
    pub decided_at: Position,
    /// The same in the filter table, where the packet came through it: a chain's policy there says that no rule decided.
    pub left_filter_at: Option<Position>,
    pub translation: Translation,
    /// What was supposed of conditions and targets that aren't modelled.
    pub assumptions: Vec<Assumption>,
    /// The rules that held, where they were asked for.
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Accept,
    Drop,
    Reject,
}

/// Where in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub chain: ChainNumber,
    /// None at the chain's policy.
    pub rule: Option<usize>,
}

/// What address translation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    pub destination: Option<(IpAddr, Option<u16>)>,
    pub source: Option<SourceTranslation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceTranslation {
    /// To an address of the outgoing interface.
    Masquerade,
    To(IpAddr),
}

/// What was supposed at a rule that isn't modelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assumption {
    pub at: Position,
    /// The condition or target as it is written, and what it was supposed to do.
    pub what: Box<str>,
    pub supposed: Supposed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supposed {
    Holds,
    DoesNotHold,
    Accepts,
    Drops,
    GoesOn,
}

/// A rule that held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub at: Position,
    /// The packet's mark behind it.
    pub mark: u32,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The packet is of the other family.
    OtherFamily,
    /// More ways than [`Machine::MAX_WAYS`].
    TooManyWays,
    /// More rules than [`Machine::MAX_RULES`] were met: the chains lead in a circle.
    Endless,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OtherFamily => "the packet is of the other IP version",
            Self::TooManyWays => "too much depends on conditions that are not modelled",
            Self::Endless => "the chains lead in a circle",
        })
    }
}

impl std::error::Error for Refusal {}

/// Whether to note every rule that held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    Nothing,
    Steps,
}

/// Which chains of the kernel's own a packet meets, in order.
const FORWARDED: [(&str, &[Table]); 3] = [
    ("PREROUTING", &[Table::Raw, Table::Mangle, Table::Nat]),
    ("FORWARD", &[Table::Mangle, Table::Filter, Table::Security]),
    ("POSTROUTING", &[Table::Mangle, Table::Nat]),
];
const TO_HOST: [(&str, &[Table]); 3] = [
    ("PREROUTING", &[Table::Raw, Table::Mangle, Table::Nat]),
    ("INPUT", &[Table::Mangle, Table::Filter, Table::Security]),
    ("INPUT", &[Table::Nat]),
];
const FROM_HOST: [(&str, &[Table]); 2] = [
    ("OUTPUT", &[Table::Raw, Table::Mangle, Table::Nat, Table::Filter, Table::Security]),
    ("POSTROUTING", &[Table::Mangle, Table::Nat]),
];

impl<'p> Machine<'p> {
    /// Most ways that one packet's run may part into.
    pub const MAX_WAYS: usize = 256;
    /// Most rules that one packet's run may meet.
    pub const MAX_RULES: usize = 10_000_000;

    pub fn new(program: &'p Program) -> Self {
        let chains = |way: &[(&str, &[Table])]| -> Vec<ChainNumber> {
            way.iter()
                .flat_map(|(chain, tables)| tables.iter().filter_map(|table| program.find(*table, chain)))
                .collect()
        };
        Self {
            program,
            forwarded: chains(&FORWARDED),
            to_host: chains(&TO_HOST),
            from_host: chains(&FROM_HOST),
        }
    }

    /// All ways that the packet may take; one, where the program has nothing that isn't modelled.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn run(&self, packet: &Packet, record: Record) -> Result<Vec<Passage>, Refusal> {
        if packet.version() != self.program.version {
            return Err(Refusal::OtherFamily);
        }
        let bases = match packet.way {
            Way::Forwarded { .. } => &self.forwarded,
            Way::ToHost { .. } => &self.to_host,
            Way::FromHost { .. } => &self.from_host,
        };
        let mut budget = Self::MAX_RULES;
        let mut passages = Vec::new();
        let mut open = vec![Run::new(packet)];
        while let Some(run) = open.pop() {
            passages.push(self.finish(run, packet, bases, record, &mut open, &mut budget)?);
            if passages.len() + open.len() > Self::MAX_WAYS {
                return Err(Refusal::TooManyWays);
            }
        }
        Ok(passages)
    }

    /// The verdict, where all ways agree.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn verdict(&self, packet: &Packet) -> Result<Option<Verdict>, Refusal> {
        let passages = self.run(packet, Record::Nothing)?;
        let mut verdicts = passages.iter().map(|passage| passage.verdict);
        let first = verdicts.next();
        Ok(first.filter(|first| verdicts.all(|other| other == *first)))
    }

    /// Takes one run to its end; where the way parts, the other ways go to `open`.
    fn finish(
        &self,
        mut run: Run,
        packet: &Packet,
        bases: &[ChainNumber],
        record: Record,
        open: &mut Vec<Run>,
        budget: &mut usize,
    ) -> Result<Passage, Refusal> {
        while let Some(&base) = bases.get(run.hook) {
            let hook = run.hook;
            if run.at.is_none() {
                if self.is_skipped(base, &run) {
                    run.hook += 1;
                    continue;
                }
                run.at = Some((base, 0));
            }
            while run.hook == hook {
                *budget = budget.checked_sub(1).ok_or(Refusal::Endless)?;
                if let Some(verdict) = self.step(&mut run, packet, base, record, open) {
                    return Ok(run.end(verdict));
                }
            }
            if self.program.chain(base).is_some_and(|chain| chain.table == Table::Filter) {
                run.left_filter_at = Some(run.decided_at);
            }
        }
        Ok(run.end(Verdict::Accept))
    }

    /// Only a connection's first packet meets the nat table.
    fn is_skipped(&self, base: ChainNumber, run: &Run) -> bool {
        let is_nat = self.program.chain(base).is_some_and(|chain| chain.table == Table::Nat);
        is_nat && run.state != ConnState::New
    }

    /// One rule, or the end of a chain. Some where the packet goes no further.
    fn step(
        &self,
        run: &mut Run,
        packet: &Packet,
        base: ChainNumber,
        record: Record,
        open: &mut Vec<Run>,
    ) -> Option<Verdict> {
        let (number, index) = run.at?;
        let chain = self.program.chain(number)?;
        let Some(rule) = chain.rules.get(index) else {
            return self.leave(run, base);
        };
        let at = Position { chain: number, rule: Some(index) };
        run.at = Some((number, index + 1));
        match self.holds(rule, run, packet) {
            Holds::No => return None,
            Holds::Yes => {}
            Holds::Unknown(what) => {
                if rule.action == Action::Continue {
                    return None;
                }
                let mut other = run.clone();
                other.suppose(at, what, Supposed::DoesNotHold);
                open.push(other);
                run.suppose(at, what, Supposed::Holds);
            }
        }
        run.decided_at = at;
        let verdict = self.act(rule, run, at, base, open);
        if record == Record::Steps {
            run.steps.push(Step { at, mark: run.mark });
        }
        verdict
    }

    fn act(
        &self,
        rule: &Rule,
        run: &mut Run,
        at: Position,
        base: ChainNumber,
        open: &mut Vec<Run>,
    ) -> Option<Verdict> {
        match &rule.action {
            Action::Continue => {}
            Action::Accept => run.next_hook(),
            Action::Drop => return Some(Verdict::Drop),
            Action::Reject => return Some(Verdict::Reject),
            Action::Return => return self.leave(run, base),
            Action::Jump(to) => {
                run.stack.extend(run.at);
                run.at = Some((*to, 0));
            }
            Action::Goto(to) => run.at = Some((*to, 0)),
            Action::Mark { clear, flip } => {
                run.mark = (run.mark & !clear) ^ flip;
                run.blurred &= !clear;
            }
            Action::BlurMark { bits } => run.blurred |= bits,
            Action::NoTrack => run.state = ConnState::Untracked,
            Action::TranslateSource(to) => {
                let source = to.map_or(SourceTranslation::Masquerade, SourceTranslation::To);
                run.translation.source = Some(source);
                run.next_hook();
            }
            Action::TranslateDestination { to, port } => {
                run.destination = *to;
                if let (Some(port), Payload::Ports { destination, .. }) = (port, &mut run.payload) {
                    *destination = *port;
                }
                run.translation.destination = Some((*to, *port));
                run.next_hook();
            }
            Action::Unknown(what) => {
                let mut accepted = run.clone();
                accepted.suppose(at, what, Supposed::Accepts);
                accepted.next_hook();
                let mut going_on = run.clone();
                going_on.suppose(at, what, Supposed::GoesOn);
                open.extend([accepted, going_on]);
                run.suppose(at, what, Supposed::Drops);
                return Some(Verdict::Drop);
            }
        }
        None
    }

    /// Back to whoever jumped here; from a chain of the kernel's own, to its policy.
    fn leave(&self, run: &mut Run, base: ChainNumber) -> Option<Verdict> {
        if let Some(back) = run.stack.pop() {
            run.at = Some(back);
            return None;
        }
        run.decided_at = Position { chain: base, rule: None };
        match self.program.chain(base)?.policy {
            Some(Policy::Drop) => Some(Verdict::Drop),
            Some(Policy::Accept) | None => {
                run.next_hook();
                None
            }
        }
    }

    fn holds<'r>(&self, rule: &'r Rule, run: &Run, packet: &Packet) -> Holds<'r>
    where
        'p: 'r,
    {
        let mut unknown = None;
        for Condition { negated, test } in &rule.conditions {
            match self.test(test, run, packet) {
                Ok(holds) if holds == *negated => return Holds::No,
                Ok(_) => {}
                Err(what) => unknown = unknown.or(Some(what)),
            }
        }
        unknown.map_or(Holds::Yes, Holds::Unknown)
    }

    /// Whether the test holds, or what makes that unknown.
    fn test<'t>(&self, test: &'t Test, run: &Run, packet: &Packet) -> Result<bool, &'t str>
    where
        'p: 't,
    {
        let address = |side: &Side| match side {
            Side::Source => packet.source,
            Side::Destination => run.destination,
        };
        Ok(match test {
            Test::Protocol(number) => packet.protocol() == *number,
            Test::Address(side, net) => net.contains(&address(side)),
            Test::InInterface(interface) => matches_interface(interface, packet.way.input()),
            Test::OutInterface(interface) => matches_interface(interface, packet.way.output()),
            Test::Ports(side, ranges) => {
                run.payload.ports().is_some_and(|ports| has_port(*side, ranges, ports))
            }
            Test::Icmp { icmp_type: wanted, codes: (first, last) } => match run.payload {
                Payload::Icmp { icmp_type, code } => {
                    wanted.is_none_or(|wanted| wanted == icmp_type) && (*first..=*last).contains(&code)
                }
                Payload::Ports { .. } | Payload::Other { .. } => false,
            },
            Test::State(states) => states.has(run.state, &run.translation),
            Test::Mark { value, mask } => {
                let known = mask & !run.blurred;
                let known_agree = run.mark & known == value & known;
                if known_agree && known != *mask {
                    return Err("a packet mark that others may set");
                }
                known_agree && value & !mask == 0
            }
            Test::Set(number, sides) => {
                let Some(set) = self.program.set(*number) else { return Ok(false) };
                match &set.members {
                    Members::Addresses(ranges) => {
                        sides.first().is_some_and(|side| ranges.contains(address(side)))
                    }
                    Members::AddressPorts(members) => has_address_port(members, sides, address, run, packet),
                    Members::Unknown(why) => return Err(why),
                }
            }
            Test::ReversePath => packet.reverse_path,
            Test::Local { side, limit_iface_out } => is_local(*side, &packet.way, address(side))
                .and_then(|local| (!(local && *limit_iface_out)).then_some(local))
                .ok_or("which addresses the interface has")?,
            Test::Unknown(what) => return Err(what),
        })
    }
}

/// Whether a rule's conditions hold.
enum Holds<'r> {
    Yes,
    No,
    /// What would have to be known.
    Unknown(&'r str),
}

/// A packet on its way: what changes as it goes.
#[derive(Clone)]
struct Run {
    /// Which of the way's chains of the kernel's own.
    hook: usize,
    /// The next rule; None before the chain is entered.
    at: Option<(ChainNumber, usize)>,
    /// Where to go on behind each jump.
    stack: Vec<(ChainNumber, usize)>,
    mark: u32,
    /// Bits of the mark that aren't known.
    blurred: u32,
    destination: IpAddr,
    payload: Payload,
    state: ConnState,
    translation: Translation,
    decided_at: Position,
    left_filter_at: Option<Position>,
    assumptions: Vec<Assumption>,
    steps: Vec<Step>,
}

impl Run {
    fn new(packet: &Packet) -> Self {
        Self {
            hook: 0,
            at: None,
            stack: Vec::new(),
            mark: 0,
            blurred: 0,
            destination: packet.destination,
            payload: packet.payload,
            state: packet.state,
            translation: Translation::default(),
            decided_at: Position { chain: ChainNumber(0), rule: None },
            left_filter_at: None,
            assumptions: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn next_hook(&mut self) {
        self.hook += 1;
        self.at = None;
        self.stack.clear();
    }

    fn suppose(&mut self, at: Position, what: &str, supposed: Supposed) {
        self.assumptions.push(Assumption { at, what: what.into(), supposed });
    }

    fn end(self, verdict: Verdict) -> Passage {
        let Self { translation, decided_at, left_filter_at, assumptions, steps, .. } = self;
        Passage { verdict, decided_at, left_filter_at, translation, assumptions, steps }
    }
}

impl States {
    fn has(self, state: ConnState, translation: &Translation) -> bool {
        let tracked = match state {
            ConnState::New => self.new,
            ConnState::Established => self.established,
            ConnState::Related => self.related,
            ConnState::Invalid => self.invalid,
            ConnState::Untracked => self.untracked,
        };
        tracked
            || (self.dnat && translation.destination.is_some())
            || (self.snat && translation.source.is_some())
    }
}

/// A packet without such an interface has one of no name (`ip_tables.c`: `nulldevname`).
fn matches_interface(wanted: &InterfaceMatch, interface: Option<&Arc<str>>) -> bool {
    let interface = interface.map_or("", |name| name);
    match wanted {
        InterfaceMatch::Name(name) => **name == *interface,
        InterfaceMatch::Prefix(prefix) => interface.starts_with(&**prefix),
    }
}

fn has_port(side: PortSide, ranges: &[PortRange], (source, destination): (u16, u16)) -> bool {
    let within = |port| ranges.iter().any(|range| (range.first..=range.last).contains(&port));
    match side {
        PortSide::Source => within(source),
        PortSide::Destination => within(destination),
        PortSide::Either => within(source) || within(destination),
    }
}

fn has_address_port(
    members: &[(IpAddr, u8, u16)],
    sides: &[Side],
    address: impl Fn(&Side) -> IpAddr,
    run: &Run,
    packet: &Packet,
) -> bool {
    let (Some(address_side), Some(port_side)) = (sides.first(), sides.get(1)) else { return false };
    let Some((source, destination)) = run.payload.ports() else { return false };
    let port = match port_side {
        Side::Source => source,
        Side::Destination => destination,
    };
    members.binary_search(&(address(address_side), packet.protocol(), port)).is_ok()
}

/// Whether the address is one of the host's own, as far as its way tells: what is forwarded is between others.
fn is_local(side: Side, way: &Way, address: IpAddr) -> Option<bool> {
    match (side, way) {
        (_, Way::Forwarded { .. }) => Some(false),
        (Side::Destination, Way::ToHost { .. }) => {
            let group = match address {
                IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
                IpAddr::V6(address) => address.is_multicast(),
            };
            Some(!group)
        }
        (Side::Source, Way::FromHost { .. }) => Some(true),
        (Side::Source, Way::ToHost { input: interface })
        | (Side::Destination, Way::FromHost { output: interface }) => Some(&**interface == "lo"),
    }
}
