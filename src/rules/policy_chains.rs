//! The chains of policies and profiles (reference §5.6).

use std::sync::Arc;

use super::context::Context;
use super::policy_rules::push_rules;
use super::ruleset::{Chain, ChainName, Provenance, Rule, Target};
use crate::policy::{ActivePolicy, ActiveProfile, ActiveRule, Direction, Owner};

/// A policy's two chains, ingress first. Both are always there, and neither is empty.
pub fn policy_chains(policy: &ActivePolicy, context: &Context<'_>) -> [Chain; 2] {
    let owner = Owner::Policy(policy.id.clone());
    [(Direction::Ingress, &policy.ingress), (Direction::Egress, &policy.egress)].map(|(direction, rules)| {
        Chain {
            name: ChainName::policy(direction, &policy.id),
            rules: chain_rules(&owner, direction, rules, &policy.tier, context),
        }
    })
}

/// A profile's two chains, ingress first. Both are always there, and neither is empty.
pub fn profile_chains(profile: &ActiveProfile, context: &Context<'_>) -> [Chain; 2] {
    let owner = Owner::Profile(Arc::clone(&profile.name));
    [(Direction::Ingress, &profile.ingress), (Direction::Egress, &profile.egress)].map(
        |(direction, rules)| Chain {
            name: ChainName::profile(direction, &profile.name),
            rules: chain_rules(&owner, direction, rules, "", context),
        },
    )
}

/// The first rule says in a comment whose chain it is: the name may be hashed.
fn chain_rules(
    owner: &Owner,
    direction: Direction,
    active: &[Arc<ActiveRule>],
    tier: &str,
    context: &Context<'_>,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for rule in active {
        push_rules(&mut rules, rule, tier, context);
    }
    strip_trailing_returns(&mut rules);
    match owner {
        // The start of a tier has cleared the mark.
        Owner::Policy(_) => {}
        Owner::Profile(_) => clear_pass_of_others(&mut rules, context.marks.pass),
    }
    let title = format!("{owner} {}", direction.name());
    match rules.first_mut() {
        Some(first) => first.comments.push(title),
        None => rules.push(Rule {
            comments: vec![title],
            matches: Vec::new(),
            target: None,
            provenance: Provenance::Empty(owner.clone(), direction),
        }),
    }
    rules
}

/// A tier or profile before this profile may have passed: a rule that returns on that mark would return although its own
/// criteria don't hold.
fn clear_pass_of_others(rules: &mut Vec<Rule>, pass: u32) {
    let passing = rules.iter().find(|rule| rule.target == Some(Target::mark(pass)));
    if let Some(Rule { provenance, .. }) = passing {
        let provenance = provenance.clone();
        let target = Some(Target::ClearMark { mask: pass });
        rules.insert(0, Rule { comments: Vec::new(), matches: Vec::new(), target, provenance });
    }
}

/// A chain returns at its end anyway.
fn strip_trailing_returns(rules: &mut Vec<Rule>) {
    while rules.pop_if(|last| last.target == Some(Target::Return)).is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::datastore::Place;
    use crate::model::{Action, IpVersion, PolicyId, PolicyKind, Protocol, Stage};
    use crate::rules::policy_rules::tests::{active, gnp, marks};
    use crate::rules::ruleset::TableName;
    use crate::rules::text::rule_text;

    fn policy(id: PolicyId, ingress: Vec<ActiveRule>, egress: Vec<ActiveRule>) -> ActivePolicy {
        ActivePolicy {
            id,
            tier: "default".into(),
            selector: "all()".into(),
            stage: Stage::Normal { apply_on_forward: false },
            ingress: ingress.into_iter().map(Arc::new).collect(),
            egress: egress.into_iter().map(Arc::new).collect(),
            needed_everywhere: false,
            place: Place { source: "policy.yaml".into(), line: 1, column: 1 },
        }
    }

    /// A chain as lines: its name, then its rules.
    fn lines(chain: &Chain) -> Vec<String> {
        [chain.name.to_string()].into_iter().chain(chain.rules.iter().map(rule_text)).collect()
    }

    fn context(config: &Config) -> Context<'_> {
        Context { version: IpVersion::V4, table: TableName::Filter, marks: marks(), config }
    }

    fn titled(title: &str, rest: &str) -> String {
        format!("-m comment --comment \"{title}\"{rest}")
    }

    #[test]
    fn a_policy_has_a_chain_each_way() {
        let allow = || active(Action::Allow);
        let deny = || active(Action::Deny);
        let tcp = || ActiveRule { protocol: Some(Protocol::Tcp), ..allow() };
        let noted = || ActiveRule { annotations: vec![("key".into(), "value".into())], ..allow() };
        let v6 = || ActiveRule { ip_version: Some(IpVersion::V6), ..allow() };
        let long = "long-policy-name-that-gets-hashed";
        let np = |name: &str| PolicyId {
            kind: PolicyKind::NetworkPolicy,
            namespace: "ns".into(),
            name: name.into(),
        };
        let set = " --jump MARK --set-mark 0x80/0x80";
        let rows: [(PolicyId, Vec<ActiveRule>, &[String]); 7] = [
            (
                gnp("one"),
                vec![allow()],
                &["cali-pi-gnp/one".into(), titled("GlobalNetworkPolicy one ingress", set)],
            ),
            (
                np("one"),
                vec![noted()],
                &[
                    "cali-pi-np/ns/one".into(),
                    titled("key=value", " -m comment --comment \"NetworkPolicy ns/one ingress\"") + set,
                ],
            ),
            (
                gnp("none"),
                vec![],
                &["cali-pi-gnp/none".into(), titled("GlobalNetworkPolicy none ingress", "")],
            ),
            (
                gnp("other-family"),
                vec![v6()],
                &["cali-pi-gnp/other-family".into(), titled("GlobalNetworkPolicy other-family ingress", "")],
            ),
            (
                gnp(long),
                vec![allow()],
                &[
                    "cali-pi-_PymyFHQQg3808jiz1OJ".into(),
                    titled("GlobalNetworkPolicy long-policy-name-that-gets-hashed ingress", set),
                ],
            ),
            (
                gnp("two"),
                vec![allow(), tcp()],
                &[
                    "cali-pi-gnp/two".into(),
                    titled("GlobalNetworkPolicy two ingress", set),
                    "-m mark --mark 0x80/0x80 --jump RETURN".into(),
                    "-p tcp --jump MARK --set-mark 0x80/0x80".into(),
                ],
            ),
            (
                gnp("deny"),
                vec![deny()],
                &[
                    "cali-pi-gnp/deny".into(),
                    titled("GlobalNetworkPolicy deny ingress", " --jump MARK --set-mark 0x800/0x800"),
                    "-m mark --mark 0x800/0x800 --jump DROP".into(),
                ],
            ),
        ];
        let config = Config::default();
        for (id, rules, expected) in rows {
            let [ingress, egress] = policy_chains(&policy(id.clone(), rules, vec![]), &context(&config));
            assert_eq!(lines(&ingress), expected);
            let name = ChainName::policy(Direction::Egress, &id).to_string();
            assert_eq!(lines(&egress), [name, titled(&format!("{id} egress"), "")]);
            let empty = Provenance::Empty(Owner::Policy(id), Direction::Egress);
            assert_eq!(egress.rules[0].provenance, empty);
        }
    }

    #[test]
    fn a_profile_has_a_chain_each_way() {
        let name = "long-policy-name-that-gets-hashed";
        let profile = ActiveProfile {
            name: name.into(),
            ingress: vec![Arc::new(active(Action::Allow))],
            egress: vec![],
            place: None,
        };
        let config = Config::default();
        let [ingress, egress] = profile_chains(&profile, &context(&config));
        assert_eq!(
            lines(&ingress),
            [
                "cali-pri-_ffOMcf6pikpiZ6hgKc".to_owned(),
                titled(&format!("Profile {name} ingress"), " --jump MARK --set-mark 0x80/0x80"),
            ]
        );
        assert_eq!(
            lines(&egress),
            ["cali-pro-_ffOMcf6pikpiZ6hgKc".to_owned(), titled(&format!("Profile {name} egress"), "")]
        );
    }

    #[test]
    fn a_profile_passes_by_its_own_rules_only() {
        let tcp = ActiveRule { protocol: Some(Protocol::Tcp), ..active(Action::Pass) };
        let rules = [tcp, active(Action::Deny)].map(Arc::new).to_vec();
        let profile = ActiveProfile { name: "p".into(), ingress: rules, egress: vec![], place: None };
        let [ingress, _] = profile_chains(&profile, &context(&Config::default()));
        assert_eq!(
            lines(&ingress)[1..],
            [
                &titled("Profile p ingress", " --jump MARK --set-mark 0/0x100"),
                "-p tcp --jump MARK --set-mark 0x100/0x100",
                "-m mark --mark 0x100/0x100 --jump RETURN",
                "--jump MARK --set-mark 0x800/0x800",
                "-m mark --mark 0x800/0x800 --jump DROP",
            ]
        );
    }
}
