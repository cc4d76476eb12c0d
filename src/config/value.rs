//! Parameter texts read as what they stand for (reference §11.1, §15 rows 97–100).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

/// Why a text is not a value of its parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `none`, where there must be a value.
    None,
    /// The part of the text that was not understood: one element of a list, or all of it.
    Part(String),
}

/// A type whose values are words.
pub(super) trait Choice: Copy + 'static {
    /// The words, in the order in which they are listed to people.
    const WORDS: &'static [&'static str];
    /// What each word stands for.
    const VALUES: &'static [Self];
}

/// Names each variant of an enum; a variant left out stops the build.
macro_rules! choices {
    ($type:ident { $($word:literal => $variant:ident),+ $(,)? }) => {
        impl $crate::config::value::Choice for $type {
            const WORDS: &'static [&'static str] = &[$($word),+];
            const VALUES: &'static [Self] = &[$(Self::$variant),+];
        }

        impl std::fmt::Display for $type {
            /// As the configuration writes it.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $word),+
                })
            }
        }
    };
}
pub(super) use choices;

/// What the word stands for, in any case.
pub(super) fn choice<T: Choice>(text: &str) -> Result<T, Refusal> {
    let named = T::WORDS.iter().zip(T::VALUES).find(|(word, _)| word.eq_ignore_ascii_case(text));
    named.map(|(_, value)| *value).ok_or_else(|| refused(text))
}

/// The word as it is listed, given in any case.
pub(super) fn word(text: &str, words: &[&'static str]) -> Result<&'static str, Refusal> {
    words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied().ok_or_else(|| refused(text))
}

pub(super) fn boolean(text: &str) -> Result<bool, Refusal> {
    const TRUE: [&str; 5] = ["true", "1", "yes", "y", "t"];
    const FALSE: [&str; 5] = ["false", "0", "no", "n", "f"];
    let among = |words: [&str; 5]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match (among(TRUE), among(FALSE)) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        (false, false) => Err(refused(text)),
    }
}

/// A whole number in Go's notation: decimal, `0x…`, `0o…`, `0b…`, or octal behind a leading 0.
pub(super) fn number<T: TryFrom<i64>>(text: &str) -> Result<T, Refusal> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    magnitude(digits)
        .and_then(|value| if negative { value.checked_neg() } else { Some(value) })
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| refused(text))
}

fn magnitude(digits: &str) -> Option<i64> {
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = ["0x", "0o", "0b", "0"]
        .into_iter()
        .zip([16, 8, 2, 8])
        .find_map(|(prefix, radix)| {
            lower.strip_prefix(prefix).filter(|rest| !rest.is_empty()).map(|rest| (rest, radix))
        })
        .unwrap_or((&lower, 10));
    // A second sign would be taken by the standard parser.
    digits.starts_with(|c: char| c.is_digit(radix)).then(|| i64::from_str_radix(digits, radix).ok())?
}

/// A finite decimal number, in the parameter's unit.
pub(super) fn decimal(text: &str) -> Result<f64, Refusal> {
    f64::from_str(text).ok().filter(|value| value.is_finite()).ok_or_else(|| refused(text))
}

/// The longest time that anybody can mean, some 30 years: it can be added to every clock.
const LONGEST: f64 = 1e9;

/// A number of seconds. Time does not run backwards: less than none is none.
pub(super) fn seconds(text: &str) -> Result<Duration, Refusal> {
    duration(text, 1.0)
}

pub(super) fn milliseconds(text: &str) -> Result<Duration, Refusal> {
    duration(text, 1000.0)
}

fn duration(text: &str, in_a_second: f64) -> Result<Duration, Refusal> {
    let seconds = decimal(text)?.max(0.0) / in_a_second;
    match seconds {
        ..=LONGEST => Duration::try_from_secs_f64(seconds).map_err(|_| refused(text)),
        _ => Err(refused(text)),
    }
}

/// Seconds between two times that something is done; None, never, where there are none.
pub(super) fn interval(text: &str) -> Result<Option<Duration>, Refusal> {
    seconds(text).map(|interval| Some(interval).filter(|interval| !interval.is_zero()))
}

/// A duration in Go's notation (`1m30s`, `500ms`), in nanoseconds.
pub(super) fn go_duration(text: &str) -> Result<f64, Refusal> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    // Only zero may stand without its unit.
    if unsigned == "0" {
        return Ok(0.0);
    }
    let mut nanoseconds = 0.0;
    let mut rest = unsigned;
    while let Some((value, behind)) = duration_part(rest) {
        nanoseconds += value;
        rest = behind;
    }
    if unsigned.is_empty() || !rest.is_empty() { Err(refused(text)) } else { Ok(sign * nanoseconds) }
}

/// The first `<number><unit>` in nanoseconds, and what follows it.
fn duration_part(text: &str) -> Option<(f64, &str)> {
    // Longest first among those that begin alike.
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("μs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    let (value, behind) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit() && c != '.')?)?;
    let (unit, rest) = UNITS.iter().find_map(|(unit, ns)| Some((ns, behind.strip_prefix(unit)?)))?;
    Some((f64::from_str(value).ok()? * unit, rest))
}

/// A 32-bit mask with at least `min_bits` bits, in Go's notation.
pub(super) fn mask(text: &str, min_bits: u32) -> Result<u32, Refusal> {
    number::<u32>(text).ok().filter(|mask| mask.count_ones() >= min_bits).ok_or_else(|| refused(text))
}

/// Anything that the standard library or ipnet can read.
pub(super) fn parsed<T: FromStr>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|_| refused(text))
}

/// None where there is no text.
pub(super) fn optional<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, Refusal>,
) -> Result<Option<T>, Refusal> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

/// Elements between commas; spaces around them and empty ones are dropped.
pub(super) fn list<T>(text: &str, read: impl FnMut(&str) -> Result<T, Refusal>) -> Result<Vec<T>, Refusal> {
    text.split(',').map(str::trim).filter(|element| !element.is_empty()).map(read).collect()
}

/// A CIDR without its host bits, or a lone address.
pub(super) fn net(text: &str) -> Result<IpNet, Refusal> {
    let cidr = text.parse::<IpNet>().map(|net| net.trunc());
    cidr.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| refused(text))
}

/// `port` or `first:last`. The kernel has no port 0.
pub(super) fn port_range(text: &str) -> Result<(u16, u16), Refusal> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok((first, last)),
        _ => Err(refused(text)),
    }
}

/// `host:port`, the host a name or an address, an IPv6 address in brackets. Where the port is left out it is etcd's.
pub(super) fn authority(text: &str) -> Result<String, Refusal> {
    const ETCD: u16 = 2379;
    let (host, rest) = host(text).ok_or_else(|| refused(text))?;
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0),
        None => rest.is_empty().then_some(ETCD),
    };
    port.map(|port| format!("{host}:{port}")).ok_or_else(|| refused(text))
}

/// The host as it is written in a URL, and what stands behind it.
fn host(text: &str) -> Option<(String, &str)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        return Some((format!("[{}]", address.parse::<Ipv6Addr>().ok()?), rest));
    }
    let (host, rest) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
    let named = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    (!host.is_empty() && host.chars().all(named)).then(|| (host.to_owned(), rest))
}

/// `/name/…`: what keys begin with, without the `/` before the rest.
pub(super) fn key_prefix(text: &str) -> Result<String, Refusal> {
    let prefix = text.strip_suffix('/').unwrap_or(text);
    let named = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control() || "?#".contains(c))
    };
    let named = prefix.strip_prefix('/').is_some_and(|parts| parts.split('/').all(named));
    if named { Ok(prefix.to_owned()) } else { Err(refused(text)) }
}

/// A port that stays open on hosts whatever the policy says, to or from `net` where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FailsafePort {
    pub(super) protocol: FailsafeProtocol,
    pub(super) net: Option<IpNet>,
    pub(super) port: u16,
}

/// The protocols that the configuration's form of a port can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailsafeProtocol {
    Tcp,
    Udp,
}

choices!(FailsafeProtocol { "tcp" => Tcp, "udp" => Udp });

impl fmt::Display for FailsafePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, net, port } = self;
        match net {
            None => write!(f, "{protocol}:{port}"),
            Some(IpNet::V4(net)) => write!(f, "{protocol}:{net}:{port}"),
            Some(IpNet::V6(net)) => write!(f, "{protocol}:[{net}]:{port}"),
        }
    }
}

/// `port`, `protocol:port`, `protocol:net:port` or `protocol:[net]:port`; without a protocol it is TCP.
pub(super) fn failsafe_port(text: &str) -> Result<FailsafePort, Refusal> {
    failsafe_parts(text)
        .and_then(|(protocol, net, port)| {
            Some(FailsafePort {
                protocol: choice(protocol).ok()?,
                net: net.map(self::net).transpose().ok()?,
                port: port.parse().ok()?,
            })
        })
        .ok_or_else(|| refused(text))
}

fn failsafe_parts(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let Some((protocol, rest)) = text.split_once(':') else {
        return Some(("tcp", None, text));
    };
    if let Some(bracketed) = rest.strip_prefix('[') {
        let (net, port) = bracketed.split_once("]:")?;
        return Some((protocol, Some(net), port));
    }
    match rest.split_once(':') {
        Some((net, port)) => Some((protocol, Some(net), port)),
        None => Some((protocol, None, rest)),
    }
}

/// The error for a text that was not understood.
pub(super) fn refused(text: &str) -> Refusal {
    Refusal::Part(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for text in ["true", "1", "yes", "y", "t", "TRUE", "Yes", "T"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["false", "0", "no", "n", "f", "FALSE", "No", "F"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "on", "2", "yess"] {
            assert_eq!(boolean(text), Err(refused(text)), "{text}");
        }
    }

    #[test]
    fn numbers() {
        let rows = [
            ("0", Some(0)),
            ("17", Some(17)),
            ("-3", Some(-3)),
            ("+3", Some(3)),
            ("0x1F", Some(31)),
            ("0XFFFF0000", Some(0xffff_0000)),
            ("017", Some(15)),
            ("0o17", Some(15)),
            ("0b101", Some(5)),
            ("", None),
            ("-", None),
            ("--1", None),
            ("0x-1", None),
            ("0x", None),
            ("08", None),
            ("1.5", None),
            ("1_000", None),
            ("9223372036854775808", None),
        ];
        for (text, expected) in rows {
            assert_eq!(number::<i64>(text).ok(), expected, "{text}");
        }
        assert_eq!(number::<u16>("65536"), Err(refused("65536")));
    }

    #[test]
    fn durations() {
        let rows = [
            ("90s", Some(90e9)),
            ("1m30s", Some(90e9)),
            ("500ms", Some(500e6)),
            ("1.5h", Some(5400e9)),
            ("250us", Some(250e3)),
            ("250µs", Some(250e3)),
            ("7ns", Some(7.0)),
            ("0", Some(0.0)),
            ("0s", Some(0.0)),
            ("-2s", Some(-2e9)),
            ("90", None),
            ("s", None),
            ("", None),
            ("1m30", None),
            ("1..5s", None),
            ("1d", None),
        ];
        for (text, expected) in rows {
            assert_eq!(go_duration(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn spans_of_time() {
        for (text, expected) in
            [("1.5", Some(Some(1500))), ("0", Some(None)), ("-3", Some(None)), ("1e30", None), ("soon", None)]
        {
            let expected = expected.map(|ms| ms.map(Duration::from_millis));
            assert_eq!(interval(text).ok(), expected, "{text}");
        }
        assert_eq!(milliseconds("50"), Ok(Duration::from_millis(50)));
    }

    #[test]
    fn masks() {
        assert_eq!(mask("0xffff0000", 6), Ok(0xffff_0000));
        assert_eq!(mask("0x3f", 6), Ok(0x3f));
        assert_eq!(mask("63", 6), Ok(0x3f));
        for text in ["0x1f", "0", "0x1ffffffff", "-1", "ffff0000"] {
            assert_eq!(mask(text, 6), Err(refused(text)), "{text}");
        }
    }

    #[test]
    fn failsafe_ports() {
        let rows = [
            ("1", Some("tcp:1")),
            ("udp:2", Some("udp:2")),
            ("UDP:2", Some("udp:2")),
            ("tcp:10.0.0.0/8:22", Some("tcp:10.0.0.0/8:22")),
            ("tcp:10.0.0.1:22", Some("tcp:10.0.0.1/32:22")),
            ("tcp:[::/0]:1", Some("tcp:[::/0]:1")),
            ("foo:1", None),
            ("sctp:1", None),
            ("tcp:a:b:1", None),
            ("tcp:10.0.0.0/8:22:1", None),
            ("tcp:fe80::1:22", None),
            ("tcp:", None),
            ("65536", None),
            ("-1", None),
        ];
        for (text, expected) in rows {
            let read = failsafe_port(text).map(|port| port.to_string());
            assert_eq!(read.ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn where_servers_listen() {
        let rows = [
            ("a", Some("a:2379")),
            ("etcd-1.example.org:1", Some("etcd-1.example.org:1")),
            ("10.0.0.1:65535", Some("10.0.0.1:65535")),
            ("[FD00::0:1]", Some("[fd00::1]:2379")),
            ("[::1]:1", Some("[::1]:1")),
            ("", None),
            (":1", None),
            ("a:", None),
            ("a:0", None),
            ("a:65536", None),
            ("a:1:2", None),
            ("a b", None),
            ("u@a", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[a]:1", None),
        ];
        for (text, expected) in rows {
            assert_eq!(authority(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn prefixes_of_keys() {
        for (text, expected) in [
            ("/calico", Some("/calico")),
            ("/a/b/", Some("/a/b")),
            ("calico", None),
            ("/", None),
            ("", None),
            ("/a//b", None),
            ("/a b", None),
        ] {
            assert_eq!(key_prefix(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn port_ranges() {
        assert_eq!(port_range("80"), Ok((80, 80)));
        assert_eq!(port_range("1024:65535"), Ok((1024, 65535)));
        for text in ["", "0", "0:5", "9:8", "1:2:3", "1-2", "http"] {
            assert_eq!(port_range(text), Err(refused(text)), "{text}");
        }
    }

    #[test]
    fn nets() {
        assert_eq!(net("10.1.2.3/8").map(|net| net.to_string()), Ok("10.0.0.0/8".to_owned()));
        assert_eq!(net("10.1.2.3").map(|net| net.to_string()), Ok("10.1.2.3/32".to_owned()));
        assert_eq!(net("fd00::1").map(|net| net.to_string()), Ok("fd00::1/128".to_owned()));
        assert_eq!(net("10.0.0.0/33"), Err(refused("10.0.0.0/33")));
    }
}
