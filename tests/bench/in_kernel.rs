//! How long a change takes from its source to the kernel, beside the bare tools with the same lines: `cargo bench --bench in_kernel`.
//!
//! Both in one run and in a network namespace of its own: a daemon follows a directory with a file an object, or etcd; a
//! file is replaced, or a key put; the time until the daemon says that it has applied is taken. Then, with the daemon
//! stopped, the same lines go into `iptables-restore --noflush` and `ipset restore`. Medians, and the 99th of a hundred.
//! How long it takes to read a large store comes first. Needs root, and etcd. Arguments: sources, backends and sizes to
//! take.

mod generate;
#[path = "../etcd/server.rs"]
mod server;
mod store;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use felix_rs::Pipeline;
use felix_rs::datastore::{Event, yaml};
use felix_rs::model::IpVersion;
use felix_rs::sync::{Programmed, Step, plan};
use generate::HOST;
use store::{Store, pairs};
use tempfile::TempDir;

const INSIDE: &str = "FELIX_RS_BENCH_INSIDE";
const POLICIES: usize = 200;
/// Each there and back.
const ROUNDS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(300);

/// One object that changes, and changes back: the first of its files with which something changes on the host.
#[derive(Clone, Copy)]
struct Change {
    name: &'static str,
    files: &'static str,
    /// The number of the first file, as a part of the local endpoints.
    first: fn(usize) -> usize,
    from: &'static str,
    to: &'static str,
}

const CHANGES: [Change; 3] = [
    Change { name: "one endpoint", files: "endpoints", first: |_| 0, from: "app: app-", to: "app: other-" },
    Change {
        name: "one policy",
        files: "policies",
        first: |_| 0,
        from: "ports: [service]",
        to: "ports: [8001]",
    },
    Change {
        name: "one set member",
        files: "endpoints",
        first: |local| local,
        from: "app: app-",
        to: "app: other-",
    },
];

fn main() -> ExitCode {
    if env::var_os(INSIDE).is_none() {
        let this = env::current_exe().expect("this program");
        let status = Command::new("unshare")
            .args(["--net", "--mount"])
            .arg(this)
            .args(env::args().skip(1))
            .env(INSIDE, "1")
            .status()
            .expect("unshare");
        return ExitCode::from(u8::from(!status.success()));
    }
    // etcd listens there.
    assert!(command("ip", &["link", "set", "lo", "up"]).status().expect("ip").success());
    let asked: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str, all: &[&str]| {
        asked.iter().any(|a| a == name) || !asked.iter().any(|a| all.contains(&a.as_str()))
    };
    const SOURCES: [&str; 3] = ["snapshot", "etcd", "files"];
    if wanted("snapshot", &SOURCES) {
        store::snapshot();
    }
    if asked == ["snapshot"] {
        return ExitCode::SUCCESS;
    }
    println!(
        "| source | backend | local endpoints | change | lines | said, p50 and p99 | bare tools | with the daemon | over |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (source, sizes) in [("etcd", &["1000"][..]), ("files", &["100", "1000", "5000"])] {
        for backend in ["nft", "legacy"] {
            for local in sizes {
                let is_wanted = wanted(source, &SOURCES)
                    && wanted(backend, &["nft", "legacy"])
                    && wanted(local, &["100", "1000", "5000"]);
                if is_wanted {
                    measure(source, backend, local.parse().expect("a number"));
                }
            }
        }
    }
    ExitCode::SUCCESS
}

fn measure(source: &str, backend: &str, local: usize) {
    let source = Source::of(source, local);
    let mut daemon = Daemon::start(&source, backend);
    daemon.wait_for("the kernel is as the policy says");
    for change in CHANGES {
        measure_change(&mut daemon, &source, backend, local, change);
    }
    let idle = daemon.resident();
    daemon.end();
    let saves = median((0..5).map(|_| timed(|| save_all(backend))).collect());
    let restarts = (0..5).map(|_| {
        let started = Instant::now();
        let mut daemon = Daemon::start(&source, backend);
        daemon.wait_for("the kernel is as the policy says");
        let took = started.elapsed();
        daemon.end();
        took
    });
    let restart = median(restarts.collect());
    let name = source.name();
    println!(
        "| {name} | {backend} | {local} | restart, nothing changed | 0 | | {} (a save of each table) | {} | × {:.2} |",
        ms(saves),
        ms(restart),
        restart.as_secs_f64() / saves.as_secs_f64()
    );
    println!("| {name} | {backend} | {local} | idle | | | | {} MiB resident | |", idle >> 10);
    clean(backend);
}

/// What the daemon follows.
struct Source {
    /// A file an object, whether or not the daemon follows them.
    folder: TempDir,
    store: Option<Store>,
}

impl Source {
    fn of(name: &str, local: usize) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        write_files(folder.path(), local);
        let texts = fs::read_dir(folder.path())
            .expect("the folder")
            .map(|file| fs::read_to_string(file.expect("a file").path()).expect("a text"));
        let texts: Vec<String> = texts.collect();
        let store = (name == "etcd").then(|| Store::of(texts.iter().map(String::as_str)));
        Self { folder, store }
    }

    fn name(&self) -> &'static str {
        if self.store.is_some() { "etcd" } else { "files" }
    }

    /// For `--datastore`.
    fn datastore(&self) -> String {
        self.store.as_ref().map_or_else(|| self.folder.path().display().to_string(), Store::url)
    }

    /// Has an object say this; when that was begun, and how long it took by itself.
    fn change(&self, file: &Path, text: &str) -> (Instant, Duration) {
        let started = match &self.store {
            Some(store) => {
                let pairs = pairs(text);
                let started = Instant::now();
                pairs.iter().for_each(|pair| store.put(pair));
                started
            }
            None => {
                let temporary = self.folder.path().join(".new");
                fs::write(&temporary, text).expect("a file");
                let started = Instant::now();
                fs::rename(&temporary, file).expect("replaced");
                started
            }
        };
        (started, started.elapsed())
    }
}

fn measure_change(daemon: &mut Daemon, source: &Source, backend: &str, local: usize, change: Change) {
    let Found { file, changed, as_it_is, there, back } = Found::first(source.folder.path(), local, change);
    let (mut said, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for text in [&changed, &as_it_is] {
            let (started, alone) = source.change(&file, text);
            said.push(alone);
            daemon.wait_for("applied");
            whole.push(started.elapsed());
            thread::sleep(Duration::from_millis(120));
        }
    }
    daemon.signal("STOP");
    let mut bare = Vec::new();
    for _ in 0..ROUNDS {
        for texts in [&there, &back] {
            bare.push(timed(|| texts.iter().for_each(|(tool, file)| restore(backend, tool, file.path()))));
        }
    }
    daemon.signal("CONT");
    let lines: usize = there.iter().map(|(_, file)| count_lines(file.path())).sum();
    let both = |times: &[Duration]| [50, 99].map(|of| percentile(times.to_vec(), of));
    let ([said, said_99], [bare, bare_99], [whole, whole_99]) = (both(&said), both(&bare), both(&whole));
    let over = |whole: Duration, bare: Duration| {
        let more = (whole.as_secs_f64() / bare.as_secs_f64() - 1.0) * 100.0;
        format!("{} ({more:+.0} %)", ms(whole.saturating_sub(bare)))
    };
    println!(
        "| {} | {backend} | {local} | {} | {lines} | {}, {} | {}, {} | {}, {} | {}, {} |",
        source.name(),
        change.name,
        ms(said),
        ms(said_99),
        ms(bare),
        ms(bare_99),
        ms(whole),
        ms(whole_99),
        over(whole, bare),
        over(whole_99, bare_99),
    );
}

/// The object that changes, and what the tools are given there and back.
struct Found {
    file: PathBuf,
    changed: String,
    as_it_is: String,
    there: Texts,
    back: Texts,
}

type Texts = Vec<(Tool, tempfile::NamedTempFile)>;

impl Found {
    fn first(folder: &Path, local: usize, change: Change) -> Self {
        let candidates = (change.first)(local)..;
        candidates
            .map(|number| {
                let file = folder.join(format!("{}-{number}.yaml", change.files));
                let as_it_is = fs::read_to_string(&file).expect("a file that matters");
                let changed = as_it_is.replacen(change.from, change.to, 1);
                let [there, back] = texts(folder, &file, [&changed, &as_it_is]);
                Self { file, changed, as_it_is, there, back }
            })
            .find(|found| !found.there.is_empty() && !found.back.is_empty())
            .expect("some file matters")
    }
}

/// What the tools are given for each of the two changes, one after the other.
fn texts(folder: &Path, file: &Path, changes: [&str; 2]) -> [Texts; 2] {
    let mut pipeline = Pipeline::new(HOST.into(), Vec::new());
    for event in yaml::read(&[folder.to_owned().into()]) {
        pipeline.take(&event);
    }
    let before = pipeline.desired().expect("chains");
    let mut programmed = Programmed::default().after(&plan(&before, &Programmed::default()));
    let name = file.display().to_string();
    changes.map(|text| {
        for entry in yaml::parse(&name.as_str().into(), &text.into()).entries {
            pipeline.take(&Event::Put(entry));
        }
        let plan = plan(&pipeline.desired().expect("chains"), &programmed);
        programmed = std::mem::take(&mut programmed).after(&plan);
        plan.steps().map(|step| (Tool::of(step), scratch(&step.text()))).collect()
    })
}

#[derive(Clone, Copy)]
enum Tool {
    Ipset,
    Iptables(IpVersion),
}

impl Tool {
    fn of(step: &Step) -> Self {
        match step {
            Step::Sets(_) | Step::RemoveMembers(..) | Step::RemoveSets(_) => Self::Ipset,
            Step::Table(changes) => Self::Iptables(changes.version()),
        }
    }
}

fn scratch(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a scratch file");
    fs::write(file.path(), text).expect("written");
    file
}

fn restore(backend: &str, tool: &Tool, input: &Path) {
    let mut command = match tool {
        Tool::Ipset => command("ipset", &["restore"]),
        Tool::Iptables(IpVersion::V4) => command(&format!("iptables-{backend}-restore"), &["--noflush"]),
        Tool::Iptables(IpVersion::V6) => command(&format!("ip6tables-{backend}-restore"), &["--noflush"]),
    };
    let input = fs::File::open(input).expect("a scratch file");
    assert!(command.stdin(input).status().expect("it starts").success(), "{command:?}");
}

fn save_all(backend: &str) {
    for family in ["iptables", "ip6tables"] {
        for table in ["raw", "mangle", "nat", "filter"] {
            let mut save = command(&format!("{family}-{backend}-save"), &["-t", table]);
            assert!(save.stdout(Stdio::null()).status().expect("it starts").success());
        }
    }
}

fn clean(backend: &str) {
    let mut command = command(env!("CARGO_BIN_EXE_felix-rs"), &["cleanup"]);
    assert!(command.stdout(Stdio::null()).status().expect("it starts").success(), "{backend}");
}

fn command(tool: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(tool);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stderr(Stdio::null());
    command
}

/// A file an object.
fn write_files(folder: &Path, local: usize) {
    for (name, text) in generate::generate(2 * local, local, POLICIES) {
        let stem = name.split(['-', '.']).next().expect("a name").to_owned();
        let first = name.split(['-', '.']).nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or_default();
        for (number, document) in text.split("---\n").filter(|document| !document.is_empty()).enumerate() {
            let number = first * generate::FILE + number;
            fs::write(folder.join(format!("{stem}-{number}.yaml")), document).expect("a file");
        }
    }
}

struct Daemon {
    child: Child,
    lines: Receiver<String>,
}

impl Daemon {
    fn start(source: &Source, backend: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_felix-rs"))
            .env_remove(INSIDE)
            .args(["run", "--host", HOST, "--log", "info", "--log-format", "json"])
            .arg("--set")
            .arg(format!("IptablesBackend={backend}"))
            .args(["--datastore", &source.datastore()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon starts");
        let stderr = BufReader::new(child.stderr.take().expect("its log"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn wait_for(&mut self, message: &str) {
        let message = format!("\"message\":\"{message}\"");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {message}"));
            if line.contains(&message) {
                return;
            }
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill").success());
    }

    /// KiB.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.split_ascii_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
    }

    fn end(mut self) {
        self.signal("TERM");
        assert!(self.child.wait().expect("it ends").success());
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn median(times: Vec<Duration>) -> Duration {
    percentile(times, 50)
}

fn percentile(mut times: Vec<Duration>, of_hundred: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * of_hundred).div_ceil(100).saturating_sub(1)]
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn count_lines(file: &Path) -> usize {
    fs::read_to_string(file).expect("a scratch file").lines().count()
}
