//! The store followed, whatever happens to it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::EtcdError;
use super::known::{Change, Known, Stored};
use super::layout::RANGES;
use super::outbox::Outbox;
use super::store::{Depth, Head, Row, Store, Watch};
use crate::config::EtcdAccess;
use crate::datastore::parallel::map;
use crate::datastore::{Backoff, Place, ReadError, ReadErrorKind};

/// A stream that is silent for so long has to show that it lives. It may take as long to do so.
const PROBE: Duration = Duration::from_secs(10);

/// How often the leader is asked whether the store is still the one that it was.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Times between two tries to connect.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A connection that lasted so long was a good one: the next try is not put off.
const SETTLED: Duration = Duration::from_secs(20);

/// Of a range of which no more changed, keys are read one by one.
const FEW: usize = 32;

/// Reads the store and follows it.
pub(super) struct Follower {
    access: EtcdAccess,
    /// For people: the store as a whole.
    name: Arc<str>,
    outbox: Arc<Outbox>,
    known: Known,
    /// As of the last full look.
    head: Option<Head>,
    /// The newest revision of which anything was said.
    revision: AtomicI64,
    /// In which ways the store has been lost since it was last in sync.
    losses: Vec<Discriminant<EtcdError>>,
}

impl Follower {
    pub(super) fn new(access: EtcdAccess, outbox: Arc<Outbox>) -> Self {
        let name = super::name(&access);
        Self {
            access,
            name,
            outbox,
            known: Known::default(),
            head: None,
            revision: AtomicI64::new(0),
            losses: Vec::new(),
        }
    }

    /// Follows for ever. A connection that fails is made anew, to the next member.
    pub(super) async fn follow(mut self) -> Infallible {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let endpoints = self.access.endpoints.clone();
        // Hosts begin at different members.
        let begin = random() as usize % endpoints.len().max(1);
        for endpoint in endpoints.iter().cycle().skip(begin) {
            let began = Instant::now();
            let Err(error) = self.session(endpoint).await;
            match &error {
                EtcdError::Compacted { .. } | EtcdError::WentBack { .. } => info!("{error}"),
                _ => debug!("{error}"),
            }
            self.lost(&error);
            if began.elapsed() > SETTLED {
                backoff.reset();
            }
            sleep(jittered(backoff.wait())).await;
        }
        warn!("no endpoint of etcd is known");
        std::future::pending().await
    }

    /// Members may fail in turns, each in its own way: every way is said once.
    fn lost(&mut self, error: &EtcdError) {
        let kind = discriminant(error);
        if self.losses.contains(&kind) {
            return;
        }
        self.losses.push(kind);
        let place = Place { source: Arc::clone(&self.name), line: 0, column: 0 };
        let (words, help) = (error.to_string(), error.help().map(str::to_owned));
        self.outbox.lost(ReadError { place, excerpt: None, kind: ReadErrorKind::Store { words, help } });
    }

    /// Reads everything as of one revision, and all that happens from the next one on, until that fails.
    async fn session(&mut self, endpoint: &str) -> Result<Infallible, EtcdError> {
        let (store, head) = super::greet(&self.access, endpoint).await?;
        let changes = self.look(&store, head).await?;
        debug!(endpoint, revision = head.revision, changes = changes.len(), "the store is read");
        let watch = match store.watch(head.revision + 1).await {
            Ok(watch) => watch,
            Err(error) => {
                self.outbox.changed(changes, head.revision);
                return Err(error);
            }
        };
        self.outbox.in_sync(&self.name, changes, head.revision);
        self.losses.clear();
        let (known, outbox, revision) = (&mut self.known, &*self.outbox, &self.revision);
        let root = store.root();
        tokio::select! {
            ended = attend(watch, known, outbox, revision, &root) => ended,
            ended = heartbeat(&store, head, revision) => ended,
        }
    }

    /// What is other as of `head` than it was.
    ///
    /// What is known is compared with the keys and revisions alone, and only what changed is read: thousands of hosts
    /// may do this at once, when a member restarts.
    async fn look(&mut self, store: &Store, head: Head) -> Result<Vec<Change>, EtcdError> {
        let known = self.revision.load(Ordering::Relaxed);
        let same_store = self.head.is_some_and(|old| head.follows(old, known));
        if self.head.is_some() && !same_store {
            warn!("{}", EtcdError::WentBack { endpoint: store.endpoint().to_owned() });
        }
        let (mut put, mut gone) = (Vec::new(), Vec::new());
        for range in RANGES {
            let (changed, deleted) = self.look_at(store, range, head.revision, same_store).await?;
            put.extend(changed);
            gone.extend(deleted);
        }
        // Only now that all of it is read: else what failed in the middle would never be said.
        let mut changes = Vec::new();
        for stored in put {
            self.known.put(stored, &mut changes);
        }
        for key in gone {
            self.known.delete(&key, &mut changes);
        }
        self.head = Some(head);
        self.revision.store(head.revision, Ordering::Relaxed);
        Ok(changes)
    }

    /// What changed in one range, and what is no longer there.
    async fn look_at(
        &self,
        store: &Store,
        range: &str,
        revision: i64,
        same_store: bool,
    ) -> Result<(Vec<Stored>, Vec<Arc<str>>), EtcdError> {
        let root = store.root();
        let prefix = format!("{root}{range}");
        let compares = same_store && self.known.below(&prefix).next().is_some();
        let depth = if compares { Depth::Keys } else { Depth::Values };
        let listed = store.list(range, revision, depth).await?;
        let there: BTreeSet<&str> = listed.iter().map(|row| row.key.as_str()).collect();
        let gone = self.known.below(&prefix).filter(|key| !there.contains(&***key)).cloned().collect();
        let values = if compares { self.values(store, range, revision, &listed).await? } else { listed };
        Ok((read(values, root, self.known.hasher()).await, gone))
    }

    /// The values of those of the keys that changed.
    async fn values(
        &self,
        store: &Store,
        range: &str,
        revision: i64,
        listed: &[Row],
    ) -> Result<Vec<Row>, EtcdError> {
        let is_changed = |row: &Row| !self.known.has(&row.key, row.revision);
        let changed: Vec<&Row> = listed.iter().filter(|row| is_changed(row)).collect();
        if changed.len() > FEW {
            let mut all = store.list(range, revision, Depth::Values).await?;
            all.retain(is_changed);
            return Ok(all);
        }
        let mut values = Vec::new();
        for row in changed {
            values.extend(store.at(&row.key, revision).await?);
        }
        Ok(values)
    }
}

/// Says what happens, until the stream ends or no longer shows that it lives.
async fn attend(
    mut watch: Watch,
    known: &mut Known,
    outbox: &Outbox,
    revision: &AtomicI64,
    root: &str,
) -> Result<Infallible, EtcdError> {
    let hasher = known.hasher();
    let mut asked = false;
    loop {
        match timeout(PROBE, watch.next()).await {
            Ok(happened) => {
                asked = false;
                let happened = happened?;
                let Some(newest) = happened.iter().map(|row| row.revision).max() else { continue };
                outbox.changed(changes(known, &happened, root, &hasher), newest);
                revision.fetch_max(newest, Ordering::Relaxed);
            }
            Err(_) if asked => return Err(watch.silent(PROBE)),
            Err(_) => {
                watch.ask().await?;
                asked = true;
            }
        }
    }
}

fn changes(known: &mut Known, happened: &[Row], root: &str, hasher: &RandomState) -> Vec<Change> {
    let mut changes = Vec::new();
    for row in happened {
        if row.is_deleted {
            known.delete(&row.key, &mut changes);
        } else if let Some(stored) = Stored::of(row, root, hasher) {
            known.put(stored, &mut changes);
        }
    }
    changes
}

/// Asks now and then whether there is a leader, and whether the store is the one that we know. A store that was restored
/// from a backup behind a proxy shows itself only here.
async fn heartbeat(store: &Store, first: Head, revision: &AtomicI64) -> Result<Infallible, EtcdError> {
    loop {
        sleep(jittered(HEARTBEAT)).await;
        let known = revision.load(Ordering::Relaxed);
        if !store.head().await?.follows(first, known) {
            return Err(EtcdError::WentBack { endpoint: store.endpoint().to_owned() });
        }
    }
}

/// Many values at once, on all cores and beside the runtime.
pub(super) async fn read(values: Vec<Row>, root: String, hasher: RandomState) -> Vec<Stored> {
    let read = spawn_blocking(move || map(&values, |row| Stored::of(row, &root, &hasher)));
    match read.await.map_err(JoinError::try_into_panic) {
        Ok(read) => read.into_iter().flatten().collect(),
        // Nothing must look as if it had been read.
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is being shut down.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Between half of it and all of it, so that hosts that lost the store together don't come back together.
pub(super) fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.5 + 0.5 * (random() as f64 / u64::MAX as f64))
}

/// Not to be guessed from the time, which many hosts share.
fn random() -> u64 {
    RandomState::new().hash_one(())
}
