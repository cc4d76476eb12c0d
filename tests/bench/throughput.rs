//! What the network carries that two daemons make, as in the field report: `cargo bench --bench throughput`.
//!
//! Two hosts joined by a cable, a container on each, and iperf3 between: host to host, and container to container without
//! and with IP in IP, with policies of 0, 100 and 1,000 rules in force before the one that lets pass; each with segments as
//! the interfaces allow and with the report's `-M 1440`; by a link shaped to 2 Gbit/s, as the report's was, and by one that
//! is not. Every round takes each path once, in another order; what is told are medians, and ratios to host
//! to host in the same run.
//!
//! All of it is in namespaces made for it. Where the kernel has no IP in IP (or has it not loaded: loading it would give
//! this machine a tunl0), the whole is done once more in the guest of `tests/vm`, where it has.
//!
//! The MTU of the tunnel is the report's 1440, so that its segments have 40 bytes less whatever is asked: this is counted
//! against it.
//!
//! Needs root, iperf3 and tc. Arguments: `shaped` `unshaped`, `here` `guest`, `nft` `legacy` choose; `rounds=5`.

#[path = "throughput/asked.rs"]
mod asked;
#[path = "../daemon/daemon.rs"]
#[expect(dead_code, reason = "tests/daemon looks at more of a daemon")]
mod daemon;
#[path = "../vm/iperf.rs"]
mod iperf;
#[path = "../vm/lab.rs"]
#[expect(dead_code, reason = "tests/vm changes more while daemons live")]
mod lab;
#[path = "throughput/link.rs"]
mod link;
#[path = "throughput/machine.rs"]
mod machine;
#[path = "../vm/manifests.rs"]
#[expect(dead_code, reason = "the policies here have more rules")]
mod manifests;
#[path = "../daemon/netns.rs"]
#[expect(dead_code, reason = "tests/daemon does more in namespaces")]
mod netns;
#[path = "throughput/paths.rs"]
mod paths;
#[path = "throughput/policies.rs"]
mod policies;
#[path = "throughput/report.rs"]
mod report;
#[path = "throughput/site.rs"]
mod site;
#[path = "../kernel/worker.rs"]
mod worker;
#[path = "../vm/world.rs"]
#[expect(dead_code, reason = "tests/vm makes routes by hand, too")]
mod world;

use std::env;
use std::process::{Command, ExitCode};

use asked::Asked;
use netns::{Backend, Netns};
use paths::Path;
use site::Site;
use worker::Worker;
use world::Mode;

/// What is wrong, or nothing.
type Verdict = Result<(), String>;

/// When all of it is given up, in seconds.
const LIMIT: &str = "3600";

const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/guest");

/// There, too, is nothing to be measured.
const NO_GUEST: i32 = 77;

fn main() -> ExitCode {
    if let Some(arguments) = worker::asked() {
        return worker::work(|| measure_all(&Asked::of(&arguments)?));
    }
    // Cargo says that it is a benchmark.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match Asked::of(&arguments).and_then(|asked| start(&asked, &arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn start(asked: &Asked, arguments: &[String]) -> Verdict {
    if !asked.in_guest {
        println!("{}", machine::others()?);
    }
    if asked.here || asked.in_guest {
        in_namespaces(arguments)?;
    }
    if !asked.in_guest && asked.guest.unwrap_or_else(|| !has_tunnel()) {
        in_guest(arguments)?;
    }
    Ok(())
}

fn in_namespaces(arguments: &[String]) -> Verdict {
    let before = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let asked: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let help = "help: this needs root and `unshare --net --mount --pid`";
    Worker { before: &before, asked: &asked, limit: LIMIT, help }.carry_out()
}

fn in_guest(arguments: &[String]) -> Verdict {
    let failed = |e| format!("{GUEST}: {e}");
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", GUEST, "--limit", LIMIT, "--"])
        .arg(env::current_exe().map_err(failed)?)
        .arg(asked::IN_GUEST)
        .args(arguments)
        .status()
        .map_err(failed)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(NO_GUEST) => {
            println!("IP in IP is left out: this kernel has none, and there can be no guest.");
            Ok(())
        }
        _ => Err(format!("{GUEST}: {status}")),
    }
}

/// Whether this kernel gives every namespace a tunl0.
fn has_tunnel() -> bool {
    Netns::new().is_ok_and(|netns| netns.run(&["ip", "link", "show", "tunl0"], "").is_ok())
}

/// In namespaces made for it.
fn measure_all(asked: &Asked) -> Verdict {
    netns::run(&["mount", "-t", "tmpfs", "tmpfs", "/run"], "")?;
    if asked.in_guest {
        netns::run(&["modprobe", "ipip"], "")?;
    }
    println!("{}", machine::description(asked.in_guest)?);
    let modes = if has_tunnel() { &[Mode::Plain, Mode::Tunnel][..] } else { &[Mode::Plain] };
    asked.backends.iter().try_for_each(|backend| measure(asked, *backend, modes))
}

fn measure(asked: &Asked, backend: Backend, modes: &[Mode]) -> Verdict {
    let site = Site::new(backend, modes)?;
    let daemons = site.daemons()?;
    site.wait_until_in_force()?;
    let links = site.links(asked)?;
    let paths = Path::all(modes, asked.in_guest);
    // By link, then by path.
    let mut measured = vec![vec![Vec::new(); paths.len()]; links.len()];
    for round in 0..asked.rounds {
        for at in order(links.len(), round) {
            let (link, seconds) = (links[at], asked.seconds(links[at]));
            site.connect(link)?;
            for number in order(paths.len(), round) {
                measured[at][number].push(site.measure(paths[number], round, seconds)?);
            }
        }
    }
    drop(daemons);
    for (link, measured) in links.iter().zip(&measured) {
        let (name, rounds, seconds) = (backend.name(), asked.rounds, asked.seconds(*link));
        let heading = format!("{link}; {name}; medians of {rounds} rounds of {seconds} s");
        println!("{heading}\n\n{}", report::of(*link, &paths, measured));
    }
    Ok(())
}

/// All numbers below this, in an order that changes from round to round.
fn order(count: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.rotate_left(round * 3 % count);
    if round % 2 == 1 {
        order.reverse();
    }
    order
}
