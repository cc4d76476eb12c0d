//! The store of a lab: etcd on the first host, whom both hosts' daemons follow, and the program that writes to it.

use std::collections::BTreeMap;

use etcd_client::{GetOptions, KeyValue, Permission, ResponseHeader};

use crate::Verdict;
use crate::daemon::{Daemon, Settings};
use crate::lab::{Lab, until};
use crate::server::Server;
use crate::world::{Family, HOSTS, address};

/// A key of which nobody makes anything; its revision says that all before it was taken.
const MARK: &str = "/calico/v1/mark";

pub struct Etcd<'a> {
    lab: &'a Lab,
    server: Server,
    /// What the environment says of who writes.
    writer: Vec<(&'static str, String)>,
}

/// What a key holds.
#[derive(Debug)]
pub struct Held {
    pub value: String,
    /// It goes with somebody's lease.
    pub is_leased: bool,
}

impl<'a> Etcd<'a> {
    /// An empty one.
    pub fn start(lab: &'a Lab) -> Self {
        let server = lab.world.host(0).within(|| Server::start_at(address(HOSTS[0], Family::V4)));
        Self { lab, server, writer: Vec::new() }
    }

    pub fn url(&self) -> String {
        format!("etcd://{}", self.server.address())
    }

    /// How a host's daemon is started that follows it.
    pub fn settings(&self, host: usize, parameters: &[&str]) -> Settings {
        Settings { datastore: self.url(), ..self.lab.settings(host, parameters) }
    }

    /// One that has programmed everything.
    pub fn daemon(&self, host: usize, parameters: &[&str]) -> Result<Daemon<'a>, String> {
        Daemon::ready(self.lab.world.host(host), &self.settings(host, parameters))
    }

    /// Runs the program on a host to its end; what it printed.
    pub fn felix_rs(&self, host: usize, arguments: &[&str], stdin: &str) -> Result<String, String> {
        let variables: Vec<String> =
            self.writer.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let url = self.url();
        let mut command = vec!["env"];
        command.extend(variables.iter().map(String::as_str));
        command.push(env!("CARGO_BIN_EXE_felix-rs"));
        command.extend(arguments);
        command.extend(["--datastore", &url]);
        self.lab.world.host(host).run(&command, stdin)
    }

    pub fn apply(&self, manifests: &str) -> Verdict {
        self.felix_rs(0, &["apply", "-f", "-"], manifests).map(drop)
    }

    /// Takes out what the manifests name.
    pub fn delete(&self, manifests: &str) -> Verdict {
        self.felix_rs(0, &["apply", "--delete", "-f", "-"], manifests).map(drop)
    }

    /// Waits until the kernel is as all is that was written so far.
    pub fn settled(&self, daemon: &Daemon) -> Verdict {
        let revision = self.marked();
        until(|| match daemon.metric("felix_rs_applied_revision")? {
            applied if applied >= revision => Ok(()),
            applied => Err(format!("revision {applied} is applied, {revision} was written")),
        })
    }

    /// A revision behind all that was written so far.
    pub fn marked(&self) -> f64 {
        let put = self.within(|server| server.ask(async |mut client| client.put(MARK, "", None).await));
        put.expect("etcd is written").header().map_or(0, ResponseHeader::revision) as f64
    }

    /// Fails where a host's sets and tables differ from what the store says. Routes are made by hand here.
    pub fn is_in_kernel(&self, host: usize) -> Verdict {
        let backend = format!("IptablesBackend={}", self.lab.backend.name());
        let render = ["render", "--host", HOSTS[host], "--set", &backend, "--against", "kernel"];
        let parts = ["ipset", "raw", "mangle", "nat", "filter"].map(|part| ["--table", part]);
        let render = [&render[..], parts.as_flattened()].concat();
        self.felix_rs(host, &render, "").map(drop)
    }

    pub fn put(&self, key: &str, value: &str) {
        self.within(|server| server.put(key, value));
    }

    pub fn remove(&self, key: &str) {
        self.within(|server| server.delete(key));
    }

    /// All keys that begin so, without that.
    pub fn below(&self, prefix: &str) -> BTreeMap<String, Held> {
        let options = GetOptions::new().with_prefix();
        let found =
            self.within(|server| server.ask(async |mut client| client.get(prefix, Some(options)).await));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let held = |kv: &KeyValue| {
            let held = Held { value: text(kv.value()), is_leased: kv.lease() != 0 };
            (text(&kv.key()[prefix.len()..]), held)
        };
        found.expect("etcd is read").kvs().iter().map(held).collect()
    }

    pub fn compact(&self) {
        self.within(Server::compact);
    }

    pub fn kill(&mut self) {
        self.server.kill();
    }

    pub fn restart(&mut self) {
        let (server, host) = (&mut self.server, self.lab.world.host(0));
        host.within(|| server.restart());
    }

    /// From now on one has to be somebody: `root` may do everything and is who writes, `reader` may read.
    pub fn ask_for_passwords(&mut self, roots: &str, readers: &str) {
        let made = self.within(|server| {
            server.ask(async |mut client| {
                let range = Permission::read("/calico/").with_prefix();
                client.role_add("reader").await?;
                client.role_grant_permission("reader", range).await?;
                for (user, password, role) in [("root", roots, "root"), ("reader", readers, "reader")] {
                    client.user_add(user, password, None).await?;
                    client.user_grant_role(user, role).await?;
                }
                client.auth_enable().await.map(drop)
            })
        });
        made.expect("users");
        self.writer = login("root", roots);
    }

    /// Where its address is reached.
    fn within<T: Send>(&self, does: impl FnOnce(&Server) -> T + Send) -> T {
        self.lab.world.host(0).within(|| does(&self.server))
    }
}

/// What the environment says of a user.
pub fn login(user: &str, password: &str) -> Vec<(&'static str, String)> {
    vec![("ETCD_USERNAME", user.to_owned()), ("ETCD_PASSWORD", password.to_owned())]
}
