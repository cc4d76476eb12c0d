//! One set of golden texts, loaded into a kernel and read back.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::path::Path;
use std::{fs, io};

pub use felix_rs::system::iptables::Backend;

use crate::netns;
use crate::text::{self, Chains};

const TABLES: [&str; 4] = ["raw", "mangle", "nat", "filter"];
const FAMILIES: [(&str, &str); 2] = [("v4", "iptables"), ("v6", "ip6tables")];

/// What `ipset restore` and the `iptables-restore` of each table and family get.
#[derive(Clone, Debug, Default)]
pub struct Case {
    pub sets: String,
    pub tables: Vec<Table>,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub name: &'static str,
    /// `iptables` or `ip6tables`.
    pub tool: &'static str,
    pub text: String,
}

impl Case {
    /// The texts in a case's `expect` folder; a missing file is an empty one.
    pub fn read(expect: &Path) -> io::Result<Self> {
        let read = |name: &str| match fs::read_to_string(expect.join(name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        };
        let mut tables = Vec::new();
        for name in TABLES {
            for (suffix, tool) in FAMILIES {
                let text = read(&format!("{name}.{suffix}"))?;
                if !text.is_empty() {
                    tables.push(Table { name, tool, text });
                }
            }
        }
        Ok(Self { sets: read("ipset")?, tables })
    }

    /// Loads all texts in a new network namespace and compares what the kernel then has; the error says what differs.
    pub fn load_and_read_back(&self, backend: Backend) -> Result<(), String> {
        self.compare(&netns::run(&self.script(backend))?)
    }

    /// Sets first, then per table: the test, the load, the reading back.
    pub fn script(&self, backend: Backend) -> String {
        let mut script = "trap 'code=$?; [ $code = 0 ] || echo \"at: $at\" >&2' EXIT\n".to_owned();
        command(&mut script, "ipset restore", &self.sets);
        for Table { name, tool, text } in &self.tables {
            let tool = format!("{tool}-{}", backend.name());
            command(&mut script, &format!("{tool}-restore --test --noflush"), text);
            command(&mut script, &format!("{tool}-restore --noflush"), text);
            read_back(&mut script, &format!("{tool}-save -t {name}"));
        }
        read_back(&mut script, "ipset save");
        script
    }

    /// Compares with what a script printed.
    pub fn compare(&self, printed: &str) -> Result<(), String> {
        let mut answers = printed.split(SECTION).skip(1);
        let mut differences = String::new();
        for table in &self.tables {
            let wanted = only_table(table.name, &table.text)?;
            let found = only_table(table.name, answers.next().ok_or("a table was not read back")?)?;
            difference(&mut differences, &format!("{} {}", table.tool, table.name), &wanted, &found);
        }
        let wanted = text::sets(&self.sets)?;
        let found = text::sets(answers.next().ok_or("the sets were not read back")?)?;
        difference(&mut differences, "set", &wanted, &found);
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    }
}

/// Stands before each text that was read back.
const SECTION: &str = "\n== read back\n";
const END: &str = "END_OF_FELIX_RS_TEXT";

fn command(script: &mut String, command: &str, input: &str) {
    let newline = if input.is_empty() || input.ends_with('\n') { "" } else { "\n" };
    let _ = writeln!(script, "at='{command}'\n{command} <<'{END}'\n{input}{newline}{END}");
}

fn read_back(script: &mut String, command: &str) {
    let _ =
        writeln!(script, "at='{command}'\nprintf '{}'\n{command} </dev/null", SECTION.replace('\n', "\\n"));
}

fn only_table(name: &str, text: &str) -> Result<Chains, String> {
    let mut tables = text::tables(text)?;
    let chains = tables.remove(name).ok_or_else(|| format!("no table {name} in\n{text}"))?;
    if tables.is_empty() { Ok(chains) } else { Err(format!("not only table {name} in\n{text}")) }
}

/// Appends a line for every name with another value.
fn difference<T: Debug + PartialEq>(
    out: &mut String,
    place: &str,
    wanted: &BTreeMap<String, T>,
    found: &BTreeMap<String, T>,
) {
    let names = wanted.keys().chain(found.keys().filter(|name| !wanted.contains_key(*name)));
    for name in names {
        let (wanted, found) = (wanted.get(name), found.get(name));
        if wanted != found {
            let _ = writeln!(out, "{place} {name}\n  wanted {wanted:?}\n  found  {found:?}");
        }
    }
}
