//! The cases of `golden/render`, and others of that form, as events for one host.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use felix_rs::config::{Source, file};
use felix_rs::datastore::Event;
use felix_rs::datastore::yaml::{self, Location};
use felix_rs::model::node_names;
use felix_rs::routes::{Told, Uplinks};

/// What one host is told.
pub struct Case {
    pub name: String,
    pub host: String,
    pub sources: Vec<Source>,
    /// What is known of its interfaces.
    pub uplinks: Uplinks,
    /// Without the end of the snapshot, of which nothing here depends.
    pub events: Vec<Event>,
}

/// All cases by name. None at all is an error: a test of nothing must not pass.
pub fn all() -> Result<Vec<Case>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/render");
    let listing = fs::read_dir(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut cases = BTreeMap::new();
    for entry in listing {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let case = Case::read(&name, &entry.path()).map_err(|error| format!("{name}: {error}"))?;
        cases.insert(name, case);
    }
    if cases.is_empty() {
        Err(format!("{}: no case", root.display()))
    } else {
        Ok(cases.into_values().collect())
    }
}

impl Case {
    pub fn read(name: &str, folder: &Path) -> Result<Self, String> {
        let mut events = yaml::read(&[Location::from(folder.join("datastore"))]);
        events.retain(|event| !matches!(event, Event::InSync));
        let arguments = match fs::read_to_string(folder.join("args")) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| error.to_string())?,
        };
        let Arguments { host, sources, uplinks } = Arguments::parse(&arguments)?;
        let host = host.or_else(|| only_node(&events)).ok_or("no --host, and not one node")?;
        Ok(Self { name: name.to_owned(), host, sources, uplinks: Uplinks::told(&uplinks), events })
    }
}

fn only_node(events: &[Event]) -> Option<String> {
    let names = node_names(events);
    names.first().filter(|_| names.len() == 1).map(ToString::to_string)
}

/// Those of `felix-rs render` that say what is wanted, not how it is shown.
#[derive(Default)]
struct Arguments {
    host: Option<String>,
    sources: Vec<Source>,
    uplinks: Vec<Told>,
}

impl Arguments {
    fn parse(text: &str) -> Result<Self, String> {
        let mut arguments = Self::default();
        let mut set = Vec::new();
        let mut words = text.split_whitespace();
        while let Some(flag) = words.next() {
            let value = words.next().ok_or_else(|| format!("no value behind {flag}"))?;
            match flag {
                "--host" => arguments.host = Some(value.to_owned()),
                "--set" => set.push(value),
                "--uplink" => {
                    arguments.uplinks.push(value.parse().map_err(|error| format!("{value}: {error}"))?);
                }
                "--config" => arguments.sources.push(configuration(value)?),
                other => return Err(format!("{other} in args: not known here")),
            }
        }
        arguments.sources.push(Source::flags(set).0);
        Ok(arguments)
    }
}

fn configuration(path: &str) -> Result<Source, String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    Ok(file::read(path, &text.map_err(|error| format!("{path}: {error}"))?).0)
}
