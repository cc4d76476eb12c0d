//! How the daemon begins, begins anew, loses its source, and ends.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::daemon::{Daemon, Mark, READY};
use crate::lab::{Lab, difference, until};
use crate::manifests::{LABELLED, NET1, endpoints};
use crate::netns::Backend;
use crate::probe::Answer::{Blocked, Passes};
use crate::probe::Kind::{Icmp, Tcp};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("life::a_restart_writes_nothing", a_restart_writes_nothing),
    ("life::nothing_is_written_before_all_is_read", nothing_is_written_before_all_is_read),
    ("life::a_lost_source_changes_nothing", a_lost_source_changes_nothing),
    ("life::the_end", the_end),
    ("life::one_daemon_a_namespace", one_daemon_a_namespace),
];

fn lab(backend: Backend) -> Result<Lab, String> {
    let lab = Lab::new(backend)?;
    lab.put("all", &(endpoints("net1") + LABELLED + NET1))?;
    Ok(lab)
}

/// Asserted on the log of the tools that ran, and of settings.
fn a_restart_writes_nothing(backend: Backend) -> Verdict {
    let lab = lab(backend)?;
    let writes = |daemon: &Daemon| -> Vec<String> {
        let lines = daemon.lines(Mark::default());
        let writing = |line: &&serde_json::Value| {
            line["writes"] == true || line["message"].as_str().is_some_and(|text| text.contains("/proc/sys"))
        };
        lines.iter().filter(writing).map(ToString::to_string).collect()
    };
    let daemon = lab.daemon(0)?;
    if writes(&daemon).len() < 3 {
        return Err(format!("the first life's writes are not in the log: {:?}", writes(&daemon)));
    }
    let before = lab.programmed(0)?;
    daemon.terminate()?;
    for end in [Daemon::terminate, Daemon::kill] {
        let daemon = lab.daemon(0)?;
        let saves = daemon.lines(Mark::default()).iter().filter(|line| line["writes"] == false).count();
        match (saves, writes(&daemon).as_slice()) {
            (8.., []) => {}
            (saves, writes) => return Err(format!("{saves} reads; written: {writes:?}")),
        }
        let after = lab.programmed(0)?;
        if after != before {
            return Err(difference(&before, &after));
        }
        end(daemon)?;
    }
    Ok(())
}

fn nothing_is_written_before_all_is_read(backend: Backend) -> Verdict {
    let lab = lab(backend)?;
    let aside = lab.scratch().join("aside");
    fs::rename(lab.source(), &aside).map_err(|e| e.to_string())?;
    let untouched = lab.programmed(0)?;
    let mut daemon = Daemon::start(lab.world.host(0), &lab.settings(0, &[]))?;
    let mark = daemon.hear_of(Mark::default(), "the source is lost")?;
    daemon.hear_of(Mark::default(), "health is served")?;
    // Longer than everything takes where it is done.
    thread::sleep(Duration::from_millis(500));
    let (status, text) = daemon.readiness()?;
    if status != 503 {
        return Err(format!("ready without a source: {status} {text}"));
    }
    let found = lab.programmed(0)?;
    if found != untouched {
        return Err(difference(&untouched, &found));
    }
    lab.expect("no source", &[("a", "b", Icmp, Passes)])?;
    fs::rename(&aside, lab.source()).map_err(|e| e.to_string())?;
    daemon.hear_of(mark, READY)?;
    lab.change(std::slice::from_mut(&mut daemon), |lab| lab.remove("all"))?;
    lab.expect("nothing is declared", &[("a", "c", Icmp, Blocked)])?;
    until(|| match daemon.readiness()? {
        (200, _) => Ok(()),
        (status, text) => Err(format!("not ready: {status} {text}")),
    })
}

fn a_lost_source_changes_nothing(backend: Backend) -> Verdict {
    let rows = |answer| [("a", "c", Icmp, answer), ("c", "a", Tcp(80), answer)];
    let lab = lab(backend)?;
    let mut daemon = lab.daemon(0)?;
    lab.expect("the source is there", &rows(Passes))?;
    let before = lab.programmed(0)?;

    let mark = daemon.mark();
    fs::rename(lab.source(), lab.scratch().join("aside")).map_err(|e| e.to_string())?;
    daemon.hear_of(mark, "the source is lost: what it said last stands")?;
    thread::sleep(Duration::from_millis(500));
    lab.until(0, &before)?;
    lab.expect("the source is lost", &rows(Passes))?;
    until(|| match daemon.readiness()? {
        (200, text) if text.contains("lost") => Ok(()),
        (status, text) => Err(format!("a lost source: {status} {text}")),
    })?;

    // An empty directory says that there is nothing.
    let empty = |lab: &Lab| fs::create_dir(lab.source()).map_err(|e| e.to_string());
    lab.change(std::slice::from_mut(&mut daemon), empty)?;
    lab.expect("an empty source", &rows(Blocked))?;
    let rest = lab.programmed(0)?;
    let policies: Vec<&String> =
        rest.iter().filter(|line| line.contains(":cali-pi-") || line.contains("calia")).collect();
    if policies.is_empty() { Ok(()) } else { Err(format!("not gone: {policies:?}")) }
}

fn the_end(backend: Backend) -> Verdict {
    let lab = lab(backend)?;
    let daemon = lab.daemon(0)?;
    let before = lab.programmed(0)?;
    let status = daemon.terminate()?;
    let after = lab.programmed(0)?;
    match status.code() {
        Some(0) if after == before => Ok(()),
        Some(0) => Err(difference(&before, &after)),
        _ => Err(format!("it ended with {status}")),
    }
}

fn one_daemon_a_namespace(backend: Backend) -> Verdict {
    let lab = lab(backend)?;
    let first = lab.daemon(0)?;
    // Of the other host's nobody takes notice.
    let _other = lab.daemon(1)?;
    let mut second = Daemon::start(lab.world.host(0), &lab.settings(0, &[]))?;
    let status = second.end()?;
    if status.success() || !second.log().contains("another felix-rs keeps this network namespace") {
        return Err(format!("a second daemon: {status}\n{}", second.log()));
    }
    first.kill()?;
    lab.daemon(0).map(drop)
}
