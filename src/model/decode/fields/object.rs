//! Mappings of which the names are known, and what becomes of other names.

use std::sync::Arc;

use super::{Field, Mistake, Report, Step};
use crate::config::nearest;
use crate::datastore::{Scalar, Span, Value, Written};
use crate::model::diagnostic::{Code, Severity};

/// What a field that nobody knows does to its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Other names are looked at elsewhere.
    Free,
    /// It is said and passed over: a newer API may have it.
    Tolerated,
    /// In a manifest it is an error, as it is to calicoctl: passed over, the object might say more than was meant.
    /// What is stored may be a newer client's: tolerated.
    RefusedInManifest,
    /// As [`Unknown::RefusedInManifest`], but one that is nearly a known name is an error in what is stored too:
    /// passing it over would change what the object applies to.
    MisspeltRefused,
    /// It is an error: it may be a criterion, and a criterion passed over opens the rule.
    Refused,
}

/// A mapping of which the names are known. An absent one has no fields.
pub struct Object<'a> {
    field: Field<'a>,
    mapping: bool,
    known: &'static [&'static str],
    unknown: Unknown,
}

/// A field that nobody knows, which is said.
struct Stranger<'a> {
    name: &'a str,
    span: Span,
    /// The known name that may be meant.
    close: Option<&'static str>,
    severity: Severity,
}

impl<'a> Object<'a> {
    /// The mapping at `field`; its unknown fields are reported.
    pub(super) fn read_from(field: Field<'a>, known: &'static [&'static str], unknown: Unknown) -> Self {
        let mapping = match &field.node.value {
            Value::Mapping(_) => true,
            Value::Scalar(_) | Value::Sequence(_) => {
                field.error(field.report.not_a_mapping());
                false
            }
        };
        let object = Self { field, mapping, known, unknown };
        object.report_unknown();
        object
    }

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
                unknown,
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

    /// Whether a mapping of this kind has such a field.
    pub fn knows(&self, name: &str) -> bool {
        self.known.contains(&name)
    }

    /// How its own unknown fields are taken.
    pub fn unknown(&self) -> Unknown {
        self.unknown
    }

    /// Whether `name` is not written, and a refused field may be meant to be it.
    pub fn misspells(&self, name: &'static str) -> bool {
        self.get(name).is_none() && self.refused().any(|stranger| stranger.close == Some(name))
    }

    /// The unknown fields that are errors.
    pub fn refused_names(&self) -> impl Iterator<Item = &'a str> {
        self.refused().map(|stranger| stranger.name)
    }

    fn refused(&self) -> impl Iterator<Item = Stranger<'a>> {
        self.strangers().filter(|stranger| stranger.severity == Severity::Error)
    }

    fn strangers(&self) -> impl Iterator<Item = Stranger<'a>> {
        let entries = match &self.field.node.value {
            Value::Mapping(entries) if self.mapping => entries.as_slice(),
            Value::Mapping(_) | Value::Scalar(_) | Value::Sequence(_) => &[],
        };
        let unknown = entries.iter().map(|(key, _)| key).filter(|key| !self.known.contains(&&*key.text));
        unknown.filter_map(|key| {
            let close = nearest(&key.text, self.known.iter().copied());
            let severity = match (self.unknown, self.report().written()) {
                (Unknown::Free, _) => return None,
                (Unknown::Tolerated, _) | (Unknown::RefusedInManifest, Written::Stored) => Severity::Warning,
                (Unknown::MisspeltRefused, Written::Stored) if close.is_none() => Severity::Warning,
                (Unknown::RefusedInManifest, Written::Manifest)
                | (Unknown::MisspeltRefused | Unknown::Refused, _) => Severity::Error,
            };
            Some(Stranger { name: &key.text, span: key.span, close, severity })
        })
    }

    fn report_unknown(&self) {
        for Stranger { name, span, close, severity } in self.strangers() {
            let label = match severity {
                Severity::Error => {
                    self.report().strangers.update(|strangers| strangers + 1);
                    "not understood"
                }
                Severity::Warning | Severity::Note => "passed over",
            };
            let mistake = Mistake::new(Code::UnknownField, format!("no field is called `{name}`"), label);
            let help = close.map(|known| format!("did you mean `{known}`?"));
            self.report().push(severity, span, &self.field.path(), Mistake { help, ..mistake });
        }
    }
}
