//! Rules of 2017 as rules of today (felix-2.1 §1.2, reference §1.2).

use std::net::IpAddr;

use ipnet::IpNet;

use super::tag_label;
use super::tree::{Mapping, items, list, text, text_of, word};
use crate::datastore::Node;

const ACTIONS: [(&str, &str); 4] = [("allow", "Allow"), ("deny", "Deny"), ("log", "Log"), ("pass", "Pass")];

const PROTOCOLS: [(&str, &str); 6] = [
    ("tcp", "TCP"),
    ("udp", "UDP"),
    ("icmp", "ICMP"),
    ("icmpv6", "ICMPv6"),
    ("sctp", "SCTP"),
    ("udplite", "UDPLite"),
];

/// The rules of one direction.
pub(super) fn rules(rules: &Node) -> Node {
    list(items(rules).iter().map(rule).collect(), rules.span)
}

fn rule(rule: &Node) -> Node {
    let renamed = |name, names| rule.child(name).map(|node| renamed(node, names));
    Mapping::at(rule.span)
        .with("action", renamed("action", &ACTIONS))
        .copying(Some(rule), &["ipVersion"])
        .with("protocol", renamed("protocol", &PROTOCOLS))
        .with("notProtocol", renamed("notProtocol", &PROTOCOLS))
        .copying(Some(rule), &["icmp", "notICMP"])
        .with("source", rule.child("source").map(entity))
        .with("destination", rule.child("destination").map(entity))
        .into_node()
}

/// A word by its name of today; a number is what it was.
fn renamed(node: &Node, names: &[(&str, &str)]) -> Node {
    let new = text_of(node).and_then(|old| names.iter().find(|(before, _)| *before == old));
    new.map_or_else(|| node.clone(), |(_, today)| word(today, node.span))
}

fn entity(entity: &Node) -> Node {
    if entity.is_null() {
        return entity.clone();
    }
    let child = |name| entity.child(name);
    Mapping::at(entity.span)
        .with("nets", child("net").and_then(net))
        .with("notNets", child("notNet").and_then(net))
        .with("selector", joined(child("selector"), child("tag"), "&&"))
        .with("notSelector", joined(child("notSelector"), child("notTag"), "||"))
        .copying(Some(entity), &["ports", "notPorts"])
        .into_node()
}

/// One network in a list, masked as lists want them.
fn net(node: &Node) -> Option<Node> {
    let written = text_of(node)?;
    let net = written.parse::<IpNet>().or_else(|_| written.parse::<IpAddr>().map(IpNet::from)).ok()?;
    Some(list(vec![text(net.trunc().to_string(), node.span)], node.span))
}

/// A selector and a tag as one selector. Of the negated ones it is enough that either matches for the rule not to.
fn joined(selector: Option<&Node>, tag: Option<&Node>, how: &str) -> Option<Node> {
    let written = |node: Option<&Node>| {
        let text = node.and_then(text_of)?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let tagged = written(tag).map(|tag| format!("has({})", tag_label(&tag)));
    let span = selector.or(tag)?.span;
    let joined = match (written(selector), tagged) {
        (Some(selector), Some(tagged)) => format!("({selector}) {how} {tagged}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return None,
    };
    Some(text(joined, span))
}
