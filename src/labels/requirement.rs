//! What must be there for a selector to hold: the reason why most pairs need no evaluation (reference §4.8).

use std::sync::Arc;

use super::Expr;

/// One thing that may be found among labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The label, with any value.
    Key(Arc<str>),
    /// The label with this value.
    Value(Arc<str>, Arc<str>),
}

impl Expr {
    /// Needs of which every matching set of labels meets at least one, or nothing if labels may match that meet none.
    /// Where conditions are joined by `&&` any of them will do, and the one of the least total `cost` is taken.
    pub(super) fn requirement(&self, cost: &impl Fn(&Need) -> u64) -> Option<Vec<Need>> {
        match self {
            Self::Has(key) | Self::Contains(key, _) | Self::StartsWith(key, _) | Self::EndsWith(key, _) => {
                Some(vec![Need::Key(key.clone())])
            }
            Self::Equals(key, value) => Some(vec![Need::Value(key.clone(), value.clone())]),
            Self::In(key, values) => {
                Some(values.iter().map(|value| Need::Value(key.clone(), value.clone())).collect())
            }
            Self::And(parts) => parts
                .iter()
                .filter_map(|part| part.requirement(cost))
                .min_by_key(|needs| needs.iter().map(cost).sum::<u64>()),
            Self::Or(parts) => parts
                .iter()
                .map(|part| part.requirement(cost))
                .collect::<Option<Vec<_>>>()
                .map(|all| all.concat()),
            Self::All | Self::Global | Self::NotEquals(..) | Self::NotIn(..) | Self::Not(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Selector;

    #[test]
    fn a_selector_requires_what_it_cannot_match_without() {
        let key = |key: &str| Need::Key(key.into());
        let value = |key: &str, value: &str| Need::Value(key.into(), value.into());
        for (text, expected) in [
            ("a == 'x'", Some(vec![value("a", "x")])),
            ("has(a)", Some(vec![key("a")])),
            ("a contains 'x'", Some(vec![key("a")])),
            ("a starts with 'x'", Some(vec![key("a")])),
            ("a ends with 'x'", Some(vec![key("a")])),
            ("a in {'x', 'y'}", Some(vec![value("a", "x"), value("a", "y")])),
            ("a in {}", Some(vec![])),
            ("has(dear) && a == 'x'", Some(vec![value("a", "x")])),
            ("b != 'x' && has(a)", Some(vec![key("a")])),
            ("has(a) || b == 'x'", Some(vec![key("a"), value("b", "x")])),
            ("has(a) || b != 'x'", None),
            ("a != 'x'", None),
            ("a not in {'x'}", None),
            ("!has(a)", None),
            ("all()", None),
            ("global()", None),
        ] {
            let cost = |need: &Need| if *need == key("dear") { 9 } else { 1 };
            assert_eq!(Selector::parse(text).unwrap().expr().requirement(&cost), expected, "{text}");
        }
    }
}
