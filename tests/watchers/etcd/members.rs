//! Three members, of which some are killed, stopped, or cut off.

use std::time::{Duration, Instant};

use felix_rs::config::EtcdAccess;
use felix_rs::datastore::etcd;
use tokio::time::sleep;

use super::{complaints, tier};
use crate::seen::Seen;
use crate::server::{Ports, Server};

struct Cluster {
    members: Vec<Server>,
}

impl Cluster {
    fn start() -> Self {
        let ports: Vec<Ports> = (0..3).map(|_| Ports::free()).collect();
        let peer = |at: usize| format!("http://127.0.0.1:{}", ports[at].peer);
        let all = (0..3).map(|at| format!("m{at}={}", peer(at))).collect::<Vec<_>>().join(",");
        let member = |at: usize| {
            let (name, url) = (format!("m{at}"), peer(at));
            let arguments = [
                ["--name", &name],
                ["--initial-advertise-peer-urls", &url],
                ["--initial-cluster", &all],
                ["--initial-cluster-state", "new"],
            ]
            .concat();
            Server::with(ports[at], &arguments)
        };
        let members: Vec<Server> = (0..3).map(member).collect();
        members.iter().for_each(Server::wait);
        Self { members }
    }

    fn leader(&self) -> usize {
        let leads = |server: &Server| {
            server.ask(async |mut client| {
                let status = client.status().await?;
                Ok(status.leader() == status.header().map_or(0, etcd_client::ResponseHeader::member_id))
            })
        };
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(at) = self.members.iter().position(|member| leads(member).unwrap_or(false)) {
                return at;
            }
            assert!(Instant::now() < until, "nobody leads");
        }
    }

    /// Through any member but `down`, as soon as there is a leader.
    async fn put(&self, down: &[usize], value: u32) {
        let up = (0..3).find(|at| !down.contains(at)).expect("one is up");
        let value = format!("{{\"value\":{value}}}");
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let (key, value) = (tier("a"), value.clone());
            match self.members[up].ask(async move |mut client| client.put(key, value, None).await.map(drop)) {
                Ok(()) => return,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn access(&self, members: &[usize]) -> EtcdAccess {
        let endpoints = members.iter().map(|at| self.members[*at].url()).collect();
        EtcdAccess { endpoints, ..EtcdAccess::default() }
    }
}

/// Followed through all members, and through each alone: whoever is left goes on.
pub async fn a_leader_that_is_killed_or_stopped() {
    let mut cluster = Cluster::start();
    cluster.put(&[], 1).await;
    let mut followers: Vec<Seen> = [&[0, 1, 2][..], &[0], &[1], &[2]]
        .iter()
        .map(|members| Seen::new(etcd::watch(cluster.access(members))))
        .collect();
    for seen in &mut followers {
        seen.until_values(&["1"]).await;
    }
    let leader = cluster.leader();
    cluster.members[leader].kill();
    cluster.put(&[leader], 2).await;
    for (at, seen) in followers.iter_mut().enumerate() {
        if at != leader + 1 {
            seen.until_values(&["2"]).await;
        }
    }
    followers[leader + 1].until(|state| state.is_lost).await;
    assert_eq!(followers[leader + 1].state.values(), ["1"]);
    cluster.members[leader].restart();
    for seen in &mut followers {
        seen.until(|state| state.values() == ["2"] && !state.is_lost).await;
    }

    let leader = cluster.leader();
    cluster.members[leader].signal("STOP");
    cluster.put(&[leader], 3).await;
    for (at, seen) in followers.iter_mut().enumerate() {
        if at != leader + 1 {
            seen.until_values(&["3"]).await;
        }
    }
    followers[leader + 1].until(|state| state.is_lost).await;
    cluster.members[leader].signal("CONT");
    for seen in &mut followers {
        seen.until(|state| state.values() == ["3"] && !state.is_lost).await;
        assert_eq!(seen.state.deletes, 0);
    }
}

/// One member alone must not go on as if nothing happened: what it has may be old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_members_are_away() {
    let mut cluster = Cluster::start();
    cluster.put(&[], 1).await;
    let mut seen = Seen::new(etcd::watch(cluster.access(&[2])));
    seen.until_values(&["1"]).await;
    cluster.members[0].kill();
    cluster.members[1].kill();
    seen.until(|state| state.is_lost).await;
    let said = complaints(&seen.state);
    assert!(said.iter().any(|said| said.contains("lost the other members")), "{said:#?}");
    // Whoever begins now is not told that this is all.
    let mut late = Seen::new(etcd::watch(cluster.access(&[2])));
    late.until(|state| state.is_lost).await;
    let said = complaints(&late.state);
    assert!(said.iter().any(|said| said.contains("lost the other members")), "{said:#?}");
    assert!(!late.state.is_in_sync);
    cluster.members[0].run();
    cluster.put(&[1], 2).await;
    for seen in [&mut seen, &mut late] {
        seen.until(|state| state.values() == ["2"] && state.is_in_sync && !state.is_lost).await;
        assert_eq!(seen.state.deletes, 0);
    }
}

/// In whatever order they are named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_never_there() {
    let server = Server::start();
    server.put(&tier("a"), r#"{"value":1}"#);
    let dead = format!("http://127.0.0.1:{}", Ports::free().client);
    let access = EtcdAccess { endpoints: vec![dead, server.url()], ..EtcdAccess::default() };
    assert_eq!(etcd::read(&access).await.unwrap().len(), 3);
    let mut seen = Seen::new(etcd::watch(access));
    seen.until(|state| state.values() == ["1"] && state.is_in_sync && !state.is_lost).await;
}
