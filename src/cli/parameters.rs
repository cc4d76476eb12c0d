//! `felix-rs parameters`: what can be configured.

use clap::Args;

use super::{Failure, Outcome};
use crate::config;

/// List every parameter: its default, what it takes, what it is for.
#[derive(Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<Outcome, Failure> {
    super::print(&config::listing()).map(|()| Outcome::Clean)
}
