//! Manifests as operators write them.

use crate::world::{CONTAINERS, Family, HOSTS, address, block, interface, placed};

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

/// Pools of both families, the hosts' addresses, and their blocks. `mode`: when IPv4 packets go by IP in IP.
pub fn network(mode: &str) -> String {
    let mut all = format!(
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
    );
    for (number, host) in HOSTS.iter().enumerate() {
        let [v4, v6] = Family::ALL.map(|family| address(host, family));
        all += &format!(
            "
- apiVersion: projectcalico.org/v3
  kind: Node
  metadata: {{name: {host}}}
  spec: {{bgp: {{ipv4Address: {v4}/24, ipv6Address: \"{v6}/64\"}}}}
"
        );
        for cidr in Family::ALL.map(|family| block(number, family)) {
            let name = cidr.replace(['.', ':', '/'], "-").replace("--", "-");
            all += &format!(
                "
- apiVersion: projectcalico.org/v3
  kind: IPAMBlock
  metadata: {{name: {name}}}
  spec: {{cidr: \"{cidr}\", affinity: \"host:{host}\"}}
"
            );
        }
    }
    all
}

/// All containers with the same profile, and a label `app` with their own name.
pub fn endpoints(profile: &str) -> String {
    CONTAINERS.iter().map(|(name, _, _)| endpoint(name, profile)).collect()
}

/// All containers in the current form, with a named port `web`, 8080.
pub fn endpoints_with_ports(profile: &str) -> String {
    let endpoint = |(container, host, _): &(&str, usize, u8)| {
        let [v4, v6] = Family::ALL.map(|family| address(container, family));
        let (node, interface) = (HOSTS[*host], interface(container));
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
    CONTAINERS.iter().map(endpoint).collect()
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
