//! Why the interfaces cannot be followed.

use std::{fmt, io};

/// Why the interfaces cannot be followed for now. It is tried again.
#[derive(Debug)]
pub enum LinksError {
    /// The socket can't be opened or used.
    Socket { doing: &'static str, source: io::Error },
    /// The kernel refuses to list them.
    Refused { source: io::Error },
    /// The kernel began to list them, and never ended.
    Silent,
}

impl LinksError {
    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Socket { .. } | Self::Refused { .. } => {
                "the daemon needs AF_NETLINK sockets: see whether a seccomp profile, or RestrictAddressFamilies= of its unit, forbids them"
            }
            Self::Silent => "see whether the kernel's log tells of a task that hangs",
        }
    }
}

impl fmt::Display for LinksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { doing, source } => write!(f, "the kernel's netlink socket: {doing}: {source}"),
            Self::Refused { source } => write!(f, "the kernel refuses to list interfaces: {source}"),
            Self::Silent => write!(f, "the kernel does not finish its list of interfaces"),
        }
    }
}

impl std::error::Error for LinksError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket { doing: _, source } | Self::Refused { source } => Some(source),
            Self::Silent => None,
        }
    }
}
