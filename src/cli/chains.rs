//! What a host has: printed by its tools into files, or asked for now.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Failure, kernel};
use crate::config::Config;
use crate::model::IpVersion;
use crate::system::tool::{ToolError, Tools};
use crate::verdict::chains::loaded::{Loaded, LoadedError};
use crate::verdict::chains::machine::Unnamed;
use crate::verdict::check::boundary::outside;

/// Reads the files that `iptables-save`, `ip6tables-save` and `ipset save` were printed into, or a mixture of these.
pub(super) fn saved(paths: &[PathBuf]) -> Result<Loaded, Failure> {
    let mut texts = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::Io { what: path.display().to_string(), error })?;
        texts.push(text);
    }
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let files: Vec<(Option<IpVersion>, &str)> =
        paths.iter().zip(&texts).map(|(path, text)| (version(path), text.as_str())).collect();
    let loaded = Loaded::of(&files).map_err(|error| unreadable(&error, &names))?;
    if loaded.is_empty() {
        return Err(Failure::Usage(format!(
            "{}: there is no table in it\nhelp: give what iptables-save, ip6tables-save and ipset save print",
            names.join(", ")
        )));
    }
    Ok(loaded)
}

/// What is known of the interface by which the host reaches all others: the name that was given, or a stand-in.
pub(super) fn uplink(loaded: &mut Loaded, name: Option<&str>, config: &Config) -> Arc<str> {
    if let Some(name) = name {
        return name.into();
    }
    let name = outside(config);
    loaded.set_unnamed(Unnamed { name: Arc::clone(&name), not: config.interface_prefixes.clone() });
    name
}

/// As `render --golden` names its files.
fn version(path: &Path) -> Option<IpVersion> {
    match path.extension()?.to_str()? {
        "v4" => Some(IpVersion::V4),
        "v6" => Some(IpVersion::V6),
        _ => None,
    }
}

/// Asks the tools of this host, in this network namespace. Nothing is changed.
pub(super) fn of_kernel() -> Result<Loaded, Failure> {
    let sets = said("ipset", &["save"])?.unwrap_or_default();
    let mut loaded = Loaded::default();
    let mut found = false;
    // A kernel runs both backends at once.
    for backend in ["nft", "legacy"] {
        for (family, version) in [("iptables", IpVersion::V4), ("ip6tables", IpVersion::V6)] {
            let tool = format!("{family}-{backend}-save");
            let Some(text) = said(&tool, &["-c"])? else { continue };
            found = true;
            if text.lines().any(|line| line.starts_with('*')) {
                loaded.extend(read(&tool, version, &text, &sets)?);
            }
        }
    }
    if !found {
        return Err(Failure::Usage(
            "there is no iptables-save\nhelp: install the package iptables".to_owned(),
        ));
    }
    // Without tables a family lets everything through.
    for version in [IpVersion::V4, IpVersion::V6] {
        if loaded.saved(version).is_empty() {
            loaded.extend(read("iptables-save", version, NO_RULES, &sets)?);
        }
    }
    note_other_tables()?;
    Ok(loaded)
}

fn read(tool: &str, version: IpVersion, tables: &str, sets: &str) -> Result<Loaded, Failure> {
    let names = [tool.to_owned(), "ipset save".to_owned()];
    Loaded::of(&[(Some(version), tables), (None, sets)]).map_err(|error| unreadable(&error, &names))
}

/// A table of a backend that nobody has written to.
const NO_RULES: &str = "*filter\nCOMMIT\n";

/// Says that there are tables of nftables' own, which iptables' tools don't show and which may drop anything.
fn note_other_tables() -> Result<(), Failure> {
    let Some(tables) = said("nft", &["list", "tables"])? else { return Ok(()) };
    let shown = |table: &&str| {
        let words: Vec<&str> = table.split_whitespace().collect();
        matches!(words.as_slice(), ["table", "ip" | "ip6", "raw" | "mangle" | "nat" | "filter" | "security"])
    };
    let others: Vec<&str> = tables.lines().filter(|table| !shown(table)).collect();
    if !others.is_empty() {
        super::say(&format!(
            "warning: nftables has tables that iptables does not show, and that may drop what is allowed here: {}\n",
            others.join(", ")
        ));
    }
    Ok(())
}

/// What a tool prints; None where it is not there.
fn said(tool: &str, arguments: &[&str]) -> Result<Option<String>, Failure> {
    kernel::wait(async {
        match Tools::default().ask(tool, arguments).await {
            Err(ToolError::Missing { .. }) => Ok(None),
            answer => answer.map(Some).map_err(|error| kernel::tool_refusal(&error)),
        }
    })
}

fn unreadable(error: &LoadedError, names: &[String]) -> Failure {
    Failure::Usage(match error {
        LoadedError::Unreadable { error: _, file, line } => {
            let name = names.get(*file).map_or("", String::as_str);
            format!("{name}:{line}: {error}")
        }
        LoadedError::UnclearFamily | LoadedError::NoTables(_) | LoadedError::Refused(_) => error.to_string(),
    })
}
