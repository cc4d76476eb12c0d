//! What a host tells about itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use etcd_client::GetOptions;
use felix_rs::config::{EtcdAccess, StatusReporting};
use felix_rs::datastore::etcd::{EndpointName, Status, report};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::server::Server;

const HOST: &str = "/calico/felix/v2/no-region/host/host-1";

/// Nothing that is waited for takes so long, on however busy a machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn settings() -> StatusReporting {
    StatusReporting {
        interval: Some(Duration::from_millis(300)),
        ttl: Duration::from_secs(2),
        endpoints: true,
        endpoint_delay: Duration::from_millis(20),
        region: None,
    }
}

fn name(workload: &str) -> EndpointName {
    EndpointName { orchestrator: "k8s".into(), workload: workload.into(), endpoint: "eth0".into() }
}

fn status(endpoints: &[(&str, &'static str)]) -> Status {
    let endpoints = endpoints.iter().map(|(workload, state)| (name(workload), *state)).collect();
    Status { settings: settings(), applied: true, endpoints }
}

/// A server with a host that tells.
struct Told {
    server: Server,
    statuses: watch::Sender<Status>,
}

impl Told {
    fn new(server: Server, first: Status) -> Self {
        let access = EtcdAccess { endpoints: vec![server.url()], ..EtcdAccess::default() };
        let (statuses, receiver) = watch::channel(first);
        tokio::spawn(report(access, "host-1".into(), receiver));
        Self { server, statuses }
    }

    /// All that is said of hosts: keys without their beginning.
    fn keys(&self) -> BTreeMap<String, String> {
        let options = GetOptions::new().with_prefix();
        let found = self.server.ask(async |mut client| client.get("/calico/felix/", Some(options)).await);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let pairs = found.unwrap().take_kvs().into_iter().map(|kv| (text(kv.key()), text(kv.value())));
        let short =
            |key: &str| key.strip_prefix(HOST).filter(|rest| rest.starts_with('/')).map(str::to_owned);
        pairs.map(|(key, value)| (short(&key).unwrap_or(key), value)).collect()
    }

    /// These are there for longer than a lease lasts.
    async fn stay(&self, wanted: &[&str]) {
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            let keys = self.keys();
            assert!(wanted.iter().all(|key| keys.contains_key(*key)), "{keys:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until(&self, holds: impl Fn(&BTreeMap<String, String>) -> bool) {
        let end = Instant::now() + DEADLINE;
        loop {
            let keys = self.keys();
            if holds(&keys) {
                return;
            }
            assert!(Instant::now() < end, "{keys:#?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

const A: &str = "/workload/k8s/default%2fa/endpoint/eth0";
const B: &str = "/workload/k8s/default%2fb/endpoint/eth0";
const UP: &str = "{\"status\":\"up\"}";
const DOWN: &str = "{\"status\":\"down\"}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_says_that_it_lives_until_it_ends() {
    let told = Told::new(Server::start(), status(&[("default/a", "up")]));
    told.until(|keys| keys.contains_key("/status") && keys.get(A).map(String::as_str) == Some(UP)).await;
    told.until(|keys| keys["/status"].contains("\"first_update\":false")).await;
    let value = told.keys()["/last_reported_status"].clone();
    let value: serde_json::Value = serde_json::from_str(&value).unwrap();
    assert!(value["time"].as_str().unwrap().ends_with('Z') && value["uptime"].is_f64());
    // Longer than the lease lasts.
    sleep(Duration::from_secs(3)).await;
    assert!(told.keys().contains_key("/status"));
    let Told { server, statuses } = told;
    drop(statuses);
    let told = Told { server, statuses: watch::channel(status(&[])).0 };
    told.until(|keys| keys.keys().eq(["/last_reported_status"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_of_endpoints_follow_and_go() {
    let server = Server::start();
    let others = "/calico/felix/v2/no-region/host/host-10/workload/k8s/x/endpoint/eth0";
    let stale = format!("{HOST}/workload/k8s/gone/endpoint/eth0");
    for key in [others, &stale] {
        server.put(key, UP);
    }
    server.put(&format!("{HOST}{B}"), "no json");
    let unknown = Status { applied: false, ..status(&[("default/a", "down")]) };
    let told = Told::new(server, unknown);
    told.until(|keys| keys.contains_key("/status")).await;
    sleep(Duration::from_millis(300)).await;
    assert!(told.keys().contains_key("/workload/k8s/gone/endpoint/eth0"), "nothing is known yet");
    told.statuses.send_replace(status(&[("default/a", "up"), ("default/b", "down")]));
    told.until(|keys| {
        keys.get(A).is_some_and(|value| value == UP)
            && keys.get(B).is_some_and(|value| value == DOWN)
            && !keys.contains_key("/workload/k8s/gone/endpoint/eth0")
    })
    .await;
    told.statuses.send_replace(status(&[("default/b", "down")]));
    told.until(|keys| !keys.contains_key(A)).await;
    assert!(told.keys().contains_key(others));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_told_again() {
    let mut told = Told::new(Server::start(), status(&[("default/a", "up")]));
    told.until(|keys| keys.contains_key(A)).await;
    told.server.kill();
    sleep(Duration::from_millis(500)).await;
    told.statuses.send_replace(status(&[("default/a", "down")]));
    told.server.restart();
    told.until(|keys| keys.get(A).is_some_and(|value| value == DOWN)).await;
}

/// What an earlier life wrote does not go with that life's lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_life_takes_over() {
    let told = Told::new(Server::start(), status(&[("default/a", "up"), ("default/b", "up")]));
    told.until(|keys| keys.contains_key(A) && keys.contains_key(B)).await;
    let Told { server, statuses } = told;
    drop(statuses);
    let told = Told::new(server, status(&[("default/a", "up"), ("default/b", "down")]));
    told.until(|keys| keys.get(B).is_some_and(|value| value == DOWN)).await;
    told.stay(&[A, B]).await;
    // Nor where the next lease is of another length.
    let settings = StatusReporting { ttl: Duration::from_secs(3), ..settings() };
    told.statuses.send_modify(|status| status.settings = settings);
    told.stay(&[A, B]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_told_unless_it_is_asked_for() {
    let off = StatusReporting { interval: None, endpoints: false, ..settings() };
    let told = Told::new(Server::start(), Status { settings: off, ..status(&[("default/a", "up")]) });
    sleep(Duration::from_millis(500)).await;
    assert!(told.keys().is_empty());
    told.statuses.send_replace(status(&[("default/a", "up")]));
    told.until(|keys| keys.contains_key(A)).await;
}
