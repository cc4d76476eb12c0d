//! What a host has: printed by its tools into files, or asked for now.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Failure;
use crate::model::IpVersion;
use crate::verdict::chains::loaded::{Loaded, LoadedError};

/// Where the system's tools are; a caller's PATH must not choose others.
const TOOLS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

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
    Loaded::of(&files).map_err(|error| unreadable(&error, &names))
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
pub(super) fn kernel() -> Result<Loaded, Failure> {
    let v4 = tables("iptables")?;
    let v6 = tables("ip6tables")?;
    let sets = said("ipset", &["save"])?.unwrap_or_default();
    let names = ["iptables-save", "ip6tables-save", "ipset save"].map(str::to_owned);
    Loaded::of(&[(Some(IpVersion::V4), &v4), (Some(IpVersion::V6), &v6), (None, &sets)])
        .map_err(|error| unreadable(&error, &names))
}

/// One family's tables as the backend has them that holds chains of ours; where neither does, as the system's default.
fn tables(family: &str) -> Result<String, Failure> {
    let mut ours = Vec::new();
    for backend in ["nft", "legacy"] {
        let text = said(&format!("{family}-{backend}-save"), &["-c"])?;
        ours.extend(text.filter(|text| text.contains("\n:cali-")));
    }
    if ours.len() > 1 {
        super::say(&format!("note: both backends of {family} have chains of ours; nft's are looked at\n"));
    }
    if let Some(text) = ours.into_iter().next() {
        return Ok(text);
    }
    let text = said(&format!("{family}-save"), &["-c"])?;
    text.ok_or_else(|| {
        Failure::Usage(format!("there is no {family}-save\nhelp: install the package iptables"))
    })
}

/// What a tool prints; None where it is not there.
fn said(tool: &str, arguments: &[&str]) -> Result<Option<String>, Failure> {
    let failure = |error| Failure::Io { what: tool.to_owned(), error };
    let output =
        Command::new(tool).args(arguments).env_clear().env("PATH", TOOLS).stdin(Stdio::null()).output();
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output.map_err(failure)?,
    };
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(failure(io::Error::other(format!("{}: {}", output.status, stderr.trim()))));
    }
    String::from_utf8(output.stdout)
        .map(Some)
        .map_err(|_| failure(io::Error::other("what it printed is not text")))
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
