//! Which datastore a command reads.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use tokio::sync::mpsc::Receiver;
use tracing::info;

use super::Failure;
use super::configuration::Given;
use crate::config::{Config, ConfigProblem, EtcdAccess, EtcdUrl, Source, SourceKind, nearest};
use crate::datastore::yaml::{self, Location};
use crate::datastore::{Event, Place, etcd};
use crate::model::{self, Code, Diagnostic, Readiness, Severity};

/// For `--help`.
pub(super) const HELP: &str = "Where the resources are: a file or directory of manifests, `-` for standard input, or \
    etcd://HOST:PORT,…/PREFIX (etcds:// for TLS); may be left out where parameters or the environment name etcd";

/// What problems with a URL's settings are told at.
const URL: &str = "etcd URL";

/// Where resources are read from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Datastore {
    Manifests(Vec<Location>),
    Etcd(EtcdAccess),
}

impl Datastore {
    /// How to reach it, where it is a store and no manifests.
    pub(super) fn store(&self) -> Option<&EtcdAccess> {
        match self {
            Self::Manifests(_) => None,
            Self::Etcd(access) => Some(access),
        }
    }
}

/// The datastore that the command line names, or else the parameters. What it says of etcd is then among `given`; where
/// manifests are read, what the environment says to Calico's other clients does not matter.
pub(super) fn choose(named: &[String], given: &mut Given) -> Result<Datastore, Failure> {
    match url(named)? {
        Some(url) => given.sources.push(url.source(URL)),
        None if !named.is_empty() => {
            given.sources.retain(|source| source.kind != SourceKind::Client);
            let locations = named.iter().map(|path| Location::from(PathBuf::from(path)));
            return Ok(Datastore::Manifests(locations.collect()));
        }
        None if given.sources.iter().any(Source::names_etcd) => {}
        None => return Err(nobody_names_one()),
    }
    Config::resolve(&given.sources).etcd.map(Datastore::Etcd).map_err(|problem| refused(&problem))
}

/// The only one of `named`, if it is one.
fn url(named: &[String]) -> Result<Option<EtcdUrl>, Failure> {
    match named {
        [text] if EtcdUrl::is_meant_by(text) => EtcdUrl::parse(text)
            .map(Some)
            .map_err(|error| Failure::Usage(format!("{error}\nhelp: {}", error.help()))),
        several if several.iter().any(|text| EtcdUrl::is_meant_by(text)) => Err(Failure::Usage(
            "etcd is read alone, not beside other datastores\n\
             help: name all its members in one URL: etcd://HOST:PORT,HOST:PORT"
                .to_owned(),
        )),
        // Without what stands behind it: there may be a password.
        paths => match paths.iter().find_map(|path| path.split_once("://")) {
            Some((scheme, _)) => Err(Failure::Usage(format!(
                "{scheme}:// is not a datastore\nhelp: write etcd://HOST:PORT, or etcds://HOST:PORT for TLS"
            ))),
            None => Ok(None),
        },
    }
}

fn nobody_names_one() -> Failure {
    Failure::Usage(
        "no datastore is named\n\
         help: give manifests (a file or directory) or etcd://HOST:PORT, or set ETCD_ENDPOINTS in the environment"
            .to_owned(),
    )
}

/// Nothing else is read in the place of what was meant.
fn refused(problem: &ConfigProblem) -> Failure {
    let help = problem.help().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    Failure::Usage(format!("{}: {problem}{help}", problem.origin))
}

/// What the datastore says, to the end. A path that is not there is a slip of whoever asks, not of whoever wrote.
pub(super) fn read(datastore: &Datastore) -> Result<Vec<Event>, Failure> {
    match datastore {
        Datastore::Manifests(locations) => read_manifests(locations),
        Datastore::Etcd(access) => read_etcd(access),
    }
}

/// One question, and one thread for it.
fn read_etcd(access: &EtcdAccess) -> Result<Vec<Event>, Failure> {
    let runtime = super::question_runtime()?;
    let events = runtime.block_on(etcd::read(access)).map_err(Failure::Etcd)?;
    info!(events = events.len(), "etcd is read");
    Ok(events)
}

fn read_manifests(locations: &[Location]) -> Result<Vec<Event>, Failure> {
    for location in locations {
        if let Location::Path(path) = location {
            fs::metadata(path).map_err(|error| Failure::Io { what: path.display().to_string(), error })?;
        }
    }
    let events = yaml::read(locations);
    info!(events = events.len(), "manifests are read");
    Ok(events)
}

/// What the datastore says, and goes on to say. Must be called within the runtime.
pub(super) fn follow(datastore: Datastore) -> Result<Receiver<Vec<Event>>, Failure> {
    match datastore {
        Datastore::Manifests(locations) => {
            yaml::watch(locations).map_err(|error| Failure::Usage(format!("{error}\nhelp: {}", error.help())))
        }
        Datastore::Etcd(access) => Ok(etcd::watch(access)),
    }
}

impl fmt::Display for Datastore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = match self {
            Self::Manifests(locations) => locations.iter().map(ToString::to_string).collect(),
            Self::Etcd(access) => vec![etcd::name(access).to_string()],
        };
        f.write_str(&names.join(", "))
    }
}

/// The host to compile for: as asked, or the only one that the manifests name.
pub(super) fn host(asked: Option<&str>, events: &[Event]) -> Result<String, Failure> {
    if let Some(host) = asked {
        return Ok(host.to_owned());
    }
    let nodes = model::node_names(events);
    let mut names = nodes.iter();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.to_string()),
        (None, _) => Err(Failure::Usage(
            "the manifests name no node\nhelp: say which host to compile for with --host NAME".to_owned(),
        )),
        (Some(_), Some(_)) => {
            let names: Vec<&str> = nodes.iter().map(|name| &**name).collect();
            Err(Failure::Usage(format!(
                "the manifests name {} nodes\nhelp: choose one with --host: {}",
                names.len(),
                names.join(", ")
            )))
        }
    }
}

/// That a store is not to be enforced yet. Who only looks goes on, and is told.
pub(super) fn not_ready(datastore: &Datastore, readiness: Readiness) -> Option<Diagnostic> {
    let (Some(access), Readiness::NotReady(why)) = (datastore.store(), readiness) else { return None };
    Some(Diagnostic {
        severity: Severity::Warning,
        code: Code::NotReady,
        place: Place { source: etcd::name(access), line: 0, column: 0 },
        excerpt: None,
        message: why.to_string(),
        label: "`felix-rs run` waits for it".to_owned(),
        effect: None,
        help: Some(why.help().to_owned()),
    })
}

/// A host that no manifest speaks of has no endpoints: probably not the one that was meant.
pub(super) fn unknown_host(host: &str, events: &[Event]) -> Option<Diagnostic> {
    let known = model::node_names(events);
    if known.is_empty() || known.contains(host) {
        return None;
    }
    let similar = nearest(host, known.iter().map(|name| &**name));
    Some(Diagnostic {
        severity: Severity::Warning,
        code: Code::MissingReference,
        place: Place { source: "--host".into(), line: 0, column: 0 },
        excerpt: None,
        message: format!("no node or endpoint names the host `{host}`"),
        label: "it has no endpoints".to_owned(),
        effect: None,
        help: similar.map(|name| format!("did you mean `{name}`?")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    fn given(variables: Variables<'_>, flags: &[&str]) -> Given {
        let variables = || variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (flags, _) = Source::flags(flags.iter().copied());
        let sources = vec![flags, Source::environment(variables()), Source::clients(variables())];
        Given { sources, problems: Vec::new() }
    }

    /// What is read, with the prefix, or why nothing is.
    fn chosen(named: &str, variables: Variables<'_>) -> String {
        let named: Vec<String> = named.split_whitespace().map(str::to_owned).collect();
        match choose(&named, &mut given(variables, &["EtcdPrefix=/set"])) {
            Ok(datastore @ Datastore::Manifests(_)) => format!("manifests {datastore}"),
            Ok(Datastore::Etcd(access)) => format!("{} {}", access.endpoints.join(" "), access.prefix),
            Err(failure) => failure.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn the_datastore_that_is_meant() {
        let endpoints = ("ETCD_ENDPOINTS", "http://a:1");
        let rows: &[(&str, Variables<'_>, &str)] = &[
            ("a.yaml -", &[], "manifests a.yaml, <stdin>"),
            ("a.yaml", &[endpoints, ("DATASTORE_TYPE", "kubernetes")], "manifests a.yaml"),
            ("", &[endpoints], "http://a:1 /set"),
            ("", &[("DATASTORE_TYPE", "etcdv3")], "http://127.0.0.1:2379 /set"),
            ("", &[("FELIX_EtcdAddr", "b:2")], "http://b:2 /set"),
            ("", &[endpoints, ("FELIX_ETCDENDPOINTS", "http://b:2")], "http://b:2 /set"),
            ("", &[], "no datastore is named"),
            ("", &[("ETCD_CA_CERT_FILE", "ca")], "no datastore is named"),
            (
                "",
                &[endpoints, ("DATASTORE_TYPE", "kubernetes")],
                "DATASTORE_TYPE: DatastoreType is kubernetes, and this program reads etcd v3 and manifests",
            ),
            (
                "",
                &[("ETCD_DISCOVERY_SRV", "example.org")],
                "ETCD_DISCOVERY_SRV: EtcdDiscoverySrv is not supported: etcd's members are not looked up in DNS",
            ),
            (
                "",
                &[("ETCD_ENDPOINTS", "a:1")],
                "ETCD_ENDPOINTS: invalid value `a:1` for EtcdEndpoints; it stays unset",
            ),
            ("etcd://", &[], "http://127.0.0.1:2379 /set"),
            ("etcd://", &[endpoints, ("DATASTORE_TYPE", "kubernetes")], "http://a:1 /set"),
            ("etcd:///one", &[endpoints], "http://a:1 /one"),
            ("etcd://b,c:3/one", &[endpoints, ("ETCD_DISCOVERY_SRV", "a")], "http://b:2379 http://c:3 /one"),
            ("etcds://b", &[("ETCD_CA_CERT_FILE", "ca")], "https://b:2379 /set"),
            ("etcds://", &[("FELIX_ETCDCAFILE", "ca")], "https://127.0.0.1:2379 /set"),
            (
                "etcds://b",
                &[],
                "etcd URL: https://b:2379: nobody says which authority signs the server's certificate",
            ),
            (
                "etcds://",
                &[endpoints, ("ETCD_CA_CERT_FILE", "ca")],
                "etcd URL: EtcdScheme asks for encryption, and http://a:1 has none",
            ),
            (
                "etcd://b",
                &[("ETCD_CA_CERT_FILE", "ca")],
                "ETCD_CA_CERT_FILE: EtcdCaFile asks for encryption, and http://b:2379 has none",
            ),
            ("etcd://u:hunter2@b", &[], "a user or password in a URL can be seen by all who list processes"),
            ("etcd://a etcd://b", &[], "etcd is read alone, not beside other datastores"),
            ("a.yaml etcd://b", &[], "etcd is read alone, not beside other datastores"),
            ("https://u:hunter2@b", &[], "https:// is not a datastore"),
        ];
        for (named, variables, expected) in rows {
            assert_eq!(chosen(named, variables), *expected, "{named} {variables:?}");
        }
    }
}
