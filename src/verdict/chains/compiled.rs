//! A [`Ruleset`] as a [`Program`]: what the kernel does once it has our chains and nobody else's.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::program::{
    Action, Chain, ChainNumber, Condition, Members, Policy, PortSide, Program, Rule, Set, SetNumber, States,
    Table, Test,
};
use crate::model::IcmpMatch;
use crate::policy::Member;
use crate::rules::ruleset::{self, ConntrackState, Criterion, Hook, KernelSet, Match, Ruleset, Side, Target};
use crate::verdict::ranges::AddressRanges;

impl Program {
    /// The program of `ruleset` where the kernel's own chains hold nothing else and end with `policy`.
    pub fn compiled(ruleset: &Ruleset, policy: Policy) -> Self {
        let names = chain_names(ruleset);
        let numbers: BTreeMap<(Table, &str), ChainNumber> =
            names.iter().enumerate().map(|(number, name)| (*name, ChainNumber(number))).collect();
        let sets: BTreeMap<&str, SetNumber> = ruleset
            .sets
            .keys()
            .enumerate()
            .map(|(number, name)| (name.as_str(), SetNumber(number)))
            .collect();
        let translator = Translator { numbers: &numbers, sets: &sets };
        let mut chains: Vec<Chain> = names
            .iter()
            .map(|(table, name)| Chain {
                table: *table,
                name: Arc::from(*name),
                policy: table.kernel_chains().contains(name).then_some(match table {
                    Table::Filter => policy,
                    // Only filter chains are given another policy: to drop elsewhere is to drop what no rule has seen.
                    Table::Raw | Table::Mangle | Table::Nat | Table::Security => Policy::Accept,
                }),
                rules: Vec::new(),
            })
            .collect();
        for table in &ruleset.tables {
            let table_name = Table::from(table.name);
            let hooks = table.hooks.iter().map(|hook| (hook.chain, hook_rules(hook)));
            let ours = table.chains.values().map(|chain| (chain.name.as_str(), chain.rules.iter().collect()));
            for (name, rules) in hooks.chain(ours) {
                let number = numbers.get(&(table_name, name));
                if let Some(chain) = number.and_then(|number| chains.get_mut(number.0)) {
                    chain.rules = rules.into_iter().map(|rule| translator.rule(table_name, rule)).collect();
                }
            }
        }
        let sets = ruleset.sets.values().map(|set| set_of(set)).collect();
        Self { version: ruleset.version, chains, sets }
    }
}

/// The rules of a hook's chain in the order in which the kernel has them.
pub fn hook_rules(hook: &Hook) -> Vec<&ruleset::Rule> {
    hook.rules.iter().chain(&hook.appended).collect()
}

impl From<ruleset::TableName> for Table {
    fn from(name: ruleset::TableName) -> Self {
        match name {
            ruleset::TableName::Raw => Self::Raw,
            ruleset::TableName::Mangle => Self::Mangle,
            ruleset::TableName::Nat => Self::Nat,
            ruleset::TableName::Filter => Self::Filter,
        }
    }
}

/// Sorted.
fn chain_names(ruleset: &Ruleset) -> Vec<(Table, &str)> {
    let ours = ruleset.tables.iter().flat_map(|table| {
        let table_name = Table::from(table.name);
        table.chains.keys().map(move |name| (table_name, name.as_str()))
    });
    let kernel = ruleset::TableName::ALL.into_iter().map(Table::from).flat_map(kernel_chains);
    let mut names: Vec<_> = ours.chain(kernel).collect();
    names.sort_unstable();
    names
}

fn kernel_chains<'a>(table: Table) -> impl Iterator<Item = (Table, &'a str)> {
    table.kernel_chains().iter().map(move |chain| (table, *chain))
}

fn set_of(set: &KernelSet) -> Set {
    let members = match set.set_type {
        ruleset::SetType::HashNet => {
            Members::Addresses(AddressRanges::of(set.members.iter().filter_map(|member| match member {
                Member::Net(net) => Some(*net),
                Member::IpPort(..) => None,
            })))
        }
        ruleset::SetType::HashIpPort => {
            let mut members: Vec<_> = set
                .members
                .iter()
                .filter_map(|member| match member {
                    Member::IpPort(address, protocol, port) => Some((*address, protocol.number(), *port)),
                    Member::Net(_) => None,
                })
                .collect();
            members.sort_unstable();
            Members::AddressPorts(members)
        }
    };
    Set { name: set.name.as_str().into(), members }
}

struct Translator<'a> {
    numbers: &'a BTreeMap<(Table, &'a str), ChainNumber>,
    sets: &'a BTreeMap<&'a str, SetNumber>,
}

impl Translator<'_> {
    fn rule(&self, table: Table, rule: &ruleset::Rule) -> Rule {
        Rule::new(
            rule.matches.iter().map(|m| self.condition(m)),
            rule.target.as_ref().map_or(Action::Continue, |target| self.action(table, target)),
        )
    }

    fn condition(&self, Match { negated, criterion }: &Match) -> Condition {
        let test = match criterion {
            Criterion::Protocol(protocol) => Test::Protocol(protocol.number()),
            Criterion::Net(side, net) => Test::Address(*side, net.trunc()),
            Criterion::Address(side, address) => Test::Address(*side, (*address).into()),
            Criterion::Set(side, name) => self.set(name.as_str(), vec![*side]),
            Criterion::SetWithPort(side, name) => self.set(name.as_str(), vec![*side, *side]),
            Criterion::Ports(side, ranges) => Test::Ports((*side).into(), ranges.clone()),
            Criterion::Icmp(_, IcmpMatch { icmp_type, code }) => Test::Icmp {
                icmp_type: Some(*icmp_type),
                codes: code.map_or((0, u8::MAX), |code| (code, code)),
            },
            Criterion::Mark { value, mask } => Test::Mark { value: *value, mask: *mask },
            Criterion::InInterface(interface) => Test::InInterface(interface.clone()),
            Criterion::OutInterface(interface) => Test::OutInterface(interface.clone()),
            Criterion::Conntrack(states) => Test::State(States::of(states)),
            Criterion::ReversePath => Test::ReversePath,
            Criterion::SourceIsLocal { limit_iface_out } => {
                Test::Local { side: Side::Source, limit_iface_out: *limit_iface_out }
            }
            Criterion::DestinationIsLocal => Test::Local { side: Side::Destination, limit_iface_out: false },
            Criterion::Limit { rate, burst } => Test::limit(rate, *burst),
        };
        Condition { negated: *negated, test }
    }

    fn set(&self, name: &str, sides: Vec<Side>) -> Test {
        match self.sets.get(name) {
            Some(number) => Test::Set(*number, sides),
            // The kernel would refuse the table.
            None => Test::Unknown(format!("the set {name}, which is not there").into()),
        }
    }

    fn action(&self, table: Table, target: &Target) -> Action {
        match target {
            Target::Accept => Action::Accept,
            Target::Drop => Action::Drop,
            Target::Reject => Action::Reject,
            Target::Return => Action::Return,
            Target::Jump(chain) => self.to_chain(table, chain.as_str(), Action::Jump),
            Target::Goto(chain) => self.to_chain(table, chain.as_str(), Action::Goto),
            Target::SetMark { value, mask } => Action::Mark { clear: value | mask, flip: *value },
            Target::ClearMark { mask } => Action::Mark { clear: *mask, flip: 0 },
            Target::Log { prefix: _ } => Action::Continue,
            Target::NoTrack => Action::NoTrack,
            Target::Masquerade { ports: _ } => Action::TranslateSource(None),
            Target::Snat { to, ports: _ } => Action::TranslateSource(Some(*to)),
            Target::Dnat { to, port } => Action::TranslateDestination { to: *to, port: *port },
        }
    }

    fn to_chain(&self, table: Table, name: &str, action: fn(ChainNumber) -> Action) -> Action {
        match self.numbers.get(&(table, name)) {
            Some(number) => action(*number),
            // The kernel would refuse the table.
            None => Action::Unknown(format!("the chain {name}, which is not there").into()),
        }
    }
}

impl States {
    fn of(states: &[ConntrackState]) -> Self {
        let has = |state| states.contains(&state);
        Self {
            new: has(ConntrackState::New),
            established: has(ConntrackState::Established),
            related: has(ConntrackState::Related),
            invalid: has(ConntrackState::Invalid),
            untracked: false,
            dnat: has(ConntrackState::Dnat),
            snat: false,
        }
    }
}

impl From<Side> for PortSide {
    fn from(side: Side) -> Self {
        match side {
            Side::Source => Self::Source,
            Side::Destination => Self::Destination,
        }
    }
}
