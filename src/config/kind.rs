//! What texts a parameter allows.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::value::{
    Refusal, authority, boolean, decimal, failsafe_port, go_duration, key_prefix, list, mask, milliseconds,
    net, number, parsed, port_range, refused, seconds, word,
};

/// A parameter's type and bounds. Prints as what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    /// Bounds included.
    Integer {
        min: i64,
        max: i64,
    },
    /// Decimal.
    Seconds,
    /// Decimal.
    Milliseconds,
    Text,
    /// Any text; it is never shown.
    Secret,
    /// Any text without `/`: a part of a key.
    KeyPart,
    /// `/name/…`, what keys begin with.
    KeyPrefix,
    /// One of these words, in any case.
    OneOf(&'static [&'static str]),
    /// 32 bits, of which this many must be set.
    Mask {
        min_bits: u32,
    },
    Hostname,
    /// `host:port`
    HostPort,
    /// `http(s)://host:port`, a list.
    Endpoints,
    Ipv4,
    Ipv6,
    Cidrs,
    /// `port` or `first:last`
    PortRange,
    PortRanges,
    FailsafePorts,
    /// How interface names begin, a list without spaces.
    InterfacePrefixes,
    /// An interface name, or a prefix and `+`.
    InterfaceFilter,
    /// Interface names and `/regular expressions/`, a list.
    InterfacePatterns,
    /// Checked for balance only.
    Regex,
    /// `<1-9999>/<unit>`
    RateLimit,
    /// `key=value`, a list.
    KeyValues,
    /// `key=duration`, a list.
    KeyDurations,
}

impl Kind {
    /// Longest interface name (IFNAMSIZ - 1).
    const INTERFACE_NAME: usize = 15;
    const RATE_UNITS: [&str; 4] = ["second", "minute", "hour", "day"];

    /// The one spelling of what `text` stands for, so that equal values have equal texts.
    /// Neither empty nor `none`: those are the parameter's business.
    pub fn canonical(&self, text: &str) -> Result<String, Refusal> {
        let trimmed = text.trim();
        match self {
            Self::Boolean => boolean(trimmed).map(|value| value.to_string()),
            Self::Integer { min, max } => integer(trimmed, *min, *max),
            Self::Seconds => seconds(trimmed).and_then(|_| decimal(trimmed)).map(|value| value.to_string()),
            Self::Milliseconds => {
                milliseconds(trimmed).and_then(|_| decimal(trimmed)).map(|value| value.to_string())
            }
            Self::Text | Self::Secret => Ok(text.to_owned()),
            Self::KeyPart if trimmed.contains('/') => Err(refused(trimmed)),
            Self::KeyPart => Ok(trimmed.to_owned()),
            Self::KeyPrefix => key_prefix(trimmed),
            Self::OneOf(words) => word(trimmed, words).map(str::to_owned),
            Self::Mask { min_bits } => mask(trimmed, *min_bits).map(|mask| format!("{mask:#010x}")),
            Self::Hostname => only(trimmed, usize::MAX, "_.-"),
            Self::HostPort => host_port(trimmed),
            Self::Endpoints => endpoints(trimmed),
            Self::Ipv4 => parsed::<Ipv4Addr>(trimmed).map(|address| address.to_string()),
            Self::Ipv6 => parsed::<Ipv6Addr>(trimmed).map(|address| address.to_string()),
            Self::Cidrs => joined(trimmed, |cidr| net(cidr).map(|net| net.to_string())),
            Self::PortRange => range(trimmed),
            Self::PortRanges => joined(trimmed, range),
            Self::FailsafePorts => joined(trimmed, |port| failsafe_port(port).map(|port| port.to_string())),
            Self::InterfacePrefixes => interface_prefixes(trimmed),
            Self::InterfaceFilter => only(trimmed, Self::INTERFACE_NAME, ":._+-"),
            Self::InterfacePatterns => joined(trimmed, interface_pattern),
            Self::Regex => balanced(trimmed),
            Self::RateLimit => rate_limit(trimmed),
            Self::KeyValues => {
                joined(trimmed, |pair| key_value(pair).map(|(key, value)| format!("{key}={value}")))
            }
            Self::KeyDurations => joined(trimmed, key_duration),
        }
    }

    /// What `none` stands for; no text where the value is then absent, None where that can't be.
    pub(super) fn zero(&self) -> Option<&'static str> {
        match self {
            Self::Boolean => Some("false"),
            Self::Integer { min, .. } => (*min <= 0).then_some("0"),
            Self::Seconds | Self::Milliseconds => Some("0"),
            Self::OneOf(_) | Self::Mask { .. } | Self::InterfacePrefixes | Self::KeyPrefix => None,
            Self::Text
            | Self::Secret
            | Self::KeyPart
            | Self::Hostname
            | Self::HostPort
            | Self::Endpoints
            | Self::Ipv4
            | Self::Ipv6
            | Self::Cidrs
            | Self::PortRange
            | Self::PortRanges
            | Self::FailsafePorts
            | Self::InterfaceFilter
            | Self::InterfacePatterns
            | Self::Regex
            | Self::RateLimit
            | Self::KeyValues
            | Self::KeyDurations => Some(""),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("true or false"),
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Seconds => f.write_str("a number of seconds up to 1000000000"),
            Self::Milliseconds => f.write_str("a number of milliseconds up to 1000000000000"),
            Self::Text => f.write_str("any text"),
            Self::Secret => f.write_str("any text, which is never shown"),
            Self::KeyPart => f.write_str("any text without `/`"),
            Self::KeyPrefix => f.write_str("what keys begin with, such as `/calico`"),
            Self::OneOf(words) => write_alternatives(f, words),
            Self::Mask { min_bits } => write!(f, "a 32-bit mask with at least {min_bits} bits set"),
            Self::Hostname => f.write_str("a host name of letters, digits, `_`, `.` and `-`"),
            Self::HostPort => f.write_str("`host:port`"),
            Self::Endpoints => f.write_str("a list of URLs such as `https://host:2379`, all of one scheme"),
            Self::Ipv4 => f.write_str("an IPv4 address"),
            Self::Ipv6 => f.write_str("an IPv6 address"),
            Self::Cidrs => f.write_str("a list of CIDRs"),
            Self::PortRange => f.write_str("a port, or a range such as `1024:2047`"),
            Self::PortRanges => f.write_str("a list of ports and ranges such as `30000:32767`"),
            Self::FailsafePorts => f.write_str(
                "a list of `port`, `protocol:port` or `protocol:net:port`, the protocol tcp or udp",
            ),
            Self::InterfacePrefixes => {
                f.write_str("a list, without spaces, of up to 15 letters, digits, `_` or `-` each")
            }
            Self::InterfaceFilter => f.write_str(
                "an interface name of up to 15 letters, digits, `:`, `.`, `_`, `-`; a last `+` is any rest",
            ),
            Self::InterfacePatterns => f.write_str("a list of interface names and `/regular expressions/`"),
            Self::Regex => f.write_str("a regular expression"),
            Self::RateLimit => {
                write!(f, "a number from 1 to 9999, `/`, and ")?;
                write_alternatives(f, &Self::RATE_UNITS)
            }
            Self::KeyValues => f.write_str("a list of `key=value`"),
            Self::KeyDurations => f.write_str("a list of `key=duration`, such as `name=90s`"),
        }
    }
}

fn write_alternatives(f: &mut fmt::Formatter<'_>, words: &[&str]) -> fmt::Result {
    match words {
        [] => Ok(()),
        [word] => f.write_str(word),
        [first, last] => write!(f, "{first} or {last}"),
        [first, rest @ ..] => {
            write!(f, "{first}, ")?;
            write_alternatives(f, rest)
        }
    }
}

/// Each element in its canonical form, between commas.
fn joined(text: &str, element: impl FnMut(&str) -> Result<String, Refusal>) -> Result<String, Refusal> {
    list(text, element).map(|elements| elements.join(","))
}

fn integer(text: &str, min: i64, max: i64) -> Result<String, Refusal> {
    match number::<i64>(text) {
        Ok(value) if (min..=max).contains(&value) => Ok(value.to_string()),
        _ => Err(refused(text)),
    }
}

/// Up to `longest` ASCII letters, digits and `also`, at least one.
fn only(text: &str, longest: usize, also: &str) -> Result<String, Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
    if !text.is_empty() && text.len() <= longest && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(refused(text))
    }
}

fn host_port(text: &str) -> Result<String, Refusal> {
    match text.split_once(':') {
        Some((host, port)) if !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err(refused(text)),
    }
}

/// Each with a `/` behind it, as etcd's clients want them.
fn endpoints(text: &str) -> Result<String, Refusal> {
    // The first says for all.
    let scheme = if text.starts_with("https:") { "https://" } else { "http://" };
    joined(text, |url| {
        let rest = url.strip_prefix(scheme).ok_or_else(|| refused(url))?;
        let host = rest.strip_suffix('/').unwrap_or(rest);
        authority(host).map(|host| format!("{scheme}{host}/")).map_err(|_| refused(url))
    })
}

fn range(text: &str) -> Result<String, Refusal> {
    port_range(text)
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}:{last}") })
}

fn interface_prefixes(text: &str) -> Result<String, Refusal> {
    // Not `list`: a space or an empty element would make a prefix that nobody meant.
    let prefixes: Result<Vec<_>, _> =
        text.split(',').map(|prefix| only(prefix, Kind::INTERFACE_NAME, "_-")).collect();
    prefixes.map(|prefixes| prefixes.join(","))
}

fn interface_pattern(text: &str) -> Result<String, Refusal> {
    match text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        Some("") => Err(refused(text)),
        Some(regex) => balanced(regex).map(|regex| format!("/{regex}/")).map_err(|_| refused(text)),
        None => only(text, Kind::INTERFACE_NAME, ":._+*-"),
    }
}

/// A regular expression whose brackets close and that does not end in a lone backslash.
fn balanced(text: &str) -> Result<String, Refusal> {
    let mut depth = 0_usize;
    let mut class = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next().ok_or_else(|| refused(text))?;
            }
            ']' => class = false,
            _ if class => {}
            '[' => class = true,
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or_else(|| refused(text))?,
            _ => {}
        }
    }
    if depth == 0 && !class { Ok(text.to_owned()) } else { Err(refused(text)) }
}

fn rate_limit(text: &str) -> Result<String, Refusal> {
    let (count, unit) = text.split_once('/').ok_or_else(|| refused(text))?;
    let counts = count.len() <= 4
        && !count.starts_with('0')
        && !count.is_empty()
        && count.bytes().all(|digit| digit.is_ascii_digit());
    if counts && Kind::RATE_UNITS.contains(&unit) { Ok(text.to_owned()) } else { Err(refused(text)) }
}

fn key_value(text: &str) -> Result<(&str, &str), Refusal> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim(), value.trim())),
        _ => Err(refused(text)),
    }
}

fn key_duration(text: &str) -> Result<String, Refusal> {
    let (key, value) = key_value(text)?;
    go_duration(value).map(|_| format!("{key}={value}")).map_err(|_| refused(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical() {
        let rows: &[(Kind, &str, Option<&str>)] = &[
            (Kind::Boolean, " YES ", Some("true")),
            (Kind::Integer { min: 0, max: 9999 }, "0x10", Some("16")),
            (Kind::Integer { min: 0, max: 9999 }, "10000", None),
            (Kind::Integer { min: 1, max: 9 }, "0", None),
            (Kind::Seconds, "1.5", Some("1.5")),
            (Kind::Seconds, "180.0", Some("180")),
            (Kind::Seconds, "90s", None),
            (Kind::Seconds, "inf", None),
            (Kind::Milliseconds, "garbage", None),
            (Kind::Milliseconds, "1e13", None),
            (Kind::Seconds, "1e9", Some("1000000000")),
            (Kind::Seconds, "10000000000000000000", None),
            (Kind::Text, " as is ", Some(" as is ")),
            (Kind::Secret, " as is ", Some(" as is ")),
            (Kind::KeyPart, " a b ", Some("a b")),
            (Kind::KeyPart, "a/b", None),
            (Kind::KeyPrefix, "/calico/", Some("/calico")),
            (Kind::KeyPrefix, "calico", None),
            (Kind::OneOf(&["insert", "append"]), "Append", Some("append")),
            (Kind::OneOf(&["insert", "append"]), "before", None),
            (Kind::Mask { min_bits: 6 }, "0xFF000000", Some("0xff000000")),
            (Kind::Mask { min_bits: 6 }, "63", Some("0x0000003f")),
            (Kind::Mask { min_bits: 6 }, "0x1f", None),
            (Kind::Hostname, "node-1.example", Some("node-1.example")),
            (Kind::Hostname, "node 1", None),
            (Kind::HostPort, "127.0.0.1:2379", Some("127.0.0.1:2379")),
            (Kind::HostPort, "127.0.0.1", None),
            (Kind::HostPort, "http://a:1", None),
            (
                Kind::Endpoints,
                "http://127.0.0.1:1234, http://host:2345",
                Some("http://127.0.0.1:1234/,http://host:2345/"),
            ),
            (Kind::Endpoints, "http://a:1/,,", Some("http://a:1/")),
            (Kind::Endpoints, "https://a,https://[::1]:1", Some("https://a:2379/,https://[::1]:1/")),
            (Kind::Endpoints, "http://a:1,https://b:1", None),
            (Kind::Endpoints, "http://u@a:1", None),
            (Kind::Endpoints, "http://a:1/path", None),
            (Kind::Endpoints, "a:1", None),
            (Kind::Ipv4, "10.0.0.1", Some("10.0.0.1")),
            (Kind::Ipv4, "::1", None),
            (Kind::Ipv6, "FD00::0:1", Some("fd00::1")),
            (Kind::Cidrs, "10.1.2.3/8, fd00::1", Some("10.0.0.0/8,fd00::1/128")),
            (Kind::Cidrs, "10.0.0.0/8,x", None),
            (Kind::PortRange, "1024:65535", Some("1024:65535")),
            (Kind::PortRanges, "80, 30000:32767", Some("80,30000:32767")),
            (Kind::FailsafePorts, "1,udp:2", Some("tcp:1,udp:2")),
            (Kind::FailsafePorts, "tcp:[::/0]:1", Some("tcp:[::/0]:1")),
            (Kind::FailsafePorts, "foo:1", None),
            (Kind::FailsafePorts, "tcp:10.0.0.0/8:1:2", None),
            (Kind::InterfacePrefixes, "cali,tap", Some("cali,tap")),
            (Kind::InterfacePrefixes, "cali, tap", None),
            (Kind::InterfacePrefixes, "cali,", None),
            (Kind::InterfacePrefixes, "sixteen-letters-", None),
            (Kind::InterfaceFilter, "eth+", Some("eth+")),
            (Kind::InterfaceFilter, "cali@123", None),
            (Kind::InterfacePatterns, "kube-ipvs0,dummy,/^veth.*$/", Some("kube-ipvs0,dummy,/^veth.*$/")),
            (Kind::InterfacePatterns, "kube-ipvs0,//", None),
            (Kind::InterfacePatterns, "/", None),
            (Kind::InterfacePatterns, "/^veth(/", None),
            (Kind::Regex, r"^((en|wl)[Pcops].*|\()$", Some(r"^((en|wl)[Pcops].*|\()$")),
            (Kind::Regex, "a)", None),
            (Kind::Regex, "[a", None),
            (Kind::Regex, "[(]", Some("[(]")),
            (Kind::Regex, "a\\", None),
            (Kind::RateLimit, "9999/hour", Some("9999/hour")),
            (Kind::RateLimit, "0/hour", None),
            (Kind::RateLimit, "10000/hour", None),
            (Kind::RateLimit, "+1/day", None),
            (Kind::RateLimit, "1/week", None),
            (Kind::RateLimit, "1", None),
            (Kind::KeyValues, "a=b, c=", Some("a=b,c=")),
            (Kind::KeyValues, "a", None),
            (Kind::KeyDurations, "a=90s, b=10ms", Some("a=90s,b=10ms")),
            (Kind::KeyDurations, "foo=bar", None),
        ];
        for (kind, text, expected) in rows {
            assert_eq!(kind.canonical(text).ok().as_deref(), *expected, "{kind:?} {text:?}");
        }
    }

    #[test]
    fn the_refused_part_is_named() {
        assert_eq!(Kind::FailsafePorts.canonical("tcp:1,foo:2"), Err(refused("foo:2")));
        assert_eq!(Kind::Cidrs.canonical("10.0.0.0/8,x"), Err(refused("x")));
    }

    #[test]
    fn alternatives() {
        assert_eq!(Kind::OneOf(&["a", "b", "c"]).to_string(), "a, b or c");
        assert_eq!(
            Kind::RateLimit.to_string(),
            "a number from 1 to 9999, `/`, and second, minute, hour or day"
        );
    }
}
