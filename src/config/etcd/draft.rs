//! Parameters that only together say how etcd is reached.

use std::fmt;
use std::path::PathBuf;

use super::super::clients::variables;
use super::{EtcdAccess, Identity, Login, Pem, Secret};

/// What was said of how etcd is reached, as far as each text could be checked alone. An empty one says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct EtcdDraft {
    /// The resources are in Kubernetes, not in etcd.
    pub(in crate::config) kubernetes: bool,
    /// `host:port`, where there are no endpoints.
    pub(in crate::config) address: String,
    pub(in crate::config) https: bool,
    /// URLs with a `/` behind each.
    pub(in crate::config) endpoints: Vec<String>,
    /// A domain whose DNS would name them.
    pub(in crate::config) discovery: String,
    pub(in crate::config) ca_file: String,
    pub(in crate::config) certificate_file: String,
    pub(in crate::config) key_file: String,
    pub(in crate::config) ca: Secret,
    pub(in crate::config) certificate: Secret,
    pub(in crate::config) key: Secret,
    pub(in crate::config) user: String,
    pub(in crate::config) password: Secret,
    pub(in crate::config) prefix: String,
}

/// Why what was said can't be done, or would be less safe than it looks. Parameters by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdFault {
    Kubernetes,
    Discovery,
    /// A certificate from a file and one in the parameter itself: which is meant?
    Mixed {
        file: &'static str,
        text: &'static str,
    },
    /// One of two that go together.
    Half {
        given: &'static str,
        missing: &'static str,
    },
    /// https, and nobody to say whose certificate is the server's.
    NoAuthority {
        endpoint: String,
    },
    /// A parameter asks for encryption, and the endpoint has none.
    Unencrypted {
        asked_by: &'static str,
        endpoint: String,
    },
}

/// A parameter's name and what it says, where it says something.
type Said<'a, T> = Option<(&'static str, &'a T)>;

impl Default for EtcdDraft {
    fn default() -> Self {
        Self {
            kubernetes: false,
            address: "127.0.0.1:2379".to_owned(),
            https: false,
            endpoints: Vec::new(),
            discovery: String::new(),
            ca_file: String::new(),
            certificate_file: String::new(),
            key_file: String::new(),
            ca: Secret::default(),
            certificate: Secret::default(),
            key: Secret::default(),
            user: String::new(),
            password: Secret::default(),
            prefix: "/calico".to_owned(),
        }
    }
}

impl EtcdDraft {
    pub(in crate::config) fn finish(&self) -> Result<EtcdAccess, EtcdFault> {
        if self.kubernetes {
            return Err(EtcdFault::Kubernetes);
        }
        if !self.discovery.is_empty() {
            return Err(EtcdFault::Discovery);
        }
        self.check_not_mixed()?;
        let endpoints = self.urls();
        let authorities = pem("EtcdCaFile", &self.ca_file, "EtcdCaCert", &self.ca);
        let identity = self.identity()?;
        let login = self.login()?;
        self.check_encryption(&endpoints, authorities.is_some())?;
        Ok(EtcdAccess {
            endpoints,
            authorities: authorities.map(|(_, pem)| pem),
            identity,
            login,
            prefix: self.prefix.clone(),
        })
    }

    fn urls(&self) -> Vec<String> {
        if self.endpoints.is_empty() {
            let scheme = if self.https { "https" } else { "http" };
            return vec![format!("{scheme}://{}", self.address)];
        }
        self.endpoints.iter().map(|url| url.trim_end_matches('/').to_owned()).collect()
    }

    /// The reference allows files or texts, not both.
    fn check_not_mixed(&self) -> Result<(), EtcdFault> {
        let files = [
            file("EtcdCaFile", &self.ca_file),
            file("EtcdCertFile", &self.certificate_file),
            file("EtcdKeyFile", &self.key_file),
        ];
        let texts =
            [text("EtcdCaCert", &self.ca), text("EtcdCert", &self.certificate), text("EtcdKey", &self.key)];
        match (files.into_iter().flatten().next(), texts.into_iter().flatten().next()) {
            (Some((file, _)), Some((text, _))) => Err(EtcdFault::Mixed { file, text }),
            _ => Ok(()),
        }
    }

    fn identity(&self) -> Result<Option<Identity>, EtcdFault> {
        let certificate = pem("EtcdCertFile", &self.certificate_file, "EtcdCert", &self.certificate);
        let key = pem("EtcdKeyFile", &self.key_file, "EtcdKey", &self.key);
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some((_, certificate)), Some((_, key))) => Ok(Some(Identity { certificate, key })),
            (Some((given, pem)), None) => {
                Err(EtcdFault::Half { given, missing: beside(&pem, "EtcdKeyFile", "EtcdKey") })
            }
            (None, Some((given, pem))) => {
                Err(EtcdFault::Half { given, missing: beside(&pem, "EtcdCertFile", "EtcdCert") })
            }
        }
    }

    fn login(&self) -> Result<Option<Login>, EtcdFault> {
        match (self.user.is_empty(), self.password.reveal().is_empty()) {
            (true, true) => Ok(None),
            (false, false) => Ok(Some(Login { user: self.user.clone(), password: self.password.clone() })),
            (false, true) => Err(EtcdFault::Half { given: "EtcdUsername", missing: "EtcdPassword" }),
            (true, false) => Err(EtcdFault::Half { given: "EtcdPassword", missing: "EtcdUsername" }),
        }
    }

    /// Whoever asks for encryption gets it, or is told.
    fn check_encryption(&self, endpoints: &[String], has_authority: bool) -> Result<(), EtcdFault> {
        for endpoint in endpoints {
            let encrypted = endpoint.starts_with("https:");
            match (encrypted, self.asks_for_encryption()) {
                (true, _) if !has_authority => {
                    return Err(EtcdFault::NoAuthority { endpoint: endpoint.clone() });
                }
                (false, Some(asked_by)) => {
                    return Err(EtcdFault::Unencrypted { asked_by, endpoint: endpoint.clone() });
                }
                (true, _) | (false, None) => {}
            }
        }
        Ok(())
    }

    /// Which parameter, if one does.
    fn asks_for_encryption(&self) -> Option<&'static str> {
        let scheme = self.https.then_some("EtcdScheme");
        let authority = || pem("EtcdCaFile", &self.ca_file, "EtcdCaCert", &self.ca).map(|(name, _)| name);
        let identity = || {
            pem("EtcdCertFile", &self.certificate_file, "EtcdCert", &self.certificate).map(|(name, _)| name)
        };
        scheme.or_else(authority).or_else(identity)
    }
}

impl EtcdFault {
    /// The parameter that it is said of.
    pub fn parameter(&self) -> &'static str {
        match self {
            Self::Kubernetes => "DatastoreType",
            Self::Discovery => "EtcdDiscoverySrv",
            Self::Mixed { file, text: _ } => file,
            Self::Half { given, missing: _ } => given,
            Self::NoAuthority { .. } => "EtcdEndpoints",
            Self::Unencrypted { asked_by, endpoint: _ } => asked_by,
        }
    }

    /// What to do.
    pub fn help(&self) -> String {
        match self {
            Self::Kubernetes => {
                "set it to etcdv3, or name manifests or an etcd:// URL on the command line".to_owned()
            }
            Self::Discovery => format!("name etcd's members in {}", variables("EtcdEndpoints")),
            Self::Mixed { file, text } => {
                format!("unset {file} ({}) or {text} ({})", variables(file), variables(text))
            }
            Self::Half { given: _, missing } => format!("set {}, too", variables(missing)),
            Self::NoAuthority { endpoint: _ } => {
                format!("set {}; there are no authorities by default", variables("EtcdCaFile"))
            }
            Self::Unencrypted { asked_by, endpoint: _ } => {
                format!("write https:// (etcds:// on the command line), or unset {}", variables(asked_by))
            }
        }
    }
}

impl fmt::Display for EtcdFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes => {
                f.write_str("DatastoreType is kubernetes, and this program reads etcd v3 and manifests")
            }
            Self::Discovery => {
                f.write_str("EtcdDiscoverySrv is not supported: etcd's members are not looked up in DNS")
            }
            Self::Mixed { file, text } => {
                write!(
                    f,
                    "{file} and {text} are both set: certificates are in files or in parameters, not both"
                )
            }
            Self::Half { given, missing } => write!(f, "{given} is set without {missing}"),
            Self::NoAuthority { endpoint } => {
                write!(f, "{endpoint}: nobody says which authority signs the server's certificate")
            }
            Self::Unencrypted { asked_by, endpoint } => {
                write!(f, "{asked_by} asks for encryption, and {endpoint} has none")
            }
        }
    }
}

impl std::error::Error for EtcdFault {}

fn file<'a>(name: &'static str, path: &'a String) -> Said<'a, String> {
    (!path.is_empty()).then_some((name, path))
}

fn text<'a>(name: &'static str, text: &'a Secret) -> Said<'a, Secret> {
    (!text.reveal().is_empty()).then_some((name, text))
}

/// What one of two parameters says, and which.
fn pem(
    file_name: &'static str,
    path: &String,
    text_name: &'static str,
    secret: &Secret,
) -> Option<(&'static str, Pem)> {
    let of_file = file(file_name, path).map(|(name, path)| (name, Pem::File(PathBuf::from(path))));
    of_file.or_else(|| text(text_name, secret).map(|(name, text)| (name, Pem::Text(text.clone()))))
}

/// The parameter of the form that the other one has.
fn beside(pem: &Pem, file: &'static str, text: &'static str) -> &'static str {
    match pem {
        Pem::File(_) => file,
        Pem::Text(_) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn https() -> EtcdDraft {
        EtcdDraft { endpoints: vec!["https://a:1/".to_owned()], ..EtcdDraft::default() }
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(EtcdDraft::default().finish(), Ok(EtcdAccess::default()));
    }

    #[test]
    fn endpoints() {
        let ca_file = || "ca".to_owned();
        let rows = [
            (EtcdDraft { address: "a:1".to_owned(), ..EtcdDraft::default() }, "http://a:1"),
            (EtcdDraft { https: true, ca_file: ca_file(), ..EtcdDraft::default() }, "https://127.0.0.1:2379"),
            (EtcdDraft { ca_file: ca_file(), ..https() }, "https://a:1"),
            (
                EtcdDraft {
                    endpoints: vec!["http://a:1/".to_owned(), "http://[::1]:2/".to_owned()],
                    address: "b:1".to_owned(),
                    ..EtcdDraft::default()
                },
                "http://a:1 http://[::1]:2",
            ),
        ];
        for (draft, expected) in rows {
            assert_eq!(draft.finish().map(|access| access.endpoints.join(" ")).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn who_is_shown_and_trusted() {
        let files = EtcdDraft {
            ca_file: "ca".to_owned(),
            certificate_file: "cert".to_owned(),
            key_file: "key".to_owned(),
            ..https()
        };
        let texts =
            EtcdDraft { ca: secret("ca"), certificate: secret("cert"), key: secret("key"), ..https() };
        let of_file: fn(&str) -> Pem = |name| Pem::File(name.into());
        let of_text: fn(&str) -> Pem = |text| Pem::Text(secret(text));
        for (draft, pem) in [(files, of_file), (texts, of_text)] {
            let access = draft.finish().unwrap();
            assert_eq!(access.authorities, Some(pem("ca")));
            assert_eq!(access.identity, Some(Identity { certificate: pem("cert"), key: pem("key") }));
        }
        let known =
            EtcdDraft { user: "felix".to_owned(), password: secret("hunter2"), ..EtcdDraft::default() };
        let login = known.finish().unwrap().login;
        assert_eq!(login, Some(Login { user: "felix".to_owned(), password: secret("hunter2") }));
    }

    #[test]
    fn faults() {
        let of = |change: fn(&mut EtcdDraft)| {
            let mut draft = EtcdDraft::default();
            change(&mut draft);
            draft
        };
        let rows = [
            (
                of(|draft| draft.kubernetes = true),
                "DatastoreType is kubernetes, and this program reads etcd v3 and manifests",
                "set it to etcdv3, or name manifests or an etcd:// URL on the command line",
            ),
            (
                of(|draft| draft.discovery = "example.org".to_owned()),
                "EtcdDiscoverySrv is not supported: etcd's members are not looked up in DNS",
                "name etcd's members in FELIX_ETCDENDPOINTS or ETCD_ENDPOINTS",
            ),
            (
                of(|draft| {
                    draft.certificate_file = "cert".to_owned();
                    draft.ca = secret("ca");
                }),
                "EtcdCertFile and EtcdCaCert are both set: certificates are in files or in parameters, not both",
                "unset EtcdCertFile (FELIX_ETCDCERTFILE or ETCD_CERT_FILE) or EtcdCaCert (FELIX_ETCDCACERT or ETCD_CA_CERT)",
            ),
            (
                of(|draft| draft.certificate_file = "cert".to_owned()),
                "EtcdCertFile is set without EtcdKeyFile",
                "set FELIX_ETCDKEYFILE or ETCD_KEY_FILE, too",
            ),
            (
                of(|draft| draft.key = secret("key")),
                "EtcdKey is set without EtcdCert",
                "set FELIX_ETCDCERT or ETCD_CERT, too",
            ),
            (
                of(|draft| draft.user = "felix".to_owned()),
                "EtcdUsername is set without EtcdPassword",
                "set FELIX_ETCDPASSWORD or ETCD_PASSWORD, too",
            ),
            (
                of(|draft| draft.password = secret("hunter2")),
                "EtcdPassword is set without EtcdUsername",
                "set FELIX_ETCDUSERNAME or ETCD_USERNAME, too",
            ),
            (
                https(),
                "https://a:1: nobody says which authority signs the server's certificate",
                "set FELIX_ETCDCAFILE or ETCD_CA_CERT_FILE; there are no authorities by default",
            ),
            (
                of(|draft| draft.ca = secret("ca")),
                "EtcdCaCert asks for encryption, and http://127.0.0.1:2379 has none",
                "write https:// (etcds:// on the command line), or unset FELIX_ETCDCACERT or ETCD_CA_CERT",
            ),
            (
                of(|draft| {
                    draft.https = true;
                    draft.endpoints = vec!["http://a:1/".to_owned()];
                }),
                "EtcdScheme asks for encryption, and http://a:1 has none",
                "write https:// (etcds:// on the command line), or unset FELIX_ETCDSCHEME",
            ),
        ];
        for (draft, message, help) in rows {
            let fault = draft.finish().map_err(|fault| (fault.to_string(), fault.help()));
            assert_eq!(fault, Err((message.to_owned(), help.to_owned())));
        }
    }
}
