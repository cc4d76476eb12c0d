//! etcd's own proxy, by which many hosts share few watches.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::server::Ports;

pub struct GrpcProxy {
    child: Child,
    address: SocketAddr,
    _data: TempDir,
}

impl GrpcProxy {
    /// In front of the server at `endpoint`.
    pub fn to(endpoint: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, Ports::free().client));
        let child = Command::new("etcd")
            .args(["grpc-proxy", "start", "--endpoints", endpoint, "--listen-addr", &address.to_string()])
            .arg("--data-dir")
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed (etcd-server)");
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "the proxy does not start");
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, address, _data: data }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for GrpcProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
