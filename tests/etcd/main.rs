//! What is written to a real etcd, and how it fares beside others who write.

mod apply;
mod server;
mod status;
mod writer;
