//! Selector text → tree.

use std::iter;
use std::sync::Arc;

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};
use pest::iterators::Pair;

use super::complaint::complaint;
use super::{Expr, SelectorError};

#[derive(pest_derive::Parser)]
#[grammar = "../grammar/selector.pest"]
struct Grammar;

/// Longest text read, in bytes. The API takes 1024 for a policy's own selector; assembled ones are longer.
const MAX_LENGTH: usize = 64 * 1024;

/// Deepest nesting of parentheses. The parser, and every walk of the tree, recurse that deep and no deeper on any
/// thread. A run of `!` does not count: it is a loop to the parser, and one node or none in the tree.
const MAX_DEPTH: usize = 100;

/// Longest name of a label, in bytes (reference §4.1).
const MAX_LABEL: usize = 512;

/// Reads a whole selector.
pub(super) fn parse(text: &str) -> Result<Expr, SelectorError> {
    check_limits(text)?;
    let mut pairs = Grammar::parse(Rule::selector, text).map_err(|error| syntax_error(text, error))?;
    let selector = pairs.next().ok_or_else(|| misread(0..text.len()))?;
    match selector.into_inner().find(|pair| pair.as_rule() == Rule::or) {
        Some(or) => any(or),
        None => Ok(Expr::All),
    }
}

/// The characters of `text` outside quotes with their offsets; the offset of a quote that is never closed is an
/// error, and the last item.
pub(super) fn unquoted(text: &str) -> impl Iterator<Item = Result<(usize, char), usize>> {
    let mut rest = text.char_indices();
    iter::from_fn(move || {
        let (at, char) = rest.next()?;
        let closed = !matches!(char, '"' | '\'') || rest.any(|(_, next)| next == char);
        Some(if closed { Ok((at, char)) } else { Err(at) })
    })
}

/// What must hold before the grammar may be asked: length, depth, and quotes that close.
fn check_limits(text: &str) -> Result<(), SelectorError> {
    if text.len() > MAX_LENGTH {
        return Err(SelectorError {
            start: 0,
            end: text.len(),
            message: format!("a selector of {} bytes is longer than {MAX_LENGTH}", text.len()),
            help: Some("give what it selects a label of its own, and select that".into()),
        });
    }
    let mut depth = 0_usize;
    for next in unquoted(text) {
        match next {
            Ok((at, '(')) if depth == MAX_DEPTH => return Err(too_deep(at)),
            Ok((_, '(')) => depth += 1,
            Ok((_, ')')) => depth = depth.saturating_sub(1),
            Ok(_) => {}
            Err(quote) => return Err(unterminated(text, quote)),
        }
    }
    Ok(())
}

fn too_deep(at: usize) -> SelectorError {
    SelectorError {
        start: at,
        end: at + 1,
        message: format!("parentheses are nested deeper than {MAX_DEPTH}"),
        help: Some("remove parentheses that change nothing".into()),
    }
}

fn unterminated(text: &str, quote: usize) -> SelectorError {
    SelectorError {
        start: quote,
        end: text.trim_end().len().max(quote + 1),
        message: "the quoted value has no end".into(),
        help: Some("close it with the quote that it begins with".into()),
    }
}

fn syntax_error(text: &str, error: pest::error::Error<Rule>) -> SelectorError {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    match error.variant {
        ErrorVariant::ParsingError { positives, negatives: _ } => complaint(text, at, &positives),
        // The parser gave up: a stack too small even for the depth that we allow.
        ErrorVariant::CustomError { message } => SelectorError { start: at, end: at, message, help: None },
    }
}

/// `or`.
fn any(pair: Pair<'_, Rule>) -> Result<Expr, SelectorError> {
    let parts = pair.into_inner().filter(|pair| pair.as_rule() == Rule::and);
    parts.map(every).collect::<Result<_, _>>().map(Expr::any)
}

/// `and`.
fn every(pair: Pair<'_, Rule>) -> Result<Expr, SelectorError> {
    let parts = pair.into_inner().filter(|pair| pair.as_rule() == Rule::not);
    parts.map(negation).collect::<Result<_, _>>().map(Expr::every)
}

/// `not`.
fn negation(pair: Pair<'_, Rule>) -> Result<Expr, SelectorError> {
    let mut negated = false;
    for part in pair.clone().into_inner() {
        match part.as_rule() {
            Rule::bang => negated = !negated,
            _ => return condition(part).map(|expr| if negated { expr.negated() } else { expr }),
        }
    }
    Err(misread(range(&pair)))
}

fn condition(pair: Pair<'_, Rule>) -> Result<Expr, SelectorError> {
    match pair.as_rule() {
        Rule::all => Ok(Expr::All),
        Rule::global => Ok(Expr::Global),
        Rule::has => label(child(&pair, Rule::label)?).map(Expr::Has),
        Rule::group => any(child(&pair, Rule::or)?),
        Rule::comparison => comparison(pair),
        _ => Err(misread(range(&pair))),
    }
}

fn comparison(pair: Pair<'_, Rule>) -> Result<Expr, SelectorError> {
    let key = label(child(&pair, Rule::label)?)?;
    let operator = pair.clone().into_inner().nth(1).ok_or_else(|| misread(range(&pair)))?;
    let one = || child(&pair, Rule::string).and_then(value);
    let many = || child(&pair, Rule::set).and_then(set);
    Ok(match operator.as_rule() {
        Rule::equals => Expr::Equals(key, one()?),
        Rule::not_equals => Expr::NotEquals(key, one()?),
        Rule::contains => Expr::Contains(key, one()?),
        Rule::starts_with => Expr::StartsWith(key, one()?),
        Rule::ends_with => Expr::EndsWith(key, one()?),
        Rule::in_set => Expr::one_of(key, many()?),
        Rule::not_in_set => Expr::none_of(key, many()?),
        _ => return Err(misread(range(&operator))),
    })
}

fn label(pair: Pair<'_, Rule>) -> Result<Arc<str>, SelectorError> {
    let name = pair.as_str();
    if name.len() > MAX_LABEL {
        let std::ops::Range { start, end } = range(&pair);
        let message = format!("a label's name of {} characters is longer than {MAX_LABEL}", name.len());
        return Err(SelectorError { start, end, message, help: None });
    }
    Ok(name.into())
}

fn set(pair: Pair<'_, Rule>) -> Result<Vec<Arc<str>>, SelectorError> {
    pair.into_inner().filter(|part| part.as_rule() == Rule::string).map(value).collect()
}

/// What stands between the quotes.
fn value(pair: Pair<'_, Rule>) -> Result<Arc<str>, SelectorError> {
    let inner = pair.clone().into_inner().next().ok_or_else(|| misread(range(&pair)))?;
    Ok(inner.as_str().into())
}

fn child<'t>(pair: &Pair<'t, Rule>, rule: Rule) -> Result<Pair<'t, Rule>, SelectorError> {
    pair.clone().into_inner().find(|part| part.as_rule() == rule).ok_or_else(|| misread(range(pair)))
}

fn range(pair: &Pair<'_, Rule>) -> std::ops::Range<usize> {
    pair.as_span().start()..pair.as_span().end()
}

/// This file and the grammar disagree. Refusing is the safe side.
fn misread(std::ops::Range { start, end }: std::ops::Range<usize>) -> SelectorError {
    SelectorError { start, end, message: "the selector cannot be read".into(), help: None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A thread with half the stack that threads commonly get; builds for tests need far more of it than others.
    fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
        std::thread::Builder::new().stack_size(1024 * 1024).spawn(test).unwrap().join().unwrap();
    }

    /// The parenthesis of `has(` counts too.
    fn nested(depth: usize) -> String {
        format!("{}has(a){}", "(".repeat(depth), ")".repeat(depth))
    }

    #[test]
    fn depth_is_bounded_whatever_the_stack() {
        on_a_small_stack(|| {
            assert_eq!(parse(&nested(99)).map(|expr| expr.to_string()), Ok("has(a)".into()));
            assert_eq!(parse(&nested(100)).map_err(|error| error.start), Err(103));
            for unreasonable in ["(".repeat(60_000), "(".repeat(100_000), nested(30_000), "!(".repeat(30_000)]
            {
                assert!(parse(&unreasonable).is_err());
            }
            let deepest = format!("{}has(a) || has(b){}", "!(has(c) && (".repeat(49), "))".repeat(49));
            let expr = parse(&deepest).unwrap();
            assert!(expr.matches(&|label| (label == "a").then_some("")));
            assert_eq!(parse(&expr.to_string()), Ok(expr));
        });
    }

    #[test]
    fn parentheses_in_quotes_do_not_nest() {
        assert!(parse(&format!("a == \"{}\"", "(".repeat(1000))).is_ok());
    }

    #[test]
    fn a_run_of_bangs_is_a_loop() {
        on_a_small_stack(|| {
            assert_eq!(parse(&format!("{}has(a)", "!".repeat(60_001))).unwrap().to_string(), "!has(a)");
        });
    }

    #[test]
    fn a_long_text_is_refused_and_a_long_set_is_not() {
        let set = |count: usize| format!("a in {{{}}}", "'x', ".repeat(count));
        assert!(parse(&set(10_000)).is_ok());
        assert!(parse(&set(20_000)).is_err_and(|error| error.message.contains("longer than 65536")));
    }

    #[test]
    fn a_label_has_512_characters_at_most() {
        assert!(parse(&format!("has({})", "a".repeat(512))).is_ok());
        let error = parse(&format!("has({})", "a".repeat(513))).unwrap_err();
        assert_eq!((error.start, error.end), (4, 517));
    }

    fn label_and_value() -> impl Strategy<Value = (Arc<str>, Arc<str>)> {
        let label =
            prop_oneof!["[A-Za-z0-9_./-]{1,6}", "has|all|global|in|not|notin|contains|starts|with|in-x"];
        (label.prop_map(Arc::from), "[^\"]{0,4}|[^']{0,4}".prop_map(Arc::from))
    }

    fn tree() -> impl Strategy<Value = Expr> {
        let leaf =
            (0..10, label_and_value(), label_and_value()).prop_map(|(kind, (label, value), (_, other))| {
                match kind {
                    0 => Expr::All,
                    1 => Expr::Global,
                    2 => Expr::Has(label),
                    3 => Expr::Equals(label, value),
                    4 => Expr::NotEquals(label, value),
                    5 => Expr::Contains(label, value),
                    6 => Expr::StartsWith(label, value),
                    7 => Expr::EndsWith(label, value),
                    8 => Expr::one_of(label, vec![value, other]),
                    _ => Expr::none_of(label, vec![value, other]),
                }
            });
        leaf.prop_recursive(6, 40, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(Expr::negated),
                prop::collection::vec(inner.clone(), 1..4).prop_map(Expr::every),
                prop::collection::vec(inner, 1..4).prop_map(Expr::any),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_canonical_text_reads_back_as_itself(expr in tree()) {
            prop_assert_eq!(parse(&expr.to_string()), Ok(expr));
        }

        #[test]
        fn any_text_is_read_or_refused_at_a_place_within_it(
            text in r#"([ab=!&|(){},'" \t\n“é]|has|all\(\)|in|not |== |'x'){0,12}"#
        ) {
            if let Err(error) = parse(&text) {
                prop_assert!(text.get(error.start..error.end).is_some(), "{error:?}");
            }
        }
    }
}
