//! Which document is what: `apiVersion` and `kind`.

use super::fields::{Form, Mistake};
use crate::config::nearest;
use crate::model::PolicyKind;
use crate::model::diagnostic::Code;

/// What a document says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Policy,
    V3Policy(PolicyKind),
    Profile,
    Tier,
    NetworkSet {
        namespaced: bool,
    },
    WorkloadEndpoint,
    HostEndpoint,
    IpPool,
    Node,
    FelixConfiguration,
    ClusterInformation,
    BlockAffinity,
    IpamBlock,
    /// Of Calico, and of no use to an enforcer.
    Unused,
}

const V1: &[(&str, Kind)] = &[
    ("policy", Kind::Policy),
    ("profile", Kind::Profile),
    ("ipPool", Kind::IpPool),
    ("workloadEndpoint", Kind::WorkloadEndpoint),
    ("hostEndpoint", Kind::HostEndpoint),
    ("node", Kind::Node),
    ("bgpPeer", Kind::Unused),
    ("calicoApiConfig", Kind::Unused),
];

const V3: &[(&str, Kind)] = &[
    ("GlobalNetworkPolicy", Kind::V3Policy(PolicyKind::GlobalNetworkPolicy)),
    ("NetworkPolicy", Kind::V3Policy(PolicyKind::NetworkPolicy)),
    ("Tier", Kind::Tier),
    ("Profile", Kind::Profile),
    ("GlobalNetworkSet", Kind::NetworkSet { namespaced: false }),
    ("NetworkSet", Kind::NetworkSet { namespaced: true }),
    ("WorkloadEndpoint", Kind::WorkloadEndpoint),
    ("HostEndpoint", Kind::HostEndpoint),
    ("IPPool", Kind::IpPool),
    ("Node", Kind::Node),
    ("FelixConfiguration", Kind::FelixConfiguration),
    ("ClusterInformation", Kind::ClusterInformation),
    ("BlockAffinity", Kind::BlockAffinity),
    ("IPAMBlock", Kind::IpamBlock),
    ("BGPConfiguration", Kind::Unused),
    ("BGPFilter", Kind::Unused),
    ("BGPPeer", Kind::Unused),
    ("CalicoAPIConfig", Kind::Unused),
    ("CalicoNodeStatus", Kind::Unused),
    ("IPAMConfig", Kind::Unused),
    ("IPAMConfiguration", Kind::Unused),
    ("IPAMHandle", Kind::Unused),
    ("IPReservation", Kind::Unused),
    ("KubeControllersConfiguration", Kind::Unused),
    ("LiveMigration", Kind::Unused),
    ("StagedGlobalNetworkPolicy", Kind::Unused),
    ("StagedKubernetesNetworkPolicy", Kind::Unused),
    ("StagedNetworkPolicy", Kind::Unused),
];

/// What keys call the kinds that an enforcer has a use for (reference §2.1).
const PLURALS: &[(&str, &str, Kind)] = &[
    ("globalnetworkpolicies", "GlobalNetworkPolicy", Kind::V3Policy(PolicyKind::GlobalNetworkPolicy)),
    ("networkpolicies", "NetworkPolicy", Kind::V3Policy(PolicyKind::NetworkPolicy)),
    ("tiers", "Tier", Kind::Tier),
    ("profiles", "Profile", Kind::Profile),
    ("globalnetworksets", "GlobalNetworkSet", Kind::NetworkSet { namespaced: false }),
    ("networksets", "NetworkSet", Kind::NetworkSet { namespaced: true }),
    ("workloadendpoints", "WorkloadEndpoint", Kind::WorkloadEndpoint),
    ("hostendpoints", "HostEndpoint", Kind::HostEndpoint),
    ("ippools", "IPPool", Kind::IpPool),
    ("nodes", "Node", Kind::Node),
    ("felixconfigurations", "FelixConfiguration", Kind::FelixConfiguration),
    ("clusterinformations", "ClusterInformation", Kind::ClusterInformation),
    ("blockaffinities", "BlockAffinity", Kind::BlockAffinity),
];

/// The API version of today's documents.
pub(super) const V3_VERSION: &str = "projectcalico.org/v3";

/// Kinds of Kubernetes that share `apiVersion: v1` with Calico of 2017.
const KUBERNETES: &[&str] = &[
    "ConfigMap",
    "Endpoints",
    "Event",
    "LimitRange",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
    "Secret",
    "Service",
    "ServiceAccount",
];

/// Why a document is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stranger {
    /// Of another program, which we say and pass over.
    Foreign(Mistake),
    /// Meant for us and not understood.
    Unknown(Mistake),
}

/// The generation that an API version is.
pub(super) fn form(api_version: &str) -> Result<Form, Stranger> {
    match api_version {
        "v1" => Ok(Form::V1),
        V3_VERSION => Ok(Form::V3),
        other if is_calico_group(other) => {
            let message = format!("`{other}` is not an API version that we read");
            let mistake = Mistake::new(Code::NotAResource, message, "not understood");
            Err(Stranger::Unknown(mistake.help(format!("write `apiVersion: {V3_VERSION}`"))))
        }
        other => {
            let mistake = Mistake::new(
                Code::NotAResource,
                format!("`{other}` is not an API version of Calico's"),
                "passed over",
            );
            match nearest(other, ["v1", V3_VERSION]).filter(|_| other.len() > 2) {
                Some(known) => Err(Stranger::Unknown(mistake.help(format!("did you mean `{known}`?")))),
                None => Err(Stranger::Foreign(mistake)),
            }
        }
    }
}

/// Of Calico in another form, such as that of its Kubernetes objects: `crd.projectcalico.org/v1`.
fn is_calico_group(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or(api_version, |(group, _)| group);
    group.strip_suffix("projectcalico.org").is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The kind that is called `name` in `form`, exactly.
pub(super) fn kind(form: Form, name: &str) -> Result<Kind, Stranger> {
    let known = kinds(form);
    if let Some(&(_, kind)) = known.iter().find(|(known, _)| *known == name) {
        return Ok(kind);
    }
    if form == Form::V1 && KUBERNETES.contains(&name) {
        let message = format!("a {name} of Kubernetes is not for us");
        return Err(Stranger::Foreign(Mistake::new(Code::NotAResource, message, "passed over")));
    }
    let mistake =
        Mistake::new(Code::UnknownKind, format!("`{name}` is not a kind that we know"), "not understood");
    Err(Stranger::Unknown(
        match (other_form(form, name), nearest(name, known.iter().map(|&(name, _)| name))) {
            (Some(version), _) => mistake.help(format!("write `apiVersion: {version}`")),
            (None, Some(near)) => mistake.help(format!("did you mean `{near}`?")),
            (None, None) => mistake,
        },
    ))
}

/// The kind that a store keeps under `plural`, and its name; none where nothing enforces it.
pub(super) fn stored(plural: &str) -> Option<(&'static str, Kind)> {
    PLURALS.iter().find(|(known, _, _)| *known == plural).map(|&(_, name, kind)| (name, kind))
}

impl Kind {
    /// Whether a v3 resource of this kind is in a namespace.
    pub fn is_namespaced(self) -> bool {
        match self {
            Self::V3Policy(PolicyKind::NetworkPolicy)
            | Self::NetworkSet { namespaced: true }
            | Self::WorkloadEndpoint => true,
            Self::Policy
            | Self::V3Policy(PolicyKind::GlobalNetworkPolicy)
            | Self::Profile
            | Self::Tier
            | Self::NetworkSet { namespaced: false }
            | Self::HostEndpoint
            | Self::IpPool
            | Self::Node
            | Self::FelixConfiguration
            | Self::ClusterInformation
            | Self::BlockAffinity
            | Self::IpamBlock
            | Self::Unused => false,
        }
    }
}

fn kinds(form: Form) -> &'static [(&'static str, Kind)] {
    match form {
        Form::V1 => V1,
        Form::V3 => V3,
    }
}

/// The other API version, where that has such a kind.
fn other_form(form: Form, name: &str) -> Option<&'static str> {
    let (other, version) = match form {
        Form::V1 => (V3, V3_VERSION),
        Form::V3 => (V1, "v1"),
    };
    other.iter().any(|(known, _)| *known == name).then_some(version)
}
