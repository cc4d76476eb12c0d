//! Whatever was compiled before: the result is that of a new compiler, and what is the same keeps its `Arc`.

use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::config::{DenyAction, NatOutgoingExclusions};
use crate::model::{PolicyId, Stage, TierDefault, WorkloadEndpoint};
use crate::policy::{ActivePolicy, ActiveProfile, Encapsulation, EndpointTier, Member, SetKind};
use crate::rules::compile;
use crate::rules::fixture::{local, policy, policy_id, pool, profile, workload, workload_id};
use crate::rules::ruleset::ChainName;
use IpVersion::{V4, V6};

/// Several of one interface collide. Dispatch is a tree, with and without children.
const INTERFACES: [&str; 6] = ["cali1a", "cali1b", "cali1bb", "cali2", "cali", "tap1"];
const POLICIES: [&str; 4] = ["a", "b", "c", "d"];
const PROFILES: [&str; 2] = ["web", "db"];
const NETS: [&str; 3] = ["10.0.0.0/24", "10.0.1.0/24", "fd00::/64"];

/// What a host has. Names of policies and profiles that are not there are left out by most.
#[derive(Clone, Debug, Default)]
struct World {
    endpoints: BTreeMap<u8, Workload>,
    policies: BTreeMap<u8, Governing>,
    profiles: BTreeMap<u8, u8>,
    sets: BTreeMap<u8, u8>,
    pools: BTreeMap<u8, (bool, bool)>,
    tunnel: bool,
    config: u8,
}

#[derive(Clone, Debug)]
struct Workload {
    interface: usize,
    active: bool,
    shadowed: bool,
    policies: Vec<u8>,
    profiles: Vec<u8>,
    sources: bool,
    floating: bool,
    /// Names of what is not there stay.
    dangling: bool,
    label: u8,
}

#[derive(Clone, Debug)]
struct Governing {
    selector: bool,
    untracked: bool,
    everywhere: bool,
    rules: u8,
}

#[derive(Clone, Debug)]
enum Step {
    Endpoint(u8, Option<Workload>),
    Policy(u8, Option<Governing>),
    Profile(u8, Option<u8>),
    Set(u8, Option<u8>),
    Pool(u8, Option<(bool, bool)>),
    Tunnel(bool),
    Config(u8),
}

impl World {
    fn take(&mut self, step: Step) {
        fn put<V>(map: &mut BTreeMap<u8, V>, key: u8, value: Option<V>) {
            match value {
                Some(value) => drop(map.insert(key, value)),
                None => drop(map.remove(&key)),
            }
        }
        match step {
            Step::Endpoint(key, value) => put(&mut self.endpoints, key, value),
            Step::Policy(key, value) => put(&mut self.policies, key, value),
            Step::Profile(key, value) => put(&mut self.profiles, key, value),
            Step::Set(key, value) => put(&mut self.sets, key, value),
            Step::Pool(key, value) => put(&mut self.pools, key, value),
            Step::Tunnel(value) => self.tunnel = value,
            Step::Config(value) => self.config = value,
        }
    }

    fn config(&self) -> Config {
        let mut config = Config { floating_ips: true, ..Config::default() };
        match self.config {
            0..3 => {}
            3 => config.filter_deny_action = DenyAction::Reject,
            4 => config.nat_outgoing_exclusions = NatOutgoingExclusions::IpPoolsAndHostIps,
            _ => config.mark_mask = 0x1f,
        }
        config
    }

    /// What is equal to something in `before` is that, or another one of the same value.
    fn policy(&self, before: &HostPolicy, keep: bool) -> HostPolicy {
        fn kept<K: Ord, V: PartialEq>(
            before: &BTreeMap<K, Arc<V>>,
            keep: bool,
            values: impl Iterator<Item = (K, V)>,
        ) -> BTreeMap<K, Arc<V>> {
            let kept = |(key, value)| {
                let same = before.get(&key).filter(|before| keep && ***before == value).cloned();
                let value = same.unwrap_or_else(|| Arc::new(value));
                (key, value)
            };
            values.map(kept).collect()
        }
        let endpoints = self.endpoints.iter().map(|(key, workload)| self.endpoint(*key, workload));
        let policies = self.policies.iter().map(|(key, governing)| governing.policy(*key));
        let profiles = self.profiles.iter().map(|(key, rules)| a_profile(*key, *rules));
        let sets = self.sets.iter().map(|(key, members)| a_set(*key, *members));
        let pools = self.pools.iter().map(|(key, (ipip, nat_outgoing))| {
            let encapsulation = if *ipip { Encapsulation::Ipip } else { Encapsulation::None };
            let pool = Pool { encapsulation, nat_outgoing: *nat_outgoing, ..pool(NETS[usize::from(*key)]) };
            (pool.cidr, pool)
        });
        HostPolicy {
            endpoints: kept(&before.endpoints, keep, endpoints.map(|e| (e.endpoint.id.clone(), e))),
            policies: kept(&before.policies, keep, policies.map(|p| (p.id.clone(), p))),
            profiles: kept(&before.profiles, keep, profiles.map(|p| (Arc::clone(&p.name), p))),
            sets: kept(&before.sets, keep, sets.map(|s| (s.id.clone(), s))),
            pools: kept(&before.pools, keep, pools),
            host_addresses: Arc::clone(&before.host_addresses),
            ipip_tunnel_addr: self.tunnel.then_some(Ipv4Addr::new(10, 0, 0, 9)),
            ..HostPolicy::default()
        }
    }

    fn endpoint(&self, key: u8, workload: &Workload) -> LocalEndpoint {
        let is_there = |policy: &&u8| workload.dangling || self.policies.contains_key(policy);
        let ids: Vec<PolicyId> = workload.policies.iter().filter(is_there).map(|key| named(*key)).collect();
        let (one, other) = ids.split_at(ids.len().min(3));
        let tier = |name: &str, ingress: &[PolicyId], egress: &[PolicyId]| EndpointTier {
            name: name.into(),
            default_action: TierDefault::Deny,
            ingress: ingress.to_vec(),
            egress: egress.to_vec(),
        };
        let profiles = workload.profiles.iter();
        let profiles = profiles.filter(|key| workload.dangling || self.profiles.contains_key(key));
        LocalEndpoint {
            shadowed_by: workload.shadowed.then(|| workload_id("other")),
            ..local(
                workload.endpoint(key, profiles.map(|key| PROFILES[usize::from(*key)].into()).collect()),
                vec![tier("one", one, &ids), tier("two", other, &[])],
            )
        }
    }
}

impl Workload {
    fn endpoint(&self, key: u8, profiles: Vec<Arc<str>>) -> WorkloadEndpoint {
        let address = |text: &str| text.parse().unwrap();
        let nat = NatMapping { internal: address("10.0.0.1"), external: address(&format!("172.16.0.{key}")) };
        let sources = ["10.9.0.0/16", "fd00:9::/64"].map(|net| net.parse().unwrap());
        WorkloadEndpoint {
            id: workload_id(&key.to_string()),
            active: self.active,
            profiles,
            labels: [("label".into(), self.label.to_string().into())].into(),
            nats: if self.floating { vec![nat] } else { vec![] },
            allowed_source_prefixes: if self.sources { sources.to_vec() } else { vec![] },
            ..workload(INTERFACES[self.interface])
        }
    }
}

impl Governing {
    fn policy(&self, key: u8) -> ActivePolicy {
        let allows = policy(POLICIES[usize::from(key)], if self.selector { "x" } else { "y" });
        ActivePolicy {
            stage: if self.untracked { Stage::Untracked } else { allows.stage },
            needed_everywhere: self.everywhere,
            ingress: allows.ingress.iter().cycle().take(usize::from(self.rules)).cloned().collect(),
            ..allows
        }
    }
}

fn named(policy: u8) -> PolicyId {
    policy_id(POLICIES[usize::from(policy)])
}

fn a_profile(key: u8, rules: u8) -> ActiveProfile {
    let allows = profile(PROFILES[usize::from(key)]);
    let ingress = allows.ingress.iter().cycle().take(usize::from(rules)).cloned().collect();
    ActiveProfile { ingress, ..allows }
}

fn a_set(key: u8, members: u8) -> IpSet {
    let members = NETS.iter().enumerate().filter(|(bit, _)| members >> bit & 1 == 1);
    let members = members.map(|(_, net)| Member::Net(net.parse().unwrap())).collect();
    IpSet { id: SetId(format!("s:{key}").into()), kind: SetKind::Nets, members, meaning: "x".into() }
}

prop_compose! {
    fn any_workload()(
        interface in 0..INTERFACES.len(),
        policies in prop::sample::subsequence(vec![0, 1, 2, 3], 0..=4).prop_shuffle(),
        profiles in prop::sample::subsequence(vec![0, 1], 0..=2),
        (active, shadowed, sources, floating) in
            (prop::bool::weighted(0.9), prop::bool::weighted(0.2), any::<bool>(), any::<bool>()),
        dangling in prop::bool::weighted(0.1),
        label in 0..3_u8,
    ) -> Workload {
        Workload { interface, active, shadowed, policies, profiles, sources, floating, dangling, label }
    }
}

prop_compose! {
    fn any_governing()(
        selector in any::<bool>(),
        untracked in prop::bool::weighted(0.1),
        everywhere in prop::bool::weighted(0.1),
        rules in 0..3_u8,
    ) -> Governing {
        Governing { selector, untracked, everywhere, rules }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    fn maybe<V: Debug>(value: impl Strategy<Value = V>) -> impl Strategy<Value = Option<V>> {
        prop::option::weighted(0.7, value)
    }
    prop_oneof![
        8 => (0..6_u8, maybe(any_workload())).prop_map(|(key, value)| Step::Endpoint(key, value)),
        4 => (0..4_u8, maybe(any_governing())).prop_map(|(key, value)| Step::Policy(key, value)),
        2 => (0..2_u8, maybe(0..3_u8)).prop_map(|(key, value)| Step::Profile(key, value)),
        2 => (0..3_u8, maybe(0..8_u8)).prop_map(|(key, value)| Step::Set(key, value)),
        1 => (0..3_u8, maybe(any::<(bool, bool)>())).prop_map(|(key, value)| Step::Pool(key, value)),
        1 => any::<bool>().prop_map(Step::Tunnel),
        1 => (0..6_u8).prop_map(Step::Config),
    ]
}

/// Fails where a chain, set or table is equal and another one.
fn assert_kept(before: &Arc<Ruleset>, after: &Arc<Ruleset>) {
    fn assert_same<T: Debug>(what: &str, same: bool, before: &Arc<T>, after: &Arc<T>) {
        assert!(same == Arc::ptr_eq(before, after), "{what}: {before:?} and {after:?}, equal: {same}");
    }
    for (name, after) in after.sets.iter() {
        before.sets.get(name).into_iter().for_each(|set| assert_same("set", set == after, set, after));
    }
    let text = |value: &dyn Debug| format!("{value:?}");
    for (before, after) in before.tables.iter().zip(&after.tables) {
        for (name, after) in after.chains.iter() {
            let before: Option<&Arc<Chain>> = before.chains.get::<ChainName>(name);
            before.into_iter().for_each(|chain| assert_same("chain", chain == after, chain, after));
        }
        assert_same("table", text(before) == text(after), before, after);
    }
    assert_same("ruleset", text(before) == text(after), before, after);
}

/// Compiles after each step: how often there was a result, and how often an error.
fn play(steps: Vec<(Step, bool, bool)>) -> [usize; 2] {
    let (mut world, mut policy) = (World::default(), HostPolicy::default());
    let mut compiler = Compiler::default();
    let mut before: BTreeMap<IpVersion, (Config, Arc<Ruleset>)> = BTreeMap::new();
    let mut counts = [0, 0];
    for (step, is_last, keep) in steps {
        world.take(step);
        if !is_last {
            continue;
        }
        policy = world.policy(&policy, keep);
        let config = world.config();
        for version in [V4, V6] {
            let found = compiler.compile(&policy, &config, version);
            let expected = compile(&policy, &config, version);
            assert_eq!(format!("{found:?}"), format!("{expected:?}"));
            counts[usize::from(found.is_err())] += 1;
            let Ok(ruleset) = found else {
                before.remove(&version);
                continue;
            };
            let whole = compiler.families[&version].filter.made_whole().unwrap();
            assert_eq!(format!("{:?}", ruleset.tables[3]), format!("{whole:?}"));
            if let Some((_, before)) = before.get(&version).filter(|(before, _)| *before == config) {
                assert_kept(before, &ruleset);
            }
            before.insert(version, (config.clone(), ruleset));
        }
    }
    counts
}

#[test]
fn it_is_a_function_of_its_arguments() {
    let step = (any_step(), prop::bool::weighted(0.8), prop::bool::weighted(0.9));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) };
    let counts = std::cell::Cell::new([0, 0]);
    proptest!(config, |(steps in prop::collection::vec(step, 1..40))| {
        let [done, refused] = play(steps);
        counts.set([counts.get()[0] + done, counts.get()[1] + refused]);
    });
    let [done, refused] = counts.get();
    assert!(done > 300 && refused > 300, "{done} compiled, {refused} refused");
}

/// An endpoint that has not changed skipped it while it was there.
#[test]
fn a_policy_that_governs_no_workload_is_missed_when_it_is_gone() {
    let endpoint = Workload {
        interface: 0,
        active: true,
        shadowed: false,
        policies: vec![0],
        profiles: vec![],
        sources: false,
        floating: false,
        dangling: true,
        label: 0,
    };
    let untracked = Governing { selector: true, untracked: true, everywhere: false, rules: 1 };
    let steps = [
        Step::Policy(0, Some(untracked)),
        Step::Endpoint(0, Some(endpoint)),
        Step::Tunnel(true),
        Step::Policy(0, None),
    ];
    assert_eq!(play(steps.map(|step| (step, true, true)).into()), [6, 2]);
}
