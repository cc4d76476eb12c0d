//! More hosts: three on one switch, and one behind a router.

use std::process::Command;

use crate::daemon::Daemon;
use crate::lab::Lab;
use crate::main_table::{end_of_block, local, no_fight, sorted, to, to_block, until_routes};
use crate::manifests::{LABELLED, NET1, blocks, endpoint, host, node, pools};
use crate::netns::Backend;
use crate::probe::Answer::{Blocked, Passes};
use crate::probe::Kind::{Icmp, Tcp, Udp};
use crate::world::{Family, HOSTS, Row, UPLINK, beyond, containers, in_block, leg};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("topologies::all_pairs", all_pairs),
    ("topologies::hosts_come_and_go", hosts_come_and_go),
    ("topologies::a_block_moves", a_block_moves),
    ("topologies::legs_flap", legs_flap),
];

/// Whether this kernel has bridges, looked for in a namespace that ends with the question; if not, why.
pub fn check() -> Verdict {
    let command = ["--net", "ip", "link", "add", "type", "bridge"];
    let output = Command::new("unshare").args(command).output().map_err(|e| format!("unshare: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("this kernel has no bridges: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// The containers of these hosts.
fn on(hosts: &[usize]) -> impl Iterator<Item = &'static str> {
    containers(HOSTS.len()).filter(|(_, host, _)| hosts.contains(host)).map(|(name, _, _)| name)
}

/// All that they can do is done.
fn everybody(hosts: &[usize]) -> Vec<Row<'static>> {
    let pairs = on(hosts).flat_map(|from| on(hosts).map(move |to| (from, to)).collect::<Vec<_>>());
    let kinds = [Icmp, Tcp(80), Udp(53)].into_iter().cycle();
    let pairs = pairs.filter(|(from, to)| from != to);
    pairs.zip(kinds).map(|((from, to), kind)| (from, to, kind, Passes)).collect()
}

/// A host, the blocks, and who has each.
fn routes_of(host: usize, blocks: &[(usize, usize)]) -> Vec<String> {
    let remote = blocks.iter().flat_map(|(number, owner)| match *owner == host {
        true => end_of_block(*number),
        false => to_block(*number, host, *owner),
    });
    sorted(remote.chain(local(host)).chain(beyond(host)))
}

/// Waits until these hosts have what leads to each other: a packet needs the routes of all.
fn until_joined(lab: &Lab, hosts: &[usize]) -> Verdict {
    let blocks: Vec<_> = hosts.iter().map(|host| (*host, *host)).collect();
    hosts.iter().try_for_each(|host| until_routes(lab, *host, &routes_of(*host, &blocks)))
}

fn put_host(lab: &Lab, number: usize) -> Verdict {
    let endpoints: String = on(&[number]).map(|name| endpoint(name, "net1")).collect();
    lab.put(HOSTS[number], &(host(number) + &endpoints))
}

fn lab(backend: Backend, hosts: &[usize]) -> Result<Lab, String> {
    let lab = Lab::wide(backend)?;
    lab.put("network", &(pools("Never") + NET1 + LABELLED))?;
    hosts.iter().try_for_each(|host| put_host(&lab, *host))?;
    Ok(lab)
}

/// At work, with nothing left to do.
fn daemons<'a>(lab: &'a Lab, hosts: &[usize]) -> Result<Vec<Daemon<'a>>, String> {
    let daemons = hosts.iter().map(|host| lab.daemon(*host)).collect::<Result<_, _>>()?;
    until_joined(lab, hosts)?;
    Ok(daemons)
}

const ALL: [usize; 4] = [0, 1, 2, 3];

/// Directly on one switch, else by the router that somebody has made a route through.
fn all_pairs(backend: Backend) -> Verdict {
    let lab = lab(backend, &ALL)?;
    let daemons = daemons(&lab, &ALL)?;
    lab.expect("all is made", &everybody(&ALL))?;
    daemons.iter().try_for_each(no_fight)
}

/// Who stays does not notice.
fn hosts_come_and_go(backend: Backend) -> Verdict {
    let lab = lab(backend, &[0, 1])?;
    let _daemons = daemons(&lab, &[0, 1])?;
    lab.meanwhile(&everybody(&[0, 1]), || {
        let mut there = vec![0, 1];
        let mut come = Vec::new();
        for host in [2, 3] {
            put_host(&lab, host)?;
            there.push(host);
            come.push(lab.daemon(host)?);
            until_joined(&lab, &there)?;
            lab.expect(HOSTS[host], &everybody(&there))?;
        }
        for daemon in come {
            daemon.terminate()?;
            let host = there.remove(2);
            lab.remove(HOSTS[host])?;
            until_joined(&lab, &there)?;
            lab.expect(
                "nobody leads there",
                &[("a", on(&[host]).next().unwrap_or_default(), Icmp, Blocked)],
            )?;
        }
        Ok(())
    })
}

/// It is another host's now, and who has addresses of it keeps them: packets find each of both all the time.
fn a_block_moves(backend: Backend) -> Verdict {
    let lab = lab(backend, &ALL)?;
    let _daemons = daemons(&lab, &ALL)?;
    let moved = |owner: usize| {
        let allocated =
            format!(", allocations: [~, ~, 0, 0], attributes: [{{secondary: {{node: {}}}}}]", HOSTS[1]);
        let endpoints: String = on(&[1]).map(|name| endpoint(name, "net1")).collect();
        node(1) + &blocks(1, owner, &allocated) + &endpoints
    };
    let rows = everybody(&ALL);
    lab.meanwhile(&rows, || {
        for owner in [2, 1, 3, 2, 1] {
            lab.put(HOSTS[1], &moved(owner))?;
            for host in ALL {
                let mut wanted = routes_of(host, &[(0, 0), (1, owner), (2, 2), (3, 3)]);
                if owner != 1 && host != 1 {
                    wanted.extend(borrowed(host));
                }
                until_routes(&lab, host, &sorted(wanted))?;
            }
        }
        Ok(())
    })
}

/// From a host to what the second host's containers have of the block that another one has.
fn borrowed(from: usize) -> Vec<String> {
    let addresses = [2, 3].into_iter().flat_map(|number| {
        Family::ALL.map(|family| to(&in_block(1, number, family).to_string(), from, 1, family))
    });
    addresses.collect()
}

/// The router's end and the host's own, of a host on the switch and of the one behind the router.
fn legs_flap(backend: Backend) -> Verdict {
    let lab = lab(backend, &ALL)?;
    let daemons = daemons(&lab, &ALL)?;
    for host in [2, 3] {
        let others: Vec<usize> = ALL.into_iter().filter(|other| *other != host).collect();
        lab.meanwhile(&everybody(&others), || {
            // The kernel keeps routes while only the other end is down.
            lab.world.router().ip(&format!("link set {} down\n", leg(host)))?;
            lab.world.raise_leg(host)?;
            lab.world.wait_for_cables()?;
            until_joined(&lab, &ALL)?;
            lab.expect("the router's end", &everybody(&ALL))?;
            lab.world.host(host).ip(&format!("link set {UPLINK} down\n"))?;
            until_routes(&lab, host, &cut_off(host))?;
            lab.world.raise(host)?;
            lab.world.wait_for_cables()?;
            until_joined(&lab, &ALL)?;
            lab.expect("the host's end", &everybody(&ALL))
        })?;
    }
    daemons.iter().try_for_each(no_fight)
}

/// What leads nowhere else is still there.
fn cut_off(host: usize) -> Vec<String> {
    sorted(local(host).into_iter().chain(end_of_block(host)))
}
