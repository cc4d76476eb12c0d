//! What an application did, and why it did not do all.

use std::fmt;

use crate::model::IpVersion;
use crate::rules::ruleset::TableName;
use crate::sync::ReadBackError;
use crate::system::lock::LockWait;
use crate::system::tool::ToolError;

/// What one application did.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    pub writes: Vec<Write>,
    /// What was read.
    pub tables_read: usize,
    pub sets_read: bool,
    pub lock: LockWait,
    /// Restores that were refused.
    pub table_errors: usize,
    pub set_errors: usize,
    /// What somebody else had changed since it was last known to be right: part of a sentence for people.
    pub drift: Vec<String>,
    /// Sets remain that are to be destroyed: another round is wanted soon.
    pub unfinished: bool,
    /// Parts that were closed, or are not any more.
    pub quarantine_changed: bool,
    /// Something is refused that can't be closed.
    pub hopeless: bool,
}

/// One input that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub what: Written,
    pub lines: usize,
    pub bytes: usize,
}

/// What was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Written {
    Sets,
    Table(IpVersion, TableName),
}

/// Why a kernel is not as desired. What was carried out stays.
#[derive(Clone, Debug)]
pub enum ApplyError {
    /// It can't be read, and was not written.
    Read { what: Written, error: ReadError },
    /// It refused.
    Refused { what: Written, error: ToolError },
}

/// Why what is there is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    Tool(ToolError),
    Text(ReadBackError),
}

impl ApplyError {
    /// There is no such tool on this host.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Read { what: _, error: ReadError::Tool(ToolError::Missing { .. }) }
                | Self::Refused { what: _, error: ToolError::Missing { .. } }
        )
    }

    /// What is not as desired.
    pub(super) fn what(&self) -> Written {
        match self {
            Self::Read { what, error: _ } | Self::Refused { what, error: _ } => *what,
        }
    }

    /// What was refused for its input.
    pub(super) fn refused(&self) -> Option<Written> {
        match self {
            Self::Refused { what, error } => is_refusal(error).then_some(*what),
            Self::Read { .. } => None,
        }
    }

    /// It may go another way when it is tried again at once.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Read { what: _, error: ReadError::Text(ReadBackError::Incompatible { .. }) } => false,
            Self::Read { what: _, error: ReadError::Text(_) } => true,
            Self::Read { what: _, error: ReadError::Tool(error) } | Self::Refused { what: _, error } => {
                may_pass(error)
            }
        }
    }
}

/// The tool looked at its input, and would refuse it again.
pub(super) fn is_refusal(error: &ToolError) -> bool {
    const NOT_OF_THE_INPUT: [&str; 3] = ["xtables lock", "Permission denied", "Operation not permitted"];
    match error {
        ToolError::Failed { code, complaint, .. } => {
            code.is_some() && !NOT_OF_THE_INPUT.iter().any(|words| complaint.contains(words))
        }
        ToolError::Missing { .. }
        | ToolError::Io { .. }
        | ToolError::TimedOut { .. }
        | ToolError::Unreadable { .. } => false,
    }
}

/// A tool that is missing, or took its time to no end, will do so again.
fn may_pass(error: &ToolError) -> bool {
    match error {
        ToolError::Failed { .. } => is_refusal(error),
        ToolError::Io { .. } => true,
        ToolError::Missing { .. } | ToolError::TimedOut { .. } | ToolError::Unreadable { .. } => false,
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sets => f.write_str("the IP sets"),
            Self::Table(version, table) => write!(f, "the {} table for {version}", table.name()),
        }
    }
}

impl ApplyError {
    /// What the reader of the message can do about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Read { what: _, error: ReadError::Text(ReadBackError::Incompatible { .. }) } => {
                Some("remove what `nft` wrote into iptables' tables, or move it to a table of another name")
            }
            Self::Read { what: _, error: ReadError::Tool(error) } | Self::Refused { what: _, error } => {
                error.help()
            }
            Self::Read { what: _, error: ReadError::Text(_) } => None,
        }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { what, error } => write!(f, "{what} can't be read: {error}"),
            Self::Refused { what, error } => write!(f, "{what} can't be written: {error}"),
        }
    }
}

impl std::error::Error for ApplyError {}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(error) => error.fmt(f),
            Self::Text(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}
