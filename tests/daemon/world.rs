//! Two hosts joined by a cable, two containers on each, addresses, and, unless the daemon is to make them, routes and
//! neighbours by hand: `ip` alone, no tunnels, no daemon.

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

/// `a` and `c` are on the first host, `b` and `d` on the second.
pub const CONTAINERS: [(&str, usize, u8); 4] = [("a", 0, 2), ("c", 0, 3), ("b", 1, 2), ("d", 1, 3)];

pub const HOSTS: [&str; 2] = ["calico-01", "calico-02"];

/// The interface between the hosts.
const UPLINK: &str = "enp0s8";

/// The host's end of every container's cable.
const HOST_MAC: &str = "ee:ee:ee:ee:ee:ee";

const GATEWAYS: [&str; 2] = ["169.254.1.1", "fe80::1"];

/// Sent and expected: from whom, to whom, what, and whether it arrives and is answered. In both families.
pub type Row<'a> = (&'a str, &'a str, Kind, Answer);

pub struct World {
    /// Routes and neighbours are made here, too.
    by_hand: bool,
    hosts: [Netns; 2],
    /// By name.
    containers: Vec<(&'static str, Netns)>,
}

impl World {
    pub fn new() -> Result<Self, String> {
        Self::made(true)
    }

    /// Without routes to the containers: cables and the hosts' own addresses alone.
    pub fn bare() -> Result<Self, String> {
        Self::made(false)
    }

    fn made(by_hand: bool) -> Result<Self, String> {
        let hosts = [Netns::new()?, Netns::new()?];
        let containers = CONTAINERS.map(|(name, _, _)| Netns::new().map(|netns| (name, netns)));
        let containers = containers.into_iter().collect::<Result<Vec<_>, _>>()?;
        for netns in hosts.iter().chain(containers.iter().map(|(_, netns)| netns)) {
            // An address is there at once, not after a look for another who has it.
            netns.set_sysctl("net/ipv6/conf/default/accept_dad", "0")?;
            netns.set_sysctl("net/ipv6/conf/all/accept_dad", "0")?;
            netns.ip("link set lo up\n")?;
        }
        let world = Self { by_hand, hosts, containers };
        world.join_hosts()?;
        for (name, _, _) in CONTAINERS {
            world.plug_in(name)?;
            probe::answer_in(world.container(name)).map_err(|e| format!("who answers in {name}: {e}"))?;
        }
        Ok(world)
    }

    pub fn host(&self, host: usize) -> &Netns {
        &self.hosts[host]
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
        for (number, netns) in self.hosts.iter().enumerate() {
            netns.ip(&format!("link set {UPLINK} up\n"))?;
            for family in Family::ALL {
                let plen = if family == Family::V4 { 24 } else { 64 };
                let own = address(HOSTS[number], family);
                netns.ip(&format!("address replace {own}/{plen} dev {UPLINK}\n"))?;
            }
        }
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
        let [one, two] = &self.hosts;
        one.ip(&format!("link add {UPLINK} type veth peer name {UPLINK} netns {}\n", two.path()))?;
        for netns in &self.hosts {
            netns.set_sysctl("net/ipv4/ip_forward", "1")?;
            netns.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        self.mend_cable()
    }

    /// The kernel drops what is sent by an interface until it has noticed, in the background, that its cable works.
    fn wait_for_cables(&self) -> Verdict {
        for netns in self.hosts.iter().chain(self.containers.iter().map(|(_, netns)| netns)) {
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
        let last = 101 + number as u8;
        return match family {
            Family::V4 => Ipv4Addr::new(172, 17, 8, last).into(),
            Family::V6 => Ipv6Addr::new(0xfd17, 0, 0, 0, 0, 0, 0, last.into()).into(),
        };
    }
    let (host, number) = placed(name);
    in_block(host, number, family)
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
