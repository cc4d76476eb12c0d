//! The cable between the hosts.

use std::fmt;

use crate::Verdict;
use crate::netns::Netns;
use crate::world::UPLINK;

/// What the report's link carried, in Mbit/s.
pub const RATE: u32 = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Unshaped,
    /// Each host sends so many Mbit/s, headers too.
    Shaped(u32),
}

impl Link {
    /// Has a host send so.
    pub fn of(self, host: &Netns) -> Verdict {
        let command = match self {
            Self::Unshaped => format!("tc qdisc replace dev {UPLINK} root noqueue"),
            Self::Shaped(rate) => format!(
                "tc qdisc replace dev {UPLINK} root tbf rate {rate}mbit burst {} latency 20ms",
                burst(rate)
            ),
        };
        host.shell(&command)
    }
}

/// In bytes: what is sent in 4 ms, as a kernel's clock may tick so slowly; and some of the longest frames, which are of
/// 64 KiB as interfaces cut them late.
fn burst(rate: u32) -> u32 {
    (rate * 1000 / 8 * 4).max(256 << 10)
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unshaped => f.write_str("Link unshaped"),
            Self::Shaped(RATE) => write!(f, "Link shaped to {RATE} Mbit/s"),
            Self::Shaped(rate) => write!(
                f,
                "Link shaped to {rate} Mbit/s, a third of what the slowest path carries unshaped ({RATE} is out of reach)"
            ),
        }
    }
}
