//! `explain` and `diff` of what a kernel has: golden texts loaded, somebody's rules beside them, asked as an operator would.

use libtest_mimic::{Failed, Trial};

use crate::kernel::Backend;
use crate::netns;

/// The report's mended state, on its first host.
const CASE: &str = "golden/render/001-seed-net1";
const FROM: &str = "--from 192.168.50.97 --to 192.168.84.209@calic18c1dc57ca --proto icmp";

pub fn trials(skip: bool) -> Vec<Trial> {
    let trials = Backend::ALL.map(|backend| {
        let name = format!("by-command/kernel-is-explained-and-compared::{}", backend.name());
        Trial::test(name, move || kernel_is_explained_and_compared(backend)).with_ignored_flag(skip)
    });
    trials.into()
}

fn kernel_is_explained_and_compared(backend: Backend) -> Result<(), Failed> {
    let (backend, other) = match backend {
        Backend::Legacy => ("legacy", "nft"),
        Backend::Nft => ("nft", "legacy"),
    };
    let program = env!("CARGO_BIN_EXE_felix-rs");
    let root = env!("CARGO_MANIFEST_DIR");
    let script = format!(
        r#"
cd '{root}'
load() {{
  ipset restore < {CASE}/expect/ipset
  for table in raw mangle nat filter; do
    iptables-{backend}-restore --noflush < {CASE}/expect/$table.v4
    ip6tables-{backend}-restore --noflush < {CASE}/expect/$table.v6
  done
}}
ask() {{ name=$1; shift; code=0; out=$(env -i PATH="$PATH" '{program}' "$@" 2>&1) || code=$?; printf '%s %s %s\n' "$name" "$code" "$(echo "$out" | head -n 1)"; }}
ask empty explain --kernel {FROM}
policy="diff {CASE}/datastore --kernel --host calico-01"
ask empty-differs diff golden/render/002-seed-net1-no-policy/datastore --kernel --host calico-01
load
ask loaded explain --kernel {FROM}
ask unknown-interface explain --kernel --from 192.168.50.97 --to 192.168.84.209@cali9 --proto icmp
ask named explain --kernel --datastore {CASE}/datastore --host calico-01 --from workload-b --to workload-a --proto icmp
ask same $policy
iptables-{backend} -I FORWARD -m limit --limit 1/second -j DROP
ask limited explain --kernel {FROM}
ask limited-same $policy
iptables-{backend} -I FORWARD -p tcp --dport 22 -j REJECT
iptables-{other} -I FORWARD -p udp -j DROP
ask other-backend explain --kernel --from 192.168.50.97 --to 192.168.84.209@calic18c1dc57ca --proto udp --port 9
iptables-{backend} -t nat -A PREROUTING -d 10.96.0.1/32 -p tcp --dport 80 -j DNAT --to-destination 192.168.84.209:80
ask translated explain --kernel --from 192.168.50.97 --to 10.96.0.1 --proto tcp --port 80
iptables-{backend} -I FORWARD -i eth0 -p sctp -j DROP
ask uplink explain --kernel --from 192.168.50.97 --to 192.168.84.209@calic18c1dc57ca --proto sctp --port 9
ask uplink-named explain --kernel --from 192.168.50.97 --to 192.168.84.209@calic18c1dc57ca --proto sctp --port 9 --uplink eth0
ask rejected explain --kernel --from 192.168.50.97 --to 192.168.84.209@calic18c1dc57ca --proto tcp --port 22
ask differs $policy
"#
    );
    let said = netns::run(&script)?;
    let expected = [
        "empty 0 allowed: the policy of filter FORWARD, as no rule has decided",
        "empty-differs 1 allowed now: all protocols",
        "loaded 0 allowed: cali-pi-gnp/net1 (GlobalNetworkPolicy net1 ingress)",
        "unknown-interface 1 denied: dropped by filter cali-to-wl-dispatch: -j DROP (Unknown interface)",
        "named 0 allowed at calico-01: cali-pi-gnp/net1 (ingress rule 1 of GlobalNetworkPolicy net1 \
         (golden/render/001-seed-net1/datastore/policy.yaml:9:7))",
        "same 0 no flow is surely allowed by one and denied by the other (6 pairs of ends were compared)",
        "limited 3 depends on what is not known: -m limit --limit 1/sec (rule 1 of filter FORWARD)",
        "limited-same 3 of 4 pairs of ends, some flows depend on what is not known: ask `felix-rs explain` about them",
        "other-backend 1 denied: dropped by filter FORWARD: -p udp -j DROP (a rule of somebody else)",
        "translated 3 depends on where it goes on: its destination becomes 192.168.84.209: ask about that address",
        "uplink 3 depends on what is not known: -m limit --limit 1/sec (rule 3 of filter FORWARD); the name of the interface \
         to all others (say it with --uplink) (rule 1 of filter FORWARD)",
        "uplink-named 1 denied: dropped by filter FORWARD: -i eth0 -p sctp -j DROP (a rule of somebody else)",
        "rejected 1 denied: rejected by filter FORWARD: -p tcp -m tcp --dport 22 -j REJECT --reject-with \
         icmp-port-unreachable (a rule of somebody else)",
        "differs 1 denied now: tcp 22; udp 0-4788, 4790-65535",
    ];
    let said: Vec<&str> = said.lines().collect();
    if said == expected { Ok(()) } else { Err(format!("{said:#?}").into()) }
}
