//! Diagnostics for people and for machines.

use std::io::{self, IsTerminal};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::datastore::Place;
use crate::model::{Diagnostic, Effect, Severity};

/// Colours where a person looks at the stream, plain text elsewhere.
pub(super) fn for_stderr(diagnostics: &[Diagnostic]) -> String {
    text(diagnostics, io::stderr().is_terminal())
}

pub(super) fn for_stdout(diagnostics: &[Diagnostic]) -> String {
    text(diagnostics, io::stdout().is_terminal())
}

fn text(diagnostics: &[Diagnostic], colours: bool) -> String {
    let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
    diagnostics.iter().map(|diagnostic| one(diagnostic, &renderer) + "\n\n").collect()
}

fn one(diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let Diagnostic { severity, code, place, excerpt, message, label, effect, help } = diagnostic;
    let title = level(*severity).primary_title(message).id(code.name());
    let mut group = match excerpt {
        Some(excerpt) => {
            let annotation = AnnotationKind::Primary.span(excerpt.start..excerpt.end).label(label.as_str());
            let snippet = Snippet::source(excerpt.line.as_str())
                .line_start(place.line as usize)
                .path(&*place.source)
                .annotation(annotation);
            title.element(snippet)
        }
        None => {
            let group = Group::with_title(title).element(origin(place));
            if label.is_empty() { group } else { group.element(Level::NOTE.message(label.as_str())) }
        }
    };
    if let Some(effect) = effect {
        group = group.element(Level::NOTE.message(effect.text()));
    }
    if let Some(help) = help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// `--> file:line:column`, as far as they are known.
fn origin(place: &Place) -> Origin<'_> {
    let origin = Origin::path(&*place.source);
    match (place.line, place.column) {
        (0, _) => origin,
        (line, 0) => origin.line(line as usize),
        (line, column) => origin.line(line as usize).char_column(column as usize),
    }
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    }
}

/// One diagnostic as JSON has it.
#[derive(Serialize)]
struct Record<'d> {
    severity: Severity,
    code: &'static str,
    source: &'d str,
    line: u32,
    column: u32,
    message: &'d str,
    reason: &'d str,
    effect: Option<&'static str>,
    help: Option<&'d str>,
}

/// A list of records, one a line within.
pub(super) fn json(diagnostics: &[Diagnostic]) -> String {
    let records: Vec<Record> = diagnostics
        .iter()
        .map(|Diagnostic { severity, code, place, excerpt: _, message, label, effect, help }| Record {
            severity: *severity,
            code: code.name(),
            source: &place.source,
            line: place.line,
            column: place.column,
            message,
            reason: label,
            effect: effect.map(Effect::text),
            help: help.as_deref(),
        })
        .collect();
    super::json::pretty(&records)
}

/// For a log: place, what, why, and what to do, in a line.
pub(super) fn one_line(diagnostic: &Diagnostic) -> String {
    let Diagnostic { severity: _, code, place, excerpt: _, message, label, effect, help } = diagnostic;
    let mut line = format!("{place}: {message} [{}]", code.name());
    let more = [Some(label.as_str()), effect.map(Effect::text)].into_iter().flatten();
    for part in more.filter(|part| !part.is_empty()) {
        line.push_str("; ");
        line.push_str(part);
    }
    if let Some(help) = help {
        line.push_str("; help: ");
        line.push_str(help);
    }
    line
}

/// `2 errors, 1 warning`; None where there is nothing to count.
pub(super) fn summary(diagnostics: &[Diagnostic]) -> Option<String> {
    let counted = |severity, name: &str| {
        let count = diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
        let plural = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!("{count} {name}{plural}"))
    };
    let parts: Vec<String> = [
        counted(Severity::Error, "error"),
        counted(Severity::Warning, "warning"),
        counted(Severity::Note, "note"),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

pub(super) fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}
