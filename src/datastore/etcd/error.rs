//! What goes wrong between us and etcd, for people.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why etcd could not be asked, or does not answer.
#[derive(Debug)]
pub enum EtcdError {
    /// A certificate or key can't be read.
    File { path: PathBuf, error: io::Error },
    /// https, and no authority to believe.
    NoAuthorities { endpoint: String },
    /// No connection, or one that broke.
    Unreachable { endpoint: String, why: String },
    /// Connected, and no answer in that time.
    Silent { endpoint: String, waited: Duration },
    /// The user is unknown, or the password wrong.
    Login { endpoint: String, why: String },
    /// The user may not do this.
    Forbidden { endpoint: String, why: String },
    /// The history that we wanted to read is gone. The store has to be read anew.
    Compacted { revision: i64 },
    /// A page holds more than we take at once.
    TooLarge { endpoint: String },
    /// It is another store than before, or an older state of it.
    WentBack { endpoint: String },
    /// The watch was ended by the server; its words.
    Ended { endpoint: String, why: String },
    /// Anything else that the server says.
    Refused { endpoint: String, why: String },
}

/// Numbers of gRPC's statuses (grpc.io, "Status codes and their use in gRPC").
mod status {
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const FAILED_PRECONDITION: i32 = 9;
    pub const OUT_OF_RANGE: i32 = 11;
    pub const UNKNOWN: i32 = 2;
    pub const UNAVAILABLE: i32 = 14;
    pub const UNAUTHENTICATED: i32 = 16;
}

impl EtcdError {
    /// What `endpoint`'s client says.
    pub(super) fn of(endpoint: &str, error: &etcd_client::Error) -> Self {
        let (endpoint, why) = (endpoint.to_owned(), words(error));
        let etcd_client::Error::GRpcStatus(status) = error else {
            return Self::Unreachable { endpoint, why };
        };
        match i32::from(status.code()) {
            status::OUT_OF_RANGE if why.contains("compacted") => Self::Compacted { revision: 0 },
            status::OUT_OF_RANGE | status::RESOURCE_EXHAUSTED if why.contains("too large") => {
                Self::TooLarge { endpoint }
            }
            status::RESOURCE_EXHAUSTED if why.contains("larger than max") => Self::TooLarge { endpoint },
            status::UNAUTHENTICATED => Self::Login { endpoint, why },
            status::INVALID_ARGUMENT | status::FAILED_PRECONDITION if why.contains("auth") => {
                Self::Login { endpoint, why }
            }
            status::PERMISSION_DENIED => Self::Forbidden { endpoint, why },
            status::UNAVAILABLE | status::UNKNOWN => Self::Unreachable { endpoint, why },
            _ => Self::Refused { endpoint, why },
        }
    }

    /// What can be done about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::NoAuthorities { .. } => {
                Some("name the file with the certificate of etcd's authority in ETCD_CA_CERT_FILE")
            }
            Self::Login { .. } => Some("see ETCD_USERNAME and ETCD_PASSWORD"),
            Self::Forbidden { .. } => {
                Some("grant the user's role to read the prefix, and to write it where we do")
            }
            Self::Unreachable { why, .. } if why.contains("UnknownIssuer") => {
                Some("etcd's certificate was signed by another authority than ETCD_CA_CERT_FILE names")
            }
            Self::Unreachable { why, .. } if why.contains("NotValidForName") => {
                Some("etcd's certificate is for another name than the endpoint's")
            }
            Self::Unreachable { why, .. } if why.contains("CertificateRequired") => {
                Some("name the client's certificate and key in ETCD_CERT_FILE and ETCD_KEY_FILE")
            }
            Self::Unreachable { .. } => Some("see ETCD_ENDPOINTS, and whether etcd runs there"),
            Self::File { .. }
            | Self::Silent { .. }
            | Self::Compacted { .. }
            | Self::TooLarge { .. }
            | Self::WentBack { .. }
            | Self::Ended { .. }
            | Self::Refused { .. } => None,
        }
    }
}

/// An error with its causes, each once: the outermost alone is `transport error`.
fn words(error: &etcd_client::Error) -> String {
    let mut words = match error {
        etcd_client::Error::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    };
    let mut cause: Option<&dyn Error> = match error {
        etcd_client::Error::GRpcStatus(status) => status.source(),
        etcd_client::Error::TransportError(error) => error.source(),
        _ => None,
    };
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    words
}

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NoAuthorities { endpoint } => {
                write!(f, "etcd at {endpoint}: no authority is named that could have signed its certificate")
            }
            Self::Unreachable { endpoint, why } => write!(f, "etcd at {endpoint} can't be reached: {why}"),
            Self::Silent { endpoint, waited } => {
                write!(f, "etcd at {endpoint} has not answered for {} s", waited.as_secs())
            }
            Self::Login { endpoint, why } => write!(f, "etcd at {endpoint} refuses the login: {why}"),
            Self::Forbidden { endpoint, why } => {
                write!(f, "etcd at {endpoint} does not let this user read: {why}")
            }
            Self::Compacted { revision: 0 } => {
                f.write_str("the history of the store is compacted: it is read anew")
            }
            Self::Compacted { revision } => {
                write!(f, "the history of the store is compacted to revision {revision}: it is read anew")
            }
            Self::TooLarge { endpoint } => write!(f, "etcd at {endpoint}: one value is too large to read"),
            Self::WentBack { endpoint } => {
                write!(f, "etcd at {endpoint} has an older or another state than before: it is read anew")
            }
            Self::Ended { endpoint, why } => write!(f, "etcd at {endpoint} ended the watch: {why}"),
            Self::Refused { endpoint, why } => write!(f, "etcd at {endpoint}: {why}"),
        }
    }
}

impl Error for EtcdError {}
