//! The field report's manifests, for the two hosts here.

use crate::world::{CABLES, HOSTS, Mode, TUNNEL_MTU, block, container_address, container_mac, host_address};

/// Without it nothing passes between the containers.
pub const POLICY: &str = "
- apiVersion: v1
  kind: policy
  metadata: {name: net1}
  spec:
    order: 0
    selector: role == 'net1'
    ingress: [{action: allow}]
    egress: [{action: allow}]
";

/// Whether packets go by the tunnel is said here alone.
pub fn pool(mode: Mode) -> String {
    format!(
        "
- apiVersion: v1
  kind: ipPool
  metadata: {{cidr: 192.168.0.0/16}}
  spec: {{ipip: {{enabled: {}}}, nat-outgoing: true}}
",
        mode == Mode::Tunnel
    )
}

/// All else: hosts, their blocks and containers, the containers' profile, and what of the tunnel is the hosts' choice.
pub fn network() -> String {
    let mut all = format!(
        "
- apiVersion: v1
  kind: profile
  metadata: {{name: net1, labels: {{role: net1}}}}
- apiVersion: projectcalico.org/v3
  kind: FelixConfiguration
  metadata: {{name: default}}
  spec: {{ipipMTU: {TUNNEL_MTU}, ipipTunnelAddrFromBlock: true}}
"
    );
    for number in [0, 1] {
        let (host, cable, block, mac) = (HOSTS[number], CABLES[number], block(number), container_mac(number));
        let (address, container) = (host_address(number), container_address(number));
        all += &format!(
            "
- apiVersion: v1
  kind: node
  metadata: {{name: {host}}}
  spec: {{bgp: {{ipv4Address: {address}/24}}}}
- apiVersion: projectcalico.org/v3
  kind: IPAMBlock
  metadata: {{name: of-{host}}}
  spec: {{cidr: {block}, affinity: 'host:{host}'}}
- apiVersion: v1
  kind: workloadEndpoint
  metadata: {{name: eth0, node: {host}, orchestrator: libnetwork, workload: libnetwork}}
  spec:
    interfaceName: {cable}
    mac: {mac}
    ipNetworks: [{container}/32]
    profiles: [net1]
"
        );
    }
    all
}
