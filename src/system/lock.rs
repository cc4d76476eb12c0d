//! The lock that all legacy iptables share. The tools take it themselves, once; here one only looks who has it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

const LOCK: &str = "/run/xtables.lock";

/// How long to wait for another holder before the tool is started all the same, to wait on by itself.
const BOUND: Duration = Duration::from_secs(10);

/// A wait that is said aloud.
const LONG: Duration = Duration::from_secs(1);

/// How long others held the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockWait {
    pub waited: Duration,
    /// The process that was met first; 0 for one of another PID namespace.
    pub holder: Option<u32>,
}

/// Returns once nobody holds the lock, at most after a bound. Looks every `probe`.
pub(super) async fn wait(probe: Duration) -> LockWait {
    let Some(first) = holder() else { return LockWait::default() };
    let started = Instant::now();
    let mut said = false;
    while started.elapsed() < BOUND {
        sleep(probe.max(Duration::from_millis(1))).await;
        let Some(holder) = holder() else { break };
        if started.elapsed() > LONG && !std::mem::replace(&mut said, true) {
            warn!(holder, "another process holds iptables' lock ({LOCK}); waiting for it");
        }
    }
    LockWait { waited: started.elapsed(), holder: Some(first) }
}

fn holder() -> Option<u32> {
    let lock = fs::metadata(LOCK).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    holder_in(&locks, lock.dev(), lock.ino())
}

/// Of lines such as `1: FLOCK  ADVISORY  WRITE 1234 00:19:432 0 EOF`. One that waits has `->` behind its number.
fn holder_in(locks: &str, device: u64, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, kind, _, _, pid, file, ..] = words.as_slice() else { return None };
        let mut parts = file.split(':');
        let major = u64::from_str_radix(parts.next()?, 16).ok()?;
        let minor = u64::from_str_radix(parts.next()?, 16).ok()?;
        let is_it = *kind == "FLOCK"
            && (major, minor) == (major_of(device), minor_of(device))
            && parts.next()?.parse() == Ok(inode);
        is_it.then(|| pid.parse().unwrap_or_default())
    })
}

/// The parts of a device number, as Linux packs them (`makedev(3)`).
fn major_of(device: u64) -> u64 {
    ((device >> 8) & 0xfff) | ((device >> 32) & 0xffff_f000)
}

fn minor_of(device: u64) -> u64 {
    (device & 0xff) | ((device >> 12) & 0xffff_ff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found() {
        let locks = "1: FLOCK  ADVISORY  WRITE 26071 fe:00:10043957 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 7 00:19:432 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 8 00:19:432 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 1234 00:19:432 0 EOF\n";
        for (device, inode, expected) in
            [(0x19, 432, Some(1234)), (0xfe00, 10_043_957, Some(26071)), (0x19, 433, None), (0x20, 432, None)]
        {
            assert_eq!(holder_in(locks, device, inode), expected, "{device:x} {inode}");
        }
    }
}
