//! A real etcd, on loopback unless a test has a network of its own, with a data directory of its own.
#![allow(dead_code, reason = "shared by test binaries that each use a part of it")]

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions, Error};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Nothing that is waited for takes so long, on however busy a machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// One member. It ends with this value.
pub struct Server {
    directory: TempDir,
    child: Option<Child>,
    host: IpAddr,
    ports: Ports,
    arguments: Vec<String>,
    /// How the test itself asks.
    options: ConnectOptions,
    runtime: Option<Runtime>,
}

#[derive(Clone, Copy)]
pub struct Ports {
    pub client: u16,
    pub peer: u16,
}

impl Server {
    /// A member of its own, ready to answer.
    pub fn start() -> Self {
        let server = Self::with(Ports::free(), &[]);
        server.wait();
        server
    }

    /// The same where nobody else listens, for clients that come to this address.
    pub fn start_at(host: IpAddr) -> Self {
        let server = Self::on(host, Ports { client: 2379, peer: 2380 }, &[]);
        server.wait();
        server
    }

    /// A member with arguments of its own, which may not be ready yet.
    pub fn with(ports: Ports, arguments: &[&str]) -> Self {
        Self::on(Ipv4Addr::LOCALHOST.into(), ports, arguments)
    }

    fn on(host: IpAddr, ports: Ports, arguments: &[&str]) -> Self {
        let mut server = Self {
            directory: tempfile::tempdir().unwrap(),
            child: None,
            host,
            ports,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            options: ConnectOptions::new(),
            runtime: Some(
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
            ),
        };
        server.run();
        server
    }

    /// Where clients come to, without the scheme.
    pub fn address(&self) -> SocketAddr {
        (self.host, self.ports.client).into()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Ends it at once, as if the machine had lost its power.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again with the data that it had.
    pub fn restart(&mut self) {
        self.kill();
        self.run();
        self.wait();
    }

    /// Starts it again with what `directory` holds.
    pub fn restart_from(&mut self, directory: TempDir) {
        self.kill();
        self.directory = directory;
        self.run();
        self.wait();
    }

    /// From now on the test asks as this user.
    pub fn log_in(&mut self, user: &str, password: &str) {
        self.options = ConnectOptions::new().with_user(user, password);
    }

    /// Sends the process a signal of that name, such as STOP and CONT.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success());
    }

    pub fn data(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub fn put(&self, key: &str, value: &str) {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.ask(async move |mut client| client.put(key, value, None).await.map(drop)).unwrap();
    }

    pub fn delete(&self, key: &str) {
        let key = key.to_owned();
        self.ask(async move |mut client| client.delete(key, None).await.map(drop)).unwrap();
    }

    /// Forgets the history up to now.
    pub fn compact(&self) {
        self.ask(async |mut client| {
            let revision =
                client.get("x", None).await?.header().map_or(0, etcd_client::ResponseHeader::revision);
            client.compact(revision, None).await.map(drop)
        })
        .unwrap();
    }

    /// What a client of the test's own is told, from within or without a runtime.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl AsyncFnOnce(Client) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let runtime = self.runtime.as_ref().expect("it runs");
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                runtime.block_on(async {
                    let client = Client::connect([self.url()], Some(self.options.clone())).await?;
                    question(client).await
                })
            });
            asked.join().unwrap()
        })
    }

    /// Until it answers.
    pub fn wait(&self) {
        let until = Instant::now() + DEADLINE;
        while let Err(error) = self.ask(async |mut client| client.get("x", None).await) {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "etcd does not start: {error}\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it with the data that it had, and does not wait.
    pub fn run(&mut self) {
        let Ports { client, peer } = self.ports;
        let log = File::options().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        let url = |port| format!("http://{}", SocketAddr::new(self.host, port));
        let mut command = Command::new("etcd");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .arg("--data-dir")
            .arg(self.directory.path().join("data"))
            .args(["--log-level", "warn"])
            .args(["--listen-peer-urls", &url(peer)])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        // What a test says itself comes instead.
        let given = |name: &str| self.arguments.iter().any(|argument| argument == name);
        if !given("--listen-client-urls") {
            command.args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)]);
        }
        let child = command.args(&self.arguments).spawn();
        self.child = Some(child.expect("etcd is installed (etcd-server)"));
    }
}

impl Ports {
    /// Nobody listens there now.
    pub fn free() -> Self {
        let taken: Vec<TcpListener> =
            (0..2).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let port = |at: usize| taken[at].local_addr().unwrap().port();
        Self { client: port(0), peer: port(1) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // May be dropped within another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
