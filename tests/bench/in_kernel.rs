//! How long a change takes from the file to the kernel, beside the bare tools with the same lines: `cargo bench --bench in_kernel`.
//!
//! Both in one run and in a network namespace of its own: a daemon follows a directory with a file an object; a file is
//! replaced; the time until the daemon says that it has applied is taken. Then, with the daemon stopped, the same lines go
//! into `iptables-restore --noflush` and `ipset restore`. Medians. Needs root. Arguments: backends and sizes to take.

mod generate;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use felix_rs::Pipeline;
use felix_rs::datastore::{Event, yaml};
use felix_rs::model::IpVersion;
use felix_rs::sync::{Programmed, Step, plan};
use generate::HOST;

const INSIDE: &str = "FELIX_RS_BENCH_INSIDE";
const POLICIES: usize = 200;
const ROUNDS: usize = 20;
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
    let asked: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str, all: &[&str]| {
        asked.iter().any(|a| a == name) || !asked.iter().any(|a| all.contains(&a.as_str()))
    };
    println!("| backend | local endpoints | change | lines | bare tools | file to kernel | over |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for backend in ["nft", "legacy"] {
        for local in ["100", "1000", "5000"] {
            if wanted(backend, &["nft", "legacy"]) && wanted(local, &["100", "1000", "5000"]) {
                measure(backend, local.parse().expect("a number"));
            }
        }
    }
    ExitCode::SUCCESS
}

fn measure(backend: &str, local: usize) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    write_files(folder.path(), local);
    let mut daemon = Daemon::start(folder.path(), backend);
    daemon.wait_for("the kernel is as the policy says");
    for change in CHANGES {
        measure_change(&mut daemon, folder.path(), backend, local, change);
    }
    let idle = daemon.resident();
    daemon.end();
    let saves = median((0..5).map(|_| timed(|| save_all(backend))).collect());
    let restarts = (0..5).map(|_| {
        let started = Instant::now();
        let mut daemon = Daemon::start(folder.path(), backend);
        daemon.wait_for("the kernel is as the policy says");
        let took = started.elapsed();
        daemon.end();
        took
    });
    let restart = median(restarts.collect());
    println!(
        "| {backend} | {local} | restart, nothing changed | 0 | {} (a save of each table) | {} | × {:.2} |",
        ms(saves),
        ms(restart),
        restart.as_secs_f64() / saves.as_secs_f64()
    );
    println!("| {backend} | {local} | idle | | | {} MiB resident | |", idle >> 10);
    clean(backend);
}

fn measure_change(daemon: &mut Daemon, folder: &Path, backend: &str, local: usize, change: Change) {
    let candidates = (change.first)(local)..;
    let (file, changed, as_it_is, [there, back]) = candidates
        .map(|number| {
            let file = folder.join(format!("{}-{number}.yaml", change.files));
            let as_it_is = fs::read_to_string(&file).expect("a file that matters");
            let changed = as_it_is.replacen(change.from, change.to, 1);
            let texts = texts(folder, &file, [&changed, &as_it_is]);
            (file, changed, as_it_is, texts)
        })
        .find(|(.., texts)| texts.iter().all(|texts| !texts.is_empty()))
        .expect("some file matters");
    let mut whole = Vec::new();
    for _ in 0..ROUNDS {
        for text in [&changed, &as_it_is] {
            let temporary = folder.join(".new");
            fs::write(&temporary, text).expect("a file");
            let started = Instant::now();
            fs::rename(&temporary, &file).expect("replaced");
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
    let (bare, whole) = (median(bare), median(whole));
    println!(
        "| {backend} | {local} | {} | {lines} | {} | {} | {} ({:+.0} %) |",
        change.name,
        ms(bare),
        ms(whole),
        ms(whole.saturating_sub(bare)),
        (whole.as_secs_f64() / bare.as_secs_f64() - 1.0) * 100.0
    );
}

/// What the tools are given for each of the two changes, one after the other.
fn texts(folder: &Path, file: &Path, changes: [&str; 2]) -> [Vec<(Tool, tempfile::NamedTempFile)>; 2] {
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
    fn start(folder: &Path, backend: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_felix-rs"))
            .args(["run", "--host", HOST, "--log", "info", "--log-format", "json"])
            .arg("--set")
            .arg(format!("IptablesBackend={backend}"))
            .arg("--datastore")
            .arg(folder)
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

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn count_lines(file: &Path) -> usize {
    fs::read_to_string(file).expect("a scratch file").lines().count()
}
