//! How long each stage takes for clusters of three sizes, and the whole program from start to end: `cargo bench`.

mod generate;

use std::fmt;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use felix_rs::Pipeline;
use felix_rs::config::Config;
use felix_rs::datastore::{Event, yaml};
use felix_rs::labels::{LabelIndex, Selector};
use felix_rs::model::{Catalog, IpVersion, Resource, Update, WorkloadEndpoint};
use felix_rs::policy::{Calc, Settings};
use felix_rs::rules;
use felix_rs::sync::{Programmed, plan};
use felix_rs::verdict::chains::machine::{Machine, Verdict};
use felix_rs::verdict::chains::program::{Policy, Program};
use felix_rs::verdict::check::boundary::boundary_packets;
use felix_rs::verdict::packet::Packet;
use felix_rs::verdict::policy::judge::{Judge, Ruling};
use generate::HOST;

fn main() {
    divan::main();
}

/// A cluster.
#[derive(Clone, Copy)]
struct Size {
    endpoints: usize,
    /// Of the endpoints, those on the host that is compiled for.
    local: usize,
    policies: usize,
}

const SIZES: [Size; 3] = [
    Size { endpoints: 100, local: 10, policies: 10 },
    Size { endpoints: 1_000, local: 100, policies: 100 },
    Size { endpoints: 10_000, local: 100, policies: 1_000 },
];

const SELECTOR: &str = r#"! (a == "b"&&! c != "d") || !(a == "b" && !c != "d")"#;

#[divan::bench]
fn selector_parse() -> Selector {
    Selector::parse(black_box(SELECTOR)).expect("a selector")
}

#[divan::bench]
fn selector_evaluate(bencher: Bencher<'_, '_>) {
    let selector = Selector::parse(SELECTOR).expect("a selector");
    bencher.bench(|| selector.matches(&|label| (black_box(label) == "c").then_some("d")));
}

/// All endpoints, then all selectors of policies and of their rules.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn index_load(bencher: Bencher<'_, '_>, size: Size) {
    let resources = size.resources();
    bencher.bench(|| {
        let mut index = LabelIndex::<usize, Arc<str>>::default();
        for (number, endpoint) in resources.iter().filter_map(workload).enumerate() {
            index.set_item(number, &endpoint.labels, &endpoint.profiles);
        }
        for selector in resources.iter().flat_map(selectors) {
            index.add_selector(selector.canonical().into(), selector.clone());
        }
        index
    });
}

#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn yaml_parse(bencher: Bencher<'_, '_>, size: Size) {
    let files = size.files();
    bencher.bench(|| files.iter().map(|(name, text)| yaml::parse(name, text).entries.len()).sum::<usize>());
}

#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn decode(bencher: Bencher<'_, '_>, size: Size) {
    let events = size.events();
    bencher.with_inputs(Catalog::new).bench_refs(|catalog| {
        events.iter().for_each(|event| drop(black_box(catalog.take(event))));
    });
}

/// From resources to what the host must enforce.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn settle(bencher: Bencher<'_, '_>, size: Size) {
    let updates = size.updates();
    bencher.with_inputs(|| (Calc::new(HOST.into()), updates.clone())).bench_values(|(mut calc, updates)| {
        updates.into_iter().for_each(|update| calc.apply(update));
        black_box(calc.desired(Settings::default()));
        calc
    });
}

/// What the host must enforce after one label of a local endpoint has changed.
#[divan::bench(args = SIZES)]
fn settle_one_label(bencher: Bencher<'_, '_>, size: Size) {
    let mut calc = size.settled();
    let mut catalog = Catalog::new();
    let mut versions = size.a_changing_label().map(|event| catalog.take(&event)).into_iter().cycle();
    bencher.bench_local(move || {
        versions.next().into_iter().flatten().for_each(|update| calc.apply(update));
        black_box(calc.desired(Settings::default()));
    });
}

/// Chains and sets of one family.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn compile(bencher: Bencher<'_, '_>, size: Size) {
    let calc = size.settled();
    let config = Config::resolve(&[]).config;
    bencher.bench_local(|| rules::compile(calc.desired_now(), &config, IpVersion::V4).expect("chains"));
}

/// The texts of a plan against nothing, both families.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn plan_text(bencher: Bencher<'_, '_>, size: Size) {
    let desired = size.pipeline().desired().expect("chains");
    bencher.bench(|| {
        let plan = plan(&desired, &Programmed::default());
        plan.steps().map(|step| step.text().len()).sum::<usize>()
    });
}

/// From one event to the plan for a kernel that has all else, both families, and to what the kernel has then. The event
/// and its opposite take turns.
#[divan::bench(args = OnHost::all(), sample_count = 20, sample_size = 1)]
fn event_to_plan(bencher: Bencher<'_, '_>, OnHost { local, change }: OnHost) {
    let size = Size { endpoints: 2 * local, local, policies: 200 };
    let mut pipeline = size.pipeline();
    let before = pipeline.desired().expect("chains");
    let mut programmed = Programmed::default().after(&plan(&before, &Programmed::default()));
    let mut events = change.events(size).into_iter().cycle();
    bencher.bench_local(|| {
        events.next().iter().for_each(|event| pipeline.take(event));
        let desired = pipeline.desired().expect("chains");
        let plan = plan(&desired, &programmed);
        programmed = std::mem::take(&mut programmed).after(&plan);
        plan
    });
}

/// What happens on a host with so many endpoints.
#[derive(Clone, Copy)]
struct OnHost {
    local: usize,
    change: Change,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    /// A local endpoint has a label that policies select it by, or not.
    Label,
    /// A rule of a policy has another port.
    Rule,
    /// An endpoint of another host is in sets by a label, or not.
    Member,
    /// A local endpoint comes and goes.
    Endpoint,
}

impl OnHost {
    fn all() -> impl Iterator<Item = Self> {
        let changes = [Change::Nothing, Change::Label, Change::Rule, Change::Member, Change::Endpoint];
        changes.into_iter().flat_map(|change| [100, 1_000, 5_000].map(|local| Self { local, change }))
    }
}

impl fmt::Display for OnHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} local endpoints", self.change, self.local)
    }
}

impl Change {
    fn events(self, size: Size) -> Vec<Event> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Label => size.a_changing_label().into(),
            Self::Rule => size.changing("policies", 0, "ports: [service]", "ports: [8001]").into(),
            Self::Member => size.changing("endpoints", size.local, "app: app-", "app: other-").into(),
            Self::Endpoint => {
                let [_, endpoint] = size.changing("endpoints", size.local / 2, "", "");
                let Event::Put(entry) = &endpoint else { panic!("an endpoint") };
                vec![Event::Delete(entry.key.clone()), endpoint]
            }
        }
    }
}

/// Policies that select one endpoint, five rules each.
const POLICIES_AN_ENDPOINT: [usize; 3] = [10, 100, 1_000];

/// What the policy says of packets: boundary packets of all rules, both ways, and beside them.
#[divan::bench(args = POLICIES_AN_ENDPOINT, sample_count = 10, sample_size = 1)]
fn packets_by_policy(bencher: Bencher<'_, '_>, policies: usize) {
    let pipeline = with_policies(policies);
    let packets = some_packets(&pipeline);
    let judge = Judge::new(pipeline.policy(), pipeline.config());
    bencher
        .counter(ItemsCount::new(packets.len()))
        .bench_local(|| packets.iter().filter(|packet| judge.judge(packet).ruling == Ruling::Deny).count());
}

/// What the chains do with the same packets.
#[divan::bench(args = POLICIES_AN_ENDPOINT, sample_count = 10, sample_size = 1)]
fn packets_by_chains(bencher: Bencher<'_, '_>, policies: usize) {
    let pipeline = with_policies(policies);
    let packets = some_packets(&pipeline);
    let ruleset = rules::compile(pipeline.policy(), pipeline.config(), IpVersion::V4).expect("chains");
    let program = Program::compiled(&ruleset, Policy::Accept);
    let machine = Machine::new(&program);
    let accepts = |packet: &&Packet| machine.verdict(packet).expect("an answer") == Some(Verdict::Accept);
    bencher.counter(ItemsCount::new(packets.len())).bench_local(|| packets.iter().filter(accepts).count());
}

/// The whole program: `felix-rs explain` of a flow between two hosts.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn explain_process(bencher: Bencher<'_, '_>, size: Size) {
    let folder = size.folder();
    let mut command = Command::new(env!("CARGO_BIN_EXE_felix-rs"));
    let (from, to) = ("10.64.0.1", "10.64.0.50");
    command.args(["explain", "--from", from, "--to", to, "--proto", "tcp", "--port", "80", "--datastore"]);
    command.arg(folder.path()).stdout(Stdio::null());
    bencher.bench_local(move || assert!(command.status().expect("the program starts").code() < Some(2)));
}

/// The whole program: `felix-rs diff` of two trees that differ in a port of one rule.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn diff_process(bencher: Bencher<'_, '_>, size: Size) {
    let (old, new) = (size.folder(), size.folder());
    let changed = new.path().join("policies-000.yaml");
    let text = fs::read_to_string(&changed).expect("policies");
    fs::write(&changed, text.replacen("ports: [service]", "ports: [8001]", 1)).expect("other policies");
    let mut command = Command::new(env!("CARGO_BIN_EXE_felix-rs"));
    command.arg("diff").args([old.path(), new.path()]).stdout(Stdio::null()).stderr(Stdio::null());
    bencher.bench_local(move || assert!(command.status().expect("the program starts").code() < Some(2)));
}

/// The whole program: `felix-rs render --verify` of a directory.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn render_verify_process(bencher: Bencher<'_, '_>, size: Size) {
    let folder = size.folder();
    let mut command = Command::new(env!("CARGO_BIN_EXE_felix-rs"));
    command.args(["render", "--verify", "--host", HOST, "--datastore"]).arg(folder.path());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    bencher.bench_local(move || assert!(command.status().expect("the program starts").success()));
}

/// The whole program: `felix-rs render` of a directory.
#[divan::bench(args = SIZES, sample_count = 10, sample_size = 1)]
fn render_process(bencher: Bencher<'_, '_>, size: Size) {
    let folder = size.folder();
    let mut command = Command::new(env!("CARGO_BIN_EXE_felix-rs"));
    command.args(["render", "--host", HOST, "--datastore"]).arg(folder.path()).stdout(Stdio::null());
    bencher.bench_local(move || assert!(command.status().expect("the program starts").success()));
}

/// A host with one endpoint that so many policies select.
fn with_policies(policies: usize) -> Pipeline {
    let files = generate::generate(200, 1, policies);
    let mut pipeline = Pipeline::new(HOST.into(), Vec::new());
    for (name, text) in files {
        let text =
            text.lines().map(|line| if line.starts_with("  selector:") { "  selector: all()" } else { line });
        let text: String = text.flat_map(|line| [line, "\n"]).collect();
        yaml::parse(&name.into(), &text.into()).into_events().for_each(|event| pipeline.take(&event));
    }
    pipeline.desired().expect("chains");
    pipeline
}

/// Some of the packets at the edges of the rules.
fn some_packets(pipeline: &Pipeline) -> Vec<Packet> {
    let all = boundary_packets(pipeline.policy(), pipeline.config(), IpVersion::V4);
    let step = all.len().div_ceil(2_000).max(1);
    all.into_iter().step_by(step).collect()
}

impl Size {
    /// A scratch folder with the manifests.
    fn folder(self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a scratch folder");
        for (name, text) in self.files() {
            fs::write(folder.path().join(&*name), &*text).expect("a file in it");
        }
        folder
    }

    fn files(self) -> Vec<(Arc<str>, Arc<str>)> {
        let files = generate::generate(self.endpoints, self.local, self.policies);
        files.into_iter().map(|(name, text)| (name.into(), text.into())).collect()
    }

    fn events(self) -> Vec<Event> {
        self.files().iter().flat_map(|(name, text)| yaml::parse(name, text).into_events()).collect()
    }

    /// An endpoint of the host with another label than it has, by which policies select it no more; and as it is.
    fn a_changing_label(self) -> [Event; 2] {
        self.changing("endpoints", 0, "app: app-", "app: other-")
    }

    /// The document of that number in files of that name, with `to` for `from`; and as it is.
    fn changing(self, files: &str, number: usize, from: &str, to: &str) -> [Event; 2] {
        let mut files: Vec<_> =
            self.files().into_iter().filter(|(name, _)| name.starts_with(files)).collect();
        let (name, text) = files.remove(number / generate::FILE);
        let start = text.match_indices("---").nth(number % generate::FILE).expect("so many documents").0;
        let changed = [&text[..start], &text[start..].replacen(from, to, 1)].concat().into();
        let number = number % generate::FILE;
        [changed, text].map(|text| yaml::parse(&name, &text).into_events().nth(number).expect("a document"))
    }

    fn updates(self) -> Vec<Update> {
        let mut catalog = Catalog::new();
        let updates = self.events().iter().flat_map(|event| catalog.take(event)).collect();
        assert!(catalog.diagnostics().is_empty());
        updates
    }

    fn resources(self) -> Vec<Arc<Resource>> {
        let put = |update| match update {
            Update::Put(resource) => Some(resource),
            Update::Delete(_) => None,
        };
        self.updates().into_iter().filter_map(put).collect()
    }

    fn settled(self) -> Calc {
        let mut calc = Calc::new(HOST.into());
        self.updates().into_iter().for_each(|update| calc.apply(update));
        calc.desired(Settings::default());
        calc
    }

    fn pipeline(self) -> Pipeline {
        let mut pipeline = Pipeline::new(HOST.into(), Vec::new());
        self.events().iter().for_each(|event| pipeline.take(event));
        pipeline
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} endpoints, {} policies", self.endpoints, self.policies)
    }
}

fn workload(resource: &Arc<Resource>) -> Option<&WorkloadEndpoint> {
    match &**resource {
        Resource::WorkloadEndpoint(endpoint) => Some(endpoint),
        _ => None,
    }
}

/// Those of a policy and of its rules.
fn selectors(resource: &Arc<Resource>) -> Vec<&Selector> {
    let Resource::Policy(policy) = &**resource else { return Vec::new() };
    let rules = policy.ingress.iter().chain(&policy.egress);
    let of_rules = rules.flat_map(|rule| [&rule.source.selector, &rule.destination.selector]).flatten();
    [&policy.selector].into_iter().chain(of_rules).collect()
}
