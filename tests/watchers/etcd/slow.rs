//! What takes long to be noticed, all at once.

use super::{Etcd, auth, complaints, grpc_proxy};
use crate::Source;
use crate::proxy::Way;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_half_a_minute() {
    tokio::join!(
        auth::tokens_that_expire(),
        auth::roles_that_change(),
        grpc_proxy::nothing_happens_for_long(),
        grpc_proxy::a_backup_is_restored_behind_it(),
        grpc_proxy::a_server_hangs_behind_it(),
        a_server_that_is_not_heard(),
    );
}

/// All that we send is taken, and nothing comes back.
async fn a_server_that_is_not_heard() {
    let etcd = Etcd::new();
    etcd.put("a", 1);
    let mut seen = etcd.seen();
    seen.until_values(&["1"]).await;
    etcd.proxy.set(Way::Muted);
    etcd.put("a", 2);
    seen.until(|state| state.is_lost).await;
    println!("{:#?}", complaints(&seen.state));
    assert_eq!(seen.state.values(), ["1"]);
    etcd.proxy.set(Way::Open);
    seen.until(|state| state.values() == ["2"] && !state.is_lost).await;
}
