//! FelixConfiguration fields as parameters: names and texts (reference §11.1, §11.2).

use std::fmt;

use super::kind::Kind;
use super::nearest::nearest;
use super::parameter::{Parameter, left_out};
use super::parameters::PARAMETERS;
use super::value::go_duration;

/// A field's value as YAML or JSON has it; scalars as their texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    Text(String),
    List(Vec<FieldValue>),
    /// In the order written.
    Map(Vec<(String, FieldValue)>),
}

/// Why a field is not a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// No parameter has this field; the nearest one that exists.
    Unknown { nearest: Option<&'static str> },
    /// A field of a feature that this program leaves out.
    LeftOut { feature: &'static str },
    /// The value has not the field's form; what it should be.
    Form { expected: &'static str },
}

/// The parameter behind a field of FelixConfiguration's `spec`. Case matters, as in Kubernetes.
pub fn parameter_for_field(field: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.field == Some(field))
}

/// The field as a parameter's name and text: what the environment would have. No text says nothing.
/// Only the form is checked here; what the text may be, [`super::Config::resolve`] checks.
pub fn field_to_text(field: &str, value: FieldValue) -> Result<(&'static str, String), FieldError> {
    let parameter = parameter_for_field(field).ok_or_else(|| unknown(field))?;
    let text = match parameter.kind {
        Kind::Seconds => duration(value, 1e9),
        Kind::Milliseconds => duration(value, 1e6),
        Kind::FailsafePorts => failsafe_ports(value),
        Kind::KeyDurations => pairs(value, ("name", "timeout")),
        Kind::KeyValues => pairs(value, ("name", "value")),
        Kind::Endpoints
        | Kind::Cidrs
        | Kind::PortRanges
        | Kind::InterfacePrefixes
        | Kind::InterfacePatterns => joined(value, scalar),
        Kind::Boolean
        | Kind::Integer { .. }
        | Kind::Text
        | Kind::Secret
        | Kind::KeyPart
        | Kind::KeyPrefix
        | Kind::OneOf(_)
        | Kind::Mask { .. }
        | Kind::Hostname
        | Kind::HostPort
        | Kind::Ipv4
        | Kind::Ipv6
        | Kind::PortRange
        | Kind::InterfaceFilter
        | Kind::Regex
        | Kind::RateLimit => scalar(value),
    }?;
    Ok((parameter.name, text))
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { nearest: Some(nearest) } => write!(f, "unknown field; did you mean `{nearest}`?"),
            Self::Unknown { nearest: None } => f.write_str("unknown field"),
            Self::LeftOut { feature } => write!(f, "ignored: there is no {feature} here"),
            Self::Form { expected } => write!(f, "expected {expected}"),
        }
    }
}

impl std::error::Error for FieldError {}

fn unknown(field: &str) -> FieldError {
    match left_out(field) {
        Some(feature) => FieldError::LeftOut { feature },
        None => FieldError::Unknown {
            nearest: nearest(field, PARAMETERS.iter().filter_map(|parameter| parameter.field)),
        },
    }
}

fn scalar(value: FieldValue) -> Result<String, FieldError> {
    match value {
        FieldValue::Text(text) => Ok(text),
        FieldValue::List(_) | FieldValue::Map(_) => Err(FieldError::Form { expected: "a single value" }),
    }
}

/// A duration as a decimal number of units of so many nanoseconds.
fn duration(value: FieldValue, unit: f64) -> Result<String, FieldError> {
    let text = scalar(value)?;
    if text.is_empty() {
        return Ok(text);
    }
    let nanoseconds = go_duration(&text)
        .map_err(|_| FieldError::Form { expected: "a duration with its unit, such as `90s` or `1m30s`" })?;
    Ok((nanoseconds / unit).to_string())
}

/// The list's elements, or a text that already is one.
fn joined(
    value: FieldValue,
    element: impl FnMut(FieldValue) -> Result<String, FieldError>,
) -> Result<String, FieldError> {
    match value {
        FieldValue::Text(text) => Ok(text),
        FieldValue::List(elements) => {
            elements.into_iter().map(element).collect::<Result<Vec<_>, _>>().map(|texts| texts.join(","))
        }
        FieldValue::Map(_) => Err(FieldError::Form { expected: "a list" }),
    }
}

/// An empty list closes all ports, where an empty text would say nothing.
fn failsafe_ports(value: FieldValue) -> Result<String, FieldError> {
    if value == FieldValue::List(Vec::new()) {
        return Ok("none".to_owned());
    }
    joined(value, failsafe_port)
}

/// `protocol:port`, or `protocol:net:port`.
fn failsafe_port(value: FieldValue) -> Result<String, FieldError> {
    const EXPECTED: FieldError =
        FieldError::Form { expected: "a port, or `protocol`, `port` and, where it is needed, `net`" };
    let fields = match value {
        FieldValue::Text(text) => return Ok(text),
        FieldValue::List(_) => return Err(EXPECTED),
        FieldValue::Map(fields) => fields,
    };
    let (mut protocol, mut net, mut port) = (String::new(), String::new(), None);
    for (key, value) in fields {
        match key.as_str() {
            "protocol" => protocol = scalar(value)?,
            "net" => net = scalar(value)?,
            "port" => port = Some(scalar(value)?),
            _ => return Err(EXPECTED),
        }
    }
    let port = port.ok_or(EXPECTED)?;
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_lowercase() };
    Ok(match net.as_str() {
        "" => format!("{protocol}:{port}"),
        v6 if v6.contains(':') => format!("{protocol}:[{v6}]:{port}"),
        v4 => format!("{protocol}:{v4}:{port}"),
    })
}

/// `key=value,…`, from a mapping or from a list of mappings with a field each for the key and the value.
fn pairs(value: FieldValue, names: (&str, &str)) -> Result<String, FieldError> {
    match value {
        FieldValue::Map(entries) => {
            let pair = |(key, value)| scalar(value).map(|value| format!("{key}={value}"));
            entries.into_iter().map(pair).collect::<Result<Vec<_>, _>>().map(|pairs| pairs.join(","))
        }
        FieldValue::Text(_) | FieldValue::List(_) => joined(value, |element| named_pair(element, names)),
    }
}

fn named_pair(value: FieldValue, (key_name, value_name): (&str, &str)) -> Result<String, FieldError> {
    const EXPECTED: FieldError = FieldError::Form { expected: "`key=value`, or a name and its value" };
    let fields = match value {
        FieldValue::Text(text) => return Ok(text),
        FieldValue::List(_) => return Err(EXPECTED),
        FieldValue::Map(fields) => fields,
    };
    let (mut key, mut text) = (None, None);
    for (name, value) in fields {
        match name {
            name if name == key_name => key = Some(scalar(value)?),
            name if name == value_name => text = Some(scalar(value)?),
            _ => return Err(EXPECTED),
        }
    }
    match (key, text) {
        (Some(key), Some(text)) => Ok(format!("{key}={text}")),
        _ => Err(EXPECTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> FieldValue {
        FieldValue::Text(text.to_owned())
    }

    fn map(entries: &[(&str, &str)]) -> FieldValue {
        FieldValue::Map(entries.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect())
    }

    fn texts(elements: &[&str]) -> FieldValue {
        FieldValue::List(elements.iter().map(|element| text(element)).collect())
    }

    #[test]
    fn fields_become_texts() {
        let ports = FieldValue::List(vec![
            map(&[("protocol", "TCP"), ("port", "22")]),
            map(&[("port", "53"), ("protocol", "UDP"), ("net", "10.0.0.0/8")]),
            map(&[("protocol", "tcp"), ("net", "::/0"), ("port", "1")]),
            map(&[("port", "80")]),
            text("udp:9"),
        ]);
        let timeouts = FieldValue::List(vec![
            map(&[("name", "a"), ("timeout", "90s")]),
            map(&[("name", "b"), ("timeout", "10ms")]),
        ]);
        let rows = [
            ("ipv6Support", text("false"), "Ipv6Support", "false"),
            ("logPrefix", text("a b"), "LogPrefix", "a b"),
            ("ipipEnabled", text("true"), "IpInIpEnabled", "true"),
            ("ipipMTU", text("1440"), "IpInIpMtu", "1440"),
            ("vxlanPort", text("4790"), "VXLANPort", "4790"),
            ("natPortRange", text("1024:2047"), "NATPortRange", "1024:2047"),
            ("iptablesRefreshInterval", text("1m30s"), "IptablesRefreshInterval", "90"),
            ("routeRefreshInterval", text("500ms"), "RouteRefreshInterval", "0.5"),
            ("reportingInterval", text("0s"), "ReportingIntervalSecs", "0"),
            ("reportingInterval", text(""), "ReportingIntervalSecs", ""),
            ("iptablesPostWriteCheckInterval", text("1.5s"), "IptablesPostWriteCheckIntervalSecs", "1.5"),
            ("iptablesLockProbeInterval", text("35ms"), "IptablesLockProbeIntervalMillis", "35"),
            ("iptablesLockProbeInterval", text("1s"), "IptablesLockProbeIntervalMillis", "1000"),
            (
                "externalNodesList",
                texts(&["10.0.0.1", "10.1.0.0/16"]),
                "ExternalNodesCIDRList",
                "10.0.0.1,10.1.0.0/16",
            ),
            ("externalNodesList", texts(&[]), "ExternalNodesCIDRList", ""),
            ("kubeNodePortRanges", texts(&["80", "30000:32767"]), "KubeNodePortRanges", "80,30000:32767"),
            (
                "failsafeInboundHostPorts",
                ports,
                "FailsafeInboundHostPorts",
                "tcp:22,udp:10.0.0.0/8:53,tcp:[::/0]:1,tcp:80,udp:9",
            ),
            ("failsafeOutboundHostPorts", texts(&[]), "FailsafeOutboundHostPorts", "none"),
            ("healthTimeoutOverrides", timeouts, "HealthTimeoutOverrides", "a=90s,b=10ms"),
            ("featureDetectOverride", text("a=b"), "FeatureDetectOverride", "a=b"),
            ("featureDetectOverride", map(&[("a", "b"), ("c", "d")]), "FeatureDetectOverride", "a=b,c=d"),
        ];
        for (field, value, name, expected) in rows {
            assert_eq!(field_to_text(field, value), Ok((name, expected.to_owned())), "{field}");
        }
    }

    #[test]
    fn what_is_no_field_value() {
        let rows = [
            ("logprefix", text("a"), "unknown field; did you mean `logPrefix`?"),
            ("felixHostname", text("a"), "unknown field"),
            ("bpfEnabled", text("false"), "ignored: there is no eBPF dataplane here"),
            ("logPrefix", texts(&["a"]), "expected a single value"),
            ("ipv6Support", map(&[]), "expected a single value"),
            ("externalNodesList", map(&[]), "expected a list"),
            (
                "routeRefreshInterval",
                text("90"),
                "expected a duration with its unit, such as `90s` or `1m30s`",
            ),
            (
                "failsafeInboundHostPorts",
                FieldValue::List(vec![map(&[("protocol", "tcp")])]),
                "expected a port, or `protocol`, `port` and, where it is needed, `net`",
            ),
            (
                "failsafeInboundHostPorts",
                FieldValue::List(vec![map(&[("port", "1"), ("cidr", "::/0")])]),
                "expected a port, or `protocol`, `port` and, where it is needed, `net`",
            ),
            (
                "healthTimeoutOverrides",
                FieldValue::List(vec![map(&[("name", "a")])]),
                "expected `key=value`, or a name and its value",
            ),
        ];
        for (field, value, expected) in rows {
            let error = field_to_text(field, value).map_err(|error| error.to_string());
            assert_eq!(error, Err(expected.to_owned()), "{field}");
        }
    }
}
