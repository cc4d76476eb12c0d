//! A configuration while its parameters are put together.

use std::net::Ipv4Addr;

use super::etcd::draft::EtcdDraft;
use super::{Config, EtcdAccess, EtcdFault, OpenStack};

/// A [`Config`], and the parameters that only together say something.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) cluster_type: String,
    /// A host name or an address; empty where there is none.
    pub(super) metadata_addr: String,
    /// 0 where there is none.
    pub(super) metadata_port: u16,
    pub(super) etcd: EtcdDraft,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            config: Config::default(),
            cluster_type: String::new(),
            metadata_addr: "127.0.0.1".to_owned(),
            metadata_port: 8775,
            etcd: EtcdDraft::default(),
        }
    }
}

impl Draft {
    pub(super) fn finish(self) -> (Config, Result<EtcdAccess, EtcdFault>) {
        let openstack = self.openstack().then(|| OpenStack { metadata: self.metadata() });
        (Config { openstack, ..self.config }, self.etcd.finish())
    }

    /// Whether anything looks like OpenStack (reference §11.2, last paragraphs).
    fn openstack(&self) -> bool {
        self.cluster_type.to_lowercase().contains("openstack")
            || !matches!(self.metadata_addr.as_str(), "" | "127.0.0.1")
            || !matches!(self.metadata_port, 0 | 8775)
            || self.config.interface_prefixes.iter().any(|prefix| prefix == "tap")
    }

    /// A name is not looked up: chains need an address.
    fn metadata(&self) -> Option<(Ipv4Addr, u16)> {
        let address = self.metadata_addr.parse().ok()?;
        (self.metadata_port > 0).then_some((address, self.metadata_port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openstack() {
        let local = "127.0.0.1";
        let at = |address: &str, port| Some(Some((address.parse::<Ipv4Addr>().unwrap(), port)));
        let rows = [
            ("", local, 8775, "cali", None),
            ("k8s,bgp", "", 0, "cali,tape", None),
            ("k8s,OpenStack", local, 8775, "cali", at(local, 8775)),
            ("", "10.0.0.1", 8775, "cali", at("10.0.0.1", 8775)),
            ("", local, 8776, "cali", at(local, 8776)),
            ("", local, 8775, "cali,tap", at(local, 8775)),
            ("", "metadata.example", 8775, "cali", Some(None)),
            ("openstack", "", 8775, "cali", Some(None)),
            ("openstack", local, 0, "cali", Some(None)),
        ];
        for (cluster_type, address, metadata_port, prefixes, expected) in rows {
            let interface_prefixes = prefixes.split(',').map(str::to_owned).collect();
            let draft = Draft {
                config: Config { interface_prefixes, ..Config::default() },
                cluster_type: cluster_type.to_owned(),
                metadata_addr: address.to_owned(),
                metadata_port,
                ..Draft::default()
            };
            let expected = expected.map(|metadata| OpenStack { metadata });
            assert_eq!(
                draft.finish().0.openstack,
                expected,
                "{cluster_type} {address} {metadata_port} {prefixes}"
            );
        }
    }
}
