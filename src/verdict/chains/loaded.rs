//! What a kernel has, as its tools print it, asked about a packet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::machine::{Machine, Refusal, Unnamed};
use super::program::{Chain, Program};
use super::saved::{Mixture, Saved, SavedError, SavedRule, parse};
use super::walk::{Step, Told, Walk, Way, reason, through_machine};
use crate::model::IpVersion;
use crate::rules::hash::rule_hashes;
use crate::rules::ruleset::{Rule, Ruleset};
use crate::verdict::explain::Answer;
use crate::verdict::packet::Packet;

/// The tables and sets of one host. A kernel may run two backends at once: a packet must pass both.
#[derive(Debug, Default)]
pub struct Loaded {
    v4: Vec<Saved>,
    v6: Vec<Saved>,
    /// What is known of the interface to all others, where its name isn't.
    unnamed: Option<Unnamed>,
    /// Why a rule of ours is there, by its id.
    reasons: BTreeMap<String, String>,
}

/// What is wrong with what the tools printed.
#[derive(Debug, PartialEq, Eq)]
pub enum LoadedError {
    Unreadable {
        error: SavedError,
        file: usize,
        line: usize,
    },
    /// Tables of which nothing says whether they are of IPv4 or IPv6.
    UnclearFamily,
    /// There are no tables of the packet's family.
    NoTables(IpVersion),
    Refused(Refusal),
}

impl Loaded {
    /// Of the texts of one or more files: tables of both families and sets, in any order; of each the family, where its
    /// name says it.
    ///
    /// # Errors
    /// A text can't be read as a whole.
    pub fn of(files: &[(Option<IpVersion>, &str)]) -> Result<Self, LoadedError> {
        let mixture = Mixture::of_versions(files);
        let texts: Vec<&str> = files.iter().map(|(_, text)| *text).collect();
        if mixture.unclear.is_some() {
            return Err(LoadedError::UnclearFamily);
        }
        let mut loaded = Self::default();
        for version in [IpVersion::V4, IpVersion::V6] {
            let Some(tables) = mixture.tables(version) else { continue };
            let saved = parse(version, tables, mixture.sets.as_deref()).map_err(|error| {
                let (file, line) = Mixture::place(&texts, error.line).unwrap_or_default();
                LoadedError::Unreadable { error, file, line }
            })?;
            loaded.family(version).push(saved);
        }
        Ok(loaded)
    }

    /// Whether there is no table at all.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Adds what another backend has.
    pub fn extend(&mut self, other: Self) {
        self.v4.extend(other.v4);
        self.v6.extend(other.v6);
    }

    /// Packets to and from all others pass by an interface of which no more is known than what it is not.
    pub fn set_unnamed(&mut self, unnamed: Unnamed) {
        self.unnamed = Some(unnamed);
    }

    fn family(&mut self, version: IpVersion) -> &mut Vec<Saved> {
        match version {
            IpVersion::V4 => &mut self.v4,
            IpVersion::V6 => &mut self.v6,
        }
    }

    /// Takes note of why rules are there: those that have the ids of this ruleset's.
    pub fn recognise(&mut self, ruleset: &Ruleset) {
        for table in &ruleset.tables {
            for chain in table.chains.values() {
                self.note(chain.name.as_str(), &chain.rules);
            }
            for hook in &table.hooks {
                self.note(hook.chain, &hook.rules);
            }
        }
    }

    /// What the host has of one family, of each backend.
    pub fn saved(&self, version: IpVersion) -> &[Saved] {
        match version {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        }
    }

    /// A machine for each backend of one family.
    pub fn machines(&self, version: IpVersion) -> impl Iterator<Item = (&Program, Machine<'_>)> {
        self.saved(version)
            .iter()
            .map(|saved| (&saved.program, Machine::new(&saved.program).with_unnamed(self.unnamed.clone())))
    }

    /// The packet's way through each backend.
    ///
    /// # Errors
    /// There is nothing of the family, or no answer.
    pub fn walks(&self, packet: &Packet) -> Result<Vec<Walk>, LoadedError> {
        let version = packet.version();
        if self.saved(version).is_empty() {
            return Err(LoadedError::NoTables(version));
        }
        let each =
            self.saved(version).iter().zip(self.machines(version)).map(|(saved, (program, machine))| {
                through_machine(program, &machine, packet, |chain, index| self.tell(saved, chain, index))
                    .map_err(LoadedError::Refused)
            });
        each.collect()
    }

    fn note(&mut self, chain: &str, rules: &[Rule]) {
        for (rule, hash) in rules.iter().zip(rule_hashes(chain, rules)) {
            self.reasons.insert(hash.to_string(), reason(&rule.provenance));
        }
    }

    fn tell(&self, saved: &Saved, chain: &Chain, index: usize) -> Told {
        let number = saved.program.find(chain.table, &chain.name);
        let rules = number.and_then(|number| saved.rules.get(number.0)).map_or(&[][..], Vec::as_slice);
        let Some(SavedRule { text, comments, id, counters, line: _ }) = rules.get(index) else {
            return Told::default();
        };
        let known = id.as_deref().and_then(|id| self.reasons.get(id)).cloned();
        let own = || comments.iter().find(|comment| !comment.starts_with("cali:")).map(ToString::to_string);
        // The first rule of a chain of ours says whose it is.
        let title = || {
            let mut titles = rules.first().into_iter().flat_map(|rule| &rule.comments);
            titles.find(|comment| is_title(comment)).map(ToString::to_string)
        };
        let foreign = || id.is_none().then(|| "a rule of somebody else".to_owned());
        Told {
            rule: without_comments(text),
            reason: known.or_else(own).or_else(title).or_else(foreign),
            packets: counters.map(|counters| counters.packets),
        }
    }
}

/// The rule without its comments, which are told as its reason.
fn without_comments(text: &str) -> String {
    const COMMENT: &str = "-m comment --comment ";
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(COMMENT) {
        kept.push_str(before);
        rest = match behind.strip_prefix('"') {
            Some(quoted) => behind_quote(quoted),
            None => behind.split_once(' ').map_or("", |(_, behind)| behind),
        }
        .trim_start();
    }
    kept.push_str(rest);
    kept
}

/// What stands behind the closing quote; one behind a backslash is none.
fn behind_quote(quoted: &str) -> &str {
    let mut escaped = false;
    let end = quoted.char_indices().find(|(_, c)| {
        let closes = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    end.and_then(|(at, _)| quoted.get(at + 1..)).unwrap_or_default()
}

/// The comment names a policy or profile.
fn is_title(comment: &str) -> bool {
    ["GlobalNetworkPolicy ", "NetworkPolicy ", "Profile "].iter().any(|kind| comment.starts_with(kind))
}

/// What the walks through all backends come to, and in one line why.
pub fn conclusion(host: &str, walks: &[Walk]) -> (Answer, String) {
    let at = if host.is_empty() { String::new() } else { format!(" at {host}") };
    // Of equal answers, the one that a rule has given says more.
    let by_rule = |walk: &Walk| walk.ways.iter().all(|way| way.policy_of.is_none());
    let each = walks.iter().map(|walk| (conclusion_of(&at, walk), by_rule(walk)));
    let decisive = each.max_by_key(|((answer, _), by_rule)| (*answer, *by_rule));
    decisive.map_or((Answer::Depends, String::new()), |(conclusion, _)| conclusion)
}

fn conclusion_of(at: &str, walk: &Walk) -> (Answer, String) {
    let translated = walk.ways.iter().find_map(|way| way.destination);
    match (walk.verdict(), walk.ways.first(), translated) {
        // By which way it goes on isn't to be seen from here.
        (Some("accepted") | None, _, Some(address)) => (
            Answer::Depends,
            format!(
                "depends{at} on where it goes on: its destination becomes {address}: ask about that address"
            ),
        ),
        (Some("accepted"), Some(way), None) => (Answer::Allowed, format!("allowed{at}: {}", decisive(way))),
        (Some(_), Some(way), _) => {
            (Answer::Denied, format!("denied{at}: {} by {}", way.verdict, decisive(way)))
        }
        (None | Some(_), _, _) => {
            let unknown: BTreeSet<&str> =
                walk.ways.iter().flat_map(|way| way.unknown.iter().map(String::as_str)).collect();
            let unknown: Vec<&str> = unknown.into_iter().collect();
            (Answer::Depends, format!("depends{at} on what is not known: {}", unknown.join("; ")))
        }
    }
}

/// The rule or policy that decided.
fn decisive(way: &Way) -> String {
    let told = |step: &Step| {
        let reason = step.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!("{} {}: {}{reason}", step.table, step.chain, step.rule)
    };
    // Where a policy has marked the packet as accepted, that says more than the rule that looks at the mark: the last
    // one each way.
    let last = |prefixes: [&str; 2]| {
        let of_way = |step: &&Step| prefixes.iter().any(|prefix| step.chain.starts_with(prefix));
        let step = way.steps.iter().rev().find(of_way)?;
        Some(step.reason.clone().map_or_else(|| told(step), |reason| format!("{} ({reason})", step.chain)))
    };
    let accepting: Vec<String> =
        [["cali-po-", "cali-pro-"], ["cali-pi-", "cali-pri-"]].into_iter().filter_map(last).collect();
    match (&way.policy_of, way.decided_by()) {
        _ if way.verdict == "accepted" && !accepting.is_empty() => accepting.join("; "),
        (Some(chain), _) => format!("the policy of {chain}, as no rule has decided"),
        (None, Some(step)) => told(step),
        (None, None) => "no rule".to_owned(),
    }
}

impl fmt::Display for LoadedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { error, file: _, line: _ } => error.fmt(f),
            Self::UnclearFamily => f.write_str(
                "nothing says whether the tables are of IPv4 or IPv6\nhelp: keep the line `# Generated by iptables-save` or \
                 `# Generated by ip6tables-save` above them, or call the files `….v4` and `….v6`",
            ),
            Self::NoTables(version) => {
                let tool = match version {
                    IpVersion::V4 => "iptables-save",
                    IpVersion::V6 => "ip6tables-save",
                };
                write!(f, "there are no tables of the packet's IP version\nhelp: add the output of {tool}")
            }
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for LoadedError {}
