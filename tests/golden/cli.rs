//! `golden/cli`: what a user types, and the exit code, standard output and standard error that answer.
//!
//! A case is a file: behind `$ ` the command line, variables of the environment before it; then sections that begin with a line `=== name`. `=== stdin`, where it
//! stands first, goes in; `=== exit N`, `=== stdout` and `=== stderr` come out. A section that would be empty is left out.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;

use libtest_mimic::{Failed, Trial};

use crate::expectation::{self, Mode};
use crate::program::{self, Said};

const AREA: &str = "cli";
const PROMPT: &str = "$ ";
const PROGRAM: &str = "felix-rs";
const STDIN: &str = "=== stdin\n";
const EXIT: &str = "=== exit ";

/// One trial a case, and what no golden file can show.
pub fn trials() -> Vec<Trial> {
    let mut trials = match expectation::cases(AREA) {
        Ok(cases) => cases
            .into_iter()
            .map(|case| Trial::test(expectation::trial_name(AREA, &case), move || check(&case)))
            .collect(),
        Err(error) => vec![Trial::test(AREA, move || Err(error.into()))],
    };
    trials
        .push(Trial::test("cli/a-reader-that-has-gone-is-no-failure", a_reader_that_has_gone_is_no_failure));
    trials
}

fn check(case: &Path) -> Result<(), Failed> {
    let golden = fs::read_to_string(case)?;
    let asked = golden.split_once(EXIT).map_or(golden.as_str(), |(asked, _)| asked);
    let (line, rest) = asked.split_once('\n').ok_or("no line end behind the command")?;
    let words = line.strip_prefix(PROMPT).ok_or_else(|| format!("does not begin with `{PROMPT}`"))?;
    let mut words = words.split_whitespace();
    let variables: Vec<_> =
        words.by_ref().take_while(|word| *word != PROGRAM).map(|word| word.split_once('=')).collect();
    let variables: Option<Vec<_>> = variables.into_iter().collect();
    let variables = variables.ok_or_else(|| format!("not `{PROMPT}[NAME=VALUE …] {PROGRAM} …`"))?;
    let stdin = match rest.strip_prefix(STDIN) {
        Some(stdin) => stdin,
        None if rest.is_empty() => "",
        None => return Err(format!("neither `=== stdin` nor `{EXIT}N` below the command").into()),
    };
    let said = program::run(words, &variables, stdin)?;
    expectation::check_file(case, &format!("{asked}{}", sections(&said)?), Mode::from_environment())
}

fn sections(said: &Said) -> Result<String, Failed> {
    let Said { code, stdout, stderr } = said;
    let mut sections = format!("{EXIT}{code}\n");
    for (name, text) in [("stdout", stdout), ("stderr", stderr)] {
        if text.is_empty() {
            continue;
        }
        if !text.ends_with('\n') {
            return Err(format!("{name} ends within a line: {text}").into());
        }
        sections += &format!("=== {name}\n{text}");
    }
    Ok(sections)
}

/// As with `felix-rs render … | head`.
fn a_reader_that_has_gone_is_no_failure() -> Result<(), Failed> {
    let seed = ["--datastore", "golden/render/001-seed-net1/datastore", "--host", "calico-01"];
    for command in [vec!["render"], vec!["render", "--format", "json"]] {
        let (reader, writer) = io::pipe()?;
        drop(reader);
        let arguments = command.iter().chain(&seed).copied();
        let output = program::command(arguments)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()?;
        if output.status.code() != Some(0) || !output.stderr.is_empty() {
            return Err(format!("{command:?}: {output:?}").into());
        }
    }
    Ok(())
}
