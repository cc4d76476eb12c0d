//! What is known of the host's interfaces.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use super::route_set::Hop;

/// The interfaces of a host, and the ways that it has without us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uplinks {
    /// Those of workloads, too.
    pub links: Vec<Link>,
    /// These are all. Where nobody looked, an interface that is not among them counts as up, and the host's own
    /// address as being on one whose name is not known.
    pub complete: bool,
    /// Routes of others in the main table; one a destination.
    pub gateways: Vec<Gateway>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub name: Arc<str>,
    /// As the kernel counts: of two interfaces the higher one came later.
    pub index: u32,
    pub up: bool,
    pub mtu: Option<u32>,
    /// Each with the length of its subnet.
    pub addresses: Vec<IpNet>,
}

/// A route that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub destination: IpNet,
    /// None: it leads nowhere.
    pub hops: Vec<Hop>,
}

/// An interface that somebody names where nobody looks:
/// `NAME=ADDRESS/LENGTH[,…][,mtu=N][,via=ROUTER][,to=NETWORK[@ROUTER]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    link: Link,
    /// By destination.
    hops: Vec<(IpNet, Hop)>,
}

/// What of such a text was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TellingError {
    part: String,
    expected: &'static str,
}

impl Uplinks {
    /// These, and nothing is known of others. Several routers for one destination are used side by side.
    pub fn told(all: &[Told]) -> Self {
        let mut hops: BTreeMap<IpNet, Vec<Hop>> = BTreeMap::new();
        for (destination, hop) in all.iter().flat_map(|told| &told.hops) {
            hops.entry(*destination).or_default().push(hop.clone());
        }
        Self {
            links: all.iter().map(|told| told.link.clone()).collect(),
            complete: false,
            gateways: hops.into_iter().map(|(destination, hops)| Gateway { destination, hops }).collect(),
        }
    }
}

impl FromStr for Told {
    type Err = TellingError;

    fn from_str(text: &str) -> Result<Self, TellingError> {
        let (name, rest) = text
            .split_once('=')
            .ok_or_else(|| refused(text, "a name, `=` and an address with its length"))?;
        // The kernel's limit, and what would end the name in a command.
        if name.is_empty() || name.len() > 15 || name.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(refused(name, "an interface's name of 1 to 15 bytes"));
        }
        let name: Arc<str> = name.into();
        let mut link = Link { name: Arc::clone(&name), index: 0, up: true, mtu: None, addresses: Vec::new() };
        let mut hops = Vec::new();
        for part in rest.split(',') {
            match part.split_once('=') {
                Some(("mtu", mtu)) => {
                    link.mtu = Some(mtu.parse().map_err(|_| refused(part, "an MTU, as in `mtu=1500`"))?);
                }
                Some(("via", router)) => {
                    let gateway: IpAddr = router
                        .parse()
                        .map_err(|_| refused(part, "a router's address, as in `via=10.0.0.1`"))?;
                    hops.push((everything(gateway), hop(&name, Some(gateway))));
                }
                Some(("to", route)) => {
                    let (destination, gateway) = told_route(route).ok_or_else(|| {
                        refused(
                            part,
                            "a network and its router, as in `to=10.8.0.0/16@10.0.0.1` or `to=10.8.0.2/32`",
                        )
                    })?;
                    hops.push((destination, hop(&name, gateway)));
                }
                Some(_) => return Err(refused(part, "`mtu=…`, `via=…` or `to=…`")),
                None => link.addresses.push(
                    part.parse()
                        .map_err(|_| refused(part, "an address with its length, as in `10.0.0.5/24`"))?,
                ),
            }
        }
        Ok(Self { link, hops })
    }
}

/// `NETWORK[@ROUTER]`
fn told_route(text: &str) -> Option<(IpNet, Option<IpAddr>)> {
    let (destination, router) = match text.split_once('@') {
        Some((destination, router)) => (destination, Some(router.parse().ok()?)),
        None => (text, None),
    };
    Some((destination.parse::<IpNet>().ok()?.trunc(), router))
}

fn hop(device: &Arc<str>, gateway: Option<IpAddr>) -> Hop {
    Hop { device: Arc::clone(device), gateway, onlink: false, weight: 1 }
}

/// All addresses of its family.
fn everything(of: IpAddr) -> IpNet {
    match of {
        IpAddr::V4(_) => IpNet::V4(Default::default()),
        IpAddr::V6(_) => IpNet::V6(Default::default()),
    }
}

fn refused(part: &str, expected: &'static str) -> TellingError {
    TellingError { part: part.to_owned(), expected }
}

impl fmt::Display for TellingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.part, self.expected)
    }
}

impl std::error::Error for TellingError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_told() {
        let told = [
            "eth0=172.16.0.1/24,fd16::1/64,mtu=1500,via=172.16.0.254,via=fd16::f",
            "eth1=172.18.0.1/24,via=172.18.0.254,to=10.8.0.2/16@172.18.0.9",
            "wg0=10.8.0.1/32,to=10.8.0.2/32",
        ];
        let told = told.map(|text| text.parse::<Told>().unwrap());
        let Uplinks { links, complete, gateways } = Uplinks::told(&told);
        assert!(!complete);
        let addresses = ["172.16.0.1/24", "fd16::1/64"].map(|net| net.parse().unwrap()).to_vec();
        assert_eq!(links[0], Link { name: "eth0".into(), index: 0, up: true, mtu: Some(1500), addresses });
        assert_eq!(links.len(), 3);
        let shown = |hop: &Hop| {
            let gateway = hop.gateway.map_or("-".to_owned(), |gateway| gateway.to_string());
            format!(" {gateway} {}", hop.device)
        };
        let gateways: Vec<String> = gateways
            .iter()
            .map(|way| format!("{}{}", way.destination, way.hops.iter().map(shown).collect::<String>()))
            .collect();
        assert_eq!(
            gateways,
            [
                "0.0.0.0/0 172.16.0.254 eth0 172.18.0.254 eth1",
                "10.8.0.0/16 172.18.0.9 eth1",
                "10.8.0.2/32 - wg0",
                "::/0 fd16::f eth0"
            ]
        );
        for (text, part) in [
            ("eth0", "eth0"),
            ("=10.0.0.1/24", ""),
            ("a-name-too-long-=10.0.0.1/24", "a-name-too-long-"),
            ("eth 0=10.0.0.1/24", "eth 0"),
            ("eth0=", ""),
            ("eth0=10.0.0.1/33", "10.0.0.1/33"),
            ("eth0=10.0.0.1/24,mtu=big", "mtu=big"),
            ("eth0=10.0.0.1/24,via=there", "via=there"),
            ("eth0=10.0.0.1/24,mut=9", "mut=9"),
            ("eth0=10.0.0.1/24,to=there", "to=there"),
            ("eth0=10.0.0.1/24,to=10.8.0.0/16@", "to=10.8.0.0/16@"),
            ("eth0=10.0.0.1/24,to=10.8.0.2", "to=10.8.0.2"),
        ] {
            assert_eq!(text.parse::<Told>().unwrap_err().part, part, "{text}");
        }
    }
}
