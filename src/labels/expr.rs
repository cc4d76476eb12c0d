//! A selector as a tree: what it means, and its canonical text.

use std::fmt;
use std::sync::Arc;

/// A selector's tree (reference §4).
///
/// The constructors below keep it *canonical*: sets are sorted and hold a value once, `And` and `Or` have two
/// members or more, and a `Not` never stands directly in a `Not`. Trees that differ only in such things are
/// equal, and print the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// `all()`.
    All,
    /// `global()`: what has no namespace. True by itself; whoever knows namespaces replaces it first.
    Global,
    /// `has(label)`.
    Has(Arc<str>),
    /// `label == "value"`.
    Equals(Arc<str>, Arc<str>),
    /// `label != "value"`; true where the label is absent.
    NotEquals(Arc<str>, Arc<str>),
    /// `label contains "text"`.
    Contains(Arc<str>, Arc<str>),
    /// `label starts with "text"`.
    StartsWith(Arc<str>, Arc<str>),
    /// `label ends with "text"`.
    EndsWith(Arc<str>, Arc<str>),
    /// `label in {"a", "b"}`; never true of an empty set.
    In(Arc<str>, Box<[Arc<str>]>),
    /// `label not in {"a", "b"}`; true where the label is absent.
    NotIn(Arc<str>, Box<[Arc<str>]>),
    /// `!x`.
    Not(Box<Expr>),
    /// `(x && y)`. One that stands in another keeps its parentheses, as the reference's does.
    And(Vec<Expr>),
    /// `(x || y)`.
    Or(Vec<Expr>),
}

impl Expr {
    /// Every one of `parts` holds; of none, `all()`.
    pub fn every(mut parts: Vec<Expr>) -> Self {
        match parts.len() {
            0 => Self::All,
            1 => parts.remove(0),
            _ => Self::And(parts),
        }
    }

    /// One of `parts` holds at least; of none, `!all()`.
    pub fn any(mut parts: Vec<Expr>) -> Self {
        match parts.len() {
            0 => Self::All.negated(),
            1 => parts.remove(0),
            _ => Self::Or(parts),
        }
    }

    /// The opposite.
    ///
    /// The current reference (§4.3, row 66) has an even number of `!` disappear, and we take that through
    /// parentheses too: `!(!has(a))` is `has(a)`. Felix 2.1 prints `!!has(a)` there, which reads back as
    /// `has(a)` with another id; ours always reads back as itself.
    pub fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// `label in {values}`.
    pub fn one_of(label: Arc<str>, values: Vec<Arc<str>>) -> Self {
        Self::In(label, sorted(values))
    }

    /// `label not in {values}`.
    pub fn none_of(label: Arc<str>, values: Vec<Arc<str>>) -> Self {
        Self::NotIn(label, sorted(values))
    }

    /// The same tree rebuilt by the constructors, each node passed through `change` on the way down: where that
    /// answers, its answer stands for the node and all below it.
    pub fn rewritten(&self, change: &impl Fn(&Expr) -> Option<Expr>) -> Self {
        if let Some(changed) = change(self) {
            return changed;
        }
        let all = |parts: &[Expr]| parts.iter().map(|part| part.rewritten(change)).collect();
        match self {
            Self::Not(inner) => inner.rewritten(change).negated(),
            Self::And(parts) => Self::every(all(parts)),
            Self::Or(parts) => Self::any(all(parts)),
            Self::In(label, values) => Self::one_of(label.clone(), values.to_vec()),
            Self::NotIn(label, values) => Self::none_of(label.clone(), values.to_vec()),
            Self::All
            | Self::Global
            | Self::Has(_)
            | Self::Equals(..)
            | Self::NotEquals(..)
            | Self::Contains(..)
            | Self::StartsWith(..)
            | Self::EndsWith(..) => self.clone(),
        }
    }

    /// The same with `prefix` before every label's name.
    pub fn with_key_prefix(&self, prefix: &str) -> Self {
        let named = |label: &Arc<str>| Arc::from(format!("{prefix}{label}"));
        self.rewritten(&|expr| match expr {
            Self::Has(label) => Some(Self::Has(named(label))),
            Self::Equals(label, value) => Some(Self::Equals(named(label), value.clone())),
            Self::NotEquals(label, value) => Some(Self::NotEquals(named(label), value.clone())),
            Self::Contains(label, text) => Some(Self::Contains(named(label), text.clone())),
            Self::StartsWith(label, text) => Some(Self::StartsWith(named(label), text.clone())),
            Self::EndsWith(label, text) => Some(Self::EndsWith(named(label), text.clone())),
            Self::In(label, values) => Some(Self::one_of(named(label), values.to_vec())),
            Self::NotIn(label, values) => Some(Self::none_of(named(label), values.to_vec())),
            Self::All | Self::Global | Self::Not(_) | Self::And(_) | Self::Or(_) => None,
        })
    }

    /// Whether it holds for the labels that `label` looks up.
    pub fn matches<'l>(&self, label: &impl Fn(&str) -> Option<&'l str>) -> bool {
        match self {
            Self::All | Self::Global => true,
            Self::Has(key) => label(key).is_some(),
            Self::Equals(key, value) => label(key) == Some(value),
            Self::NotEquals(key, value) => label(key) != Some(value),
            Self::Contains(key, text) => label(key).is_some_and(|found| found.contains(&**text)),
            Self::StartsWith(key, text) => label(key).is_some_and(|found| found.starts_with(&**text)),
            Self::EndsWith(key, text) => label(key).is_some_and(|found| found.ends_with(&**text)),
            Self::In(key, values) => label(key).is_some_and(|found| holds(values, found)),
            Self::NotIn(key, values) => !label(key).is_some_and(|found| holds(values, found)),
            Self::Not(inner) => !inner.matches(label),
            Self::And(parts) => parts.iter().all(|part| part.matches(label)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(label)),
        }
    }

    /// Calls `visit` with every label's name, as often as it is written.
    pub fn each_label<'e>(&'e self, visit: &mut impl FnMut(&'e str)) {
        match self {
            Self::All | Self::Global => {}
            Self::Has(label)
            | Self::Equals(label, _)
            | Self::NotEquals(label, _)
            | Self::Contains(label, _)
            | Self::StartsWith(label, _)
            | Self::EndsWith(label, _)
            | Self::In(label, _)
            | Self::NotIn(label, _) => visit(label),
            Self::Not(inner) => inner.each_label(visit),
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.each_label(visit)),
        }
    }
}

/// The canonical text (reference §4.3). Within the limits of what is read at all, it reads back as the same tree.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Has(label) => write!(f, "has({label})"),
            Self::Equals(label, value) => write!(f, "{label} == {}", Quoted(value)),
            Self::NotEquals(label, value) => write!(f, "{label} != {}", Quoted(value)),
            Self::Contains(label, text) => write!(f, "{label} contains {}", Quoted(text)),
            Self::StartsWith(label, text) => write!(f, "{label} starts with {}", Quoted(text)),
            Self::EndsWith(label, text) => write!(f, "{label} ends with {}", Quoted(text)),
            Self::In(label, values) => {
                write!(f, "{label} in ")?;
                joined(f, ["{", ", ", "}"], values.iter().map(|value| Quoted(value)))
            }
            Self::NotIn(label, values) => {
                write!(f, "{label} not in ")?;
                joined(f, ["{", ", ", "}"], values.iter().map(|value| Quoted(value)))
            }
            Self::Not(inner) => write!(f, "!{inner}"),
            Self::And(parts) => joined(f, ["(", " && ", ")"], parts),
            Self::Or(parts) => joined(f, ["(", " || ", ")"], parts),
        }
    }
}

/// A value in the quote that it does not hold.
struct Quoted<'v>(&'v str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('"') { '\'' } else { '"' };
        write!(f, "{quote}{}{quote}", self.0)
    }
}

fn joined<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    [open, between, close]: [&str; 3],
    parts: impl IntoIterator<Item = T>,
) -> fmt::Result {
    f.write_str(open)?;
    for (position, part) in parts.into_iter().enumerate() {
        if position > 0 {
            f.write_str(between)?;
        }
        write!(f, "{part}")?;
    }
    f.write_str(close)
}

/// By bytes, each value once.
fn sorted(mut values: Vec<Arc<str>>) -> Box<[Arc<str>]> {
    values.sort_unstable();
    values.dedup();
    values.into_boxed_slice()
}

/// Whether sorted `values` hold `value`.
fn holds(values: &[Arc<str>], value: &str) -> bool {
    values.binary_search_by(|candidate| (**candidate).cmp(value)).is_ok()
}
