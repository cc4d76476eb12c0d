//! Policies of many rules, and whether they are in force.

use std::fmt::Write as _;

use crate::Verdict;
use crate::netns::{Backend, Netns};

/// How many rules do not match before the one that does.
pub const RULES: [usize; 3] = [0, 100, 1000];

/// The report's policy, behind so many rules for other networks, in both directions.
pub fn policy(rules: usize) -> String {
    let mut text = "
- apiVersion: v1
  kind: policy
  metadata: {name: net1}
  spec:
    order: 0
    selector: role == 'net1'
"
    .to_owned();
    for (direction, side) in [("ingress", "source"), ("egress", "destination")] {
        let _ = writeln!(text, "    {direction}:");
        for number in 0..rules {
            let net = network(number);
            let _ = writeln!(text, "    - {{action: deny, protocol: tcp, {side}: {{net: {net}}}}}");
        }
        let _ = writeln!(text, "    - action: allow");
    }
    text
}

fn network(number: usize) -> String {
    format!("10.{}.{}.0/24", number / 250, number % 250)
}

/// Whether a host's chains for one direction of the policy have all of its rules, and whether the last, which lets pass,
/// has done so.
pub fn is_in_force(host: &Netns, backend: Backend, direction: Direction, rules: usize) -> Verdict {
    let (chain, side) = match direction {
        Direction::Ingress => ("-A cali-pi-", " -s 10."),
        Direction::Egress => ("-A cali-po-", " -d 10."),
    };
    let save = format!("iptables-{}-save", backend.name());
    let saved = host.run(&[&save, "-c", "-t", "filter"], "")?;
    let lines =
        saved.lines().filter_map(|line| line.split_once(' ')).filter(|(_, rule)| rule.starts_with(chain));
    let (others, last): (Vec<_>, Vec<_>) =
        lines.filter(|(_, rule)| rule.contains(" MARK ")).partition(|(_, rule)| rule.contains(side));
    let has_passed = last.iter().any(|(counter, _)| !counter.starts_with("[0:"));
    if others.len() == rules && has_passed {
        return Ok(());
    }
    Err(format!("of {rules} rules ({direction:?}) {} are there, and the last is {last:?}", others.len()))
}

#[derive(Clone, Copy, Debug)]
pub enum Direction {
    Ingress,
    Egress,
}
