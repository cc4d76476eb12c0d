//! Ten thousand random changes, compactions and disconnects: in the end the follower knows what the server has, and never
//! went back on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use etcd_client::{Client, Error, GetOptions, Txn, TxnOp};
use felix_rs::config::EtcdAccess;
use felix_rs::datastore::etcd;
use tokio::time::sleep;

use super::TIERS;
use crate::proxy::{Proxy, Way};
use crate::random::{Chance, seed};
use crate::seen::{Seen, State};
use crate::server::Server;

const CHANGES: u32 = 10_000;

/// Who writes at the same time, each his own keys.
const WRITERS: u64 = 4;
const KEYS: u64 = 20;

/// Who follows at the same time, each by his own way.
const FOLLOWERS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_changes() {
    let seed = seed();
    println!("again: FELIX_RS_SEED={seed} cargo test --test watchers chance");
    let (server, is_done) = (Arc::new(Server::start()), Arc::new(AtomicBool::new(false)));
    let followers: Vec<_> = (0..FOLLOWERS)
        .map(|at| tokio::spawn(follow(Arc::clone(&server), Arc::clone(&is_done), seed ^ ((at + 1) << 16))))
        .collect();
    let writing = thread::spawn(move || {
        let began = Instant::now();
        server.ask(async |client| write(client, seed).await).unwrap();
        println!("written in {:?}", began.elapsed());
        is_done.store(true, Ordering::Relaxed);
    });
    for follower in followers {
        follower.await.unwrap();
    }
    writing.join().unwrap();
}

/// Until all is written and known.
async fn follow(server: Arc<Server>, is_done: Arc<AtomicBool>, seed: u64) {
    let (proxy, mut chance) = (Proxy::to(server.address()), Chance::new(seed));
    let access = EtcdAccess { endpoints: vec![proxy.url()], ..EtcdAccess::default() };
    let mut seen = Seen::new(etcd::watch(access));
    let breaking = {
        let (is_done, mut chance) = (Arc::clone(&is_done), Chance::new(seed ^ 0xd15));
        thread::spawn(move || disturb(proxy, &is_done, &mut chance))
    };
    let mut order = Order::default();
    while !is_done.load(Ordering::Relaxed) {
        tokio::select! {
            batch = seen.next() => order.take(&batch),
            () = sleep(Duration::from_millis(100)) => {}
        }
        // Readers are busy now and then.
        sleep(Duration::from_millis([0, 0, 1, 20, 300][chance.below(5) as usize])).await;
    }
    // The way is kept until all has come through it.
    let (_proxy, disturbed) = breaking.join().unwrap();
    let there = there(&server);
    let there: Vec<(&str, &str)> = there.iter().map(|(key, value)| (&**key, &**value)).collect();
    loop {
        let known = seen.state.entries.keys().map(|key| &*key.0);
        if known.zip(seen.state.values()).collect::<Vec<_>>() == there && !seen.state.is_lost {
            break;
        }
        order.take(&seen.next().await);
    }
    assert!(seen.is_quiet().await);
    let State { puts, deletes, losses, .. } = seen.state;
    println!(
        "disturbed {disturbed}, {} batches, {puts} puts, {deletes} deletes, {losses} losses",
        seen.batches
    );
}

/// Each value is greater than all before it.
async fn write(client: Client, seed: u64) -> Result<(), Error> {
    let (next, mut writers) = (Arc::new(AtomicU32::new(1)), Vec::new());
    for writer in 0..WRITERS {
        let (client, next) = (client.clone(), Arc::clone(&next));
        let chance = Chance::new(seed ^ (writer << 32));
        writers.push(tokio::spawn(change(client, writer, next, chance)));
    }
    for writer in writers {
        writer.await.unwrap()?;
    }
    Ok(())
}

async fn change(
    mut client: Client,
    writer: u64,
    next: Arc<AtomicU32>,
    mut chance: Chance,
) -> Result<(), Error> {
    let mut revision = 0;
    loop {
        let value = next.fetch_add(1, Ordering::Relaxed);
        if value > CHANGES {
            return Ok(());
        }
        let at = chance.below(KEYS);
        let (key, value) = (key(writer, at), format!("{{\"value\":{value}}}"));
        let header = match chance.below(100) {
            0..65 => client.put(key, value, None).await?.take_header(),
            65..90 => client.delete(key, None).await?.take_header(),
            // Several at one revision.
            90..97 => {
                let other = self::key(writer, (at + 1) % KEYS);
                let both = [TxnOp::put(key, value.clone(), None), TxnOp::put(other, value, None)];
                client.txn(Txn::new().and_then(both)).await?.take_header()
            }
            // Beside what is ours.
            97 => client.put("/calico/felix/v2/x", value, None).await?.take_header(),
            98 if revision > 0 => {
                let before = revision - i64::try_from(chance.below(2_000)).unwrap_or_default();
                // Now and then of what a follower is just reading. Fails where another writer has compacted more.
                let _ = client.compact(before.max(1), None).await;
                None
            }
            _ => {
                sleep(Duration::from_millis(chance.below(300))).await;
                None
            }
        };
        revision = header.map_or(revision, |header| header.revision());
    }
}

fn key(writer: u64, at: u64) -> String {
    let below = match at % 4 {
        0 => "/calico/v1/policy/tier/t/policy",
        1 => "/calico/ipam/v2/assignment/ipv4/block",
        2 => "/calico/v1/host/h/workload/o/w/endpoint",
        _ => TIERS,
    };
    format!("{below}/k{writer}-{at}")
}

/// Closes the way, or lets it hang, until all is written. Says how often.
fn disturb(proxy: Proxy, is_done: &AtomicBool, chance: &mut Chance) -> (Proxy, usize) {
    let mut count = 0;
    while !is_done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(chance.below(4000)));
        proxy.set([Way::Closed, Way::Closed, Way::Hanging, Way::Muted][chance.below(4) as usize]);
        thread::sleep(Duration::from_millis(chance.below(300)));
        proxy.set(Way::Open);
        count += 1;
    }
    (proxy, count)
}

/// All that is ours, from the server itself.
fn there(server: &Server) -> BTreeMap<String, String> {
    let all = server.ask(async |mut client| {
        let mut answer = client.get("/calico/", Some(GetOptions::new().with_prefix())).await?;
        Ok(answer.take_kvs())
    });
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let number = |value: String| value.trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
    let all = all.unwrap();
    let rows = all.iter().map(|kv| (text(kv.key()), number(text(kv.value()))));
    rows.filter(|(key, _)| !key.contains("/felix/")).collect()
}

/// The last value of each key.
#[derive(Default)]
struct Order(BTreeMap<String, u32>);

impl Order {
    fn take(&mut self, batch: &[String]) {
        for said in batch {
            let words: Vec<&str> = said.split(' ').collect();
            if let ["put", key, _, value] = words.as_slice() {
                let value = value.parse().unwrap();
                let before = self.0.insert((*key).to_owned(), value);
                assert!(before.is_none_or(|before| before < value), "{said} after {before:?}");
            }
        }
    }
}
