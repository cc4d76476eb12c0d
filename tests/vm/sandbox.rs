//! This program again, in namespaces made for one trial: all that it starts ends with it.

use std::process::ExitCode;

use crate::worker::{self, Worker};
use crate::{Case, Verdict, netns};

/// When a trial is given up, in seconds.
const LIMIT: &str = "120";

const NEW: [&str; 7] = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// The trial that this process is to carry out.
pub fn asked() -> Option<String> {
    worker::asked()?.into_iter().next()
}

/// Carries it out, in the namespaces that this process is in.
pub fn work(name: &str, cases: &[Case]) -> ExitCode {
    worker::work(|| {
        netns::run(&["mount", "-t", "tmpfs", "tmpfs", "/run"], "")?;
        let (_, trial) = cases.iter().find(|(case, _)| *case == name).ok_or("there is no such trial")?;
        trial()
    })
}

/// Has a trial carried out in new namespaces.
pub fn carry_out(name: &str) -> Verdict {
    Worker { before: &NEW, asked: &[name], limit: LIMIT, help: "" }.carry_out()
}

/// Has it carried out in these, which it must refuse.
pub fn carry_out_at_home(name: &str) -> Verdict {
    Worker { before: &[], asked: &[name], limit: LIMIT, help: "" }.carry_out()
}
