//! Policy of real daemons, whose packets go through the tunnel.

use crate::evidence;
use crate::lab::Lab;
use crate::probe::Answer::Blocked;
use crate::world::{CABLES, HOSTS, Mode, container_address, host_address};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[("policy::it_decides_within_the_tunnel", it_decides_within_the_tunnel)];

/// The field report's two lost days, where the packets between the hosts are packets of the tunnel.
fn it_decides_within_the_tunnel() -> Verdict {
    let lab = Lab::new()?;
    lab.world.route_by_hand(Mode::Tunnel)?;
    evidence::wire(&lab.world, Mode::Tunnel).map_err(|found| format!("before the daemons: {found}"))?;
    lab.put("network", &network())?;
    let mut daemons = lab.daemons()?;
    let said = |step: &'static str| move |found| format!("{step}: {found}");
    evidence::ping(&lab.world, Blocked).map_err(said("a profile without rules"))?;
    lab.change(&mut daemons, |lab| lab.put("policy", POLICY))?;
    evidence::wire(&lab.world, Mode::Tunnel).map_err(said("the policy"))?;
    lab.change(&mut daemons, |lab| lab.remove("policy"))?;
    evidence::ping(&lab.world, Blocked).map_err(said("the policy is gone"))
}

const POLICY: &str = "
- apiVersion: v1
  kind: policy
  metadata: {name: net1}
  spec:
    order: 0
    selector: role == 'net1'
    ingress: [{action: allow}]
    egress: [{action: allow}]
";

/// Hosts, containers, their profile, and a pool with the tunnel.
fn network() -> String {
    let host = |number: usize| {
        let (name, address, container, cable) =
            (HOSTS[number], host_address(number), container_address(number), CABLES[number]);
        format!(
            "
- apiVersion: v1
  kind: node
  metadata: {{name: {name}}}
  spec: {{bgp: {{ipv4Address: {address}/24}}}}
- apiVersion: v1
  kind: workloadEndpoint
  metadata: {{name: eth0, node: {name}, orchestrator: libnetwork, workload: {name}}}
  spec: {{interfaceName: {cable}, ipNetworks: [{container}/32], profiles: [net1]}}
"
        )
    };
    [host(0), host(1), SHARED.to_owned()].concat()
}

const SHARED: &str = "
- apiVersion: v1
  kind: profile
  metadata: {name: net1, labels: {role: net1}}
- apiVersion: v1
  kind: ipPool
  metadata: {cidr: 192.168.0.0/16}
  spec: {ipip: {enabled: true}, nat-outgoing: true}
";
