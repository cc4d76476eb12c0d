//! What others do to our chains and sets is mended; what is theirs is left alone.

use crate::daemon::{Daemon, Mark, says};
use crate::lab::{Lab, difference};
use crate::manifests::{LABELLED, NET1, endpoints, policy};
use crate::netns::Backend;
use crate::probe::Answer::{Blocked, Passes};
use crate::probe::Kind::{Icmp, Tcp};
use crate::world::{Row, tables};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("drift::mended_in_time", mended_in_time),
    ("drift::who_is_undone_too_often_gives_way", who_is_undone_too_often_gives_way),
    ("drift::mended_at_once_on_hangup", mended_at_once_on_hangup),
    ("drift::sets_are_mended_in_time", sets_are_mended_in_time),
    ("drift::rules_of_others_stay", rules_of_others_stay),
    ("drift::the_other_backend_is_cleaned", the_other_backend_is_cleaned),
];

const ROWS: [Row; 4] = [
    ("a", "c", Icmp, Passes),
    ("c", "a", Tcp(80), Blocked),
    ("c", "a", Icmp, Passes),
    ("b", "a", Tcp(80), Blocked),
];

/// Nobody looks by itself.
const NEVER: [&str; 3] =
    ["IptablesPostWriteCheckIntervalSecs=3600", "IptablesRefreshInterval=0", "IpsetsRefreshInterval=0"];

fn lab(backend: Backend) -> Result<Lab, String> {
    let lab = Lab::new(backend)?;
    let no_tcp = "selector: all(), order: -1, types: [Ingress], ingress: [{action: Deny, protocol: TCP, source: {selector: role == 'net1'}}]";
    lab.put("all", &(endpoints("net1") + LABELLED + NET1 + &policy("no-tcp", no_tcp)))?;
    Ok(lab)
}

/// What an operator, or another program, may do to tables: lines of shell, `$T` and `$T6` the tools.
const VANDALISM: [(&str, &str); 7] = [
    ("a chain is flushed", "$T -F cali-FORWARD; $T6 -F cali-FORWARD"),
    ("our hook is deleted", "$T -D FORWARD 1; $T6 -D FORWARD 1"),
    ("our hook is put last, without its mark", "$T -D FORWARD 1; $T -A FORWARD -j cali-FORWARD"),
    ("a rule is put into a chain of ours", "$T -I cali-tw-calia -j ACCEPT; $T6 -I cali-tw-calia -j ACCEPT"),
    ("a rule is deleted from it", "$T -D cali-tw-calia 1"),
    ("a chain of our name appears", "$T -N cali-pi-stray; $T -A cali-pi-stray -j ACCEPT"),
    ("everything is flushed", "$T -F; $T -X; $T -t raw -F; $T6 -t mangle -F; $T6 -F"),
];

fn vandalise(lab: &Lab, lines: &str) -> Verdict {
    let backend = lab.backend.name();
    let names = format!("T='iptables-{backend} -w'\nT6='ip6tables-{backend} -w'\n");
    lab.world.host(0).shell(&(names + lines))
}

fn mended_in_time(backend: Backend) -> Verdict {
    let lab = lab(backend)?;
    // Who is undone too often gives way for a while, so that each daemon is tried a few times only.
    for some in VANDALISM.chunks(3) {
        let mut daemon = lab.daemon_with(0, &["IptablesPostWriteCheckIntervalSecs=0.2"])?;
        let wanted = lab.programmed(0)?;
        for (name, lines) in some {
            let mark = daemon.mark();
            vandalise(&lab, lines)?;
            lab.until(0, &wanted).map_err(|e| format!("{name}:\n{e}"))?;
            daemon.hear_of(mark, "somebody else had changed").map_err(|e| format!("{name}: {e}"))?;
        }
        daemon.terminate()?;
    }
    lab.expect("mended", &ROWS)
}

fn who_is_undone_too_often_gives_way(backend: Backend) -> Verdict {
    const GIVES_WAY: &str = "another program keeps undoing this";
    let lab = lab(backend)?;
    let mut daemon = lab.daemon_with(0, &["IptablesPostWriteCheckIntervalSecs=0.2"])?;
    let wanted = lab.programmed(0)?;
    let flush = "$T -F cali-FORWARD";
    for round in 1.. {
        let mark = daemon.mark();
        vandalise(&lab, flush)?;
        daemon.hear_of(mark, "somebody else had changed").map_err(|e| format!("round {round}: {e}"))?;
        lab.until(0, &wanted)?;
        match (daemon.lines(mark).iter().any(|line| says(line, GIVES_WAY)), round) {
            (true, ..3) => return Err(format!("it gives way in round {round}")),
            (true, _) => break,
            (false, ..9) => {}
            (false, _) => return Err("it never gives way".to_owned()),
        }
    }
    // An operator's word counts at once.
    vandalise(&lab, flush)?;
    daemon.hang_up();
    lab.until(0, &wanted)
}

fn mended_at_once_on_hangup(backend: Backend) -> Verdict {
    let lab = lab(backend)?;
    let mut daemon = lab.daemon_with(0, &NEVER)?;
    let wanted = lab.programmed(0)?;
    let name = any_set(&wanted, "cali40")?;
    let sets = [
        ("a member is deleted", format!("ipset del {name} 192.168.41.2")),
        ("a member is added", format!("ipset add {name} 10.9.9.9")),
        ("a set is flushed", format!("ipset flush {name}")),
        (
            "a set is destroyed",
            format!("$T -F; $T -t raw -F; $T -t mangle -F; $T -t nat -F; ipset destroy {name}"),
        ),
        ("a set of our name appears", "ipset create cali40stray hash:net".to_owned()),
    ];
    let sets = sets.iter().map(|(name, lines)| (*name, lines.as_str()));
    for (name, lines) in VANDALISM.into_iter().chain(sets) {
        vandalise(&lab, lines).map_err(|e| format!("{name}: {e}"))?;
        if lab.programmed(0)? == wanted {
            return Err(format!("{name}: nothing was changed"));
        }
        let mark = daemon.mark();
        daemon.hang_up();
        lab.until(0, &wanted).map_err(|e| format!("{name}:\n{e}"))?;
        daemon.hear_of(mark, "SIGHUP")?;
    }
    lab.expect("mended", &ROWS)
}

fn sets_are_mended_in_time(backend: Backend) -> Verdict {
    let lab = lab(backend)?;
    let daemon = lab.daemon_with(0, &["IpsetsRefreshInterval=1"])?;
    let wanted = lab.programmed(0)?;
    let name = any_set(&wanted, "cali40")?;
    for lines in [format!("ipset flush {name}"), format!("ipset del {name} 192.168.41.2")] {
        vandalise(&lab, &lines)?;
        lab.until(0, &wanted)?;
    }
    drop(daemon);
    lab.expect("mended", &ROWS)
}

fn any_set(programmed: &[String], prefix: &str) -> Result<String, String> {
    let names = programmed.iter().filter_map(|line| line.strip_prefix("add ")?.split(' ').next());
    let name = names.into_iter().find(|name| name.starts_with(prefix)).ok_or("no set has members")?;
    Ok(name.to_owned())
}

/// Before and behind ours, in chains and sets of their own: byte for byte. Ours go ahead.
fn rules_of_others_stay(backend: Backend) -> Verdict {
    let lab = lab(backend)?;
    let host = lab.world.host(0);
    vandalise(
        &lab,
        "ipset create theirs hash:ip,port family inet hashsize 64 maxelem 10 comment\n\
         ipset add theirs 10.1.2.3,tcp:80 comment 'not ours'\n\
         for T in \"$T\" \"$T6\"; do\n\
         $T -N THEIRS\n\
         $T -A THEIRS -m comment --comment 'cali: not ours' -j RETURN\n\
         $T -A THEIRS -p tcp --dport 80 -j LOG --log-prefix 'cali-: '\n\
         $T -A FORWARD -j THEIRS\n\
         $T -A INPUT -i lo -j ACCEPT\n\
         $T -t nat -A POSTROUTING -o nowhere -j MASQUERADE\n\
         $T -t mangle -P FORWARD ACCEPT\n\
         done",
    )?;
    let theirs = || -> Result<(Vec<String>, String), String> {
        let all = tables(host, backend)?.into_iter().filter(|line| !is_ours(line)).collect();
        Ok((all, host.run(&["ipset", "save", "theirs"], "")?))
    };
    let before = theirs()?;
    let same = |when: &str| match theirs()? {
        now if now == before => Ok(()),
        now => Err(format!("{when}:\n{}\n{}", difference(&before.0, &now.0), now.1)),
    };
    let mut daemon = lab.daemon_with(0, &NEVER)?;
    same("programmed")?;
    let wanted = lab.programmed(0)?;
    vandalise(&lab, "$T -I FORWARD -s 203.0.113.7 -j DROP; $T6 -I FORWARD -s 2001:db8::7 -j DROP")?;
    let before = theirs()?;
    for lines in ["$T -F cali-FORWARD", "$T -D FORWARD 1", "$T6 -D FORWARD 1"] {
        vandalise(&lab, lines)?;
        let mark = daemon.mark();
        daemon.hang_up();
        daemon.hear_of(mark, "applied")?;
        let all = tables(host, backend)?;
        let first = all.iter().find(|line| line.starts_with("iptables filter -A FORWARD"));
        if !first.is_some_and(|line| is_ours(line)) {
            return Err(format!("{lines}: ours is not ahead of theirs, {first:?} is"));
        }
        let now = theirs()?;
        if now != before {
            return Err(format!("{lines}:\n{}", difference(&before.0, &now.0)));
        }
    }
    vandalise(&lab, "$T -D FORWARD -s 203.0.113.7 -j DROP; $T6 -D FORWARD -s 2001:db8::7 -j DROP")?;
    lab.until(0, &wanted)?;
    lab.change(std::slice::from_mut(&mut daemon), |lab| lab.remove("all"))?;
    same("nothing is declared any more")?;
    lab.expect("nothing is declared any more", &[("a", "c", Icmp, Blocked)])
}

/// A chain of ours, a rule in one, or a rule of ours in another.
fn is_ours(line: &str) -> bool {
    let hashed = line.split("--comment \"cali:").nth(1).is_some_and(|behind| !behind.starts_with(' '));
    hashed || line.contains(" :cali-") || line.contains(" -A cali-")
}

fn the_other_backend_is_cleaned(backend: Backend) -> Verdict {
    let lab = lab(backend)?;
    let host = lab.world.host(0);
    let mut settings = lab.settings(0, &[]);
    settings.backend = backend.other();
    let count = |backend| -> Result<usize, String> {
        Ok(tables(host, backend)?.iter().filter(|line| line.contains("cali-")).count())
    };
    Daemon::ready(host, &settings)?.terminate()?;
    if count(backend.other())? == 0 {
        return Err("the first life programmed nothing".to_owned());
    }
    let mut daemon = lab.daemon(0)?;
    daemon.hear_of(
        Mark::default(),
        &format!("the other backend, {}, had chains of ours", backend.other().name()),
    )?;
    match (count(backend.other())?, count(backend)?) {
        (0, 1..) => lab.expect("moved", &ROWS),
        (left, ours) => Err(format!("{left} lines are left, {ours} are where they should be")),
    }
}
