//! Random states of one table, its sets and chains: any becomes any other.

use proptest::prelude::*;

use super::*;

/// Chains that the random ones are drawn from; each may jump to those behind it.
const CHAINS: [&str; 6] = ["cali-FORWARD", "cali-a", "cali-b", "cali-c", "cali-d", "cali-e"];

prop_compose! {
    /// Any desired state of one table over a few sets, chains and rules.
    fn any_desired()(
        rules in prop::collection::vec((any::<bool>(), prop::collection::vec(0..9_usize, 0..4)), CHAINS.len()),
        sets in prop::collection::vec((0..4_u8, prop::collection::btree_set(0..8_u8, 0..5)), 3),
        appended in 0..3_usize,
        append in any::<bool>(),
        v6 in any::<bool>(),
    ) -> Desired {
        let version = if v6 { V6 } else { V4 };
        let sets: Vec<KernelSet> = sets
            .iter()
            .enumerate()
            .filter_map(|(index, (kind, members))| any_set(version, index, *kind, members.iter().copied()))
            .collect();
        let wanted: Vec<&'static str> =
            CHAINS.iter().zip(&rules).filter(|(_, (wanted, _))| *wanted).map(|(name, _)| *name).collect();
        let any_rule = |choice: usize, name: &str| match choice {
            0 => plain(Target::Accept),
            1 => plain(Target::Drop),
            2..=4 => sets.get(choice - 2).map_or_else(|| plain(Target::Return), |set| drop_from(&set.name)),
            choice => wanted
                .iter()
                .filter(|other| ***other > *name)
                .nth(choice - 5)
                .map_or_else(|| plain(Target::Return), |other| jump(other)),
        };
        let of_chain = |name: &'static str| {
            let index = CHAINS.iter().position(|other| *other == name).unwrap();
            (name, rules[index].1.iter().map(|choice| any_rule(*choice, name)).collect())
        };
        let hook = Hook {
            chain: "FORWARD",
            rules: wanted.first().map(|first| jump(first)).into_iter().collect(),
            appended: vec![plain(Target::Accept); appended],
        };
        let chains = chains(wanted.iter().map(|name| of_chain(name)).collect());
        let mode = if append { Append } else { Insert };
        desired(version, mode, sets, vec![Table { name: Filter, hooks: vec![hook], chains }])
    }
}

/// None for the first kind; then two types, and two sizes of one.
fn any_set(
    version: IpVersion,
    index: usize,
    kind: u8,
    members: impl Iterator<Item = u8>,
) -> Option<KernelSet> {
    let id = format!("s:{index}");
    let address = |last: u8| match version {
        V4 => format!("10.0.0.{last}"),
        V6 => format!("fd00::{last}"),
    };
    let addresses: Vec<String> = members.map(address).collect();
    let of_nets = |max| {
        let hosts: Vec<String> = addresses
            .iter()
            .map(|address| format!("{address}/{}", if version == V4 { 32 } else { 128 }))
            .collect();
        nets(version, &id, max, &hosts.iter().map(String::as_str).collect::<Vec<_>>())
    };
    match kind {
        0 => None,
        1 => Some(of_nets(10)),
        2 => Some(of_nets(20)),
        _ => {
            let members: Vec<_> =
                addresses.iter().map(|address| (address.as_str(), TransportProtocol::Udp, 53)).collect();
            Some(ports(version, &id, &members))
        }
    }
}

/// What is equal in states that follow each other is one value, as a compiler gives it.
fn sharing(states: Vec<Desired>) -> Vec<Desired> {
    let mut shared: Vec<Desired> = Vec::new();
    for Desired { rulesets, insert_mode, routes } in states {
        let known = || shared.iter().flat_map(|state| &state.rulesets);
        let share = |ruleset: &Arc<Ruleset>| {
            let Ruleset { version, sets, tables } = &**ruleset;
            let sets = sets.values().map(|set| {
                let same = known().filter_map(|known| known.sets.get(&set.name)).find(|known| *known == set);
                (set.name.clone(), Arc::clone(same.unwrap_or(set)))
            });
            let table = |table: &Arc<Table>| {
                let Table { name, hooks, chains } = &**table;
                let chains = chains.values().map(|chain| {
                    let tables = known().flat_map(|known| &known.tables);
                    let same = tables.filter_map(|table| table.chains.get(&chain.name)).find(|c| *c == chain);
                    (chain.name.clone(), Arc::clone(same.unwrap_or(chain)))
                });
                Arc::new(Table { name: *name, hooks: hooks.clone(), chains: chains.collect() })
            };
            let (sets, tables) = (sets.collect(), tables.iter().map(table).collect());
            Arc::new(Ruleset { version: *version, sets, tables })
        };
        let rulesets = rulesets.iter().map(share).collect();
        shared.push(Desired { rulesets, insert_mode, routes });
    }
    shared
}

/// What was read back is to be deleted in the tool's own words.
fn said(plan: &Plan) -> String {
    texts(plan).replace(" --jump ", " -j ")
}

/// Takes note that a step was carried out, as [`Programmed::after`] does of all.
fn take(programmed: &mut Programmed, step: &Step) {
    match step {
        Step::Sets(changes) | Step::RemoveMembers(_, changes) => changes.apply(programmed),
        Step::Table(changes) => changes.apply(programmed),
        Step::RemoveSets(removals) => removals.apply(programmed),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was there, the plan is accepted and leaves nothing to do, and the kernel has what it would have had
    /// from nothing.
    #[test]
    fn any_state_becomes_any_other(
        states in prop::collection::vec(any_desired(), 1..5),
        share in any::<bool>(),
    ) {
        let states = if share { sharing(states) } else { states };
        let foreign = "*filter\n-A FORWARD --jump ACCEPT\n-A FORWARD --jump DROP\nCOMMIT\n";
        for version in [V4, V6] {
            let fresh = FakeKernel::with(version, Filter, foreign, "create foreign hash:net family inet");
            let mut kernel = fresh.clone();
            let mut remembered = kernel.read_back();
            for state in states.iter().filter(|state| state.rulesets[0].version == version) {
                let changes = plan(state, &remembered);
                prop_assert_eq!(texts(&changes), texts(&plan(state, &remembered)));
                prop_assert_eq!(said(&changes), said(&plan(state, &kernel.read_back())));
                kernel = carried_out(state, &kernel).1;
                remembered = remembered.after(&changes);
                prop_assert!(plan(state, &remembered).is_empty());
                let (_, from_nothing) = carried_out(state, &fresh);
                prop_assert_eq!(kernel.save_table(version, Filter), from_nothing.save_table(version, Filter));
                prop_assert_eq!(kernel.save_sets(), from_nothing.save_sets());
            }
        }
    }

    /// Of some plans only the first steps are carried out: the next plan is that for what is there then.
    #[test]
    fn what_was_not_carried_out_is_not_remembered(
        states in prop::collection::vec(any_desired(), 1..6),
        steps in prop::collection::vec(0..5_usize, 6),
    ) {
        let fresh = FakeKernel::with(V4, Filter, "*filter\n-A FORWARD --jump ACCEPT\nCOMMIT\n", "");
        let mut kernel = fresh.clone();
        let mut remembered = kernel.read_back();
        let states = sharing(states).into_iter().filter(|state| state.rulesets[0].version == V4);
        for (state, steps) in states.zip(steps) {
            let changes = plan(&state, &remembered);
            prop_assert_eq!(said(&changes), said(&plan(&state, &kernel.read_back())));
            for step in changes.steps().take(steps) {
                kernel.run_step(step);
                take(&mut remembered, step);
            }
        }
    }
}
