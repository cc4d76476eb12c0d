//! The daemon makes the network: nothing but it and the endpoints' own cables.

use std::time::{Duration, Instant};

use crate::daemon::{Daemon, Mark};
use crate::lab::{Lab, difference, until};
use crate::main_table::{daemons_at_work, no_fight, of_host, routes, until_routes as until_routes_of};
use crate::manifests::{LABELLED, NET1, endpoint, endpoint_at, endpoints, network};
use crate::netns::Backend;
use crate::probe;
use crate::probe::Answer::Passes;
use crate::probe::Kind::{Icmp, Tcp, Udp};
use crate::world::{Family, Row, address, in_block};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("routes::two_hosts", two_hosts),
    ("routes::a_restart_writes_nothing", a_restart_writes_nothing),
    ("routes::interfaces_come_and_go", interfaces_come_and_go),
    ("routes::an_address_moves", an_address_moves),
    ("routes::those_of_others", those_of_others),
    ("routes::another_writers_block", another_writers_block),
    ("routes::a_kernel_without_ipip", a_kernel_without_ipip),
    ("routes::many_that_stay", many_that_stay),
    ("routes::switched_off", switched_off),
    ("routes::a_router_of_others", a_router_of_others),
    ("routes::compared_and_removed", compared_and_removed),
];

/// What everybody can do when all is made.
pub const ROWS: &[Row] = &[
    ("a", "b", Icmp, Passes),
    ("b", "a", Tcp(80), Passes),
    ("a", "c", Udp(53), Passes),
    ("d", "c", Icmp, Passes),
    ("d", "b", Icmp, Passes),
];

pub fn lab(backend: Backend, mode: &str) -> Result<Lab, String> {
    let lab = Lab::bare(backend)?;
    lab.put("network", &network(mode))?;
    lab.put("policy", &(NET1.to_owned() + LABELLED))?;
    lab.put("endpoints", &endpoints("net1"))?;
    Ok(lab)
}

fn of_first_host() -> Vec<String> {
    of_host(0)
}

fn until_routes(lab: &Lab, wanted: &[String]) -> Verdict {
    until_routes_of(lab, 0, wanted)
}

/// The changes that a daemon has written to the log.
pub fn written(daemon: &Daemon, from: Mark) -> Vec<String> {
    let lines = daemon.lines(from);
    let is_step = |line: &&serde_json::Value| {
        let text = line["message"].as_str().unwrap_or_default();
        line["writes"] == true && (text.starts_with("ip ") || text.starts_with("modprobe"))
    };
    lines.iter().filter(is_step).map(|line| line["message"].to_string()).collect()
}

pub fn is_in(lines: &[String], line: &str) -> bool {
    lines.iter().any(|found| found == line)
}

/// Plain mode, both families; no route before its chains.
fn two_hosts(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let daemons = daemons_at_work(&lab)?;
    lab.expect("all is made", ROWS)?;
    let [first, _] = daemons;
    let lines = first.lines(Mark::default());
    let at = |so: &dyn Fn(&serde_json::Value) -> bool| lines.iter().position(so);
    let applied = at(&|line| line["message"] == "applied").ok_or("nothing is applied")?;
    let routed = at(&|line| line["message"].as_str().is_some_and(|text| text.starts_with("ip ")));
    match routed {
        Some(routed) if routed > applied => Ok(()),
        _ => Err(format!("routes at {routed:?}, chains at {applied}")),
    }
}

fn a_restart_writes_nothing(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let [first, second] = daemons_at_work(&lab)?;
    let before = routes(lab.world.host(0))?;
    first.kill()?;
    second.terminate()?;
    lab.expect("no daemon", ROWS)?;
    for end in [Daemon::terminate, Daemon::kill] {
        let daemon = lab.daemon(0)?;
        until(|| match daemon.readiness()? {
            (200, text) if text.contains("8 routes are as wanted") => Ok(()),
            (_, text) => Err(text),
        })?;
        let written = written(&daemon, Mark::default());
        let after = routes(lab.world.host(0))?;
        if !written.is_empty() || after != before || daemon.metric("felix_rs_route_changes")? != 0.0 {
            return Err(format!("{written:?}\n{}", difference(&before, &after)));
        }
        end(daemon)?;
    }
    Ok(())
}

fn interfaces_come_and_go(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let daemons = daemons_at_work(&lab)?;
    let host = lab.world.host(0);
    for lines in [
        // Too short for anybody to see it down.
        "link set calia down\nlink set calia up\n",
        "link set calia down\n",
        "link set calia up\n",
        // Its addresses of IPv6 go with it.
        "link set enp0s8 down\nlink set enp0s8 up\naddress add fd17::65/64 dev enp0s8 nodad\n",
        "link set calic down\nlink set calic name calix\n",
        "link set calix name calic\nlink set calic up\n",
    ] {
        host.ip(lines)?;
        let mut wanted = of_first_host();
        if lines.ends_with("calia down\n") {
            wanted.retain(|line| !line.contains("calia"));
        }
        if lines.ends_with("calix\n") {
            wanted.retain(|line| !line.contains("calic"));
        }
        until_routes(&lab, &wanted).map_err(|why| format!("{lines}{why}"))?;
    }
    host.ip("link delete calic\n")?;
    lab.world.plug_in("c")?;
    until_routes(&lab, &of_first_host())?;
    lab.expect("all is there again", ROWS)?;
    let [first, _] = daemons;
    no_fight(&first)
}

/// To an endpoint that nobody may reach. A connection of the one that had it would be let through to it.
fn an_address_moves(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let [daemon, _second] = daemons_at_work(&lab)?;
    let mut live = Vec::new();
    for family in Family::ALL {
        let stream = probe::connection(lab.world.container("b"), address("a", family), 9000);
        live.push(stream.map_err(|e| format!("b to a, {family:?}: {e}"))?);
    }
    let [v4, v6] = Family::ALL.map(|family| address("a", family).to_string());
    let other = Family::ALL.map(|family| in_block(0, 77, family).to_string());
    // Its kernel refuses what it does not know, aloud.
    lab.world.container("c").ip(&format!("address add {v4}/32 dev eth0\naddress add {v6}/128 dev eth0\n"))?;
    lab.put(
        "endpoints",
        &(endpoint_at("a", "net1", &[&other[0], &other[1]])
            + &endpoint_at("c", "closed", &[&v4, &v6])
            + &endpoint("b", "net1")),
    )?;
    let mut wanted = of_first_host();
    wanted.retain(|line| !line.contains("dev cali"));
    wanted.extend([
        format!("{v4} dev calic scope link metric 1024"),
        format!("{v6} dev calic metric 1024"),
        format!("{} dev calia scope link metric 1024", other[0]),
        format!("{} dev calia metric 1024", other[1]),
    ]);
    wanted.sort();
    until_routes(&lab, &wanted)?;
    until(|| match daemon.metric("felix_rs_conntrack_removed")? {
        2.0.. => Ok(()),
        removed => Err(format!("{removed} connections are removed")),
    })?;
    live.iter_mut().try_for_each(|stream| match probe::says_back(stream, Duration::from_secs(1)) {
        Ok(false) => Ok(()),
        other => Err(format!("the old connection goes on to who has the address now: {other:?}")),
    })
}

/// Those elsewhere stay; an unexpected one on a workload's interface goes, but not while the interface is new.
fn those_of_others(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let host = lab.world.host(0);
    host.ip(
        "route add 10.99.0.0/16 via 172.17.8.102 proto static\nroute add blackhole 10.98.0.0/16 proto bird\n\
         route add 10.97.0.1/32 dev calia proto static\n",
    )?;
    let begun = Instant::now();
    let _daemons = lab.daemons()?;
    let mut wanted = of_first_host();
    wanted.extend([
        "10.99.0.0/16 via 172.17.8.102 dev enp0s8 proto static".to_owned(),
        "blackhole 10.98.0.0/16 proto bird".to_owned(),
    ]);
    let early = "10.97.0.1 dev calia proto static scope link".to_owned();
    wanted.push(early.clone());
    wanted.sort();
    until_routes(&lab, &wanted)?;
    wanted.retain(|line| *line != early);
    until_routes(&lab, &wanted)?;
    if begun.elapsed() < Duration::from_secs(9) {
        return Err(format!("it went after {:?}", begun.elapsed()));
    }
    lab.expect("others' are there", ROWS)
}

/// A BIRD's: ours goes while it stands, whatever its metric, and comes back. However often it comes and goes, that is no
/// fight: who is given way to undoes nothing.
fn another_writers_block(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let [daemon, _second] = daemons_at_work(&lab)?;
    let host = lab.world.host(0);
    let theirs = "192.168.42.0/24 via 172.17.8.102 dev enp0s8 proto bird metric 32";
    let mut with_theirs = of_first_host();
    with_theirs.retain(|line| !line.starts_with("192.168.42."));
    with_theirs.push(theirs.to_owned());
    with_theirs.sort();
    for _ in 0..5 {
        host.ip("route add 192.168.42.0/24 via 172.17.8.102 proto bird metric 32\n")?;
        until_routes(&lab, &with_theirs)?;
        until(|| match daemon.metric("felix_rs_routes_withheld")? {
            1.0 => Ok(()),
            other => Err(format!("{other} are withheld")),
        })?;
        lab.expect("theirs is there", ROWS)?;
        host.ip("route del 192.168.42.0/24 proto bird\n")?;
        until_routes(&lab, &of_first_host())?;
        lab.expect("ours is there", ROWS)?;
    }
    no_fight(&daemon)
}

/// One word about it, and all else works. In a kernel that has it, tests/vm is for that.
fn a_kernel_without_ipip(backend: Backend) -> Verdict {
    let lab = lab(backend, "Always")?;
    let mut daemon = lab.daemon_with(0, &["RouteRefreshInterval=1"])?;
    if lab.world.host(0).run(&["ip", "link", "show", "tunl0"], "").is_ok() {
        println!("this kernel has IP in IP");
        return Ok(());
    }
    let heard = daemon.hear_of(Mark::default(), "this kernel has no IP in IP")?;
    let mut wanted = of_first_host();
    wanted.retain(|line| !line.starts_with("192.168.42."));
    until_routes(&lab, &wanted)?;
    lab.expect("on one host", &[("a", "c", Icmp, Passes)])?;
    // Longer than a few looks.
    until(|| match daemon.metric("felix_rs_route_reading_seconds_count")? {
        5.0.. => Ok(()),
        looks => Err(format!("{looks} looks")),
    })?;
    until(|| match daemon.readiness()? {
        (200, text) if text.contains("of which 1 are withheld") => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    match daemon.lines(heard).iter().filter(|line| line.to_string().contains("no IP in IP")).count() {
        0 => Ok(()),
        again => Err(format!("said {again} times more")),
    }
}

/// Ten thousand that are read again each second, and never written.
fn many_that_stay(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let addresses: Vec<String> =
        (0..10_000).map(|number| format!("192.168.{}.{}", 128 + number / 250, number % 250)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    lab.put("endpoints", &endpoint_at("a", "net1", &addresses))?;
    let daemon = lab.daemon_with(0, &["RouteRefreshInterval=1"])?;
    until(|| match daemon.metric("felix_rs_routes")? {
        10_000.0.. => Ok(()),
        routes => Err(format!("{routes} routes")),
    })?;
    let changes = daemon.metric("felix_rs_route_changes")?;
    let looks = daemon.metric("felix_rs_route_reading_seconds_count")?;
    until(|| match daemon.metric("felix_rs_route_reading_seconds_count")? {
        now if now >= looks + 3.0 => Ok(()),
        now => Err(format!("{now} looks")),
    })?;
    let after = daemon.metric("felix_rs_route_changes")?;
    let sum = daemon.metric("felix_rs_route_reading_seconds_sum")?;
    let looks = daemon.metric("felix_rs_route_reading_seconds_count")?;
    println!("{looks} readings, {:.1} ms each", sum / looks * 1e3);
    if after == changes { Ok(()) } else { Err(format!("{changes} changes became {after}")) }
}

fn switched_off(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let daemon = lab.daemon_with(0, &["RouteSyncDisabled=true"])?;
    until(|| match daemon.readiness()? {
        (200, text) if text.contains("0 routes are as wanted") => Ok(()),
        (_, text) => Err(text),
    })?;
    let found = routes(lab.world.host(0))?;
    if !found.is_empty() {
        return Err(format!("{found:?}"));
    }
    drop(daemon);
    let _daemon = lab.daemon_with(0, &["Ipv6Support=false"])?;
    let mut wanted = of_first_host();
    wanted.retain(|line| !line.contains("fd"));
    until_routes(&lab, &wanted)
}

/// A host in another subnet: by the router that somebody has made a route through, and by another one when that changes.
fn a_router_of_others(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    lab.put("network", &network("Never").replace("172.17.8.102/24", "172.18.0.2/24"))?;
    let host = lab.world.host(0);
    host.ip("route add 172.18.0.0/24 via 172.17.8.50\n")?;
    let daemon = lab.daemon(0)?;
    let by = |router: &str| {
        let mut wanted = of_first_host();
        wanted.retain(|line| !line.starts_with("192.168.42."));
        wanted.extend([
            format!("192.168.42.0/24 via {router} dev enp0s8 proto 80 metric 1024"),
            format!("172.18.0.0/24 via {router} dev enp0s8"),
        ]);
        wanted.sort();
        wanted
    };
    until_routes(&lab, &by("172.17.8.50"))?;
    let before = written(&daemon, Mark::default());
    if before.iter().filter(|step| step.contains("192.168.42.")).count() != 1 {
        return Err(format!("written before the router was known: {before:?}"));
    }
    host.ip("route replace 172.18.0.0/24 via 172.17.8.51\n")?;
    until_routes(&lab, &by("172.17.8.51"))
}

fn compared_and_removed(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let host = lab.world.host(0);
    host.ip("route add 10.99.0.0/16 via 172.17.8.102 proto static\n")?;
    let daemon = lab.daemon(0)?;
    let mut wanted = of_first_host();
    wanted.push("10.99.0.0/16 via 172.17.8.102 dev enp0s8 proto static".to_owned());
    wanted.sort();
    until_routes(&lab, &wanted)?;
    daemon.terminate()?;
    let program = env!("CARGO_BIN_EXE_felix-rs");
    let source = lab.source().display().to_string();
    let choice = format!("IptablesBackend={}", backend.name());
    let compare = [
        program,
        "render",
        "--datastore",
        &source,
        "--host",
        "calico-01",
        "--set",
        &choice,
        "--against",
        "kernel",
        "--table",
        "routes",
    ];
    let same = host.run(&compare, "")?;
    if !same.is_empty() {
        return Err(format!("it differs from itself:\n{same}"));
    }
    host.ip("route del 192.168.41.2/32 dev calia\n")?;
    match host.run(&compare, "") {
        Err(said) if said.contains("exit status: 1") => {}
        other => return Err(format!("what is missing is not told: {other:?}")),
    }
    let dry = host.run(&[program, "cleanup", "--dry-run"], "")?;
    let removals = dry.lines().filter(|line| line.starts_with("ip ")).count();
    if removals != 7 || routes(host)?.len() != wanted.len() - 1 {
        return Err(format!("{removals} would be removed:\n{dry}"));
    }
    let said = host.run(&[program, "cleanup"], "")?;
    let left = routes(host)?;
    let theirs = "10.99.0.0/16 via 172.17.8.102 dev enp0s8 proto static";
    if left == [theirs] && said.contains("7 routes") { Ok(()) } else { Err(format!("{said}{left:?}")) }
}
