//! What the field report shows of the two modes: route tables and packets on the wire. Who made the routes does not matter.

use crate::Verdict;
use crate::capture::Capture;
use crate::netns::Netns;
use crate::probe::{self, Answer, Kind};
use crate::world::{CABLES, HOSTS, Mode, UPLINK, World, container_address};

/// The routes of both hosts, as `ip route` prints them; what is free to differ is left out.
const PLAIN_ROUTES: [&str; 2] = [
    "\
172.17.8.0/24 dev enp0s8 scope link
blackhole 192.168.41.0/24
192.168.41.2 dev calic18c1dc57ca scope link
192.168.42.0/24 via 172.17.8.102 dev enp0s8
",
    "\
172.17.8.0/24 dev enp0s8 scope link
192.168.41.0/24 via 172.17.8.101 dev enp0s8
blackhole 192.168.42.0/24
192.168.42.2 dev cali445d36d1804 scope link
",
];

const TUNNEL_ROUTES: [&str; 2] = [
    "\
172.17.8.0/24 dev enp0s8 scope link
blackhole 192.168.41.0/24
192.168.41.2 dev calic18c1dc57ca scope link
192.168.42.0/24 via 172.17.8.102 dev tunl0 onlink
",
    "\
172.17.8.0/24 dev enp0s8 scope link
192.168.41.0/24 via 172.17.8.101 dev tunl0 onlink
blackhole 192.168.42.0/24
192.168.42.2 dev cali445d36d1804 scope link
",
];

/// A ping from the second host's container to the first host's, on its way, and the answer.
const PLAIN_PING: &str = "\
IP 192.168.42.2 > 192.168.41.2: ICMP echo request
IP 192.168.41.2 > 192.168.42.2: ICMP echo reply
";

const TUNNEL_PING: &str = "\
IP 172.17.8.102 > 172.17.8.101: IP 192.168.42.2 > 192.168.41.2: ICMP echo request
IP 172.17.8.101 > 172.17.8.102: IP 192.168.41.2 > 192.168.42.2: ICMP echo reply
";

/// All of it for one mode. The module of the tunnel must be loaded.
pub fn of(world: &World, mode: Mode) -> Verdict {
    routes(world, mode)?;
    wire(world, mode)
}

/// Of both hosts.
pub fn routes(world: &World, mode: Mode) -> Verdict {
    routes_of(world, 0, mode)?;
    routes_of(world, 1, mode)
}

pub fn routes_of(world: &World, number: usize, mode: Mode) -> Verdict {
    let wanted = match mode {
        Mode::Plain => PLAIN_ROUTES,
        Mode::Tunnel => TUNNEL_ROUTES,
    };
    let found = main_table(world.host(number))?;
    same(&format!("routes of {}, {mode:?}", HOSTS[number]), wanted[number], &found)
}

/// Pings, and hears it on every interface of the first host.
pub fn wire(world: &World, mode: Mode) -> Verdict {
    let (uplink, tunnel) = match mode {
        Mode::Plain => (PLAIN_PING, ""),
        Mode::Tunnel => (TUNNEL_PING, PLAIN_PING),
    };
    let heard = [(UPLINK, uplink), ("tunl0", tunnel), (CABLES[0], PLAIN_PING)];
    let mut captures = Vec::new();
    for (interface, wanted) in heard {
        captures.push((interface, wanted, Capture::on(world.host(0), interface)?));
    }
    ping(world, Answer::Passes)?;
    for (interface, wanted, mut capture) in captures {
        let found: String = capture.lines()?.into_iter().map(|line| line + "\n").collect();
        same(&format!("{interface}, {mode:?}"), wanted, &found)?;
    }
    Ok(())
}

/// From the second host's container to the first host's.
pub fn ping(world: &World, wanted: Answer) -> Verdict {
    let patience = wanted.patience();
    let found = world.container(1).within(|| probe::send(container_address(0), Kind::Icmp, patience));
    match found {
        Ok(found) if found == wanted => Ok(()),
        other => Err(format!("a ping: expected {wanted:?}, found {other:?}")),
    }
}

/// The main table of IPv4, without what says who made a route and which is tried first.
fn main_table(netns: &Netns) -> Result<String, String> {
    let said = netns.run(&["ip", "-4", "route"], "")?;
    Ok(said.lines().map(|line| shape(line) + "\n").collect())
}

fn shape(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "proto" | "metric" | "mtu" | "src" => drop(words.next()),
            _ => kept.push(word),
        }
    }
    kept.join(" ")
}

fn same(what: &str, wanted: &str, found: &str) -> Verdict {
    if found == wanted { Ok(()) } else { Err(format!("{what}: expected\n{wanted}found\n{found}")) }
}
