//! The worker's side: carries out one script in a namespace made for it.

use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
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

/// The host forwards; nothing but the rules decides what it takes; it says as little as can be of its own accord.
const QUIET: [(&str, &str); 18] = [
    ("netfilter/nf_conntrack_checksum", "0"),
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
