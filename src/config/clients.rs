//! The variables that Calico's other clients take (reference §2.5): who has them set need not say it again.

use super::setting::Setting;
use super::sources::{Source, SourceKind};

/// Each variable and the parameter that it is here.
const VARIABLES: [(&str, &str); 11] = [
    ("DATASTORE_TYPE", "DatastoreType"),
    ("ETCD_ENDPOINTS", "EtcdEndpoints"),
    ("ETCD_DISCOVERY_SRV", "EtcdDiscoverySrv"),
    ("ETCD_CA_CERT_FILE", "EtcdCaFile"),
    ("ETCD_CERT_FILE", "EtcdCertFile"),
    ("ETCD_KEY_FILE", "EtcdKeyFile"),
    ("ETCD_CA_CERT", "EtcdCaCert"),
    ("ETCD_CERT", "EtcdCert"),
    ("ETCD_KEY", "EtcdKey"),
    ("ETCD_USERNAME", "EtcdUsername"),
    ("ETCD_PASSWORD", "EtcdPassword"),
];

impl Source {
    /// Those of the variables that are Calico's other clients', too. Case matters, as it does to them.
    pub fn clients(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut settings: Vec<_> = variables
            .into_iter()
            .filter_map(|(variable, value)| {
                let (_, name) = VARIABLES.iter().find(|(known, _)| *known == variable)?;
                Some(Setting { name: (*name).to_owned(), value, origin: variable })
            })
            .collect();
        // The system's order is arbitrary.
        settings.sort_by(|a, b| a.origin.cmp(&b.origin));
        Self { kind: SourceKind::Client, name: "environment of Calico's clients".to_owned(), settings }
    }
}

/// The variables by which the environment sets a parameter, for people.
pub(super) fn variables(parameter: &str) -> String {
    let own = format!("FELIX_{}", parameter.to_ascii_uppercase());
    match VARIABLES.iter().find(|(_, name)| *name == parameter) {
        Some((variable, _)) => format!("{own} or {variable}"),
        None => own,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Parameter;
    use super::*;

    #[test]
    fn what_is_taken() {
        let variables = [
            ("ETCD_USERNAME", "felix"),
            ("etcd_password", "x"),
            ("ETCD_ENDPOINTS", "http://a:1"),
            ("ETCD_NAME", "x"),
            ("CALICO_ETCD_ENDPOINTS", "x"),
            ("FELIX_LOGPREFIX", "x"),
        ];
        let source = Source::clients(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let settings: Vec<_> =
            source.settings.iter().map(|s| (s.name.as_str(), s.value.as_str(), s.origin.as_str())).collect();
        assert_eq!(
            settings,
            [("EtcdEndpoints", "http://a:1", "ETCD_ENDPOINTS"), ("EtcdUsername", "felix", "ETCD_USERNAME")]
        );
    }

    #[test]
    fn each_is_a_parameter_that_is_honoured() {
        for (variable, name) in VARIABLES {
            let parameter = Parameter::named(name);
            assert!(parameter.is_some_and(|found| found.name == name && found.is_honoured()), "{variable}");
        }
    }
}
