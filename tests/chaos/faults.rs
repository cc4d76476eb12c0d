//! Tools that do not do what they should: scripts under the tools' names, first where the daemon looks for them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// The tools that a daemon calls, of both backends.
const TOOLS: [&str; 9] = [
    "ipset",
    "iptables-legacy-restore",
    "iptables-legacy-save",
    "iptables-nft-restore",
    "iptables-nft-save",
    "ip6tables-legacy-restore",
    "ip6tables-legacy-save",
    "ip6tables-nft-restore",
    "ip6tables-nft-save",
];

/// Looks at the file `fault` beside it: what to do, in place of which tools, and how many lines of something.
const SCRIPT: &str = r#"#!/bin/sh
name=${0##*/}
PATH=/usr/sbin:/usr/bin:/sbin:/bin
fault=none tools=- lines=1
[ ! -r "${0%/*}/fault" ] || read -r fault tools lines <"${0%/*}/fault" || :
case "$name $1" in $tools) ;; *) fault=none ;; esac
case $fault in
  slow) sleep 0.05; exec "$name" "$@" ;;
  busy) echo "Another app is currently holding the xtables lock" >&2; exit 4 ;;
  hang) exec sleep 30 ;;
  refuse) echo "$name: line 3 failed" >&2; exit 1 ;;
  cut) head -n "$lines" | "$name" "$@" ;;
  deny) "$name" "$@" && echo "$name: line 3 failed" >&2; exit 1 ;;
  lie) head -n "$lines" | "$name" "$@" 2>/dev/null; exit 0 ;;
  short) "$name" "$@" | head -n "$lines"; exit 0 ;;
  *) exec "$name" "$@" ;;
esac
"#;

/// What a tool does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It takes its time: what lies between two steps is seen.
    Slow,
    /// It says that another holds the lock.
    Busy,
    Hang,
    /// It says that the kernel refused.
    Refuse,
    /// It reads the first lines only, and says so.
    Cut,
    /// It does all that is asked, and says that it could not.
    Deny,
    /// It reads the first lines only, and says that all was done.
    Lie,
    /// It prints the first lines only, and says that these are all.
    Short,
}

/// What packets may suffer while the tools behave so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Each verdict is one of those that an order of the changes gives.
    Exact,
    /// What is refused is closed: more may be denied, and nothing else be allowed.
    MayClose,
    /// Nobody can know what the kernel has.
    Unknown,
}

impl Fault {
    const ALL: [Self; 8] =
        [Self::Slow, Self::Busy, Self::Hang, Self::Refuse, Self::Cut, Self::Deny, Self::Lie, Self::Short];

    /// Mostly none, or a slow one.
    pub fn any(random: &mut Random) -> Option<Self> {
        match random.below(10) {
            0..=2 => None,
            3..=6 => Some(Self::Slow),
            _ => Some(random.of(&Self::ALL)),
        }
    }

    pub fn strictness(self) -> Strictness {
        match self {
            Self::Slow | Self::Busy | Self::Hang => Strictness::Exact,
            Self::Refuse | Self::Cut | Self::Deny => Strictness::MayClose,
            Self::Lie | Self::Short => Strictness::Unknown,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Busy => "busy",
            Self::Hang => "hang",
            Self::Refuse => "refuse",
            Self::Cut => "cut",
            Self::Deny => "deny",
            Self::Lie => "lie",
            Self::Short => "short",
        }
    }

    /// Of a tool's name and its first argument, as the shell matches them.
    fn tools(self, random: &mut Random) -> &'static str {
        match self {
            Self::Slow => random.of(&["*-restore?*", "iptables-*-restore?*"]),
            Self::Busy | Self::Hang | Self::Refuse | Self::Cut | Self::Deny | Self::Lie => {
                random.of(&["*restore*", "ipset?restore", "iptables-*-restore?*", "ip6tables-*-restore?*"])
            }
            Self::Short => random.of(&["*-save?*", "ipset?*"]),
        }
    }
}

/// The scripts.
pub struct Tools {
    directory: PathBuf,
}

impl Tools {
    pub fn new(directory: PathBuf) -> Result<Self, String> {
        let failed = |e| format!("{}: {e}", directory.display());
        fs::create_dir(&directory).map_err(failed)?;
        for tool in TOOLS {
            let path = directory.join(tool);
            fs::write(&path, SCRIPT).map_err(failed)?;
            fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(failed)?;
        }
        Ok(Self { directory })
    }

    /// Where the daemon is to look for its tools.
    pub fn path(&self) -> String {
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.directory.display())
    }

    pub fn set(&self, fault: Fault, random: &mut Random) -> Result<String, String> {
        let line = format!("{} {} {}\n", fault.word(), fault.tools(random), random.between(1, 20));
        let beside = self.directory.join("fault.new");
        let put = fs::write(&beside, &line).and_then(|()| fs::rename(&beside, self.file()));
        put.map_err(|e| format!("the fault: {e}"))?;
        Ok(line)
    }

    pub fn mend(&self) {
        // There may be none.
        let _ = fs::remove_file(self.file());
    }

    fn file(&self) -> PathBuf {
        Path::new(&self.directory).join("fault")
    }
}
