//! Packets that are sent all the while: each the first of a connection that nobody has seen, and one connection that was
//! allowed once and goes on.

use std::fs;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use felix_rs::verdict::packet::{ConnState, Packet, Payload, Way};

use crate::kernel::run;
use crate::tun::Tun;
use crate::wire::{Frame, Moment, read};

/// Between two sweeps over all kinds of packets.
const PAUSE: Duration = Duration::from_millis(6);

/// How long a packet may take through the kernel where another processor has it.
const LINGER: Duration = Duration::from_millis(5);

const UDP: u8 = 17;
const TCP: u8 = 6;

/// Interfaces, and what is routed by each. Nobody has declared the last but one.
const INTERFACES: [(&str, &[&str]); 6] = [
    ("cali1", &["10.65.0.1/32", "fd00:65::1/128"]),
    ("cali2", &["10.65.0.2/32", "fd00:65::2/128"]),
    ("cali3", &["10.65.0.3/32", "fd00:65::3/128"]),
    ("cali4", &["10.65.0.4/32", "fd00:65::4/128"]),
    ("cali9", &["10.65.0.9/32", "fd00:65::9/128"]),
    ("eth0", &["0.0.0.0/0", "::/0"]),
];

/// Interfaces and addresses that packets are sent between, where one of both is local.
const ENDS: [(&str, &str); 15] = [
    ("cali1", "10.65.0.1"),
    ("cali2", "10.65.0.2"),
    ("cali3", "10.65.0.3"),
    ("cali4", "10.65.0.4"),
    ("cali9", "10.65.0.9"),
    ("eth0", "10.66.0.1"),
    ("eth0", "10.66.0.2"),
    ("eth0", "203.0.113.9"),
    ("eth0", "198.51.100.7"),
    ("cali1", "fd00:65::1"),
    ("cali2", "fd00:65::2"),
    ("cali3", "fd00:65::3"),
    ("cali4", "fd00:65::4"),
    ("cali9", "fd00:65::9"),
    ("eth0", "fd00:66::1"),
];

/// One of each kind of packet; the source port is another one each time.
#[derive(Clone, Debug)]
pub struct Kind {
    pub packet: Packet,
    input: usize,
    output: usize,
}

/// One packet that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub at: Instant,
    pub what: What,
    output: usize,
    /// It came out where it should.
    pub passed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The number of its kind.
    First(usize),
    /// Of the connection that was allowed once.
    Established,
}

/// The host's interfaces, and who sends.
pub struct Traffic {
    pub kinds: Vec<Kind>,
    shared: Arc<Mutex<Wires>>,
    ended: Arc<AtomicBool>,
    sender: Option<JoinHandle<Result<(), String>>>,
}

struct Wires {
    tuns: Vec<Tun>,
    /// The first of them has this number.
    base: u32,
    sent: Vec<Sent>,
    sweeps: usize,
}

impl Traffic {
    /// Makes the interfaces of this namespace.
    pub fn new() -> Result<Self, String> {
        for (name, value) in SETTINGS {
            fs::write(format!("/proc/sys/net/{name}"), value).map_err(|e| format!("{name}: {e}"))?;
        }
        let tuns: Result<Vec<Tun>, _> =
            INTERFACES.iter().map(|(name, _)| Tun::new(name).map_err(|e| format!("{name}: {e}"))).collect();
        let mut lines = "link set lo up\n".to_owned();
        for (name, nets) in INTERFACES {
            lines += &format!("link set {name} up\n");
            if name == "eth0" {
                lines += "address add 172.16.0.1/24 dev eth0\n";
            }
            nets.iter().for_each(|net| lines += &format!("route add {net} dev {name}\n"));
        }
        run(&["ip", "-batch", "-"], &lines)?;
        let wires = Wires { tuns: tuns?, base: 0, sent: Vec::new(), sweeps: 0 };
        Ok(Self { kinds: kinds(), shared: Arc::new(Mutex::new(wires)), ended: Arc::default(), sender: None })
    }

    /// Opens the connection that is to last, and begins to send.
    pub fn begin(&mut self) -> Result<(), String> {
        let (shared, ended) = (Arc::clone(&self.shared), Arc::clone(&self.ended));
        let kinds = self.kinds.clone();
        for moment in [Moment::First, Moment::Answer, Moment::Later] {
            let mut wires = self.lock();
            wires.send_established(moment == Moment::Answer, moment)?;
            thread::sleep(LINGER);
            wires.look()?;
            if !wires.sent.iter().all(|sent| sent.passed) {
                return Err("no connection can be opened".to_owned());
            }
        }
        self.sender = Some(thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).sweep(&kinds)?;
                thread::sleep(PAUSE);
            }
            Ok(())
        }));
        Ok(())
    }

    /// Waits until all kinds of packets were sent once more.
    pub fn next_sweep(&self) -> Result<(), String> {
        // One may be under way.
        let wanted = self.lock().sweeps + 2;
        while self.lock().sweeps < wanted {
            if self.sender.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err("nobody sends any more".to_owned());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// What was sent since the last time.
    pub fn take(&self) -> Result<Vec<Sent>, String> {
        let mut wires = self.lock();
        thread::sleep(LINGER);
        wires.look()?;
        wires.base += u32::try_from(wires.sent.len()).map_err(|_| "too many packets")?;
        Ok(std::mem::take(&mut wires.sent))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Wires> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            let _ = sender.join();
        }
    }
}

impl Wires {
    fn sweep(&mut self, kinds: &[Kind]) -> Result<(), String> {
        // The long connection's port is below.
        let port = u16::try_from(2000 + self.sweeps % 60_000).map_err(|_| "a port")?;
        self.send_established(false, Moment::Later)?;
        self.send_established(true, Moment::Later)?;
        for (number, kind) in kinds.iter().enumerate() {
            let Packet { source, destination, .. } = kind.packet;
            let payload = match kind.packet.payload {
                Payload::Ports { protocol, source: _, destination } => {
                    Payload::Ports { protocol, source: port, destination }
                }
                other @ (Payload::Icmp { .. } | Payload::Other { .. }) => other,
            };
            let frame = self.frame(source, destination, payload, Moment::First);
            self.arrive(kind.input, kind.output, &frame, What::First(number))?;
        }
        self.look()?;
        self.sweeps += 1;
        Ok(())
    }

    fn send_established(&mut self, back: bool, moment: Moment) -> Result<(), String> {
        let (here, there) = (address("10.65.0.1"), address("10.65.0.2"));
        let ports = |source, destination| Payload::Ports { protocol: TCP, source, destination };
        let (frame, input) = if back {
            (self.frame(there, here, ports(80, 1000), moment), 1)
        } else {
            (self.frame(here, there, ports(1000, 80), moment), 0)
        };
        self.arrive(input, 1 - input, &frame, What::Established)
    }

    fn frame(&self, source: IpAddr, destination: IpAddr, payload: Payload, moment: Moment) -> Frame {
        let number = self.base.wrapping_add(u32::try_from(self.sent.len()).unwrap_or_default());
        Frame { source, destination, payload, moment, number, identifier: 0, checked: true }
    }

    fn arrive(&mut self, input: usize, output: usize, frame: &Frame, what: What) -> Result<(), String> {
        let bytes = frame.bytes();
        self.sent.push(Sent { at: Instant::now(), what, output, passed: false });
        self.tuns[input].arrive(&bytes).map_err(|e| format!("a packet arriving: {e}"))
    }

    /// Takes note of what has come out.
    fn look(&mut self) -> Result<(), String> {
        for (index, tun) in self.tuns.iter().enumerate() {
            while let Some(bytes) = tun.left().map_err(|e| format!("reading an interface: {e}"))? {
                let Some(read) = read(&bytes) else { continue };
                let at = read.number.wrapping_sub(self.base) as usize;
                if let Some(sent) = self.sent.get_mut(at) {
                    sent.passed = sent.output == index;
                }
            }
        }
        Ok(())
    }
}

/// Conversations of both families, to two ports each.
fn kinds() -> Vec<Kind> {
    let index = |name: &str| INTERFACES.iter().position(|(found, _)| *found == name).unwrap_or_default();
    let mut kinds = Vec::new();
    for (input, source) in ENDS {
        for (output, destination) in ENDS {
            let (source, destination) = (address(source), address(destination));
            let declared = |name: &str| name != "cali9";
            let is_asked = declared(input) || declared(output) && output == "cali1";
            if input == output || source.is_ipv4() != destination.is_ipv4() || !is_asked {
                continue;
            }
            for port in [53, 80] {
                let packet = Packet {
                    way: Way::Forwarded { input: input.into(), output: output.into() },
                    source,
                    destination,
                    payload: Payload::Ports { protocol: UDP, source: 2000, destination: port },
                    state: ConnState::New,
                    reverse_path: true,
                };
                kinds.push(Kind { packet, input: index(input), output: index(output) });
            }
        }
    }
    kinds
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The host forwards; connections are soon forgotten, so that ports can be used again.
const SETTINGS: [(&str, &str); 12] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("netfilter/nf_conntrack_udp_timeout", "1"),
    ("netfilter/nf_conntrack_tcp_be_liberal", "1"),
];
