//! `source` and `destination` of a rule.

use std::sync::Arc;

use ipnet::IpNet;

use super::fields::{Field, Form, Mistake, Object, Unknown};
use super::rule::{Family, version_of_protocol};
use super::{name, scalar, selector};
use crate::datastore::Scalar;
use crate::model::diagnostic::Code;
use crate::model::{EntityMatch, IpVersion, PortRange, Protocol, Services};

const V3: &[&str] = &[
    "nets",
    "notNets",
    "selector",
    "notSelector",
    "namespaceSelector",
    "ports",
    "notPorts",
    "serviceAccounts",
    "services",
];

const V1: &[&str] = &["tag", "net", "selector", "ports", "notTag", "notNet", "notSelector", "notPorts"];

/// What the fields of one side are called in the first form: within a side, or beside the other side's.
pub(super) struct Names {
    pub tag: &'static str,
    pub net: &'static str,
    pub selector: &'static str,
    pub ports: &'static str,
    pub not_tag: &'static str,
    pub not_net: &'static str,
    pub not_selector: &'static str,
    pub not_ports: &'static str,
}

const V1_NAMES: Names = Names {
    tag: "tag",
    net: "net",
    selector: "selector",
    ports: "ports",
    not_tag: "notTag",
    not_net: "notNet",
    not_selector: "notSelector",
    not_ports: "notPorts",
};

/// Of each list of addresses (reference §1.2).
const MOST_NETS: usize = 256;

/// Of each list of ports (reference §1.2).
const MOST_PORTS: usize = 50;

/// One side of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Side {
    pub fn field(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// What a rule's protocol is to its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Absent,
    Is(Protocol),
    /// Already reported.
    Unreadable,
}

impl Transport {
    pub fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Is(protocol) => Some(protocol),
            Self::Absent | Self::Unreadable => None,
        }
    }

    /// The only family that the protocol is of.
    pub fn version(self) -> Option<IpVersion> {
        self.protocol().and_then(version_of_protocol)
    }
}

/// Reads one side of a rule. `namespace` is the policy's own, empty for a global one.
pub(super) fn entity(
    rule: &Object<'_>,
    side: Side,
    namespace: &str,
    transport: Transport,
    family: &mut Family,
) -> EntityMatch {
    let Some(field) = rule.get(side.field()) else { return EntityMatch::default() };
    match rule.report().form {
        Form::V1 => v1(&field.object(V1, Unknown::Refused), &V1_NAMES, transport, family),
        Form::V3 => v3(&field.object(V3, Unknown::Refused), namespace, transport, family),
    }
}

/// One side of a rule of the first form, whose fields are called by these names.
pub(super) fn v1(
    object: &Object<'_>,
    names: &Names,
    transport: Transport,
    family: &mut Family,
) -> EntityMatch {
    let mut net = |name, read: fn(&Scalar) -> Result<IpNet, Mistake>| {
        object.get(name).and_then(|field| family.net(&field, read)).into_iter().collect()
    };
    let (ports, named_ports) = ports(object, names.ports, transport);
    let (not_ports, not_named_ports) = self::ports(object, names.not_ports, transport);
    EntityMatch {
        nets: net(names.net, scalar::net),
        not_nets: net(names.not_net, narrower_than_all),
        selector: selector::selector(object, names.selector),
        not_selector: selector::selector(object, names.not_selector),
        tag: object.read(names.tag, name::named(&name::WORD)),
        not_tag: object.read(names.not_tag, name::named(&name::WORD)),
        ports,
        named_ports,
        not_ports,
        not_named_ports,
        services: None,
    }
}

fn v3(object: &Object<'_>, namespace: &str, transport: Transport, family: &mut Family) -> EntityMatch {
    let (ports, named_ports) = ports(object, "ports", transport);
    let (not_ports, not_named_ports) = self::ports(object, "notPorts", transport);
    let mut nets = |name, read: fn(&Scalar) -> Result<IpNet, Mistake>| {
        let Some(field) = object.get(name) else { return Vec::new() };
        field.at_most(MOST_NETS, "networks");
        field.items().filter_map(|item| family.net(&item, read)).collect()
    };
    let not_selector = selector::selector(object, "notSelector");
    EntityMatch {
        nets: nets("nets", scalar::masked_net),
        not_nets: nets("notNets", |text| scalar::masked_net(text).and_then(|_| narrower_than_all(text))),
        selector: selector::of_entity(object, namespace, not_selector.is_some()),
        not_selector,
        tag: None,
        not_tag: None,
        ports,
        named_ports,
        not_ports,
        not_named_ports,
        services: object.get("services").and_then(|field| services(object, &field, namespace)),
    }
}

/// Not in 0.0.0.0/0: nothing is left to match.
fn narrower_than_all(text: &Scalar) -> Result<IpNet, Mistake> {
    let net = scalar::net(text)?;
    if net.prefix_len() > 0 {
        return Ok(net);
    }
    Err(Mistake::contradiction(format!("`{net}` leaves nothing to match"), "every address is in it"))
}

/// A service: alone on its side but for ports, whose addresses stand for all else.
fn services(entity: &Object<'_>, field: &Field<'_>, namespace: &str) -> Option<Services> {
    let others = ["selector", "notSelector", "namespaceSelector", "nets", "notNets", "serviceAccounts"];
    for other in others.into_iter().filter_map(|name| entity.get(name)) {
        other.error(Mistake::contradiction(
            "it can't stand beside `services`",
            "a service has its own addresses",
        ));
    }
    let object = field.object(&["name", "namespace"], Unknown::Refused);
    let service = object.require("name")?.read(name::named(&name::DNS_SUBDOMAIN))?;
    let own = (!namespace.is_empty()).then(|| Arc::from(namespace));
    let namespace = match (object.get("namespace"), own) {
        (Some(written), _) => written.read(name::named(&name::DNS_LABEL))?,
        (None, Some(own)) => own,
        (None, None) => {
            object.missing("namespace");
            return None;
        }
    };
    Some(Services { name: service, namespace })
}

/// A port as rules write it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Port {
    Range(PortRange),
    Named(Arc<str>),
}

/// The ranges and the names of one list.
fn ports(entity: &Object<'_>, name: &'static str, transport: Transport) -> (Vec<PortRange>, Vec<Arc<str>>) {
    let (mut ranges, mut names) = (Vec::new(), Vec::new());
    let Some(field) = entity.get(name) else { return (ranges, names) };
    let form = entity.report().form;
    if form == Form::V3 {
        field.at_most(MOST_PORTS, "ports");
    }
    for item in field.items() {
        match item.read(|scalar| port(scalar, form)) {
            Some(Port::Range(range)) => ranges.push(range),
            Some(Port::Named(name)) => {
                warn_of_range(&item, &name);
                names.push(name);
            }
            None => {}
        }
    }
    let only_names = ranges.is_empty() && !names.is_empty();
    if field.items().len() > 0 {
        check_transport(&field, transport, form, only_names);
    }
    (ranges, names)
}

fn check_transport(field: &Field<'_>, transport: Transport, form: Form, only_names: bool) {
    let (has_ports, allowed) = match (form, transport) {
        (_, Transport::Unreadable) => return,
        (_, Transport::Absent) if only_names => return,
        (Form::V1, _) => (&[6, 17][..], "`tcp` or `udp`"),
        (Form::V3, _) => (&[6, 17, 132][..], "`TCP`, `UDP` or `SCTP`"),
    };
    let found = match transport {
        Transport::Is(protocol) if has_ports.contains(&protocol.number()) => return,
        Transport::Is(_) => "ports with a protocol that has none",
        Transport::Absent | Transport::Unreadable => "ports without a protocol",
    };
    field.error(
        Mistake::new(Code::Contradiction, found, format!("they need the protocol {allowed}"))
            .help(format!("give the rule `protocol:` with {allowed}")),
    );
}

fn port(scalar: &Scalar, form: Form) -> Result<Port, Mistake> {
    let text = &*scalar.text;
    if let Some((first, last)) = text.split_once(':') {
        let (first, last) = (port_number(first)?, port_number(last)?);
        if first > last {
            let mistake = Mistake::value(format!("`{text}` ends before it begins"), "smaller number first");
            return Err(mistake.help(format!("did you mean `{last}:{first}`?")));
        }
        return Ok(Port::Range(PortRange { first, last }));
    }
    let number = text.bytes().all(|byte| byte.is_ascii_digit()) || scalar.plain && is_number(text);
    match form {
        Form::V3 if !number => name::named(&name::PORT_NAME)(scalar).map(Port::Named),
        Form::V1 | Form::V3 => {
            let port = port_number(text)?;
            Ok(Port::Range(PortRange { first: port, last: port }))
        }
    }
}

fn port_number(text: &str) -> Result<u16, Mistake> {
    super::scalar::decimal(text)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|&port| port > 0)
        .ok_or_else(|| {
            let mistake = Mistake::value(format!("`{text}` is not a port"), "1 to 65535");
            if text.contains('-') && !text.starts_with('-') {
                mistake.help("write a range as `first:last`")
            } else {
                mistake
            }
        })
}

/// Two numbers may well be a range to who wrote them, and to us they are a legal name.
fn warn_of_range(field: &Field<'_>, name: &str) {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let separator = |c: char| matches!(c, '-' | '.' | '_');
    let ends = name.split_once(separator).map(|(first, rest)| (first, rest.trim_start_matches(separator)));
    if let Some((first, last)) = ends.filter(|(first, last)| is_number(first) && is_number(last)) {
        let message = format!("`{name}` is taken as the name of a port");
        let mistake = Mistake::value(message, "a name").help(format!("a range is `{first}:{last}`"));
        field.warn(mistake);
    }
}

/// What YAML reads as a number rather than a word: `-1`, `1e3`, `0x50`.
fn is_number(text: &str) -> bool {
    let digit_first = text.trim_start_matches(['+', '-', '.']).starts_with(|c: char| c.is_ascii_digit());
    let based = ["0x", "0o", "0b"].iter().any(|prefix| text.starts_with(prefix));
    digit_first && (based || text.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        let range = |first, last| Some(Port::Range(PortRange { first, last }));
        let named = |name: &str| Some(Port::Named(name.into()));
        for (text, plain, v1, v3) in [
            ("80", true, range(80, 80), range(80, 80)),
            ("80", false, range(80, 80), range(80, 80)),
            ("1:65535", false, range(1, 65535), range(1, 65535)),
            ("0", true, None, None),
            ("65536", true, None, None),
            ("-1", true, None, None),
            ("0:100", false, None, None),
            ("200:100", false, None, None),
            ("1:2:3", false, None, None),
            (":5", false, None, None),
            ("080", true, None, None),
            ("0x50", true, None, None),
            ("80.5", true, None, None),
            ("http", true, None, named("http")),
            ("inf", true, None, named("inf")),
            ("8a", true, None, named("8a")),
            ("80-90", false, None, named("80-90")),
            ("a b", false, None, None),
        ] {
            let scalar = Scalar { text: text.into(), plain };
            assert_eq!(port(&scalar, Form::V1).ok(), v1, "{text} in v1");
            assert_eq!(port(&scalar, Form::V3).ok(), v3, "{text} in v3");
        }
    }
}
