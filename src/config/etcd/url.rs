//! `etcd://host:port,…/prefix`: a cluster's datastore as the command line names it.

use std::fmt;

use super::super::kind::Kind;
use super::super::setting::Setting;
use super::super::sources::{Source, SourceKind};
use super::super::value::authority;

const PLAIN: &str = "etcd://";
const ENCRYPTED: &str = "etcds://";

/// What a URL says; what it leaves out, parameters say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdUrl {
    encrypted: bool,
    /// `host:port`; none where parameters name them.
    members: Vec<String>,
    prefix: Option<String>,
}

/// Why a text is no [`EtcdUrl`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdUrlError {
    /// It would be seen by all who list processes. Deliberately without the text.
    User,
    Member(String),
    Prefix(String),
}

impl EtcdUrl {
    /// Whether the text is meant as one.
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with(PLAIN) || text.starts_with(ENCRYPTED)
    }

    /// Reads a text for which [`EtcdUrl::is_meant_by`] holds.
    ///
    /// # Errors
    ///
    /// See [`EtcdUrlError`].
    pub fn parse(text: &str) -> Result<Self, EtcdUrlError> {
        let (encrypted, rest) = match text.strip_prefix(ENCRYPTED) {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix(PLAIN).unwrap_or(text)),
        };
        // Before all else, so that no other error shows a part of a password.
        if rest.contains('@') {
            return Err(EtcdUrlError::User);
        }
        let (members, prefix) = match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
            Some((members, prefix)) => (members, prefix),
            None => (rest, ""),
        };
        Ok(Self { encrypted, members: self::members(members)?, prefix: self::prefix(prefix)? })
    }

    /// As settings, which are as strong as those of the command line. `name`: the flag, for people.
    pub fn source(&self, name: &str) -> Source {
        let Self { encrypted, members, prefix } = self;
        let mut said = vec![("DatastoreType", "etcdv3".to_owned())];
        let scheme = if *encrypted { "https" } else { "http" };
        if !members.is_empty() {
            let urls: Vec<String> = members.iter().map(|member| format!("{scheme}://{member}")).collect();
            said.extend([("EtcdEndpoints", urls.join(",")), ("EtcdDiscoverySrv", "none".to_owned())]);
        }
        // Then plain endpoints are a fault, as are plain ones here where a parameter asks for https.
        if *encrypted {
            said.push(("EtcdScheme", scheme.to_owned()));
        }
        said.extend(prefix.iter().map(|prefix| ("EtcdPrefix", prefix.clone())));
        let setting = |(parameter, value): (&str, String)| Setting {
            name: parameter.to_owned(),
            value,
            origin: name.to_owned(),
        };
        let settings = said.into_iter().map(setting).collect();
        Source { kind: SourceKind::Flag, name: name.to_owned(), settings }
    }
}

impl EtcdUrlError {
    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::User => {
                "set ETCD_USERNAME and ETCD_PASSWORD in the environment, or EtcdUsername and EtcdPassword in the configuration file"
            }
            Self::Member(_) => {
                "write etcd://HOST:PORT,…; an IPv6 address stands in brackets, and the port is 2379 if left out"
            }
            Self::Prefix(_) => "write etcd://HOST:PORT/PREFIX; the prefix is /calico if left out",
        }
    }
}

impl fmt::Display for EtcdUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("a user or password in a URL can be seen by all who list processes"),
            Self::Member(text) => write!(f, "`{text}` is not a member of etcd's"),
            Self::Prefix(text) => write!(f, "`{text}` is not a prefix of keys"),
        }
    }
}

impl std::error::Error for EtcdUrlError {}

fn members(text: &str) -> Result<Vec<String>, EtcdUrlError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let member = |text: &str| authority(text).map_err(|_| EtcdUrlError::Member(text.to_owned()));
    text.split(',').map(member).collect()
}

/// None where there is none.
fn prefix(text: &str) -> Result<Option<String>, EtcdUrlError> {
    if matches!(text, "" | "/") {
        return Ok(None);
    }
    Kind::KeyPrefix.canonical(text).map(Some).map_err(|_| EtcdUrlError::Prefix(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says() {
        let rows: &[(&str, &[(&str, &str)])] = &[
            ("etcd://", &[]),
            ("etcd:///", &[]),
            ("etcds://", &[("EtcdScheme", "https")]),
            ("etcd://a", &[("EtcdEndpoints", "http://a:2379"), ("EtcdDiscoverySrv", "none")]),
            ("etcd://a:1,b/", &[("EtcdEndpoints", "http://a:1,http://b:2379"), ("EtcdDiscoverySrv", "none")]),
            (
                "etcds://[::1]:1,[FD00::2]",
                &[
                    ("EtcdEndpoints", "https://[::1]:1,https://[fd00::2]:2379"),
                    ("EtcdDiscoverySrv", "none"),
                    ("EtcdScheme", "https"),
                ],
            ),
            (
                "etcd://10.0.0.1:1/clusters/one/",
                &[
                    ("EtcdEndpoints", "http://10.0.0.1:1"),
                    ("EtcdDiscoverySrv", "none"),
                    ("EtcdPrefix", "/clusters/one"),
                ],
            ),
            ("etcd:///one", &[("EtcdPrefix", "/one")]),
        ];
        for (text, expected) in rows {
            assert!(EtcdUrl::is_meant_by(text), "{text}");
            let source = EtcdUrl::parse(text).map(|url| url.source("--datastore")).unwrap();
            let said: Vec<_> = source.settings.iter().map(|s| (s.name.as_str(), s.value.as_str())).collect();
            let expected: Vec<_> =
                std::iter::once(("DatastoreType", "etcdv3")).chain(expected.iter().copied()).collect();
            assert_eq!(said, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_url() {
        let member = |text: &str| EtcdUrlError::Member(text.to_owned());
        let prefix = |text: &str| EtcdUrlError::Prefix(text.to_owned());
        let rows = [
            ("etcd://user:hunter2@a:1", EtcdUrlError::User),
            ("etcd://user@a", EtcdUrlError::User),
            ("etcds://user:hun/ter2@a", EtcdUrlError::User),
            ("etcd://a:0", member("a:0")),
            ("etcd://a:65536", member("a:65536")),
            ("etcd://a:", member("a:")),
            ("etcd://:1", member(":1")),
            ("etcd://a,,b", member("")),
            ("etcd://a, b", member(" b")),
            ("etcd://::1", member("::1")),
            ("etcd://[::1", member("[::1")),
            ("etcd://[::1]1", member("[::1]1")),
            ("etcd://[a]:1", member("[a]:1")),
            ("etcd://a?x=1", member("a?x=1")),
            ("etcd://a//", prefix("//")),
            ("etcd://a/b//c", prefix("/b//c")),
            ("etcd://a/b?c", prefix("/b?c")),
            ("etcd://a/b#c", prefix("/b#c")),
        ];
        for (text, expected) in rows {
            assert_eq!(EtcdUrl::parse(text), Err(expected), "{text}");
        }
        for text in ["etcd:/a", "http://a", "etcd", "ETCD://a", "./etcd://a"] {
            assert!(!EtcdUrl::is_meant_by(text), "{text}");
        }
    }
}
