//! A golden file or folder against what the program says: compared byte for byte, shown as a diff, rewritten on demand.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use similar::TextDiff;

/// What to do where the golden text differs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Compare,
    Update,
}

impl Mode {
    /// `UPDATE_GOLDEN`, set to anything but nothing and 0, asks for an update.
    pub fn from_environment() -> Self {
        match std::env::var_os("UPDATE_GOLDEN") {
            Some(value) if !value.is_empty() && value != "0" => Self::Update,
            _ => Self::Compare,
        }
    }
}

/// The golden folder of one area.
pub fn root(area: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(area)
}

/// The cases of `area`, in order: files or folders named `NNN-what-is-pinned`, each number once.
/// Anything else in there is an error, so that no case is forgotten by a misspelt name.
pub fn cases(area: &str) -> io::Result<Vec<PathBuf>> {
    let mut by_number = BTreeMap::new();
    for entry in fs::read_dir(root(area))? {
        let path = entry?.path();
        let number =
            case_number(&path).ok_or_else(|| unexpected(&path, "is not named NNN-words-and-dashes"))?;
        if let Some(other) = by_number.insert(number, path.clone()) {
            return Err(unexpected(&path, &format!("has the number of {}", other.display())));
        }
    }
    Ok(by_number.into_values().collect())
}

/// `area/NNN-name`, as the trial is called.
pub fn trial_name(area: &str, case: &Path) -> String {
    format!("{area}/{}", case.file_name().unwrap_or_default().to_string_lossy())
}

/// The file says exactly `actual`.
pub fn check_file(path: &Path, actual: &str, mode: Mode) -> Result<(), Failed> {
    let golden = match fs::read_to_string(path) {
        Ok(golden) => golden,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    };
    match mode {
        _ if golden == actual && path.exists() => Ok(()),
        Mode::Update => write(path, actual).map_err(Failed::from),
        Mode::Compare => Err(difference(path, &golden, actual).into()),
    }
}

/// The folder holds exactly these files (names relative to it), saying exactly that; others fail, or go.
pub fn check_folder(folder: &Path, actual: &BTreeMap<PathBuf, String>, mode: Mode) -> Result<(), Failed> {
    let mut failures = Vec::new();
    for (name, text) in actual {
        if let Err(failed) = check_file(&folder.join(name), text, mode) {
            failures.push(failed.message().unwrap_or_default().to_owned());
        }
    }
    for orphan in files_below(folder)?.into_iter().filter(|name| !actual.contains_key(name)) {
        match mode {
            Mode::Update => fs::remove_file(folder.join(orphan))?,
            Mode::Compare => {
                failures.push(format!("{}: nothing says this any more", folder.join(orphan).display()))
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// The harness itself, tried on a scratch folder.
pub fn trials() -> Vec<Trial> {
    vec![Trial::test("expectation/differences-and-orphans-fail-until-updated", || {
        let scratch = tempfile::tempdir()?;
        let says = |text: &str| BTreeMap::from([(PathBuf::from("deep/a"), text.to_owned())]);
        let fails = |result: Result<(), Failed>, with: &str| match result {
            Err(failed) if failed.message().is_some_and(|message| message.contains(with)) => Ok(()),
            other => Err(format!("expected a failure with {with:?}, got {other:?}")),
        };
        fails(check_folder(scratch.path(), &says("one\n"), Mode::Compare), "+one")?;
        check_folder(scratch.path(), &says("one\n"), Mode::Update)?;
        check_folder(scratch.path(), &says("one\n"), Mode::Compare)?;
        fails(check_folder(scratch.path(), &says("one \n"), Mode::Compare), "-one\n+one \n")?;
        fails(check_folder(scratch.path(), &BTreeMap::new(), Mode::Compare), "nothing says this")?;
        check_folder(scratch.path(), &BTreeMap::new(), Mode::Update)?;
        check_folder(scratch.path(), &BTreeMap::new(), Mode::Compare)
    })]
}

fn case_number(path: &Path) -> Option<u16> {
    let (number, name) = path.file_name()?.to_str()?.split_once('-')?;
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    (number.len() == 3 && is_name).then(|| number.parse().ok())?
}

fn unexpected(path: &Path, why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{} {why}", path.display()))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

fn difference(path: &Path, golden: &str, actual: &str) -> String {
    let diff = TextDiff::from_lines(golden, actual);
    let diff = diff.unified_diff().context_radius(3).header("golden", "now").to_string();
    format!("{}\n{diff}(UPDATE_GOLDEN=1 writes what is said now)", path.display())
}

/// The files below `folder`, relative to it; none if it is not there.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let entries = match fs::read_dir(folder.join(&below)) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = below.join(entry.file_name());
            if entry.file_type()?.is_dir() { folders.push(name) } else { files.push(name) }
        }
    }
    files.sort();
    Ok(files)
}
