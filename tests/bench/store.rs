//! A store with a made-up cluster, and how long it takes to read it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use etcd_client::{Client, Txn, TxnOp};
use felix_rs::Pipeline;
use felix_rs::config::EtcdAccess;
use felix_rs::datastore::{Event, etcd, yaml};
use felix_rs::model::stored::{built_in, complete};
use felix_rs::sync::{Programmed, plan};
use tokio::runtime::{Builder, Runtime};

use crate::generate::{self, HOST};
use crate::server::Server;
use crate::{command, median, ms, timed};

/// As many as etcd takes at once.
const OPERATIONS: usize = 128;

/// 20,000 policies and endpoints.
const ENDPOINTS: usize = 18_000;
const LOCAL: usize = 100;
const POLICIES: usize = 2_000;

const SAMPLES: usize = 7;

/// A key below the prefix, and its value.
pub type Pair = (String, String);

/// etcd on loopback, ready for a cluster.
pub struct Store {
    server: Server,
    runtime: Runtime,
    client: Client,
}

impl Store {
    /// Holds what these manifests declare.
    pub fn of<'t>(manifests: impl Iterator<Item = &'t str>) -> Self {
        let server = Server::start();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let client = runtime.block_on(Client::connect([server.url()], None)).expect("etcd answers");
        let store = Self { server, runtime, client };
        let ready = built_in("0123456789abcdef0123456789abcdef");
        let ready = ready.iter().map(|stored| (stored.key(), stored.value.to_string()));
        store.fill(&ready.chain(manifests.flat_map(pairs)).collect::<Vec<_>>());
        store
    }

    pub fn url(&self) -> String {
        format!("etcd://{}", self.server.address())
    }

    /// When this is done, it is written.
    pub fn put(&self, (key, value): &Pair) {
        let mut client = self.client.kv_client();
        self.runtime.block_on(client.put(full(key), value.as_str(), None)).expect("etcd is written");
    }

    fn fill(&self, pairs: &[Pair]) {
        let mut client = self.client.kv_client();
        for some in pairs.chunks(OPERATIONS) {
            let put = |(key, value): &Pair| TxnOp::put(full(key), value.as_str(), None);
            let transaction = Txn::new().and_then(some.iter().map(put).collect::<Vec<_>>());
            self.runtime.block_on(client.txn(transaction)).expect("etcd is filled");
        }
    }

    fn access(&self) -> EtcdAccess {
        EtcdAccess { endpoints: vec![self.server.url()], ..EtcdAccess::default() }
    }
}

/// What is stored of the objects of a manifest.
pub fn pairs(manifest: &str) -> Vec<Pair> {
    let entries = yaml::parse(&"manifest".into(), &manifest.into()).entries;
    let stored = entries.iter().map(|entry| complete(entry).stored.expect("a good manifest"));
    stored.map(|stored| (stored.key(), stored.value.to_string())).collect()
}

fn full(key: &str) -> String {
    format!("/calico/{key}")
}

/// How long it takes to read 20,000 objects, and to know what a host must be programmed with.
pub fn snapshot() {
    let files = generate::generate(ENDPOINTS, LOCAL, POLICIES);
    let store = Store::of(files.iter().map(|(_, text)| text.as_str()));
    let samples = |sample: &dyn Fn() -> Duration| ms(median((0..SAMPLES).map(|_| sample()).collect()));
    println!("| {ENDPOINTS} endpoints ({LOCAL} local), {POLICIES} policies in etcd | median |");
    println!("| --- | --- |");
    println!("| followed, to in-sync | {} |", samples(&|| in_sync(&store)));
    println!("| `render`, the whole process | {} |", samples(&|| timed(|| render(&store))));
    let parts: Vec<[Duration; 4]> = (0..SAMPLES).map(|_| parts(&store)).collect();
    for (at, name) in ["read, as trees", "decoded", "compiled", "as text"].into_iter().enumerate() {
        println!("| of that: {name} | {} |", ms(median(parts.iter().map(|parts| parts[at]).collect())));
    }
    println!();
}

fn in_sync(store: &Store) -> Duration {
    let started = Instant::now();
    store.runtime.block_on(async {
        let mut events = etcd::watch(store.access());
        while let Some(some) = events.recv().await {
            if some.iter().any(|event| matches!(event, Event::InSync)) {
                break;
            }
        }
    });
    started.elapsed()
}

fn render(store: &Store) {
    let render = ["render", "--host", HOST, "--datastore", &store.url()];
    let mut command = command(env!("CARGO_BIN_EXE_felix-rs"), &render);
    assert!(command.stdout(Stdio::null()).status().expect("the program starts").success());
}

/// What the process does, one after the other.
fn parts(store: &Store) -> [Duration; 4] {
    let mut at = Instant::now();
    let mut lap = || std::mem::replace(&mut at, Instant::now()).elapsed();
    let events = store.runtime.block_on(etcd::read(&store.access())).expect("etcd is read");
    let read = lap();
    let mut pipeline = Pipeline::new(HOST.into(), Vec::new());
    events.iter().for_each(|event| pipeline.take(event));
    let decoded = lap();
    let desired = pipeline.desired().expect("chains");
    let compiled = lap();
    let plan = plan(&desired, &Programmed::default());
    assert!(plan.steps().map(|step| step.text().len()).sum::<usize>() > 0);
    [read, decoded, compiled, lap()]
}
