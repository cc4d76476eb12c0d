//! `name=value`, as somebody wrote it.

use std::fmt;

use super::kind::Kind;
use super::parameter::Parameter;
use super::parameters::PARAMETERS;
use super::problem::{ConfigProblem, ProblemKind, Severity};

/// What is shown in a secret's place.
pub(super) const HIDDEN: &str = "(set)";

/// A parameter as somebody wrote it, nothing checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: String,
    /// For people: `--set`, `FELIX_LOGPREFIX`, `felix.cfg:12`, `a.yaml:3:5`.
    pub origin: String,
}

impl Setting {
    /// The value as it may be shown. One that no parameter has may be a secret's, misspelt.
    pub fn shown(&self) -> &str {
        if self.is_hidden() { HIDDEN } else { &self.value }
    }

    /// Whether the value, or a part of it, must not be shown.
    pub(super) fn is_hidden(&self) -> bool {
        match Parameter::named(&self.name) {
            // No endpoint has a user and password, but who doesn't know writes them.
            Some(parameter) if parameter.kind == Kind::Endpoints => self.value.contains('@'),
            Some(parameter) => parameter.is_secret(),
            None => true,
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value: _, origin } = self;
        f.debug_struct("Setting")
            .field("name", name)
            .field("value", &self.shown())
            .field("origin", origin)
            .finish()
    }
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
                name: without_secret(text),
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

/// A text that was to be a setting, as it may be shown: behind a secret's name may stand the secret.
fn without_secret(text: &str) -> String {
    let begins =
        |name: &str| text.get(..name.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(name));
    let mut secrets = PARAMETERS.iter().filter(|parameter| parameter.is_secret());
    match secrets.find(|parameter| begins(parameter.name)) {
        Some(parameter) if text.len() > parameter.name.len() => format!("{} …", parameter.name),
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let (settings, problems) = settings([
            ("etcdpassword = hunter2", "a".to_owned()),
            ("EtcdPasswort=hunter2", "a".to_owned()),
            ("EtcdEndpoints=http://u:hunter2@a:1", "a".to_owned()),
            ("EtcdPassword: hunter2", "b".to_owned()),
            ("EtcdPassword", "c".to_owned()),
        ]);
        assert_eq!(settings.iter().map(Setting::shown).collect::<Vec<_>>(), ["(set)", "(set)", "(set)"]);
        let names: Vec<_> = problems.iter().map(|problem| problem.name.as_str()).collect();
        assert_eq!(names, ["EtcdPassword …", "EtcdPassword"]);
        assert!(!format!("{settings:?} {settings:#?} {problems:?}").contains("hunter2"));
    }
}
