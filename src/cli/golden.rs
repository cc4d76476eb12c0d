//! `render --golden`: what a change to the manifests changes on a host, for a CI that asks.

use std::fs;
use std::io;
use std::path::Path;

use similar::TextDiff;

use super::artefact::{Artefact, Selection};
use super::{Failure, Outcome};

/// Prints how `directory` differs from what was selected, or with `update` makes it the same.
pub(super) fn compare(
    directory: &Path,
    selection: &Selection,
    artefacts: &[Artefact],
    update: bool,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::Clean;
    for (name, now) in selection.files(artefacts) {
        let path = directory.join(&name);
        let before = read(&path)?;
        if before == now {
            continue;
        }
        if update {
            write(&path, now)?;
        } else {
            outcome = Outcome::Found;
            super::print(&unified(&path, &before, now))?;
        }
    }
    Ok(outcome)
}

fn unified(path: &Path, before: &str, now: &str) -> String {
    let shown = path.display();
    TextDiff::from_lines(before, now).unified_diff().header(&format!("{shown}"), "rendered now").to_string()
}

/// A file that is not there is an empty one.
fn read(path: &Path) -> Result<String, Failure> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result.map_err(|error| failure(path, error)),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = match path.parent() {
        _ if text.is_empty() => fs::remove_file(path),
        Some(directory) => fs::create_dir_all(directory).and_then(|()| fs::write(path, text)),
        None => fs::write(path, text),
    };
    written.map_err(|error| failure(path, error))
}

fn failure(path: &Path, error: io::Error) -> Failure {
    Failure::Io { what: path.display().to_string(), error }
}
