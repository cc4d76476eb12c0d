//! The talk on standard error: as text or as JSON, at a level that may change while the program runs.

use std::io;
use std::sync::OnceLock;

use clap::ValueEnum;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

static FILTER: OnceLock<Handle<EnvFilter, Registry>> = OnceLock::new();

/// Begins to log what `filter` lets through.
pub(super) fn begin(filter: EnvFilter, format: Format) {
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(io::stderr).with_target(false);
    match format {
        Format::Text => registry.with(layer.with_ansi(io::IsTerminal::is_terminal(&io::stderr()))).init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
    // Only the first one counts, as with the subscriber itself.
    let _ = FILTER.set(handle);
}

/// From now on logs what Felix's `severity` lets through; None: nothing.
pub(super) fn set_severity(severity: Option<&str>) {
    let level = match severity {
        None => "off",
        Some("TRACE") => "trace",
        Some("DEBUG") => "debug",
        Some("WARNING" | "WARN") => "warn",
        Some("ERROR" | "FATAL" | "CRITICAL" | "PANIC") => "error",
        Some(_) => "info",
    };
    if let Some(handle) = FILTER.get() {
        // It fails only where the subscriber is gone.
        let _ = handle.reload(EnvFilter::new(level));
    }
}
