//! etcd's own proxy in between: it hides from us what happens behind it.

use std::time::Duration;

use super::{Etcd, copy};
use crate::Source;
use crate::contract::contract;
use crate::seen::Seen;

mod keeps_the_contract {
    use super::*;

    contract!(Etcd::shared());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_behind_it() {
    let mut shared = Etcd::shared();
    shared.put("a", 1);
    let mut seen = Seen::new(shared.follow());
    let mut other = Seen::new(shared.follow());
    for seen in [&mut seen, &mut other] {
        seen.until_values(&["1"]).await;
    }
    for value in 2..4 {
        shared.server.kill();
        shared.server.restart();
        shared.put("a", value);
        for seen in [&mut seen, &mut other] {
            seen.until(|state| state.values() == [&*value.to_string()] && !state.is_lost).await;
            assert_eq!(seen.state.deletes, 0);
        }
    }
}

/// An idle stream lives, though the proxy does not pass on every question that could show it.
pub async fn nothing_happens_for_long() {
    let shared = Etcd::shared();
    shared.put("a", 1);
    let mut seen = Seen::new(shared.follow());
    seen.until_values(&["1"]).await;
    assert!(seen.is_quiet_for(Duration::from_secs(45)).await);
    shared.put("a", 2);
    seen.until_values(&["2"]).await;
    assert_eq!(seen.state.losses, 0);
}

/// The connection stays, and what comes through it is of another world.
pub async fn a_backup_is_restored_behind_it() {
    let mut etcd = Etcd::shared();
    etcd.put("a", 1);
    etcd.put("b", 2);
    etcd.server.kill();
    let backup = tempfile::tempdir().unwrap();
    copy(&etcd.server.data().join("data"), &backup.path().join("data"));
    etcd.server.restart();
    let mut seen = etcd.seen();
    seen.until(|state| state.is_in_sync).await;
    for value in 3..20 {
        etcd.put("a", value);
    }
    etcd.delete("b");
    seen.until_values(&["19"]).await;
    etcd.server.restart_from(backup);
    seen.until(|state| state.values() == ["1", "2"] && !state.is_lost).await;
    etcd.put("a", 7);
    seen.until_values(&["7", "2"]).await;
}

/// The proxy answers, and the server behind it does not.
pub async fn a_server_hangs_behind_it() {
    let shared = Etcd::shared();
    shared.put("a", 1);
    let mut seen = Seen::new(shared.follow());
    seen.until_values(&["1"]).await;
    shared.server.signal("STOP");
    seen.until(|state| state.is_lost).await;
    assert_eq!(seen.state.values(), ["1"]);
    shared.server.signal("CONT");
    shared.put("a", 2);
    seen.until(|state| state.values() == ["2"] && !state.is_lost).await;
}
