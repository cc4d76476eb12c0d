//! Sets of payloads: protocols, and of each the ports or ICMP types and codes, without listing them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use crate::model::{IpVersion, PortRange};
use crate::verdict::packet::{ConnState, Payload, protocol_name};

/// A set of [`Payload`]s of one family. Equal sets are equal values.
///
/// Each protocol has a plane: source port by destination port, ICMP type by code, or a single point. Rules cut planes into
/// rectangles, so that whatever many ports a policy names, a set is as long as what it tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Services {
    version: IpVersion,
    /// Of protocols that are neither as all the others nor like them.
    planes: BTreeMap<u8, Plane>,
    /// Whether all other protocols are in, whole.
    others: bool,
}

/// Slabs from left to right, which neither touch with the same contents nor are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Plane(Vec<Slab>);

/// All `x` from first to last have the same `y`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Slab {
    x: (u16, u16),
    /// Ranges that neither overlap nor touch, in order; at least one.
    y: Vec<(u16, u16)>,
}

impl Services {
    pub fn none(version: IpVersion) -> Self {
        Self { version, planes: BTreeMap::new(), others: false }
    }

    pub fn all(version: IpVersion) -> Self {
        Self { version, planes: BTreeMap::new(), others: true }
    }

    /// All of one protocol.
    pub fn protocol(version: IpVersion, protocol: u8) -> Self {
        Self::rectangle(version, protocol, FULL, FULL)
    }

    /// Source and destination ports from first to last of one protocol, or ICMP types and codes.
    pub fn rectangle(version: IpVersion, protocol: u8, x: (u16, u16), y: (u16, u16)) -> Self {
        let last = last_of(version, protocol);
        let cut = |(first, end): (u16, u16)| (first <= last).then_some((first, end.min(last)));
        let plane = cut(x).zip(cut(y)).map(|(x, y)| Plane(vec![Slab { x, y: vec![y] }]));
        let planes = plane.into_iter().map(|plane| (protocol, plane)).collect();
        Self { version, planes, others: false }
    }

    /// Destination ports of a protocol, whatever the source port.
    pub fn to_ports(version: IpVersion, protocol: u8, PortRange { first, last }: PortRange) -> Self {
        Self::rectangle(version, protocol, FULL, (first, last))
    }

    /// Source ports of a protocol, whatever the destination port.
    pub fn from_ports(version: IpVersion, protocol: u8, PortRange { first, last }: PortRange) -> Self {
        Self::rectangle(version, protocol, (first, last), FULL)
    }

    /// An ICMP type, with one code or all.
    pub fn icmp(version: IpVersion, icmp_type: u8, code: Option<u8>) -> Self {
        let icmp_type = (icmp_type.into(), icmp_type.into());
        let codes = code.map_or(FULL, |code| (code.into(), code.into()));
        Self::rectangle(version, Payload::icmp_of(version), icmp_type, codes)
    }

    /// What connection tracking finds invalid as a connection's first packet.
    pub fn never_first(version: IpVersion) -> Self {
        let icmp = (0..=u8::MAX)
            .map(|icmp_type| (Payload::Icmp { icmp_type, code: 0 }, Self::icmp(version, icmp_type, None)));
        let others = [1, 58].map(|protocol| (Payload::Other { protocol }, Self::protocol(version, protocol)));
        let others =
            others.into_iter().filter(|(payload, _)| payload.protocol(version) != Payload::icmp_of(version));
        let invalid = icmp
            .chain(others)
            .filter(|(payload, _)| ConnState::first(version, *payload) == ConnState::Invalid);
        invalid.fold(Self::none(version), |all, (_, one)| all.or(&one))
    }

    /// In words, for a set of connections' first packets: what can't be one is left out of sight where nearly all is in.
    pub fn told(&self) -> String {
        if self.others { self.or(&Self::never_first(self.version)).to_string() } else { self.to_string() }
    }

    /// The family that the payloads are of.
    pub fn version(&self) -> IpVersion {
        self.version
    }

    pub fn is_empty(&self) -> bool {
        !self.others && self.planes.is_empty()
    }

    pub fn contains(&self, payload: Payload) -> bool {
        let (protocol, x, y) = match payload {
            Payload::Ports { protocol, source, destination } => (protocol, source, destination),
            Payload::Icmp { icmp_type, code } => {
                (Payload::icmp_of(self.version), icmp_type.into(), code.into())
            }
            Payload::Other { protocol } => (protocol, 0, 0),
        };
        match self.planes.get(&protocol) {
            Some(Plane(slabs)) => slabs.iter().any(|slab| {
                (slab.x.0..=slab.x.1).contains(&x)
                    && slab.y.iter().any(|(first, last)| (*first..=*last).contains(&y))
            }),
            None => self.others,
        }
    }

    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && b)
    }

    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a || b)
    }

    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a && !b)
    }

    /// One payload of the set: one that looks like a packet's, if there is one.
    pub fn example(&self) -> Option<Payload> {
        let icmp = Payload::icmp_of(self.version);
        let echo_request = match self.version {
            IpVersion::V4 => Payload::Icmp { icmp_type: 8, code: 0 },
            IpVersion::V6 => Payload::Icmp { icmp_type: 128, code: 0 },
        };
        let http = |protocol| Payload::Ports { protocol, source: EPHEMERAL, destination: HTTP };
        let usual = [http(6), http(17), echo_request, http(132)].into_iter();
        usual.filter(|payload| self.contains(*payload)).chain(self.corner([6, 17, icmp])).next()
    }

    /// The first payload of one of the protocols, or else of any.
    fn corner(&self, first: [u8; 3]) -> Option<Payload> {
        let named = first.into_iter().chain(self.planes.keys().copied());
        let any = (0..=u8::MAX).filter(|_| self.others);
        named.chain(any).find_map(|protocol| {
            let Plane(slabs) = self.plane(protocol);
            let has_ephemeral = |slab: &&Slab| (slab.x.0..=slab.x.1).contains(&EPHEMERAL);
            let slab = slabs.iter().find(has_ephemeral).or(slabs.first())?;
            let x = if has_ephemeral(&slab) { EPHEMERAL } else { slab.x.0 };
            let y = slab.y.first()?.0;
            // In ICMP's plane both are small.
            let icmp = (u8::try_from(slab.x.0).unwrap_or_default(), u8::try_from(y).unwrap_or_default());
            Some(Payload::new(self.version, protocol, (x, y), icmp))
        })
    }

    /// Both sets are of one family, and neither in both nor in neither is in the result's complement: `keep(false, false)`
    /// is false.
    fn combine(&self, other: &Self, keep: fn(bool, bool) -> bool) -> Self {
        let others = keep(self.others, other.others);
        let protocols: BTreeSet<u8> = self.planes.keys().chain(other.planes.keys()).copied().collect();
        let mut planes = BTreeMap::new();
        for protocol in protocols {
            let plane = self.plane(protocol).combine(&other.plane(protocol), keep);
            // What is as all the others needs no mention.
            if plane != Plane::whole(self.version, protocol, others) {
                planes.insert(protocol, plane);
            }
        }
        Self { version: self.version, planes, others }
    }

    fn plane(&self, protocol: u8) -> Plane {
        let known = self.planes.get(&protocol).cloned();
        known.unwrap_or_else(|| Plane::whole(self.version, protocol, self.others))
    }
}

const FULL: (u16, u16) = (0, u16::MAX);
const EPHEMERAL: u16 = 49_152;
const HTTP: u16 = 80;

/// The last port, ICMP type or code; a protocol without any of these has a single point, 0.
fn last_of(version: IpVersion, protocol: u8) -> u16 {
    if Payload::PORT_PROTOCOLS.contains(&protocol) {
        u16::MAX
    } else if protocol == Payload::icmp_of(version) {
        u8::MAX.into()
    } else {
        0
    }
}

impl Plane {
    /// All of a protocol, or nothing.
    fn whole(version: IpVersion, protocol: u8, full: bool) -> Self {
        let last = last_of(version, protocol);
        let slab = full.then(|| Slab { x: (0, last), y: vec![(0, last)] });
        Self(slab.into_iter().collect())
    }

    fn combine(&self, other: &Self, keep: fn(bool, bool) -> bool) -> Self {
        let ranges = self.0.iter().chain(&other.0).map(|slab| slab.x);
        let mut combined: Vec<Slab> = Vec::new();
        for x in elementary(ranges) {
            let y = combine_ranges(self.at(x.0), other.at(x.0), keep);
            if y.is_empty() {
                continue;
            }
            match combined.last_mut() {
                Some(last) if last.x.1.checked_add(1) == Some(x.0) && last.y == y => last.x.1 = x.1,
                _ => combined.push(Slab { x, y }),
            }
        }
        Self(combined)
    }

    fn at(&self, x: u16) -> &[(u16, u16)] {
        let slab = self.0.iter().find(|slab| (slab.x.0..=slab.x.1).contains(&x));
        slab.map_or(&[], |slab| &slab.y)
    }
}

fn combine_ranges(a: &[(u16, u16)], b: &[(u16, u16)], keep: fn(bool, bool) -> bool) -> Vec<(u16, u16)> {
    let has = |ranges: &[(u16, u16)], at| ranges.iter().any(|(first, last)| (*first..=*last).contains(&at));
    let mut combined: Vec<(u16, u16)> = Vec::new();
    for (first, last) in elementary(a.iter().chain(b).copied()) {
        if !keep(has(a, first), has(b, first)) {
            continue;
        }
        match combined.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
            _ => combined.push((first, last)),
        }
    }
    combined
}

/// The ranges cut at each other's ends, in order; what lies in none is left out or a piece of its own.
fn elementary(ranges: impl Iterator<Item = (u16, u16)>) -> Vec<(u16, u16)> {
    // Where a piece begins: one more than a u16 holds marks the end.
    let mut begins: Vec<u32> =
        ranges.flat_map(|(first, last)| [u32::from(first), u32::from(last) + 1]).collect();
    begins.sort_unstable();
    begins.dedup();
    let ends = begins.iter().skip(1);
    let pieces =
        begins.iter().zip(ends).map(|(first, next)| (u16::try_from(*first), u16::try_from(next - 1)));
    pieces.filter_map(|(first, last)| Some((first.ok()?, last.ok()?))).collect()
}

impl Display for Services {
    /// For people: `tcp 80, 443; icmp type 8; all other protocols`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.planes.is_empty() {
            return f.write_str(if self.others { "all protocols" } else { "nothing" });
        }
        let mut parts: Vec<String> = Vec::new();
        for (protocol, plane) in &self.planes {
            let name = protocol_name(*protocol).map_or_else(|| format!("protocol {protocol}"), str::to_owned);
            let whole = *plane == Plane::whole(self.version, *protocol, true);
            match (plane.0.as_slice(), whole) {
                ([], _) => {}
                (_, true) => parts.push(name),
                (slabs, false) => {
                    parts.extend(slabs.iter().map(|slab| self.slab_text(*protocol, &name, slab)))
                }
            }
        }
        if self.others {
            let left_out = self.planes.iter().filter(|(_, plane)| plane.0.is_empty());
            let left_out: Vec<String> = left_out
                .map(|(protocol, _)| {
                    protocol_name(*protocol).map_or_else(|| protocol.to_string(), str::to_owned)
                })
                .collect();
            let except =
                if left_out.is_empty() { String::new() } else { format!(" but {}", left_out.join(", ")) };
            let other = if parts.is_empty() { "" } else { "other " };
            parts.push(format!("all {other}protocols{except}"));
        }
        f.write_str(&parts.join("; "))
    }
}

impl Services {
    fn slab_text(&self, protocol: u8, name: &str, Slab { x, y }: &Slab) -> String {
        let last = last_of(self.version, protocol);
        let range = |(first, end): &(u16, u16)| {
            if first == end { first.to_string() } else { format!("{first}-{end}") }
        };
        let whole = |ranges: &[(u16, u16)]| ranges == [(0, last)];
        let y_text = y.iter().map(range).collect::<Vec<_>>().join(", ");
        if last == u16::from(u8::MAX) {
            let codes = if whole(y) { String::new() } else { format!(" code {y_text}") };
            return format!("{name} type {}{codes}", range(x));
        }
        let from = if whole(&[*x]) { String::new() } else { format!(" from port {}", range(x)) };
        let to = if whole(y) { String::new() } else { format!(" {y_text}") };
        format!("{name}{to}{from}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V4: IpVersion = IpVersion::V4;

    fn to(protocol: u8, first: u16, last: u16) -> Services {
        Services::to_ports(V4, protocol, PortRange { first, last })
    }

    #[test]
    fn sets_read_as_people_write_them() {
        let all = Services::all(V4);
        for (services, text) in [
            (Services::none(V4), "nothing"),
            (all.clone(), "all protocols"),
            (to(6, 80, 80).or(&to(6, 443, 443)), "tcp 80, 443"),
            (to(6, 80, 80).or(&to(6, 81, 90)), "tcp 80-90"),
            (Services::protocol(V4, 6), "tcp"),
            (all.minus(&Services::protocol(V4, 6)), "all protocols but tcp"),
            (all.minus(&to(6, 80, 80)), "tcp 0-79, 81-65535; all other protocols"),
            (Services::icmp(V4, 8, None), "icmp type 8"),
            (Services::icmp(V4, 3, Some(1)), "icmp type 3 code 1"),
            (Services::from_ports(V4, 17, PortRange { first: 53, last: 53 }), "udp from port 53"),
            (Services::protocol(V4, 47).or(&to(17, 53, 53)), "udp 53; gre"),
        ] {
            assert_eq!(services.to_string(), text);
        }
    }

    #[test]
    fn what_is_the_same_set_is_the_same_value() {
        let all = Services::all(V4);
        let tcp = Services::protocol(V4, 6);
        assert_eq!(tcp.minus(&to(6, 80, 80)).or(&to(6, 80, 80)), tcp);
        assert_eq!(all.minus(&tcp).or(&tcp), all);
        assert_eq!(all.minus(&all), Services::none(V4));
        assert_eq!(to(6, 0, 79).or(&to(6, 80, u16::MAX)), tcp);
    }

    fn services() -> impl Strategy<Value = Services> {
        let range = || (0_u16..5, 0_u16..5).prop_map(|(a, b)| (a.min(b), a.max(b)));
        let part = prop_oneof![
            (prop_oneof![Just(6_u8), Just(17), Just(1)], range(), range())
                .prop_map(|(protocol, x, y)| Services::rectangle(V4, protocol, x, y)),
            Just(Services::protocol(V4, 47)),
            Just(Services::protocol(V4, 6)),
            Just(Services::all(V4)),
        ];
        (part.clone(), part.clone(), part, any::<bool>())
            .prop_map(|(a, b, c, or)| if or { a.or(&b).minus(&c) } else { a.minus(&b).or(&c) })
    }

    fn payload() -> impl Strategy<Value = Payload> {
        let protocol = prop_oneof![Just(6_u8), Just(17), Just(1), Just(47), Just(99)];
        (protocol, 0_u16..6, 0_u16..6, 0_u8..6, 0_u8..6)
            .prop_map(|(protocol, x, y, a, b)| Payload::new(V4, protocol, (x, y), (a, b)))
    }

    proptest! {
        #[test]
        fn operations_are_those_of_sets(a in services(), b in services(), payload in payload()) {
            let (in_a, in_b) = (a.contains(payload), b.contains(payload));
            prop_assert_eq!(a.and(&b).contains(payload), in_a && in_b);
            prop_assert_eq!(a.or(&b).contains(payload), in_a || in_b);
            prop_assert_eq!(a.minus(&b).contains(payload), in_a && !in_b);
        }

        #[test]
        fn an_example_is_in_the_set(a in services()) {
            match a.example() {
                Some(payload) => prop_assert!(a.contains(payload)),
                None => prop_assert!(a.is_empty()),
            }
        }
    }
}
