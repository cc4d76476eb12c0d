//! Hosts that follow a store: what is written there is what packets meet, whatever happens to the store.

use std::thread;
use std::time::Duration;

use crate::daemon::{Daemon, Mark, READY, says};
use crate::etcd::{Etcd, login};
use crate::lab::{Lab, difference, until};
use crate::manifests::{LABELLED, NET1, endpoint, endpoints, policy};
use crate::netns::Backend;
use crate::probe::Answer::{self, Blocked, Passes};
use crate::probe::Kind::{Icmp, Tcp, Udp};
use crate::world::{HOSTS, Row};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("store::the_seed_end_to_end", the_seed_end_to_end),
    ("store::a_store_that_dies_and_comes_back", a_store_that_dies_and_comes_back),
    ("store::a_host_that_is_cut_off", a_host_that_is_cut_off),
    ("store::a_store_that_is_worked_on", a_store_that_is_worked_on),
    ("store::a_host_tells_how_it_is", a_host_tells_how_it_is),
    ("store::who_may_not_write_enforces", who_may_not_write_enforces),
    ("store::parameters_come_from_it", parameters_come_from_it),
];

const LOST: &str = "felix_rs_source_lost_timestamp_seconds";
const KNOWN: &str = "felix_rs_source_revision";
const APPLIED: &str = "felix_rs_applied_revision";

/// What is said where nobody has set the store up.
const NOT_SET_UP: &str = "the store is not ready: it has no ClusterInformation `default`";

/// What is said while somebody works on it.
const WORKED_ON: &str = "the store is not ready: `datastoreReady` of its ClusterInformation is false";

const CLUSTER: &str = "/calico/resources/v3/projectcalico.org/clusterinformations/default";

/// Where the first host says how it is.
const STATES: &str = "/calico/felix/v2/no-region/host/calico-01/";

/// Denies on top of what others allow.
fn no_tcp() -> String {
    policy("no-tcp", "selector: all(), order: -1, types: [Ingress], ingress: [{action: Deny, protocol: TCP}]")
}

/// Between hosts and on one, each protocol.
fn everything(answer: Answer) -> Vec<Row<'static>> {
    let pairs = [("a", "b"), ("b", "a"), ("a", "c")];
    let kinds = [Icmp, Tcp(80), Udp(53)];
    pairs.into_iter().flat_map(|(from, to)| kinds.map(|kind| (from, to, kind, answer))).collect()
}

/// Runs of tools that wrote, behind a place of the log.
fn writes(daemon: &Daemon, from: Mark) -> Vec<String> {
    let lines = daemon.lines(from);
    lines.iter().filter(|line| line["writes"] == true).map(ToString::to_string).collect()
}

/// How often tables were written, and how much of sets.
fn written(daemon: &Daemon) -> Result<[f64; 2], String> {
    Ok([daemon.metric("felix_iptables_restore_calls")?, daemon.metric("felix_ipset_lines_executed")?])
}

fn expect_metric(daemon: &Daemon, name: &str, good: impl Fn(f64) -> bool) -> Verdict {
    match daemon.metric(name)? {
        value if good(value) => Ok(()),
        value => Err(format!("{name} is {value}")),
    }
}

fn expect_readiness(daemon: &Daemon, wanted: u16, part: &str) -> Verdict {
    // Routes come a moment after chains.
    until(|| match daemon.readiness()? {
        (status, text) if status == wanted && text.contains(part) => Ok(()),
        (status, text) => Err(format!("{wanted}, {part}: {status} {text}")),
    })
}

/// The field report replayed: two hosts, and one place where everything is written.
fn the_seed_end_to_end(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    let etcd = Etcd::start(&lab);
    let untouched = [lab.programmed(0)?, lab.programmed(1)?];
    let start = |host: usize| Daemon::start(lab.world.host(host), &etcd.settings(host, &[]));
    let mut daemons = [start(0)?, start(1)?];
    for daemon in &mut daemons {
        daemon.hear_of(Mark::default(), &format!("waits: {NOT_SET_UP}; `felix-rs init"))?;
        daemon.hear_of(Mark::default(), "health is served")?;
        expect_readiness(daemon, 503, NOT_SET_UP)?;
    }
    // Longer than everything takes where it is done.
    thread::sleep(Duration::from_millis(500));
    for (host, before) in untouched.iter().enumerate() {
        let found = lab.programmed(host)?;
        if found != *before {
            return Err(difference(before, &found));
        }
    }
    lab.expect("the store is empty", &everything(Passes))?;

    let said = etcd.felix_rs(1, &["init"], "")?;
    if !said.contains("created ClusterInformation default\n") {
        return Err(format!("init: {said}"));
    }
    for daemon in &mut daemons {
        daemon.hear_of(Mark::default(), READY)?;
        expect_readiness(daemon, 200, "in sync at revision")?;
    }
    lab.expect("nothing is declared", &everything(Blocked))?;

    let settled = || daemons.iter().try_for_each(|daemon| etcd.settled(daemon));
    etcd.apply(&(endpoints("net1") + LABELLED))?;
    settled()?;
    lab.expect("a profile without rules", &everything(Blocked))?;
    etcd.apply(NET1)?;
    settled()?;
    lab.expect("the policy", &everything(Passes))?;
    [0, 1].into_iter().try_for_each(|host| etcd.is_in_kernel(host))?;
    etcd.delete(NET1)?;
    settled()?;
    lab.expect("the policy is gone", &everything(Blocked))?;
    [0, 1].into_iter().try_for_each(|host| etcd.is_in_kernel(host))
}

/// Nobody notices but who reads metrics; nor does a daemon that begins anew meanwhile do any harm.
fn a_store_that_dies_and_comes_back(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    let mut etcd = Etcd::start(&lab);
    etcd.apply(&(endpoints("net1") + LABELLED + NET1))?;
    let mut daemon = etcd.daemon(0, &[])?;
    etcd.settled(&daemon)?;
    let before = (written(&daemon)?, daemon.metric(KNOWN)?);
    expect_metric(&daemon, LOST, |since| since == 0.0)?;

    let mark = daemon.mark();
    lab.meanwhile(&[("a", "c", Icmp, Passes), ("b", "a", Udp(53), Passes)], || {
        etcd.kill();
        daemon.hear_of(mark, "the source is lost: what it said last stands")?;
        expect_readiness(&daemon, 200, "lost since")?;
        expect_metric(&daemon, LOST, |since| since > 1e9)?;
        etcd.restart();
        daemon.hear_of(mark, "the source is there again")?;
        until(|| expect_metric(&daemon, LOST, |since| since == 0.0))?;
        expect_readiness(&daemon, 200, "in sync at revision")
    })?;
    let after = (written(&daemon)?, daemon.metric(KNOWN)?);
    match writes(&daemon, mark).as_slice() {
        [] if after == before => {}
        writes => return Err(format!("{before:?} became {after:?}; written: {writes:?}")),
    }
    etcd.apply(&no_tcp())?;
    etcd.settled(&daemon)?;
    expect_metric(&daemon, APPLIED, |revision| revision > before.1)?;
    lab.expect("changed afterwards", &[("a", "c", Tcp(80), Blocked), ("a", "c", Icmp, Passes)])?;

    etcd.kill();
    daemon.terminate()?;
    let before = lab.programmed(0)?;
    let mut daemon = Daemon::start(lab.world.host(0), &etcd.settings(0, &[]))?;
    daemon.hear_of(Mark::default(), "the source is lost")?;
    daemon.hear_of(Mark::default(), "health is served")?;
    expect_readiness(&daemon, 503, "not there yet")?;
    lab.expect("nobody knows", &[("a", "c", Tcp(80), Blocked), ("a", "c", Icmp, Passes)])?;
    etcd.restart();
    daemon.hear_of(Mark::default(), READY)?;
    let after = lab.programmed(0)?;
    match writes(&daemon, Mark::default()).as_slice() {
        [] if after == before => Ok(()),
        writes => Err(format!("written: {writes:?}\n{}", difference(&before, &after))),
    }
}

/// History that it has missed is gone when it comes back. It learns what is different, and touches nothing else.
fn a_host_that_is_cut_off(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    let etcd = Etcd::start(&lab);
    let passing = policy("passing", "selector: app == 'd', order: -2, ingress: [{action: Deny}]");
    etcd.apply(&(endpoints("net1") + LABELLED + NET1 + &passing))?;
    let first = etcd.daemon(0, &[])?;
    let mut second = etcd.daemon(1, &[])?;
    etcd.settled(&second)?;
    lab.expect("before", &[("a", "d", Icmp, Blocked), ("c", "b", Tcp(80), Passes)])?;

    let mark = second.mark();
    lab.meanwhile(&[("d", "b", Icmp, Passes), ("d", "b", Udp(53), Passes)], || {
        lab.world.cut_cable()?;
        second.hear_of(mark, "the source is lost: what it said last stands")?;
        etcd.delete(&passing)?;
        etcd.delete(&endpoint("c", "net1"))?;
        etcd.apply(&no_tcp())?;
        etcd.compact();
        etcd.apply(&policy("later", "selector: app == 'b', order: -3, ingress: [{action: Log}]"))?;
        etcd.settled(&first)?;
        lab.expect("cut off", &[("d", "b", Tcp(80), Passes), ("a", "c", Icmp, Blocked)])?;
        lab.world.mend_cable()?;
        etcd.settled(&second)?;
        lab.expect("back", &[("a", "d", Icmp, Passes), ("d", "b", Tcp(80), Blocked)])
    })?;
    second.hear_of(mark, "the source is there again")?;
    [0, 1].into_iter().try_for_each(|host| etcd.is_in_kernel(host))
}

/// What is written meanwhile is held; what was enforced is still seen to.
fn a_store_that_is_worked_on(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    let etcd = Etcd::start(&lab);
    etcd.apply(&(endpoints("net1") + LABELLED + NET1))?;
    let mut daemon = etcd.daemon(0, &["IptablesPostWriteCheckIntervalSecs=0.2"])?;
    etcd.settled(&daemon)?;
    let (before, applied) = (lab.programmed(0)?, daemon.metric(APPLIED)?);
    let cluster = etcd.below(CLUSTER).remove("").ok_or("the store is set up")?.value;

    let mark = daemon.mark();
    etcd.put(CLUSTER, &cluster.replace("\"datastoreReady\":true", "\"datastoreReady\":false"));
    daemon.hear_of(mark, &format!("waits: {WORKED_ON}"))?;
    etcd.apply(&no_tcp())?;
    etcd.delete(NET1)?;
    etcd.delete(&endpoint("c", "net1"))?;
    let revision = etcd.marked();
    until(|| expect_metric(&daemon, KNOWN, |known| known >= revision))?;
    expect_readiness(&daemon, 503, WORKED_ON)?;
    let mark = daemon.mark();
    let flush = format!("iptables-{0} -w -F cali-FORWARD; ip6tables-{0} -w -F cali-FORWARD", backend.name());
    lab.world.host(0).shell(&flush)?;
    daemon.hear_of(mark, "somebody else had changed what is ours")?;
    lab.until(0, &before)?;
    lab.expect("held", &everything(Passes))?;
    expect_metric(&daemon, APPLIED, |revision| revision == applied)?;

    etcd.put(CLUSTER, &cluster);
    daemon.hear_of(mark, "the store is ready")?;
    etcd.settled(&daemon)?;
    lab.expect("let go", &everything(Blocked))?;
    expect_readiness(&daemon, 200, "in sync at revision")?;
    etcd.is_in_kernel(0)
}

const REPORTING: &str = "
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {endpointReportingEnabled: true, endpointReportingDelay: 200ms}
";

fn a_host_tells_how_it_is(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    let etcd = Etcd::start(&lab);
    etcd.apply(&(endpoints("net1") + LABELLED + NET1))?;
    let daemon = etcd.daemon(0, &["ReportingTTLSecs=5"])?;
    let state = |name: &str| format!("workload/libnetwork/default%2flibnetwork/endpoint/{name}");
    // What is said of a container, or nothing; and whether it is by the host's lease.
    let expect = |name: &str, wanted: Option<&str>| {
        until(|| {
            let states = etcd.below(STATES);
            let wanted = wanted.map(|wanted| (format!("{{\"status\":\"{wanted}\"}}"), true));
            let found = states.get(&state(name)).map(|held| (held.value.clone(), held.is_leased));
            if found == wanted { Ok(()) } else { Err(format!("{name}: {states:#?}")) }
        })
    };
    let process = || match etcd.below(STATES).get("status") {
        Some(held) if held.is_leased && held.value.contains("\"uptime\":") => Ok(()),
        other => Err(format!("status: {other:?}")),
    };
    until(process)?;
    expect("a", None)?;
    etcd.apply(REPORTING)?;
    expect("a", Some("up"))?;
    expect("c", Some("up"))?;
    expect("b", None)?;
    lab.world.host(0).ip("link set calic down\n")?;
    expect("c", Some("down"))?;
    etcd.delete(&endpoint("c", "net1"))?;
    expect("c", None)?;
    etcd.settled(&daemon)?;
    process()?;

    daemon.kill()?;
    until(|| match etcd.below(STATES).into_keys().collect::<Vec<_>>() {
        left if left == ["last_reported_status"] => Ok(()),
        left => Err(format!("left: {left:?}")),
    })
}

/// Not even by being told so again and again.
fn who_may_not_write_enforces(backend: Backend) -> Verdict {
    const PASSWORD: &str = "sesame-Hunter2";
    const REFUSED: &str = "this host's state can't be written";
    let lab = Lab::new(backend)?;
    let mut etcd = Etcd::start(&lab);
    etcd.apply(&(endpoints("net1") + LABELLED))?;
    etcd.ask_for_passwords("sesame-Root", PASSWORD);
    let mut settings = etcd.settings(0, &["EndpointReportingEnabled=true"]);
    settings.environment = login("reader", PASSWORD);
    let mut daemon = Daemon::ready(lab.world.host(0), &settings)?;
    let mark = daemon.hear_of(Mark::default(), REFUSED)?;
    for name in ["one", "two"] {
        lab.change(std::slice::from_mut(&mut daemon), |_| etcd.apply(NET1))?;
        lab.expect(name, &everything(Passes))?;
        lab.change(std::slice::from_mut(&mut daemon), |_| etcd.delete(NET1))?;
        lab.expect(name, &everything(Blocked))?;
    }
    // It was tried again.
    let again = daemon.hear_of(mark, "permission denied")?;
    daemon.hear_of(again, "permission denied")?;
    let said = daemon.lines(Mark::default());
    let warnings: Vec<_> = said.iter().filter(|line| says(line, REFUSED)).collect();
    if warnings.len() != 1 || !says(warnings[0], "; grant the user's role") {
        return Err(format!("{warnings:?}"));
    }
    expect_readiness(&daemon, 200, "in sync at revision")?;
    expect_silence(&daemon, PASSWORD)?;

    // Nor is a wrong one.
    settings.environment = login("reader", "open-Hunter2");
    daemon.terminate()?;
    let mut daemon = Daemon::start(lab.world.host(0), &settings)?;
    daemon.hear_of(Mark::default(), "refuses the login")?;
    expect_silence(&daemon, "open-Hunter2")
}

fn expect_silence(daemon: &Daemon, password: &str) -> Verdict {
    let log = daemon.log();
    let told = log.lines().find(|line| line.contains(password));
    told.map_or(Ok(()), |line| Err(format!("the password is told: {line}")))
}

/// Each kind of place where they stand, and how the stronger beats the weaker.
fn parameters_come_from_it(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    let etcd = Etcd::start(&lab);
    let felix = |name: &str, action: &str| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: {name}}}\n\
             spec: {{defaultEndpointToHostAction: {action}}}\n"
        )
    };
    let key = |scope: &str| format!("/calico/v1/{scope}config/DefaultEndpointToHostAction");
    let (global, own) = (key(""), key("host/calico-01/"));
    etcd.apply(&(endpoints("net1") + LABELLED + NET1))?;
    let daemons = [etcd.daemon(0, &[])?, etcd.daemon(1, &[])?];
    // Whether containers reach their own hosts.
    let expect = |step: &str, one: Answer, two: Answer| {
        daemons.iter().try_for_each(|daemon| etcd.settled(daemon))?;
        lab.expect(step, &[("a", HOSTS[0], Icmp, one), ("b", HOSTS[1], Icmp, two)])
    };
    expect("the default", Blocked, Blocked)?;
    etcd.put(&global, "ACCEPT");
    expect("a key for all", Passes, Passes)?;
    etcd.put(&own, "DROP");
    expect("a key for one", Blocked, Passes)?;
    etcd.apply(&felix("node.calico-01", "Accept"))?;
    expect("today's form for one", Passes, Passes)?;
    etcd.apply(&felix("default", "Drop"))?;
    expect("today's form for all", Passes, Blocked)?;
    etcd.delete(&felix("node.calico-01", "Accept"))?;
    etcd.remove(&own);
    expect("for all alone", Blocked, Blocked)?;
    etcd.delete(&felix("default", "Drop"))?;
    expect("the key is left", Passes, Passes)?;

    etcd.put(&global, "perhaps");
    expect("no value, so the default", Blocked, Blocked)?;
    for daemon in &daemons {
        until(|| expect_metric(daemon, "felix_rs_diagnostics{severity=\"error\"}", |errors| errors == 1.0))?;
        let named = |line: &serde_json::Value| says(line, &format!("{global}@")) && says(line, "`perhaps`");
        until(|| match daemon.lines(Mark::default()).iter().any(named) {
            true => Ok(()),
            false => Err(format!("nobody says it:\n{}", daemon.log())),
        })?;
    }
    etcd.remove(&global);
    expect("nothing is said", Blocked, Blocked)?;
    daemons.iter().try_for_each(|daemon| {
        until(|| expect_metric(daemon, "felix_rs_diagnostics{severity=\"error\"}", |errors| errors == 0.0))
    })
}
