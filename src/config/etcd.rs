//! How etcd is reached: parameters of Felix, and those that Calico's other clients take from the environment.

pub(super) mod draft;
pub(super) mod url;

use std::fmt;
use std::path::PathBuf;

/// How to reach etcd, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdAccess {
    /// `http://host:port` or `https://host:port`; at least one.
    pub endpoints: Vec<String>,
    /// The authorities of which one must have signed the server's certificate; https needs them.
    pub authorities: Option<Pem>,
    /// What to show to the server, where it asks for it.
    pub identity: Option<Identity>,
    pub login: Option<Login>,
    /// What all keys begin with, without a `/` at the end.
    pub prefix: String,
}

/// A client's certificate and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub certificate: Pem,
    pub key: Pem,
}

/// Certificates or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    /// Read anew for every connection, as it may be replaced.
    File(PathBuf),
    Text(Secret),
}

/// A user of etcd's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for who must send it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Default for EtcdAccess {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            authorities: None,
            identity: None,
            login: None,
            prefix: "/calico".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let password = Secret::new("hunter2".to_owned());
        let login = Login { user: "felix".to_owned(), password };
        let access = EtcdAccess {
            authorities: Some(Pem::Text(Secret::new("hunter2".to_owned()))),
            login: Some(login),
            ..EtcdAccess::default()
        };
        assert!(!format!("{access:?} {access:#?}").contains("hunter2"));
    }
}
