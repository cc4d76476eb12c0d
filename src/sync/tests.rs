//! Plans as texts, and the same carried out by a [`FakeKernel`].

mod random;

use std::sync::Arc;

use super::fake_kernel::FakeKernel;
use super::{Desired, Plan, Programmed, Step, plan};
use crate::config::InsertMode::{self, Append, Insert};
use crate::model::IpVersion::{self, V4, V6};
use crate::model::WorkloadId;
use crate::policy::{Member, SetId, TransportProtocol};
use crate::rules::names::{ChainName, IpSetName};
use crate::rules::ruleset::TableName::{Filter, Nat, Raw};
use crate::rules::ruleset::{
    Chain, Criterion, EndpointStep, Hook, KernelSet, Match, Provenance, Rule, Ruleset, SetType, SharedMap,
    Side, Table, TableName, Target,
};

fn rule(comment: &str, matches: Vec<Match>, target: Target) -> Rule {
    let comments = if comment.is_empty() { Vec::new() } else { vec![comment.to_owned()] };
    Rule { comments, matches, target: Some(target), provenance: Provenance::Static }
}

fn plain(target: Target) -> Rule {
    rule("", Vec::new(), target)
}

fn jump(chain: &'static str) -> Rule {
    plain(Target::Jump(ChainName::fixed(chain)))
}

fn drop_from(set: &IpSetName) -> Rule {
    rule(
        "",
        vec![Match { negated: false, criterion: Criterion::Set(Side::Source, set.clone()) }],
        Target::Drop,
    )
}

fn set_name(version: IpVersion, id: &str) -> IpSetName {
    IpSetName::new(version, &SetId(id.into()))
}

fn nets(version: IpVersion, id: &str, max_elements: u32, nets: &[&str]) -> KernelSet {
    let mut members: Vec<Member> = nets.iter().map(|net| Member::Net(net.parse().unwrap())).collect();
    members.sort();
    let (name, meaning) = (set_name(version, id), "".into());
    KernelSet { name, version, set_type: SetType::HashNet, members, max_elements, meaning }
}

fn ports(version: IpVersion, id: &str, ports: &[(&str, TransportProtocol, u16)]) -> KernelSet {
    let members =
        ports.iter().map(|(ip, protocol, port)| Member::IpPort(ip.parse().unwrap(), *protocol, *port));
    let (name, meaning) = (set_name(version, id), "".into());
    let members = members.collect();
    KernelSet { name, version, set_type: SetType::HashIpPort, members, max_elements: 1_048_576, meaning }
}

fn chains(chains: Vec<(&'static str, Vec<Rule>)>) -> SharedMap<ChainName, Chain> {
    let chain = |(name, rules)| {
        let name = ChainName::fixed(name);
        (name.clone(), Arc::new(Chain { name, rules }))
    };
    chains.into_iter().map(chain).collect()
}

fn desired(version: IpVersion, insert_mode: InsertMode, sets: Vec<KernelSet>, tables: Vec<Table>) -> Desired {
    let sets = sets.into_iter().map(|set| (set.name.clone(), Arc::new(set))).collect();
    let tables = tables.into_iter().map(Arc::new).collect();
    Desired { rulesets: vec![Arc::new(Ruleset { version, sets, tables })], insert_mode, routes: None }
}

fn filter(insert_mode: InsertMode, table: Vec<(&'static str, Vec<Rule>)>) -> Desired {
    let hooks = vec![Hook {
        chain: "FORWARD",
        rules: vec![jump("cali-FORWARD")],
        appended: vec![
            rule("append drop rule", Vec::new(), Target::Drop),
            rule("append accept rule", Vec::new(), Target::Accept),
        ],
    }];
    desired(V4, insert_mode, Vec::new(), vec![Table { name: Filter, hooks, chains: chains(table) }])
}

fn foobar(targets: &[Target]) -> Desired {
    let rules = targets.iter().cloned().map(plain).collect();
    filter(Insert, vec![("cali-FORWARD", vec![jump("cali-foobar")]), ("cali-foobar", rules)])
}

fn only_sets(sets: Vec<KernelSet>) -> Desired {
    desired(V4, Insert, sets, Vec::new())
}

/// The texts, each under what takes it.
fn texts(plan: &Plan) -> String {
    let titled = |step: &Step| {
        let title = match step {
            Step::Sets(_) => "sets".to_owned(),
            Step::RemoveMembers(..) => "remove members".to_owned(),
            Step::Table(changes) => format!("{:?}", changes.version()),
            Step::RemoveSets(_) => "remove sets".to_owned(),
        };
        format!("# {title}\n{}", step.text())
    };
    plan.steps().map(titled).collect()
}

/// The kernel after the plan; that it then needs no other, whether we remember what we wrote or read it back.
fn carried_out(desired: &Desired, kernel: &FakeKernel) -> (String, FakeKernel) {
    let programmed = kernel.read_back();
    let changes = plan(desired, &programmed);
    let mut kernel = kernel.clone();
    kernel.run(&changes);
    let again = plan(desired, &kernel.read_back());
    assert!(again.is_empty(), "read back: {}", texts(&again));
    let again = plan(desired, &programmed.after(&changes));
    assert!(again.is_empty(), "remembered: {}", texts(&again));
    (texts(&changes), kernel)
}

#[test]
fn plans_are_these_texts() {
    use Target::{Accept, Drop, Return};
    let from_nothing = "\
# V4
*filter
:cali-FORWARD - -
:cali-foobar - -
-A cali-FORWARD -m comment --comment \"cali:WiiHgeRwfPX6Ol7d\" --jump cali-foobar
-A cali-foobar -m comment --comment \"cali:42h7Q64_2XDzpwKe\" --jump ACCEPT
-A cali-foobar -m comment --comment \"cali:0sUFHicPNNqNyNx8\" --jump DROP
-A cali-foobar -m comment --comment \"cali:yilSOZ62PxMhMnS9\" --jump RETURN
-I FORWARD -m comment --comment \"cali:wUHhoiAYhphO9Mso\" --jump cali-FORWARD
-A FORWARD -m comment --comment \"cali:qNsBylRkftPwO3XF\" -m comment --comment \"append drop rule\" --jump DROP
-A FORWARD -m comment --comment \"cali:IQ9H0Scq00rF0w4S\" -m comment --comment \"append accept rule\" --jump ACCEPT
COMMIT
";
    let nothing = || desired(V4, Insert, Vec::new(), Vec::new());
    let rows: [(&str, Desired, Desired, &str); 6] = [
        ("from nothing", nothing(), foobar(&[Accept, Drop, Return]), from_nothing),
        ("no change", foobar(&[Accept, Drop, Return]), foobar(&[Accept, Drop, Return]), ""),
        (
            "a rule changed",
            foobar(&[Accept, Accept, Return]),
            foobar(&[Accept, Drop, Return]),
            "\
# V4
*filter
:cali-foobar - -
-A cali-foobar -m comment --comment \"cali:42h7Q64_2XDzpwKe\" --jump ACCEPT
-A cali-foobar -m comment --comment \"cali:0sUFHicPNNqNyNx8\" --jump DROP
-A cali-foobar -m comment --comment \"cali:yilSOZ62PxMhMnS9\" --jump RETURN
COMMIT
",
        ),
        (
            "a chain for another",
            filter(Insert, vec![("cali-FORWARD", vec![jump("cali-z")]), ("cali-z", vec![])]),
            filter(Insert, vec![("cali-FORWARD", vec![jump("cali-foobar")]), ("cali-foobar", vec![plain(Return)])]),
            "\
# V4
*filter
:cali-FORWARD - -
:cali-foobar - -
:cali-z - -
-A cali-FORWARD -m comment --comment \"cali:WiiHgeRwfPX6Ol7d\" --jump cali-foobar
-A cali-foobar -m comment --comment \"cali:ZqwJQBzCmuABAOQt\" --jump RETURN
--delete-chain cali-z
COMMIT
",
        ),
        (
            "to append mode",
            filter(Insert, vec![("cali-FORWARD", vec![])]),
            filter(Append, vec![("cali-FORWARD", vec![])]),
            "",
        ),
        (
            "clean-up",
            filter(Insert, vec![("cali-FORWARD", vec![jump("cali-foobar")]), ("cali-foobar", vec![])]),
            nothing(),
            "\
# V4
*filter
:cali-FORWARD - -
:cali-foobar - -
-D FORWARD -m comment --comment \"cali:wUHhoiAYhphO9Mso\" -j cali-FORWARD
-D FORWARD -m comment --comment \"cali:qNsBylRkftPwO3XF\" -m comment --comment \"append drop rule\" -j DROP
-D FORWARD -m comment --comment \"cali:IQ9H0Scq00rF0w4S\" -m comment --comment \"append accept rule\" -j ACCEPT
--delete-chain cali-FORWARD
--delete-chain cali-foobar
COMMIT
",
        ),
    ];
    for (case, before, after, expected) in rows {
        let (_, kernel) = carried_out(&before, &FakeKernel::default());
        assert_eq!(carried_out(&after, &kernel).0, expected, "{case}");
    }
}

#[test]
fn sets_are_these_texts() {
    let max = 1_048_576;
    let a = |max, members: &[&str]| nets(V4, "s:a", max, members);
    let rows: [(&str, Vec<KernelSet>, Vec<KernelSet>, &str); 6] = [
        (
            "from nothing, by address",
            vec![],
            vec![
                a(max, &["10.0.0.10/32", "10.0.0.9/32", "9.0.0.0/8"]),
                ports(
                    V4,
                    "n:b",
                    &[("10.0.0.1", TransportProtocol::Tcp, 80), ("10.0.0.1", TransportProtocol::Sctp, 9)],
                ),
            ],
            "\
# sets
create cali40n:b hash:ip,port family inet maxelem 1048576
add cali40n:b 10.0.0.1,tcp:80
add cali40n:b 10.0.0.1,sctp:9
create cali40s:a hash:net family inet maxelem 1048576
add cali40s:a 9.0.0.0/8
add cali40s:a 10.0.0.9
add cali40s:a 10.0.0.10
COMMIT
",
        ),
        ("no change", vec![a(max, &["10.0.0.0/8"])], vec![a(max, &["10.0.0.0/8"])], ""),
        (
            "members",
            vec![a(max, &["10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"])],
            vec![a(max, &["10.0.0.0/32", "10.0.0.2/32", "10.0.0.4/32"])],
            "\
# sets
add cali40s:a 10.0.0.0
add cali40s:a 10.0.0.4
del cali40s:a 10.0.0.1 --exist
del cali40s:a 10.0.0.3 --exist
COMMIT
",
        ),
        (
            "another size",
            vec![a(max, &["10.0.0.1/32"])],
            vec![a(10, &["10.0.0.2/32"])],
            "\
# sets
create cali4t0 hash:net family inet maxelem 10
add cali4t0 10.0.0.2
swap cali40s:a cali4t0
COMMIT
# remove sets
destroy cali4t0
COMMIT
",
        ),
        ("removed", vec![a(max, &[])], vec![], "# remove sets\ndestroy cali40s:a\nCOMMIT\n"),
        (
            "another type",
            vec![ports(V4, "s:a", &[])],
            vec![a(10, &["10.0.0.2/32"])],
            "\
# sets
create cali40aside:s:a hash:net family inet maxelem 10
add cali40aside:s:a 10.0.0.2
COMMIT
# remove sets
destroy cali40s:a
COMMIT
# sets
create cali40s:a hash:net family inet maxelem 10
add cali40s:a 10.0.0.2
COMMIT
# remove sets
destroy cali40aside:s:a
COMMIT
",
        ),
    ];
    for (case, before, after, expected) in rows {
        let (_, kernel) = carried_out(&only_sets(before), &FakeKernel::default());
        assert_eq!(carried_out(&only_sets(after), &kernel).0, expected, "{case}");
    }
}

/// Of an endpoint: its chain leads to a policy's, which matches by a set that the endpoint may be in.
fn turning_endpoint(policy: &'static str, members: &[&str]) -> Desired {
    let id = WorkloadId {
        node: "host".into(),
        orchestrator: "k8s".into(),
        workload: "ns/web".into(),
        endpoint: "eth0".into(),
    };
    let provenance = Provenance::Endpoint(Arc::new(id), EndpointStep::Conntrack);
    let chain = vec![Rule { provenance, ..jump(policy) }];
    let set = nets(V4, "s:a", 1_048_576, members);
    let rules = vec![drop_from(&set.name)];
    let table =
        vec![("cali-FORWARD", vec![jump("cali-tw-cali1")]), ("cali-tw-cali1", chain), (policy, rules)];
    let hooks = vec![Hook { chain: "FORWARD", rules: vec![jump("cali-FORWARD")], appended: vec![] }];
    desired(V4, Insert, vec![set], vec![Table { name: Filter, hooks, chains: chains(table) }])
}

/// While sets change the endpoint's chain lets through only what its old and its new chain do.
#[test]
fn an_endpoint_turns_together_with_its_sets() {
    let before = turning_endpoint("cali-pi-a", &["10.0.0.1/32"]);
    let after = turning_endpoint("cali-pi-b", &["10.0.0.2/32"]);
    let first = plan(&before, &Programmed::default());
    let mut kernel = FakeKernel::default();
    kernel.run(&first);
    let changes = plan(&after, &Programmed::default().after(&first));
    let expected = "\
# V4
*filter
:cali-new-tw-cali1 - -
:cali-old-tw-cali1 - -
:cali-pi-b - -
:cali-tw-cali1 - -
-A cali-new-tw-cali1 --jump cali-pi-b
-A cali-old-tw-cali1 --jump cali-pi-a
-A cali-pi-b -m set --match-set cali40s:a src --jump DROP
-A cali-tw-cali1 -m comment --comment \"While sets change\" --jump cali-old-tw-cali1
-A cali-tw-cali1 -m comment --comment \"While sets change\" --goto cali-new-tw-cali1
COMMIT
# sets
add cali40s:a 10.0.0.2
COMMIT
# remove members
del cali40s:a 10.0.0.1 --exist
COMMIT
# V4
*filter
:cali-new-tw-cali1 - -
:cali-old-tw-cali1 - -
:cali-pi-a - -
:cali-tw-cali1 - -
-A cali-tw-cali1 --jump cali-pi-b
--delete-chain cali-new-tw-cali1
--delete-chain cali-old-tw-cali1
--delete-chain cali-pi-a
COMMIT
";
    let mark = |line: &str| match line.split_once("-m comment --comment \"cali:") {
        Some((chain, rest)) => [chain, rest.split_once("\" ").map_or("", |(_, rule)| rule)].concat(),
        None => line.to_owned(),
    };
    let unmarked: String = texts(&changes).lines().map(|line| mark(line) + "\n").collect();
    assert_eq!(unmarked, expected);
    kernel.run(&changes);
    assert!(plan(&after, &kernel.read_back()).is_empty());
    // Without sets that change there is nothing to turn with. What was read back is not known well enough: then the set
    // goes aside.
    let same_set = turning_endpoint("cali-pi-b", &["10.0.0.1/32"]);
    assert_eq!(plan(&same_set, &Programmed::default().after(&first)).steps().count(), 1);
    let mut kernel = FakeKernel::default();
    kernel.run(&first);
    let changes = plan(&after, &kernel.read_back());
    let texts = texts(&changes);
    assert!(
        texts.contains("-A cali-pi-b -m comment --comment \"cali:")
            && texts.contains(" --match-set cali40aside:s:a src"),
        "{texts}"
    );
    kernel.run(&changes);
    assert!(plan(&after, &kernel.read_back()).is_empty());
}

#[test]
fn a_set_of_another_type_is_replaced_while_rules_name_it() {
    let name = set_name(V4, "s:a");
    let table = || {
        let hooks = vec![Hook { chain: "FORWARD", rules: vec![jump("cali-FORWARD")], appended: vec![] }];
        let chains = chains(vec![
            ("cali-FORWARD", vec![jump("cali-a"), drop_from(&name)]),
            ("cali-a", vec![plain(Target::Accept)]),
        ]);
        vec![Table { name: Filter, hooks, chains }]
    };
    let before = desired(V4, Insert, vec![ports(V4, "s:a", &[])], table());
    let after = desired(V4, Insert, vec![nets(V4, "s:a", 10, &["10.0.0.2/32"])], table());
    let (_, kernel) = carried_out(&before, &FakeKernel::default());
    let expected = "\
# sets
create cali40aside:s:a hash:net family inet maxelem 10
add cali40aside:s:a 10.0.0.2
COMMIT
# V4
*filter
:cali-FORWARD - -
-A cali-FORWARD -m comment --comment \"cali:yoXVw58Q_9_5Vgrv\" --jump cali-a
-A cali-FORWARD -m comment --comment \"cali:yvsnAhFU5rcZP1Sd\" -m set --match-set cali40aside:s:a src --jump DROP
COMMIT
# remove sets
destroy cali40s:a
COMMIT
# sets
create cali40s:a hash:net family inet maxelem 10
add cali40s:a 10.0.0.2
COMMIT
# V4
*filter
:cali-FORWARD - -
-A cali-FORWARD -m comment --comment \"cali:yoXVw58Q_9_5Vgrv\" --jump cali-a
-A cali-FORWARD -m comment --comment \"cali:IKoAysodMrYj9Avn\" -m set --match-set cali40s:a src --jump DROP
COMMIT
# remove sets
destroy cali40aside:s:a
COMMIT
";
    assert_eq!(carried_out(&after, &kernel).0, expected);
}

#[test]
fn sets_with_what_we_never_write_are_replaced_and_foreign_ones_left() {
    let sets = "\
create noncali hash:net family inet maxelem 65536 timeout 30
add noncali 10.0.0.0/8 some words
create cali4-unknown hash:ip family inet maxelem 65536
create cali4tunknown hash:ip family inet maxelem 65536
create cali40s:a hash:net family inet hashsize 1024 maxelem 10 timeout 30 bucketsize 12 initval 0x1
add cali40s:a 10.0.0.1 timeout 29
create cali40s:b hash:net family inet hashsize 1024 maxelem 10 bucketsize 12 initval 0x1
add cali40s:b 10.0.0.1 nomatch
create cali60s:a hash:net family inet6 maxelem 10
add cali60s:a fd00::/8
";
    let wanted =
        only_sets(vec![nets(V4, "s:a", 10, &["10.0.0.1/32"]), nets(V4, "s:b", 10, &["10.0.0.1/32"])]);
    let mut programmed = Programmed::default();
    programmed.read_sets(sets).unwrap();
    let expected = "\
# sets
create cali4t0 hash:net family inet maxelem 10
add cali4t0 10.0.0.1
swap cali40s:a cali4t0
create cali4t1 hash:net family inet maxelem 10
add cali4t1 10.0.0.1
swap cali40s:b cali4t1
COMMIT
# remove sets
destroy cali4-unknown
destroy cali4t0
destroy cali4t1
destroy cali4tunknown
COMMIT
";
    assert_eq!(texts(&plan(&wanted, &programmed)), expected);
}

#[test]
fn ours_stand_where_configured_among_foreign_rules() {
    let dirty = "\
*filter
:felix-FORWARD - -
:cali-stale - -
:foreign - -
:ufw-before - -
:foo-bar - -
-A cali-stale --jump felix-FORWARD
-A felix-FORWARD --jump cali-stale
-A FORWARD --jump RETURN
-A FORWARD -m comment --comment \"cali:wUHhoiAYhphO9Msp\" --jump ACCEPT
-A FORWARD -m comment --comment \"cali:stale\" --jump cali-stale
-A FORWARD --jump ACCEPT
-A FORWARD -j felix-FORWARD
-A FORWARD --jump felix-FORWARD
-A FORWARD --jump foo-bar
-A foreign -m comment --comment \"cali:abcdefghij1234-_\" --jump ACCEPT
-A foreign --jump RETURN
COMMIT
";
    let ufw = "*filter\n:ufw-a - -\n-A FORWARD --jump ufw-a\n-A FORWARD --jump ufw-a\n-A FORWARD --jump ufw-a\nCOMMIT\n";
    let hook = |rules: &[Target]| {
        let hook =
            Hook { chain: "FORWARD", rules: rules.iter().cloned().map(plain).collect(), appended: vec![] };
        vec![Table { name: Filter, hooks: vec![hook], chains: SharedMap::new() }]
    };
    let wanted = |mode, rules: &[Target]| desired(V4, mode, vec![], hook(rules));
    let (drop, accept) = (Target::Drop, Target::Accept);
    let ours = ["hecdSCslEjdBPBPo DROP", "plvr29-ZiKUwbzDV ACCEPT"];
    let foreign = ["RETURN", "ACCEPT", "foo-bar"];
    let rows: [(&str, &str, Desired, Vec<&str>); 6] = [
        ("nothing wanted", dirty, wanted(Insert, &[]), foreign.to_vec()),
        ("insert", dirty, wanted(Insert, &[drop.clone(), accept.clone()]), [&ours[..], &foreign].concat()),
        ("append", dirty, wanted(Append, &[drop.clone(), accept]), [&foreign[..], &ours].concat()),
        ("ufw came", ufw, wanted(Insert, &[drop]), vec![ours[0], "ufw-a", "ufw-a", "ufw-a"]),
        (
            "always appended",
            ufw,
            filter(Insert, vec![("cali-FORWARD", vec![])]),
            vec![
                "wUHhoiAYhphO9Mso cali-FORWARD",
                "ufw-a",
                "ufw-a",
                "ufw-a",
                "qNsBylRkftPwO3XF DROP",
                "IQ9H0Scq00rF0w4S ACCEPT",
            ],
        ),
        (
            "always appended behind appended",
            ufw,
            filter(Append, vec![("cali-FORWARD", vec![])]),
            vec![
                "ufw-a",
                "ufw-a",
                "ufw-a",
                "wUHhoiAYhphO9Mso cali-FORWARD",
                "qNsBylRkftPwO3XF DROP",
                "IQ9H0Scq00rF0w4S ACCEPT",
            ],
        ),
    ];
    for (case, before, wanted, expected) in rows {
        let (_, kernel) = carried_out(&wanted, &FakeKernel::with(V4, Filter, before, ""));
        let save = kernel.save_table(V4, Filter);
        let forward: Vec<String> =
            save.lines().filter_map(|line| line.strip_prefix("-A FORWARD ")).map(short).collect();
        assert_eq!(forward, expected, "{case}");
        let stray = save.lines().filter(|line| line.contains("felix-") || line.contains("stale")).count();
        assert_eq!(stray, 0, "{case}: {save}");
        assert!(before != dirty || save.contains("-A foreign -j RETURN\n"), "{case}: {save}");
    }
}

/// The id and the target.
fn short(rule: &str) -> String {
    let words: Vec<&str> = rule.split(' ').collect();
    let id = words.iter().find_map(|word| word.strip_prefix("\"cali:"));
    let id = id.map(|id| id.trim_end_matches('"'));
    id.into_iter().chain(words.last().copied()).collect::<Vec<_>>().join(" ")
}

#[test]
fn tables_are_written_in_order_and_only_of_wanted_families() {
    let ruleset = |version| {
        let table = |name| {
            let hooks = vec![Hook { chain: "OUTPUT", rules: vec![jump("cali-OUTPUT")], appended: vec![] }];
            Arc::new(Table { name, hooks, chains: chains(vec![("cali-OUTPUT", vec![])]) })
        };
        Arc::new(Ruleset { version, sets: SharedMap::new(), tables: [Filter, Nat, Raw].map(table).to_vec() })
    };
    let both = Desired { rulesets: vec![ruleset(V6), ruleset(V4)], insert_mode: Insert, routes: None };
    let order = |plan: &Plan| -> Vec<(IpVersion, TableName)> {
        let table = |step: &Step| match step {
            Step::Table(changes) => Some((changes.version(), changes.table())),
            Step::Sets(_) | Step::RemoveMembers(..) | Step::RemoveSets(_) => None,
        };
        plan.steps().filter_map(table).collect()
    };
    let first = plan(&both, &Programmed::default());
    assert_eq!(order(&first), [(V4, Raw), (V4, Nat), (V4, Filter), (V6, Raw), (V6, Nat), (V6, Filter)]);
    let without_v6 = desired(V4, Insert, vec![], vec![]);
    let clean_up = plan(&without_v6, &Programmed::default().after(&first));
    assert_eq!(order(&clean_up), [(V4, Raw), (V4, Nat), (V4, Filter)]);
}

/// What was written is not looked at again, unless the kernel was.
#[test]
fn what_is_read_back_counts_for_more_than_what_was_written() {
    let chains = chains(vec![("cali-FORWARD", vec![plain(Target::Accept)])]);
    let hooks = vec![Hook { chain: "FORWARD", rules: vec![jump("cali-FORWARD")], appended: vec![] }];
    let tables = vec![Table { name: Filter, hooks, chains }];
    let wanted = desired(V4, Insert, vec![nets(V4, "s:a", 10, &[])], tables);
    let written = Programmed::default().after(&plan(&wanted, &Programmed::default()));
    assert!(plan(&wanted, &written).is_empty());
    let mut without_sets = written.clone();
    without_sets.read_sets("").unwrap();
    assert!(texts(&plan(&wanted, &without_sets)).contains(&format!("create {}", set_name(V4, "s:a"))));
    let mut without_table = written;
    without_table.read_table(V4, Filter, "*filter\nCOMMIT\n").unwrap();
    let changes = texts(&plan(&wanted, &without_table));
    assert!(changes.contains("-A cali-FORWARD") && changes.contains("-I FORWARD"), "{changes}");
}
