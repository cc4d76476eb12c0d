//! Writing as Calico's clients do (reference §2.4): a key is made only where there is none, and changed or deleted only
//! as it was read, so that nobody's change is lost.

mod stamp;

use std::fmt;
use std::io;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp, TxnOpResponse};
use serde_json::Value as Json;
use tokio::time::sleep;

use self::stamp::Stamp;
pub use self::stamp::identity;
use super::store::{Depth, Head, Row, Store};
use super::{EtcdError, open};
use crate::config::EtcdAccess;

/// How often a key is read anew that somebody else has changed since it was read.
const TRIES: u32 = 8;

/// Before the first further try; then twice as long each time.
const PAUSE: Duration = Duration::from_millis(5);

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Created,
    Configured,
    /// It was so already.
    Unchanged,
    Deleted,
    /// There was nothing to delete.
    Absent,
}

/// Why an object could not be written.
#[derive(Debug)]
pub enum WriteError {
    Etcd(EtcdError),
    /// Others kept changing it: the revision that was read last, and the one found in its place.
    Contended {
        key: String,
        read: i64,
        found: i64,
    },
    /// The system has no identity to give.
    NoIdentity(io::Error),
}

/// A connection to write through. Keys are given without the store's prefix.
pub struct Writer(Store);

impl Writer {
    /// To the first member that answers.
    ///
    /// # Errors
    ///
    /// No member answers; what the last one said.
    pub async fn connect(access: &EtcdAccess) -> Result<Self, EtcdError> {
        let (store, Head { cluster: _, term: _, revision: _ }) = open(access).await?;
        Ok(Self(store))
    }

    /// Makes the object be as `wanted`, keeping what the store says of it.
    ///
    /// # Errors
    ///
    /// etcd refuses or is away, and then it may have been written or not; or others keep changing it.
    pub async fn put(&self, key: &str, wanted: &Json) -> Result<Change, WriteError> {
        self.settle(key, |found| match found {
            None => Ok(Some((Stamp::fresh()?.on(wanted).to_string(), Change::Created))),
            Some(row) => {
                let present = serde_json::from_slice(&row.value).unwrap_or_default();
                let merged = stamp::kept(wanted, &present);
                if merged == present {
                    return Ok(None);
                }
                let stamped = Stamp::fresh()?.where_there_is_none(&merged);
                Ok(Some((stamped.to_string(), Change::Configured)))
            }
        })
        .await
    }

    /// Makes the object where there is none; one that is there stays as it is.
    ///
    /// # Errors
    ///
    /// As [`Writer::put`].
    pub async fn create(&self, key: &str, wanted: &Json) -> Result<Change, WriteError> {
        self.settle(key, |found| match found {
            None => Ok(Some((Stamp::fresh()?.on(wanted).to_string(), Change::Created))),
            Some(_) => Ok(None),
        })
        .await
    }

    /// Deletes the object.
    ///
    /// # Errors
    ///
    /// As [`Writer::put`].
    pub async fn delete(&self, key: &str) -> Result<Change, WriteError> {
        let key = self.full(key);
        let mut conflict = None;
        for again in 0..TRIES {
            pause(again).await;
            let Some(row) = self.0.at(&key, LATEST).await.map_err(WriteError::Etcd)? else {
                return Ok(Change::Absent);
            };
            match self.exchange(&key, row.revision, TxnOp::delete(key.clone(), None)).await? {
                None => return Ok(Change::Deleted),
                Some(found) => conflict = Some((row.revision, found)),
            }
        }
        Err(contended(key, conflict))
    }

    /// The object under `key`; null where it is no JSON.
    ///
    /// # Errors
    ///
    /// etcd refuses or is away.
    pub async fn value(&self, key: &str) -> Result<Option<Json>, EtcdError> {
        let row = self.0.at(&self.full(key), LATEST).await?;
        Ok(row.map(|row| serde_json::from_slice(&row.value).unwrap_or_default()))
    }

    /// The objects below `range`, which ends with a slash, as of one revision: keys without the prefix, and values.
    ///
    /// # Errors
    ///
    /// etcd refuses or is away.
    pub async fn all(&self, range: &str) -> Result<Vec<(String, Json)>, EtcdError> {
        let Head { cluster: _, term: _, revision } = self.0.head().await?;
        let rows = self.0.list(range, revision, Depth::Values).await?;
        let root = self.0.root();
        let object = |Row { key, revision: _, value, is_deleted: _, lease: _ }: Row| {
            let key = key.strip_prefix(&root)?.to_owned();
            Some((key, serde_json::from_slice(&value).unwrap_or_default()))
        };
        Ok(rows.into_iter().filter_map(object).collect())
    }

    /// Reads the key and writes what `wanted` makes of it, until nobody else does in between.
    async fn settle(
        &self,
        key: &str,
        wanted: impl Fn(Option<&Row>) -> Result<Option<(String, Change)>, WriteError>,
    ) -> Result<Change, WriteError> {
        let key = self.full(key);
        let mut conflict = None;
        for again in 0..TRIES {
            pause(again).await;
            let row = self.0.at(&key, LATEST).await.map_err(WriteError::Etcd)?;
            let Some((value, change)) = wanted(row.as_ref())? else { return Ok(Change::Unchanged) };
            let read = row.map_or(NEVER, |row| row.revision);
            match self.exchange(&key, read, TxnOp::put(key.clone(), value, None)).await? {
                None => return Ok(change),
                Some(found) => conflict = Some((read, found)),
            }
        }
        Err(contended(key, conflict))
    }

    /// Does it if the key is at that revision; else the revision that it is at.
    async fn exchange(&self, key: &str, read: i64, operation: TxnOp) -> Result<Option<i64>, WriteError> {
        let as_read = Compare::mod_revision(key, CompareOp::Equal, read);
        let look = TxnOp::get(key, Some(GetOptions::new().with_keys_only()));
        let response =
            self.0.transact(Txn::new().when([as_read]).and_then([operation]).or_else([look])).await;
        let response = response.map_err(WriteError::Etcd)?;
        if response.succeeded() {
            return Ok(None);
        }
        let found = response.op_responses().into_iter().find_map(|response| match response {
            TxnOpResponse::Get(found) => Some(found.kvs().first()?.mod_revision()),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
        });
        Ok(Some(found.unwrap_or(NEVER)))
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.0.root())
    }
}

/// The revision that etcd takes for the present one.
const LATEST: i64 = 0;

/// The revision of a key that is not there.
const NEVER: i64 = 0;

/// Nothing before the first try.
async fn pause(again: u32) {
    if again > 0 {
        sleep(PAUSE.saturating_mul(1 << again)).await;
    }
}

fn contended(key: String, conflict: Option<(i64, i64)>) -> WriteError {
    let (read, found) = conflict.unwrap_or((NEVER, NEVER));
    WriteError::Contended { key, read, found }
}

impl Change {
    /// As it is printed before the object's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::Absent => "absent",
        }
    }
}

impl WriteError {
    /// What can be done about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Etcd(error) => error.help(),
            Self::Contended { .. } => Some("see who else writes it, and try again"),
            Self::NoIdentity(_) => None,
        }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Etcd(error) => error.fmt(f),
            Self::Contended { key, read, found: NEVER } => {
                write!(f, "{key}: others keep changing it: read at revision {read}, then gone")
            }
            Self::Contended { key, read: NEVER, found } => {
                write!(f, "{key}: others keep changing it: not there, then written at revision {found}")
            }
            Self::Contended { key, read, found } => {
                write!(f, "{key}: others keep changing it: read at revision {read}, then found at {found}")
            }
            Self::NoIdentity(error) => write!(f, "no identity for a new object: {error}"),
        }
    }
}

impl std::error::Error for WriteError {}
