//! One member of etcd, asked and watched. Every question has a deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{
    Client, ConnectOptions, GetOptions, GetResponse, KeyValue, Txn, TxnResponse, WatchOptions,
    WatchRequestSender, WatchResponse, WatchResponseStream,
};
use tokio::time::timeout;

use super::layout::RANGES;
use super::{EtcdError, tls};
use crate::config::{EtcdAccess, Login};

/// How long an answer is waited for (reference §2.4: dialling takes at most 10 s).
const DEADLINE: Duration = Duration::from_secs(10);

/// Proves that the connection lives. The server ends connections on which it is asked more often than every 5 s.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Keys of one page, where their values are small.
const PAGE: i64 = 1000;

/// The most that one answer may hold; pages grow smaller until they do not.
const MOST: usize = 64 << 20;

/// A connection to one member.
pub struct Store {
    client: Client,
    endpoint: String,
    prefix: String,
}

/// What is said of the store as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) cluster: u64,
    /// Of the members' consensus. It only grows; a restored backup begins anew.
    pub(super) term: u64,
    pub(super) revision: i64,
}

/// A key, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) revision: i64,
    /// Empty where only keys were asked for.
    pub(super) value: Vec<u8>,
    pub(super) is_deleted: bool,
    /// Zero where it goes with none.
    pub(super) lease: i64,
}

/// How much of each key is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Keys and revisions.
    Keys,
    Values,
}

impl Store {
    /// Connects, and logs in where a user is named. Certificates are read anew: they may have been replaced.
    pub(super) async fn open(access: &EtcdAccess, endpoint: &str) -> Result<Self, EtcdError> {
        let (interval, limit) = KEEP_ALIVE;
        let mut options = ConnectOptions::new()
            .with_connect_timeout(DEADLINE)
            .with_keep_alive(interval, limit)
            .with_keep_alive_while_idle(true)
            // A member that has lost the others must not go on as if nothing happened.
            .with_require_leader(true);
        if endpoint.starts_with("https://") {
            options = options.with_tls(tls::options(access, endpoint)?);
        }
        let connected = async |options| within(endpoint, Client::connect([endpoint], Some(options))).await;
        let client = match &access.login {
            None => connected(options).await?,
            Some(Login { user, password }) => {
                let named = options.clone().with_user(user, password.reveal()).with_auto_token_refresh(true);
                match connected(named).await {
                    // As etcd's own clients do: who knows no users lets everybody in.
                    Err(EtcdError::NoUsers { .. }) => connected(options).await?,
                    client => client?,
                }
            }
        };
        Ok(Self { client, endpoint: endpoint.to_owned(), prefix: access.prefix.clone() })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What all keys begin with, a slash at the end.
    pub(super) fn root(&self) -> String {
        format!("{}/", self.prefix)
    }

    /// Asks the leader for the present revision.
    pub(super) async fn head(&self) -> Result<Head, EtcdError> {
        let options = GetOptions::new().with_count_only();
        let response = self.range(self.root(), options).await?;
        Ok(Head::of(&response))
    }

    /// All below `range`, which ends with a slash, as of `revision`, in the order of keys.
    pub(super) async fn list(&self, range: &str, revision: i64, depth: Depth) -> Result<Vec<Row>, EtcdError> {
        let begin = format!("{}{range}", self.root()).into_bytes();
        let end = behind(&begin);
        let (mut from, mut limit, mut all) = (begin, PAGE, Vec::new());
        loop {
            let options = GetOptions::new().with_range(end.clone()).with_revision(revision).with_limit(limit);
            let options = if depth == Depth::Keys { options.with_keys_only() } else { options };
            let mut page = match self.range(from.clone(), options).await {
                Err(EtcdError::TooLarge { .. }) if limit > 1 => {
                    limit = (limit / 8).max(1);
                    continue;
                }
                page => page?,
            };
            let more = page.kvs().last().filter(|_| page.more()).map(|last| [last.key(), b"\0"].concat());
            all.extend(page.take_kvs().into_iter().filter_map(Row::of));
            match more {
                Some(next) => from = next,
                None => return Ok(all),
            }
        }
    }

    /// One key as of `revision`; None where it was not there.
    pub(super) async fn at(&self, key: &str, revision: i64) -> Result<Option<Row>, EtcdError> {
        let options = GetOptions::new().with_revision(revision);
        Ok(self.range(key, options).await?.take_kvs().pop().and_then(Row::of))
    }

    /// Does one thing or the other, as the store is.
    pub(super) async fn transact(&self, transaction: Txn) -> Result<TxnResponse, EtcdError> {
        within(&self.endpoint, self.client.kv_client().txn(transaction)).await
    }

    async fn range(&self, key: impl Into<Vec<u8>>, options: GetOptions) -> Result<GetResponse, EtcdError> {
        let (mut kv, key) = (self.client.kv_client().max_decoding_message_size(MOST), key.into());
        let answer = within(&self.endpoint, kv.get(key.clone(), Some(options.clone()))).await;
        let Err(EtcdError::OldLogin { .. }) = answer else { return answer };
        within(&self.endpoint, self.client.refresh_token()).await?;
        within(&self.endpoint, kv.get(key, Some(options))).await
    }

    /// Everything that happens from `revision` on. The server has taken it on when this is done.
    ///
    /// One watch of all that lies between the first and the last of [`RANGES`]: with one for each, a transaction would
    /// come in pieces, and one range ahead of another. What lies in between and is not ours is little.
    pub(super) async fn watch(&self, revision: i64) -> Result<Watch, EtcdError> {
        let root = self.root();
        let [first, .., last] = RANGES;
        let end = behind(format!("{root}{last}").as_bytes());
        let options = WatchOptions::new().with_range(end).with_start_revision(revision).with_fragment();
        let mut client = self.client.watch_client().max_decoding_message_size(MOST);
        let watching = client.watch(format!("{root}{first}"), Some(options));
        let (sender, stream) = within(&self.endpoint, watching).await?.split();
        let mut watch = Watch {
            endpoint: self.endpoint.clone(),
            root,
            sender,
            stream,
            taken_on: false,
            early: Vec::new(),
            answered: None,
            ended: None,
        };
        watch.taken_on().await?;
        Ok(watch)
    }
}

impl Head {
    /// Whether it can be a later state of the store that was at `old`, and of which all up to `revision` is known.
    pub(super) fn follows(self, old: Self, revision: i64) -> bool {
        let Self { cluster, term, revision: now } = self;
        cluster == old.cluster && term >= old.term && now >= revision
    }

    fn of(response: &GetResponse) -> Self {
        response.header().map_or(Self { cluster: 0, term: 0, revision: 0 }, |header| Self {
            cluster: header.cluster_id(),
            term: header.raft_term(),
            revision: header.revision(),
        })
    }
}

impl Row {
    /// None where the key is no text: not one of ours.
    fn of(kv: KeyValue) -> Option<Self> {
        // A deletion leaves the key without a version.
        let (revision, is_deleted, lease) = (kv.mod_revision(), kv.version() == 0, kv.lease());
        let (key, value) = kv.into_key_value();
        Some(Self { key: String::from_utf8(key).ok()?, revision, value, is_deleted, lease })
    }
}

/// The stream of what happens.
pub(super) struct Watch {
    endpoint: String,
    root: String,
    sender: WatchRequestSender,
    stream: WatchResponseStream,
    /// The server watches.
    taken_on: bool,
    /// Happened before it said so.
    early: Vec<Row>,
    /// The watch that was the answer to the last question, and the one that was the answer before.
    answered: Option<i64>,
    ended: Option<i64>,
}

impl Watch {
    /// Waits until the server watches.
    async fn taken_on(&mut self) -> Result<(), EtcdError> {
        let endpoint = self.endpoint.clone();
        let taken_on = async {
            while !self.taken_on {
                let response = self.response().await?;
                self.taken_on = response.created();
                self.early.extend(self.ours(&response));
            }
            Ok(())
        };
        let silent = |_| EtcdError::Silent { endpoint, waited: DEADLINE };
        timeout(DEADLINE, taken_on).await.map_err(silent)?
    }

    /// The keys of the next message, the latest state of each; none where it only shows that the stream
    /// lives.
    pub(super) async fn next(&mut self) -> Result<Vec<Row>, EtcdError> {
        if !self.early.is_empty() {
            return Ok(latest(std::mem::take(&mut self.early)));
        }
        let response = self.response().await?;
        if response.created() && !response.canceled() {
            self.answered = Some(response.watch_id());
        }
        Ok(latest(self.ours(&response)))
    }

    /// What happened to keys that are read, in its order.
    fn ours(&self, response: &WatchResponse) -> Vec<Row> {
        let happened = response.events().iter().filter_map(etcd_client::Event::kv);
        happened.filter(|kv| self.reads(kv.key())).cloned().filter_map(Row::of).collect()
    }

    fn reads(&self, key: &[u8]) -> bool {
        let below = key.strip_prefix(self.root.as_bytes()).unwrap_or_default();
        RANGES.iter().any(|range| below.starts_with(range.as_bytes()))
    }

    /// Lets the server show that the stream lives: one more watch, of a key that is never there. Any answer will do, a
    /// refusal too, as the login may have expired meanwhile. `etcd grpc-proxy` passes it on, whereas it does not answer
    /// a request for progress.
    pub(super) async fn ask(&mut self) -> Result<(), EtcdError> {
        if let Some(id) = self.answered.take() {
            self.ended = Some(id);
            within(&self.endpoint, self.sender.cancel(id)).await?;
        }
        within(&self.endpoint, self.sender.watch(self.root.as_str(), None)).await
    }

    pub(super) fn silent(&self, waited: Duration) -> EtcdError {
        EtcdError::Silent { endpoint: self.endpoint.clone(), waited }
    }

    async fn response(&mut self) -> Result<WatchResponse, EtcdError> {
        let endpoint = self.endpoint.clone();
        match self.stream.message().await {
            Err(error) => Err(EtcdError::of(&self.endpoint, &error)),
            Ok(None) => Err(EtcdError::Ended { endpoint, why: "it closed the stream".to_owned() }),
            // With an empty reason; afterwards the stream would be silent for ever.
            Ok(Some(response)) if response.compact_revision() > 0 => {
                Err(EtcdError::Compacted { revision: response.compact_revision() })
            }
            Ok(Some(response)) if response.canceled() && !self.answers(&response) => {
                Err(EtcdError::ended(endpoint, response.cancel_reason()))
            }
            Ok(Some(response)) => Ok(response),
        }
    }

    /// Whether this is not about what we watch.
    fn answers(&self, response: &WatchResponse) -> bool {
        self.taken_on && (response.created() || self.ended == Some(response.watch_id()))
    }
}

/// The last of each key.
fn latest(all: Vec<Row>) -> Vec<Row> {
    let latest: BTreeMap<String, Row> = all.into_iter().map(|row| (row.key.clone(), row)).collect();
    latest.into_values().collect()
}

/// The first key behind all that begin with `prefix`, which ends with a slash.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let (slash, before) = prefix.split_last().unwrap_or((&b'/', &[]));
    [before, &[slash.saturating_add(1)]].concat()
}

/// The answer, if it comes in time.
pub(super) async fn within<T>(
    endpoint: &str,
    answer: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    match timeout(DEADLINE, answer).await {
        Ok(answer) => answer.map_err(|error| EtcdError::of(endpoint, &error)),
        Err(_) => Err(EtcdError::Silent { endpoint: endpoint.to_owned(), waited: DEADLINE }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_behind_its_prefix() {
        assert_eq!(behind(b"/calico/v1/"), b"/calico/v10");
    }
}
