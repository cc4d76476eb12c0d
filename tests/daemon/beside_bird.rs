//! BIRD on both hosts, each of which tells the other its own block by BGP, as Calico's do.

use std::thread;
use std::time::Duration;

use crate::bird::Bird;
use crate::daemon::{Daemon, Mark};
use crate::lab::{Lab, until};
use crate::main_table::{
    daemons_at_work, end_of_block, local, no_fight, of_host, sorted, to_block, until_routes,
};
use crate::manifests::{LABELLED, NET1, blocks, node};
use crate::netns::Backend;
use crate::probe::Answer::Blocked;
use crate::probe::Kind::{Icmp, Tcp};
use crate::routes::{ROWS, lab, written};
use crate::world::{Family, HOSTS, address, block};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("bird::its_blocks_are_left_to_it", its_blocks_are_left_to_it),
    ("bird::one_that_is_killed", one_that_is_killed),
    ("bird::both_write", both_write),
    ("bird::all_is_left_to_it", all_is_left_to_it),
    ("bird::ours_are_not_spread", ours_are_not_spread),
];

/// Of BIRD's configuration; also in the README.
const FILTER: &str = "filter not_felix_rs { if krt_source = 80 then reject; accept; }";

/// Longer than a few of its looks at the kernel's routes.
const LOOKS: Duration = Duration::from_secs(3);

/// With the filter that the README gives.
fn config(host: usize) -> String {
    config_with(host, "filter not_felix_rs")
}

/// `import`: which of the kernel's routes it learns.
fn config_with(host: usize, import: &str) -> String {
    let mut text = format!(
        "router id {};\n{FILTER}\nprotocol device {{ scan time 1; }}\n",
        address(HOSTS[host], Family::V4)
    );
    for (family, number, length) in [(Family::V4, 4, 24), (Family::V6, 6, 64)] {
        let [own, other] = [host, 1 - host].map(|host| address(HOSTS[host], family));
        let block = block(host, family);
        text += &format!(
            "protocol static block{number} {{ ipv{number}; route {block} blackhole; }}\n\
             protocol kernel kernel{number} {{\n\
               learn; scan time 1;\n\
               ipv{number} {{ import {import}; export all; }};\n\
             }}\n\
             protocol bgp peer{number} {{\n\
               direct; local {own} as 64512; neighbor {other} as 64512;\n\
               connect delay time 1; connect retry time 1; error wait time 1, 2;\n\
               # Blocks, and not the addresses in them.\n\
               ipv{number} {{ import all; export where net.len <= {length}; next hop self; }};\n\
             }}\n"
        );
    }
    text
}

fn birds(lab: &Lab) -> Result<[Bird<'_>; 2], String> {
    Ok([Bird::start(lab, 0, &config(0))?, Bird::start(lab, 1, &config(1))?])
}

/// As BIRD writes what we would write.
fn theirs(routes: [String; 2]) -> [String; 2] {
    routes.map(|route| route.replace("proto 80 metric 1024", "proto bird metric 32"))
}

/// A host's routes where BIRD has these blocks.
fn with_bird(host: usize, has: [bool; 2]) -> Vec<String> {
    let blocks = [end_of_block(host), to_block(1 - host, host, 1 - host)];
    let mut routes = local(host);
    for (whose, block) in [host, 1 - host].into_iter().zip(blocks) {
        routes.extend(if has[whose] { theirs(block) } else { block });
    }
    sorted(routes)
}

fn until_withheld(daemon: &Daemon, wanted: f64) -> Verdict {
    until(|| match daemon.metric("felix_rs_routes_withheld")? {
        found if found == wanted => Ok(()),
        found => Err(format!("{found} are withheld, not {wanted}")),
    })
}

fn until_known(bird: &Bird, protocol: &str, wanted: &[&str]) -> Verdict {
    until(|| match bird.routes_of(protocol)? {
        found if found == wanted => Ok(()),
        found => Err(format!("from {protocol} it knows {found:?}, not {wanted:?}")),
    })
}

/// Nothing changes while BIRD looks again and again.
fn at_peace(lab: &Lab, daemons: &[&Daemon], wanted: [&[String]; 2]) -> Verdict {
    let changes = || -> Result<Vec<f64>, String> {
        daemons.iter().map(|daemon| daemon.metric("felix_rs_route_changes")).collect()
    };
    let before = changes()?;
    thread::sleep(LOOKS);
    (0..2).try_for_each(|host| until_routes(lab, host, wanted[host]))?;
    daemons.iter().try_for_each(|daemon| no_fight(daemon))?;
    match changes()? {
        after if after == before => Ok(()),
        after => Err(format!("{before:?} changes of routes became {after:?}")),
    }
}

/// Ours come back when it ends, and go when it begins; policy is ours all the time.
fn its_blocks_are_left_to_it(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let mut daemons = daemons_at_work(&lab)?;
    let [one, two] = birds(&lab)?;
    let all = [0, 1].map(|host| with_bird(host, [true, true]));
    (0..2).try_for_each(|host| until_routes(&lab, host, &all[host]))?;
    daemons.iter().try_for_each(|daemon| until_withheld(daemon, 4.0))?;
    lab.expect("all blocks are BIRD's", ROWS)?;
    lab.change(&mut daemons, |lab| lab.remove("policy"))?;
    lab.expect("no policy", &[("a", "b", Icmp, Blocked), ("d", "a", Tcp(80), Blocked)])?;
    lab.change(&mut daemons, |lab| lab.put("policy", &(NET1.to_owned() + LABELLED)))?;
    lab.expect("a policy", ROWS)?;
    let [first, second] = &daemons;
    at_peace(&lab, &[first, second], all.each_ref().map(Vec::as_slice))?;

    // Of what is the other's, the other's BIRD is told that it is gone.
    one.down()?;
    until_routes(&lab, 0, &of_host(0))?;
    until_routes(&lab, 1, &with_bird(1, [false, true]))?;
    until_withheld(first, 0.0)?;
    lab.expect("one has ended", ROWS)?;
    let _one = Bird::start(&lab, 0, &config(0))?;
    (0..2).try_for_each(|host| until_routes(&lab, host, &all[host]))?;
    two.terminate()?;
    until_routes(&lab, 0, &with_bird(0, [true, false]))?;
    until_routes(&lab, 1, &of_host(1))?;
    lab.expect("the other has ended", ROWS)?;
    [first, second].into_iter().try_for_each(no_fight)
}

/// Its routes stay in its kernel, so ours do not come back before somebody takes them away.
fn one_that_is_killed(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let [first, second] = daemons_at_work(&lab)?;
    let [one, _two] = birds(&lab)?;
    let all = [0, 1].map(|host| with_bird(host, [true, true]));
    (0..2).try_for_each(|host| until_routes(&lab, host, &all[host]))?;
    one.kill();
    until_routes(&lab, 1, &with_bird(1, [false, true]))?;
    until_routes(&lab, 0, &all[0])?;
    until_withheld(&first, 4.0)?;
    lab.expect("one is killed", ROWS)?;

    // Nor does a daemon that begins anew touch them.
    first.terminate()?;
    let first = lab.daemon(0)?;
    until_withheld(&first, 4.0)?;
    until_routes(&lab, 0, &all[0])?;
    let written = written(&first, Mark::default());
    if !written.is_empty() {
        return Err(format!("{written:?}"));
    }
    // One that begins anew takes them for its own.
    let one = Bird::start(&lab, 0, &config(0))?;
    until_known(&one, "peer6", &["fd00:42::/64"])?;
    until_known(&one, "peer4", &["192.168.42.0/24"])?;
    (0..2).try_for_each(|host| until_routes(&lab, host, &all[host]))?;
    one.kill();
    lab.world.host(0).shell("ip -4 route flush proto bird\nip -6 route flush proto bird\n")?;
    until_routes(&lab, 0, &of_host(0))?;
    until_routes(&lab, 1, &with_bird(1, [false, true]))?;
    lab.expect("all routes are ours", ROWS)?;
    [&first, &second].into_iter().try_for_each(no_fight)
}

/// Ours beside its own, for which packets take, as their metric is lower.
fn both_write(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let daemon = |host| lab.daemon_with(host, &["ProgramClusterRoutes=Enabled"]);
    let [first, second] = [daemon(0)?, daemon(1)?];
    let [one, two] = birds(&lab)?;
    let both = [0, 1].map(|host| {
        let bird = with_bird(host, [true, true]).into_iter().filter(|line| line.contains("proto bird"));
        sorted(bird.chain(of_host(host)))
    });
    (0..2).try_for_each(|host| until_routes(&lab, host, &both[host]))?;
    at_peace(&lab, &[&first, &second], both.each_ref().map(Vec::as_slice))?;
    lab.expect("both write", ROWS)?;
    let routed = lab.world.host(0).run(&["ip", "route", "get", "192.168.42.2"], "")?;
    if !routed.contains("via 172.17.8.102 dev enp0s8") {
        return Err(routed);
    }
    let changes = first.metric("felix_rs_route_changes")?;
    one.down()?;
    two.down()?;
    (0..2).try_for_each(|host| until_routes(&lab, host, &of_host(host)))?;
    lab.expect("nothing had to come back", ROWS)?;
    match first.metric("felix_rs_route_changes")? {
        after if after == changes => Ok(()),
        after => Err(format!("{changes} changes of routes became {after}")),
    }
}

fn all_is_left_to_it(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let daemon = |host| lab.daemon_with(host, &["ProgramClusterRoutes=Disabled"]);
    let [first, second] = [daemon(0)?, daemon(1)?];
    (0..2).try_for_each(|host| until_routes(&lab, host, &sorted(local(host))))?;
    let [one, _two] = birds(&lab)?;
    let all = [0, 1].map(|host| with_bird(host, [true, true]));
    (0..2).try_for_each(|host| until_routes(&lab, host, &all[host]))?;
    at_peace(&lab, &[&first, &second], all.each_ref().map(Vec::as_slice))?;
    lab.expect("all blocks are BIRD's", ROWS)?;
    one.down()?;
    until_routes(&lab, 0, &sorted(local(0)))
}

/// The block of a third host, which has no BIRD: without the filter it would be spread, and the second host would take it
/// from there.
fn ours_are_not_spread(backend: Backend) -> Verdict {
    if !include_str!("../../README.md").contains(FILTER) {
        return Err("the README gives another filter".to_owned());
    }
    let lab = lab(backend, "Never")?;
    lab.put("third", &(node(2) + &blocks(2, 2, "")))?;
    let _daemons = lab.daemons()?;
    let with_third = |host: usize, by_bird: bool, third: [String; 2]| {
        let birds = if by_bird { with_bird(host, [true, true]) } else { of_host(host) };
        sorted(birds.into_iter().chain(third))
    };
    (0..2).try_for_each(|host| until_routes(&lab, host, &with_third(host, false, to_block(2, host, 2))))?;
    let one = Bird::start(&lab, 0, &config_with(0, "all"))?;
    let two = Bird::start(&lab, 1, &config(1))?;
    until_known(&two, "peer4", &["192.168.41.0/24", "192.168.43.0/24"])?;
    until_known(&two, "peer6", &["fd00:41::/64", "fd00:43::/64"])?;
    until_routes(&lab, 1, &with_third(1, true, theirs(to_block(2, 1, 0))))?;

    one.configure(&config(0))?;
    until_known(&two, "peer4", &["192.168.41.0/24"])?;
    until_known(&two, "peer6", &["fd00:41::/64"])?;
    (0..2).try_for_each(|host| until_routes(&lab, host, &with_third(host, true, to_block(2, host, 2))))?;
    // Local routes are learned, as Calico's are: they are of protocol 3.
    until_known(&one, "kernel4", &["192.168.41.2/32", "192.168.41.3/32"])?;
    until_known(&two, "kernel6", &["fd00:42::2/128", "fd00:42::3/128"])
}
