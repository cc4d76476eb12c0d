//! Certificates: whose is believed, what is said of those that are not, and what happens when they are replaced.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use felix_rs::config::{EtcdAccess, Identity, Pem, Secret};
use felix_rs::datastore::etcd;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{complaints, tier};
use crate::certificates::{Authority, Issued};
use crate::proxy::Proxy;
use crate::seen::Seen;
use crate::server::{Ports, Server};

/// A server that wants TLS and a client's certificate, and a port for the test itself that wants nothing.
struct Tls {
    server: Server,
    port: u16,
}

impl Tls {
    fn start(certificate: &Issued, authority: &Path) -> Self {
        let (ports, tls) = (Ports::free(), Ports::free().client);
        let urls =
            format!("http://127.0.0.1:{},https://127.0.0.1:{tls},https://127.0.0.2:{tls}", ports.client);
        let [certificate, key] = [&certificate.certificate, &certificate.key].map(|path| text(path));
        let server = Server::with(
            ports,
            &[
                ["--listen-client-urls", &urls],
                ["--advertise-client-urls", &urls],
                ["--cert-file", certificate],
                ["--key-file", key],
                ["--trusted-ca-file", text(authority)],
            ]
            .concat()
            .into_iter()
            .chain(["--client-cert-auth"])
            .collect::<Vec<_>>(),
        );
        server.wait();
        Self { server, port: tls }
    }

    fn proxy(&self) -> Proxy {
        Proxy::to(([127, 0, 0, 1], self.port).into())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The certificates of a cluster, in files with names that stay.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.replace("first");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn issued(&self, name: &str) -> Issued {
        Issued { certificate: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) }
    }

    /// Those of an authority that is made anew, in place of the present ones.
    fn replace(&self, authority: &str) -> Authority {
        let authority = Authority::new(self.path(authority));
        let server = authority.server("server", "IP:127.0.0.1,DNS:localhost", "2");
        let client = authority.client("client", "felix");
        fs::copy(authority.certificate(), self.path("ca.pem")).unwrap();
        for (issued, name) in [(server, "server"), (client, "client")] {
            let Issued { certificate, key } = self.issued(name);
            fs::copy(issued.certificate, certificate).unwrap();
            fs::copy(issued.key, key).unwrap();
        }
        authority
    }

    fn access(&self, endpoint: String) -> EtcdAccess {
        EtcdAccess {
            endpoints: vec![endpoint],
            authorities: Some(Pem::File(self.path("ca.pem"))),
            identity: Some(identity(&self.issued("client"))),
            ..EtcdAccess::default()
        }
    }
}

fn identity(Issued { certificate, key }: &Issued) -> Identity {
    Identity { certificate: Pem::File(certificate.clone()), key: Pem::File(key.clone()) }
}

/// What each mistake is called, and that none is tried in a hot loop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_named_and_not_tried_again_at_once() {
    let files = Files::new();
    let tls = Tls::start(&files.issued("server"), &files.path("ca.pem"));
    tls.server.put(&tier("a"), r#"{"value":1}"#);
    let other = Authority::new(files.path("other"));
    let (stranger, late) = (other.client("client", "felix"), other.server("late", "IP:127.0.0.1", "-1"));
    let expired = Tls::start(&late, &other.certificate());
    let first = Authority::of(files.path("first"));
    let locked = first.locked(&files.path("client.key"), "hunter2");
    let mixed = Issued { certificate: files.path("client.pem"), key: stranger.key.clone() };
    fs::write(files.path("empty.pem"), "").unwrap();

    let good = |endpoint: String| files.access(endpoint);
    let authorities =
        |path: PathBuf, endpoint: String| EtcdAccess { authorities: Some(Pem::File(path)), ..good(endpoint) };
    let identified =
        |issued: &Issued, endpoint: String| EtcdAccess { identity: Some(identity(issued)), ..good(endpoint) };
    let with_key = |key: PathBuf, endpoint: String| {
        identified(&Issued { certificate: files.path("client.pem"), key }, endpoint)
    };
    let ours = |proxy: &Proxy| format!("https://127.0.0.1:{}", proxy.port());
    let plain = Proxy::to(tls.server.address());
    let plain = format!("https://127.0.0.1:{}", plain.port());
    type Case<'a> = (&'a str, Box<dyn Fn(&Proxy) -> EtcdAccess + 'a>, &'a str, &'a str);
    let cases: Vec<Case> = vec![
        (
            "another authority",
            Box::new(|proxy| authorities(other.certificate(), ours(proxy))),
            "is not believed",
            "another authority than",
        ),
        (
            "another name",
            Box::new(|_| good(format!("https://127.0.0.2:{}", tls.port))),
            "is not believed",
            "name the endpoint as",
        ),
        (
            "an old certificate",
            Box::new(|_| authorities(other.certificate(), format!("https://127.0.0.1:{}", expired.port))),
            "is not believed",
            "renewed",
        ),
        (
            "no certificate of ours",
            Box::new(|proxy| EtcdAccess { identity: None, ..good(ours(proxy)) }),
            "etcd at https://",
            "ETCD_CERT_FILE",
        ),
        (
            "a stranger's certificate",
            Box::new(|proxy| identified(&stranger, ours(proxy))),
            "etcd at https://",
            "ETCD_CERT_FILE",
        ),
        (
            "another's key",
            Box::new(|proxy| identified(&mixed, ours(proxy))),
            "this client's certificate",
            "ETCD_CERT_FILE",
        ),
        (
            "no authority",
            Box::new(|proxy| EtcdAccess { authorities: None, ..good(ours(proxy)) }),
            "no authority is named",
            "ETCD_CA_CERT_FILE",
        ),
        (
            "a key that is not there",
            Box::new(|proxy| with_key("/nowhere/client.key".into(), ours(proxy))),
            "the client's key can't be read: /nowhere/client.key: No such file",
            "may read it",
        ),
        (
            "a directory",
            Box::new(|proxy| with_key(files.directory.path().into(), ours(proxy))),
            "not a regular file",
            "may read it",
        ),
        (
            "a certificate in place of the key",
            Box::new(|proxy| with_key(files.path("client.pem"), ours(proxy))),
            "client.pem holds no PRIVATE KEY",
            "PEM",
        ),
        (
            "a key with a password",
            Box::new(|proxy| with_key(locked.clone(), ours(proxy))),
            "only an encrypted PRIVATE KEY",
            "as it is",
        ),
        (
            "an empty file",
            Box::new(|proxy| authorities(files.path("empty.pem"), ours(proxy))),
            "empty.pem holds no CERTIFICATE",
            "PEM",
        ),
        ("TLS where there is none", Box::new(|_| good(plain.clone())), "can't be reached", "http://"),
        (
            "none where there is TLS",
            Box::new(|proxy| good(format!("http://127.0.0.1:{}", proxy.port()))),
            "can't be reached",
            "https://",
        ),
    ];
    let mut all = Vec::new();
    for (name, access, words, help) in &cases {
        let proxy = tls.proxy();
        all.push((name, Seen::new(etcd::watch(access(&proxy))), proxy, words, help));
    }
    for (name, seen, _, words, help) in &mut all {
        seen.until(|state| state.is_lost).await;
        let said = complaints(&seen.state);
        assert!(said.iter().any(|said| said.contains(**words)), "{name}: {said:#?}");
        assert!(said.iter().any(|said| said.contains(**help)), "{name}: {said:#?}");
        assert!(!format!("{said:?}").contains("hunter2") && !seen.state.is_in_sync);
    }
    sleep(Duration::from_secs(4)).await;
    for (name, _, proxy, ..) in &all {
        assert!(proxy.taken() <= 16, "{name}: {} connections", proxy.taken());
    }
}

/// Another authority, server's and client's certificate: whoever is followed does not have to be started anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_are_replaced() {
    let files = Files::new();
    let mut tls = Tls::start(&files.issued("server"), &files.path("ca.pem"));
    tls.server.put(&tier("a"), r#"{"value":1}"#);
    let access = files.access(format!("https://localhost:{}", tls.port));
    let mut seen = Seen::new(etcd::watch(access.clone()));
    seen.until_values(&["1"]).await;
    // All of it as texts, too.
    let reading = |path: &str| Pem::Text(Secret::new(fs::read_to_string(files.path(path)).unwrap()));
    let texts = EtcdAccess {
        authorities: Some(reading("ca.pem")),
        identity: Some(Identity { certificate: reading("client.pem"), key: reading("client.key") }),
        ..access
    };
    let mut others = Seen::new(etcd::watch(texts));
    others.until_values(&["1"]).await;

    tls.server.kill();
    seen.until(|state| state.is_lost).await;
    files.replace("second");
    tls.server.restart();
    seen.until(|state| !state.is_lost).await;
    tls.server.put(&tier("a"), r#"{"value":2}"#);
    seen.until_values(&["2"]).await;
    assert_eq!((seen.state.puts, seen.state.losses), (2, 1));
    // Who has the old ones is told so, after the refused connections.
    others.until(|state| complaints(state).iter().any(|said| said.contains("is not believed"))).await;
    assert_eq!(others.state.values(), ["1"]);
}
