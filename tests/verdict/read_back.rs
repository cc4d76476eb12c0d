//! Every golden case as a program, by three ways: compiled, read from its texts, and read back from a kernel that was
//! given them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use felix_rs::Pipeline;
use felix_rs::model::IpVersion;
use felix_rs::rules::ruleset::{Ruleset, TableName};
use felix_rs::verdict::chains::program::{Policy, Program};
use felix_rs::verdict::chains::saved::{self, Mixture, Saved};
use libtest_mimic::{Failed, Trial};

use crate::case::{self, Case};
use crate::netns;

pub const BACKENDS: [&str; 2] = ["legacy", "nft"];

pub fn trials(skip_kernel: bool) -> Vec<Trial> {
    let cases = match case::all() {
        Ok(cases) => cases,
        Err(error) => return vec![Trial::test("golden", move || Err(error.into()))],
    };
    cases
        .into_iter()
        .map(Arc::new)
        .flat_map(|case| {
            let given = Arc::clone(&case);
            let given = Trial::test(format!("{}::given", case.name), move || as_given(&given));
            let kernel = BACKENDS.map(|backend| {
                let case = Arc::clone(&case);
                Trial::test(format!("{}::{backend}", case.name), move || from_kernel(&case, backend))
                    .with_ignored_flag(skip_kernel)
            });
            [given].into_iter().chain(kernel)
        })
        .collect()
}

/// The texts, and all of them in one file as `render` prints them.
fn as_given(case: &Case) -> Result<(), Failed> {
    let texts = Texts::read(&case.name)?;
    let mixture = Mixture::of(&[&texts.rendered()]);
    for ruleset in &rulesets(case)? {
        let tables = texts.tables(ruleset.version);
        let saved = saved::parse(ruleset.version, &tables, Some(&texts.sets)).map_err(said)?;
        compare(ruleset, &saved)?;
        let sets = mixture.sets.as_deref().unwrap_or_default();
        let tables = mixture.tables(ruleset.version).unwrap_or_default();
        compare(ruleset, &saved::parse(ruleset.version, tables, Some(sets)).map_err(said)?)?;
    }
    if mixture.unclear.is_some() { Err("a rendered text's family is unclear".into()) } else { Ok(()) }
}

/// What a kernel says that it has, from two tools and all of them in one file.
fn from_kernel(case: &Case, backend: &str) -> Result<(), Failed> {
    let printed = netns::run(&Texts::read(&case.name)?.script(backend))?;
    let mixture = Mixture::of(&[&printed]);
    for ruleset in &rulesets(case)? {
        let sets = mixture.sets.as_deref().unwrap_or_default();
        let tables = mixture.tables(ruleset.version).unwrap_or_default();
        let saved = saved::parse(ruleset.version, tables, Some(sets)).map_err(said)?;
        compare(ruleset, &saved)?;
        if saved.rules.iter().flatten().any(|rule| rule.counters.is_none()) {
            return Err("a rule without counters".into());
        }
    }
    Ok(())
}

fn rulesets(case: &Case) -> Result<Vec<Arc<Ruleset>>, Failed> {
    let mut pipeline = Pipeline::new(case.host.as_str().into(), case.sources.clone());
    for event in &case.events {
        pipeline.take(event);
    }
    Ok(pipeline.desired().map_err(said)?.rulesets)
}

pub fn said(error: impl std::fmt::Display) -> Failed {
    error.to_string().into()
}

fn compare(ruleset: &Ruleset, saved: &Saved) -> Result<(), Failed> {
    let compiled = Program::compiled(ruleset, Policy::Accept);
    let Saved { program, rules } = saved;
    let lengths =
        |program: &Program| program.chains.iter().map(|chain| chain.rules.len()).collect::<Vec<_>>();
    if lengths(program) != rules.iter().map(Vec::len).collect::<Vec<_>>() {
        return Err("not a text a rule".into());
    }
    if *program == compiled { Ok(()) } else { Err(difference(&compiled, saved).into()) }
}

fn difference(compiled: &Program, Saved { program, rules }: &Saved) -> String {
    let names = |program: &Program| -> Vec<_> {
        program.chains.iter().map(|chain| (chain.table, chain.name.clone(), chain.policy)).collect()
    };
    let sets = |program: &Program| program.sets.iter().map(|set| set.name.clone()).collect::<Vec<_>>();
    if names(compiled) != names(program) {
        return format!("chains:\n  compiled {:?}\n  read     {:?}", names(compiled), names(program));
    }
    if sets(compiled) != sets(program) {
        return format!("sets:\n  compiled {:?}\n  read     {:?}", sets(compiled), sets(program));
    }
    let mut differences = String::new();
    for ((compiled, read), texts) in compiled.chains.iter().zip(&program.chains).zip(rules) {
        let (wanted, found) = (compiled.rules.len(), read.rules.len());
        if wanted != found {
            let _ = writeln!(differences, "{}: {wanted} rules compiled, {found} read", compiled.name);
        }
        for ((compiled, read), text) in compiled.rules.iter().zip(&read.rules).zip(texts) {
            if compiled != read {
                let text = &text.text;
                let _ = writeln!(differences, "{text}\n  compiled {compiled:?}\n  read     {read:?}");
            }
        }
    }
    for (compiled, read) in
        compiled.sets.iter().zip(&program.sets).filter(|(compiled, read)| compiled != read)
    {
        let _ = writeln!(differences, "compiled {compiled:?}\nread     {read:?}");
    }
    differences
}

/// A case's `expect` folder.
struct Texts {
    sets: String,
    /// Those that are not empty.
    tables: Vec<(IpVersion, String)>,
}

impl Texts {
    fn read(name: &str) -> io::Result<Self> {
        let expect: PathBuf = [env!("CARGO_MANIFEST_DIR"), "golden/render", name, "expect"].iter().collect();
        let mut tables = Vec::new();
        for (version, suffix) in [(IpVersion::V4, "v4"), (IpVersion::V6, "v6")] {
            for table in TableName::ALL {
                tables.push((version, text(&expect.join(format!("{}.{suffix}", table.name())))?));
            }
        }
        tables.retain(|(_, text)| !text.is_empty());
        Ok(Self { sets: text(&expect.join("ipset"))?, tables })
    }

    fn tables(&self, version: IpVersion) -> String {
        self.tables.iter().filter(|(of, _)| *of == version).map(|(_, text)| text.as_str()).collect()
    }

    fn rendered(&self) -> String {
        let mut rendered = format!("# ipset restore\n{}", self.sets);
        for (version, text) in &self.tables {
            let _ = write!(rendered, "# {}-restore --noflush\n{text}", tool(*version));
        }
        rendered
    }

    /// Loads all, then prints all that is there.
    fn script(&self, backend: &str) -> String {
        let mut script = String::new();
        let mut input = |command: &str, text: &str| {
            writeln!(script, "{command} <<'{END}'\n{text}{END}").unwrap_or_default()
        };
        input("ipset restore", &self.sets);
        for (version, text) in &self.tables {
            input(&format!("{}-{backend}-restore --noflush", tool(*version)), text);
        }
        for version in [IpVersion::V4, IpVersion::V6] {
            let _ = writeln!(script, "{}-{backend}-save -c", tool(version));
        }
        script + "ipset save\n"
    }
}

pub const END: &str = "END_OF_FELIX_RS_TEXT";

/// A missing file is an empty one.
fn text(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

pub fn tool(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "iptables",
        IpVersion::V6 => "ip6tables",
    }
}
