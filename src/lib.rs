//! An iptables/ipset policy compiler and enforcer, drop-in on Calico's datastore.
//!
//! # Words
//!
//! A *selector* is an expression over labels; it selects *endpoints* (interfaces of workloads and hosts). A *rule*
//! allows, denies, logs or passes packets that match all it asks. A *policy* has a selector and rules for each direction; it governs
//! the endpoints that it selects. *Tiers* put policies into an order: in each, the first rule that matches
//! decides; where policies of a tier govern an endpoint and none decides, the tier's default does. *Profiles* give
//! endpoints labels, and decide what no tier has decided. An *IP set* is what a selector has become: the addresses of all that it
//! selects. A *chain* is a list of iptables rules, a *table* holds chains, a *mark* is what chains tell each other by.
//! A *plan* is what must be written to make a kernel be as desired.
//!
//! # Stages
//!
//! Folders in the order in which data flows; each imports only from those before it.
//!
//! | stage | from | to |
//! | --- | --- | --- |
//! | [`config`] | settings of all sources | one typed `Config` |
//! | [`datastore`] | files, streams | `Event`s: documents that know their place |
//! | [`labels`] | selector text | `Selector`, and the index of who matches |
//! | [`model`] | documents | typed, valid resources, and diagnostics |
//! | [`policy`] | resources | `HostPolicy`: what one host must enforce |
//! | [`routes`] | `HostPolicy`, interfaces | `RouteSet`: routes, neighbours and the tunnel with the reason of each |
//! | [`rules`] | `HostPolicy` | `Ruleset`: chains and sets with the reason of every rule |
//! | [`sync`] | wanted and programmed | `Plan`: the texts that the real tools are given |
//! | [`system`] | the plan's texts | a kernel that has what they say |
//! | [`telemetry`] | what the daemon did and found | metrics and health, as values |
//! | [`verdict`] | `HostPolicy`, `Ruleset` or saved text, and a packet | what becomes of it, and why |
//!
//! [`cli`] is the door. Reading is `datastore`'s and `cli`'s, writing is `system`'s; all between are functions of values.
//!
//! # Example
//!
//! ```
//! use felix_rs::{Pipeline, datastore::yaml};
//!
//! let manifest = "
//! apiVersion: v1
//! kind: workloadEndpoint
//! metadata: {name: eth0, node: host-1, orchestrator: demo, workload: web, labels: {role: web}}
//! spec: {interfaceName: cali1, ipNetworks: [10.0.0.1/32]}
//! ---
//! apiVersion: v1
//! kind: policy
//! metadata: {name: web}
//! spec: {selector: role == 'web', ingress: [{action: allow, protocol: tcp, destination: {ports: [80]}}]}
//! ";
//! let mut pipeline = Pipeline::new("host-1".into(), Vec::new());
//! for event in yaml::parse(&"example.yaml".into(), &manifest.into()).into_events() {
//!     pipeline.take(&event);
//! }
//! let desired = pipeline.desired()?;
//! let plan = felix_rs::sync::plan(&desired, &felix_rs::sync::Programmed::default());
//! assert!(plan.steps().any(|step| step.text().contains("-p tcp -m multiport --destination-ports 80")));
//! assert!(pipeline.diagnostics().is_empty());
//! # Ok::<(), felix_rs::rules::CompileError>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::dbg_macro,
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::iter_over_hash_type,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used,
    )
)]

pub mod cli;
pub mod config;
pub mod datastore;
pub mod labels;
pub mod model;
pub mod policy;
pub mod routes;
pub mod rules;
pub mod sync;
pub mod system;
pub mod telemetry;
pub mod verdict;

use std::sync::Arc;

use config::{Config, ConfigProblem, InvalidObjects, Resolved, Source};
use datastore::Event;
use model::{Catalog, Diagnostic, Effect, IpVersion, Readiness, ResourceId, Update};
use policy::{Calc, HostPolicy, Settings, lint};
use routes::{RouteSet, Uplinks};
use rules::{CompileError, Compiler};
use sync::Desired;

/// The whole program: events of a source in, what the kernel of one host should hold out.
pub struct Pipeline {
    host: Arc<str>,
    /// From outside the datastore.
    sources: Vec<Source>,
    catalog: Catalog,
    calc: Calc,
    /// As last resolved.
    config: Config,
    problems: Vec<ConfigProblem>,
    /// What `config` is resolved from has changed since.
    reconfigure: bool,
    compiler: Compiler,
    uplinks: Uplinks,
    /// As last made.
    routes: Option<Arc<RouteSet>>,
    /// What `routes` are made of has changed since.
    reroute: bool,
}

impl Pipeline {
    /// For one host, configured by `sources` and by what the datastore will say.
    pub fn new(host: Arc<str>, sources: Vec<Source>) -> Self {
        let calc = Calc::new(Arc::clone(&host));
        Self {
            host,
            sources,
            catalog: Catalog::new(),
            calc,
            config: Config::default(),
            problems: Vec::new(),
            reconfigure: true,
            compiler: Compiler::default(),
            uplinks: Uplinks::default(),
            routes: None,
            reroute: true,
        }
    }

    /// The host that this is for.
    pub fn host(&self) -> Arc<str> {
        Arc::clone(&self.host)
    }

    /// Takes note of one event.
    pub fn take(&mut self, event: &Event) {
        for update in self.catalog.take(event) {
            self.reconfigure |= model::configures(&self.host, &update);
            self.reroute |= reroutes(&update);
            self.calc.apply(update);
        }
    }

    /// Takes note of what is known of the host's interfaces; at first nothing is.
    pub fn see(&mut self, uplinks: Uplinks) {
        self.reroute |= self.uplinks != uplinks;
        self.uplinks = uplinks;
    }

    /// What the kernel should hold after all that was taken.
    ///
    /// # Errors
    ///
    /// Where no chains can be made that do what the policy says: see [`CompileError`].
    pub fn desired(&mut self) -> Result<Desired, CompileError> {
        self.configure();
        let config = &self.config;
        let policy = self.calc.desired(Settings::from(config));
        let versions =
            [IpVersion::V4, IpVersion::V6].into_iter().take(if config.ipv6_support { 2 } else { 1 });
        let rulesets = versions
            .map(|version| self.compiler.compile(policy, config, version))
            .collect::<Result<_, _>>()?;
        let insert_mode = config.chain_insert_mode;
        if std::mem::take(&mut self.reroute) {
            let routes = routes::desired(policy, &self.uplinks, config);
            let same = self.routes.take().filter(|before| **before == routes);
            self.routes = same.or_else(|| Some(Arc::new(routes)));
        }
        Ok(Desired { rulesets, insert_mode, routes: self.routes.clone() })
    }

    /// What the host must enforce, as of the last [`Pipeline::desired`].
    pub fn policy(&self) -> &HostPolicy {
        self.calc.desired_now()
    }

    /// The parameters in force, as of the last [`Pipeline::desired`].
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether what was taken is of a store that is set up. Manifests need not say so.
    pub fn readiness(&self) -> Readiness {
        model::readiness(&self.catalog)
    }

    /// All that is wrong with what was taken, or worth saying, as of the last [`Pipeline::desired`].
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let prefixes = &self.config.interface_prefixes;
        let enforced = self.calc.desired_now();
        let mut diagnostics = lint::on_host(&self.host, self.catalog.resources(), enforced, prefixes);
        self.catalog.illustrate(&mut diagnostics);
        diagnostics.extend(self.catalog.diagnostics());
        if self.config.invalid_objects == InvalidObjects::Ignore {
            for diagnostic in &mut diagnostics {
                diagnostic.effect = diagnostic.effect.map(Effect::ignored);
            }
        }
        diagnostics.extend(self.problems.iter().map(Diagnostic::from));
        diagnostics.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        diagnostics
    }

    fn configure(&mut self) {
        if !std::mem::take(&mut self.reconfigure) {
            return;
        }
        let stored = model::configuration(&self.host, self.catalog.resources());
        let Resolved { config, etcd: _, values: _, problems } =
            Config::resolve(&[self.sources.as_slice(), &stored].concat());
        self.reroute |= self.config != config;
        self.config = config;
        self.problems = problems;
    }
}

/// Whether routes may be others after the update. They are no business of policies, whose changes must not wait for them.
pub(crate) fn reroutes(update: &Update) -> bool {
    let id = match update {
        Update::Put(resource) => resource.id(),
        Update::Delete(id) => id.clone(),
    };
    match id {
        ResourceId::WorkloadEndpoint(_)
        | ResourceId::IpPool(_)
        | ResourceId::Node(_)
        | ResourceId::BlockAffinity(_)
        | ResourceId::IpamBlock(_) => true,
        // Configuration is compared when it is resolved.
        ResourceId::Config(_) | ResourceId::ClusterInformation(_) => false,
        ResourceId::Tier(_)
        | ResourceId::Policy(_)
        | ResourceId::Profile(_)
        | ResourceId::NetworkSet(_)
        | ResourceId::HostEndpoint(_)
        | ResourceId::Ready => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datastore::yaml;

    /// Each may change routes, or may not.
    const STEPS: [(&str, bool); 9] = [
        ("kind: IPPool\nmetadata: {name: p}\nspec: {cidr: 10.0.0.0/16, ipipMode: Never}", true),
        ("kind: Node\nmetadata: {name: a}\nspec: {bgp: {ipv4Address: 172.16.0.1/24}}", true),
        ("kind: Node\nmetadata: {name: b}\nspec: {bgp: {ipv4Address: 172.16.0.2/24}}", true),
        ("kind: IPAMBlock\nmetadata: {name: one}\nspec: {cidr: 10.0.0.0/26, affinity: 'host:a'}", true),
        (
            "kind: BlockAffinity\nmetadata: {name: two}\nspec: {cidr: 10.0.0.64/26, node: b, state: confirmed}",
            true,
        ),
        (
            "kind: WorkloadEndpoint\nmetadata: {namespace: default}\nspec: {node: a, orchestrator: k8s, pod: web, \
             endpoint: eth0, interfaceName: cali1, ipNetworks: [10.0.0.1/32]}",
            true,
        ),
        ("kind: GlobalNetworkPolicy\nmetadata: {name: p}\nspec: {selector: all()}", false),
        ("kind: FelixConfiguration\nmetadata: {name: default}\nspec: {logPrefix: said}", true),
        ("kind: FelixConfiguration\nmetadata: {name: default}\nspec: {logPrefix: said}", false),
    ];

    fn take(pipeline: &mut Pipeline, number: usize, document: &str) {
        let text = format!("apiVersion: projectcalico.org/v3\n{document}\n");
        for event in yaml::parse(&format!("{number}.yaml").as_str().into(), &text.into()).into_events() {
            pipeline.take(&event);
        }
    }

    #[test]
    fn routes_are_made_anew_only_of_what_they_are_made_of() {
        let mut pipeline = Pipeline::new("a".into(), Vec::new());
        let routes = |pipeline: &mut Pipeline| pipeline.desired().unwrap().routes.unwrap();
        routes(&mut pipeline);
        for (at, (document, expected)) in STEPS.iter().enumerate() {
            take(&mut pipeline, at, document);
            pipeline.configure();
            assert_eq!(pipeline.reroute, *expected, "{document}");
            let mut anew = Pipeline::new("a".into(), Vec::new());
            for (number, (document, _)) in STEPS.iter().enumerate().take(at + 1) {
                take(&mut anew, number, document);
            }
            assert_eq!(routes(&mut pipeline), routes(&mut anew), "{document}");
        }
        assert_eq!(routes(&mut pipeline).routes.len(), 3);
        let uplinks = Uplinks { complete: true, ..Uplinks::default() };
        for (expected, number) in [(true, 1), (false, 1)] {
            pipeline.see(uplinks.clone());
            assert_eq!(pipeline.reroute, expected);
            // All interfaces are known, and there is none.
            assert_eq!(routes(&mut pipeline).routes.len(), number);
        }
    }
}
