//! Hosts whose policies are easily refused, and what a kernel has for them.

use std::sync::Arc;

use crate::config::{Config, InsertMode};
use crate::model::IpVersion::{V4, V6};
use crate::model::{Protocol, TierDefault};
use crate::policy::{ActiveRule, ActiveSide, Direction, IpSet, Member, Owner, SetId, SetKind};
use crate::rules::compile;
use crate::rules::fixture::{allow, host, local, policy, policy_id, profile, tier, workload};
use crate::rules::ruleset::TableName;
use crate::sync::fake_kernel::FakeKernel;
use crate::sync::{Desired, Programmed, plan};

/// What stands in each filter table before we come.
pub(super) const FOREIGN: &str = "*filter\n:theirs - -\n-A FORWARD -i eth9 -j ACCEPT\n\
     -A FORWARD -o eth9 -j theirs\n-A theirs -j RETURN\n-A INPUT -s 10.9.9.9/32 -j DROP\nCOMMIT\n";

/// One host.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// The interfaces, and the policies that govern each both ways.
    pub(super) endpoints: Vec<(&'static str, Vec<&'static str>)>,
    pub(super) policies: Vec<(&'static str, Says)>,
    pub(super) sets: Vec<(&'static str, Vec<String>)>,
}

/// What a policy lets in. All let everything out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Says {
    /// This protocol's number.
    Protocol(u8),
    /// From members of this set.
    From(&'static str),
}

impl Host {
    /// Two endpoints, of which each has a policy of its own, and a shared one that matches by a set.
    pub(super) fn plain() -> Self {
        Self {
            endpoints: vec![("cali1", vec!["a", "both"]), ("cali2", vec!["b", "both"])],
            policies: vec![("a", Says::Protocol(50)), ("b", Says::Protocol(51)), ("both", Says::From("s:x"))],
            sets: vec![("s:x", vec!["10.0.0.1/32".to_owned(), "fd00::1/128".to_owned()])],
        }
    }

    /// The policy says something else.
    pub(super) fn with(mut self, name: &'static str, says: Says) -> Self {
        self.policies.retain(|(other, _)| *other != name);
        self.policies.push((name, says));
        self
    }

    /// Anew each time, as nothing of it were remembered.
    pub(super) fn desired(&self) -> Desired {
        let endpoint = |(interface, names): &(&'static str, Vec<&'static str>)| {
            let mut endpoint = workload(interface);
            endpoint.profiles = vec!["p".into()];
            local(endpoint, vec![tier("default", TierDefault::Deny, names)])
        };
        let says = |(name, says): &(&'static str, Says)| {
            let mut policy = policy(name, name);
            let any = allow(Owner::Policy(policy_id(name)), Direction::Ingress);
            policy.ingress = vec![Arc::new(match says {
                Says::Protocol(number) => ActiveRule { protocol: Some(Protocol::Number(*number)), ..any },
                Says::From(set) => ActiveRule {
                    source: ActiveSide { sets: vec![SetId((*set).into())], ..ActiveSide::default() },
                    ..any
                },
            })];
            policy
        };
        let mut policy = host(
            self.endpoints.iter().map(endpoint).collect(),
            self.policies.iter().map(says).collect(),
            vec![profile("p")],
            vec![],
        );
        policy.sets =
            self.sets.iter().map(|(id, members)| (SetId((*id).into()), Arc::new(set(id, members)))).collect();
        let compiled = |version| Arc::new(compile(&policy, &Config::default(), version).unwrap());
        Desired { rulesets: [V4, V6].map(compiled).to_vec(), insert_mode: InsertMode::Insert, routes: None }
    }
}

fn set(id: &str, members: &[String]) -> IpSet {
    let mut members: Vec<Member> = members.iter().map(|net| Member::Net(net.parse().unwrap())).collect();
    members.sort();
    IpSet { id: SetId(id.into()), kind: SetKind::Nets, members, meaning: format!("selector of {id}").into() }
}

/// A kernel that has only what others have made.
pub(super) fn foreign_kernel() -> FakeKernel {
    let mut kernel = FakeKernel::default();
    for version in [V4, V6] {
        kernel.restore_table(version, TableName::Filter, FOREIGN).unwrap();
    }
    kernel
}

/// A kernel that was given nothing but this, without any fault.
pub(super) fn ideal(desired: &Desired) -> FakeKernel {
    let mut kernel = foreign_kernel();
    kernel.run(&plan(desired, &Programmed::default()));
    kernel
}

/// All of it, as the tools print it.
pub(super) fn shown(kernel: &FakeKernel) -> String {
    let tables = [V4, V6].map(|version| TableName::ALL.map(|table| kernel.save_table(version, table)));
    tables.concat().concat() + &kernel.save_sets()
}
