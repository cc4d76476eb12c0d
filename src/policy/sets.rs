//! IP sets by selector, tag and named port, and who is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use super::host_policy::{IpSet, Member, SetId, SetKind, TransportProtocol};
use crate::labels::{Change, Expr, LabelIndex, Selector, unique_id};
use crate::model::{EndpointPort, HostEndpointId, Labels, NetworkSetId, WorkloadId};

/// What a set is defined by.
#[derive(Clone, Debug)]
pub(super) enum SetSpec {
    Selector(Selector),
    Tag(Arc<str>),
    /// `protocol` None is any.
    NamedPort {
        selector: Selector,
        protocol: Option<TransportProtocol>,
        port: Arc<str>,
    },
}

impl SetSpec {
    pub(super) fn id(&self) -> SetId {
        SetId(match self {
            Self::Selector(selector) => selector.id().into(),
            Self::Tag(tag) => unique_id("t", tag).into(),
            Self::NamedPort { selector, protocol, port } => {
                let protocol = protocol.map_or("any", TransportProtocol::name);
                unique_id("n", &format!("{},{protocol},{port}", selector.id())).into()
            }
        })
    }

    fn kind(&self) -> SetKind {
        match self {
            Self::Selector(_) | Self::Tag(_) => SetKind::Nets,
            Self::NamedPort { .. } => SetKind::IpPorts,
        }
    }

    fn meaning(&self) -> Arc<str> {
        match self {
            Self::Selector(selector) => selector.canonical().into(),
            Self::Tag(tag) => format!("tag {tag}").into(),
            Self::NamedPort { selector, protocol, port } => {
                let protocol = protocol.map_or("any", TransportProtocol::name);
                format!("{protocol} port {port} of {}", selector.canonical()).into()
            }
        }
    }

    /// Which index knows its items, and the selector to ask it with.
    fn question(&self) -> Question {
        match self {
            Self::Selector(selector) | Self::NamedPort { selector, .. } => Question::Labels(selector.clone()),
            Self::Tag(tag) => Question::Tags(Selector::from_expr(Expr::Has(Arc::clone(tag)))),
        }
    }
}

/// Whatever can be a member of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ItemId {
    Workload(WorkloadId),
    Host(HostEndpointId),
    NetworkSet(NetworkSetId),
}

/// What a member brings into a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) nets: Vec<IpNet>,
    pub(super) ports: Vec<EndpointPort>,
}

/// A selector to ask one of the two indexes with.
enum Question {
    Labels(Selector),
    Tags(Selector),
}

/// The sets that active rules use, kept up to date.
///
/// Labels and tags are looked up apart, since a tag must not match a label of the same name. A change marks the sets
/// that it touches; [`SetTable::settle`] makes those anew from the indexes, so that a set depends on nothing but who
/// matches now.
#[derive(Default)]
pub(super) struct SetTable {
    /// Items are known by number inside: their names are long.
    numbers: FxHashMap<ItemId, ItemNumber>,
    last_number: ItemNumber,
    items: FxHashMap<ItemNumber, Item>,
    by_labels: Lookup,
    by_tags: Lookup,
    sets: BTreeMap<SetId, Definition>,
    dirty: BTreeSet<SetId>,
}

type ItemNumber = u64;

struct Definition {
    spec: SetSpec,
    users: usize,
}

/// An index of items, and the sets that are defined by what it says.
#[derive(Default)]
struct Lookup {
    /// Selectors are known by their canonical text.
    index: LabelIndex<ItemNumber, Arc<str>>,
    sets: FxHashMap<Arc<str>, BTreeSet<SetId>>,
}

impl SetTable {
    /// An endpoint or network set is there, or has changed.
    pub(super) fn put_item(&mut self, id: &ItemId, labels: &Labels, profiles: &[Arc<str>], item: Item) {
        let number = *self.numbers.entry(id.clone()).or_insert_with(|| {
            self.last_number += 1;
            self.last_number
        });
        if self.items.get(&number).is_some_and(|before| *before != item) {
            self.by_labels.mark_sets_of(number, &mut self.dirty);
            self.by_tags.mark_sets_of(number, &mut self.dirty);
        }
        self.items.insert(number, item);
        self.by_labels.change(&mut self.dirty, |index| index.set_item(number, labels, profiles));
        self.by_tags.change(&mut self.dirty, |index| index.set_item(number, &Labels::new(), profiles));
    }

    pub(super) fn remove_item(&mut self, id: &ItemId) {
        let Some(number) = self.numbers.remove(id) else { return };
        self.by_labels.change(&mut self.dirty, |index| index.remove_item(&number));
        self.by_tags.change(&mut self.dirty, |index| index.remove_item(&number));
        self.items.remove(&number);
    }

    /// What items inherit from the profile `name`.
    pub(super) fn put_profile(&mut self, name: &Arc<str>, labels: &Labels, tags: &[Arc<str>]) {
        self.by_labels.change(&mut self.dirty, |index| index.set_parent(name, labels, tags));
        self.by_tags.change(&mut self.dirty, |index| index.set_parent(name, &Labels::new(), tags));
    }

    pub(super) fn remove_profile(&mut self, name: &Arc<str>) {
        self.by_labels.change(&mut self.dirty, |index| index.remove_parent(name));
        self.by_tags.change(&mut self.dirty, |index| index.remove_parent(name));
    }

    /// One more policy or profile uses the set; `spec` is what `id` is made of.
    pub(super) fn acquire(&mut self, id: &SetId, spec: SetSpec) {
        if let Some(definition) = self.sets.get_mut(id) {
            definition.users += 1;
            return;
        }
        let (lookup, selector) = self.lookup(&spec);
        lookup.add(id, selector);
        self.sets.insert(id.clone(), Definition { spec, users: 1 });
        self.dirty.insert(id.clone());
    }

    /// One policy or profile less uses the set.
    pub(super) fn release(&mut self, id: &SetId) {
        let Some(definition) = self.sets.get_mut(id) else { return };
        definition.users -= 1;
        if definition.users > 0 {
            return;
        }
        let Some(Definition { spec, users: _ }) = self.sets.remove(id) else { return };
        let (lookup, selector) = self.lookup(&spec);
        lookup.remove(id, &selector);
        self.dirty.insert(id.clone());
    }

    /// Brings `sets` up to date; a set whose members are the same keeps its `Arc`.
    pub(super) fn settle(&mut self, sets: &mut BTreeMap<SetId, Arc<IpSet>>) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(Definition { spec, users: _ }) = self.sets.get(&id) else {
                sets.remove(&id);
                continue;
            };
            let members = self.members(spec);
            if sets.get(&id).is_none_or(|set| set.members != members) {
                let set = IpSet { id: id.clone(), kind: spec.kind(), members, meaning: spec.meaning() };
                sets.insert(id, Arc::new(set));
            }
        }
    }

    fn members(&self, spec: &SetSpec) -> Vec<Member> {
        let (lookup, selector) = match spec.question() {
            Question::Labels(selector) => (&self.by_labels, selector),
            Question::Tags(selector) => (&self.by_tags, selector),
        };
        let text: Arc<str> = selector.canonical().into();
        let items = lookup.index.unordered_matches(&text).filter_map(|number| self.items.get(number));
        let mut members: Vec<Member> = match spec {
            SetSpec::Selector(_) | SetSpec::Tag(_) => {
                items.flat_map(|item| item.nets.iter().copied().map(Member::Net)).collect()
            }
            SetSpec::NamedPort { selector: _, protocol, port } => {
                items.flat_map(|item| named_port_members(item, *protocol, port)).collect()
            }
        };
        members.sort_unstable();
        members.dedup();
        members
    }

    fn lookup(&mut self, spec: &SetSpec) -> (&mut Lookup, Selector) {
        match spec.question() {
            Question::Labels(selector) => (&mut self.by_labels, selector),
            Question::Tags(selector) => (&mut self.by_tags, selector),
        }
    }
}

impl Lookup {
    /// The set `id` is defined by `selector`.
    fn add(&mut self, id: &SetId, selector: Selector) {
        let text: Arc<str> = selector.canonical().into();
        // Whoever matches, the set is new, so nothing needs marking.
        self.index.add_selector(Arc::clone(&text), selector);
        self.sets.entry(text).or_default().insert(id.clone());
    }

    fn remove(&mut self, id: &SetId, selector: &Selector) {
        let text: Arc<str> = selector.canonical().into();
        let Some(sets) = self.sets.get_mut(&text) else { return };
        sets.remove(id);
        if sets.is_empty() {
            self.sets.remove(&text);
            self.index.remove_selector(&text);
        }
    }

    /// Changes the index and marks every set whose items changed.
    fn change(
        &mut self,
        dirty: &mut BTreeSet<SetId>,
        change: impl FnOnce(&mut LabelIndex<ItemNumber, Arc<str>>) -> Vec<Change<Arc<str>, ItemNumber>>,
    ) {
        for change in change(&mut self.index) {
            let (Change::Started { selector, item: _ } | Change::Stopped { selector, item: _ }) = change;
            dirty.extend(self.sets.get(&selector).into_iter().flatten().cloned());
        }
    }

    /// Marks every set that the item is in: it brings something else now.
    fn mark_sets_of(&self, item: ItemNumber, dirty: &mut BTreeSet<SetId>) {
        for selector in self.index.selectors_of(&item) {
            dirty.extend(self.sets.get(selector).into_iter().flatten().cloned());
        }
    }
}

/// Address and port of each of the item's ports that has the name and protocol.
fn named_port_members(
    item: &Item,
    protocol: Option<TransportProtocol>,
    name: &str,
) -> impl Iterator<Item = Member> {
    let matching = item.ports.iter().filter(move |port| &*port.name == name).filter_map(move |port| {
        let declared = TransportProtocol::of(port.protocol)?;
        protocol.is_none_or(|wanted| wanted == declared).then_some((declared, port.port))
    });
    matching.flat_map(|(protocol, port)| {
        item.nets.iter().map(move |net| {
            let address: IpAddr = net.addr();
            Member::IpPort(address, protocol, port)
        })
    })
}
