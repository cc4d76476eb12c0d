//! etcd v3 with Calico's keys, of today and of 2017 (reference §2; felix-2.1 §2): read once, or followed.
//!
//! Everything below one prefix that an enforcer reads is listed as of one revision and watched from the next. What
//! others write all the time, states of hosts and endpoints, is neither listed nor watched.

mod error;
mod follower;
mod known;
mod layout;
mod outbox;
mod status;
mod store;
mod tls;
mod value;
mod write;

use std::hash::RandomState;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use self::error::EtcdError;
use self::follower::Follower;
use self::layout::RANGES;
use self::outbox::Outbox;
pub use self::status::{EndpointName, Status, report};
use self::store::{Depth, Head, Store};
pub use self::write::{Change, WriteError, Writer, identity};
use super::Event;
use crate::config::EtcdAccess;

/// The store for people, as it may stand on a command line: `etcd://10.0.0.1:2379,10.0.0.2:2379`.
pub fn name(access: &EtcdAccess) -> Arc<str> {
    let host = |endpoint: &String| endpoint.rsplit("//").next().unwrap_or_default().to_owned();
    let hosts: Vec<String> = access.endpoints.iter().map(host).collect();
    format!("etcd://{}", hosts.join(",")).into()
}

/// All that the store holds as of one revision, ending with [`Event::InSync`], from the first member that answers.
///
/// # Errors
///
/// No member answers; what the last one said.
pub async fn read(access: &EtcdAccess) -> Result<Vec<Event>, EtcdError> {
    let (store, Head { cluster: _, term: _, revision }) = open(access).await?;
    let mut events = Vec::new();
    for range in RANGES {
        let values = store.list(range, revision, Depth::Values).await?;
        let stored = follower::read(values, store.root(), RandomState::new()).await;
        events.extend(stored.into_iter().map(|stored| match stored.into_reading() {
            Ok(entry) => Event::Put(entry),
            Err(error) => Event::Unreadable(error),
        }));
    }
    events.extend([Event::Revision(revision), Event::InSync]);
    Ok(events)
}

/// Follows the store, until the receiver is dropped. Needs a Tokio runtime with its timer.
///
/// The goals, the first the dearest:
///
/// 1. *Nothing is invented.* What is said was there at one revision. [`Event::InSync`] comes when all of it was said, and
///    after each [`Event::Lost`] only when all that changed meanwhile was. A store that is away changes nothing; nor does
///    a value that is no JSON: what the key said before stands.
/// 2. *Nothing is missed, nor told in another order* than it happened; transactions whole. The watch begins at the revision behind the list. The stream has to show that it lives; the
///    leader is asked whether it is still the same store. After any doubt (a broken stream, a compaction, a restored
///    backup) keys and revisions are listed anew, and what differs is read and said: never everything, and never as
///    a deletion of all.
/// 3. *No load without need.* Tries to connect grow rarer and are spread by chance; members take turns.
/// 4. *Bounded memory.* Pages grow smaller where values are large; what the other side has no time for is summed up.
pub fn watch(access: EtcdAccess) -> mpsc::Receiver<Vec<Event>> {
    let (sender, receiver) = mpsc::channel(1);
    let outbox = Arc::new(Outbox::default());
    let follower = Follower::new(access, Arc::clone(&outbox));
    tokio::spawn(async move {
        tokio::select! {
            () = outbox.deliver(sender) => {}
            never = follower.follow() => match never {},
        }
    });
    receiver
}

/// A connection to the first member that answers and logs us in, and the state that it is at.
async fn open(access: &EtcdAccess) -> Result<(Store, Head), EtcdError> {
    let mut last = EtcdError::Refused { endpoint: String::new(), why: "no endpoint is known".to_owned() };
    for endpoint in &access.endpoints {
        match greet(access, endpoint).await {
            Ok(connected) => return Ok(connected),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn greet(access: &EtcdAccess, endpoint: &str) -> Result<(Store, Head), EtcdError> {
    let store = Store::open(access, endpoint).await?;
    let head = store.head().await?;
    Ok((store, head))
}
