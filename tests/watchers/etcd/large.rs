//! Twenty thousand policies and endpoints.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use etcd_client::{Txn, TxnOp};
use felix_rs::datastore::{Entry, Node, Scalar, Value, etcd, yaml};

use super::Etcd;
use crate::Source;
use crate::generate::generate;

const EACH: usize = 10_000;

/// As many as one transaction takes.
const AT_ONCE: usize = 128;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_keys() {
    let etcd = Etcd::new();
    let stored = stored();
    let count = stored.len();
    assert!(count > 2 * EACH);
    let value = |at: usize| stored[at].1.replace("\"metadata\":{", "\"metadata\":{\"generation\":2,");
    let keys: Vec<String> = stored.iter().map(|(key, _)| key.clone()).collect();
    etcd.put_all(stored.clone());

    let began = Instant::now();
    let before = resident();
    let mut seen = etcd.seen();
    let batch = seen.next().await;
    println!("{count} keys in {:?}, {} MiB more", began.elapsed(), (resident() - before) >> 20);
    assert_eq!((batch.len(), batch.last().map(String::as_str)), (count + 1, Some("in sync")));
    let once = Instant::now();
    assert_eq!(etcd::read(&etcd.access()).await.unwrap().len(), count + 2);
    println!("read once in {:?}", once.elapsed());

    // Few that changed are read one by one, many with all of the range: only they are said.
    for (changed, deleted) in [(5, 2), (1_000, 100)] {
        etcd.take_away();
        seen.until(|state| state.is_lost).await;
        let (puts, deletes) = (seen.state.puts, seen.state.deletes);
        etcd.put_all((0..changed).map(|at| (keys[at * 7].clone(), value(at * 7))).collect());
        for at in 0..deleted {
            etcd.server.delete(&keys[count - deleted - changed + at]);
        }
        let began = Instant::now();
        etcd.bring_back();
        seen.until(|state| !state.is_lost).await;
        println!("{changed} and {deleted} in {:?}", began.elapsed());
        assert_eq!((seen.state.puts - puts, seen.state.deletes - deletes), (changed, deleted));
        // As they were, so that each time all of them are changed.
        etcd.put_all((0..changed).map(|at| (keys[at * 7].clone(), stored[at * 7].1.clone())).collect());
        let puts = puts + 2 * changed;
        seen.until(|state| state.puts == puts).await;
    }
}

impl Etcd {
    fn put_all(&self, all: Vec<(String, String)>) {
        let put = async move |mut client: etcd_client::Client| {
            for some in all.chunks(AT_ONCE) {
                let puts: Vec<TxnOp> =
                    some.iter().map(|(key, value)| TxnOp::put(key.as_str(), value.as_str(), None)).collect();
                client.txn(Txn::new().and_then(puts)).await?;
            }
            Ok(())
        };
        self.server.ask(put).unwrap();
    }
}

/// Keys and values, as a client stores them.
fn stored() -> Vec<(String, String)> {
    let files = generate(EACH, 100, EACH);
    let entries = files
        .iter()
        .flat_map(|(name, text)| yaml::parse(&Arc::from(name.as_str()), &Arc::from(text.as_str())).entries);
    entries.map(|entry| (key(&entry), json(&entry.node))).collect()
}

fn key(entry: &Entry) -> String {
    let kind = text(&entry.node, &["kind"]).unwrap().to_lowercase();
    let name = text(&entry.node, &["metadata", "name"]).unwrap();
    let plural = kind.strip_suffix("policy").map_or(format!("{kind}s"), |kind| format!("{kind}policies"));
    let namespace = text(&entry.node, &["metadata", "namespace"]).map_or(String::new(), |name| name + "/");
    format!("/calico/resources/v3/projectcalico.org/{plural}/{namespace}{name}")
}

fn text(node: &Node, path: &[&str]) -> Option<String> {
    match (&node.value, path) {
        (Value::Scalar(scalar), []) => Some(scalar.text.to_string()),
        (Value::Mapping(members), [first, rest @ ..]) => {
            members.iter().find(|(key, _)| *key.text == **first).and_then(|(_, node)| text(node, rest))
        }
        _ => None,
    }
}

fn json(node: &Node) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    match &node.value {
        Value::Scalar(Scalar { text, plain: true }) if text.parse::<f64>().is_ok() => text.to_string(),
        Value::Scalar(Scalar { text, plain: _ }) => quoted(text),
        Value::Sequence(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Mapping(members) => {
            let members = members.iter().map(|(key, node)| format!("{}:{}", quoted(&key.text), json(node)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}

/// Bytes of this process, which other tests use as well.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
