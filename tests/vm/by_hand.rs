//! The network made with `ip` alone, as the field report does it: this is what a daemon has to equal.

use crate::evidence;
use crate::world::{Mode, World};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("by_hand::no_tunnel_is_seen_in_plain_mode", no_tunnel_is_seen_in_plain_mode),
    ("by_hand::packets_within_packets", packets_within_packets),
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
