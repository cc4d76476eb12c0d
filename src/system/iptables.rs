//! Tables, written and read by the tools of one backend.

use std::fmt;
use std::time::Duration;

use super::lock::{self, LockWait};
use super::tool::{Job, ToolError, Tools};
use crate::config::BackendChoice;
use crate::model::IpVersion;
use crate::rules::ruleset::TableName;

/// How long a tool waits for the lock by itself, in seconds, as Felix asks it to.
const LOCK_SECONDS: &str = "10";

/// Who holds the rules: a kernel has both, side by side, and packets pass through both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `x_tables`.
    Legacy,
    /// `nf_tables`, through iptables' tools.
    Nft,
}

/// The tools of one backend.
#[derive(Clone, Debug)]
pub struct Iptables {
    tools: Tools,
    backend: Backend,
    /// Time between two tries to get the lock.
    lock_probe: Duration,
}

impl Backend {
    pub const ALL: [Self; 2] = [Self::Nft, Self::Legacy];

    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Nft => "nft",
        }
    }

    pub fn other(self) -> Self {
        match self {
            Self::Legacy => Self::Nft,
            Self::Nft => Self::Legacy,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Iptables {
    pub fn new(tools: Tools, backend: Backend, lock_probe: Duration) -> Self {
        Self { tools, backend, lock_probe }
    }

    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The tools of the other backend.
    #[must_use]
    pub fn other(&self) -> Self {
        Self { backend: self.backend.other(), ..self.clone() }
    }

    /// The table as `iptables-save` prints it; no text where the kernel has no such table.
    ///
    /// # Errors
    /// The tool is not there, or can't read the table.
    pub async fn save(&self, version: IpVersion, table: TableName) -> Result<String, ToolError> {
        if self.backend == Backend::Legacy && !legacy_tables(version).contains(&table) {
            // To ask the tool would load the table into the kernel.
            return Ok(String::new());
        }
        self.tools.ask(&self.tool(version, "save"), &["-t", table.name()]).await
    }

    /// Carries out the input of `iptables-restore --noflush`, all of it or nothing. How long others held the lock.
    ///
    /// # Errors
    /// The tool is not there, or the kernel refused.
    pub async fn restore(&self, version: IpVersion, text: String) -> Result<LockWait, ToolError> {
        let waited = match self.backend {
            Backend::Legacy => lock::wait(self.lock_probe).await,
            // nf_tables has transactions instead.
            Backend::Nft => LockWait::default(),
        };
        let tool = self.tool(version, "restore");
        let probe = self.lock_probe.as_micros().max(1).to_string();
        let arguments: &[&str] = match self.backend {
            Backend::Legacy => &["--noflush", "--wait", LOCK_SECONDS, "--wait-interval", &probe],
            Backend::Nft => &["--noflush"],
        };
        self.tools
            .run(Job {
                tool: &tool,
                arguments,
                input: Some(text),
                writes: true,
                deadline: self.tools.deadline(),
            })
            .await?;
        Ok(waited)
    }

    /// `iptables-nft-restore` and the like: never the alternative that the host happens to have chosen.
    fn tool(&self, version: IpVersion, what: &str) -> String {
        let family = match version {
            IpVersion::V4 => "iptables",
            IpVersion::V6 => "ip6tables",
        };
        format!("{family}-{}-{what}", self.backend)
    }
}

/// The tables that `x_tables` has in this network namespace. Reading the list loads nothing.
fn legacy_tables(version: IpVersion) -> Vec<TableName> {
    let path = match version {
        IpVersion::V4 => "/proc/net/ip_tables_names",
        IpVersion::V6 => "/proc/net/ip6_tables_names",
    };
    let names = std::fs::read_to_string(path).unwrap_or_default();
    TableName::ALL.into_iter().filter(|table| names.lines().any(|name| name == table.name())).collect()
}

/// Why no backend could be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendError {
    /// The one that was asked for can't be used.
    Forced { backend: Backend, error: ToolError },
    /// Neither can.
    Neither { nft: ToolError, legacy: ToolError },
}

/// The backend that was chosen, and what it was chosen by, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    pub backend: Backend,
    pub reason: &'static str,
}

/// Which backend the rules of this host are in.
///
/// A forced one is taken if it works. Else, in this order: where kube-proxy or kubelet left its mark, where rules of
/// an earlier life of ours are, where more rules are, and with none anywhere what the host's own `iptables` is:
/// an operator's `iptables -S` then shows our chains. (Felix takes legacy for an empty host.)
///
/// # Errors
/// No backend can be used.
pub async fn detect(tools: &Tools, choice: BackendChoice) -> Result<Detected, BackendError> {
    match choice {
        BackendChoice::Legacy => forced(tools, Backend::Legacy).await,
        BackendChoice::Nft => forced(tools, Backend::Nft).await,
        BackendChoice::Auto => found(tools).await,
    }
}

async fn forced(tools: &Tools, backend: Backend) -> Result<Detected, BackendError> {
    match mangle(tools, backend).await {
        Ok(_) => Ok(Detected { backend, reason: "IptablesBackend" }),
        Err(error) => Err(BackendError::Forced { backend, error }),
    }
}

async fn found(tools: &Tools) -> Result<Detected, BackendError> {
    let (nft, legacy) = match (mangle(tools, Backend::Nft).await, mangle(tools, Backend::Legacy).await) {
        (Ok(nft), Ok(legacy)) => (nft, legacy),
        (Ok(_), Err(_)) => return Ok(Detected { backend: Backend::Nft, reason: "legacy can't be used" }),
        (Err(_), Ok(_)) => return Ok(Detected { backend: Backend::Legacy, reason: "nft can't be used" }),
        (Err(nft), Err(legacy)) => return Err(BackendError::Neither { nft, legacy }),
    };
    if let Some(detected) = marked(&nft, &legacy) {
        return Ok(detected);
    }
    // Whole tables are only read where both backends are in use.
    let has_legacy = IpVersion::ALL.iter().any(|version| !legacy_tables(*version).is_empty());
    let (in_nft, in_legacy) = if has_legacy {
        (rules(tools, Backend::Nft).await, rules(tools, Backend::Legacy).await)
    } else {
        (0, 0)
    };
    Ok(match in_nft.cmp(&in_legacy) {
        std::cmp::Ordering::Greater => Detected { backend: Backend::Nft, reason: "more rules are there" },
        std::cmp::Ordering::Less => Detected { backend: Backend::Legacy, reason: "more rules are there" },
        std::cmp::Ordering::Equal => {
            Detected { backend: host_default(tools).await, reason: "the host's own iptables" }
        }
    })
}

/// What the mangle tables of both tell.
fn marked(nft: &str, legacy: &str) -> Option<Detected> {
    let in_one = |mark: &str| match (nft.contains(mark), legacy.contains(mark)) {
        (true, false) => Some(Backend::Nft),
        (false, true) => Some(Backend::Legacy),
        (true, true) | (false, false) => None,
    };
    // Both at once: Felix's order.
    let kube = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"];
    let by_kube = [(Backend::Nft, nft), (Backend::Legacy, legacy)]
        .into_iter()
        .find(|(_, text)| kube.iter().any(|mark| text.contains(mark)))
        .map(|(backend, _)| Detected { backend, reason: "Kubernetes' rules are there" });
    by_kube.or_else(|| {
        in_one("\n:cali-").map(|backend| Detected { backend, reason: "chains of an earlier life are there" })
    })
}

/// The mangle tables of both families: small on every host, and all programs of this kind have a chain there.
async fn mangle(tools: &Tools, backend: Backend) -> Result<String, ToolError> {
    let iptables = Iptables::new(tools.clone(), backend, Duration::ZERO);
    let mut text = iptables.run_save(IpVersion::V4, &["-t", "mangle"]).await?;
    // A kernel without IPv6 is no reason against a backend.
    text += &iptables.run_save(IpVersion::V6, &["-t", "mangle"]).await.unwrap_or_default();
    Ok(text)
}

async fn rules(tools: &Tools, backend: Backend) -> usize {
    let iptables = Iptables::new(tools.clone(), backend, Duration::ZERO);
    let mut count = 0;
    for version in IpVersion::ALL {
        let text = iptables.run_save(version, &[]).await.unwrap_or_default();
        count += text.lines().filter(|line| line.starts_with('-')).count();
    }
    count
}

async fn host_default(tools: &Tools) -> Backend {
    match tools.ask("iptables", &["--version"]).await {
        Ok(version) if version.contains("legacy") => Backend::Legacy,
        Ok(_) | Err(_) => Backend::Nft,
    }
}

impl Iptables {
    /// Any save; a legacy one only of tables that are there.
    async fn run_save(&self, version: IpVersion, arguments: &[&str]) -> Result<String, ToolError> {
        if self.backend == Backend::Legacy && legacy_tables(version).is_empty() {
            // Only whether there is such a tool.
            return self.tools.ask(&self.tool(version, "save"), &["--version"]).await.map(|_| String::new());
        }
        self.tools.ask(&self.tool(version, "save"), arguments).await
    }
}

impl BackendError {
    /// What the reader of the message can do about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Forced { backend: _, error } => {
                error.help().or(Some("set IptablesBackend=auto, or install that backend"))
            }
            Self::Neither { nft, legacy } => nft.help().or_else(|| legacy.help()),
        }
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forced { backend, error } => write!(f, "IptablesBackend={backend} can't be used: {error}"),
            Self::Neither { nft, legacy } => write!(f, "no iptables can be used: {nft}; {legacy}"),
        }
    }
}

impl std::error::Error for BackendError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_choose_a_backend() {
        use Backend::{Legacy, Nft};
        let (kube, ours, none) =
            ("*mangle\n:KUBE-IPTABLES-HINT - [0:0]", "*mangle\n:cali-PREROUTING - [0:0]", "*mangle\nCOMMIT");
        for (nft, legacy, expected) in [
            (none, none, None),
            (kube, none, Some(Nft)),
            (none, kube, Some(Legacy)),
            (kube, kube, Some(Nft)),
            (ours, none, Some(Nft)),
            (none, ours, Some(Legacy)),
            // Left by a switch between backends: what else is there decides.
            (ours, ours, None),
            (ours, kube, Some(Legacy)),
        ] {
            assert_eq!(marked(nft, legacy).map(|found| found.backend), expected, "{nft} {legacy}");
        }
    }
}
