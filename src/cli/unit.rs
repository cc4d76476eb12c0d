//! `felix-rs unit`: the daemon's unit file.

use clap::Args;

use super::{Failure, Outcome};

/// Print a systemd unit that keeps the daemon running.
#[derive(Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<Outcome, Failure> {
    super::print(include_str!("felix-rs.service")).map(|()| Outcome::Clean)
}
