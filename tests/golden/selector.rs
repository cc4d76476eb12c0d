//! `golden/selector`: how selectors are read, printed, named, evaluated and refused.
//!
//! A case is a file. Above the line `---` stands what is asked: the selector as a JSON string (so that blanks and
//! tabs show), then any number of label sets as JSON objects. Below stands the answer.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use felix_rs::labels::{Selector, SelectorError};
use libtest_mimic::{Failed, Trial};

use crate::expectation::{self, Mode};

const AREA: &str = "selector";
const SEPARATOR: &str = "---\n";

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
    let golden = fs::read_to_string(case)?;
    let (asked, _) = golden.split_once(SEPARATOR).ok_or("no line `---` below what is asked")?;
    let actual = format!("{asked}{SEPARATOR}{}", answer(asked)?);
    expectation::check_file(case, &actual, Mode::from_environment())
}

fn answer(asked: &str) -> Result<String, Failed> {
    let mut lines = asked.lines();
    let text: String = serde_json::from_str(lines.next().unwrap_or_default())?;
    match Selector::parse(&text) {
        Ok(selector) => {
            let mut answer = format!("canonical: {}\nid: {}\n", selector.canonical(), selector.id());
            for line in lines {
                let labels: BTreeMap<String, String> = serde_json::from_str(line)?;
                let matches = selector.matches(&|label| labels.get(label).map(String::as_str));
                writeln!(answer, "{line} → {matches}")?;
            }
            Ok(answer)
        }
        Err(_) if lines.next().is_some() => Err("labels given for a selector that is refused".into()),
        Err(error) => Ok(rendered(&text, &error)),
    }
}

/// The text with the fault underlined; a tab and a line break take one column each.
fn rendered(text: &str, error: &SelectorError) -> String {
    let line: String = text.chars().map(visible).collect();
    let columns = |range: Option<&str>| range.map_or(0, |part| part.chars().count());
    let margin = columns(text.get(..error.start));
    let carets = columns(text.get(error.start..error.end)).max(1);
    let mut rendered = format!("error: {}\n  {line}\n  {:margin$}{:^<carets$}\n", error.message, "", "");
    if let Some(help) = &error.help {
        rendered += &format!("help: {help}\n");
    }
    rendered
}

fn visible(char: char) -> char {
    match char {
        '\n' => '␊',
        '\r' => '␍',
        '\t' => '␉',
        other => other,
    }
}
