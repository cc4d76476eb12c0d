//! What takes long to be noticed: all of it at once, as these tests do little but wait.

use std::pin::Pin;
use std::time::Duration;

use felix_rs::config::EtcdAccess;
use felix_rs::datastore::etcd;
use tokio::time::sleep;

use super::{Etcd, auth, grpc_proxy, members};
use crate::Source;
use crate::proxy::{Proxy, Way};
use crate::seen::Seen;

type Test = Pin<Box<dyn Future<Output = ()> + Send>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_at_once() {
    let tests: [(&str, Test); 10] = [
        ("a server that hangs", Box::pin(a_server_that_hangs_is_given_up())),
        ("a server that is not heard", Box::pin(a_server_that_is_not_heard())),
        ("a way that hangs", Box::pin(a_way_that_hangs_is_given_up_for_another())),
        ("a refused connection", Box::pin(a_refused_connection_is_tried_ever_more_rarely())),
        ("a leader that is killed or stopped", Box::pin(members::a_leader_that_is_killed_or_stopped())),
        ("tokens that expire", Box::pin(auth::tokens_that_expire())),
        ("roles that change", Box::pin(auth::roles_that_change())),
        ("nothing happens behind a proxy", Box::pin(grpc_proxy::nothing_happens_for_long())),
        ("a backup behind a proxy", Box::pin(grpc_proxy::a_backup_is_restored_behind_it())),
        ("a server that hangs behind a proxy", Box::pin(grpc_proxy::a_server_hangs_behind_it())),
    ];
    let running = tests.map(|(name, test)| (name, tokio::spawn(test)));
    for (name, test) in running {
        println!("{name}");
        test.await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// All that we send is taken, and nothing comes back.
async fn a_server_that_is_not_heard() {
    let etcd = Etcd::new();
    etcd.put("a", 1);
    let mut seen = etcd.seen();
    seen.until_values(&["1"]).await;
    etcd.proxy.set(Way::Muted);
    etcd.put("a", 2);
    seen.until(|state| state.is_lost).await;
    assert_eq!(seen.state.values(), ["1"]);
    etcd.proxy.set(Way::Open);
    seen.until(|state| state.values() == ["2"] && !state.is_lost).await;
}

/// A process that is stopped keeps its connections, and says nothing.
async fn a_server_that_hangs_is_given_up() {
    let etcd = Etcd::new();
    etcd.put("a", 1);
    let mut seen = etcd.seen();
    seen.next().await;
    etcd.server.signal("STOP");
    seen.until(|state| state.is_lost).await;
    etcd.server.signal("CONT");
    etcd.put("a", 2);
    seen.until_values(&["2"]).await;
    seen.until(|state| !state.is_lost).await;
}

/// As does a network that swallows everything; the other member answers.
async fn a_way_that_hangs_is_given_up_for_another() {
    let etcd = Etcd::new();
    etcd.put("a", 1);
    let other = Proxy::to(etcd.server.address());
    let endpoints = vec![etcd.proxy.url(), other.url()];
    let mut seen = Seen::new(etcd::watch(EtcdAccess { endpoints, ..EtcdAccess::default() }));
    seen.next().await;
    for hanging in [&etcd.proxy, &other] {
        hanging.set(Way::Hanging);
        etcd.put("a", 2);
        seen.until_values(&["2"]).await;
        seen.until(|state| !state.is_lost).await;
        hanging.set(Way::Open);
        etcd.put("a", 1);
        seen.until_values(&["1"]).await;
    }
}

/// Refused for long, it is tried again, and not in a hot loop.
async fn a_refused_connection_is_tried_ever_more_rarely() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    let mut seen = Seen::new(etcd::watch(EtcdAccess { endpoints: vec![url], ..EtcdAccess::default() }));
    let mut tries = 0;
    for _ in 0..100 {
        sleep(Duration::from_millis(100)).await;
        while listener.accept().is_ok() {
            tries += 1;
        }
    }
    assert!((2..=16).contains(&tries), "{tries} tries in 10 s");
    seen.until(|state| state.is_lost).await;
    assert!(!seen.state.is_in_sync);
}
