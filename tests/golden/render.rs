//! `golden/render`: from manifests to the very texts that the real tools are given.
//!
//! A case is a folder: `datastore/` and the further arguments of `felix-rs render` in `args` (by default none) go in,
//! `expect/` comes out: what `--golden` writes, and in `diagnostics` what is said on stderr. Nothing said, no file.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::expectation::{self, Mode};
use crate::program::{self, Said};

const AREA: &str = "render";
const DIAGNOSTICS: &str = "diagnostics";

/// What there may be, in the order of applying.
const FILES: [(&str, &str); 10] = [
    ("ipset", "ipset restore"),
    ("raw.v4", "iptables-restore --noflush"),
    ("mangle.v4", "iptables-restore --noflush"),
    ("nat.v4", "iptables-restore --noflush"),
    ("filter.v4", "iptables-restore --noflush"),
    ("raw.v6", "ip6tables-restore --noflush"),
    ("mangle.v6", "ip6tables-restore --noflush"),
    ("nat.v6", "ip6tables-restore --noflush"),
    ("filter.v6", "ip6tables-restore --noflush"),
    ("routes", "sh -e"),
];

/// One trial a case; a folder that is not in order is a failing trial.
pub fn trials() -> Vec<Trial> {
    match expectation::cases(AREA) {
        Ok(cases) => cases
            .into_iter()
            .map(|case| Trial::test(expectation::trial_name(AREA, &case), move || check(&case)))
            .collect(),
        Err(error) => vec![Trial::test(AREA, move || Err(error.into()))],
    }
}

fn check(case: &Path) -> Result<(), Failed> {
    let written = Written::by(case)?;
    check_printed(case, &written)?;
    expectation::check_folder(&case.join("expect"), &written.files, Mode::from_environment())
}

/// Without `--golden`, the same texts are printed in the order of applying, each under the name of its tool, and
/// nothing else.
fn check_printed(case: &Path, Written { files, said }: &Written) -> Result<(), Failed> {
    let in_order = FILES.iter().filter_map(|(file, tool)| {
        let text = files.get(Path::new(file))?;
        Some(format!("# {tool}\n{text}"))
    });
    let expected = Said { stdout: in_order.collect(), ..said.clone() };
    let printed = render(case, &[])?;
    if printed == expected {
        return Ok(());
    }
    Err(format!("printed: {printed:?}\nbut written: {expected:?}").into())
}

/// What `render --golden` writes into an empty folder.
struct Written {
    /// The files, and what was said on stderr as one of them.
    files: BTreeMap<PathBuf, String>,
    said: Said,
}

impl Written {
    fn by(case: &Path) -> Result<Self, Failed> {
        let scratch = tempfile::tempdir()?;
        let folder = scratch.path().to_str().ok_or("a scratch folder whose name is not text")?;
        let said = render(case, &["--golden", folder, "--update"])?;
        check_code(&said)?;
        let mut files = BTreeMap::<PathBuf, String>::new();
        for entry in fs::read_dir(scratch.path())? {
            let entry = entry?;
            files.insert(entry.file_name().into(), fs::read_to_string(entry.path())?);
        }
        if let Some(unknown) =
            files.keys().find(|name| !FILES.iter().any(|(file, _)| Path::new(file) == name.as_path()))
        {
            return Err(format!("{}: no such part or family", unknown.display()).into());
        }
        if !said.stderr.is_empty() {
            files.insert(DIAGNOSTICS.into(), said.stderr.clone());
        }
        Ok(Self { files, said })
    }
}

/// `render` of the case; its paths are named as a user in the tree's root would.
fn render(case: &Path, more: &[&str]) -> Result<Said, Failed> {
    let datastore = Path::new("golden").join(expectation::trial_name(AREA, case)).join("datastore");
    let datastore = datastore.to_str().ok_or("a case whose name is not text")?;
    let arguments = match fs::read_to_string(case.join("args")) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let own = ["render", "--datastore", datastore].into_iter().chain(arguments.split_whitespace());
    program::run(own.chain(more.iter().copied()), &[], "")
}

/// 1 where a diagnostic is an error, else 0: nothing differs from what was just written.
fn check_code(said: &Said) -> Result<(), Failed> {
    let has_errors = said.stderr.lines().any(|line| line.starts_with("error["));
    if said.code == i32::from(has_errors) { Ok(()) } else { Err(format!("{said:?}").into()) }
}
