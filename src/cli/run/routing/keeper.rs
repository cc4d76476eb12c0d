//! One look at the kernel's routes, and what is done about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Wanted;
use super::truces::{Object, Truces, devices, needs_tunnel, object};
use crate::routes::{Gateway, HeldBack, Ownership, RouteSet, TUNNEL};
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
    /// What the kernel was last made to be.
    settled: Option<Arc<RouteSet>>,
    /// But for these: they were refused, their interface went, or they are left to another program.
    unsettled: BTreeSet<Object>,
    /// The number of the tunnel whose checksums were looked at, and whether they are right.
    corrected: Option<(u32, bool)>,
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
    pub(super) refusal: Option<String>,
    /// Why nothing could be looked at.
    pub(super) failure: Option<String>,
    /// An interface went meanwhile: look again.
    pub(super) vanished: bool,
    /// Of ours that are there, or are withheld.
    pub(super) wanted: usize,
    pub(super) withheld: Vec<Withheld>,
    pub(super) held_back: Vec<HeldBack>,
    /// Why there is no tunnel, although one is wanted.
    pub(super) no_tunnel: Option<String>,
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
            unsettled: BTreeSet::new(),
            corrected: None,
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
            self.truces = Truces::default();
        }
        let RouteSet { routes, held_back, .. } = &*wanted.routes;
        let mut account =
            Account { wanted: routes.len(), held_back: held_back.clone(), ..Account::default() };
        if let Err(error) = self.try_to_keep(wanted, may_wait, &mut account) {
            account.failure = Some(with_help(&error));
            // What its socket still holds is for nobody.
            self.table = None;
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
            let touched = self.settle(&wanted.routes).then_some(&touched);
            self.carry_out(&wanted.routes, &mut table, &mut found, touched, account);
        }
        self.given.clone_from(&found.programmed.given);
        self.stale = false;
        self.found = Some(found);
        self.table = Some(table);
        Ok(())
    }

    /// From now on the kernel is to be so. Whether it was to be so before: then others have undone what is to be done.
    fn settle(&mut self, wanted: &Arc<RouteSet>) -> bool {
        match self.settled.replace(Arc::clone(wanted)) {
            Some(before) if Arc::ptr_eq(&before, wanted) => true,
            Some(before) => {
                self.truces.forget_changed(&before, wanted);
                false
            }
            None => false,
        }
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
            ProgrammedTunnel::There { .. } | ProgrammedTunnel::Foreign => self.no_ipip = None,
            ProgrammedTunnel::Absent if self.no_ipip.is_some() => {
                found.programmed.tunnel = ProgrammedTunnel::Impossible;
            }
            ProgrammedTunnel::Absent | ProgrammedTunnel::Impossible => {}
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
    ) {
        let mut round = Round {
            now: Instant::now(),
            touched,
            unsettled: std::mem::take(&mut self.unsettled),
            counted: BTreeSet::new(),
            failed: BTreeSet::new(),
        };
        let mut plan = routes::plan(wanted, &found.programmed);
        // Whoever makes a route that we give way to, or takes it away again, undoes nothing of ours.
        let left = plan.withheld().iter().map(|withheld| Object::Route(withheld.destination));
        round.unsettled.extend(left.clone());
        self.unsettled.extend(left);
        if plan.steps().any(|step| *step == RouteStep::CreateTunnel) {
            // That may take long, or fail: all else comes first.
            for step in plan.steps().filter(|step| !needs_tunnel(step, wanted)) {
                self.take_step(step, table, found, &mut round, account);
            }
            self.create_tunnel(table, found, &mut round, account);
            plan = routes::plan(wanted, &found.programmed);
        }
        let is_there = found.programmed.tunnel != ProgrammedTunnel::Absent;
        for step in plan.steps().filter(|step| is_there || !needs_tunnel(step, wanted)) {
            self.take_step(step, table, found, &mut round, account);
        }
        account.withheld = plan.withheld().to_vec();
        account.no_tunnel = wanted.tunnel.as_ref().and_then(|_| self.why_no_tunnel(found));
        self.correct_checksums(wanted, found, account.read.is_some());
        self.truces.end(round.now);
    }

    fn why_no_tunnel(&self, found: &Found) -> Option<String> {
        match found.programmed.tunnel {
            ProgrammedTunnel::There { .. } | ProgrammedTunnel::Absent => None,
            ProgrammedTunnel::Impossible => self.no_ipip.clone(),
            ProgrammedTunnel::Foreign => Some(with_help(&RoutesError::ForeignTunnel)),
        }
    }

    /// Does a step, unless others are to have their way for a while.
    fn take_step(
        &mut self,
        step: &RouteStep,
        table: &mut MainTable,
        found: &mut Found,
        round: &mut Round<'_>,
        account: &mut Account,
    ) {
        let object = object(step);
        // An old route stays until the one that is to come instead is there.
        if round.failed.contains(&object) {
            return;
        }
        let may_be_done = round.counted.contains(&object);
        if let Some(until) = self.truces.stands(&object, round.now).filter(|_| !may_be_done) {
            account.look_by(until);
            return;
        }
        if round.is_drift(step, &object) {
            account.mended += 1;
            if round.counted.insert(object.clone()) {
                account.truces.extend(self.truces.round(object.clone(), step, &found.programmed, round.now));
            }
        }
        if !self.do_step(step, table, found, account) {
            self.unsettled.insert(object.clone());
            round.failed.insert(object);
        }
    }

    /// Whether it is done.
    fn do_step(
        &mut self,
        step: &RouteStep,
        table: &mut MainTable,
        found: &mut Found,
        account: &mut Account,
    ) -> bool {
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
                true
            }
            Ok(Done::Vanished) => {
                account.vanished = true;
                false
            }
            Err(error) => {
                account.refuse(&error);
                false
            }
        }
    }

    /// Where there can be none, only what would lead through it is not made.
    fn create_tunnel(
        &mut self,
        table: &mut MainTable,
        found: &mut Found,
        round: &mut Round<'_>,
        account: &mut Account,
    ) {
        if let Some(until) = self.truces.stands(&Object::Tunnel, round.now) {
            account.look_by(until);
            return;
        }
        let step = RouteStep::CreateTunnel;
        if round.is_drift(&step, &Object::Tunnel) {
            account.mended += 1;
            account.truces.extend(self.truces.round(Object::Tunnel, &step, &found.programmed, round.now));
        }
        Handle::current().block_on(prepare(&self.tools));
        let made = table.carry_out(&step, found).and_then(|_| table.read());
        match made {
            Ok(mut read) => {
                account.made += 1;
                read.programmed.given.clone_from(&found.programmed.given);
                read.programmed.fresh.clone_from(&found.programmed.fresh);
                *found = read;
            }
            Err(error @ RoutesError::NoIpip { .. }) => {
                self.no_ipip = Some(with_help(&error));
                found.programmed.tunnel = ProgrammedTunnel::Impossible;
            }
            Err(error) => {
                account.refuse(&error);
                self.unsettled.insert(Object::Tunnel);
            }
        }
    }

    /// Once for each tunnel; where it can't be done, again with each reading.
    fn correct_checksums(&mut self, wanted: &RouteSet, found: &Found, has_read: bool) {
        let Some(index) = found.index(TUNNEL).filter(|_| wanted.tunnel.is_some()) else { return };
        let before = self.corrected.filter(|(number, _)| *number == index).map(|(_, is_right)| is_right);
        if before == Some(true) || (before == Some(false) && !has_read) {
            return;
        }
        let release = fs::read_to_string(RELEASE).unwrap_or_default();
        let result = Handle::current().block_on(correct_checksums(&self.tools, &release));
        if let (Err(error), None) = (&result, before) {
            warn!(
                "this kernel, {}, may send wrong checksums through {TUNNEL}, and they can't be computed here: {error}; \
                 install the package ethtool",
                release.trim()
            );
        }
        self.corrected = Some((index, result.is_ok()));
    }
}

/// What is known while steps are taken.
struct Round<'a> {
    now: Instant,
    touched: Option<&'a BTreeSet<Arc<str>>>,
    /// What was not as wanted already, or is not to be ours any more.
    unsettled: BTreeSet<Object>,
    /// Of these it was noted that somebody has undone them.
    counted: BTreeSet<Object>,
    /// They were refused, or their interface went.
    failed: BTreeSet<Object>,
}

impl Round<'_> {
    /// It only puts right what somebody has changed.
    fn is_drift(&self, step: &RouteStep, object: &Object) -> bool {
        self.touched.is_some_and(|touched| {
            !self.unsettled.contains(object) && !devices(step).iter().any(|device| touched.contains(*device))
        })
    }
}

impl Account {
    fn look_by(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    fn refuse(&mut self, error: &RoutesError) {
        self.refused += 1;
        self.refusal.get_or_insert_with(|| with_help(error));
    }
}

fn with_help(error: &RoutesError) -> String {
    format!("{error}; {}", error.help())
}
