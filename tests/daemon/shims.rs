//! Tools in front of the real ones.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::netns::{self, Backend};

/// The tools that write the tables of both families.
pub fn restores(backend: Backend) -> [String; 2] {
    ["iptables", "ip6tables"].map(|family| format!("{family}-{}-restore", backend.name()))
}

/// What `--tools` takes: the real tools, but for these, which are a shell's lines instead. There `$input` is what the
/// daemon wrote, and `real "$@"` the real tool with it.
pub fn in_front(scratch: &Path, tools: &[(&str, String)]) -> Result<String, String> {
    let folder = scratch.join("tools");
    let write = |(name, lines): &(&str, String)| -> io::Result<()> {
        let path = folder.join(name);
        let real = format!("printf '%s\\n' \"$input\" | env PATH={} {name} \"$@\"", netns::PATH);
        fs::write(&path, format!("#!/bin/sh\ninput=$(cat)\nreal() {{ {real}; }}\n{lines}\n"))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))
    };
    let written = fs::create_dir(&folder).and_then(|()| tools.iter().try_for_each(write));
    written.map_err(|e| format!("tools: {e}"))?;
    Ok(format!("{}:{}", folder.display(), netns::PATH))
}
