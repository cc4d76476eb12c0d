//! The kinds that a store keeps, and under which keys (reference §2.1).

/// A kind of today's API.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub name: &'static str,
    /// As keys have it.
    pub plural: &'static str,
    pub namespaced: bool,
    pub fill: Fill,
}

/// What a client fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    Nothing,
    Policy,
    Tier,
    Pool,
    WorkloadEndpoint,
}

const fn global(name: &'static str, plural: &'static str, fill: Fill) -> Kind {
    Kind { name, plural, namespaced: false, fill }
}

const fn namespaced(name: &'static str, plural: &'static str, fill: Fill) -> Kind {
    Kind { name, plural, namespaced: true, fill }
}

static KINDS: [Kind; 22] = [
    global("Tier", "tiers", Fill::Tier),
    global("Profile", "profiles", Fill::Nothing),
    global("GlobalNetworkPolicy", "globalnetworkpolicies", Fill::Policy),
    namespaced("NetworkPolicy", "networkpolicies", Fill::Policy),
    global("StagedGlobalNetworkPolicy", "stagedglobalnetworkpolicies", Fill::Policy),
    namespaced("StagedNetworkPolicy", "stagednetworkpolicies", Fill::Policy),
    // A policy of Kubernetes' own form, with neither tier nor Calico's types.
    namespaced("StagedKubernetesNetworkPolicy", "stagedkubernetesnetworkpolicies", Fill::Nothing),
    global("GlobalNetworkSet", "globalnetworksets", Fill::Nothing),
    namespaced("NetworkSet", "networksets", Fill::Nothing),
    global("HostEndpoint", "hostendpoints", Fill::Nothing),
    namespaced("WorkloadEndpoint", "workloadendpoints", Fill::WorkloadEndpoint),
    global("IPPool", "ippools", Fill::Pool),
    global("IPReservation", "ipreservations", Fill::Nothing),
    global("Node", "nodes", Fill::Nothing),
    global("FelixConfiguration", "felixconfigurations", Fill::Nothing),
    global("ClusterInformation", "clusterinformations", Fill::Nothing),
    global("BGPConfiguration", "bgpconfigurations", Fill::Nothing),
    global("BGPPeer", "bgppeers", Fill::Nothing),
    global("BGPFilter", "bgpfilters", Fill::Nothing),
    global("KubeControllersConfiguration", "kubecontrollersconfigurations", Fill::Nothing),
    global("CalicoNodeStatus", "caliconodestatuses", Fill::Nothing),
    namespaced("LiveMigration", "livemigrations", Fill::Nothing),
];

/// Address management's own records, which only it writes: under other keys, and together with each other.
const OF_ADDRESS_MANAGEMENT: [&str; 5] =
    ["BlockAffinity", "IPAMBlock", "IPAMConfig", "IPAMConfiguration", "IPAMHandle"];

/// What documents of 2017 begin with, and those of today.
pub(super) const API_OF_2017: &str = "v1";
const API: &str = "projectcalico.org/v3";

/// How clients reach their store: not something that is in it. Of either API.
const OF_CLIENTS: [&str; 2] = ["CalicoAPIConfig", "calicoApiConfig"];

/// What is done with a document that `decode` has no error in.
pub(super) enum Place {
    /// It is kept so.
    Of(&'static Kind),
    AddressManagement,
    Client,
    /// Of 2017, and without a form of today's here.
    Superseded,
    /// Of another program, which `decode` has said.
    Foreign,
}

/// Where a document of this version and kind belongs.
pub(super) fn place(api_version: &str, kind: &str) -> Place {
    match (api_version, kind) {
        (API_OF_2017 | API, kind) if OF_CLIENTS.contains(&kind) => Place::Client,
        (API_OF_2017, "bgpPeer") => Place::Superseded,
        (API, kind) if OF_ADDRESS_MANAGEMENT.contains(&kind) => Place::AddressManagement,
        (API, kind) => named(kind).map_or(Place::Foreign, Place::Of),
        _ => Place::Foreign,
    }
}

/// Policies of any kind that has a tier, those on trial too.
pub(super) fn policies() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(|kind| kind.fill == Fill::Policy)
}

/// The kind that is called so, exactly.
pub(super) fn named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}
