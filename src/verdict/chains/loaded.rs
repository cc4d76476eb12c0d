//! What a kernel has, as its tools print it, asked about a packet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::machine::Refusal;
use super::program::Chain;
use super::saved::{Mixture, Saved, SavedError, SavedRule, parse};
use super::walk::{Step, Told, Walk, Way, reason, through_program};
use crate::model::IpVersion;
use crate::rules::hash::rule_hashes;
use crate::rules::ruleset::{Rule, Ruleset};
use crate::verdict::explain::Answer;
use crate::verdict::packet::Packet;

/// The tables and sets of one host.
#[derive(Debug)]
pub struct Loaded {
    v4: Option<Saved>,
    v6: Option<Saved>,
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
        let read = |version| {
            let tables = mixture.tables(version);
            let saved = tables.map(|tables| parse(version, tables, mixture.sets.as_deref())).transpose();
            saved.map_err(|error| {
                let (file, line) = Mixture::place(&texts, error.line).unwrap_or_default();
                LoadedError::Unreadable { error, file, line }
            })
        };
        Ok(Self { v4: read(IpVersion::V4)?, v6: read(IpVersion::V6)?, reasons: BTreeMap::new() })
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

    /// What the host has of one family.
    pub fn saved(&self, version: IpVersion) -> Option<&Saved> {
        match version {
            IpVersion::V4 => self.v4.as_ref(),
            IpVersion::V6 => self.v6.as_ref(),
        }
    }

    /// The packet's way.
    ///
    /// # Errors
    /// There is nothing of the family, or no answer.
    pub fn walk(&self, packet: &Packet) -> Result<Walk, LoadedError> {
        let version = packet.version();
        let saved = self.saved(version).ok_or(LoadedError::NoTables(version))?;
        through_program(&saved.program, packet, |chain, index| self.tell(saved, chain, index))
            .map_err(LoadedError::Refused)
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

/// The chain has a policy's or profile's rules.
fn is_policy_chain(name: &str) -> bool {
    ["cali-pi-", "cali-po-", "cali-pri-", "cali-pro-"].iter().any(|prefix| name.starts_with(prefix))
}

/// The rule without its comments, which are told as its reason.
fn without_comments(text: &str) -> String {
    const COMMENT: &str = "-m comment --comment ";
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(COMMENT) {
        kept.push_str(before);
        rest = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').map_or("", |(_, behind)| behind),
            None => behind.split_once(' ').map_or("", |(_, behind)| behind),
        }
        .trim_start();
    }
    kept.push_str(rest);
    kept
}

/// The comment names a policy or profile.
fn is_title(comment: &str) -> bool {
    ["GlobalNetworkPolicy ", "NetworkPolicy ", "Profile "].iter().any(|kind| comment.starts_with(kind))
}

/// What the walk comes to, and in one line why.
pub fn conclusion(host: &str, walk: &Walk) -> (Answer, String) {
    let verdict = walk.verdict();
    let answer = match verdict {
        Some("accepted") => Answer::Allowed,
        Some(_) => Answer::Denied,
        None => Answer::Depends,
    };
    let at = if host.is_empty() { String::new() } else { format!(" at {host}") };
    let told = match (answer, walk.ways.first()) {
        (Answer::Depends, _) => {
            let unknown: BTreeSet<&str> =
                walk.ways.iter().flat_map(|way| way.unknown.iter().map(String::as_str)).collect();
            let unknown: Vec<&str> = unknown.into_iter().collect();
            format!("depends{at} on what is not known: {}", unknown.join("; "))
        }
        (_, None) => String::new(),
        (Answer::Allowed, Some(way)) => format!("allowed{at}: {}", decisive(way)),
        (Answer::Denied, Some(way)) => format!("denied{at}: {} by {}", way.verdict, decisive(way)),
    };
    (answer, told)
}

/// The rule or policy that decided.
fn decisive(way: &Way) -> String {
    let told = |step: &Step| {
        let reason = step.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!("{} {}: {}{reason}", step.table, step.chain, step.rule)
    };
    // Where a policy has marked the packet as accepted, that says more than the rule that looks at the mark.
    let accepting: Vec<String> =
        way.steps.iter().filter(|step| is_policy_chain(&step.chain)).map(told).collect();
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
