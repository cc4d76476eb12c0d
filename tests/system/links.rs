//! Interfaces that come, change and go.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use felix_rs::system::links::{Link, LinkChange, Links, watch};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::namespace::ip;
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("links::the_first_message_is_everything", || on_runtime(everything_first)),
    ("links::every_change_is_told", || on_runtime(|| every_change(None))),
    // Read again all the time, which says nothing new.
    ("links::every_change_is_told_once", || on_runtime(|| every_change(Some(Duration::from_millis(1))))),
    ("links::a_fall_in_a_burst_is_told", || on_runtime(a_fall)),
    ("links::a_burst_ends_in_the_right_state", || on_runtime(a_burst)),
    ("links::an_overrun_is_made_good", an_overrun),
    ("links::a_socket_that_cannot_be_had_is_tried_for_again", no_socket),
    ("links::the_task_ends_with_its_receiver", || on_runtime(the_end)),
];

/// Longer than any message takes; what comes of it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the daemon would know.
struct Watched {
    changes: Receiver<Vec<LinkChange>>,
    links: Links,
    /// All that was said of names that begin with `cali`, as `name+`, `name-` (down) and `name!` (gone).
    story: Vec<String>,
    in_sync: usize,
}

impl Watched {
    fn begin(refresh: Option<Duration>) -> Self {
        Self {
            changes: watch(tokio::sync::watch::channel(refresh).1),
            links: Links::default(),
            story: Vec::new(),
            in_sync: 0,
        }
    }

    async fn more(&mut self) -> Verdict {
        let message = timeout(PATIENCE, self.changes.recv()).await;
        let message =
            message.map_err(|_| format!("nothing more after {:?}: {:?}", self.story, self.links))?;
        let message = message.ok_or("the task has ended")?;
        if message.is_empty() {
            return Err("a message of nothing".to_owned());
        }
        for change in message {
            self.story.extend(told(&change).filter(|told| told.starts_with("cali")));
            self.in_sync += usize::from(change == LinkChange::InSync);
            self.links.apply(change);
        }
        Ok(())
    }

    /// Reads on until it is so.
    async fn until(&mut self, so: impl Fn(&Links) -> bool) -> Verdict {
        while !so(&self.links) {
            self.more().await?;
        }
        Ok(())
    }

    async fn synced() -> Result<Self, String> {
        Self::refreshed(None).await
    }

    async fn refreshed(refresh: Option<Duration>) -> Result<Self, String> {
        let mut watched = Self::begin(refresh);
        watched.more().await?;
        if watched.in_sync == 1 {
            Ok(watched)
        } else {
            Err("the first message does not end in sync".to_owned())
        }
    }
}

fn told(change: &LinkChange) -> Option<String> {
    match change {
        LinkChange::Put(link) => Some(format!("{}{}", link.name, if link.up { '+' } else { '-' })),
        LinkChange::Gone { name, .. } => Some(format!("{name}!")),
        LinkChange::InSync => None,
    }
}

fn on_runtime<F: Future<Output = Verdict>>(trial: fn() -> F) -> Verdict {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(trial())
}

fn is(links: &Links, name: &str, so: impl Fn(&Link) -> bool) -> bool {
    links.named(name).is_some_and(so)
}

fn has(link: &Link, address: &str) -> bool {
    link.addresses.contains(&address.parse().expect("an address"))
}

async fn everything_first() -> Verdict {
    ip("link add cali1 type veth peer name other\nlink set cali1 address ee:ee:ee:ee:ee:ee mtu 1440 up\n\
        link set other up\naddress add 10.0.0.1/24 dev cali1\naddress add 10.0.0.1 peer 10.0.0.9 dev other\n\
        address add fd00::1/64 dev cali1 nodad\nlink set lo up\n")?;
    let watched = Watched::synced().await?;
    let names: Vec<&str> = watched.links.iter().map(|link| &*link.name).collect();
    if !["cali1", "lo", "other"].iter().all(|name| names.contains(name)) {
        return Err(format!("{names:?}"));
    }
    let cali1 = |link: &Link| {
        link.up
            && link.running
            && link.mtu == 1440
            && link.mac == Some([0xee; 6])
            && has(link, "10.0.0.1/24")
            && has(link, "fd00::1/64")
    };
    let lo = |link: &Link| link.up && link.index == 1 && has(link, "127.0.0.1/8") && has(link, "::1/128");
    let found = is(&watched.links, "cali1", cali1)
        && is(&watched.links, "lo", lo)
        && is(&watched.links, "other", |link| has(link, "10.0.0.1/32"));
    if found { Ok(()) } else { Err(format!("{:?}", watched.links)) }
}

async fn every_change(refresh: Option<Duration>) -> Verdict {
    type Step = (&'static str, fn(&Links) -> bool);
    let steps: [Step; 12] = [
        ("link add cali1 type veth peer name other", |links| is(links, "cali1", |l| !l.up && !l.running)),
        ("link set cali1 up", |links| is(links, "cali1", |l| l.up && !l.running)),
        ("link set other up", |links| is(links, "cali1", |l| l.running)),
        ("address add 10.0.0.1/24 dev cali1", |links| is(links, "cali1", |l| has(l, "10.0.0.1/24"))),
        ("address add fd00::1/64 dev cali1 nodad", |links| is(links, "cali1", |l| has(l, "fd00::1/64"))),
        ("address del 10.0.0.1/24 dev cali1", |links| is(links, "cali1", |l| !has(l, "10.0.0.1/24"))),
        ("link set cali1 mtu 1400", |links| is(links, "cali1", |l| l.mtu == 1400)),
        ("link set cali1 address 02:00:00:00:00:01", |links| {
            is(links, "cali1", |l| l.mac == Some([2, 0, 0, 0, 0, 1]))
        }),
        // IPv6 addresses go with it.
        ("link set cali1 down", |links| {
            is(links, "cali1", |l| !l.up && !l.running && l.addresses.is_empty())
        }),
        ("link set cali1 name cali2", |links| {
            links.named("cali1").is_none() && links.named("cali2").is_some()
        }),
        // A bridge's port is still there when the bridge lets it go.
        (
            "link add cali1 type bridge\nlink set cali2 master cali1\nlink set cali2 nomaster\nlink set cali2 mtu 1300",
            |links| is(links, "cali2", |l| l.mtu == 1300),
        ),
        ("link del cali2", |links| links.named("cali2").is_none() && links.named("other").is_none()),
    ];
    let mut watched = Watched::refreshed(refresh).await?;
    for (command, so) in steps {
        ip(&format!("{command}\n"))?;
        watched.until(so).await.map_err(|e| format!("{command}: {e}"))?;
    }
    let gone = watched.story.iter().filter(|told| *told == "cali2!").count();
    if gone == 1 && watched.in_sync == 1 { Ok(()) } else { Err(format!("{:?}", watched.story)) }
}

async fn a_fall() -> Verdict {
    ip("link add cali1 type veth peer name other\nlink set cali1 up\nlink set other up\n")?;
    let mut watched = Watched::synced().await?;
    watched.until(|links| is(links, "cali1", |link| link.running)).await?;
    watched.story.clear();
    ip("link set cali1 down\nlink set cali1 up\nlink set cali1 mtu 1400\n")?;
    watched.until(|links| is(links, "cali1", |link| link.mtu == 1400 && link.up)).await?;
    if watched.story.iter().any(|told| told == "cali1-") {
        Ok(())
    } else {
        Err(format!("{:?}", watched.story))
    }
}

/// 500 interfaces come, and each fourth of them goes, gets an address, another name, or is set up.
fn burst() -> (String, String) {
    let (mut first, mut second) = (String::new(), String::new());
    for pair in 0..250 {
        let _ = writeln!(first, "link add cali{pair} type veth peer name peer{pair}");
        let _ = match pair % 5 {
            0 => writeln!(second, "link del cali{pair}"),
            1 => writeln!(second, "address add 10.1.{pair}.1/24 dev cali{pair}"),
            2 => writeln!(second, "link set cali{pair} name new{pair}"),
            3 => writeln!(second, "link set cali{pair} up\nlink set cali{pair} down\nlink set cali{pair} up"),
            _ => Ok(()),
        };
    }
    second.push_str("link add last type veth peer name peer\n");
    (first, second)
}

fn is_as_after_the_burst(links: &Links) -> Verdict {
    let mut want: BTreeSet<String> = ["last", "peer"].map(str::to_owned).into();
    for pair in (0..250).filter(|pair| pair % 5 != 0) {
        want.insert(format!("peer{pair}"));
        want.insert(format!("{}{pair}", if pair % 5 == 2 { "new" } else { "cali" }));
    }
    // Tunnels that some kernels give to each namespace are none of it.
    let ours =
        |link: &&Link| ["cali", "new", "peer", "last"].iter().any(|prefix| link.name.starts_with(prefix));
    let names: BTreeSet<String> = links.iter().filter(ours).map(|link| link.name.to_string()).collect();
    if names != want {
        let difference: Vec<&String> = names.symmetric_difference(&want).collect();
        return Err(format!("wrong: {difference:?}"));
    }
    for pair in 0..250_u32 {
        let name = format!("cali{pair}");
        let right = match pair % 5 {
            1 => is(links, &name, |link| has(link, &format!("10.1.{pair}.1/24"))),
            3 => is(links, &name, |link| link.up),
            _ => true,
        };
        if !right {
            return Err(format!("{:?}", links.named(&name)));
        }
    }
    Ok(())
}

async fn a_burst() -> Verdict {
    let mut watched = Watched::synced().await?;
    let (first, second) = burst();
    let making = tokio::task::spawn_blocking(move || ip(&first).and_then(|()| ip(&second)));
    watched.until(|links| links.named("last").is_some()).await?;
    making.await.map_err(|e| e.to_string())??;
    is_as_after_the_burst(&watched.links)
}

/// While nobody reads, the kernel has to throw changes away.
fn an_overrun() -> Verdict {
    let said = Said::listen()?;
    on_one_thread(async {
        let mut watched = Watched::synced().await?;
        let (first, second) = burst();
        // On the only thread: the task cannot read.
        ip(&first)?;
        ip(&second)?;
        watched.until(|links| is_as_after_the_burst(links).is_ok()).await
    })?;
    match said.count("more changes of interfaces") {
        0 => Err("no overrun".to_owned()),
        _ => Ok(()),
    }
}

/// No socket, as no more files may be open.
fn no_socket() -> Verdict {
    let said = Said::listen()?;
    on_one_thread(async {
        let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        let mut watched = Watched::begin(None);
        while said.count("interfaces are not followed") < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if !watched.changes.is_empty() {
            return Err("something is said of interfaces".to_owned());
        }
        drop(files);
        watched.more().await?;
        let found = watched.in_sync == 1 && is(&watched.links, "lo", |lo| lo.index == 1);
        if found { Ok(()) } else { Err(format!("{:?}", watched.links)) }
    })
}

fn on_one_thread(trial: impl Future<Output = Verdict>) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(trial)
}

/// What was logged.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// From now on, in all of this process.
    fn listen() -> Result<Self, String> {
        let said = Self::default();
        let log = said.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || log.clone()).with_ansi(false).finish();
        tracing::subscriber::set_global_default(subscriber).map_err(|e| e.to_string())?;
        Ok(said)
    }

    fn count(&self, part: &str) -> usize {
        self.0.lock().map_or(0, |said| String::from_utf8_lossy(&said).matches(part).count())
    }
}

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|e| io::Error::other(e.to_string()))?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn the_end() -> Verdict {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let watched = Watched::synced().await?;
    if tasks() != before + 1 {
        return Err(format!("{} tasks", tasks()));
    }
    drop(watched);
    let ended = async {
        while tasks() != before {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended).await.map_err(|_| "the task goes on".to_owned())
}
