//! A made-up cluster as manifests, of any size, the same each time.
//!
//! Of the policies, six in ten select by `app`, three by `team` and `env`, one by `role` and `zone`. With a thousand of
//! them about fifteen select each endpoint (ten to twenty), whatever the number of endpoints. Of ten thousand endpoints a
//! rule's selector matches dozens.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The host with the local endpoints.
pub const HOST: &str = "host-0";

const APPS: usize = 100;
const TEAMS: usize = 25;
const ENVS: [&str; 3] = ["prod", "stage", "dev"];
const ROLES: [&str; 8] = ["web", "api", "db", "cache", "queue", "batch", "proxy", "cron"];
const ZONES: usize = 5;
const NAMESPACES: usize = 50;
/// Endpoints a file, policies a file.
pub const FILE: usize = 2_000;
/// 10.64.0.0/10 has room for four million endpoints.
const POOL: u32 = 0x0a40_0000;
/// fd00:10::/64
const POOL_V6: u128 = 0xfd00_0010 << 96;

/// Manifests (file name, YAML) with `endpoints` workload endpoints, of them `local` on [`HOST`] and the others on as many
/// hosts of that size as they take, and `policies` global network policies of five rules each.
pub fn generate(endpoints: usize, local: usize, policies: usize) -> Vec<(String, String)> {
    let mut random = Random(0x5eed);
    let mut files = vec![("cluster.yaml".to_owned(), cluster(hosts(endpoints, local)))];
    files.push(("profiles.yaml".to_owned(), (0..NAMESPACES).map(profile).collect()));
    files.extend(in_files("policies", policies, |index| policy(index, &mut random)));
    files.extend(in_files("endpoints", endpoints, |index| endpoint(index, local, &mut random)));
    files
}

/// How many hosts there are.
fn hosts(endpoints: usize, local: usize) -> usize {
    endpoints.div_ceil(local.max(1)).max(1)
}

fn in_files(name: &str, count: usize, mut document: impl FnMut(usize) -> String) -> Vec<(String, String)> {
    let starts = (0..count).step_by(FILE);
    starts
        .enumerate()
        .map(|(file, start)| {
            let text = (start..count.min(start + FILE)).map(&mut document).collect();
            (format!("{name}-{file:03}.yaml"), text)
        })
        .collect()
}

fn document(kind: &str, metadata: &str, spec: &str) -> String {
    format!("---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata:{metadata}\nspec:\n{spec}")
}

fn cluster(hosts: usize) -> String {
    let mut text = document(
        "IPPool",
        " {name: pool}",
        "  cidr: 10.64.0.0/10\n  ipipMode: Always\n  natOutgoing: true\n",
    );
    text += &document("Tier", " {name: platform}", "  order: 100\n");
    for host in 0..hosts {
        let address = Ipv4Addr::from(0xac10_0001 + offset(host));
        let spec = format!("  bgp: {{ipv4Address: {address}/12}}\n");
        text += &document("Node", &format!(" {{name: host-{host}}}"), &spec);
    }
    text
}

fn profile(namespace: usize) -> String {
    let spec = format!(
        "  ingress: [{{action: Allow}}]\n  egress: [{{action: Allow}}]\n  labelsToApply: {{pcns.stage: {}}}\n",
        ENVS[namespace % ENVS.len()],
    );
    document("Profile", &format!(" {{name: kns.ns-{namespace}}}"), &spec)
}

/// Three rules in, two out: selectors of each kind, networks, ports by number, range and name, ICMP.
fn policy(index: usize, random: &mut Random) -> String {
    // One in ten stands in a tier of its own, so that endpoints have two.
    let tier = if index.is_multiple_of(10) { "platform" } else { "default" };
    let name = if tier == "default" { format!("policy-{index}") } else { format!("{tier}.policy-{index}") };
    let mut spec = format!(
        "  tier: {tier}\n  order: {}\n  selector: {}\n  types: [Ingress, Egress]\n  ingress:\n",
        random.below(500),
        policy_selector(index, random),
    );
    let [from_app, from_team, to_role] = [by_app(random), by_team(random), by_role(random)];
    let port = 1_024 + random.below(30_000);
    let block = random.below(64);
    let _ = write!(
        spec,
        "  - action: Allow\n    protocol: TCP\n    source: {{selector: {from_app}}}\n    destination: {{ports: [80, 443, '{port}:{}']}}\n\
         \x20 - action: Allow\n    protocol: UDP\n    source: {{selector: {from_team}, notNets: [10.{}.0.0/16]}}\n\
         \x20 - action: Deny\n    source: {{nets: [192.168.{block}.0/24, 172.31.{block}.0/24]}}\n\
         \x20 egress:\n\
         \x20 - action: Allow\n    protocol: TCP\n    destination: {{selector: {to_role}, ports: [service]}}\n\
         \x20 - action: Pass\n    protocol: ICMP\n    icmp: {{type: 8}}\n",
        port + 10,
        64 + block,
    );
    document("GlobalNetworkPolicy", &format!(" {{name: {name}}}"), &spec)
}

/// Which endpoints a policy governs.
fn policy_selector(index: usize, random: &mut Random) -> String {
    let (ten, place) = (index / 10, index % 10);
    match place {
        0..6 => quoted(&format!("app == 'app-{}'", (ten * 6 + place) % APPS)),
        6..9 => {
            let pair = (ten * 3 + place - 6) % (TEAMS * ENVS.len());
            quoted(&format!("team == 'team-{}' && env == '{}'", pair % TEAMS, ENVS[pair / TEAMS]))
        }
        _ => {
            let role = 2 * random.below(ROLES.len() / 2);
            let roles = format!("'{}', '{}'", ROLES[role], ROLES[role + 1]);
            quoted(&format!("role in {{{roles}}} && zone == 'zone-{}'", random.below(ZONES)))
        }
    }
}

fn by_app(random: &mut Random) -> String {
    quoted(&format!("app == 'app-{}' && env == '{}'", random.below(APPS), random.of(&ENVS)))
}

fn by_team(random: &mut Random) -> String {
    quoted(&format!("team == 'team-{}' && role == '{}' && has(zone)", random.below(TEAMS), random.of(&ROLES)))
}

fn by_role(random: &mut Random) -> String {
    let (role, zone, env) = (random.of(&ROLES), random.below(ZONES), random.of(&ENVS));
    let team = random.below(TEAMS);
    quoted(&format!(
        "role == '{role}' && zone == 'zone-{zone}' && env == '{env}' && !(team == 'team-{team}')"
    ))
}

fn quoted(selector: &str) -> String {
    format!("\"{selector}\"")
}

/// The first `local` endpoints are on [`HOST`]. Every fourth has an IPv6 address too.
fn endpoint(index: usize, local: usize, random: &mut Random) -> String {
    let host = index / local.max(1);
    let namespace = random.below(NAMESPACES);
    let mut networks = format!("{}/32", Ipv4Addr::from(POOL + offset(index)));
    if index.is_multiple_of(4) {
        let _ = write!(networks, ", '{}/128'", Ipv6Addr::from(POOL_V6 + u128::from(offset(index))));
    }
    let metadata = format!(
        "\n  name: host--{host}-k8s-pod--{index}-eth0\n  namespace: ns-{namespace}\n  labels: {{app: app-{}, team: team-{}, env: {}, role: {}, zone: zone-{}}}",
        random.below(APPS),
        random.below(TEAMS),
        random.of(&ENVS),
        random.of(&ROLES),
        random.below(ZONES),
    );
    let spec = format!(
        "  node: host-{host}\n  orchestrator: k8s\n  pod: pod-{index}\n  endpoint: eth0\n  interfaceName: cali{:011x}\n  \
         ipNetworks: [{networks}]\n  profiles: [kns.ns-{namespace}]\n  ports: [{{name: service, protocol: TCP, port: {}}}]\n",
        scattered(index),
        8_000 + random.below(8),
    );
    document("WorkloadEndpoint", &metadata, &spec)
}

/// 44 bits, others for each index: interfaces are named after a hash.
fn scattered(index: usize) -> u64 {
    u64::from(offset(index)).wrapping_mul(0x9e37_79b9_7f4a_7c15) & 0xfff_ffff_ffff
}

fn offset(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than the addresses there are")
}

/// A linear congruential generator (Knuth's MMIX constants): the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The low bits of such a generator repeat soon.
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn of<'v>(&mut self, values: &[&'v str]) -> &'v str {
        values[self.below(values.len())]
    }
}
