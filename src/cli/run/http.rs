//! The servers that tell health and metrics.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::config::{Listener, Reporting};
use crate::telemetry::health::{Answer, Health};
use crate::telemetry::metrics::Metrics;

/// What the servers read and the main loop writes.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    health: Arc<Mutex<Health>>,
    metrics: Metrics,
    process_metrics: Arc<std::sync::atomic::AtomicBool>,
}

impl Shared {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { health: Arc::default(), metrics, process_metrics: Arc::default() }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn with_health<T>(&self, change: impl FnOnce(&mut Health) -> T) -> T {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The servers as they were last configured.
#[derive(Debug, Default)]
pub(super) struct Servers {
    configured: Option<Reporting>,
    running: Vec<JoinHandle<()>>,
}

impl Servers {
    /// Starts and ends servers, as configured. Must be called within the runtime.
    pub(super) fn configure(&mut self, reporting: &Reporting, shared: &Shared) {
        if self.configured.as_ref() == Some(reporting) {
            return;
        }
        self.end();
        self.configured = Some(reporting.clone());
        shared.process_metrics.store(reporting.process_metrics, std::sync::atomic::Ordering::Relaxed);
        let health = Router::new()
            .route("/liveness", get(liveness))
            .route("/readiness", get(readiness))
            .with_state(shared.clone());
        let metrics = Router::new().route("/metrics", get(text_of_metrics)).with_state(shared.clone());
        for (name, listener, routes) in
            [("health", &reporting.health, health), ("metrics", &reporting.metrics, metrics)]
        {
            if listener.enabled {
                self.running.push(tokio::spawn(serve(name, listener.clone(), routes)));
            }
        }
    }

    pub(super) fn end(&mut self) {
        self.running.drain(..).for_each(|server| server.abort());
    }
}

/// Serves on every address of the host's name. A port that is taken is tried again: it may become free.
async fn serve(name: &'static str, listener: Listener, routes: Router) {
    let Listener { enabled: _, host, port } = listener;
    let mut said = false;
    let listeners = loop {
        match listeners(&host, port).await {
            Ok(listeners) => break listeners,
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    warn!("{name} can't be served on {host}:{port}: {error}; trying on");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    };
    let mut servers = tokio::task::JoinSet::new();
    for listener in listeners {
        if let Ok(address) = listener.local_addr() {
            info!("{name} is served on http://{address}");
        }
        servers.spawn(axum::serve(listener, routes.clone()).into_future());
    }
    while let Some(ended) = servers.join_next().await {
        warn!("the server of {name} has ended: {ended:?}");
    }
}

async fn listeners(host: &str, port: u16) -> std::io::Result<Vec<TcpListener>> {
    let host = if host.is_empty() { "::" } else { host };
    let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    addresses.sort();
    addresses.dedup();
    let mut listeners = Vec::new();
    let mut refusal = std::io::Error::other("the name has no address");
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            // A host without IPv6 still has the other address of `localhost`.
            Err(error) => refusal = error,
        }
    }
    if listeners.is_empty() { Err(refusal) } else { Ok(listeners) }
}

async fn liveness(State(shared): State<Shared>) -> Response {
    answer(shared.with_health(|health| health.liveness(Instant::now())))
}

async fn readiness(State(shared): State<Shared>) -> Response {
    answer(shared.with_health(|health| health.readiness(Instant::now())))
}

fn answer(Answer { good, text }: Answer) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

async fn text_of_metrics(State(shared): State<Shared>) -> Response {
    if shared.process_metrics.load(std::sync::atomic::Ordering::Relaxed) {
        shared.metrics.set_resident(resident_bytes().unwrap_or_default());
    }
    match shared.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// `VmRSS` of this process.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}
