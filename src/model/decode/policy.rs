//! Policies and profiles (reference §1.1, §1.5, §3.1; felix-2.1 §1.3, §1.4, §2.2).

use std::sync::Arc;

use super::fields::{Field, Form, Mistake, Object, Unknown};
use super::name::{self, named};
use super::rule::{Way, rules};
use super::{metadata, scalar, selector, stored};
use crate::datastore::Written;
use crate::labels::Selector;
use crate::model::{Labels, Order, Policy, PolicyId, PolicyKind, Profile, Rule, Stage, Types};

const GLOBAL: &[&str] = &[
    "tier",
    "order",
    "ingress",
    "egress",
    "selector",
    "types",
    "serviceAccountSelector",
    "namespaceSelector",
    "doNotTrack",
    "preDNAT",
    "applyOnForward",
    "performanceHints",
];

const NAMESPACED: &[&str] = &[
    "tier",
    "order",
    "ingress",
    "egress",
    "selector",
    "types",
    "serviceAccountSelector",
    "performanceHints",
];

const V1: &[&str] = &["order", "ingress", "egress", "selector", "doNotTrack"];

const DEFAULT_TIER: &str = "default";

/// Where a policy stands, what it selects, when it counts.
struct Scope {
    id: PolicyId,
    tier: Arc<str>,
    order: Order,
    selector: Selector,
    types: Types,
    stage: Stage,
}

/// A GlobalNetworkPolicy or NetworkPolicy. None where it can't be read which endpoints it is for.
pub(super) fn v3(document: &Object<'_>, kind: PolicyKind) -> Option<Policy> {
    let spec = match kind {
        PolicyKind::GlobalNetworkPolicy => document.object("spec", GLOBAL, Unknown::MisspeltRefused),
        PolicyKind::NetworkPolicy => document.object("spec", NAMESPACED, Unknown::MisspeltRefused),
    };
    let scope = v3_scope(document, &spec, kind);
    let needed_everywhere = needed_everywhere(&spec);
    let policy = policy(document, &spec, scope)?;
    Some(Policy { needed_everywhere, ..policy })
}

/// A policy of Felix 2.1: both directions, in the tier `default`.
pub(super) fn v1(document: &Object<'_>) -> Option<Policy> {
    let spec = document.object("spec", V1, Unknown::MisspeltRefused);
    let meta = document.object("metadata", &["name", "annotations"], Unknown::RefusedInManifest);
    let name = metadata::name(&meta, &name::NAMESPACED_WORD);
    let scope = v1_scope(document, &spec, name, "doNotTrack");
    policy(document, &spec, scope)
}

/// With any error it stands and denies in its directions. So it does with an unknown field, which may have narrowed
/// what it is for: then it denies on more endpoints than was meant, where absence would open what it denies.
fn policy(document: &Object<'_>, spec: &Object<'_>, scope: Option<Scope>) -> Option<Policy> {
    let namespace = scope.as_ref().map(|scope| Arc::clone(&scope.id.namespace)).unwrap_or_default();
    // Also where the policy is lost: all that is wrong is said at once.
    let ingress = rules(spec, Way::Ingress, &namespace);
    let egress = rules(spec, Way::Egress, &namespace);
    Some(scope?.policy(document, spec, ingress, egress))
}

impl Scope {
    fn policy(
        self,
        document: &Object<'_>,
        spec: &Object<'_>,
        ingress: Vec<Rule>,
        egress: Vec<Rule>,
    ) -> Policy {
        let Self { id, tier, order, selector, types, stage } = self;
        Policy {
            id,
            tier,
            order,
            selector,
            selector_place: spec.get("selector").map_or(document.field().place(), |field| field.place()),
            types,
            stage,
            ingress,
            egress,
            invalid: document.report().errors() > 0,
            needed_everywhere: false,
            place: document.field().place(),
        }
    }
}

fn v3_scope(document: &Object<'_>, spec: &Object<'_>, kind: PolicyKind) -> Option<Scope> {
    let meta = metadata::v3(document);
    let tier = match spec.text("tier") {
        Some(_) => spec.read("tier", named(&name::DNS_LABEL)),
        None => Some(Arc::from(DEFAULT_TIER)),
    };
    let id = policy_id(&meta, kind, tier.as_deref());
    let own = selector::short_selector(spec, "selector");
    let accounts = selector::of_service_accounts(spec);
    let selector = match kind {
        PolicyKind::GlobalNetworkPolicy => {
            selector::of_global_policy(own, selector::of_namespaces(spec), accounts)
        }
        PolicyKind::NetworkPolicy => {
            let namespace = id.as_ref().map(|id| Arc::clone(&id.namespace)).unwrap_or_default();
            selector::of_namespaced_policy(own, &namespace, accounts)
        }
    };
    let selects = selects(document, spec);
    // From here on a mistake no longer makes the policy absent.
    if kind == PolicyKind::GlobalNetworkPolicy {
        metadata::refuse_narrowing_namespace(&meta);
    }
    let order = order(document, spec);
    let stage = match kind {
        PolicyKind::GlobalNetworkPolicy => stage(spec),
        PolicyKind::NetworkPolicy => Stage::Normal { apply_on_forward: false },
    };
    let types = types(document, spec, stage);
    let scope = Scope { id: id?, tier: tier?, order, selector, types, stage };
    selects.then_some(scope)
}

/// A policy of Felix 2.1 as its own store has it: flat, named by its key.
pub(super) fn backend(policy: &Object<'_>, name: &str) -> Option<Policy> {
    let name = policy.report().name_in_key(&name::NAMESPACED_WORD, name);
    let scope = v1_scope(policy, policy, name, "untracked");
    let ingress = stored::rules(policy, Way::Ingress);
    let egress = stored::rules(policy, Way::Egress);
    Some(scope?.policy(policy, policy, ingress, egress))
}

/// `untracked` is what the flag of untracked policies is called.
fn v1_scope(
    document: &Object<'_>,
    spec: &Object<'_>,
    name: Option<Arc<str>>,
    untracked: &'static str,
) -> Option<Scope> {
    let selector = selector::selector(spec, "selector").unwrap_or_else(Selector::all);
    let selects = selects(document, spec);
    // From here on a mistake no longer makes the policy absent.
    let order = order(document, spec);
    let untracked = spec.read(untracked, scalar::boolean).unwrap_or(false);
    let scope = Scope {
        id: PolicyId { kind: PolicyKind::GlobalNetworkPolicy, namespace: Arc::default(), name: name? },
        tier: Arc::from(DEFAULT_TIER),
        order,
        selector,
        types: Types::BOTH,
        stage: if untracked { Stage::Untracked } else { Stage::Normal { apply_on_forward: false } },
    };
    selects.then_some(scope)
}

/// Whether what was read so far says which endpoints the policy is for: the selector is neither misspelt, nor a field
/// of the document, nor in a misspelt `spec`.
fn selects(document: &Object<'_>, spec: &Object<'_>) -> bool {
    let misplaced = spec.get("selector").is_none() && document.refused_names().any(|name| name == "selector");
    let no_spec =
        document.knows("spec") && document.get("spec").is_none() && document.refused_names().next().is_some();
    document.report().all_readable() && !spec.misspells("selector") && !misplaced && !no_spec
}

/// Whether `name` is not in `spec`, and may be what an unknown field of it or of the document means. The field of
/// another kind of policy means what it says.
pub(super) fn unread(document: &Object<'_>, spec: &Object<'_>, name: &'static str) -> bool {
    let mut refused = document.refused_names().chain(spec.refused_names());
    spec.get(name).is_none() && refused.any(|refused| refused == name || !GLOBAL.contains(&refused))
}

fn policy_id(meta: &Object<'_>, kind: PolicyKind, tier: Option<&str>) -> Option<PolicyId> {
    let (namespace, syntax) = match kind {
        PolicyKind::GlobalNetworkPolicy => (Some(Arc::default()), &name::GLOBAL_POLICY),
        PolicyKind::NetworkPolicy => (metadata::namespace(meta), &name::NAMESPACED_POLICY),
    };
    let written = metadata::name(meta, syntax)?;
    let name = match meta.report().written() {
        Written::Manifest => current_name(meta, tier).unwrap_or(written),
        // Its key names it; clients of before v3.32 put the tier into both.
        Written::Stored => written,
    };
    Some(PolicyId { kind, namespace: namespace?, name })
}

/// The name as today's clients would store it: the one in the annotation, or without the tier `default` in front.
fn current_name(meta: &Object<'_>, tier: Option<&str>) -> Option<Arc<str>> {
    let annotated = meta.get("annotations").and_then(|annotations| {
        annotations.node().child("projectcalico.org/metadata").and_then(annotated_name)
    });
    annotated.or_else(|| {
        let name = meta.get("name")?.text()?.strip_prefix("default.")?;
        (tier == Some(DEFAULT_TIER)).then(|| Arc::from(name))
    })
}

/// The name in `{"name": …}`.
fn annotated_name(node: &crate::datastore::Node) -> Option<Arc<str>> {
    let crate::datastore::Value::Scalar(scalar) = &node.value else { return None };
    let value: serde_json::Value = serde_json::from_str(&scalar.text).ok()?;
    let name = value.get("name")?.as_str()?;
    name::check(&name::NAMESPACED_POLICY, name).ok()?;
    Some(Arc::from(name))
}

fn order(document: &Object<'_>, spec: &Object<'_>) -> Order {
    match spec.get("order") {
        Some(field) => field.read(scalar::order).unwrap_or(Order::FIRST),
        None if unread(document, spec, "order") => Order::FIRST,
        None => Order::LAST,
    }
}

/// As written; otherwise as clients infer them (manifests) or both (stored). Both where they could not be read.
fn types(document: &Object<'_>, spec: &Object<'_>, stage: Stage) -> Types {
    let field = spec.get("types").filter(|field| !field.is_empty_list());
    let written = field.as_ref().and_then(written_types);
    let types = match field {
        Some(_) => written.unwrap_or(Types::BOTH),
        None => absent_types(document, spec),
    };
    match stage {
        Stage::Normal { .. } | Stage::Untracked => types,
        Stage::PreDnat => {
            refuse_egress(spec, field.filter(|_| written.is_some_and(|types| types.egress)));
            Types { egress: false, ..types }
        }
    }
}

/// None where any of them can't be read.
fn written_types(field: &Field<'_>) -> Option<Types> {
    let errors = field.report.errors();
    let mut types = Types { ingress: false, egress: false };
    for item in field.items() {
        let direction = match item.read(scalar::choice(&[("Ingress", Way::Ingress), ("Egress", Way::Egress)]))
        {
            Some(Way::Ingress) => &mut types.ingress,
            Some(Way::Egress) => &mut types.egress,
            None => continue,
        };
        if std::mem::replace(direction, true) {
            item.error(Mistake::value("the same type twice", "already there"));
        }
    }
    (field.report.errors() == errors).then_some(types)
}

fn absent_types(document: &Object<'_>, spec: &Object<'_>) -> Types {
    match spec.report().written() {
        Written::Stored => Types::BOTH,
        Written::Manifest
            if ["types", "ingress", "egress"].into_iter().any(|name| unread(document, spec, name)) =>
        {
            Types::BOTH
        }
        Written::Manifest => inferred_types(spec),
    }
}

fn inferred_types(spec: &Object<'_>) -> Types {
    let has = |way: Way| spec.get(way.field()).is_some_and(|field| !field.is_empty_list());
    let egress = has(Way::Egress);
    Types { ingress: has(Way::Ingress) || !egress, egress }
}

/// An unreadable flag counts as false, so that the policy denies workloads' packets too.
fn stage(spec: &Object<'_>) -> Stage {
    let flag = |name| spec.read(name, scalar::boolean);
    let on = |name| flag(name) == Some(true);
    let (untracked, pre_dnat, apply_on_forward) = (on("doNotTrack"), on("preDNAT"), flag("applyOnForward"));
    let (stage, name) = match (untracked, pre_dnat) {
        (false, false) => return Stage::Normal { apply_on_forward: apply_on_forward == Some(true) },
        (true, _) => (Stage::Untracked, "doNotTrack"),
        (false, true) => (Stage::PreDnat, "preDNAT"),
    };
    if untracked && pre_dnat {
        spec.field().error(Mistake::contradiction(
            "`doNotTrack` and `preDNAT` can't stand together",
            "one of them only",
        ));
    }
    // One that can't be read is reported already.
    let forwards = apply_on_forward.unwrap_or(spec.get("applyOnForward").is_some());
    if let Some(field) = spec.get(name).filter(|_| !forwards) {
        field.error(
            Mistake::contradiction(
                format!("`{name}` without `applyOnForward`"),
                "applies to forwarded packets too",
            )
            .help("add `applyOnForward: true`"),
        );
    }
    stage
}

/// Before destination NAT there is no egress.
fn refuse_egress(spec: &Object<'_>, written_type: Option<Field<'_>>) {
    let rules = spec.get("egress").filter(|field| !field.is_empty_list());
    for field in rules.into_iter().chain(written_type) {
        field.error(Mistake::contradiction("`preDNAT` is for ingress only", "not before destination NAT"));
    }
}

/// A hint that we don't know changes nothing of what is enforced.
fn needed_everywhere(spec: &Object<'_>) -> bool {
    const KNOWN: &str = "AssumeNeededOnEveryNode";
    let Some(field) = spec.get("performanceHints") else { return false };
    let mut found = false;
    for hint in field.items() {
        match hint.text() {
            Some(KNOWN) => found = true,
            Some(text) => hint.warn(
                Mistake::value(format!("`{text}` is not a hint that we know"), "passed over")
                    .help(format!("did you mean `{KNOWN}`?")),
            ),
            None => {}
        }
    }
    found
}

/// A Profile of either form; with anything that can't be understood it denies.
pub(super) fn profile(document: &Object<'_>) -> Option<Profile> {
    let (name, tags, labels, spec) = match document.report().form {
        Form::V1 => {
            let meta = document.object("metadata", &["name", "tags", "labels"], Unknown::RefusedInManifest);
            let spec = document.object("spec", &["ingress", "egress"], Unknown::RefusedInManifest);
            let name = metadata::name(&meta, &name::NAMESPACED_WORD);
            (name, meta.read_all("tags", named(&name::WORD)), metadata::labels(&meta, "labels"), spec)
        }
        Form::V3 => {
            let meta = metadata::v3(document);
            metadata::refuse_namespace(&meta);
            let spec =
                document.object("spec", &["ingress", "egress", "labelsToApply"], Unknown::RefusedInManifest);
            let name = metadata::name(&meta, &name::DNS_SUBDOMAIN);
            let labels: Labels = metadata::labels(&spec, "labelsToApply");
            (name, Vec::new(), labels, spec)
        }
    };
    let ingress = rules(&spec, Way::Ingress, "");
    let egress = rules(&spec, Way::Egress, "");
    let invalid = document.report().errors() > 0;
    Some(Profile { name: name?, labels, tags, ingress, egress, invalid, place: document.field().place() })
}
