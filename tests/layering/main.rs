//! Holds the shape of `src/`: imports point up, the two ends never meet, files keep one idea.
//!
//! The rules are checked on the source's words, so that a path inside a function counts like one in a `use`.

mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use source::{Kind, Reference, Token};

/// The stages in the order of the data. Each may import from those before it.
const STAGES: [&str; 11] = [
    "config",
    "datastore",
    "labels",
    "model",
    "policy",
    "routes",
    "rules",
    "sync",
    "system",
    "telemetry",
    "verdict",
];

/// Stages that know nothing of each other, whichever comes first.
const STRANGERS: [(&str, &str); 2] = [("routes", "rules"), ("datastore", "system")];

/// An nftables backend must be able to join beside `rules`. `config` is exempt: its table names Felix's parameters.
const BACKEND_FREE: [&str; 4] = ["datastore", "labels", "model", "policy"];
const BACKEND: &str = "iptables";

/// Only these may log; the others say what they found in their results.
const EDGES: [&str; 2] = ["datastore", "system"];
const LOGGER: &str = "tracing";

/// Lines of a file without its tests.
const MAX_LINES: usize = 600;

/// A rule that a file breaks, and where.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: PathBuf,
    line: usize,
    rule: Rule,
}

#[derive(Debug, PartialEq, Eq)]
enum Rule {
    /// A file outside of the stages and the door.
    UnknownStage,
    /// An import from a later stage.
    PointsDown {
        stage: String,
        target: String,
    },
    /// An import between two stages that know nothing of each other.
    Strangers {
        stage: String,
        target: String,
    },
    /// An import of the crate's root, which stands on all stages.
    ImportsRoot {
        path: String,
    },
    /// A stage above `rules` speaks of the backend.
    NamesBackend,
    /// A stage between the ends logs.
    Logs,
    TooLong {
        lines: usize,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        match &self.rule {
            Rule::UnknownStage => write!(f, "is in no stage; STAGES in tests/layering has them in order"),
            Rule::PointsDown { stage, target } => {
                write!(f, "`{stage}` imports from `{target}`, which comes after it: imports point up")
            }
            Rule::Strangers { stage, target } => {
                write!(f, "`{stage}` imports from `{target}`: these two must not know of each other")
            }
            Rule::ImportsRoot { path } => {
                write!(f, "imports `{path}` from the crate's root: name the stage that has it")
            }
            Rule::NamesBackend => write!(f, "names {BACKEND}: nothing above `rules` knows of a backend"),
            Rule::Logs => write!(f, "logs: only the ends do, a stage returns what it found"),
            Rule::TooLong { lines } => {
                write!(f, "{lines} lines without its tests, {MAX_LINES} at most: look for the second idea")
            }
        }
    }
}

#[test]
fn the_source_keeps_its_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&root);
    assert!(!files.is_empty(), "no source below {}", root.display());
    let violations: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            check(file.strip_prefix(&root).expect("listed below it"), &text)
        })
        .map(|violation| format!("src/{violation}"))
        .collect();
    assert!(violations.is_empty(), "{} violations\n{}", violations.len(), violations.join("\n"));
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.sort();
    let (folders, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
    let here = files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    here.chain(folders.iter().flat_map(|folder| rust_files(folder))).collect()
}

/// All that `file` (below `src/`) breaks.
fn check(file: &Path, text: &str) -> Vec<Violation> {
    let tokens = source::tokens(text);
    let module = module_of(file);
    let at = |line, rule| Violation { file: file.to_owned(), line, rule };
    let mut violations: Vec<Violation> =
        length(text, &tokens).into_iter().map(|rule| at(MAX_LINES + 1, rule)).collect();
    match module.first().map(String::as_str) {
        // `lib.rs`, `main.rs` and the door see everything.
        None | Some("cli") => {}
        Some(stage) if STAGES.contains(&stage) => {
            let references = source::references(&tokens, &module);
            violations.extend(references.into_iter().filter_map(|r| at_reference(stage, r, &at)));
            if BACKEND_FREE.contains(&stage) {
                let names = |text: &str| text.to_ascii_lowercase().contains(BACKEND);
                violations.extend(lines_with(&tokens, names).map(|line| at(line, Rule::NamesBackend)));
            }
            if !EDGES.contains(&stage) {
                violations
                    .extend(lines_with(&tokens, |text| text == LOGGER).map(|line| at(line, Rule::Logs)));
            }
        }
        Some(_) => violations.push(at(1, Rule::UnknownStage)),
    }
    violations
}

fn at_reference(
    stage: &str,
    reference: Reference,
    at: &impl Fn(usize, Rule) -> Violation,
) -> Option<Violation> {
    import(stage, &reference.path).map(|rule| at(reference.line, rule))
}

/// The segments from the root on: `policy/mod.rs` is `policy`, `policy/calc.rs` is `policy::calc`.
fn module_of(file: &Path) -> Vec<String> {
    let names = file.with_extension("");
    let mut segments: Vec<String> = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    let stands_for_its_folder = match segments.as_slice() {
        [only] => only == "lib" || only == "main",
        [.., last] => last == "mod",
        [] => false,
    };
    if stands_for_its_folder {
        segments.pop();
    }
    segments
}

/// The rule that `stage` breaks by naming `path`.
fn import(stage: &str, path: &[String]) -> Option<Rule> {
    let target = path.first().map(String::as_str);
    let position = |name: &str| STAGES.iter().position(|&stage| stage == name);
    let Some((target, target_position)) = target.and_then(|target| Some((target, position(target)?))) else {
        return Some(Rule::ImportsRoot {
            path: ["crate"].into_iter().chain(target).collect::<Vec<_>>().join("::"),
        });
    };
    let (stage, target) = (stage.to_owned(), target.to_owned());
    let strangers =
        STRANGERS.iter().any(|&(a, b)| (a == stage && b == target) || (b == stage && a == target));
    if strangers {
        return Some(Rule::Strangers { stage, target });
    }
    (position(&stage) < Some(target_position)).then_some(Rule::PointsDown { stage, target })
}

/// The lines that have a word or text of which `wanted` holds.
fn lines_with(tokens: &[Token], wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = usize> {
    tokens.iter().filter_map(move |token| match &token.kind {
        Kind::Word(text) | Kind::Text(text) => wanted(text).then_some(token.line),
        Kind::Sign(_) => None,
    })
}

fn length(text: &str, tokens: &[Token]) -> Option<Rule> {
    let lines = text.lines().count() - source::test_lines(tokens);
    (lines > MAX_LINES).then_some(Rule::TooLong { lines })
}

/// The rules themselves, shown to fail.
mod rules {
    use super::*;

    type Found = Vec<(usize, Rule)>;

    fn found(file: &str, text: &str) -> Found {
        check(Path::new(file), text).into_iter().map(|violation| (violation.line, violation.rule)).collect()
    }

    fn points_down(stage: &str, target: &str) -> Rule {
        Rule::PointsDown { stage: stage.into(), target: target.into() }
    }

    fn strangers(stage: &str, target: &str) -> Rule {
        Rule::Strangers { stage: stage.into(), target: target.into() }
    }

    fn root(path: &str) -> Rule {
        Rule::ImportsRoot { path: path.into() }
    }

    #[test]
    fn stages_are_in_alphabetical_order() {
        assert!(STAGES.is_sorted());
    }

    #[test]
    fn a_broken_import_is_found() {
        let policy_rules = || points_down("policy", "rules");
        let cases: Vec<(&str, &str, Found)> = vec![
            ("policy/mod.rs", "use crate::rules::Chain;", vec![(1, policy_rules())]),
            ("policy/mod.rs", "\n\npub use crate::rules;", vec![(3, policy_rules())]),
            ("policy/mod.rs", "use crate::rules as model;", vec![(1, policy_rules())]),
            ("policy/mod.rs", "use ::std::fmt;\nuse super::rules::Chain;", vec![(2, policy_rules())]),
            ("policy/a/b.rs", "use super::super::super::rules::Chain;", vec![(1, policy_rules())]),
            ("policy/mod.rs", "use self::super::rules::Chain;", vec![(1, policy_rules())]),
            (
                "policy/mod.rs",
                "use crate::{labels, rules::{Chain, Rule}};",
                vec![(1, policy_rules()), (1, policy_rules())],
            ),
            (
                "policy/mod.rs",
                "use crate::{\n  model::{self, A as B},\n  rules::*,\n};",
                vec![(3, policy_rules())],
            ),
            ("policy/mod.rs", "use {crate::rules::A, std::fmt};", vec![(1, policy_rules())]),
            ("policy/mod.rs", "fn f() -> crate::rules::Chain { todo!() }", vec![(1, policy_rules())]),
            ("policy/mod.rs", "fn f(x: Vec<crate::rules::A<'_>>) {}", vec![(1, policy_rules())]),
            ("policy/mod.rs", "fn f() { g::<crate::rules::A>('\"', r#\"\"#) }", vec![(1, policy_rules())]),
            ("policy/mod.rs", "macro_rules! m { () => { $crate::rules::f() } }", vec![(1, policy_rules())]),
            ("policy/mod.rs", "use crate::r#rules::A;", vec![(1, policy_rules())]),
            ("policy/mod.rs", "mod inner { use super::super::rules::A; }", vec![(1, policy_rules())]),
            ("policy/mod.rs", "mod inner { fn f() {} }\nuse super::rules::A;", vec![(2, policy_rules())]),
            ("policy/mod.rs", "#[cfg(test)]\nmod tests { use crate::rules::A; }", vec![(2, policy_rules())]),
            ("policy/mod.rs", "/* /* */ */ use crate::rules::A; // x", vec![(1, policy_rules())]),
            ("rules/mod.rs", "use crate::routes::A;", vec![(1, strangers("rules", "routes"))]),
            ("routes/mod.rs", "use crate::rules::A;", vec![(1, strangers("routes", "rules"))]),
            ("system/mod.rs", "use crate::datastore::A;", vec![(1, strangers("system", "datastore"))]),
            ("datastore/mod.rs", "use crate::system::A;", vec![(1, strangers("datastore", "system"))]),
            ("datastore/a.rs", "use crate::labels::A;", vec![(1, points_down("datastore", "labels"))]),
            ("config/mod.rs", "use crate::model::A;", vec![(1, points_down("config", "model"))]),
            ("model/mod.rs", "use crate::cli::A;", vec![(1, root("crate::cli"))]),
            ("model/mod.rs", "use crate::Pipeline;", vec![(1, root("crate::Pipeline"))]),
            ("model/mod.rs", "use crate as root;", vec![(1, root("crate"))]),
            ("model/mod.rs", "use super::*;", vec![(1, root("crate::*"))]),
            ("utils/mod.rs", "", vec![(1, Rule::UnknownStage)]),
            ("utils.rs", "", vec![(1, Rule::UnknownStage)]),
        ];
        for (file, text, want) in cases {
            assert_eq!(found(file, text), want, "{file}: {text}");
        }
    }

    #[test]
    fn a_sound_import_is_not() {
        let cases = [
            ("policy/mod.rs", "use crate::{config::Config, datastore::Place, labels, model::{self, A}};"),
            ("policy/calc.rs", "use super::host_policy::HostPolicy;\nuse super::*;\nuse self::x::Y;"),
            ("policy/calc.rs", "mod tests { use super::*; use super::super::A; }"),
            ("policy/mod.rs", "pub(crate) fn f(&self) { self.rules::<A>(); pub(in crate::policy) x }"),
            ("policy/mod.rs", "// use crate::rules::A;\n/* use crate::rules::B; */ /// crate::rules"),
            (
                "policy/mod.rs",
                "const A: &str = \"use crate::rules::A;\"; const B: &str = r#\"crate::rules::B\"#;",
            ),
            ("policy/mod.rs", "fn f<'a>(x: &'a str) -> char { '\\'' }  use crate::model::A;"),
            ("policy/mod.rs", "use ipnet::rules::crate_name; fn f() { other::rules::x() }"),
            ("verdict/mod.rs", "use crate::{policy, routes, rules, sync};"),
            ("cli/mod.rs", "use crate::{Pipeline, rules, system};"),
            ("lib.rs", "pub mod rules; pub use crate::rules::A;"),
            ("main.rs", "use felix_rs::cli;"),
        ];
        for (file, text) in cases {
            assert_eq!(found(file, text), [], "{file}: {text}");
        }
    }

    #[test]
    fn a_backend_above_rules_is_found() {
        let named = || vec![(1, Rule::NamesBackend)];
        let cases = [
            ("policy/mod.rs", "struct IptablesRule;", named()),
            ("model/a.rs", "fn f() { let ip6tables_name = \"iptables-save\"; }", named()),
            ("labels/mod.rs", "/// Later iptables.\nfn f() {} // iptables", vec![]),
            ("rules/mod.rs", "struct IptablesRule;", vec![]),
        ];
        for (file, text, want) in cases {
            assert_eq!(found(file, text), want, "{file}: {text}");
        }
    }

    #[test]
    fn logging_between_the_ends_is_found() {
        let cases = [
            ("policy/mod.rs", "fn f() { tracing::info!(1); }", vec![(1, Rule::Logs)]),
            ("rules/a.rs", "use tracing::debug;", vec![(1, Rule::Logs)]),
            ("datastore/a.rs", "use tracing::debug;", vec![]),
            ("cli/a.rs", "use tracing::debug;", vec![]),
        ];
        for (file, text, want) in cases {
            assert_eq!(found(file, text), want, "{file}: {text}");
        }
    }

    #[test]
    fn a_long_file_is_found() {
        let lines = |count: usize| "fn f() {}\n".repeat(count);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(MAX_LINES));
        let too_long = vec![(MAX_LINES + 1, Rule::TooLong { lines: MAX_LINES + 1 })];
        let cases = [
            (lines(MAX_LINES), vec![]),
            (lines(MAX_LINES + 1), too_long),
            (lines(MAX_LINES - 1) + &tests, vec![]),
        ];
        for (text, want) in cases {
            assert_eq!(found("policy/mod.rs", &text), want, "{} lines", text.lines().count());
        }
    }

    #[test]
    fn a_violation_names_its_place() {
        let violations = check(Path::new("policy/mod.rs"), "\nuse crate::rules::Chain;");
        let said: Vec<String> = violations.iter().map(Violation::to_string).collect();
        assert_eq!(
            said,
            ["policy/mod.rs:2: `policy` imports from `rules`, which comes after it: imports point up"]
        );
    }
}
