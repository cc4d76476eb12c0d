//! What of `tunl0` netlink does not do.

use std::time::Duration;

use tracing::debug;

use crate::routes::TUNNEL;
use crate::system::tool::{Job, ToolError, Tools};

/// The last kernel, by its first two numbers, that offloads checksums of encapsulated packets wrongly.
const LAST_WRONG: (u32, u32) = (5, 7);

/// Either takes a moment; what waits for them must not wait for long.
const DEADLINE: Duration = Duration::from_secs(10);

/// Loads the module, where that is possible: in a container, say, it isn't, and the kernel may have it built in.
pub async fn prepare(tools: &Tools) {
    if let Err(error) = run(tools, "modprobe", &["ipip"]).await {
        debug!("the module ipip is not loaded: {error}");
    }
}

/// Why the module can't be loaded, without loading it. One that is built in, or loaded, counts as one that can.
pub async fn lacks_module(tools: &Tools) -> Option<ToolError> {
    tools.ask("modprobe", &["--dry-run", "ipip"]).await.err()
}

/// Has the host compute checksums where the kernel would have the hardware do it wrongly (reference §10.5).
///
/// # Errors
/// They may be wrong.
pub async fn correct_checksums(tools: &Tools, release: &str) -> Result<(), ToolError> {
    match offloads_wrongly(release) {
        true => run(tools, "ethtool", &["-K", TUNNEL, "tx", "off"]).await.map(drop),
        false => Ok(()),
    }
}

async fn run(tools: &Tools, tool: &str, arguments: &[&str]) -> Result<String, ToolError> {
    tools.run(Job { tool, arguments, input: None, writes: true, deadline: DEADLINE }).await
}

/// A release that can't be read is a new one.
fn offloads_wrongly(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) <= LAST_WRONG,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_offload_wrongly() {
        for (release, wrong) in [
            ("4.19.0-27-amd64", true),
            ("5.7.0", true),
            ("5.8.0", false),
            ("5.10.0-28-amd64", false),
            ("6.1", false),
            ("unknown", false),
        ] {
            assert_eq!(offloads_wrongly(release), wrong, "{release}");
        }
    }
}
