//! Rules in Felix 2.1's own store: one flat mapping each (felix-2.1 §2.2).

use crate::model::decode::entity::{self, Names};
use crate::model::decode::fields::{Field, Object, Unknown};
use crate::model::decode::rule::{Family, Way, each, icmp, not_protocol, transport};
use crate::model::decode::scalar;
use crate::model::{Action, Rule};

const RULE: &[&str] = &[
    "action",
    "ip_version",
    "protocol",
    "!protocol",
    "icmp_type",
    "icmp_code",
    "!icmp_type",
    "!icmp_code",
    "src_tag",
    "src_net",
    "src_selector",
    "src_ports",
    "!src_tag",
    "!src_net",
    "!src_selector",
    "!src_ports",
    "dst_tag",
    "dst_net",
    "dst_selector",
    "dst_ports",
    "!dst_tag",
    "!dst_net",
    "!dst_selector",
    "!dst_ports",
    "log_prefix",
];

const ACTIONS: &[(&str, Action)] =
    &[("allow", Action::Allow), ("deny", Action::Deny), ("log", Action::Log), ("next-tier", Action::Pass)];

const SOURCE: Names = Names {
    tag: "src_tag",
    net: "src_net",
    selector: "src_selector",
    ports: "src_ports",
    not_tag: "!src_tag",
    not_net: "!src_net",
    not_selector: "!src_selector",
    not_ports: "!src_ports",
};

const DESTINATION: Names = Names {
    tag: "dst_tag",
    net: "dst_net",
    selector: "dst_selector",
    ports: "dst_ports",
    not_tag: "!dst_tag",
    not_net: "!dst_net",
    not_selector: "!dst_selector",
    not_ports: "!dst_ports",
};

/// The rules of one direction that can be understood; the others are reported.
pub(in crate::model::decode) fn rules(object: &Object<'_>, way: Way) -> Vec<Rule> {
    let name = match way {
        Way::Ingress => "inbound_rules",
        Way::Egress => "outbound_rules",
    };
    each(object, name, rule)
}

fn rule(field: &Field<'_>) -> Option<Rule> {
    let errors = field.report.errors();
    let object = field.object(RULE, Unknown::Refused);
    let action = match object.get("action").filter(|field| !field.is_empty_text()) {
        Some(field) => field.read(scalar::choice(ACTIONS)),
        None => Some(Action::Allow),
    };
    let mut family = Family::default();
    let ip_version = object.get("ip_version").and_then(|field| family.version(&field));
    let transport = transport(&object, &mut family);
    let not_protocol = object.get("!protocol").and_then(|field| not_protocol(&field, ip_version));
    let icmp = |names: [&'static str; 2]| {
        let field = names.into_iter().find_map(|name| object.get(name))?;
        icmp(&object, names, &field, transport)
    };
    let (icmp, not_icmp) = (icmp(["icmp_type", "icmp_code"]), icmp(["!icmp_type", "!icmp_code"]));
    let source = entity::v1(&object, &SOURCE, transport, &mut family);
    let destination = entity::v1(&object, &DESTINATION, transport, &mut family);
    let rule = Rule {
        action: action?,
        ip_version: ip_version.or_else(|| transport.version()),
        protocol: transport.protocol(),
        not_protocol,
        icmp,
        not_icmp,
        source,
        destination,
        unenforceable: None,
        annotations: Default::default(),
        place: field.place(),
    };
    (field.report.errors() == errors).then_some(rule)
}
