//! How much a path carries, and what it costs: iperf3, as in the field report.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::netns::Netns;

/// When a way that lets nothing through is given up, in milliseconds.
const CONNECT: &str = "5000";

/// One connection that is to be measured.
pub struct Sending<'a> {
    pub server: &'a Netns,
    pub client: &'a Netns,
    pub to: IpAddr,
    /// The longest segment, where it is not left to the interfaces.
    pub segment: Option<u16>,
    pub seconds: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub gigabits_per_second: f64,
    pub retransmits: u64,
    /// Of all processors together, whoever used them: what the kernel does for packets is nobody's.
    pub seconds_per_gigabit: f64,
}

impl Sending<'_> {
    pub fn measure(&self) -> Result<Measured, String> {
        let Self { server, client, to, segment, seconds } = self;
        let _server = Server::start(server)?;
        let [to, seconds] = [to.to_string(), seconds.to_string()];
        let mut command = vec!["iperf3", "-J", "-c", &to, "-t", &seconds, "--connect-timeout", CONNECT];
        let segment = segment.map(|segment| segment.to_string());
        command.extend(segment.iter().flat_map(|segment| ["-M", segment]));
        let before = busy_seconds()?;
        let said = client.run(&command, "")?;
        let busy = busy_seconds()? - before;
        let said: Value = serde_json::from_str(&said).map_err(|e| format!("iperf3: {e}\n{said}"))?;
        measured(&said, busy).ok_or_else(|| format!("nothing arrives: {said}"))
    }
}

fn measured(said: &Value, busy: f64) -> Option<Measured> {
    let arrived = &said["end"]["sum_received"];
    let gigabits = arrived["bytes"].as_f64().filter(|bytes| *bytes > 0.0)? * 8.0 / 1e9;
    Some(Measured {
        gigabits_per_second: arrived["bits_per_second"].as_f64()? / 1e9,
        retransmits: said["end"]["sum_sent"]["retransmits"].as_u64()?,
        seconds_per_gigabit: busy / gigabits,
    })
}

/// How long the processors have worked since the machine began: for programs, for the kernel, and for interrupts, hard
/// and soft.
pub fn busy_seconds() -> Result<f64, String> {
    let text = fs::read_to_string("/proc/stat").map_err(|e| format!("/proc/stat: {e}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu ")).ok_or("/proc/stat: no processors")?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
    let &[user, nice, system, _idle, _waiting, hard, soft, ..] = &ticks[..] else {
        return Err(format!("/proc/stat: {line}"));
    };
    // SAFETY: it touches no memory.
    let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok((user + nice + system + hard + soft) as f64 / a_second as f64)
}

/// It listens, for one connection.
struct Server(Child);

impl Server {
    fn start(netns: &Netns) -> Result<Self, String> {
        let mut command = Command::new("iperf3");
        command.args(["-s", "-1", "--forceflush"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = netns
            .within(|| command.spawn())
            .map_err(|e| format!("iperf3: {e}; help: the Debian package iperf3 has it"))?;
        let mut output = child.stdout.take().map(BufReader::new);
        let server = Self(child);
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            let read = output.as_mut().map_or(Ok(0), |output| output.read_line(&mut line));
            if read.map_err(|e| format!("iperf3: {e}"))? == 0 {
                return Err("iperf3 does not listen".to_owned());
            }
        }
        // What it prints later must find its way, too.
        std::thread::spawn(move || output.map(|mut output| output.read_to_string(&mut String::new())));
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
