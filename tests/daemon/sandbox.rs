//! This program again, in namespaces made for one trial: all that it starts ends with it.

use std::process::ExitCode;

use crate::netns::{self, Backend};
use crate::worker::{self, Worker};
use crate::{Case, Verdict};

/// When a trial is given up, in seconds.
const LIMIT: &str = "120";

const HELP: &str = "help: these tests need root and `unshare --net --mount --pid`; FELIX_RS_SKIP_KERNEL=1 leaves them out, visibly";

/// The trial and backend that this process is to carry out.
pub fn asked() -> Option<(String, String)> {
    let [name, backend] = worker::asked()?.try_into().ok()?;
    Some((name, backend))
}

/// Carries it out, in the namespaces that this process is in.
pub fn work(name: &str, backend: &str, cases: &[Case]) -> ExitCode {
    worker::work(|| {
        // One lock a trial: the legacy tools of two of them must not wait for each other.
        netns::run(&["mount", "-t", "tmpfs", "tmpfs", "/run"], "")?;
        let (_, trial) = cases.iter().find(|(case, _)| *case == name).ok_or("there is no such trial")?;
        let backend = Backend::ALL.into_iter().find(|known| known.name() == backend);
        trial(backend.ok_or("there is no such backend")?)
    })
}

/// Has a trial carried out in new namespaces.
pub fn carry_out(name: &str, backend: Backend) -> Verdict {
    let unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    verdict(&unshare, name, backend)
}

/// Has it carried out in these, which it must refuse.
pub fn carry_out_at_home(name: &str, backend: Backend) -> Verdict {
    verdict(&[], name, backend)
}

fn verdict(before: &[&str], name: &str, backend: Backend) -> Verdict {
    Worker { before, asked: &[name, backend.name()], limit: LIMIT, help: HELP }.carry_out()
}
