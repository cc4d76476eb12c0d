//! What policy says is what packets meet.

use crate::daemon::Mark;
use crate::lab::Lab;
use crate::manifests::{DOCKER, LABELLED, NET1, endpoint, endpoints, endpoints_with_ports, policy};
use crate::netns::Backend;
use crate::probe::Answer::{Blocked, Passes};
use crate::probe::Kind::{Icmp, Tcp, Udp};
use crate::probe::{self, Answer};
use crate::world::{Family, Row, address};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("flows::a_policy_comes_and_goes", a_policy_comes_and_goes),
    ("flows::members_of_a_network_reach_each_other", members_of_a_network_reach_each_other),
    ("flows::rules_decide", rules_decide),
];

/// Between hosts and on one, there and back.
fn everything(answer: Answer) -> Vec<Row<'static>> {
    let pairs = [("a", "b"), ("b", "a"), ("a", "c")];
    pairs
        .into_iter()
        .flat_map(|(from, to)| [Icmp, Tcp(80), Udp(53)].map(|kind| (from, to, kind, answer)))
        .collect()
}

/// The field report's two lost days, and what solved them.
fn a_policy_comes_and_goes(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    lab.expect("before the daemons", &everything(Passes))?;
    lab.put("endpoints", &(endpoints("net1") + LABELLED))?;
    let mut daemons = lab.daemons()?;
    lab.expect("a profile without rules", &everything(Blocked))?;

    lab.change(&mut daemons, |lab| lab.put("policy", NET1))?;
    lab.expect("the policy", &everything(Passes))?;
    let mut old = Vec::new();
    for family in Family::ALL {
        let to = address("b", family);
        let stream = probe::connection(lab.world.container("a"), to, 9000);
        old.push(stream.map_err(|e| format!("a to b, {family:?}: {e}"))?);
    }

    lab.change(&mut daemons, |lab| lab.remove("policy"))?;
    lab.expect("the policy is gone", &everything(Blocked))?;
    for stream in &mut old {
        let answered = probe::says_back(stream, Passes.patience()).map_err(|e| e.to_string())?;
        if !answered {
            return Err(format!("what was established does not go on: {stream:?}"));
        }
    }
    Ok(())
}

fn members_of_a_network_reach_each_other(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    let member = |name: &str| endpoint(name, "net1");
    lab.put("endpoints", &(member("a") + &member("b") + &member("c") + &endpoint("d", "net2") + DOCKER))?;
    let _daemons = lab.daemons()?;
    let strangers = [("a", "d", Icmp, Blocked), ("d", "a", Icmp, Blocked), ("d", "b", Tcp(80), Blocked)];
    lab.expect("members", &everything(Passes))?;
    lab.expect("strangers", &strangers)
}

/// A policy, and what it does to packets; before each there is none.
struct Decision {
    name: &'static str,
    manifest: String,
    rows: &'static [Row<'static>],
}

const ALLOW: &str = "selector: all(), order: 100, ingress: [{action: Allow}], egress: [{action: Allow}]";

fn decisions() -> Vec<Decision> {
    let decision = |name, manifest: String, rows| Decision { name, manifest, rows };
    let allow = || policy("allow", ALLOW);
    vec![
        decision(
            "egress denied",
            allow()
                + &policy(
                    "p",
                    "selector: app == 'a', order: 1, types: [Egress], egress: [{action: Deny, protocol: UDP}]",
                ),
            &[("a", "b", Udp(53), Blocked), ("a", "c", Udp(53), Blocked), ("b", "a", Udp(53), Passes)],
        ),
        decision(
            "the lower order wins, to allow",
            policy("a-deny", "selector: all(), order: 2, ingress: [{action: Deny, protocol: TCP}]")
                + &policy(
                    "b-allow",
                    "selector: app == 'b', order: 1, ingress: [{action: Allow, protocol: TCP}]",
                )
                + &allow(),
            &[("a", "b", Tcp(80), Passes), ("b", "a", Tcp(80), Blocked), ("b", "a", Icmp, Passes)],
        ),
        decision(
            "the lower order wins, to deny",
            policy("a-deny", "selector: all(), order: 1, ingress: [{action: Deny, protocol: TCP}]")
                + &policy(
                    "b-allow",
                    "selector: app == 'b', order: 2, ingress: [{action: Allow, protocol: TCP}]",
                )
                + &allow(),
            &[("a", "b", Tcp(80), Blocked), ("b", "a", Tcp(80), Blocked), ("a", "b", Icmp, Passes)],
        ),
        decision(
            "deny ahead of allow",
            policy(
                "p",
                "selector: all(), order: 1, egress: [{action: Allow}], ingress: [\
                 {action: Deny, protocol: TCP, destination: {ports: [8080]}}, {action: Allow}]",
            ),
            &[("a", "b", Tcp(8080), Blocked), ("a", "b", Tcp(80), Passes), ("a", "c", Icmp, Passes)],
        ),
        decision(
            "a named port",
            policy(
                "p",
                "selector: all(), order: 1, egress: [{action: Allow}], ingress: [\
                 {action: Allow, protocol: TCP, destination: {ports: [web]}}]",
            ),
            &[("a", "b", Tcp(8080), Passes), ("a", "b", Tcp(80), Blocked), ("a", "c", Tcp(8080), Passes)],
        ),
        decision(
            "networks of a set",
            policy(
                "p",
                "selector: all(), order: 1, egress: [{action: Allow}], ingress: [\
                 {action: Allow, source: {selector: \"has(partner)\"}}]",
            ) + "---\n\
                 apiVersion: projectcalico.org/v3\n\
                 kind: GlobalNetworkSet\n\
                 metadata: {name: partners, labels: {partner: ''}}\n\
                 spec: {nets: [192.168.41.0/31, 192.168.41.2/31, 'fd00:41::/126']}\n",
            &[
                ("a", "b", Icmp, Passes),
                ("c", "b", Tcp(80), Passes),
                ("b", "a", Icmp, Blocked),
                ("d", "b", Icmp, Blocked),
            ],
        ),
        decision(
            "log decides nothing",
            policy(
                "p",
                "selector: all(), order: 1, egress: [{action: Log}, {action: Allow}], ingress: [\
                 {action: Log}, {action: Allow, protocol: TCP}]",
            ),
            &[("a", "b", Tcp(80), Passes), ("a", "b", Icmp, Blocked), ("a", "c", Udp(53), Blocked)],
        ),
        decision(
            "pass leads to the next tier and the profile",
            policy(
                "first.p",
                "tier: first, selector: all(), order: 1, ingress: [\
                 {action: Pass, destination: {selector: \"app != 'd'\"}}], egress: [{action: Pass}]",
            ) + "---\n\
                 apiVersion: projectcalico.org/v3\n\
                 kind: Tier\n\
                 metadata: {name: first}\n\
                 spec: {order: 1}\n"
                + &policy(
                    "p",
                    "selector: app == 'b', order: 1, types: [Ingress], ingress: [{action: Pass, protocol: UDP}]",
                ),
            &[
                ("a", "b", Udp(53), Passes),
                ("a", "b", Tcp(80), Blocked),
                ("a", "c", Tcp(80), Passes),
                ("a", "d", Tcp(80), Blocked),
            ],
        ),
    ]
}

/// The profile lets everything through: what is blocked is blocked by policy.
const OPEN: &str = "
- apiVersion: v1
  kind: profile
  metadata: {name: open}
  spec: {ingress: [{action: allow}], egress: [{action: allow}]}
";

fn rules_decide(backend: Backend) -> Verdict {
    let lab = Lab::new(backend)?;
    lab.put("endpoints", &(endpoints_with_ports("open") + OPEN))?;
    let mut daemons = lab.daemons()?;
    for Decision { name, manifest, rows } in decisions() {
        lab.change(&mut daemons, |lab| lab.put("policy", &manifest))?;
        lab.expect(name, rows)?;
    }
    lab.change(&mut daemons, |lab| lab.remove("policy"))?;
    lab.expect("no policy, and a profile that allows", &everything(Passes))?;
    let faults: Vec<_> = daemons.iter().flat_map(|daemon| daemon.lines(Mark::default())).collect();
    let faults: Vec<_> = faults.iter().filter(|line| line["level"] == "ERROR").collect();
    if faults.is_empty() { Ok(()) } else { Err(format!("{faults:?}")) }
}
