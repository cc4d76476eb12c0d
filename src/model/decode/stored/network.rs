//! Pools and addresses of hosts in Felix 2.1's store (felix-2.1 §2.1, §2.2).

use ipnet::{IpNet, Ipv4Net};

use crate::model::decode::fields::{Field, Mistake, Unknown};
use crate::model::decode::network::{v1_mode, v1_pool};
use crate::model::decode::{name, scalar};
use crate::model::{EncapMode, IpPool, Labels, Node};

const POOL: &[&str] = &["cidr", "ipip", "ipip_mode", "masquerade", "ipam", "disabled"];

/// A pool; its key has its CIDR.
pub(super) fn pool(root: &Field<'_>, cidr: IpNet) -> Option<IpPool> {
    let spec = root.object(POOL, Unknown::RefusedInManifest);
    let written = spec.get("cidr");
    if let Some(field) = &written
        && field.read(scalar::net).is_some_and(|written| written != cidr)
    {
        field.error(Mistake::contradiction(format!("the key says `{cidr}`"), "another CIDR"));
    }
    // The name of the tunnel's interface, where there is one.
    let mode = v1_mode(&spec, "ipip_mode");
    let ipip = if spec.text("ipip").is_some() { mode } else { EncapMode::Never };
    let nat_outgoing = spec.read("masquerade", scalar::boolean).unwrap_or(false);
    let unused = spec.read("disabled", scalar::boolean) == Some(true);
    let unassigned = spec.read("ipam", scalar::boolean) == Some(false);
    v1_pool(root, &written.unwrap_or(*root), cidr, ipip, nat_outgoing, unused || unassigned)
}

/// A host by its address.
pub(super) fn node(root: &Field<'_>, host: &str) -> Option<Node> {
    let name = root.report.name_in_key(&name::WORD, host);
    let address = root.read(scalar::ipv4_address)?;
    Some(Node {
        name: name?,
        labels: Labels::new(),
        ipv4: Some((address, Ipv4Net::from(address))),
        ipv6: None,
        ipip_tunnel_addr: None,
        place: root.place(),
    })
}
