//! Several who write the same object at once.

use std::collections::BTreeSet;

use felix_rs::config::EtcdAccess;
use felix_rs::datastore::etcd::{Change, WriteError, Writer};
use serde_json::{Value as Json, json};

use crate::server::Server;

const KEY: &str = "resources/v3/projectcalico.org/tiers/t";

fn access(server: &Server) -> EtcdAccess {
    EtcdAccess { endpoints: vec![server.url()], ..EtcdAccess::default() }
}

fn tier(order: i64) -> Json {
    json!({"kind": "Tier", "apiVersion": "projectcalico.org/v3", "metadata": {"name": "t"}, "spec": {"order": order}})
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Every change that is said to be made is one of the key's versions, and all of them are of one object.
#[test]
fn no_change_is_lost_beside_others() {
    const WRITERS: i64 = 6;
    const ROUNDS: i64 = 20;
    let server = Server::start();
    let write = async |access: EtcdAccess, number: i64| {
        let writer = Writer::connect(&access).await.unwrap();
        let (mut changes, mut uids) = (0, BTreeSet::new());
        for round in 0..ROUNDS {
            match writer.put(KEY, &tier(number * ROUNDS + round)).await {
                Ok(Change::Created | Change::Configured) => changes += 1,
                Ok(other) => panic!("{other:?}"),
                Err(WriteError::Contended { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            let value = writer.value(KEY).await.unwrap().unwrap();
            uids.insert(value.pointer("/metadata/uid").and_then(Json::as_str).unwrap().to_owned());
        }
        (changes, uids)
    };
    let runtime = runtime();
    let tasks: Vec<_> = (0..WRITERS).map(|number| runtime.spawn(write(access(&server), number))).collect();
    let (mut changes, mut uids) = (0, BTreeSet::new());
    for task in tasks {
        let (some, seen) = runtime.block_on(task).unwrap();
        changes += some;
        uids.extend(seen);
    }
    let found = server.ask(async |mut client| client.get(format!("/calico/{KEY}"), None).await).unwrap();
    assert_eq!((found.kvs()[0].version(), uids.len()), (changes, 1));
    assert!(changes >= ROUNDS, "{changes}");
}

/// One that changes faster than it can be read and written is given up, and who changed it is named.
#[test]
fn what_never_holds_still_is_given_up() {
    let server = Server::start();
    let runtime = runtime();
    let restless: Vec<_> = (0..4)
        .map(|number| {
            let url = server.url();
            runtime.spawn(async move {
                let mut client = etcd_client::Client::connect([url], None).await.unwrap();
                for round in 0.. {
                    client
                        .put(format!("/calico/{KEY}"), format!("{{\"by\":{number},\"round\":{round}}}"), None)
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    let error = runtime.block_on(async {
        let writer = Writer::connect(&access(&server)).await.unwrap();
        for _ in 0..200 {
            if let Err(error) = writer.put(KEY, &tier(1)).await {
                return error;
            }
        }
        panic!("always written");
    });
    restless.iter().for_each(tokio::task::JoinHandle::abort);
    let WriteError::Contended { key, read, found } = &error else { panic!("{error}") };
    assert!(key == &format!("/calico/{KEY}") && found > read, "{error}");
    assert_eq!(
        error.to_string(),
        format!("{key}: others keep changing it: read at revision {read}, then found at {found}")
    );
}

#[test]
fn one_of_several_creates_it() {
    let server = Server::start();
    let create = async |access: EtcdAccess, order: i64| {
        Writer::connect(&access).await.unwrap().create(KEY, &tier(order)).await.unwrap()
    };
    let runtime = runtime();
    let tasks: Vec<_> = (0..8).map(|order| runtime.spawn(create(access(&server), order))).collect();
    let changes: Vec<Change> = tasks.into_iter().map(|task| runtime.block_on(task).unwrap()).collect();
    assert_eq!(changes.iter().filter(|change| **change == Change::Created).count(), 1, "{changes:?}");
    assert_eq!(changes.iter().filter(|change| **change == Change::Unchanged).count(), 7, "{changes:?}");
}

#[test]
fn deleted_once() {
    let server = Server::start();
    runtime().block_on(async {
        let writer = Writer::connect(&access(&server)).await.unwrap();
        assert_eq!(writer.delete(KEY).await.unwrap(), Change::Absent);
        assert_eq!(writer.put(KEY, &tier(1)).await.unwrap(), Change::Created);
        assert_eq!(writer.put(KEY, &tier(1)).await.unwrap(), Change::Unchanged);
        assert_eq!(writer.put(KEY, &tier(2)).await.unwrap(), Change::Configured);
        assert_eq!(writer.delete(KEY).await.unwrap(), Change::Deleted);
        assert_eq!(writer.delete(KEY).await.unwrap(), Change::Absent);
    });
}
