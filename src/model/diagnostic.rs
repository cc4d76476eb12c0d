//! What is wrong with what was written, for the person who wrote it.

use std::fmt;

use serde::Serialize;

use crate::config::{self, ConfigProblem};
use crate::datastore::{Excerpt, Place, ReadError};

/// Whether something is wrong or only looks so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is not what it says: refused, or enforced closed.
    Error,
    /// It is legal and probably not what was meant.
    Warning,
    /// Good to know.
    Note,
}

/// What kind of thing is wrong; stable, for machines and for searching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A file, stream or document that could not be read at all.
    Unreadable,
    /// A document that is not a resource.
    NotAResource,
    UnknownKind,
    UnknownField,
    MissingField,
    /// A value of the wrong shape, out of range, or not among those allowed.
    InvalidValue,
    InvalidSelector,
    InvalidName,
    /// Criteria of one rule that can't stand together.
    Contradiction,
    /// Criteria that iptables cannot check.
    Unenforceable,
    Duplicate,
    /// Something named that is not there.
    MissingReference,
    SelectsNothing,
    UnknownLabel,
    LogOnly,
    NeverMatches,
    /// Addresses that no route leads to, whatever interfaces a host has.
    NoRoute,
    /// What this version reads and does not enforce.
    NotImplemented,
    InvalidConfig,
    /// A store that says of itself that it is not to be enforced yet.
    NotReady,
    /// No chains can be made: two would have one name, or the marks don't suffice.
    Uncompilable,
    /// Chains don't do what the policy says.
    Unfaithful,
}

/// What an object with an error does until it is corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    LeftOut,
    PolicyDenies,
    ProfileDenies,
    TierDenies,
    WithoutUnreadable,
}

/// One thing that is wrong: what, where, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub code: Code,
    pub place: Place,
    /// The line itself, where the source has lines.
    pub excerpt: Option<Excerpt>,
    /// What is wrong, in one line, with the resource's identity where it is known.
    pub message: String,
    /// Why, said at the underlined spot.
    pub label: String,
    /// What happens as long as it stays so.
    pub effect: Option<Effect>,
    /// What to do.
    pub help: Option<String>,
}

impl Code {
    /// As it is printed and searched for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NotAResource => "not-a-resource",
            Self::UnknownKind => "unknown-kind",
            Self::UnknownField => "unknown-field",
            Self::MissingField => "missing-field",
            Self::InvalidValue => "invalid-value",
            Self::InvalidSelector => "invalid-selector",
            Self::InvalidName => "invalid-name",
            Self::Contradiction => "contradiction",
            Self::Unenforceable => "unenforceable",
            Self::Duplicate => "duplicate",
            Self::MissingReference => "missing-reference",
            Self::SelectsNothing => "selects-nothing",
            Self::UnknownLabel => "unknown-label",
            Self::LogOnly => "log-only",
            Self::NeverMatches => "never-matches",
            Self::NoRoute => "no-route",
            Self::NotImplemented => "not-implemented",
            Self::InvalidConfig => "invalid-config",
            Self::Uncompilable => "uncompilable",
            Self::NotReady => "not-ready",
            Self::Unfaithful => "unfaithful",
        }
    }
}

impl Effect {
    /// The same with `InvalidObjects=Ignore`. A profile that is absent denies as well.
    pub fn ignored(self) -> Self {
        match self {
            Self::PolicyDenies | Self::TierDenies => Self::LeftOut,
            Self::LeftOut | Self::ProfileDenies | Self::WithoutUnreadable => self,
        }
    }

    /// As it is printed.
    pub fn text(self) -> &'static str {
        match self {
            Self::LeftOut => "until this is corrected it is left out, as if it were not there",
            Self::PolicyDenies => "until this is corrected the policy denies all that it governs",
            Self::ProfileDenies => "until this is corrected the profile denies all that comes to it",
            Self::TierDenies => {
                "until this is corrected the tier comes first, and its policies deny all that they govern"
            }
            Self::WithoutUnreadable => "until this is corrected it is taken without what can't be read",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

impl Diagnostic {
    /// The order in which diagnostics are shown: by place, then gravity.
    pub fn sort_key(&self) -> (&Place, Severity, Code, &str) {
        (&self.place, self.severity, self.code, &self.message)
    }
}

impl From<&ReadError> for Diagnostic {
    fn from(error: &ReadError) -> Self {
        let ReadError { place, excerpt, kind } = error;
        Self {
            severity: Severity::Error,
            code: Code::Unreadable,
            place: place.clone(),
            excerpt: excerpt.clone(),
            message: kind.to_string(),
            label: String::new(),
            effect: None,
            help: kind.help(),
        }
    }
}

impl From<&ConfigProblem> for Diagnostic {
    fn from(problem: &ConfigProblem) -> Self {
        Self {
            severity: match problem.severity {
                config::Severity::Error => Severity::Error,
                config::Severity::Warning => Severity::Warning,
                config::Severity::Note => Severity::Note,
            },
            code: Code::InvalidConfig,
            place: Place { source: problem.origin.as_str().into(), line: 0, column: 0 },
            excerpt: None,
            message: problem.to_string(),
            label: String::new(),
            effect: None,
            help: problem.help(),
        }
    }
}
