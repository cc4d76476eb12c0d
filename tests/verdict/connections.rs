//! Which connections the present policy denies: a table.

use std::collections::BTreeSet;
use std::net::IpAddr;

use felix_rs::model::IpVersion;
use felix_rs::verdict::connections::{Connection, Connections};
use felix_rs::verdict::packet::Payload;
use libtest_mimic::Failed;

use crate::world::World;

const HOST: &str = "here";
const HOST_ADDRESS: &str = "172.17.8.101";
const WEB: &str = "10.0.0.1";
const DB: &str = "10.0.0.2";
/// An endpoint of another host.
const FAR: &str = "10.0.1.1";
const ELSEWHERE: &str = "198.51.100.7";

/// The web server is reached on its port by all, and reaches the database; the database reaches nobody.
const MANIFESTS: &str = "
apiVersion: v1
kind: workloadEndpoint
metadata: {name: eth0, node: here, orchestrator: o, workload: web, labels: {role: web}}
spec: {interfaceName: cali1, ipNetworks: [10.0.0.1/32, 'fd00::1/128']}
---
apiVersion: v1
kind: workloadEndpoint
metadata: {name: eth0, node: here, orchestrator: o, workload: db, labels: {role: db}}
spec: {interfaceName: cali2, ipNetworks: [10.0.0.2/32]}
---
apiVersion: v1
kind: workloadEndpoint
metadata: {name: eth0, node: there, orchestrator: o, workload: far, labels: {role: far}}
spec: {interfaceName: cali1, ipNetworks: [10.0.1.1/32]}
---
apiVersion: v1
kind: policy
metadata: {name: web}
spec:
  selector: role == 'web'
  ingress: [{action: allow, protocol: tcp, destination: {ports: [80]}}, {action: allow, protocol: icmp}]
  egress: [{action: allow, destination: {selector: role == 'db'}}]
---
apiVersion: v1
kind: policy
metadata: {name: db}
spec:
  selector: role == 'db'
  ingress: [{action: allow, protocol: tcp, source: {selector: role == 'web'}, destination: {ports: [5432]}}]
  egress: [{action: deny}]
";

pub fn denied_connections() -> Result<(), Failed> {
    let world = World::read(HOST, MANIFESTS)?;
    let host: BTreeSet<IpAddr> = [HOST_ADDRESS.parse()?].into();
    let connections = Connections::new(world.policy(), world.config(), &host);
    let (tcp, udp, icmp) = (6, 17, 1);
    for (source, destination, protocol, port, expected) in [
        (ELSEWHERE, WEB, tcp, 80, false),
        (FAR, WEB, tcp, 80, false),
        (ELSEWHERE, WEB, tcp, 81, true),
        (ELSEWHERE, WEB, udp, 80, true),
        (ELSEWHERE, WEB, icmp, 0, false),
        (WEB, DB, tcp, 5432, false),
        (WEB, DB, tcp, 80, true),
        (DB, WEB, tcp, 80, true),
        (DB, ELSEWHERE, tcp, 80, true),
        (WEB, ELSEWHERE, tcp, 80, true),
        ("fd00::7", "fd00::1", tcp, 80, false),
        ("fd00::7", "fd00::1", tcp, 81, true),
        // The host's own, and what only passes, is none of policy's business.
        (HOST_ADDRESS, DB, tcp, 80, false),
        (ELSEWHERE, FAR, tcp, 81, false),
        // Into the host: not out of the database, and by default not out of any workload.
        (DB, HOST_ADDRESS, tcp, 80, true),
    ] {
        let source: IpAddr = source.parse()?;
        let payload = Payload::new(IpVersion::of(source), protocol, (40_000, port), (8, 0));
        let connection = Connection { source, destination: destination.parse()?, payload };
        if connections.is_denied(&connection) != expected {
            return Err(format!("{connection:?}: denied is not {expected}").into());
        }
    }
    Ok(())
}
