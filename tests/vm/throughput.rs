//! The report's table of the paths, for people: an imitated processor says nothing of what a real one would carry, so that
//! nothing is asked of the figures. `cargo bench --bench throughput` takes its time for them.

use std::fmt::Write as _;

use crate::iperf::{Measured, Sending};
use crate::lab::Lab;
use crate::world::{Mode, TUNNEL_MTU, container_address, host_address};

pub struct Path {
    name: &'static str,
    measured: Measured,
}

pub fn host_to_host(lab: &Lab) -> Result<Path, String> {
    let [server, client] = [lab.world.host(0), lab.world.host(1)];
    let sending = Sending { server, client, to: host_address(0), segment: Some(TUNNEL_MTU), seconds: 1 };
    Ok(Path { name: "host to host", measured: sending.measure()? })
}

/// In segments of the same length as between the hosts, as far as the tunnel carries them.
pub fn between_containers(lab: &Lab, mode: Mode) -> Result<Path, String> {
    let name = match mode {
        Mode::Plain => "containers, plain",
        Mode::Tunnel => "containers, tunnel",
    };
    let [server, client] = [lab.world.container(0), lab.world.container(1)];
    let sending = Sending { server, client, to: container_address(0), segment: Some(TUNNEL_MTU), seconds: 1 };
    Ok(Path { name, measured: sending.measure()? })
}

/// With ratios to the first path.
pub fn table(paths: &[Path]) -> String {
    let mut table =
        "| path | Gbit/s | of the first | retransmits | CPU s per Gbit |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    let first = paths.first().map(|path| path.measured.gigabits_per_second);
    for Path { name, measured } in paths {
        let Measured { gigabits_per_second, retransmits, seconds_per_gigabit } = measured;
        let ratio = gigabits_per_second / first.unwrap_or(*gigabits_per_second);
        let _ = writeln!(
            table,
            "| {name} | {gigabits_per_second:.2} | {ratio:.2} | {retransmits} | {seconds_per_gigabit:.2} |"
        );
    }
    table
}
