//! Routes that are undone, or refused, again and again.

use std::thread;
use std::time::Duration;

use crate::daemon::{Daemon, Mark};
use crate::lab::{Lab, until};
use crate::main_table::{of_host, routes, until_routes};
use crate::netns::Backend;
use crate::routes::{is_in, lab};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("quarrels::somebody_who_goes_on", somebody_who_goes_on),
    ("quarrels::beside_a_step_that_is_refused", beside_a_step_that_is_refused),
];

const OURS: &str = "blackhole 192.168.41.0/24 proto 80 metric 1024";

/// What another program does with it.
const UNDO: &str = "route replace blackhole 192.168.41.0/24 proto 80 metric 1024 mtu 1000\n";

fn is_right(lab: &Lab) -> Verdict {
    let found = routes(lab.world.host(0))?;
    if is_in(&found, OURS) { Ok(()) } else { Err(format!("it is not put right:\n{}", found.join("\n"))) }
}

/// Undoes it so many times, with which the daemon gives way; says where the log was then.
fn quarrel(lab: &Lab, daemon: &mut Daemon, from: Mark, times: usize) -> Result<Mark, String> {
    for _ in 0..times {
        until(|| is_right(lab))?;
        lab.world.host(0).ip(UNDO)?;
    }
    let heard = daemon.hear_of(from, "protocol 80 (felix), keeps undoing")?;
    // Whoever stops has not lost us the route.
    until(|| is_right(lab))?;
    Ok(heard)
}

/// It is given way to for a while, and named.
fn somebody_who_goes_on(backend: Backend) -> Verdict {
    let lab = lab(backend, "Never")?;
    let mut daemon = lab.daemon(0)?;
    let host = lab.world.host(0);
    until_routes(&lab, 0, &of_host(0))?;
    let heard = quarrel(&lab, &mut daemon, Mark::default(), 4)?;
    host.ip(UNDO)?;
    // Everything else goes on.
    host.ip("route del 192.168.41.2/32 dev calia\n")?;
    until(|| match is_in(&routes(host)?, "192.168.41.2 dev calia scope link metric 1024") {
        true => Ok(()),
        false => Err("another route is not made again".to_owned()),
    })?;
    thread::sleep(Duration::from_secs(1));
    if is_right(&lab).is_ok() {
        return Err("nobody has given way".to_owned());
    }
    // Whoever asks for it has it put right at once.
    daemon.hang_up();
    until(|| is_right(&lab)).map_err(|found| format!("after SIGHUP, {found}{}", daemon.log()))?;
    // That was once.
    quarrel(&lab, &mut daemon, heard, 3)?;
    host.ip(UNDO)?;
    // And in any case it is put right in the end.
    until(|| is_right(&lab))
}

/// The kernel does not have the source address, and refuses all routes to endpoints. Everything else is as it was: others
/// are given way, what is missing is said, and the host is ready.
fn beside_a_step_that_is_refused(backend: Backend) -> Verdict {
    let lab = lab(backend, "Always")?;
    let mut daemon = lab.daemon_with(0, &["DeviceRouteSourceAddress=9.9.9.9"])?;
    daemon.hear_of(Mark::default(), "the kernel refuses `ip route replace 192.168.41.2")?;
    if lab.world.host(0).run(&["ip", "link", "show", "tunl0"], "").is_err() {
        daemon.hear_of(Mark::default(), "this kernel has no IP in IP")?;
    }
    quarrel(&lab, &mut daemon, Mark::default(), 4)?;
    until(|| match daemon.readiness()? {
        (200, text) if text.contains("refuses") => Ok(()),
        other => Err(format!("{other:?}")),
    })
}
