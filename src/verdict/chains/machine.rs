//! A packet through a [`Program`], as the kernel would take it.

use std::net::IpAddr;
use std::sync::Arc;

use super::asked::{Asked, Tested, ask_pairs, ask_ports, is_local, matches_interface};
use super::load::{Load, Part};
use super::program::{
    Action, ChainNumber, Condition, Members, Policy, Program, Rule, States, Table, Test, of_address,
};
use crate::model::IpVersion;
use crate::rules::ruleset::{InterfaceMatch, Side};
use crate::verdict::packet::{ConnState, Packet, Payload, SourceTranslation, Translation, Way};

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
/// only if its rule would do something, and there is room for [`Load::MAX_WAYS`].
///
/// A set of payloads is run like one of them, and parts where a rule holds for some of it.
pub struct Machine<'p> {
    program: &'p Program,
    forwarded: Vec<ChainNumber>,
    to_host: Vec<ChainNumber>,
    from_host: Vec<ChainNumber>,
    unnamed: Option<Unnamed>,
}

/// An interface of which only a stand-in for its name is known, and that its name has none of these prefixes.
#[derive(Clone, Debug)]
pub struct Unnamed {
    pub name: Arc<str>,
    pub not: Vec<String>,
}

/// One way through the program to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage<L = Payload> {
    /// What goes this way, as it was before any translation.
    pub payloads: L,
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
    /// More ways than [`Load::MAX_WAYS`].
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
    /// Most rules that one packet's run may meet.
    pub const MAX_RULES: usize = 4_000_000;

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
            unnamed: None,
        }
    }

    /// The same, where packets come and go by an interface whose name isn't known.
    #[must_use]
    pub fn with_unnamed(self, unnamed: Option<Unnamed>) -> Self {
        Self { unnamed, ..self }
    }

    /// All ways that the packet may take; one, where the program has nothing that isn't modelled.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn run(&self, packet: &Packet, record: Record) -> Result<Vec<Passage>, Refusal> {
        self.run_all(packet, packet.payload, record)
    }

    /// All ways that packets like this one with any of `payloads` may take.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn run_all<L: Load>(
        &self,
        packet: &Packet,
        payloads: L,
        record: Record,
    ) -> Result<Vec<Passage<L>>, Refusal> {
        if packet.version() != self.program.version {
            return Err(Refusal::OtherFamily);
        }
        let bases = match packet.way {
            Way::Forwarded { .. } => &self.forwarded,
            Way::ToHost { .. } => &self.to_host,
            Way::FromHost { .. } => &self.from_host,
        };
        let mut runs =
            Runs { open: vec![Run::new(packet, payloads)], record, budget: Self::MAX_RULES, ended: 0 };
        let mut passages = Vec::new();
        while let Some(run) = runs.open.pop() {
            passages.push(self.finish(run, packet, bases, &mut runs)?);
            runs.ended = passages.len();
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

    /// Takes one run to its end; where the way parts, the other ways are left open.
    fn finish<L: Load>(
        &self,
        mut run: Run<L>,
        packet: &Packet,
        bases: &[ChainNumber],
        runs: &mut Runs<L>,
    ) -> Result<Passage<L>, Refusal> {
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
                runs.budget = runs.budget.checked_sub(1).ok_or(Refusal::Endless)?;
                // The kernel takes no chains that lead in a circle.
                if run.stack.len() > self.program.chains.len() {
                    return Err(Refusal::Endless);
                }
                if runs.ended + runs.open.len() > L::MAX_WAYS {
                    return Err(Refusal::TooManyWays);
                }
                match self.step(run, packet, base, runs) {
                    Stepped::On(going_on) => run = going_on,
                    Stepped::End(ended, verdict) => return Ok(ended.end(verdict)),
                }
            }
            if self.program.chain(base).is_some_and(|chain| chain.table == Table::Filter) {
                run.left_filter_at = Some(run.decided_at);
            }
        }
        Ok(run.end(Verdict::Accept))
    }

    /// Only a connection's first packet meets the nat table.
    fn is_skipped<L>(&self, base: ChainNumber, run: &Run<L>) -> bool {
        let is_nat = self.program.chain(base).is_some_and(|chain| chain.table == Table::Nat);
        is_nat && run.state != ConnState::New
    }

    /// One rule, or the end of a chain.
    fn step<L: Load>(
        &self,
        mut run: Run<L>,
        packet: &Packet,
        base: ChainNumber,
        runs: &mut Runs<L>,
    ) -> Stepped<L> {
        let Some((number, index)) = run.at else { return self.leave(run, base) };
        let rule = self.program.chain(number).and_then(|chain| chain.rules.get(index));
        let Some(rule) = rule else { return self.leave(run, base) };
        let at = Position { chain: number, rule: Some(index) };
        run.at = Some((number, index + 1));
        let Holds { yes, no, unknown } = self.holds(rule, &run, packet);
        let Some(yes) = yes else { return Stepped::On(run) };
        // Who goes on alike need not part.
        if rule.action == Action::Continue && (unknown.is_some() || no.is_some()) {
            return Stepped::On(run);
        }
        if let Some(no) = no {
            runs.open.push(Run { payloads: no, ..run.clone() });
        }
        run.payloads = yes;
        if let Some(what) = unknown {
            let mut other = run.clone();
            other.suppose(at, what, Supposed::DoesNotHold);
            runs.open.push(other);
            run.suppose(at, what, Supposed::Holds);
        }
        run.decided_at = at;
        let mut stepped = self.act(rule, run, at, base, runs);
        if runs.record == Record::Steps {
            let (Stepped::On(run) | Stepped::End(run, _)) = &mut stepped;
            run.steps.push(Step { at, mark: run.mark });
        }
        stepped
    }

    fn act<L: Load>(
        &self,
        rule: &Rule,
        mut run: Run<L>,
        at: Position,
        base: ChainNumber,
        runs: &mut Runs<L>,
    ) -> Stepped<L> {
        match &rule.action {
            Action::Continue => {}
            Action::Accept => run.next_hook(),
            Action::Drop => return Stepped::End(run, Verdict::Drop),
            Action::Reject => return Stepped::End(run, Verdict::Reject),
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
                run.translation.destination = Some((*to, *port));
                run.next_hook();
            }
            Action::Unknown(what) => {
                let mut accepted = run.clone();
                accepted.suppose(at, what, Supposed::Accepts);
                accepted.next_hook();
                let mut going_on = run.clone();
                going_on.suppose(at, what, Supposed::GoesOn);
                runs.open.extend([accepted, going_on]);
                run.suppose(at, what, Supposed::Drops);
                return Stepped::End(run, Verdict::Drop);
            }
        }
        Stepped::On(run)
    }

    /// Back to whoever jumped here; from a chain of the kernel's own, to its policy.
    fn leave<L>(&self, mut run: Run<L>, base: ChainNumber) -> Stepped<L> {
        if let Some(back) = run.stack.pop() {
            run.at = Some(back);
            return Stepped::On(run);
        }
        run.decided_at = Position { chain: base, rule: None };
        match self.program.chain(base).and_then(|chain| chain.policy) {
            Some(Policy::Drop) => Stepped::End(run, Verdict::Drop),
            Some(Policy::Accept) | None => {
                run.next_hook();
                Stepped::On(run)
            }
        }
    }

    fn holds<'r, L: Load>(&self, rule: &'r Rule, run: &Run<L>, packet: &Packet) -> Holds<'r, L>
    where
        'p: 'r,
    {
        let mut holds = Holds { yes: Some(run.payloads.clone()), no: None, unknown: None };
        for Condition { negated, test } in &rule.conditions {
            match self.test(test, run, packet) {
                Tested::Known(known) if known == *negated => return Holds::no(),
                Tested::Known(_) => {}
                Tested::Unknown(what) => holds.unknown = holds.unknown.or(Some(what)),
                Tested::Depends(asked) => {
                    holds.keep(packet.version(), &asked.part(), *negated);
                    if holds.yes.is_none() {
                        return Holds::no();
                    }
                }
            }
        }
        holds
    }

    fn test_interface(&self, wanted: &InterfaceMatch, interface: Option<&Arc<str>>) -> Tested<'static> {
        let unnamed = self.unnamed.as_ref().filter(|unnamed| interface == Some(&unnamed.name));
        match unnamed {
            None => Tested::Known(matches_interface(wanted, interface)),
            Some(Unnamed { name: _, not }) => match wanted {
                InterfaceMatch::Prefix(all) if all.is_empty() => Tested::Known(true),
                InterfaceMatch::Name(text) | InterfaceMatch::Prefix(text)
                    if not.iter().any(|prefix| text.starts_with(prefix.as_str())) =>
                {
                    Tested::Known(false)
                }
                InterfaceMatch::Name(_) | InterfaceMatch::Prefix(_) => {
                    Tested::Unknown("the name of the interface to all others (say it with --uplink)")
                }
            },
        }
    }

    fn test<'t, L>(&self, test: &'t Test, run: &Run<L>, packet: &Packet) -> Tested<'t>
    where
        'p: 't,
    {
        let address = |side: &Side| match side {
            Side::Source => packet.source,
            Side::Destination => run.destination,
        };
        Tested::Known(match test {
            Test::Protocol(number) => return Tested::Depends(Asked::Protocol(*number)),
            Test::Address(side, net) => net.contains(&address(side)),
            Test::InInterface(interface) => return self.test_interface(interface, packet.way.input()),
            Test::OutInterface(interface) => return self.test_interface(interface, packet.way.output()),
            Test::Ports(side, ranges) => return ask_ports(*side, ranges, run.translated_port()),
            Test::Icmp { icmp_type, codes } => {
                return Tested::Depends(Asked::Icmp { icmp_type: *icmp_type, codes: *codes });
            }
            Test::State(states) => match states.has(run.state, &run.translation) {
                Some(has) => has,
                None => return Tested::Unknown("whether the connection is translated"),
            },
            Test::Mark { value, mask } => {
                let known = mask & !run.blurred;
                let known_agree = run.mark & known == value & known;
                if known_agree && known != *mask {
                    return Tested::Unknown("a packet mark that others may set");
                }
                known_agree && value & !mask == 0
            }
            Test::Set(number, sides) => {
                let members = self.program.set(*number).map(|set| &set.members);
                match (members, sides.as_slice()) {
                    (Some(Members::Addresses(ranges)), [side, ..]) => ranges.contains(address(side)),
                    (Some(Members::AddressPorts(members)), [side, port_side, ..]) => {
                        let pairs = of_address(members, address(side));
                        return ask_pairs(*port_side, pairs, run.translated_port());
                    }
                    (Some(Members::Unknown(why)), _) => return Tested::Unknown(why),
                    (None, _) | (Some(Members::Addresses(_) | Members::AddressPorts(_)), _) => false,
                }
            }
            Test::ReversePath => packet.reverse_path,
            Test::Local { side, limit_iface_out } => {
                match is_local(*side, &packet.way, address(side), run.hook < BEFORE_ROUTING) {
                    Some(true) if *limit_iface_out => {
                        return Tested::Unknown("which addresses the interface has");
                    }
                    Some(local) => local,
                    None => return Tested::Unknown("which addresses the host has"),
                }
            }
            Test::Unknown(what) => return Tested::Unknown(what),
        })
    }
}

/// How many of the chains of a packet that comes in are before it is routed.
const BEFORE_ROUTING: usize = 3;

/// How one rule left a run.
enum Stepped<L> {
    On(Run<L>),
    End(Run<L>, Verdict),
}

/// For which of a run's payloads a rule's conditions hold.
struct Holds<'r, L> {
    yes: Option<L>,
    no: Option<L>,
    /// What would have to be known for those in `yes`.
    unknown: Option<&'r str>,
}

impl<L: Load> Holds<'_, L> {
    fn no() -> Self {
        Self { yes: None, no: None, unknown: None }
    }

    /// Those of `yes` that the part has, or with `negated` those that it has not, stay there.
    fn keep(&mut self, version: IpVersion, part: &Part<'_>, negated: bool) {
        let Some(yes) = self.yes.take() else { return };
        let (has, has_not) = yes.split(version, part);
        let (stays, goes) = if negated { (has_not, has) } else { (has, has_not) };
        self.yes = stays;
        self.no = match (self.no.take(), goes) {
            (Some(a), Some(b)) => Some(a.join(b)),
            (a, b) => a.or(b),
        };
    }
}

/// The runs that are still to be taken to their ends.
struct Runs<L> {
    open: Vec<Run<L>>,
    record: Record,
    /// How many more rules may be met.
    budget: usize,
    /// How many runs have come to their end.
    ended: usize,
}

/// A packet on its way: what changes as it goes.
#[derive(Clone)]
struct Run<L> {
    payloads: L,
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
    state: ConnState,
    translation: Translation,
    decided_at: Position,
    left_filter_at: Option<Position>,
    assumptions: Vec<Assumption>,
    steps: Vec<Step>,
}

impl<L> Run<L> {
    fn new(packet: &Packet, payloads: L) -> Self {
        Self {
            payloads,
            hook: 0,
            at: None,
            stack: Vec::new(),
            mark: 0,
            blurred: 0,
            destination: packet.destination,
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

    /// The destination port, where translation has given another.
    fn translated_port(&self) -> Option<u16> {
        self.translation.destination?.1
    }

    fn end(self, verdict: Verdict) -> Passage<L> {
        let Self { payloads, translation, decided_at, left_filter_at, assumptions, steps, .. } = self;
        Passage { payloads, verdict, decided_at, left_filter_at, translation, assumptions, steps }
    }
}

impl States {
    /// None where it depends on how the connection was translated when it was opened.
    fn has(self, state: ConnState, translation: &Translation) -> Option<bool> {
        let tracked = match state {
            ConnState::New => self.new,
            ConnState::Established => self.established,
            ConnState::Related => self.related,
            ConnState::Invalid => self.invalid,
            ConnState::Untracked => self.untracked,
        };
        let translated =
            (self.dnat && translation.destination.is_some()) || (self.snat && translation.source.is_some());
        let asks = self.dnat || self.snat;
        match state {
            ConnState::Established | ConnState::Related if asks && !tracked => None,
            ConnState::Established
            | ConnState::Related
            | ConnState::New
            | ConnState::Invalid
            | ConnState::Untracked => Some(tracked || translated),
        }
    }
}

#[cfg(test)]
mod tests;
