//! The guest: started once for all trials that are asked for, and what it found.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Instant;
use std::{env, io};

use serde_json::{Value, json};

use crate::{Verdict, sandbox};

const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/guest");

/// What this program is called with in the guest, before the names of the trials.
const IN_GUEST: &str = "--in-guest";

/// When the guest is given up, in seconds, on however busy a machine.
const LIMIT: &str = "600";

pub struct Guest {
    names: Vec<&'static str>,
    found: OnceLock<Result<Found, String>>,
}

/// By the names of the trials; one that is missing was not carried out.
type Found = BTreeMap<String, Verdict>;

impl Guest {
    /// It starts when the first verdict is asked for.
    pub fn new(names: Vec<&'static str>) -> Self {
        Self { names, found: OnceLock::new() }
    }

    pub fn verdict(&self, name: &str) -> Verdict {
        let found = self.found.get_or_init(|| start(&self.names)).as_ref()?;
        found.get(name).cloned().unwrap_or_else(|| Err("the guest has ended before".to_owned()))
    }
}

/// Whether there can be a guest; if not, why.
pub fn check() -> Verdict {
    let output = Command::new(GUEST).arg("--check").output().map_err(|e| format!("{GUEST}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Has the trials carried out in a guest, which ends with this.
fn start(names: &[&str]) -> Result<Found, String> {
    check()?;
    let failed = |e: io::Error| format!("{GUEST}: {e}");
    let began = Instant::now();
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", GUEST, "--limit", LIMIT, "--"])
        .arg(env::current_exe().map_err(failed)?)
        .arg(IN_GUEST)
        .args(names)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut found = Found::new();
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line.map_err(failed)?;
        match verdict(&line) {
            Some((name, verdict)) => drop(found.insert(name, verdict)),
            // What a trial tells people.
            None => println!("{line}"),
        }
    }
    let status = child.wait().map_err(failed)?;
    println!("the guest took {:.1} s", began.elapsed().as_secs_f32());
    if status.success() || !found.is_empty() { Ok(found) } else { Err(format!("{GUEST}: {status}")) }
}

/// The trials that this process is to carry out in the guest.
pub fn asked() -> Option<Vec<String>> {
    let mut arguments = env::args().skip(1);
    arguments.next().filter(|first| first == IN_GUEST)?;
    Some(arguments.collect())
}

/// Carries them out, one after the other, and says what was found, a line each.
pub fn carry_out(names: &[String]) -> ExitCode {
    for name in names {
        let began = Instant::now();
        let wrong = sandbox::carry_out(name).err();
        eprintln!("{name} took {:.1} s", began.elapsed().as_secs_f32());
        println!("{}", json!({ "trial": name, "wrong": wrong }));
    }
    ExitCode::SUCCESS
}

/// What such a line says.
fn verdict(line: &str) -> Option<(String, Verdict)> {
    let Ok(Value::Object(said)) = serde_json::from_str(line) else { return None };
    let name = said.get("trial")?.as_str()?.to_owned();
    Some((name, said.get("wrong")?.as_str().map_or(Ok(()), |wrong| Err(wrong.to_owned()))))
}
