//! All resources that are there, and which entry each comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decode::{Decoded, decode};
use super::diagnostic::{Code, Diagnostic, Severity};
use super::id::ResourceId;
use super::resource::{Resource, Update};
use crate::datastore::{Entry, Event, Excerpt, Key, Origin, ReadError, Span};

/// What every entry says, and who says it first.
///
/// Several entries may say the same resource. The one with the lowest key is believed, the others are errors;
/// when it goes, the next one takes over. So the state depends on the entries that are there, not on their history.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<Key, Said>,
    /// Who says each resource, the believed one first.
    claims: BTreeMap<ResourceId, BTreeSet<Key>>,
    /// What could not be read, by source.
    unreadable: BTreeMap<Arc<str>, Vec<ReadError>>,
}

/// What one entry says.
#[derive(Clone, Debug)]
struct Said {
    resource: Option<Arc<Resource>>,
    diagnostics: Vec<Diagnostic>,
    origin: Origin,
    span: Span,
}

impl Said {
    fn id(&self) -> Option<ResourceId> {
        self.resource.as_ref().map(|resource| resource.id())
    }
}

impl Catalog {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of what a source says; the updates that make of it.
    pub fn take(&mut self, event: &Event) -> Vec<Update> {
        match event {
            Event::Put(entry) => self.put(entry),
            Event::Delete(key) => self.delete(key),
            Event::Unreadable(error) => {
                self.unreadable(error.clone());
                Vec::new()
            }
            Event::Readable(source) => {
                self.readable(source);
                Vec::new()
            }
            Event::Revision(_) | Event::InSync | Event::Lost => Vec::new(),
        }
    }

    /// Every resource that is believed, by identity.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> + Clone {
        self.claims.values().filter_map(|keys| self.entries.get(keys.first()?)?.resource.as_deref())
    }

    /// The resource of that identity, as it is believed.
    pub fn resource(&self, id: &ResourceId) -> Option<&Resource> {
        self.entries.get(self.claims.get(id)?.first()?)?.resource.as_deref()
    }

    /// What [`Catalog::resources`] has, as if it had been said just now.
    pub fn updates(&self) -> impl Iterator<Item = Update> {
        let believed = self.claims.values().filter_map(|keys| self.entries.get(keys.first()?));
        believed.filter_map(|said| said.resource.clone().map(Update::Put))
    }

    /// Takes what `entry` says now; the updates that make of it.
    pub fn put(&mut self, entry: &Entry) -> Vec<Update> {
        let Decoded { resource, diagnostics } = decode(entry);
        let said = Said {
            resource: resource.map(Arc::new),
            diagnostics,
            origin: entry.origin.clone(),
            span: entry.node.span,
        };
        self.replace(&entry.key, Some(said))
    }

    /// Forgets the entry; the updates that make of it.
    pub fn delete(&mut self, key: &Key) -> Vec<Update> {
        self.replace(key, None)
    }

    /// A part of a source could not be read: what it said last stands.
    pub fn unreadable(&mut self, error: ReadError) {
        let errors = self.unreadable.entry(Arc::clone(&error.place.source)).or_default();
        if !errors.contains(&error) {
            errors.push(error);
        }
    }

    /// The source can be read again.
    pub fn readable(&mut self, source: &str) {
        self.unreadable.remove(source);
    }

    /// All that is wrong with what is there, in the order of places, each once.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let of_entries = self.entries.values().flat_map(|said| said.diagnostics.iter().cloned());
        let of_sources = self.unreadable.values().flatten().map(Diagnostic::from);
        let mut all: Vec<Diagnostic> = of_entries.chain(of_sources).chain(self.duplicates()).collect();
        all.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        all.dedup();
        all
    }

    /// Adds to each of the diagnostics the line that it is about, where that is known.
    pub fn illustrate(&self, diagnostics: &mut [Diagnostic]) {
        let texts: BTreeMap<&str, &str> =
            self.entries.values().map(|said| (&*said.origin.source, &*said.origin.text)).collect();
        for diagnostic in diagnostics.iter_mut().filter(|diagnostic| diagnostic.excerpt.is_none()) {
            let text = texts.get(&*diagnostic.place.source);
            diagnostic.excerpt = text.and_then(|text| Excerpt::at(text, &diagnostic.place));
        }
    }

    fn replace(&mut self, key: &Key, said: Option<Said>) -> Vec<Update> {
        let old = self.entries.get(key).and_then(Said::id);
        let new = said.as_ref().and_then(Said::id);
        let touched: BTreeSet<ResourceId> = [old.clone(), new.clone()].into_iter().flatten().collect();
        let before: Vec<Option<Arc<Resource>>> = touched.iter().map(|id| self.believed(id)).collect();
        if old != new {
            self.move_claim(key, old, new);
        }
        match said {
            Some(said) => self.entries.insert(key.clone(), said),
            None => self.entries.remove(key),
        };
        touched.into_iter().zip(before).filter_map(|(id, before)| self.update(id, before)).collect()
    }

    fn move_claim(&mut self, key: &Key, old: Option<ResourceId>, new: Option<ResourceId>) {
        if let Some(id) = old
            && let Some(keys) = self.claims.get_mut(&id)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.claims.remove(&id);
            }
        }
        if let Some(id) = new {
            self.claims.entry(id).or_default().insert(key.clone());
        }
    }

    /// The resource as its first entry has it.
    fn believed(&self, id: &ResourceId) -> Option<Arc<Resource>> {
        let key = self.claims.get(id)?.first()?;
        self.entries.get(key)?.resource.clone()
    }

    fn update(&self, id: ResourceId, before: Option<Arc<Resource>>) -> Option<Update> {
        match (before, self.believed(&id)) {
            (Some(before), Some(after)) => (before != after).then_some(Update::Put(after)),
            (None, Some(after)) => Some(Update::Put(after)),
            (Some(_), None) => Some(Update::Delete(id)),
            (None, None) => None,
        }
    }

    fn duplicates(&self) -> impl Iterator<Item = Diagnostic> {
        self.claims.iter().filter(|(_, keys)| keys.len() > 1).flat_map(|(id, keys)| {
            let mut entries = keys.iter().filter_map(|key| self.entries.get(key));
            let first = entries.next();
            entries.filter_map(move |other| Some(duplicate(id, first?, other)))
        })
    }
}

fn duplicate(id: &ResourceId, first: &Said, other: &Said) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: Code::Duplicate,
        place: other.origin.place(other.span),
        excerpt: (other.span.line > 0).then(|| other.origin.excerpt(other.span)),
        message: format!("{id}: a second one of this name"),
        label: format!("left out: the one in force is at {}", first.origin.place(first.span)),
        effect: None,
        help: Some("give it another name, or delete one of the two".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datastore::{Place, ReadErrorKind, yaml};

    fn entry(source: &str, text: &str) -> Entry {
        yaml::parse(&Arc::from(source), &Arc::from(text)).entries.remove(0)
    }

    fn tier(source: &str, order: u32) -> Entry {
        let text = format!(
            "{{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {{name: t}}, spec: {{order: {order}}}}}"
        );
        entry(source, &text)
    }

    fn said(updates: Vec<Update>) -> Vec<String> {
        let line = |update| match update {
            Update::Put(resource) => match &*resource {
                Resource::Tier(tier) => format!("put {} {}", tier.name, tier.order.value()),
                other => format!("put {}", other.id()),
            },
            Update::Delete(id) => format!("delete {id}"),
        };
        updates.into_iter().map(line).collect()
    }

    #[test]
    fn the_lowest_key_is_believed_and_the_next_takes_over() {
        let (a, b, c) = (tier("a.yaml", 1), tier("b.yaml", 2), tier("c.yaml", 3));
        let mut catalog = Catalog::new();
        assert_eq!(said(catalog.put(&b)), ["put t 2"]);
        assert!(catalog.put(&b).is_empty());
        assert!(catalog.put(&c).is_empty());
        assert_eq!(said(catalog.put(&a)), ["put t 1"]);
        let places: Vec<String> = catalog.diagnostics().iter().map(|d| d.place.source.to_string()).collect();
        assert_eq!(places, ["b.yaml", "c.yaml"]);
        assert!(catalog.diagnostics().iter().all(|d| d.label.contains("a.yaml:1:1")));
        assert!(catalog.delete(&c.key).is_empty());
        assert_eq!(said(catalog.delete(&a.key)), ["put t 2"]);
        assert!(catalog.diagnostics().is_empty());
        assert_eq!(said(catalog.delete(&b.key)), ["delete Tier t"]);
        assert!(catalog.delete(&b.key).is_empty());
    }

    #[test]
    fn an_entry_may_become_another_resource_or_none() {
        let mut catalog = Catalog::new();
        catalog.put(&tier("a.yaml", 1));
        let other = entry("a.yaml", "{apiVersion: projectcalico.org/v3, kind: Profile, metadata: {name: p}}");
        assert_eq!(said(catalog.put(&other)), ["delete Tier t", "put Profile p"]);
        assert_eq!(said(catalog.put(&entry("a.yaml", "hello"))), ["delete Profile p"]);
        assert_eq!(catalog.diagnostics().len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_said_until_it_can() {
        let place = Place { source: "a.yaml".into(), line: 1, column: 1 };
        let error = ReadError { place, excerpt: None, kind: ReadErrorKind::UnknownAlias };
        let mut catalog = Catalog::new();
        catalog.put(&tier("a.yaml", 1));
        catalog.unreadable(error.clone());
        catalog.unreadable(error);
        assert_eq!(catalog.diagnostics().len(), 1);
        catalog.readable("a.yaml");
        assert!(catalog.diagnostics().is_empty());
    }

    /// Every order of the same entries ends in the same state.
    #[test]
    fn the_end_state_has_no_history() {
        let entries = [tier("a.yaml", 1), tier("b.yaml", 2), tier("c.yaml", 3)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut catalog = Catalog::new();
            let updates: Vec<Update> = order.iter().flat_map(|&at| catalog.put(&entries[at])).collect();
            assert_eq!(said(updates).last().map(String::as_str), Some("put t 1"), "{order:?}");
            assert_eq!(catalog.diagnostics().len(), 2, "{order:?}");
        }
    }
}
