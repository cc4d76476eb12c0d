//! One contract for every source that is followed, and what only directories of manifests or a store can do.

#[path = "../etcd/certificates.rs"]
mod certificates;
mod contract;
mod directory;
mod etcd;
#[allow(dead_code, reason = "the benchmarks use all of it")]
#[path = "../bench/generate.rs"]
mod generate;
#[path = "../etcd/grpc_proxy.rs"]
mod grpc_proxy;
#[path = "../etcd/proxy.rs"]
mod proxy;
mod random;
mod restricted;
mod seen;
#[path = "../etcd/server.rs"]
mod server;

use felix_rs::datastore::Event;
use tokio::sync::mpsc::Receiver;

/// Something that can be followed, as its users change it.
trait Source {
    /// Starts to follow. Done once.
    fn follow(&self) -> Receiver<Vec<Event>>;
    /// The object says `value` from now on.
    fn put(&self, object: &str, value: u32);
    fn delete(&self, object: &str);
    /// From now on nobody can read it.
    fn take_away(&self);
    /// It is there again, with what was put in the meantime.
    fn bring_back(&self);
}
