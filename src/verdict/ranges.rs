//! Addresses as ranges that neither overlap nor touch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::model::IpVersion;

/// A set of addresses of one family, as numbers: sorted, each range's ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRanges(Vec<(u128, u128)>);

impl AddressRanges {
    /// All addresses of `nets`, which are of one family.
    pub fn of(nets: impl IntoIterator<Item = IpNet>) -> Self {
        Self::from_ranges(nets.into_iter().map(|net| (number(net.network()), number(net.broadcast()))))
    }

    /// All numbers of `ranges`, in any order.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut ranges: Vec<(u128, u128)> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.contains_number(number(address))
    }

    pub fn contains_number(&self, number: u128) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= number);
        behind.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| number <= *last)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// First and last of each range, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u128, u128)> {
        self.0.iter().copied()
    }
}

/// An address as a number.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number; None where the family has none such.
pub fn address(version: IpVersion, number: u128) -> Option<IpAddr> {
    match version {
        IpVersion::V4 => Some(IpAddr::V4(Ipv4Addr::from(u32::try_from(number).ok()?))),
        IpVersion::V6 => Some(IpAddr::V6(Ipv6Addr::from(number))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_where_they_meet() {
        for (nets, expected) in [
            ("", &[][..]),
            ("10.0.0.1/32", &[(0x0a00_0001, 0x0a00_0001)]),
            ("10.0.0.1/32 10.0.0.0/32", &[(0x0a00_0000, 0x0a00_0001)]),
            (
                "10.0.0.0/24 10.0.0.7/32 10.0.2.0/24",
                &[(0x0a00_0000, 0x0a00_00ff), (0x0a00_0200, 0x0a00_02ff)],
            ),
            ("0.0.0.0/1 128.0.0.0/1", &[(0, 0xffff_ffff)]),
            ("::/1 8000::/1", &[(0, u128::MAX)]),
        ] {
            let ranges = AddressRanges::of(nets.split_whitespace().map(|net| net.parse().unwrap()));
            assert_eq!(ranges.iter().collect::<Vec<_>>(), expected, "{nets}");
        }
    }

    #[test]
    fn addresses_are_found_up_to_both_ends() {
        let ranges = AddressRanges::of(["10.0.1.0/24", "10.0.3.0/24"].map(|net| net.parse().unwrap()));
        for (address, inside) in [
            ("10.0.0.255", false),
            ("10.0.1.0", true),
            ("10.0.1.255", true),
            ("10.0.2.0", false),
            ("10.0.3.1", true),
            ("10.0.4.0", false),
        ] {
            assert_eq!(ranges.contains(address.parse().unwrap()), inside, "{address}");
        }
    }
}
