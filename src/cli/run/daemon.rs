//! One loop over all that can wake the daemon.

use std::future::pending;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc::Receiver, watch};
use tokio::task::block_in_place;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::agenda::{Agenda, Task, Throttle};
use super::connections::Cutter;
use super::enforcement::{self, Enforcement};
use super::followed::Followed;
use super::http::{Servers, Shared};
use super::interfaces::Interfaces;
use super::reports::Reports;
use super::routing::Routing;
use super::teller::Teller;
use crate::Pipeline;
use crate::cli::{Failure, Outcome, log};
use crate::config::{Config, EtcdAccess};
use crate::datastore::Event;
use crate::model::IpVersion;
use crate::sync::Desired;
use crate::system::kernel::has_ipv6;
use crate::system::links::{self, LinkChange, Links};
use crate::telemetry::metrics::Metrics;

/// How long an application that is under way may take to its end when the daemon is told to end.
const GRACE: Duration = Duration::from_millis(500);

/// How long changes in what is wrong with the source are gathered.
const REPORT_DELAY: Duration = Duration::from_millis(500);

/// How often others hear that we are alive while an application takes long.
const ALIVE: Duration = Duration::from_secs(10);

/// How long an interface that could not be set up is left.
const INTERFACE_RETRY: Duration = Duration::from_secs(10);

/// How long a pass over the table of connections is waited for before it is asked again whether it has ended.
const CONNECTIONS_PAUSE: Duration = Duration::from_secs(5);

/// The name of the start in health's answers, as Felix has it.
const STARTUP: &str = "FelixStartup";

/// What the command line said.
pub(super) struct Options {
    pub(super) tools: String,
    /// As far as it is known before the source is read.
    pub(super) config: Config,
    /// The configuration says what is logged.
    pub(super) severity: bool,
    /// Where the source is a store: who says whether it is complete, and is told how this host is.
    pub(super) store: Option<EtcdAccess>,
}

/// What to program.
struct Compiled {
    desired: Option<Desired>,
    /// Why it is not what the source says.
    refusal: Option<String>,
}

/// Everything that can wake the daemon.
enum Wake {
    /// The source has said something; None: it has ended.
    Source(Option<Vec<Event>>),
    /// Interfaces have changed.
    Links(Option<Vec<LinkChange>>),
    /// Other routers lead to the hosts; false: routes are no longer kept.
    Gateways(bool),
    /// It is time.
    Due(Task),
    /// SIGHUP: read everything anew.
    Hangup,
    /// SIGTERM or SIGINT.
    Terminate,
}

/// The daemon.
///
/// 1. *Nothing is written before everything was read*: the source and the interfaces are in sync first. A source that is
///    lost changes nothing.
/// 2. *One thing at a time.* Whatever happens becomes a [`Wake`]; its effect is a change of this value; then, if the
///    kernel may not be as desired, it is made so. What happens meanwhile waits, and is taken together.
/// 3. *Nothing is urgent enough to loop*: applications are throttled, failures are tried again ever more rarely.
/// 4. *The end is quick and changes nothing*: what was programmed stays.
pub(super) struct Daemon {
    pipeline: Pipeline,
    options: Options,
    source: Receiver<Vec<Event>>,
    link_changes: Receiver<Vec<LinkChange>>,
    /// Time between two full reads of the links.
    link_refresh: watch::Sender<Option<Duration>>,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    agenda: Agenda,
    throttle: Throttle,
    enforcement: Enforcement,
    interfaces: Interfaces,
    routing: Routing,
    cutter: Cutter,
    links: Links,
    reports: Reports,
    teller: Teller,
    shared: Shared,
    servers: Servers,
    /// It must be whole before anything is written, as must be what is known of links.
    followed: Followed,
    links_in_sync: bool,
    /// Events were taken, or something may be wrong, since when the kernel was last made as desired.
    pending: Option<Instant>,
    /// What was last made of the policy.
    last: Option<Desired>,
    /// And IPv6 is asked for.
    lacks_ipv6: bool,
    /// As last set.
    severity: Option<Option<String>>,
}

impl Daemon {
    /// Must be called within the runtime.
    pub(super) fn new(
        pipeline: Pipeline,
        source: Receiver<Vec<Event>>,
        metrics: Metrics,
        options: Options,
    ) -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|error| Failure::Io { what: "signals".to_owned(), error });
        let mut agenda = Agenda::default();
        let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 2);
        if watchdog.is_some() {
            agenda.set(Task::Watchdog, Instant::now());
        }
        let shared = Shared::new(metrics);
        let (link_refresh, refresh) = watch::channel(options.config.enforcement.link_refresh);
        let teller = Teller::new(options.store.clone(), pipeline.host(), options.config.status.clone());
        Ok(Self {
            pipeline,
            enforcement: Enforcement::new(&options.tools),
            source,
            link_changes: links::watch(refresh),
            link_refresh,
            hangup: on(SignalKind::hangup())?,
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            agenda,
            throttle: Throttle::new(Instant::now()),
            interfaces: Interfaces::new(),
            routing: Routing::new(&options.tools, shared.clone()),
            cutter: Cutter::new(),
            links: Links::default(),
            reports: Reports::new(shared.clone(), watchdog),
            followed: Followed::new(shared.clone(), options.store.is_some()),
            teller,
            shared,
            servers: Servers::default(),
            links_in_sync: false,
            pending: None,
            last: None,
            lacks_ipv6: false,
            severity: None,
            options,
        })
    }

    /// Until a signal ends it.
    pub(super) async fn run(mut self) -> Result<Outcome, Failure> {
        let config = self.options.config.clone();
        self.configure(&config);
        loop {
            self.tell();
            let wake = self.next().await;
            self.reports.main_loop_is_busy();
            match wake {
                Wake::Terminate => break,
                // A fault of ours. Nothing can be learned any more; a supervisor begins anew.
                Wake::Source(None) => {
                    return Err(Failure::Usage("the source is no longer followed".to_owned()));
                }
                Wake::Links(None) => {
                    return Err(Failure::Usage("interfaces are no longer followed".to_owned()));
                }
                Wake::Gateways(false) => {
                    return Err(Failure::Usage("routes are no longer kept".to_owned()));
                }
                wake => self.take(wake),
            }
            if self.is_due() && !self.settle().await {
                break;
            }
        }
        info!("ends; what was programmed stays");
        self.reports.stopping();
        self.servers.end();
        Ok(Outcome::Clean)
    }

    async fn next(&mut self) -> Wake {
        let due = self.agenda.next();
        let time = async {
            match due {
                Some((task, at)) => {
                    sleep_until(at).await;
                    task
                }
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Wake::Terminate,
            _ = self.interrupt.recv() => Wake::Terminate,
            _ = self.hangup.recv() => Wake::Hangup,
            // A task is done once, so that it starves nobody; a source may always have something to say.
            task = time => Wake::Due(task),
            events = self.source.recv() => Wake::Source(events),
            changes = self.link_changes.recv() => Wake::Links(changes),
            changed = self.routing.gateways_changed() => Wake::Gateways(changed),
        }
    }

    fn take(&mut self, wake: Wake) {
        match wake {
            Wake::Source(Some(events)) => self.take_events(&events),
            Wake::Links(Some(changes)) => self.take_links(changes),
            Wake::Hangup => {
                info!("SIGHUP: reads everything anew");
                self.enforcement.distrust();
                self.routing.distrust();
                self.want();
            }
            Wake::Gateways(true) => self.want(),
            Wake::Due(task) => self.do_task(task),
            // The loop has ended by now.
            Wake::Terminate | Wake::Source(None) | Wake::Links(None) | Wake::Gateways(false) => {}
        }
    }

    fn take_events(&mut self, events: &[Event]) {
        let metrics = self.shared.metrics();
        metrics.updates_processed.inc_by(events.len() as u64);
        metrics.batch_size.observe(events.len() as f64);
        block_in_place(|| events.iter().for_each(|event| self.pipeline.take(event)));
        self.followed.take(events, || self.pipeline.readiness());
        debug!(events = events.len(), "the source has said something");
        self.want();
        self.agenda.by(Task::Report, Instant::now() + REPORT_DELAY);
    }

    fn take_links(&mut self, changes: Vec<LinkChange>) {
        for change in changes {
            self.links_in_sync |= change == LinkChange::InSync;
            self.links.apply(change);
        }
        // Routes are made of them.
        self.want();
        if self.enforcement.has_applied() {
            self.set_up_interfaces();
        }
    }

    fn do_task(&mut self, task: Task) {
        self.agenda.cancel(task);
        match task {
            Task::RefreshTables | Task::CheckTables | Task::RefreshSets | Task::RetryRefused => {
                if self.enforcement.do_task(task, &mut self.agenda) {
                    self.want();
                }
            }
            Task::Retry => self.want(),
            Task::Report => {
                let diagnostics = block_in_place(|| self.pipeline.diagnostics());
                self.reports.diagnostics(diagnostics);
            }
            Task::Watchdog => {
                if let Some(at) = self.reports.watchdog() {
                    self.agenda.set(Task::Watchdog, at);
                }
            }
            Task::Interfaces => self.set_up_interfaces(),
            Task::Connections => {
                let (policy, config) = (self.pipeline.policy(), self.pipeline.config());
                self.cutter.go_on(policy, config, &self.links, self.shared.metrics());
                if self.cutter.has_work() {
                    self.agenda.by(Task::Connections, Instant::now() + CONNECTIONS_PAUSE);
                }
            }
        }
    }

    /// The kernel may not be as desired.
    fn want(&mut self) {
        self.pending.get_or_insert_with(Instant::now);
    }

    /// Whether to make the kernel as desired now.
    fn is_due(&mut self) -> bool {
        let waits = self.followed.waits_for().is_some() && self.last.is_none();
        if self.pending.is_none() || waits || !self.links_in_sync {
            return false;
        }
        // After a failure nothing but time, or a change, makes another try worth while.
        match self.throttle.take(Instant::now()) {
            None => true,
            Some(at) => {
                self.agenda.by(Task::Retry, at);
                false
            }
        }
    }

    /// Makes the kernel as desired; false where a signal ends the daemon meanwhile.
    async fn settle(&mut self) -> bool {
        let started = Instant::now();
        self.pending = None;
        let uplinks = self.routing.uplinks(&self.links);
        let gateways = uplinks.gateways.clone();
        self.pipeline.see(uplinks);
        let Compiled { desired, refusal } = self.compile();
        let Some(desired) = desired else {
            self.shared.metrics().failures.inc();
            self.reports.main_loop_failing(&refusal.unwrap_or_default());
            return true;
        };
        self.last = Some(desired.clone());
        self.shared.metrics().calculation.observe(started.elapsed().as_secs_f64());
        let mut config = self.pipeline.config().clone();
        self.configure(&config);
        let desired = self.of_this_kernel(desired, &mut config);
        let Some(result) = self.apply(&desired, &config).await else { return false };
        let failure = match result {
            Err(failure) => Some(failure),
            Ok(outcome) => {
                if outcome.decides && refusal.is_none() {
                    self.after_chains(&desired, &config, outcome.changed);
                    if let Some(routes) = &desired.routes {
                        let hosts = &self.pipeline.policy().host_addresses;
                        self.routing.keep(routes, gateways, hosts, &config.enforcement);
                    }
                }
                if outcome.unfinished {
                    self.want();
                    self.agenda.by(Task::Retry, Instant::now());
                }
                outcome.failure
            }
        };
        match refusal.or(failure) {
            None => {
                self.followed.applied();
                self.reports.applied(self.pipeline.policy());
            }
            Some(failure) => self.reports.main_loop_failing(&failure),
        }
        true
    }

    /// What the source says, where it may be enforced; else what was programmed last, which is kept as it was.
    fn compile(&mut self) -> Compiled {
        if self.followed.waits_for().is_some() {
            return Compiled { desired: self.last.clone(), refusal: None };
        }
        match block_in_place(|| self.pipeline.desired()) {
            Ok(desired) => Compiled { desired: Some(desired), refusal: None },
            Err(error) => {
                let refusal = format!("no chains can be made of the policy: {error}");
                Compiled { desired: self.last.clone(), refusal: Some(refusal) }
            }
        }
    }

    /// Only the families that the kernel has; the host may have been started without IPv6.
    fn of_this_kernel(&mut self, desired: Desired, config: &mut Config) -> Desired {
        if !config.ipv6_support || has_ipv6() {
            self.lacks_ipv6 = false;
            return desired;
        }
        if !std::mem::replace(&mut self.lacks_ipv6, true) {
            warn!("this kernel has no IPv6, and nothing is programmed for it; Ipv6Support=false says so");
        }
        config.ipv6_support = false;
        desired.restricted_to(&[IpVersion::V4])
    }

    /// None where a signal ends the daemon meanwhile. It may take minutes, in which others hear that we are alive.
    async fn apply(
        &mut self,
        desired: &Desired,
        config: &Config,
    ) -> Option<Result<enforcement::Outcome, String>> {
        let apply = self.enforcement.apply(desired, config, self.shared.metrics(), &mut self.agenda);
        tokio::pin!(apply);
        let mut alive = interval(ALIVE);
        loop {
            tokio::select! {
                biased;
                done = &mut apply => return Some(done),
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = alive.tick() => self.reports.alive(),
            }
        }
        // What was begun is brought to its end, if that is soon.
        let _ = timeout(GRACE, apply).await;
        None
    }

    /// What is done once policy is enforced: a host that forwards without chains lets everything through.
    fn after_chains(&mut self, desired: &Desired, config: &Config, changed: bool) {
        self.shared.metrics().set_rulesets(desired.rulesets.iter().map(|ruleset| &**ruleset));
        self.reports.refused(self.enforcement.quarantined());
        let (policy, routes) = (self.pipeline.policy(), desired.routes.as_deref());
        self.cutter.applied(policy, routes, config, &self.links, changed, self.shared.metrics());
        if self.cutter.has_work() {
            self.agenda.by(Task::Connections, Instant::now() + CONNECTIONS_PAUSE);
        }
        self.interfaces.prepare_host(config);
        self.set_up_interfaces();
    }

    fn set_up_interfaces(&mut self) {
        let config = self.pipeline.config();
        let ipv6 = config.ipv6_support && !self.lacks_ipv6;
        let policy = self.pipeline.policy();
        let failing = block_in_place(|| self.interfaces.set_up(policy, &self.links, config, ipv6));
        if failing {
            self.agenda.by(Task::Interfaces, Instant::now() + INTERFACE_RETRY);
        }
        let states = self.interfaces.states(self.pipeline.policy(), &self.links);
        self.teller.endpoints(&states);
        self.reports.endpoints(states);
    }

    /// Does as the parameters say that concern the daemon itself.
    fn configure(&mut self, config: &Config) {
        let reporting = &config.reporting;
        if self.options.severity && self.severity.as_ref() != Some(&reporting.screen) {
            log::set_severity(reporting.screen.as_deref());
            self.severity = Some(reporting.screen.clone());
        }
        self.servers.configure(reporting, &self.shared);
        self.reports.configure(reporting);
        self.teller.configure(&config.status);
        let refresh = config.enforcement.link_refresh;
        self.link_refresh.send_if_modified(|known| std::mem::replace(known, refresh) != refresh);
    }

    /// Says that the loop is alive.
    fn tell(&mut self) {
        let started = match (self.followed.waits_for(), self.links_in_sync) {
            (Some(why), _) => Reports::unready(&why),
            (None, false) => Reports::unready("waits for the interfaces"),
            (None, true) => Reports::good("source and interfaces are read"),
        };
        self.shared.with_health(|health| health.say(STARTUP, started));
        self.reports.main_loop_waits(self.pending.map(|since| since.elapsed()));
    }
}
