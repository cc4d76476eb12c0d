//! Where parameters come from outside the datastore: flags, environment, Felix's file.

use std::env;
use std::fs;
use std::path::Path;

use super::Failure;
use crate::config::{ConfigProblem, Source, file};

/// What the door knows, and what was wrong with how it was written.
pub(super) struct Given {
    pub(super) sources: Vec<Source>,
    pub(super) problems: Vec<ConfigProblem>,
}

/// All sources outside the datastore, whatever their precedence.
pub(super) fn given(path: Option<&Path>, flags: &[String]) -> Result<Given, Failure> {
    let (flags, slips) = Source::flags(flags.iter().map(String::as_str));
    if let Some(slip) = slips.first() {
        return Err(Failure::Usage(format!("--set: {slip}\nhelp: {}", slip.help().unwrap_or_default())));
    }
    let mut given = Given { sources: vec![flags, from_environment()], problems: Vec::new() };
    if let Some(path) = path {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::Io { what: path.display().to_string(), error })?;
        let (source, problems) = file::read(&path.display().to_string(), &text);
        given.sources.push(source);
        given.problems.extend(problems);
    }
    Ok(given)
}

/// A variable that is not text can't be a parameter.
fn from_environment() -> Source {
    let variables = env::vars_os();
    Source::environment(
        variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    )
}
