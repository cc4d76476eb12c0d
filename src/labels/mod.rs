//! Selector text → [`Selector`] → [`LabelIndex`]: which labelled items match, kept up to date.

mod complaint;
mod expr;
mod index;
mod parse;
mod posting;
mod requirement;
mod slots;

pub use expr::Expr;
pub use index::{Change, LabelIndex};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha224};

/// Labels of one thing: name → value.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// A parsed selector. Two are equal if their canonical texts are; a clone costs a counter.
#[derive(Clone)]
pub struct Selector(Arc<Inner>);

struct Inner {
    expr: Expr,
    canonical: Box<str>,
}

/// Where a selector's text stops making sense, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    /// Byte range within the text, on character boundaries. Empty, at the end, where something is missing.
    pub start: usize,
    pub end: usize,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do, in one line.
    pub help: Option<String>,
}

impl Selector {
    /// Reads the language of `grammar/selector.pest`. An empty or blank text is [`Selector::all`].
    ///
    /// # Errors
    /// A text that is not a selector, is longer than 64 KiB, or nests parentheses deeper than 100. Time and stack
    /// are bounded for every text.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::parse(text).map(Self::canonical_expr)
    }

    /// `all()`.
    pub fn all() -> Self {
        Self::canonical_expr(Expr::All)
    }

    /// All `parts` joined by `&&`, each as if in parentheses of its own; of none, `all()`.
    pub fn all_of(parts: Vec<Selector>) -> Self {
        Self::canonical_expr(Expr::every(parts.iter().map(|part| part.expr().clone()).collect()))
    }

    /// Selects what this does not.
    pub fn negated(&self) -> Self {
        Self::canonical_expr(self.expr().clone().negated())
    }

    /// The same with `prefix` before every label's name (`pcns.`, reference §3.1).
    pub fn with_key_prefix(&self, prefix: &str) -> Self {
        Self::canonical_expr(self.expr().with_key_prefix(prefix))
    }

    /// The same with `to` in place of every part that equals `from` (reference §3.1: `all()` within a namespace).
    pub fn replacing(&self, from: &Expr, to: &Expr) -> Self {
        Self::canonical_expr(self.expr().rewritten(&|expr| (expr == from).then(|| to.clone())))
    }

    /// Makes `expr` canonical first.
    pub fn from_expr(expr: Expr) -> Self {
        Self::canonical_expr(expr.rewritten(&|_| None))
    }

    /// The text that every spelling of this selector shares (reference §4.3).
    pub fn canonical(&self) -> &str {
        &self.0.canonical
    }

    /// What it says, as a tree.
    pub fn expr(&self) -> &Expr {
        &self.0.expr
    }

    /// What its IP set is known by: `s:` and 38 characters of a hash of the canonical text (reference §7.3).
    pub fn id(&self) -> String {
        unique_id("s", self.canonical())
    }

    /// Whether it selects the thing whose labels `label` looks up.
    pub fn matches<'l>(&self, label: &impl Fn(&str) -> Option<&'l str>) -> bool {
        self.expr().matches(label)
    }

    /// The names of the labels that it asks about, sorted, each once.
    pub fn labels_used(&self) -> impl Iterator<Item = &str> {
        let mut labels = BTreeSet::new();
        self.expr().each_label(&mut |label| {
            labels.insert(label);
        });
        labels.into_iter()
    }

    /// `expr` must be canonical.
    fn canonical_expr(expr: Expr) -> Self {
        let canonical = expr.to_string().into_boxed_str();
        Self(Arc::new(Inner { expr, canonical }))
    }
}

/// An id for `content` among those of its kind: the kind, a colon and 38 characters of a hash (reference §7.3).
pub fn unique_id(kind: &str, content: &str) -> String {
    let hash = Sha224::new().chain_update(kind).chain_update(":").chain_update(content).finalize();
    format!("{kind}:{}", URL_SAFE_NO_PAD.encode(hash))
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.canonical() == other.canonical()
    }
}

impl Eq for Selector {}

impl Hash for Selector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.canonical())
    }
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SelectorError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Selector {
        Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    #[test]
    fn ids_are_the_references() {
        for (text, canonical, id) in [
            ("", "all()", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
            (" all() ", "all()", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
            (" (all() )", "all()", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
            ("a=='b'", r#"a == "b""#, "s:flMh0m0X_BowkAK_W3j3MgH8oQOsj3WxGDoXCQ"),
            ("! (has( b)||! has(a ))", "!(has(b) || !has(a))", "s:Iss0uCleLYv1GSv_pNm7hAO58kE9jAx1NKyG3Q"),
            (
                r#"! (a == "b"&&! c != "d")"#,
                r#"!(a == "b" && !c != "d")"#,
                "s:lh3haoY1ikTRkd4UZu0nWSaIBknYLPJLX16d-w",
            ),
            ("d in {'b','a'}", r#"d in {"a", "b"}"#, "s:HRyi1D3BfU10_6DIO6Z5fad2D6PMpleYFAFCEg"),
            ("has(tag-1)", "has(tag-1)", "s:Uer_WT88sQCXEsgt_Gm9OvdamPy1Y44eCHDKJA"),
        ] {
            let selector = parsed(text);
            assert_eq!((selector.canonical(), selector.id().as_str()), (canonical, id), "{text}");
        }
    }

    #[test]
    fn assembled_selectors_print_like_the_references_text() {
        let namespace = Expr::Has("projectcalico.org/namespace".into());
        let not_namespaced = namespace.clone().negated();
        for (selector, canonical) in [
            (Selector::all_of(vec![]), "all()"),
            (Selector::all_of(vec![parsed("has(a)")]), "has(a)"),
            (
                Selector::all_of(vec![parsed("has(a) && has(b)"), parsed("c == 'd'")]),
                r#"((has(a) && has(b)) && c == "d")"#,
            ),
            (Selector::all().negated(), "!all()"),
            (Selector::all().negated().negated(), "all()"),
            (parsed("all()").with_key_prefix("pcns."), "all()"),
            (
                parsed("!(!(k == 'v' && has(t) || all()) && (a in {'b', 'c'}))").with_key_prefix("visited/"),
                r#"!(!((visited/k == "v" && has(visited/t)) || all()) && visited/a in {"b", "c"})"#,
            ),
            (
                parsed("a == 'b' && all()").replacing(&Expr::All, &namespace),
                r#"(a == "b" && has(projectcalico.org/namespace))"#,
            ),
            (
                parsed("!global()").replacing(&Expr::Global, &not_namespaced),
                "has(projectcalico.org/namespace)",
            ),
            (
                Selector::from_expr(Expr::And(vec![Expr::In("a".into(), ["z".into(), "b".into()].into())])),
                r#"a in {"b", "z"}"#,
            ),
            (Selector::from_expr(Expr::Or(vec![])), "!all()"),
        ] {
            assert_eq!(selector.canonical(), canonical);
            assert_eq!(parsed(canonical), selector);
        }
    }

    #[test]
    fn labels_used_are_sorted_and_named_once() {
        let selector = parsed("z == 'a' && (has(b) || !b in {'c'}) && all() && global() && a ends with 'x'");
        assert_eq!(selector.labels_used().collect::<Vec<_>>(), ["a", "b", "z"]);
    }
}
