//! Single values: numbers, addresses, words of a fixed choice.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::fields::Mistake;
use crate::config::nearest;
use crate::datastore::Scalar;
use crate::model::{IpVersion, Order};

/// Any text.
pub(super) fn text(scalar: &Scalar) -> Result<Arc<str>, Mistake> {
    Ok(Arc::from(&*scalar.text))
}

/// `true` or `false`, not quoted; YAML 1.1's other spellings too, as calicoctl reads them.
pub(super) fn boolean(scalar: &Scalar) -> Result<bool, Mistake> {
    let mistake = || Mistake::value(format!("`{}` is neither true nor false", scalar.text), "true or false");
    if !scalar.plain {
        return Err(mistake().help("write it without quotes"));
    }
    match scalar.text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(mistake()),
    }
}

/// A policy's or tier's order: a finite number, not quoted.
pub(super) fn order(scalar: &Scalar) -> Result<Order, Mistake> {
    let mistake = || Mistake::value(format!("`{}` is not a number", scalar.text), "a number");
    let order = scalar.text.parse::<f64>().ok().filter(|order| order.is_finite()).and_then(Order::new);
    match order {
        Some(order) if scalar.plain => Ok(order),
        Some(_) => Err(mistake().help("write it without quotes")),
        None => Err(mistake().help("leave `order` out to come last")),
    }
}

/// A whole number within `range`, not quoted.
pub(super) fn integer(range: RangeInclusive<u64>) -> impl Fn(&Scalar) -> Result<u64, Mistake> {
    move |scalar| {
        let number = decimal(&scalar.text).filter(|number| scalar.plain && range.contains(number));
        number.ok_or_else(|| {
            Mistake::value(
                format!("`{}` is not a number from {} to {}", scalar.text, range.start(), range.end()),
                format!("{} to {}", range.start(), range.end()),
            )
        })
    }
}

/// A `u8` within `range`.
pub(super) fn byte(range: RangeInclusive<u8>) -> impl Fn(&Scalar) -> Result<u8, Mistake> {
    let read = integer(u64::from(*range.start())..=u64::from(*range.end()));
    move |scalar| read(scalar).map(|number| u8::try_from(number).unwrap_or(u8::MAX))
}

/// Digits alone, without a leading zero (which some readers take for octal).
pub(super) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && (text.len() == 1 || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
}

/// 4 or 6.
pub(super) fn ip_version(scalar: &Scalar) -> Result<IpVersion, Mistake> {
    match (scalar.plain, &*scalar.text) {
        (true, "4") => Ok(IpVersion::V4),
        (true, "6") => Ok(IpVersion::V6),
        (true | false, text) => Err(Mistake::value(format!("`{text}` is not an IP version"), "4 or 6")),
    }
}

/// One of some words, exactly as they are written here.
pub(super) fn choice<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&Scalar) -> Result<T, Mistake> {
    move |scalar| {
        let found = choices.iter().find(|(word, _)| *word == &*scalar.text);
        found.map(|&(_, value)| value).ok_or_else(|| unknown_word(&scalar.text, choices))
    }
}

fn unknown_word<T>(text: &str, choices: &[(&'static str, T)]) -> Mistake {
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
    let mistake = Mistake::value(format!("`{text}` is not known"), format!("one of {}", words.join(", ")));
    match nearest(text, choices.iter().map(|&(word, _)| word)) {
        Some(word) => mistake.help(format!("did you mean `{word}`?")),
        None => mistake,
    }
}

/// An address of either family.
pub(super) fn address(scalar: &Scalar) -> Result<IpAddr, Mistake> {
    parse_address(&scalar.text)
}

pub(super) fn ipv4_address(scalar: &Scalar) -> Result<Ipv4Addr, Mistake> {
    match parse_address(&scalar.text)? {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(Mistake::value(format!("`{}` is not an IPv4 address", scalar.text), "IPv6")),
    }
}

// The standard reader refuses octets such as `010`, which ipnet takes and others read as octal.
fn parse_address(text: &str) -> Result<IpAddr, Mistake> {
    text.parse().map_err(|_| {
        let mistake = Mistake::value(format!("`{text}` is not an IP address"), "an IPv4 or IPv6 address");
        if text.split('.').any(|octet| octet.len() > 1 && octet.starts_with('0')) && !text.contains(':') {
            mistake.help("write numbers without leading zeros")
        } else {
            mistake
        }
    })
}

/// A CIDR or an address, with the host bits that it was written with.
pub(super) fn net_as_written(scalar: &Scalar) -> Result<IpNet, Mistake> {
    let Some((address, length)) = scalar.text.split_once('/') else {
        return parse_address(&scalar.text).map(IpNet::from);
    };
    let address = parse_address(address)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    decimal(length)
        .and_then(|length| u8::try_from(length).ok())
        .and_then(|length| IpNet::new(address, length).ok())
        .ok_or_else(|| {
            Mistake::value(
                format!("`{}` has no valid prefix length", scalar.text),
                format!("a prefix length from 0 to {longest}"),
            )
        })
}

/// A CIDR or an address, masked.
pub(super) fn net(scalar: &Scalar) -> Result<IpNet, Mistake> {
    net_as_written(scalar).map(|net| net.trunc())
}

/// A CIDR or an address; host bits are a mistake.
pub(super) fn masked_net(scalar: &Scalar) -> Result<IpNet, Mistake> {
    let written = net_as_written(scalar)?;
    let masked = written.trunc();
    if written == masked {
        return Ok(masked);
    }
    Err(Mistake::value(
        format!("`{}` has bits set behind its prefix", scalar.text),
        format!("the network is {masked}"),
    )
    .help(format!(
        "write `{masked}` for the network or `{}` for the one address",
        IpNet::from(written.addr())
    )))
}

/// A single address, written as `/32` or `/128` or without a length.
pub(super) fn host_net(scalar: &Scalar) -> Result<IpNet, Mistake> {
    let net = net_as_written(scalar)?;
    if net.prefix_len() == net.max_prefix_len() {
        return Ok(net);
    }
    Err(Mistake::value(
        format!("`{}` is more than one address", scalar.text),
        format!("a single address, /{}", net.max_prefix_len()),
    ))
}

/// Six bytes in hexadecimal; printed with colons in lower case.
pub(super) fn mac(scalar: &Scalar) -> Result<Arc<str>, Mistake> {
    let parts: Vec<&str> = scalar.text.split([':', '-']).collect();
    let valid = parts.len() == 6
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if valid {
        Ok(parts.join(":").to_ascii_lowercase().into())
    } else {
        Err(Mistake::value(
            format!("`{}` is not a MAC address", scalar.text),
            "six bytes such as ee:ee:ee:ee:ee:ee",
        ))
    }
}

/// The family of an address range.
pub(super) fn version_of(net: &IpNet) -> IpVersion {
    match net {
        IpNet::V4(_) => IpVersion::V4,
        IpNet::V6(_) => IpVersion::V6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar { text: text.into(), plain: true }
    }

    #[test]
    fn nets() {
        for (text, net) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.1.2.3", Some("10.1.2.3/32")),
            ("10.1.2.3/16", Some("10.1.0.0/16")),
            ("feed:beef:0::/32", Some("feed:beef::/32")),
            ("::", Some("::/128")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("010.0.0.1", None),
            ("10.0.0.0/33", None),
            ("fe80::/129", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/08", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/8/8", None),
            ("/8", None),
            ("10.0.0", None),
            ("fe80::1%eth0", None),
            ("", None),
        ] {
            assert_eq!(super::net(&plain(text)).ok().map(|net| net.to_string()).as_deref(), net, "{text}");
        }
    }

    #[test]
    fn host_bits() {
        assert!(masked_net(&plain("10.0.0.0/8")).is_ok());
        let mistake = masked_net(&plain("10.0.0.1/8")).unwrap_err();
        assert_eq!(
            mistake.help.unwrap(),
            "write `10.0.0.0/8` for the network or `10.0.0.1/32` for the one address"
        );
        assert!(host_net(&plain("10.0.0.1/31")).is_err());
        assert!(host_net(&plain("fe80::1/128")).is_ok());
    }

    #[test]
    fn orders() {
        for (text, is_order) in [
            ("10", true),
            ("-1.5", true),
            ("1e3", true),
            ("nan", false),
            (".inf", false),
            ("inf", false),
            ("1e999", false),
            ("default", false),
            ("", false),
        ] {
            assert_eq!(order(&plain(text)).is_ok(), is_order, "{text}");
        }
        assert!(order(&Scalar { text: "10".into(), plain: false }).is_err());
    }

    #[test]
    fn booleans() {
        for (text, value) in [("true", Some(true)), ("No", Some(false)), ("1", None), ("maybe", None)] {
            assert_eq!(boolean(&plain(text)).ok(), value, "{text}");
        }
        assert!(boolean(&Scalar { text: "true".into(), plain: false }).is_err());
    }

    #[test]
    fn macs() {
        assert_eq!(&*mac(&plain("EE-ee-00-11-22-33")).unwrap(), "ee:ee:00:11:22:33");
        for text in ["", "ee:ee", "ee:ee:ee:ee:ee:gg", "ee:ee:ee:ee:ee:ee:ee", "+e:ee:ee:ee:ee:ee"] {
            assert!(mac(&plain(text)).is_err(), "{text}");
        }
    }
}
