//! An interface with our prefix that nobody declared passes nothing, once anything was programmed.

use std::path::Path;

use crate::daemon::{Daemon, Mark, READY};
use crate::lab::Lab;
use crate::manifests::{LABELLED, NET1, endpoint};
use crate::netns::Backend;
use crate::probe::Answer::{self, Blocked, Passes};
use crate::probe::Kind::{Icmp, Tcp, Udp};
use crate::world::{HOSTS, Row, sets, tables};
use crate::{Case, Verdict, shims};

pub const CASES: &[Case] = &[
    ("closed::an_unknown_interface_passes_nothing", an_unknown_interface_passes_nothing),
    ("closed::killed_behind_each_write", killed_behind_each_write),
];

/// `c` is the container that nobody declared; `a` is on the same host and may do everything.
fn unknown(answer: Answer) -> [Row<'static>; 7] {
    [
        ("c", "b", Icmp, answer),
        ("c", "a", Tcp(80), answer),
        ("c", HOSTS[0], Icmp, answer),
        ("c", HOSTS[1], Icmp, answer),
        ("b", "c", Udp(53), answer),
        ("a", "c", Icmp, answer),
        ("b", "c", Tcp(80), answer),
    ]
}

const KNOWN: [Row<'static>; 2] = [("a", "b", Icmp, Passes), ("b", "a", Tcp(80), Passes)];

fn lab(backend: Backend) -> Result<Lab, String> {
    let lab = Lab::new(backend)?;
    lab.put("all", &(endpoint("a", "net1") + LABELLED + NET1))?;
    lab.expect("before the daemon", &unknown(Passes))?;
    Ok(lab)
}

fn an_unknown_interface_passes_nothing(backend: Backend) -> Verdict {
    let lab = lab(backend)?;
    let daemon = lab.daemon(0)?;
    lab.expect("running", &unknown(Blocked))?;
    lab.expect("running", &KNOWN)?;
    daemon.terminate()?;
    lab.expect("ended", &unknown(Blocked))?;
    lab.expect("ended", &KNOWN)?;
    lab.daemon(0)?.kill()?;
    lab.expect("killed", &unknown(Blocked))?;
    lab.expect("killed", &KNOWN)
}

/// Each life of the daemon ends behind its first write. What is closed stays closed, and in the end all is programmed.
fn killed_behind_each_write(backend: Backend) -> Verdict {
    let lab = lab(backend)?;
    let host = lab.world.host(0);
    let mut settings = lab.settings(0, &[]);
    settings.tools = deadly_tools(lab.scratch(), backend)?;
    let mut closed: Vec<Row> = Vec::new();
    let mut lives = 0;
    loop {
        let before = (tables(host, backend)?, sets(host)?);
        let mut daemon = Daemon::start(host, &settings)?;
        let survived = daemon.hear_of(Mark::default(), READY).is_ok();
        if survived {
            break;
        }
        lives += 1;
        if (tables(host, backend)?, sets(host)?) == before || lives > 30 {
            return Err(format!("after {lives} lives there is no progress"));
        }
        lab.expect("what was closed", &closed)?;
        if lab.world.expect(&unknown(Blocked)).is_ok() {
            closed = unknown(Blocked).to_vec();
        }
    }
    lab.expect("at last", &unknown(Blocked))?;
    lab.expect("at last", &KNOWN)?;
    // A table of each family and the sets at least: else nobody was killed half-way.
    if lives >= 3 { Ok(()) } else { Err(format!("only {lives} lives")) }
}

/// Tools that write, and then kill who started them.
fn deadly_tools(scratch: &Path, backend: Backend) -> Result<String, String> {
    let deadly = "real \"$@\"; code=$?; kill -KILL $PPID; exit $code".to_owned();
    let sets =
        format!("case $input in *'create '*|*'add '*|*'destroy '*|*'swap '*) {deadly} ;; esac\nreal \"$@\"");
    let [v4, v6] = shims::restores(backend);
    shims::in_front(scratch, &[(&v4, deadly.clone()), (&v6, deadly), ("ipset", sets)])
}
