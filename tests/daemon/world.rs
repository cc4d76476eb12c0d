//! Two hosts joined by a cable, two containers on each, addresses, and, unless the daemon is to make them, routes and
//! neighbours by hand: `ip` alone, no tunnels, no daemon. Or four hosts: three on one switch, and one behind a router.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::Duration;

use crate::Verdict;
use crate::netns::{Backend, Netns};
use crate::probe::{self, Answer, Kind};

/// Both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

/// `a` and `c` are on the first host, `b` and `d` on the second; `e` and `f` where there are four.
const CONTAINERS: [(&str, usize, u8); 6] =
    [("a", 0, 2), ("c", 0, 3), ("b", 1, 2), ("d", 1, 3), ("e", 2, 2), ("f", 3, 2)];

/// The last one is in a subnet of its own.
pub const HOSTS: [&str; 4] = ["calico-01", "calico-02", "calico-03", "calico-04"];

/// The interface between the hosts.
pub const UPLINK: &str = "enp0s8";

/// The host's end of every container's cable.
const HOST_MAC: &str = "ee:ee:ee:ee:ee:ee";

const GATEWAYS: [&str; 2] = ["169.254.1.1", "fe80::1"];

/// Sent and expected: from whom, to whom, what, and whether it arrives and is answered. In both families.
pub type Row<'a> = (&'a str, &'a str, Kind, Answer);

pub struct World {
    /// Routes and neighbours are made here, too.
    by_hand: bool,
    hosts: Vec<Netns>,
    /// The switch of the first three hosts and the router to the fourth, where there are so many.
    router: Option<Netns>,
    /// By name.
    containers: Vec<(&'static str, Netns)>,
}

impl World {
    pub fn new() -> Result<Self, String> {
        Self::made(true, 2)
    }

    /// Without routes to the containers: cables and the hosts' own addresses alone.
    pub fn bare() -> Result<Self, String> {
        Self::made(false, 2)
    }

    /// The same with four hosts. The router knows their blocks, as somebody must have told it, and hosts the router.
    pub fn wide() -> Result<Self, String> {
        Self::made(false, HOSTS.len())
    }

    fn made(by_hand: bool, hosts: usize) -> Result<Self, String> {
        let router = if hosts > 2 { Some(Netns::new()?) } else { None };
        let containers = containers(hosts).map(|(name, _, _)| Ok((name, Netns::new()?)));
        let containers = containers.collect::<Result<Vec<_>, String>>()?;
        let hosts = (0..hosts).map(|_| Netns::new()).collect::<Result<Vec<_>, _>>()?;
        let world = Self { by_hand, hosts, router, containers };
        for netns in world.all() {
            // An address is there at once, not after a look for another who has it.
            netns.set_sysctl("net/ipv6/conf/default/accept_dad", "0")?;
            netns.set_sysctl("net/ipv6/conf/all/accept_dad", "0")?;
            netns.ip("link set lo up\n")?;
        }
        match &world.router {
            None => world.join_hosts()?,
            Some(router) => world.join_by(router)?,
        }
        for (name, _) in &world.containers {
            world.plug_in(name)?;
            probe::answer_in(world.container(name)).map_err(|e| format!("who answers in {name}: {e}"))?;
        }
        Ok(world)
    }

    pub fn host(&self, host: usize) -> &Netns {
        &self.hosts[host]
    }

    /// Panics where there is none: a mistake in a trial.
    pub fn router(&self) -> &Netns {
        self.router.as_ref().expect("a router")
    }

    /// Panics where there is no such container: a mistake in a trial.
    pub fn container(&self, name: &str) -> &Netns {
        let found = self.containers.iter().find(|(known, _)| *known == name);
        &found.unwrap_or_else(|| panic!("there is no container {name}")).1
    }

    /// Joins a container to its host. Its name must be free there.
    pub fn plug_in(&self, name: &str) -> Verdict {
        let (host, number) = placed(name);
        let (host_ns, inside) = (&self.hosts[host], self.container(name));
        let interface = interface(name);
        let mac = format!("02:00:00:00:{host:02}:{number:02}");
        let mut outer = format!(
            "link add {interface} address {HOST_MAC} type veth peer name eth0 address {mac} netns {}\n\
             link set {interface} up\n",
            inside.path()
        );
        let mut inner = "link set eth0 up\n".to_owned();
        for (family, gateway) in Family::ALL.into_iter().zip(GATEWAYS) {
            let address = address(name, family);
            let plen = if family == Family::V4 { 32 } else { 128 };
            if self.by_hand {
                let _ = write!(
                    outer,
                    "route add {address}/{plen} dev {interface}\n\
                     neighbour replace {address} lladdr {mac} dev {interface} nud permanent\n"
                );
            }
            let _ = write!(
                inner,
                "address add {address}/{plen} dev eth0\n\
                 neighbour replace {gateway} lladdr {HOST_MAC} dev eth0 nud permanent\n\
                 route add default via {gateway} dev eth0 onlink\n"
            );
        }
        host_ns.ip(&outer)?;
        inside.ip(&inner)?;
        self.wait_for_cables()
    }

    /// Hosts no longer reach each other.
    pub fn cut_cable(&self) -> Verdict {
        self.hosts[0].ip(&format!("link set {UPLINK} down\n"))
    }

    /// They do, with the addresses and routes that go with the cable.
    pub fn mend_cable(&self) -> Verdict {
        (0..self.hosts.len()).try_for_each(|host| self.raise(host))?;
        for (number, netns) in self.hosts.iter().enumerate().filter(|_| self.by_hand) {
            let other = 1 - number;
            for family in Family::ALL {
                let via = address(HOSTS[other], family);
                netns.ip(&format!("route replace {} via {via} dev {UPLINK}\n", block(other, family)))?;
            }
        }
        self.wait_for_cables()
    }

    /// Sends all at once; what came out otherwise than expected.
    pub fn expect(&self, rows: &[Row]) -> Verdict {
        let sent = rows.iter().flat_map(|row| Family::ALL.map(|family| (*row, family)));
        let found: Vec<String> = thread::scope(|scope| {
            let probes: Vec<_> = sent
                .map(|((from, to, kind, expected), family)| {
                    scope.spawn(move || {
                        let found = self.send(from, to, kind, family, expected);
                        let what = format!("{from} to {to}, {kind:?}, {family:?}");
                        match found {
                            Ok(found) if found == expected => None,
                            Ok(found) => Some(format!("{what}: expected {expected:?}, found {found:?}")),
                            Err(error) => Some(format!("{what}: {error}")),
                        }
                    })
                })
                .collect();
            probes.into_iter().filter_map(|probe| probe.join().expect("a probe")).collect()
        });
        if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
    }

    fn send(
        &self,
        from: &str,
        to: &str,
        kind: Kind,
        family: Family,
        expected: Answer,
    ) -> std::io::Result<Answer> {
        self.container(from).within(|| probe::send(address(to, family), kind, expected.patience()))
    }

    fn join_hosts(&self) -> Verdict {
        let other = self.hosts[1].path();
        self.hosts[0].ip(&format!("link add {UPLINK} type veth peer name {UPLINK} netns {other}\n"))?;
        self.hosts.iter().try_for_each(forward)?;
        self.mend_cable()
    }

    fn join_by(&self, router: &Netns) -> Verdict {
        forward(router)?;
        router.ip("link add switch type bridge mcast_snooping 0\nlink set switch up\n")?;
        router.ip(&addresses_of_router(0, "switch"))?;
        for (host, netns) in self.hosts.iter().enumerate() {
            forward(netns)?;
            let leg = leg(host);
            netns.ip(&format!("link add {UPLINK} type veth peer name {leg} netns {}\n", router.path()))?;
            if !is_far(host) {
                router.ip(&format!("link set {leg} master switch\n"))?;
            }
            self.raise(host)?;
            self.raise_leg(host)?;
        }
        self.wait_for_cables()
    }

    /// A host's uplink is up, with its addresses and the route to the other side of the router, where there is one.
    pub fn raise(&self, host: usize) -> Verdict {
        let mut lines = format!("link set {UPLINK} up\n");
        for family in Family::ALL {
            let own = address(HOSTS[host], family);
            let _ = writeln!(lines, "address replace {own}/{} dev {UPLINK}", plen(family));
        }
        if self.router.is_some() {
            lines += &beyond(host).map(|route| format!("route replace {route}\n")).concat();
        }
        self.hosts[host].ip(&lines)
    }

    /// The router's end of a host's cable is up, with what of the router's goes with it.
    pub fn raise_leg(&self, host: usize) -> Verdict {
        let mut lines = format!("link set {} up\n", leg(host));
        if is_far(host) {
            lines += &addresses_of_router(host, &leg(host));
        }
        for family in Family::ALL {
            let _ =
                writeln!(lines, "route replace {} via {}", block(host, family), address(HOSTS[host], family));
        }
        self.router().ip(&lines)
    }

    fn all(&self) -> impl Iterator<Item = &Netns> {
        self.hosts.iter().chain(&self.router).chain(self.containers.iter().map(|(_, netns)| netns))
    }

    /// The kernel drops what is sent by an interface until it has noticed, in the background, that its cable works.
    pub fn wait_for_cables(&self) -> Verdict {
        for netns in self.all() {
            while netns.run(&["ip", "-br", "link", "show", "type", "veth"], "")?.contains("DOWN") {
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }
}

/// What a container's cable is called on its host.
pub fn interface(container: &str) -> String {
    format!("cali{container}")
}

/// The address of a container or host.
pub fn address(name: &str, family: Family) -> IpAddr {
    if let Some(number) = HOSTS.iter().position(|host| *host == name) {
        return in_subnet(number, 101 + number as u8, family);
    }
    let (host, number) = placed(name);
    in_block(host, number, family)
}

/// The router's address in a host's subnet.
pub fn router_of(host: usize, family: Family) -> IpAddr {
    in_subnet(host, 1, family)
}

fn in_subnet(host: usize, last: u8, family: Family) -> IpAddr {
    let far = u8::from(is_far(host));
    match family {
        Family::V4 => Ipv4Addr::new(172, 17, 8 + far, last).into(),
        Family::V6 => Ipv6Addr::new(0xfd17, far.into(), 0, 0, 0, 0, 0, last.into()).into(),
    }
}

/// The host is behind the router.
pub fn is_far(host: usize) -> bool {
    host == 3
}

/// The router's end of a host's cable.
pub fn leg(host: usize) -> String {
    format!("leg{host}")
}

/// The routes that somebody has made on a host to the other side of the router.
pub fn beyond(host: usize) -> [String; 2] {
    let other = if is_far(host) { 0 } else { 3 };
    Family::ALL.map(|family| {
        let subnet = format!("{}/{}", in_subnet(other, 0, family), plen(family));
        format!("{subnet} via {} dev {UPLINK} proto static metric 1024", router_of(host, family))
    })
}

/// How long the prefixes of hosts' subnets are.
fn plen(family: Family) -> u8 {
    match family {
        Family::V4 => 24,
        Family::V6 => 64,
    }
}

fn addresses_of_router(host: usize, device: &str) -> String {
    let own = Family::ALL
        .map(|family| format!("address replace {}/{} dev {device}\n", router_of(host, family), plen(family)));
    own.concat()
}

fn forward(netns: &Netns) -> Verdict {
    netns.set_sysctl("net/ipv4/ip_forward", "1")?;
    netns.set_sysctl("net/ipv6/conf/all/forwarding", "1")
}

/// Those of the first so many hosts: name, host and number there.
pub fn containers(hosts: usize) -> impl Iterator<Item = (&'static str, usize, u8)> {
    CONTAINERS.into_iter().filter(move |(_, host, _)| *host < hosts)
}

/// On which host a container is, and its number there.
pub fn placed(container: &str) -> (usize, u8) {
    let found = CONTAINERS.iter().find(|(known, _, _)| *known == container);
    let (_, host, number) = found.unwrap_or_else(|| panic!("there is no container {container}"));
    (*host, *number)
}

/// An address of a host's block.
pub fn in_block(host: usize, number: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(192, 168, 41 + host as u8, number).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x41 + host as u16, 0, 0, 0, 0, 0, number.into()).into(),
    }
}

/// A host's block.
pub fn block(host: usize, family: Family) -> String {
    match family {
        Family::V4 => format!("{}/24", in_block(host, 0, family)),
        Family::V6 => format!("{}/64", in_block(host, 0, family)),
    }
}

const TABLES: [&str; 4] = ["raw", "mangle", "nat", "filter"];

/// Everything that a namespace's tables of one backend hold, sorted by table and chain; no counters.
pub fn tables(netns: &Netns, backend: Backend) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for family in ["iptables", "ip6tables"] {
        for table in TABLES {
            let tool = format!("{family}-{}-save", backend.name());
            let saved = netns.run(&[&tool, "-t", table], "")?;
            let lines = saved.lines().filter(|line| line.starts_with([':', '-']));
            let mut lines: Vec<String> = lines.map(|line| without_counters(line).to_owned()).collect();
            // Rules of one chain keep their order.
            lines.sort_by_key(|line| {
                line.trim_start_matches("-A ").trim_start_matches(':').split(' ').next().map(str::to_owned)
            });
            all.extend(lines.into_iter().map(|line| format!("{family} {table} {line}")));
        }
    }
    Ok(all)
}

/// All IP sets and their members, sorted; nothing that the kernel counts or chooses.
pub fn sets(netns: &Netns) -> Result<Vec<String>, String> {
    let saved = netns.run(&["ipset", "save"], "")?;
    let mut lines: Vec<String> = saved
        .lines()
        .map(|line| line.split(" initval ").next().unwrap_or(line).to_owned())
        .map(|line| line.split(" hashsize ").next().map_or(line.clone(), str::to_owned))
        .collect();
    lines.sort();
    Ok(lines)
}

/// A chain's line ends with `[packets:bytes]`.
fn without_counters(line: &str) -> &str {
    if line.starts_with(':') { line.split(" [").next().unwrap_or(line) } else { line }
}
