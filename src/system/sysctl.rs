//! Settings of the kernel below `/proc/sys`: forwarding of the host, and what an interface of a workload needs.
//!
//! Only what differs is written. Parts of a path are never separated by dots, as an interface may be named `eth0.5`.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::{fmt, fs};

/// Longest name of an interface, in bytes.
const MAX_NAME: usize = 15;

/// A tree of settings.
#[derive(Clone, Debug)]
pub struct Sysctls {
    root: PathBuf,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Outcome {
    pub written: Vec<Written>,
    /// Failed, and can be done without.
    pub left: Vec<SysctlError>,
}

/// A setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub path: PathBuf,
    pub before: String,
    pub value: String,
}

/// Why a setting could not be made.
#[derive(Debug)]
pub enum SysctlError {
    /// No interface can have this name, or it stands for all interfaces.
    Name {
        name: String,
    },
    Read {
        path: PathBuf,
        source: io::Error,
    },
    Write {
        path: PathBuf,
        value: String,
        source: io::Error,
    },
}

impl Sysctls {
    /// Those below `root`, which is `/proc/sys` but in tests. The kernel shows those of the caller's network namespace.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What new interfaces get as `rp_filter`. To be read once, at start: [`Sysctls::workload`] wants it.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn default_rp_filter(&self) -> Result<String, SysctlError> {
        read(&self.root.join("net/ipv4/conf/default/rp_filter"))
    }

    /// Makes the host forward packets if `forwarding`, those of IPv6 if `ipv6` too, and, where the kernel can, count
    /// packets and bytes of connections.
    ///
    /// # Errors
    ///
    /// If forwarding can't be set.
    pub fn host(&self, ipv6: bool, forwarding: bool) -> Result<Outcome, SysctlError> {
        let mut outcome = Outcome::default();
        if forwarding {
            outcome.note(self.set("net/ipv4/ip_forward", "1"))?;
            if ipv6 {
                outcome.note(self.set("net/ipv6/conf/all/forwarding", "1"))?;
            }
        }
        outcome.try_note(self.set("net/netfilter/nf_conntrack_acct", "1"));
        Ok(outcome)
    }

    /// Prepares the interface of a workload: the host answers ARP (and, if `ipv6`, neighbour solicitations) in place of
    /// everyone, at once, and forwards. Senders are checked as `default_rp_filter` says, or not at all if the workload
    /// may send from other addresses, `spoofing`. Router advertisements of the workload are not believed.
    ///
    /// # Errors
    ///
    /// The first setting that can't be made, and is needed.
    pub fn workload(
        &self,
        interface: &str,
        ipv6: bool,
        spoofing: bool,
        default_rp_filter: &str,
    ) -> Result<Outcome, SysctlError> {
        checked(interface)?;
        let rp_filter = if spoofing { "0" } else { default_rp_filter };
        let v4 = |name: &str| format!("net/ipv4/conf/{interface}/{name}");
        let v6 = |name: &str| format!("net/ipv6/conf/{interface}/{name}");
        let mut outcome = Outcome::default();
        // Even without IPv6 of ours, where the kernel has it.
        outcome.try_note(self.set(&v6("accept_ra"), "0"));
        outcome.note(self.set(&v4("route_localnet"), "1"))?;
        outcome.try_note(self.set(&format!("net/ipv4/neigh/{interface}/proxy_delay"), "0"));
        outcome.note(self.set(&v4("proxy_arp"), "1"))?;
        outcome.note(self.set(&v4("forwarding"), "1"))?;
        outcome.note(self.set(&v4("rp_filter"), rp_filter))?;
        if ipv6 {
            outcome.note(self.set(&v6("proxy_ndp"), "1"))?;
            outcome.note(self.set(&v6("forwarding"), "1"))?;
        }
        Ok(outcome)
    }

    /// None where it is so already.
    fn set(&self, below: &str, value: &str) -> Result<Option<Written>, SysctlError> {
        let path = self.root.join(below);
        let before = read(&path)?;
        if before == value {
            return Ok(None);
        }
        let file = OpenOptions::new().write(true).truncate(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(value.as_bytes()));
        let value = value.to_owned();
        match written {
            Ok(()) => Ok(Some(Written { path, before, value })),
            Err(source) => Err(SysctlError::Write { path, value, source }),
        }
    }
}

impl Outcome {
    fn note(&mut self, set: Result<Option<Written>, SysctlError>) -> Result<(), SysctlError> {
        self.written.extend(set?);
        Ok(())
    }

    fn try_note(&mut self, set: Result<Option<Written>, SysctlError>) {
        match set {
            Ok(written) => self.written.extend(written),
            Err(error) => self.left.push(error),
        }
    }
}

fn read(path: &PathBuf) -> Result<String, SysctlError> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| SysctlError::Read { path: path.clone(), source })?;
    Ok(text.trim().to_owned())
}

/// What the kernel takes as the name of an interface, and so can't leave its folder. `all` and `default` are no
/// interfaces, but settings of many.
fn checked(interface: &str) -> Result<(), SysctlError> {
    let odd = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
    let is_name = !matches!(interface, "" | "." | ".." | "all" | "default")
        && interface.len() <= MAX_NAME
        && !interface.contains(odd);
    if is_name { Ok(()) } else { Err(SysctlError::Name { name: interface.to_owned() }) }
}

impl SysctlError {
    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Name { name: _ } => "correct `interfaceName` of the endpoint",
            Self::Read { path: _, source } | Self::Write { path: _, value: _, source } => match source.kind()
            {
                ErrorKind::ReadOnlyFilesystem => {
                    "in a container, /proc/sys must be writable: run it privileged, or in the host's network with /proc/sys mounted read-write"
                }
                ErrorKind::PermissionDenied => "run as root, with CAP_NET_ADMIN",
                ErrorKind::NotFound => {
                    "the interface is gone, or the kernel hasn't this: without IPv6, set Ipv6Support=false"
                }
                _ => "see whether the kernel knows this setting and takes this value",
            },
        }
    }
}

impl fmt::Display for SysctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name } => write!(f, "{name:?} is not the name of an interface"),
            Self::Read { path, source } => write!(f, "{}: reading: {source}", path.display()),
            Self::Write { path, value, source } => {
                write!(f, "{}: writing {value}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for SysctlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Name { name: _ } => None,
            Self::Read { path: _, source } | Self::Write { path: _, value: _, source } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const WORKLOAD: [&str; 8] = [
        "ipv6/conf/cali1/accept_ra",
        "ipv4/conf/cali1/route_localnet",
        "ipv4/neigh/cali1/proxy_delay",
        "ipv4/conf/cali1/proxy_arp",
        "ipv4/conf/cali1/forwarding",
        "ipv4/conf/cali1/rp_filter",
        "ipv6/conf/cali1/proxy_ndp",
        "ipv6/conf/cali1/forwarding",
    ];

    /// A tree that has these settings, all 7.
    fn tree(settings: &[&str]) -> (tempfile::TempDir, Sysctls) {
        let folder = tempfile::tempdir().unwrap();
        for setting in settings {
            let path = folder.path().join("net").join(setting);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "7\n").unwrap();
        }
        let sysctls = Sysctls::below(folder.path());
        (folder, sysctls)
    }

    /// `setting=value`, as written.
    fn written(root: &Path, outcome: &Outcome) -> Vec<String> {
        let shown = |written: &Written| {
            assert_eq!(written.before, "7");
            assert_eq!(fs::read_to_string(&written.path).unwrap(), written.value);
            let below = written.path.strip_prefix(root.join("net")).unwrap();
            format!("{}={}", below.display(), written.value)
        };
        outcome.written.iter().map(shown).collect()
    }

    #[test]
    fn a_workload_is_prepared_once() {
        let values = ["0", "1", "0", "1", "1", "2", "1", "1"];
        let want = |values: &[&str]| -> Vec<String> {
            WORKLOAD.iter().zip(values).map(|(setting, value)| format!("{setting}={value}")).collect()
        };
        let spoofing = ["0", "1", "0", "1", "1", "0", "1", "1"];
        let cases =
            [(true, false, want(&values)), (false, false, want(&values[..6])), (true, true, want(&spoofing))];
        for (ipv6, may_spoof, want) in cases {
            let (folder, sysctls) = tree(&WORKLOAD);
            let outcome = sysctls.workload("cali1", ipv6, may_spoof, "2").unwrap();
            assert_eq!(written(folder.path(), &outcome), want, "{ipv6} {may_spoof}");
            let again = sysctls.workload("cali1", ipv6, may_spoof, "2").unwrap();
            assert!(again.written.is_empty() && again.left.is_empty(), "{again:?}");
        }
    }

    #[test]
    fn what_is_missing_is_left_or_refused() {
        for (missing, setting) in WORKLOAD.iter().enumerate() {
            let there: Vec<&str> = WORKLOAD.iter().copied().filter(|other| other != setting).collect();
            let (folder, sysctls) = tree(&there);
            let outcome = sysctls.workload("cali1", true, false, "2");
            let error = match outcome {
                Ok(outcome) => {
                    assert!([0, 2].contains(&missing), "{setting}");
                    assert_eq!(outcome.written.len(), 7);
                    outcome.left.into_iter().next().unwrap()
                }
                Err(error) => error,
            };
            let path = folder.path().join("net").join(setting);
            assert_eq!(error.to_string().split(':').next(), path.to_str(), "{setting}");
            assert!(error.help().contains("is gone"), "{setting}");
            // It is the kernel that makes settings.
            assert!(!path.exists(), "{setting}");
        }
    }

    #[test]
    fn a_host_forwards_if_asked() {
        let all = ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "netfilter/nf_conntrack_acct"];
        let cases = [
            (
                true,
                true,
                vec!["ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "netfilter/nf_conntrack_acct=1"],
            ),
            (false, true, vec!["ipv4/ip_forward=1", "netfilter/nf_conntrack_acct=1"]),
            (true, false, vec!["netfilter/nf_conntrack_acct=1"]),
        ];
        for (ipv6, forwarding, want) in cases {
            let (folder, sysctls) = tree(&all);
            let outcome = sysctls.host(ipv6, forwarding).unwrap();
            assert_eq!(written(folder.path(), &outcome), want);
        }
        let (_folder, sysctls) = tree(&all[..2]);
        assert_eq!(sysctls.host(true, true).unwrap().left.len(), 1);
        let (_folder, sysctls) = tree(&all[1..]);
        assert!(sysctls.host(true, true).is_err());
    }

    #[test]
    fn no_name_leaves_its_folder() {
        let long = "cali01234567890";
        for name in ["cali1", "eth0.5", "a..b", "...", "eth0@x", long] {
            assert!(checked(name).is_ok(), "{name}");
        }
        let longer = format!("{long}1");
        for name in
            ["", ".", "..", "a/b", "../all", "/etc", "a b", "a\n", "a:1", "a\0", "all", "default", &longer]
        {
            let (_folder, sysctls) = tree(&WORKLOAD);
            let refused = sysctls.workload(name, true, false, "0");
            assert!(matches!(refused, Err(SysctlError::Name { name: said }) if said == name), "{name:?}");
        }
    }
}
