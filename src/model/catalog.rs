//! All resources that are there, and which entry each comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decode::{Content, Decoded, decode};
use super::diagnostic::{Code, Diagnostic, Severity};
use super::id::ResourceId;
use super::profile::{ProfilePart, ProfileParts};
use super::resource::{Resource, Update};
use crate::datastore::{Entry, Event, Excerpt, Key, Origin, ReadError, Span};

/// What every entry says, and who says it first.
///
/// Several entries may say the same resource. The one with the lowest key is believed, the others are errors;
/// when it goes, the next one takes over. So the state depends on the entries that are there, not on their history.
/// A profile of Felix 2.1 lies under several keys: they count as one, at the lowest of them.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<Key, Said>,
    /// Who says each resource, the believed one first.
    claims: BTreeMap<ResourceId, BTreeSet<Key>>,
    /// Each resource as it is believed.
    believed: BTreeMap<ResourceId, Arc<Resource>>,
    /// What could not be read, by source.
    unreadable: BTreeMap<Arc<str>, Vec<ReadError>>,
}

/// What one entry says.
#[derive(Clone, Debug)]
struct Said {
    content: Option<Content>,
    diagnostics: Vec<Diagnostic>,
    origin: Origin,
    span: Span,
}

impl Said {
    fn id(&self) -> Option<ResourceId> {
        Some(match self.content.as_ref()? {
            Content::Resource(resource) => resource.id(),
            Content::ProfilePart(part) => ResourceId::Profile(Arc::clone(&part.name)),
        })
    }

    fn part(&self) -> Option<&ProfilePart> {
        match self.content.as_ref()? {
            Content::Resource(_) => None,
            Content::ProfilePart(part) => Some(part),
        }
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
        self.believed.values().map(|resource| &**resource)
    }

    /// The resource of that identity, as it is believed.
    pub fn resource(&self, id: &ResourceId) -> Option<&Resource> {
        self.believed.get(id).map(|resource| &**resource)
    }

    /// What [`Catalog::resources`] has, as if it had been said just now.
    pub fn updates(&self) -> impl Iterator<Item = Update> {
        self.believed.values().map(|resource| Update::Put(Arc::clone(resource)))
    }

    /// Takes what `entry` says now; the updates that make of it.
    pub fn put(&mut self, entry: &Entry) -> Vec<Update> {
        let Decoded { content, diagnostics } = decode(entry);
        let said = Said { content, diagnostics, origin: entry.origin.clone(), span: entry.node.span };
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
        let mut all: Vec<Diagnostic> = of_entries.chain(of_sources).chain(self.of_claims()).collect();
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
        if old != new {
            self.move_claim(key, old, new);
        }
        match said {
            Some(said) => self.entries.insert(key.clone(), said),
            None => self.entries.remove(key),
        };
        touched.into_iter().filter_map(|id| self.settle(id)).collect()
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

    /// Believes of the resource what its entries say now; the update that makes of it.
    fn settle(&mut self, id: ResourceId) -> Option<Update> {
        match self.claimed(&id) {
            Some(now) if self.believed.get(&id) == Some(&now) => None,
            Some(now) => {
                self.believed.insert(id, Arc::clone(&now));
                Some(Update::Put(now))
            }
            None => self.believed.remove(&id).map(|_| Update::Delete(id)),
        }
    }

    /// The resource as its first entry has it, with the parts that belong to that one.
    fn claimed(&self, id: &ResourceId) -> Option<Arc<Resource>> {
        let mut claims = self.claims_of(self.claims.get(id)?);
        match claims.next()?.content.as_ref()? {
            Content::Resource(resource) => Some(Arc::clone(resource)),
            Content::ProfilePart(_) => {
                let (parts, _) = parts(self.claims_of(self.claims.get(id)?));
                parts.whole().map(|profile| Arc::new(Resource::Profile(profile)))
            }
        }
    }

    fn claims_of<'c>(&'c self, keys: &'c BTreeSet<Key>) -> impl Iterator<Item = &'c Said> {
        keys.iter().filter_map(|key| self.entries.get(key))
    }

    /// What is wrong with several entries together.
    fn of_claims(&self) -> impl Iterator<Item = Diagnostic> {
        self.claims.iter().flat_map(|(id, keys)| self.of_claim(id, keys))
    }

    fn of_claim(&self, id: &ResourceId, keys: &BTreeSet<Key>) -> Vec<Diagnostic> {
        let mut claims = self.claims_of(keys);
        let Some(first) = claims.next() else { return Vec::new() };
        let (parts, others) = match first.part() {
            None => (ProfileParts::default(), claims.collect()),
            Some(_) => parts(self.claims_of(keys)),
        };
        let lacking = parts.lack_rules().then(|| without_rules(id, first));
        others.into_iter().map(|other| duplicate(id, first, other)).chain(lacking).collect()
    }
}

/// The parts among what is said, and what is neither part nor whole of the same profile.
fn parts<'s>(claims: impl Iterator<Item = &'s Said>) -> (ProfileParts<'s>, Vec<&'s Said>) {
    let mut parts = ProfileParts::default();
    let others = claims.filter(|said| !said.part().is_some_and(|part| parts.take(part))).collect();
    (parts, others)
}

fn without_rules(id: &ResourceId, part: &Said) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning,
        code: Code::MissingReference,
        place: part.origin.place(part.span),
        excerpt: (part.span.line > 0).then(|| part.origin.excerpt(part.span)),
        message: format!("{id}: its rules are not there"),
        label: "labels and tags alone: it denies all that comes to it".to_owned(),
        effect: None,
        help: Some("store its rules under `…/rules`, beside this key".to_owned()),
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
    use crate::model::decode::testing::stored;

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

    /// The keys of one profile: two forms of each part, and the profile in today's form.
    fn keys_of_a_profile() -> Vec<Vec<Entry>> {
        let part = |part: &str, json: &str| stored(&format!("v1/policy/profile/p/{part}"), json);
        vec![
            vec![part("labels", r#"{"a":"1"}"#), part("labels", r#"{"~":"2"}"#)],
            vec![part("rules", r#"{"inbound_rules":[{"action":"allow"}]}"#), part("rules", "{}")],
            vec![part("tags", r#"["t"]"#), part("tags", r#"["u"]"#)],
            vec![stored(
                "resources/v3/projectcalico.org/profiles/p",
                r#"{"spec":{"labelsToApply":{"a":"3"},"egress":[{"action":"Deny"}]}}"#,
            )],
        ]
    }

    /// In a few words: labels, tags, number of rules, whether it denies; and what is said.
    fn profile(catalog: &Catalog) -> (Option<String>, Vec<Code>) {
        let id = ResourceId::Profile("p".into());
        let profile = catalog.resource(&id).map(|resource| match resource {
            Resource::Profile(profile) => profile,
            other => panic!("{other:?}"),
        });
        let words = profile.map(|profile| {
            let labels: Vec<String> =
                profile.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let rules = profile.ingress.len() + profile.egress.len();
            let denies = if profile.invalid { " denies" } else { "" };
            format!("{} {} {rules}{denies}", labels.join(","), profile.tags.join(","))
        });
        (words, catalog.diagnostics().iter().map(|diagnostic| diagnostic.code).collect())
    }

    #[test]
    fn the_parts_of_a_profile_are_one_profile() {
        let keys = keys_of_a_profile();
        let (labels, rules, tags, whole) = (&keys[0][0], &keys[1][0], &keys[2][0], &keys[3][0]);
        for (entries, profile_now, said) in [
            (vec![], None, vec![]),
            (vec![rules], Some("  1"), vec![]),
            (vec![rules, tags, labels], Some("a=1 t 1"), vec![]),
            (vec![tags, labels], Some("a=1 t 0 denies"), vec![Code::MissingReference]),
            (vec![tags], Some(" t 0 denies"), vec![Code::MissingReference]),
            (vec![rules, &keys[0][1]], Some("  1 denies"), vec![Code::InvalidName]),
            (vec![whole, rules, labels], Some("a=3  1"), vec![Code::Duplicate, Code::Duplicate]),
            (vec![whole], Some("a=3  1"), vec![]),
        ] {
            let mut catalog = Catalog::new();
            entries.iter().for_each(|entry| drop(catalog.put(entry)));
            assert_eq!(profile(&catalog), (profile_now.map(str::to_owned), said));
        }
    }

    /// Whatever was put and deleted before, the state is that of the entries that are there.
    #[test]
    fn parts_have_no_history() {
        let keys = keys_of_a_profile();
        let mut random = 1_u32;
        let mut below = |limit: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as usize % limit
        };
        let mut catalog = Catalog::new();
        let mut there: BTreeMap<usize, &Entry> = BTreeMap::new();
        let mut followed = None;
        for _ in 0..2_000 {
            let at = below(keys.len());
            let forms = &keys[at];
            let updates = match forms.get(below(forms.len() + 1)) {
                Some(entry) => {
                    there.insert(at, entry);
                    catalog.put(entry)
                }
                None => {
                    there.remove(&at);
                    catalog.delete(&forms[0].key)
                }
            };
            for update in updates {
                followed = match update {
                    Update::Put(resource) => Some(resource),
                    Update::Delete(_) => None,
                };
            }
            let mut fresh = Catalog::new();
            there.values().for_each(|entry| drop(fresh.put(entry)));
            assert_eq!(profile(&catalog), profile(&fresh), "{there:?}");
            assert_eq!(followed.as_deref(), catalog.resources().next(), "{there:?}");
        }
    }
}
