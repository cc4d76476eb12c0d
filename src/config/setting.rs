//! `name=value`, as somebody wrote it.

use super::problem::{ConfigProblem, ProblemKind, Severity};

/// A parameter as somebody wrote it, nothing checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: String,
    /// For people: `--set`, `FELIX_LOGPREFIX`, `felix.cfg:12`, `a.yaml:3:5`.
    pub origin: String,
}

/// Texts of the form `name=value` with their origins, and those that are not of it.
pub(super) fn settings<'a>(
    texts: impl IntoIterator<Item = (&'a str, String)>,
) -> (Vec<Setting>, Vec<ConfigProblem>) {
    let mut settings = Vec::new();
    let mut problems = Vec::new();
    for (text, origin) in texts {
        match name_and_value(text) {
            Some((name, value)) => {
                settings.push(Setting { name: name.to_owned(), value: value.to_owned(), origin });
            }
            None => problems.push(ConfigProblem {
                severity: Severity::Error,
                kind: ProblemKind::NotASetting,
                name: text.to_owned(),
                value: String::new(),
                origin,
            }),
        }
    }
    (settings, problems)
}

/// The name before the first `=` and the raw value behind it.
fn name_and_value(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name, value.trim()))
}
