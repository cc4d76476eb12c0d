//! Policies, profiles and tiers (reference §1.1, §1.4, §1.5, §3.1; felix-2.1 §1.3, §1.4).

use std::sync::Arc;

use super::fields::{Field, Form, Mistake, Object, Unknown};
use super::name::{self, named};
use super::rule::{Way, rules};
use super::{metadata, scalar, selector};
use crate::datastore::Written;
use crate::labels::Selector;
use crate::model::diagnostic::Code;
use crate::model::{Labels, Order, Policy, PolicyId, PolicyKind, Profile, Stage, Tier, TierDefault, Types};

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

/// The order that clients give a tier without one.
const TIER_ORDER: f64 = 1_000_000.0;

/// Which policies one document says: where, which, when. Without all of it the policy can't even be put in its place.
struct Scope {
    id: PolicyId,
    tier: Arc<str>,
    order: Order,
    selector: Selector,
    types: Types,
    stage: Stage,
}

/// A GlobalNetworkPolicy or NetworkPolicy. None where its scope can't be read.
pub(super) fn v3(document: &Object<'_>, kind: PolicyKind) -> Option<Policy> {
    let spec = match kind {
        PolicyKind::GlobalNetworkPolicy => document.object("spec", GLOBAL, Unknown::MisspeltRefused),
        PolicyKind::NetworkPolicy => document.object("spec", NAMESPACED, Unknown::MisspeltRefused),
    };
    let scope = v3_scope(document, &spec, kind);
    let mut policy = policy(document, &spec, scope, |spec, scope| check_stage(spec, kind, scope))?;
    policy.needed_everywhere = needed_everywhere(&spec);
    Some(policy)
}

/// A policy of Felix 2.1: both directions, in the tier `default`.
pub(super) fn v1(document: &Object<'_>) -> Option<Policy> {
    let spec = document.object("spec", V1, Unknown::MisspeltRefused);
    let scope = v1_scope(document, &spec);
    policy(document, &spec, scope, |_, _| ())
}

fn policy(
    document: &Object<'_>,
    spec: &Object<'_>,
    scope: Option<Scope>,
    check: impl FnOnce(&Object<'_>, &Scope),
) -> Option<Policy> {
    let report = document.report();
    let errors = report.errors();
    let namespace = scope.as_ref().map(|scope| Arc::clone(&scope.id.namespace)).unwrap_or_default();
    // Also where the policy is lost: all that is wrong is said at once.
    let ingress = rules(spec, Way::Ingress, &namespace);
    let egress = rules(spec, Way::Egress, &namespace);
    let scope = scope?;
    check(spec, &scope);
    let Scope { id, tier, order, selector, types, stage } = scope;
    Some(Policy {
        id,
        tier,
        order,
        selector,
        types,
        stage,
        ingress,
        egress,
        invalid: report.errors() > errors,
        needed_everywhere: false,
        place: document.field().place(),
    })
}

fn v3_scope(document: &Object<'_>, spec: &Object<'_>, kind: PolicyKind) -> Option<Scope> {
    let report = document.report();
    let meta = metadata::v3(document);
    let tier = match spec.text("tier") {
        Some(_) => spec.read("tier", named(&name::DNS_LABEL)),
        None => Some(Arc::from(DEFAULT_TIER)),
    };
    let id = policy_id(&meta, kind, tier.as_deref());
    let order = order(spec);
    let own = selector::short_selector(spec, "selector");
    let accounts = selector::of_service_accounts(spec);
    let (selector, stage) = match kind {
        PolicyKind::GlobalNetworkPolicy => {
            metadata::refuse_namespace(&meta);
            let namespaces = selector::of_namespaces(spec);
            (selector::of_global_policy(own, namespaces, accounts), stage(spec))
        }
        PolicyKind::NetworkPolicy => {
            let namespace = id.as_ref().map(|id| Arc::clone(&id.namespace)).unwrap_or_default();
            let stage = Stage::Normal { apply_on_forward: false };
            (selector::of_namespaced_policy(own, &namespace, accounts), stage)
        }
    };
    let types = types(spec, stage);
    // A scope with any error is not to be trusted; the kind and form were read without one.
    (report.errors() == 0).then_some(Scope { id: id?, tier: tier?, order, selector, types, stage })
}

fn v1_scope(document: &Object<'_>, spec: &Object<'_>) -> Option<Scope> {
    let meta = document.object("metadata", &["name", "annotations"], Unknown::Tolerated);
    let name = metadata::name(&meta, &name::NAMESPACED_WORD);
    let order = order(spec);
    let selector = selector::selector(spec, "selector").unwrap_or_else(Selector::all);
    let untracked = spec.read("doNotTrack", scalar::boolean).unwrap_or(false);
    (document.report().errors() == 0).then_some(Scope {
        id: PolicyId { kind: PolicyKind::GlobalNetworkPolicy, namespace: Arc::default(), name: name? },
        tier: Arc::from(DEFAULT_TIER),
        order,
        selector,
        types: Types { ingress: true, egress: true },
        stage: if untracked { Stage::Untracked } else { Stage::Normal { apply_on_forward: false } },
    })
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

fn order(spec: &Object<'_>) -> Order {
    spec.read("order", scalar::order).unwrap_or(Order::LAST)
}

/// As written; otherwise as clients infer them (manifests) or both (stored).
fn types(spec: &Object<'_>, stage: Stage) -> Types {
    let written = spec.get("types").filter(|field| field.items().len() > 0);
    let types = match written {
        Some(field) => written_types(&field),
        None => match spec.report().written() {
            Written::Manifest => inferred_types(spec),
            Written::Stored => Types { ingress: true, egress: true },
        },
    };
    match stage {
        Stage::PreDnat => Types { egress: false, ..types },
        Stage::Normal { .. } | Stage::Untracked => types,
    }
}

fn written_types(field: &Field<'_>) -> Types {
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
    types
}

fn inferred_types(spec: &Object<'_>) -> Types {
    let has = |way: Way| spec.get(way.field()).is_some_and(|field| !field.is_empty_list());
    let egress = has(Way::Egress);
    Types { ingress: has(Way::Ingress) || !egress, egress }
}

fn stage(spec: &Object<'_>) -> Stage {
    let flag = |name| spec.read(name, scalar::boolean).unwrap_or(false);
    match (flag("doNotTrack"), flag("preDNAT"), flag("applyOnForward")) {
        (true, true, _) => {
            spec.field().error(Mistake::contradiction(
                "`doNotTrack` and `preDNAT` can't stand together",
                "one of them only",
            ));
            Stage::Untracked
        }
        (true, false, _) => Stage::Untracked,
        (false, true, _) => Stage::PreDnat,
        (false, false, apply_on_forward) => Stage::Normal { apply_on_forward },
    }
}

/// What the stage asks of the rest of the policy.
fn check_stage(spec: &Object<'_>, kind: PolicyKind, scope: &Scope) {
    let flag = match (kind, scope.stage) {
        (PolicyKind::NetworkPolicy, _) | (_, Stage::Normal { .. }) => return,
        (PolicyKind::GlobalNetworkPolicy, Stage::Untracked) => "doNotTrack",
        (PolicyKind::GlobalNetworkPolicy, Stage::PreDnat) => "preDNAT",
    };
    let on_forward =
        spec.get("applyOnForward").and_then(|field| field.text()).is_some_and(|text| text != "false");
    if let Some(field) = spec.get(flag).filter(|_| !on_forward) {
        field.error(
            Mistake::contradiction(
                format!("`{flag}` without `applyOnForward`"),
                "applies to forwarded packets too",
            )
            .help("add `applyOnForward: true`"),
        );
    }
    if scope.stage == Stage::PreDnat {
        let egress = spec.get("egress").filter(|field| !field.is_empty_list());
        let egress_type = spec.get("types").filter(|field| written_types(field).egress);
        for field in egress.into_iter().chain(egress_type) {
            field
                .error(Mistake::contradiction("`preDNAT` is for ingress only", "not before destination NAT"));
        }
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

/// A Profile of either form; rules that can't be understood make it deny.
pub(super) fn profile(document: &Object<'_>) -> Option<Profile> {
    let errors = document.report().errors();
    let (name, tags, labels, spec) = match document.report().form {
        Form::V1 => {
            let meta = document.object("metadata", &["name", "tags", "labels"], Unknown::Tolerated);
            let spec = document.object("spec", &["ingress", "egress"], Unknown::Tolerated);
            let name = metadata::name(&meta, &name::NAMESPACED_WORD);
            (name, meta.read_all("tags", named(&name::WORD)), metadata::labels(&meta, "labels"), spec)
        }
        Form::V3 => {
            let meta = metadata::v3(document);
            metadata::refuse_namespace(&meta);
            let spec = document.object("spec", &["ingress", "egress", "labelsToApply"], Unknown::Tolerated);
            let name = metadata::name(&meta, &name::DNS_SUBDOMAIN);
            let labels: Labels = metadata::labels(&spec, "labelsToApply");
            (name, Vec::new(), labels, spec)
        }
    };
    let ingress = rules(&spec, Way::Ingress, "");
    let egress = rules(&spec, Way::Egress, "");
    let invalid = document.report().errors() > errors;
    Some(Profile { name: name?, labels, tags, ingress, egress, invalid, place: document.field().place() })
}

/// A Tier. A wrong action denies, as an unknown tier does.
pub(super) fn tier(document: &Object<'_>) -> Option<Tier> {
    let report = document.report();
    let meta = metadata::v3(document);
    metadata::refuse_namespace(&meta);
    let name = metadata::name(&meta, &name::DNS_LABEL);
    let spec = document.object("spec", &["order", "defaultAction"], Unknown::MisspeltRefused);
    let absent = match report.written() {
        Written::Manifest => Order::new(TIER_ORDER),
        Written::Stored => Some(Order::LAST),
    };
    let order = spec.get("order").map_or(absent, |field| field.read(scalar::order));
    if report.errors() > 0 {
        return None;
    }
    let actions = [("Deny", TierDefault::Deny), ("Pass", TierDefault::Pass)];
    let default_action = spec.read("defaultAction", scalar::choice(&actions));
    let tier = Tier {
        name: name?,
        order: order?,
        default_action: default_action.unwrap_or(TierDefault::Deny),
        place: document.field().place(),
    };
    Some(built_in(&spec, tier))
}

/// Calico's own tiers are what they are (reference §1.4).
fn built_in(spec: &Object<'_>, tier: Tier) -> Tier {
    let (order, default_action) = match &*tier.name {
        "default" => (TIER_ORDER, TierDefault::Deny),
        "kube-admin" => (1_000.0, TierDefault::Pass),
        "kube-baseline" => (10_000_000.0, TierDefault::Pass),
        _ => return tier,
    };
    let Some(order) = Order::new(order) else { return tier };
    let changed = (spec.get("order").is_some() && tier.order != order)
        || (spec.get("defaultAction").is_some() && tier.default_action != default_action);
    if changed && spec.report().written() == Written::Manifest {
        spec.field().error(
            Mistake::new(Code::InvalidValue, "this tier can't be changed", "built in")
                .help(format!("order {}, defaultAction {default_action:?}", order.value())),
        );
    }
    Tier { order, default_action, ..tier }
}
