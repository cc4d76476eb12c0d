//! `felix-rs apply` and `init`, as a user calls them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use etcd_client::GetOptions;
use serde_json::Value as Json;

use crate::server::Server;

const SEED: &str = "golden/render/001-seed-net1/datastore";

const RESOURCES: &str = "/calico/resources/v3/projectcalico.org";

/// Runs the program to its end: exit code, standard output, standard error.
fn felix_rs(server: &Server, arguments: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_felix-rs"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("ETCD_ENDPOINTS", server.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Applies one text; what is printed.
fn apply(server: &Server, manifest: &str) -> (Option<i32>, String, String) {
    felix_rs(server, &["apply", "-f", "-"], manifest)
}

/// What the store holds, by key.
fn stored(server: &Server) -> BTreeMap<String, Json> {
    let all =
        server.ask(async |mut client| client.get("/", Some(GetOptions::new().with_prefix())).await).unwrap();
    let object = |kv: &etcd_client::KeyValue| {
        (kv.key_str().unwrap().to_owned(), serde_json::from_slice(kv.value()).unwrap())
    };
    all.kvs().iter().map(object).collect()
}

fn revision(server: &Server) -> i64 {
    server.ask(async |mut client| client.get("x", None).await).unwrap().header().unwrap().revision()
}

fn tier(name: &str, order: &str) -> String {
    format!(
        "{{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {{name: {name}}}, spec: {{order: {order}}}}}\n---\n"
    )
}

fn policy(name: &str, tier: &str) -> String {
    format!(
        "{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {{name: {name}}}, spec: {{tier: {tier}}}}}\n---\n"
    )
}

/// Byte for byte, but for what is made anew each time. `UPDATE_GOLDEN=1` writes it anew.
#[test]
fn the_seed_as_it_is_stored() {
    let server = Server::start();
    let (code, _, stderr) = felix_rs(&server, &["apply", "-f", SEED], "");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let all =
        server.ask(async |mut client| client.get("/", Some(GetOptions::new().with_prefix())).await).unwrap();
    let mut text = String::new();
    for kv in all.kvs() {
        let mut value = kv.value_str().unwrap().to_owned();
        let json: Json = serde_json::from_str(&value).unwrap();
        for path in ["/metadata/uid", "/metadata/creationTimestamp", "/spec/clusterGUID"] {
            if let Some(made) = json.pointer(path) {
                value = value.replace(made.as_str().unwrap(), "…");
            }
        }
        text += &format!("{}\n{value}\n", kv.key_str().unwrap());
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/store/001-seed-net1");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(golden).unwrap());
}

/// The kernel is given the same, whether a host reads the manifests or what was stored of them.
#[test]
fn the_seed_as_it_is_rendered_from_the_store() {
    let server = Server::start();
    felix_rs(&server, &["apply", "-f", SEED], "");
    let golden = "golden/render/001-seed-net1/expect";
    let render = ["render", "--datastore", "etcd://", "--host", "calico-01", "--golden", golden];
    assert_eq!(felix_rs(&server, &render, ""), (Some(0), String::new(), String::new()));
}

#[test]
fn what_is_so_already_is_not_written() {
    let server = Server::start();
    let (code, stdout, stderr) = felix_rs(&server, &["apply", "-f", SEED], "");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("created Tier kube-admin\ncreated Tier default\n"), "{stdout}");
    assert!(stdout.ends_with("created IPPool 192-168-0-0-16\n"), "{stdout}");
    let (held, before) = (stored(&server), revision(&server));
    let (code, stdout, _) = felix_rs(&server, &["apply", "--filename", SEED, SEED], "");
    assert_eq!(code, Some(0));
    assert_eq!(stdout.lines().count(), 7, "{stdout}");
    assert!(stdout.lines().all(|line| line.starts_with("unchanged ")), "{stdout}");
    assert_eq!((stored(&server), revision(&server)), (held, before));
}

#[test]
fn a_change_keeps_what_the_store_says_of_the_object() {
    let server = Server::start();
    let key = format!("{RESOURCES}/nodes/n");
    server.put(
        &key,
        r#"{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"n","uid":"u","creationTimestamp":"2026-08-01T00:00:00Z"},"spec":{},"status":{"wireguardPublicKey":"k"}}"#,
    );
    let node = "{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: n, uid: mine}, spec: {bgp: {ipv4Address: 10.0.0.1/24}}}";
    let (_, stdout, _) = apply(&server, node);
    assert!(stdout.ends_with("configured Node n\n"), "{stdout}");
    assert_eq!(
        stored(&server)[&key].to_string(),
        r#"{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"n","uid":"u","creationTimestamp":"2026-08-01T00:00:00Z"},"spec":{"bgp":{"ipv4Address":"10.0.0.1/24"}},"status":{"wireguardPublicKey":"k"}}"#
    );
    assert!(apply(&server, node).1.ends_with("unchanged Node n\n"));
}

#[test]
fn what_is_applied_can_be_taken_out() {
    let server = Server::start();
    felix_rs(&server, &["init"], "");
    let before = stored(&server);
    felix_rs(&server, &["apply", "-f", SEED], "");
    let (code, stdout, stderr) = felix_rs(&server, &["apply", "--delete", "-f", SEED], "");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("deleted IPPool") && stdout.ends_with("deleted Profile net1\n"), "{stdout}");
    assert_eq!(stored(&server), before);
    let (code, stdout, _) = felix_rs(&server, &["apply", "--delete", "-f", SEED], "");
    assert_eq!(code, Some(0));
    assert!(stdout.lines().all(|line| line.starts_with("absent ")), "{stdout}");
}

#[test]
fn init_writes_only_what_lacks() {
    let server = Server::start();
    let tier = format!("{RESOURCES}/tiers/default");
    let own = r#"{"metadata":{"name":"default"},"spec":{"order":7}}"#;
    server.put(&tier, own);
    let (code, stdout, stderr) = felix_rs(&server, &["init"], "");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(
        stdout,
        "created Tier kube-admin\nunchanged Tier default\ncreated Tier kube-baseline\ncreated ClusterInformation default\n"
    );
    let held = stored(&server);
    assert_eq!(held[&tier].to_string(), own);
    let information = &held[&format!("{RESOURCES}/clusterinformations/default")];
    assert_eq!(information.pointer("/spec/datastoreReady"), Some(&Json::Bool(true)));
    let guid = information.pointer("/spec/clusterGUID").and_then(Json::as_str).unwrap();
    assert!(guid.len() == 32 && guid.bytes().all(|byte| byte.is_ascii_hexdigit()), "{guid}");
    felix_rs(&server, &["init"], "");
    assert_eq!(stored(&server), held);
}

#[test]
fn another_prefix_is_another_store() {
    let server = Server::start();
    let url = format!("etcd://{}/clusters/one/", server.address());
    let (code, _, stderr) = felix_rs(&server, &["init", "--datastore", &url], "");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stored(&server).keys().all(|key| key.starts_with("/clusters/one/resources/v3/")));
}

/// With one error nothing is written.
#[test]
fn errors_keep_everything_out() {
    let server = Server::start();
    let good = tier("a", "1");
    for (manifests, said) in [
        (good.clone() + &tier("b", "x"), "Tier b: spec.order: `x` is not a number"),
        (good.clone() + &policy("ghost.p", "ghost"), "GlobalNetworkPolicy ghost.p: there is no tier `ghost`"),
        (good.clone() + &good, "Tier a: a second one of this name"),
        (
            good.clone() + "{apiVersion: projectcalico.org/v3, kind: Pool}",
            "`Pool` is not a kind that we know",
        ),
        (good.clone() + "a: b: c", "not valid YAML"),
        (
            good.clone()
                + "{apiVersion: projectcalico.org/v3, kind: IPAMBlock, metadata: {name: b}, spec: {cidr: 10.0.0.0/26}}",
            "IPAMBlock: address management writes its own records",
        ),
    ] {
        let (code, stdout, stderr) = apply(&server, &manifests);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{manifests}");
        assert!(stderr.contains(said) && stderr.ends_with("1 error: nothing is written\n"), "{stderr}");
        assert!(!stderr.contains("until this is corrected"), "{stderr}");
        assert_eq!(stored(&server), BTreeMap::new(), "{manifests}");
    }
}

#[test]
fn a_policy_needs_its_tier() {
    let server = Server::start();
    assert_eq!(apply(&server, &(policy("a.p", "a") + &tier("a", "1"))).0, Some(0));
    assert_eq!(apply(&server, &policy("a.q", "a")).0, Some(0));
    assert_eq!(apply(&server, &policy("kube-admin.p", "kube-admin")).0, Some(0));
    let take_out = |manifests: &str| felix_rs(&server, &["apply", "--delete", "-f", "-"], manifests);
    let before = stored(&server);
    for (manifests, said) in [
        (tier("a", "1") + &policy("a.p", "a"), "Tier a: policies are still in this tier"),
        (tier("default", "1000000"), "Tier default: this tier can't be deleted"),
    ] {
        let (code, stdout, stderr) = take_out(&manifests);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert_eq!(stored(&server), before);
    }
    let (code, stdout, _) = take_out(&(tier("a", "1") + &policy("a.p", "a") + &policy("a.q", "a")));
    assert_eq!(code, Some(0));
    assert!(stdout.ends_with("deleted Tier a\n"), "{stdout}");
}

/// It stays in force beside, or after, the one of today's name.
#[test]
fn an_older_clients_policy_is_not_overlooked() {
    let server = Server::start();
    let older = "resources/v3/projectcalico.org/globalnetworkpolicies/default.web";
    server.put(&format!("/calico/{older}"), r#"{"metadata":{"name":"default.web"},"spec":{}}"#);
    let said = format!(
        "warning: GlobalNetworkPolicy web: an older client's policy of this name is in force under {older}\n\
         help: delete that key, or have Calico's client migrate policy names\n"
    );
    let web = policy("web", "default");
    let take_out = || felix_rs(&server, &["apply", "--delete", "-f", "-"], &web);
    assert_eq!(take_out(), (Some(0), "absent GlobalNetworkPolicy web\n".to_owned(), said.clone()));
    assert_eq!(apply(&server, &web).2, said);
    assert_eq!(apply(&server, &web).2, "");
    assert_eq!(take_out().2, "");
}

#[test]
fn what_is_not_for_the_store_is_passed_over() {
    let server = Server::start();
    let (code, stdout, stderr) =
        apply(&server, "{apiVersion: v1, kind: bgpPeer, metadata: {scope: global, peerIP: 10.0.0.1}}");
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert!(stderr.contains("bgpPeer: there is no way from here to the form of today"), "{stderr}");
    assert!(stderr.ends_with("1 warning\nnothing to write\n"), "{stderr}");
}

#[test]
fn an_empty_text_is_said_to_be_one() {
    let server = Server::start();
    let said = "nothing to write: there is no *.yaml, *.yml or *.json with a resource\n";
    assert_eq!(apply(&server, ""), (Some(0), String::new(), said.to_owned()));
}

#[test]
fn a_store_that_is_away() {
    let mut server = Server::start();
    server.kill();
    let (code, stdout, stderr) = felix_rs(&server, &["apply", "-f", SEED], "");
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("can't be reached"), "{stderr}");
    server.restart();
    assert_eq!(felix_rs(&server, &["apply", "-f", SEED], "").0, Some(0));
}
