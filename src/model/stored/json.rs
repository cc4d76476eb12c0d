//! A document as the JSON that a client would store.
//!
//! YAML does not say whether `1` is a number or a text, the field does. In Calico's API a field's name tells, whatever
//! kind it is in.

use serde_json::{Map, Number, Value as Json};

use crate::config::{Kind, parameter_for_field};
use crate::datastore::{Node, Scalar, Value};

/// Free keys to texts.
const TEXT_MAPS: [&str; 3] = ["annotations", "labels", "labelsToApply"];

/// Fields that hold texts, or lists of them, which may look like something else: a namespace `1`, a container `12e5`.
const TEXTS: [&str; 40] = [
    "action",
    "apiVersion",
    "calicoVersion",
    "cidr",
    "clusterGUID",
    "clusterType",
    "containerID",
    "endpoint",
    "exact",
    "expectedIPs",
    "generateName",
    "interfaceName",
    "ipNetworks",
    "key",
    "kind",
    "mac",
    "methods",
    "name",
    "names",
    "namespace",
    "namespaceSelector",
    "nets",
    "node",
    "nodeSelector",
    "notNets",
    "notSelector",
    "orchestrator",
    "pod",
    "prefix",
    "profiles",
    "resourceVersion",
    "selector",
    "serviceAccountName",
    "serviceAccountSelector",
    "stagedAction",
    "tier",
    "uid",
    "value",
    "variant",
    "workload",
];

/// Flags, in any of YAML's spellings.
const FLAGS: [&str; 8] = [
    "applyOnForward",
    "datastoreReady",
    "deleted",
    "disableBGPExport",
    "disabled",
    "doNotTrack",
    "natOutgoing",
    "preDNAT",
];

/// Numbers that may be quoted, or names.
const NUMBERS_OR_NAMES: [&str; 4] = ["notPorts", "notProtocol", "ports", "protocol"];

/// What a scalar is, by where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Text,
    Flag,
    NumberOrName,
    /// A policy's or tier's place, the one number that may have a fraction.
    Order,
    /// By its looks.
    Plain,
}

/// The document as JSON. Null fields are left out: they say nothing.
pub(super) fn document(node: &Node) -> Json {
    let is_felix = node.child("kind").is_some_and(
        |kind| matches!(&kind.value, Value::Scalar(kind) if &*kind.text == "FelixConfiguration"),
    );
    match &node.value {
        Value::Mapping(entries) if is_felix => {
            fields(entries.iter().map(|(key, node)| (&*key.text, node)), |name, node| {
                if name == "spec" { parameters(node) } else { field(name, node) }
            })
        }
        Value::Mapping(_) | Value::Sequence(_) | Value::Scalar(_) => value(Reading::Plain, node),
    }
}

/// The parameters of a FelixConfiguration, whose types the table of parameters knows.
fn parameters(spec: &Node) -> Json {
    match &spec.value {
        Value::Mapping(entries) => {
            fields(entries.iter().map(|(key, node)| (&*key.text, node)), |name, node| {
                value(reading_of_parameter(name), node)
            })
        }
        Value::Sequence(_) | Value::Scalar(_) => value(Reading::Plain, spec),
    }
}

fn reading_of_parameter(name: &str) -> Reading {
    let Some(parameter) = parameter_for_field(name) else { return reading(name) };
    match parameter.kind {
        Kind::Boolean => Reading::Flag,
        Kind::Integer { .. }
        | Kind::Mask { .. }
        | Kind::PortRange
        | Kind::PortRanges
        | Kind::FailsafePorts => Reading::Plain,
        Kind::Seconds
        | Kind::Milliseconds
        | Kind::Text
        | Kind::Secret
        | Kind::KeyPart
        | Kind::KeyPrefix
        | Kind::OneOf(_)
        | Kind::Hostname
        | Kind::HostPort
        | Kind::Endpoints
        | Kind::Ipv4
        | Kind::Ipv6
        | Kind::Cidrs
        | Kind::InterfacePrefixes
        | Kind::InterfaceFilter
        | Kind::InterfacePatterns
        | Kind::Regex
        | Kind::RateLimit
        | Kind::KeyValues
        | Kind::KeyDurations => Reading::Text,
    }
}

fn reading(name: &str) -> Reading {
    if TEXTS.contains(&name) {
        Reading::Text
    } else if FLAGS.contains(&name) {
        Reading::Flag
    } else if NUMBERS_OR_NAMES.contains(&name) {
        Reading::NumberOrName
    } else if name == "order" {
        Reading::Order
    } else {
        Reading::Plain
    }
}

fn field(name: &str, node: &Node) -> Json {
    match &node.value {
        Value::Mapping(entries) if TEXT_MAPS.contains(&name) => {
            Json::Object(entries.iter().map(|(key, node)| (key.text.to_string(), text(node))).collect())
        }
        Value::Mapping(_) | Value::Sequence(_) | Value::Scalar(_) => value(reading(name), node),
    }
}

/// A label's or annotation's text; nothing is an empty one.
fn text(node: &Node) -> Json {
    if node.is_null() { Json::String(String::new()) } else { value(Reading::Text, node) }
}

fn value(reading: Reading, node: &Node) -> Json {
    match &node.value {
        Value::Scalar(word) => scalar(reading, word),
        Value::Sequence(items) => Json::Array(items.iter().map(|item| value(reading, item)).collect()),
        Value::Mapping(entries) => fields(entries.iter().map(|(key, node)| (&*key.text, node)), field),
    }
}

fn fields<'n>(entries: impl Iterator<Item = (&'n str, &'n Node)>, of: impl Fn(&str, &Node) -> Json) -> Json {
    let written = entries.filter(|(_, node)| !node.is_null());
    Json::Object(written.map(|(name, node)| (name.to_owned(), of(name, node))).collect::<Map<_, _>>())
}

fn scalar(reading: Reading, scalar: &Scalar) -> Json {
    if scalar.is_null() {
        return Json::Null;
    }
    let read = match reading {
        Reading::Text => None,
        Reading::Flag if scalar.plain => flag(&scalar.text),
        Reading::NumberOrName => whole_number(&scalar.text),
        Reading::Order if scalar.plain => whole_number(&scalar.text).or_else(|| fraction(&scalar.text)),
        Reading::Plain if scalar.plain => boolean(&scalar.text).or_else(|| whole_number(&scalar.text)),
        Reading::Flag | Reading::Order | Reading::Plain => None,
    };
    read.unwrap_or_else(|| Json::String(scalar.text.to_string()))
}

fn boolean(text: &str) -> Option<Json> {
    match text {
        "true" | "True" | "TRUE" => Some(Json::Bool(true)),
        "false" | "False" | "FALSE" => Some(Json::Bool(false)),
        _ => None,
    }
}

/// As parameters may be written, and as YAML 1.1 has it.
fn flag(text: &str) -> Option<Json> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "t" | "1" => Some(Json::Bool(true)),
        "false" | "no" | "off" | "n" | "f" | "0" => Some(Json::Bool(false)),
        _ => None,
    }
}

/// Decimal without leading zeros, which some take for octal; hexadecimal or octal where it says so.
fn whole_number(text: &str) -> Option<Json> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let of_base = |prefix, base| text.strip_prefix(prefix).map(|digits| u64::from_str_radix(digits, base));
    if let Some(number) = of_base("0x", 16).or_else(|| of_base("0o", 8)) {
        return number.ok().map(|number| Json::Number(Number::from(number)));
    }
    let is_decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_decimal || digits.is_empty() || digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    text.parse::<i64>().ok().map(|number| Json::Number(Number::from(number)))
}

/// Without its fraction where that is zero, so that one number has one writing.
fn fraction(text: &str) -> Option<Json> {
    /// Up to here every whole number is a floating-point one.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number: f64 = text.parse().ok()?;
    if number.trunc() == number && number.abs() <= EXACT {
        return format!("{number:.0}").parse::<i64>().ok().map(|number| Json::Number(Number::from(number)));
    }
    Number::from_f64(number).map(Json::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datastore::yaml;

    #[test]
    fn a_field_says_what_its_scalar_is() {
        for (yaml, json) in [
            (
                "labels: {a: 1, b: true, c: , d: '1', e: 0x10}",
                r#"{"labels":{"a":"1","b":"true","c":"","d":"1","e":"0x10"}}"#,
            ),
            (
                "metadata: {name: 123, annotations: {a: 1.5}}",
                r#"{"metadata":{"name":"123","annotations":{"a":"1.5"}}}"#,
            ),
            ("spec: {order: 100, tier: 1}", r#"{"spec":{"order":100,"tier":"1"}}"#),
            (
                "[{order: 1.5}, {order: 1e3}, {order: -0}, {order: +5}]",
                r#"[{"order":1.5},{"order":1000},{"order":0},{"order":5}]"#,
            ),
            ("ports: [80, '81', '1:2', http, 8a]", r#"{"ports":[80,81,"1:2","http","8a"]}"#),
            (
                "ports: [{name: 80, protocol: TCP, port: 80}]",
                r#"{"ports":[{"name":"80","protocol":"TCP","port":80}]}"#,
            ),
            (
                "[{protocol: 6}, {protocol: '6'}, {protocol: TCP}]",
                r#"[{"protocol":6},{"protocol":6},{"protocol":"TCP"}]"#,
            ),
            (
                "[{natOutgoing: yes}, {natOutgoing: true}, {x: yes}]",
                r#"[{"natOutgoing":true},{"natOutgoing":true},{"x":"yes"}]"#,
            ),
            ("icmp: {type: 8, code: 0}", r#"{"icmp":{"type":8,"code":0}}"#),
            ("asNumber: 1.10", r#"{"asNumber":"1.10"}"#),
            ("asNumber: 64512", r#"{"asNumber":64512}"#),
            ("{a: ~, b: , c: null, d: [~], e: 'null'}", r#"{"d":[null],"e":"null"}"#),
            (
                "{a: 010, b: 0x1f, c: -3, d: '5', e: inf, f: 12345678901234567890}",
                r#"{"a":"010","b":31,"c":-3,"d":"5","e":"inf","f":"12345678901234567890"}"#,
            ),
            (
                "{containerID: 12e5, nets: [10.0.0.0/8], selector: all()}",
                r#"{"containerID":"12e5","nets":["10.0.0.0/8"],"selector":"all()"}"#,
            ),
            (
                "{kind: FelixConfiguration, spec: {logPrefix: 1, ipv6Support: no, vxlanPort: 4790, routeRefreshInterval: 90s, new: [1]}}",
                r#"{"kind":"FelixConfiguration","spec":{"logPrefix":"1","ipv6Support":false,"vxlanPort":4790,"routeRefreshInterval":"90s","new":[1]}}"#,
            ),
        ] {
            let entries = yaml::parse(&"t.yaml".into(), &yaml.into()).entries;
            let jsons: Vec<Json> = entries.iter().map(|entry| document(&entry.node)).collect();
            let written =
                if yaml.starts_with('[') { Json::Array(jsons) } else { jsons.into_iter().next().unwrap() };
            assert_eq!(written.to_string(), json, "{yaml}");
        }
    }
}
