//! Routes are kept beside the main loop: neither waits for the other.

mod keeper;
mod news;
mod truces;

use std::collections::BTreeSet;
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::http::Shared;
use crate::config::Enforcement;
use crate::datastore::Backoff;
use crate::routes::{Gateway, Link, RouteSet, Uplinks};
use crate::system::links::Links;
use crate::system::routes::{Change, Changes};
use crate::system::tool::Tools;
use keeper::{Account, Keeper};
use news::News;

/// How long changes by others are gathered before they are looked at.
const GATHER: Duration = Duration::from_millis(50);

/// Between two readings that others' changes ask for there is so many times as long as one takes: a host that takes part
/// in the Internet's routing has a million routes, of which some change all the time.
const REST: u32 = 10;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// How long the main loop may take to say what is wanted, now that other routers lead to the hosts.
const ANSWER: Duration = Duration::from_secs(1);

/// What the main loop knows of the task.
pub(super) struct Routing {
    wanted: watch::Sender<Option<Wanted>>,
    gateways: watch::Receiver<Arc<[Gateway]>>,
    distrust: u32,
}

/// What shall be kept.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    routes: Arc<RouteSet>,
    /// What `routes` were made from.
    gateways: Arc<[Gateway]>,
    /// The addresses that gateways are of use for.
    hosts: Arc<BTreeSet<IpAddr>>,
    refresh: Option<Duration>,
    patience: Duration,
    /// How often it was asked that nothing that is known be believed.
    distrust: u32,
}

impl Routing {
    /// Begins to listen; nothing is read or written before something is wanted. Must be called within the runtime.
    pub(super) fn new(tools: &str, shared: Shared) -> Self {
        let (wanted, to_keep) = watch::channel(None);
        let (found, gateways) = watch::channel(Arc::from([]));
        let tools = Tools::new(tools, Tools::DEADLINE);
        let news = News::new(shared);
        tokio::spawn(Task::new(to_keep, found, tools, news).run());
        Self { wanted, gateways, distrust: 0 }
    }

    /// Waits until other routers lead to the hosts than before. False: routes are no longer kept, by a fault of ours.
    pub(super) async fn gateways_changed(&mut self) -> bool {
        self.gateways.changed().await.is_ok()
    }

    /// What is known of the host's interfaces.
    pub(super) fn uplinks(&self, links: &Links) -> Uplinks {
        let links = links.iter().map(|link| Link {
            name: Arc::clone(&link.name),
            index: link.index,
            up: link.up,
            mtu: Some(link.mtu),
            addresses: link.addresses.iter().copied().collect(),
        });
        Uplinks { links: links.collect(), complete: true, gateways: self.gateways.borrow().to_vec() }
    }

    /// Everything is read anew, and tried again, with what is wanted next.
    pub(super) fn distrust(&mut self) {
        self.distrust = self.distrust.wrapping_add(1);
    }

    /// From now on these are kept. The chains of the endpoints that they lead to are there.
    pub(super) fn keep(
        &self,
        routes: &Arc<RouteSet>,
        made_from: Vec<Gateway>,
        hosts: &Arc<BTreeSet<IpAddr>>,
        config: &Enforcement,
    ) {
        let wanted = Wanted {
            routes: Arc::clone(routes),
            gateways: made_from.into(),
            hosts: Arc::clone(hosts),
            refresh: config.route_refresh,
            patience: config.netlink_timeout,
            distrust: self.distrust,
        };
        self.wanted.send_if_modified(|before| {
            let is_new = before.as_ref() != Some(&wanted);
            if is_new {
                *before = Some(wanted);
            }
            is_new
        });
    }
}

/// Keeps the kernel's routes as wanted.
///
/// 1. *A change of what is wanted* is made at once.
/// 2. *A change by somebody else* is noticed, and looked at after [`GATHER`]; what is told by nobody is found by reading
///    everything each `RouteRefreshInterval`.
/// 3. *A failure* is tried again, ever more rarely, or when something changes.
struct Task {
    wanted: watch::Receiver<Option<Wanted>>,
    gateways: watch::Sender<Arc<[Gateway]>>,
    /// None while it is at work.
    keeper: Option<Keeper>,
    tools: Tools,
    news: News,
    /// By which the kernel names our own changes.
    own: Option<u32>,
    /// When to go to work.
    due: Option<Instant>,
    /// What is known is out of date.
    stale: bool,
    /// Interfaces of which something was told.
    touched: BTreeSet<u32>,
    /// No reading because of others' changes before that.
    rest: Instant,
    retries: Backoff,
    /// When to stop waiting for the main loop.
    answer_until: Option<Instant>,
    /// When to read everything, whatever was told.
    refresh_at: Option<Instant>,
}

impl Task {
    fn new(
        wanted: watch::Receiver<Option<Wanted>>,
        gateways: watch::Sender<Arc<[Gateway]>>,
        tools: Tools,
        news: News,
    ) -> Self {
        Self {
            wanted,
            gateways,
            keeper: None,
            tools,
            news,
            own: None,
            due: None,
            stale: true,
            touched: BTreeSet::new(),
            rest: Instant::now(),
            retries: Backoff::new(FIRST_RETRY, LAST_RETRY),
            answer_until: None,
            refresh_at: None,
        }
    }

    /// Until nobody wants anything any more.
    async fn run(mut self) {
        let mut pauses = Backoff::new(FIRST_RETRY, LAST_RETRY);
        loop {
            match Changes::open() {
                Ok(mut changes) => {
                    pauses.reset();
                    // What was told before is lost.
                    self.hear(&[Change::Lost]);
                    if !self.follow(&mut changes).await {
                        return;
                    }
                }
                Err(error) => warn!("changes of routes are not followed: {error}; {}", error.help()),
            }
            tokio::time::sleep(pauses.wait()).await;
        }
    }

    /// False where nobody wants anything any more; true where the socket is of no use any more.
    async fn follow(&mut self, changes: &mut Changes) -> bool {
        loop {
            tokio::select! {
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return false;
                    }
                    self.due = Some(Instant::now());
                }
                heard = changes.next(self.own) => {
                    match heard {
                        Ok(heard) => self.hear(&heard),
                        Err(error) => {
                            warn!("changes of routes are not followed: {error}; {}", error.help());
                            return true;
                        }
                    }
                }
                () = until(self.due) => {
                    self.due = None;
                    let wanted = self.wanted.borrow_and_update().clone();
                    if let Some(wanted) = wanted {
                        self.work(&wanted, changes).await;
                    }
                }
            }
        }
    }

    fn hear(&mut self, changes: &[Change]) {
        let mut is_stale = false;
        for change in changes {
            match change {
                Change::Link { index } => {
                    self.touched.insert(*index);
                    is_stale = true;
                }
                Change::Route | Change::Lost => is_stale = true,
                Change::Neighbour { index, address, permanent } => {
                    let keeper = self.keeper.as_ref();
                    is_stale |= *permanent || keeper.is_none_or(|keeper| keeper.knows(*index, *address));
                }
            }
        }
        if is_stale {
            self.stale = true;
            self.by((Instant::now() + GATHER).max(self.rest));
        }
    }

    fn by(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Has the kernel made as wanted, and listens meanwhile.
    async fn work(&mut self, wanted: &Wanted, changes: &mut Changes) {
        let started = Instant::now();
        let mut keeper = self.keeper.take().unwrap_or_else(|| Keeper::new(self.tools.clone()));
        self.stale |= self.refresh_at.is_some_and(|at| at <= started);
        if std::mem::take(&mut self.stale) {
            keeper.distrust(std::mem::take(&mut self.touched));
        }
        keeper.open();
        self.own = keeper.port();
        let may_wait = self.answer_until.is_none_or(|until| started < until);
        let order = wanted.clone();
        let job = spawn_blocking(move || {
            let account = keeper.keep(&order, may_wait);
            (keeper, account)
        });
        let (done, heard) = self.attend(job, wanted.patience, changes).await;
        match done {
            Some((keeper, account)) => {
                self.keeper = Some(keeper);
                self.plan_next(&account, started.elapsed(), wanted);
                self.news.tell(account);
            }
            // It has panicked; a new one begins anew.
            None => {
                self.news.fault("the keeper of routes has failed, which is a fault of felix-rs");
                let again = Instant::now() + self.retries.wait();
                self.by(again);
            }
        }
        self.hear(&heard);
    }

    /// Waits for the end; what was heard meanwhile. The kernel can't be made to hurry: that it takes long is said.
    async fn attend(
        &mut self,
        mut job: JoinHandle<(Keeper, Account)>,
        patience: Duration,
        changes: &mut Changes,
    ) -> (Option<(Keeper, Account)>, Vec<Change>) {
        let mut late = (!patience.is_zero()).then(|| Instant::now() + patience);
        let mut all = Vec::new();
        loop {
            tokio::select! {
                done = &mut job => return (done.ok(), all),
                // A socket that fails here fails again where that is looked at.
                heard = changes.next(self.own), if all.last() != Some(&Change::Lost) => {
                    all.extend(heard.unwrap_or_else(|_| vec![Change::Lost]));
                    all.dedup();
                }
                () = until(late) => {
                    late = None;
                    self.news.fault("the kernel has not answered yet when it was asked about routes");
                }
            }
        }
    }

    /// When to go to work again, if nothing happens.
    fn plan_next(&mut self, account: &Account, took: Duration, wanted: &Wanted) {
        let now = Instant::now();
        if let Some(took) = account.read {
            self.rest = now + took * REST;
            self.refresh_at = wanted.refresh.map(|refresh| now + refresh);
        }
        if account.failure.is_some() {
            // Tries are counted, whatever was due.
            self.rest = now + took * REST;
            self.refresh_at = None;
        } else {
            self.wait_for_answer(account, now);
        }
        if account.failure.is_some() || account.refusal.is_some() || account.vanished {
            self.stale = true;
            let again = now + self.retries.wait();
            self.by(again);
        } else {
            self.retries.reset();
        }
        for at in [account.next, self.refresh_at].into_iter().flatten() {
            self.by(at.max(now));
        }
    }

    /// The main loop makes routes anew where other routers lead to the hosts.
    fn wait_for_answer(&mut self, account: &Account, now: Instant) {
        if *account.gateways != **self.gateways.borrow() {
            self.gateways.send_replace(Arc::clone(&account.gateways));
        }
        let answer_until = self.answer_until.take().unwrap_or(now + ANSWER);
        if account.waits {
            self.answer_until = Some(answer_until);
            self.by(answer_until);
        }
    }
}

/// Never, where there is no such time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    const SECOND: Duration = Duration::from_secs(1);

    fn task() -> Task {
        let (_, to_keep) = watch::channel(None);
        let (found, _) = watch::channel(Arc::from([]));
        let news = News::new(Shared::new(Metrics::new("host").unwrap()));
        Task::new(to_keep, found, Tools::new("", SECOND), news)
    }

    fn wanted() -> Wanted {
        let routes = RouteSet {
            routes: Default::default(),
            neighbours: Default::default(),
            tunnel: None,
            held_back: Vec::new(),
            ownership: crate::routes::Ownership {
                families: Vec::new(),
                tunnel: false,
                routing: Default::default(),
                prefixes: Vec::new(),
                pools: Vec::new(),
            },
        };
        Wanted {
            routes: Arc::new(routes),
            gateways: Arc::from([]),
            hosts: Arc::default(),
            refresh: Some(90 * SECOND),
            patience: SECOND,
            distrust: 0,
        }
    }

    #[tokio::test]
    async fn what_can_not_be_read_is_tried_ever_more_rarely() {
        let (mut task, wanted) = (task(), wanted());
        // A refresh that is long due must not hurry it.
        task.refresh_at = Some(Instant::now());
        let mut waits = Vec::new();
        for _ in 0..4 {
            let account = Account { failure: Some("no sockets".to_owned()), ..Account::default() };
            let before = Instant::now();
            task.due = None;
            task.plan_next(&account, Duration::ZERO, &wanted);
            waits.push(task.due.unwrap() - before);
        }
        assert!(
            waits.iter().zip([1, 2, 4, 8]).all(|(wait, times)| *wait >= FIRST_RETRY * times),
            "{waits:?}"
        );
        // It works again, and goes on as ever.
        task.due = None;
        let account = Account { read: Some(Duration::ZERO), ..Account::default() };
        task.plan_next(&account, Duration::ZERO, &wanted);
        assert!(task.due.unwrap() > Instant::now() + 60 * SECOND);
    }

    #[tokio::test]
    async fn a_reading_that_fails_for_long_is_not_hurried_by_others() {
        let (mut task, wanted) = (task(), wanted());
        let account =
            Account { failure: Some("they change whenever they are read".to_owned()), ..Account::default() };
        task.plan_next(&account, 6 * SECOND, &wanted);
        task.due = None;
        task.hear(&[Change::Route]);
        assert!(task.due.unwrap() > Instant::now() + 50 * SECOND);
    }

    /// The main loop must not go on as if routes were kept.
    #[tokio::test]
    async fn the_end_of_the_task_is_heard_of() {
        let (wanted, _) = watch::channel(None);
        let (found, gateways) = watch::channel(Arc::from([]));
        let mut routing = Routing { wanted, gateways, distrust: 0 };
        drop(found);
        assert!(!routing.gateways_changed().await);
    }
}
