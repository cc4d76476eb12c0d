//! Why connections cannot be read or removed.

use std::{fmt, io};

/// `EINVAL` and `EPROTONOSUPPORT`: the kernel's words for a part that it hasn't.
const ABSENT: [Option<i32>; 2] = [Some(22), Some(93)];

/// Why connections cannot be read or removed.
#[derive(Debug)]
pub enum ConntrackError {
    /// The kernel doesn't track connections, or doesn't tell of them.
    Absent {
        source: io::Error,
    },
    /// The kernel says no.
    Refused {
        doing: &'static str,
        source: io::Error,
    },
    Socket {
        doing: &'static str,
        source: io::Error,
    },
    /// An answer did not come.
    Silent,
    /// Entries whose addresses can't be read were left as they are.
    Unreadable {
        entries: usize,
    },
}

impl ConntrackError {
    /// Of the first requests, which tell whether there is such a table.
    pub(super) fn unless_absent(doing: &'static str, source: io::Error) -> Self {
        if ABSENT.contains(&source.raw_os_error()) {
            return Self::Absent { source };
        }
        Self::Refused { doing, source }
    }

    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Absent { source: _ } => {
                "load the modules nf_conntrack and nf_conntrack_netlink, or use a kernel that has them"
            }
            Self::Refused { .. } => "run as root, with CAP_NET_ADMIN",
            Self::Socket { .. } | Self::Silent => "it is tried again; if it lasts, see the kernel's log",
            Self::Unreadable { entries: _ } => "`conntrack -L` shows them, `conntrack -D` removes them",
        }
    }
}

impl fmt::Display for ConntrackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { source } => write!(f, "the kernel has no table of connections: {source}"),
            Self::Refused { doing, source } => write!(f, "{doing}: the kernel refuses: {source}"),
            Self::Socket { doing, source } => write!(f, "the table of connections: {doing}: {source}"),
            Self::Silent => write!(f, "the table of connections: the kernel does not answer"),
            Self::Unreadable { entries } => {
                write!(f, "{entries} connections cannot be read, and were left as they are")
            }
        }
    }
}

impl std::error::Error for ConntrackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Absent { source }
            | Self::Refused { doing: _, source }
            | Self::Socket { doing: _, source } => Some(source),
            Self::Silent | Self::Unreadable { entries: _ } => None,
        }
    }
}
