//! Reading a document's tree: every value knows the way to it, so that a mistake can say where it is.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::config::nearest;
use crate::datastore::{Entry, Excerpt, Node, Place, Scalar, Span, Value, Written};
use crate::model::diagnostic::{Code, Diagnostic, Severity};

/// Which generation of the API a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    V1,
    V3,
}

/// What was found wrong in one entry so far.
pub(super) struct Report<'e> {
    entry: &'e Entry,
    pub form: Form,
    diagnostics: RefCell<Vec<Diagnostic>>,
    errors: Cell<usize>,
}

/// What is wrong with a value, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub code: Code,
    pub message: String,
    pub label: String,
    pub help: Option<String>,
}

impl Mistake {
    pub fn new(code: Code, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { code, message: message.into(), label: label.into(), help: None }
    }

    /// A value of the wrong shape, out of range, or not among those allowed.
    pub fn value(message: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(Code::InvalidValue, message, label)
    }

    /// Criteria that can't stand together.
    pub fn contradiction(message: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(Code::Contradiction, message, label)
    }

    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl<'e> Report<'e> {
    pub fn new(entry: &'e Entry, form: Form) -> Self {
        Self { entry, form, diagnostics: RefCell::default(), errors: Cell::new(0) }
    }

    /// The whole document.
    pub fn root(&self) -> Field<'_> {
        Field { report: self, node: &self.entry.node, step: Step::Root, parent: None }
    }

    pub fn written(&self) -> Written {
        self.entry.origin.written
    }

    pub fn place(&self, span: Span) -> Place {
        self.entry.origin.place(span)
    }

    pub fn text(&self) -> &str {
        &self.entry.origin.text
    }

    /// How many errors there are: what was read while it grew is not to be trusted.
    pub fn errors(&self) -> usize {
        self.errors.get()
    }

    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics.into_inner()
    }

    fn push(&self, severity: Severity, span: Span, path: &str, mistake: Mistake) {
        if severity == Severity::Error {
            self.errors.set(self.errors.get() + 1);
        }
        let Mistake { code, message, label, help } = mistake;
        let message = match (subject(&self.entry.node), path) {
            (None, "") => message,
            (None, path) => format!("{path}: {message}"),
            (Some(subject), "") => format!("{subject}: {message}"),
            (Some(subject), path) => format!("{subject}: {path}: {message}"),
        };
        self.diagnostics.borrow_mut().push(Diagnostic {
            severity,
            code,
            place: self.place(span),
            excerpt: excerpt(self.entry, span),
            message: shortened(message),
            label: shortened(label),
            help: help.map(shortened),
        });
    }
}

/// Values are quoted in what is said, and a value may be a whole file.
fn shortened(text: String) -> String {
    const LONGEST: usize = 400;
    match text.char_indices().nth(LONGEST).and_then(|(end, _)| text.get(..end)) {
        Some(start) => format!("{start}…"),
        None => text,
    }
}

/// The line at `span`, where the source has one.
fn excerpt(entry: &Entry, span: Span) -> Option<Excerpt> {
    (span.line > 0 && !entry.origin.text.is_empty()).then(|| entry.origin.excerpt(span))
}

/// Kind, namespace and name as they are written, as far as they are.
fn subject(node: &Node) -> Option<String> {
    let kind = text_of(node.child("kind")?)?;
    let metadata = node.child("metadata");
    let word = |name| metadata.and_then(|metadata| metadata.child(name)).and_then(text_of);
    Some(match (word("namespace"), word("name").or_else(|| word("cidr"))) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) => format!("{kind} {name}"),
        (_, None) => kind.to_owned(),
    })
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) if !scalar.is_null() => Some(&scalar.text),
        Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

/// One step of the way to a value.
#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Name(&'a str),
    Item(usize),
}

/// A value and the way to it.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub report: &'a Report<'a>,
    node: &'a Node,
    step: Step<'a>,
    parent: Option<&'a Field<'a>>,
}

impl<'a> Field<'a> {
    pub fn error(&self, mistake: Mistake) {
        self.report.push(Severity::Error, self.node.span, &self.path(), mistake);
    }

    pub fn warn(&self, mistake: Mistake) {
        self.report.push(Severity::Warning, self.node.span, &self.path(), mistake);
    }

    pub fn note(&self, mistake: Mistake) {
        self.report.push(Severity::Note, self.node.span, &self.path(), mistake);
    }

    /// An error at a part of this value.
    pub fn error_at(&self, span: Span, mistake: Mistake) {
        self.report.push(Severity::Error, span, &self.path(), mistake);
    }

    pub fn place(&self) -> Place {
        self.report.place(self.node.span)
    }

    pub fn span(&self) -> Span {
        self.node.span
    }

    /// The value as `read` understands it; otherwise its mistake is reported.
    pub fn read<T>(&self, read: impl FnOnce(&Scalar) -> Result<T, Mistake>) -> Option<T> {
        let result = self.scalar().and_then(read);
        result.map_err(|mistake| self.error(mistake)).ok()
    }

    /// The text of a word, number or text.
    pub fn text(&self) -> Option<&'a str> {
        match self.scalar() {
            Ok(scalar) => Some(&scalar.text),
            Err(mistake) => {
                self.error(mistake);
                None
            }
        }
    }

    fn scalar(&self) -> Result<&'a Scalar, Mistake> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.is_null() => {
                Err(Mistake::value("nothing is written here", "empty"))
            }
            Value::Scalar(scalar) => Ok(scalar),
            Value::Sequence(_) => Err(Mistake::value("a list where one value is wanted", "a list")),
            Value::Mapping(_) => Err(Mistake::value("a mapping where one value is wanted", "a mapping")),
        }
    }

    /// The items of a list; something else is an error and has none.
    pub fn items<'s>(&'s self) -> impl ExactSizeIterator<Item = Field<'s>> + use<'s, 'a> {
        let nodes: &[Node] = match &self.node.value {
            Value::Sequence(nodes) => nodes,
            Value::Scalar(_) | Value::Mapping(_) => {
                self.error(
                    Mistake::value("a list is wanted", "not a list").help("begin each item with `- `"),
                );
                &[]
            }
        };
        nodes.iter().enumerate().map(|(index, node)| Field {
            report: self.report,
            node,
            step: Step::Item(index),
            parent: Some(self),
        })
    }

    /// Every item of a list of scalars that `read` understands; the others are reported.
    pub fn read_all<T>(&self, read: impl Fn(&Scalar) -> Result<T, Mistake>) -> Vec<T> {
        self.items().filter_map(|item| item.read(&read)).collect()
    }

    /// Reports a list longer than `limit`.
    pub fn at_most(&self, limit: usize, what: &str) {
        if let Value::Sequence(items) = &self.node.value
            && items.len() > limit
        {
            self.error(Mistake::value(format!("{} {what}", items.len()), format!("at most {limit}")));
        }
    }

    /// The fields of a mapping, of which only `known` are expected.
    pub fn object(&self, known: &'static [&'static str], unknown: Unknown) -> Object<'a> {
        let mapping = match &self.node.value {
            Value::Mapping(_) => true,
            Value::Scalar(_) | Value::Sequence(_) => {
                self.error(Mistake::value("a mapping is wanted", "not a mapping").help("write `key: value`"));
                false
            }
        };
        let object = Object { field: *self, mapping, known };
        object.report_unknown(unknown);
        object
    }

    /// The pairs of a mapping with free keys, in the order written. A null value is an empty text.
    pub fn pairs<'s>(&'s self) -> impl Iterator<Item = (&'s str, Field<'s>)> + use<'s, 'a> {
        let entries = match &self.node.value {
            Value::Mapping(entries) => entries.as_slice(),
            Value::Scalar(_) | Value::Sequence(_) => {
                self.error(Mistake::value("a mapping is wanted", "not a mapping").help("write `key: value`"));
                &[]
            }
        };
        entries.iter().map(|(key, node)| {
            let step = Step::Name(&key.text);
            (&*key.text, Field { report: self.report, node, step, parent: Some(self) })
        })
    }

    pub fn is_null(&self) -> bool {
        self.node.is_null()
    }

    pub fn is_empty_text(&self) -> bool {
        matches!(&self.node.value, Value::Scalar(scalar) if scalar.text.is_empty())
    }

    pub fn is_empty_list(&self) -> bool {
        matches!(&self.node.value, Value::Sequence(items) if items.is_empty())
    }

    /// The value's tree, for readers of free shapes.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    fn path(&self) -> String {
        let mut path = String::new();
        self.write_path(&mut path);
        path
    }

    fn write_path(&self, path: &mut String) {
        if let Some(parent) = self.parent {
            parent.write_path(path);
        }
        match self.step {
            Step::Root => {}
            Step::Name(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            // Writing to a String can't fail.
            Step::Item(index) => drop(write!(path, "[{index}]")),
        }
    }
}

/// What a field that nobody knows does to its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Other names are looked at elsewhere.
    Free,
    /// It is said and passed over: a newer API may have it.
    Tolerated,
    /// As [`Unknown::Tolerated`], but one that is nearly a known name is an error: passing it over would change
    /// what the object applies to.
    MisspeltRefused,
    /// It is an error: it may be a criterion, and a criterion passed over opens the rule.
    Refused,
}

/// A mapping of which the names are known. An absent one has no fields.
pub(super) struct Object<'a> {
    field: Field<'a>,
    mapping: bool,
    known: &'static [&'static str],
}

impl<'a> Object<'a> {
    /// The field, unless it is absent or null.
    pub fn get<'s>(&'s self, name: &'static str) -> Option<Field<'s>> {
        debug_assert!(self.known.contains(&name), "{name} is read and not known");
        let node = self.field.node.child(name).filter(|node| self.mapping && !node.is_null())?;
        Some(Field { report: self.field.report, node, step: Step::Name(name), parent: Some(&self.field) })
    }

    /// The field; its absence is an error.
    pub fn require<'s>(&'s self, name: &'static str) -> Option<Field<'s>> {
        let field = self.get(name);
        if field.is_none() {
            self.missing(name);
        }
        field
    }

    /// Reports that `name` is not there.
    pub fn missing(&self, name: &'static str) {
        let absent = Field { step: Step::Name(name), parent: Some(&self.field), ..self.field };
        absent.error(Mistake::new(Code::MissingField, "it is missing", format!("`{name}` is wanted here")));
    }

    /// The mapping called `name`; an absent one has no fields.
    pub fn object<'s>(
        &'s self,
        name: &'static str,
        known: &'static [&'static str],
        unknown: Unknown,
    ) -> Object<'s> {
        match self.get(name) {
            // The field is rebuilt with the lifetime of `self`, so the object may outlive the local.
            Some(field) => field.object(known, unknown),
            None => Object {
                field: Field { step: Step::Name(name), parent: Some(&self.field), ..self.field },
                mapping: false,
                known,
            },
        }
    }

    /// The value of `name` as `read` understands it.
    pub fn read<T>(&self, name: &'static str, read: impl FnOnce(&Scalar) -> Result<T, Mistake>) -> Option<T> {
        self.get(name)?.read(read)
    }

    /// The items of `name` that `read` understands; none where it is absent.
    pub fn read_all<T>(&self, name: &'static str, read: impl Fn(&Scalar) -> Result<T, Mistake>) -> Vec<T> {
        self.get(name).map(|field| field.read_all(read)).unwrap_or_default()
    }

    /// The text of `name`; absent and empty are the same.
    pub fn text(&self, name: &'static str) -> Option<Arc<str>> {
        self.get(name)?.text().filter(|text| !text.is_empty()).map(Arc::from)
    }

    /// All pairs of the mapping, also those that are not known.
    pub fn pairs<'s>(&'s self) -> impl Iterator<Item = (&'s str, Field<'s>)> + use<'s, 'a> {
        self.mapping.then(|| self.field.pairs()).into_iter().flatten()
    }

    /// The mapping itself, for what is wrong with several of its fields together.
    pub fn field(&self) -> &Field<'a> {
        &self.field
    }

    pub fn report(&self) -> &'a Report<'a> {
        self.field.report
    }

    pub fn is_empty(&self) -> bool {
        match &self.field.node.value {
            Value::Mapping(entries) => !self.mapping || entries.iter().all(|(_, node)| node.is_null()),
            Value::Scalar(_) | Value::Sequence(_) => true,
        }
    }

    fn report_unknown(&self, unknown: Unknown) {
        let Value::Mapping(entries) = &self.field.node.value else { return };
        for (key, _) in entries {
            if self.known.contains(&&*key.text) {
                continue;
            }
            let close = nearest(&key.text, self.known.iter().copied());
            let severity = match unknown {
                Unknown::Free => return,
                Unknown::Tolerated => Severity::Warning,
                Unknown::MisspeltRefused if close.is_none() => Severity::Warning,
                Unknown::MisspeltRefused | Unknown::Refused => Severity::Error,
            };
            let mistake = Mistake {
                help: close.map(|known| format!("did you mean `{known}`?")),
                ..Mistake::new(
                    Code::UnknownField,
                    format!("no field is called `{}`", key.text),
                    match severity {
                        Severity::Error => "not understood",
                        Severity::Warning | Severity::Note => "passed over",
                    },
                )
            };
            self.field.report.push(severity, key.span, &self.field.path(), mistake);
        }
    }
}
