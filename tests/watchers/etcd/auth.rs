//! Users, roles and passwords.

use std::fs;
use std::time::Duration;

use etcd_client::{Client, Error, Permission};
use felix_rs::config::{EtcdAccess, Login, Secret};
use felix_rs::datastore::etcd;
use tempfile::TempDir;

use super::{Etcd, complaints, tier};
use crate::Source;
use crate::certificates::openssl;
use crate::seen::Seen;
use crate::server::{Ports, Server};

/// A server that knows its users: `felix` may read what is ours, `other` something else.
struct Guarded {
    server: Server,
    _keys: TempDir,
}

impl Guarded {
    /// Tokens that say themselves until when they hold: for that many seconds.
    fn with_tokens(ttl: u32) -> Self {
        let keys = tempfile::tempdir().unwrap();
        openssl(keys.path(), &["genrsa", "-out", "key.pem", "2048"]);
        openssl(keys.path(), &["rsa", "-in", "key.pem", "-pubout", "-out", "pub.pem"]);
        let folder = keys.path().display();
        let tokens =
            format!("jwt,pub-key={folder}/pub.pem,priv-key={folder}/key.pem,sign-method=RS256,ttl={ttl}s");
        Self::start(keys, &["--auth-token", &tokens])
    }

    fn start(keys: TempDir, arguments: &[&str]) -> Self {
        let mut server = Server::with(Ports::free(), &[&["--bcrypt-cost", "4"], arguments].concat());
        server.wait();
        server.ask(users).unwrap();
        server.log_in("root", "root's");
        Self { server, _keys: keys }
    }

    fn access(&self, user: &str, password: &str) -> EtcdAccess {
        let login = Login { user: user.to_owned(), password: Secret::new(password.to_owned()) };
        EtcdAccess { endpoints: vec![self.server.url()], login: Some(login), ..EtcdAccess::default() }
    }
}

async fn users(mut client: Client) -> Result<(), Error> {
    for (user, password, role) in
        [("root", "root's", "root"), ("felix", "hunter2", "calico"), ("other", "other's", "other")]
    {
        client.role_add(role).await?;
        client.user_add(user, password, None).await?;
        client.user_grant_role(user, role).await?;
    }
    for (role, prefix) in [("calico", "/calico/"), ("other", "/other/")] {
        client.role_grant_permission(role, Permission::read(prefix).with_prefix()).await?;
    }
    client.auth_enable().await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_read_is_told_so() {
    let guarded = Guarded::start(tempfile::tempdir().unwrap(), &[]);
    guarded.server.put(&tier("a"), r#"{"value":1}"#);
    let mut seen = Seen::new(etcd::watch(guarded.access("felix", "hunter2")));
    seen.until_values(&["1"]).await;
    assert!(seen.state.is_in_sync && seen.state.unreadable.is_empty());
    let nobody = EtcdAccess { login: None, ..guarded.access("", "") };
    for (access, words, help) in [
        (guarded.access("felix", "hunter3"), "refuses the login", "ETCD_PASSWORD"),
        (guarded.access("nobody", "hunter2"), "refuses the login", "ETCD_USERNAME"),
        (nobody, "refuses the login", "ETCD_USERNAME"),
        (guarded.access("other", "other's"), "does not allow that", "role"),
    ] {
        let mut seen = Seen::new(etcd::watch(access.clone()));
        seen.until(|state| state.is_lost).await;
        let said = complaints(&seen.state);
        assert!(
            matches!(said.as_slice(), [said] if said.contains(words) && said.contains(help)),
            "{said:#?}"
        );
        let error = etcd::read(&access).await.unwrap_err();
        for text in [format!("{said:?}"), format!("{error} {error:?} {access:?}")] {
            assert!(!text.contains("hunter") && !text.contains("other's"), "{text}");
        }
    }
}

/// As etcd's own clients do. Passwords are often set before users are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_logs_in_a_login_does_no_harm() {
    let etcd = Etcd::new();
    etcd.put("a", 1);
    let login = Login { user: "felix".to_owned(), password: Secret::new("hunter2".to_owned()) };
    let mut seen = Seen::new(etcd::watch(EtcdAccess { login: Some(login), ..etcd.access() }));
    seen.until_values(&["1"]).await;
    assert!(seen.state.unreadable.is_empty());
}

/// Nothing is lost by a password that is replaced, until the connection is: then it is said, and what was read stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_changed_on_the_server() {
    let mut guarded = Guarded::start(tempfile::tempdir().unwrap(), &[]);
    guarded.server.put(&tier("a"), r#"{"value":1}"#);
    let mut seen = Seen::new(etcd::watch(guarded.access("felix", "hunter2")));
    seen.until_values(&["1"]).await;
    guarded.change_password("new");
    guarded.server.put(&tier("a"), r#"{"value":2}"#);
    seen.until_values(&["2"]).await;
    assert!(!seen.state.is_lost);
    guarded.server.restart();
    seen.until(|state| complaints(state).iter().any(|said| said.contains("refuses the login"))).await;
    guarded.change_password("hunter2");
    seen.until(|state| !state.is_lost).await;
    assert_eq!((seen.state.values(), seen.state.deletes), (vec!["2"], 0));
}

impl Guarded {
    fn change_password(&self, password: &str) {
        let password = password.to_owned();
        self.server
            .ask(async move |mut client| client.user_change_password("felix", password).await.map(drop))
            .unwrap();
    }
}

/// Tokens expire all the time, and those of before a change of any user or role are refused: nobody notices.
pub async fn tokens_that_expire() {
    let guarded = Guarded::with_tokens(2);
    guarded.server.put(&tier("a"), r#"{"value":1}"#);
    let mut seen = Seen::new(etcd::watch(guarded.access("felix", "hunter2")));
    seen.until_values(&["1"]).await;
    // Long enough for the stream to be asked whether it lives, and for the leader to be asked.
    assert!(seen.is_quiet_for(Duration::from_secs(33)).await);
    guarded.server.put(&tier("a"), r#"{"value":2}"#);
    seen.until_values(&["2"]).await;
    assert_eq!(seen.state.losses, 0);
}

/// See [`tokens_that_expire`]; here they are valid, and of before.
pub async fn roles_that_change() {
    let guarded = Guarded::with_tokens(3600);
    guarded.server.put(&tier("a"), r#"{"value":1}"#);
    let mut seen = Seen::new(etcd::watch(guarded.access("felix", "hunter2")));
    seen.until_values(&["1"]).await;
    guarded.server.ask(async |mut client| client.role_add("new").await.map(drop)).unwrap();
    assert!(seen.is_quiet_for(Duration::from_secs(33)).await);
    assert_eq!(seen.state.losses, 0);
}

/// What is logged at the most talkative level, by any library.
#[tokio::test]
async fn nothing_secret_is_logged() {
    let guarded = Guarded::start(tempfile::tempdir().unwrap(), &[]);
    guarded.server.put(&tier("a"), r#"{"value":1}"#);
    let log = tempfile::NamedTempFile::new().unwrap();
    // While there is but one, a thread without it may decide for all that nobody wants to hear of an event.
    let _another = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.reopen().map(std::sync::Mutex::new).unwrap())
        .finish();
    // Of this thread alone, on which all of it runs.
    let logging = tracing::subscriber::set_default(subscriber);
    let mut seen = Seen::new(etcd::watch(guarded.access("felix", "hunter2")));
    seen.until_values(&["1"]).await;
    let mut refused = Seen::new(etcd::watch(guarded.access("felix", "hunter3")));
    refused.until(|state| state.is_lost).await;
    drop(logging);
    let logged = fs::read_to_string(log.path()).unwrap();
    assert!(logged.contains("the store is read"), "{logged}");
    for secret in ["hunter2", "hunter3"] {
        let line = logged.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{line:?}");
    }
}
