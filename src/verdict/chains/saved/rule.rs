//! A rule's words as the parts that `iptables` makes of them: the packet's head, match modules, the target.

use std::borrow::Cow;
use std::fmt;

use super::Counters;
use super::error::{Input, Problem, SavedError};
use super::tables::RuleText;
use super::words::{Word, words};

#[derive(Default)]
pub(super) struct Parts<'t> {
    pub(super) head: Vec<(Head, Choice<'t>)>,
    pub(super) modules: Vec<Module<'t>>,
    /// Options before any module: those of the protocol's own, which needs no `-m`.
    pub(super) loose: Vec<Choice<'t>>,
    pub(super) target: Option<Target<'t>>,
    pub(super) counters: Option<Counters>,
}

/// What can be asked without a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Source,
    Destination,
    InInterface,
    OutInterface,
    Protocol,
    /// `-f`, `-4`, `-6`
    Flag,
}

/// `! --name values`
pub(super) struct Choice<'t> {
    pub(super) negated: bool,
    pub(super) name: &'t str,
    pub(super) values: Vec<Word<'t>>,
}

/// `-m name`
pub(super) struct Module<'t> {
    pub(super) name: Cow<'t, str>,
    pub(super) choices: Vec<Choice<'t>>,
}

/// `-j name` or `-g name`
pub(super) struct Target<'t> {
    pub(super) goto: bool,
    pub(super) name: Cow<'t, str>,
    pub(super) choices: Vec<Choice<'t>>,
}

impl Head {
    fn of(option: &str) -> Option<Self> {
        Some(match option {
            "-s" | "--source" | "--src" => Self::Source,
            "-d" | "--destination" | "--dst" => Self::Destination,
            "-i" | "--in-interface" => Self::InInterface,
            "-o" | "--out-interface" => Self::OutInterface,
            "-p" | "--protocol" | "--proto" => Self::Protocol,
            "-f" | "--fragment" | "--fragments" | "-4" | "--ipv4" | "-6" | "--ipv6" => Self::Flag,
            _ => return None,
        })
    }
}

impl Choice<'_> {
    /// The value, where there is one and no other.
    pub(super) fn value(&self) -> Option<&str> {
        match self.values.as_slice() {
            [value] => Some(&value.text),
            _ => None,
        }
    }
}

impl<'t> Parts<'t> {
    pub(super) fn read(rule: &RuleText<'t>) -> Result<Self, SavedError> {
        let RuleText { line, counters: _, text } = rule;
        let parts = words(text).map_err(|_| Problem::UnclosedQuote).and_then(Self::of);
        parts.map_err(|problem| SavedError::new(Input::Tables, *line, text, problem))
    }

    fn of(words: Vec<Word<'t>>) -> Result<Self, Problem> {
        let mut parts = Self::default();
        let mut words = Words { words: words.into_iter().peekable() };
        while let Some(word) = words.words.next() {
            let negated = word.is_not();
            let option = if negated { words.option() } else { Some(word.clone()).filter(Word::is_option) };
            let option = option.ok_or_else(|| Problem::Stray(word.raw.into()))?;
            parts.take(negated, &option, &mut words)?;
        }
        Ok(parts)
    }

    fn take(&mut self, negated: bool, option: &Word<'t>, words: &mut Words<'t>) -> Result<(), Problem> {
        let name = option.raw;
        if let Some(head) = Head::of(name) {
            return self.head(head, negated, name, words);
        }
        match name {
            "-m" | "--match" | "-j" | "--jump" | "-g" | "--goto" | "-c" | "--set-counters" if negated => {
                Err(Problem::Stray("!".into()))
            }
            "-m" | "--match" => {
                let module = Module { name: words.value(name)?.text, choices: Vec::new() };
                self.modules.push(module);
                Ok(())
            }
            "-j" | "--jump" | "-g" | "--goto" => {
                let goto = matches!(name, "-g" | "--goto");
                let target = Target { goto, name: words.value(name)?.text, choices: Vec::new() };
                match self.target.replace(target) {
                    None => Ok(()),
                    Some(_) => Err(Problem::Repeated("target".into())),
                }
            }
            "-c" | "--set-counters" => {
                let mut number = || words.value(name)?.text.parse().map_err(|_| Problem::Counters);
                self.counters = Some(Counters { packets: number()?, bytes: number()? });
                Ok(())
            }
            _ => {
                let choice = Choice::read(negated, name, words)?;
                match (&mut self.target, self.modules.last_mut()) {
                    (Some(target), _) => target.choices.push(choice),
                    (None, Some(module)) => module.choices.push(choice),
                    (None, None) => self.loose.push(choice),
                }
                Ok(())
            }
        }
    }

    fn head(
        &mut self,
        head: Head,
        mut negated: bool,
        name: &'t str,
        words: &mut Words<'t>,
    ) -> Result<(), Problem> {
        if head != Head::Flag && self.head.iter().any(|(known, _)| *known == head) {
            return Err(Problem::Repeated(name.into()));
        }
        let mut values = Vec::new();
        if head != Head::Flag {
            let mut value = words.value(name)?;
            // The old place of the negation.
            if value.is_not() && !negated {
                negated = true;
                value = words.value(name)?;
            }
            values.push(value);
        }
        self.head.push((head, Choice { negated, name, values }));
        Ok(())
    }

    pub(super) fn comments(&self) -> impl Iterator<Item = &str> {
        let modules = self.modules.iter().filter(|module| module.name == "comment");
        let choices = modules.flat_map(|module| &module.choices);
        choices.filter(|choice| choice.name == "--comment").filter_map(Choice::value)
    }

    /// The names of the sets that it matches by.
    pub(super) fn sets(&self) -> impl Iterator<Item = &str> {
        let modules = self.modules.iter().filter(|module| module.name == "set");
        let choices = modules.flat_map(|module| &module.choices);
        let names = choices.filter(|choice| choice.name == "--match-set").map(|choice| choice.values.first());
        names.flatten().map(|name| &*name.text)
    }
}

impl<'t> Choice<'t> {
    /// Options whose one value may look like anything.
    const FREE_TEXT: [&'static str; 5] =
        ["--comment", "--log-prefix", "--nflog-prefix", "--string", "--hex-string"];

    fn read(negated: bool, name: &'t str, words: &mut Words<'t>) -> Result<Self, Problem> {
        if let Some((name, value)) = name.split_once('=') {
            let values = vec![Word { text: value.into(), raw: value }];
            return Ok(Self { negated, name, values });
        }
        let values = if Self::FREE_TEXT.contains(&name) { vec![words.value(name)?] } else { words.values() };
        Ok(Self { negated, name, values })
    }
}

struct Words<'t> {
    words: std::iter::Peekable<std::vec::IntoIter<Word<'t>>>,
}

impl<'t> Words<'t> {
    /// The next word, whatever it looks like.
    fn value(&mut self, option: &str) -> Result<Word<'t>, Problem> {
        self.words.next().ok_or_else(|| Problem::NoValue(option.into()))
    }

    fn option(&mut self) -> Option<Word<'t>> {
        self.words.next_if(Word::is_option)
    }

    /// All words before the next option or negation.
    fn values(&mut self) -> Vec<Word<'t>> {
        let mut values = Vec::new();
        while let Some(value) = self.words.next_if(|word| !word.is_option() && !word.is_not()) {
            values.push(value);
        }
        values
    }
}

impl fmt::Display for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { negated, name, values } = self;
        f.write_str(if *negated { "! " } else { "" })?;
        f.write_str(name)?;
        values.iter().try_for_each(|value| write!(f, " {}", value.raw))
    }
}

impl fmt::Display for Module<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, choices } = self;
        write!(f, "-m {name}")?;
        choices.iter().try_for_each(|choice| write!(f, " {choice}"))
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { goto, name, choices } = self;
        write!(f, "-{} {name}", if *goto { 'g' } else { 'j' })?;
        choices.iter().try_for_each(|choice| write!(f, " {choice}"))
    }
}
