//! What else of the host the daemon keeps: connections, settings, states of endpoints.

use std::fs;

use crate::daemon::Daemon;
use crate::lab::{Lab, until};
use crate::manifests::{LABELLED, NET1, endpoint, endpoint_at, endpoints};
use crate::netns::{self, Backend};
use crate::probe::Answer::Passes;
use crate::probe::Kind::{Icmp, Udp};
use crate::world::{Family, address, in_block};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("host::connections_of_an_address_that_left", connections_of_an_address_that_left),
    ("host::settings_of_host_and_interfaces", settings_of_host_and_interfaces),
    ("host::an_interface_that_comes_later", an_interface_that_comes_later),
    ("host::states_of_endpoints", states_of_endpoints),
    ("host::ipv6_is_no_longer_wanted", ipv6_is_no_longer_wanted),
];

fn connections_of_an_address_that_left(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    lab.put("policy", &(LABELLED.to_owned() + NET1 + &endpoint("c", "net1")))?;
    lab.put("a", &endpoint("a", "net1"))?;
    let mut daemon = lab.daemon(0)?;
    lab.expect(
        "both are there",
        &[("b", "a", Udp(53), Passes), ("b", "c", Udp(53), Passes), ("a", "b", Icmp, Passes)],
    )?;
    let before = Family::ALL.map(|family| (connections(&lab, "a", family), connections(&lab, "c", family)));

    let elsewhere = Family::ALL.map(|family| in_block(0, 77, family).to_string());
    let [v4, v6] = elsewhere.each_ref();
    lab.change(std::slice::from_mut(&mut daemon), |lab| lab.put("a", &endpoint_at("a", "net1", &[v4, v6])))?;
    // Of each family one from b and one to b.
    until(|| match daemon.metric("felix_rs_conntrack_removed")? {
        4.0 => Ok(()),
        removed => Err(format!("{removed} connections are removed")),
    })?;
    for (family, (a, c)) in Family::ALL.into_iter().zip(before) {
        // Not every kernel lists them.
        if fs::exists("/proc/net/nf_conntrack").unwrap_or(false) {
            let now = (connections(&lab, "a", family), connections(&lab, "c", family));
            if a == 0 || c == 0 || now != (0, c) {
                return Err(format!("{family:?}: {a} of a and {c} of c became {now:?}"));
            }
        }
    }
    Ok(())
}

/// How many the first host knows that a container takes part in.
fn connections(lab: &Lab, container: &str, family: Family) -> usize {
    let text = lab.world.host(0).within(|| fs::read_to_string("/proc/thread-self/net/nf_conntrack"));
    let mut words = vec![];
    for side in ["src", "dst"] {
        words.push(match address(container, family) {
            std::net::IpAddr::V4(address) => format!("{side}={address}"),
            // Written in full there.
            std::net::IpAddr::V6(address) => {
                let groups: Vec<String> =
                    address.segments().iter().map(|group| format!("{group:04x}")).collect();
                format!("{side}={}", groups.join(":"))
            }
        });
    }
    let text = text.unwrap_or_default();
    text.lines().filter(|line| line.split(' ').any(|word| words.iter().any(|wanted| wanted == word))).count()
}

fn settings_of_host_and_interfaces(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    lab.put("all", &(endpoints("net1") + LABELLED + NET1))?;
    for host in [0, 1] {
        lab.world.host(host).set_sysctl("net/ipv4/ip_forward", "0")?;
        lab.world.host(host).set_sysctl("net/ipv6/conf/all/forwarding", "0")?;
    }
    let _daemons = lab.daemons()?;
    let wanted = [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv4/conf/calia/proxy_arp", "1"),
        ("net/ipv4/conf/calia/route_localnet", "1"),
        ("net/ipv4/conf/calia/forwarding", "1"),
        ("net/ipv4/neigh/calia/proxy_delay", "0"),
        ("net/ipv6/conf/calia/proxy_ndp", "1"),
        ("net/ipv6/conf/calia/forwarding", "1"),
        ("net/ipv6/conf/calia/accept_ra", "0"),
        // Not an interface of ours.
        ("net/ipv4/conf/enp0s8/proxy_arp", "0"),
    ];
    until(|| {
        wanted.iter().try_for_each(|(name, value)| match lab.world.host(0).sysctl(name)? {
            found if found == *value => Ok(()),
            found => Err(format!("{name} is {found}")),
        })
    })?;
    lab.expect("prepared", &[("a", "b", Icmp, Passes), ("b", "a", Udp(53), Passes)])
}

/// A container that is restarted: its cable is another one of the same name.
fn an_interface_that_comes_later(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    lab.put("all", &(endpoints("net1") + LABELLED + NET1))?;
    let host = lab.world.host(0);
    host.ip("link delete calic\n")?;
    let daemon = lab.daemon(0)?;
    for _ in 0..2 {
        states(&daemon, [1, 1, 0])?;
        lab.world.plug_in("c")?;
        states(&daemon, [2, 0, 0])?;
        until(|| match host.sysctl("net/ipv4/conf/calic/proxy_arp")?.as_str() {
            "1" => Ok(()),
            value => Err(format!("proxy_arp is {value}")),
        })?;
        lab.expect("plugged in", &[("c", "b", Icmp, Passes), ("a", "c", Udp(53), Passes)])?;
        host.ip("link delete calic\n")?;
    }
    Ok(())
}

fn states_of_endpoints(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    lab.put("all", &(endpoints("net1") + LABELLED + NET1))?;
    let host = lab.world.host(0);
    let daemon = lab.daemon(0)?;
    states(&daemon, [2, 0, 0])?;
    host.ip("link set calic down\n")?;
    states(&daemon, [1, 1, 0])?;
    host.ip("link set calic up\n")?;
    states(&daemon, [2, 0, 0])?;
    host.ip("link delete calic\n")?;
    states(&daemon, [1, 1, 0])?;

    // Another interface of that name, of which nothing can be set.
    netns::run(&["mount", "--bind", "/proc/sys/net", "/proc/sys/net"], "")?;
    netns::run(&["mount", "-o", "remount,ro,bind", "/proc/sys/net"], "")?;
    host.ip("link add calic type veth peer name nobody\nlink set nobody up\nlink set calic up\n")?;
    states(&daemon, [1, 0, 1])?;
    netns::run(&["umount", "/proc/sys/net"], "")?;
    // Any change of an interface makes it look again.
    host.ip("link set calic down\nlink set calic up\n")?;
    states(&daemon, [2, 0, 0])
}

/// Nothing of ours stays where nobody keeps it up to date, whether the daemon runs meanwhile or not.
fn ipv6_is_no_longer_wanted(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    lab.put("all", &(endpoints("net1") + LABELLED + NET1))?;
    let is_of_v6 = |line: &&String| {
        let ours = line.contains("cali-") || line.contains("create cali6") || line.contains("add cali6");
        ours && (line.starts_with("ip6tables") || line.contains(" cali6"))
    };
    let left = |lab: &Lab| -> Verdict {
        match lab.programmed(0)?.iter().filter(is_of_v6).cloned().collect::<Vec<_>>().as_slice() {
            [] => Ok(()),
            left => Err(format!("left: {left:?}")),
        }
    };
    let mut daemon = lab.daemon(0)?;
    let with = lab.programmed(0)?;
    if left(&lab).is_ok() {
        return Err("there is nothing of IPv6 to begin with".to_owned());
    }
    let without: Vec<String> = with
        .iter()
        .filter(|line| !line.starts_with("ip6tables") && !line.contains(" cali6"))
        .cloned()
        .collect();

    lab.put("config", WITHOUT_IPV6)?;
    until(|| left(&lab))?;
    let found: Vec<String> =
        lab.programmed(0)?.into_iter().filter(|line| !line.starts_with("ip6tables")).collect();
    if found != without {
        return Err(format!("IPv4 is not as it was: {}", crate::lab::difference(&without, &found)));
    }
    if daemon.metric("felix_ipsets_calico{ip_version=\"inet6\"}").is_ok() {
        return Err("sets of IPv6 are still counted".to_owned());
    }
    lab.expect("IPv4 goes on", &[("a", "b", Icmp, Passes)])?;

    lab.change(std::slice::from_mut(&mut daemon), |lab| lab.remove("config"))?;
    lab.until(0, &with)?;
    daemon.kill()?;
    let _daemon = lab.daemon_with(0, &["Ipv6Support=false"])?;
    until(|| left(&lab))
}

const WITHOUT_IPV6: &str = "
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {ipv6Support: false}
";

/// Waits until so many are up, down, and in error.
fn states(daemon: &Daemon, wanted: [u8; 3]) -> Verdict {
    let names = ["up", "down", "error"].map(|state| format!("felix_rs_endpoints{{state=\"{state}\"}}"));
    until(|| {
        let mut found = Vec::new();
        for name in &names {
            found.push(daemon.metric(name)?);
        }
        let same = found.iter().zip(wanted).all(|(found, wanted)| *found == f64::from(wanted));
        if same { Ok(()) } else { Err(format!("up, down, error: {found:?}, not {wanted:?}")) }
    })
}
