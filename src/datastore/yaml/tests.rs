//! Manifests as people write them, and as nobody should.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::datastore::{Excerpt, ReadErrorKind as Kind, Span, Value};

fn parsed(text: &str) -> FileReading {
    parse(&"a.yaml".into(), &text.into())
}

/// A node in one line: plain scalars bare, others in quotes.
fn flat(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) if scalar.plain => scalar.text.to_string(),
        Value::Scalar(scalar) => format!("{:?}", scalar.text),
        Value::Sequence(nodes) => format!("[{}]", nodes.iter().map(flat).collect::<Vec<_>>().join(", ")),
        Value::Mapping(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(key, node)| format!("{}: {}", key.text, flat(node))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

fn flat_entries(text: &str) -> Vec<String> {
    let reading = parsed(text);
    assert_eq!(reading.errors, [], "{text:?}");
    reading.entries.iter().map(|entry| flat(&entry.node)).collect()
}

#[test]
fn values() {
    let cases: [(&str, &[&str]); 46] = [
        // Documents.
        ("", &[]),
        ("\n# only a comment\n", &[]),
        ("---\n---\n--- # nothing\n...\n", &[]),
        ("~", &[]),
        ("null\n---\na: b", &["{a: b}"]),
        ("a: b", &["{a: b}"]),
        ("---\na: b\n---\nc: d\n", &["{a: b}", "{c: d}"]),
        ("a: b\n...\nc: d\n", &["{a: b}", "{c: d}"]),
        ("--- {a: b}\n--- [c]\n", &["{a: b}", "c"]),
        ("%YAML 1.2\n---\na: b\n", &["{a: b}"]),
        ("a: b\n...\n%YAML 1.2\n---\nc: d\n", &["{a: b}", "{c: d}"]),
        ("\u{feff}a: b", &["{a: b}"]),
        ("a: b\n\u{feff}---\nc: d", &["{a: b}", "{c: d}"]),
        ("a: b\r\nc:\r\n- d\r\n---\r\ne: f\r\n", &["{a: b, c: [d]}", "{e: f}"]),
        ("a: b\rc: d\r---\re: f", &["{a: b, c: d}", "{e: f}"]),
        // Scalars.
        ("a:", &["{a: }"]),
        ("a: 'b'", &["{a: \"b\"}"]),
        ("a: \"b\"", &["{a: \"b\"}"]),
        ("a: 'it''s'", &["{a: \"it's\"}"]),
        ("a: \"q\\\"\\n\\u00e9\"", &["{a: \"q\\\"\\né\"}"]),
        ("a: b # c", &["{a: b}"]),
        ("a: b#c", &["{a: b#c}"]),
        ("a: b\n  c\n  d", &["{a: b c d}"]),
        ("a: has(x) && !has(y)", &["{a: has(x) && !has(y)}"]),
        ("a: \"b\n  c\"", &["{a: \"b c\"}"]),
        ("a: |\n  b\n  c\n", &["{a: \"b\\nc\\n\"}"]),
        ("a: |-\r\n  b\r\n  c\r\n", &["{a: \"b\\nc\"}"]),
        ("a: >\n  b\n  c\n\nd: e", &["{a: \"b c\\n\", d: e}"]),
        ("'a': b", &["{a: b}"]),
        ("\ta: b", &["{a: b}"]),
        // Collections.
        ("a: [b, {c: d}]\ne: {}\nf: []", &["{a: [b, {c: d}], e: {}, f: []}"]),
        ("a:\n- b\n-\n- c: d\n  e: f\n", &["{a: [b, , {c: d, e: f}]}"]),
        ("{\"a\": [1, true, null]}", &["{a: [1, true, null]}"]),
        ("{\n\t\"a\": 1,\n\t\"b\": [\n\t\t2\n\t]\n}", &["{a: 1, b: [2]}"]),
        ("? a\n: b", &["{a: b}"]),
        // Anchors, aliases, merge keys: the last are keys like others.
        ("a: &x 1\nb: *x", &["{a: 1, b: 1}"]),
        ("&x a: *x", &["{a: a}"]),
        ("a: &x {b: [c]}\nd: [*x, *x]", &["{a: {b: [c]}, d: [{b: [c]}, {b: [c]}]}"]),
        ("a: &x\n  b: c\nd:\n  <<: *x\n", &["{a: {b: c}, d: {<<: {b: c}}}"]),
        // Tags that say what the value says, or that it is a text.
        ("a: !!str 80", &["{a: \"80\"}"]),
        ("a: !!str", &["{a: \"\"}"]),
        ("a: !!int \"80\"", &["{a: 80}"]),
        ("a: !!null ''", &["{a: }"]),
        ("!!map {a: !!seq [!!bool true]}", &["{a: [true]}"]),
        ("&r !!map\na: b", &["{a: b}"]),
        ("a: &x !!str 80\nb: *x", &["{a: \"80\", b: \"80\"}"]),
    ];
    for (text, expected) in cases {
        assert_eq!(flat_entries(text), expected, "{text:?}");
    }
}

#[test]
fn resources_of_documents() {
    let cases: [(&str, &[&str]); 11] = [
        ("- a: b\n- c: d\n", &["{a: b}", "{c: d}"]),
        ("- a\n-\n- [b, c]\n", &["a", "", "[b, c]"]),
        ("[]", &[]),
        ("kind: GlobalNetworkPolicyList\nmetadata: {}\nitems:\n- a: b\n- c: d\n", &["{a: b}", "{c: d}"]),
        ("apiVersion: v1\nkind: policyList\nitems: [{kind: policy}]", &["{kind: policy}"]),
        ("kind: List\nitems: []", &[]),
        ("kind: List\nitems:", &[]),
        ("kind: List", &["{kind: List}"]),
        ("kind: List\nitems: {a: b}", &["{kind: List, items: {a: b}}"]),
        ("kind: Lists\nitems: [a]", &["{kind: Lists, items: [a]}"]),
        ("- kind: List\n  items: [a]", &["{kind: List, items: [a]}"]),
    ];
    for (text, expected) in cases {
        assert_eq!(flat_entries(text), expected, "{text:?}");
    }
}

#[test]
fn keys_count_the_resources_of_the_file() {
    let reading = parsed("a: 1\n---\n---\n- b: 2\n- c: 3\n---\nd: 4");
    let keys: Vec<_> = reading.entries.iter().map(|entry| entry.key.to_string()).collect();
    assert_eq!(keys, ["a.yaml#0000000001", "a.yaml#0000000002", "a.yaml#0000000003", "a.yaml#0000000004"]);
    assert!(reading.entries.iter().all(|entry| entry.origin.written == Written::Manifest));
}

#[test]
fn keys_sort_as_the_file_does() {
    let reading = parsed(&"- a\n".repeat(100_001));
    assert!(reading.entries.is_sorted_by(|a, b| a.key < b.key));
}

/// What is wrong, where (`line:column`), and what is underlined.
#[test]
fn faults() {
    let syntax = |words: &str| Kind::Syntax(words.to_owned());
    let tag = |tag: &str| Kind::Tag(tag.to_owned());
    let duplicate = |key: &str, first_line| Kind::DuplicateKey { key: key.to_owned(), first_line };
    let cases = [
        ("selector: !has(x)", tag("!has(x)"), "1:11", "!has(x)"),
        ("selector: !has(x) && y", tag("!has(x)"), "1:11", "!has(x)"),
        ("selector: !has(x) || y", tag("!has(x)"), "1:11", "!has(x)"),
        ("selector: !has(\"x\")", tag("!has(\"x\")"), "1:11", "!has(\"x\")"),
        ("selector: ! has(x)", tag("!"), "1:11", "!"),
        ("selector: &a !has(x)", tag("!has(x)"), "1:14", "!has(x)"),
        ("é: ü\nspec:\n  selector: !(a == 'é')\n", tag("!(a"), "3:13", "!(a"),
        ("- !has(x) || y", tag("!has(x)"), "1:3", "!has(x)"),
        ("{selector: !has(x)}", tag("!has(x)"), "1:12", "!has(x)"),
        ("!has(x): y", tag("!has(x):"), "1:1", "!has(x):"),
        ("a: !!set {b}", tag("!!set"), "1:4", "!!set"),
        ("a: !!map b", tag("!!map"), "1:4", "!!map"),
        ("a: !!str [b]", tag("!!str"), "1:4", "!!str"),
        ("a: !x!y b", tag("!x!y"), "1:4", "!x!y"),
        ("%TAG !! tag:example.com,2000:\n---\na: !!str b", tag("!!str"), "3:4", "!!str"),
        ("a: 1\nb: 2\na: 3\n", duplicate("a", 1), "3:1", "a"),
        ("a: 1\r\n'a': 3\r\n", duplicate("a", 1), "2:1", "'a'"),
        ("x: {b: 1, c: 1, c: 2, b: 2}", duplicate("c", 1), "1:17", "c"),
        ("? [a]\n: b", Kind::KeyNotScalar, "1:3", "["),
        ("a: {{ .Values.x }}", Kind::KeyNotScalar, "1:5", "{"),
        ("a: &x b\n*x : c", Kind::KeyNotScalar, "2:1", "*x"),
        ("a:\n\tb: c", Kind::Tab, "2:1", "\t"),
        ("a:\n  b: c\n\td: e", Kind::Tab, "3:1", "\t"),
        ("- a\n\t- b: c", Kind::Tab, "2:1", "\t"),
        ("a:\tb", Kind::Tab, "1:3", "\t"),
        ("a: *b", Kind::UnknownAlias, "1:4", "*"),
        ("a: &x b\n---\nc: *x", Kind::UnknownAlias, "3:4", "*"),
        ("a: &x [*x]", Kind::UnknownAlias, "1:8", "*x"),
        ("a: b: c", syntax("mapping values are not allowed in this context"), "1:5", ":"),
        ("a: [b, c", syntax("while parsing a flow sequence, expected ',' or ']'"), "1:9", ""),
        ("a: [b, c\n\n\n", syntax("while parsing a flow sequence, expected ',' or ']'"), "1:9", ""),
        (
            "{\n\t\"a\": 1\n\t\"b\": 2\n}",
            syntax("while parsing a flow mapping, did not find expected ',' or '}'"),
            "3:5",
            ":",
        ),
        ("a: @b", syntax("unexpected character: `@'"), "1:4", "@"),
        ("a: 'b' == c", syntax("invalid trailing content after double-quoted scalar"), "1:8", "="),
        ("a: b\nc\nd: e\n", syntax("simple key expect ':'"), "3:1", "d"),
        ("%YAML 1.2\n%A é\n---\na: b", syntax("a line with a directive must be ASCII"), "2:1", "%A é"),
        ("a: \u{0}", syntax("found unprintable character"), "1:4", "\u{0}"),
    ];
    for (text, kind, place, underlined) in cases {
        let reading = parsed(text);
        let [error] = reading.errors.as_slice() else { panic!("{text:?}: {:?}", reading.errors) };
        let excerpt = error.excerpt.as_ref().unwrap();
        let part = &excerpt.line[excerpt.start..excerpt.end];
        let seen = (&error.kind, error.place.to_string(), part);
        assert_eq!(seen, (&kind, format!("a.yaml:{place}"), underlined), "{text:?}");
        assert!(kind.help().is_some() || matches!(kind, Kind::Syntax(_)), "{kind:?}");
    }
}

#[test]
fn a_broken_document_hides_no_other() {
    let cases: [(&str, &[&str], &[&str]); 5] = [
        ("a: 1\n---\nb: [\n---\nc: 3\n", &["{a: 1}", "{c: 3}"], &["3:5"]),
        ("a: !x\n---\nb: 2\n---\nc: 3: 4\n", &["{b: 2}"], &["1:4", "5:5"]),
        ("a: 'x\n---\nb: 2\n", &["{b: 2}"], &["1:4"]),
        ("a: 1\na: 2\n...\nb: 2\n", &["{b: 2}"], &["2:1"]),
        ("a: 1\r---\rb: @\r---\rc: 3", &["{a: 1}", "{c: 3}"], &["3:4"]),
    ];
    for (text, entries, places) in cases {
        let FileReading { entries: seen, errors } = parsed(text);
        assert_eq!(seen.iter().map(|entry| flat(&entry.node)).collect::<Vec<_>>(), entries, "{text:?}");
        let seen: Vec<_> =
            errors.iter().map(|error| format!("{}:{}", error.place.line, error.place.column)).collect();
        assert_eq!(seen, places, "{text:?}");
    }
}

/// Each value of the document with the text that its span covers, and the place.
fn spans_of<'t>(text: &'t str, node: &Node, spans: &mut Vec<(String, &'t str)>) {
    let mut push = |span: Span| {
        spans.push((format!("{}:{}", span.line, span.column), &text[span.start as usize..span.end as usize]));
    };
    push(node.span);
    match &node.value {
        Value::Scalar(_) => {}
        Value::Sequence(nodes) => nodes.iter().for_each(|node| spans_of(text, node, spans)),
        Value::Mapping(entries) => {
            for (key, node) in entries {
                spans.push((
                    format!("{}:{}", key.span.line, key.span.column),
                    &text[key.span.start as usize..key.span.end as usize],
                ));
                spans_of(text, node, spans);
            }
        }
    }
}

#[test]
fn spans() {
    let cases: [(&str, &[(&str, &str)]); 14] = [
        ("a: b # c", &[("1:1", "a: b"), ("1:1", "a"), ("1:4", "b")]),
        ("'a': \"b\"  # \"c\"", &[("1:1", "'a': \"b\""), ("1:1", "'a'"), ("1:6", "\"b\"")]),
        ("'it''s'  # '", &[("1:1", "'it''s'")]),
        ("\"a\\\"\"  # \"", &[("1:1", "\"a\\\"\"")]),
        ("é: ü\nö: ß", &[("1:1", "é: ü\nö: ß"), ("1:1", "é"), ("1:4", "ü"), ("2:1", "ö"), ("2:4", "ß")]),
        ("---\r\na:\r\n  b\r\n", &[("2:1", "a:\r\n  b"), ("2:1", "a"), ("3:3", "b")]),
        ("a: |\n  b\n\n  c\n\n", &[("1:1", "a: |\n  b\n\n  c"), ("1:1", "a"), ("2:3", "b\n\n  c")]),
        ("a: &x |  # h\n\n  b\n", &[("1:1", "a: &x |  # h\n\n  b"), ("1:1", "a"), ("3:3", "b")]),
        (
            "[a, {b: c} ]  # d",
            &[("1:1", "[a, {b: c} ]"), ("1:2", "a"), ("1:5", "{b: c}"), ("1:6", "b"), ("1:9", "c")],
        ),
        ("[a: b]", &[("1:1", "[a: b]"), ("1:2", "a: b"), ("1:2", "a"), ("1:5", "b")]),
        ("a: &x !!str b", &[("1:1", "a: &x !!str b"), ("1:1", "a"), ("1:13", "b")]),
        (
            "a: &x\n  # c\n  b: c",
            &[("1:1", "a: &x\n  # c\n  b: c"), ("1:1", "a"), ("3:3", "b: c"), ("3:3", "b"), ("3:6", "c")],
        ),
        ("- &x b\n- *x", &[("1:1", "- &x b\n- *x"), ("1:6", "b"), ("1:6", "b")]),
        ("a:\nb: ", &[("1:1", "a:\nb"), ("1:1", "a"), ("1:2", ""), ("2:1", "b"), ("2:2", "")]),
    ];
    for (text, expected) in cases {
        let document = tree(parts(text)[0]).unwrap().unwrap();
        let mut spans = Vec::new();
        spans_of(text, &document, &mut spans);
        let seen: Vec<_> = spans.iter().map(|(place, text)| (place.as_str(), *text)).collect();
        assert_eq!(seen, expected, "{text:?}");
    }
}

#[test]
fn lines_of_a_long_file() {
    let mut text = String::new();
    for number in 0..25_000 {
        write!(text, "---\nkey: {number}\n# é\n{}\n", if number == 24_000 { "a: b: c" } else { "" }).unwrap();
    }
    let FileReading { entries, errors } = parsed(&text);
    assert_eq!(entries.len(), 24_999);
    assert_eq!(entries.last().unwrap().node.span.line, 99_998);
    assert_eq!(errors[0].place.to_string(), "a.yaml:96004:5");
    assert_eq!(errors[0].excerpt.as_ref().unwrap().line, "a: b: c");
}

/// Refused, and quickly.
#[test]
fn hostile() {
    let too_deep = || Some(Kind::TooDeep { limit: 64 });
    let too_many = || Some(Kind::TooManyNodes { limit: 250_000 });
    let repeated = |part: &str| part.repeat((1 << 20) / part.len());
    let laughs: String = (1..30)
        .map(|n| {
            format!("l{n}: &l{n} [*l{0}, *l{0}, *l{0}, *l{0}, *l{0}, *l{0}, *l{0}, *l{0}, *l{0}]\n", n - 1)
        })
        .collect();
    let wide: String = (0..3000).map(|n| format!("- {n}\n")).collect();
    let cases = [
        ("[", repeated("["), too_deep()),
        ("- ", repeated("- "), too_deep()),
        ("? ", repeated("? "), Some(Kind::KeyNotScalar)),
        ("{a: ", repeated("{a: "), too_deep()),
        ("{a: with lines", repeated("{a:\n"), too_deep()),
        ("indentation", (0..1000).map(|n| format!("{}a:\n", " ".repeat(n))).collect(), too_deep()),
        ("64 levels", format!("{}{}", "[".repeat(64), "]".repeat(64)), None),
        ("65 levels", format!("{}{}", "[".repeat(65), "]".repeat(65)), too_deep()),
        ("deep aliases", format!("a: &x {}{}\nb: {0}*x{1}", "[".repeat(40), "]".repeat(40)), too_deep()),
        ("billion laughs", format!("l0: &l0 lol\n{laughs}"), too_many()),
        ("quadratic aliases", format!("a: &x\n{wide}b:\n{}", "- *x\n".repeat(3000)), too_many()),
        ("a long text", format!("a: &x {}\nb:\n{}", "x".repeat(1 << 20), "- *x\n".repeat(3000)), too_many()),
        (
            "nested anchors",
            format!("{}{}{}", "&x [".repeat(60), "1,".repeat(5000), "]".repeat(60)),
            too_many(),
        ),
        (
            "the same key",
            "a: b\n".repeat(200_000),
            Some(Kind::DuplicateKey { key: "a".into(), first_line: 1 }),
        ),
        ("many values", format!("[{}]", "1,".repeat(500_000)), None),
        ("anchors", (0..50_000).map(|n| format!("a{n}: &x{n} b\n")).collect(), None),
        ("many documents", "---\na: é\n".repeat(50_000), None),
        ("markers", "---\n".repeat(250_000), None),
    ];
    for (name, text, kind) in cases {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(parsed(&text).errors.first().map(|error| error.kind.clone())));
        let seen = receiver
            .recv_timeout(Duration::from_secs(20))
            .unwrap_or_else(|_| panic!("{name} takes too long"));
        assert_eq!(seen, kind, "{name}");
    }
}

/// `put` and `unreadable` events as people see them, in a directory laid out by `layout`.
fn events(layout: impl FnOnce(&Path), paths: &[&str]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    layout(directory.path());
    let locations: Vec<_> = paths.iter().map(|path| Location::from(directory.path().join(path))).collect();
    let prefix = format!("{}/", directory.path().display());
    let events = read(&locations).into_iter().map(|event| match event {
        Event::Put(entry) => format!("{} {}", entry.key, flat(&entry.node)),
        Event::Unreadable(error) => format!("! {error}"),
        Event::InSync => "in sync".to_owned(),
        event @ (Event::Delete(_) | Event::Readable(_) | Event::Revision(_) | Event::Lost) => {
            panic!("{event:?}")
        }
    });
    events.map(|event| event.replace(&prefix, "")).collect()
}

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn directories() {
    let layout = |root: &Path| {
        let files = [
            ("in/b.yaml", "b"),
            ("in/a/z.yml", "az"),
            ("in/a.json", "\"a\""),
            ("in/a-1.yaml", "a1"),
            ("in/.hidden.yaml", "no"),
            ("in/..data/c.yaml", "c"),
            ("in/.git/d.yaml", "no"),
            ("in/README.md", "no"),
            ("in/broken.yaml", "x: 1\n---\ny: [\n---\nz: 3\n"),
            ("other.txt", "other"),
            ("outside.yaml", "no"),
            ("shared/s.yaml", "s"),
        ];
        write(root, &files);
        symlink("..data/c.yaml", root.join("in/c.yaml")).unwrap();
        symlink("b.yaml", root.join("in/link.yaml")).unwrap();
        symlink("b.yaml", root.join("in/also-b")).unwrap();
        symlink("../shared", root.join("in/shared")).unwrap();
        symlink("..", root.join("in/loop")).unwrap();
        symlink("nowhere", root.join("in/dangling.yaml")).unwrap();
        symlink("nowhere", root.join("in/dangling")).unwrap();
    };
    let inside = [
        "in/a-1.yaml#0000000001 a1",
        "in/a.json#0000000001 \"a\"",
        "in/a/z.yml#0000000001 az",
        "in/b.yaml#0000000001 b",
        "in/broken.yaml#0000000001 {x: 1}",
        "in/broken.yaml#0000000002 {z: 3}",
        "! in/broken.yaml:3:5: not valid YAML: while parsing a node, did not find expected node content",
        "in/c.yaml#0000000001 c",
        "! in/dangling.yaml: No such file or directory (os error 2)",
        "in/shared/s.yaml#0000000001 s",
    ];
    let cases: [(&[&str], Vec<&str>); 4] = [
        (&["in"], inside.to_vec()),
        (&["in", "in/a", "in/../in/b.yaml"], inside.to_vec()),
        (
            &["other.txt", "in/.hidden.yaml"],
            vec!["other.txt#0000000001 other", "in/.hidden.yaml#0000000001 no"],
        ),
        (
            &["missing", "other.txt"],
            vec!["! missing: No such file or directory (os error 2)", "other.txt#0000000001 other"],
        ),
    ];
    for (paths, mut expected) in cases {
        expected.push("in sync");
        assert_eq!(events(layout, paths), expected, "{paths:?}");
    }
}

#[test]
fn order_is_that_of_the_files_however_many_threads_read_them() {
    let layout = |root: &Path| {
        for number in 0..300 {
            write(root, &[(&format!("{number:03}.yaml"), &format!("a: {number}\n---\nb: {number}\n"))]);
        }
    };
    let expected = (0..300).flat_map(|number| {
        [
            format!("./{number:03}.yaml#0000000001 {{a: {number}}}"),
            format!("./{number:03}.yaml#0000000002 {{b: {number}}}"),
        ]
    });
    assert_eq!(events(layout, &["."]), expected.chain(["in sync".to_owned()]).collect::<Vec<_>>());
}

#[test]
fn files_that_cannot_be_read() {
    let layout = |root: &Path| {
        fs::write(root.join("latin.yaml"), b"\xef\xbb\xbfa: \xc3\xa9\r\nb: \xc3\xa9\xe9\n").unwrap();
        fs::write(root.join("utf16.yaml"), b"\xff\xfea\0").unwrap();
        fs::File::create(root.join("huge.yaml")).unwrap().set_len((64 << 20) + 1).unwrap();
        assert!(Command::new("mkfifo").arg(root.join("pipe.yaml")).status().unwrap().success());
        symlink("/dev/zero", root.join("zero.yaml")).unwrap();
        write(root, &[("good.yaml", "a")]);
    };
    let expected = [
        "./good.yaml#0000000001 a",
        "! ./huge.yaml: larger than 64 MiB",
        "! ./latin.yaml:2:5: not UTF-8 at byte 15",
        "! ./pipe.yaml: not a regular file",
        "! ./utf16.yaml:1:1: not UTF-8 at byte 0",
        "! ./zero.yaml: not a regular file",
        "in sync",
    ];
    assert_eq!(events(layout, &["."]), expected);
}

#[test]
fn one_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.txt");
    let missing = read_file(&path);
    assert!(matches!(missing.errors.as_slice(), [ReadError { kind: Kind::Io(_), .. }]));
    fs::write(&path, "\u{feff}a: 1\n---\n@\n").unwrap();
    let FileReading { entries, errors } = read_file(&path);
    assert_eq!((entries.len(), errors.len()), (1, 1));
    assert_eq!(&*entries[0].origin.text, "a: 1\n---\n@\n");
    assert!(matches!(&read_file(directory.path()).errors[..], [ReadError { kind: Kind::NotRegular, .. }]));
}

#[test]
fn locations() {
    assert_eq!(Location::from(PathBuf::from("-")), Location::Stdin);
    assert_eq!(Location::from(PathBuf::from("./-")), Location::Path("./-".into()));
}

/// Whatever the text, reading it ends, and all places lie within it and agree with each other.
fn assert_sound(text: &str) {
    let FileReading { entries, errors } = parsed(text);
    for Entry { node, origin, key: _, path: _ } in &entries {
        assert_spans_sound(&origin.text, node);
    }
    for ReadError { place, excerpt, kind: _ } in errors {
        let Excerpt { line, start, end } = excerpt.unwrap();
        assert!(line.get(start..end).is_some());
        assert!(place.line as usize <= parts::lines(text).count() + 1 && place.column > 0);
    }
}

fn assert_spans_sound(text: &str, node: &Node) {
    let assert_sound = |Span { start, end, line, column }: Span| {
        assert!(text.get(start as usize..end as usize).is_some());
        assert_eq!((line, column), spans::advance((1, 1), &text[..start as usize]));
    };
    assert_sound(node.span);
    match &node.value {
        Value::Scalar(_) => {}
        Value::Sequence(nodes) => nodes.iter().for_each(|node| assert_spans_sound(text, node)),
        Value::Mapping(entries) => {
            for (key, node) in entries {
                assert_sound(key.span);
                assert_spans_sound(text, node);
            }
        }
    }
}

/// What YAML is made of, in any order.
fn fragments() -> impl Strategy<Value = String> {
    const FRAGMENTS: [&str; 48] = [
        "a",
        "b: ",
        "- ",
        "? ",
        ": ",
        ":",
        "\n",
        "\r\n",
        "\r",
        " ",
        "  ",
        "\t",
        "'",
        "\"",
        "\\",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&x ",
        "*x",
        "!",
        "!!str ",
        "!has(x)",
        "|",
        ">",
        "|2-\n",
        "#",
        " # c",
        "---",
        "\n---\n",
        "\n...\n",
        "%YAML 1.2",
        "%TAG ! x",
        "\u{feff}",
        "é",
        "😀",
        "\u{2028}",
        "\u{85}",
        "\0",
        "~",
        "@",
        "`",
        "%41",
        "<<: ",
        "\\x4",
        "kind: List\nitems:\n",
    ];
    prop::collection::vec(prop::sample::select(&FRAGMENTS[..]), 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_yaml_like_text_is_read_soundly(text in fragments()) {
        assert_sound(&text);
    }

    #[test]
    fn any_text_is_read_soundly(text in any::<String>()) {
        assert_sound(&text);
    }

    #[test]
    fn any_bytes_are_a_text_or_an_error(bytes in any::<Vec<u8>>()) {
        if let Ok(text) = files::decode(&"a.yaml".into(), &bytes) {
            assert_sound(&text);
        }
    }
}
