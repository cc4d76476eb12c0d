//! Network sets, pools and nodes (reference §1.6, §1.9, §1.10, §3.4, §3.6; felix-2.1 §1.5, §1.8).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::fields::{Field, Form, Mistake, Object, Unknown};
use super::metadata::{self, label};
use super::{name, scalar, selector};
use crate::datastore::Scalar;
use crate::model::diagnostic::Code;
use crate::model::{EncapMode, IpPool, NetworkSet, NetworkSetId, Node};

/// A GlobalNetworkSet or NetworkSet. A network that can't be read is left out, and so is an unknown field: a set can't
/// be closed, and without it a Deny that uses it would open.
pub(super) fn set(document: &Object<'_>, namespaced: bool) -> Option<NetworkSet> {
    let meta = metadata::v3(document);
    let namespace = if namespaced {
        metadata::namespace(&meta)
    } else {
        metadata::refuse_namespace(&meta);
        Some(Arc::default())
    };
    let name = metadata::name(&meta, &name::DNS_SUBDOMAIN);
    let mut labels = metadata::labels(&meta, "labels");
    let spec = document.object("spec", &["nets"], Unknown::RefusedInManifest);
    let readable = document.report().all_readable();
    let mut nets = spec.read_all("nets", scalar::net);
    nets.sort();
    nets.dedup();
    let namespace = namespace?;
    let mut profiles = Vec::new();
    if namespaced {
        labels.insert(label::NAMESPACE.into(), Arc::clone(&namespace));
        profiles.push(Arc::from(format!("kns.{namespace}")));
    } else if labels.contains_key(label::NAMESPACE) {
        meta.field().error(
            Mistake::value(format!("the label `{}` is Calico's own", label::NAMESPACE), "not allowed here")
                .help("make a NetworkSet in that namespace"),
        );
        return None;
    }
    let id = NetworkSetId { namespace, name: name? };
    readable.then_some(NetworkSet { id, labels, profiles, nets, place: document.field().place() })
}

const POOL: &[&str] = &[
    "cidr",
    "ipipMode",
    "vxlanMode",
    "natOutgoing",
    "disabled",
    "disableBGPExport",
    "blockSize",
    "nodeSelector",
    "namespaceSelector",
    "allowedUses",
    "assignmentMode",
];

const ENCAP_MODES: &[(&str, EncapMode)] = &[
    ("", EncapMode::Never),
    ("Never", EncapMode::Never),
    ("Always", EncapMode::Always),
    ("CrossSubnet", EncapMode::CrossSubnet),
];

/// What a pool's addresses may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Endpoints,
    LoadBalancer,
}

/// An IPPool of today. One with an unknown field is kept as far as it was read: what was not read admits no tunnelled
/// packet and hides no sender, and without the pool packets to it would hide theirs.
pub(super) fn pool_v3(document: &Object<'_>) -> Option<IpPool> {
    let meta = metadata::v3(document);
    metadata::refuse_namespace(&meta);
    let name = metadata::name(&meta, &name::DNS_SUBDOMAIN);
    let spec = document.object("spec", POOL, Unknown::RefusedInManifest);
    let cidr = spec.require("cidr").and_then(|field| field.read(scalar::masked_net));
    let ipip = mode(&spec, "ipipMode");
    let vxlan = mode(&spec, "vxlanMode");
    if let Some(field) = spec.get("vxlanMode")
        && ipip != EncapMode::Never
        && vxlan != EncapMode::Never
    {
        field.error(Mistake::contradiction("both IPIP and VXLAN", "`ipipMode` is given too"));
    }
    let nat_outgoing = spec.read("natOutgoing", scalar::boolean).unwrap_or(false);
    let disabled = spec.read("disabled", scalar::boolean).unwrap_or(false);
    let uses = spec.read_all(
        "allowedUses",
        scalar::choice(&[
            ("Workload", Use::Endpoints),
            ("Tunnel", Use::Endpoints),
            ("LoadBalancer", Use::LoadBalancer),
        ]),
    );
    check_unused(&spec);
    let cidr = cidr?;
    let (range, default) = if matches!(cidr, IpNet::V4(_)) { (20..=32, 26) } else { (116..=128, 122) };
    let block = spec.read("blockSize", scalar::byte(range)).unwrap_or(default);
    if let Some(field) = spec.get("cidr") {
        check_range(&field, cidr, block, ipip != EncapMode::Never, disabled);
    }
    let load_balancer_only = !uses.is_empty() && uses.iter().all(|&allowed| allowed == Use::LoadBalancer);
    let place = document.field().place();
    let pool =
        IpPool { name: name?, cidr, ipip, vxlan, nat_outgoing, load_balancer_only, unnamed: false, place };
    document.report().all_readable().then_some(pool)
}

fn mode(spec: &Object<'_>, name: &'static str) -> EncapMode {
    spec.read(name, scalar::choice(ENCAP_MODES)).unwrap_or(EncapMode::Never)
}

/// What only address management uses is still to be what it says.
fn check_unused(spec: &Object<'_>) {
    spec.read("disableBGPExport", scalar::boolean);
    spec.read("assignmentMode", scalar::choice(&[("Automatic", ()), ("Manual", ())]));
    selector::selector(spec, "nodeSelector");
    selector::selector(spec, "namespaceSelector");
}

/// An ipPool of 2017, called by its CIDR as its key was.
pub(super) fn pool_v1(document: &Object<'_>) -> Option<IpPool> {
    let meta = document.object("metadata", &["cidr"], Unknown::RefusedInManifest);
    let spec = document.object("spec", &["ipip", "nat-outgoing", "disabled"], Unknown::RefusedInManifest);
    let cidr = meta.require("cidr").and_then(|field| field.read(scalar::net));
    let ipip = spec.object("ipip", &["enabled", "mode"], Unknown::RefusedInManifest);
    let mode = v1_mode(&ipip, "mode");
    let enabled = ipip.read("enabled", scalar::boolean).unwrap_or(false);
    let ipip = if enabled { mode } else { EncapMode::Never };
    let nat_outgoing = spec.read("nat-outgoing", scalar::boolean).unwrap_or(false);
    let disabled = spec.read("disabled", scalar::boolean).unwrap_or(false);
    v1_pool(document.field(), &meta.get("cidr")?, cidr?, ipip, nat_outgoing, disabled)
}

/// A pool of 2017, of which all has been read; None where some of it was wrong. `field` is where its CIDR is written.
pub(super) fn v1_pool(
    root: &Field<'_>,
    field: &Field<'_>,
    cidr: IpNet,
    ipip: EncapMode,
    nat_outgoing: bool,
    disabled: bool,
) -> Option<IpPool> {
    let block = if matches!(cidr, IpNet::V4(_)) { 26 } else { 122 };
    check_range(field, cidr, block, ipip != EncapMode::Never, disabled);
    let pool = IpPool {
        name: cidr.to_string().replace('/', "-").into(),
        cidr,
        ipip,
        vxlan: EncapMode::Never,
        nat_outgoing,
        load_balancer_only: false,
        unnamed: true,
        place: root.place(),
    };
    root.report.all_readable().then_some(pool)
}

/// How an enabled tunnel of 2017 is used.
pub(super) fn v1_mode(object: &Object<'_>, name: &'static str) -> EncapMode {
    let modes =
        [("", EncapMode::Always), ("always", EncapMode::Always), ("cross-subnet", EncapMode::CrossSubnet)];
    object.read(name, scalar::choice(&modes)).unwrap_or(EncapMode::Always)
}

fn check_range(field: &Field<'_>, cidr: IpNet, block: u8, ipip: bool, disabled: bool) {
    if ipip && matches!(cidr, IpNet::V6(_)) {
        field.error(Mistake::contradiction("IPIP carries IPv4 only", "an IPv6 pool"));
    }
    if !disabled && cidr.prefix_len() > block {
        field.error(Mistake::value(
            format!("`{cidr}` is smaller than a block"),
            format!("at least a /{block}"),
        ));
    }
    let link_local = [
        IpNet::from(Ipv4Net::new_assert([169, 254, 0, 0].into(), 16)),
        IpNet::from(Ipv6Net::new_assert([0xfe80, 0, 0, 0, 0, 0, 0, 0].into(), 10)),
    ];
    if link_local.iter().any(|reserved| reserved.contains(&cidr) || cidr.contains(reserved)) {
        field.error(Mistake::value(format!("`{cidr}` has link-local addresses in it"), "not for pools"));
    }
}

const NODE: &[&str] = &[
    "bgp",
    "ipv4VXLANTunnelAddr",
    "ipv6VXLANTunnelAddr",
    "vxlanTunnelMACAddr",
    "vxlanTunnelMACAddrV6",
    "wireguard",
    "addresses",
    "interfaces",
    "orchRefs",
];

const BGP: &[&str] =
    &["ipv4Address", "ipv6Address", "ipv4IPIPTunnelAddr", "asNumber", "routeReflectorClusterID"];

const V1_BGP: &[&str] = &["asNumber", "ipv4Address", "ipv6Address"];

/// A Node of either form.
pub(super) fn node(document: &Object<'_>) -> Option<Node> {
    let form = document.report().form;
    let (name, labels) = match form {
        Form::V1 => {
            let meta = document.object("metadata", &["name"], Unknown::Tolerated);
            (metadata::name(&meta, &name::WORD), Default::default())
        }
        Form::V3 => {
            let meta = metadata::v3(document);
            metadata::refuse_namespace(&meta);
            (metadata::name(&meta, &name::DNS_SUBDOMAIN), metadata::labels(&meta, "labels"))
        }
    };
    let (known, bgp) = match form {
        Form::V1 => (&["bgp"][..], V1_BGP),
        Form::V3 => (NODE, BGP),
    };
    let spec = document.object("spec", known, Unknown::Tolerated);
    let written = spec.get("bgp").is_some();
    let bgp = spec.object("bgp", bgp, Unknown::Tolerated);
    let ipv4 =
        bgp.get("ipv4Address").filter(|field| !field.is_empty_text()).and_then(|field| field.read(subnet_v4));
    let ipv6 =
        bgp.get("ipv6Address").filter(|field| !field.is_empty_text()).and_then(|field| field.read(subnet_v6));
    let ipip_tunnel_addr = match form {
        Form::V1 => None,
        Form::V3 => bgp
            .get("ipv4IPIPTunnelAddr")
            .filter(|field| !field.is_empty_text())
            .and_then(|field| field.read(scalar::ipv4_address)),
    };
    check_bgp(&bgp, written, ipv4.is_some() || ipv6.is_some());
    let (ipv4, ipv6) = match (ipv4, ipv6) {
        (None, None) if form == Form::V3 => reported_addresses(&spec),
        (ipv4, ipv6) => (ipv4, ipv6),
    };
    let node = Node { name: name?, labels, ipv4, ipv6, ipip_tunnel_addr, place: document.field().place() };
    (document.report().errors() == 0).then_some(node)
}

type SubnetV4 = (Ipv4Addr, Ipv4Net);
type SubnetV6 = (Ipv6Addr, Ipv6Net);

/// What `spec.addresses` says of a node that no BGP address is known of: the internal one rather than the external one.
fn reported_addresses(spec: &Object<'_>) -> (Option<SubnetV4>, Option<SubnetV6>) {
    let Some(addresses) = spec.get("addresses") else { return (None, None) };
    let mut nets = Vec::new();
    for item in addresses.items() {
        let entry = item.object(&["address", "type"], Unknown::Tolerated);
        let kinds = ["InternalIP", "ExternalIP"];
        let kind = entry.text("type").and_then(|kind| kinds.iter().position(|known| **known == *kind));
        if let Some(kind) = kind {
            nets.extend(entry.read("address", scalar::net_as_written).map(|net| (kind, net)));
        }
    }
    // Stable: of those of one kind the first counts.
    nets.sort_by_key(|(kind, _)| *kind);
    let ipv4 = nets.iter().find_map(|(_, net)| match net {
        IpNet::V4(net) => Some((net.addr(), net.trunc())),
        IpNet::V6(_) => None,
    });
    let ipv6 = nets.iter().find_map(|(_, net)| match net {
        IpNet::V6(net) => Some((net.addr(), net.trunc())),
        IpNet::V4(_) => None,
    });
    (ipv4, ipv6)
}

fn check_bgp(bgp: &Object<'_>, written: bool, addressed: bool) {
    let problem = match bgp.report().form {
        _ if !written || addressed || bgp.report().errors() > 0 => return,
        Form::V1 => "an address is missing",
        Form::V3 if bgp.is_empty() => "it is empty",
        Form::V3 => return,
    };
    let mistake = Mistake::new(Code::MissingField, problem, "no `ipv4Address` or `ipv6Address`");
    bgp.field().error(mistake.help("give an address, or leave `bgp` out"));
}

fn subnet_v4(text: &Scalar) -> Result<SubnetV4, Mistake> {
    match scalar::net_as_written(text)? {
        IpNet::V4(net) => Ok((net.addr(), net.trunc())),
        IpNet::V6(_) => Err(Mistake::value(format!("`{}` is not an IPv4 address", text.text), "IPv6")),
    }
}

fn subnet_v6(text: &Scalar) -> Result<SubnetV6, Mistake> {
    match scalar::net_as_written(text)? {
        IpNet::V6(net) => Ok((net.addr(), net.trunc())),
        IpNet::V4(_) => Err(Mistake::value(format!("`{}` is not an IPv6 address", text.text), "IPv4")),
    }
}
