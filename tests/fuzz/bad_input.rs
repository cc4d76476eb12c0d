//! A table of broken input: each is one error with a place, and what stands beside it is read and enforced.

use std::fs;

use felix_rs::Pipeline;
use felix_rs::datastore::yaml::{self, Location};
use felix_rs::model::{Code, Diagnostic, Severity};
use felix_rs::sync::{Programmed, plan};

/// Stands behind each broken document, and must not be touched by it.
const SOUND: &str = "
---
apiVersion: v1
kind: workloadEndpoint
metadata: {name: eth0, node: host-1, orchestrator: demo, workload: sound}
spec: {interfaceName: calisound, ipNetworks: [10.0.0.1/32]}
";
/// Of the sound endpoint, in the filter table.
const CHAIN: &str = ":cali-tw-calisound - -\n";

/// A policy up to its selector.
const POLICY: &str = "apiVersion: v1\nkind: policy\nmetadata: {name: p}\nspec:\n  selector: ";

#[test]
fn each_fault_is_one_error_with_a_place_and_hides_nothing() {
    let policy = |selector: &str| format!("{POLICY}{selector}");
    let rule = |criteria: &str| format!("{POLICY}all()\n  ingress:\n  - {{action: allow, {criteria}}}");
    let plain = str::to_owned;
    let cases = [
        ("half a document", plain("metadata: {name: p"), Code::Unreadable, "1:19"),
        ("a megabyte of flow nesting", "[".repeat(1 << 20), Code::Unreadable, "1:256"),
        ("a megabyte of block nesting", "- ".repeat(1 << 19), Code::Unreadable, "1:129"),
        ("anchors that explode", explosion(), Code::Unreadable, "6:10"),
        ("a tab for indentation", plain("metadata:\n\tname: p"), Code::Unreadable, "2:1"),
        ("a key twice", plain("kind: policy\nkind: profile"), Code::Unreadable, "2:1"),
        ("a negation that is a tag", policy("!has(x)"), Code::Unreadable, "5:13"),
        ("a text", plain("policy"), Code::NotAResource, "1:1"),
        ("no kind", plain("apiVersion: v1\nmetadata: {name: p}"), Code::MissingField, "1:1"),
        ("an unknown kind", plain("apiVersion: v1\nkind: polcy"), Code::UnknownKind, "2:7"),
        ("no name", plain("apiVersion: v1\nkind: policy\nspec: {}"), Code::MissingField, "1:1"),
        ("100,000 parentheses", policy(&"(".repeat(100_000)), Code::InvalidSelector, "5:13"),
        ("half a selector", policy("role == 'a' &&"), Code::InvalidSelector, "5:25"),
        ("one equals sign", policy("role = 'a'"), Code::InvalidSelector, "5:18"),
        ("port 0", rule("protocol: tcp, source: {ports: [0]}"), Code::InvalidValue, "7:53"),
        ("ports 9:8", rule("protocol: tcp, source: {ports: ['9:8']}"), Code::InvalidValue, "7:53"),
        ("ICMP without protocol", rule("icmp: {type: 8}"), Code::Contradiction, "7:27"),
        ("a prefix of 33", rule("source: {net: 10.0.0.0/33}"), Code::InvalidValue, "7:35"),
        (
            "IPv4 to IPv6",
            rule("source: {net: 10.0.0.0/8}, destination: {net: '::/8'}"),
            Code::Contradiction,
            "7:67",
        ),
    ];
    let mut wrong = Vec::new();
    for (name, broken, code, place) in cases {
        let found = read(&[("a.yaml", format!("{broken}{SOUND}").as_bytes())]);
        if errors(&found.diagnostics) != [(code, format!("a.yaml:{place}"))] || !found.plan.contains(CHAIN) {
            wrong.push(format!("{name}: {:?}", errors(&found.diagnostics)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_not_text_costs_its_file_only() {
    let found = read(&[("a.yaml", b"metadata:\n  name: \xff\n"), ("b.yaml", SOUND.as_bytes())]);
    assert_eq!(errors(&found.diagnostics), [(Code::Unreadable, "a.yaml:2:9".to_owned())]);
    assert!(found.plan.contains(CHAIN));
}

#[test]
fn what_other_systems_write_is_fine() {
    let windows = SOUND.replace('\n', "\r\n");
    let with_mark = format!("\u{feff}{}", SOUND.trim_start());
    for text in [windows, with_mark, SOUND.trim_start().to_owned(), SOUND.trim_end().to_owned()] {
        let found = read(&[("a.yaml", text.as_bytes())]);
        assert!(
            found.diagnostics.is_empty() && found.plan.contains(CHAIN),
            "{text:?}: {:?}",
            found.diagnostics
        );
    }
}

struct Found {
    plan: String,
    diagnostics: Vec<Diagnostic>,
}

/// What comes of these files.
fn read(files: &[(&str, &[u8])]) -> Found {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("a file in it");
    }
    let mut pipeline = Pipeline::new("host-1".into(), Vec::new());
    yaml::read(&[Location::Path(folder.path().to_owned())]).iter().for_each(|event| pipeline.take(event));
    let desired = pipeline.desired().expect("chains");
    let plan = plan(&desired, &Programmed::default());
    Found { plan: plan.steps().map(|step| step.text()).collect(), diagnostics: pipeline.diagnostics() }
}

/// Code and place of each error, without the folder.
fn errors(diagnostics: &[Diagnostic]) -> Vec<(Code, String)> {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let short = |place: String| place.rsplit('/').next().unwrap_or_default().to_owned();
    errors.map(|diagnostic| (diagnostic.code, short(diagnostic.place.to_string()))).collect()
}

/// Each level is ten of the one before: a billion values in ten lines.
fn explosion() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let below = level - 1;
        text += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{below}"); 10].join(", "));
    }
    text
}
