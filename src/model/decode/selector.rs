//! Selectors as fields, and how those of one object are put together (reference §3.1–3.2).

use std::sync::Arc;

use super::fields::{Field, Mistake, Object, Unknown};
use super::metadata::label;
use super::name;
use crate::datastore::Span;
use crate::labels::{Expr, Selector, SelectorError};
use crate::model::diagnostic::Code;

/// Longest selector that the API takes, in bytes.
const LONGEST: usize = 1024;

/// Where `global()` may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Global {
    Refused,
    /// Not beside anything else.
    Alone,
}

/// The selector at `name`: None where it is absent or empty, or was reported.
pub(super) fn selector(object: &Object<'_>, name: &'static str) -> Option<Selector> {
    read(&object.get(name)?, Global::Refused)
}

/// As [`selector`], no longer than the API allows for a policy.
pub(super) fn short_selector(object: &Object<'_>, name: &'static str) -> Option<Selector> {
    let field = object.get(name)?;
    if let Some(length) = field.text().map(str::len).filter(|&length| length > LONGEST) {
        field.error(Mistake::value(
            format!("the selector is {length} bytes long"),
            format!("at most {LONGEST} bytes"),
        ));
        return None;
    }
    read(&field, Global::Refused)
}

/// A policy's namespace selector: labels of the namespace, not of the endpoint.
pub(super) fn of_namespaces(object: &Object<'_>) -> Option<Selector> {
    Some(short_selector(object, "namespaceSelector")?.with_key_prefix(label::OF_NAMESPACE))
}

/// A policy's service account selector: labels of the service account.
pub(super) fn of_service_accounts(object: &Object<'_>) -> Option<Selector> {
    Some(short_selector(object, "serviceAccountSelector")?.with_key_prefix(label::OF_SERVICE_ACCOUNT))
}

/// What a GlobalNetworkPolicy selects. `all()` beside a namespace selector means all that has a namespace.
pub(super) fn of_global_policy(
    own: Option<Selector>,
    namespaces: Option<Selector>,
    service_accounts: Option<Selector>,
) -> Selector {
    let mut selector = own;
    for (part, key) in [(namespaces, label::NAMESPACE), (service_accounts, label::SERVICE_ACCOUNT)] {
        if let Some(part) = part {
            let both = Selector::all_of(selector.into_iter().chain([part]).collect());
            selector = Some(both.replacing(&Expr::All, &has(key)));
        }
    }
    selector.unwrap_or_else(Selector::all)
}

/// What a NetworkPolicy selects.
pub(super) fn of_namespaced_policy(
    own: Option<Selector>,
    namespace: &str,
    service_accounts: Option<Selector>,
) -> Selector {
    let scoped = Selector::all_of(own.into_iter().chain([in_namespace(namespace)]).collect());
    Selector::all_of([scoped].into_iter().chain(service_accounts).collect())
}

/// What the positive side of a v3 rule's source or destination selects; nothing asked gives None.
/// `namespace` is the policy's own, empty for a global one; `negated` says that there is a `notSelector` too.
pub(super) fn of_entity(entity: &Object<'_>, namespace: &str, negated: bool) -> Option<Selector> {
    let own = selector(entity, "selector");
    let accounts = accounts(entity);
    let named = entity.get("namespaceSelector").and_then(|field| read(&field, Global::Alone));
    let asks_namespace = named.is_some();
    let namespaces = match named {
        Some(selector) => Some(
            selector
                .with_key_prefix(label::OF_NAMESPACE)
                .replacing(&Expr::All, &has(label::NAMESPACE))
                .replacing(&Expr::Global, &Expr::Not(Box::new(has(label::NAMESPACE)))),
        ),
        None if namespace.is_empty() => None,
        None => Some(in_namespace(namespace)),
    };
    let parts: Vec<Selector> = accounts.into_iter().chain(own).collect();
    let own = (!parts.is_empty()).then(|| Selector::all_of(parts));
    match namespaces {
        Some(namespaces) if own.is_some() || negated || asks_namespace => {
            Some(Selector::all_of([namespaces].into_iter().chain(own).collect()))
        }
        Some(_) | None => own,
    }
}

/// `serviceAccounts`: by the labels of the account, by its name.
fn accounts(entity: &Object<'_>) -> Option<Selector> {
    let field = entity.get("serviceAccounts")?;
    let object = field.object(&["names", "selector"], Unknown::Refused);
    let labelled = selector(&object, "selector").map(|s| s.with_key_prefix(label::OF_SERVICE_ACCOUNT));
    let names = object.read_all("names", name::named(&name::DNS_SUBDOMAIN));
    let named =
        (!names.is_empty()).then(|| Selector::from_expr(Expr::one_of(label::SERVICE_ACCOUNT.into(), names)));
    let parts: Vec<Selector> = labelled.into_iter().chain(named).collect();
    (!parts.is_empty()).then(|| Selector::all_of(parts))
}

fn in_namespace(namespace: &str) -> Selector {
    Selector::from_expr(Expr::Equals(label::NAMESPACE.into(), Arc::from(namespace)))
}

fn has(key: &str) -> Expr {
    Expr::Has(Arc::from(key))
}

fn read(field: &Field<'_>, global: Global) -> Option<Selector> {
    let text = field.text().filter(|text| !text.is_empty())?;
    let selector = match Selector::parse(text) {
        Ok(selector) => selector,
        Err(error) => {
            report(field, text, error);
            return None;
        }
    };
    match global {
        Global::Alone if *selector.expr() == Expr::Global => {}
        Global::Alone | Global::Refused if has_global(selector.expr()) => {
            field.error(
                Mistake::new(Code::InvalidSelector, "`global()` can't stand here", "not allowed")
                    .help("`global()` is a whole `namespaceSelector` of a rule's source or destination"),
            );
            return None;
        }
        Global::Alone | Global::Refused => {}
    }
    Some(selector)
}

fn has_global(expr: &Expr) -> bool {
    match expr {
        Expr::Global => true,
        Expr::Not(inner) => has_global(inner),
        Expr::And(parts) | Expr::Or(parts) => parts.iter().any(has_global),
        Expr::All
        | Expr::Has(_)
        | Expr::Equals(..)
        | Expr::NotEquals(..)
        | Expr::Contains(..)
        | Expr::StartsWith(..)
        | Expr::EndsWith(..)
        | Expr::In(..)
        | Expr::NotIn(..) => false,
    }
}

fn report(field: &Field<'_>, text: &str, error: SelectorError) {
    let SelectorError { start, end, message, help } = error;
    let span = within(field, text, start, end).unwrap_or(field.span());
    let mistake = Mistake::new(Code::InvalidSelector, "this is not a selector", message);
    field.error_at(span, Mistake { help, ..mistake });
}

/// Where bytes `start..end` of a scalar's text stand in the source: known where the source has it letter by letter.
fn within(field: &Field<'_>, text: &str, start: usize, end: usize) -> Option<Span> {
    let value = field.span();
    let source = field.report.text();
    let quote = [0, 1].into_iter().find(|quote| {
        source.get(value.start as usize + quote..).is_some_and(|written| written.starts_with(text))
    })?;
    let before = text.get(..start).filter(|_| !text.contains('\n'))?;
    let offset = |at: usize| u32::try_from(quote + at).ok();
    Some(Span {
        start: value.start + offset(start)?,
        end: value.start + offset(end.max(start))?,
        line: value.line,
        column: value.column + offset(before.chars().count())?,
    })
}
