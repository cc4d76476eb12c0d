//! The main tables of hosts whose routes the daemon makes.

use crate::Verdict;
use crate::daemon::{Daemon, Mark};
use crate::lab::{Lab, difference, until};
use crate::netns::Netns;
use crate::world::{
    Family, HOSTS, UPLINK, address, block, containers, in_block, interface, is_far, router_of,
};

/// A namespace's routes of both families, a route a line; not what the kernel does by itself.
pub fn routes(netns: &Netns) -> Result<Vec<String>, String> {
    let mut all = String::new();
    for family in ["-4", "-6"] {
        all += &netns.run(&["ip", family, "route", "show", "table", "main"], "")?;
    }
    let lines = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let lines = lines.map(|line| line.replace(" pref medium", "").replace(" linkdown", ""));
    Ok(sorted(lines.filter(|line| !line.contains("proto kernel ") && !line.starts_with("fe80"))))
}

pub fn sorted(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.into_iter().collect();
    lines.sort();
    lines
}

/// Those of one of two hosts, when all is made.
pub fn of_host(host: usize) -> Vec<String> {
    sorted(local(host).into_iter().chain(end_of_block(host)).chain(to_block(1 - host, host, 1 - host)))
}

/// To a host's own containers.
pub fn local(host: usize) -> Vec<String> {
    let own = containers(HOSTS.len()).filter(|(_, on, _)| *on == host);
    let routes = own.flat_map(|(name, _, number)| {
        let device = interface(name);
        let [v4, v6] = Family::ALL.map(|family| in_block(host, number, family));
        [format!("{v4} dev {device} scope link metric 1024"), format!("{v6} dev {device} metric 1024")]
    });
    routes.collect()
}

/// Where what nobody has of a host's own block ends.
pub fn end_of_block(host: usize) -> [String; 2] {
    let [v4, v6] = Family::ALL.map(|family| block(host, family));
    [format!("blackhole {v4} proto 80 metric 1024"), format!("blackhole {v6} dev lo proto 80 metric 1024")]
}

/// From one host to what is a host's block by its number, and which another one has.
pub fn to_block(number: usize, from: usize, owner: usize) -> [String; 2] {
    Family::ALL.map(|family| to(&block(number, family), from, owner, family))
}

/// From one host to addresses that another one has.
pub fn to(destination: &str, from: usize, owner: usize, family: Family) -> String {
    let by_router = is_far(from) != is_far(owner);
    let via = if by_router { router_of(from, family) } else { address(HOSTS[owner], family) };
    format!("{destination} via {via} dev {UPLINK} proto 80 metric 1024")
}

/// Waits until a host has these routes.
pub fn until_routes(lab: &Lab, host: usize, wanted: &[String]) -> Verdict {
    until(|| {
        let found = routes(lab.world.host(host))?;
        if found == wanted {
            Ok(())
        } else {
            Err(format!("{}:\n{}", HOSTS[host], difference(wanted, &found)))
        }
    })
}

/// Two daemons that have made all: a packet needs the routes of both hosts.
pub fn daemons_at_work(lab: &Lab) -> Result<[Daemon<'_>; 2], String> {
    let daemons = lab.daemons()?;
    for host in 0..2 {
        until_routes(lab, host, &of_host(host))?;
    }
    Ok(daemons)
}

/// Nobody else is taken to be at odds with the daemon about a route.
pub fn no_fight(daemon: &Daemon) -> Verdict {
    let lines = daemon.lines(Mark::default());
    match lines.iter().find(|line| line.to_string().contains("keeps undoing")) {
        None => Ok(()),
        Some(fight) => Err(fight.to_string()),
    }
}
