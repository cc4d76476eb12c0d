//! A policy that the kernel refuses is closed, and alone.

use std::path::Path;

use crate::daemon::Daemon;
use crate::lab::{Lab, until};
use crate::manifests::{LABELLED, NET1, endpoints, policy};
use crate::netns::Backend;
use crate::probe::Answer::{Blocked, Passes};
use crate::probe::Kind::{Icmp, Tcp, Udp};
use crate::{Case, Verdict, shims};

pub const CASES: &[Case] = &[("refused::one_policy_is_closed_alone", one_policy_is_closed_alone)];

/// The port that the tools do not like.
const BAD_PORT: u16 = 666;

fn bad_policy(port: u16) -> String {
    let rule = format!("{{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}");
    policy("bad", &format!("selector: app == 'a', order: -1, ingress: [{rule}]"))
}

fn one_policy_is_closed_alone(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    lab.put("all", &(endpoints("net1") + LABELLED + NET1))?;
    lab.put("bad", &bad_policy(80))?;
    let mut settings = lab.settings(0, &[]);
    settings.tools = choosy_tools(lab.scratch(), backend)?;
    let mut daemon = Daemon::ready(lab.world.host(0), &settings)?;
    let good = [("b", "a", Icmp, Passes), ("b", "c", Tcp(80), Passes), ("a", "b", Udp(53), Passes)];
    lab.expect("not refused yet", &good)?;

    // Something else changes with it.
    let mark = daemon.mark();
    let other = "selector: app == 'c', order: -1, ingress: [{action: Deny, protocol: TCP}]";
    lab.put("bad", &(bad_policy(BAD_PORT) + &policy("other", other)))?;
    let heard = daemon.hear_of(mark, "until it takes it")?;
    daemon.hear(mark, |line| line["message"] == "applied")?;
    lab.expect(
        "refused",
        &[
            ("b", "a", Icmp, Blocked),
            ("c", "a", Tcp(80), Blocked),
            ("a", "b", Udp(53), Passes),
            ("b", "c", Icmp, Passes),
            ("b", "c", Tcp(80), Blocked),
        ],
    )?;
    let said = daemon.lines(mark).iter().any(|line| {
        let text = line["message"].as_str().unwrap_or_default();
        text.contains("until it takes it")
            && text.contains("/bad.yaml:")
            && text.contains("GlobalNetworkPolicy bad (")
    });
    if !said {
        return Err(format!("policy and file are not named:\n{}", daemon.log()));
    }
    // Its chain in each family.
    expect_refused(&daemon, 2.0)?;
    until(|| match daemon.readiness()? {
        (200, _) => Ok(()),
        (status, text) => Err(format!("not ready: {status} {text}")),
    })?;

    lab.put("bad", &bad_policy(80))?;
    daemon.hear_of(heard, "is no longer refused")?;
    lab.expect("mended", &good)?;
    expect_refused(&daemon, 0.0)
}

fn expect_refused(daemon: &Daemon, wanted: f64) -> Verdict {
    match daemon.metric("felix_rs_quarantined")? {
        found if found == wanted => Ok(()),
        found => Err(format!("felix_rs_quarantined is {found}, not {wanted}")),
    }
}

/// Tools that refuse every input with a certain port.
fn choosy_tools(scratch: &Path, backend: Backend) -> Result<String, String> {
    let refuses = |name: &str| {
        format!(
            "case $input in *' {BAD_PORT} '*) echo '{name}: line 1 failed' >&2; exit 1 ;; esac\nreal \"$@\""
        )
    };
    let [v4, v6] = shims::restores(backend);
    shims::in_front(scratch, &[(&v4, refuses(&v4)), (&v6, refuses(&v6))])
}
