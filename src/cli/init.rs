//! `felix-rs init`: what an empty store lacks.

use clap::Args;

use super::{Failure, Outcome, question_runtime, store};

/// Make an empty store ready for a cluster: Calico's own tiers, and the word that it can be used. What is there stays as
/// it is.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    store: store::Address,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let access = store::access(&arguments.store)?;
    question_runtime()?.block_on(async {
        let writer = store::connect(&access).await?;
        for (change, stored) in store::prepare(&writer).await? {
            super::print(&store::line(change, &stored))?;
        }
        Ok(Outcome::Clean)
    })
}
