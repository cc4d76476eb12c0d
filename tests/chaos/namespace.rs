//! A trial in namespaces made for it: of the network; of processes, so that all that it started ends with it; and of
//! mounts, so that its iptables have a lock of their own.

use std::process::ExitCode;

use crate::kernel::{self, Backend};
use crate::worker::{self, Worker};

/// When a trial is given up, in seconds.
const LIMIT: &str = "900";

const NEW: [&str; 7] = ["unshare", "--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"];

const HELP: &str = "help: these tests need root, /dev/net/tun and `unshare --net --mount --pid`; FELIX_RS_SKIP_KERNEL=1 \
                    leaves them out, visibly";

/// One trial.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub backend: Backend,
    pub seed: u64,
    pub rounds: usize,
}

/// The trial that this process is to carry out.
pub fn asked() -> Option<Asked> {
    let asked = worker::asked()?;
    let [backend, seed, rounds] = asked.as_slice() else { return None };
    let backend = Backend::ALL.into_iter().find(|known| known.name() == backend)?;
    Some(Asked { backend, seed: seed.parse().ok()?, rounds: rounds.parse().ok()? })
}

/// Carries it out, in the namespaces that this process is in.
pub fn work(asked: &Asked, trial: impl FnOnce(&Asked) -> Result<(), String>) -> ExitCode {
    worker::work(|| {
        kernel::run(&["mount", "-t", "tmpfs", "felix-rs-chaos", "/run"], "")?;
        trial(asked)
    })
}

/// Has a trial carried out in new namespaces.
pub fn carry_out(asked: &Asked) -> Result<(), String> {
    let Asked { backend, seed, rounds: _ } = asked;
    verdict(&NEW, asked).map_err(|why| {
        format!("{why}\nagain: FELIX_RS_SEED={seed} cargo test --test chaos -- {}/0", backend.name())
    })
}

/// Has it carried out in those of the tests, which it must refuse.
pub fn carry_out_at_home(asked: &Asked) -> Result<(), String> {
    verdict(&[], asked)
}

fn verdict(before: &[&str], Asked { backend, seed, rounds }: &Asked) -> Result<(), String> {
    let asked = [backend.name(), &seed.to_string(), &rounds.to_string()];
    Worker { before, asked: &asked, limit: LIMIT, help: HELP }.carry_out()
}
