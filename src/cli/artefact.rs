//! A plan as texts, each for one real tool.

use clap::ValueEnum;

use crate::model::IpVersion;
use crate::rules::ruleset::TableName;
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

/// The input of one run of `ipset restore` or `ip(6)tables-restore --noflush`.
pub(super) struct Artefact {
    kind: Kind,
    pub(super) text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sets,
    Table(IpVersion, TableName),
}

/// Which artefacts were asked for.
pub(super) struct Selection {
    pub(super) parts: Vec<Part>,
    pub(super) versions: Vec<IpVersion>,
}

/// What a kernel without anything of ours is given, in the order of applying.
pub(super) fn of(desired: &Desired) -> Vec<Artefact> {
    let kind = |step: &Step| match step {
        Step::Sets(_) => Some(Kind::Sets),
        Step::Table(changes) => Some(Kind::Table(changes.version(), changes.table())),
        // Nothing is there yet that could be removed.
        Step::RemoveSets(_) => None,
    };
    let plan = plan(desired, &Programmed::default());
    plan.steps().filter_map(|step| Some(Artefact { kind: kind(step)?, text: step.text() })).collect()
}

/// All that was selected as one text, each artefact under a comment that names its tool.
pub(super) fn text(selection: &Selection, artefacts: &[Artefact]) -> String {
    let selected = artefacts.iter().filter(|artefact| selection.has(artefact.kind));
    selected.map(|artefact| format!("# {}\n{}", artefact.kind.tool(), artefact.text)).collect()
}

impl Selection {
    /// File name and text of everything selected; what there is nothing of is empty.
    pub(super) fn files<'a>(&self, artefacts: &'a [Artefact]) -> Vec<(String, &'a str)> {
        let kinds = self.parts.iter().flat_map(|part| self.kinds(*part));
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

    fn has(&self, wanted: Kind) -> bool {
        self.parts.iter().any(|part| self.kinds(*part).contains(&wanted))
    }

    fn kinds(&self, part: Part) -> Vec<Kind> {
        let tables = |table| self.versions.iter().map(|version| Kind::Table(*version, table)).collect();
        match part {
            Part::Ipset => vec![Kind::Sets],
            Part::Raw => tables(TableName::Raw),
            Part::Mangle => tables(TableName::Mangle),
            Part::Nat => tables(TableName::Nat),
            Part::Filter => tables(TableName::Filter),
            // Routes are not compiled by this version: none are wanted.
            Part::Routes => Vec::new(),
        }
    }
}

impl Kind {
    fn tool(self) -> &'static str {
        match self {
            Self::Sets => "ipset restore",
            Self::Table(IpVersion::V4, _) => "iptables-restore --noflush",
            Self::Table(IpVersion::V6, _) => "ip6tables-restore --noflush",
        }
    }

    fn file(self) -> String {
        match self {
            Self::Sets => "ipset".to_owned(),
            Self::Table(IpVersion::V4, table) => format!("{}.v4", table.name()),
            Self::Table(IpVersion::V6, table) => format!("{}.v6", table.name()),
        }
    }
}
