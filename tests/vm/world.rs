//! Two hosts joined by a cable, a container on each, as the field report builds them by hand. The routes of the hosts are
//! not there yet: who makes them is the trial's choice.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use crate::Verdict;
use crate::netns::Netns;

pub const HOSTS: [&str; 2] = ["calico-01", "calico-02"];

/// The interface between the hosts.
pub const UPLINK: &str = "enp0s8";

/// The interfaces of the containers, on their hosts.
pub const CABLES: [&str; 2] = ["calic18c1dc57ca", "cali445d36d1804"];

/// What the tunnel may carry, as in the report.
pub const TUNNEL_MTU: u16 = 1440;

const GATEWAY: &str = "169.254.1.1";

/// The host's end of every container's cable.
const HOST_MAC: &str = "ee:ee:ee:ee:ee:ee";

/// How packets get to the other host's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Plain,
    Tunnel,
}

pub struct World {
    hosts: [Netns; 2],
    containers: [Netns; 2],
}

impl World {
    pub fn new() -> Result<Self, String> {
        let hosts = [Netns::new()?, Netns::new()?];
        let containers = [Netns::new()?, Netns::new()?];
        let world = Self { hosts, containers };
        world.host(0).ip(&format!(
            "link add {UPLINK} type veth peer name {UPLINK} netns {}\n",
            world.host(1).path()
        ))?;
        for number in [0, 1] {
            world.host(number).set_sysctl("net/ipv4/ip_forward", "1")?;
            world.host(number).ip(&outer(number, &world.container(number).path()))?;
            world.container(number).ip(&inner(number))?;
        }
        world.wait_for_cables()?;
        Ok(world)
    }

    pub fn host(&self, number: usize) -> &Netns {
        &self.hosts[number]
    }

    /// That of the host with this number.
    pub fn container(&self, number: usize) -> &Netns {
        &self.containers[number]
    }

    /// Makes the hosts' routes and tunnels as the report does, or changes them.
    pub fn route_by_hand(&self, mode: Mode) -> Verdict {
        if mode == Mode::Tunnel {
            self.load_the_tunnel()?;
        }
        for number in [0, 1] {
            let [own, other] = [block(number), block(1 - number)];
            let via = host_address(1 - number);
            let mut lines = format!(
                "route replace blackhole {own} proto bird\n\
                 route replace {} dev {} scope link\n",
                container_address(number),
                CABLES[number]
            );
            let _ = match mode {
                Mode::Plain => writeln!(lines, "route replace {other} via {via} dev {UPLINK} proto bird"),
                Mode::Tunnel => write!(
                    lines,
                    "link set tunl0 mtu {TUNNEL_MTU} up\n\
                     address replace {}/32 dev tunl0\n\
                     route replace {other} via {via} dev tunl0 proto bird onlink\n",
                    tunnel_address(number)
                ),
            };
            self.host(number).ip(&lines)?;
        }
        Ok(())
    }

    /// With the module every namespace has a tunl0.
    pub fn load_the_tunnel(&self) -> Verdict {
        self.host(0).run(&["modprobe", "ipip"], "").map(drop)
    }

    /// The kernel drops what is sent by an interface until it has noticed, in the background, that its cable works.
    fn wait_for_cables(&self) -> Verdict {
        let end = Instant::now() + Duration::from_secs(10);
        for netns in self.hosts.iter().chain(&self.containers) {
            while netns.run(&["ip", "-br", "link", "show", "type", "veth"], "")?.contains("DOWN") {
                if Instant::now() > end {
                    return Err("a cable does not work".to_owned());
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }
}

/// What is done on a host for its uplink and its container.
fn outer(number: usize, container: &str) -> String {
    let (cable, mac) = (CABLES[number], container_mac(number));
    format!(
        "link set lo up\n\
         address add {}/24 dev {UPLINK}\n\
         link set {UPLINK} up\n\
         link add {cable} address {HOST_MAC} type veth peer name eth0 address {mac} netns {container}\n\
         link set {cable} up\n\
         neighbour replace {} lladdr {mac} dev {cable} nud permanent\n",
        host_address(number),
        container_address(number)
    )
}

/// What is done in a container.
fn inner(number: usize) -> String {
    format!(
        "link set lo up\n\
         link set eth0 up\n\
         address add {}/32 dev eth0\n\
         route add {GATEWAY} dev eth0 scope link\n\
         route add default via {GATEWAY} dev eth0\n\
         neighbour replace {GATEWAY} lladdr {HOST_MAC} dev eth0 nud permanent\n",
        container_address(number)
    )
}

pub fn host_address(number: usize) -> IpAddr {
    Ipv4Addr::new(172, 17, 8, 101 + number as u8).into()
}

pub fn container_address(number: usize) -> IpAddr {
    in_block(number, 2)
}

fn tunnel_address(number: usize) -> IpAddr {
    in_block(number, 3)
}

/// What a daemon takes for the tunnel: the lowest address of the block that nobody has.
pub fn tunnel_of_block(number: usize) -> IpAddr {
    in_block(number, 0)
}

fn in_block(number: usize, last: u8) -> IpAddr {
    Ipv4Addr::new(192, 168, 41 + number as u8, last).into()
}

pub fn block(number: usize) -> String {
    format!("{}/24", in_block(number, 0))
}

pub fn container_mac(number: usize) -> String {
    format!("02:00:00:00:{number:02}:02")
}
