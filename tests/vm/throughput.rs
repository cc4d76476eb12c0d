//! How much a path carries: iperf3, as in the field report.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::netns::Netns;
use crate::world::TUNNEL_MTU;

/// In seconds.
const MEASURED: &str = "1";

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub bits_per_second: f64,
    pub retransmits: u64,
}

pub struct Path {
    pub name: &'static str,
    pub measured: Measured,
}

/// Sends from one namespace to an address of another, in segments that the tunnel can carry whichever way they go.
pub fn measure(server: &Netns, client: &Netns, to: IpAddr) -> Result<Measured, String> {
    let _server = Server::start(server)?;
    let (to, segment) = (to.to_string(), TUNNEL_MTU.to_string());
    let said = client.run(&["iperf3", "-J", "-c", &to, "-M", &segment, "-t", MEASURED], "")?;
    let end = serde_json::from_str::<Value>(&said).map_err(|e| format!("iperf3: {e}\n{said}"))?["end"].take();
    let bits_per_second = end["sum_received"]["bits_per_second"].as_f64().filter(|bits| *bits > 0.0);
    let retransmits = end["sum_sent"]["retransmits"].as_u64();
    match (bits_per_second, retransmits) {
        (Some(bits_per_second), Some(retransmits)) => Ok(Measured { bits_per_second, retransmits }),
        _ => Err(format!("nothing arrives: {said}")),
    }
}

/// The report's table, with ratios to the first path.
pub fn table(paths: &[Path]) -> String {
    let mut table = "| path | Gbit/s | of the first | retransmits |\n| --- | --- | --- | --- |\n".to_owned();
    for Path { name, measured: Measured { bits_per_second, retransmits } } in paths {
        let first = paths.first().map_or(*bits_per_second, |first| first.measured.bits_per_second);
        let (gigabits, ratio) = (bits_per_second / 1e9, bits_per_second / first);
        let _ = writeln!(table, "| {name} | {gigabits:.2} | {ratio:.2} | {retransmits} |");
    }
    table
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
