//! The objects of the datastore, a file each, and random changes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::random::Random;

pub const HOST: &str = "host-1";

/// The most objects of one change: 64 states lie between its ends.
const MOST: usize = 6;

const POLICIES: usize = 5;

/// All objects that there are, by the name of their file.
pub type Objects = BTreeMap<String, Value>;

/// What one round changes: by file, what it says before and behind.
pub type Batch = BTreeMap<String, (Option<Value>, Option<Value>)>;

/// What there is at first: every workload's connection is allowed.
pub fn first() -> Objects {
    let mut objects = Objects::new();
    for number in 1..=4 {
        objects.insert(format!("local-{number}"), workload(HOST, number, "x", "x", false));
    }
    objects.insert("remote-1".to_owned(), workload("host-2", 1, "x", "y", false));
    let allow = json!([{"action": "Allow"}]);
    let open = json!({"labelsToApply": {"a": "z"}, "ingress": allow, "egress": allow});
    objects.insert("profile".to_owned(), document("Profile", "prof-a", &json!({}), open));
    objects
}

/// Changes a few objects; some may come out as they were.
pub fn batch(objects: &Objects, random: &mut Random) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..random.between(1, MOST) {
        let (name, after) = object(random);
        let before = objects.get(&name).cloned();
        batch.insert(name, (before, after));
    }
    batch.retain(|_, (before, after)| before != after);
    batch
}

/// The objects with some of the changes made: those whose bit is set.
pub fn with(objects: &Objects, batch: &Batch, made: usize) -> Objects {
    let mut objects = objects.clone();
    for (number, (name, (_, after))) in batch.iter().enumerate() {
        if made >> number & 1 == 1 {
            match after {
                Some(value) => objects.insert(name.clone(), value.clone()),
                None => objects.remove(name),
            };
        }
    }
    objects
}

/// Writes the changes into the directory, in the ways that programs write files.
pub fn write(directory: &Path, batch: &Batch, random: &mut Random) -> Result<(), String> {
    for (name, (_, after)) in batch {
        let path = path(directory, name);
        let done = match after {
            None => fs::remove_file(&path),
            Some(value) if random.once_in(3) => fs::write(&path, format!("{value}\n")),
            Some(value) => {
                let beside = directory.join(format!(".{name}.new"));
                fs::write(&beside, format!("{value}\n")).and_then(|()| fs::rename(&beside, &path))
            }
        };
        done.map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// As one text, for people and for [`felix_rs::datastore::yaml::parse`].
pub fn text(objects: &Objects) -> String {
    objects.values().map(|object| format!("---\n{object}\n")).collect()
}

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.json"))
}

/// One object as it shall be from now on; none where it shall go.
fn object(random: &mut Random) -> (String, Option<Value>) {
    let number = random.between(1, 4);
    let label = |random: &mut Random| random.of(&["x", "y"]);
    match random.below(24) {
        // These two stay: a connection between them is never to break.
        0..=5 => {
            let (number, a, b) = (random.between(1, 2), label(random), label(random));
            (format!("local-{number}"), Some(workload(HOST, number, a, b, random.once_in(4))))
        }
        6..=8 => {
            let (number, a, b) = (random.between(3, 4), label(random), label(random));
            let value = workload(HOST, number, a, b, random.once_in(4));
            (format!("local-{number}"), (!random.once_in(4)).then_some(value))
        }
        9..=11 => {
            let (number, a, b) = (random.between(1, 2), label(random), label(random));
            let value = workload("host-2", number, a, b, false);
            (format!("remote-{number}"), (!random.once_in(4)).then_some(value))
        }
        12..=18 => {
            let number = random.below(POLICIES);
            let value = policy(number, random);
            (format!("policy-{number}"), (!random.once_in(4)).then_some(value))
        }
        19 => {
            let spec = json!({
                "labelsToApply": {"a": label(random)}, "ingress": rules(random), "egress": rules(random),
            });
            ("profile".to_owned(), Some(document("Profile", "prof-a", &json!({}), spec)))
        }
        20 | 21 => {
            let number = number % 2;
            let nets: Vec<&str> = (0..random.below(4)).map(|_| random.of(&NETS)).collect();
            let labels = json!({"a": label(random), "b": label(random)});
            let name = format!("network-set-{number}");
            let value = document("GlobalNetworkSet", &name, &labels, json!({"nets": nets}));
            (name, (!random.once_in(4)).then_some(value))
        }
        22 => {
            let order = random.of(&[1.0, 2_000_000.0]);
            let spec = json!({"order": order, "defaultAction": random.of(&["Pass", "Deny"])});
            ("tier".to_owned(), Some(document("Tier", "platform", &json!({}), spec)))
        }
        _ => {
            let spec = json!({"cidr": "10.65.0.0/24", "natOutgoing": random.once_in(2)});
            ("pool".to_owned(), (!random.once_in(3)).then(|| document("IPPool", "pool", &json!({}), spec)))
        }
    }
}

const NETS: [&str; 7] = [
    "10.65.0.0/30",
    "10.65.0.2/31",
    "10.66.0.0/24",
    "203.0.113.0/24",
    "203.0.112.0/23",
    "198.51.100.7/32",
    "fd00:65::2/127",
];

fn workload(host: &str, number: usize, a: &str, b: &str, without_profile: bool) -> Value {
    let name = format!("{}-k8s-pod--{number}-eth0", host.replace('-', "--"));
    let net = if host == HOST { 65 } else { 66 };
    let profiles = if without_profile { json!([]) } else { json!(["prof-a"]) };
    let spec = json!({
        "node": host, "orchestrator": "k8s", "pod": format!("pod-{number}"), "endpoint": "eth0",
        "interfaceName": format!("cali{number}"), "profiles": profiles,
        "ipNetworks": [format!("10.{net}.0.{number}/32"), format!("fd00:{net}::{number}/128")],
        "ports": [{"name": "dns", "protocol": "UDP", "port": 53}],
    });
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
        "metadata": {"name": name, "namespace": "red", "labels": {"a": a, "b": b}}, "spec": spec,
    })
}

fn policy(number: usize, random: &mut Random) -> Value {
    let tier = if number == 0 { "platform" } else { "default" };
    let types = random.of(&[json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])]);
    let spec = json!({
        "tier": tier, "order": random.below(4), "selector": selector(random), "types": types,
        "ingress": rules(random), "egress": rules(random),
    });
    document("GlobalNetworkPolicy", &format!("{tier}.policy-{number}"), &json!({}), spec)
}

fn rules(random: &mut Random) -> Vec<Value> {
    (0..random.between(0, 3)).map(|_| rule(random)).collect()
}

fn rule(random: &mut Random) -> Value {
    let mut rule = json!({"action": random.of(&["Allow", "Allow", "Allow", "Deny", "Pass"])});
    let with_ports = random.once_in(2);
    if with_ports {
        rule["protocol"] = json!("UDP");
        rule["destination"] = json!({"ports": [random.of(&[json!(53), json!(80), json!("dns")])]});
    }
    for side in ["source", "destination"] {
        // No `notSelector`: an endpoint that goes from one set to another is in both for a moment. A Deny rule that holds
        // outside the one and an Allow rule within the other then let through what they never do before or behind.
        if random.once_in(2) {
            rule[side]["selector"] = json!(selector(random));
        } else if random.once_in(4) && !with_ports {
            rule[side]["nets"] = json!([random.of(&NETS[..6])]);
        }
    }
    rule
}

fn selector(random: &mut Random) -> &'static str {
    random.of(&[
        "a == 'x'",
        "a == 'y'",
        "b == 'x'",
        "b == 'y'",
        "a == 'x' && b == 'x'",
        "a != 'x'",
        "all()",
        "a == 'z'",
    ])
}

fn document(kind: &str, name: &str, labels: &Value, spec: Value) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec,
    })
}
