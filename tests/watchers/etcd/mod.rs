//! etcd: what happens to servers, networks and histories.

mod auth;
mod chance;
mod grpc_proxy;
mod large;
mod members;
mod slow;
mod tls;

use std::fs;

use etcd_client::{Txn, TxnOp};
use felix_rs::config::EtcdAccess;
use felix_rs::datastore::{Event, ReadErrorKind, etcd};
use tokio::sync::mpsc::Receiver;

use crate::Source;
use crate::contract::contract;
use crate::grpc_proxy::GrpcProxy;
use crate::proxy::{Proxy, Way};
use crate::seen::{Seen, State};
use crate::server::Server;

/// Where the objects of a test are.
const TIERS: &str = "/calico/resources/v3/projectcalico.org/tiers";

fn tier(name: &str) -> String {
    format!("{TIERS}/{name}")
}

/// What is said of the store as a whole, and what can be done about it.
fn complaints(state: &State) -> Vec<String> {
    let kinds = state.unreadable.values().flatten();
    kinds
        .filter_map(|kind| match kind {
            ReadErrorKind::Store { words, help } => Some(format!("{words} ({help:?})")),
            _ => None,
        })
        .collect()
}

/// A server, and a way to it.
struct Etcd {
    server: Server,
    /// etcd's own proxy in between.
    _shared: Option<GrpcProxy>,
    proxy: Proxy,
}

impl Etcd {
    fn new() -> Self {
        let server = Server::start();
        let proxy = Proxy::to(server.address());
        Self { server, _shared: None, proxy }
    }

    /// Reached through etcd's own proxy.
    fn shared() -> Self {
        let server = Server::start();
        let shared = GrpcProxy::to(&server.url());
        let proxy = Proxy::to(shared.address());
        Self { server, _shared: Some(shared), proxy }
    }

    fn access(&self) -> EtcdAccess {
        EtcdAccess { endpoints: vec![self.proxy.url()], ..EtcdAccess::default() }
    }

    fn seen(&self) -> Seen {
        Seen::new(etcd::watch(self.access()))
    }
}

impl Source for Etcd {
    fn follow(&self) -> Receiver<Vec<Event>> {
        etcd::watch(self.access())
    }

    fn put(&self, object: &str, value: u32) {
        self.server.put(&tier(object), &format!("{{\"value\":{value}}}"));
    }

    fn delete(&self, object: &str) {
        self.server.delete(&tier(object));
    }

    fn take_away(&self) {
        self.proxy.set(Way::Closed);
    }

    fn bring_back(&self) {
        self.proxy.set(Way::Open);
    }
}

contract!(Etcd::new());

/// Everything that was there, and nothing that is not ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_layouts_are_read_and_nothing_else() {
    let etcd = Etcd::new();
    for (key, value) in [
        ("/calico/v1/Ready", "true"),
        ("/calico/v1/config/LogPrefix", "drop: {"),
        ("/calico/v1/policy/profile/net1/labels", "{\"role\":\"net1\"}"),
        ("/calico/resources/v3/projectcalico.org/tiers/default", "{}"),
        ("/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-26", "{}"),
        ("/calico/ipam/v2/host/h/ipv4/block/10.0.0.0-26", ""),
        ("/calico/ipam/v2/handle/x", "{}"),
        ("/calico/felix/v2/no-region/host/h/status", "{}"),
        ("/calico/v1/host/h/metadata", "{}"),
        ("/calicon/v1/Ready", "true"),
        ("/other", "x"),
    ] {
        etcd.server.put(key, value);
    }
    let mut seen = etcd.seen();
    assert_eq!(seen.next().await.len(), 7);
    let keys: Vec<String> = seen.state.entries.keys().map(ToString::to_string).collect();
    assert_eq!(
        keys,
        [
            "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-26",
            "/calico/ipam/v2/host/h/ipv4/block/10.0.0.0-26",
            "/calico/resources/v3/projectcalico.org/tiers/default",
            "/calico/v1/Ready",
            "/calico/v1/config/LogPrefix",
            "/calico/v1/policy/profile/net1/labels",
        ]
    );
    for key in ["felix/v2/no-region/host/h/status", "ipam/v2/handle/x", "ipam/v2/hosts/x", "resources/v3/x/y"]
    {
        etcd.server.put(&format!("/calico/{key}"), "{\"a\":1}");
    }
    assert!(seen.is_quiet().await);
    // What is read once is the same.
    let once = etcd::read(&etcd.access()).await.unwrap();
    assert_eq!(once.iter().filter(|event| matches!(event, Event::Put(_))).count(), 6);
}

/// What was written at once is seen at once, whatever the kinds of keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_whole() {
    const LAST: u32 = 400;
    let keys = ["/calico/ipam/v2/host/h", "/calico/v1/policy/tier/t/policy/p", &tier("a")].map(str::to_owned);
    let etcd = Etcd::new();
    let mut seen = etcd.seen();
    seen.until(|state| state.is_in_sync).await;
    let writing = std::thread::spawn(move || {
        let write = async move |mut client: etcd_client::Client| {
            for value in 1..=LAST {
                let puts = keys.iter().map(|key| TxnOp::put(&**key, format!("{{\"value\":{value}}}"), None));
                client.txn(Txn::new().and_then(puts.collect::<Vec<_>>())).await?;
            }
            Ok(())
        };
        etcd.server.ask(write).unwrap();
        etcd
    });
    let last = LAST.to_string();
    while seen.state.values() != [&*last; 3] {
        seen.next().await;
        let values = seen.state.values();
        assert!(values.len() == 3 && values.iter().all(|value| *value == values[0]), "{values:?}");
    }
    writing.join().unwrap();
}

/// Everything may be kept below another prefix, or below none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_prefixes() {
    let etcd = Etcd::new();
    etcd.put("a", 1);
    for prefix in ["", "/a/b", "calico"] {
        let key = format!("{prefix}/resources/v3/projectcalico.org/tiers/a");
        etcd.server.put(&key, r#"{"value":2}"#);
        let access = EtcdAccess { prefix: prefix.to_owned(), ..etcd.access() };
        let mut seen = Seen::new(etcd::watch(access));
        assert_eq!(seen.next().await.len(), 2);
        etcd.server.put(&format!("{prefix}x/resources/v3/projectcalico.org/tiers/a"), r#"{"value":3}"#);
        etcd.server.put(&key, r#"{"value":4}"#);
        seen.until_values(&["4"]).await;
        let paths: Vec<&str> = seen.state.entries.keys().map(|key| &*key.0).collect();
        assert_eq!(paths, [key]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_no_json_changes_nothing_and_is_named() {
    let etcd = Etcd::new();
    etcd.put("a", 1);
    etcd.server.put(&format!("{TIERS}/b"), "{");
    let mut seen = etcd.seen();
    seen.until(|state| state.is_in_sync).await;
    assert_eq!((seen.state.values().as_slice(), seen.state.unreadable.len()), (&["1"][..], 1));
    etcd.server.put(&format!("{TIERS}/a"), "{\"value\":");
    seen.until(|state| state.unreadable.len() == 2).await;
    assert_eq!(seen.state.values(), ["1"]);
    assert!(seen.state.unreadable.keys().all(|source| source.contains("tiers/") && source.contains('@')));
    etcd.put("a", 2);
    etcd.put("b", 3);
    seen.until_values(&["2", "3"]).await;
    seen.until(|state| state.unreadable.is_empty()).await;
}

/// More than fits into a page, and more than fits into the message that a client takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_stores_are_read_by_pages() {
    let etcd = Etcd::new();
    for value in 0..2500 {
        etcd.put(&format!("t{value:04}"), value);
    }
    let long = "x".repeat(1 << 20);
    for value in 0..80 {
        etcd.server
            .put(&format!("{TIERS}/u{value:02}"), &format!("{{\"long\":\"{long}\",\"value\":{value}}}"));
    }
    let mut seen = etcd.seen();
    assert_eq!(seen.next().await.len(), 2581);
    assert_eq!((seen.state.values()[2499], seen.state.values()[2579]), ("2499", "79"));
    // All of them again, as one burst.
    for value in 0..80 {
        etcd.server
            .put(&format!("{TIERS}/u{value:02}"), &format!("{{\"long\":\"{long}\",\"value\":1{value:02}}}"));
    }
    seen.until(|state| state.values()[2579] == "179").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_comes_back_and_nothing_is_said_twice() {
    let mut etcd = Etcd::new();
    etcd.put("a", 1);
    etcd.put("b", 2);
    let mut seen = etcd.seen();
    seen.next().await;
    etcd.server.kill();
    seen.until(|state| state.is_lost).await;
    etcd.server.restart();
    seen.until(|state| !state.is_lost).await;
    assert_eq!((seen.state.puts, seen.state.deletes), (2, 0));
    etcd.put("a", 3);
    seen.until_values(&["3", "2"]).await;
}

/// What happened while nobody listened, and of which no history is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_makes_a_difference_and_not_a_new_world() {
    let etcd = Etcd::new();
    for value in 0..50 {
        etcd.put(&format!("t{value:02}"), value);
    }
    let mut seen = etcd.seen();
    seen.next().await;
    etcd.server.compact();
    etcd.put("t00", 100);
    seen.until(|state| state.values()[0] == "100").await;
    let (puts, deletes) = (seen.state.puts, seen.state.deletes);
    etcd.take_away();
    seen.until(|state| state.is_lost).await;
    etcd.put("t01", 101);
    etcd.delete("t02");
    etcd.put("t03", 103);
    etcd.put("t03", 3);
    etcd.put("t99", 99);
    etcd.server.compact();
    etcd.bring_back();
    seen.until(|state| !state.is_lost).await;
    assert_eq!((seen.state.puts - puts, seen.state.deletes - deletes), (2, 1));
    assert_eq!(seen.state.values()[1..3], ["101", "3"]);
}

/// An older state of the same store: what came later is gone, what was deleted is there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_is_noticed() {
    let mut etcd = Etcd::new();
    etcd.put("a", 1);
    etcd.put("b", 2);
    etcd.server.kill();
    let backup = tempfile::tempdir().unwrap();
    copy(&etcd.server.data().join("data"), &backup.path().join("data"));
    etcd.server.restart();
    let mut seen = etcd.seen();
    seen.next().await;
    etcd.put("a", 3);
    etcd.delete("b");
    etcd.put("c", 4);
    seen.until_values(&["3", "4"]).await;
    etcd.server.kill();
    seen.until(|state| state.is_lost).await;
    etcd.server.restart_from(backup);
    seen.until(|state| !state.is_lost).await;
    assert_eq!(seen.state.values(), ["1", "2"]);
    // The same revision as before, and another value.
    etcd.put("a", 7);
    seen.until_values(&["7", "2"]).await;
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
