use super::*;
use crate::config::{Config, DenyAction};
use crate::model::{IpVersion, Stage, WorkloadEndpoint};
use crate::policy::{ActivePolicy, EndpointTier};
use crate::rules::fixture::{family, host, local, policy, texts, tier, workload};
use crate::rules::table_index::TableIndex;
use crate::rules::tier_jumps::Grouping;
use Direction::{Egress, Ingress};

const ESTABLISHED: &str = "-m conntrack --ctstate RELATED,ESTABLISHED --jump ACCEPT";
const INVALID: &str = "-m conntrack --ctstate INVALID --jump DROP";
const CLEAR: &str = "--jump MARK --set-mark 0/0x18";
const NO_VXLAN: &str = "-m comment --comment \"Drop VXLAN encapped packets originating in workloads\" -p 17 -m multiport --destination-ports 4789 --jump DROP";
const NO_IPIP: &str =
    "-m comment --comment \"Drop IPinIP encapped packets originating in workloads\" -p 4 --jump DROP";
const NO_PROFILE: &str = "-m comment --comment \"Drop if no profiles matched\" --jump DROP";
const START: &str = "-m comment --comment \"Start of tier default\" --jump MARK --set-mark 0/0x10";
const ACCEPTED: &str =
    "-m comment --comment \"Return if policy accepted\" -m mark --mark 0x8/0x8 --jump RETURN";
const END: &str = "-m comment --comment \"End of tier default. Drop if no policies passed packet\" -m mark --mark 0/0x10 --jump DROP";
const A_INGRESS: &str = "-m mark --mark 0/0x10 --jump cali-pi-gnp/a";
const C_INGRESS: &str = "-m mark --mark 0/0x10 --jump cali-pi-gnp/c";

struct Case {
    endpoint: WorkloadEndpoint,
    tiers: Vec<EndpointTier>,
    policies: Vec<ActivePolicy>,
    config: Config,
    direction: Direction,
    expected: Vec<&'static str>,
}

impl Case {
    fn new(direction: Direction, expected: Vec<&'static str>) -> Self {
        let policies = vec![policy("a", "all()"), policy("b", "all()"), policy("c", "has(c)")];
        Self {
            endpoint: workload("cali1"),
            tiers: vec![],
            policies,
            config: Config::default(),
            direction,
            expected,
        }
    }

    fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    fn tiers(mut self, tiers: Vec<EndpointTier>) -> Self {
        self.tiers = tiers;
        self
    }

    fn endpoint(mut self, endpoint: WorkloadEndpoint) -> Self {
        self.endpoint = endpoint;
        self
    }

    fn stage(mut self, stage: Stage) -> Self {
        self.policies.iter_mut().for_each(|policy| policy.stage = stage);
        self
    }

    fn check(self, name: &str) {
        let local = local(self.endpoint, self.tiers);
        let policy = host(vec![], self.policies, vec![], vec![]);
        for version in [IpVersion::V4, IpVersion::V6] {
            let family = family(&policy, &self.config, version);
            let index = TableIndex::default();
            let tiers = Grouping::new(&family, &index).tiers(&local, self.direction, &mut Vec::new());
            let chain = endpoint_chain(&family, &local, self.direction, &tiers);
            assert_eq!(texts(&chain.rules), self.expected, "{name}, {version:?}");
        }
    }
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

#[test]
fn what_every_chain_has() {
    Case::new(Ingress, vec![ESTABLISHED, INVALID, CLEAR, NO_PROFILE]).check("ingress");
    Case::new(Egress, vec![ESTABLISHED, INVALID, CLEAR, NO_VXLAN, NO_IPIP, NO_PROFILE]).check("egress");
    Case::new(Egress, vec![ESTABLISHED, INVALID, CLEAR, NO_IPIP, NO_PROFILE])
        .config(config(|config| config.allow_vxlan_packets_from_workloads = true))
        .check("VXLAN allowed");
    Case::new(Egress, vec![ESTABLISHED, INVALID, CLEAR, NO_VXLAN, NO_PROFILE])
        .config(config(|config| config.allow_ipip_packets_from_workloads = true))
        .check("IPIP allowed");
    let down = || WorkloadEndpoint { active: false, ..workload("cali1") };
    let only = "-m comment --comment \"Endpoint admin disabled\" --jump DROP";
    Case::new(Ingress, vec![only]).endpoint(down()).check("down, ingress");
    Case::new(Egress, vec![only]).endpoint(down()).check("down, egress");
}

#[test]
fn actions_are_configured() {
    Case::new(
        Ingress,
        vec![
            "-m conntrack --ctstate RELATED,ESTABLISHED --jump MARK --set-mark 0x8/0x8",
            "-m conntrack --ctstate RELATED,ESTABLISHED --jump RETURN",
            CLEAR,
            NO_PROFILE,
        ],
    )
    .config(config(|config| {
        config.filter_allow_action = AllowAction::Return;
        config.disable_conntrack_invalid_check = true;
    }))
    .check("RETURN");
    Case::new(
        Egress,
        vec![
            ESTABLISHED,
            "-m conntrack --ctstate INVALID --jump REJECT",
            CLEAR,
            "-m comment --comment \"Reject VXLAN encapped packets originating in workloads\" -p 17 -m multiport --destination-ports 4789 --jump REJECT",
            "-m comment --comment \"Reject IPinIP encapped packets originating in workloads\" -p 4 --jump REJECT",
            START,
            "-m mark --mark 0/0x10 --jump cali-po-gnp/a",
            ACCEPTED,
            "-m comment --comment \"End of tier default. Reject if no policies passed packet\" -m mark --mark 0/0x10 --jump REJECT",
            "-m comment --comment \"Reject if no profiles matched\" --jump REJECT",
        ],
    )
    .config(config(|config| config.filter_deny_action = DenyAction::Reject))
    .tiers(vec![tier("default", TierDefault::Deny, &["a"])])
    .check("REJECT");
}

#[test]
fn tiers_follow_each_other_and_profiles_come_last() {
    let deny = |policies: &[&str]| tier("default", TierDefault::Deny, policies);
    Case::new(
        Ingress,
        vec![
            ESTABLISHED,
            INVALID,
            CLEAR,
            "-m comment --comment \"Start of tier first\" --jump MARK --set-mark 0/0x10",
            C_INGRESS,
            ACCEPTED,
            START,
            "-m mark --mark 0/0x10 --jump cali-gi-js-B7zioflPRrAki3OCu",
            ACCEPTED,
            C_INGRESS,
            ACCEPTED,
            END,
            "--jump cali-pri-web",
            "-m comment --comment \"Return if profile accepted\" -m mark --mark 0x8/0x8 --jump RETURN",
            NO_PROFILE,
        ],
    )
    .endpoint(WorkloadEndpoint { profiles: vec!["web".into()], ..workload("cali1") })
    .tiers(vec![tier("first", TierDefault::Pass, &["c"]), deny(&["a", "b", "c"])])
    .check("two tiers");
    Case::new(Ingress, vec![ESTABLISHED, INVALID, CLEAR, NO_PROFILE])
        .tiers(vec![EndpointTier { ingress: vec![], ..deny(&["a"]) }])
        .check("only the other direction");
    Case::new(Ingress, vec![ESTABLISHED, INVALID, CLEAR, NO_PROFILE])
        .tiers(vec![deny(&["a", "b"])])
        .stage(Stage::Untracked)
        .check("only host endpoints");
    Case::new(Ingress, vec![ESTABLISHED, INVALID, CLEAR, START, A_INGRESS, ACCEPTED, END, NO_PROFILE])
        .tiers(vec![deny(&["a"])])
        .stage(Stage::Normal { apply_on_forward: true })
        .check("applyOnForward");
}
