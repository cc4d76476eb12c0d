//! One look at the kernel's routes, and what is done about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::debug;

use super::Wanted;
use super::truces::{Truces, device, object};
use crate::routes::{Gateway, Ownership, RouteSet};
use crate::sync::routes::{self, ProgrammedTunnel, RouteStep, Withheld};
use crate::system::routes::{Done, Found, MainTable, RoutesError, correct_checksums, prepare};
use crate::system::tool::Tools;

/// What is unexpected on an interface stays for so long after the interface came: whoever made both tells us a little
/// later.
const GRACE: Duration = Duration::from_secs(10);

/// Where the kernel says which one it is.
const RELEASE: &str = "/proc/sys/kernel/osrelease";

/// What is known of the kernel. Everything here waits for it.
pub(super) struct Keeper {
    tools: Tools,
    table: Option<MainTable>,
    /// As it was when it was last looked at, and with what was done since.
    found: Option<Found>,
    /// Somebody else may have changed something.
    stale: bool,
    /// Interfaces of which something was told: it needs nobody else for their routes to go.
    touched: BTreeSet<u32>,
    /// The tunnel's addresses that are ours, whatever pools there are.
    given: BTreeSet<Ipv4Addr>,
    /// Why the tunnel can't be made.
    no_ipip: Option<String>,
    /// When workloads' interfaces were first seen, by number.
    seen: BTreeMap<u32, (Arc<str>, Instant)>,
    truces: Truces,
    /// What the kernel was last made to be, wholly.
    settled: Option<Arc<RouteSet>>,
    /// Checksums, of the tunnel that is there now.
    corrected: bool,
    distrust: u32,
}

/// What has come of a look.
#[derive(Default)]
pub(super) struct Account {
    /// The routers that lead to the hosts.
    pub(super) gateways: Arc<[Gateway]>,
    /// Nothing was done: what is wanted was made from other gateways.
    pub(super) waits: bool,
    /// How long it took to read everything, if that was done.
    pub(super) read: Option<Duration>,
    /// Changes that were made, and how many of them only undid somebody's.
    pub(super) made: usize,
    pub(super) mended: usize,
    pub(super) refused: usize,
    /// The first reason why not all is as wanted.
    pub(super) failure: Option<String>,
    /// An interface went meanwhile: look again.
    pub(super) vanished: bool,
    /// Of ours that are there, or are withheld.
    pub(super) wanted: usize,
    pub(super) withheld: Vec<Withheld>,
    /// Why there is no tunnel, although one is wanted.
    pub(super) no_ipip: Option<String>,
    /// For people: who keeps changing what.
    pub(super) truces: Vec<String>,
    /// When to look again.
    pub(super) next: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(tools: Tools) -> Self {
        Self {
            tools,
            table: None,
            found: None,
            stale: true,
            touched: BTreeSet::new(),
            given: BTreeSet::new(),
            no_ipip: None,
            seen: BTreeMap::new(),
            truces: Truces::default(),
            settled: None,
            corrected: false,
            distrust: 0,
        }
    }

    /// Everything is read anew with the next look; of these interfaces something was told.
    pub(super) fn distrust(&mut self, touched: BTreeSet<u32>) {
        self.stale = true;
        self.touched.extend(touched);
    }

    /// Has a socket, if it can be had; why not is said when it is needed.
    pub(super) fn open(&mut self) {
        if self.table.is_none() {
            self.table = MainTable::open().ok();
        }
    }

    pub(super) fn port(&self) -> Option<u32> {
        self.table.as_ref().map(MainTable::port)
    }

    /// Whether a neighbour is one of those that are there.
    pub(super) fn knows(&self, index: u32, address: Ipv4Addr) -> bool {
        self.found.as_ref().is_none_or(|found| {
            let name = found.links.get(&index).map(|link| Arc::clone(&link.name));
            name.is_some_and(|name| found.programmed.neighbours.contains_key(&(name, address)))
        })
    }

    /// Makes the kernel as wanted. `may_wait`: where what is wanted was made from other gateways, it is asked for anew.
    pub(super) fn keep(&mut self, wanted: &Wanted, may_wait: bool) -> Account {
        if std::mem::replace(&mut self.distrust, wanted.distrust) != wanted.distrust {
            self.stale = true;
            self.no_ipip = None;
        }
        let mut account = Account { wanted: wanted.routes.routes.len(), ..Account::default() };
        if let Err(error) = self.try_to_keep(wanted, may_wait, &mut account) {
            account.failure = Some(with_help(&error));
            // What its socket still holds is for nobody.
            self.table = None;
        }
        if account.failure.is_some() || account.vanished {
            self.settled = None;
        }
        account
    }

    fn try_to_keep(
        &mut self,
        wanted: &Wanted,
        may_wait: bool,
        account: &mut Account,
    ) -> Result<(), RoutesError> {
        let mut table = self.table.take().map_or_else(MainTable::open, Ok)?;
        let mut touched = self.names_of_touched(self.found.as_ref());
        let mut found = self.found(&mut table, account)?;
        touched.extend(self.names_of_touched(Some(&found)));
        self.see(&mut found, &wanted.routes.ownership, account);
        account.gateways =
            routes::gateways(&found.programmed, &wanted.routes.ownership, &wanted.hosts).into();
        if account.gateways != wanted.gateways && may_wait {
            account.waits = true;
        } else {
            self.touched.clear();
            let undone = self.settled.as_ref().is_some_and(|settled| Arc::ptr_eq(settled, &wanted.routes));
            self.settled = Some(Arc::clone(&wanted.routes));
            let touched = undone.then_some(&touched);
            self.carry_out(&wanted.routes, &mut table, &mut found, touched, account)?;
        }
        self.given.clone_from(&found.programmed.given);
        self.stale = false;
        self.found = Some(found);
        self.table = Some(table);
        Ok(())
    }

    /// The kernel as it is.
    fn found(&mut self, table: &mut MainTable, account: &mut Account) -> Result<Found, RoutesError> {
        if let (Some(found), false) = (self.found.take(), self.stale) {
            return Ok(found);
        }
        let started = Instant::now();
        let mut found = table.read()?;
        account.read = Some(started.elapsed());
        found.programmed.given.clone_from(&self.given);
        match found.programmed.tunnel {
            ProgrammedTunnel::There { .. } => self.no_ipip = None,
            ProgrammedTunnel::Absent if self.no_ipip.is_some() => {
                found.programmed.tunnel = ProgrammedTunnel::Impossible;
            }
            ProgrammedTunnel::Absent | ProgrammedTunnel::Impossible => self.corrected = false,
        }
        Ok(found)
    }

    /// Which interfaces of workloads came a moment ago.
    fn see(&mut self, found: &mut Found, ownership: &Ownership, account: &mut Account) {
        let now = Instant::now();
        let workloads = found.links.values().filter(|link| ownership.is_workloads(&link.name));
        let mut seen = BTreeMap::new();
        for link in workloads {
            let before = self.seen.get(&link.index).filter(|(name, _)| *name == link.name);
            seen.insert(link.index, (Arc::clone(&link.name), before.map_or(now, |(_, since)| *since)));
        }
        let fresh = seen.values().filter(|(_, since)| *since + GRACE > now);
        account.next = fresh.clone().map(|(_, since)| *since + GRACE).min();
        found.programmed.fresh = fresh.map(|(name, _)| Arc::clone(name)).collect();
        self.seen = seen;
    }

    fn names_of_touched(&self, found: Option<&Found>) -> BTreeSet<Arc<str>> {
        let links = self.touched.iter().filter_map(|index| found?.links.get(index));
        links.map(|link| Arc::clone(&link.name)).collect()
    }

    /// `touched`: the kernel was as wanted already, and only these interfaces explain why it may not be any more.
    fn carry_out(
        &mut self,
        wanted: &RouteSet,
        table: &mut MainTable,
        found: &mut Found,
        touched: Option<&BTreeSet<Arc<str>>>,
        account: &mut Account,
    ) -> Result<(), RoutesError> {
        let now = Instant::now();
        let mut plan = routes::plan(wanted, &found.programmed);
        if plan.steps().any(|step| *step == RouteStep::CreateTunnel) {
            self.create_tunnel(table, found)?;
            plan = routes::plan(wanted, &found.programmed);
        }
        let mut rounds = BTreeSet::new();
        for step in plan.steps() {
            let object = object(step);
            if let Some(until) = self.truces.stands(&object, now) {
                account.next = account.next.map_or(Some(until), |next| Some(next.min(until)));
                continue;
            }
            let is_drift =
                touched.is_some_and(|touched| device(step).is_none_or(|device| !touched.contains(device)));
            if is_drift && rounds.insert(object.clone()) {
                let truce = self.truces.round(object, step, &found.programmed, now);
                if let Some((until, said)) = truce {
                    account.truces.push(said);
                    account.next = account.next.map_or(Some(until), |next| Some(next.min(until)));
                    continue;
                }
            }
            account.mended += usize::from(is_drift);
            self.do_step(step, table, found, account);
        }
        account.withheld = plan.withheld().to_vec();
        account.no_ipip = self.no_ipip.clone().filter(|_| wanted.tunnel.is_some());
        self.correct_checksums(wanted, found);
        self.truces.end(now);
        Ok(())
    }

    fn do_step(&mut self, step: &RouteStep, table: &mut MainTable, found: &mut Found, account: &mut Account) {
        let result = table.carry_out(step, found);
        debug!(
            writes = true,
            vanished = matches!(result, Ok(Done::Vanished)),
            error = result.as_ref().err().map(tracing::field::display),
            "{step}"
        );
        match result {
            Ok(Done::Made) => {
                account.made += 1;
                found.programmed.take(step);
            }
            Ok(Done::Vanished) => account.vanished = true,
            Err(error) => {
                account.refused += 1;
                account.failure.get_or_insert_with(|| with_help(&error));
            }
        }
    }

    /// Nothing else waits for it: where there is none, only what would lead through it is not made.
    fn create_tunnel(&mut self, table: &mut MainTable, found: &mut Found) -> Result<(), RoutesError> {
        Handle::current().block_on(prepare(&self.tools));
        match table.carry_out(&RouteStep::CreateTunnel, found) {
            Ok(Done::Made | Done::Vanished) => {
                let (given, fresh) = (found.programmed.given.clone(), found.programmed.fresh.clone());
                *found = table.read()?;
                (found.programmed.given, found.programmed.fresh) = (given, fresh);
                Ok(())
            }
            Err(error @ RoutesError::NoIpip { .. }) => {
                self.no_ipip = Some(with_help(&error));
                found.programmed.tunnel = ProgrammedTunnel::Impossible;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Once for each tunnel.
    fn correct_checksums(&mut self, wanted: &RouteSet, found: &Found) {
        let is_there = matches!(found.programmed.tunnel, ProgrammedTunnel::There { .. });
        if wanted.tunnel.is_some() && is_there && !std::mem::replace(&mut self.corrected, true) {
            let release = fs::read_to_string(RELEASE).unwrap_or_default();
            Handle::current().block_on(correct_checksums(&self.tools, &release));
        }
    }
}

fn with_help(error: &RoutesError) -> String {
    format!("{error}; {}", error.help())
}
