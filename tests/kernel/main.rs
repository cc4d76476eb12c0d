//! Every golden text is fed to the real tools, sets first, then read back: both backends, both families, each case in a
//! network namespace of its own. The namespace that the tests run in is never written to.
//!
//! Needs root. `FELIX_RS_SKIP_KERNEL=1` leaves these tests out and counts them as ignored; `FELIX_RS_GOLDEN` names another
//! folder of cases.

mod case;
mod netns;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use case::{Backend, Case, Table};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let skip = env::var_os("FELIX_RS_SKIP_KERNEL").is_some_and(|value| value == "1");
    let mut trials = golden_trials(&golden());
    trials.extend(failing_trials());
    let trials = trials.into_iter().map(|trial| trial.with_ignored_flag(skip)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn golden() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/render");
    env::var_os("FELIX_RS_GOLDEN").map_or_else(default, PathBuf::from)
}

/// A trial a case and backend. No case at all is a failure: a test of nothing must not pass.
fn golden_trials(golden: &Path) -> Vec<Trial> {
    let place = golden.display().to_string();
    match cases(golden) {
        Ok(cases) if cases.is_empty() => {
            vec![Trial::test("golden", move || Err(format!("{place}: no case").into()))]
        }
        Ok(cases) => {
            let pairs =
                cases.into_iter().flat_map(|case| Backend::ALL.map(|backend| (case.clone(), backend)));
            pairs.map(|((name, case), backend)| golden_trial(&name, case, backend)).collect()
        }
        Err(e) => vec![Trial::test("golden", move || Err(format!("{place}: {e}").into()))],
    }
}

fn golden_trial(name: &str, case: Case, backend: Backend) -> Trial {
    Trial::test(format!("{name}::{}", backend.name()), move || Ok(case.load_and_read_back(backend)?))
}

fn cases(golden: &Path) -> io::Result<Vec<(String, Case)>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(golden)? {
        let entry = entry?;
        let expect = entry.path().join("expect");
        if expect.is_dir() {
            cases.push((entry.file_name().to_string_lossy().into_owned(), Case::read(&expect)?));
        }
    }
    cases.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(cases)
}

const SETS: &str = "create cali40a hash:net family inet maxelem 1048576\nadd cali40a 10.0.0.0/8\nCOMMIT\n";
const RULES: &str = "*filter\n:cali-a - -\n\
    -A cali-a -m comment --comment \"cali:0123456789abcdef\" -m set --match-set cali40a src --jump DROP\n\
    -A cali-a -m comment --comment \"cali:fedcba9876543210\" -m comment --comment \"Why\" --jump RETURN\n\
    -I FORWARD -m comment --comment \"cali:aaaaaaaaaaaaaaaa\" --jump cali-a\nCOMMIT\n";

fn filter(sets: &str, rules: &str) -> Case {
    let table = Table { name: "filter", tool: "iptables", text: rules.to_owned() };
    Case { sets: sets.to_owned(), tables: vec![table] }
}

/// The harness itself: a sound case passes, each broken one is refused for its reason.
fn failing_trials() -> Vec<Trial> {
    let unknown_match = RULES.replace("-m set", "-m nosuchmatch");
    let refused = [
        ("a_sound_case_passes", SETS.to_owned(), RULES.to_owned(), Ok(())),
        ("an_unknown_match_is_refused", SETS.to_owned(), unknown_match, Err("restore --test")),
        ("a_missing_set_is_refused", String::new(), RULES.to_owned(), Err("restore --test")),
        ("a_missing_chain_is_refused", SETS.to_owned(), RULES.replace(":cali-a - -\n", ""), Err("restore")),
        (
            "a_wrong_member_is_refused",
            SETS.replace("10.0", "10.999"),
            RULES.to_owned(),
            Err("at: ipset restore"),
        ),
        // The kernel has another spelling: a plan would never come to rest.
        ("an_unmasked_member_is_found", SETS.replace("0/8", "1/8"), RULES.to_owned(), Err("set cali40a")),
    ];
    let loaded = refused.into_iter().flat_map(|(name, sets, rules, want)| {
        Backend::ALL.map(|backend| {
            let case = filter(&sets, &rules);
            Trial::test(format!("harness::{name}::{}", backend.name()), move || {
                expect(case.load_and_read_back(backend), want)
            })
        })
    });
    loaded.chain(misread_trials()).chain([guard_trial()]).collect()
}

/// Kernels that have something else than what was loaded.
fn misread_trials() -> impl Iterator<Item = Trial> {
    let rule =
        "-A cali-a -m comment --comment \"cali:fedcba9876543210\" -m comment --comment Why -j RETURN\n";
    let kernel_rules = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n";
    let found = [
        ("the_same_is_fine", "", "", Ok(())),
        ("a_lost_rule_is_found", rule, "", Err("iptables filter cali-a")),
        ("a_foreign_rule_is_found", rule, "-A cali-a -j DROP\n", Err("iptables filter cali-a")),
        ("another_hash_is_found", "cali:0123", "cali:3210", Err("iptables filter cali-a")),
        ("a_lost_hook_is_found", "-A FORWARD", "#", Err("iptables filter FORWARD")),
        (
            "a_foreign_hook_is_found",
            "-A FORWARD",
            "-A INPUT -j cali-a\n-A FORWARD",
            Err("iptables filter INPUT"),
        ),
        ("a_lost_member_is_found", "add cali40a", "#", Err("set cali40a")),
        ("another_member_is_found", "10.0.0.0/8", "10.0.0.0/9", Err("set cali40a")),
        ("another_set_type_is_found", "hash:net", "hash:ip", Err("set cali40a")),
        ("another_family_is_found", "inet", "inet6", Err("set cali40a")),
        ("a_foreign_set_is_found", "create cali40a", "create b hash:ip\ncreate cali40a", Err("set b")),
    ];
    found.into_iter().map(move |(name, from, to, want)| {
        let saved = RULES
            .replace("--jump", "-j")
            .replace("\"Why\"", "Why")
            .replace("-I", "-A")
            .replace("*filter\n", &format!("*filter\n{kernel_rules}"));
        let printed = format!("\n== read back\n{saved}\n== read back\n{SETS}");
        let printed = if from.is_empty() { printed } else { printed.replacen(from, to, 1) };
        Trial::test(format!("harness::{name}"), move || expect(filter(SETS, RULES).compare(&printed), want))
    })
}

fn guard_trial() -> Trial {
    Trial::test("harness::the_own_namespace_is_never_written_to", || {
        let script = filter(SETS, RULES).script(Backend::Legacy);
        expect(
            netns::run_at_home(&script).map(drop),
            Err("refused: this is the network namespace of the tests"),
        )
    })
}

fn expect(result: Result<(), String>, want: Result<(), &str>) -> Result<(), Failed> {
    match (&result, want) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(found), Err(part)) if found.contains(part) => Ok(()),
        _ => Err(format!("wanted {want:?}, found {result:?}").into()),
    }
}
