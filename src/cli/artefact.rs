//! A plan as texts, each for one real tool.

use clap::ValueEnum;

use crate::model::IpVersion;
use crate::rules::ruleset::TableName;
use crate::sync::routes::{self, ProgrammedRoutes, RoutePlan};
use crate::sync::{Desired, Programmed, Step, plan};

/// What a plan is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    Ipset,
    Raw,
    Mangle,
    Nat,
    Filter,
    Routes,
}

/// The input of one run of `ipset restore`, `ip(6)tables-restore --noflush` or `sh -e`.
pub(super) struct Artefact {
    kind: Kind,
    pub(super) text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sets,
    Table(IpVersion, TableName),
    /// Only where something is programmed already.
    SetRemovals,
    Routes,
}

/// Which artefacts were asked for.
pub(super) struct Selection {
    pub(super) parts: Vec<Part>,
    pub(super) versions: Vec<IpVersion>,
}

/// What a kernel that has nothing is given, in the order of applying.
pub(super) fn of(desired: &Desired) -> Vec<Artefact> {
    let mut artefacts = changes(desired, &Programmed::default());
    artefacts.extend(desired.routes.as_deref().and_then(|wanted| {
        // Why some that one may miss are not among them.
        let held: String = wanted.held_back.iter().map(|held| format!("# not made: {held}\n")).collect();
        routes(routes::plan(wanted, &ProgrammedRoutes::default()).text() + &held)
    }));
    artefacts
}

/// What changes of routes.
pub(super) fn route_changes(plan: &RoutePlan) -> Option<Artefact> {
    routes(plan.text())
}

fn routes(text: String) -> Option<Artefact> {
    Some(Artefact { kind: Kind::Routes, text }).filter(|routes| !routes.text.is_empty())
}

/// What of sets and tables a kernel that has `programmed` is given, in the order of applying.
pub(super) fn changes(desired: &Desired, programmed: &Programmed) -> Vec<Artefact> {
    let kind = |step: &Step| match step {
        Step::Sets(_) => Kind::Sets,
        Step::Table(changes) => Kind::Table(changes.version(), changes.table()),
        Step::RemoveMembers(..) | Step::RemoveSets(_) => Kind::SetRemovals,
    };
    let plan = plan(desired, programmed);
    plan.steps().map(|step| Artefact { kind: kind(step), text: step.text() }).collect()
}

/// All that was selected as one text, each artefact under a comment that names its tool.
pub(super) fn text(selection: &Selection, artefacts: &[Artefact]) -> String {
    let selected = selected(selection, artefacts);
    selected.map(|artefact| format!("# {}\n{}", artefact.tool(), artefact.text)).collect()
}

/// Those that were asked for.
pub(super) fn selected<'a>(
    selection: &Selection,
    artefacts: &'a [Artefact],
) -> impl Iterator<Item = &'a Artefact> {
    artefacts.iter().filter(|artefact| selection.has(artefact.kind))
}

impl Artefact {
    /// Whose input it is.
    pub(super) fn tool(&self) -> &'static str {
        self.kind.tool()
    }

    pub(super) fn is_routes(&self) -> bool {
        self.kind == Kind::Routes
    }
}

impl Selection {
    /// File name and text of everything selected; what there is nothing of is empty.
    pub(super) fn files<'a>(&self, artefacts: &'a [Artefact]) -> Vec<(String, &'a str)> {
        let kinds = self.parts.iter().flat_map(|part| self.kinds(*part));
        // A golden file is of a kernel that had nothing.
        let kinds = kinds.filter(|kind| *kind != Kind::SetRemovals);
        kinds
            .map(|kind| {
                let artefact = artefacts.iter().find(|artefact| artefact.kind == kind);
                (kind.file(), artefact.map_or("", |artefact| &artefact.text))
            })
            .collect()
    }

    /// Whether a table of one family was asked for.
    pub(super) fn has_table(&self, version: IpVersion, table: TableName) -> bool {
        self.has(Kind::Table(version, table))
    }

    pub(super) fn has_sets(&self) -> bool {
        self.has(Kind::Sets)
    }

    pub(super) fn has_routes(&self) -> bool {
        self.has(Kind::Routes)
    }

    fn has(&self, wanted: Kind) -> bool {
        self.parts.iter().any(|part| self.kinds(*part).contains(&wanted))
    }

    fn kinds(&self, part: Part) -> Vec<Kind> {
        let tables = |table| self.versions.iter().map(|version| Kind::Table(*version, table)).collect();
        match part {
            Part::Ipset => vec![Kind::Sets, Kind::SetRemovals],
            Part::Raw => tables(TableName::Raw),
            Part::Mangle => tables(TableName::Mangle),
            Part::Nat => tables(TableName::Nat),
            Part::Filter => tables(TableName::Filter),
            Part::Routes => vec![Kind::Routes],
        }
    }
}

impl Kind {
    fn tool(self) -> &'static str {
        match self {
            Self::Sets | Self::SetRemovals => "ipset restore",
            Self::Table(IpVersion::V4, _) => "iptables-restore --noflush",
            Self::Table(IpVersion::V6, _) => "ip6tables-restore --noflush",
            Self::Routes => "sh -e",
        }
    }

    fn file(self) -> String {
        match self {
            Self::Sets | Self::SetRemovals => "ipset".to_owned(),
            Self::Table(IpVersion::V4, table) => format!("{}.v4", table.name()),
            Self::Table(IpVersion::V6, table) => format!("{}.v6", table.name()),
            Self::Routes => "routes".to_owned(),
        }
    }
}
