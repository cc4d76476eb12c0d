//! What a reader is told where a selector stops making sense.

use std::fmt::{self, Write};

use super::SelectorError;
use super::parse::{Rule, unquoted};

/// Says what is wrong at `at`, where the grammar would have gone on with one of `rules`.
pub(super) fn complaint(text: &str, at: usize, rules: &[Rule]) -> SelectorError {
    let expected = rules.iter().filter_map(|&rule| Expected::by(rule)).min().unwrap_or(Expected::End);
    let site = Site { before: text.get(..at).unwrap_or(text).trim_end(), found: Found::at(text, at) };
    unclosed(text, expected, &site).or_else(|| site.misplaced(expected)).unwrap_or_else(|| SelectorError {
        start: site.found.start,
        end: site.found.end(),
        message: format!("expected {expected}, found {}", site.found),
        help: Some(site.help(expected)),
    })
}

/// What could have come, the most telling first: where a condition may start, that is the thing to say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Expected {
    Condition,
    Operator,
    Value,
    Set,
    SetEnd,
    Label,
    /// `)`, or on with `&&` or `||`.
    Close,
    /// The end, or on with `&&` or `||`.
    End,
}

impl Expected {
    fn by(rule: Rule) -> Option<Self> {
        match rule {
            Rule::selector
            | Rule::or
            | Rule::and
            | Rule::not
            | Rule::bang
            | Rule::condition
            | Rule::has
            | Rule::has_word
            | Rule::all
            | Rule::all_word
            | Rule::global
            | Rule::global_word
            | Rule::group
            | Rule::open
            | Rule::comparison => Some(Self::Condition),
            Rule::value_op
            | Rule::set_op
            | Rule::equals
            | Rule::not_equals
            | Rule::contains
            | Rule::starts_with
            | Rule::ends_with
            | Rule::in_set
            | Rule::not_in_set => Some(Self::Operator),
            Rule::string | Rule::in_double | Rule::in_single => Some(Self::Value),
            Rule::set | Rule::open_brace => Some(Self::Set),
            Rule::comma | Rule::close_brace => Some(Self::SetEnd),
            Rule::label => Some(Self::Label),
            Rule::close => Some(Self::Close),
            Rule::EOI => Some(Self::End),
            // Say nothing by themselves: what ends a selector or a group is expected beside them.
            Rule::and_op | Rule::or_op | Rule::margin | Rule::word_end | Rule::WHITESPACE => None,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Condition => "a condition",
            Self::Operator => "an operator",
            Self::Value => "a quoted value",
            Self::Set => "`{`",
            Self::SetEnd => "`,` or `}`",
            Self::Label => "a label",
            Self::Close => "`)`",
            Self::End => "`&&`, `||` or the end",
        })
    }
}

/// The token that should not be there; empty at the end of the text.
struct Found<'t> {
    start: usize,
    token: &'t str,
}

impl<'t> Found<'t> {
    fn at(text: &'t str, at: usize) -> Self {
        let rest = text.get(at..).unwrap_or_default();
        if rest.trim().is_empty() {
            return Self { start: text.trim_end().len(), token: "" };
        }
        let token = rest.get(..token_length(rest)).unwrap_or(rest);
        Self { start: at, token }
    }

    fn end(&self) -> usize {
        self.start + self.token.len()
    }

    fn shown(&self) -> Shown<'t> {
        Shown(self.token)
    }

    fn is_end(&self) -> bool {
        self.token.is_empty()
    }

    fn is_word(&self) -> bool {
        self.token.starts_with(in_label)
    }

    fn is_quoted(&self) -> bool {
        self.token.starts_with(['"', '\''])
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.token {
            "" => f.write_str("the end"),
            "\n" | "\r" => f.write_str("a line break"),
            _ => write!(f, "`{}`", self.shown()),
        }
    }
}

/// A token as it is quoted in a message: in one line, and cut where it is long.
struct Shown<'t>(&'t str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LIMIT: usize = 60;
        let mut chars = self.0.chars();
        for char in chars.by_ref().take(LIMIT) {
            if char.is_control() {
                write!(f, "{}", char.escape_default())?;
            } else {
                f.write_char(char)?;
            }
        }
        if chars.next().is_some() { f.write_char('…') } else { Ok(()) }
    }
}

/// The place of the error: the text before it without trailing blanks, and what stands there.
struct Site<'t> {
    before: &'t str,
    found: Found<'t>,
}

impl<'t> Site<'t> {
    /// The cases in which the fault lies with what stands before, or in more than one token.
    fn misplaced(&self, expected: Expected) -> Option<SelectorError> {
        let Self { before, found } = self;
        match (expected, found.token) {
            (Expected::Operator, "(") => Some(self.unknown_function()),
            (Expected::Operator, "" | ")" | "&&" | "||" | "&" | "|") => Some(self.lone_label()),
            (Expected::Condition, ")") if before.ends_with('(') => Some(SelectorError {
                start: before.len() - 1,
                end: found.end(),
                message: "nothing between the parentheses".into(),
                help: Some(A_CONDITION.into()),
            }),
            (Expected::Condition, ")") if before.is_empty() => Some(self.stray_close()),
            (Expected::End, ")") => Some(self.stray_close()),
            (Expected::Condition, "") => Some(self.nothing_after()),
            _ => None,
        }
    }

    /// `foo(x)`, or `has (x)`.
    fn unknown_function(&self) -> SelectorError {
        let (start, name) = self.last_word();
        let (message, help) = match name {
            "has" | "all" | "global" => (
                format!("`{name}` is apart from its `(`"),
                format!("write `{name}(` without a space to call the function"),
            ),
            _ => (
                format!("there is no function `{}`", Shown(name)),
                "the functions are `has(label)`, `all()` and `global()`".into(),
            ),
        };
        SelectorError { start, end: self.found.end(), message, help: Some(help) }
    }

    /// `b` where `b == "x"` or `has(b)` is meant.
    fn lone_label(&self) -> SelectorError {
        let (start, name) = self.last_word();
        let name = Shown(name);
        SelectorError {
            start,
            end: self.before.len(),
            message: format!("the label `{name}` alone is not a condition"),
            help: Some(format!(
                "write `has({name})` to ask whether it is there, or compare it: `{name} == \"value\"`"
            )),
        }
    }

    fn stray_close(&self) -> SelectorError {
        SelectorError {
            start: self.found.start,
            end: self.found.end(),
            message: "`)` without a `(` before it".into(),
            help: None,
        }
    }

    /// `has(a) &&`, `!`.
    fn nothing_after(&self) -> SelectorError {
        let last = self.before.chars().next_back().map_or(0, char::len_utf8);
        let doubled = self.before.ends_with("&&") || self.before.ends_with("||");
        let start = self.before.len() - if doubled { 2 } else { last };
        let token = self.before.get(start..).unwrap_or_default();
        SelectorError {
            start,
            end: self.before.len(),
            message: format!("nothing follows `{token}`"),
            help: Some(A_CONDITION.into()),
        }
    }

    /// What to do about the token found.
    fn help(&self, expected: Expected) -> String {
        if let Some(help) = foreign_character_help(self.found.token) {
            return help.into();
        }
        match expected {
            Expected::Condition => self.condition_help(),
            Expected::Operator => self.operator_help(),
            Expected::Value => self.value_help(),
            Expected::Set if self.found.is_quoted() => {
                format!("put it in braces: `{{{}}}`", self.found.shown())
            }
            Expected::Set => "list the values in braces: `{\"a\", \"b\"}`".into(),
            Expected::SetEnd if self.found.is_quoted() => "put a comma between two values".into(),
            Expected::SetEnd => "a set is quoted values with commas between: `{\"a\", \"b\"}`".into(),
            Expected::Label if self.found.is_quoted() => "a label's name has no quotes: `has(role)`".into(),
            Expected::Label => "name one label: `has(role)`".into(),
            Expected::Close => self.close_help(),
            Expected::End => connective_help(self.found.token),
        }
    }

    fn condition_help(&self) -> String {
        if self.found.is_quoted() {
            format!("the label stands on the left, without quotes: `label == {}`", self.found.shown())
        } else {
            A_CONDITION.into()
        }
    }

    fn operator_help(&self) -> String {
        let found = &self.found;
        if found.token == "=" {
            "use `==` to compare".into()
        } else if found.is_quoted() {
            format!("put `==` between them: `{} == {}`", Shown(self.last_word().1), found.shown())
        } else if OPERATOR_WORDS.contains(&found.token.to_ascii_lowercase().as_str()) {
            format!("write it whole and in small letters; {THE_OPERATORS}")
        } else {
            THE_OPERATORS.into()
        }
    }

    fn value_help(&self) -> String {
        match self.found.token {
            "{" => "use `in` or `not in` with a set of values".into(),
            "=" => "the operator is `==`".into(),
            _ if self.found.is_word() => format!("quote it: `\"{}\"`", self.found.shown()),
            _ => "a value is text in quotes: `\"value\"`".into(),
        }
    }

    fn close_help(&self) -> String {
        let called = self.before.trim_end_matches(in_label).trim_end();
        if called.ends_with("has(") {
            "`has` takes one label: `has(a) && has(b)`".into()
        } else if called.ends_with("all(") || called.ends_with("global(") {
            "it takes nothing between its parentheses".into()
        } else {
            connective_help(self.found.token)
        }
    }

    /// The label's name that the text before ends in, and where it starts.
    fn last_word(&self) -> (usize, &'t str) {
        let start = self.before.trim_end_matches(in_label).len();
        (start, self.before.get(start..).unwrap_or_default())
    }
}

const THE_OPERATORS: &str =
    "the operators are `==`, `!=`, `in`, `not in`, `contains`, `starts with` and `ends with`";

const OPERATOR_WORDS: [&str; 8] =
    ["in", "not", "notin", "contains", "starts", "startswith", "ends", "endswith"];

const A_CONDITION: &str = "a condition is like `role == \"web\"`, `has(role)` or `all()`";

/// Characters that belong to no selector outside quotes, whatever is expected.
fn foreign_character_help(token: &str) -> Option<&'static str> {
    match token.chars().next()? {
        '\n' | '\r' => Some("write the selector in one line"),
        '“' | '”' | '„' | '‘' | '’' | '`' => Some("use the straight quotes `\"` or `'`"),
        char if char.is_alphanumeric() && !char.is_ascii() => {
            Some("the name of a label is made of `a` to `z`, `A` to `Z`, `0` to `9`, `_`, `.`, `/` and `-`")
        }
        _ => None,
    }
}

fn connective_help(token: &str) -> String {
    let is = |word: &str| token.eq_ignore_ascii_case(word);
    if token == "&" || is("and") {
        "use `&&` for and".into()
    } else if token == "|" || is("or") {
        "use `||` for or".into()
    } else {
        "join two conditions by `&&` or `||`".into()
    }
}

/// The text is over and a parenthesis or brace still open: the opening one is what to look at.
fn unclosed(text: &str, expected: Expected, site: &Site<'_>) -> Option<SelectorError> {
    let (open, close) = match expected {
        Expected::Close => ('(', ')'),
        Expected::SetEnd | Expected::Value => ('{', '}'),
        Expected::Condition | Expected::Operator | Expected::Set | Expected::Label | Expected::End => {
            return None;
        }
    };
    if !site.found.is_end() {
        return None;
    }
    let mut opened = Vec::new();
    for (at, char) in unquoted(text).flatten() {
        if char == open {
            opened.push(at);
        } else if char == close {
            opened.pop();
        }
    }
    let start = opened.pop()?;
    Some(SelectorError {
        start,
        end: start + open.len_utf8(),
        message: format!("`{open}` is never closed"),
        help: Some(format!("add the missing `{close}`")),
    })
}

/// Bytes of the first token of `rest`.
fn token_length(rest: &str) -> usize {
    let word = rest.len() - rest.trim_start_matches(in_label).len();
    let Some(first) = rest.chars().next() else { return 0 };
    match first {
        _ if word > 0 => word,
        '"' | '\'' => {
            rest.chars().skip(1).take_while(|&next| next != first).map(char::len_utf8).sum::<usize>() + 2
        }
        _ if ["&&", "||", "==", "!="].iter().any(|token| rest.starts_with(token)) => 2,
        _ => first.len_utf8(),
    }
}

fn in_label(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '/' | '-')
}
