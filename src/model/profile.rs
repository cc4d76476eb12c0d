//! Profiles, and the parts that Felix 2.1 stores them in.

use std::sync::Arc;

use super::Labels;
use super::rule::Rule;
use crate::datastore::Place;

/// Labels that endpoints inherit, and the rules that count where no policy has the last word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: Arc<str>,
    pub labels: Labels,
    /// v1: usable in rules by name, and inherited as labels without a value.
    pub tags: Vec<Arc<str>>,
    pub ingress: Vec<Rule>,
    pub egress: Vec<Rule>,
    /// Some of it could not be understood, or its rules are not there: it denies.
    pub invalid: bool,
    pub place: Place,
}

/// What one of the keys says that a profile of Felix 2.1 lies under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfilePart {
    /// Of the whole profile.
    pub name: Arc<str>,
    pub content: ProfileContent,
    /// Some of it could not be understood: the whole profile denies.
    pub invalid: bool,
    pub place: Place,
}

/// The share of a profile that one key has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileContent {
    Rules { ingress: Vec<Rule>, egress: Vec<Rule> },
    Tags(Vec<Arc<str>>),
    Labels(Labels),
}

/// The parts of one profile that are there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProfileParts<'p> {
    rules: Option<&'p ProfilePart>,
    tags: Option<&'p ProfilePart>,
    labels: Option<&'p ProfilePart>,
}

impl<'p> ProfileParts<'p> {
    /// Takes the part, unless there is one like it: says whether it was taken.
    pub fn take(&mut self, part: &'p ProfilePart) -> bool {
        let slot = match &part.content {
            ProfileContent::Rules { .. } => &mut self.rules,
            ProfileContent::Tags(_) => &mut self.tags,
            ProfileContent::Labels(_) => &mut self.labels,
        };
        let free = slot.is_none();
        slot.get_or_insert(part);
        free
    }

    /// Whether there are other parts and no rules: the profile denies as one that is missing would.
    pub fn lack_rules(self) -> bool {
        self.rules.is_none() && self.labels.or(self.tags).is_some()
    }

    /// The profile that they make; none where there is no part.
    pub fn whole(self) -> Option<Profile> {
        let first = self.rules.or(self.labels).or(self.tags)?;
        let parts = [self.rules, self.tags, self.labels];
        let mut profile = Profile {
            name: Arc::clone(&first.name),
            labels: Labels::new(),
            tags: Vec::new(),
            ingress: Vec::new(),
            egress: Vec::new(),
            invalid: self.rules.is_none() || parts.into_iter().flatten().any(|part| part.invalid),
            place: first.place.clone(),
        };
        for part in parts.into_iter().flatten() {
            match part.content.clone() {
                ProfileContent::Rules { ingress, egress } => {
                    (profile.ingress, profile.egress) = (ingress, egress)
                }
                ProfileContent::Tags(tags) => profile.tags = tags,
                ProfileContent::Labels(labels) => profile.labels = labels,
            }
        }
        Some(profile)
    }
}
