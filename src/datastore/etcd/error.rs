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
    File { what: &'static str, path: PathBuf, error: io::Error },
    /// It can be read, and is none that can be used.
    NotPem { what: &'static str, path: Option<PathBuf>, kind: &'static str, is_encrypted: bool },
    /// https, and no authority to believe.
    NoAuthorities { endpoint: String },
    /// Its certificate is not believed.
    Untrusted { endpoint: String, why: String },
    /// It does not believe our certificate, or wants one.
    Unidentified { endpoint: String, why: String },
    /// No connection, or one that broke.
    Unreachable { endpoint: String, why: String },
    /// The member answers that it is alone.
    NoQuorum { endpoint: String, why: String },
    /// Connected, and no answer in that time.
    Silent { endpoint: String, waited: Duration },
    /// The user is unknown, or the password wrong.
    Login { endpoint: String, why: String },
    /// A user is named where none can log in.
    NoUsers { endpoint: String },
    /// Users or roles have changed since we logged in.
    OldLogin { endpoint: String },
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
    pub const CANCELLED: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const DEADLINE_EXCEEDED: i32 = 4;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const FAILED_PRECONDITION: i32 = 9;
    pub const OUT_OF_RANGE: i32 = 11;
    pub const INTERNAL: i32 = 13;
    pub const UNAVAILABLE: i32 = 14;
    pub const UNAUTHENTICATED: i32 = 16;
}

impl EtcdError {
    /// What `endpoint`'s client says.
    pub(super) fn of(endpoint: &str, error: &etcd_client::Error) -> Self {
        let (endpoint, why) = (endpoint.to_owned(), words(error));
        let etcd_client::Error::GRpcStatus(status) = error else {
            return Self::unconnected(endpoint, why);
        };
        match i32::from(status.code()) {
            status::OUT_OF_RANGE if why.contains("compacted") => Self::Compacted { revision: 0 },
            status::OUT_OF_RANGE | status::RESOURCE_EXHAUSTED if why.contains("too large") => {
                Self::TooLarge { endpoint }
            }
            status::RESOURCE_EXHAUSTED if why.contains("larger than max") => Self::TooLarge { endpoint },
            status::UNAUTHENTICATED => Self::Login { endpoint, why },
            status::FAILED_PRECONDITION if why.contains("authentication is not enabled") => {
                Self::NoUsers { endpoint }
            }
            status::INVALID_ARGUMENT if why.contains("revision of auth store is old") => {
                Self::OldLogin { endpoint }
            }
            status::INVALID_ARGUMENT | status::FAILED_PRECONDITION
                if why.contains("auth") || why.contains("user name is empty") =>
            {
                Self::Login { endpoint, why }
            }
            status::PERMISSION_DENIED => Self::Forbidden { endpoint, why },
            status::UNAVAILABLE if is_alone(&why) => Self::NoQuorum { endpoint, why },
            status::CANCELLED
            | status::UNKNOWN
            | status::DEADLINE_EXCEEDED
            | status::INTERNAL
            | status::UNAVAILABLE => Self::unconnected(endpoint, why),
            _ => Self::Refused { endpoint, why },
        }
    }

    /// Why the server ended the watch: in its words alone, without a status.
    pub(super) fn ended(endpoint: String, why: &str) -> Self {
        let why = why.to_owned();
        match why.as_str() {
            words if words.contains("permission denied") => Self::Forbidden { endpoint, why },
            words if is_alone(words) => Self::NoQuorum { endpoint, why },
            _ => Self::Ended { endpoint, why },
        }
    }

    /// Says whose certificate it is, where that is it. The library has no other sign of it than its words.
    fn unconnected(endpoint: String, why: String) -> Self {
        if why.contains("invalid peer certificate") {
            Self::Untrusted { endpoint, why }
        } else if why.contains("received fatal alert") || why.contains("KeyMismatch") {
            Self::Unidentified { endpoint, why }
        } else {
            Self::Unreachable { endpoint, why }
        }
    }

    /// What can be done about it.
    pub fn help(&self) -> Option<&'static str> {
        let help = match self {
            Self::File { .. } => "see that the file is there, and that this user may read it",
            Self::NotPem { is_encrypted: true, .. } => {
                "name a file with the key as it is, readable to this user alone"
            }
            Self::NotPem { .. } => {
                "name a file in PEM: text between `-----BEGIN …-----` and `-----END …-----`"
            }
            Self::NoAuthorities { .. } => {
                "name the file with the certificate of etcd's authority in ETCD_CA_CERT_FILE"
            }
            Self::Untrusted { why, .. } if why.contains("for name") => {
                "name the endpoint as its certificate does, or have one made for the endpoint's name"
            }
            Self::Untrusted { why, .. } if why.contains("UnknownIssuer") || why.contains("BadSignature") => {
                "it was signed by another authority than ETCD_CA_CERT_FILE names"
            }
            Self::Untrusted { why, .. }
                if why.contains("Expired")
                    || why.contains("expired")
                    || why.contains("NotValidYet")
                    || why.contains("not valid yet") =>
            {
                "have etcd's certificate renewed, or see whether this host's clock is right"
            }
            Self::Untrusted { .. } => "see etcd's certificate, and ETCD_CA_CERT_FILE",
            Self::Unidentified { .. } => {
                "name a certificate that etcd's authority signed, and its key, in ETCD_CERT_FILE and ETCD_KEY_FILE"
            }
            Self::Unreachable { why, .. } if why.contains("tls handshake") => {
                "see whether what answers there speaks TLS: else the endpoint begins with http://"
            }
            // With TLS 1.3 it says only after the handshake that it wanted a certificate, and may be gone before we read it.
            Self::Unreachable { endpoint, why } if is_closed(why) && endpoint.starts_with("https") => {
                "see whether etcd runs there; if it asks for the client's certificate: ETCD_CERT_FILE and ETCD_KEY_FILE"
            }
            Self::Unreachable { why, .. } if is_closed(why) => {
                "see whether etcd runs there; if it speaks TLS, the endpoint begins with https://"
            }
            Self::Unreachable { .. } => "see ETCD_ENDPOINTS, and whether etcd runs there",
            Self::NoQuorum { .. } => "see that most members of etcd run, and reach one another",
            Self::Silent { .. } => "see whether etcd hangs, or something on the way to it",
            Self::Login { .. } => "see ETCD_USERNAME and ETCD_PASSWORD",
            Self::Forbidden { .. } => "grant the user's role to read the prefix, and to write it where we do",
            Self::NoUsers { .. }
            | Self::OldLogin { .. }
            | Self::Compacted { .. }
            | Self::TooLarge { .. }
            | Self::WentBack { .. }
            | Self::Ended { .. }
            | Self::Refused { .. } => return None,
        };
        Some(help)
    }
}

/// Words of a member that has no leader, or can't reach it.
fn is_alone(why: &str) -> bool {
    why.contains("no leader") || why.contains("etcdserver: request timed out")
}

/// Words of a connection that was there.
fn is_closed(why: &str) -> bool {
    ["closed", "broken pipe", "reset"].iter().any(|word| why.contains(word))
}

/// An error with its causes, each once. The outermost alone may be `transport error`, which says nothing.
fn words(error: &etcd_client::Error) -> String {
    let (outer, mut cause): (String, Option<&dyn Error>) = match error {
        etcd_client::Error::GRpcStatus(status) => (status.message().to_owned(), status.source()),
        etcd_client::Error::TransportError(error) => (error.to_string(), error.source()),
        other => (other.to_string(), None),
    };
    let mut words = outer;
    while let Some(error) = cause {
        let text = error.to_string();
        if words == NO_WORDS {
            words = text;
        } else if text != NO_WORDS && !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    words
}

/// What the library says around what happened.
const NO_WORDS: &str = "transport error";

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { what, path, error } => {
                write!(f, "{what} can't be read: {}: {error}", path.display())
            }
            Self::NotPem { what, path, kind, is_encrypted } => {
                let of = path.as_ref().map_or("the parameter".to_owned(), |path| path.display().to_string());
                let how = if *is_encrypted { "only an encrypted" } else { "no" };
                write!(f, "{what} can't be used: {of} holds {how} {kind}")
            }
            Self::NoAuthorities { endpoint } => {
                write!(f, "etcd at {endpoint}: no authority is named that could have signed its certificate")
            }
            Self::Untrusted { endpoint, why } => {
                write!(f, "the certificate of etcd at {endpoint} is not believed: {why}")
            }
            Self::Unidentified { endpoint, why } => {
                write!(f, "etcd at {endpoint} does not accept this client's certificate: {why}")
            }
            Self::NoQuorum { endpoint, why } => {
                write!(f, "etcd at {endpoint} has lost the other members: {why}")
            }
            Self::NoUsers { endpoint } => write!(f, "etcd at {endpoint} knows no users"),
            Self::OldLogin { endpoint } => {
                write!(f, "etcd at {endpoint} has changed its users or roles since the login")
            }
            Self::Unreachable { endpoint, why } => write!(f, "etcd at {endpoint} can't be reached: {why}"),
            Self::Silent { endpoint, waited } => {
                write!(f, "etcd at {endpoint} has not answered for {} s", waited.as_secs())
            }
            Self::Login { endpoint, why } => write!(f, "etcd at {endpoint} refuses the login: {why}"),
            Self::Forbidden { endpoint, why } => {
                write!(f, "etcd at {endpoint} does not allow that to this user: {why}")
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
