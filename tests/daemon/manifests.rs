//! Manifests as operators write them.

use crate::world::{Family, HOSTS, address, block, containers, interface, placed};

/// The field report's policy.
pub const NET1: &str = "
- apiVersion: v1
  kind: policy
  metadata:
    name: net1
  spec:
    order: 0
    selector: role == 'net1'
    ingress:
    - action: allow
    egress:
    - action: allow
";

/// The field report's profile: labels, and no rule, so that nothing passes.
pub const LABELLED: &str = "
- apiVersion: v1
  kind: profile
  metadata:
    name: net1
    labels:
      role: net1
";

/// What `docker network create` makes: members of a network let each other in.
pub const DOCKER: &str = "
- apiVersion: v1
  kind: profile
  metadata: {name: net1, tags: [net1]}
  spec:
    ingress: [{action: allow, source: {tag: net1}}]
    egress: [{action: allow}]
- apiVersion: v1
  kind: profile
  metadata: {name: net2, tags: [net2]}
  spec:
    ingress: [{action: allow, source: {tag: net2}}]
    egress: [{action: allow}]
";

/// Pools of both families, the addresses of two hosts, and their blocks. `mode`: when IPv4 packets go by IP in IP.
pub fn network(mode: &str) -> String {
    pools(mode) + &host(0) + &host(1)
}

pub fn pools(mode: &str) -> String {
    format!(
        "
- apiVersion: projectcalico.org/v3
  kind: IPPool
  metadata: {{name: v4}}
  spec: {{cidr: 192.168.0.0/16, ipipMode: {mode}}}
- apiVersion: projectcalico.org/v3
  kind: IPPool
  metadata: {{name: v6}}
  spec: {{cidr: \"fd00::/16\"}}
"
    )
}

/// A host's addresses, and its blocks.
pub fn host(number: usize) -> String {
    node(number) + &blocks(number, number, "")
}

pub fn node(number: usize) -> String {
    let [v4, v6] = Family::ALL.map(|family| address(HOSTS[number], family));
    format!(
        "
- apiVersion: projectcalico.org/v3
  kind: Node
  metadata: {{name: {}}}
  spec: {{bgp: {{ipv4Address: {v4}/24, ipv6Address: \"{v6}/64\"}}}}
",
        HOSTS[number]
    )
}

/// What are one host's blocks by its number, which another one has. `allocated`: what else is said of both.
pub fn blocks(number: usize, owner: usize, allocated: &str) -> String {
    let blocks = Family::ALL.map(|family| {
        let cidr = block(number, family);
        let name = cidr.replace(['.', ':', '/'], "-").replace("--", "-");
        format!(
            "
- apiVersion: projectcalico.org/v3
  kind: IPAMBlock
  metadata: {{name: {name}}}
  spec: {{cidr: \"{cidr}\", affinity: \"host:{}\"{allocated}}}
",
            HOSTS[owner]
        )
    });
    blocks.concat()
}

/// The containers of two hosts with the same profile, and a label `app` with their own name.
pub fn endpoints(profile: &str) -> String {
    containers(2).map(|(name, _, _)| endpoint(name, profile)).collect()
}

/// The same in the current form, with a named port `web`, 8080.
pub fn endpoints_with_ports(profile: &str) -> String {
    let endpoint = |(container, host, _): (&str, usize, u8)| {
        let [v4, v6] = Family::ALL.map(|family| address(container, family));
        let (node, interface) = (HOSTS[host], interface(container));
        format!(
            "
- apiVersion: projectcalico.org/v3
  kind: WorkloadEndpoint
  metadata: {{namespace: default, labels: {{app: {container}}}}}
  spec:
    node: {node}
    orchestrator: demo
    workload: {container}
    endpoint: eth0
    interfaceName: {interface}
    ipNetworks: [{v4}, \"{v6}\"]
    profiles: [{profile}]
    ports: [{{name: web, protocol: TCP, port: 8080}}]
"
        )
    };
    containers(2).map(endpoint).collect()
}

/// A container with its addresses.
pub fn endpoint(container: &str, profile: &str) -> String {
    let [v4, v6] = Family::ALL.map(|family| address(container, family).to_string());
    endpoint_at(container, profile, &[&v4, &v6])
}

/// The same with other addresses.
pub fn endpoint_at(container: &str, profile: &str, addresses: &[&str]) -> String {
    let (host, _) = placed(container);
    let nets: Vec<String> = addresses
        .iter()
        .map(|address| format!("\"{address}/{}\"", if address.contains(':') { 128 } else { 32 }))
        .collect();
    format!(
        "
- apiVersion: v1
  kind: workloadEndpoint
  metadata:
    name: {container}
    node: {}
    orchestrator: libnetwork
    workload: libnetwork
    labels: {{app: {container}}}
  spec:
    interfaceName: {}
    ipNetworks: [{}]
    profiles: [{profile}]
",
        HOSTS[host],
        interface(container),
        nets.join(", ")
    )
}

/// A policy of the current form, of which only this is said.
pub fn policy(name: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: {name}}}
spec: {{{spec}}}
"
    )
}
