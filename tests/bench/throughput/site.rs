//! Where it is measured: two hosts for each mode and policy, which live side by side, so that nothing has to change
//! between one measurement and the next.

use std::thread;
use std::time::{Duration, Instant};

use crate::Verdict;
use crate::asked::Asked;
use crate::daemon::Daemon;
use crate::iperf::{Measured, Sending};
use crate::lab::Lab;
use crate::link::{Link, RATE};
use crate::manifests::{network, pool};
use crate::netns::Backend;
use crate::paths::{Path, Way};
use crate::policies::{self, Direction, RULES};
use crate::world::{Mode, TUNNEL_MTU, UPLINK, World, container_address, host_address};

pub struct Site {
    /// Without daemons.
    bare: World,
    /// What serves the containers' ways.
    labs: Vec<(Way, Lab)>,
}

impl Site {
    pub fn new(backend: Backend, modes: &[Mode]) -> Result<Self, String> {
        let mut labs = Vec::new();
        for &mode in modes {
            for rules in RULES {
                let lab = Lab::new(backend)?;
                lab.put("network", &(network() + &policies::policy(rules)))?;
                lab.put("pool", &pool(mode))?;
                labs.push((Way::Containers { mode, rules }, lab));
            }
        }
        Ok(Self { bare: World::new()?, labs })
    }

    /// They have programmed everything.
    pub fn daemons(&self) -> Result<Vec<[Daemon<'_>; 2]>, String> {
        self.labs.iter().map(|(_, lab)| lab.daemons()).collect()
    }

    /// Until packets go between all containers, as they are to, and have been let pass by the whole policy.
    pub fn wait_until_in_force(&self) -> Verdict {
        self.labs.iter().try_for_each(|(way, lab)| {
            let end = Instant::now() + Duration::from_secs(30);
            loop {
                match is_in_force(*way, lab) {
                    Err(why) if Instant::now() > end => return Err(format!("{way:?}: {why}")),
                    Err(_) => thread::sleep(Duration::from_millis(250)),
                    Ok(()) => return Ok(()),
                }
            }
        })
    }

    /// Those that are asked for. An imitated processor does not carry what the report's link did: there the link gets a third
    /// of what the slower ways would carry, so that it is the link that holds them.
    pub fn links(&self, asked: &Asked) -> Result<Vec<Link>, String> {
        let mut links = Vec::new();
        if asked.shaped {
            let rate = if asked.in_guest { self.rate_that_is_carried()? } else { RATE };
            links.push(Link::Shaped(rate));
        }
        if asked.unshaped {
            links.push(Link::Unshaped);
        }
        Ok(links)
    }

    fn rate_that_is_carried(&self) -> Result<u32, String> {
        let mut slowest = f64::MAX;
        for way in self.labs.last().map(|(way, _)| *way).into_iter().chain([Way::Hosts]) {
            let measured = self.measure(Path { way, segment: Some(TUNNEL_MTU) }, 0, 1)?;
            slowest = slowest.min(measured.gigabits_per_second);
        }
        let third = (slowest * 1000.0 / 3.0) as u32;
        Ok((third / 50 * 50).clamp(50, RATE))
    }

    /// Has all hosts send by such a link.
    pub fn connect(&self, link: Link) -> Verdict {
        let worlds = self.labs.iter().map(|(_, lab)| &lab.world).chain([&self.bare]);
        let mut hosts = worlds.flat_map(|world| [world.host(0), world.host(1)]);
        hosts.try_for_each(|host| link.of(host))
    }

    pub fn measure(&self, path: Path, round: usize, seconds: u32) -> Result<Measured, String> {
        let Path { way, segment } = path;
        let lab = match way {
            // All have the same chains on this way, so that it is measured in one after the other.
            Way::Bare | Way::Hosts => self.labs.get(round % self.labs.len()),
            Way::Containers { .. } => self.labs.iter().find(|(served, _)| *served == way),
        };
        let (_, lab) = lab.ok_or("no hosts")?;
        let (server, client, to) = match way {
            Way::Bare => (self.bare.host(0), self.bare.host(1), host_address(0)),
            Way::Hosts => (lab.world.host(0), lab.world.host(1), host_address(0)),
            Way::Containers { .. } => (lab.world.container(0), lab.world.container(1), container_address(0)),
        };
        let sending = Sending { server, client, to, segment, seconds };
        sending.measure().map_err(|e| format!("{way:?}: {e}"))
    }
}

fn is_in_force(way: Way, lab: &Lab) -> Verdict {
    let Way::Containers { mode, rules } = way else { return Ok(()) };
    let device = match mode {
        Mode::Plain => UPLINK,
        Mode::Tunnel => "tunl0",
    };
    let to = container_address(0);
    let route = lab.world.host(1).run(&["ip", "route", "get", &to.to_string()], "")?;
    if !route.contains(&format!(" dev {device} ")) {
        return Err(format!("not by {device}: {route}"));
    }
    let [server, client] = [lab.world.container(0), lab.world.container(1)];
    Sending { server, client, to, segment: None, seconds: 1 }.measure()?;
    policies::is_in_force(lab.world.host(0), lab.backend, Direction::Ingress, rules)?;
    policies::is_in_force(lab.world.host(1), lab.backend, Direction::Egress, rules)
}
