//! What a kernel has, and what it ought to have: the texts that `render` prints, loaded into a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

pub use felix_rs::system::iptables::Backend;

use crate::foreign::Foreign;
use crate::objects::HOST;
use crate::text::{self, Set};

/// All tables of a backend and all sets, but for counters.
#[derive(Debug, PartialEq)]
pub struct Saved {
    /// The rules of each chain; of the kernel's own chains those that have some.
    pub chains: Chains,
    pub sets: BTreeMap<String, Set>,
}

/// By tool, table and name.
pub type Chains = BTreeMap<[String; 3], Vec<String>>;

pub const FAMILIES: [&str; 2] = ["iptables", "ip6tables"];

impl Saved {
    /// Reads the kernel that this process is in.
    pub fn read(backend: Backend) -> Result<Self, String> {
        Self::understood(&run(&["sh", "-eu", "-c", &save(backend)], "")?)
    }

    /// What a new kernel has that was given `foreign` and what `render` prints for the directory.
    pub fn rendered(backend: Backend, foreign: &Foreign, datastore: &Path) -> Result<Self, String> {
        let texts = tempfile::tempdir().map_err(|e| format!("a scratch folder: {e}"))?;
        let failed = |e| format!("{}: {e}", texts.path().display());
        render(datastore, texts.path())?;
        for name in ["foreign.v4", "foreign.v6"] {
            fs::write(texts.path().join(name), foreign.tables()).map_err(failed)?;
        }
        fs::write(texts.path().join("foreign.sets"), Foreign::SETS).map_err(failed)?;
        let b = backend.name();
        let load = format!(
            "mount -t tmpfs felix-rs-chaos /run\ncd {}\ncat foreign.sets ipset | grep -v COMMIT | ipset restore\n\
             cat foreign.v4 raw.v4 mangle.v4 nat.v4 filter.v4 | iptables-{b}-restore --noflush\n\
             cat foreign.v6 raw.v6 mangle.v6 nat.v6 filter.v6 | ip6tables-{b}-restore --noflush\n{}",
            texts.path().display(),
            save(backend),
        );
        Self::understood(&run(&["unshare", "--net", "--mount", "sh", "-eu", "-c", &load], "")?)
    }

    /// A line for each difference; none where both are the same.
    pub fn differences(&self, found: &Self) -> String {
        let mut out = String::new();
        difference(&mut out, &self.chains, &found.chains);
        difference(&mut out, &self.sets, &found.sets);
        out
    }

    fn understood(printed: &str) -> Result<Self, String> {
        let mut parts = printed.split(SECTION);
        let mut next = || parts.next().ok_or_else(|| format!("not all was read back:\n{printed}"));
        let mut all = Chains::new();
        for tool in FAMILIES {
            chains(tool, next()?, &mut all);
        }
        Ok(Self { chains: all, sets: text::sets(next()?)? })
    }
}

/// All that `backend` has.
pub fn chains_of(backend: Backend) -> Result<Chains, String> {
    Ok(Saved::read(backend)?.chains)
}

const SECTION: &str = "== then\n";

fn save(backend: Backend) -> String {
    let b = backend.name();
    format!("iptables-{b}-save\necho '== then'\nip6tables-{b}-save\necho '== then'\nipset save\n")
}

/// A file a part and family; those with nothing in them are empty.
fn render(datastore: &Path, into: &Path) -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_felix-rs"))
        .args(["render", "--host", HOST, "--update", "--golden"])
        .arg(into)
        .arg("--datastore")
        .arg(datastore)
        .env_clear()
        .output()
        .map_err(|e| format!("render: {e}"))?;
    // A missing profile and the like are part of the game.
    if output.status.code().is_none_or(|code| code > 1) {
        return Err(format!("render: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    for name in ["raw", "mangle", "nat", "filter"]
        .iter()
        .flat_map(|table| [format!("{table}.v4"), format!("{table}.v6")])
    {
        let path = into.join(name);
        if !path.exists() {
            fs::write(&path, "").map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}

fn chains(tool: &str, text: &str, all: &mut Chains) {
    let mut table = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let key = |chain: &str| [tool.to_owned(), table.to_owned(), chain.to_owned()];
        let name = |rest: &str| rest.split(' ').next().unwrap_or_default().to_owned();
        if let Some(found) = line.strip_prefix('*') {
            table = found;
        } else if let Some(rest) = line.strip_prefix(':') {
            // The kernel's own chains have a policy.
            if rest.contains(" - ") {
                all.entry(key(&name(rest))).or_default();
            }
        } else if let Some(rest) = line.strip_prefix("-A ") {
            all.entry(key(&name(rest))).or_default().push(rest.to_owned());
        }
    }
}

fn difference<K: Debug + Ord, V: Debug + PartialEq>(
    out: &mut String,
    wanted: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
) {
    for name in wanted.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
        let (wanted, found) = (wanted.get(name), found.get(name));
        if wanted != found {
            let _ = writeln!(out, "{name:?}\n  wanted {wanted:#?}\n  found  {found:#?}");
        }
    }
}

/// Runs a command to its end; what it printed.
pub fn run(command: &[&str], stdin: &str) -> Result<String, String> {
    let said = command.join(" ");
    let failed = |e| format!("{said}: {e}");
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let input = child.stdin.take();
    let output = thread::scope(|scope| {
        // Beside the reading: a tool that ends early reads no further.
        scope.spawn(|| input.map(|mut input| input.write_all(stdin.as_bytes())));
        child.wait_with_output()
    });
    let output = output.map_err(failed)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{said}: {}: {}\n{stdin}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}
