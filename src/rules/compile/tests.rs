use super::*;
use crate::model::{TierDefault, WorkloadEndpoint};
use crate::policy::{ActivePolicy, EndpointTier, LocalEndpoint};
use crate::rules::fixture::{chain_names, host, local, policy, profile, tier, workload, workload_id};
use crate::rules::hash::rule_hashes;
use crate::rules::ruleset::Table;
use IpVersion::{V4, V6};
use TableName::{Filter, Mangle, Nat, Raw};

const STATIC_FILTER: [&str; 11] = [
    "cali-FORWARD",
    "cali-INPUT",
    "cali-OUTPUT",
    "cali-cidr-block",
    "cali-from-hep-forward",
    "cali-from-host-endpoint",
    "cali-from-wl-dispatch",
    "cali-to-hep-forward",
    "cali-to-host-endpoint",
    "cali-to-wl-dispatch",
    "cali-wl-to-host",
];

fn compiled(policy: &HostPolicy) -> Ruleset {
    compile(policy, &Config::default(), V4).unwrap()
}

fn deny(policies: &[&str]) -> Vec<EndpointTier> {
    vec![tier("default", TierDefault::Deny, policies)]
}

/// The names of filter chains that no empty host has.
fn added_chains(policy: &HostPolicy) -> Vec<String> {
    let ruleset = compiled(policy);
    let names = chain_names(&ruleset, Filter).into_iter();
    names.filter(|name| !STATIC_FILTER.contains(name)).map(str::to_owned).collect()
}

#[test]
fn an_empty_host_has_the_static_chains() {
    for version in [V4, V6] {
        let ruleset = compile(&HostPolicy::default(), &Config::default(), version).unwrap();
        for (table, expected) in [
            (
                Raw,
                &[
                    "cali-OUTPUT",
                    "cali-PREROUTING",
                    "cali-from-host-endpoint",
                    "cali-rpf-skip",
                    "cali-to-host-endpoint",
                ][..],
            ),
            (
                Mangle,
                &["cali-POSTROUTING", "cali-PREROUTING", "cali-from-host-endpoint", "cali-to-host-endpoint"],
            ),
            (
                Nat,
                &[
                    "cali-OUTPUT",
                    "cali-POSTROUTING",
                    "cali-PREROUTING",
                    "cali-fip-dnat",
                    "cali-fip-snat",
                    "cali-nat-outgoing",
                ],
            ),
            (Filter, &STATIC_FILTER),
        ] {
            assert_eq!(chain_names(&ruleset, table), expected, "{table:?}");
        }
        let order: Vec<_> = ruleset.tables.iter().map(|table| table.name).collect();
        assert_eq!(order, TableName::ALL);
    }
}

/// They are those of Felix: a host may be moved between the two.
#[test]
fn hooks_have_the_ids_that_felix_gives_them() {
    let ruleset = compiled(&HostPolicy::default());
    let mut ids: Vec<(_, _, Vec<String>, _)> = Vec::new();
    for table in &ruleset.tables {
        let Table { name, hooks, .. } = &**table;
        for hook in hooks {
            let inserted = rule_hashes(hook.chain, &hook.rules);
            let inserted = inserted.iter().map(|id| id.to_string()).collect();
            ids.push((*name, hook.chain, inserted, hook.appended.len()));
        }
    }
    let expected = [
        (Raw, "PREROUTING", vec!["6gwbT8clXdHdC1b1"], 0),
        (Raw, "OUTPUT", vec!["tVnHkvAo15HuiPy0"], 0),
        (Mangle, "PREROUTING", vec!["6gwbT8clXdHdC1b1"], 0),
        (Mangle, "POSTROUTING", vec!["O3lYWMrLQYEMJtB5"], 0),
        (Nat, "PREROUTING", vec!["6gwbT8clXdHdC1b1"], 0),
        (Nat, "POSTROUTING", vec![], 1),
        (Nat, "OUTPUT", vec!["tVnHkvAo15HuiPy0"], 0),
        (Filter, "FORWARD", vec!["wUHhoiAYhphO9Mso"], 2),
        (Filter, "INPUT", vec!["Cz_u1IQiXIMmKD4c"], 0),
        (Filter, "OUTPUT", vec!["tVnHkvAo15HuiPy0"], 0),
    ];
    let expected = expected.map(|(table, chain, inserted, appended)| {
        (table, chain, inserted.into_iter().map(str::to_owned).collect(), appended)
    });
    assert_eq!(ids, expected);
}

#[test]
fn chains_that_nothing_leads_to_are_left_out() {
    let everywhere = |name| ActivePolicy { needed_everywhere: true, ..policy(name, "x") };
    let of = |tiers: Vec<EndpointTier>, profiles: &[&str], policies: Vec<ActivePolicy>| {
        let profiles = profiles.iter().map(|&name| name.into()).collect();
        let endpoint = WorkloadEndpoint { profiles, ..workload("cali1") };
        host(vec![local(endpoint, tiers)], policies, vec![profile("web")], vec![])
    };
    let ingress = |policies| vec![EndpointTier { egress: vec![], ..deny(policies).remove(0) }];
    for (host, expected) in [
        (of(vec![], &[], vec![policy("a", "x")]), &["cali-fw-cali1", "cali-tw-cali1"][..]),
        (
            of(ingress(&["a"]), &[], vec![policy("a", "x")]),
            &["cali-fw-cali1", "cali-pi-gnp/a", "cali-tw-cali1"],
        ),
        (
            of(ingress(&["a"]), &["web"], vec![policy("a", "x"), everywhere("b")]),
            &[
                "cali-fw-cali1",
                "cali-pi-gnp/a",
                "cali-pi-gnp/b",
                "cali-po-gnp/b",
                "cali-pri-web",
                "cali-pro-web",
                "cali-tw-cali1",
            ],
        ),
        (
            of(ingress(&["a", "b"]), &[], vec![policy("a", "all()"), policy("b", "all()")]),
            &[
                "cali-fw-cali1",
                "cali-gi-js-B7zioflPRrAki3OCu",
                "cali-pi-gnp/a",
                "cali-pi-gnp/b",
                "cali-tw-cali1",
            ],
        ),
    ] {
        assert_eq!(added_chains(&host), expected);
    }
}

#[test]
fn needed_everywhere_is_the_filter_table_only() {
    let everywhere = ActivePolicy { needed_everywhere: true, ..policy("a", "x") };
    let ruleset = compiled(&host(vec![], vec![everywhere], vec![], vec![]));
    for table in [Raw, Mangle, Nat] {
        assert!(!chain_names(&ruleset, table).contains(&"cali-pi-gnp/a"), "{table:?}");
    }
    assert!(chain_names(&ruleset, Filter).contains(&"cali-pi-gnp/a"));
}

#[test]
fn a_shadowed_endpoint_is_left_out() {
    let mut first = workload("cali1");
    first.id = workload_id("first");
    let second = LocalEndpoint {
        shadowed_by: Some(first.id.clone()),
        ..local(WorkloadEndpoint { id: workload_id("second"), ..first.clone() }, deny(&["a"]))
    };
    let host = host(vec![local(first, vec![]), second], vec![policy("a", "x")], vec![], vec![]);
    assert_eq!(added_chains(&host), ["cali-fw-cali1", "cali-tw-cali1"]);
}

#[test]
fn groups_are_shared_between_endpoints() {
    let endpoint = |interface| local(workload(interface), deny(&["a", "b"]));
    let policies = vec![policy("a", "all()"), policy("b", "all()")];
    let host = host(vec![endpoint("cali1"), endpoint("tap1")], policies, vec![], vec![]);
    let groups: Vec<_> = added_chains(&host).into_iter().filter(|name| name.starts_with("cali-g")).collect();
    assert_eq!(groups, ["cali-gi-js-B7zioflPRrAki3OCu", "cali-go-4ezo5iTUduM_NXbqxhkl"]);
}

#[test]
fn what_cannot_be_compiled_says_why() {
    let twice = ["first", "second"]
        .map(|name| local(WorkloadEndpoint { id: workload_id(name), ..workload("cali1") }, vec![]));
    let no_profile = WorkloadEndpoint { profiles: vec!["web".into()], ..workload("cali1") };
    let few_bits = Config { mark_mask: 0x1f, ..Config::default() };
    for (host, config, expected) in [
        (HostPolicy::default(), few_bits, "the mark mask 0x1f has 5 bits, at least 6 are needed"),
        (
            host(twice.to_vec(), vec![], vec![], vec![]),
            Config::default(),
            "workload endpoint host/k8s/ns/first/eth0 and workload endpoint host/k8s/ns/second/eth0 would share the chain cali-tw-cali1",
        ),
        (
            host(vec![local(workload("cali1"), deny(&["a"]))], vec![], vec![], vec![]),
            Config::default(),
            "a rule of the filter table leads to the chain cali-po-gnp/a, which is not there",
        ),
        (
            host(vec![local(no_profile, vec![])], vec![], vec![], vec![]),
            Config::default(),
            "a rule of the filter table leads to the chain cali-pro-web, which is not there",
        ),
    ] {
        assert_eq!(compile(&host, &config, V4).unwrap_err().to_string(), expected);
    }
}
