//! What is written to a real etcd.

mod server;
mod status;
