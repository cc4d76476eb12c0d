//! A way to a server that a test can close, or let hang.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Those that are there end, and no others are taken.
    Closed,
    /// Those that are there are silent, as are new ones.
    Hanging,
    /// The server hears everything, and nobody hears the server.
    Muted,
}

/// Forwards from a port of its own.
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    taken: Arc<AtomicUsize>,
    _ends: oneshot::Sender<()>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let (way, ways) = watch::channel(Way::Open);
        let (ends, ended) = oneshot::channel();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        // A thread of its own: the tests' runtime counts its tasks.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(address, target, ways, &count) => {}
                    _ = ended => {}
                }
            });
        });
        let proxy = Self { address, way, taken, _ends: ends };
        proxy.set(Way::Open);
        proxy
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections were taken; at least one by us.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// When this is done, it is so.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
        let reachable = || std::net::TcpStream::connect(self.address).is_ok();
        while (way != Way::Closed) != reachable() {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

async fn serve(address: SocketAddr, target: SocketAddr, mut ways: watch::Receiver<Way>, count: &AtomicUsize) {
    loop {
        let _ = ways.wait_for(|way| *way != Way::Closed).await;
        let Ok(listener) = TcpListener::bind(address).await else { continue };
        let each = ways.clone();
        loop {
            tokio::select! {
                taken = listener.accept() => {
                    let Ok((stream, _)) = taken else { continue };
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(forward(stream, target, each.clone()));
                }
                _ = ways.wait_for(|way| *way == Way::Closed) => break,
            }
        }
    }
}

async fn forward(mut stream: TcpStream, target: SocketAddr, mut ways: watch::Receiver<Way>) {
    let mut closed = ways.clone();
    let open = async {
        let _ = ways.wait_for(|way| *way != Way::Hanging).await;
        let Ok(mut other) = TcpStream::connect(target).await else { return };
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (stream.split(), other.split());
        // Kept while it hangs, as what was read must not be lost.
        let mut up = pin!(copy(&mut from_client, &mut to_server));
        let mut down = pin!(copy(&mut from_server, &mut to_client));
        loop {
            let way = *ways.borrow_and_update();
            tokio::select! {
                _ = &mut up, if way != Way::Hanging => return,
                _ = &mut down, if way == Way::Open => return,
                _ = ways.changed() => {}
            }
        }
    };
    tokio::select! {
        () = open => {}
        _ = closed.wait_for(|way| *way == Way::Closed) => {}
    }
}
