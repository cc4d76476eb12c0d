//! Ways to the same end state.

use felix_rs::datastore::{Entry, Event};

/// Events that belong together, as those of one file do.
pub type State = Vec<Event>;

/// Ways to say the same events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    AsIs,
    StatesReversed,
    KeysReversed,
    /// In an order that is neither.
    Shuffled,
    /// Each entry comes, goes and comes again.
    EmptiesBetween,
    /// Each entry is a state of its own.
    Split,
    /// All is one state, and is said three times.
    Squashed,
    /// Each key first says what the next one says: entries change their resource, names move.
    Displaced,
}

/// When the result is asked for on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    EachKey,
    EachState,
    AtEnd,
}

impl Flush {
    pub const ALL: [Self; 3] = [Self::EachKey, Self::EachState, Self::AtEnd];
}

impl Order {
    pub const ALL: [Self; 8] = [
        Self::AsIs,
        Self::StatesReversed,
        Self::KeysReversed,
        Self::Shuffled,
        Self::EmptiesBetween,
        Self::Split,
        Self::Squashed,
        Self::Displaced,
    ];

    /// `events` in this order. Whatever the order, it ends where `events` end.
    pub fn states(self, events: &[Event]) -> Vec<State> {
        match self {
            Self::AsIs => thirds(events),
            Self::StatesReversed => thirds(events).into_iter().rev().collect(),
            Self::KeysReversed => thirds(&events.iter().rev().cloned().collect::<State>()),
            Self::Shuffled => thirds(&shuffled(events)),
            Self::EmptiesBetween => events.iter().map(there_and_back).collect(),
            Self::Split => events.iter().map(|event| vec![event.clone()]).collect(),
            Self::Squashed => vec![[events, events, events].concat()],
            Self::Displaced => vec![displaced(events), events.to_vec()],
        }
    }
}

/// What takes everything away again, in another order than it came.
pub fn emptied(events: &[Event]) -> Vec<State> {
    let gone = events.iter().map(|event| match event {
        Event::Put(entry) => Event::Delete(entry.key.clone()),
        Event::Unreadable(error) => Event::Readable(error.place.source.clone()),
        Event::Delete(_) | Event::Readable(_) | Event::Revision(_) | Event::InSync | Event::Lost => {
            event.clone()
        }
    });
    thirds(&shuffled(&gone.collect::<State>()))
}

/// Sources have as few files as they please: a third stands for one.
fn thirds(events: &[Event]) -> Vec<State> {
    events.chunks(events.len().div_ceil(3).max(1)).map(<[Event]>::to_vec).collect()
}

/// By a linear congruential generator, so the same each time.
fn shuffled(events: &[Event]) -> State {
    let mut seed = 0x5eed_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let mut keyed: Vec<(u64, &Event)> = events.iter().map(|event| (next(), event)).collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, event)| event.clone()).collect()
}

fn there_and_back(event: &Event) -> State {
    match event {
        Event::Put(entry) => vec![event.clone(), Event::Delete(entry.key.clone()), event.clone()],
        Event::Delete(_)
        | Event::Unreadable(_)
        | Event::Readable(_)
        | Event::Revision(_)
        | Event::InSync
        | Event::Lost => {
            vec![event.clone(), event.clone()]
        }
    }
}

fn displaced(events: &[Event]) -> State {
    let entries: Vec<&Entry> = events
        .iter()
        .filter_map(|event| match event {
            Event::Put(entry) => Some(entry),
            Event::Delete(_)
            | Event::Unreadable(_)
            | Event::Readable(_)
            | Event::Revision(_)
            | Event::InSync
            | Event::Lost => None,
        })
        .collect();
    let next = entries.iter().cycle().skip(1);
    let moved =
        entries.iter().zip(next).map(|(entry, next)| Entry { key: entry.key.clone(), ..(*next).clone() });
    moved.map(Event::Put).collect()
}
