//! Input that is nearly right: golden manifests with faults put in, and words of the two languages in any order.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

/// A golden manifest with up to eight faults.
pub fn golden_manifests() -> impl Strategy<Value = String> {
    faulty(read_all("datastore"))
}

/// The golden text of a table or of the sets with up to eight faults.
pub fn golden_texts() -> impl Strategy<Value = String> {
    faulty(read_all("expect"))
}

fn faulty(texts: Vec<Vec<u8>>) -> impl Strategy<Value = String> {
    assert!(!texts.is_empty(), "no golden text: a test of nothing must not pass");
    let faults = prop::collection::vec((any::<Fault>(), any::<Index>(), any::<Index>()), 0..8);
    let text = || prop::sample::select(texts.clone());
    (text(), text(), faults).prop_map(|(text, other, faults)| {
        let put = |text, (fault, from, to): &(Fault, _, _)| fault.put_into(text, from, to, &other);
        String::from_utf8_lossy(&faults.iter().fold(text, put)).into_owned()
    })
}

/// All files in the folder of that name of each case.
fn read_all(folder: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/render");
    let cases = fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let folders = cases.map(|case| case.expect("a readable case").path().join(folder));
    let files = folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let mut paths: Vec<_> = files.map(|file| file.expect("a readable file").path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        .collect()
}

/// What may happen to a text between two of its bytes.
#[derive(Clone, Debug)]
enum Fault {
    Flip(u8),
    Truncate,
    Delete,
    Repeat,
    Insert(&'static str),
    Nest(u16),
    Splice,
}

impl Arbitrary for Fault {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        prop_oneof![
            3 => (1..=u8::MAX).prop_map(Self::Flip),
            1 => Just(Self::Truncate),
            3 => Just(Self::Delete),
            2 => Just(Self::Repeat),
            6 => prop::sample::select(YAML_WORDS).prop_map(Self::Insert),
            3 => prop::sample::select(SAVED_WORDS).prop_map(Self::Insert),
            1 => (1..2_000_u16).prop_map(Self::Nest),
            2 => Just(Self::Splice),
        ]
        .boxed()
    }
}

impl Fault {
    /// `other` is where spliced lines come from.
    fn put_into(&self, mut text: Vec<u8>, from: &Index, to: &Index, other: &[u8]) -> Vec<u8> {
        let (a, b) = (from.index(text.len() + 1), to.index(text.len() + 1));
        // A stretch of few bytes leaves more of the sense than a long one.
        let (start, end) = (a.min(b), a.max(b).min(a.min(b) + 40));
        match self {
            Self::Flip(bits) => text.iter_mut().skip(start).take(1).for_each(|byte| *byte ^= bits),
            Self::Truncate => text.truncate(a),
            Self::Delete => drop(text.drain(start..end)),
            Self::Repeat => text = [&text[..end], &text[start..]].concat(),
            Self::Insert(word) => drop(text.splice(start..start, word.bytes())),
            Self::Nest(levels) => {
                drop(text.splice(start..start, "[{a: ".repeat(usize::from(*levels)).into_bytes()))
            }
            Self::Splice => {
                let at = to.index(other.len() + 1);
                let lines = other[at..].split_inclusive(|byte| *byte == b'\n').skip(1).take(6);
                drop(text.splice(start..start, lines.collect::<Vec<_>>().concat()));
            }
        }
        text
    }
}

/// Words of the selector language, and of what looks like it.
pub const SELECTOR_WORDS: &[&str] = &[
    "a",
    "b.c/d-e",
    "has",
    "in",
    "not",
    "contains",
    "starts",
    "with",
    "all",
    "global",
    "(",
    ")",
    "()",
    "{",
    "}",
    ",",
    "'x'",
    "\"y\"",
    "'",
    "\"",
    "==",
    "!=",
    "=",
    "&&",
    "||",
    "!",
    "&",
    " ",
    "\t",
    "\n",
    "has(a)",
    "a == 'x'",
    "a in {'x', \"y\"}",
    "a not in {}",
    "all()",
    "global()",
    "é",
    "((((((((",
    "!!!!",
];

/// Pieces of what `iptables-save` and `ipset save` print.
pub const SAVED_WORDS: &[&str] = &[
    "\n",
    "\n*filter\n",
    "\n*nat\n",
    "\nCOMMIT\n",
    "\n:a - [0:0]\n",
    "\n:INPUT DROP [1:2]\n",
    "\n-A INPUT",
    "\n-A a",
    "\n-I a 2",
    "\n[1:2] -A a",
    "\n-P INPUT DROP",
    "\n# ip6tables-restore\n",
    "\ncreate s hash:net",
    "\ncreate s hash:ip,port family inet6",
    "\nadd s 10.0.0.1",
    "\nadd s fd00::1,tcp:80",
    " ",
    " ! ",
    " -s 10.0.0.0/8",
    " -d fd00::1/255",
    " -i cali+",
    " -p tcp",
    " -p icmp",
    " -m tcp",
    " --dport 1:2",
    " -m multiport --dports 1,2:3",
    " -m icmp --icmp-type 3/4",
    " -m conntrack --ctstate NEW",
    " -m mark --mark 0x1/0xff",
    " -m set --match-set s src,dst",
    " -m rpfilter --invert",
    " -m addrtype --src-type LOCAL",
    " -m limit --limit 1/",
    " -m comment --comment ",
    " -m",
    " -j a",
    " -g a",
    " -j ACCEPT",
    " -j MARK --set-mark ",
    " -j CONNMARK --restore-mark --mask ",
    " -j DNAT --to-destination [fd00::1]:80",
    " -j SNAT --to-source 10.0.0.1-10.0.0.2",
    "\"",
    "\\",
    "=",
    "/",
    "[",
    ",",
    ":",
    "0xffffffffff",
    "é",
];

/// Pieces of manifests, and what YAML makes of some bytes.
pub const YAML_WORDS: &[&str] = &[
    "\n",
    "\n  ",
    "\n    ",
    "\n- ",
    "\n---\n",
    "\n...\n",
    "\r\n",
    "\t",
    " ",
    ": ",
    "- ",
    ", ",
    "? ",
    "{",
    "}",
    "[",
    "]",
    "|",
    ">",
    "&a",
    "*a",
    "<<: *a",
    "!",
    "!!str ",
    "!has(x)",
    "#",
    "%YAML 1.2\n",
    "'",
    "\"",
    "\\",
    "\u{feff}",
    "\u{0}",
    "\u{85}",
    "é",
    "~",
    "null",
    "true",
    "0",
    "-1",
    "65536",
    "1e999",
    "80:79",
    "1:2:3",
    "10.0.0.0/33",
    "10.0.0.1/32",
    "::/0",
    "apiVersion: v1",
    "apiVersion: projectcalico.org/v3",
    "kind: policy",
    "kind: GlobalNetworkPolicy",
    "kind: WorkloadEndpoint",
    "kind: List",
    "items:",
    "metadata: {name: p}",
    "name: ",
    "namespace: ",
    "spec:",
    "selector: ",
    "tier: ",
    "order: ",
    "ingress: ",
    "egress: ",
    "action: Allow",
    "protocol: TCP",
    "protocol: 256",
    "icmp: {type: 8}",
    "nets: ",
    "ports: ",
    "profiles: ",
    "labels: ",
    "interfaceName: cali1",
    "ipNetworks: [10.0.0.1]",
];
