//! One member of etcd, asked and watched. Every question has a deadline.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, GetOptions, GetResponse, Identity, KeyValue, TlsOptions, Txn,
    TxnResponse, WatchOptions, WatchRequestSender, WatchResponse, WatchResponseStream,
};
use tokio::time::timeout;

use super::EtcdError;
use super::layout::RANGES;
use crate::config::{EtcdAccess, Pem};

/// How long an answer is waited for (reference §2.4: dialling takes at most 10 s).
const DEADLINE: Duration = Duration::from_secs(10);

/// Proves that the connection lives. The server ends connections on which it is asked more often than every 5 s.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Keys of one page, where their values are small.
const PAGE: i64 = 1000;

/// The most that one answer may hold; pages grow smaller until they do not.
const MOST: usize = 64 << 20;

/// A certificate, key or list of authorities has no more.
const PEM_LIMIT: u64 = 1 << 20;

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
            options = options.with_tls(tls(access, endpoint)?);
        }
        if let Some(login) = &access.login {
            options = options.with_user(&login.user, login.password.reveal()).with_auto_token_refresh(true);
        }
        let client = within(endpoint, Client::connect([endpoint], Some(options))).await?;
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
        let mut kv = self.client.kv_client().max_decoding_message_size(MOST);
        within(&self.endpoint, kv.get(key, Some(options))).await
    }

    /// Everything that happens from `revision` on. The server has taken all of it on when this is done.
    pub(super) async fn watch(&self, revision: i64) -> Result<Watch, EtcdError> {
        let mut ranges = RANGES.iter().map(|range| format!("{}{range}", self.root()));
        let options = || WatchOptions::new().with_prefix().with_start_revision(revision).with_fragment();
        let Some(first) = ranges.next() else { return Err(self.ended("there is nothing to watch")) };
        let mut client = self.client.watch_client().max_decoding_message_size(MOST);
        let stream = within(&self.endpoint, client.watch(first, Some(options()))).await?;
        let (mut sender, stream) = stream.split();
        for range in ranges {
            within(&self.endpoint, sender.watch(range, Some(options()))).await?;
        }
        let mut watch = Watch { endpoint: self.endpoint.clone(), sender, stream, early: Vec::new() };
        watch.taken_on().await?;
        Ok(watch)
    }

    fn ended(&self, why: &str) -> EtcdError {
        EtcdError::Ended { endpoint: self.endpoint.clone(), why: why.to_owned() }
    }
}

impl Head {
    fn of(response: &GetResponse) -> Self {
        response.header().map_or(Self { cluster: 0, revision: 0 }, |header| Self {
            cluster: header.cluster_id(),
            revision: header.revision(),
        })
    }
}

impl Row {
    /// None where the key is no text: not one of ours.
    fn of(kv: KeyValue) -> Option<Self> {
        // A deletion leaves the key without a version.
        let (revision, is_deleted) = (kv.mod_revision(), kv.version() == 0);
        let (key, value) = kv.into_key_value();
        Some(Self { key: String::from_utf8(key).ok()?, revision, value, is_deleted })
    }
}

/// The stream of what happens.
pub(super) struct Watch {
    endpoint: String,
    sender: WatchRequestSender,
    stream: WatchResponseStream,
    /// Happened while the ranges were being taken on.
    early: Vec<Row>,
}

impl Watch {
    /// Waits until the server watches all ranges.
    async fn taken_on(&mut self) -> Result<(), EtcdError> {
        let endpoint = self.endpoint.clone();
        let mut waiting = RANGES.len();
        let all = async {
            while waiting > 0 {
                let response = self.response().await?;
                waiting -= usize::from(response.created());
                self.early.extend(happened(&response));
            }
            Ok(())
        };
        let silent = |_| EtcdError::Silent { endpoint, waited: DEADLINE };
        timeout(DEADLINE, all).await.map_err(silent)?
    }

    /// The keys of the next message, the latest state of each; none where it only shows that the stream
    /// lives.
    pub(super) async fn next(&mut self) -> Result<Vec<Row>, EtcdError> {
        if !self.early.is_empty() {
            return Ok(latest(std::mem::take(&mut self.early)));
        }
        let response = self.response().await?;
        Ok(latest(happened(&response).collect()))
    }

    /// Lets the server show that the stream lives. Nothing is read off the revision that it says: servers before 3.4.25
    /// may name one whose events are still to come.
    pub(super) async fn ask(&mut self) -> Result<(), EtcdError> {
        within(&self.endpoint, self.sender.request_progress()).await
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
            Ok(Some(response)) if response.canceled() => {
                Err(EtcdError::Ended { endpoint, why: response.cancel_reason().to_owned() })
            }
            Ok(Some(response)) => Ok(response),
        }
    }
}

/// What happened to keys, in its order.
fn happened(response: &WatchResponse) -> impl Iterator<Item = Row> {
    response.events().iter().filter_map(|event| event.kv().cloned()).filter_map(Row::of)
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

/// The server's name is held against its certificate; only the authorities that are named are believed.
fn tls(access: &EtcdAccess, endpoint: &str) -> Result<TlsOptions, EtcdError> {
    let Some(authorities) = &access.authorities else {
        return Err(EtcdError::NoAuthorities { endpoint: endpoint.to_owned() });
    };
    let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(pem(authorities)?));
    if let Some(identity) = &access.identity {
        options = options.identity(Identity::from_pem(pem(&identity.certificate)?, pem(&identity.key)?));
    }
    Ok(options)
}

fn pem(pem: &Pem) -> Result<Vec<u8>, EtcdError> {
    match pem {
        Pem::Text(secret) => Ok(secret.reveal().as_bytes().to_vec()),
        Pem::File(path) => read_pem(path).map_err(|error| EtcdError::File { path: path.clone(), error }),
    }
}

fn read_pem(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = Vec::new();
    file.take(PEM_LIMIT).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_behind_its_prefix() {
        assert_eq!(behind(b"/calico/v1/"), b"/calico/v10");
    }
}
