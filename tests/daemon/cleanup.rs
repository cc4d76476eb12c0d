//! What a person asks of a host by commands, when its daemon has settled or ended.

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
    ("cleanup::compared_on_a_kernel_without_ipip", compared_on_a_kernel_without_ipip),
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

/// The daemon has settled, and so there is nothing to do, for whoever asks in which form.
fn compared_on_a_kernel_without_ipip(backend: Backend) -> Verdict {
    let lab = Lab::bare(backend)?;
    lab.put("all", &(network("Always") + NET1 + LABELLED + &endpoints("net1")))?;
    let host = lab.world.host(0);
    if host.run(&["ip", "link", "show", "tunl0"], "").is_ok() {
        println!("this kernel has IP in IP");
        return Ok(());
    }
    let daemon = lab.daemon(0)?;
    until(|| match daemon.readiness()? {
        (200, text) if text.contains("of which 1 are withheld") => Ok(()),
        (_, text) => Err(text),
    })?;
    host.ip("link set calic down\n")?;
    let compare = format!(
        "render --datastore {} --host calico-01 --set IptablesBackend={} --against kernel --table routes",
        lab.source().display(),
        backend.name()
    );
    until(|| {
        let text = said(&lab, &format!("{compare} 2>&1"))?;
        let notes = ["note: no IP in IP: ", "192.168.42.0/24: there can be no tunnel", "calic is not up"];
        let is_change =
            |line: &str| ["# ", "ip ", "modprobe ", "exit "].iter().any(|word| line.starts_with(word));
        match notes.iter().all(|note| text.contains(note)) && !text.lines().any(is_change) {
            true => Ok(()),
            false => Err(text),
        }
    })?;
    let json: serde_json::Value =
        serde_json::from_str(&said(&lab, &format!("{compare} --format json"))?).map_err(|e| e.to_string())?;
    let counts = ["changes", "held_back", "withheld"].map(|list| json[list].as_array().map_or(0, Vec::len));
    if counts != [0, 2, 1] || json["withheld"][0]["why"] != "no-ipip" {
        return Err(json.to_string());
    }
    drop(daemon);
    host.ip("route del blackhole 192.168.41.0/24\n")?;
    let text = said(&lab, &format!("{compare} --format json"))?;
    let text = text.strip_suffix("exit 1\n").ok_or("a difference is none")?;
    let json: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let line = &json["changes"][0]["input"][0];
    match (line["text"].as_str(), line["because"]["kind"].as_str()) {
        (Some("ip route replace blackhole 192.168.41.0/24 proto 80 metric 1024"), Some("own-block")) => {
            Ok(())
        }
        _ => Err(json.to_string()),
    }
}
