//! What the README says is so: its commands run, and its code map names every stage and every test, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The section, and the folders whose entries its fenced block names, one a line.
const HEADING: &str = "## Code map";
const FOLDERS: [&str; 4] = ["golden/", "grammar/", "src/", "tests/"];

#[test]
fn the_code_map_names_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("README.md");
    let entries = entries(root, "src", Path::is_dir).chain(entries(root, "tests", |_| true)).collect();
    let faults = faults(&readme, &entries, |path| root.join(path).exists());
    assert!(faults.is_empty(), "README.md, {HEADING}:\n{}", faults.join("\n"));
}

/// What `folder` holds and the map must name, as `folder/name`.
fn entries(root: &Path, folder: &str, wanted: fn(&Path) -> bool) -> impl Iterator<Item = String> {
    let listing = fs::read_dir(root.join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let entries = listing.map(|entry| entry.expect("a readable entry"));
    let entries = entries.filter(move |entry| wanted(&entry.path()));
    entries.map(move |entry| format!("{folder}/{}", entry.file_name().display()))
}

/// Why the map in `readme` is wrong.
fn faults(readme: &str, entries: &BTreeSet<String>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let Some(named) = code_map(readme) else {
        return vec!["there is no such section with a fenced block".to_owned()];
    };
    let missing = entries.difference(&named).map(|path| format!("{path} is not named"));
    let gone = named.iter().filter(|path| !exists(path)).map(|path| format!("{path} does not exist"));
    missing.chain(gone).collect()
}

/// The paths that the section's fenced block names, without a slash at the end.
fn code_map(readme: &str) -> Option<BTreeSet<String>> {
    let mut lines = readme.lines().skip_while(|line| line.trim_end() != HEADING).skip(1);
    let mut section = lines.by_ref().take_while(|line| !line.starts_with("## "));
    section.find(|line| line.starts_with("```"))?;
    let block = section.take_while(|line| !line.starts_with("```"));
    let paths = block.filter_map(|line| line.split_whitespace().next());
    let paths = paths.filter(|path| FOLDERS.iter().any(|folder| path.starts_with(folder) && path != folder));
    Some(paths.map(|path| path.trim_end_matches('/').to_owned()).collect())
}

/// `UPDATE_GOLDEN=1` writes them anew.
#[test]
fn the_tables_are_the_programs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let metrics = felix_rs::telemetry::metrics::listing().expect("metrics");
    let updated = with_table(&readme, "metrics", &metrics);
    let updated = with_table(&updated, "parameters", &felix_rs::config::listing::markdown());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, updated).expect("README.md is written");
    } else {
        assert_eq!(readme, updated, "help: UPDATE_GOLDEN=1 cargo test --test docs");
    }
}

/// The text with `table` between the marks of that name.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let mark = format!("<!-- {name} -->\n");
    let begin = text.find(&mark).expect("the table begins") + mark.len();
    let end = text.find(&format!("<!-- end of {name} -->")).expect("the table ends");
    [&text[..begin], table, &text[end..]].concat()
}

#[test]
fn the_commands_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("README.md");
    let commands: Vec<&str> = commands(&readme).collect();
    assert!(commands.len() >= 4, "{commands:?}");
    for command in commands {
        let ran = Command::new(env!("CARGO_BIN_EXE_felix-rs"))
            .args(command.split_whitespace())
            .current_dir(root)
            .env_clear()
            .output()
            .expect("it starts");
        assert!(ran.status.success(), "felix-rs {command}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

/// The arguments of every `felix-rs` in a shell block.
fn commands(readme: &str) -> impl Iterator<Item = &str> {
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("felix-rs "))
}

#[test]
fn a_wrong_map_is_found() {
    let map = |lines: &str| {
        format!("# felix-rs\n```\nsrc/not/  here\n```\n## Code map\nWhere is what:\n```\n{lines}\n```\n")
    };
    let sound =
        "src/          the library\nsrc/model/    what\n  of it\nsrc/policy/   why\ntests/run     all";
    let cases = [
        (map(sound), vec![]),
        (map("src/model/  what\ntests/run  all"), vec!["src/policy is not named"]),
        (
            map(&format!("{sound}\nsrc/gone/  lost\ngolden/x/  lost")),
            vec!["golden/x does not exist", "src/gone does not exist"],
        ),
        ("## Code map\n## Next\n```\n```\n".to_owned(), vec!["there is no such section with a fenced block"]),
        (String::new(), vec!["there is no such section with a fenced block"]),
    ];
    let entries = BTreeSet::from(["src/model", "src/policy", "tests/run"].map(str::to_owned));
    for (readme, want) in cases {
        assert_eq!(faults(&readme, &entries, |path| entries.contains(path)), want, "{readme}");
    }
}
