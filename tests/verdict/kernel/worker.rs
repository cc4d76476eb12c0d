//! The worker's side: carries out one script in a namespace made for it.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::Ipv6Addr;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use super::script::{Answer, Place, Script, Sighting, Step};
use super::spawn::HOST;
use super::tun::{Ear, Forgetter, Mouth, Tun};

/// Reads a script from stdin, writes the answer to stdout.
pub fn work() -> ExitCode {
    // First: whatever else is wrong, nothing is written in the namespace of the tests.
    let answer = refuse_home().and_then(|()| {
        let script = serde_json::from_reader(io::stdin().lock()).map_err(|e| format!("the script: {e}"))?;
        carry_out(&script)
    });
    match serde_json::to_writer(io::stdout().lock(), &answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn refuse_home() -> Result<(), String> {
    let here = fs::read_link("/proc/self/ns/net").map_err(|e| format!("/proc/self/ns/net: {e}"))?;
    match env::var_os(HOST) {
        Some(home) if !home.is_empty() && home != here.as_os_str() => Ok(()),
        _ => Err("refused: this is the network namespace of the tests".to_owned()),
    }
}

fn carry_out(script: &Script) -> Answer {
    let Script { interfaces, listen, steps } = script;
    let failed = |what: &str, e: io::Error| format!("{what}: {e}");
    for (name, value) in QUIET {
        set(name, value)?;
    }
    let tuns: Result<_, _> =
        interfaces.iter().map(|name| Tun::new(name).map_err(|e| failed(name, e))).collect();
    let ears: Result<_, _> =
        listen.iter().map(|of| Ear::new(*of).map_err(|e| failed(&format!("{of:?}"), e))).collect();
    let mouth = Mouth::new().map_err(|e| failed("a raw socket", e))?;
    let forgetter = Forgetter::new().map_err(|e| failed("a netlink socket", e))?;
    let mut watch = Watch { tuns: tuns?, ears: ears?, seen: Vec::new() };
    for step in steps {
        match step {
            Step::Set { name, value } => set(name, value)?,
            Step::Run { command, stdin } => run(command, stdin)?,
            Step::Await { own } => wait_for(own)?,
            Step::Arrive { at, bytes } => {
                let tun = watch.tuns.get(*at).ok_or("no such interface")?;
                tun.arrive(bytes).map_err(|e| failed("a packet arriving", e))?;
            }
            Step::Leave { to, bytes } => mouth.send(*to, bytes).map_err(|e| failed("a packet leaving", e))?,
            Step::Forget => forgetter.forget().map_err(|e| failed("forgetting connections", e))?,
        }
        watch.look()?;
    }
    // The kernel has done with each packet when we have sent it, except where another processor happens to be at the
    // same queue, and sends it for us.
    thread::sleep(LINGER);
    watch.look()?;
    Ok(watch.seen)
}

const LINGER: Duration = Duration::from_millis(2);

/// How long the kernel may take for what is a matter of moments.
const PATIENCE: Duration = Duration::from_secs(10);

/// The host forwards; nothing but the rules decides what it takes; it forgets no connection meanwhile, and says as little as
/// can be of its own accord.
const QUIET: [(&str, &str); 20] = [
    ("netfilter/nf_conntrack_checksum", "0"),
    // All connections are opened before the first packet is sent on one, which takes a busy machine more than 3 s.
    ("netfilter/nf_conntrack_sctp_timeout_cookie_wait", "120"),
    ("netfilter/nf_conntrack_sctp_timeout_cookie_echoed", "120"),
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/accept_local", "1"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/icmp_echo_ignore_all", "1"),
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/accept_redirects", "0"),
    // No address of its own making: no solicitations, no reports.
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/icmp/echo_ignore_all", "1"),
];

fn set(name: &str, value: &str) -> Result<(), String> {
    fs::write(format!("/proc/sys/net/{name}"), value).map_err(|e| format!("sysctl {name} = {value}: {e}"))
}

/// The kernel gives a namespace IPv6 addresses in its own time, even where it needs not ask whether another has them
/// (`addrconf_dad_work`). The route to an address is the last that it makes.
fn wait_for(own: &[Ipv6Addr]) -> Result<(), String> {
    const LOCAL: u32 = 0x8000_0000;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let routes =
            fs::read_to_string("/proc/net/ipv6_route").map_err(|e| format!("/proc/net/ipv6_route: {e}"))?;
        let local = routes.lines().filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let flags = u32::from_str_radix(fields.get(8)?, 16).ok()?;
            let destination = u128::from_str_radix(fields.first()?, 16).ok()?;
            (flags & LOCAL != 0).then(|| Ipv6Addr::from(destination))
        });
        let local: BTreeSet<_> = local.collect();
        let Some(missing) = own.iter().find(|address| !local.contains(address)) else { return Ok(()) };
        if Instant::now() > deadline {
            return Err(format!("{missing} has not become an address of the host"));
        }
        thread::sleep(LINGER / 8);
    }
}

fn run(command: &[String], stdin: &str) -> Result<(), String> {
    let said = command.join(" ");
    let failed = |e: io::Error| format!("{said}: {e}");
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let input = child.stdin.take();
    let written = thread::scope(|scope| {
        // Beside the reading: the text and what is said of it may both be larger than a pipe.
        let writer = scope.spawn(|| input.map_or(Ok(()), |mut input| input.write_all(stdin.as_bytes())));
        let output = child.wait_with_output();
        (writer.join(), output)
    });
    let (Ok(written), output) = written else { return Err(format!("{said}: its writer panicked")) };
    let output = output.map_err(failed)?;
    if !output.status.success() {
        return Err(format!("{said}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    written.map_err(failed)
}

/// All that is seen, at all ends.
struct Watch {
    tuns: Vec<Tun>,
    ears: Vec<Ear>,
    seen: Vec<Sighting>,
}

impl Watch {
    fn look(&mut self) -> Result<(), String> {
        for (index, tun) in self.tuns.iter().enumerate() {
            while let Some(bytes) = tun.left().map_err(|e| format!("reading interface {index}: {e}"))? {
                self.seen.push(Sighting { at: Place::Interface(index), bytes });
            }
        }
        for ear in &self.ears {
            while let Some(bytes) = ear.heard().map_err(|e| format!("{:?}: {e}", ear.listener))? {
                self.seen.push(Sighting { at: Place::Host(ear.listener), bytes });
            }
        }
        Ok(())
    }
}
