//! Metrics under Felix's names (reference §12), and a few of ours, which begin with `felix_rs_`.

use std::fmt::Write;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Error, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::model::IpVersion;
use crate::rules::ruleset::{Ruleset, TableName};

/// All metrics of one daemon.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    pub resync_state: IntGauge,
    pub resyncs_started: IntCounter,
    pub active_local_endpoints: IntGauge,
    pub active_local_policies: IntGauge,
    pub updates_processed: IntCounter,
    pub calculation: Histogram,
    pub apply: Histogram,
    pub failures: IntCounter,
    pub batch_size: Histogram,
    pub ipset_calls: IntCounter,
    pub ipset_errors: IntCounter,
    pub ipset_lines: IntCounter,
    ipsets: IntGaugeVec,
    ipsets_total: IntGauge,
    chains: IntGaugeVec,
    rules: IntGaugeVec,
    lines: IntCounterVec,
    pub restore_calls: IntCounter,
    pub restore_errors: IntCounter,
    pub save_calls: IntCounter,
    pub lock_wait: Histogram,
    pub drift: IntCounter,
    pub quarantined: IntGauge,
    diagnostics: IntGaugeVec,
    endpoints: IntGaugeVec,
    pub conntrack_removed: IntCounter,
    pub routes: IntGauge,
    pub routes_withheld: IntGauge,
    pub routes_held_back: IntGauge,
    pub route_changes: IntCounter,
    pub route_errors: IntCounter,
    pub route_reading: Histogram,
    applied: IntGauge,
    stale: IntGauge,
    pub source_revision: IntGauge,
    pub applied_revision: IntGauge,
    pub source_lost: IntGauge,
    resident: IntGauge,
}

/// How far the daemon has read its source: the values of `felix_resync_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResyncState {
    Waiting = 1,
    Reading = 2,
    InSync = 3,
}

impl Metrics {
    /// All zero.
    ///
    /// # Errors
    /// Two metrics have one name: a fault of this program.
    pub fn new(host: &str) -> Result<Self, Error> {
        let made = Maker { registry: Registry::new() };
        made.gauges("felix_host", "Always 1; its label is the host", &["host"])?
            .with_label_values(&[host])
            .set(1);
        Ok(Self {
            resync_state: made
                .gauge("felix_resync_state", "Reading the source: 1 waits, 2 reads, 3 in sync")?,
            resyncs_started: made
                .counter("felix_resyncs_started", "Times that the source was read from the start")?,
            active_local_endpoints: made
                .gauge("felix_active_local_endpoints", "Workload endpoints of this host")?,
            active_local_policies: made
                .gauge("felix_active_local_policies", "Policies that govern one of them")?,
            updates_processed: made
                .counter("felix_calc_graph_updates_processed", "Events that the source has said")?,
            calculation: made.histogram(
                "felix_calc_graph_update_time_seconds",
                "From a batch of events to the plan",
                &[0.001, 0.01, 0.1, 1.0],
            )?,
            apply: made.histogram(
                "felix_int_dataplane_apply_time_seconds",
                "Reading, planning and writing the kernel, once",
                &[0.02, 0.05, 0.1, 0.2, 0.5, 1.0],
            )?,
            failures: made.counter(
                "felix_int_dataplane_failures",
                "Times that the kernel was not as desired afterwards",
            )?,
            batch_size: made.histogram(
                "felix_int_dataplane_msg_batch_size",
                "Events that were taken together",
                &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0],
            )?,
            ipset_calls: made.counter("felix_ipset_calls", "Runs of ipset")?,
            ipset_errors: made.counter("felix_ipset_errors", "Runs of ipset that failed")?,
            ipset_lines: made.counter("felix_ipset_lines_executed", "Lines that ipset was given")?,
            ipsets: made.gauges("felix_ipsets_calico", "IP sets of ours", &["ip_version"])?,
            ipsets_total: made.gauge("felix_ipsets_total", "IP sets of ours, both families")?,
            chains: made.gauges("felix_iptables_chains", "Chains of ours", &["ip_version", "table"])?,
            rules: made.gauges("felix_iptables_rules", "Rules of ours", &["ip_version", "table"])?,
            lines: made.counters(
                "felix_iptables_lines_executed",
                "Lines that iptables-restore was given",
                &["ip_version", "table"],
            )?,
            restore_calls: made.counter("felix_iptables_restore_calls", "Runs of iptables-restore")?,
            restore_errors: made
                .counter("felix_iptables_restore_errors", "Runs of iptables-restore that failed")?,
            save_calls: made.counter("felix_iptables_save_calls", "Runs of iptables-save")?,
            lock_wait: made.histogram(
                "felix_rs_iptables_lock_wait_seconds",
                "Time that another process held iptables' lock before an application",
                &[0.001, 0.01, 0.1, 1.0, 10.0],
            )?,
            drift: made
                .counter("felix_rs_drift", "Parts that somebody else had changed, and that were mended")?,
            quarantined: made
                .gauge("felix_rs_quarantined", "Parts that the kernel refuses, and that are closed")?,
            diagnostics: made.gauges(
                "felix_rs_diagnostics",
                "What `check` would say of the source",
                &["severity"],
            )?,
            endpoints: made.gauges("felix_rs_endpoints", "Workload endpoints by their state", &["state"])?,
            conntrack_removed: made.counter("felix_rs_conntrack_removed", "Connections that were removed")?,
            routes: made.gauge("felix_rs_routes", "Routes of ours")?,
            routes_withheld: made.gauge(
                "felix_rs_routes_withheld",
                "Routes that are wanted, and not there: for another program's, or because the kernel has no IP in IP",
            )?,
            routes_held_back: made.gauge(
                "felix_rs_routes_held_back",
                "Routes that can't be made of what is known: the log and `render --table routes` say why",
            )?,
            route_changes: made.counter(
                "felix_rs_route_changes",
                "Changes of routes, neighbours and tunl0 that were made",
            )?,
            route_errors: made.counter(
                "felix_rs_route_errors",
                "Changes of them that the kernel refused, and failed readings",
            )?,
            route_reading: made.histogram(
                "felix_rs_route_reading_seconds",
                "Reading all routes, neighbours and interfaces, once",
                &[0.001, 0.01, 0.05, 0.1, 1.0],
            )?,
            applied: made.gauge(
                "felix_rs_applied_timestamp_seconds",
                "When the kernel was last known to be as desired, in Unix time",
            )?,
            stale: made.gauge(
                "felix_rs_stale_seconds",
                "For how long the kernel is not as desired; 0 where it is",
            )?,
            source_revision: made.gauge(
                "felix_rs_source_revision",
                "The newest revision of the store that was heard of; 0 where there is no store",
            )?,
            applied_revision: made
                .gauge("felix_rs_applied_revision", "The revision of the store that the kernel is as")?,
            source_lost: made.gauge(
                "felix_rs_source_lost_timestamp_seconds",
                "Since when the source can't be read, in Unix time; 0 where it can",
            )?,
            resident: made.gauge("process_resident_memory_bytes", "Memory in use")?,
            registry: made.registry,
        })
    }

    /// Counts what the families have.
    pub fn set_rulesets<'a>(&self, rulesets: impl IntoIterator<Item = &'a Ruleset>) {
        let mut total = 0;
        let mut unwanted = IpVersion::ALL.to_vec();
        for ruleset in rulesets {
            unwanted.retain(|version| *version != ruleset.version);
            let family = family(ruleset.version);
            self.ipsets.with_label_values(&[family]).set(count(ruleset.sets.keys().count()));
            total += ruleset.sets.keys().count();
            for table in &ruleset.tables {
                let labels = [family_number(ruleset.version), table.name.name()];
                let hooked = table.hooks.iter().map(|hook| hook.rules.len() + hook.appended.len());
                let rules = table.chains.values().map(|chain| chain.rules.len()).chain(hooked).sum();
                self.chains.with_label_values(&labels).set(count(table.chains.keys().count()));
                self.rules.with_label_values(&labels).set(count(rules));
            }
        }
        self.ipsets_total.set(count(total));
        unwanted.into_iter().for_each(|version| self.forget_rulesets(version));
    }

    /// Nothing is said of a family that is not wanted.
    fn forget_rulesets(&self, version: IpVersion) {
        // Each fails where there was none.
        let _ = self.ipsets.remove_label_values(&[family(version)]);
        for table in TableName::ALL {
            let labels = [family_number(version), table.name()];
            let _ = self.chains.remove_label_values(&labels);
            let _ = self.rules.remove_label_values(&labels);
        }
    }

    pub fn add_lines(&self, version: IpVersion, table: TableName, lines: usize) {
        self.lines.with_label_values(&[family_number(version), table.name()]).inc_by(lines as u64);
    }

    pub fn set_diagnostics(&self, severity: &str, number: usize) {
        self.diagnostics.with_label_values(&[severity]).set(count(number));
    }

    pub fn set_endpoints(&self, state: &str, number: usize) {
        self.endpoints.with_label_values(&[state]).set(count(number));
    }

    /// Unix time of the last success.
    pub fn set_applied(&self, at: Duration) {
        self.applied.set(i64::try_from(at.as_secs()).unwrap_or(i64::MAX));
    }

    /// For how long the kernel is not as desired.
    pub fn set_stale(&self, since: Duration) {
        self.stale.set(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    }

    pub fn set_resident(&self, bytes: u64) {
        self.resident.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// As Prometheus reads them.
    ///
    /// # Errors
    /// A metric can't be written: a fault of this program.
    pub fn text(&self) -> Result<String, Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Every metric for people, as a table of the README: name, type, meaning.
///
/// # Errors
/// As [`Metrics::new`].
pub fn listing() -> Result<String, Error> {
    let metrics = Metrics::new("host")?;
    // A vector shows only what it has labels for.
    metrics.set_endpoints("up", 0);
    metrics.set_diagnostics("error", 0);
    metrics.add_lines(IpVersion::V4, TableName::Filter, 0);
    metrics.ipsets.with_label_values(&["inet"]).set(0);
    for by_table in [&metrics.chains, &metrics.rules] {
        by_table.with_label_values(&["4", "filter"]).set(0);
    }
    let mut out = "\n| metric | type | meaning |\n| --- | --- | --- |\n".to_owned();
    for family in metrics.registry.gather() {
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        // A String takes everything.
        let _ = writeln!(out, "| `{}` | {kind} | {} |", family.name(), family.help());
    }
    out.push('\n');
    Ok(out)
}

struct Maker {
    registry: Registry,
}

impl Maker {
    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.register(IntGauge::new(name, help)?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.register(IntCounter::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options)?)
    }
}

fn family(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "inet",
        IpVersion::V6 => "inet6",
    }
}

fn family_number(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "4",
        IpVersion::V6 => "6",
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_name_of_ours_and_a_meaning() {
        let listing = listing().unwrap();
        assert!(listing.lines().count() >= 25, "{listing}");
        for line in listing.lines().filter(|line| line.starts_with("| `")) {
            assert!(line.starts_with("| `felix_") || line.starts_with("| `process_"), "{line}");
        }
    }

    #[test]
    fn prometheus_reads_felix_names() {
        let metrics = Metrics::new("host-1").unwrap();
        metrics.restore_calls.inc();
        metrics.add_lines(IpVersion::V4, TableName::Filter, 7);
        let text = metrics.text().unwrap();
        for line in [
            "felix_host{host=\"host-1\"} 1",
            "felix_iptables_restore_calls 1",
            "felix_iptables_lines_executed{ip_version=\"4\",table=\"filter\"} 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
