//! The arguments: which parts are wanted.

use crate::link::Link;
use crate::netns::Backend;

/// In the guest, it is told by this that it is there.
pub const IN_GUEST: &str = "--in-guest";

pub struct Asked {
    pub in_guest: bool,
    pub here: bool,
    /// Unsaid: where this machine has no tunnel.
    pub guest: Option<bool>,
    pub shaped: bool,
    pub unshaped: bool,
    pub backends: Vec<Backend>,
    pub rounds: usize,
}

impl Asked {
    pub fn of(arguments: &[String]) -> Result<Self, String> {
        const WORDS: [&str; 7] = [IN_GUEST, "here", "guest", "shaped", "unshaped", "nft", "legacy"];
        let mut rounds = None;
        for argument in arguments {
            match argument.strip_prefix("rounds=").map(str::parse) {
                Some(Ok(wanted)) if wanted > 0 => rounds = Some(wanted),
                None if WORDS.contains(&argument.as_str()) => {}
                _ => {
                    let known = WORDS[1..].join(", ");
                    return Err(format!("{argument}: not an argument; help: {known}, rounds=5"));
                }
            }
        }
        let is_said = |word: &str| arguments.iter().any(|argument| argument == word);
        let in_guest = is_said(IN_GUEST);
        // Who names none of them wants both.
        let is_wanted = |word: &str, other: &str| is_said(word) || !is_said(other);
        let backends = if is_said("legacy") && is_said("nft") {
            vec![Backend::Nft, Backend::Legacy]
        } else if is_said("legacy") {
            vec![Backend::Legacy]
        } else {
            vec![Backend::Nft]
        };
        Ok(Self {
            in_guest,
            here: is_wanted("here", "guest"),
            guest: if is_said("guest") { Some(true) } else { is_said("here").then_some(false) },
            shaped: is_wanted("shaped", "unshaped"),
            unshaped: is_wanted("unshaped", "shaped"),
            backends,
            // The guest is slow in all that is not measured.
            rounds: rounds.unwrap_or(if in_guest { 3 } else { 5 }),
        })
    }

    /// How long each path is measured in a round. On a slow link of slow processors connections need longer to begin.
    pub fn seconds(&self, link: Link) -> u32 {
        match link {
            Link::Shaped(_) if self.in_guest => 2,
            Link::Shaped(_) | Link::Unshaped => 1,
        }
    }
}
