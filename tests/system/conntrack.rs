//! Connections between two namespaces, of which some are removed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use felix_rs::model::IpVersion;
use felix_rs::system::conntrack::{Detail, Entry, dump, remove_of_addresses, remove_where};
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::{Guest, Neighbour, ip, ip_in, run};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("conntrack::an_empty_table", an_empty_table),
    ("conntrack::entries_are_shown", entries_are_shown),
    ("conntrack::those_of_an_address_go", those_of_an_address_go),
    ("conntrack::those_behind_nat_go", those_behind_nat_go),
    ("conntrack::those_in_a_zone_go", those_in_a_zone_go),
    ("conntrack::those_that_are_unwanted_go", those_that_are_unwanted_go),
    ("conntrack::one_that_is_gone_is_as_good_as_removed", one_that_is_gone),
    ("conntrack::a_long_table", a_long_table),
];

/// The trial that is none: the other side of all connections.
pub const PEER: &str = "conntrack::peer";

const PORT: u16 = 7000;

/// Echoes what comes by UDP and TCP, of both families.
pub fn be_the_peer() -> Verdict {
    let failed = |e: std::io::Error| e.to_string();
    let udp = UdpSocket::bind(("::", PORT)).map_err(failed)?;
    let tcp = TcpListener::bind(("::", PORT)).map_err(failed)?;
    println!("ready");
    thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((length, sender)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(&buffer[..length], sender);
        }
    });
    // Kept open.
    let mut streams = Vec::new();
    for stream in tcp.incoming().flatten() {
        let mut stream = stream;
        let mut byte = [0];
        let _ = stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte));
        streams.push(stream);
    }
    Ok(())
}

/// Two namespaces with a cable between them; the own side's connections are tracked.
struct Cable {
    _neighbour: Neighbour,
    _peer: Guest,
    streams: Vec<TcpStream>,
}

/// Of the own side, and of the other one.
const OWN: [&str; 4] = ["10.9.0.1", "10.9.0.3", "fd09::1", "fd09::3"];
const V4_PEER: &str = "10.9.0.2";
const V6_PEER: &str = "fd09::2";

impl Cable {
    fn new(rules: &str) -> Result<Self, String> {
        let neighbour = Neighbour::new()?;
        ip(&format!(
            "link add cali1 type veth peer name eth0 netns {}\nlink set cali1 up\nlink set lo up\n\
             address add 10.9.0.1/24 dev cali1\naddress add 10.9.0.3/24 dev cali1\n\
             address add fd09::1/64 dev cali1 nodad\naddress add fd09::3/64 dev cali1 nodad\n",
            neighbour.process()
        ))?;
        let entering = neighbour.entering();
        let entering: Vec<&str> = entering.iter().map(String::as_str).collect();
        ip_in(
            &entering,
            "link set eth0 up\naddress add 10.9.0.2/24 dev eth0\naddress add fd09::2/64 dev eth0 nodad\n",
        )?;
        // The kernel tracks only where somebody asks for it.
        for restore in ["iptables-legacy-restore", "ip6tables-legacy-restore"] {
            let asking = "*filter\n-A OUTPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n";
            run(&[restore, "--noflush"], asking)?;
        }
        if !rules.is_empty() {
            run(&["iptables-legacy-restore", "--noflush"], rules)?;
        }
        let mut peer = neighbour.start(PEER)?;
        let mut line = String::new();
        let heard = peer.0.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        if !matches!(heard, Some(Ok(_))) || line != "ready\n" {
            return Err(format!("the other side says {line:?}"));
        }
        Ok(Self { _neighbour: neighbour, _peer: peer, streams: Vec::new() })
    }

    /// A packet there and one back by UDP and by TCP.
    fn talk(&mut self, from: &str, to: &str) -> Verdict {
        let failed = |e: std::io::Error| format!("{from} to {to}: {e}");
        let from: SocketAddr = SocketAddr::new(from.parse().expect("an address"), 0);
        let to = SocketAddr::new(to.parse().expect("an address"), PORT);
        let udp = UdpSocket::bind(from).map_err(failed)?;
        udp.send_to(b"x", to).map_err(failed)?;
        udp.recv_from(&mut [0]).map_err(failed)?;
        let domain = Domain::for_address(from);
        let tcp = Socket::new(domain, Type::STREAM, None).map_err(failed)?;
        tcp.bind(&from.into()).and_then(|()| tcp.connect(&to.into())).map_err(failed)?;
        let mut tcp = TcpStream::from(tcp);
        tcp.write_all(b"x").and_then(|()| tcp.read_exact(&mut [0])).map_err(failed)?;
        self.streams.push(tcp);
        Ok(())
    }

    fn talk_to_all(&mut self) -> Verdict {
        OWN.iter().try_for_each(|own| self.talk(own, if own.contains(':') { V6_PEER } else { V4_PEER }))
    }
}

/// `source protocol`, and how many such.
fn table() -> Result<BTreeMap<String, usize>, String> {
    let mut table = BTreeMap::new();
    for family in [IpVersion::V4, IpVersion::V6] {
        let show = |entry: &Entry<'_>| {
            let protocol = entry.original.protocol;
            // The kernel's own chatter.
            if protocol == 6 || protocol == 17 {
                *table.entry(format!("{} {protocol}", entry.original.source)).or_default() += 1;
            }
        };
        dump(family, show).map_err(|e| e.to_string())?;
    }
    Ok(table)
}

fn expect_table(want: &[&str]) -> Verdict {
    let want: BTreeMap<String, usize> = want.iter().map(|line| ((*line).to_owned(), 1)).collect();
    let found = table()?;
    if found == want { Ok(()) } else { Err(format!("found {found:?}, not {want:?}")) }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, want: T) -> Verdict {
    if found == want { Ok(()) } else { Err(format!("{what}: {found:?}, not {want:?}")) }
}

fn remove(addresses: &[&str]) -> Result<usize, String> {
    let addresses: BTreeSet<IpAddr> =
        addresses.iter().map(|text| text.parse().expect("an address")).collect();
    remove_of_addresses(&addresses).map_err(|e| format!("{e}; {}", e.help()))
}

fn an_empty_table() -> Verdict {
    expect("removed", remove(&["10.9.0.1", "fd09::1"])?, 0)?;
    expect_table(&[])
}

fn entries_are_shown() -> Verdict {
    let mut cable = Cable::new("")?;
    cable.talk("10.9.0.1", V4_PEER)?;
    cable.talk("fd09::1", V6_PEER)?;
    ping("10.9.0.1", V4_PEER)?;
    ping("fd09::1", V6_PEER)?;
    let mut shown = Vec::new();
    for family in [IpVersion::V4, IpVersion::V6] {
        let show = |entry: &Entry<'_>| {
            let Entry { original, reply, zone, status, .. } = entry;
            let mirrored = original.source == reply.destination && original.destination == reply.source;
            let detail = match (original.detail, reply.detail) {
                (
                    Detail::Ports { destination, source: client },
                    Detail::Ports { source, destination: to },
                ) => {
                    format!("{destination} {source} {}", client == to)
                }
                (Detail::Icmp { kind, code: 0, id }, Detail::Icmp { kind: answer, code: 0, id: same }) => {
                    format!("{kind} {answer} {id:#x} {}", id == same)
                }
                other => format!("{other:?}"),
            };
            // Of status: an answer was seen.
            let answered = status & 2 != 0;
            let said =
                format!("{} {} {detail} {zone} {mirrored} {answered}", original.source, original.protocol);
            shown.extend(OWN.contains(&&*original.source.to_string()).then_some(said));
        };
        dump(family, show).map_err(|e| e.to_string())?;
    }
    shown.sort();
    let want = [
        "10.9.0.1 1 8 0 0x1234 true 0 true true",
        "10.9.0.1 17 7000 7000 true 0 true true",
        "10.9.0.1 6 7000 7000 true 0 true true",
        "fd09::1 17 7000 7000 true 0 true true",
        "fd09::1 58 128 129 0x1234 true 0 true true",
        "fd09::1 6 7000 7000 true 0 true true",
    ];
    expect("entries", shown, want.map(str::to_owned).to_vec())?;
    expect("removed", remove(&["10.9.0.1", "fd09::1"])?, 6)?;
    expect_table(&[])
}

/// An echo request and its answer.
fn ping(from: &str, to: &str) -> Verdict {
    let failed = |e: std::io::Error| format!("ping {to}: {e}");
    let [from, to] = [from, to].map(|text| SocketAddr::new(text.parse().expect("an address"), 0));
    let (protocol, request, answer) = match to {
        SocketAddr::V4(_) => (Protocol::ICMPV4, [8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1], 0),
        // Here the kernel fills in the checksum.
        SocketAddr::V6(_) => (Protocol::ICMPV6, [128, 0, 0, 0, 0x12, 0x34, 0, 1], 129),
    };
    let mut socket = Socket::new(Domain::for_address(to), Type::RAW, Some(protocol)).map_err(failed)?;
    socket.bind(&from.into()).and_then(|()| socket.send_to(&request, &to.into())).map_err(failed)?;
    loop {
        let mut packet = [0; 64];
        let length = socket.read(&mut packet).map_err(failed)?;
        // IPv4 comes with its header.
        let skipped = if to.is_ipv4() { 20 } else { 0 };
        if packet[..length].get(skipped) == Some(&answer) {
            return Ok(());
        }
    }
}

fn those_of_an_address_go() -> Verdict {
    let mut cable = Cable::new("")?;
    cable.talk_to_all()?;
    let all = OWN.map(|own| [format!("{own} 17"), format!("{own} 6")]).concat();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    expect_table(&all)?;
    expect("removed of nobody", remove(&["10.9.0.77", "fd09::77"])?, 0)?;
    expect("removed of nothing", remove(&[])?, 0)?;
    expect_table(&all)?;
    // Two of UDP and TCP for each address.
    expect("removed", remove(&["10.9.0.1", "fd09::3"])?, 4)?;
    expect_table(&["10.9.0.3 17", "10.9.0.3 6", "fd09::1 17", "fd09::1 6"])?;
    expect("removed again", remove(&["10.9.0.1", "fd09::3"])?, 0)?;
    // As destination.
    expect("removed of the other side", remove(&[V4_PEER])?, 2)?;
    expect_table(&["fd09::1 17", "fd09::1 6"])
}

/// The other side is asked for under an address that it has not, and answers to one that isn't the sender's.
fn those_behind_nat_go() -> Verdict {
    let nat = "*nat\n-A OUTPUT -d 10.77.0.1 -j DNAT --to-destination 10.9.0.2\n\
               -A POSTROUTING -s 10.9.0.1 -j SNAT --to-source 10.9.0.3\nCOMMIT\n";
    let mut cable = Cable::new(nat)?;
    ip("route add 10.77.0.0/16 via 10.9.0.2 dev cali1\n")?;
    // In turn the original's source and destination, the reply's destination and source.
    for address in ["10.9.0.1", "10.77.0.1", "10.9.0.3", "10.9.0.2"] {
        cable.talk("10.9.0.1", "10.77.0.1")?;
        expect_table(&["10.9.0.1 17", "10.9.0.1 6"])?;
        expect(address, remove(&[address])?, 2)?;
        expect_table(&[])?;
    }
    Ok(())
}

fn those_in_a_zone_go() -> Verdict {
    let zone = "*raw\n-A OUTPUT -o cali1 -j CT --zone 5\n-A PREROUTING -i cali1 -j CT --zone 5\nCOMMIT\n";
    let mut cable = Cable::new(zone)?;
    cable.talk("10.9.0.1", V4_PEER)?;
    let mut zones = BTreeSet::new();
    dump(IpVersion::V4, |entry| {
        zones.insert(entry.zone);
    })
    .map_err(|e| e.to_string())?;
    expect("zones", zones, BTreeSet::from([5]))?;
    expect("removed", remove(&["10.9.0.1"])?, 2)?;
    expect_table(&[])
}

fn those_that_are_unwanted_go() -> Verdict {
    let mut cable = Cable::new("")?;
    cable.talk_to_all()?;
    let removed = remove_where(IpVersion::V4, |entry| entry.original.protocol == 6);
    expect("removed", removed.map_err(|e| e.to_string())?, 2)?;
    expect_table(&["10.9.0.1 17", "10.9.0.3 17", "fd09::1 17", "fd09::1 6", "fd09::3 17", "fd09::3 6"])
}

/// It goes between being listed and being removed.
fn one_that_is_gone() -> Verdict {
    let mut cable = Cable::new("")?;
    cable.talk("10.9.0.1", V4_PEER)?;
    let mut meanwhile = Ok(0);
    let removed = remove_where(IpVersion::V4, |_| {
        if meanwhile == Ok(0) {
            meanwhile = remove(&["10.9.0.1"]);
        }
        true
    });
    expect("meanwhile", meanwhile?, 2)?;
    expect("removed", removed.map_err(|e| e.to_string())?, 0)?;
    expect_table(&[])
}

/// More than one datagram, and removed while it is listed.
fn a_long_table() -> Verdict {
    let _cable = Cable::new("")?;
    let failed = |e: std::io::Error| e.to_string();
    for own in ["10.9.0.1", "10.9.0.3"] {
        let udp = UdpSocket::bind((own, 0)).map_err(failed)?;
        for port in 10_000..15_000 {
            // The other side refuses, which the next one hears.
            let _ = udp.send_to(b"x", (V4_PEER, port));
        }
    }
    let before = table()?;
    let of = |own: &str| before.get(&format!("{own} 17")).copied().unwrap_or(0);
    expect("entries", of("10.9.0.1") > 2_500 && of("10.9.0.3") > 2_500, true)?;
    expect("removed", remove(&["10.9.0.1"])?, of("10.9.0.1"))?;
    let after = table()?;
    expect("left", after, BTreeMap::from([("10.9.0.3 17".to_owned(), of("10.9.0.3"))]))
}
