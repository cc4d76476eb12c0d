//! The other side of a source: what it knows from events alone.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use felix_rs::datastore::{Event, Key, Node, ReadErrorKind, Value};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// Nothing that is waited for takes so long, on however busy a machine. Less than what a source takes that looks now and
/// then whether it missed something.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Seen {
    events: Receiver<Vec<Event>>,
    pub state: State,
    pub batches: usize,
}

#[derive(Debug, Default)]
pub struct State {
    /// What each entry says, with its places.
    pub entries: BTreeMap<Key, String>,
    /// The text of its file that each entry keeps.
    texts: BTreeMap<Key, Arc<str>>,
    pub unreadable: BTreeMap<Arc<str>, Vec<ReadErrorKind>>,
    pub is_in_sync: bool,
    pub is_lost: bool,
    pub puts: usize,
    pub deletes: usize,
    pub losses: usize,
}

impl Seen {
    pub fn new(events: Receiver<Vec<Event>>) -> Self {
        Self { events, state: State::default(), batches: 0 }
    }

    /// The next batch as short texts, but for the revisions of stores.
    pub async fn next(&mut self) -> Vec<String> {
        let batch = timeout(DEADLINE, self.events.recv()).await.unwrap_or_else(|_| {
            panic!("nothing more is said of\n{:#?}", self.state);
        });
        let batch = batch.expect("it goes on");
        assert!(!batch.is_empty());
        self.batches += 1;
        batch.iter().for_each(|event| self.state.take(event));
        batch.iter().filter(|event| !matches!(event, Event::Revision(_))).map(short).collect()
    }

    /// Takes batches until `holds`.
    pub async fn until(&mut self, holds: impl Fn(&State) -> bool) {
        while !holds(&self.state) {
            self.next().await;
        }
    }

    /// Takes batches until this is what is there, in the order of keys: values only.
    pub async fn until_values(&mut self, values: &[&str]) {
        self.until(|state| state.values() == values).await;
    }

    /// Whether nothing is said for a while.
    pub async fn is_quiet(&mut self) -> bool {
        self.is_quiet_for(Duration::from_millis(300)).await
    }

    pub async fn is_quiet_for(&mut self, time: Duration) -> bool {
        match timeout(time, self.events.recv()).await {
            Err(_) => true,
            Ok(batch) => {
                eprintln!("unexpected: {:?}", batch.map(|batch| batch.iter().map(short).collect::<Vec<_>>()));
                false
            }
        }
    }
}

impl State {
    /// Holds every source to what it may say.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Put(entry) => {
                self.puts += 1;
                self.entries.insert(entry.key.clone(), flat(&entry.node, true));
                self.texts.insert(entry.key.clone(), Arc::clone(&entry.origin.text));
            }
            Event::Delete(key) => {
                self.deletes += 1;
                self.texts.remove(key);
                assert!(self.entries.remove(key).is_some(), "{key} was not there");
            }
            Event::Unreadable(error) => {
                let errors = self.unreadable.entry(Arc::clone(&error.place.source)).or_default();
                assert!(!errors.contains(&error.kind), "{error} is said again");
                errors.push(error.kind.clone());
            }
            Event::Readable(source) => {
                assert!(self.unreadable.remove(source).is_some(), "{source} was not unreadable");
            }
            Event::Revision(_) => {}
            Event::InSync => {
                assert!(!self.is_in_sync || self.is_lost, "in sync twice");
                (self.is_in_sync, self.is_lost) = (true, false);
            }
            Event::Lost => {
                assert!(!self.is_lost, "lost twice");
                self.is_lost = true;
                self.losses += 1;
            }
        }
    }

    /// How many texts are kept.
    pub fn texts(&self) -> usize {
        self.texts.values().collect::<std::collections::BTreeSet<_>>().len()
    }

    pub fn values(&self) -> Vec<&str> {
        self.entries.values().map(|said| said.rsplit(' ').next().unwrap_or_default()).collect()
    }
}

/// A kind of event and what it is of, without the folder.
pub fn short(event: &Event) -> String {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    match event {
        Event::Put(entry) => format!("put {} {}", name(&entry.key.0), flat(&entry.node, false)),
        Event::Delete(key) => format!("delete {}", name(&key.0)),
        Event::Unreadable(error) => format!("unreadable {}", name(&error.place.source)),
        Event::Readable(source) => format!("readable {}", name(source)),
        Event::Revision(revision) => format!("revision {revision}"),
        Event::InSync => "in sync".to_owned(),
        Event::Lost => "lost".to_owned(),
    }
}

/// A node in one line, the place in front of each value if that is wanted.
fn flat(node: &Node, with_places: bool) -> String {
    let mut text = String::new();
    if with_places {
        write!(text, "{}:{} ", node.span.line, node.span.column).unwrap();
    }
    match &node.value {
        Value::Scalar(scalar) => text.push_str(&scalar.text),
        Value::Sequence(nodes) => {
            let nodes: Vec<String> = nodes.iter().map(|node| flat(node, with_places)).collect();
            write!(text, "[{}]", nodes.join(", ")).unwrap();
        }
        Value::Mapping(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, node)| format!("{}: {}", key.text, flat(node, with_places)))
                .collect();
            text.push_str(&entries.join(", "));
        }
    }
    text
}

/// What `locations` say at once, as a follower has it in the end.
pub fn read(locations: &[felix_rs::datastore::yaml::Location]) -> State {
    let mut state = State::default();
    felix_rs::datastore::yaml::read(locations).iter().for_each(|event| state.take(event));
    state
}
