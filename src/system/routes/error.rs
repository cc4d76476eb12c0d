//! Why routes cannot be read or written.

use std::{fmt, io};

use crate::routes::TUNNEL;
use crate::sync::routes::RouteStep;
use crate::system::netlink::Refusal;

/// Why routes cannot be read or written.
#[derive(Debug)]
pub enum RoutesError {
    /// The socket can't be opened or used.
    Socket { doing: &'static str, source: io::Error },
    /// The kernel does not list them.
    Unlisted { what: &'static str, source: io::Error },
    /// Whenever they were read they changed meanwhile.
    Restless { what: &'static str },
    /// The kernel does not make the change.
    Refused { step: String, source: io::Error, said: Option<String> },
    /// The kernel has no IP in IP.
    NoIpip { source: io::Error },
    /// Another kind of interface has the tunnel's name.
    ForeignTunnel,
}

impl RoutesError {
    pub(super) fn refused(step: &RouteStep, refusal: Refusal) -> Self {
        let Refusal { source, said } = refusal;
        Self::Refused { step: step.to_string(), source, said }
    }

    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Socket { .. } => {
                "the daemon needs AF_NETLINK sockets: see whether a seccomp profile, or RestrictAddressFamilies= of its unit, forbids them"
            }
            Self::Unlisted { .. } => "it is tried again; if it lasts, see the kernel's log",
            Self::Restless { .. } => "see with `ip monitor route` who changes them so often",
            Self::Refused { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run as root, with CAP_NET_ADMIN; routes of IPv6 need net.ipv6.conf.*.disable_ipv6=0"
            }
            Self::Refused { .. } => "the command, by hand, is refused for the same reason; it is tried again",
            Self::ForeignTunnel => "rename or delete it: `ip -d link show tunl0` shows what it is",
            Self::NoIpip { .. } => {
                "load the module ipip, or use a kernel that has it; IpInIpEnabled=false does without"
            }
        }
    }
}

impl fmt::Display for RoutesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { doing, source } => write!(f, "the kernel's netlink socket: {doing}: {source}"),
            Self::Unlisted { what, source } => write!(f, "the kernel does not list {what}: {source}"),
            Self::Restless { what } => write!(f, "{what} change whenever they are read"),
            Self::Refused { step, source, said } => {
                write!(f, "the kernel refuses `{step}`: {source}")?;
                said.as_ref().map_or(Ok(()), |said| write!(f, " ({said})"))
            }
            Self::NoIpip { source } => write!(f, "this kernel has no IP in IP: {source}"),
            Self::ForeignTunnel => write!(f, "{TUNNEL} is there, and is no IP in IP tunnel"),
        }
    }
}

impl std::error::Error for RoutesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket { doing: _, source }
            | Self::Unlisted { what: _, source }
            | Self::Refused { step: _, source, said: _ }
            | Self::NoIpip { source } => Some(source),
            Self::Restless { what: _ } | Self::ForeignTunnel => None,
        }
    }
}
