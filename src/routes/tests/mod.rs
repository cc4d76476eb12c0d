//! A host told resources as YAML, and its routes as `ip route` has them.

mod cluster;
mod local;

use std::sync::Arc;

use super::{Link, RouteSet, Told, Uplinks, desired};
use crate::config::{Config, Source};
use crate::datastore::yaml;
use crate::model::{Update, decode};
use crate::policy::{Calc, HostPolicy, Settings};

/// The host that is asked about.
const HOST: &str = "a";

/// Resources, interfaces and parameters.
struct World {
    documents: String,
    uplinks: Uplinks,
    config: Config,
}

impl World {
    fn new(documents: &[String]) -> Self {
        Self { documents: documents.concat(), uplinks: Uplinks::default(), config: Config::default() }
    }

    /// `name: index address/length …`; these are all.
    fn links(mut self, links: &[&str]) -> Self {
        self.uplinks = Uplinks { links: links.iter().map(|text| link(text)).collect(), ..self.uplinks };
        self.uplinks.complete = true;
        self
    }

    /// Interfaces as `--uplink` takes them; these are all.
    fn told(mut self, told: &[&str]) -> Self {
        let told: Vec<Told> = told.iter().map(|text| text.parse().expect("an uplink")).collect();
        self.uplinks = Uplinks { complete: true, ..Uplinks::told(&told) };
        self
    }

    /// `Name=value`
    fn set(mut self, parameters: &[&str]) -> Self {
        let (source, slips) = Source::flags(parameters.iter().copied());
        assert!(slips.is_empty(), "{slips:?}");
        let resolved = Config::resolve(&[source]);
        assert!(resolved.problems.is_empty(), "{:?}", resolved.problems);
        self.config = resolved.config;
        self
    }

    fn policy(&self) -> HostPolicy {
        let reading = yaml::parse(&"test.yaml".into(), &self.documents.as_str().into());
        assert!(reading.errors.is_empty(), "{}\n{:?}", self.documents, reading.errors);
        let mut calc = Calc::new(HOST.into());
        for entry in &reading.entries {
            let decoded = decode(entry);
            let resource = decoded.resource().unwrap_or_else(|| panic!("{:?}", decoded.diagnostics));
            calc.apply(Update::Put(Arc::new(resource.clone())));
        }
        calc.desired(Settings::from(&self.config)).clone()
    }

    fn made(&self) -> RouteSet {
        desired(&self.policy(), &self.uplinks, &self.config)
    }

    /// The routes, then behind `!` what is held back.
    fn lines(&self) -> Vec<String> {
        let RouteSet { routes, held_back, .. } = self.made();
        let held = held_back.iter().map(|held| format!("! {held}"));
        routes.values().map(|wanted| wanted.route.to_string()).chain(held).collect()
    }

    /// The lines without protocol and metric, which are the same everywhere.
    fn short(&self) -> Vec<String> {
        let short =
            |line: String| line.replace(" proto 80 metric 1024", "").replace(" proto boot metric 1024", "");
        self.lines().into_iter().map(short).collect()
    }
}

/// `name: index address/length …`, or `name: down`; `mtu=N` may stand among the addresses.
fn link(text: &str) -> Link {
    let (name, rest) = text.split_once(": ").expect("a name");
    let mut words = rest.split(' ').peekable();
    let up = words.next_if(|word| *word == "down").is_none();
    let index = words.next().map_or(0, |index| index.parse().expect("an index"));
    let (mtu, addresses): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with("mtu="));
    Link {
        name: name.into(),
        index,
        up,
        mtu: mtu.first().map(|mtu| mtu["mtu=".len()..].parse().expect("an MTU")),
        addresses: addresses.iter().map(|net| net.parse().expect("a network")).collect(),
    }
}

fn v3(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{{metadata}}}, spec: {{{spec}}}}}\n"
    )
}

fn pool(cidr: &str, rest: &str) -> String {
    let name: String = cidr.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    v3("IPPool", &format!("name: p{name}"), &format!("cidr: '{cidr}', {rest}"))
}

fn node(name: &str, bgp: &str) -> String {
    v3("Node", &format!("name: {name}"), &format!("bgp: {{{bgp}}}"))
}

/// `lent` has an address of the block each: `ordinal=node`.
fn block(cidr: &str, node: &str, lent: &[(u8, &str)]) -> String {
    let last = lent.iter().map(|(ordinal, _)| *ordinal + 1).max().unwrap_or_default();
    let attribute = |ordinal| lent.iter().position(|(lent, _)| *lent == ordinal);
    let allocations: Vec<String> =
        (0..last).map(|ordinal| attribute(ordinal).map_or("~".to_owned(), |at| at.to_string())).collect();
    let attributes: Vec<String> =
        lent.iter().map(|(_, node)| format!("{{secondary: {{node: {node}}}}}")).collect();
    v3(
        "IPAMBlock",
        "name: b",
        &format!(
            "cidr: '{cidr}', affinity: 'host:{node}', allocations: [{}], attributes: [{}]",
            allocations.join(", "),
            attributes.join(", ")
        ),
    )
}

/// An endpoint with the interface `cali-<pod>`, unless `rest` names another.
fn workload(node: &str, pod: &str, rest: &str) -> String {
    let interface =
        if rest.contains("interfaceName") { String::new() } else { format!("interfaceName: cali-{pod}, ") };
    v3(
        "WorkloadEndpoint",
        &format!("name: {node}-k8s-{pod}-eth0, namespace: ns"),
        &format!("node: {node}, orchestrator: k8s, pod: {pod}, endpoint: eth0, {interface}{rest}"),
    )
}

const NONE: &[&str] = &[];
