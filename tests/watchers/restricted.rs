//! What root never meets: directories that may not be read, and a kernel that does not tell. The tests run themselves
//! again in user namespaces of their own.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tokio::runtime::Runtime;

use crate::directory::Directory;

const INSIDE: &str = "FELIX_RS_TEST_INSIDE";

/// Whether this is the test itself. Else it was run, by `script` in a namespace that `unshare` made with `option`.
fn is_inside(test: &str, option: &str, script: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
        return true;
    }
    let ran = Command::new("unshare")
        .args([option, "sh", "-e", "-c", &format!("{script}\nexec \"$0\" --exact --nocapture {test}")])
        .arg(env::current_exe().unwrap())
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
    let warnings = stderr.matches("not told by the kernel").count();
    assert_eq!(warnings, usize::from(!script.is_empty()), "{stderr}");
    false
}

/// Outside of its namespace, root without privileges is held to the mode.
#[test]
fn what_may_not_be_read_stands() {
    if is_inside("restricted::what_may_not_be_read_stands", "--user", "") {
        Runtime::new().unwrap().block_on(permissions());
    }
}

async fn permissions() {
    let directory = Directory::new();
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(directory.path(name), Permissions::from_mode(mode)).unwrap();
    };
    directory.write("in/a.yaml", "a: 1");
    directory.write("in/sub/b.yaml", "a: 2");
    directory.write("in/sub/deep/c.yaml", "a: 3");
    // A second name: not a second file, even while the first can't be found out.
    directory.link("sub/b.yaml", "in/z.yaml");
    let mut seen = directory.seen(&["in"]).await;
    mode("in/a.yaml", 0);
    seen.until(|state| state.unreadable.len() == 1).await;
    mode("in/a.yaml", 0o600);
    seen.until(|state| state.unreadable.is_empty()).await;
    assert_eq!(seen.state.losses, 0, "a file is not the source");
    // Neither read nor passed, only read, only passed.
    for (lost, mode_of_it) in (1..).zip([0, 0o400, 0o100]) {
        mode("in/sub", mode_of_it);
        seen.until(|state| state.is_lost).await;
        directory.write("in/a.yaml", &format!("a: {lost}0"));
        seen.until_values(&[&format!("{lost}0"), "2", "3"]).await;
        mode("in/sub", 0o700);
        seen.until(|state| !state.is_lost && state.unreadable.is_empty()).await;
    }
    mode("in", 0);
    seen.until(|state| state.is_lost).await;
    mode("in", 0o700);
    seen.until(|state| !state.is_lost).await;
    assert_eq!((seen.state.losses, seen.state.deletes), (4, 0));
    // Not readable from the start.
    mode("in", 0);
    let mut late = directory.seen(&["in"]).await;
    assert!(late.state.is_lost && !late.state.is_in_sync);
    mode("in", 0o700);
    late.until(|state| state.is_in_sync).await;
    assert_eq!(late.state.values(), ["30", "2", "3"]);
}

#[test]
fn without_watches_all_is_looked_at_now_and_then() {
    let script = "echo 2 > /proc/sys/user/max_inotify_watches";
    if is_inside("restricted::without_watches_all_is_looked_at_now_and_then", "--map-root-user", script) {
        Runtime::new().unwrap().block_on(unwatched());
    }
}

#[test]
fn without_a_notifier_all_is_looked_at_now_and_then() {
    let script = "echo 0 > /proc/sys/user/max_inotify_instances";
    if is_inside("restricted::without_a_notifier_all_is_looked_at_now_and_then", "--map-root-user", script) {
        Runtime::new().unwrap().block_on(unwatched());
    }
}

async fn unwatched() {
    let directory = Directory::new();
    directory.write("in/sub/a.yaml", "a: 1");
    let mut seen = directory.seen(&["in"]).await;
    assert_eq!(seen.state.values(), ["1"]);
    // Of the same length, and with the old one's times.
    let written = fs::metadata(directory.path("in/sub/a.yaml")).unwrap().modified().unwrap();
    directory.write("in/sub/a.yaml", "a: 2");
    let file = fs::File::options().write(true).open(directory.path("in/sub/a.yaml")).unwrap();
    file.set_modified(written).unwrap();
    seen.until_values(&["2"]).await;
    directory.write("in/sub/b.yaml", "a: 3");
    seen.until_values(&["2", "3"]).await;
    directory.rename("in/sub/a.yaml", "in/sub/c.yaml");
    assert_eq!(seen.next().await, ["put c.yaml#0000000001 a: 2", "delete a.yaml#0000000001"]);
    directory.rename("in", "away");
    seen.until(|state| state.is_lost).await;
    directory.rename("away", "in");
    seen.until(|state| !state.is_lost).await;
    assert_eq!(seen.state.values(), ["3", "2"]);
}
