//! Parameters of the daemon: how it writes and reads back, and whom it tells.

use std::time::Duration;

use super::value::choices;

/// How the daemon writes to a kernel and finds out that somebody else did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcement {
    pub backend: BackendChoice,
    /// Time between two full reads of the tables; None: never.
    pub table_refresh: Option<Duration>,
    /// Time after a write until it is read back; doubles with every check up to an hour.
    pub post_write_check: Duration,
    /// Time between two tries to get the lock of iptables.
    pub lock_probe: Duration,
    /// Time between two full reads of the IP sets; None: never.
    pub set_refresh: Option<Duration>,
    /// Time between two full reads of the links; None: never.
    pub link_refresh: Option<Duration>,
    /// Time between two full reads of the routes; None: never.
    pub route_refresh: Option<Duration>,
    /// How long the kernel may take to answer for routes.
    pub netlink_timeout: Duration,
    /// Turn on the kernel's forwarding.
    pub ip_forwarding: bool,
    /// Remove connections that the present policy denies.
    pub conntrack_cut: bool,
}

/// Which iptables is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    Legacy,
    Nft,
    /// As the host's own rules were written.
    Auto,
}

/// Whom the daemon tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporting {
    pub health: Listener,
    pub metrics: Listener,
    /// Metrics of the process: memory, CPU, files.
    pub process_metrics: bool,
    /// How long the main loop may be silent before the daemon no longer counts as alive; zero: for ever.
    pub watchdog: Duration,
    /// `TRACE` … `FATAL` for standard error; None: nothing.
    pub screen: Option<String>,
}

/// What is written back to the datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReporting {
    /// Time between two reports of the process's state; None: never.
    pub interval: Option<Duration>,
    /// How long a report of the process's state holds.
    pub ttl: Duration,
    /// Report the states of endpoints, too.
    pub endpoints: bool,
    /// How long changes of an endpoint's state are gathered.
    pub endpoint_delay: Duration,
    /// OpenStack's; without `/`, as it is a part of keys.
    pub region: Option<String>,
}

/// A server of the daemon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub enabled: bool,
    /// A name or an address; empty: every address.
    pub host: String,
    pub port: u16,
}

choices!(BackendChoice { "legacy" => Legacy, "nft" => Nft, "auto" => Auto });

impl Default for Enforcement {
    fn default() -> Self {
        Self {
            backend: BackendChoice::Auto,
            table_refresh: Some(Duration::from_secs(180)),
            post_write_check: Duration::from_secs(5),
            lock_probe: Duration::from_millis(50),
            set_refresh: Some(Duration::from_secs(90)),
            link_refresh: Some(Duration::from_secs(90)),
            route_refresh: Some(Duration::from_secs(90)),
            netlink_timeout: Duration::from_secs(10),
            ip_forwarding: true,
            conntrack_cut: false,
        }
    }
}

impl Default for Reporting {
    fn default() -> Self {
        Self {
            health: Listener { enabled: false, host: "localhost".to_owned(), port: 9099 },
            metrics: Listener { enabled: false, host: "localhost".to_owned(), port: 9091 },
            process_metrics: true,
            watchdog: Duration::from_secs(90),
            screen: Some("INFO".to_owned()),
        }
    }
}

impl Default for StatusReporting {
    fn default() -> Self {
        Self {
            interval: Some(Duration::from_secs(30)),
            ttl: Duration::from_secs(90),
            endpoints: false,
            endpoint_delay: Duration::from_secs(1),
            region: None,
        }
    }
}
