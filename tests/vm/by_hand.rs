//! The network made with `ip` alone, as the field report does it: this is what a daemon has to equal.

use crate::evidence;
use crate::netns::Netns;
use crate::probe::{self, Answer};
use crate::throughput::{self, Path};
use crate::world::{Mode, World, container_address, host_address};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("by_hand::no_tunnel_is_seen_in_plain_mode", no_tunnel_is_seen_in_plain_mode),
    ("by_hand::packets_within_packets", packets_within_packets),
    ("by_hand::a_connection_outlives_changes_of_mode", a_connection_outlives_changes_of_mode),
    ("by_hand::throughput_of_every_path", throughput_of_every_path),
];

fn no_tunnel_is_seen_in_plain_mode() -> Verdict {
    let world = World::new()?;
    world.load_the_tunnel()?;
    world.route_by_hand(Mode::Plain)?;
    evidence::of(&world, Mode::Plain)
}

fn packets_within_packets() -> Verdict {
    let world = World::new()?;
    world.route_by_hand(Mode::Tunnel)?;
    evidence::of(&world, Mode::Tunnel)
}

fn a_connection_outlives_changes_of_mode() -> Verdict {
    let world = World::new()?;
    let failed = |e| format!("the connection: {e}");
    probe::answer_in(world.container(0)).map_err(failed)?;
    world.route_by_hand(Mode::Plain)?;
    let port = probe::TCP_PORTS[0];
    let mut stream = probe::connection(world.container(1), container_address(0), port).map_err(failed)?;
    for mode in [Mode::Tunnel, Mode::Plain, Mode::Tunnel] {
        world.route_by_hand(mode)?;
        evidence::routes(&world, mode)?;
        if !probe::says_back(&mut stream, Answer::Passes.patience()).map_err(failed)? {
            return Err(format!("the connection does not go on in {mode:?} mode"));
        }
    }
    Ok(())
}

/// The report's table. An imitated processor says nothing of what a real one would carry: every path must work, and the
/// figures are for people.
fn throughput_of_every_path() -> Verdict {
    let world = World::new()?;
    let measure = |name, [server, client]: [&Netns; 2], to| {
        throughput::measure(server, client, to).map(|measured| Path { name, measured })
    };
    let containers = [world.container(0), world.container(1)];
    let mut paths = vec![measure("host to host", [world.host(0), world.host(1)], host_address(0))?];
    for (name, mode) in [("containers, plain", Mode::Plain), ("containers, tunnel", Mode::Tunnel)] {
        world.route_by_hand(mode)?;
        paths.push(measure(name, containers, container_address(0))?);
    }
    println!("{}", throughput::table(&paths));
    Ok(())
}
