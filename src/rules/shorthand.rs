//! Short ways to write the rules that are the same on every host.

use std::sync::Arc;

use super::ruleset::{Chain, ChainName, ConntrackState, Criterion, Hook, InterfaceMatch, IpSetName, Match};
use super::ruleset::{Provenance, Rule, Side, Target};
use crate::model::{PortRange, Protocol};

/// IP in IP by its number, as Felix writes it.
pub(super) const IPIP: Protocol = Protocol::Number(4);
pub(super) const HOST_ENDPOINT_ACCEPTED: &str = "Host endpoint policy accepted packet.";
/// `-m conntrack --ctstate RELATED,ESTABLISHED`
pub(super) const ESTABLISHED: &[ConntrackState] = &[ConntrackState::Related, ConntrackState::Established];
pub(super) const INVALID: &[ConntrackState] = &[ConntrackState::Invalid];
pub(super) const DNAT: &[ConntrackState] = &[ConntrackState::Dnat];

impl Hook {
    /// A jump, before or behind foreign rules as configured.
    pub(super) fn jump(chain: &'static str, target: &'static str) -> Self {
        Self { chain, rules: vec![Rule::always(Target::jump(target), &Provenance::Static)], appended: vec![] }
    }
}

impl Chain {
    /// A chain that every host has.
    pub(super) fn fixed(name: &'static str, rules: Vec<Rule>) -> Self {
        Self { name: ChainName::fixed(name), rules }
    }
}

impl Rule {
    /// A rule for packets that all of `matches` hold for.
    pub(super) fn when<const N: usize>(matches: [Match; N], target: Target, provenance: &Provenance) -> Self {
        Self {
            comments: Vec::new(),
            matches: Vec::from(matches),
            target: Some(target),
            provenance: provenance.clone(),
        }
    }

    /// A rule for every packet.
    pub fn always(target: Target, provenance: &Provenance) -> Self {
        Self::when([], target, provenance)
    }

    pub fn comment(mut self, text: impl Into<String>) -> Self {
        self.comments.push(text.into());
        self
    }
}

impl Match {
    pub(super) fn protocol(protocol: Protocol) -> Self {
        Self::is(Criterion::Protocol(protocol))
    }

    pub(super) fn port(side: Side, port: u16) -> Self {
        Self::is(Criterion::Ports(side, vec![PortRange { first: port, last: port }]))
    }

    pub(super) fn in_set(side: Side, set: &IpSetName) -> Self {
        Self::is(Criterion::Set(side, set.clone()))
    }

    pub(super) fn not_in_set(side: Side, set: &IpSetName) -> Self {
        Self::not(Criterion::Set(side, set.clone()))
    }

    pub(super) fn conntrack(states: &'static [ConntrackState]) -> Self {
        Self::is(Criterion::Conntrack(states))
    }

    /// Sent by the interface on the other side: `--in-interface`.
    pub(super) fn from(interface: InterfaceMatch) -> Self {
        Self::is(Criterion::InInterface(interface))
    }

    /// On its way out: `--out-interface`.
    pub(super) fn to(interface: InterfaceMatch) -> Self {
        Self::is(Criterion::OutInterface(interface))
    }
}

impl InterfaceMatch {
    pub(super) fn prefix(prefix: &str) -> Self {
        Self::Prefix(Arc::from(prefix))
    }

    pub(super) fn name(name: &str) -> Self {
        Self::Name(Arc::from(name))
    }
}

impl Target {
    pub(super) fn clear_mark(bits: u32) -> Self {
        Self::ClearMark { mask: bits }
    }

    pub(super) fn jump(chain: &'static str) -> Self {
        Self::Jump(ChainName::fixed(chain))
    }

    pub(super) fn goto(chain: &'static str) -> Self {
        Self::Goto(ChainName::fixed(chain))
    }

    /// The chain that this leads to.
    pub fn chain(&self) -> Option<&ChainName> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Accept
            | Self::Drop
            | Self::Reject
            | Self::Return
            | Self::SetMark { .. }
            | Self::ClearMark { .. }
            | Self::Log { .. }
            | Self::NoTrack
            | Self::Masquerade { .. }
            | Self::Snat { .. }
            | Self::Dnat { .. } => None,
        }
    }
}
