//! Reading a document's tree: every value knows the way to it, so that a mistake can say where it is.

mod object;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt::Write as _;
use std::sync::Arc;

pub(super) use object::{Object, Unknown};

use super::key::{ResourceKey, StoredKey};
use super::name::{self, Syntax};

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
    /// What the entry's key says, where a store has it: that counts, whatever the document says.
    key: Option<StoredKey<'e>>,
    pub form: Form,
    diagnostics: RefCell<Vec<Diagnostic>>,
    errors: Cell<usize>,
    strangers: Cell<usize>,
    /// Looked up once: a document may have as many mistakes as words.
    subject: OnceCell<Option<String>>,
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
    pub fn new(entry: &'e Entry, form: Form, key: Option<StoredKey<'e>>) -> Self {
        Self {
            entry,
            key,
            form,
            diagnostics: RefCell::default(),
            errors: Cell::new(0),
            strangers: Cell::new(0),
            subject: OnceCell::new(),
        }
    }

    /// The whole document.
    pub fn root(&self) -> Field<'_> {
        Field { report: self, node: &self.entry.node, step: Step::Root, parent: None }
    }

    /// The entry's key, where that says what a resource of today is called.
    pub fn resource_key(&self) -> Option<ResourceKey<'e>> {
        match self.key {
            Some(StoredKey::Resource(key)) => Some(key),
            Some(_) | None => None,
        }
    }

    /// A name that the entry's key says.
    pub fn name_in_key(&self, syntax: &Syntax, text: &str) -> Option<Arc<str>> {
        match name::check(syntax, text) {
            Ok(()) => Some(Arc::from(text)),
            Err(mistake) => {
                self.root().error(Mistake { message: format!("the key: {}", mistake.message), ..mistake });
                None
            }
        }
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

    /// That something else stands where a mapping should.
    fn not_a_mapping(&self) -> Mistake {
        self.yaml_help(Mistake::value("a mapping is wanted", "not a mapping"), "write `key: value`")
    }

    /// The mistake with a help that is about YAML, which only people write.
    fn yaml_help(&self, mistake: Mistake, help: &str) -> Mistake {
        match self.written() {
            Written::Manifest => mistake.help(help),
            Written::Stored => mistake,
        }
    }

    /// How many errors there are: what was read while it grew is not to be trusted.
    pub fn errors(&self) -> usize {
        self.errors.get()
    }

    /// Whether all that was read could be read. A field that nobody knows is an error too, but was not read.
    pub fn all_readable(&self) -> bool {
        self.errors.get() == self.strangers.get()
    }

    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics.into_inner()
    }

    fn subject(&self) -> Option<String> {
        match &self.key {
            Some(key) => Some(key.to_string()),
            None => subject(&self.entry.node),
        }
    }

    fn push(&self, severity: Severity, span: Span, path: &str, mistake: Mistake) {
        if severity == Severity::Error {
            self.errors.set(self.errors.get() + 1);
        }
        let Mistake { code, message, label, help } = mistake;
        let subject = self.subject.get_or_init(|| self.subject()).as_deref();
        let message = match (subject, path) {
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
            effect: None,
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
                let mistake = Mistake::value("a list is wanted", "not a list");
                self.error(self.report.yaml_help(mistake, "begin each item with `- `"));
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
        Object::read_from(*self, known, unknown)
    }

    /// The pairs of a mapping with free keys, in the order written. A null value is an empty text.
    pub fn pairs<'s>(&'s self) -> impl Iterator<Item = (&'s str, Field<'s>)> + use<'s, 'a> {
        let entries = match &self.node.value {
            Value::Mapping(entries) => entries.as_slice(),
            Value::Scalar(_) | Value::Sequence(_) => {
                self.error(self.report.not_a_mapping());
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
