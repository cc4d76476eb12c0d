//! Rules of policies and profiles (reference §1.2, §3.2; felix-2.1 §1.2).

use ipnet::IpNet;

use super::entity::{self, Side, Transport};
use super::fields::{Field, Form, Mistake, Object, Unknown};
use super::{metadata, scalar};
use crate::datastore::Scalar;
use crate::model::diagnostic::Code;
use crate::model::{Action, IcmpMatch, IpVersion, Protocol, Rule, Unenforceable};

/// Of each direction (reference §1.1).
const MOST_RULES: usize = 1024;

const V1: &[&str] =
    &["action", "ipVersion", "protocol", "notProtocol", "icmp", "notICMP", "source", "destination"];

const V3: &[&str] = &[
    "action",
    "ipVersion",
    "protocol",
    "notProtocol",
    "icmp",
    "notICMP",
    "source",
    "destination",
    "http",
    "metadata",
];

const V1_ACTIONS: &[(&str, Action)] =
    &[("allow", Action::Allow), ("deny", Action::Deny), ("log", Action::Log), ("pass", Action::Pass)];

const V3_ACTIONS: &[(&str, Action)] =
    &[("Allow", Action::Allow), ("Deny", Action::Deny), ("Log", Action::Log), ("Pass", Action::Pass)];

const V1_PROTOCOLS: &[(&str, Protocol)] = &[
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("icmp", Protocol::Icmp),
    ("icmpv6", Protocol::IcmpV6),
    ("sctp", Protocol::Sctp),
    ("udplite", Protocol::UdpLite),
];

const V3_PROTOCOLS: &[(&str, Protocol)] = &[
    ("TCP", Protocol::Tcp),
    ("UDP", Protocol::Udp),
    ("ICMP", Protocol::Icmp),
    ("ICMPv6", Protocol::IcmpV6),
    ("SCTP", Protocol::Sctp),
    ("UDPLite", Protocol::UdpLite),
];

/// The two lists of rules of a policy or profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Ingress,
    Egress,
}

impl Way {
    pub fn field(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// The rules of one direction that can be understood; the others are reported.
/// `namespace` is the policy's own, empty for a global one and for a profile.
pub(super) fn rules(spec: &Object<'_>, way: Way, namespace: &str) -> Vec<Rule> {
    each(spec, way.field(), |item| rule(item, way, namespace))
}

/// The items of `name` that `rule` understands.
pub(super) fn each(
    spec: &Object<'_>,
    name: &'static str,
    rule: impl Fn(&Field<'_>) -> Option<Rule>,
) -> Vec<Rule> {
    let Some(field) = spec.get(name) else { return Vec::new() };
    field.at_most(MOST_RULES, "rules");
    field.items().filter_map(|item| rule(&item)).collect()
}

fn rule(field: &Field<'_>, way: Way, namespace: &str) -> Option<Rule> {
    let errors = field.report.errors();
    let form = field.report.form;
    let object = match form {
        Form::V1 => field.object(V1, Unknown::Refused),
        Form::V3 => field.object(V3, Unknown::Refused),
    };
    let action = object.require("action").and_then(|field| field.read(scalar::choice(actions(form))));
    let mut family = Family::default();
    let ip_version = object.get("ipVersion").and_then(|field| family.version(&field));
    let transport = transport(&object, &mut family);
    let not_protocol = object.get("notProtocol").and_then(|field| not_protocol(&field, ip_version));
    let icmp = object.get("icmp").and_then(|field| icmp_match(&field, transport));
    let not_icmp = object.get("notICMP").and_then(|field| icmp_match(&field, transport));
    let source = entity::entity(&object, Side::Source, namespace, transport, &mut family);
    let destination = entity::entity(&object, Side::Destination, namespace, transport, &mut family);
    let unenforceable = unenforceable(&object, way, action, transport);
    let annotations = match form {
        Form::V1 => Default::default(),
        Form::V3 => metadata::annotations(&object.object("metadata", &["annotations"], Unknown::Tolerated)),
    };
    let rule = Rule {
        action: action?,
        ip_version: ip_version.or_else(|| transport.version()),
        protocol: transport.protocol(),
        not_protocol,
        icmp,
        not_icmp,
        source,
        destination,
        unenforceable,
        annotations,
        place: field.place(),
    };
    (field.report.errors() == errors).then_some(rule)
}

fn actions(form: Form) -> &'static [(&'static str, Action)] {
    match form {
        Form::V1 => V1_ACTIONS,
        Form::V3 => V3_ACTIONS,
    }
}

/// What says which family a rule is for, so that no second one says otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Family(Option<(IpVersion, &'static str)>);

impl Family {
    /// The version that the rule itself asks for.
    pub fn version(&mut self, field: &Field<'_>) -> Option<IpVersion> {
        let version = field.read(scalar::ip_version)?;
        self.agree(field, version, "`ipVersion`");
        Some(version)
    }

    fn protocol(&mut self, field: &Field<'_>, protocol: Protocol) {
        if let Some(version) = version_of_protocol(protocol) {
            self.agree(field, version, "the protocol");
        }
    }

    /// A CIDR that agrees with what else the rule asks.
    pub fn net(
        &mut self,
        field: &Field<'_>,
        read: impl FnOnce(&Scalar) -> Result<IpNet, Mistake>,
    ) -> Option<IpNet> {
        let net = field.read(read)?;
        self.agree(field, scalar::version_of(&net), "another network");
        Some(net)
    }

    fn agree(&mut self, field: &Field<'_>, version: IpVersion, who: &'static str) {
        match self.0 {
            None => self.0 = Some((version, who)),
            Some((first, _)) if first == version => {}
            Some((first, before)) => field.error(
                Mistake::contradiction(
                    format!("it is {}, but {before} of this rule is {}", digits(version), digits(first)),
                    digits(version),
                )
                .help("make one rule for each IP version"),
            ),
        }
    }
}

fn digits(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "IPv4",
        IpVersion::V6 => "IPv6",
    }
}

/// ICMP and ICMPv6, as a name or a number, are of one family each: iptables refuses them in the other.
pub(super) fn version_of_protocol(protocol: Protocol) -> Option<IpVersion> {
    match protocol.number() {
        1 => Some(IpVersion::V4),
        58 => Some(IpVersion::V6),
        _ => None,
    }
}

/// The rule's `protocol`, of the form's own spelling.
pub(super) fn transport(rule: &Object<'_>, family: &mut Family) -> Transport {
    let Some(field) = rule.get("protocol") else { return Transport::Absent };
    match field.read(|scalar| protocol(scalar, field.report.form)) {
        Some(protocol) => {
            family.protocol(&field, protocol);
            Transport::Is(protocol)
        }
        None => Transport::Unreadable,
    }
}

pub(super) fn not_protocol(field: &Field<'_>, ip_version: Option<IpVersion>) -> Option<Protocol> {
    let protocol = field.read(|scalar| protocol(scalar, field.report.form))?;
    let mut family = Family(ip_version.map(|version| (version, "`ipVersion`")));
    family.protocol(field, protocol);
    Some(protocol)
}

/// A name of the form's own spelling, or a number from 1 to 255, quoted or not.
pub(super) fn protocol(scalar: &Scalar, form: Form) -> Result<Protocol, Mistake> {
    let names = match form {
        Form::V1 => V1_PROTOCOLS,
        Form::V3 => V3_PROTOCOLS,
    };
    if !scalar.text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return scalar::choice(names)(scalar);
    }
    let number = scalar::decimal(&scalar.text).and_then(|number| u8::try_from(number).ok());
    number.filter(|&number| number > 0).map(Protocol::Number).ok_or_else(|| {
        Mistake::value(format!("`{}` is not a protocol", scalar.text), "a name, or a number from 1 to 255")
    })
}

fn icmp_match(field: &Field<'_>, transport: Transport) -> Option<IcmpMatch> {
    let object = field.object(&["type", "code"], Unknown::Refused);
    icmp(&object, ["type", "code"], field, transport)
}

/// An ICMP type with or without a code, called by these names, which only means something with an ICMP protocol:
/// otherwise `field` is wrong.
pub(super) fn icmp(
    object: &Object<'_>,
    [type_name, code_name]: [&'static str; 2],
    field: &Field<'_>,
    transport: Transport,
) -> Option<IcmpMatch> {
    let icmp_type = object.read(type_name, scalar::byte(0..=254));
    let code = object.read(code_name, scalar::byte(0..=255));
    if code.is_some() && object.get(type_name).is_none() {
        object.missing(type_name);
    }
    let asked = object.get(type_name).is_some() || object.get(code_name).is_some();
    let is_icmp = match transport {
        Transport::Is(protocol) => version_of_protocol(protocol).is_some(),
        Transport::Absent => false,
        Transport::Unreadable => true,
    };
    if !is_icmp && asked {
        let (v4, v6) = match field.report.form {
            Form::V1 => ("icmp", "icmpv6"),
            Form::V3 => ("ICMP", "ICMPv6"),
        };
        field.error(
            Mistake::contradiction(
                "an ICMP type without the protocol",
                format!("it needs `protocol: {v4}` or `{v6}`"),
            )
            .help(format!("add `protocol: {v4}` (or `{v6}`) to the rule")),
        );
    }
    Some(IcmpMatch { icmp_type: icmp_type?, code })
}

/// `http` and `services`, and what becomes of a rule with them.
fn unenforceable(
    rule: &Object<'_>,
    way: Way,
    action: Option<Action>,
    transport: Transport,
) -> Option<Unenforceable> {
    if rule.report().form == Form::V1 {
        return None;
    }
    let services = services(rule, way, action);
    match rule.get("http") {
        Some(field) => {
            http(&field, way, action, transport);
            warn_unenforceable(&field, action);
            Some(Unenforceable::Http)
        }
        None => services,
    }
}

fn services(rule: &Object<'_>, way: Way, action: Option<Action>) -> Option<Unenforceable> {
    let mut found = None;
    for (side, wrong_way) in [(Side::Source, Way::Egress), (Side::Destination, Way::Ingress)] {
        let Some(entity) = rule.get(side.field()) else { continue };
        if entity.node().child("services").is_none_or(|node| node.is_null()) {
            continue;
        }
        found = Some(Unenforceable::Services);
        if way == wrong_way {
            let what = format!("`services` can't stand in the {} of an {} rule", side.field(), way.field());
            entity.error(Mistake::contradiction(what, "not allowed here"));
        } else if side == Side::Destination
            && entity.node().child("ports").is_some_and(|node| !node.is_null())
        {
            entity.error(Mistake::contradiction(
                "`ports` can't stand beside `services`",
                "a service has its own ports",
            ));
        } else {
            warn_unenforceable(&entity, action);
        }
    }
    found
}

fn http(field: &Field<'_>, way: Way, action: Option<Action>, transport: Transport) {
    let object = field.object(&["methods", "paths"], Unknown::Refused);
    object.read_all("methods", scalar::text);
    if let Some(paths) = object.get("paths") {
        for path in paths.items() {
            let path = path.object(&["exact", "prefix"], Unknown::Refused);
            path.read("exact", scalar::text);
            path.read("prefix", scalar::text);
        }
    }
    let tcp = match transport {
        Transport::Is(protocol) => protocol.number() == Protocol::Tcp.number(),
        Transport::Absent | Transport::Unreadable => true,
    };
    let problem = match action {
        _ if way == Way::Egress => Some("`http` stands only in ingress rules"),
        _ if !tcp => Some("`http` stands only beside the protocol TCP"),
        Some(Action::Allow) | None => None,
        Some(Action::Deny | Action::Log | Action::Pass) => Some("`http` stands only in rules that allow"),
    };
    if let Some(problem) = problem {
        field.error(Mistake::contradiction(problem, "not allowed here"));
    }
}

fn warn_unenforceable(field: &Field<'_>, action: Option<Action>) {
    let (effect, label) = match action {
        Some(Action::Deny) => ("the rule denies by its other criteria", "not checked"),
        Some(Action::Pass) => ("the rule denies what its other criteria match", "not checked"),
        Some(Action::Allow | Action::Log) => ("the rule never matches", "never true"),
        None => return,
    };
    let message = format!("a packet filter can't see this: {effect}");
    field.warn(Mistake::new(Code::Unenforceable, message, label));
}
