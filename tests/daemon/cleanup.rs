//! What a person asks of a host by commands, when its daemon has ended.

use std::fs;
use std::os::unix::fs::symlink;

use crate::lab::{Lab, until};
use crate::manifests::{LABELLED, NET1, endpoints, network};
use crate::netns::{self, Backend};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("cleanup::routes_go_first", routes_go_first),
    ("cleanup::what_fails_keeps_nothing_else", what_fails_keeps_nothing_else),
    ("cleanup::what_parameters_say", what_parameters_say),
];

/// A host that its daemon has made, and left.
fn left_alone(backend: Backend) -> Result<Lab, String> {
    let lab = Lab::bare(backend)?;
    lab.put("all", &(network("Never") + NET1 + LABELLED + &endpoints("net1")))?;
    let daemon = lab.daemon(0)?;
    until(|| match daemon.readiness()? {
        (200, text) if text.contains("8 routes are as wanted") => Ok(()),
        (_, text) => Err(text),
    })?;
    daemon.terminate()?;
    Ok(lab)
}

/// What the program printed for others, and how it ended.
fn said(lab: &Lab, arguments: &str) -> Result<String, String> {
    let line = format!("{} {arguments} || echo \"exit $?\"", env!("CARGO_BIN_EXE_felix-rs"));
    lab.world.host(0).run(&["sh", "-c", &line], "")
}

fn routes(lab: &Lab) -> Result<String, String> {
    lab.world.host(0).run(&["ip", "route", "show", "table", "main"], "")
}

/// Chains and sets of ours that are there.
fn programmed(lab: &Lab) -> Result<Vec<String>, String> {
    let lines = lab.programmed(0)?;
    Ok(lines.into_iter().filter(|line| line.contains("cali")).collect())
}

fn routes_go_first(backend: Backend) -> Verdict {
    let lab = left_alone(backend)?;
    let dry = said(&lab, "cleanup --dry-run")?;
    let tools: Vec<&str> = dry.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    match tools.as_slice() {
        ["sh -e", tables @ .., "ipset restore"] if tables.iter().all(|tool| tool.contains("tables-")) => {}
        other => return Err(format!("the order: {other:?}")),
    }
    // Each line is what it would do, in that order.
    let done = said(&lab, "cleanup")?;
    let kinds: Vec<bool> = done.lines().map(|line| line.contains(" routes, ")).collect();
    match (kinds.as_slice(), programmed(&lab)?.as_slice()) {
        ([true, rest @ ..], []) if rest.len() > 4 && !rest.contains(&true) => {}
        (_, left) => return Err(format!("{done}{left:?}")),
    }
    match said(&lab, "cleanup")?.as_str() {
        "nothing of ours is there\n" => Ok(()),
        again => Err(again.to_owned()),
    }
}

fn what_fails_keeps_nothing_else(backend: Backend) -> Verdict {
    let lab = left_alone(backend)?;
    // All tools but ipset, then none.
    let tools = lab.scratch().join("without-ipset");
    let link = |folder: &str| -> std::io::Result<()> {
        for tool in fs::read_dir(folder)?.flatten() {
            let name = tool.file_name();
            if name.to_string_lossy().contains("tables") {
                // Two folders may have the same.
                let _ = symlink(tool.path(), tools.join(name));
            }
        }
        Ok(())
    };
    fs::create_dir(&tools).map_err(|e| e.to_string())?;
    netns::PATH.split(':').for_each(|folder| drop(link(folder)));
    for (tools, left) in [
        (
            tools.display().to_string(),
            "left: sets: ipset: there is no such tool; help: install the package ipset\n",
        ),
        ("/nowhere".to_owned(), "left: chains: there is no iptables; help: install the package iptables\n"),
    ] {
        let dry = said(&lab, &format!("cleanup --dry-run --tools {tools} 2>&1"))?;
        let done = said(&lab, &format!("cleanup --tools {tools} 2>&1"))?;
        let is_missed = tools == "/nowhere" && backend == Backend::Nft;
        for text in [&dry, &done] {
            if !(text.contains(left) || is_missed) || !text.ends_with("exit 1\n") {
                return Err(format!("{tools}: {text}"));
            }
        }
        let (routes, there) = (routes(&lab)?, programmed(&lab)?);
        let chains = there.iter().filter(|line| line.contains("tables")).count();
        let sets = there.iter().filter(|line| line.starts_with("create")).count();
        if routes.contains("cali") || routes.contains("proto 80") || chains != 0 || sets == 0 {
            return Err(format!("{tools}: {done}{routes}{chains} lines of chains, {sets} sets"));
        }
    }
    match said(&lab, "cleanup")?.as_str() {
        text if text.starts_with("removed: set ") && programmed(&lab)?.is_empty() => Ok(()),
        text => Err(text.to_owned()),
    }
}

fn what_parameters_say(backend: Backend) -> Verdict {
    let lab = left_alone(backend)?;
    let host = lab.world.host(0);
    host.ip("link add tap1 type veth peer name peer1\nlink set peer1 up\nlink set tap1 up\n\
         route add 10.97.0.1/32 dev tap1 proto boot\nroute add 10.96.0.0/24 via 172.17.8.102 proto 95\n")?;
    let there = |lab: &Lab| -> Result<[bool; 2], String> {
        let routes = routes(lab)?;
        Ok(["10.97.0.1 ", "10.96.0.0/24 "].map(|route| routes.contains(route)))
    };
    let file = lab.scratch().join("felix.cfg");
    fs::write(&file, "[global]\nInterfacePrefix = tap\n").map_err(|e| e.to_string())?;
    for (flags, expected) in [
        (String::new(), [true, true]),
        ("--set DeviceRouteProtocol=95".to_owned(), [true, false]),
        (format!("--config {}", file.display()), [false, false]),
    ] {
        let done = said(&lab, &format!("cleanup {flags}"))?;
        let found = there(&lab)?;
        if found != expected {
            return Err(format!("`{flags}`: {found:?}\n{done}"));
        }
    }
    Ok(())
}
