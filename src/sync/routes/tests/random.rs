//! From any state to any other: nothing is left to do, and nobody else's is touched.

use proptest::prelude::*;

use super::super::KernelRoute;
use super::super::ownership::is_ours;
use super::*;

const DESTINATIONS: [&str; 6] =
    ["10.0.0.1/32", "10.0.1.0/26", "10.0.1.7/32", "fd00::1/128", "fd00::40/122", "fd00::41/128"];

/// A route in the kernel, of anybody.
fn there() -> impl Strategy<Value = String> {
    let ways = prop::sample::select(vec![
        "dev cali1 scope link",
        "dev cali2 scope link",
        "dev eth0 scope link",
        "via GATEWAY dev eth0",
        "via GATEWAY dev tunl0 onlink",
        "several",
        "hole",
    ]);
    let protocols = prop::sample::select(vec![2, 3, 4, 12, 80, 99]);
    let metrics = prop::sample::select(vec![5, 1024]);
    (0..DESTINATIONS.len(), ways, protocols, metrics).prop_map(|(at, way, protocol, metric)| {
        text(DESTINATIONS[at], way, &format!("proto {protocol} metric {metric}"))
    })
}

/// One that is ours to write, by a named interface: what the kernel found is not remembered.
fn ours() -> impl Strategy<Value = String> {
    let ways = prop::sample::select(vec![
        "dev cali1 scope link",
        "dev cali2 scope link",
        "via GATEWAY dev eth0",
        "via GATEWAY dev tunl0 onlink mtu 1440",
        "several",
        "hole",
    ]);
    (0..DESTINATIONS.len(), ways).prop_map(|(at, way)| {
        let protocol = if way.starts_with("dev") { 3 } else { 80 };
        text(DESTINATIONS[at], way, &format!("proto {protocol} metric 1024"))
    })
}

fn text(destination: &str, way: &str, rest: &str) -> String {
    let v6 = destination.contains(':');
    let way = way.replace("GATEWAY", if v6 { "fd16::2" } else { "172.16.0.2" });
    let way = if v6 { way.replace(" scope link", "") } else { way };
    if way == "hole" {
        format!("blackhole {destination} {rest}")
    } else if way == "several" {
        let [one, other] = if v6 { ["fd16::2", "fd16::3"] } else { ["172.16.0.2", "172.16.0.3"] };
        format!(
            "{destination} {rest} nexthop via {one} dev eth0 weight 1 nexthop via {other} dev eth0 weight 1"
        )
    } else {
        format!("{destination} {way} {rest}")
    }
}

fn routing() -> impl Strategy<Value = Routing> {
    let modes = prop::sample::select(vec![ClusterRoutes::Auto, ClusterRoutes::Enabled]);
    (modes, any::<bool>()).prop_map(|(cluster_routes, remove_external)| Routing {
        cluster_routes,
        remove_external,
        ..Routing::default()
    })
}

fn wanted_set() -> impl Strategy<Value = RouteSet> {
    let tunnel = (prop::option::of(Just(1440)), prop::option::of(prop::sample::select(vec![1_u8, 2])));
    let neighbours = prop::collection::btree_set((1_u8..3, 1_u8..3), 0..3);
    (routing(), prop::collection::vec(ours(), 0..4), tunnel, neighbours, any::<bool>()).prop_map(
        |(routing, routes, (mtu, address), neighbours, tunnelled)| {
            let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
            let mut set = with_routes(nothing(routing), &routes);
            let through = |route: &WantedRoute| route.route.to_string().contains("tunl0");
            let needs_tunnel = set.routes.values().any(through);
            set.tunnel = (tunnelled || needs_tunnel)
                .then(|| Tunnel { mtu, address: address.map(|last| [10, 0, 0, last].into()) });
            set.neighbours.extend(neighbours.into_iter().map(|(device, last)| {
                let neighbour = Neighbour { mac: MAC.into(), endpoint: endpoint() };
                ((format!("cali{device}").into(), [10, 0, 0, last].into()), neighbour)
            }));
            set
        },
    )
}

fn others(kernel: &ProgrammedRoutes, set: &RouteSet) -> Vec<KernelRoute> {
    let all = kernel.routes.values().flatten();
    all.filter(|route| !is_ours(&set.ownership, route)).cloned().collect()
}

/// Those of `destination` that are ours.
fn ours_there(kernel: &FakeKernel, set: &RouteSet, destination: &IpNet) -> usize {
    let there = kernel.has.routes.get(destination).map(Vec::as_slice).unwrap_or_default();
    there.iter().filter(|route| is_ours(&set.ownership, route)).count()
}

/// What is wanted and was there already is there after each step.
#[test]
fn no_step_leaves_a_gap() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) };
    let start = prop::collection::vec(there(), 0..8);
    proptest!(config, |(start in start, set in wanted_set())| {
        let start: Vec<&str> = start.iter().map(String::as_str).collect();
        let mut kernel = FakeKernel { has: programmed(&start) };
        let changes = plan(&set, &kernel.has);
        let withheld: BTreeSet<IpNet> = changes.withheld().iter().map(|one| one.destination).collect();
        let wanted = set.routes.keys().filter(|destination| !withheld.contains(destination));
        let kept: Vec<&IpNet> = wanted.filter(|to| ours_there(&kernel, &set, to) > 0).collect();
        for step in changes.steps() {
            kernel.run(&step.to_string());
            for destination in &kept {
                prop_assert!(ours_there(&kernel, &set, destination) > 0, "{destination}, after {step}");
            }
        }
    });
}

#[test]
fn any_state_becomes_any_other() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) };
    let start = prop::collection::vec(there(), 0..6);
    proptest!(config, |(start in start, states in prop::collection::vec(wanted_set(), 1..4))| {
        let start: Vec<&str> = start.iter().map(String::as_str).collect();
        let mut kernel = FakeKernel { has: programmed(&start) };
        let mut remembered = kernel.has.clone();
        for set in &states {
            let before = others(&kernel.has, set);
            let changes = plan(set, &remembered);
            prop_assert_eq!(plan(set, &kernel.has).text(), changes.text());
            kernel.run(&changes.text());
            remembered = remembered.after(&changes);
            // What this process gave is not to be seen in the kernel.
            kernel.has.given.clone_from(&remembered.given);
            prop_assert_eq!(plan(set, &remembered).text(), "");
            prop_assert_eq!(plan(set, &kernel.has).text(), "");
            prop_assert_eq!(others(&kernel.has, set), before);
            let withheld: BTreeSet<IpNet> = changes.withheld().iter().map(|one| one.destination).collect();
            for (destination, wanted) in &set.routes {
                let there = kernel.has.routes.get(destination).map(Vec::as_slice).unwrap_or_default();
                let is_there = there.iter().any(|one| one.is(&wanted.route));
                prop_assert!(is_there != withheld.contains(destination), "{}: {:?}", wanted.route, there);
            }
        }
    });
}
