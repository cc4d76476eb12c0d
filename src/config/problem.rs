//! What is wrong with how this program was configured.

use std::fmt;

use super::EtcdFault;
use super::clients::variables;

/// Whether a setting is wrong or only worth knowing about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// What was asked for is not in force.
    Error,
    /// Wrong, but something stronger is in force anyway.
    Warning,
    /// Good to know.
    Note,
}

/// One setting that is not in force as it was written, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    pub severity: Severity,
    pub kind: ProblemKind,
    /// The parameter, or what was written in its place.
    pub name: String,
    /// As it was written; of a secret, only that it was.
    pub value: String,
    /// Where: `felix.cfg:12`, `environment`, `--set`, a place in a manifest.
    pub origin: String,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Not a value of its parameter.
    InvalidValue {
        /// What would be one, in words.
        allowed: String,
        /// The part that was not understood; None where it is `none`.
        part: Option<String>,
        /// What holds instead, where this would have been the strongest setting.
        default: Option<&'static str>,
    },
    /// No parameter has this name; the nearest one that exists.
    UnknownName { nearest: Option<&'static str> },
    /// A parameter of a feature that this program leaves out.
    LeftOut { feature: &'static str },
    /// A parameter of Felix that this version does not use.
    Unused,
    /// A parameter that only this host may set, in the datastore.
    LocalOnly,
    /// Not `name=value`.
    NotASetting,
    /// A secret on the command line.
    Exposed,
    /// How etcd is reached, all that was said taken together.
    Etcd(EtcdFault),
}

impl ConfigProblem {
    /// What to do, where that is more than the message says.
    pub fn help(&self) -> Option<String> {
        match &self.kind {
            ProblemKind::InvalidValue { allowed, .. } => Some(format!("{} takes {allowed}", self.name)),
            ProblemKind::UnknownName { nearest } => nearest.map(|name| format!("did you mean `{name}`?")),
            ProblemKind::LocalOnly => {
                Some("set it in the environment, in the configuration file or with --set".to_owned())
            }
            ProblemKind::NotASetting => Some("write `name=value`".to_owned()),
            ProblemKind::Exposed => Some(format!(
                "set {} in the environment, or {} in the configuration file",
                variables(&self.name),
                self.name
            )),
            ProblemKind::Etcd(fault) => Some(fault.help()),
            ProblemKind::LeftOut { .. } | ProblemKind::Unused => None,
        }
    }
}

impl fmt::Display for ConfigProblem {
    /// One line, without the origin and the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, kind, .. } = self;
        match kind {
            ProblemKind::InvalidValue { part, default, .. } => {
                write!(f, "invalid value `{value}` for {name}")?;
                if let Some(part) = part.as_ref().filter(|part| *part != value) {
                    write!(f, ": `{part}` is not understood")?;
                }
                match default {
                    Some("") => f.write_str("; it stays unset"),
                    Some(default) => write!(f, "; the default `{default}` is used"),
                    None => f.write_str("; another setting is stronger"),
                }
            }
            ProblemKind::UnknownName { .. } => write!(f, "unknown parameter `{name}`"),
            ProblemKind::LeftOut { feature } => write!(f, "{name} is ignored: there is no {feature} here"),
            ProblemKind::Unused => write!(f, "{name} is known but not used by this version"),
            ProblemKind::LocalOnly => write!(f, "{name} is ignored in the datastore: it is local to a host"),
            ProblemKind::NotASetting => write!(f, "`{name}` is not a setting"),
            ProblemKind::Exposed => write!(f, "{name} would be seen by all who list processes"),
            ProblemKind::Etcd(fault) => fault.fmt(f),
        }
    }
}
