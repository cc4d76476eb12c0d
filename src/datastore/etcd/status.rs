//! What this host tells about itself in the store (reference §2.2; felix-2.1 §14).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use etcd_client::{LeaseKeepAliveStream, LeaseKeeper, PutOptions};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tracing::{debug, info, warn};

use super::follower::jittered;
use super::store::{Depth, Head, Row, Store, within};
use super::{EtcdError, greet};
use crate::config::{EtcdAccess, StatusReporting};
use crate::datastore::Backoff;

/// What there is to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub settings: StatusReporting,
    /// The kernel was once as the source says: what is not in `endpoints` does not exist.
    pub applied: bool,
    /// `up`, `down` or `error`.
    pub endpoints: BTreeMap<EndpointName, &'static str>,
}

/// What the key of an endpoint's state is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointName {
    pub orchestrator: Arc<str>,
    pub workload: Arc<str>,
    pub endpoint: Arc<str>,
}

/// Times between two tries to write.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// etcd counts leases in seconds, and knows none of zero.
const LEAST_TTL: Duration = Duration::from_secs(1);

/// The states in the store are read anew each so many ticks: somebody may have removed them.
const TICKS_TO_READ: u32 = 180;

/// Writes what `statuses` says until its sender is gone. Needs a Tokio runtime with its timer.
///
/// 1. *Nothing waits for it.* It has a connection of its own; what fails is said once, and tried again ever more rarely.
/// 2. *It ends with us.* Everything is under one lease, but for the time of the last report: a host that is gone says
///    nothing after [`StatusReporting::ttl`].
/// 3. *At a pace that a large cluster bears*: one endpoint a tick, and only a state that lasted for a tick.
pub async fn report(access: EtcdAccess, host: Arc<str>, statuses: watch::Receiver<Status>) {
    let mut reporter = Reporter { access, host, statuses, began: Instant::now(), first: true };
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let endpoints = reporter.access.endpoints.clone();
    let mut failing = false;
    for endpoint in endpoints.iter().cycle() {
        if reporter.wanted().await.is_none() {
            return;
        }
        let before = Instant::now();
        match reporter.session(endpoint, &mut failing).await {
            Ok(Ended::SettingsChanged) => continue,
            Ok(Ended::Closed) => return,
            Err(error) if std::mem::replace(&mut failing, true) => debug!("{error}"),
            Err(error) => {
                let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
                warn!("this host's state can't be written: {error}{help}");
            }
        }
        if before.elapsed() > LONGEST_WAIT {
            backoff.reset();
        }
        let wait = jittered(backoff.wait());
        tokio::select! {
            () = reporter.closed() => return,
            () = sleep(wait) => {}
        }
    }
}

/// Why a connection is no longer used.
enum Ended {
    SettingsChanged,
    /// Nobody tells us anything any more.
    Closed,
}

struct Reporter {
    access: EtcdAccess,
    host: Arc<str>,
    statuses: watch::Receiver<Status>,
    began: Instant,
    /// No report was written yet.
    first: bool,
}

/// The state of the process, as it is stored.
#[derive(Serialize)]
struct Process {
    time: String,
    uptime: f64,
    first_update: bool,
}

/// Our lease, and how it is kept.
struct Lease {
    id: i64,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

/// States of endpoints by key: as they are in the store, and as they were to be at the last tick.
#[derive(Default)]
struct Endpoints {
    stored: BTreeMap<String, String>,
    due: BTreeMap<String, Option<String>>,
}

impl Reporter {
    /// Waits until anything is to be told; None where nothing ever will.
    async fn wanted(&mut self) -> Option<()> {
        let wanted = |status: &Status| status.settings.interval.is_some() || status.settings.endpoints;
        self.statuses.wait_for(wanted).await.ok().map(drop)
    }

    async fn closed(&mut self) {
        while self.statuses.changed().await.is_ok() {}
    }

    async fn session(&mut self, endpoint: &str, failing: &mut bool) -> Result<Ended, EtcdError> {
        let settings = self.statuses.borrow_and_update().settings.clone();
        let (store, Head { cluster: _, term: _, revision }) = greet(&self.access, endpoint).await?;
        let region = settings.region.as_ref().map_or("no-region".to_owned(), |name| format!("region-{name}"));
        let below = format!("felix/v2/{region}/host/{}/", self.host);
        // States that are no longer told go with the lease that they were told under.
        let found = if settings.endpoints { stored(&store, &below, revision).await? } else { Vec::new() };
        let ttl = settings.ttl.max(LEAST_TTL);
        let mut lease = Lease::of(&store, ttl, &found).await?;
        let mut endpoints = Endpoints::default();
        endpoints.found(found, lease.id);
        let mut keep = ticks(ttl / 3);
        let mut process = ticks(settings.interval.unwrap_or(ttl));
        let mut tick = ticks(settings.endpoint_delay.max(Duration::from_millis(10)).mul_f64(1.05));
        let mut to_read = TICKS_TO_READ;
        loop {
            let has_written = tokio::select! {
                changed = self.statuses.changed() => match changed {
                    Err(_) => return Ok(Ended::Closed),
                    Ok(()) if self.statuses.borrow().settings != settings => return Ok(Ended::SettingsChanged),
                    Ok(()) => false,
                },
                _ = keep.tick() => {
                    lease.keep(&store).await?;
                    false
                }
                _ = process.tick(), if settings.interval.is_some() => {
                    self.say_process(&store, &below, lease.id).await?;
                    true
                }
                _ = tick.tick(), if settings.endpoints => {
                    to_read -= 1;
                    if to_read == 0 {
                        to_read = TICKS_TO_READ;
                        let revision = store.head().await?.revision;
                        endpoints.found(stored(&store, &below, revision).await?, lease.id);
                    }
                    let wanted = self.wanted_endpoints(&store, &below);
                    endpoints.say_one(&store, wanted, lease.id).await?
                }
            };
            if has_written && std::mem::take(failing) {
                info!("this host's state is written again");
            }
        }
    }

    async fn say_process(&mut self, store: &Store, below: &str, lease: i64) -> Result<(), EtcdError> {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let uptime = self.began.elapsed().as_secs_f64();
        let process = Process { time, uptime, first_update: self.first };
        // Made of a text, a number and a flag.
        let Ok(value) = serde_json::to_string(&process) else { return Ok(()) };
        let key = |name: &str| format!("{}{below}{name}", store.root());
        put(store, &key("status"), &value, Some(lease)).await?;
        self.first = false;
        put(store, &key("last_reported_status"), &value, None).await
    }

    /// What the store should hold; None where that is not known yet.
    fn wanted_endpoints(&self, store: &Store, below: &str) -> Option<BTreeMap<String, String>> {
        let status = self.statuses.borrow();
        let states = status.endpoints.iter().map(|(name, state)| {
            (format!("{}{below}{}", store.root(), name.path()), format!("{{\"status\":\"{state}\"}}"))
        });
        status.applied.then(|| states.collect())
    }
}

impl EndpointName {
    fn path(&self) -> String {
        let Self { orchestrator, workload, endpoint } = self;
        let [orchestrator, workload, endpoint] = [orchestrator, workload, endpoint].map(|part| escaped(part));
        format!("workload/{orchestrator}/{workload}/endpoint/{endpoint}")
    }
}

/// A part of a key (reference §2.2).
fn escaped(part: &str) -> String {
    part.replace('%', "%25").replace('/', "%2f")
}

impl Endpoints {
    /// What goes with another lease will soon be gone, as if it were not what we want there. Nor is what is no text.
    fn found(&mut self, rows: Vec<Row>, ours: i64) {
        let said = |Row { key, revision: _, value, is_deleted: _, lease }: Row| {
            let value =
                if lease == ours { String::from_utf8(value).unwrap_or_default() } else { String::new() };
            (key, value)
        };
        self.stored = rows.into_iter().map(said).collect();
    }

    /// Writes one difference that was there at the last tick already; whether there was one.
    async fn say_one(
        &mut self,
        store: &Store,
        wanted: Option<BTreeMap<String, String>>,
        lease: i64,
    ) -> Result<bool, EtcdError> {
        let Some(wanted) = wanted else { return Ok(false) };
        let due = differences(&self.stored, &wanted);
        let before = std::mem::replace(&mut self.due, due);
        let lasting = self.due.iter().find(|(key, value)| before.get(*key) == Some(value));
        let Some((key, value)) = lasting.map(|(key, value)| (key.clone(), value.clone())) else {
            return Ok(false);
        };
        match value {
            Some(value) => {
                put(store, &key, &value, Some(lease)).await?;
                self.stored.insert(key, value);
            }
            None => {
                let mut kv = store.client().kv_client();
                within(store.endpoint(), kv.delete(key.as_str(), None)).await?;
                self.stored.remove(&key);
            }
        }
        Ok(true)
    }
}

/// States of endpoints in the store.
async fn stored(store: &Store, below: &str, revision: i64) -> Result<Vec<Row>, EtcdError> {
    store.list(&format!("{below}workload/"), revision, Depth::Values).await
}

/// What must be written to make the one the other; None: removed.
fn differences(
    stored: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> BTreeMap<String, Option<String>> {
    let changed = wanted.iter().filter(|(key, value)| stored.get(*key) != Some(value));
    let gone = stored.keys().filter(|key| !wanted.contains_key(*key));
    changed
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .chain(gone.map(|key| (key.clone(), None)))
        .collect()
}

async fn put(store: &Store, key: &str, value: &str, lease: Option<i64>) -> Result<(), EtcdError> {
    let options = lease.map(|lease| PutOptions::new().with_lease(lease));
    let mut kv = store.client().kv_client();
    within(store.endpoint(), kv.put(key, value, options)).await.map(drop)
}

impl Lease {
    /// The one under which `found` was written, by an earlier connection or life of ours, so that it stays. Else a new one.
    async fn of(store: &Store, ttl: Duration, found: &[Row]) -> Result<Self, EtcdError> {
        let mut client = store.client().lease_client();
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let mut id = 0;
        if let Some(old) = found.iter().map(|row| row.lease).find(|lease| *lease != 0) {
            let left = within(store.endpoint(), client.time_to_live(old, None)).await?;
            id = if left.ttl() > 0 && left.granted_ttl() == seconds { old } else { 0 };
        }
        if id == 0 {
            id = within(store.endpoint(), client.grant(seconds, None)).await?.id();
        }
        let (keeper, answers) = within(store.endpoint(), client.keep_alive(id)).await?;
        Ok(Self { id, keeper, answers })
    }

    async fn keep(&mut self, store: &Store) -> Result<(), EtcdError> {
        within(store.endpoint(), self.keeper.keep_alive()).await?;
        let answer = within(store.endpoint(), self.answers.message()).await?;
        // An expired lease is answered too, and has no time left.
        match answer {
            Some(answer) if answer.ttl() > 0 => Ok(()),
            Some(_) | None => {
                let why = "the lease of this host's state has expired".to_owned();
                Err(EtcdError::Ended { endpoint: store.endpoint().to_owned(), why })
            }
        }
    }
}

fn ticks(time: Duration) -> Interval {
    let mut ticks = interval(time.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        let name = EndpointName {
            orchestrator: "k8s".into(),
            workload: "default/a%b".into(),
            endpoint: "eth0".into(),
        };
        assert_eq!(name.path(), "workload/k8s/default%2fa%25b/endpoint/eth0");
    }

    #[test]
    fn only_differences_are_written() {
        let of = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let due = differences(
            &of(&[("a", "up"), ("b", "up"), ("c", "up")]),
            &of(&[("a", "up"), ("b", "down"), ("d", "up")]),
        );
        let due: Vec<_> = due.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(due, [("b", Some("down")), ("c", None), ("d", Some("up"))]);
    }
}
