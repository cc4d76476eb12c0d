//! Where parameters come from outside the datastore: flags, environment, Felix's file.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::config::{ConfigProblem, Source, file};

/// Where Felix looks for its configuration.
const FILE: &str = "/etc/calico/felix.cfg";

/// The flags of those who take parameters as the daemon does.
#[derive(Args)]
pub(super) struct Parameters {
    /// Felix's configuration file [default: /etc/calico/felix.cfg where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A parameter, as in `--set InterfacePrefix=cali,tap`; may be repeated, and beats every other source
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

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
    let sources = vec![flags, Source::environment(variables()), Source::clients(variables())];
    let mut given = Given { sources, problems: Vec::new() };
    if let Some(path) = path {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::Io { what: path.display().to_string(), error })?;
        let (source, problems) = file::read(&path.display().to_string(), &text);
        given.sources.push(source);
        given.problems.extend(problems);
    }
    Ok(given)
}

impl Parameters {
    /// All sources outside the datastore; the file is looked for where Felix does.
    pub(super) fn given(&self) -> Result<Given, Failure> {
        let Self { config, set } = self;
        let default = Path::new(FILE);
        given(config.as_deref().or_else(|| default.exists().then_some(default)), set)
    }
}

/// A variable that is not text can't be a parameter.
fn variables() -> impl Iterator<Item = (String, String)> {
    let variables = env::vars_os();
    variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
