//! The main table of routes, permanent neighbours and `tunl0` of this network namespace, read and written by netlink.
//!
//! 1. *All of it*: a reading is whole, or is done again; what the kernel tells of changes is how one notices that it
//!    is out of date. Own changes can be told from those of others.
//! 2. *One step at a time*, each confirmed or refused by itself: what the kernel says of one route is said of that one.
//!    A route takes some 5 µs so; sending many at once is no faster (reference dependencies, section 6).
//! 3. *What vanished is no failure*: an interface may go at any moment, with all that led through it.
//!
//! By the same socket code as connections and links: answers are read by our own reader, to which no kernel is too
//! new, and that is all that is needed beside the messages' own crate.
//!
//! Everything but [`Changes`] waits for the kernel: call it where blocking is allowed.

mod changes;
mod error;
mod request;
mod tunnel;
mod wire;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

pub use changes::{Change, Changes};
pub use error::RoutesError;
pub use tunnel::{correct_checksums, lacks_module, prepare};

use super::links::wire as links;
use super::netlink::{Channel, Message};
use crate::model::IpVersion;
use crate::routes::{Hop, Link, TUNNEL};
use crate::sync::routes::{KernelRoute, ProgrammedRoutes, ProgrammedTunnel, RouteStep};
use request::NoInterface;

/// How often a list is asked for that changes meanwhile.
const PATIENCE: usize = 5;

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub programmed: ProgrammedRoutes,
    /// All interfaces, by their number.
    pub links: BTreeMap<u32, Link>,
}

/// What has become of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The kernel is so now.
    Made,
    /// The interface is gone, or down: all that is known of routes is out of date.
    Vanished,
}

/// The kernel's routes, as they are asked for and changed.
pub struct MainTable {
    channel: Channel,
}

impl Found {
    /// The number of an interface.
    pub fn index(&self, name: &str) -> Option<u32> {
        self.links.iter().find(|(_, link)| &*link.name == name).map(|(index, _)| *index)
    }
}

impl MainTable {
    /// # Errors
    /// There is no such socket.
    pub fn open() -> Result<Self, RoutesError> {
        let channel = Channel::open(NETLINK_ROUTE)
            .map_err(|source| RoutesError::Socket { doing: "opening", source })?;
        Ok(Self { channel })
    }

    /// By this number [`Changes`] knows what was changed here.
    pub fn port(&self) -> u32 {
        self.channel.port()
    }

    /// Reads everything.
    ///
    /// # Errors
    /// See [`RoutesError`].
    pub fn read(&mut self) -> Result<Found, RoutesError> {
        let links = self.links()?;
        let mut programmed = ProgrammedRoutes { tunnel: tunnel(&links), ..ProgrammedRoutes::default() };
        for version in IpVersion::ALL {
            self.routes(version, &links, &mut programmed)?;
        }
        programmed.neighbours = self.neighbours(&links)?;
        Ok(Found { programmed, links: links.into_iter().map(|(index, read)| (index, read.link)).collect() })
    }

    /// The number of the interface that packets to an address leave by; None where no route leads there.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn interface_to(&mut self, address: IpAddr) -> Result<Option<u32>, RoutesError> {
        let ask = RouteNetlinkMessage::GetRoute(request::lookup(address));
        match self.channel.one(ask, |message| wire::interface(message.payload)) {
            Ok(interface) => Ok(interface),
            Err(refusal) if matches!(refusal.raw_os_error(), Some(ENETUNREACH | EHOSTUNREACH | EINVAL)) => {
                Ok(None)
            }
            Err(source) => Err(RoutesError::Unlisted { what: "the route to an address", source }),
        }
    }

    /// Carries out one step of a plan that was made of `found`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn carry_out(&mut self, step: &RouteStep, found: &mut Found) -> Result<Done, RoutesError> {
        let (message, flags) = match request::request(step, |name| found.index(name)) {
            Ok(request) => request,
            Err(NoInterface) => return Ok(Done::Vanished),
        };
        let Err(refusal) = self.channel.change(message, flags) else {
            if *step == RouteStep::CreateTunnel {
                self.find_tunnel(found)?;
            }
            return Ok(Done::Made);
        };
        match (step, refusal.source.raw_os_error()) {
            (RouteStep::CreateTunnel, Some(EEXIST)) => self.find_tunnel(found).map(|()| Done::Made),
            (RouteStep::CreateTunnel, Some(EOPNOTSUPP)) => {
                Err(RoutesError::NoIpip { source: refusal.source })
            }
            (RouteStep::DeleteRoute(_), Some(ESRCH))
            | (RouteStep::DeleteNeighbour { .. }, Some(ENOENT))
            | (RouteStep::RemoveTunnelAddress(_), Some(EADDRNOTAVAIL)) => Ok(Done::Made),
            (_, Some(ENODEV | ENETDOWN | ENXIO)) => Ok(Done::Vanished),
            _ => Err(RoutesError::refused(step, refusal)),
        }
    }

    /// It has a number now.
    fn find_tunnel(&mut self, found: &mut Found) -> Result<(), RoutesError> {
        found.links.extend(self.links()?.into_iter().map(|(index, read)| (index, read.link)));
        Ok(())
    }

    fn links(&mut self) -> Result<BTreeMap<u32, ReadLink>, RoutesError> {
        let mut ask = LinkMessage::default();
        // Statistics are most of a line.
        ask.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
        let mut all = self.list("interfaces", RouteNetlinkMessage::GetLink(ask), |message| {
            links::device(message.payload).map(|device| {
                let link = Link {
                    name: device.name,
                    index: device.index,
                    up: device.up,
                    mtu: Some(device.mtu),
                    addresses: Vec::new(),
                };
                let is_ipip = links::kind(message.payload) == Some(ARPHRD_TUNNEL);
                (device.index, ReadLink { link, mtu: device.mtu, is_ipip })
            })
        })?;
        let ask = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let addresses = self.list("addresses", ask, |message| links::address(message.payload))?;
        let mut by_index: BTreeMap<u32, ReadLink> = all.drain(..).collect();
        for (index, address) in addresses {
            if let Some(read) = by_index.get_mut(&index) {
                read.link.addresses.push(address);
            }
        }
        Ok(by_index)
    }

    fn routes(
        &mut self,
        version: IpVersion,
        links: &BTreeMap<u32, ReadLink>,
        programmed: &mut ProgrammedRoutes,
    ) -> Result<(), RoutesError> {
        let mut ask = RouteMessage::default();
        ask.header.address_family = match version {
            IpVersion::V4 => AddressFamily::Inet,
            IpVersion::V6 => AddressFamily::Inet6,
        };
        let ask = RouteNetlinkMessage::GetRoute(ask);
        for told in self.list("routes", ask, |message| wire::route(message.payload))? {
            // One whose interface came or went meanwhile is told of again.
            if let Some(route) = named(told, links) {
                programmed.routes.entry(route.destination).or_default().push(route);
            }
        }
        Ok(())
    }

    #[allow(clippy::type_complexity, reason = "the value of ProgrammedRoutes")]
    fn neighbours(
        &mut self,
        links: &BTreeMap<u32, ReadLink>,
    ) -> Result<BTreeMap<(Arc<str>, std::net::Ipv4Addr), Arc<str>>, RoutesError> {
        let mut ask = NeighbourMessage::default();
        ask.header.family = AddressFamily::Inet;
        let ask = RouteNetlinkMessage::GetNeighbour(ask);
        let all = self.list("neighbours", ask, |message| wire::neighbour(message.payload))?;
        let permanent = all.into_iter().filter_map(|wire::Neighbour { interface, address, mac }| {
            Some(((Arc::clone(&links.get(&interface)?.link.name), address), mac?))
        });
        Ok(permanent.collect())
    }

    /// A whole list.
    fn list<T>(
        &mut self,
        what: &'static str,
        message: RouteNetlinkMessage,
        line: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, RoutesError> {
        for _ in 0..PATIENCE {
            let mut lines = Vec::new();
            let whole = self.channel.list(message.clone(), |message| lines.extend(line(message)));
            if whole.map_err(|source| RoutesError::Unlisted { what, source })? {
                return Ok(lines);
            }
        }
        Err(RoutesError::Restless { what })
    }
}

/// An interface, with an MTU for certain.
struct ReadLink {
    link: Link,
    mtu: u32,
    is_ipip: bool,
}

/// The route with its interfaces' names. None where one of them is not known.
fn named(told: wire::Told, links: &BTreeMap<u32, ReadLink>) -> Option<KernelRoute> {
    let wire::Told { mut route, interface, hops } = told;
    let name = |index: u32| links.get(&index).map(|read| Arc::clone(&read.link.name));
    if let Some(index) = interface {
        route.device = Some(name(index)?);
    }
    let hops = hops.into_iter().map(|wire::ToldHop { interface, gateway, onlink, weight }| {
        Some(Hop { device: name(interface)?, gateway, onlink, weight })
    });
    route.hops = hops.collect::<Option<_>>()?;
    route.hops.sort();
    Some(route)
}

fn tunnel(links: &BTreeMap<u32, ReadLink>) -> ProgrammedTunnel {
    let Some(ReadLink { link, mtu, is_ipip }) = links.values().find(|read| &*read.link.name == TUNNEL) else {
        return ProgrammedTunnel::Absent;
    };
    if !is_ipip {
        return ProgrammedTunnel::Foreign;
    }
    let addresses = link.addresses.iter().filter_map(|net| match net {
        IpNet::V4(net) => Some(*net),
        IpNet::V6(_) => None,
    });
    ProgrammedTunnel::There { up: link.up, mtu: *mtu, addresses: addresses.collect() }
}

/// The kind of interface that carries IPv4 in IPv4 (`linux/if_arp.h`).
const ARPHRD_TUNNEL: u16 = 768;

const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const ENXIO: i32 = 6;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
/// Also what a blackhole says.
const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;
const EADDRNOTAVAIL: i32 = 99;
const ENETDOWN: i32 = 100;
const ENETUNREACH: i32 = 101;
const EHOSTUNREACH: i32 = 113;
