//! What is measured: from where to where, and how.

use std::fmt;

use crate::policies::RULES;
use crate::world::{Mode, TUNNEL_MTU};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    pub way: Way,
    pub segment: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Host to host, where no daemon is or was.
    Bare,
    /// Host to host.
    Hosts,
    Containers {
        mode: Mode,
        /// How many do not match before the one that does.
        rules: usize,
    },
}

impl Path {
    /// What a daemon alone costs the hosts is seen on a real processor, if on any.
    pub fn all(modes: &[Mode], in_guest: bool) -> Vec<Self> {
        let containers = modes.iter().flat_map(|&mode| RULES.map(|rules| Way::Containers { mode, rules }));
        let ways: Vec<Way> = [Way::Hosts].into_iter().chain(containers).collect();
        let segments = [None, Some(TUNNEL_MTU)];
        let paths = segments.iter().flat_map(|&segment| ways.iter().map(move |&way| Self { way, segment }));
        let bare = (!in_guest).then_some(Self { way: Way::Bare, segment: None });
        bare.into_iter().chain(paths).collect()
    }
}

/// Three cells of a table.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Way::Bare => f.write_str("host to host, no daemon | "),
            Way::Hosts => f.write_str("host to host | "),
            Way::Containers { mode: Mode::Plain, rules } => write!(f, "containers, plain | {rules}"),
            Way::Containers { mode: Mode::Tunnel, rules } => write!(f, "containers, IPIP | {rules}"),
        }?;
        match self.segment {
            None => f.write_str(" | "),
            Some(segment) => write!(f, " | -M {segment}"),
        }
    }
}
