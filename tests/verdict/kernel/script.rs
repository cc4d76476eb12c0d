//! A job, step by step: what the worker does with each is a few system calls.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// What the worker is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// Made before all else.
    pub interfaces: Vec<String>,
    /// Packets that these would be given are seen at the host.
    pub listen: Vec<Listener>,
    pub steps: Vec<Step>,
}

/// A protocol of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    pub is_v6: bool,
    pub protocol: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Below `/proc/sys/net`.
    Set {
        name: String,
        value: String,
    },
    Run {
        command: Vec<String>,
        stdin: String,
    },
    /// These have become addresses of the host.
    Await {
        own: Vec<Ipv6Addr>,
    },
    /// The packet arrives at an interface: its index.
    Arrive {
        at: usize,
        bytes: Vec<u8>,
    },
    /// The host sends the packet.
    Leave {
        to: IpAddr,
        bytes: Vec<u8>,
    },
    /// Connection tracking forgets all.
    Forget,
}

/// What the worker answers.
pub type Answer = Result<Vec<Sighting>, String>;

/// A packet that was seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sighting {
    pub at: Place,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Place {
    /// It left by an interface: its index.
    Interface(usize),
    /// It reached the host; its bytes begin behind the IP header.
    Host(Listener),
}
